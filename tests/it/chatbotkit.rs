//! ChatBotKit end to end: API tokens of child accounts, and secrets whose value is kept in place.

use std::time::Duration;

use keyferry::model::fault::Class;
use keyferry::rotation::Reason;
use keyferry::sandbox::chatbotkit::{ChatBotKit, Settings};
use keyferry::sandbox::faults::{Broken, Effect, Rule};
use serde_json::{Value, json};

use crate::stage::Stage;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

const TOKEN: &str =
    "[[credential]]\nname = \"team\"\nvendor = \"chatbotkit\"\ntype = \"user-token\"\nuser = \"support-team\"\n";

/// A secret named `crm` with these lines.
fn secret(lines: &str) -> String {
    format!("[[credential]]\nname = \"crm\"\nvendor = \"chatbotkit\"\ntype = \"secret\"\nalias = \"crm\"\n{lines}")
}

fn bearer() -> String {
    secret("usage = \"bearer\"\nvalue = { generate = { length = 48 } }\n")
}

fn chatbotkit(stage: &Stage) -> &ChatBotKit {
    stage.sandbox.find().expect("it is in the list of simulators")
}

fn fault(operation: &str, skip: u64, times: u64, effect: Effect) -> Rule {
    Rule { service: "chatbotkit".into(), operation: operation.into(), skip, times, chance: 1.0, effect }
}

/// What AWS publishes, as JSON.
async fn published(stage: &Stage, secret: &str) -> Value {
    let answer = stage.person("GetSecretValue", json!({ "SecretId": secret })).await;
    serde_json::from_str(answer["SecretString"].as_str().unwrap()).unwrap()
}

/// The record of `crm` as fetch shows it.
fn record(stage: &Stage) -> Value {
    let facts = chatbotkit(stage).secrets();
    let found = facts.into_iter().find(|fact| fact.item["alias"] == "crm");
    found.map(|fact| fact.item).unwrap_or_default()
}

/// Asserts that ChatBotKit holds what AWS publishes.
async fn in_step(stage: &Stage) {
    let value = published(stage, "crm").await["value"].as_str().map(str::to_owned);
    assert!(value.is_some());
    assert_eq!(chatbotkit(stage).holds("crm").expect("the record is there").0, value);
}

/// A person's call at ChatBotKit.
async fn person(stage: &Stage, path: &str, body: Value) -> Value {
    let base = format!("http://{}/api/v1", stage.sandbox.vendor_address("chatbotkit").unwrap());
    let call = reqwest::Client::new().post(format!("{base}/{path}")).bearer_auth("sandbox").json(&body);
    let answer = call.send().await.unwrap();
    let (status, answer) = (answer.status(), answer.json().await.unwrap());
    assert!(status.is_success(), "{path} {body}: {status} {answer}");
    answer
}

#[tokio::test]
async fn a_childs_token_is_minted_overlapped_and_revoked() {
    let stage = Stage::with(TOKEN).await;
    stage.pass().await;
    let status = stage.status("team");
    assert_eq!((status.reason, &status.fault), (Reason::Healthy, &None));
    let value = published(&stage, "team").await;
    assert!(value["token"].as_str().unwrap().starts_with("sk-"), "shown once, and stored");
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    assert_eq!(stage.live_credentials(), 2, "both work during the overlap");
    assert_ne!(published(&stage, "team").await["token"], value["token"]);
    stage.live(26 * HOUR, HOUR / 2).await;
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0));
    let (logins, _) = stage.sandbox.consumed();
    assert!(logins > 50, "{logins}: a consumer logged in all the while");
    let [(_, owner, name)] = chatbotkit(&stage).tokens().try_into().unwrap();
    assert_eq!(owner, "support-team");
    assert!(name.starts_with("kf-"), "{name}");
}

