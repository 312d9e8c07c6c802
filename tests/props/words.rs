//! Labels, tags, marks and places: the written form of the rotation log. People and other tools write
//! there too.

use std::collections::BTreeMap;

use keyferry::model::attempt::{Attempt, Mark, Note, attempt_of_mark, mark_prefix};
use keyferry::model::label::{
    Label, Lease, PlaceKey, TAG_AT, TAG_ATTEMPT, TAG_BASE, TAG_CONFIRMED, TAG_MOVED, TAG_NOTE, TAG_PAUSE, TAG_PLACE,
    TAG_RETIRING, Tracked,
};
use keyferry::model::name::{Arn, Deployment, Name, SecretName, VendorId, VersionId};
use keyferry::model::observed;
use keyferry::model::place::At;
use keyferry::model::policy::Ownership;
use keyferry::model::time::Timestamp;
use keyferry::rotation::tags::{Bootstrap, Dwelling, Ending, Noted, Retiring};
use keyferry::rotation::view;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::{holds, text};

/// What AWS takes in a tag's value and we write there: its documentation allows letters, spaces and
/// `_.:/=+-@`.
fn fits_a_tag(text: &str) -> bool {
    text.len() <= 255 && text.chars().all(|c| c.is_ascii_alphanumeric() || " :_@/+=.-".contains(c))
}

/// Whole seconds from the epoch to the year 3000.
fn moment() -> impl Strategy<Value = Timestamp> {
    (0..32_503_680_000_i64).prop_map(Timestamp::from_seconds)
}

fn version() -> impl Strategy<Value = VersionId> {
    "[a-f0-9-]{32,64}".prop_map(|id| VersionId::new(&id).unwrap())
}

fn vendor_id() -> impl Strategy<Value = VendorId> {
    proptest::prop_oneof!["[A-Za-z0-9_.:~-]{1,140}", ".{1,120}"]
        .prop_filter_map("an id has no control characters", |id| VendorId::new(&id).ok())
}

#[test]
fn a_label_that_keyferry_writes_is_read_back_and_fits() {
    holds(400, [], (vendor_id(), moment()), |(id, since)| {
        let made_in = (since.seconds() % 2 == 0).then(|| PlaceKey::of(id.as_str()));
        let label = Label::Cred(Lease { since, tracked: Tracked::of(&id), made_in });
        let written = label.to_string();
        assert_eq!(Label::parse(&written), label);
        assert!(written.len() <= 256 && written.chars().all(|c| c.is_ascii_graphic()), "{written:?}");
        let Label::Cred(Lease { tracked, .. }) = Label::parse(&written) else { unreachable!() };
        assert!(tracked.is(&id));
    });
}

#[test]
fn no_label_is_lost_or_changed_by_reading_it() {
    let strange = proptest::prop_oneof![
        text(),
        "kf-(open|cred|closed):?.{0,40}",
        "kf-cred:[0-9a-zA-Z]{0,14}:.{0,20}",
        "kf-cred:[0-9a-z]{1,3}:~[0-9a-f]{0,70}",
    ];
    holds(800, ["kf-cred:-1:x".into(), "kf-cred:zzzzzzzzzzzzz:x".into()], strange, |text: String| {
        assert_eq!(Label::parse(&text).to_string(), text);
    });
}

#[test]
fn a_mark_is_of_one_secret_and_one_attempt() {
    let arn =
        |name: String| Arn::new(&format!("arn:aws:secretsmanager:eu-central-1:111122223333:secret:{name}")).unwrap();
    holds(100, [], ("[a-z]{1,20}", "[a-z]{1,20}", 1..9_u32, text()), |(one, other, number, strange)| {
        let (one, other) = (arn(one), arn(other));
        let attempt = Attempt::derive(&one, &None, number);
        let mark = Mark::new(&one, attempt);
        assert_eq!(attempt_of_mark(&mark_prefix(&one), mark.as_str()), Some(attempt));
        assert!(one == other || attempt_of_mark(&mark_prefix(&other), mark.as_str()).is_none());
        assert_eq!(attempt_of_mark(&mark_prefix(&one), &strange), None);
        assert!(Attempt::parse(&strange).is_none_or(|attempt| attempt.to_string() == strange));
    });
}

#[test]
fn a_place_is_read_back_from_its_tag() {
    let options = vec(("[a-z]{1,8}", text()), 0..4);
    holds(400, [], (vec("[a-z0-9 /@]{1,8}", 1..4), "[a-z-]{1,8}", options, any::<bool>()), |case| {
        let (home, type_name, options, exclusive) = case;
        let home: Vec<&str> = home.iter().map(String::as_str).collect();
        let ownership = if exclusive { Ownership::Exclusive } else { Ownership::Shared };
        let pairs = options.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let Some(at) = At::new(&home, &type_name, pairs.clone(), ownership) else { return };
        let tag = at.to_tag();
        assert!(fits_a_tag(&tag), "{tag:?}");
        let back = At::parse(&tag).expect("it is read back");
        assert_eq!(back, at);
        assert!(back.options().eq(pairs) && back.ownership() == ownership && back.type_name() == type_name);
    });
}

