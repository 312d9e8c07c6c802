//! Faults that were found, each as the shortest world that shows it.

use std::time::Duration;

use crate::blind::plain;
use crate::declare::{Kind, One};
use crate::events::{Event, Strip};
use crate::net::Trouble;
use crate::time::{DAY, HOUR, MINUTE};
use crate::world::{Ask, Plan, World};

/// Runs a plan to its end, and gives what went wrong.
fn violations(mut plan: Plan, events: &[(Duration, Event)]) -> Vec<String> {
    plan.events = [(Duration::ZERO, Event::Start(0))].into_iter().chain(events.iter().copied()).collect();
    fastrand::seed(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let ask = Ask { seed: 1, keep: None, told: true };
    let outcome = runtime.block_on(async { World::planned(plan, &ask).live(&ask).await });
    outcome.lines.iter().for_each(|line| println!("{line}"));
    outcome.violations.into_iter().map(|one| one.text).collect()
}

/// The plain world with its one credential at WorkOS, in an application of its own.
fn at_workos() -> Plan {
    let mut plan = plain();
    plan.draft.vendors = vec![("workos-1".into(), "workos")];
    let one = &mut plan.draft.credentials[0];
    (one.kind, one.vendor) = (Kind::Exclusive, "workos-1".into());
    plan
}

#[test]
fn a_quiet_world_has_nothing_to_judge() {
    for plan in [plain(), at_workos()] {
        assert_eq!(violations(plan, &[(2 * DAY, Event::Once)]), [""; 0]);
    }
}

/// The tags said where the old credential lives; whoever took them off made it forgotten.
#[test]
fn a_credential_of_a_former_place_whose_tags_are_gone_is_not_forgotten() {
    let mut plan = at_workos();
    plan.draft.credentials[0].every_h = 0;
    let strip = Event::StripTags(0);
    let events = [
        (HOUR, Event::Move(0, false)),
        (HOUR + MINUTE, Event::Reload(0)),
        (HOUR + 5 * MINUTE, strip),
        (5 * HOUR, Event::Once),
    ];
    assert_eq!(violations(plan, &events), [""; 0]);
}

/// An application that was made again under its name is another one.
#[test]
fn a_credential_of_a_renamed_application_is_not_forgotten() {
    let events = [(HOUR, Event::Recreate(0)), (DAY, Event::Once)];
    assert_eq!(violations(at_workos(), &events), [""; 0]);
}

#[test]
fn a_vendor_that_does_not_answer_does_not_delay_a_leaked_rotation_at_another() {
    let mut plan = at_workos();
    plan.draft.vendors.push(("workos-2".into(), "workos"));
    let other = One { name: "other".into(), vendor: "workos-2".into(), ..plan.draft.credentials[0].clone() };
    plan.draft.credentials.push(other);
    // The services in the order of their addresses: the target, then the vendors.
    let events = [
        (HOUR, Event::Trouble(2, Trouble::Mute, 2 * HOUR)),
        (HOUR + MINUTE, Event::Rotate(0, true)),
        (5 * HOUR, Event::Once),
    ];
    assert_eq!(violations(plan, &events), [""; 0]);
}

#[test]
fn what_waits_a_minute_and_a_half_for_each_listing_still_ends_what_is_replaced() {
    for plan in [plain(), at_workos()] {
        let events = [(10 * MINUTE, Event::Trouble(1, Trouble::ThrottledLists, 3 * DAY)), (3 * DAY, Event::Once)];
        assert_eq!(violations(plan, &events), [""; 0]);
    }
}

/// What needs the listing for an end that cannot be taken back: a former place, and a retirement.
#[test]
fn what_waits_a_minute_and_a_half_for_each_listing_still_leaves_a_place_and_retires() {
    for edit in [Event::Move(0, false), Event::Retire(0)] {
        for mut plan in [plain(), at_workos()] {
            plan.draft.credentials[0].every_h = 24;
            let events = [
                (10 * MINUTE, Event::Trouble(1, Trouble::ThrottledLists, 3 * DAY)),
                (HOUR, edit),
                (HOUR + MINUTE, Event::Reload(0)),
                (3 * DAY, Event::Once),
            ];
            assert_eq!(violations(plan, &events), [""; 0], "{edit:?}");
        }
    }
}

#[test]
fn a_credential_whose_lease_was_taken_off_is_not_ended_while_a_label_refers_to_it() {
    for strip in [Strip::LeaseOfPrevious, Strip::LeaseOfCurrent] {
        for mut plan in [plain(), at_workos()] {
            plan.draft.credentials[0].overlap_h = 24;
            plan.draft.credentials[0].every_h = 30;
            let events = [(31 * HOUR, Event::StripLabel(0, strip)), (32 * HOUR, Event::Once)];
            assert_eq!(violations(plan, &events), [""; 0], "{strip:?}");
        }
    }
}

#[test]
fn a_revoke_that_a_proxy_answers_is_not_done() {
    for plan in [plain(), at_workos()] {
        let events = [(HOUR, Event::Trouble(1, Trouble::LyingDeletes, DAY)), (2 * DAY, Event::Once)];
        assert_eq!(violations(plan, &events), [""; 0]);
    }
}
