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
