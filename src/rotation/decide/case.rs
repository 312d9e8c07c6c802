//! A secret that has a value and may be touched: the rules in their order, from what is in hand to
//! what is left over.

use std::time::Duration;

use crate::model::attempt::{Attempt, Cause};
use crate::model::capability::Marking;
use crate::model::label::{Label, Lease, Tracked};
use crate::model::policy::{Policy, Verify, Wanted};
use crate::model::time::{Now, Timestamp};
use crate::rotation::Reason;
use crate::rotation::decide::{Decision, FRESH_MAX, Site, Step, TagChange};
use crate::rotation::reason::earlier;
use crate::rotation::sweep::{self, Sweep};
use crate::rotation::view::{Dwelling, Fit, Hand, Home, Marked, Secret, Version, View};

/// A candidate that the vendor refuses is tried for this long: it may not have reached all of the
/// vendor yet.
const REFUSED_MAX: Duration = Duration::from_secs(120);
/// Ages are compared with "older than": one second past a date is past it.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// The date from which a published version's age counts.
pub(super) fn published(version: &Version) -> Timestamp {
    version.lease().map_or(version.created, |lease| lease.since)
}

/// One secret, its current version, and all that a decision is made from.
pub(super) struct Case<'a> {
    pub(super) secret: &'a Secret,
    pub(super) current: &'a Version,
    pub(super) view: &'a View,
    pub(super) policy: &'a Policy,
    pub(super) now: Now,
}

