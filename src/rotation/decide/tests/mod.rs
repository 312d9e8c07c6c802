//! Situations and the step they call for: one table a theme, one row a situation.

use std::num::NonZeroU8;
use std::time::Duration;

use super::*;
use crate::model::policy::{Freeze, Ownership, Rotate, Verify};
use crate::rotation::story::{
    DAY, NOW, Told, ago, attempt, first, healthy, id, in_place, tagged, told, tracked, unnamed,
};
use crate::rotation::tags::Retiring;
use crate::rotation::view::{Accepted, Company, Fit, Hand, Marked, Seen, short};

mod ending;

type Row = (&'static str, Told, &'static str, Reason);

fn check(rows: Vec<Row>) {
    for (situation, situated, step, reason) in rows {
        let decision = situated.decide();
        assert_eq!((told(&decision.step).as_str(), decision.reason), (step, reason), "{situation}");
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
        ("after the store", healthy().claimed(1, 5).stored(1, 5, &pending), "verify", Reason::CandidateUnproved),
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
            told.view.listing = Some(vec![seen]);
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
        ("no secret, vendor silent", missing().with(|told| told.view.listing = None), "wait", Reason::VendorSilent),
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
        ("the put was not published", healthy().old_is(&[Label::Pending]), "verify", Reason::CandidateUnproved),
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
        ("vendor silent", asked().with(|told| told.view.listing = None), "wait", Reason::VendorSilent),
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
    let mute = |told: &mut Told| told.view.unprovable = true;
    let asked = || healthy().asked(Cause::Asked);
    let none = || healthy().with(|told| told.view.secret = None);
    check(vec![
        ("stored, must be proved", stored(&untold), "detach AWSPENDING", Reason::CandidateUntold),
        ("stored, best effort", stored(&untold).with(best_effort), "promote", Reason::CandidateUntold),
        ("found long ago", stored(&long_ago).with(best_effort), "verify", Reason::CandidateUnproved),
        ("found long ago, must be proved", stored(&long_ago), "verify", Reason::CandidateUnproved),
        ("due, must be proved", asked().with(mute), "wait", Reason::Unprovable),
        ("due, best effort", asked().with(mute).with(best_effort), "claim 1", Reason::Asked),
        ("not due", healthy().with(mute), "wait", Reason::HealthyManual),
        ("no secret, must be proved", none().with(mute), "wait", Reason::Unprovable),
        ("no secret, best effort", none().with(mute).with(best_effort), "create secret", Reason::SecretMissing),
        ("a second try, must be proved", tagged(1, 60).with(mute), "wait", Reason::Unprovable),
    ]);
    let wants = |told: Told| needs_proof(&told.decide(), &told.policy);
    assert!(wants(asked()) && wants(none()) && !wants(healthy()) && !wants(asked().with(best_effort)));
}

#[test]
fn where_another_declared_credential_is_made_nothing_is_made_and_nothing_swept() {
    let crowded = |told: &mut Told| told.view.company = Company::Others;
    let untold = |told: &mut Told| told.view.company = Company::Untold;
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
        ("refused", stored().hand(refused(119)), "verify", Reason::CandidateUnproved),
        ("refused for two minutes", stored().hand(refused(120)), "detach AWSPENDING", Reason::CandidateRefused),
        (
            "proved long ago",
            stored().hand(Hand::Proved { version: attempt(1).slot_id(), at: ago(1) }),
            "verify",
            Reason::CandidateUnproved,
        ),
        ("another one proved", stored().hand(proved(2)), "verify", Reason::CandidateUnproved),
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
    let last = |told: &mut Told| told.view.listing.as_mut().unwrap().last_mut().unwrap().last_used = Some(NOW);
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
        ("stored", stored(&[Label::Pending]), "apply", Reason::CandidateUnproved),
        ("proved", stored(&[Label::Pending]).hand(proved(1)), "promote", Reason::CandidateProved),
        ("aged", in_place().claimed(1, 61).stored(1, 61, &[Label::Pending]), "restore", Reason::CandidateAged),
        (
            "restored",
            in_place().claimed(1, 61).stored(1, 61, &[Label::Pending]).hand(restored),
            "detach AWSPENDING",
            Reason::CandidateAged,
        ),
        ("promoted", stored(&current).old_is(&[Label::Previous]), "apply", Reason::CandidateUnproved),
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
            stored(&[]).resolved(1).with(|told| told.view.listing = Some(Vec::new())),
            "restore",
            Reason::RecordDiffers,
        ),
        (
            "the record was set again, and does not show yet",
            in_place().with(|told| {
                told.view.listing = Some(Vec::new());
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
            "confirmed",
            over().hand(Hand::Ended { tracked: tracked("old") }),
            "detach kf-cred old",
            Reason::RevokeConfirmed,
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
        (
            "unknown, no listing",
            over().with(|told| told.view.listing = None).hand(unknown),
            "revoke old",
            Reason::Unreferenced,
        ),
    ]);
}

#[test]
fn what_is_fed_follows_and_what_feeds_waits_for_it() {
    let over = |minutes| healthy().promoted(DAY + minutes).resolved(1);
    let moved = |told: &mut Told| told.view.feeding.source_moved = true;
    let waited_for = |told: &mut Told| told.view.feeding.followers_wait = true;
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
    assert!(waits.look_again.is_some_and(|date| date > NOW), "it looks again, and not at once for ever");
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
            leaked(overlap()).with(|told| told.view.listing = None),
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
