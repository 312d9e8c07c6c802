//! Situations and the step they call for: one table a theme, one row a situation.

use std::num::NonZeroU8;
use std::time::Duration;

use super::*;
use crate::model::label::PlaceKey;
use crate::model::policy::{Freeze, Ownership, Rotate, Verify};
use crate::rotation::story::{
    DAY, NOW, Told, ago, attempt, first, found, healthy, id, in_place, tagged, told, tracked, unnamed,
};
use crate::rotation::tags::Retiring;
use crate::rotation::view::{Accepted, Company, Compared, Fit, Hand, Known, Marked, Seen, short};

mod ending;

type Row = (&'static str, Told, &'static str, Reason);

fn check(rows: Vec<Row>) {
    for (situation, situated, step, reason) in rows {
        let decision = situated.decide();
        assert_eq!((told(&decision).as_str(), decision.reason()), (step, reason), "{situation}");
    }
}

fn proved(number: u32) -> Hand {
    Hand::Proved { version: attempt(number).slot_id(), at: NOW }
}

#[test]
fn whatever_effect_a_crash_came_after_the_next_pass_goes_on() {
    let pending = [Label::Pending];
    check(vec![
        ("after the claim", healthy().claimed(1, 5), "wait", Reason::AttemptOpen),
        ("after the claim, settled", healthy().claimed(1, 16), "close", Reason::AttemptAbandoned),
        (
            "after the create, secret lost",
            healthy().claimed(1, 16).lives("lost", Marked::Ours(attempt(1)), 16),
            "close",
            Reason::AttemptAbandoned,
        ),
        ("after the store", healthy().claimed(1, 5).stored(1, 5, &pending), "prove", Reason::CandidateUnproved),
        (
            "after the store, an hour later",
            healthy().claimed(1, 61).stored(1, 61, &pending),
            "detach AWSPENDING",
            Reason::CandidateAged,
        ),
        (
            "after the login",
            healthy().claimed(1, 5).stored(1, 5, &pending).hand(proved(1)),
            "promote",
            Reason::CandidateProved,
        ),
        (
            "after the promotion",
            healthy().claimed(1, 5).stored(1, 5, &[Label::Current, Label::Pending]).old_is(&[Label::Previous]),
            "detach AWSPENDING",
            Reason::Promoted,
        ),
        ("after AWSPENDING came off", healthy().promoted(5), "detach kf-open", Reason::AttemptResolved),
        ("after the tidying", healthy().promoted(5).resolved(1), "wait", Reason::InOverlap),
        ("after the overlap", healthy().promoted(DAY + 60).resolved(1), "detach AWSPREVIOUS", Reason::OverlapOver),
        (
            "after the retirement",
            healthy().promoted(DAY + 80).resolved(1).old_is(&[]).with(drop_previous).changed(16),
            "revoke old",
            Reason::Unreferenced,
        ),
        (
            "after the revoke",
            healthy()
                .promoted(DAY + 80)
                .resolved(1)
                .with(drop_previous)
                .dead("old")
                .changed(16)
                .hand(Hand::Unknown { tracked: tracked("old") }),
            "detach kf-cred old",
            Reason::RevokeConfirmed,
        ),
        (
            "after the end of the lease",
            healthy().promoted(DAY + 80).resolved(1).dead("old").with(|told| told.secret().versions[0].labels.clear()),
            "wait",
            Reason::HealthyManual,
        ),
        (
            "after the tombstone, nothing left",
            healthy().claimed(1, 40).tombstone(1, 16),
            "detach kf-open",
            Reason::AttemptResolved,
        ),
        (
            "after the tombstone, an orphan",
            healthy().claimed(1, 40).tombstone(1, 16).lives("lost", Marked::Ours(attempt(1)), 40),
            "revoke leftover lost",
            Reason::Leftover,
        ),
        (
            "after its own put was refused",
            healthy()
                .claimed(1, 40)
                .stored(1, 40, &pending)
                .lives("second", Marked::Ours(attempt(1)), 40)
                .hand(proved(1)),
            "promote",
            Reason::CandidateProved,
        ),
        (
            "after its own put was refused, the other one promoted",
            healthy().promoted(40).resolved(1).lives("second", Marked::Ours(attempt(1)), 40),
            "revoke leftover second",
            Reason::Leftover,
        ),
    ]);
}

fn drop_previous(told: &mut Told) {
    told.secret().versions[0].labels.retain(|label| *label != Label::Previous);
}

