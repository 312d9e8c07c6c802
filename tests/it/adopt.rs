//! Taking existing credentials under management: what is written, that nothing else is, that a cut
//! anywhere is harmless, and that what was adopted is later rotated and ended like any other.

use std::time::Duration;

use keyferry::engine::adopt::{Adopted, Undone};
use keyferry::model::name::{Name, VendorId};
use keyferry::model::time::Clock;
use keyferry::rotation::Reason;
use keyferry::rotation::adopt::{Allowed, Refused};
use keyferry::sandbox::chatbotkit::ChatBotKit;
use keyferry::sandbox::faults::{Effect, Rule};
use keyferry::sandbox::secrets_manager::inspect::Forced;
use keyferry::sandbox::stage::Sandbox;
use serde_json::{Value, json};

use crate::bad_inputs::command::{Folder, served, text, words};
use crate::stage::{Stage, client_secret, credential};
use crate::verbs::{says, typed};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const WORD: Allowed = Allowed { unproved: true, shape_change: false };

const TOKEN: &str = "[[credential]]\nname = \"app\"\nvendor = \"chatbotkit\"\ntype = \"user-token\"\nuser = \"app\"\n";
const RECORD: &str = "[[credential]]\nname = \"app\"\nvendor = \"chatbotkit\"\ntype = \"secret\"\nalias = \"crm\"\n\
                      usage = \"bearer\"\nvalue = { generate = { length = 48 } }\n";

/// What no call of a customer sets.
type Force = fn(&mut Forced);
/// What is stored instead of a value.
type Edit = fn(&Value) -> String;

/// The kinds of credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Named,
    Unnamed,
    Token,
    Record,
}

const KINDS: [Kind; 4] = [Kind::Named, Kind::Unnamed, Kind::Token, Kind::Record];

impl Kind {
    fn declared(self) -> String {
        match self {
            Self::Named => credential("app"),
            Self::Unnamed => client_secret("app"),
            Self::Token => TOKEN.into(),
            Self::Record => RECORD.into(),
        }
    }

    /// What proves it is there, or not.
    fn allowed(self) -> Allowed {
        if self == Self::Record { WORD } else { Allowed::default() }
    }

    /// Writes of an adoption: a label and the tags; in place, what is unproved and the tags.
    fn writes(self) -> [&'static str; 2] {
        match self {
            Self::Named | Self::Unnamed | Self::Token => ["UpdateSecretVersionStage", "TagResource"],
            Self::Record => ["TagResource", "TagResource"],
        }
    }
}

fn chatbotkit(stage: &Stage) -> &ChatBotKit {
    stage.sandbox.find().expect("it is in the list of simulators")
}

async fn at_chatbotkit(stage: &Stage, path: &str, body: Value) -> Value {
    let base = format!("http://{}/api/v1", stage.sandbox.vendor_address("chatbotkit").unwrap());
    let call = reqwest::Client::new().post(format!("{base}/{path}")).bearer_auth("sandbox").json(&body);
    let answer = call.send().await.unwrap();
    let (status, answer): (_, Value) = (answer.status(), answer.json().await.unwrap());
    assert!(status.is_success(), "{path} {body}: {status} {answer}");
    answer
}

/// The id of the newest credential at Keycard.
fn newest(sandbox: &Sandbox) -> String {
    sandbox.keycard().credentials().last().expect("one was made").id.to_string()
}

/// Makes a credential by hand; its id, and its value as it would be stored.
async fn by_hand(stage: &Stage, kind: Kind) -> (String, Value) {
    match kind {
        Kind::Named => {
            let made = stage.sandbox.keycard().seed_credential("production", "app", None);
            let (client_id, client_secret) = made.expect("the client id is made up");
            (newest(&stage.sandbox), json!({ "client_id": client_id, "client_secret": client_secret }))
        }
        Kind::Unnamed => {
            let (id, value) = stage.workos().seed_secret("app").expect("there is an application");
            let secrets = stage.workos().secrets();
            let client_id = &secrets.iter().find(|one| one.id == id).expect("it was made").client_id;
            (id, json!({ "client_id": client_id, "client_secret": value }))
        }
        Kind::Token => {
            let made = at_chatbotkit(stage, "user/app/token/create", json!({ "name": "by hand" })).await;
            (made["id"].as_str().unwrap().into(), json!({ "token": made["token"] }))
        }
        Kind::Record => {
            // Handed over: the alias is known, and nobody's mark is on it.
            let value = "kfcanary-by-hand-0123456789";
            let made = json!({
                "alias": "crm", "name": "crm", "kind": "shared", "type": "bearer", "visibility": "private",
                "value": value, "meta": { "managedBy": "keyferry" },
            });
            let made = at_chatbotkit(stage, "secret/create", made).await;
            (made["id"].as_str().unwrap().into(), json!({ "value": value }))
        }
    }
}

