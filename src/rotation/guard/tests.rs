//! What must never happen, one row each.

use super::*;
use crate::model::policy::{RetireWhen, Wanted};
use crate::rotation::decide::Site;
use crate::rotation::story::{DAY, NOW, Told, ago, attempt, first, healthy, id, in_place, tagged, tracked};
use crate::rotation::tags::{Ending, Retiring};

fn claim(number: u32) -> Step {
    let base = Some(first().slot_id());
    Step::Claim { attempt: attempt(number), base, number, cause: Cause::Asked, before: Vec::new() }
}

fn revoke(text: &str, tracked: bool) -> Step {
    Step::Revoke { id: id(text), tracked, sites: vec![Site::Declared], home: true }
}

fn promote(from: VersionId) -> Step {
    Step::Promote { version: attempt(1).slot_id(), from: Some(from), proved: Timestamp::default() }
}

fn detach(label: Label, version: VersionId) -> Step {
    Step::Detach { label, version }
}

#[test]
fn what_must_never_happen_is_refused() {
    use Violation::*;
    let pending = || healthy().claimed(1, 5).stored(1, 5, &[Label::Pending]);
    let lost = |minutes| healthy().claimed(1, 40).tombstone(1, 20).lives("lost", Marked::Ours(attempt(1)), minutes);
    let rolled_back = || healthy().claimed(1, 50).stored(1, 50, &[Label::Previous]);
    let lease = Label::Cred(healthy().secret().versions[0].lease().unwrap().clone());
    let off = |told: &mut Told| told.secret().versions[0].labels.retain(|label| *label != Label::Previous);
    let proved = Hand::Proved { version: attempt(1).slot_id(), at: NOW };
    let untold = Hand::Untold { version: attempt(1).slot_id(), at: NOW };
    let open = Label::Open(attempt(1));
    let foreign = Label::Foreign("canary".into());
    let pause = |told: &mut Told| told.secret().paused_until = Some(Timestamp::from_seconds(i64::MAX / 1000));
    let week = std::time::Duration::from_secs(7 * 86_400);
    let confirmed =
        || healthy().promoted(DAY + 90).with(|told| told.policy.retire_when = RetireWhen::Confirmed { max: week });
    let used = || {
        let told = healthy().promoted(DAY + 90).with(|told| told.policy.retire_when = RetireWhen::Unused { max: week });
        told.with(|told| told.listed()[0].last_used = Some(NOW))
    };
    let retired = |minutes: u64| {
        healthy().with(|told| {
            told.policy.wanted = Wanted::Retired;
            told.secret().retiring = Some(Retiring { since: ago(minutes), ending: None });
        })
    };
    let ending = |minutes: u64| {
        let ending = Some(Ending { at: ago(minutes), version: first().slot_id() });
        retired(3 * DAY).with(|told| told.secret().retiring.as_mut().unwrap().ending = ending)
    };
    let missing = || retired(5).with(|told| told.view.secret = None);
    let present = |told: &mut Told| told.policy.wanted = Wanted::Present;
    let bare = |told: &mut Told| told.secret().versions[0].labels.retain(|label| *label == Label::Current);
    let nothing = |told: &mut Told| told.secret().versions[0].labels.clear();
    let theirs = |told: &mut Told| told.policy.create_secret = false;
    let another = || ending(31).stored(1, 90, &[]);
    let rotated = || ending(31).promoted(90).resolved(1);
    let mark_ending = || Step::Tag(TagChange::Ending { version: first().slot_id(), since: ago(3 * DAY) });
    let rows: Vec<(&str, Told, Step, Violation)> = vec![
        ("paused", healthy().with(pause), claim(1), Parked),
        ("another's", healthy().with(|told| told.secret().owner = Owner::Nobody), claim(1), Parked),
        ("rolled back: revoke", rolled_back(), revoke("new", true), Held),
        ("rolled back: claim", rolled_back(), claim(2), Held),
        ("current", healthy(), revoke("old", true), Referenced),
        ("pending", pending(), revoke("new", true), Referenced),
        ("untracked, it says", healthy().promoted(50).with(off), revoke("old", false), Tracking),
        ("tracked, it says", lost(40), revoke("lost", true), Tracking),
        ("young", lost(30), revoke("lost", false), NotOurs),
        ("no mark of ours", healthy().lives("theirs", Marked::No, 90), revoke("theirs", false), NotOurs),
        (
            "may be stored yet",
            healthy().claimed(1, 40).lives("lost", Marked::Ours(attempt(1)), 40),
            revoke("lost", false),
            NotAbandoned,
        ),
        ("a record", in_place(), revoke("record", false), InPlace),
        (
            "the current value again, over a record that is there",
            in_place(),
            Step::Restore { version: first().slot_id() },
            NotACandidate,
        ),
        (
            "no claim in hand",
            healthy().claimed(1, 0),
            Step::Mint { attempt: attempt(1), since: Timestamp::default(), first: false },
            NoClaim,
        ),
        (
            "no tag in hand",
            tagged(1, 0),
            Step::Mint { attempt: first(), since: Timestamp::default(), first: true },
            NoClaim,
        ),
        (
            "another attempt's claim in hand",
            healthy().claimed(1, 0).hand(Hand::Claimed { attempt: attempt(2), at: NOW }),
            Step::Mint { attempt: attempt(1), since: Timestamp::default(), first: false },
            NoClaim,
        ),
        (
            "a claim that was won minutes ago in hand",
            healthy().claimed(1, 5).hand(Hand::Claimed { attempt: attempt(1), at: ago(5) }),
            Step::Mint { attempt: attempt(1), since: Timestamp::default(), first: false },
            NoClaim,
        ),
        ("an open attempt", healthy().claimed(1, 5), claim(2), Unresolved),
        ("from elsewhere", pending().hand(proved.clone()), promote(attempt(1).claim_id()), NotFromCurrent),
        ("unproved", pending(), promote(first().slot_id()), NotProved),
        ("no login can tell", pending().hand(untold), promote(first().slot_id()), NotProved),
        (
            "a tombstone",
            healthy().claimed(1, 40).tombstone(1, 20).hand(proved),
            promote(first().slot_id()),
            NotACandidate,
        ),
        ("AWSCURRENT off", healthy(), detach(Label::Current, first().slot_id()), CurrentLabel),
        (
            "a stranger's label",
            healthy().with(|told| told.secret().versions[0].labels.push(Label::Foreign("canary".into()))),
            detach(foreign, first().slot_id()),
            ForeignLabel,
        ),
        (
            "a lease in use",
            healthy().hand(Hand::Ended { tracked: tracked("old") }),
            detach(lease.clone(), first().slot_id()),
            Referenced,
        ),
        (
            "a lease whose end was confirmed and not seen",
            healthy().promoted(DAY + 90).with(off).changed(16).hand(Hand::Ended { tracked: tracked("old") }),
            detach(lease.clone(), first().slot_id()),
            NotEnded,
        ),
        ("the overlap is not over: revoke", healthy().promoted(90).resolved(1).with(off), revoke("old", true), Overlap),
        (
            "a label moved a moment ago: revoke",
            healthy().promoted(2 * DAY).resolved(1).with(off).changed(5),
            revoke("old", true),
            Young,
        ),
        (
            "AWSPREVIOUS without a lease: sweep",
            healthy().promoted(90).with(|told| told.secret().versions[0].labels = vec![Label::Previous]),
            revoke("old", false),
            Referenced,
        ),
        ("a lease that lives", healthy().promoted(50).with(off), detach(lease, first().slot_id()), NotEnded),
        ("kf-open of an open attempt", healthy().claimed(1, 50), detach(open, attempt(1).claim_id()), NotAbandoned),
        ("a young attempt", healthy().claimed(1, 15), Step::Close { attempt: attempt(1) }, NotAbandoned),
        ("a tombstone as first version", tagged(1, 50), Step::Close { attempt: first() }, WrongStage),
        (
            "a tag beside versions",
            healthy(),
            Step::Tag(TagChange::Attempt { number: 1, before: Vec::new() }),
            WrongStage,
        ),
        ("evidence is asked for", confirmed(), detach(Label::Previous, first().slot_id()), NoEvidence),
        ("in use", used(), detach(Label::Previous, first().slot_id()), NoEvidence),
        ("retired: claim", retired(3 * DAY), claim(1), Retired),
        ("retired: a secret", missing(), Step::CreateSecret { before: Vec::new() }, WrongStage),
        ("not retired: mark", healthy(), Step::Tag(TagChange::Retiring), NotRetired),
        ("retired: unmark", retired(5), Step::Tag(TagChange::NotRetiring), WrongStage),
        ("being ended: unmark", ending(31).with(present), Step::Tag(TagChange::NotRetiring), WrongStage),
        ("consumers read on: write it down", retired(DAY), mark_ending(), NotRetired),
        ("an open attempt: write it down", retired(3 * DAY).claimed(1, 5), mark_ending(), NotRetired),
        ("nothing is current: write it down", retired(3 * DAY).with(nothing), mark_ending(), NotRetired),
        ("retired and not written down: revoke", retired(3 * DAY), revoke("old", true), Referenced),
        ("written down a moment ago: revoke", ending(30), revoke("old", true), Referenced),
        ("written down and paused: revoke", ending(31).with(pause), revoke("old", true), Parked),
        ("written down and wanted again: revoke", ending(31).with(present), revoke("old", true), NotRetired),
        ("written down, another lives: revoke", another(), revoke("old", true), NotRetired),
        ("written down: revoke the previous one", rotated(), revoke("old", true), Referenced),
        ("something lives: delete", ending(31), Step::DeleteSecret, NotRetired),
        ("not retired: delete", in_place(), Step::DeleteSecret, NotRetired),
        ("paused: delete", retired(3 * DAY).with(bare).with(pause), Step::DeleteSecret, Parked),
        ("not ours to delete", ending(31).with(theirs).with(bare), Step::DeleteSecret, NotRetired),
        ("a second secret", healthy(), Step::CreateSecret { before: Vec::new() }, WrongStage),
    ];
    for (what, told, step, violation) in rows {
        assert_eq!(told.guard(&step), Err(violation), "{what}: {violation}");
    }
}