#[test]
fn a_first_version_is_made_without_any_version_that_says_so() {
    let mine = || Hand::Tagged { nonce: "mine".into() };
    let missing = || healthy().with(|told| told.view.secret = None);
    let leftover = Marked::First(first());
    let used = |minutes: u64| {
        move |told: &mut Told| {
            told.policy.capabilities.marking = Marking::Unnamed;
            told.policy.ownership = Ownership::Exclusive;
            let seen = Seen {
                id: id("lost"),
                marked: Marked::No,
                created: ago(40),
                last_used: Some(ago(40 - minutes)),
                fit: Fit::Declared,
            };
            *told.listed() = vec![seen];
        }
    };
    check(vec![
        ("no secret", missing(), "create secret", Reason::SecretMissing),
        ("no secret, its creation not shown yet", missing().hand(mine()), "wait", Reason::AttemptOpen),
        (
            "no secret, and not ours to create",
            missing().with(|told| told.policy.create_secret = false),
            "wait",
            Reason::SecretAbsent,
        ),
        ("no secret, vendor silent", missing().with(|told| told.silent()), "wait", Reason::VendorSilent),
        ("an empty secret", tagged(1, 0).with(|told| told.secret().bootstrap = None), "tag 1", Reason::SecretEmpty),
        ("our own tag", tagged(1, 0).hand(mine()), "mint first", Reason::ClaimWon),
        ("our own tag, slept", tagged(1, 2).hand(mine()), "wait", Reason::AttemptOpen),
        ("another's tag", tagged(1, 0).hand(Hand::Tagged { nonce: "other".into() }), "wait", Reason::AttemptOpen),
        ("after the tag", tagged(1, 15), "wait", Reason::AttemptOpen),
        ("after the tag, settled", tagged(1, 16), "tag 2", Reason::SecretEmpty),
        (
            "after the create, secret lost",
            tagged(1, 40).lives("lost", leftover.clone(), 40),
            "revoke leftover lost",
            Reason::Leftover,
        ),
        (
            "after the create, young yet",
            tagged(1, 20).lives("lost", leftover.clone(), 20),
            "tag 2",
            Reason::SecretEmpty,
        ),
        (
            "after several",
            tagged(3, 16).with(|told| told.policy.backoff_first = Duration::from_secs(3_600)),
            "wait",
            Reason::BackingOff,
        ),
        ("unnamed: after its maker's own proof", tagged(1, 40).with(used(1)), "revoke leftover lost", Reason::Leftover),
        ("unnamed: used by somebody later", tagged(1, 40).with(used(20)), "tag 2", Reason::SecretEmpty),
        (
            "after the put",
            healthy().with(|told| {
                let tag = tagged(1, 1).secret().bootstrap.clone();
                told.secret().bootstrap = tag;
                told.secret().versions[0].labels.push(Label::Pending);
            }),
            "detach AWSPENDING",
            Reason::Promoted,
        ),
        (
            "after the put, tidied",
            healthy().with(|told| told.secret().bootstrap = tagged(1, 1).secret().bootstrap.clone()),
            "untag",
            Reason::BootstrapDone,
        ),
        ("the put was not published", healthy().old_is(&[Label::Pending]), "prove", Reason::CandidateUnproved),
        (
            "the put was not published, proved",
            healthy().old_is(&[Label::Pending]).hand(Hand::Proved { version: first().slot_id(), at: NOW }),
            "promote",
            Reason::CandidateProved,
        ),
    ]);
    assert_eq!(short(&id("lost")).len(), 12);
}

