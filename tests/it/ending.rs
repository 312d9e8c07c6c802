//! How credentials end: leaked ones at once, replaced ones with evidence, retired ones for good.

use std::time::Duration;

use keyferry::engine::reconcile::{Visit, Visited};
use keyferry::model::attempt::Cause;
use keyferry::model::time::Clock;
use keyferry::rotation::Reason;
use keyferry::rotation::leaked::Wait;
use keyferry::sandbox::faults::{Effect, Rule};
use serde_json::json;

use crate::stage::{Stage, credential};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// A person rotates `app` because its value leaked.
async fn leaked(stage: &Stage) -> Visited {
    let all = stage.engine.declaration().credentials.clone();
    let visit = Visit { request: Some(Cause::Leaked), ..Visit::default() };
    stage.engine.visit_all(all, visit, |_, _| {}).await.into_values().next().expect("one is declared")
}

/// Live credentials at the vendor, by id.
fn live(stage: &Stage) -> Vec<String> {
    let all = stage.sandbox.keycard().credentials();
    all.into_iter().filter(|one| one.deleted.is_none()).map(|one| one.id.to_string()).collect()
}

fn retired() -> String {
    format!("{}state = \"retired\"\n", credential("app"))
}

async fn labels(stage: &Stage) -> serde_json::Value {
    stage.person("DescribeSecret", json!({ "SecretId": "app" })).await
}

async fn version_with(stage: &Stage, label: &str) -> String {
    let described = labels(stage).await;
    let labels = described["VersionIdsToStages"].as_object().unwrap().clone();
    let holds = |held: &serde_json::Value| held.as_array().unwrap().contains(&label.into());
    labels.into_iter().find(|(_, held)| holds(held)).expect("some version has it").0
}

async fn tag(stage: &Stage, key: &str, value: &str) {
    stage.person("TagResource", json!({ "SecretId": "app", "Tags": [{ "Key": key, "Value": value }] })).await;
}

#[tokio::test]
async fn a_leaked_value_is_dead_at_the_end_of_one_visit_that_sleeps_for_nothing() {
    for older in [1, 2] {
        let stage = Stage::one().await;
        stage.pass().await;
        if older == 2 {
            stage.clock.advance(30 * DAY);
            stage.pass().await;
        }
        stage.clock.advance(HOUR);
        let before = live(&stage);
        assert_eq!(before.len(), older);
        let (began, writes) = (stage.clock.monotonic(), stage.writes());
        let visited = leaked(&stage).await;
        assert_eq!(stage.clock.monotonic(), began, "{older} older: nothing slept");
        let after = live(&stage);
        assert_eq!(after.len(), 1, "{older} older: {after:?}");
        assert!(!before.contains(&after[0]), "what lives is the new one");
        assert_eq!((visited.status.reason, visited.status.fault.as_ref()), (Reason::Healthy, None));
        let outlook = visited.leaked.expect("it was asked for");
        assert_eq!((outlook.exposed, outlook.live, &outlook.kept), (false, 0, &Vec::new()));
        assert!(outlook.safe_at.is_some_and(|date| date <= visited.status.looked));
        assert!(outlook.skipped.iter().any(|(wait, _)| *wait == Wait::Overlap));
        assert_eq!(stage.writes() - writes, if older == 1 { 7 } else { 9 }, "a rotation's, and two for one more end");
        stage.pass().await;
        assert_eq!(stage.failures(), 0, "consumers that read after the visit have the new one");
    }
}

