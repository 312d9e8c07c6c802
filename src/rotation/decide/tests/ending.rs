//! How a replaced credential ends with `retire_when`, and the current one with `state = "retired"`.

use super::*;
use crate::model::policy::RetireWhen;
use crate::rotation::tags::Ending;

/// Promoted so long ago, and the replaced one was last used so many minutes ago.
fn waiting(minutes: u64, when: RetireWhen, used: Option<u64>) -> Told {
    healthy().promoted(minutes).resolved(1).changed(minutes).with(|told| {
        told.policy.retire_when = when;
        told.listed()[0].last_used = used.map(ago);
    })
}

#[test]
fn evidence_is_asked_for_on_top_of_the_overlap_and_never_instead_of_it() {
    let (unused, confirmed) = (RetireWhen::Unused { max: WEEK }, RetireWhen::Confirmed { max: WEEK });
    let over = DAY + 60;
    // The latest promotion is an hour after the claim, and consumers have another to refresh.
    let handed_over = |minutes: u64| minutes - 120;
    let confirms = |told: Told, version: VersionId| {
        told.with(|told| told.secret().confirmed = Some(Accepted { version, at: Some(ago(5)) }))
    };
    let both = |told: Told| told.with(|told| told.secret().versions[0].labels.retain(|one| *one != Label::Previous));
    check(vec![
        ("never used, in overlap", waiting(over - 1, unused, None), "wait", Reason::InOverlap),
        ("never used", waiting(over, unused, None), "detach AWSPREVIOUS", Reason::OverlapOver),
        (
            "used until consumers had the new one",
            waiting(over, unused, Some(handed_over(over))),
            "detach AWSPREVIOUS",
            Reason::OverlapOver,
        ),
        ("used a minute longer", waiting(over, unused, Some(handed_over(over) - 1)), "wait", Reason::InUse),
        ("used a moment ago", waiting(over, unused, Some(0)), "wait", Reason::InUse),
        (
            "a last use in the future",
            waiting(over, unused, None).with(|told| {
                told.listed()[0].last_used = Some(NOW.plus(WEEK));
            }),
            "wait",
            Reason::InUse,
        ),
        ("frozen long before, in overlap", waiting(over - 1, unused, Some(20 * DAY)), "wait", Reason::InOverlap),
        ("frozen long before", waiting(over, unused, Some(20 * DAY)), "detach AWSPREVIOUS", Reason::OverlapOver),
        ("not listed any more", waiting(over, unused, Some(0)).dead("old"), "detach AWSPREVIOUS", Reason::OverlapOver),
        (
            "the vendor was not asked",
            waiting(over, unused, None).with(|told| told.silent()),
            "wait",
            Reason::VendorSilent,
        ),
        ("used, almost a week later", waiting(7 * DAY + 59, unused, Some(0)), "wait", Reason::InUse),
        ("used, a week later", waiting(7 * DAY + 60, unused, Some(0)), "detach AWSPREVIOUS", Reason::EvidenceOverdue),
        ("used, and leaked", waiting(30, unused, Some(0)).asked(Cause::Leaked), "detach AWSPREVIOUS", Reason::Leaked),
        ("used, the label taken off by hand", both(waiting(over, unused, Some(0))), "wait", Reason::InUse),
        (
            "unused, the label taken off by hand",
            both(waiting(over + 1, unused, None)),
            "revoke old",
            Reason::Unreferenced,
        ),
        (
            "used, and a rotation is due",
            waiting(over, unused, Some(0)).with(|told| told.policy.rotate = every(1)),
            "wait",
            Reason::InUse,
        ),
        ("unconfirmed", waiting(over, confirmed, None), "wait", Reason::Unconfirmed),
        (
            "confirmed",
            confirms(waiting(over, confirmed, None), attempt(1).slot_id()),
            "detach AWSPREVIOUS",
            Reason::OverlapOver,
        ),
        (
            "confirmed, in overlap",
            confirms(waiting(60, confirmed, None), attempt(1).slot_id()),
            "wait",
            Reason::InOverlap,
        ),
        (
            "the old one confirmed",
            confirms(waiting(over, confirmed, None), first().slot_id()),
            "wait",
            Reason::Unconfirmed,
        ),
        (
            "unconfirmed, a week later",
            waiting(7 * DAY + 60, confirmed, None),
            "detach AWSPREVIOUS",
            Reason::EvidenceOverdue,
        ),
        (
            "a value by hand was replaced",
            waiting(over, confirmed, None).with(|told| {
                told.secret().versions[0].labels = vec![Label::Previous];
            }),
            "detach AWSPREVIOUS",
            Reason::OverlapOver,
        ),
    ]);
    let decision = waiting(over, confirmed, None).decide();
    assert_eq!(decision.until(), Some(NOW.plus(WEEK - Duration::from_secs(86_400))));
    assert!(decision.reason().message(decision.until()).ends_with("at the latest"));
    let unasked = waiting(over, unused, None).with(|told| told.silent());
    assert_eq!(unasked.decide().reason(), Reason::VendorSilent);
    let unasked = unasked.with(|told| told.view.facts.listing = Known::NotAsked);
    assert_eq!(unasked.decide(), Decision::Need(Fact::Listing));
}

