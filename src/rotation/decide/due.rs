//! Nothing is left to clean up: when the next attempt begins, and what it waits for.

use crate::model::attempt::{Attempt, Cause};
use crate::model::capability::Marking;
use crate::model::label::Label;
use crate::model::time::Timestamp;
use crate::rotation::decide::case::{Case, TICK, published};
use crate::rotation::decide::{Decision, Step, published_by_us};
use crate::rotation::reason::earlier;
use crate::rotation::view::{Role, Seen};
use crate::rotation::{Reason, calendar, sweep};

impl Case<'_> {
    /// Nothing is left to clean up: begin the next attempt, or say what it waits for.
    pub(super) fn due(&self) -> Decision {
        let cleanup = self.next_cleanup();
        let wait = |reason, until| Decision::wait(reason, earlier(until, cleanup));
        let asked = self.view.request;
        // A version that a person put or accepted, or that is being taken over, is replaced when
        // its own age says so; one being taken over, at once.
        let taking_over = !published_by_us(self.current, self.policy)
            && self.secret.accepted.as_ref().is_none_or(|accepted| accepted.version != self.current.id);
        let due = if taking_over { Some(self.now.store) } else { calendar::due(self.policy, published(self.current)) };
        let retires = self.secret.with(&Label::Previous).is_some_and(|previous| previous.id != self.current.id);
        let moved = self.view.feeding.source_moved;
        let resting = if retires && self.followers_wait() && self.now.store >= self.overlap_ends() {
            Reason::FollowersWait
        } else if self.secret.with(&Label::Previous).is_some() || self.base_lives() {
            Reason::InOverlap
        } else if due.is_none() {
            Reason::HealthyManual
        } else {
            Reason::Healthy
        };
        let due_now = moved || due.is_some_and(|due| due <= self.now.store);
        if asked.is_none() && !due_now {
            return wait(resting, due);
        }
        if retires {
            return wait(if resting == Reason::FollowersWait { resting } else { Reason::InOverlap }, None);
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
        // A source has moved on already: its old credential is about to end, window or not.
        if asked.is_none() && !moved {
            let opens = calendar::opens(self.policy, self.now.store);
            if opens != Some(self.now.store) {
                return wait(Reason::WindowClosed, opens);
            }
        }
        let cause = asked.unwrap_or(Cause::Due);
        let base = Some(self.current.id.clone());
        let attempt = Attempt::derive(&self.secret.arn, &base, number);
        let reason = match cause {
            Cause::Due if moved => Reason::SourceMoved,
            Cause::Due => Reason::Due,
            Cause::Asked => Reason::Asked,
            Cause::Leaked => Reason::Leaked,
        };
        // Where marks tell leftovers, nobody needs to know what was there before.
        let before = match self.policy.capabilities.marking {
            Marking::Unnamed => listing.iter().map(|seen| seen.id.clone()).collect(),
            Marking::Named | Marking::InPlace => Vec::new(),
        };
        Decision::act(Step::Claim { attempt, base, number, cause, before }, reason)
    }

    /// The next date at which something older can be cleaned up.
    fn next_cleanup(&self) -> Option<Timestamp> {
        let previous = self.secret.with(&Label::Previous).filter(|previous| previous.id != self.current.id);
        let retire = previous.map(|_| match self.followers_wait() {
            true => self.overlap_ends().max(self.now.store.plus(self.policy.settle)),
            false => self.overlap_ends(),
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

    fn room(&self, listing: &[Seen]) -> bool {
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
