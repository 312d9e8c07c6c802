//! The one next step of one secret that has a value. Checks stand in a visible order and none
//! relies on an earlier one having run: what one proved, the next takes as an argument.
//!
//! ```text
//!  parked? held?        nothing moves until the cause is gone or a person decides
//!    └ in hand          what this process did a moment ago: mint, end a lease, end a leaked one
//!       └ candidate     AWSPENDING: prove it, promote it, or take the label off
//!          └ resolved   kf-open off where no leftover can exist
//!             └ open    close what was begun and never finished, or wait for it
//!                └ previous     retire it when the overlap is over
//!                   └ unreferenced    revoke what nothing refers to
//!                      └ leftovers    revoke what is provably ours and untracked
//!                         └ due       claim the next attempt
//! ```

use std::time::Duration;

use crate::model::attempt::{Attempt, Base, Cause};
use crate::model::capability::Marking;
use crate::model::label::{Label, Lease};
use crate::model::name::{VendorId, VersionId};
use crate::model::observed::Obstacle;
use crate::model::policy::{Policy, Takeover};
use crate::model::time::{Now, Timestamp};
use crate::rotation::reason::earlier;
use crate::rotation::sweep::{self, Sweep};
use crate::rotation::view::{Hand, Owner, Role, Secret, Version, View};
use crate::rotation::{Reason, bootstrap, calendar};

/// A credential is created, and a proved candidate promoted, only this soon after.
pub const FRESH_MAX: Duration = Duration::from_secs(60);
/// A candidate that the vendor refuses is tried for this long: it may not have reached all of the
/// vendor yet.
const REFUSED_MAX: Duration = Duration::from_secs(120);

/// One step of the protocol.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Nothing now.
    Wait,
    /// Create the AWS secret, empty, with our tags and the bootstrap tag of the first try.
    CreateSecret {
        /// Short hashes of what the vendor listed just before (unnamed vendors only).
        before: Vec<String>,
    },
    /// Write the owner tags, and nothing else.
    TakeOver,
    /// Write the bootstrap tag of this try.
    Tag {
        /// Which try.
        number: u32,
        /// Short hashes of what the vendor listed before the first try (unnamed vendors only).
        before: Vec<String>,
    },
    /// Put a claim.
    Claim {
        /// The attempt.
        attempt: Attempt,
        /// What it is to replace.
        base: Base,
        /// Which try.
        number: u32,
        /// Why.
        cause: Cause,
        /// What the vendor listed just before.
        before: Vec<VendorId>,
    },
    /// Create the credential at the vendor and put it into the slot.
    Mint {
        /// The attempt.
        attempt: Attempt,
        /// AWS's date of the claim's answer: the age of the credential counts from here.
        since: Timestamp,
    },
    /// Create the credential, prove it, and publish it as the secret's first version.
    MintFirst {
        /// The attempt.
        attempt: Attempt,
        /// The date in the bootstrap tag: the put is signed with it.
        since: Timestamp,
    },
    /// Log in at the vendor with the candidate.
    Verify {
        /// The candidate.
        version: VersionId,
    },
    /// In-place vendors: set the candidate's value at the vendor and prove it.
    Apply {
        /// The candidate.
        version: VersionId,
    },
    /// In-place vendors: set AWSCURRENT's value at the vendor again.
    Restore {
        /// The candidate that was set instead.
        version: VersionId,
    },
    /// Move AWSCURRENT to the candidate.
    Promote {
        /// The candidate.
        version: VersionId,
        /// The version that must hold AWSCURRENT for the move to be accepted.
        from: Base,
        /// The moment the proof was asked for: the move is signed with it.
        proved: Timestamp,
    },
    /// Take a label off a version.
    Detach {
        /// The label; never AWSCURRENT.
        label: Label,
        /// The version that must have it.
        version: VersionId,
    },
    /// Put a tombstone into the slot of an attempt.
    Close {
        /// The attempt.
        attempt: Attempt,
    },
    /// Revoke a credential at the vendor.
    Revoke {
        /// The vendor's id.
        id: VendorId,
        /// Whether a lease tracks it.
        tracked: bool,
    },
    /// Take the bootstrap tag off.
    Untag,
}

