//! What the process that holds a fresh credential does with it: store it, or end it, or leave it.
//!
//! The secret exists only in this process's memory, so nobody else can finish this part. The rule
//! (*own id*): the process revokes what it created itself only if
//!
//! - (a) AWS said that the slot holds something else, or
//! - (b) every send of the put was refused outright and none is in doubt, or
//! - (c) its own tombstone went into the slot.
//!
//! Otherwise a put may still land and be published, so it leaves the credential alone: the steps
//! *abandon*, *close* and *sweep* finish it. This holds on SIGTERM too.
//!
//! [`takes`] says what a process still does that is about to leave a credential.

use std::time::Duration;

use crate::model::label::Label;
use crate::model::policy::{Policy, Verify};
use crate::model::time::Timestamp;
use crate::rotation::Step;
use crate::rotation::decide::TagChange;

/// How long a throttled or unanswered put is sent again.
const RESEND_MAX: Duration = Duration::from_secs(600);

/// What came back from the last call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// Nothing was sent yet.
    NotSent,
    /// The put is stored.
    Stored,
    /// The slot holds something else.
    Taken,
    /// Surely not applied, and may go through later.
    Throttled,
    /// Surely not applied, and would not be later.
    Refused,
    /// Sent, and whether it was applied is unknown.
    InDoubt,
    /// Our tombstone is in the slot.
    Closed,
    /// Whether our tombstone is in the slot is unknown, or something else is in it.
    NotClosed,
}

/// How far the process is with its credential.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Own {
    /// AWS's date when the credential was created.
    pub since: Timestamp,
    /// Whether any send of the put is in doubt.
    pub in_doubt: bool,
    /// Whether a tombstone can be written (not while the secret has no version).
    pub can_close: bool,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Next {
    /// Put the same bytes into the slot (again).
    Put,
    /// Put our tombstone into the slot.
    Close,
    /// Revoke the credential at the vendor: nothing can refer to it.
    Revoke,
    /// Done with it: it is stored, or others finish it.
    Leave,
}

/// The next thing to do after `answer`; updates what is in doubt. `stopping` means that the
/// process was asked to end.
pub fn next(own: &mut Own, answer: Answer, now: Timestamp, stopping: bool) -> Next {
    match answer {
        Answer::NotSent => Next::Put,
        Answer::Stored => Next::Leave,
        Answer::Taken | Answer::Closed => Next::Revoke,
        Answer::NotClosed => Next::Leave,
        Answer::InDoubt | Answer::Throttled => {
            own.in_doubt |= answer == Answer::InDoubt;
            if !stopping && now.since(own.since) < RESEND_MAX { Next::Put } else { give_up(own) }
        }
        Answer::Refused => give_up(own),
    }
}

/// Whether a first credential may be published though no login can tell whether it works.
pub fn may_publish_untold(policy: &Policy) -> bool {
    match policy.verify {
        Verify::Required => false,
        Verify::BestEffort => true,
    }
}

fn give_up(own: &Own) -> Next {
    match (own.in_doubt, own.can_close) {
        (false, _) => Next::Revoke,
        (true, true) => Next::Close,
        (true, false) => Next::Leave,
    }
}

/// How a process that looks after a credential is about to leave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Leaving {
    /// Not at all.
    No,
    /// The process ends: others go on from what is observed.
    Ends,
    /// Another declaration is in force, which may not name the credential any more, so perhaps
    /// nobody goes on: what was begun is brought to its end, nothing new begins, and nothing that
    /// lives is revoked.
    Replaced,
}