#[test]
fn parked_states_move_nothing_and_say_whose_turn_it_is() {
    let obstacle =
        |obstacle: Obstacle| healthy().asked(Cause::Leaked).with(|told| told.secret().obstacle = Some(obstacle));
    let owner = |owner: Owner| healthy().asked(Cause::Asked).with(|told| told.secret().owner = owner);
    let foreign = || healthy().with(|told| told.secret().versions[0].role = Role::Other);
    let by_hand = || foreign().with(|told| told.secret().versions[0].labels.truncate(1));
    let rolled_back = || healthy().claimed(1, DAY).resolved(1).stored(1, DAY, &[Label::Previous]).asked(Cause::Asked);
    let accepted = |told: &mut Told, minutes| {
        told.secret().accepted = Some(Accepted { version: first().slot_id(), at: Some(ago(minutes)) });
    };
    let leftovers = |count: u32| {
        (0..count).fold(healthy().claimed(1, 60).tombstone(1, 60), |told, number| {
            told.lives(&format!("lost-{number}"), Marked::Ours(attempt(1)), 60)
        })
    };
    check(vec![
        ("deletion", obstacle(Obstacle::ScheduledForDeletion(NOW)), "wait", Reason::ScheduledForDeletion),
        ("native rotation", obstacle(Obstacle::NativeRotation), "wait", Reason::NativeRotation),
        ("partner", obstacle(Obstacle::PartnerType("x".into())), "wait", Reason::ManagedElsewhere),
        ("service", obstacle(Obstacle::ManagedBy("x".into())), "wait", Reason::ManagedElsewhere),
        ("replica", obstacle(Obstacle::Replica { primary: "x".into() }), "wait", Reason::ReplicaRegion),
        ("others'", owner(Owner::Other { deployment: "x".into(), credential: "y".into() }), "wait", Reason::OtherOwner),
        ("nobody's", owner(Owner::Nobody), "wait", Reason::NotOurs),
        (
            "nobody's, to be taken over",
            owner(Owner::Nobody).with(|told| told.policy.takeover = Takeover::Rotate),
            "take over",
            Reason::TakeOver,
        ),
        ("tags stripped", owner(Owner::Stripped), "claim 1", Reason::Asked),
        (
            "paused",
            healthy()
                .asked(Cause::Leaked)
                .with(|told| told.secret().paused_until = Some(NOW.plus(Duration::from_secs(1)))),
            "wait",
            Reason::Paused,
        ),
        (
            "pause over",
            healthy().asked(Cause::Leaked).with(|told| told.secret().paused_until = Some(NOW)),
            "claim 1",
            Reason::Leaked,
        ),
        ("its base forgotten by AWS", foreign().asked(Cause::Asked), "claim 1", Reason::Asked),
        (
            "its base forgotten by AWS, not due",
            foreign().with(|told| told.policy.rotate = every(30)),
            "wait",
            Reason::Healthy,
        ),
        ("written by hand", by_hand().asked(Cause::Asked), "wait", Reason::ForeignCurrent),
        (
            "written by hand, accepted",
            by_hand().dead("old").asked(Cause::Asked).with(|told| accepted(told, DAY)),
            "claim 1",
            Reason::Asked,
        ),
        (
            "taken over",
            by_hand().dead("old").with(|told| told.policy.takeover = Takeover::Rotate),
            "claim 1",
            Reason::Due,
        ),
        (
            "moved to a version that was revoked",
            rolled_back().with(|told| told.secret().versions[0].labels.truncate(1)),
            "wait",
            Reason::DeadCurrent,
        ),
        ("rolled back", rolled_back(), "wait", Reason::RolledBack),
        ("rolled back, accepted a moment ago", rolled_back().with(|told| accepted(told, 5)), "wait", Reason::InOverlap),
        (
            "rolled back, accepted long ago",
            rolled_back().with(|told| accepted(told, DAY)),
            "detach AWSPREVIOUS",
            Reason::OverlapOver,
        ),
        (
            "a stranger pending",
            healthy().old_is(&[Label::Current]).with(|told| {
                let version = Version {
                    id: VersionId::new(&"f".repeat(32)).unwrap(),
                    role: Role::Other,
                    labels: vec![Label::Pending],
                    created: NOW,
                };
                told.secret().versions.push(version);
            }),
            "wait",
            Reason::ForeignPending,
        ),
        ("nothing current", healthy().old_is(&[]), "wait", Reason::NoCurrent),
        ("three leftovers", leftovers(3), "revoke leftover lost-0", Reason::Leftover),
        ("four leftovers", leftovers(4), "wait", Reason::TooManyLeftovers),
    ]);
}

#[test]
fn a_rotation_begins_only_when_nothing_stands_in_its_way() {
    let asked = || healthy().asked(Cause::Asked);
    check(vec![
        ("nothing to do", healthy(), "wait", Reason::HealthyManual),
        ("not due", healthy().with(|told| told.policy.rotate = every(30)), "wait", Reason::Healthy),
        ("due", healthy().with(|told| told.policy.rotate = every(9)), "claim 1", Reason::Due),
        (
            "due in a freeze",
            healthy().with(|told| {
                told.policy.rotate = every(9);
                told.policy.freezes = vec![Freeze { from: ago(1), to: NOW.plus(Duration::from_secs(60)) }];
            }),
            "wait",
            Reason::WindowClosed,
        ),
        ("asked", asked(), "claim 1", Reason::Asked),
        (
            "claimed",
            asked().claimed(1, 0).hand(Hand::Claimed { attempt: attempt(1), at: NOW }),
            "mint",
            Reason::ClaimWon,
        ),
        (
            "claimed, slept",
            asked().claimed(1, 1).hand(Hand::Claimed { attempt: attempt(1), at: ago(1) }),
            "wait",
            Reason::AttemptOpen,
        ),
        ("claimed by another", asked().claimed(1, 0), "wait", Reason::AttemptOpen),
        ("vendor silent", asked().with(|told| told.silent()), "wait", Reason::VendorSilent),
        (
            "four live",
            ["a", "b", "c"].iter().fold(asked(), |told, name| told.lives(name, Marked::Ours(attempt(1)), 1)),
            "wait",
            Reason::NoRoom,
        ),
        (
            "vendor full",
            asked().with(|told| told.policy.capabilities.live_max = NonZeroU8::new(1)),
            "wait",
            Reason::NoRoom,
        ),
        ("failed a moment ago", asked().claimed(1, 0).tombstone(1, 0).resolved(1), "wait", Reason::BackingOff),
        ("failed a while ago", asked().claimed(1, 20).tombstone(1, 1).resolved(1), "claim 2", Reason::Asked),
        ("not swept yet", asked().claimed(1, 20).tombstone(1, 1), "wait", Reason::Settling),
        ("in overlap", healthy().promoted(5).resolved(1).asked(Cause::Asked), "wait", Reason::InOverlap),
    ]);
}