const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// Declared retired, which was first seen so many minutes ago.
fn retired(told: Told, minutes: Option<u64>) -> Told {
    told.with(|told| {
        told.policy.wanted = Wanted::Retired;
        told.secret().retiring = minutes.map(|minutes| Retiring { since: ago(minutes), ending: None });
    })
}

/// The end of the first version's credential was written down so many minutes ago.
fn ending(told: Told, minutes: u64) -> Told {
    retired(told, Some(3 * DAY)).with(|told| {
        let ending = Ending { at: ago(minutes), version: first().slot_id() };
        told.secret().retiring.as_mut().unwrap().ending = Some(ending);
    })
}

#[test]
fn a_retired_credential_ends_after_its_consumers_had_their_time() {
    let over = DAY + 16;
    let missing = |mut told: Told| {
        told.view.secret = None;
        told
    };
    let pause = |told: &mut Told| told.secret().paused_until = Some(NOW.plus(MINUTE));
    let scheduled = |told: &mut Told| told.secret().obstacle = Some(Obstacle::ScheduledForDeletion(NOW));
    let unleased = |told: &mut Told| told.secret().versions[0].labels.retain(|label| *label == Label::Current);
    let foreign = |told: &mut Told| {
        told.secret().versions[0].labels.truncate(1);
        told.secret().versions[0].role = Role::Other;
    };
    let theirs = |told: &mut Told| told.policy.create_secret = false;
    let ended = Hand::Ended { tracked: tracked("old") };
    let due = |told: &mut Told| told.policy.rotate = every(1);
    check(vec![
        ("no secret", retired(healthy(), None).with(|told| told.view.secret = None), "wait", Reason::Retired),
        ("no secret, asked", missing(retired(healthy(), None)).asked(Cause::Leaked), "wait", Reason::Retired),
        ("first seen", retired(healthy(), None), "mark retiring", Reason::Retiring),
        ("first seen, due", retired(healthy(), None).with(due), "mark retiring", Reason::Retiring),
        ("paused", retired(healthy(), None).with(pause), "wait", Reason::Paused),
        ("written by hand", retired(healthy(), None).with(foreign), "wait", Reason::ForeignCurrent),
        (
            "somebody else's",
            retired(healthy(), None).with(|told| told.secret().owner = Owner::Nobody),
            "wait",
            Reason::NotOurs,
        ),
        ("consumers read on", retired(healthy(), Some(over - 1)), "wait", Reason::Retiring),
        ("consumers read on, asked", retired(healthy(), Some(5)).asked(Cause::Asked), "wait", Reason::Retiring),
        (
            "consumers refresh later",
            retired(healthy(), Some(over)).with(|told| told.policy.refresh = WEEK),
            "wait",
            Reason::Retiring,
        ),
        ("their time is over", retired(healthy(), Some(over)), "mark ending", Reason::Retiring),
        ("their time is over, paused", retired(healthy(), Some(over)).with(pause), "wait", Reason::Paused),
        (
            "the vendor is silent",
            retired(healthy(), Some(over)).with(|told| told.silent()),
            "wait",
            Reason::VendorSilent,
        ),
        ("an open attempt", retired(healthy().claimed(1, 5), Some(over)), "wait", Reason::AttemptOpen),
        ("an abandoned attempt", retired(healthy().claimed(1, 16), Some(over)), "close", Reason::AttemptAbandoned),
        (
            "a claim in hand",
            retired(healthy().claimed(1, 0), Some(5)).hand(Hand::Claimed { attempt: attempt(1), at: NOW }),
            "wait",
            Reason::AttemptOpen,
        ),
        (
            "a leftover",
            retired(healthy().claimed(1, 40).tombstone(1, 20).lives("lost", Marked::Ours(attempt(1)), 40), Some(over)),
            "revoke leftover lost",
            Reason::Leftover,
        ),
        (
            "a young leftover",
            retired(healthy().claimed(1, 25).tombstone(1, 20).lives("lost", Marked::Ours(attempt(1)), 25), Some(over)),
            "wait",
            Reason::Retiring,
        ),
        (
            "a candidate",
            retired(healthy().claimed(1, 5).stored(1, 5, &[Label::Pending]), Some(5)),
            "detach AWSPENDING",
            Reason::Retiring,
        ),
        ("in overlap", retired(healthy().promoted(60).resolved(1), Some(5)), "wait", Reason::Retiring),
        (
            "in overlap, their time is over",
            retired(healthy().promoted(60).resolved(1), Some(over)),
            "detach AWSPREVIOUS",
            Reason::Retiring,
        ),
        (
            "an older one",
            retired(healthy().promoted(90).resolved(1).with(drop_previous).changed(20), Some(over)),
            "revoke old",
            Reason::Unreferenced,
        ),
        (
            "an older one, not settled",
            retired(healthy().promoted(90).resolved(1).with(drop_previous).changed(5), Some(over)),
            "wait",
            Reason::Retiring,
        ),
        ("written down", ending(healthy(), 30), "wait", Reason::Retiring),
        ("written down, settled", ending(healthy(), 31), "revoke old", Reason::Retiring),
        ("written down, changed since", ending(healthy(), 31).changed(15), "wait", Reason::Retiring),
        ("written down, paused", ending(healthy(), 31).with(pause), "wait", Reason::Paused),
        (
            "written down of another version",
            ending(
                healthy()
                    .promoted(DAY + 90)
                    .resolved(1)
                    .with(drop_previous)
                    .with(|told| told.secret().versions[0].labels.clear())
                    .dead("old"),
                31,
            ),
            "mark retiring",
            Reason::Retiring,
        ),
        (
            "revoked",
            ending(healthy().dead("old"), 31).hand(ended.clone()),
            "detach kf-cred old",
            Reason::RevokeConfirmed,
        ),
        ("revoked, the reply lost", ending(healthy().dead("old"), 31), "revoke old", Reason::Retiring),
        (
            "revoked, unknown there",
            ending(healthy().dead("old"), 31).hand(Hand::Unknown { tracked: tracked("old") }),
            "detach kf-cred old",
            Reason::RevokeConfirmed,
        ),
        (
            "unknown there, and listed",
            ending(healthy(), 31).hand(Hand::Unknown { tracked: tracked("old") }),
            "revoke old",
            Reason::Retiring,
        ),
        (
            "its lease is off",
            ending(healthy().dead("old").with(unleased), 40).changed(0),
            "delete secret",
            Reason::Retiring,
        ),
        (
            "its lease is off, and the secret is Terraform's",
            ending(healthy().dead("old").with(unleased), 40).with(theirs),
            "wait",
            Reason::Retired,
        ),
        ("scheduled", ending(healthy().dead("old").with(unleased), 40).with(scheduled), "wait", Reason::Retired),
        (
            "scheduled by somebody, before its time",
            retired(healthy(), Some(5)).with(scheduled),
            "wait",
            Reason::ScheduledForDeletion,
        ),
        ("in place", retired(in_place(), Some(over)), "delete secret", Reason::Retiring),
        ("in place, their time is not over", retired(in_place(), Some(5)), "wait", Reason::Retiring),
        ("never had a value", retired(tagged(1, 16), None), "mark retiring", Reason::Retiring),
        ("never had a value, a put may land", retired(tagged(1, 5), Some(over)), "wait", Reason::Retiring),
        (
            "never had a value, a leftover",
            retired(tagged(1, 40).lives("lost", Marked::First(first()), 40), Some(over)),
            "revoke leftover lost",
            Reason::Leftover,
        ),
        ("never had a value, settled", retired(tagged(1, 16), Some(over)), "delete secret", Reason::Retiring),
        (
            "never had a value, in hand",
            retired(tagged(1, 0), Some(over)).hand(Hand::Tagged { nonce: "mine".into() }),
            "wait",
            Reason::Retiring,
        ),
    ]);
    assert_eq!(Reason::Retired.turn(), crate::rotation::Turn::Nobody);
}