#[tokio::test]
async fn a_leak_in_a_young_secret_says_when_it_is_over_and_keeps_its_word() {
    let stage = Stage::one().await;
    stage.pass().await;
    // AWSPREVIOUS was taken off by hand a moment ago: a late call might bring it back.
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    let previous = version_with(&stage, "AWSPREVIOUS").await;
    let body = json!({ "SecretId": "app", "VersionStage": "AWSPREVIOUS", "RemoveFromVersionId": previous });
    stage.person("UpdateSecretVersionStage", body).await;
    let visited = leaked(&stage).await;
    let outlook = visited.leaked.expect("it was asked for");
    assert_eq!((outlook.exposed, outlook.live, outlook.because), (false, 1, Reason::LeakedEnding));
    let over = outlook.safe_at.expect("a date");
    assert!(over > visited.status.looked && over < visited.status.looked.plus(2 * HOUR), "{over}");
    assert_eq!(outlook.kept, [(Wait::Settle, over)]);
    assert_eq!(live(&stage).len(), 2, "what leaked is dead, the one before it not yet");
    stage.clock.advance(over.since(visited.status.looked) + MINUTE / 30);
    stage.pass().await;
    assert_eq!(live(&stage).len(), 1);
}

#[tokio::test]
async fn a_leak_in_something_paused_held_or_blocked_is_refused_with_the_reason_and_ends_nothing() {
    let by_hand = json!({ "SecretId": "app", "SecretString": "kfcanary", "ClientRequestToken": format!("{:032}", 7) });
    for (operation, body, reason, word) in [
        (
            "TagResource",
            json!({ "SecretId": "app", "Tags": [{ "Key": "keyferry:pause", "Value": "4h" }] }),
            Reason::Paused,
            "paused",
        ),
        ("PutSecretValue", by_hand, Reason::ForeignCurrent, "held"),
        ("DeleteSecret", json!({ "SecretId": "app" }), Reason::ScheduledForDeletion, "blocked"),
    ] {
        let stage = Stage::one().await;
        stage.pass().await;
        stage.clock.advance(30 * DAY);
        stage.pass().await;
        stage.clock.advance(HOUR);
        stage.person(operation, body).await;
        let (before, writes) = (live(&stage), stage.writes());
        let visited = leaked(&stage).await;
        let status = &visited.status;
        assert_eq!((status.reason, status.word(), &status.fault), (reason, word, &None));
        assert_eq!((live(&stage), stage.writes()), (before, writes), "{word}: nothing was made or ended");
        let outlook = visited.leaked.expect("it was asked for");
        assert_eq!((outlook.exposed, outlook.because, outlook.safe_at), (true, reason, None), "{word}");
        assert!(visited.steps.is_empty());
    }
}

#[tokio::test]
async fn a_crash_after_the_claim_does_not_forget_that_the_value_leaked() {
    let mut stage = Stage::one().await;
    stage.pass().await;
    stage.clock.advance(HOUR);
    let before = live(&stage);
    let (service, operation) = ("keycard".into(), "create_credential".into());
    stage.sandbox.add_fault(Rule { service, operation, skip: 0, times: 1, chance: 1.0, effect: Effect::DropAfter });
    let visited = leaked(&stage).await;
    assert!(visited.leaked.is_some_and(|outlook| outlook.exposed), "{:?}", visited.status.fault);
    assert!(live(&stage).contains(&before[0]));
    // Another process, which nobody told anything.
    stage.restart().await;
    stage.live(2 * HOUR, 5 * MINUTE).await;
    assert!(!live(&stage).contains(&before[0]), "no overlap is kept for it");
    assert_eq!((live(&stage).len(), stage.status("app").reason, stage.failures()), (1, Reason::Healthy, 0));
}