fn every(days: u64) -> Rotate {
    Rotate::Every(Duration::from_secs(days * 86_400))
}

#[test]
fn what_no_login_can_prove_is_not_made_or_is_published_unproved() {
    let untold = Hand::Untold { version: attempt(1).slot_id(), at: NOW };
    let long_ago = Hand::Untold { version: attempt(1).slot_id(), at: ago(1) };
    let stored = |hand: &Hand| healthy().claimed(1, 5).stored(1, 5, &[Label::Pending]).hand(hand.clone());
    let best_effort = |told: &mut Told| told.policy.verify = Verify::BestEffort;
    let mute = |told: &mut Told| told.view.facts.provable = found(false);
    let asked = || healthy().asked(Cause::Asked);
    let none = || healthy().with(|told| told.view.secret = None);
    check(vec![
        ("stored, must be proved", stored(&untold), "detach AWSPENDING", Reason::CandidateUntold),
        ("stored, best effort", stored(&untold).with(best_effort), "promote", Reason::CandidateUntold),
        ("found long ago", stored(&long_ago).with(best_effort), "prove", Reason::CandidateUnproved),
        ("found long ago, must be proved", stored(&long_ago), "prove", Reason::CandidateUnproved),
        ("due, must be proved", asked().with(mute), "wait", Reason::Unprovable),
        ("due, best effort", asked().with(mute).with(best_effort), "claim 1", Reason::Asked),
        ("not due", healthy().with(mute), "wait", Reason::HealthyManual),
        ("no secret, must be proved", none().with(mute), "wait", Reason::Unprovable),
        ("no secret, best effort", none().with(mute).with(best_effort), "create secret", Reason::SecretMissing),
        ("a second try, must be proved", tagged(1, 60).with(mute), "wait", Reason::Unprovable),
    ]);
    let unasked = |told: &mut Told| told.view.facts.provable = Known::NotAsked;
    let wants = |told: Told| told.with(unasked).decide() == Decision::Need(Fact::Proof);
    assert!(wants(asked()) && wants(none()) && !wants(healthy()) && !wants(asked().with(best_effort)));
}

#[test]
fn where_another_declared_credential_is_made_nothing_is_made_and_nothing_swept() {
    let crowded = |told: &mut Told| told.company(found(Company::Others));
    let untold = |told: &mut Told| told.company(Known::Failed);
    let none = || unnamed().with(|told| told.view.secret = None);
    let leftover = || unnamed().claimed(1, 60).tombstone(1, 40).lives("theirs", Marked::No, 60);
    check(vec![
        ("a leftover, alone", leftover(), "revoke leftover theirs", Reason::Leftover),
        ("perhaps the other's", leftover().with(crowded), "wait", Reason::NotAlone),
        ("nobody could tell", leftover().with(untold), "wait", Reason::HealthyManual),
        ("due", unnamed().asked(Cause::Asked).with(crowded), "wait", Reason::NotAlone),
        ("leaked", unnamed().asked(Cause::Leaked).with(crowded), "claim 1", Reason::Leaked),
        ("due, and nobody could tell", unnamed().asked(Cause::Asked).with(untold), "claim 1", Reason::Asked),
        ("not due", unnamed().with(crowded), "wait", Reason::NotAlone),
        ("no secret", none().with(crowded), "wait", Reason::NotAlone),
        ("a second try", tagged(1, 60).with(crowded), "wait", Reason::NotAlone),
    ]);
}

#[test]
fn a_first_credential_waits_until_the_vendor_has_room() {
    let max = |told: &mut Told| told.policy.capabilities.live_max = NonZeroU8::new(1);
    let none = || healthy().with(|told| told.view.secret = None).with(max);
    check(vec![
        ("a colleague's", none(), "wait", Reason::NoRoom),
        ("a second try", tagged(1, 60).with(max).lives("theirs", Marked::No, 90), "wait", Reason::NoRoom),
        (
            "room",
            none().with(|told| told.policy.capabilities.live_max = NonZeroU8::new(2)),
            "create secret",
            Reason::SecretMissing,
        ),
    ]);
}