async fn store(stage: &Stage, value: &str) {
    let body = json!({ "Name": "app", "SecretString": value, "ClientRequestToken": token(stage) });
    stage.person("CreateSecret", body).await;
}

async fn put(stage: &Stage, value: &str) {
    let body = json!({ "SecretId": "app", "SecretString": value, "ClientRequestToken": token(stage) });
    stage.person("PutSecretValue", body).await;
}

fn token(stage: &Stage) -> String {
    format!("{:032}", stage.clock.monotonic().as_millis() + 1)
}

/// A credential that somebody made and stored so long ago; its id.
async fn existing(stage: &Stage, kind: Kind, age: Duration) -> String {
    let (id, value) = by_hand(stage, kind).await;
    store(stage, &value.to_string()).await;
    stage.clock.advance(age);
    id
}

async fn adopt(stage: &Stage, id: &str, allowed: Allowed) -> Result<Result<Adopted, Refused>, Undone> {
    let credential = stage.engine.declared(&Name::new("app").unwrap()).expect("it is declared");
    stage.engine.adopt(credential, &VendorId::new(id).unwrap(), allowed).await
}

fn adopted(result: Result<Result<Adopted, Refused>, Undone>) -> Adopted {
    match result {
        Ok(Ok(adopted)) => adopted,
        Ok(Err(refused)) => panic!("it was refused: {refused}"),
        Err(undone) => panic!("it failed: {}", undone.fault),
    }
}

/// Calls at the vendors that change something; looks and logins are none.
fn vendor_writes(stage: &Stage) -> u64 {
    let changes = |operation: &str| ["create", "delete", "update", "patch"].iter().any(|word| operation.contains(word));
    let all = stage.sandbox.vendors().flat_map(|vendor| vendor.call_counts());
    all.filter(|one| changes(one.operation)).map(|one| one.count).sum()
}

async fn described(stage: &Stage) -> Value {
    stage.person("DescribeSecret", json!({ "SecretId": "app" })).await
}

#[tokio::test]
async fn what_is_adopted_is_healthy_at_once_and_later_rotated_with_overlap_and_ended() {
    for kind in KINDS {
        let stage = Stage::with(&kind.declared()).await;
        let id = existing(&stage, kind, 10 * DAY).await;
        let (writes, changes) = (stage.writes(), vendor_writes(&stage));
        let Adopted::Now { candidate, writes: told, judged, .. } = adopted(adopt(&stage, &id, kind.allowed()).await)
        else {
            panic!("{kind:?}: it was not managed before");
        };
        assert_eq!((stage.writes() - writes, told), (2, 2), "{kind:?}: AWS writes");
        assert_eq!(vendor_writes(&stage), changes, "{kind:?}: nothing is changed at the vendor");
        assert_eq!(judged.unproved.is_empty(), kind != Kind::Record, "{kind:?}");
        stage.pass().await;
        let status = stage.status("app");
        assert_eq!((status.reason, &status.fault, status.foreign), (Reason::Healthy, &None, 0), "{kind:?}");
        let published = status.published.expect("something is published");
        assert_eq!((published.verified, published.live), (kind != Kind::Record, 1), "{kind:?}");
        assert_eq!(published.since, candidate.since, "{kind:?}");
        assert_eq!(stage.clock.wall().since(published.since).as_secs() / 86_400, 10, "{kind:?}: not from now");
        assert_eq!((stage.writes() - writes, vendor_writes(&stage)), (2, changes), "{kind:?}: a pass does nothing");
        // Twenty more days, and it is thirty days old.
        stage.live(20 * DAY + HOUR, 6 * HOUR).await;
        // A record is none that lives or not: it holds another value.
        let live = |count| if kind == Kind::Record { 0 } else { count };
        assert_eq!((stage.status("app").reason, stage.live_credentials()), (Reason::InOverlap, live(2)), "{kind:?}");
        if kind == Kind::Record {
            let (value, _) = chatbotkit(&stage).holds("crm").expect("it is there");
            let stored = stage.person("GetSecretValue", json!({ "SecretId": "app" })).await;
            let stored: Value = serde_json::from_str(stored["SecretString"].as_str().unwrap()).unwrap();
            assert_eq!(stored["value"].as_str(), value.as_deref(), "the new value is in the record, too");
        }
        stage.live(2 * DAY, HOUR).await;
        let status = stage.status("app");
        assert_eq!((status.reason, &status.fault), (Reason::Healthy, &None), "{kind:?}");
        assert_eq!((stage.live_credentials(), stage.failures()), (live(1), 0), "{kind:?}");
        assert!(status.published.is_some_and(|one| one.verified && one.id.is_none_or(|other| other.as_str() != id)));
        let history = described(&stage).await;
        assert!(!history.to_string().contains(&id) || kind == Kind::Record, "{kind:?}: no lease is left: {history}");
    }
}