/// Whether a step is still taken.
pub fn takes(step: &Step, leaving: Leaving) -> bool {
    match leaving {
        Leaving::No => true,
        // The right to create is this process's alone, for a minute.
        Leaving::Ends => matches!(step, Step::Mint { .. }),
        Leaving::Replaced => match step {
            Step::Mint { .. }
            | Step::Prove { .. }
            | Step::Restore { .. }
            | Step::Promote { .. }
            | Step::Close { .. }
            | Step::Tag(TagChange::AttemptDone) => true,
            Step::Detach { label, .. } => *label != Label::Previous,
            Step::CreateSecret { .. }
            | Step::Tag(_)
            | Step::Claim { .. }
            | Step::Revoke { .. }
            | Step::DeleteSecret => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attempt::{Attempt, Cause};
    use crate::model::name::{Arn, VendorId};

    #[test]
    fn whoever_leaves_begins_nothing_and_finishes_what_others_cannot() {
        let arn = Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-a1b2c3").unwrap();
        let attempt = Attempt::derive(&arn, &None, 1);
        let (version, since) = (attempt.slot_id(), Timestamp::default());
        let id = VendorId::new("x").unwrap();
        let detach = |label: Label| Step::Detach { label, version: version.clone() };
        // (step, taken by one that ends, taken under a declaration that was replaced)
        let rows = [
            (Step::CreateSecret { before: Vec::new() }, false, false),
            (Step::Tag(TagChange::TakeOver), false, false),
            (Step::Tag(TagChange::Attempt { number: 1, before: Vec::new() }), false, false),
            (Step::Claim { attempt, base: None, number: 1, cause: Cause::Due, before: Vec::new() }, false, false),
            (Step::Mint { attempt, since, first: false }, true, true),
            (Step::Mint { attempt, since, first: true }, true, true),
            (Step::Prove { version: version.clone() }, false, true),
            (Step::Promote { version: version.clone(), from: None, proved: since }, false, true),
            (detach(Label::Pending), false, true),
            (detach(Label::Open(attempt)), false, true),
            (detach(Label::Previous), false, false),
            (Step::Close { attempt }, false, true),
            (Step::Revoke { id: id.clone(), tracked: true, sites: Vec::new(), home: true }, false, false),
            (Step::Revoke { id, tracked: false, sites: Vec::new(), home: true }, false, false),
            (Step::Tag(TagChange::AttemptDone), false, true),
            (Step::Tag(TagChange::Retiring), false, false),
            (Step::Tag(TagChange::Ending { version, since }), false, false),
            (Step::Tag(TagChange::NotRetiring), false, false),
            (Step::Tag(TagChange::Compared { missing: None }), false, false),
            (Step::DeleteSecret, false, false),
        ];
        for (step, ends, replaced) in rows {
            assert!(takes(&step, Leaving::No));
            assert_eq!(takes(&step, Leaving::Ends), ends, "{step:?}");
            assert_eq!(takes(&step, Leaving::Replaced), replaced, "{step:?}");
        }
    }

    #[test]
    fn a_credential_is_ended_by_its_maker_only_where_no_put_can_land() {
        let start = Timestamp::from_seconds(1_000);
        let soon = start.plus(Duration::from_secs(1));
        let late = start.plus(RESEND_MAX);
        // (answers in turn, date of the last, stopping, can close) -> next
        let rows: [(&[Answer], Timestamp, bool, bool, Next); 12] = [
            (&[Answer::NotSent], soon, true, true, Next::Put),
            (&[Answer::Stored], soon, false, true, Next::Leave),
            (&[Answer::Taken], soon, false, true, Next::Revoke),
            (&[Answer::InDoubt, Answer::Taken], soon, false, true, Next::Revoke),
            (&[Answer::Throttled], soon, false, true, Next::Put),
            (&[Answer::Throttled], late, false, true, Next::Revoke),
            (&[Answer::Refused], soon, false, true, Next::Revoke),
            (&[Answer::InDoubt, Answer::Refused], soon, false, true, Next::Close),
            (&[Answer::InDoubt, Answer::Throttled], late, false, true, Next::Close),
            (&[Answer::InDoubt], soon, true, false, Next::Leave),
            (&[Answer::InDoubt, Answer::Closed], soon, true, true, Next::Revoke),
            (&[Answer::InDoubt, Answer::NotClosed], soon, true, true, Next::Leave),
        ];
        for (answers, now, stopping, can_close, expected) in rows {
            let mut own = Own { since: start, in_doubt: false, can_close };
            let mut last = Next::Put;
            for answer in answers {
                last = next(&mut own, *answer, now, stopping);
            }
            assert_eq!(last, expected, "{answers:?} stopping: {stopping}");
        }
    }
}