#[test]
fn a_candidate_is_proved_or_let_go() {
    let stored = || healthy().claimed(1, 5).stored(1, 5, &[Label::Pending]);
    let refused =
        |seconds| Hand::Refused { version: attempt(1).slot_id(), since: NOW.minus(Duration::from_secs(seconds)) };
    check(vec![
        ("refused", stored().hand(refused(119)), "prove", Reason::CandidateUnproved),
        ("refused for two minutes", stored().hand(refused(120)), "detach AWSPENDING", Reason::CandidateRefused),
        (
            "proved long ago",
            stored().hand(Hand::Proved { version: attempt(1).slot_id(), at: ago(1) }),
            "prove",
            Reason::CandidateUnproved,
        ),
        ("another one proved", stored().hand(proved(2)), "prove", Reason::CandidateUnproved),
        (
            "published and rolled back",
            stored().with(|told| told.secret().versions[2].labels.push(Label::Previous)).with(|told| {
                told.secret().accepted = Some(Accepted { version: first().slot_id(), at: None });
            }),
            "detach AWSPENDING",
            Reason::CandidateSuperseded,
        ),
        ("let go", healthy().claimed(1, 50).resolved(1).stored(1, 50, &[]), "wait", Reason::HealthyManual),
        (
            "let go, past its last promotion",
            healthy().claimed(1, 76).resolved(1).stored(1, 76, &[]),
            "revoke new",
            Reason::Unreferenced,
        ),
        (
            "let go, the secret just changed",
            healthy().claimed(1, 76).resolved(1).stored(1, 76, &[]).changed(15),
            "wait",
            Reason::HealthyManual,
        ),
    ]);
}

#[test]
fn a_leaked_value_has_no_overlap() {
    let rotated =
        || healthy().claimed_for(1, 5, Cause::Leaked).stored(1, 5, &[Label::Current]).old_is(&[Label::Previous]);
    let retired = Hand::Retired { version: first().slot_id() };
    check(vec![
        ("published", rotated(), "detach AWSPREVIOUS", Reason::Leaked),
        ("retired by this process", rotated().with(drop_previous).hand(retired), "revoke old", Reason::Leaked),
        ("retired by another", rotated().with(drop_previous), "wait", Reason::LeakedEnding),
        ("retired by another, settled", rotated().with(drop_previous).changed(16), "revoke old", Reason::Unreferenced),
        (
            "all gone",
            rotated().with(drop_previous).with(|told| told.secret().versions[0].labels.clear()).dead("old"),
            "detach kf-open",
            Reason::AttemptResolved,
        ),
    ]);
}

#[test]
fn unnamed_leftovers_are_told_by_elimination() {
    let closed = || unnamed().claimed(1, 40).tombstone(1, 20);
    let lost = |minutes| closed().lives("lost", Marked::No, minutes);
    let last = |told: &mut Told| told.listed().last_mut().unwrap().last_used = Some(NOW);
    check(vec![
        ("in the window, never used", lost(40), "revoke leftover lost", Reason::Leftover),
        ("used", lost(40).with(last), "detach kf-open", Reason::AttemptResolved),
        ("before the window", lost(60), "detach kf-open", Reason::AttemptResolved),
        ("its claim cannot be read", lost(40).with(|told| told.secret().claims.clear()), "wait", Reason::HealthyManual),
        ("young", lost(30), "wait", Reason::HealthyManual),
        (
            "others may make credentials there",
            lost(40).with(|told| told.policy.ownership = Ownership::Shared),
            "detach kf-open",
            Reason::AttemptResolved,
        ),
        ("the attempt is open", unnamed().claimed(1, 10).lives("lost", Marked::No, 40), "wait", Reason::AttemptOpen),
    ]);
}

