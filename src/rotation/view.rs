//! What was observed, in the words the rules speak: which version is whose claim or slot, which
//! vendor credential carries which attempt's mark.
//!
//! A view is built from one observation and never changed. It may be stale: every rule must be
//! safe on any state that AWS or the vendor showed within the last `settle`.

use std::collections::{BTreeMap, HashMap, HashSet};

use sha2::{Digest, Sha256};

use crate::model::attempt::{Attempt, Base, Cause};
use crate::model::label::{
    Label, Lease, PlaceKey, TAG_AT, TAG_ATTEMPT, TAG_BASE, TAG_COMPARED, TAG_CONFIRMED, TAG_CREDENTIAL, TAG_DEPLOYMENT,
    TAG_MOVED, TAG_PAUSE, TAG_PLACE, TAG_RETIRING, Tracked,
};
use crate::model::name::{Arn, Deployment, Name, VendorId, VersionId};
use crate::model::observed::{self, Claim, Obstacle};
use crate::model::place::At;
use crate::model::time::Timestamp;
use crate::rotation::tags;

pub use crate::rotation::facts::{Company, Fact, Facts, Known};
pub use crate::rotation::seen::{Fit, Marked, Seen, add_away, seen};
pub use crate::rotation::tags::{Accepted, Bootstrap, Compared, Dwelling, FOR_EVER, Retiring};

/// Further numbers looked at beyond the last attempt found on a base. AWS prunes old versions
/// oldest first, so the numbers still listed may start high.
pub(super) const ATTEMPT_GAP_MAX: u32 = 64;
/// The same for the version that is current, on which a failing vendor may make attempts for months.
const ATTEMPT_GAP_MAX_CURRENT: u32 = 1024;
/// The same for a version without labels: AWS prunes those oldest first, so while one is listed,
/// the attempts on it, which are younger, are listed too.
const ATTEMPT_GAP_MAX_UNLABELLED: u32 = 4;

/// What a version is to the protocol.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Says that an attempt was begun.
    Claim(Try),
    /// Holds an attempt's result, or its tombstone.
    Slot(Try),
    /// Not made by the protocol.
    Other,
}

/// An attempt and, where it can be told, what it wanted to replace.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Try {
    /// The attempt.
    pub attempt: Attempt,
    /// Its base and number; `None` when its base is no longer listed.
    pub origin: Option<(Base, u32)>,
}

/// A version with its role.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Version {
    /// Its id.
    pub id: VersionId,
    /// What it is to the protocol.
    pub role: Role,
    /// Its labels.
    pub labels: Vec<Label>,
    /// AWS's date of its creation.
    pub created: Timestamp,
}

impl Version {
    /// Whether it has this label.
    pub fn has(&self, label: &Label) -> bool {
        self.labels.contains(label)
    }

    /// Its lease: the credential in it is live and ours.
    pub fn lease(&self) -> Option<&Lease> {
        self.labels.iter().find_map(|label| match label {
            Label::Cred(lease) => Some(lease),
            Label::Current | Label::Previous | Label::Pending | Label::Open(_) | Label::Closed | Label::Foreign(_) => {
                None
            }
        })
    }

    /// Whether a reader or a promotion may still come upon it.
    pub fn referenced(&self) -> bool {
        self.has(&Label::Current) || self.has(&Label::Previous) || self.has(&Label::Pending)
    }

    /// The attempt whose slot it is.
    pub fn slot(&self) -> Option<&Try> {
        match &self.role {
            Role::Slot(of) => Some(of),
            Role::Claim(_) | Role::Other => None,
        }
    }

    /// The attempt whose claim it is.
    pub fn claim(&self) -> Option<&Try> {
        match &self.role {
            Role::Claim(of) => Some(of),
            Role::Slot(_) | Role::Other => None,
        }
    }

    /// The version it was made to replace.
    pub fn base(&self) -> Option<&Base> {
        self.slot()?.origin.as_ref().map(|(base, _)| base)
    }
}

/// Whose secret it is, by its tags.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// Ours: both tags name us.
    Us,
    /// Nobody's tag, but our claims or slots are in it: a tool stripped the tags.
    Stripped,
    /// Nobody's.
    Nobody,
    /// Another deployment's or another credential's.
    Other {
        /// What its tags say.
        deployment: String,
        /// What its tags say.
        credential: String,
    },
}

/// Where a leased credential was made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Home<'a> {
    /// Where the declaration says.
    Declared,
    /// Where the secret's credentials were made before.
    Former(&'a Dwelling),
    /// Nobody knows.
    Unknown,
}

