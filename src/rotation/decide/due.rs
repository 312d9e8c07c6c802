//! Nothing is left to clean up: when the next attempt begins, and what it waits for.

use crate::model::attempt::{Attempt, Cause};
use crate::model::capability::Marking;
use crate::model::label::Label;
use crate::model::policy::Verify;
use crate::model::time::Timestamp;
use crate::rotation::decide::case::{Case, TICK, published};
use crate::rotation::decide::evidence::End;
use crate::rotation::decide::{Decision, Step, compare, published_by_us};
use crate::rotation::reason::earlier;
use crate::rotation::view::{Company, Fit, Known, Role, Seen, Version};
use crate::rotation::{Reason, calendar, sweep};

/// Why no attempt begins now, and until when, where that is known.
type Held = (Reason, Option<Timestamp>);

impl Case<'_> {
    /// What does not wait for anything to be cleaned up first: a value that leaked, or that may be
    /// dead already. AWSPREVIOUS is taken off before the claim, so that its credential ends at once
    /// and does not wait for the next label to settle; but only where the claim can follow.
    pub(super) fn urgent(&self) -> Option<Decision> {
        let dead = self.secret.ending(&self.current.id);
        let cause = if self.leak_asked() { Cause::Leaked } else { dead.then_some(Cause::Due)? };
        match self.begin(cause) {
            Ok(claim) if cause == Cause::Leaked => Some(self.older_label().unwrap_or(claim)),
            Ok(claim) => Some(claim),
            Err((Reason::VendorSilent, until)) => Some(Decision::wait(Reason::VendorSilent, until)),
            Err(_) => None,
        }
    }

    fn older_label(&self) -> Option<Decision> {
        let previous = self.secret.with(&Label::Previous).filter(|previous| previous.id != self.current.id)?;
        let version = previous.id.clone();
        Some(Decision::act(Step::Detach { label: Label::Previous, version }, Reason::Leaked))
    }

    /// Nothing is made where another declared credential is made, too; due or not, it is told.
    pub(super) fn crowded(&self) -> Option<Decision> {
        self.in_company().then(|| Decision::wait(Reason::NotAlone, self.next_cleanup()))
    }

    /// Nothing is left to clean up: begin the next attempt, or say what it waits for.
    pub(super) fn due(&self) -> Decision {
        let cleanup = self.next_cleanup();
        let wait = |reason, until| Decision::wait(reason, earlier(until, cleanup));
        // A version that a person put or accepted, or that is being taken over, is replaced when
        // its own age says so; one being taken over, or ended, at once.
        let taking_over = !published_by_us(self.current, self.policy)
            && self.secret.accepted.as_ref().is_none_or(|accepted| accepted.version != self.current.id);
        let at_once = taking_over || self.secret.ending(&self.current.id);
        let due = match at_once {
            true => Some(self.now.store),
            false => earlier(self.strays(), calendar::due(self.policy, published(self.current))),
        };
        let due_now = self.source_moved() || self.missing() || due.is_some_and(|due| due <= self.now.store);
        let request = if self.leak_asked() { Some(Cause::Leaked) } else { self.view.request };
        let Some(cause) = request.or(due_now.then_some(Cause::Due)) else {
            return wait(self.overlapping().unwrap_or(resting(due)), due);
        };
        let labelled = self.secret.with(&Label::Previous).is_some_and(|previous| previous.id != self.current.id);
        if labelled && cause != Cause::Leaked {
            return wait(self.overlapping().unwrap_or(Reason::InOverlap), None);
        }
        self.begin(cause).unwrap_or_else(|(reason, until)| wait(reason, until))
    }

    /// What is told while the credential that the current version replaced still lives.
    fn overlapping(&self) -> Option<Reason> {
        let is_base = |version: &&Version| self.current.base() == Some(&Some(version.id.clone()));
        let base = || self.secret.versions.iter().find(is_base).filter(|base| base.lease().is_some());
        let replaced = self.secret.with(&Label::Previous).or_else(base)?;
        let waits_for = self.previous_end(replaced).waits_for;
        Some(if self.made_for_leak() { Reason::LeakedEnding } else { waits_for.unwrap_or(Reason::InOverlap) })
    }

    /// The claim of the next attempt, or why there is none now.
    fn begin(&self, cause: Cause) -> Result<Decision, Held> {
        if self.unresolved() {
            return Err((Reason::Settling, Some(self.now.store.plus(self.policy.settle))));
        }
        let listing = match &self.view.facts.listing {
            Known::Found { what, .. } => what.as_slice(),
            // A value that leaked does not wait for a listing that can't be had, where marks tell what
            // becomes of it without one.
            Known::Failed if self.leak_asked() && self.policy.capabilities.marking == Marking::Named => &[],
            Known::Failed | Known::NotAsked => return Err((Reason::VendorSilent, None)),
        };
        // Better a leftover that is only reported than a leaked value that lives on.
        if self.in_company() && !self.leak_asked() {
            return Err((Reason::NotAlone, None));
        }
        if !self.room(listing) {
            return Err((Reason::NoRoom, None));
        }
        match (&self.view.facts.provable, self.policy.verify) {
            (Known::Found { what: false, .. }, Verify::Required) => return Err((Reason::Unprovable, None)),
            (Known::Failed, Verify::Required) => return Err((Reason::VendorSilent, None)),
            (Known::Found { .. } | Known::NotAsked, Verify::Required) | (_, Verify::BestEffort) => {}
        }
        let (number, last) = self.next_number();
        if let Some(over) = last.map(|last| last.plus(calendar::backoff(self.policy, number - 1)))
            && self.now.store < over
        {
            return Err((Reason::BackingOff, Some(over)));
        }
        let dead = self.secret.ending(&self.current.id);
        // A source has moved on already: its old credential is about to end, window or not. And who
        // reads a credential that was deleted at the vendor fails now.
        let (moved, missing) = (self.source_moved(), self.missing());
        if cause == Cause::Due && !dead && !moved && !missing {
            let opens = calendar::opens(self.policy, self.now.store);
            if opens != Some(self.now.store) {
                return Err((Reason::WindowClosed, opens));
            }
        }
        let base = Some(self.current.id.clone());
        let attempt = Attempt::derive(&self.secret.arn, &base, number);
        let reason = match cause {
            Cause::Due if dead => Reason::PresentAgain,
            Cause::Due if missing => Reason::Missing,
            Cause::Due if moved => Reason::SourceMoved,
            Cause::Due if self.strays().is_some() => Reason::Strays,
            Cause::Due => Reason::Due,
            Cause::Asked => Reason::Asked,
            Cause::Leaked => Reason::Leaked,
        };
        // Where marks tell leftovers, nobody needs to know what was there before.
        let before = match self.policy.capabilities.marking {
            Marking::Unnamed => listing.iter().map(|seen| seen.id.clone()).collect(),
            Marking::Named | Marking::InPlace => Vec::new(),
        };
        Ok(Decision::act(Step::Claim { attempt, base, number, cause, before }, reason))
    }

    /// Whether the vendor does not list the credential that is current.
    fn missing(&self) -> bool {
        compare::missing(self.view, self.policy, self.now).is_some()
    }

    fn in_company(&self) -> bool {
        self.view.facts.company.found() == Some(&Company::Others)
    }

    /// Whether a credential that feeds this one is known to publish something else by now.
    pub(super) fn source_moved(&self) -> bool {
        self.view.facts.sources_moved.found() == Some(&true)
    }

    /// The next date at which something older can be cleaned up.
    fn next_cleanup(&self) -> Option<Timestamp> {
        let previous = self.secret.with(&Label::Previous).filter(|previous| previous.id != self.current.id);
        let retire = previous.map(|previous| match self.previous_end(previous) {
            // Nothing wakes it when they have followed: it looks again.
            End { waits_for: Some(Reason::FollowersWait), at, .. } => at.min(self.now.store.plus(self.policy.settle)),
            End { at, .. } => at,
        });
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

    pub(super) fn room(&self, listing: &[Seen]) -> bool {
        if self.in_place() {
            return true;
        }
        let leased = self.secret.versions.iter().filter(|version| version.lease().is_some()).count();
        let untracked = listing.iter().filter(|seen| sweep::ours(seen) && !self.secret.tracks(&seen.id)).count();
        // Where the value leaked, the one before it ends before the claim.
        let previous = self.secret.with(&Label::Previous).filter(|previous| previous.id != self.current.id);
        let goes = usize::from(self.leak_asked() && previous.is_some_and(|previous| previous.lease().is_some()));
        let vendor_max = self.policy.capabilities.live_max.map(|max| usize::from(max.get()));
        let here = listing.iter().filter(|seen| !matches!(seen.fit, Fit::Away { .. })).count();
        let vendor_has_room = vendor_max.is_none_or(|max| here.saturating_sub(goes) < max);
        (leased + untracked).saturating_sub(goes) < self.policy.live_max && vendor_has_room
    }

    /// The number of the next attempt on the current version, and the date of the last one's claim.
    pub(super) fn next_number(&self) -> (u32, Option<Timestamp>) {
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

/// What is told where nothing waits and nothing is left over.
fn resting(due: Option<Timestamp>) -> Reason {
    if due.is_none() { Reason::HealthyManual } else { Reason::Healthy }
}