#[tokio::test]
async fn a_token_survives_every_fault_of_a_call_and_leaves_nothing() {
    let effects = [
        Effect::DropBefore,
        Effect::DropAfter,
        Effect::FailAfter,
        Effect::Throttle { retry_after: None },
        Effect::Refuse { status: 500, code: "GENERIC_ERROR".into() },
        Effect::Refuse { status: 401, code: "NOT_AUTHENTICATED".into() },
        Effect::Refuse { status: 403, code: "NOT_AUTHORIZED".into() },
        Effect::Refuse { status: 404, code: "NOT_FOUND".into() },
        Effect::Body(Broken::Empty),
        Effect::Body(Broken::Html),
        Effect::Body(Broken::Truncated),
        Effect::Body(Broken::Huge),
        Effect::Body(Broken::WrongType),
        Effect::Body(Broken::Redirect),
    ];
    // Every effect on the one call that must not be repeated; a few on each of the others.
    let others = ["list_tokens", "fetch_secret", "delete_token"];
    for (operation, step) in std::iter::once(("create_token", 1)).chain(others.map(|other| (other, 4))) {
        for effect in effects.iter().skip(step - 1).step_by(step) {
            let stage = Stage::with(TOKEN).await;
            stage.sandbox.add_fault(fault(operation, 0, 2, effect.clone()));
            for _ in 0..4 {
                stage.patient_pass().await;
                stage.clock.advance(HOUR);
            }
            stage.sandbox.add_fault(fault(operation, 0, 2, effect.clone()));
            stage.clock.advance(30 * DAY);
            for _ in 0..34 {
                stage.patient_pass().await;
                stage.clock.advance(HOUR);
            }
            let status = stage.status("team");
            assert_eq!((status.reason, &status.fault), (Reason::Healthy, &None), "{operation} {effect:?}");
            assert_eq!((stage.live_credentials(), stage.failures()), (1, 0), "{operation} {effect:?}");
        }
    }
}

#[tokio::test]
async fn a_second_page_of_tokens_is_seen_and_others_are_never_touched() {
    let stage = Stage::with(TOKEN).await;
    for number in 0..130 {
        person(&stage, "user/support-team/token/create", json!({ "name": format!("by hand {number}") })).await;
    }
    stage.pass().await;
    stage.clock.advance(30 * DAY);
    stage.live(27 * HOUR, HOUR).await;
    assert_eq!(stage.live_credentials(), 131);
    assert_eq!(stage.status("team").reason, Reason::Healthy);
}

#[tokio::test]
async fn a_value_is_made_up_stored_and_set_in_place() {
    let stage = Stage::with(&bearer()).await;
    stage.pass().await;
    let status = stage.status("crm");
    assert_eq!((status.reason, &status.fault), (Reason::Healthy, &None));
    assert!(status.published.is_some_and(|published| published.verified && published.live == 1));
    in_step(&stage).await;
    let before = record(&stage);
    assert_eq!(
        (&before["type"], &before["kind"], &before["visibility"]),
        (&json!("bearer"), &json!("shared"), &json!("private"))
    );
    let first = published(&stage, "crm").await;
    assert_eq!(first["value"].as_str().unwrap().len(), 48);
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    in_step(&stage).await;
    let after = record(&stage);
    assert_eq!(before["id"], after["id"], "the same record");
    assert_ne!(before["meta"]["keyferryMark"], after["meta"]["keyferryMark"]);
    assert_ne!(published(&stage, "crm").await, first);
    stage.live(30 * HOUR, HOUR).await;
    assert_eq!(stage.status("crm").reason, Reason::Healthy);
    in_step(&stage).await;
}

/// A usage whose value ChatBotKit keeps, and two values that fit it.
struct Usage {
    name: &'static str,
    lines: &'static str,
    values: [&'static str; 2],
}

/// Of each, what a person would write.
const PATHS: [Usage; 5] = [
    Usage { name: "plain", lines: "", values: ["kfcanary one", "kfcanary\ntwo lines"] },
    Usage {
        name: "basic",
        lines: "",
        values: ["user:kfcanary1", "{\"username\":\"user\",\"password\":\"kfcanary2\"}"],
    },
    Usage { name: "bearer", lines: "config = { schema = \"Token\" }\n", values: ["kfcanary1", "kfcanary2"] },
    Usage {
        name: "jwt",
        lines: "config = { algorithm = \"ES256\", expiresInSeconds = 300, claims = { iss = \"keyferry\" } }\n",
        values: [
            "-----BEGIN PRIVATE KEY-----\nkfcanary1\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nkfcanary2\n-----END PRIVATE KEY-----",
        ],
    },
    Usage {
        name: "template",
        lines: "config = { template = \"Key ${value}\", parameters = { team = \"sales\" } }\n",
        values: ["kfcanary1", "kfcanary2"],
    },
];

impl Usage {
    /// A declaration of `crm`, whose value comes from a file of this folder.
    fn declared(&self, folder: &std::path::Path) -> String {
        self.write(folder, 0);
        let path = folder.join("value");
        let path = path.display();
        secret(&format!("usage = \"{}\"\nvalue = {{ file = \"{path}\" }}\n{}", self.name, self.lines))
    }

