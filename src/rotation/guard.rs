//! A second look at a step that is about to be taken: the invariants whose breach cannot be undone,
//! told from first principles. Nothing here is shared with `decide`, so that one mistake does not
//! make both wrong. It allows more than `decide` does; what it refuses must never happen.
//!
//! The engine asks before each step and stops that one secret when the answer is no.

use std::fmt;
use std::time::Duration;

use crate::model::attempt::{Attempt, Base};
use crate::model::capability::Marking;
use crate::model::label::{Label, Lease, Tracked};
use crate::model::name::{VendorId, VersionId};
use crate::model::policy::{Ownership, Policy, Takeover};
use crate::model::time::{Now, Timestamp};
use crate::rotation::decide::Step;
use crate::rotation::view::{Hand, Marked, Owner, Role, Secret, Version, View};

/// A claim, a tag or a proof is too old to act on after this. On purpose more than `decide` allows
/// and less than a signature lives.
const OWN_AGE_MAX: Duration = Duration::from_secs(120);

/// What a step would have broken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Violation {
    /// Invariant 13: the secret is paused, obstructed or another's.
    Parked,
    /// Invariant 13: a person has to decide first.
    Held,
    /// Invariant 2: AWSCURRENT, AWSPENDING or AWSPREVIOUS refers to the credential.
    Referenced,
    /// The credential is not provably ours, or its maker may still store it.
    NotOurs,
    /// The credential is not tracked in the way the step says.
    Tracking,
    /// An in-place vendor's record is never revoked.
    InPlace,
    /// Invariant 6: no claim of this very process is in hand.
    NoClaim,
    /// Invariant 6: an earlier attempt is not resolved.
    Unresolved,
    /// Invariant 7: not from the version that is current.
    NotFromCurrent,
    /// Invariant 1: the candidate is not proved.
    NotProved,
    /// Invariant 8: AWSCURRENT or AWSPENDING would hold a claim, a tombstone or a stranger.
    NotACandidate,
    /// AWSCURRENT is only ever moved.
    CurrentLabel,
    /// The label is not ours to take off, or not on that version.
    ForeignLabel,
    /// Invariant 10: the vendor has not confirmed the end of the credential.
    NotEnded,
    /// The attempt may still be stored.
    NotAbandoned,
    /// The secret has a version already, or none yet.
    WrongStage,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Parked => "the secret is paused, obstructed or another's",
            Self::Held => "a person has to decide first",
            Self::Referenced => "AWSCURRENT, AWSPENDING or AWSPREVIOUS refers to this credential",
            Self::NotOurs => "the credential is not provably a leftover of ours",
            Self::Tracking => "the credential's lease is not as the step says",
            Self::InPlace => "an in-place vendor's record is never revoked",
            Self::NoClaim => "this process holds no fresh claim of its own",
            Self::Unresolved => "an earlier attempt is not resolved",
            Self::NotFromCurrent => "AWSCURRENT is not where the step takes it from",
            Self::NotProved => "the candidate is not proved",
            Self::NotACandidate => "the version is not a candidate of ours",
            Self::CurrentLabel => "AWSCURRENT is never taken off",
            Self::ForeignLabel => "the label is not ours to take off that version",
            Self::NotEnded => "the vendor has not confirmed the end of the credential",
            Self::NotAbandoned => "the attempt may still be stored",
            Self::WrongStage => "the secret is not in the state for this step",
        })
    }
}

impl std::error::Error for Violation {}

