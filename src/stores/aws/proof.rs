//! What a write may be done to, proved by types. Two traps of Secrets Manager are closed here:
//!
//! - a put without stages publishes at once (API reference, PutSecretValue): stages come from
//!   private constructors only and are never empty;
//! - the first version of a secret becomes AWSCURRENT whatever stages are given: a claim or a
//!   tombstone needs a [`Published`] secret, and only `Store::put_first` takes an
//!   [`Unpublished`] one.
//!
//! Neither proof can be made up:
//!
//! ```compile_fail
//! use keyferry::{model::name::Arn, stores::aws::Published};
//! let arn = Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:a-a1b2c3").unwrap();
//! let proof = Published { arn };
//! ```
//!
//! ```compile_fail
//! use keyferry::{model::name::Arn, stores::aws::Unpublished};
//! let arn = Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:a-a1b2c3").unwrap();
//! let proof = Unpublished { arn };
//! ```
//!
//! and AWSCURRENT is no label that could be taken off:
//!
//! ```compile_fail
//! let label = keyferry::stores::aws::Removable::Current;
//! ```

use crate::model::attempt::Attempt;
use crate::model::label::{Label, Lease};
use crate::model::name::{Arn, VersionId};
use crate::model::observed::Secret;

/// Proof that a secret was seen with a version that holds AWSCURRENT and nothing in the way: what
/// is put into it beside that stays unpublished.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    arn: Arn,
}

impl Published {
    /// The proof, if `secret` gives it.
    pub fn of(secret: &Secret) -> Option<Self> {
        let current = secret.versions.iter().any(|version| version.labels.contains(&Label::Current));
        (current && secret.obstacle.is_none()).then(|| Self { arn: secret.arn.clone() })
    }

    /// Which secret.
    pub fn arn(&self) -> &Arn {
        &self.arn
    }
}

/// Proof that a secret was seen without any version, deprecated ones included, and nothing in the
/// way: whatever is put into it first becomes AWSCURRENT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unpublished {
    arn: Arn,
}

impl Unpublished {
    /// The proof, if `secret` gives it.
    pub fn of(secret: &Secret) -> Option<Self> {
        (secret.versions.is_empty() && secret.obstacle.is_none()).then(|| Self { arn: secret.arn.clone() })
    }

    /// Which secret.
    pub fn arn(&self) -> &Arn {
        &self.arn
    }
}

/// Proof that a version was seen with AWSPREVIOUS and a lease: it holds a credential of ours that
/// lives, and no claim nor tombstone, so a person may make it current again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Returnable {
    arn: Arn,
    version: VersionId,
}

impl Returnable {
    /// The proof for `version`, if `secret` gives it.
    pub fn of(secret: &Secret, version: &VersionId) -> Option<Self> {
        let seen = secret.versions.iter().find(|one| one.id == *version)?;
        let leased = seen.labels.iter().any(|label| matches!(label, Label::Cred(_)));
        let lives = leased && seen.labels.contains(&Label::Previous) && !seen.labels.contains(&Label::Closed);
        (lives && secret.obstacle.is_none()).then(|| Self { arn: secret.arn.clone(), version: version.clone() })
    }

    /// Which secret.
    pub fn arn(&self) -> &Arn {
        &self.arn
    }

    /// Which version.
    pub fn version(&self) -> &VersionId {
        &self.version
    }
}

/// Proof that a version was seen with AWSCURRENT and neither a lease nor a note of ours in it: it
/// holds a credential that may be tracked from now on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adoptable {
    arn: Arn,
    version: VersionId,
}

impl Adoptable {
    /// The proof for `version`, if `secret` gives it.
    pub fn of(secret: &Secret, version: &VersionId) -> Option<Self> {
        let seen = secret.versions.iter().find(|one| one.id == *version)?;
        let ours = |label: &Label| matches!(label, Label::Cred(_) | Label::Open(_) | Label::Closed);
        let free = seen.labels.contains(&Label::Current) && !seen.labels.iter().any(ours);
        (free && secret.obstacle.is_none()).then(|| Self { arn: secret.arn.clone(), version: version.clone() })
    }

    /// Which secret.
    pub fn arn(&self) -> &Arn {
        &self.arn
    }

    /// Which version.
    pub fn version(&self) -> &VersionId {
        &self.version
    }
}

/// A label that may be taken off a version: any of ours and AWS's, but AWSCURRENT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Removable {
    /// AWSPENDING.
    Pending,
    /// AWSPREVIOUS.
    Previous,
    /// `kf-open:…`.
    Open(Attempt),
    /// `kf-cred:…`.
    Cred(Lease),
    /// `kf-closed`.
    Closed,
}

impl Removable {
    /// The label; `None` for AWSCURRENT and for labels that are not ours.
    pub fn of(label: &Label) -> Option<Self> {
        match label {
            Label::Pending => Some(Self::Pending),
            Label::Previous => Some(Self::Previous),
            Label::Open(attempt) => Some(Self::Open(*attempt)),
            Label::Cred(lease) => Some(Self::Cred(lease.clone())),
            Label::Closed => Some(Self::Closed),
            Label::Current | Label::Foreign(_) => None,
        }
    }

    /// As the model names it.
    pub fn label(&self) -> Label {
        match self {
            Self::Pending => Label::Pending,
            Self::Previous => Label::Previous,
            Self::Open(attempt) => Label::Open(*attempt),
            Self::Cred(lease) => Label::Cred(lease.clone()),
            Self::Closed => Label::Closed,
        }
    }
}

/// The labels of a put: at least one, never AWSCURRENT.
pub(super) struct Stages(Vec<String>);

impl Stages {
    pub(super) fn claim(attempt: Attempt) -> Self {
        Self(vec![Label::Open(attempt).to_string()])
    }

    pub(super) fn slot(lease: Option<&Lease>) -> Self {
        let lease = lease.map(|lease| Label::Cred(lease.clone()).to_string());
        Self([Label::Pending.to_string()].into_iter().chain(lease).collect())
    }

    pub(super) fn tombstone() -> Self {
        Self(vec![Label::Closed.to_string()])
    }

    pub(super) fn into_texts(self) -> Vec<String> {
        self.0
    }
}