impl Case<'_> {
    pub(super) fn in_place(&self) -> bool {
        self.policy.capabilities.marking == Marking::InPlace
    }

    pub(super) fn age(&self, date: Timestamp) -> Duration {
        self.now.store.since(date)
    }

    /// Whether the rotation that made the current version, or the next one, is for a value that
    /// leaked: nothing is owed to what is older.
    fn leaked(&self) -> bool {
        self.made_for_leak() || self.leak_asked()
    }

    /// Whether the current value is said to have leaked. A person says so once; from the first
    /// claim on, that stands in it, and the claim keeps `kf-open` until something newer is
    /// current. So neither a crash nor an attempt that fails forgets it.
    pub(super) fn leak_asked(&self) -> bool {
        self.view.request == Some(Cause::Leaked) || self.opened().any(|(attempt, _)| self.leaks_current(attempt))
    }

    /// Whether an attempt was to replace the current version because that leaked. A person who
    /// accepted it after the claim has decided otherwise.
    fn leaks_current(&self, attempt: Attempt) -> bool {
        let claim = self.secret.claim_of(attempt);
        let leaks =
            claim.is_some_and(|claim| claim.cause == Cause::Leaked && claim.base.as_ref() == Some(&self.current.id));
        let claimed =
            self.secret.versions.iter().find(|version| version.claim().is_some_and(|of| of.attempt == attempt));
        let accepted = self.secret.accepted.as_ref().filter(|accepted| accepted.version == self.current.id);
        let at = accepted.and_then(|accepted| accepted.at);
        leaks && at.zip(claimed).is_none_or(|(at, claimed)| at <= claimed.created)
    }

    /// Whether an attempt is over and only its claim is still needed, because it says that the
    /// current value leaked. The newest such claim is enough; and where all of the credential ends,
    /// none is needed.
    fn remembered(&self, attempt: Attempt) -> bool {
        let number = |of: Attempt| self.secret.claim_of(of).map(|claim| claim.number);
        let newer = |(other, _): (Attempt, &Version)| self.leaks_current(other) && number(other) > number(attempt);
        let needed = self.policy.wanted == Wanted::Present && self.leaks_current(attempt);
        needed && self.done(attempt) && !self.opened().any(newer)
    }

    /// Whether no untracked leftover of an attempt can exist: what was created is in the slot, or
    /// was looked for after the slot was closed.
    fn done(&self, attempt: Attempt) -> bool {
        let Some(slot) = self.secret.slot_of(attempt) else { return false };
        slot.lease().is_some() || self.in_place() || self.swept(attempt, slot)
    }

    /// Attempts that still carry `kf-open` and are not over.
    pub(super) fn unresolved(&self) -> bool {
        self.opened().any(|(attempt, _)| !self.remembered(attempt))
    }

    /// Whether the rotation that made the current version was asked for because the one before it
    /// leaked. Its claim keeps `kf-open` until the old ones are gone, so that a crash doesn't
    /// forget it.
    pub(super) fn made_for_leak(&self) -> bool {
        let made_by = self.current.slot().map(|of| of.attempt);
        made_by.and_then(|attempt| self.secret.claim_of(attempt)).is_some_and(|claim| claim.cause == Cause::Leaked)
    }

    /// The latest moment at which the current version may have been promoted: a candidate's longest
    /// life after its claim; or its acceptance, where a person accepted the current version. Nobody
    /// knows when one that was adopted became current: no later than the secret's last change.
    pub(super) fn published_by(&self) -> Timestamp {
        let after_claim = published(self.current).plus(self.policy.candidate_age_max);
        let adopted = self.current.lease().is_some() && self.current.slot().is_none();
        let after_claim = if adopted { after_claim.max(self.secret.changed) } else { after_claim };
        match &self.secret.accepted {
            Some(accepted) if accepted.version == self.current.id => {
                let accepted_at = accepted.at.map_or(self.secret.changed, |at| at.max(self.secret.changed));
                after_claim.max(accepted_at)
            }
            Some(_) | None => after_claim,
        }
    }

    pub(super) fn in_hand(&self) -> Option<Decision> {
        match &self.view.hand {
            Hand::Claimed { attempt, at } => (self.policy.wanted == Wanted::Present
                && self.age(*at) < FRESH_MAX
                && self.secret.slot_of(*attempt).is_none())
            .then(|| Decision::act(Step::Mint { attempt: *attempt, since: *at, first: false }, Reason::ClaimWon)),
            // The vendor confirmed it. That a listing after it does not show the credential any more is
            // what proves it: an answer may be a proxy's.
            Hand::Ended { tracked } => self
                .leased(|lease| lease.tracked == *tracked)
                .filter(|_| self.unlisted(tracked))
                .map(|version| self.end_lease(version)),
            // The vendor said, where it was made, that it knows no such credential. Absent for its own
            // reads is not yet dead: only once it also left the listing, and nothing about it is young.
            Hand::Unknown { tracked } => self
                .leased(|lease| lease.tracked == *tracked && self.age(lease.since) > self.policy.settle)
                .filter(|_| self.age(self.secret.changed) > self.policy.settle)
                .filter(|_| self.unlisted(tracked))
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
            | Hand::Untold { .. }
            | Hand::Restored { .. } => None,
        }
    }

    /// The version whose lease fulfils `wanted`, and which nothing refers to; or which is being
    /// ended although it is current, because the declaration retired it.
    fn leased(&self, wanted: impl Fn(&Lease) -> bool) -> Option<&Version> {
        let may_end = |version: &Version| !version.referenced() || self.secret.ending(&version.id);
        self.secret.versions.iter().find(|version| may_end(version) && version.lease().is_some_and(&wanted))
    }

    /// Whether the vendor listed what it has, and this credential is not in it.
    fn unlisted(&self, tracked: &Tracked) -> bool {
        self.view.listing().is_some_and(|listing| !listing.iter().any(|seen| tracked.is(&seen.id)))
    }

    fn end_lease(&self, version: &Version) -> Decision {
        let lease = version.lease().expect("only leased versions get here").clone();
        Decision::act(Step::Detach { label: Label::Cred(lease), version: version.id.clone() }, Reason::RevokeConfirmed)
    }

    pub(super) fn candidate(&self) -> Option<Decision> {
        let pending = self.secret.with(&Label::Pending)?;
        let detach =
            |reason| Some(Decision::act(Step::Detach { label: Label::Pending, version: pending.id.clone() }, reason));
        let proved_at = match &self.view.hand {
            Hand::Proved { version, at } if *version == pending.id && self.age(*at) < FRESH_MAX => Some(*at),
            _ => None,
        };
        if pending.id == self.current.id {
            // In place, another replica may have set the record back just before the promotion,
            // and a first value is published before it is set.
            if self.in_place() && proved_at.is_none() {
                let version = pending.id.clone();
                return Some(Decision::act(Step::Prove { version }, Reason::CandidateUnproved));
            }
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
        let untold_at = match &self.view.hand {
            Hand::Untold { version, at } if *version == pending.id && self.age(*at) < FRESH_MAX => Some(*at),
            _ => None,
        };
        let unproved = untold_at.is_some() && self.policy.verify == Verify::Required;
        let given_up = match (superseded, aged, refused, unproved, self.policy.wanted) {
            (true, ..) => Some(Reason::CandidateSuperseded),
            (_, true, ..) => Some(Reason::CandidateAged),
            (_, _, true, ..) => Some(Reason::CandidateRefused),
            (_, _, _, true, _) => Some(Reason::CandidateUntold),
            (false, false, false, false, Wanted::Retired) => Some(Reason::Retiring),
            (false, false, false, false, Wanted::Present) => None,
        };
        let version = pending.id.clone();
        match given_up {
            // The vendor may hold the candidate's value: AWSCURRENT's must be back before the
            // candidate is let go.
            Some(reason) if self.in_place() && self.view.hand != (Hand::Restored { version: version.clone() }) => {
                Some(Decision::act(Step::Restore { version }, reason))
            }
            Some(reason) => detach(reason),
            None => Some(match proved_at.or(untold_at) {
                Some(proved) => {
                    let from = Some(self.current.id.clone());
                    let reason = if proved_at.is_some() { Reason::CandidateProved } else { Reason::CandidateUntold };
                    Decision::act(Step::Promote { version, from, proved }, reason)
                }
                None => Decision::act(Step::Prove { version }, Reason::CandidateUnproved),
            }),
        }
    }

    /// In place: the record's mark names the attempt whose value was set last. If that is not the
    /// current version's (someone rolled back, or a replica slept before it set the record), the
    /// current value is set again. Only for a slot that is listed: a read that does not show it
    /// yet is older than the record.
    pub(super) fn record(&self) -> Option<Decision> {
        let current = self.current.slot().filter(|_| self.in_place())?.attempt;
        let listing = self.view.listing()?;
        if listing.is_empty() {
            // Somebody deleted it, or it is no longer as declared.
            let version = self.current.id.clone();
            let done = self.view.hand == Hand::Restored { version: version.clone() };
            return (!done).then(|| Decision::act(Step::Restore { version }, Reason::RecordDiffers));
        }
        let set_last = listing.iter().find_map(|seen| match seen.marked {
            Marked::Ours(attempt) | Marked::First(attempt) => Some(attempt),
            Marked::No => None,
        })?;
        let version = self.secret.slot_of(set_last).filter(|_| set_last != current)?.id.clone();
        Some(Decision::act(Step::Restore { version }, Reason::RecordDiffers))
    }

    /// `kf-open` goes as soon as no leftover can exist: what was created is in the slot, or was
    /// looked for after the slot was closed.
    pub(super) fn resolved(&self) -> Option<Decision> {
        if let Some(tag) = &self.secret.bootstrap
            && sweep::first_done(tag, self.secret, self.view, self.policy, self.now)
        {
            return Some(Decision::tag(TagChange::AttemptDone, Reason::BootstrapDone));
        }
        let (attempt, version) = self.opened().find(|(attempt, _)| {
            // A leaked rotation's claim remembers why until every older one is gone.
            let remembers = self.secret.slot_of(*attempt).is_some_and(|slot| slot.id == self.current.id)
                && self.secret.claim_of(*attempt).is_none_or(|claim| claim.cause == Cause::Leaked)
                && (self.secret.with(&Label::Previous).is_some() || self.base_lives());
            self.done(*attempt) && !remembers && !self.remembered(*attempt)
        })?;
        Some(Decision::act(
            Step::Detach { label: Label::Open(attempt), version: version.id.clone() },
            Reason::AttemptResolved,
        ))
    }

    /// Whether the version that the current one replaced is still leased.
    pub(super) fn base_lives(&self) -> bool {
        let is_base = |version: &Version| self.current.base() == Some(&Some(version.id.clone()));
        self.secret.versions.iter().any(|version| is_base(version) && version.lease().is_some())
    }

    /// Whether a closed attempt's leftover was looked for, late enough, and is not there.
    fn swept(&self, attempt: Attempt, slot: &Version) -> bool {
        let Some(listing) = self.view.listing() else { return false };
        self.age(slot.created) > self.policy.settle && !sweep::leaves(attempt, self.secret, self.policy, listing)
    }

    /// Attempts that still carry `kf-open`, with the version that does.
    pub(super) fn opened(&self) -> impl Iterator<Item = (Attempt, &Version)> {
        self.secret.versions.iter().filter_map(|version| {
            let attempt = version.claim()?.attempt;
            version.has(&Label::Open(attempt)).then_some((attempt, version))
        })
    }

    /// Attempts on any base whose slot is empty: nothing else happens while there is one.
    pub(super) fn open(&self) -> Option<Decision> {
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

    /// AWSPREVIOUS comes off when the overlap is over and what it waits for besides is there. Here
    /// a credential that nothing refers to any more becomes one that may be revoked.
    pub(super) fn previous(&self) -> Option<Decision> {
        let previous = self.secret.with(&Label::Previous).filter(|previous| previous.id != self.current.id)?;
        let end = self.previous_end(previous);
        // In place, the previous value is dead already: a new one must not wait for its overlap.
        let moved = self.source_moved() && self.in_place();
        let reason = if self.made_for_leak() {
            Reason::Leaked
        } else if self.time_given() {
            Reason::Retiring
        } else if moved {
            Reason::SourceMoved
        } else {
            (self.now.store >= end.at).then_some(end.because)?
        };
        Some(Decision::act(Step::Detach { label: Label::Previous, version: previous.id.clone() }, reason))
    }

    pub(super) fn unreferenced(&self) -> Option<Decision> {
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
    pub(super) fn ends(&self, version: &Version) -> Timestamp {
        let quiet = self.secret.changed.plus(self.policy.settle);
        let unsigned = published(version).plus(self.policy.candidate_age_max).plus(self.policy.settle);
        let replaced = self.current.base() == Some(&Some(version.id.clone())) && !self.leaked() && !self.time_given();
        let overlap = if replaced { self.previous_end(version).at } else { unsigned };
        quiet.max(unsigned).max(overlap)
    }

    pub(super) fn revoke(&self, version: &Version, reason: Reason) -> Option<Decision> {
        let lease = version.lease()?;
        let (sites, home) = self.sites(lease);
        let id = match &lease.tracked {
            Tracked::Plain(id) => Some(id.clone()),
            Tracked::Hashed(_) => {
                let listing = self.view.listing()?;
                listing.iter().find(|seen| lease.tracked.is(&seen.id)).map(|seen| seen.id.clone())
            }
        };
        match id {
            Some(id) => Some(Decision::act(Step::Revoke { id, tracked: true, sites, home }, reason)),
            // Known by its hash alone, and not listed any more where it was made: it is gone.
            None => {
                let settled = self.age(lease.since) > self.policy.settle;
                (home && settled).then(|| self.end_lease(version))
            }
        }
    }

    /// Where the vendor is asked to end a leased credential, and whether it was made there.
    fn sites(&self, lease: &Lease) -> (Vec<Site>, bool) {
        let former = |one: &Dwelling| Site::Former(one.clone());
        let formers = || self.secret.formers().map(former).collect::<Vec<_>>();
        match self.secret.home(lease, &self.policy.place) {
            Home::Declared => (vec![Site::Declared], true),
            Home::Former(one) => (vec![former(one)], true),
            Home::Unknown => {
                let seen = self.view.listing().and_then(|all| all.iter().find(|seen| lease.tracked.is(&seen.id)));
                match seen.map(|seen| seen.fit) {
                    Some(Fit::Declared | Fit::Differs) => (vec![Site::Declared], true),
                    Some(Fit::Away { .. }) => (formers(), true),
                    None => ([Site::Declared].into_iter().chain(formers()).collect(), false),
                }
            }
        }
    }

    pub(super) fn leftovers(&self) -> Option<Decision> {
        match sweep::sweep(self.secret, Some(self.current), self.view, self.policy, self.now) {
            Sweep::Revoke(id, sites) => {
                Some(Decision::act(Step::Revoke { id, tracked: false, sites, home: true }, Reason::Leftover))
            }
            Sweep::TooMany => Some(Decision::wait(Reason::TooManyLeftovers, None)),
            Sweep::Nothing => None,
        }
    }
}