    fn write(&self, folder: &std::path::Path, which: usize) {
        std::fs::write(folder.join("value"), self.values[which]).unwrap();
    }
}

/// create, healthy, rotation, rest: for each usage that keeps a value, from where values come.
#[tokio::test]
async fn every_usage_that_keeps_a_value_is_made_rotated_and_comes_to_rest() {
    for usage in &PATHS {
        let folder = tempfile::tempdir().unwrap();
        let stage = Stage::with(&usage.declared(folder.path())).await;
        let holds = || chatbotkit(&stage).holds("crm").unwrap().0;
        stage.pass().await;
        let status = stage.status("crm");
        assert_eq!((status.reason, &status.fault), (Reason::Healthy, &None), "{}", usage.name);
        assert!(status.published.is_some_and(|published| published.verified), "{}", usage.name);
        assert_eq!((holds().as_deref(), &record(&stage)["type"]), (Some(usage.values[0]), &json!(usage.name)));
        in_step(&stage).await;
        let (id, config) = (record(&stage)["id"].clone(), record(&stage)["config"].clone());
        usage.write(folder.path(), 1);
        stage.clock.advance(30 * DAY);
        stage.pass().await;
        assert_eq!((holds().as_deref(), &record(&stage)["id"]), (Some(usage.values[1]), &id), "{}", usage.name);
        stage.live(30 * HOUR, HOUR).await;
        let status = stage.status("crm");
        assert_eq!((status.reason, &status.fault), (Reason::Healthy, &None), "{}", usage.name);
        assert_eq!((record(&stage)["config"].clone(), chatbotkit(&stage).secrets().len()), (config, 1));
        in_step(&stage).await;
        let writes = stage.writes();
        stage.live(2 * DAY, 6 * HOUR).await;
        assert_eq!(stage.writes(), writes, "{}: at rest", usage.name);
    }
}

/// The same for what keeps no value of its own: it points at another record, follows a
/// configuration, or asks each contact.
#[tokio::test]
async fn every_usage_without_a_value_is_kept_as_declared_and_changed_in_place() {
    let reference = |to: &str| {
        secret(&format!("usage = \"reference\"\nconfig = {{ reference = \"@{to}\" }}\nrotate = \"manual\"\n"))
    };
    let oauth = |scope: &str, more: &str| {
        secret(&format!(
            "usage = \"oauth\"\nconfig = {{ authorizationUrl = \"https://id.example.com/authorize\", \
             tokenUrl = \"https://id.example.com/token\", clientId = \"public\", scope = \"{scope}\" }}\n\
             rotate = \"manual\"\n{more}"
        ))
    };
    let personal = "kind = \"personal\"\nvisibility = \"protected\"\n";
    for (what, before, after) in [
        ("reference", reference("one"), reference("two")),
        ("oauth", oauth("read", ""), oauth("write", "")),
        ("personal oauth", oauth("read", personal), oauth("write", personal)),
    ] {
        let mut stage = Stage::with(&before).await;
        for alias in ["one", "two"] {
            person(&stage, "secret/create", json!({ "alias": alias, "kind": "shared", "value": "x" })).await;
        }
        stage.pass().await;
        let status = stage.status("crm");
        assert_eq!((status.reason, &status.fault), (Reason::HealthyManual, &None), "{what}");
        let (id, config) = (record(&stage)["id"].clone(), record(&stage)["config"].clone());
        // An edit of the configuration is set in place, without a rotation.
        stage.redeclare(&after).await;
        stage.live(30 * HOUR, 6 * HOUR).await;
        let status = stage.status("crm");
        assert_eq!((status.reason, &status.fault), (Reason::HealthyManual, &None), "{what}");
        assert_eq!(record(&stage)["id"], id, "{what}");
        assert_ne!(record(&stage)["config"], config, "{what}");
        assert!(chatbotkit(&stage).holds("crm").unwrap().0.is_none(), "{what}: no value");
        let before = chatbotkit(&stage).call_counts();
        stage.live(2 * DAY, 6 * HOUR).await;
        let updates = |counts: &[keyferry::sandbox::simulator::CallCount]| {
            counts.iter().filter(|one| one.operation == "update_secret").map(|one| one.count).sum::<u64>()
        };
        assert_eq!(updates(&chatbotkit(&stage).call_counts()), updates(&before), "{what}: at rest");
    }
}

/// Everything that a reply can do.
fn effects() -> Vec<Effect> {
    vec![
        Effect::DropBefore,
        Effect::DropAfter,
        Effect::FailAfter,
        Effect::Stale,
        Effect::Throttle { retry_after: None },
        Effect::Throttle { retry_after: Some("1".into()) },
        Effect::Refuse { status: 500, code: "GENERIC_ERROR".into() },
        Effect::Refuse { status: 400, code: "BAD_REQUEST".into() },
        Effect::Refuse { status: 401, code: "NOT_AUTHENTICATED".into() },
        Effect::Refuse { status: 409, code: "CONFLICT".into() },
        Effect::Body(Broken::Empty),
        Effect::Body(Broken::Html),
        Effect::Body(Broken::Truncated),
        Effect::Body(Broken::WrongType),
        Effect::Body(Broken::Redirect),
    ]
}

#[tokio::test]
async fn a_value_in_place_survives_every_fault_of_a_call() {
    for (operation, step) in [("create_secret", 1), ("update_secret", 1), ("fetch_secret", 3), ("verify_secret", 3)] {
        for effect in effects().into_iter().skip(step - 1).step_by(step) {
            let stage = Stage::with(&bearer()).await;
            for day in [0, 30] {
                stage.clock.advance(day * DAY);
                stage.sandbox.add_fault(fault(operation, 0, 2, effect.clone()));
                for _ in 0..5 {
                    stage.patient_pass().await;
                    stage.clock.advance(HOUR);
                }
                let status = stage.status("crm");
                let well = matches!(status.reason, Reason::Healthy | Reason::InOverlap) && status.fault.is_none();
                assert!(well, "{operation} {effect:?}, day {day}: {:?} {:?}", status.reason, status.fault);
                in_step(&stage).await;
            }
            assert_eq!(chatbotkit(&stage).secrets().len(), 1, "{operation} {effect:?}: one record, whatever was lost");
        }
    }
}

#[tokio::test]
async fn a_crash_after_any_aws_write_ends_with_the_published_value_at_the_vendor() {
    for operation in ["PutSecretValue", "UpdateSecretVersionStage"] {
        for skip in 0..5 {
            let mut stage = Stage::with(&bearer()).await;
            stage.pass().await;
            stage.clock.advance(30 * DAY);
            let lost = Rule { service: "aws".into(), ..fault(operation, skip, 1, Effect::DropAfter) };
            stage.sandbox.add_fault(lost);
            stage.patient_pass().await;
            // A fresh process knows nothing of what the last one had in hand.
            stage.restart().await;
            for _ in 0..4 {
                stage.patient_pass().await;
                stage.clock.advance(20 * MINUTE);
            }
            let status = stage.status("crm");
            assert_eq!((status.reason, &status.fault), (Reason::InOverlap, &None), "{operation} {skip}");
            in_step(&stage).await;
        }
    }
}

#[tokio::test]
async fn the_traps_of_an_update_do_not_spring() {
    let declared = secret(
        "usage = \"bearer\"\ntitle = \"CRM\"\ndescription = \"for the CRM\"\nvisibility = \"protected\"\n\
         blueprint = \"@sales\"\nmeta = { team = \"sales\" }\nconfig = { schema = \"Token\" }\n\
         value = { generate = { length = 48 } }\n",
    );
    let stage = Stage::with(&declared).await;
    stage.pass().await;
    in_step(&stage).await;
    let id = record(&stage)["id"].as_str().unwrap().to_owned();
    // Somebody adds to the meta; that stays.
    let theirs = json!({ "alias": "crm", "meta": { "$update": { "owner": "ann" } } });
    person(&stage, &format!("secret/{id}/update"), theirs).await;
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    in_step(&stage).await;
    let after = record(&stage);
    assert_eq!(after["alias"], "crm", "an update without it would erase it");
    assert_eq!((&after["meta"]["owner"], &after["meta"]["team"]), (&json!("ann"), &json!("sales")));
    assert_eq!((&after["name"], &after["visibility"]), (&json!("CRM"), &json!("protected")));
    assert_eq!(after["config"], json!({ "schema": "Token" }));
    assert!(after["blueprintId"].is_string());

    // Somebody updates it without the alias, which erases that; it is found by its meta.
    person(&stage, &format!("secret/{id}/update"), json!({ "description": "edited" })).await;
    assert_eq!(record(&stage), Value::Null, "nothing has the alias any more");
    stage.pass().await;
    assert_eq!(record(&stage)["id"], json!(id), "the same record has its alias again");
    assert_eq!(record(&stage)["description"], "for the CRM");
    in_step(&stage).await;

    // Somebody makes it personal, which empties it at the next update.
    person(&stage, &format!("secret/{id}/update"), json!({ "alias": "crm", "kind": "personal" })).await;
    stage.pass().await;
    assert_eq!(record(&stage)["kind"], "shared");
    in_step(&stage).await;

    // Somebody deletes it.
    person(&stage, &format!("secret/{id}/delete"), json!({})).await;
    stage.pass().await;
    assert_ne!(record(&stage)["id"], json!(id));
    in_step(&stage).await;
    assert_eq!(chatbotkit(&stage).secrets().len(), 1);
}

#[tokio::test]
async fn a_value_that_the_vendor_drops_is_noticed_and_not_promoted() {
    let stage = Stage::with(&bearer()).await;
    stage.pass().await;
    let first = published(&stage, "crm").await;
    stage.clock.advance(30 * DAY);
    chatbotkit(&stage).set_settings(Settings { values_dropped: true, ..Settings::default() });
    stage.patient_pass().await;
    assert_eq!(published(&stage, "crm").await, first, "what can't be proved is not published");
    chatbotkit(&stage).set_settings(Settings::default());
    stage.live(3 * HOUR, 20 * MINUTE).await;
    in_step(&stage).await;
    assert_eq!(stage.status("crm").fault, None);
}

#[tokio::test]
async fn a_record_of_somebody_else_is_never_touched_and_nothing_is_written() {
    let stage = Stage::with(&bearer()).await;
    let theirs = json!({ "alias": "crm", "kind": "shared", "value": "theirs" });
    person(&stage, "secret/create", theirs).await;
    stage.patient_pass().await;
    let status = stage.status("crm");
    let fault = status.fault.expect("it is told");
    assert_eq!(fault.class, Class::Rejected);
    assert!(fault.answer.contains("keyferry did not make"), "{fault}");
    assert_eq!(chatbotkit(&stage).holds("crm").unwrap().0.as_deref(), Some("theirs"));
    assert_eq!(stage.writes(), 0);
}

#[tokio::test]
async fn what_the_declaration_names_must_be_there_before_anything_is_written() {
    let ability = "ability = { skillset = \"sales\", id = \"lookup\" }\n";
    for (lines, gone, word) in
        [("blueprint = \"@sales\"\n", "blueprint", "no such blueprint"), (ability, "ability", "another secret")]
    {
        let stage = Stage::with(&secret(&format!("{lines}value = {{ generate = {{}} }}\n"))).await;
        if gone == "blueprint" {
            person(&stage, "blueprint/@sales/delete", json!({})).await;
        } else {
            let other = json!({ "alias": "other", "kind": "shared", "value": "x" });
            let other = person(&stage, "secret/create", other).await["id"].clone();
            person(&stage, "skillset/sales/ability/lookup/update", json!({ "linkedSecretId": other })).await;
        }
        stage.patient_pass().await;
        let fault = stage.status("crm").fault.expect("it is told");
        assert!(fault.answer.contains(word), "{fault}");
        assert!(fault.hint.is_some());
        assert_eq!((stage.writes(), record(&stage)), (0, Value::Null));
    }
}

#[tokio::test]
async fn an_ability_is_linked_once() {
    let stage = Stage::with(&secret(
        "value = { generate = { length = 64, format = \"hex\" } }\nability = { skillset = \"sales\", id = \"lookup\" }\n",
    ))
    .await;
    stage.pass().await;
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    in_step(&stage).await;
    assert_eq!(linked(&stage).await, record(&stage)["id"]);
    let counts = chatbotkit(&stage).call_counts();
    let links: u64 = counts.iter().filter(|one| one.operation == "update_ability").map(|one| one.count).sum();
    assert_eq!(links, 1, "a rotation in place never touches it");
}

/// What a fetch of the ability `lookup` shows as its link.
async fn linked(stage: &Stage) -> Value {
    let base = format!("http://{}/api/v1", stage.sandbox.vendor_address("chatbotkit").unwrap());
    let url = format!("{base}/skillset/sales/ability/lookup/fetch");
    let answer = reqwest::Client::new().get(url).bearer_auth("sandbox").send().await.unwrap();
    answer.json::<Value>().await.unwrap()["linkedSecretId"].clone()
}

#[tokio::test]
async fn a_value_that_is_emptied_by_hand_is_seen_and_set_again() {
    for (usage, path) in PATHS.iter().flat_map(|usage| [(usage, "revoke"), (usage, "update")]) {
        let folder = tempfile::tempdir().unwrap();
        let stage = Stage::with(&usage.declared(folder.path())).await;
        stage.pass().await;
        in_step(&stage).await;
        let id = record(&stage)["id"].as_str().unwrap().to_owned();
        let body = if path == "revoke" { json!({}) } else { json!({ "alias": "crm", "value": "" }) };
        person(&stage, &format!("secret/{id}/{path}"), body).await;
        assert_eq!(chatbotkit(&stage).holds("crm").unwrap().0.unwrap_or_default(), "", "{} {path}", usage.name);
        stage.pass().await;
        in_step(&stage).await;
        assert_eq!(stage.status("crm").fault, None, "{} {path}", usage.name);
    }
}

#[tokio::test]
async fn a_link_that_is_taken_off_is_set_again_and_one_that_is_moved_is_told() {
    let stage =
        Stage::with(&secret("value = { generate = {} }\nability = { skillset = \"sales\", id = \"lookup\" }\n")).await;
    stage.pass().await;
    let own = record(&stage)["id"].clone();
    assert_eq!(linked(&stage).await, own);
    let link = |to: Value| person(&stage, "skillset/sales/ability/lookup/update", json!({ "linkedSecretId": to }));
    link(Value::Null).await;
    stage.pass().await;
    assert_eq!((linked(&stage).await, stage.status("crm").fault), (own, None));
    let other = json!({ "alias": "other", "kind": "shared", "value": "x" });
    let other = person(&stage, "secret/create", other).await["id"].clone();
    link(other.clone()).await;
    let value = published(&stage, "crm").await;
    stage.patient_pass().await;
    let fault = stage.status("crm").fault.expect("it is told at once");
    assert!(fault.answer.contains("another secret") && fault.hint.is_some() && !fault.heals_by_itself(), "{fault}");
    stage.clock.advance(31 * DAY);
    stage.patient_pass().await;
    assert_eq!((linked(&stage).await, published(&stage, "crm").await), (other, value), "nothing was touched");
    in_step(&stage).await;
    link(Value::Null).await;
    stage.live(3 * HOUR, HOUR).await;
    assert_eq!(stage.status("crm").fault, None);
    in_step(&stage).await;
}

/// A Keycard client whose pieces go into the configuration of a ChatBotKit secret.
fn fed() -> String {
    let source = crate::stage::credential("source");
    let follower = secret(
        "usage = \"oauth\"\nconfig = { grantType = \"client_credentials\", tokenUrl = \"https://id.example.com/token\", \
         clientId = { credential = \"source\", output = \"client_id\" }, \
         clientSecret = { credential = \"source\", output = \"client_secret\" } }\n\
         rotate = \"manual\"\n",
    );
    format!("{follower}{source}")
}

/// Asserts that ChatBotKit and the follower's AWS secret hold what the source publishes.
async fn fed_in_step(stage: &Stage) {
    let source = published(stage, "source").await;
    assert_eq!(published(stage, "crm").await, source);
    assert_eq!(chatbotkit(stage).holds("crm").unwrap().1.as_deref(), source["client_secret"].as_str());
    assert_eq!(record(stage)["config"]["clientId"], source["client_id"]);
    assert_eq!(record(stage)["config"]["clientSecret"], "********");
}

#[tokio::test]
async fn what_is_fed_follows_its_source_in_the_same_pass() {
    let stage = Stage::with(&fed()).await;
    stage.pass().await;
    assert_eq!((stage.status("crm").reason, stage.status("crm").fault), (Reason::HealthyManual, None));
    fed_in_step(&stage).await;
    let first = published(&stage, "source").await;
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    assert_ne!(published(&stage, "source").await, first);
    fed_in_step(&stage).await;
    assert_eq!(stage.live_credentials(), 2, "the source's old pair still works");
    stage.live(28 * HOUR, HOUR).await;
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0));
    fed_in_step(&stage).await;
}

