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
use keyferry::sandbox::stage::Sandbox;
use serde_json::{Value, json};

use crate::bad_inputs::command::{Folder, declaration, sandbox, served, text, words};
use crate::stage::{Stage, client_secret, credential};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const WORD: Allowed = Allowed { unproved: true, shape_change: false };

const TOKEN: &str = "[[credential]]\nname = \"app\"\nvendor = \"chatbotkit\"\ntype = \"user-token\"\nuser = \"app\"\n";
const RECORD: &str = "[[credential]]\nname = \"app\"\nvendor = \"chatbotkit\"\ntype = \"secret\"\nalias = \"crm\"\n\
                      usage = \"bearer\"\nvalue = { generate = { length = 48 } }\n";

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

fn refused(result: Result<Result<Adopted, Refused>, Undone>) -> Refused {
    match result {
        Ok(Err(refused)) => refused,
        Ok(Ok(_)) => panic!("it was adopted"),
        Err(undone) => panic!("it failed: {}", undone.fault),
    }
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
        let live = if kind == Kind::Record { 1 } else { 2 };
        assert_eq!((stage.status("app").reason, stage.live_credentials()), (Reason::InOverlap, live), "{kind:?}");
        stage.live(2 * DAY, HOUR).await;
        let status = stage.status("app");
        assert_eq!((status.reason, &status.fault), (Reason::Healthy, &None), "{kind:?}");
        assert_eq!((stage.live_credentials(), stage.failures()), (1, 0), "{kind:?}");
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
        for (operation, skip) in reads.chain(writes) {
            for effect in [Effect::DropBefore, Effect::DropAfter] {
                let what = format!("{kind:?} {operation} {skip} {effect:?}");
                let stage = Stage::with(&declared).await;
                let id = existing(&stage, kind, 10 * DAY).await;
                // Reads are tried again by themselves; a person gives up.
                let times = if effect == Effect::DropAfter && !names.contains(&operation) { 1 } else { 50 };
                let rule = Rule {
                    service: "aws".into(), operation: operation.into(), skip, times, chance: 1.0, effect: effect.clone(),
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
                assert_eq!((vendor_writes(&stage), stage.failures()), (changes, 0), "{what}: nothing was made or ended");
                adopted(adopt(&stage, &id, kind.allowed()).await);
                stage.pass().await;
                assert_eq!(stage.status("app").reason, Reason::Healthy, "{what}");
                let unproved = stage.status("app").published.is_some_and(|one| one.unproved);
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