#[tokio::test]
async fn one_that_is_due_by_the_vendors_date_is_rotated_in_the_next_pass() {
    let stage = Stage::one().await;
    let id = existing(&stage, Kind::Named, 40 * DAY).await;
    adopted(adopt(&stage, &id, Allowed::default()).await);
    assert_eq!(stage.live_credentials(), 1);
    stage.pass().await;
    assert_eq!((stage.status("app").reason, stage.live_credentials()), (Reason::InOverlap, 2));
    stage.live(2 * DAY, HOUR).await;
    assert_eq!((stage.status("app").reason, stage.live_credentials(), stage.failures()), (Reason::Healthy, 1, 0));
}

#[tokio::test]
async fn an_older_value_by_hand_keeps_its_label_for_the_overlap() {
    let stage = Stage::one().await;
    store(&stage, "{}").await;
    let (id, value) = by_hand(&stage, Kind::Named).await;
    stage.clock.advance(DAY);
    put(&stage, &value.to_string()).await;
    stage.clock.advance(3 * DAY);
    adopted(adopt(&stage, &id, Allowed::default()).await);
    stage.pass().await;
    assert_eq!(stage.status("app").reason, Reason::InOverlap, "who reads AWSPREVIOUS is given the overlap");
    assert!(described(&stage).await.to_string().contains("AWSPREVIOUS"));
    stage.live(DAY + 2 * HOUR, HOUR).await;
    assert_eq!(stage.status("app").reason, Reason::Healthy);
    assert!(!described(&stage).await.to_string().contains("AWSPREVIOUS"));
}

#[tokio::test]
async fn an_adopted_record_gets_its_value_back_when_its_first_rotation_is_given_up() {
    let stage = Stage::with(RECORD).await;
    let id = existing(&stage, Kind::Record, 29 * DAY).await;
    adopted(adopt(&stage, &id, WORD).await);
    let held = || chatbotkit(&stage).holds("crm").expect("it is there").0;
    let before = held();
    let refuse = |operation: &str, times| Rule {
        service: "chatbotkit".into(),
        operation: operation.into(),
        // Before it begins, the record is looked at once.
        skip: 1,
        times,
        chance: 1.0,
        effect: Effect::Refuse { status: 500, code: "GENERIC_ERROR".into() },
    };
    // The candidate is set, and can't be proved until it is too old.
    stage.clock.advance(2 * DAY);
    stage.sandbox.add_fault(refuse("verify_secret", 0));
    stage.patient_pass().await;
    assert_ne!(held(), before, "the candidate was set");
    stage.clock.advance(2 * HOUR);
    stage.sandbox.world.faults.lock().unwrap().clear();
    stage.live(HOUR, 10 * MINUTE).await;
    let status = stage.status("app");
    assert_eq!((&status.fault, stage.failures()), (&None, 0), "{status:?}");
    stage.live(2 * DAY, HOUR).await;
    assert_eq!(stage.status("app").reason, Reason::Healthy);
    assert_ne!(held(), before, "the next one went well");
}

