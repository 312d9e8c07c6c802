//! How much one edit of the declaration may replace unasked. More than `limits.max_replacements`
//! at once, and none of them begins: a person looks first.
//!
//! What counts is known before anything begins:
//!
//! - on a reload, credentials that may begin now and could not under the declaration before;
//! - at any start or pass, secrets whose next step publishes over what somebody else put there, or
//!   goes to another place at the vendor.
//!
//! A person's own `rotate NAME` is exempt. Nothing of this is remembered beyond the process: a
//! start has no declaration before it, so what is due at a start is due.

use std::collections::BTreeSet;

use crate::model::attempt::Cause;
use crate::model::name::Name;
use crate::model::policy::Policy;
use crate::model::time::Timestamp;
use crate::rotation::decide::TagChange;
use crate::rotation::{Decision, Reason, Step, calendar};

/// Which replacements may begin, and which wait for a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Brake {
    most: usize,
    let_through: BTreeSet<Name>,
    held: BTreeSet<Name>,
    /// Those that the vendor does not list any more and that are being replaced for it.
    missing: BTreeSet<Name>,
}

impl Brake {
    /// At most `most` replacements may begin.
    pub fn new(most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { most, let_through: BTreeSet::new(), held: BTreeSet::new(), missing: BTreeSet::new() }
    }

    /// Judges what would be replaced: all of it may begin, or none. What was judged before stays as
    /// it was, so that those a person rotates by hand do not set the others going.
    pub fn judge(&mut self, replaced: impl IntoIterator<Item = Name>) {
        let fresh: BTreeSet<Name> = replaced.into_iter().filter(|name| !self.knows(name)).collect();
        if self.let_through.len() + self.held.len() + fresh.len() > self.most {
            self.held.extend(fresh);
        } else {
            self.let_through.extend(fresh);
        }
    }

    /// Whether it was judged.
    pub fn knows(&self, name: &Name) -> bool {
        self.let_through.contains(name) || self.held.contains(name)
    }

    /// Whether it waits for a person.
    pub fn holds(&self, name: &Name) -> bool {
        self.held.contains(name)
    }

    /// What is to be done about a credential after `decision` was made on it: a replacement that
    /// nobody asked for does not begin while its name is held. What has begun goes on, and so does
    /// what a person asked for once and stands in a claim since: a leaked value is never held.
    pub fn apply(&mut self, name: &Name, asked: bool, decision: Decision) -> Decision {
        if matches!(
            decision,
            Decision::Wait { reason: Reason::Healthy | Reason::HealthyManual | Reason::InOverlap, .. }
        ) {
            self.missing.remove(name);
        }
        let begins = match decision.step() {
            Some(Step::Claim { cause, .. }) => *cause == Cause::Due,
            Some(Step::Tag(TagChange::TakeOver | TagChange::Move { .. })) => true,
            _ => false,
        };
        let held = begins && !asked && (self.holds(name) || !self.admits(name, decision.reason()));
        if held { Decision::wait(Reason::TooManyReplacements, None) } else { decision }
    }

    /// Whether it may be replaced because the vendor does not list it any more. That so many vanish at
    /// once may as well be the listing's fault.
    fn admits(&mut self, name: &Name, reason: Reason) -> bool {
        if reason != Reason::Missing {
            return true;
        }
        let room = self.missing.len() < self.most;
        if room {
            self.missing.insert(name.clone());
        }
        room || self.missing.contains(name)
    }
}

/// Whether a decision begins to replace what keyferry did not publish from this declaration. What
/// the calendar asks for is no replacement in this sense, and neither is a secret's first value.
pub fn replaces(decision: &Decision) -> bool {
    matches!(decision.step(), Some(Step::Tag(TagChange::TakeOver | TagChange::Move { .. })))
}

/// Whether an edit makes a credential begin now that could not begin under the policy before.
pub fn due_by_edit(before: &Policy, after: &Policy, since: Timestamp, now: Timestamp) -> bool {
    begins(after, since, now) && !begins(before, since, now)
}