#[test]
fn an_in_place_record_ends_up_with_the_current_value() {
    let stored = |labels: &[Label]| in_place().claimed(1, 5).stored(1, 5, labels);
    let restored = Hand::Restored { version: attempt(1).slot_id() };
    let current = [Label::Current, Label::Pending];
    check(vec![
        ("healthy", in_place(), "wait", Reason::HealthyManual),
        ("stored", stored(&[Label::Pending]), "prove", Reason::CandidateUnproved),
        ("proved", stored(&[Label::Pending]).hand(proved(1)), "promote", Reason::CandidateProved),
        ("aged", in_place().claimed(1, 61).stored(1, 61, &[Label::Pending]), "restore", Reason::CandidateAged),
        (
            "restored",
            in_place().claimed(1, 61).stored(1, 61, &[Label::Pending]).hand(restored),
            "detach AWSPENDING",
            Reason::CandidateAged,
        ),
        ("promoted", stored(&current).old_is(&[Label::Previous]), "prove", Reason::CandidateUnproved),
        (
            "promoted, set again",
            stored(&current).old_is(&[Label::Previous]).hand(proved(1)),
            "detach AWSPENDING",
            Reason::Promoted,
        ),
        (
            "the record holds another value",
            stored(&[]).resolved(1).record(Marked::Ours(attempt(1))),
            "restore",
            Reason::RecordDiffers,
        ),
        ("the record was made by hand", stored(&[]).resolved(1).record(Marked::No), "wait", Reason::HealthyManual),
        (
            "the record is not there, or not as declared",
            stored(&[]).resolved(1).with(|told| told.listed().clear()),
            "restore",
            Reason::RecordDiffers,
        ),
        (
            "the record was set again, and does not show yet",
            in_place().with(|told| {
                told.listed().clear();
                told.view.hand = Hand::Restored { version: first().slot_id() };
            }),
            "wait",
            Reason::HealthyManual,
        ),
        (
            "a read from before the store",
            in_place().claimed(1, 1).record(Marked::Ours(attempt(1))),
            "wait",
            Reason::AttemptOpen,
        ),
    ]);
}

#[test]
fn the_vendors_word_ends_a_lease_and_absence_alone_does_not() {
    let over = || healthy().promoted(DAY + 80).resolved(1).with(drop_previous).changed(16);
    let unknown = Hand::Unknown { tracked: tracked("old") };
    check(vec![
        (
            "confirmed, and not listed any more",
            over().dead("old").hand(Hand::Ended { tracked: tracked("old") }),
            "detach kf-cred old",
            Reason::RevokeConfirmed,
        ),
        (
            "confirmed, and listed",
            over().hand(Hand::Ended { tracked: tracked("old") }),
            "revoke old",
            Reason::Unreferenced,
        ),
        (
            "confirmed, and no listing",
            over().hand(Hand::Ended { tracked: tracked("old") }).with(|told| told.silent()),
            "revoke old",
            Reason::Unreferenced,
        ),
        ("unknown, listed", over().hand(unknown.clone()), "revoke old", Reason::Unreferenced),
        (
            "unknown, not listed",
            over().dead("old").hand(unknown.clone()),
            "detach kf-cred old",
            Reason::RevokeConfirmed,
        ),
        (
            "unknown, not listed, changed",
            over().dead("old").changed(15).hand(unknown.clone()),
            "wait",
            Reason::InOverlap,
        ),
        ("unknown, no listing", over().with(|told| told.silent()).hand(unknown), "revoke old", Reason::Unreferenced),
    ]);
    let unasked = |told: &mut Told| told.view.facts.listing = Known::NotAsked;
    let ended = over().hand(Hand::Ended { tracked: tracked("old") }).with(unasked);
    assert_eq!(ended.decide(), Decision::Need(Fact::Listing), "what was listed before proves nothing");
}

#[test]
fn a_lease_ends_only_by_the_word_of_the_place_where_it_was_made() {
    let made_in = |place: &'static str| {
        move |told: &mut Told| {
            for label in told.secret().versions.iter_mut().flat_map(|version| &mut version.labels) {
                if let Label::Cred(lease) = label {
                    lease.made_in = Some(PlaceKey::of(place));
                }
            }
        }
    };
    let over = || {
        let told = healthy().promoted(DAY + 80).resolved(1).with(drop_previous).dead("old").changed(16);
        told.with(|told| told.policy.place = "new".into())
    };
    let asked = |told: Told| match told.decide().step() {
        Some(Step::Revoke { sites, home, .. }) => (sites.clone(), *home),
        other => panic!("{other:?}"),
    };
    // Terraform took every tag off: the label alone says where it was made.
    assert_eq!(asked(over().with(made_in("new"))), (vec![Site::Declared], true));
    assert_eq!(asked(over().with(made_in("old"))), (vec![Site::Declared], false), "nobody knows where that is");
    assert_eq!(asked(over()), (vec![Site::Declared], false), "nor what an older keyferry wrote");
    let tagged = over().with(|told| told.secret().place = Some("new".into()));
    assert_eq!(asked(tagged), (vec![Site::Declared], true), "but the tags say so");
}