/// The calls of an adoption, each cut off once before it is applied and once after. Whatever is left,
/// passes change nothing and end nothing, and adopting again goes on to the same end.
#[tokio::test]
async fn a_cut_at_any_call_is_harmless_and_adopting_again_goes_on() {
    let takeover = "takeover = \"rotate\"\n";
    for (kind, declared) in KINDS.map(|kind| (kind, kind.declared())) {
        let names = ["ListSecrets", "DescribeSecret", "ListSecretVersionIds", "GetSecretValue"];
        let reads = names.map(|name| (name, 0)).into_iter();
        let mut skipped = std::collections::BTreeMap::new();
        let writes = kind.writes().map(|name| {
            let skip = skipped.entry(name).or_insert(0);
            *skip += 1;
            (name, *skip - 1)
        });
        // The reads are the same for all.
        let reads = reads.filter(|_| kind == Kind::Named);
        for (operation, skip) in reads.chain(writes) {
            for effect in [Effect::DropBefore, Effect::DropAfter] {
                let what = format!("{kind:?} {operation} {skip} {effect:?}");
                let stage = Stage::with(&declared).await;
                let id = existing(&stage, kind, 10 * DAY).await;
                // Reads are tried again by themselves; a person gives up.
                let times = if effect == Effect::DropAfter && !names.contains(&operation) { 1 } else { 50 };
                let rule = Rule {
                    service: "aws".into(),
                    operation: operation.into(),
                    skip,
                    times,
                    chance: 1.0,
                    effect: effect.clone(),
                };
                stage.sandbox.add_fault(rule);
                let changes = vendor_writes(&stage);
                let Err(undone) = adopt(&stage, &id, kind.allowed()).await else { panic!("{what}: not cut") };
                assert!(!undone.fault.to_string().contains("kfcanary"), "{what}");
                stage.sandbox.world.faults.lock().unwrap().clear();
                stage.live(2 * DAY, 12 * HOUR).await;
                let reason = stage.status("app").reason;
                let rests = [Reason::NotOurs, Reason::Healthy];
                assert!(rests.contains(&reason), "{what}: {reason:?}");
                assert_eq!(
                    (vendor_writes(&stage), stage.failures()),
                    (changes, 0),
                    "{what}: nothing was made or ended"
                );
                adopted(adopt(&stage, &id, kind.allowed()).await);
                stage.pass().await;
                assert_eq!(stage.status("app").reason, Reason::Healthy, "{what}");
                let unproved = stage.status("app").published.is_some_and(|one| one.unproved.is_some());
                assert_eq!(unproved, kind == Kind::Record, "{what}");
            }
        }
        // Where the declaration lets a pass take the secret over, it finds it tracked once the label is there.
        if kind == Kind::Record {
            continue;
        }
        let stage = Stage::with(&format!("{declared}{takeover}")).await;
        let id = existing(&stage, kind, 10 * DAY).await;
        let rule = Rule {
            service: "aws".into(),
            operation: "TagResource".into(),
            skip: 0,
            times: 1,
            chance: 1.0,
            effect: Effect::DropBefore,
        };
        stage.sandbox.add_fault(rule);
        let changes = vendor_writes(&stage);
        assert!(adopt(&stage, &id, kind.allowed()).await.is_err_and(|undone| undone.written == 1), "{kind:?}");
        stage.pass().await;
        assert_eq!((stage.status("app").reason, vendor_writes(&stage)), (Reason::Healthy, changes), "{kind:?}");
        assert!(matches!(adopted(adopt(&stage, &id, kind.allowed()).await), Adopted::Already(_)), "{kind:?}");
    }
}