#[test]
fn a_credential_that_is_wanted_again_goes_on_or_gets_a_fresh_value_at_once() {
    let present = |told: Told| told.with(|told| told.policy.wanted = Wanted::Present);
    let unleased = |told: &mut Told| told.secret().versions[0].labels.retain(|label| *label == Label::Current);
    let shut = |told: &mut Told| told.policy.freezes = vec![Freeze { from: ago(1), to: NOW.plus(MINUTE) }];
    let replaced = || healthy().promoted(5).resolved(1);
    check(vec![
        ("in time", present(retired(healthy(), Some(DAY))), "unmark retiring", Reason::PresentAgain),
        ("never had a value", present(retired(tagged(1, 16), Some(5))), "unmark retiring", Reason::PresentAgain),
        ("written down a moment ago", present(ending(healthy(), 0)), "claim 1", Reason::PresentAgain),
        ("written down, in a freeze", present(ending(healthy(), 0)).with(shut), "claim 1", Reason::PresentAgain),
        ("revoked", present(ending(healthy().dead("old"), 40)), "claim 1", Reason::PresentAgain),
        (
            "its lease is off",
            present(ending(healthy().dead("old").with(unleased), 40)),
            "claim 1",
            Reason::PresentAgain,
        ),
        (
            "the fresh one is stored",
            present(ending(healthy().claimed(1, 1).stored(1, 1, &[Label::Pending]), 40)).hand(proved(1)),
            "promote",
            Reason::CandidateProved,
        ),
        ("the fresh one is current", present(ending(replaced(), 40)), "unmark retiring", Reason::PresentAgain),
        (
            "restored from deletion",
            present(ending(healthy().dead("old").with(unleased), 40))
                .with(|told| told.secret().obstacle = Some(Obstacle::ScheduledForDeletion(NOW))),
            "wait",
            Reason::ScheduledForDeletion,
        ),
    ]);
}
