//! A second look at a step that is about to be taken: the invariants whose breach cannot be undone,
//! told from first principles. Nothing here is shared with `decide`, so that one mistake does not
//! make both wrong. It allows more than `decide` does; what it refuses must never happen.
//!
//! The engine asks before each step and stops that one secret when the answer is no.

use std::fmt;
use std::time::Duration;

use crate::model::attempt::{Attempt, Base, Cause};
use crate::model::capability::Marking;
use crate::model::label::{Label, Lease, PlaceKey, Tracked};
use crate::model::name::{VendorId, VersionId};
use crate::model::observed::Claim;
use crate::model::policy::{Ownership, Policy, RetireWhen, Takeover, Verify, Wanted};
use crate::model::time::{Now, Timestamp};
use crate::rotation::decide::{Step, TagChange};
use crate::rotation::view::{Company, Fit, Hand, Marked, Owner, Role, Secret, Version, View};

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
    /// Nothing ends before its successor has been current for the overlap.
    Overlap,
    /// Something about it changed so recently that a late call might still bring it back.
    Young,
    /// What the policy asks for before the previous credential ends is neither there nor overdue.
    NoEvidence,
    /// Nothing is made for a credential that is declared retired.
    Retired,
    /// Invariant 2, as amended: the declaration does not retire it, or its consumers' time is not
    /// over, or something else of it has to go first.
    NotRetired,
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
            Self::Overlap => "the overlap of what it replaces is not over",
            Self::Young => "the secret changed too recently to end anything of it",
            Self::NoEvidence => "nothing shows that consumers have the new value, and the longest wait is not over",
            Self::Retired => "the declaration retires this credential",
            Self::NotRetired => "the declaration does not retire this credential, or not yet",
        })
    }
}

impl std::error::Error for Violation {}