/// The AWS secret.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Secret {
    /// Its ARN.
    pub arn: Arn,
    /// All listed versions.
    pub versions: Vec<Version>,
    /// When it last changed.
    pub changed: Timestamp,
    /// Why it must not be touched.
    pub obstacle: Option<Obstacle>,
    /// Whose it is.
    pub owner: Owner,
    /// The bootstrap tag.
    pub bootstrap: Option<Bootstrap>,
    /// The acceptance tag.
    pub accepted: Option<Accepted>,
    /// The place tag: where at the vendor its credentials are made.
    pub place: Option<String>,
    /// The same in words.
    pub at: Option<At>,
    /// When it last moved.
    pub moved: Option<Timestamp>,
    /// The dwelling tags.
    pub dwellings: Vec<Dwelling>,
    /// The pause tag.
    pub paused_until: Option<Timestamp>,
    /// The version that a consumer confirmed to have.
    pub confirmed: Option<Accepted>,
    /// The retiring tag.
    pub retiring: Option<Retiring>,
    /// When the vendor's listing was last compared with what is published, and what was found.
    pub compared: Option<Compared>,
    /// What the claims that still carry `kf-open` say, as far as they could be read.
    pub claims: Vec<Claim>,
}

impl Secret {
    /// Gives every version its role and reads the tags.
    pub fn new(secret: &observed::Secret, deployment: &Deployment, name: &Name, claims: Vec<Claim>) -> Self {
        let roles = roles(secret);
        let versions: Vec<Version> = secret
            .versions
            .iter()
            .map(|version| Version {
                id: version.id.clone(),
                role: roles.get(&version.id).cloned().unwrap_or(Role::Other),
                labels: version.labels.clone(),
                created: version.created,
            })
            .collect();
        let ours = versions.iter().any(|version| version.role != Role::Other);
        Self {
            arn: secret.arn.clone(),
            owner: owner(&secret.tags, deployment, name, ours),
            bootstrap: secret.tags.get(TAG_ATTEMPT).and_then(|text| Bootstrap::parse(text)),
            accepted: secret.tags.get(TAG_BASE).and_then(|text| Accepted::parse(text)),
            place: secret.tags.get(TAG_PLACE).cloned(),
            paused_until: secret.tags.get(TAG_PAUSE).map(|text| tags::date(text).unwrap_or(FOR_EVER)),
            confirmed: secret.tags.get(TAG_CONFIRMED).and_then(|text| Accepted::parse(text)),
            retiring: secret.tags.get(TAG_RETIRING).and_then(|text| Retiring::parse(text)),
            compared: secret.tags.get(TAG_COMPARED).and_then(|text| Compared::parse(text)),
            at: secret.tags.get(TAG_AT).and_then(|text| At::parse(text)),
            moved: secret.tags.get(TAG_MOVED).and_then(|text| tags::date(text)),
            dwellings: secret.tags.iter().filter_map(|(key, text)| Dwelling::parse(key, text)).collect(),
            versions,
            changed: secret.changed,
            obstacle: secret.obstacle.clone(),
            claims,
        }
    }

    /// The version with a label.
    pub fn with(&self, label: &Label) -> Option<&Version> {
        self.versions.iter().find(|version| version.has(label))
    }

    /// The version that is this attempt's slot.
    pub fn slot_of(&self, attempt: Attempt) -> Option<&Version> {
        self.versions.iter().find(|version| version.slot().is_some_and(|of| of.attempt == attempt))
    }

    /// Whether a lease tracks this vendor id.
    pub fn tracks(&self, id: &VendorId) -> bool {
        self.versions.iter().any(|version| version.lease().is_some_and(|lease| lease.tracked.is(id)))
    }

    /// Where something of ours may live that was not made as credentials are made now.
    pub fn formers(&self) -> impl Iterator<Item = &Dwelling> {
        self.dwellings.iter().filter(|one| self.place.as_ref() != Some(&one.place))
    }

    /// Of an in-place vendor: whether its one record holds the current version's value, as far as is
    /// known.
    pub fn keeps_record(&self) -> bool {
        self.with(&Label::Current).is_some_and(|current| current.slot().is_some()) || self.adopted_record()
    }

    /// Whether a person accepted the current version, which nothing of ours marks at the vendor. The
    /// one record that an in-place vendor shows then is this secret's.
    pub fn adopted_record(&self) -> bool {
        let current = self.with(&Label::Current);
        let unmarked = current.filter(|current| current.slot().is_none() && current.lease().is_none());
        unmarked.is_some_and(|current| self.accepted.as_ref().is_some_and(|one| one.version == current.id))
    }

    /// The stored version that may become current: AWSPENDING is on it, and AWSCURRENT is not.
    pub fn candidate(&self) -> Option<&Version> {
        self.with(&Label::Pending).filter(|pending| !pending.has(&Label::Current) && pending.slot().is_some())
    }