#[test]
fn a_place_that_keyferry_did_not_write_is_none() {
    let strange = proptest::prop_oneof![text(), "[a-z/]{1,9} [a-z]{1,9}( [a-z]{1,5}=[a-z@0-9]{0,9}){0,3}( exclusive)?"];
    holds(800, ["a b exclusive exclusive".into()], strange, |text: String| {
        assert!(At::parse(&text).is_none_or(|at| at.to_tag() == text), "{text:?}");
    });
}

/// The secret as the rules see it, with these tags.
fn seen(tags: BTreeMap<String, String>) -> view::Secret {
    let secret = observed::Secret {
        arn: Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-a1b2c3").unwrap(),
        name: SecretName::new("app").unwrap(),
        versions: Vec::new(),
        tags,
        changed: Timestamp::from_seconds(1_795_000_000),
        obstacle: None,
        replicas: Vec::new(),
        kms_key_id: None,
        description: None,
    };
    view::Secret::new(&secret, &Deployment::new("test").unwrap(), &Name::new("app").unwrap(), Vec::new())
}

#[test]
fn the_tags_that_keyferry_writes_are_read_back_and_fit() {
    let bootstrap = (1..99_u32, "[0-9a-f-]{1,36}", moment(), vec("[0-9a-f]{8}", 0..12));
    let retiring = (moment(), proptest::option::of((moment(), version())));
    let at = ("[a-z]{1,8}", "[0-9a-f]{16}").prop_map(|(zone, place)| {
        let at = At::new(&["keycard"], "password", [("zone", zone.as_str())].into_iter(), Ownership::Shared).unwrap();
        Dwelling { place, at }
    });
    holds(300, [], (bootstrap, retiring, at), |((number, nonce, moment, before), (since, ending), dwelling)| {
        let bootstrap = Bootstrap { number, nonce, at: moment, before };
        let ending = ending.map(|(at, version)| Ending { at, version });
        let retiring = Retiring { since, ending };
        let tags = [
            (TAG_ATTEMPT.to_owned(), bootstrap.to_tag()),
            (TAG_RETIRING.to_owned(), retiring.to_tag()),
            (TAG_AT.to_owned(), dwelling.at.to_tag()),
            (TAG_PAUSE.to_owned(), moment.seconds().to_string()),
            (dwelling.key(), dwelling.at.to_tag()),
        ];
        for (key, value) in &tags {
            assert!(key.len() <= 128 && fits_a_tag(key) && fits_a_tag(value), "{key} {value}");
        }
        let seen = seen(tags.into());
        assert_eq!((seen.bootstrap, seen.retiring), (Some(bootstrap), Some(retiring)));
        assert_eq!((seen.paused_until, seen.at.as_ref()), (Some(moment), Some(&dwelling.at)));
        assert_eq!(seen.dwellings, [dwelling]);
    });
}

#[test]
fn a_note_is_read_back_from_its_tag_and_holds_no_control_character() {
    holds(400, [], (version(), text()), |(version, words)| {
        let Some(note) = Note::new(&words) else { return };
        assert!(fits_a_tag(note.as_str()), "{note}");
        let noted = Noted { version, note };
        assert!(noted.to_tag().len() <= 255);
        assert_eq!(Noted::parse(&noted.to_tag()), Some(noted));
    });
}

/// Who has `TagResource` may write anything there.
#[test]
fn no_tag_panics() {
    let keys = [TAG_ATTEMPT, TAG_BASE, TAG_PLACE, TAG_AT, TAG_MOVED, TAG_PAUSE, TAG_CONFIRMED, TAG_NOTE, TAG_RETIRING];
    let key = proptest::prop_oneof![
        proptest::sample::select(keys.to_vec()).prop_map(str::to_owned),
        "keyferry:dwelling:.{0,20}",
        text(),
    ];
    let number = any::<i64>().prop_map(|number| number.to_string());
    let value = proptest::prop_oneof![
        text(),
        number,
        "[0-9]{1,3}:[a-z]{0,5}:-?[0-9]{1,20}(:.{0,9})?",
        "-?[0-9]{1,20}:-?[0-9]{1,20}:[0-9a-f]{32}",
        "[0-9a-f]{32}@-?[0-9]{1,20}",
        "[0-9]{4,6}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z",
    ];
    holds(800, [], btree_map(key, value, 0..8), |tags| {
        let paused = tags.contains_key(TAG_PAUSE);
        let seen = seen(tags);
        assert_eq!(paused, seen.paused_until.is_some(), "a pause that can't be read is a pause");
        for moment in [seen.paused_until, seen.moved].into_iter().flatten() {
            // What is shown, and what is waited for.
            let _ = (moment.to_string(), moment.since(Timestamp::default()), Timestamp::default().since(moment));
        }
    });
}