/// Whether `step`, about to be taken on what `view` shows, keeps the invariants.
///
/// # Errors
/// Says which one it would break.
pub fn guard(view: &View, step: &Step, policy: &Policy, now: Now) -> Result<(), Violation> {
    if *step == Step::Wait {
        return Ok(());
    }
    let Some(secret) = &view.secret else {
        let creates = matches!(step, Step::CreateSecret { .. }) && policy.create_secret;
        return if creates { Ok(()) } else { Err(Violation::WrongStage) };
    };
    untouchable(secret, step, policy, now.store)?;
    let check = Check { view, secret, policy, now };
    match step {
        Step::Wait => Ok(()),
        Step::CreateSecret { .. } => Err(Violation::WrongStage),
        Step::TakeOver => require(secret.owner == Owner::Nobody, Violation::Parked),
        Step::Tag { number, .. } => {
            let last = secret.bootstrap.as_ref().map_or(0, |tag| tag.number);
            require(secret.versions.is_empty() && *number == last + 1, Violation::WrongStage)
        }
        Step::Untag => require(check.holder(&Label::Current).is_some(), Violation::WrongStage),
        Step::Claim { attempt, base, number, .. } => check.claim(*attempt, base, *number),
        Step::Mint { attempt, .. } => check.mint(*attempt),
        Step::MintFirst { attempt, .. } => check.mint_first(*attempt),
        Step::Verify { version } => check.candidate(version),
        Step::Apply { version } => {
            check.in_place()?;
            check.candidate(version)
        }
        Step::Restore { version } => {
            check.in_place()?;
            check.not_held()?;
            let current = check.holder(&Label::Current);
            let another = current.is_some_and(|current| current.id != *version);
            let lost = view.listing.as_ref().is_some_and(Vec::is_empty) && current.is_some();
            require((another || lost) && check.version(version).is_some(), Violation::NotACandidate)
        }
        Step::Promote { version, from, .. } => check.promote(version, from),
        Step::Detach { label, version } => check.detach(label, version),
        Step::Close { attempt } => check.close(*attempt),
        Step::Revoke { id, tracked } => check.revoke(id, *tracked),
    }
}

fn require(holds: bool, violation: Violation) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(violation) }
}

/// Invariant 13, what the secret itself says.
fn untouchable(secret: &Secret, step: &Step, policy: &Policy, now: Timestamp) -> Result<(), Violation> {
    let paused = secret.paused_until.is_some_and(|until| until > now);
    let ours = match &secret.owner {
        Owner::Us | Owner::Stripped => true,
        Owner::Other { .. } => false,
        Owner::Nobody if *step == Step::TakeOver => policy.takeover == Takeover::Rotate,
        Owner::Nobody => !policy.create_secret && (secret.versions.is_empty() || secret.bootstrap.is_some()),
    };
    require(secret.obstacle.is_none() && ours && !paused, Violation::Parked)
}

struct Check<'a> {
    view: &'a View,
    secret: &'a Secret,
    policy: &'a Policy,
    now: Now,
}

