//! When a replaced credential may end: the overlap, and `retire_when` on top of it.
//!
//! ```text
//!  claim ── at most 1 h ──▶ promoted ── overlap ──▶ evidence? ── no ──▶ `max` after the promotion
//!                                                       └─ yes ──▶ AWSPREVIOUS comes off
//! ```
//!
//! Evidence is only ever asked for in addition to the overlap. So a last use that the vendor shows
//! late, by the day only, or not at all any more can make a credential live longer, up to the
//! maximum, and never shorter than it would without `retire_when`. It is not a proof: a consumer
//! with a nightly job is silent all day. What it costs to be wrong is bounded by the overlap.
//!
//! What this credential feeds must have followed, too; for that it waits a week past the overlap.

use std::time::Duration;

use crate::model::policy::RetireWhen;
use crate::model::time::Timestamp;
use crate::rotation::Reason;
use crate::rotation::decide::case::Case;
use crate::rotation::view::{Known, Version};

/// How long past its overlap a credential lives on for those that it feeds.
const FOLLOWERS_WAIT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// When a replaced credential may end.
pub(super) struct End {
    /// The date.
    pub(super) at: Timestamp,
    /// Why then.
    pub(super) because: Reason,
    /// What it waits for, where the overlap is over and only that is missing.
    pub(super) waits_for: Option<Reason>,
}

impl Case<'_> {
    /// When the credential of `replaced`, which the current version replaced, may end.
    pub(super) fn previous_end(&self, replaced: &Version) -> End {
        let end = self.own_end(replaced);
        // One that is fed by this secret still holds it. That it can't follow for a week is not a
        // reason to keep an old credential alive for ever.
        let most = self.published_by().plus(self.policy.overlap).plus(FOLLOWERS_WAIT_MAX);
        let waits = self.followers_wait() && (end.at..most).contains(&self.now.store);
        if waits { End { at: most, waits_for: Some(Reason::FollowersWait), ..end } } else { end }
    }

    /// The same, whoever is fed by it.
    fn own_end(&self, replaced: &Version) -> End {
        let overlap = self.published_by().plus(self.policy.overlap);
        let over = End { at: overlap, because: Reason::OverlapOver, waits_for: None };
        let (there, max, missing) = match self.policy.retire_when {
            RetireWhen::OverlapOver => return over,
            // Not asked is not the same as still used.
            RetireWhen::Unused { max } if self.view.listing().is_none() => (false, max, Reason::VendorSilent),
            RetireWhen::Unused { max } => (self.unused(replaced), max, Reason::InUse),
            RetireWhen::Confirmed { max } => (self.confirmed(), max, Reason::Unconfirmed),
        };
        // What nothing of ours is in does not end with its label.
        if there || replaced.lease().is_none() {
            return over;
        }
        let at = overlap.max(self.published_by().plus(max));
        let waits_for = (self.now.store >= overlap && self.now.store < at).then_some(missing);
        End { at, because: Reason::EvidenceOverdue, waits_for }
    }

    /// Whether the vendor shows no use since the moment by which every consumer must have had the
    /// new value. Without its listing nobody knows; what it no longer lists, nobody uses.
    fn unused(&self, replaced: &Version) -> bool {
        let (Some(listing), Some(lease)) = (self.view.listing(), replaced.lease()) else { return false };
        let handed_over = self.published_by().plus(self.policy.refresh);
        let used = listing.iter().find(|seen| lease.tracked.is(&seen.id)).and_then(|seen| seen.last_used);
        used.is_none_or(|used| used <= handed_over)
    }

    /// Whether one that is fed by this secret does not hold its value yet, as far as is known. What
    /// could not be looked at may still need the old one.
    fn followers_wait(&self) -> bool {
        match &self.view.facts.followers_wait {
            Known::NotAsked => false,
            Known::Failed => true,
            Known::Found { what, .. } => *what,
        }
    }

    /// Whether a consumer said that it has the very version that is current.
    fn confirmed(&self) -> bool {
        self.secret.confirmed.as_ref().is_some_and(|confirmed| confirmed.version == self.current.id)
    }
}

/// How often evidence at the vendor is looked for in a pass, and for how long each time: a timer
/// that runs hourly meets each such time.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(6 * 3_600);
pub(crate) const LOOK_FOR: Duration = Duration::from_secs(3_600);