#[test]
fn what_a_label_refers_to_is_no_leftover_lease_or_no_lease() {
    let bare = |labels: &'static [Label]| move |told: &mut Told| told.secret().versions[0].labels = labels.to_vec();
    let rotated = || healthy().promoted(90).resolved(1);
    let accepted = |told: &mut Told| {
        told.secret().accepted = Some(Accepted { version: first().slot_id(), at: Some(ago(50)) });
    };
    check(vec![
        ("AWSPREVIOUS without its lease", rotated().with(bare(&[Label::Previous])), "wait", Reason::InOverlap),
        (
            "AWSCURRENT without its lease, accepted",
            healthy().with(bare(&[Label::Current])).with(accepted),
            "wait",
            Reason::HealthyManual,
        ),
        (
            "the overlap is over",
            healthy().promoted(DAY + 90).resolved(1).with(bare(&[Label::Previous])),
            "detach AWSPREVIOUS",
            Reason::OverlapOver,
        ),
        (
            "its label came off a moment ago",
            healthy().promoted(DAY + 90).resolved(1).with(bare(&[])).changed(5),
            "wait",
            Reason::HealthyManual,
        ),
        (
            "its label came off",
            healthy().promoted(DAY + 90).resolved(1).with(bare(&[])).changed(16),
            "revoke leftover old",
            Reason::Leftover,
        ),
        (
            "no marks, and the lease of what AWSPREVIOUS is on is off",
            unnamed()
                .claimed(1, 60)
                .tombstone(1, 40)
                .lives("lost", Marked::No, 60)
                .with(bare(&[Label::Current]))
                .with(accepted),
            "wait",
            Reason::HealthyManual,
        ),
    ]);
}

#[test]
fn what_the_vendor_does_not_list_any_more_is_replaced_at_once() {
    let frozen = |told: &mut Told| told.policy.freezes = vec![Freeze { from: ago(60), to: NOW.plus(MINUTE) }];
    let gone = || healthy().with(|told| told.secret().place = Some(String::new())).dead("old");
    let compared = |minutes, missing: Option<VersionId>| {
        move |told: &mut Told| told.secret().compared = Some(Compared { at: ago(minutes), missing })
    };
    let full = |told: &mut Told| told.policy.live_max = 0;
    let current = || Some(first().slot_id());
    check(vec![
        ("gone", gone(), "claim 1", Reason::Missing),
        ("gone, in a freeze", gone().with(frozen), "claim 1", Reason::Missing),
        ("gone, nothing may be made", gone().with(full), "compared, 1 missing", Reason::Compared),
        ("the same, written down", gone().with(full).with(compared(5, current())), "wait", Reason::NoRoom),
        ("there again", healthy().with(compared(5, current())), "compared, 0 missing", Reason::Compared),
        ("nobody knows where it was made", healthy().dead("old"), "wait", Reason::HealthyManual),
        ("compared long ago", healthy().with(compared(361, None)), "compared, 0 missing", Reason::Compared),
        ("compared a while ago", healthy().with(compared(359, None)), "wait", Reason::HealthyManual),
    ]);
    let unasked = |told: &mut Told| told.view.facts.listing = Known::NotAsked;
    let decided = |minutes| healthy().with(compared(minutes, None)).with(unasked).decide();
    assert_eq!(decided(361), Decision::Need(Fact::Listing));
    assert_eq!(decided(359).reason(), Reason::HealthyManual);
}