impl Check<'_> {
    fn holder(&self, label: &Label) -> Option<&Version> {
        self.secret.versions.iter().find(|version| version.labels.contains(label))
    }

    fn version(&self, id: &VersionId) -> Option<&Version> {
        self.secret.versions.iter().find(|version| version.id == *id)
    }

    fn young(&self, date: Timestamp) -> bool {
        self.now.store.since(date) <= OWN_AGE_MAX
    }

    fn settled(&self, date: Timestamp) -> bool {
        self.now.store.since(date) > self.policy.settle
    }

    fn in_place(&self) -> Result<(), Violation> {
        require(self.policy.capabilities.marking == Marking::InPlace, Violation::InPlace)
    }

    /// Invariant 13, what a person did: nothing is made, ended or moved while AWSCURRENT stands
    /// where somebody else put it, unless it was accepted there.
    fn not_held(&self) -> Result<(), Violation> {
        let Some(current) = self.holder(&Label::Current) else { return Ok(()) };
        if self.secret.accepted.as_ref().is_some_and(|accepted| accepted.version == current.id) {
            return Ok(());
        }
        let stored = |version: &Version| match self.policy.capabilities.marking {
            Marking::InPlace => matches!(version.role, Role::Slot(_)),
            Marking::Named | Marking::Unnamed => version.labels.iter().any(|label| matches!(label, Label::Cred(_))),
        };
        require(stored(current) || self.policy.takeover == Takeover::Rotate, Violation::Held)?;
        let successor = self.holder(&Label::Previous).filter(|previous| stored(previous)).is_some_and(|previous| {
            let Role::Slot(of) = &previous.role else { return false };
            of.origin.as_ref().is_some_and(|(base, _)| base.as_ref() == Some(&current.id))
        });
        require(!successor, Violation::Held)
    }

    fn claim(&self, attempt: Attempt, base: &Base, number: u32) -> Result<(), Violation> {
        self.not_held()?;
        let current = self.holder(&Label::Current).map(|version| version.id.clone());
        require(current.is_some() && *base == current, Violation::NotFromCurrent)?;
        require(attempt == Attempt::derive(&self.secret.arn, base, number), Violation::NoClaim)?;
        let unresolved = |version: &Version| version.labels.iter().any(|label| matches!(label, Label::Open(_)));
        let busy = self.secret.versions.iter().any(unresolved) || self.holder(&Label::Pending).is_some();
        require(!busy && self.version(&attempt.claim_id()).is_none(), Violation::Unresolved)
    }

    fn mint(&self, attempt: Attempt) -> Result<(), Violation> {
        self.not_held()?;
        let own = matches!(&self.view.hand, Hand::Claimed { attempt: own, at } if *own == attempt && self.young(*at));
        require(own && self.version(&attempt.slot_id()).is_none(), Violation::NoClaim)
    }

    fn mint_first(&self, attempt: Attempt) -> Result<(), Violation> {
        require(self.secret.versions.is_empty(), Violation::WrongStage)?;
        let Some(tag) = &self.secret.bootstrap else { return Err(Violation::NoClaim) };
        let own = matches!(&self.view.hand, Hand::Tagged { nonce } if *nonce == tag.nonce) && self.young(tag.at);
        require(own && attempt == Attempt::derive(&self.secret.arn, &None, tag.number), Violation::NoClaim)
    }

    /// Invariant 8: a version that is pending and holds a credential.
    fn candidate(&self, id: &VersionId) -> Result<(), Violation> {
        self.not_held()?;
        let candidate = self.holder(&Label::Pending).filter(|version| version.id == *id);
        let holds = candidate.is_some_and(|version| {
            matches!(version.role, Role::Slot(_))
                && (self.policy.capabilities.marking == Marking::InPlace
                    || version.labels.iter().any(|label| matches!(label, Label::Cred(_))))
        });
        require(holds, Violation::NotACandidate)
    }

    fn promote(&self, id: &VersionId, from: &Base) -> Result<(), Violation> {
        self.candidate(id)?;
        let current = self.holder(&Label::Current).map(|version| version.id.clone());
        require(*from == current && current.as_ref() != Some(id), Violation::NotFromCurrent)?;
        let proved = matches!(&self.view.hand, Hand::Proved { version, at } if *version == *id && self.young(*at));
        require(proved, Violation::NotProved)
    }

    fn detach(&self, label: &Label, id: &VersionId) -> Result<(), Violation> {
        let version = self.version(id).filter(|version| version.labels.contains(label));
        let Some(version) = version else { return Err(Violation::ForeignLabel) };
        match label {
            Label::Current => Err(Violation::CurrentLabel),
            Label::Foreign(_) | Label::Closed => Err(Violation::ForeignLabel),
            Label::Pending => require(matches!(version.role, Role::Slot(_)), Violation::ForeignLabel),
            Label::Previous => self.not_held(),
            Label::Open(attempt) => {
                // The claim may go only after its slot has been filled, one way or the other.
                require(self.version(&attempt.slot_id()).is_some(), Violation::NotAbandoned)
            }
            Label::Cred(lease) => {
                require(!self.refers(&lease.tracked), Violation::Referenced)?;
                require(self.ended(lease), Violation::NotEnded)
            }
        }
    }

    /// Invariant 10: the vendor said so, or it is no longer there and nothing about it is young.
    fn ended(&self, lease: &Lease) -> bool {
        let listing = self.view.listing.as_ref();
        let absent = listing.is_some_and(|listing| !listing.iter().any(|seen| lease.tracked.is(&seen.id)));
        let gone = absent && self.settled(lease.since) && self.settled(self.secret.changed);
        let confirmed = matches!(&self.view.hand, Hand::Ended { tracked } if *tracked == lease.tracked);
        let unknown = matches!(&self.view.hand, Hand::Unknown { tracked } if *tracked == lease.tracked);
        // An id that is only known by its hash can be asked for only while it is listed.
        let unaskable = matches!(lease.tracked, Tracked::Hashed(_));
        confirmed || ((unknown || unaskable) && gone)
    }

    fn close(&self, attempt: Attempt) -> Result<(), Violation> {
        // The first version of a secret becomes current, whatever it is.
        require(self.holder(&Label::Current).is_some(), Violation::WrongStage)?;
        let claim = self.version(&attempt.claim_id());
        let abandoned = claim.is_some_and(|claim| self.settled(claim.created));
        require(abandoned && self.version(&attempt.slot_id()).is_none(), Violation::NotAbandoned)
    }

    /// Invariant 2: a label that a reader or a promotion may follow.
    fn refers(&self, tracked: &Tracked) -> bool {
        self.secret.versions.iter().any(|version| {
            let followed =
                version.labels.iter().any(|label| matches!(label, Label::Current | Label::Previous | Label::Pending));
            let holds =
                version.labels.iter().any(|label| matches!(label, Label::Cred(lease) if lease.tracked == *tracked));
            followed && holds
        })
    }

    fn revoke(&self, id: &VendorId, tracked: bool) -> Result<(), Violation> {
        require(self.policy.capabilities.marking != Marking::InPlace, Violation::InPlace)?;
        self.not_held()?;
        require(!self.refers(&Tracked::of(id)), Violation::Referenced)?;
        let leased = self.secret.versions.iter().any(|version| {
            version.labels.iter().any(|label| matches!(label, Label::Cred(lease) if lease.tracked.is(id)))
        });
        require(leased == tracked, Violation::Tracking)?;
        if tracked { Ok(()) } else { self.leftover(id) }
    }

    /// Something untracked: made by us, and its maker is past storing it.
    fn leftover(&self, id: &VendorId) -> Result<(), Violation> {
        let listed = self.view.listing.iter().flatten().find(|seen| seen.id == *id);
        let (Some(seen), Some(vendor_now)) = (listed, self.now.vendor) else { return Err(Violation::NotOurs) };
        require(vendor_now.since(seen.created) > self.policy.settle * 2, Violation::NotOurs)?;
        let empty_slot = |attempt: Attempt| self.version(&attempt.slot_id()).is_none();
        let open = |version: &Version| match &version.role {
            Role::Claim(of) => empty_slot(of.attempt),
            Role::Slot(_) | Role::Other => false,
        };
        match &seen.marked {
            Marked::Ours(attempt) => {
                require(self.version(&attempt.claim_id()).is_none() || !empty_slot(*attempt), Violation::NotAbandoned)
            }
            Marked::First(_) => {
                let tag_settled = self.secret.bootstrap.as_ref().is_none_or(|tag| self.settled(tag.at));
                require(!self.secret.versions.is_empty() || tag_settled, Violation::NotAbandoned)
            }
            Marked::No => {
                let alone = self.policy.ownership == Ownership::Exclusive
                    && self.policy.capabilities.marking == Marking::Unnamed;
                require(alone, Violation::NotOurs)?;
                require(!self.secret.versions.iter().any(open), Violation::NotAbandoned)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attempt::Cause;
    use crate::rotation::story::{NOW, Told, attempt, first, healthy, id, in_place, tagged, tracked};

    fn claim(number: u32) -> Step {
        let base = Some(first().slot_id());
        Step::Claim { attempt: attempt(number), base, number, cause: Cause::Asked, before: Vec::new() }
    }

    fn revoke(text: &str, tracked: bool) -> Step {
        Step::Revoke { id: id(text), tracked }
    }

    fn promote(from: VersionId) -> Step {
        Step::Promote { version: attempt(1).slot_id(), from: Some(from), proved: Timestamp::default() }
    }

    fn detach(label: Label, version: VersionId) -> Step {
        Step::Detach { label, version }
    }

    #[test]
    fn what_must_never_happen_is_refused() {
        use Violation::*;
        let pending = || healthy().claimed(1, 5).stored(1, 5, &[Label::Pending]);
        let lost = |minutes| healthy().claimed(1, 40).tombstone(1, 20).lives("lost", Marked::Ours(attempt(1)), minutes);
        let rolled_back = || healthy().claimed(1, 50).stored(1, 50, &[Label::Previous]);
        let lease = Label::Cred(healthy().secret().versions[0].lease().unwrap().clone());
        let off = |told: &mut Told| told.secret().versions[0].labels.retain(|label| *label != Label::Previous);
        let proved = Hand::Proved { version: attempt(1).slot_id(), at: NOW };
        let open = Label::Open(attempt(1));
        let foreign = Label::Foreign("canary".into());
        let pause = |told: &mut Told| told.secret().paused_until = Some(Timestamp::from_seconds(i64::MAX / 1000));
        let rows: Vec<(&str, Told, Step, Violation)> = vec![
            ("paused", healthy().with(pause), claim(1), Parked),
            ("another's", healthy().with(|told| told.secret().owner = Owner::Nobody), claim(1), Parked),
            ("rolled back: revoke", rolled_back(), revoke("new", true), Held),
            ("rolled back: claim", rolled_back(), claim(2), Held),
            ("current", healthy(), revoke("old", true), Referenced),
            ("pending", pending(), revoke("new", true), Referenced),
            ("untracked, it says", healthy().promoted(50).with(off), revoke("old", false), Tracking),
            ("tracked, it says", lost(40), revoke("lost", true), Tracking),
            ("young", lost(30), revoke("lost", false), NotOurs),
            ("no mark of ours", healthy().lives("theirs", Marked::No, 90), revoke("theirs", false), NotOurs),
            (
                "may be stored yet",
                healthy().claimed(1, 40).lives("lost", Marked::Ours(attempt(1)), 40),
                revoke("lost", false),
                NotAbandoned,
            ),
            ("a record", in_place(), revoke("record", false), InPlace),
            (
                "the current value again, over a record that is there",
                in_place(),
                Step::Restore { version: first().slot_id() },
                NotACandidate,
            ),
            (
                "no claim in hand",
                healthy().claimed(1, 0),
                Step::Mint { attempt: attempt(1), since: Timestamp::default() },
                NoClaim,
            ),
            (
                "no tag in hand",
                tagged(1, 0),
                Step::MintFirst { attempt: first(), since: Timestamp::default() },
                NoClaim,
            ),
            ("an open attempt", healthy().claimed(1, 5), claim(2), Unresolved),
            ("from elsewhere", pending().hand(proved.clone()), promote(attempt(1).claim_id()), NotFromCurrent),
            ("unproved", pending(), promote(first().slot_id()), NotProved),
            (
                "a tombstone",
                healthy().claimed(1, 40).tombstone(1, 20).hand(proved),
                promote(first().slot_id()),
                NotACandidate,
            ),
            ("AWSCURRENT off", healthy(), detach(Label::Current, first().slot_id()), CurrentLabel),
            (
                "a stranger's label",
                healthy().with(|told| told.secret().versions[0].labels.push(Label::Foreign("canary".into()))),
                detach(foreign, first().slot_id()),
                ForeignLabel,
            ),
            (
                "a lease in use",
                healthy().hand(Hand::Ended { tracked: tracked("old") }),
                detach(lease.clone(), first().slot_id()),
                Referenced,
            ),
            ("a lease that lives", healthy().promoted(50).with(off), detach(lease, first().slot_id()), NotEnded),
            ("kf-open of an open attempt", healthy().claimed(1, 50), detach(open, attempt(1).claim_id()), NotAbandoned),
            ("a young attempt", healthy().claimed(1, 15), Step::Close { attempt: attempt(1) }, NotAbandoned),
            ("a tombstone as first version", tagged(1, 50), Step::Close { attempt: first() }, WrongStage),
            ("a tag beside versions", healthy(), Step::Tag { number: 1, before: Vec::new() }, WrongStage),
            ("a second secret", healthy(), Step::CreateSecret { before: Vec::new() }, WrongStage),
        ];
        for (what, told, step, violation) in rows {
            assert_eq!(told.guard(&step), Err(violation), "{what}: {violation}");
        }
    }
}