/// What to do, why, and when to look again if there is nothing to do (AWS's date; `None` when only
/// an outside change can make a difference).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Decision {
    /// The step.
    pub step: Step,
    /// Why.
    pub reason: Reason,
    /// When to look again.
    pub look_again: Option<Timestamp>,
}

impl Decision {
    /// A step to take now.
    pub fn act(step: Step, reason: Reason) -> Self {
        Self { step, reason, look_again: None }
    }

    /// Nothing to do until then.
    pub fn wait(reason: Reason, until: Option<Timestamp>) -> Self {
        Self { step: Step::Wait, reason, look_again: until }
    }
}

/// Decides the one next step. Pure: the same view, policy and dates give the same decision.
pub fn decide(view: &View, policy: &Policy, now: Now) -> Decision {
    let Some(secret) = &view.secret else { return bootstrap::without_secret(view, policy) };
    if let Some(parked) = parked(secret, policy, now.store) {
        return parked;
    }
    let Some(current) = secret.with(&Label::Current) else {
        return bootstrap::without_current(secret, view, policy, now);
    };
    if let Some(reason) = held(secret, current, policy) {
        return Decision::wait(reason, None);
    }
    let case = Case { secret, current, view, policy, now };
    case.in_hand()
        .or_else(|| case.candidate())
        .or_else(|| case.resolved())
        .or_else(|| case.open())
        .or_else(|| case.previous())
        .or_else(|| case.unreferenced())
        .or_else(|| case.leftovers())
        .unwrap_or_else(|| case.due())
}

/// States in which keyferry touches nothing and nothing it does would heal them.
fn parked(secret: &Secret, policy: &Policy, now: Timestamp) -> Option<Decision> {
    let blocked = |reason| Some(Decision::wait(reason, None));
    match &secret.obstacle {
        Some(Obstacle::ScheduledForDeletion(_)) => return blocked(Reason::ScheduledForDeletion),
        Some(Obstacle::NativeRotation) => return blocked(Reason::NativeRotation),
        Some(Obstacle::PartnerType(_) | Obstacle::ManagedBy(_)) => return blocked(Reason::ManagedElsewhere),
        Some(Obstacle::Replica { .. }) => return blocked(Reason::ReplicaRegion),
        None => {}
    }
    match &secret.owner {
        Owner::Us | Owner::Stripped => {}
        Owner::Other { .. } => return blocked(Reason::OtherOwner),
        // An empty secret that someone else creates and keyferry fills has no value to overwrite.
        Owner::Nobody if secret.versions.is_empty() && !policy.create_secret => {}
        Owner::Nobody => match policy.takeover {
            Takeover::Refuse => return blocked(Reason::NotOurs),
            Takeover::Rotate => return Some(Decision::act(Step::TakeOver, Reason::TakeOver)),
        },
    }
    match secret.paused_until {
        Some(until) if now < until => Some(Decision::wait(Reason::Paused, Some(until))),
        Some(_) | None => None,
    }
}

/// Whether a person has to decide before anything moves.
fn held(secret: &Secret, current: &Version, policy: &Policy) -> Option<Reason> {
    if secret.accepted.as_ref().is_some_and(|accepted| accepted.version == current.id) {
        return None;
    }
    let in_place = policy.capabilities.marking == Marking::InPlace;
    let ours = |version: &Version| version.slot().is_some() && (in_place || version.lease().is_some());
    let replaces_current = |version: &Version| version.base() == Some(&Some(current.id.clone()));
    if !ours(current) {
        // A secret being taken over: nothing of ours was published in it yet.
        let untouched = secret.versions.iter().all(|version| !ours(version) || replaces_current(version));
        let taking_over = policy.takeover == Takeover::Rotate && current.role == Role::Other && untouched;
        if !taking_over {
            return Some(Reason::ForeignCurrent);
        }
    }
    let rolled_back = |previous: &Version| {
        replaces_current(previous) && previous.slot().is_some() && (in_place || previous.lease().is_some())
    };
    secret.with(&Label::Previous).is_some_and(rolled_back).then_some(Reason::RolledBack)
}