/// Whether a credential that counts from `since` may be replaced now, by the calendar.
pub fn begins(policy: &Policy, since: Timestamp, now: Timestamp) -> bool {
    calendar::due(policy, since).is_some_and(|due| due <= now) && calendar::opens(policy, now) == Some(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attempt::{Attempt, Cause};
    use crate::model::capability::{Capabilities, Marking, Proof};
    use crate::model::name::Arn;
    use crate::model::place::At;
    use crate::model::policy::{Freeze, Ownership, Rotate};
    use crate::rotation::view::Dwelling;
    use std::time::Duration;

    fn names(list: &str) -> Vec<Name> {
        list.split_whitespace().map(|name| Name::new(name).unwrap()).collect()
    }

    #[test]
    fn all_of_an_edit_begins_or_none_of_it() {
        // (at most, judged one after another, what is held then)
        let rows: [(u32, &[&str], &str); 8] = [
            (2, &["a b"], ""),
            (2, &["a b c"], "a b c"),
            (0, &["a"], "a"),
            (0, &[""], ""),
            // The same ones again, or fewer of them: nothing changes.
            (2, &["a b", "a b", "b"], ""),
            (2, &["a b c", "a"], "a b c"),
            // More of them later: what began goes on, and nothing more begins.
            (2, &["a b", "b c"], "c"),
            (2, &["a b c", "d"], "a b c d"),
        ];
        for (most, judged, held) in rows {
            let mut brake = Brake::new(most);
            for list in judged {
                brake.judge(names(list));
            }
            let all = names("a b c d");
            let found: Vec<Name> = all.into_iter().filter(|name| brake.holds(name)).collect();
            assert_eq!(found, names(held), "at most {most}: {judged:?}");
        }
    }

    #[test]
    fn only_a_beginning_that_nobody_asked_for_waits() {
        let mut brake = Brake::new(0);
        brake.judge(names("app"));
        let arn = Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-a1b2c3").unwrap();
        let attempt = Attempt::derive(&arn, &None, 1);
        let cause = Cause::Due;
        let claim = || Step::Claim { attempt, base: None, number: 1, cause, before: Vec::new() };
        // Asked for before a reload, and gone on with after an attempt that failed.
        let leaked = || Step::Claim { attempt, base: None, number: 2, cause: Cause::Leaked, before: Vec::new() };
        let at =
            At::new(&["v", "keycard", "named"], "password", [("zone", "z")].into_iter(), Ownership::Shared).unwrap();
        let from = Dwelling { place: "p".into(), at };
        let moves = || Step::Tag(TagChange::Move { from: from.clone() });
        // (name, asked for, step, held)
        let rows = [
            ("app", false, claim(), true),
            ("app", false, Step::Tag(TagChange::TakeOver), true),
            ("app", false, moves(), true),
            ("app", true, moves(), false),
            ("app", true, claim(), false),
            ("app", false, Step::Close { attempt }, false),
            ("app", false, leaked(), false),
            ("other", false, claim(), false),
        ];
        for (name, asked, step, held) in rows {
            let decision = Decision::act(step, Reason::Due);
            let name = Name::new(name).unwrap();
            let reason = brake.apply(&name, asked, decision.clone()).reason();
            let expected = if held { Reason::TooManyReplacements } else { Reason::Due };
            assert_eq!(reason, expected, "{name} {decision:?}");
            let step = decision.step();
            assert_eq!(replaces(&decision), step == Some(&Step::Tag(TagChange::TakeOver)) || step == Some(&moves()));
        }
    }

    #[test]
    fn so_many_that_the_vendor_does_not_list_are_a_persons_to_judge() {
        let mut brake = Brake::new(2);
        let arn = Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-a1b2c3").unwrap();
        let attempt = Attempt::derive(&arn, &None, 1);
        let claim = Step::Claim { attempt, base: None, number: 1, cause: Cause::Due, before: Vec::new() };
        let mut reason = |name: &str, asked, reason| {
            brake.apply(&Name::new(name).unwrap(), asked, Decision::act(claim.clone(), reason)).reason()
        };
        assert_eq!(reason("a", false, Reason::Missing), Reason::Missing);
        assert_eq!(reason("b", false, Reason::Missing), Reason::Missing);
        assert_eq!(reason("a", false, Reason::Missing), Reason::Missing, "once more, after a failed attempt");
        assert_eq!(reason("c", false, Reason::Missing), Reason::TooManyReplacements);
        assert_eq!(reason("c", true, Reason::Asked), Reason::Asked);
        brake.apply(&Name::new("a").unwrap(), false, Decision::wait(Reason::InOverlap, None));
        let again = Decision::act(claim, Reason::Missing);
        let replaced = brake.apply(&Name::new("c").unwrap(), false, again).reason();
        assert_eq!(replaced, Reason::Missing, "one of the two was replaced");
    }

    #[test]
    fn what_an_edit_sets_going_is_told_from_what_was_due_anyway() {
        let day = Duration::from_secs(86_400);
        let capabilities =
            Capabilities { marking: Marking::Named, live_max: None, last_used: false, proof: Proof::Login };
        let policy = |rotate| Policy::standard(rotate, day, capabilities);
        let every = |days: u32| policy(Rotate::Every(day * days));
        let since = Timestamp::from_seconds(1_700_000_000);
        let now = since.plus(day * 10);
        let frozen = Policy { freezes: vec![Freeze { from: since, to: now.plus(day) }], ..every(7) };
        let rows = [
            (every(30), every(7), true),
            (policy(Rotate::Manual), every(7), true),
            (frozen.clone(), every(7), true),
            (every(9), every(7), false),
            (every(30), every(20), false),
            (every(30), frozen, false),
            (every(7), policy(Rotate::Manual), false),
        ];
        for (number, (before, after, expected)) in rows.into_iter().enumerate() {
            assert_eq!(due_by_edit(&before, &after, since, now), expected, "row {number}");
        }
    }
}
