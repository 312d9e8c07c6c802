//! What must never happen, one row each.

use super::*;
use crate::rotation::story::{NOW, Told, attempt, first, healthy, id, in_place, tagged, tracked};

fn claim(number: u32) -> Step {
    let base = Some(first().slot_id());
    Step::Claim { attempt: attempt(number), base, number, cause: Cause::Asked, before: Vec::new() }
}

fn revoke(text: &str, tracked: bool) -> Step {
    Step::Revoke { id: id(text), tracked }
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
    let open = Label::Open(attempt(1));
    let foreign = Label::Foreign("canary".into());
    let pause = |told: &mut Told| told.secret().paused_until = Some(Timestamp::from_seconds(i64::MAX / 1000));
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
            "no claim in hand",
            healthy().claimed(1, 0),
            Step::Mint { attempt: attempt(1), since: Timestamp::default() },
            NoClaim,
        ),
        ("no tag in hand", tagged(1, 0), Step::MintFirst { attempt: first(), since: Timestamp::default() }, NoClaim),
        ("an open attempt", healthy().claimed(1, 5), claim(2), Unresolved),
        ("from elsewhere", pending().hand(proved.clone()), promote(attempt(1).claim_id()), NotFromCurrent),
        ("unproved", pending(), promote(first().slot_id()), NotProved),
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
        ("a lease that lives", healthy().promoted(50).with(off), detach(lease, first().slot_id()), NotEnded),
        ("kf-open of an open attempt", healthy().claimed(1, 50), detach(open, attempt(1).claim_id()), NotAbandoned),
        ("a young attempt", healthy().claimed(1, 15), Step::Close { attempt: attempt(1) }, NotAbandoned),
        ("a tombstone as first version", tagged(1, 50), Step::Close { attempt: first() }, WrongStage),
        ("a tag beside versions", healthy(), Step::Tag { number: 1, before: Vec::new() }, WrongStage),
        ("a second secret", healthy(), Step::CreateSecret { before: Vec::new() }, WrongStage),
    ];
    for (what, told, step, violation) in rows {
        assert_eq!(told.guard(&step), Err(violation), "{what}: {violation}");
    }
}