const NOT: &str = "app: NOT adopted, and nothing was changed";

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_what_was_done_and_what_comes_next() {
    let stage = Stage::with(&(credential("app") + &credential("other"))).await;
    let folder = Folder::new();
    let path = folder.write("declared.toml", stage.declaration(), 0o600);
    let (id, value) = by_hand(&stage, Kind::Named).await;
    says(
        &[
            ("adopt app", 2, &["<ID>"]),
            (
                &format!("adopt {} {id}", "ap"),
                2,
                &["no credential `ap` is declared; nothing was adopted", "did you mean `app`?"],
            ),
            (&format!("adopt app {}", "x".repeat(2_000)), 2, &["not a vendor's id"]),
            (&format!("adopt app {id}"), 3, &[NOT, "there is no AWS secret of that name", "[credential.secret]"]),
        ],
        &path,
    )
    .await;
    store(&stage, &value.to_string()).await;
    stage.clock.advance(10 * DAY);
    let command = format!("keyferry adopt app {id}");
    let before = stage.writes();
    says(
        &[
            ("plan", 3, &["the secret exists and is not keyferry's", &command, "takeover = \"rotate\""]),
            ("status app", 3, &["not keyferry's", "keyferry adopt app ID", "keyferry orphans app"]),
            ("orphans app", 0, &["foreign", "if AWS secret app holds it", &command]),
            ("adopt app nobody", 2, &[NOT, "does not list it in the declared place, but 1 other", "orphans app"]),
        ],
        &path,
    )
    .await;
    assert_eq!(stage.writes(), before);
    says(
        &[
            (
                &format!("adopt app {id}"),
                0,
                &[
                    "app: adopted: version",
                    &format!("is managed as `{id}` of Keycard, after a login with it"),
                    "(the vendor's date, ",
                    "due 2026-12-18T",
                    "2 writes to the AWS secret, labels and tags alone; nothing was changed at the vendor",
                ],
            ),
            (&format!("adopt app {id}"), 0, &["app: already adopted", "nothing was changed"]),
            ("status app", 0, &["ok", "current, verified and not due"]),
            ("explain app", 0, &["ours, by its tags", "- held", "due"]),
            ("history app", 0, &["adopted", "lives; consumers read it", &id]),
            ("orphans app", 0, &["owned", "1 owned, 0 orphan, 0 foreign"]),
            ("verify app", 0, &["app: good"]),
            (&format!("adopt other {id}"), 3, &["there is no AWS secret of that name"]),
        ],
        &path,
    )
    .await;
    assert_eq!(stage.writes(), before + 2);
    let again = served(words(&format!("adopt app {id} --output json --config {path}")), Vec::new()).await;
    let document: Value = serde_json::from_slice(&again.stdout).expect("one JSON document");
    let row = &document["credentials"][0];
    assert_eq!((&row["adopted"], &row["writes"], &document["exit_code"]), (&json!(true), &json!(0), &json!(0)));
    assert_eq!((row["credential"].as_str(), again.stderr.len()), (Some(id.as_str()), 0));
    // Due by the vendor's date.
    stage.clock.advance(25 * DAY);
    let strip =
        json!({ "SecretId": "app", "TagKeys": ["keyferry:deployment", "keyferry:credential", "keyferry:place"] });
    stage.person("UntagResource", strip).await;
    says(
        &[
            ("plan app", 3, &["not keyferry's"]),
            (&format!("adopt app {id}"), 0, &["due since", "the next pass (`once`, `run`) replaces it", "one write"]),
            ("once", 0, &["the new value is current; the previous one still works"]),
            (&format!("adopt app {id}"), 3, &[NOT, "is labelled as another credential", "it is managed already"]),
            ("rollback app", 0, &["rolled back", "after a login with it"]),
            ("status app", 4, &["held", "resume app --accept"]),
        ],
        &path,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_adopted_is_refused_with_what_to_do_and_nothing_is_written() {
    let forced = |set: fn(&mut Forced)| {
        move |stage: &Stage| {
            let mut forced = Forced { region: "us-east-1".into(), name: "app".into(), ..Forced::default() };
            set(&mut forced);
            stage.sandbox.secrets_manager.with_state(|state| {
                let now = stage.sandbox.world.now();
                assert!(state.has(&forced, now));
                state.force(&forced, now);
            });
        }
    };
    let deleted = json!({ "SecretId": "app", "RecoveryWindowInDays": 7 });
    let tagged = |pairs: &[(&str, &str)]| {
        let tags: Vec<Value> = pairs.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        json!({ "SecretId": "app", "Tags": tags })
    };
    let others = tagged(&[("keyferry:deployment", "west"), ("keyferry:credential", "app")]);
    let quiet = tagged(&[("keyferry:deployment", "test"), ("keyferry:credential", "app"), ("keyferry:pause", "on")]);
    // (what a person does first, what is said, what to do)
    let calls: Vec<(&str, Value, i32, &[&str])> = vec![
        ("DeleteSecret", deleted, 3, &["the secret is scheduled for deletion", "restore it"]),
        ("TagResource", others, 3, &["the secret is deployment `west`'s, credential `app`", "correct the tags"]),
        ("TagResource", quiet, 3, &["paused by a person", "`keyferry resume app` ends it"]),
    ];
    for (operation, body, code, words) in calls {
        let stage = Stage::one().await;
        let id = existing(&stage, Kind::Named, DAY).await;
        stage.person(operation, body).await;
        refuses(&stage, &id, "", code, words).await;
    }
    let forces: [(Force, &[&str]); 4] = [
        (|one| one.owning_service = Some("rds".into()), &["an AWS partner or service manages this secret"]),
        (|one| one.kind = Some("SalesforceClientSecret".into()), &["an AWS partner or service manages this secret"]),
        (|one| one.rotation_enabled = Some(true), &["Secrets Manager rotates this secret itself", "turn off"]),
        (|one| one.primary_region = Some("eu-west-1".into()), &["this is a replica", "primary Region"]),
    ];
    for (set, words) in forces {
        let stage = Stage::one().await;
        let id = existing(&stage, Kind::Named, DAY).await;
        forced(set)(&stage);
        refuses(&stage, &id, "", 3, words).await;
    }
    let wider = |value: &Value| {
        let mut value = value.clone();
        value["note"] = json!("x");
        value.to_string()
    };
    let edits: [(Edit, &str, i32, &[&str]); 5] = [
        (
            |value| value.to_string().replace("kfcanary", "kfcanary-wrong"),
            " --unproved",
            3,
            &["the vendor refuses a login with the value that is current: invalid_client", "dead value"],
        ),
        (
            |value| json!({ "client_id": "another", "client_secret": value["client_secret"] }).to_string(),
            " --unproved",
            3,
            &["the stored value names another credential"],
        ),
        (
            |value| json!({ "ID": value["client_id"], "SECRET": value["client_secret"] }).to_string(),
            "",
            4,
            &["has another shape than is declared", "--allow-shape-change", "allow_shape_change = true"],
        ),
        (
            |value| json!({ "ID": value["client_id"], "SECRET": value["client_secret"] }).to_string(),
            " --allow-shape-change",
            4,
            &["nobody knows what to log in with", "--unproved"],
        ),
        (|_| "plain text".into(), "", 4, &["has another shape than is declared"]),
    ];
    for (edit, flags, code, words) in edits {
        let stage = Stage::one().await;
        let (id, value) = by_hand(&stage, Kind::Named).await;
        store(&stage, &edit(&value)).await;
        refuses(&stage, &id, flags, code, words).await;
    }
    // More keys than are declared: the next rotation would drop them.
    let stage = Stage::one().await;
    let (id, value) = by_hand(&stage, Kind::Named).await;
    store(&stage, &wider(&value)).await;
    refuses(&stage, &id, "", 4, &["the stored value has more in it than is declared", "--allow-shape-change"]).await;
    let folder = Folder::new();
    let path = folder.write("app.toml", stage.declaration().to_owned() + "allow_shape_change = true\n", 0o600);
    says(&[(&format!("adopt app {id}"), 0, &["the next rotation stores the declared shape"])], &path).await;
    // Binary, and nothing at all.
    for (body, words) in [
        (json!({ "Name": "app", "SecretBinary": "AAEC" }), &["its value is binary, and not a text"][..]),
        (json!({ "Name": "app" }), &["no version of the secret is current"]),
    ] {
        let stage = Stage::one().await;
        let (id, _) = by_hand(&stage, Kind::Named).await;
        let mut body = body;
        body["ClientRequestToken"] = token(&stage).into();
        stage.person("CreateSecret", body).await;
        refuses(&stage, &id, "", 3, words).await;
    }
}

/// Asserts that `app` is not adopted, and that nothing is written.
async fn refuses(stage: &Stage, id: &str, flags: &str, code: i32, says: &[&str]) {
    let folder = Folder::new();
    let path = folder.write("app.toml", stage.declaration(), 0o600);
    let (writes, changes) = (stage.writes(), vendor_writes(stage));
    let (text, ended) = typed(&format!("adopt app {id}{flags}"), &path).await;
    assert_eq!(ended, code, "{text}");
    assert!(text.starts_with(NOT) && text.contains("\n  hint: "), "{text}");
    assert!(says.iter().all(|word| text.contains(word)), "does not say {says:?}:\n{text}");
    assert_eq!((stage.writes(), vendor_writes(stage)), (writes, changes), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_others_or_can_not_be_told_apart_asks_or_is_refused() {
    // Two declared credentials of one application.
    let other = credential("other").replace("application = \"other\"", "application = \"app\"");
    let stage = Stage::with(&(credential("app") + &other)).await;
    let (id, value) = by_hand(&stage, Kind::Named).await;
    for name in ["app", "other"] {
        let body = json!({ "Name": name, "SecretString": value.to_string(), "ClientRequestToken": token(&stage) });
        stage.person("CreateSecret", body).await;
    }
    let folder = Folder::new();
    let path = folder.write("app.toml", stage.declaration(), 0o600);
    let rest = stage.declaration().replace("[[credential]]\nname = \"app\"", "[[credential]]\nname = \"new\"");
    let undeclared = folder.write("rest.toml", rest, 0o600);
    says(
        &[
            (&format!("adopt app {id}"), 0, &["adopted"]),
            (&format!("adopt other {id}"), 3, &["AWS secret app (`app`) tracks it already", "ended for both"]),
        ],
        &path,
    )
    .await;
    let gone: &[&str] = &["AWS secret app, which is this deployment's and not declared any more, tracks it"];
    says(&[(&format!("adopt other {id}"), 3, gone)], &undeclared).await;
    // A login at WorkOS says that a secret works, and not which one it is.
    let stage = Stage::with(&client_secret("app")).await;
    let (id, _) = by_hand(&stage, Kind::Unnamed).await;
    let (_, value) = by_hand(&stage, Kind::Unnamed).await;
    store(&stage, &value.to_string()).await;
    stage.clock.advance(DAY);
    let path = folder.write("workos.toml", stage.declaration(), 0o600);
    let asks: &[&str] = &["nothing in it tells which credential it belongs to, and 1 more lives there", "--unproved"];
    refuses(&stage, &id, "", 4, asks).await;
    says(
        &[
            ("orphans app", 0, &["not keyferry's, and never touched unasked"]),
            (&format!("adopt app {id} --unproved"), 0, &["on your word, unproved", "  unproved: nothing in it tells"]),
            ("status app", 0, &["adopted unproved"]),
        ],
        &path,
    )
    .await;
    // With its id in the value it does.
    let value_too =
        "[credential.secret]\nvalue = { ID = \"{client_id}\", SECRET = \"{client_secret}\", KEY = \"{secret_id}\" }\n";
    let stage = Stage::with(&(client_secret("app") + value_too)).await;
    let (id, value) = by_hand(&stage, Kind::Unnamed).await;
    let (second, _) = by_hand(&stage, Kind::Unnamed).await;
    let value = json!({ "ID": value["client_id"], "SECRET": value["client_secret"], "KEY": id });
    store(&stage, &value.to_string()).await;
    let path = folder.write("workos.toml", stage.declaration(), 0o600);
    refuses(&stage, &second, " --unproved", 3, &["the stored value names another credential"]).await;
    says(&[(&format!("adopt app {id}"), 0, &["of WorkOS, after a login with it"])], &path).await;
    // A value that was stored a moment ago may be of one that is not listed yet.
    let stage = Stage::with(&client_secret("app")).await;
    let id = existing(&stage, Kind::Unnamed, MINUTE).await;
    refuses(&stage, &id, "", 4, &["so young that the vendor may not list them all"]).await;
    // A record that nobody handed over, and one that was.
    let stage = Stage::with(RECORD).await;
    let value = "kfcanary-by-hand-0123456789";
    let made = json!({
        "alias": "crm", "name": "crm", "kind": "shared", "type": "bearer", "visibility": "private", "value": value,
    });
    let made = at_chatbotkit(&stage, "secret/create", made).await;
    let id = made["id"].as_str().unwrap().to_owned();
    store(&stage, &json!({ "value": value }).to_string()).await;
    refuses(&stage, &id, " --unproved", 3, &["that keyferry did not make", "to hand it over"]).await;
    let handed = json!({ "alias": "crm", "meta": { "managedBy": "keyferry" } });
    at_chatbotkit(&stage, &format!("secret/{id}/update"), handed).await;
    refuses(&stage, &id, "", 4, &["the vendor keeps the value and shows it to nobody", "--unproved"]).await;
    refuses(&stage, "someother", " --unproved", 2, &["does not list it in the declared place, but 1 other"]).await;
    let path = folder.write("record.toml", stage.declaration(), 0o600);
    says(
        &[
            (&format!("adopt app {id} --unproved"), 0, &["on your word, unproved", "the version's date in AWS"]),
            (&format!("adopt app {id} --unproved"), 0, &["already adopted"]),
            ("orphans app", 0, &["owned", "`app`, AWSCURRENT"]),
            ("status app", 0, &["adopted unproved"]),
        ],
        &path,
    )
    .await;
}

/// Types it with AWS credentials in the environment and no declaration.
async fn typed_bare(line: &str) -> (String, i32) {
    let environment = [("AWS_ACCESS_KEY_ID", "any"), ("AWS_SECRET_ACCESS_KEY", "any")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let output = served(words(line), environment.to_vec()).await;
    (text(&output), output.status.code().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_of_existing_secrets_leads_to_their_adoption() {
    let declared = credential("app") + "[credential.secret]\nname = \"app/declared\"\n";
    let stage = Stage::with(&declared).await;
    let folder = Folder::new();
    let path = folder.write("declared.toml", stage.declaration(), 0o600);
    let (id, value) = by_hand(&stage, Kind::Named).await;
    for name in ["app/declared", "app/keycard-key", "app/other"] {
        let body = json!({ "Name": name, "SecretString": value.to_string(), "ClientRequestToken": token(&stage) });
        stage.person("CreateSecret", body).await;
    }
    let at = format!(
        "--region us-east-1 --endpoint-url http://{} --sts-endpoint-url http://{}",
        stage.sandbox.aws_address(),
        stage.sandbox.sts_address()
    );
    let (before, reads) = (stage.writes(), stage.sandbox.world.total("aws", "GetSecretValue"));
    for (line, code, words) in [
        ("init".to_owned(), 2, &["--prefix"][..]),
        ("init --prefix ".to_owned(), 2, &["it is empty", "app/"][..]),
        ("init --prefix a!b".to_owned(), 2, &["no secret's name has `!` in it"][..]),
        (
            format!("init --prefix App/ {at}"),
            2,
            &["no AWS secret of account 111122223333 in us-east-1 begins with", "upper and lower"][..],
        ),
        (format!("init --prefix app/ --target x {at}"), 2, &["cannot be used with"][..]),
        ("init --prefix app/ --target x".to_owned(), 2, &["there is no declaration at /etc/keyferry"][..]),
        ("init --prefix app/".to_owned(), 3, &["no Region"][..]),
    ] {
        let (text, ended) = typed_bare(&line).await;
        assert_eq!(ended, code, "{line}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{line} does not say {words:?}: {text}");
    }
    // Nothing is declared yet, and then one is.
    let (text, code) = typed_bare(&format!("init --prefix app/ {at}")).await;
    assert!(code == 0 && text.matches("[[credential]]").count() == 3, "{text}");
    let (text, code) = typed("init --prefix app/", &path).await;
    assert!(
        code == 0 && text.matches("[[credential]]").count() == 2 && text.contains("app/declared: declared already"),
        "{text}"
    );
    says(
        &[("init --prefix app/decl", 2, &["1 begin with `app/decl`, and none can be drafted", "declared already"])],
        &path,
    )
    .await;
    assert_eq!(stage.writes(), before);
    assert_eq!(stage.sandbox.world.total("aws", "GetSecretValue"), reads, "no value is read");
    // Filled in, it is a declaration; the sandbox's addresses and secrets are what a person fills in, too.
    let keycard = stage.sandbox.vendor_address("keycard").unwrap();
    let filled = text
        .replace("deployment = \"TODO\"", "deployment = \"test\"")
        .replace("[aws]\n", "[aws]\ncredentials = \"sandbox\"\n")
        .replace("# zone = \"…\"", &format!("zone = \"production\"\nbase_url = \"http://{keycard}\""))
        .replace("{ env = \"KEYFERRY_KEYCARD_CLIENT_ID\" }", "{ sandbox = true }")
        .replace("{ env = \"KEYFERRY_KEYCARD_CLIENT_SECRET\" }", "{ sandbox = true }")
        .replace("# application = \"…\"", "application = \"app\"")
        .replace("vendor = \"TODO\"", "vendor = \"keycard\"")
        .replace("type = \"TODO\"", "type = \"password\"\napplication = \"app\"");
    let drafted = folder.write("drafted.toml", filled, 0o600);
    says(
        &[
            ("check", 0, &["2 credentials, no problems"]),
            (&format!("adopt keycard-key {id}"), 0, &["adopted", "rotated only when asked"]),
            (&format!("adopt other {id}"), 3, &["tracks it already"]),
            ("status keycard-key", 0, &["ok"]),
            ("init --prefix app/o", 2, &["app/other: declared already", "none can be drafted"]),
        ],
        &drafted,
    )
    .await;
}