    /// Where a leased credential was made: in the declared place, in one that the secret has left, or
    /// nobody knows, because other tools took the tags off that would say so.
    pub fn home(&self, lease: &Lease, declared: &str) -> Home<'_> {
        match lease.made_in {
            Some(key) if key == PlaceKey::of(declared) => Home::Declared,
            Some(key) => {
                let former = self.dwellings.iter().find(|one| PlaceKey::of(&one.place) == key);
                former.map_or(Home::Unknown, Home::Former)
            }
            // An older keyferry wrote the label: its place is known while the tags never told of two.
            None if self.place.as_deref() == Some(declared) && self.formers().next().is_none() => Home::Declared,
            None => Home::Unknown,
        }
    }

    /// Versions of ours without a lease that readers or a promotion may come upon: what was made for one
    /// may be in use. What the declaration retires is none, for there keyferry itself ended the lease.
    pub fn shelters(&self) -> impl Iterator<Item = &Version> {
        let followed = |version: &Version| version.referenced() && !self.ending(&version.id);
        let bare = move |version: &&Version| followed(version) && version.lease().is_none() && version.slot().is_some();
        self.versions.iter().filter(bare)
    }

    /// Whether the end of this version's credential has begun because the declaration retired it:
    /// it may be dead although it is current.
    pub fn ending(&self, version: &VersionId) -> bool {
        self.retiring.as_ref().is_some_and(|tag| tag.ends(version))
    }

    /// What an attempt's claim says, while it can be read.
    pub fn claim_of(&self, attempt: Attempt) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim.attempt == attempt)
    }
}

/// Ids of the claims whose text the rules need: those that still carry `kf-open`.
pub fn open_claims(secret: &observed::Secret) -> Vec<(VersionId, Attempt)> {
    let opened = |version: &observed::Version| {
        version.labels.iter().find_map(|label| match label {
            Label::Open(attempt) if attempt.claim_id() == version.id => Some((version.id.clone(), *attempt)),
            _ => None,
        })
    };
    secret.versions.iter().filter_map(opened).collect()
}

/// Which listed versions are claims and slots of which attempts. Ids are hashes, so an attempt is
/// found by deriving it: every number on every base that it may have been made on, until each
/// version is accounted for, which for a secret that nobody else writes is after a few.
fn roles(secret: &observed::Secret) -> HashMap<VersionId, Role> {
    let mut unknown: HashSet<&VersionId> = secret.versions.iter().map(|version| &version.id).collect();
    let mut roles = HashMap::new();
    for (claim, attempt) in open_claims(secret) {
        let of = Try { attempt, origin: None };
        let slot = attempt.slot_id();
        if unknown.contains(&slot) {
            roles.insert(slot, Role::Slot(of.clone()));
        }
        roles.insert(claim, Role::Claim(of));
    }
    let mut bases: Vec<(Base, u32)> = vec![(None, ATTEMPT_GAP_MAX)];
    // Unlabelled ones too: a retired and revoked version is still what the current one replaced.
    for version in &secret.versions {
        let gap = match version.labels.as_slice() {
            [] => ATTEMPT_GAP_MAX_UNLABELLED,
            labels if labels.contains(&Label::Current) => ATTEMPT_GAP_MAX_CURRENT,
            _ => ATTEMPT_GAP_MAX,
        };
        bases.push((Some(version.id.clone()), gap));
    }
    for (base, gap) in bases {
        let mut number = 1;
        let mut last = 0;
        while number <= last + gap && !unknown.is_empty() {
            let attempt = Attempt::derive(&secret.arn, &base, number);
            let (claim, slot) = (attempt.claim_id(), attempt.slot_id());
            let (is_claim, is_slot) = (unknown.remove(&claim), unknown.remove(&slot));
            let of = || Try { attempt, origin: Some((base.clone(), number)) };
            if is_claim {
                roles.insert(claim, Role::Claim(of()));
            }
            if is_slot {
                roles.insert(slot, Role::Slot(of()));
            }
            if is_claim || is_slot {
                last = number;
            }
            number += 1;
        }
    }
    roles
}

fn owner(tags: &BTreeMap<String, String>, deployment: &Deployment, name: &Name, ours: bool) -> Owner {
    match (tags.get(TAG_DEPLOYMENT), tags.get(TAG_CREDENTIAL)) {
        (Some(whose), Some(which)) if whose == deployment.as_str() && which == name.as_str() => Owner::Us,
        (None, None) if ours => Owner::Stripped,
        (None, None) => Owner::Nobody,
        (whose, which) => Owner::Other {
            deployment: whose.cloned().unwrap_or_default(),
            credential: which.cloned().unwrap_or_default(),
        },
    }
}