/// Whether `step`, about to be taken on what `view` shows, keeps the invariants.
///
/// # Errors
/// Says which one it would break.
pub fn guard(view: &View, step: &Step, policy: &Policy, now: Now) -> Result<(), Violation> {
    let Some(secret) = &view.secret else {
        let wanted = policy.create_secret && policy.wanted == Wanted::Present;
        let creates = matches!(step, Step::CreateSecret { .. }) && wanted;
        return if creates { Ok(()) } else { Err(Violation::WrongStage) };
    };
    untouchable(secret, step, policy, now.store)?;
    let check = Check { view, secret, policy, now };
    let makes = matches!(
        step,
        Step::Tag(TagChange::TakeOver | TagChange::Attempt { .. }) | Step::Claim { .. } | Step::Mint { .. }
    );
    require(policy.wanted == Wanted::Present || !makes, Violation::Retired)?;
    match step {
        Step::CreateSecret { .. } => Err(Violation::WrongStage),
        Step::Tag(change) => check.tags(change),
        Step::Claim { attempt, base, number, .. } => check.claim(*attempt, base, *number),
        Step::Mint { attempt, first: false, .. } => check.mint(*attempt),
        Step::Mint { attempt, first: true, .. } => check.mint_first(*attempt),
        Step::Prove { version } => check.candidate(version),
        Step::Restore { version } => {
            check.in_place()?;
            check.not_held()?;
            let current = check.holder(&Label::Current);
            let another = current.is_some_and(|current| current.id != *version);
            let lost = view.listing().is_some_and(<[_]>::is_empty) && current.is_some();
            require((another || lost) && check.version(version).is_some(), Violation::NotACandidate)
        }
        Step::Promote { version, from, .. } => check.promote(version, from),
        Step::Detach { label, version } => check.detach(label, version),
        Step::Close { attempt } => check.close(*attempt),
        Step::Revoke { id, tracked, .. } => check.revoke(id, *tracked),
        Step::DeleteSecret => check.delete(),
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
        Owner::Nobody if *step == Step::Tag(TagChange::TakeOver) => policy.takeover == Takeover::Rotate,
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

    fn tags(&self, change: &TagChange) -> Result<(), Violation> {
        let (secret, policy) = (self.secret, self.policy);
        match change {
            TagChange::TakeOver => require(secret.owner == Owner::Nobody, Violation::Parked),
            TagChange::Move { .. } => {
                let elsewhere = secret.place.as_ref().is_some_and(|place| *place != policy.place);
                let near = secret.at.as_ref().zip(policy.at.as_ref()).is_some_and(|(at, wanted)| at.is_near(wanted));
                require(elsewhere && near && self.view.listing().is_some(), Violation::WrongStage)
            }
            TagChange::Arrive { left } => {
                let leased = |one: &Version| one.labels.iter().any(|label| matches!(label, Label::Cred(_)));
                let current = self.holder(&Label::Current).map(|current| current.id.clone());
                let alone = secret.versions.iter().all(|one| Some(&one.id) == current.as_ref() || !leased(one));
                let quiet = secret.moved.is_none_or(|moved| self.settled(moved));
                let settled = quiet && secret.formers().any(|one| one == left);
                require(settled && current.is_some() && alone, Violation::Tracking)
            }
            TagChange::Attempt { number, .. } => {
                let last = secret.bootstrap.as_ref().map_or(0, |tag| tag.number);
                require(secret.versions.is_empty() && *number == last + 1, Violation::WrongStage)
            }
            TagChange::AttemptDone => require(self.holder(&Label::Current).is_some(), Violation::WrongStage),
            TagChange::Retiring => {
                self.not_held()?;
                require(policy.wanted == Wanted::Retired, Violation::NotRetired)
            }
            TagChange::Ending { version, .. } => {
                self.not_held()?;
                self.alone(version)
            }
            TagChange::NotRetiring => {
                let dead = self.holder(&Label::Current).is_some_and(|current| self.begun(&current.id));
                require(policy.wanted == Wanted::Present && !dead, Violation::WrongStage)
            }
            TagChange::Compared { .. } => require(self.view.listing().is_some(), Violation::WrongStage),
        }
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
        // Our own doing: its lease may be off.
        if self.begun(&current.id) {
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
        // A claim that says that the current value leaked stays open when its attempt has failed.
        let remembers = |open: Attempt| {
            let claim = self.secret.claims.iter().find(|claim| claim.attempt == open);
            let leaked = claim.is_some_and(|claim| claim.cause == Cause::Leaked && claim.base == current);
            leaked && self.version(&open.slot_id()).is_some()
        };
        let unresolved = |version: &Version| {
            version.labels.iter().any(|label| matches!(label, Label::Open(open) if !remembers(*open)))
        };
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
        let proved = match &self.view.hand {
            Hand::Proved { version, at } => *version == *id && self.young(*at),
            Hand::Untold { version, at } => {
                *version == *id && self.young(*at) && self.policy.verify == Verify::BestEffort
            }
            _ => false,
        };
        require(proved, Violation::NotProved)
    }

    fn detach(&self, label: &Label, id: &VersionId) -> Result<(), Violation> {
        let version = self.version(id).filter(|version| version.labels.contains(label));
        let Some(version) = version else { return Err(Violation::ForeignLabel) };
        match label {
            Label::Current => Err(Violation::CurrentLabel),
            Label::Foreign(_) | Label::Closed => Err(Violation::ForeignLabel),
            Label::Pending => require(matches!(version.role, Role::Slot(_)), Violation::ForeignLabel),
            Label::Previous => {
                self.not_held()?;
                require(self.evidence(version), Violation::NoEvidence)
            }
            Label::Open(attempt) => {
                // The claim may go only after its slot has been filled, one way or the other.
                require(self.version(&attempt.slot_id()).is_some(), Violation::NotAbandoned)
            }
            Label::Cred(lease) => {
                let retired = version.labels.contains(&Label::Current) && self.begun(&version.id);
                require(retired || !self.refers(&lease.tracked), Violation::Referenced)?;
                require(self.ended(lease), Violation::NotEnded)
            }
        }
    }

    /// Invariant 10: the vendor confirmed its end, or said where it was made that it knows no such
    /// credential and nothing about it is young; and its listing does not show it any more.
    fn ended(&self, lease: &Lease) -> bool {
        let absent = self.view.listing().is_some_and(|all| !all.iter().any(|seen| lease.tracked.is(&seen.id)));
        let confirmed = matches!(&self.view.hand, Hand::Ended { tracked } if *tracked == lease.tracked);
        let unknown = matches!(&self.view.hand, Hand::Unknown { tracked } if *tracked == lease.tracked);
        // An id that is only known by its hash can be asked for only while it is listed.
        let unaskable = matches!(lease.tracked, Tracked::Hashed(_)) && self.made_where_listed(lease);
        let grown = self.settled(lease.since) && self.settled(self.secret.changed);
        absent && (confirmed || ((unknown || unaskable) && grown))
    }

    /// Whether the listing covers the place that the label names.
    fn made_where_listed(&self, lease: &Lease) -> bool {
        let key = |place: &String| PlaceKey::of(place);
        let mut listed = self.secret.dwellings.iter().map(|one| key(&one.place)).chain([key(&self.policy.place)]);
        match lease.made_in {
            Some(made_in) => listed.any(|one| one == made_in),
            None => self.secret.place.as_ref() == Some(&self.policy.place),
        }
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
        if self.refers(&Tracked::of(id)) {
            return if tracked { self.retired_current(id) } else { Err(Violation::Referenced) };
        }
        let leased = self.secret.versions.iter().any(|version| {
            version.labels.iter().any(|label| matches!(label, Label::Cred(lease) if lease.tracked.is(id)))
        });
        require(leased == tracked, Violation::Tracking)?;
        if tracked { self.replaced(id) } else { self.leftover(id) }
    }

    /// What a version of ours held ends when nothing can come back to it any more and, if the current
    /// version replaced it, after the overlap: neither is owed to what leaked, nor to what is retired.
    fn replaced(&self, id: &VendorId) -> Result<(), Violation> {
        let Some(current) = self.holder(&Label::Current) else { return Ok(()) };
        let leaked = self.leaked(current);
        let at_once = leaked && matches!(&self.view.hand, Hand::Retired { .. });
        require(at_once || self.settled(self.secret.changed), Violation::Young)?;
        let holds = |version: &&Version| {
            version.labels.iter().any(|label| matches!(label, Label::Cred(lease) if lease.tracked.is(id)))
        };
        let Some(old) = self.secret.versions.iter().find(holds) else { return Ok(()) };
        let Role::Slot(of) = &current.role else { return Ok(()) };
        let base = of.origin.as_ref().and_then(|(base, _)| base.as_ref()) == Some(&old.id);
        let since = current.labels.iter().find_map(|label| match label {
            Label::Cred(lease) => Some(lease.since),
            _ => None,
        });
        // Its claim came before its promotion, so this is the least of what is owed.
        let over = since.is_none_or(|since| self.now.store.since(since) > self.policy.overlap);
        require(!base || over || leaked || self.retired(), Violation::Overlap)
    }

    /// Whether the current version was made, or is to be replaced, because a value leaked.
    fn leaked(&self, current: &Version) -> bool {
        let of_current =
            |claim: &Claim| claim.attempt.slot_id() == current.id || claim.base.as_ref() == Some(&current.id);
        self.view.request == Some(Cause::Leaked)
            || self.secret.claims.iter().any(|claim| claim.cause == Cause::Leaked && of_current(claim))
    }

    /// Whether the retiring tag says that the end of this version's credential has begun.
    fn begun(&self, id: &VersionId) -> bool {
        let ending = self.secret.retiring.as_ref().and_then(|tag| tag.ending.as_ref());
        ending.is_some_and(|ending| ending.version == *id)
    }

    /// Declared retired, and every consumer has had the overlap and its own time since that was
    /// first seen.
    fn retired(&self) -> bool {
        let given = self.policy.overlap.max(self.policy.refresh) + self.policy.settle;
        let over = self.secret.retiring.as_ref().is_some_and(|tag| self.now.store.since(tag.since) > given);
        self.policy.wanted == Wanted::Retired && over
    }

    /// The current credential ends last: nothing else of the secret lives or may still be stored.
    fn alone(&self, current: &VersionId) -> Result<(), Violation> {
        let live = |version: &Version| version.labels.iter().any(|label| matches!(label, Label::Cred(_)));
        let under_way = |version: &Version| {
            version.labels.iter().any(|label| matches!(label, Label::Open(_) | Label::Pending | Label::Previous))
        };
        let others = self.secret.versions.iter().any(|one| (one.id != *current && live(one)) || under_way(one));
        let holds = self.holder(&Label::Current).is_some_and(|one| one.id == *current);
        require(self.retired() && !others && holds, Violation::NotRetired)
    }

    /// Invariant 2, amended for this one case: what AWSCURRENT refers to ends if the declaration
    /// says so, long enough ago, nothing else is left, and it was written down where every replica
    /// must have seen it.
    fn retired_current(&self, id: &VendorId) -> Result<(), Violation> {
        let holds = |version: &Version| {
            version.labels.iter().any(|label| matches!(label, Label::Cred(lease) if lease.tracked.is(id)))
        };
        let holder = self.secret.versions.iter().find(|version| holds(version));
        let Some(current) = holder.filter(|version| version.labels.contains(&Label::Current)) else {
            return Err(Violation::Referenced);
        };
        let ending = self.secret.retiring.as_ref().and_then(|tag| tag.ending.as_ref());
        let written = ending.is_some_and(|ending| {
            ending.version == current.id && self.now.store.since(ending.at) > self.policy.settle * 2
        });
        require(written, Violation::Referenced)?;
        self.alone(&current.id)
    }

    fn delete(&self) -> Result<(), Violation> {
        self.not_held()?;
        let busy = |version: &Version| {
            let labels = &version.labels;
            labels.iter().any(|label| matches!(label, Label::Cred(_) | Label::Open(_) | Label::Pending))
        };
        let dead = !self.secret.versions.iter().any(busy);
        require(self.retired() && self.policy.create_secret && dead, Violation::NotRetired)
    }

    /// What `retire_when` asks for, unless the value leaked or the whole credential is retired.
    fn evidence(&self, previous: &Version) -> bool {
        let Some(current) = self.holder(&Label::Current) else { return false };
        let lease = |version: &Version| {
            version.labels.iter().find_map(|label| match label {
                Label::Cred(lease) => Some(lease.clone()),
                _ => None,
            })
        };
        let Some(old) = lease(previous) else { return true };
        let leaked = self.view.request == Some(Cause::Leaked)
            || self.secret.claims.iter().any(|one| one.cause == Cause::Leaked && one.attempt.slot_id() == current.id);
        let since = lease(current).map_or(current.created, |lease| lease.since);
        let age = self.now.store.since(since);
        let shown = match self.policy.retire_when {
            RetireWhen::OverlapOver => true,
            RetireWhen::Confirmed { max } => {
                let confirmed = self.secret.confirmed.as_ref().map(|one| &one.version);
                age >= max || confirmed == Some(&current.id)
            }
            RetireWhen::Unused { max } => {
                // Use up to the end of the overlap may be what consumers are entitled to.
                let accepted = self.secret.accepted.as_ref().is_some_and(|one| one.version == current.id);
                let entitled = self.policy.candidate_age_max + self.policy.overlap;
                let fine = |used: Timestamp| accepted || used <= since.plus(entitled);
                let listing = self.view.listing();
                age >= max
                    || listing.is_some_and(|listing| {
                        listing.iter().filter(|one| old.tracked.is(&one.id)).all(|one| one.last_used.is_none_or(fine))
                    })
            }
        };
        leaked || self.retired() || shown
    }

    /// Something untracked: made by us, and its maker is past storing it.
    fn leftover(&self, id: &VendorId) -> Result<(), Violation> {
        let (Some(seen), Some(vendor_now)) = (self.view.listed(id), self.now.vendor) else {
            return Err(Violation::NotOurs);
        };
        require(vendor_now.since(seen.created) > self.policy.settle * 2, Violation::NotOurs)?;
        // A label that somebody follows shelters what was made for its version, lease or no lease.
        let followed = |version: &Version| {
            version.labels.iter().any(|label| matches!(label, Label::Current | Label::Previous | Label::Pending))
        };
        let made_for = |version: &Version| match (&version.role, &seen.marked) {
            (Role::Slot(of), Marked::Ours(attempt) | Marked::First(attempt)) => of.attempt == *attempt,
            (Role::Slot(_), Marked::No) => !version.labels.iter().any(|label| matches!(label, Label::Cred(_))),
            (Role::Claim(_) | Role::Other, _) => false,
        };
        let leased = |version: &Version| version.labels.iter().any(|label| matches!(label, Label::Cred(_)));
        let bare = |one: &Version| !leased(one) && !self.begun(&one.id);
        let sheltered = self.secret.versions.iter().any(|one| followed(one) && made_for(one) && bare(one));
        require(!sheltered, Violation::Referenced)?;
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
                // Who else is made there was asked of the declared place only.
                let (ownership, company) = match seen.fit {
                    Fit::Declared | Fit::Differs => (self.policy.ownership, self.view.facts.company.found().copied()),
                    Fit::Away { ownership } => (ownership, Some(Company::Alone)),
                };
                let alone = ownership == Ownership::Exclusive
                    && company == Some(Company::Alone)
                    && self.policy.capabilities.marking == Marking::Unnamed;
                require(alone, Violation::NotOurs)?;
                require(!self.secret.versions.iter().any(open), Violation::NotAbandoned)
            }
        }
    }
}

#[cfg(test)]
mod tests;
