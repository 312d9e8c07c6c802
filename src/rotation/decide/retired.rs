//! `state = "retired"`: consumers are given their time, then everything of the credential ends, the
//! current one last, and its secret is scheduled for deletion.
//!
//! ```text
//!  no tag ──▶ keyferry:retiring = since      consumers read on; nothing new is made
//!    └ max(overlap, refresh) + settle later ─▶ attempts closed, leftovers swept, older ones revoked
//!       └ keyferry:retiring = since:at:version     from here on the current one may be dead
//!          └ 2 settle later ─▶ revoke it ─▶ end its lease ─▶ DeleteSecret, 30 days
//! ```
//!
//! The second form of the tag is written ahead of the one revoke that consumers feel. Whoever finds
//! `state = "present"` takes a tag of the first form off and goes on; of the second form it knows
//! that the value may be dead, and publishes a fresh one at once. Twice settle lies between, for a
//! replica with the other declaration: once for the oldest read on which it may take the tag off,
//! and for that call to land (tags know no compare, so writes of this one are signed with the date
//! of the look, like a promotion); once more for our own read to show that it did.
//!
//! Not promised: while two declarations disagree, one of them may have a credential made in the
//! minutes in which the other schedules the secret for deletion. It is tracked, or a leftover, and
//! ends when the secret is restored; while it is tracked, the status says so.

use crate::model::label::Label;
use crate::model::policy::{Policy, Wanted};
use crate::model::time::Timestamp;
use crate::rotation::decide::case::{Case, TICK};
use crate::rotation::decide::{Decision, Step, TagChange};
use crate::rotation::view::Retiring;
use crate::rotation::{Reason, sweep};

impl Case<'_> {
    /// What a declaration that wants the credential does about a retirement that began.
    pub(super) fn present_again(&self) -> Option<Decision> {
        let unmark = self.secret.retiring.is_some() && !self.secret.ending(&self.current.id);
        unmark.then(|| Decision::tag(TagChange::NotRetiring, Reason::PresentAgain))
    }

    /// The tag, where it is about what is current: a retirement that began with another version
    /// was called off.
    fn retiring(&self) -> Option<&Retiring> {
        let tag = self.secret.retiring.as_ref()?;
        (tag.ending.is_none() || tag.ends(&self.current.id)).then_some(tag)
    }

    /// Whether it is retired and its consumers have had their time.
    pub(super) fn time_given(&self) -> bool {
        self.policy.wanted == Wanted::Retired
            && self.retiring().is_some_and(|tag| self.now.store > over(tag, self.policy))
    }

    /// Marks it as retiring, if it is not.
    pub(super) fn retire(&self) -> Option<Decision> {
        self.retiring().is_none().then(|| Decision::tag(TagChange::Retiring, Reason::Retiring))
    }

    /// Nothing is left to clean up now: wait, or end the current credential, or delete the secret.
    pub(super) fn end_current(&self) -> Decision {
        let Some(tag) = self.retiring() else { return Decision::tag(TagChange::Retiring, Reason::Retiring) };
        let wait = |until| Decision::wait(Reason::Retiring, until);
        if !self.time_given() {
            return wait(Some(over(tag, self.policy).plus(TICK)));
        }
        if let Some(wait) = self.others() {
            return wait;
        }
        let Some(lease) = self.current.lease().filter(|_| !self.in_place()) else {
            // Whoever made the secret deletes it.
            let ours = self.policy.create_secret;
            return if ours {
                Decision::act(Step::DeleteSecret, Reason::Retiring)
            } else {
                Decision::wait(Reason::Retired, None)
            };
        };
        let Some(ending) = &tag.ending else {
            let (version, since) = (self.current.id.clone(), tag.since);
            return Decision::tag(TagChange::Ending { version, since }, Reason::Retiring);
        };
        let seen_by_all = ending.at.plus(self.policy.settle * 2);
        let quiet = self.secret.changed.plus(self.policy.settle);
        let from = seen_by_all.max(quiet).max(lease.since.plus(self.policy.settle));
        if self.now.store <= from {
            return wait(Some(from.plus(TICK)));
        }
        self.revoke(self.current, Reason::Retiring).unwrap_or_else(|| wait(Some(from.plus(TICK))))
    }

    /// What has to go before the current one: older credentials, unresolved attempts, leftovers.
    fn others(&self) -> Option<Decision> {
        let older = self.secret.versions.iter().filter(|version| version.id != self.current.id);
        let leased = older.filter(|version| version.lease().is_some());
        if let Some(until) = leased.map(|version| self.ends(version).plus(TICK)).min() {
            return Some(Decision::wait(Reason::Retiring, Some(until)));
        }
        if self.opened().next().is_some() || self.secret.bootstrap.is_some() {
            let silent = self.view.listing().is_none();
            let reason = if silent { Reason::VendorSilent } else { Reason::Retiring };
            return Some(Decision::wait(reason, Some(self.now.store.plus(self.policy.settle))));
        }
        if self.secret.with(&Label::Pending).is_some() {
            return Some(Decision::wait(Reason::Retiring, Some(self.now.store.plus(self.policy.settle))));
        }
        if self.view.listing().is_none() {
            return Some(Decision::wait(Reason::VendorSilent, None));
        }
        let young = sweep::next(self.secret, self.view, self.policy, self.now)?;
        Some(Decision::wait(Reason::Retiring, Some(young)))
    }
}

/// When consumers have had their time: nobody holds a value for longer than they say, and a
/// replica's read that does not show the tag yet is forgotten.
pub(crate) fn over(tag: &Retiring, policy: &Policy) -> Timestamp {
    tag.since.plus(policy.overlap.max(policy.refresh)).plus(policy.settle)
}