#[test]
fn what_is_fed_follows_and_what_feeds_waits_for_it() {
    let over = |minutes| healthy().promoted(DAY + minutes).resolved(1);
    let moved = |told: &mut Told| told.view.facts.sources_moved = found(true);
    let waited_for = |told: &mut Told| told.view.facts.followers_wait = found(true);
    check(vec![
        ("its source moved on", in_place().with(moved), "claim 1", Reason::SourceMoved),
        (
            "outside its window",
            in_place().with(moved).with(|told| {
                told.policy.freezes = vec![Freeze { from: ago(60), to: NOW.plus(Duration::from_secs(60)) }];
            }),
            "claim 1",
            Reason::SourceMoved,
        ),
        (
            "with the previous value still labelled",
            in_place().promoted(5).resolved(1).record(Marked::Ours(attempt(1))).with(moved),
            "detach AWSPREVIOUS",
            Reason::SourceMoved,
        ),
        ("with an attempt open", in_place().claimed(1, 5).with(moved), "wait", Reason::AttemptOpen),
        ("followers wait, overlap over", over(60).with(waited_for), "wait", Reason::FollowersWait),
        ("followers wait, a week over", over(60 + 7 * DAY).with(waited_for), "detach AWSPREVIOUS", Reason::OverlapOver),
        (
            "followers wait, in the overlap",
            healthy().promoted(5).resolved(1).with(waited_for),
            "wait",
            Reason::InOverlap,
        ),
        (
            "followers wait, leaked",
            over(60).with(waited_for).asked(Cause::Leaked),
            "detach AWSPREVIOUS",
            Reason::Leaked,
        ),
    ]);
    let waits = over(60).with(waited_for).decide();
    assert!(waits.until().is_some_and(|date| date > NOW), "it looks again, and not at once for ever");
}
#[test]
fn a_leaked_value_goes_before_everything_and_is_not_forgotten() {
    let leaked = |told: Told| told.asked(Cause::Leaked);
    let overlap = || healthy().promoted(30).resolved(1).changed(20);
    let failed = |minutes| healthy().claimed_for(1, minutes, Cause::Leaked).tombstone(1, minutes.min(16));
    let orphan = |told: Told| told.lives("lost", Marked::Ours(attempt(1)), 40);
    let frozen = |told: &mut Told| told.policy.freezes = vec![Freeze { from: ago(1), to: NOW.plus(MINUTE) }];
    let unread = |told: &mut Told| told.secret().claims.clear();
    check(vec![
        ("asked, in a freeze", leaked(healthy()).with(frozen), "claim 1", Reason::Leaked),
        ("asked for, no leak, in a freeze", healthy().asked(Cause::Asked).with(frozen), "claim 1", Reason::Asked),
        ("an older one is labelled", leaked(overlap()), "detach AWSPREVIOUS", Reason::Leaked),
        (
            "an older one is labelled, and the vendor silent",
            leaked(overlap()).with(|told| told.silent()),
            "detach AWSPREVIOUS",
            Reason::Leaked,
        ),
        ("the vendor silent", leaked(healthy()).with(|told| told.silent()), "claim 1", Reason::Leaked),
        (
            "the vendor silent, where only its listing tells what is ours",
            leaked(unnamed()).with(|told| told.silent()),
            "wait",
            Reason::VendorSilent,
        ),
        (
            "an older one is labelled, and there is no room",
            leaked(overlap()).with(|told| told.policy.live_max = 1),
            "wait",
            Reason::NoRoom,
        ),
        (
            "an older one is labelled, and the room is its own",
            leaked(overlap()).with(|told| told.policy.live_max = 2),
            "detach AWSPREVIOUS",
            Reason::Leaked,
        ),
        (
            "the older one, by the process that took its label",
            leaked(overlap()).with(drop_previous).hand(Hand::Retired { version: first().slot_id() }),
            "revoke old",
            Reason::Leaked,
        ),
        (
            "something else to clean up",
            leaked(healthy().claimed(1, 90).resolved(1).stored(1, 90, &[])),
            "claim 2",
            Reason::Leaked,
        ),
        ("open, of another cause", leaked(healthy().claimed(1, 5)), "wait", Reason::AttemptOpen),
        ("failed, a crash later", failed(40), "claim 2", Reason::Leaked),
        ("failed, a leftover to sweep", orphan(failed(40)), "revoke leftover lost", Reason::Leftover),
        ("failed a moment ago", failed(0), "wait", Reason::Settling),
        ("failed, its claim not readable", failed(40).with(unread), "detach kf-open", Reason::AttemptResolved),
        (
            "failed, and the leaked version was accepted since",
            failed(40).with(|told| {
                told.secret().accepted = Some(Accepted { version: first().slot_id(), at: Some(ago(20)) });
            }),
            "detach kf-open",
            Reason::AttemptResolved,
        ),
        (
            "failed, of a version that was accepted long before",
            failed(40).with(|told| {
                told.secret().accepted = Some(Accepted { version: first().slot_id(), at: Some(ago(DAY)) });
            }),
            "claim 2",
            Reason::Leaked,
        ),
        (
            "failed, and retired since",
            failed(40).with(|told| {
                told.policy.wanted = Wanted::Retired;
                told.secret().retiring = Some(Retiring { since: ago(5), ending: None });
            }),
            "detach kf-open",
            Reason::AttemptResolved,
        ),
        (
            "failed twice",
            failed(60).claimed_for(2, 40, Cause::Leaked).tombstone(2, 16),
            "detach kf-open",
            Reason::AttemptResolved,
        ),
        (
            "failed once, the next one under way",
            failed(60).claimed_for(2, 0, Cause::Leaked).hand(Hand::Claimed { attempt: attempt(2), at: NOW }),
            "mint",
            Reason::ClaimWon,
        ),
        (
            "failed, and a later one was published",
            failed(60)
                .claimed_for(2, 40, Cause::Leaked)
                .stored(2, 40, &[Label::Current])
                .old_is(&[])
                .with(|told| told.secret().versions[0].labels.clear())
                .dead("old"),
            "detach kf-open",
            Reason::AttemptResolved,
        ),
    ]);
}

const MINUTE: Duration = Duration::from_secs(60);