#[tokio::test]
async fn a_source_keeps_its_old_credential_until_what_it_feeds_has_followed() {
    let stage = Stage::with(&fed()).await;
    stage.pass().await;
    let before = published(&stage, "source").await;
    let refused = Effect::Refuse { status: 500, code: "GENERIC_ERROR".into() };
    stage.sandbox.add_fault(fault("update_secret", 0, 0, refused));
    stage.clock.advance(30 * DAY);
    for _ in 0..60 {
        stage.patient_pass().await;
        stage.clock.advance(HOUR);
    }
    let status = stage.status("source");
    assert_eq!(
        (status.reason, stage.live_credentials()),
        (Reason::FollowersWait, 2),
        "ChatBotKit may use the old pair"
    );
    assert_eq!(chatbotkit(&stage).holds("crm").unwrap().1.as_deref(), before["client_secret"].as_str());
    stage.sandbox.world.faults.lock().unwrap().clear();
    stage.live(12 * HOUR, 20 * MINUTE).await;
    fed_in_step(&stage).await;
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0));
    assert_eq!(stage.status("source").reason, Reason::Healthy);
}

#[tokio::test]
async fn a_value_comes_from_a_file_or_another_secret_and_what_does_not_fit_is_told_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("value");
    let from_file = secret(&format!("usage = \"bearer\"\nvalue = {{ file = \"{}\" }}\n", path.display()));
    for (content, word) in [
        (None, "there is no file"),
        (Some(String::new()), "is empty"),
        (Some("\n".into()), "is empty"),
        (Some("two\nlines".into()), "line break"),
        (Some("Bearer x".into()), "the word Bearer"),
        (Some("x".repeat(33_000)), "33000 bytes"),
    ] {
        let stage = Stage::with(&from_file).await;
        if let Some(content) = &content {
            std::fs::write(&path, content).unwrap();
        }
        stage.patient_pass().await;
        let fault = stage.status("crm").fault.expect("it is told");
        assert!(fault.answer.contains(word), "{fault}");
        assert!(fault.hint.is_some() && !fault.heals_by_itself());
        assert_eq!((stage.writes(), record(&stage)), (0, Value::Null), "{word}");
    }
    std::fs::write(&path, "kfcanary-file\n").unwrap();
    let stage = Stage::with(&from_file).await;
    stage.pass().await;
    assert_eq!(chatbotkit(&stage).holds("crm").unwrap().0.as_deref(), Some("kfcanary-file"));
    std::fs::write(&path, "kfcanary-next").unwrap();
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    assert_eq!(chatbotkit(&stage).holds("crm").unwrap().0.as_deref(), Some("kfcanary-next"));
    in_step(&stage).await;

    let from_aws = secret("value = { aws_secret = { name = \"theirs\", key = \"pass\" } }\n");
    let stage = Stage::with(&from_aws).await;
    stage.patient_pass().await;
    assert_eq!((stage.status("crm").fault.unwrap().class, stage.writes()), (Class::Denied, 0));
    let theirs = json!({ "Name": "theirs", "SecretString": "{\"pass\":\"kfcanary-aws\"}", "ClientRequestToken": "a".repeat(32) });
    stage.person("CreateSecret", theirs).await;
    stage.clock.advance(HOUR);
    stage.pass().await;
    assert_eq!(chatbotkit(&stage).holds("crm").unwrap().0.as_deref(), Some("kfcanary-aws"));
}