#[tokio::test]
async fn a_replaced_credential_waits_for_the_word_of_a_consumer() {
    let confirmed = "retire_when = { when = \"confirmed\", max = \"7d\" }\n";
    let stage = Stage::with(&format!("{}{confirmed}", credential("app"))).await;
    stage.pass().await;
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    let previous = version_with(&stage, "AWSPREVIOUS").await;
    tag(&stage, "keyferry:confirmed", &format!("{previous}@1800000000")).await;
    stage.live(2 * DAY, 6 * HOUR).await;
    assert_eq!(stage.live_credentials(), 2, "the word is about another version");
    let all = stage.engine.declaration().credentials.clone();
    stage.engine.visit_all(all, Visit::default(), |_, _| {}).await;
    let status = stage.status("app");
    assert_eq!((status.reason, status.word(), status.exit_code()), (Reason::Unconfirmed, "ok", 0));
    assert!(status.reason.message(status.look_again).contains("at the latest"));
    let current = version_with(&stage, "AWSCURRENT").await;
    tag(&stage, "keyferry:confirmed", &format!("{current}@1800000000")).await;
    stage.live(HOUR, 30 * MINUTE).await;
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0));
    // Nobody confirms the next one.
    stage.live(28 * DAY, 6 * HOUR).await;
    assert_eq!(stage.live_credentials(), 2);
    stage.live(8 * DAY, 6 * HOUR).await;
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0), "the longest wait is over");
}

#[tokio::test]
async fn a_retired_credential_ends_after_its_consumers_and_its_secret_last() {
    let mut stage = Stage::one().await;
    stage.pass().await;
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    stage.redeclare(&retired()).await;
    let made = stage.sandbox.keycard().credentials().len();
    stage.pass().await;
    let status = stage.status("app");
    assert_eq!((status.reason, status.word(), status.exit_code()), (Reason::Retiring, "ok", 0));
    stage.live(24 * HOUR, HOUR).await;
    assert_eq!((live(&stage).is_empty(), stage.failures()), (false, 0), "consumers read on for the overlap");
    stage.live(4 * HOUR, HOUR / 2).await;
    assert!(live(&stage).is_empty());
    assert_eq!(stage.sandbox.keycard().credentials().len(), made, "and nothing new was made");
    assert!(labels(&stage).await["DeletedDate"].is_number(), "scheduled for deletion");
    let status = stage.status("app");
    assert_eq!((status.reason, status.word(), status.exit_code()), (Reason::Retired, "ok", 0), "{:?}", status.fault);
    let writes = stage.writes();
    stage.live(31 * DAY, 12 * HOUR).await;
    assert_eq!((stage.writes(), stage.status("app").reason), (writes, Reason::Retired), "gone for good, at rest");
}

#[tokio::test]
async fn a_retired_credential_that_never_was_makes_nothing() {
    let stage = Stage::with(&retired()).await;
    stage.live(DAY, 12 * HOUR).await;
    let status = stage.status("app");
    assert_eq!((status.reason, status.word(), status.exit_code()), (Reason::Retired, "ok", 0));
    assert_eq!((stage.writes(), stage.live_credentials()), (0, 0));
}

#[tokio::test]
async fn a_credential_that_is_wanted_again_goes_on_or_has_a_fresh_value_at_once() {
    let mut stage = Stage::one().await;
    stage.pass().await;
    stage.redeclare(&retired()).await;
    stage.live(12 * HOUR, HOUR).await;
    let first = live(&stage);
    stage.redeclare(&credential("app")).await;
    stage.pass().await;
    assert_eq!((live(&stage), stage.status("app").reason), (first.clone(), Reason::Healthy), "called off in time");
    assert!(!labels(&stage).await.to_string().contains("keyferry:retiring"));
    stage.redeclare(&retired()).await;
    stage.live(27 * HOUR, HOUR / 2).await;
    assert!(live(&stage).is_empty());
    stage.redeclare(&credential("app")).await;
    stage.pass().await;
    assert_eq!(stage.status("app").reason, Reason::ScheduledForDeletion);
    stage.person("RestoreSecret", json!({ "SecretId": "app" })).await;
    stage.pass().await;
    assert_eq!(live(&stage).len(), 1, "a fresh value at once");
    let failures = stage.failures();
    stage.live(3 * DAY, 6 * HOUR).await;
    assert_eq!((live(&stage).len(), stage.status("app").reason, stage.failures()), (1, Reason::Healthy, failures));
}