/// Twelve hex digits that stand for a vendor's id in the bootstrap tag.
pub fn short(id: &VendorId) -> String {
    Sha256::digest(id.as_str().as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// What this very process did a moment ago and nobody else can know. Lost in a crash, and every
/// rule is safe without it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Hand {
    /// Nothing.
    #[default]
    Empty,
    /// Its claim was accepted.
    Claimed {
        /// The attempt.
        attempt: Attempt,
        /// AWS's date of the answer.
        at: Timestamp,
    },
    /// It wrote a bootstrap tag; whoever reads back its own nonce goes on.
    Tagged {
        /// Its own nonce.
        nonce: String,
    },
    /// The vendor accepted a login with this candidate.
    Proved {
        /// The candidate.
        version: VersionId,
        /// AWS's date when the login was sent.
        at: Timestamp,
    },
    /// The vendor refused a login with this candidate.
    Refused {
        /// The candidate.
        version: VersionId,
        /// AWS's date of the first refusal.
        since: Timestamp,
    },
    /// No login tells whether this candidate works.
    Untold {
        /// The candidate.
        version: VersionId,
        /// AWS's date when that was found.
        at: Timestamp,
    },
    /// Its removal of AWSPREVIOUS was accepted.
    Retired {
        /// The version that lost the label.
        version: VersionId,
    },
    /// The vendor confirmed that this credential is dead.
    Ended {
        /// Its lease.
        tracked: Tracked,
    },
    /// The vendor does not know this credential (any more, or yet).
    Unknown {
        /// Its lease.
        tracked: Tracked,
    },
    /// An in-place vendor took AWSCURRENT's value back.
    Restored {
        /// The candidate that was set before.
        version: VersionId,
    },
}

/// Everything a decision is made from, besides the policy and the date.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct View {
    /// The secret; `None` when there is none of that name.
    pub secret: Option<Secret>,
    /// What else is known.
    pub facts: Facts,
    /// Whether the vendor's listing is wanted in any case: somebody compares.
    pub compare: bool,
    /// Whether what is found may be written down; not by a look that changes nothing.
    pub records: bool,
    /// What a person asked for.
    pub request: Option<Cause>,
    /// What this process did a moment ago.
    pub hand: Hand,
}

impl View {
    /// What the vendor listed; `None` where it was not asked, or did not answer.
    pub fn listing(&self) -> Option<&[Seen]> {
        self.facts.listing.found().map(Vec::as_slice)
    }

    /// One listed credential.
    pub fn listed(&self, id: &VendorId) -> Option<&Seen> {
        self.listing()?.iter().find(|seen| seen.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::SecretName;

    #[test]
    fn every_version_gets_its_role_from_ids_alone() {
        let arn = Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-a1b2c3").unwrap();
        let first = Attempt::derive(&arn, &None, 1);
        let base = Some(first.slot_id());
        let third = Attempt::derive(&arn, &base, 3);
        let version = |id: VersionId, labels: &[&str]| observed::Version {
            id,
            labels: labels.iter().map(|text| Label::parse(text)).collect(),
            created: Timestamp::default(),
        };
        let secret = observed::Secret {
            versions: vec![
                version(first.slot_id(), &["AWSCURRENT", "kf-cred:1:x"]),
                version(third.claim_id(), &[&format!("kf-open:{third}")]),
                version(VersionId::new(&"f".repeat(32)).unwrap(), &["AWSPENDING"]),
            ],
            arn,
            name: SecretName::new("app").unwrap(),
            tags: BTreeMap::from([
                (TAG_BASE.into(), format!("{}@77", first.slot_id())),
                (TAG_PAUSE.into(), "99".into()),
            ]),
            changed: Timestamp::default(),
            obstacle: None,
            replicas: Vec::new(),
            kms_key_id: None,
            description: None,
        };
        let view = Secret::new(&secret, &Deployment::new("prod").unwrap(), &Name::new("app").unwrap(), Vec::new());
        assert_eq!(view.versions[0].base(), Some(&None));
        let of = Try { attempt: third, origin: Some((base, 3)) };
        assert_eq!(view.versions[1].claim(), Some(&of), "attempts 1 and 2 were pruned");
        assert_eq!(view.versions[2].role, Role::Other);
        let mut rotated = secret.clone();
        let second = Attempt::derive(&rotated.arn, &Some(first.slot_id()), 1);
        rotated.versions = vec![version(first.slot_id(), &[]), version(second.slot_id(), &["AWSCURRENT"])];
        let later = Secret::new(&rotated, &Deployment::new("prod").unwrap(), &Name::new("app").unwrap(), Vec::new());
        assert_eq!(later.versions[1].base(), Some(&Some(first.slot_id())), "the base lost its last label");
        assert_eq!(view.owner, Owner::Stripped);
        assert_eq!(view.accepted, Some(Accepted { version: first.slot_id(), at: Some(Timestamp::from_seconds(77)) }));
        assert_eq!(view.paused_until, Some(Timestamp::from_seconds(99)));
    }
}