/// The date from which a published version's age counts.
fn published(version: &Version) -> Timestamp {
    version.lease().map_or(version.created, |lease| lease.since)
}

struct Case<'a> {
    secret: &'a Secret,
    current: &'a Version,
    view: &'a View,
    policy: &'a Policy,
    now: Now,
}

impl Case<'_> {
    fn in_place(&self) -> bool {
        self.policy.capabilities.marking == Marking::InPlace
    }

    fn age(&self, date: Timestamp) -> Duration {
        self.now.store.since(date)
    }

    /// Whether the rotation that made the current version was asked for because the one before it
    /// leaked. Its claim keeps `kf-open` until the old ones are gone, so that a crash doesn't
    /// forget it.
    fn leaked(&self) -> bool {
        let made_by = self.current.slot().map(|of| of.attempt);
        let cause = made_by.and_then(|attempt| self.secret.claim_of(attempt)).map(|claim| claim.cause);
        cause == Some(Cause::Leaked) || self.view.request == Some(Cause::Leaked)
    }

    /// When the current version's base may go: a candidate's longest life after the claim, then
    /// the overlap; from its acceptance where a person accepted the current version.
    fn overlap_ends(&self) -> Timestamp {
        let after_claim = published(self.current).plus(self.policy.candidate_age_max).plus(self.policy.overlap);
        match &self.secret.accepted {
            Some(accepted) if accepted.version == self.current.id => {
                let accepted_at = accepted.at.map_or(self.secret.changed, |at| at.max(self.secret.changed));
                after_claim.max(accepted_at.plus(self.policy.overlap))
            }
            Some(_) | None => after_claim,
        }
    }

    fn in_hand(&self) -> Option<Decision> {
        match &self.view.hand {
            Hand::Claimed { attempt, at } => (self.age(*at) < FRESH_MAX && self.secret.slot_of(*attempt).is_none())
                .then(|| Decision::act(Step::Mint { attempt: *attempt, since: *at }, Reason::ClaimWon)),
            Hand::Ended { tracked } => {
                self.leased(|lease| lease.tracked == *tracked).map(|version| self.end_lease(version))
            }
            // Absent for the vendor's own reads is not yet dead: only once it also left the
            // listing, and nothing about it is young.
            Hand::Unknown { tracked } => self
                .leased(|lease| lease.tracked == *tracked && self.age(lease.since) > self.policy.settle)
                .filter(|_| self.age(self.secret.changed) > self.policy.settle)
                .filter(|_| {
                    let listing = self.view.listing.as_ref();
                    listing.is_some_and(|listing| !listing.iter().any(|seen| tracked.is(&seen.id)))
                })
                .map(|version| self.end_lease(version)),
            // At once only where the current version was made from the retired one: a late move of
            // AWSCURRENT to anything else might still land.
            Hand::Retired { version } if self.leaked() && self.current.base() == Some(&Some(version.clone())) => {
                let retired = self.secret.versions.iter().find(|one| one.id == *version && !one.referenced())?;
                self.revoke(retired, Reason::Leaked)
            }
            Hand::Retired { .. }
            | Hand::Empty
            | Hand::Tagged { .. }
            | Hand::Proved { .. }
            | Hand::Refused { .. }
            | Hand::Restored { .. } => None,
        }
    }

    /// The unreferenced version whose lease fulfils `wanted`.
    fn leased(&self, wanted: impl Fn(&Lease) -> bool) -> Option<&Version> {
        self.secret.versions.iter().find(|version| !version.referenced() && version.lease().is_some_and(&wanted))
    }

    fn end_lease(&self, version: &Version) -> Decision {
        let lease = version.lease().expect("only leased versions get here").clone();
        Decision::act(Step::Detach { label: Label::Cred(lease), version: version.id.clone() }, Reason::RevokeConfirmed)
    }

    fn candidate(&self) -> Option<Decision> {
        let pending = self.secret.with(&Label::Pending)?;
        let detach =
            |reason| Some(Decision::act(Step::Detach { label: Label::Pending, version: pending.id.clone() }, reason));
        if pending.id == self.current.id {
            return detach(Reason::Promoted);
        }
        if pending.slot().is_none() {
            return Some(Decision::wait(Reason::ForeignPending, None));
        }
        let superseded = pending.base() != Some(&Some(self.current.id.clone())) || pending.has(&Label::Previous);
        let aged = self.age(published(pending)) > self.policy.candidate_age_max;
        let refused = match &self.view.hand {
            Hand::Refused { version, since } if *version == pending.id => self.age(*since) >= REFUSED_MAX,
            _ => false,
        };
        let given_up = match (superseded, aged, refused) {
            (true, _, _) => Some(Reason::CandidateSuperseded),
            (_, true, _) => Some(Reason::CandidateAged),
            (_, _, true) => Some(Reason::CandidateRefused),
            (false, false, false) => None,
        };
        let version = pending.id.clone();
        match given_up {
            // The vendor may hold the candidate's value: AWSCURRENT's must be back before the
            // candidate is let go.
            Some(reason) if self.in_place() && self.view.hand != (Hand::Restored { version: version.clone() }) => {
                Some(Decision::act(Step::Restore { version }, reason))
            }
            Some(reason) => detach(reason),
            None => Some(match &self.view.hand {
                Hand::Proved { version: proved, at } if *proved == version && self.age(*at) < FRESH_MAX => {
                    let from = Some(self.current.id.clone());
                    Decision::act(Step::Promote { version, from, proved: *at }, Reason::CandidateProved)
                }
                _ if self.in_place() => Decision::act(Step::Apply { version }, Reason::CandidateUnproved),
                _ => Decision::act(Step::Verify { version }, Reason::CandidateUnproved),
            }),
        }
    }

    /// `kf-open` goes as soon as no leftover can exist: what was created is in the slot, or was
    /// looked for after the slot was closed.
    fn resolved(&self) -> Option<Decision> {
        if let Some(tag) = &self.secret.bootstrap
            && sweep::first_done(tag, self.secret, self.view, self.policy, self.now)
        {
            return Some(Decision::act(Step::Untag, Reason::BootstrapDone));
        }
        let (attempt, version) = self.opened().find(|(attempt, _)| {
            let Some(slot) = self.secret.slot_of(*attempt) else { return false };
            let stored = slot.lease().is_some() || self.in_place();
            // A leaked rotation's claim remembers why until every older one is gone.
            let remembers = slot.id == self.current.id
                && self.secret.claim_of(*attempt).is_none_or(|claim| claim.cause == Cause::Leaked)
                && (self.secret.with(&Label::Previous).is_some() || self.base_lives());
            (stored && !remembers) || (!stored && self.swept(*attempt, slot))
        })?;
        Some(Decision::act(
            Step::Detach { label: Label::Open(attempt), version: version.id.clone() },
            Reason::AttemptResolved,
        ))
    }

    /// Whether the version that the current one replaced is still leased.
    fn base_lives(&self) -> bool {
        let is_base = |version: &Version| self.current.base() == Some(&Some(version.id.clone()));
        self.secret.versions.iter().any(|version| is_base(version) && version.lease().is_some())
    }

    /// Whether a closed attempt's leftover was looked for, late enough, and is not there.
    fn swept(&self, attempt: Attempt, slot: &Version) -> bool {
        let Some(listing) = &self.view.listing else { return false };
        self.age(slot.created) > self.policy.settle && !sweep::leaves(attempt, self.secret, self.policy, listing)
    }

    /// Attempts that still carry `kf-open`, with the version that does.
    fn opened(&self) -> impl Iterator<Item = (Attempt, &Version)> {
        self.secret.versions.iter().filter_map(|version| {
            let attempt = version.claim()?.attempt;
            version.has(&Label::Open(attempt)).then_some((attempt, version))
        })
    }

    /// Attempts on any base whose slot is empty: nothing else happens while there is one.
    fn open(&self) -> Option<Decision> {
        let mut until = None;
        for version in &self.secret.versions {
            let Some(claim) = version.claim() else { continue };
            if self.secret.slot_of(claim.attempt).is_some() {
                continue;
            }
            if self.age(version.created) > self.policy.settle {
                return Some(Decision::act(Step::Close { attempt: claim.attempt }, Reason::AttemptAbandoned));
            }
            until = earlier(until, Some(version.created.plus(self.policy.settle).plus(TICK)));
        }
        until.map(|until| Decision::wait(Reason::AttemptOpen, Some(until)))
    }

    fn previous(&self) -> Option<Decision> {
        let previous = self.secret.with(&Label::Previous).filter(|previous| previous.id != self.current.id)?;
        let reason = if self.leaked() { Reason::Leaked } else { Reason::OverlapOver };
        let due = reason == Reason::Leaked || self.now.store >= self.overlap_ends();
        due.then(|| Decision::act(Step::Detach { label: Label::Previous, version: previous.id.clone() }, reason))
    }

    fn unreferenced(&self) -> Option<Decision> {
        let dead = |version: &&Version| {
            version.lease().is_some() && !version.referenced() && self.now.store > self.ends(version)
        };
        let version = self.secret.versions.iter().find(dead)?;
        self.revoke(version, Reason::Unreferenced)
    }

    /// When an unreferenced credential may be revoked. Two independent proofs that nothing can
    /// come back to it: the secret has not changed for settle, and - because AWS does not promise
    /// that `LastChangedDate` moves with labels - the last promotion of it that anyone may have
    /// signed has expired.
    fn ends(&self, version: &Version) -> Timestamp {
        let quiet = self.secret.changed.plus(self.policy.settle);
        let unsigned = published(version).plus(self.policy.candidate_age_max).plus(self.policy.settle);
        let replaced = self.current.base() == Some(&Some(version.id.clone())) && !self.leaked();
        let overlap = if replaced { self.overlap_ends() } else { unsigned };
        quiet.max(unsigned).max(overlap)
    }

    fn revoke(&self, version: &Version, reason: Reason) -> Option<Decision> {
        let tracked = &version.lease()?.tracked;
        let id = match tracked {
            crate::model::label::Tracked::Plain(id) => Some(id.clone()),
            crate::model::label::Tracked::Hashed(_) => {
                let listing = self.view.listing.as_ref()?;
                listing.iter().find(|seen| tracked.is(&seen.id)).map(|seen| seen.id.clone())
            }
        };
        Some(match id {
            Some(id) => Decision::act(Step::Revoke { id, tracked: true }, reason),
            // Known by its hash alone and not listed any more: it is gone.
            None => self.end_lease(version),
        })
    }

    fn leftovers(&self) -> Option<Decision> {
        match sweep::sweep(self.secret, Some(self.current), self.view, self.policy, self.now) {
            Sweep::Revoke(id) => Some(Decision::act(Step::Revoke { id, tracked: false }, Reason::Leftover)),
            Sweep::TooMany => Some(Decision::wait(Reason::TooManyLeftovers, None)),
            Sweep::Nothing => None,
        }
    }

    /// Nothing is left to clean up: begin the next attempt, or say what it waits for.
    fn due(&self) -> Decision {
        let cleanup = self.next_cleanup();
        let wait = |reason, until| Decision::wait(reason, earlier(until, cleanup));
        let asked = self.view.request;
        // A version that a person put or accepted, or that is being taken over, is replaced when
        // its own age says so; one being taken over, at once.
        let taking_over = self.current.role == Role::Other
            && self.secret.accepted.as_ref().is_none_or(|accepted| accepted.version != self.current.id);
        let due = if taking_over { Some(self.now.store) } else { calendar::due(self.policy, published(self.current)) };
        let resting = if self.secret.with(&Label::Previous).is_some() || self.base_lives() {
            Reason::InOverlap
        } else if due.is_none() {
            Reason::HealthyManual
        } else {
            Reason::Healthy
        };
        let due_now = due.is_some_and(|due| due <= self.now.store);
        if asked.is_none() && !due_now {
            return wait(resting, due);
        }
        if self.secret.with(&Label::Previous).is_some_and(|previous| previous.id != self.current.id) {
            return wait(Reason::InOverlap, None);
        }
        if self.opened().next().is_some() {
            return wait(Reason::Settling, Some(self.now.store.plus(self.policy.settle)));
        }
        let Some(listing) = &self.view.listing else { return wait(Reason::VendorSilent, None) };
        if !self.room(listing) {
            return wait(Reason::NoRoom, None);
        }
        let (number, last) = self.next_number();
        if let Some(over) = last.map(|last| last.plus(calendar::backoff(self.policy, number - 1)))
            && self.now.store < over
        {
            return wait(Reason::BackingOff, Some(over));
        }
        if asked.is_none() {
            let opens = calendar::opens(self.policy, self.now.store);
            if opens != Some(self.now.store) {
                return wait(Reason::WindowClosed, opens);
            }
        }
        let cause = asked.unwrap_or(Cause::Due);
        let base = Some(self.current.id.clone());
        let attempt = Attempt::derive(&self.secret.arn, &base, number);
        let reason = match cause {
            Cause::Due => Reason::Due,
            Cause::Asked => Reason::Asked,
            Cause::Leaked => Reason::Leaked,
        };
        let before = listing.iter().map(|seen| seen.id.clone()).collect();
        Decision::act(Step::Claim { attempt, base, number, cause, before }, reason)
    }

    /// The next date at which something older can be cleaned up.
    fn next_cleanup(&self) -> Option<Timestamp> {
        let previous = self.secret.with(&Label::Previous).filter(|previous| previous.id != self.current.id);
        let retire = previous.map(|_| self.overlap_ends());
        let revoke = self
            .secret
            .versions
            .iter()
            .filter(|version| version.lease().is_some() && !version.referenced())
            .map(|version| self.ends(version).plus(TICK))
            .min();
        let sweep = self.opened().next().map(|_| self.now.store.plus(self.policy.settle));
        let leftover = sweep::next(self.secret, self.view, self.policy, self.now);
        earlier(earlier(retire, revoke), earlier(sweep, leftover))
    }

    fn room(&self, listing: &[crate::rotation::view::Seen]) -> bool {
        if self.in_place() {
            return true;
        }
        let leased = self.secret.versions.iter().filter(|version| version.lease().is_some()).count();
        let untracked = listing.iter().filter(|seen| sweep::ours(seen) && !self.secret.tracks(&seen.id)).count();
        let vendor_has_room =
            self.policy.capabilities.live_max.is_none_or(|max| listing.len() < usize::from(max.get()));
        leased + untracked < self.policy.live_max && vendor_has_room
    }

    /// The number of the next attempt on the current version, and the date of the last one's claim.
    fn next_number(&self) -> (u32, Option<Timestamp>) {
        let mut highest = 0;
        let mut last = None;
        for version in &self.secret.versions {
            let (Role::Claim(of) | Role::Slot(of)) = &version.role else { continue };
            let Some((Some(base), number)) = &of.origin else { continue };
            if *base == self.current.id && *number >= highest {
                highest = *number;
                last = earlier(last.filter(|_| *number == highest), Some(version.created));
            }
        }
        (highest + 1, last)
    }
}

/// Ages are compared with "older than": one second past a date is past it.
const TICK: Duration = Duration::from_secs(1);
