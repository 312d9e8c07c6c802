//! Ids of the rotation protocol: all derived from what AWS already shows, none random, so that
//! every replica and every restart computes the same ones.
//!
//! ```text
//! attempt = uuid5(NS, "attempt" LF secret ARN LF base LF n)     n-th try to replace `base`
//! claim   = uuid5(NS, "claim"   LF attempt)                     id of the version that says "I try"
//! slot    = uuid5(NS, "slot"    LF attempt)                     id of the version that holds the result
//! mark    = "kf-" first 12 hex of sha256(secret ARN) "-" attempt    our name at the vendor
//! ```
//!
//! Claim and slot ids are used as `ClientRequestToken`, which AWS makes the version's id; a version
//! id is first-writer-wins and immutable, so of several replicas only one can claim.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::model::name::{Arn, VersionId};

const NAMESPACE: Uuid = Uuid::from_u128(0xfbb2_2bfd_a33b_526d_9168_43ed_2e9a_db56);

/// The version that holds AWSCURRENT when an attempt starts; `None` (written `none`) for a
/// secret's first version.
pub type Base = Option<VersionId>;

/// One try to make the successor of a base.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(Uuid);

impl Attempt {
    /// The `number`-th attempt (counted from 1) to replace `base` in the secret `arn`.
    pub fn derive(arn: &Arn, base: &Base, number: u32) -> Self {
        let base = base.as_ref().map_or("none", VersionId::as_str);
        Self(Uuid::new_v5(&NAMESPACE, format!("attempt\n{arn}\n{base}\n{number}").as_bytes()))
    }

    /// Reads an attempt as it stands in a label or a mark.
    pub fn parse(text: &str) -> Option<Self> {
        let id = Uuid::try_parse(text).ok()?;
        (id.as_hyphenated().to_string() == text).then_some(Self(id))
    }

    /// Version id of this attempt's claim.
    pub fn claim_id(self) -> VersionId {
        self.version_id("claim")
    }

    /// Version id of this attempt's slot.
    pub fn slot_id(self) -> VersionId {
        self.version_id("slot")
    }

    fn version_id(self, role: &str) -> VersionId {
        let id = Uuid::new_v5(&NAMESPACE, format!("{role}\n{self}").as_bytes());
        VersionId::new(&id.to_string()).expect("a UUID is a valid version id")
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0.as_hyphenated(), out)
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// What a claim says about why it was made. A rotation asked for because the value leaked must
/// not be forgotten by a crash, so it stands in the claim. The later weighs more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// The calendar said so, or the declaration changed.
    Due,
    /// A person asked.
    Asked,
    /// A person said that the current value is in wrong hands: no overlap.
    Leaked,
}

impl Cause {
    /// The word in the claim.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Asked => "asked",
            Self::Leaked => "leaked",
        }
    }

    /// Reads the word in a claim.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Due, Self::Asked, Self::Leaked].into_iter().find(|cause| cause.as_str() == text)
    }
}

/// Why a person asked for a rotation, in his own words; for people, never read for a decision. What a
/// tag can hold, so that it can outlive the claim.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Note(String);

impl Note {
    /// Most characters: a tag holds 255, and names the version as well.
    pub const CHAR_COUNT_MAX: usize = 200;

    /// `None` for what is empty, too long, or has characters that no tag of ours holds.
    pub fn new(text: &str) -> Option<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || " :_@/+=.-".contains(c);
        let fine = !text.trim().is_empty() && text.len() <= Self::CHAR_COUNT_MAX && text.chars().all(fits);
        fine.then(|| Self(text.trim().to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// First part of every mark of one secret: `kf-<12 hex>-`. A mark with another prefix is foreign.
pub fn mark_prefix(arn: &Arn) -> String {
    let digest = Sha256::digest(arn.as_str().as_bytes());
    let hex: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("kf-{hex}-")
}

/// Our name at a vendor that lets the caller choose one: ties a credential to one attempt of one
/// secret.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Mark(String);

impl Mark {
    /// The mark of `attempt` for the secret `arn`.
    pub fn new(arn: &Arn, attempt: Attempt) -> Self {
        Self(format!("{}{attempt}", mark_prefix(arn)))
    }

    /// The text: 52 characters of `[a-z0-9-]`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The attempt that `text` is a mark of, if it carries `prefix` (see [`mark_prefix`]).
pub fn attempt_of_mark(prefix: &str, text: &str) -> Option<Attempt> {
    Attempt::parse(text.strip_prefix(prefix)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_derived_and_never_change() {
        // Literal ids: a change of any of them would make running deployments forget their claims.
        let arn = Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-a1b2c3").unwrap();
        let first = Attempt::derive(&arn, &None, 1);
        assert_eq!(first.to_string(), "ab4d138e-dd83-5aa0-9514-cada3c688459");
        assert_eq!(Attempt::parse(&first.to_string()), Some(first));
        let next = Attempt::derive(&arn, &Some(first.slot_id()), 1);
        assert_ne!(first, next);
        assert_ne!(next.claim_id(), next.slot_id());
        let mark = Mark::new(&arn, next);
        assert_eq!(mark.as_str().len(), 52);
        assert_eq!(attempt_of_mark(&mark_prefix(&arn), mark.as_str()), Some(next));
        assert_eq!(attempt_of_mark("kf-000000000000-", mark.as_str()), None);
    }
}
