//! What people do by hand, in AWS and at the vendor, and secrets that are somebody else's.

use std::time::Duration;

use keyferry::engine::reconcile::{AskVendor, Visit};
use keyferry::sandbox::faults::{Effect, Rule};
use keyferry::sandbox::secrets_manager::inspect::Forced;
use serde_json::{Value, json};

use super::shown;
use crate::stage::{Stage, credential};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const TOKEN: &str = "00000000-0000-4000-8000-00000000000";

/// One thing that happens; `$current` in a call stands for the version that is current, `$previous`
/// for the one before it, `$first` for the first of all.
#[derive(Clone)]
enum Does {
    /// A person's call in AWS.
    Calls(&'static str, Value),
    /// What no call of a customer sets.
    Forces(Forced),
    /// keyferry passes over the fleet.
    Passes,
    /// Time passes, with a pass every six hours.
    Lives(Duration),
}

use Does::{Calls, Forces, Lives, Passes};

fn forced(set: impl FnOnce(&mut Forced)) -> Does {
    let mut forced = Forced { region: "us-east-1".into(), name: "app".into(), ..Forced::default() };
    set(&mut forced);
    Forces(forced)
}

fn put(number: u8, stages: Option<&str>) -> Does {
    let mut body = json!({
        "SecretId": "app", "ClientRequestToken": format!("{TOKEN}{number}"), "SecretString": "kfcanary-by-hand",
    });
    if let Some(stage) = stages {
        body["VersionStages"] = json!([stage]);
    }
    Calls("PutSecretValue", body)
}

fn created(value: Option<&str>) -> Does {
    let mut body = json!({ "Name": "app", "ClientRequestToken": format!("{TOKEN}0") });
    if let Some(value) = value {
        body["SecretString"] = value.into();
    }
    Calls("CreateSecret", body)
}

fn tagged(key: &str, value: &str) -> Does {
    Calls("TagResource", json!({ "SecretId": "app", "Tags": [{ "Key": key, "Value": value }] }))
}

fn moved(stage: &str, to: &str, from: &str) -> Does {
    let body = json!({ "SecretId": "app", "VersionStage": stage, "MoveToVersionId": to, "RemoveFromVersionId": from });
    Calls("UpdateSecretVersionStage", body)
}

async fn happens(stage: &Stage, does: &Does) {
    match does {
        Calls(operation, body) => {
            let mut text = body.to_string();
            if text.contains('$') {
                let described = stage.person("DescribeSecret", json!({ "SecretId": "app" })).await;
                for (id, labels) in described["VersionIdsToStages"].as_object().unwrap() {
                    for (word, label) in [("$current", "AWSCURRENT"), ("$previous", "AWSPREVIOUS")] {
                        if labels.as_array().unwrap().contains(&label.into()) {
                            text = text.replace(word, id);
                        }
                    }
                }
            }
            if text.contains("$first") {
                let all = json!({ "SecretId": "app", "IncludeDeprecated": true });
                let listed = stage.person("ListSecretVersionIds", all).await;
                let age = |one: &&Value| one["CreatedDate"].as_f64().unwrap();
                let first = listed["Versions"].as_array().unwrap().iter().min_by(|a, b| age(a).total_cmp(&age(b)));
                text = text.replace("$first", first.unwrap()["VersionId"].as_str().unwrap());
            }
            stage.person(operation, serde_json::from_str(&text).unwrap()).await;
        }
        Forces(forced) => stage.sandbox.secrets_manager.with_state(|state| {
            let now = stage.sandbox.world.now();
            assert!(state.has(forced, now));
            state.force(forced, now);
        }),
        Passes => stage.patient_pass().await,
        Lives(span) => stage.live(*span, 6 * HOUR).await,
    }
}

struct Case {
    /// Added to the declaration of `app`.
    declared: &'static str,
    /// What happens, before a last pass.
    does: Vec<Does>,
    /// The state, the exit code, the reason.
    leaves: (&'static str, u8, &'static str),
    /// A word of the message or its hint.
    says: &'static str,
    /// Live credentials.
    live: usize,
}

fn case(does: Vec<Does>, leaves: (&'static str, u8, &'static str), says: &'static str, live: usize) -> Case {
    Case { declared: "", does, leaves, says, live }
}

fn declared(declared: &'static str, case: Case) -> Case {
    Case { declared, ..case }
}

fn cases() -> Vec<Case> {
    const ACCEPT: &str = "`keyferry resume app --accept 00000000-0000-4000-8000-000000000001`";
    const BACK: &str = "to go forward again to the newer one: `keyferry rollback app`";
    let delete = || Calls("DeleteSecret", json!({ "SecretId": "app", "RecoveryWindowInDays": 7 }));
    let restore = Calls("RestoreSecret", json!({ "SecretId": "app" }));
    let strip = |keys: Value| Calls("UntagResource", json!({ "SecretId": "app", "TagKeys": keys }));
    let rotated = || vec![Passes, Lives(30 * DAY + 6 * HOUR)];
    let rolled_back = || [rotated(), vec![moved("AWSCURRENT", "$previous", "$current")]].concat();
    let accept = || tagged("keyferry:base", "$current");
    let unpend = Calls(
        "UpdateSecretVersionStage",
        json!({ "SecretId": "app", "VersionStage": "AWSPENDING", "RemoveFromVersionId": format!("{TOKEN}2") }),
    );
    let blocked = |reason| ("blocked", 3, reason);
    let held = |reason| ("held", 4, reason);
    let fine = ("ok", 0, "healthy");
    let absent = "[credential.secret]\ncreate = false\n";
    let take = "takeover = \"rotate\"\n";
    vec![
        // A secret that is there already, and not ours.
        case(vec![created(Some("theirs"))], blocked("not-ours"), "takeover = \"rotate\"", 0),
        case(vec![created(None)], blocked("not-ours"), "takeover = \"rotate\"", 0),
        declared(take, case(vec![created(Some("theirs"))], ("ok", 0, "in-overlap"), "the new value is current", 1)),
        declared(absent, case(vec![], blocked("secret-absent"), "create the secret", 0)),
        declared(absent, case(vec![created(None)], fine, "verified", 1)),
        declared(absent, case(vec![created(Some("theirs"))], blocked("not-ours"), "takeover", 0)),
        // A secret of ours that something else has its hands on.
        case(vec![Passes, delete()], blocked("scheduled-for-deletion"), "restore", 1),
        case(vec![Passes, delete(), Passes, restore], fine, "verified", 1),
        case(vec![Passes, forced(|f| f.rotation_enabled = Some(true))], blocked("native-rotation"), "turn off", 1),
        case(
            vec![Passes, forced(|f| f.kind = Some("SalesforceClientSecret".into()))],
            blocked("managed-elsewhere"),
            "another secret name",
            1,
        ),
        case(
            vec![Passes, forced(|f| f.owning_service = Some("rds".into()))],
            blocked("managed-elsewhere"),
            "another secret name",
            1,
        ),
        case(
            vec![Passes, forced(|f| f.primary_region = Some("eu-west-1".into()))],
            blocked("replica-region"),
            "primary Region",
            1,
        ),
        case(vec![Passes, tagged("keyferry:credential", "other")], blocked("other-owner"), "say whose it is", 1),
        case(vec![Passes, tagged("keyferry:deployment", "other")], blocked("other-owner"), "say whose it is", 1),
        case(vec![Passes, strip(json!(["keyferry:deployment", "keyferry:credential"]))], fine, "verified", 1),
        case(vec![Passes, tagged("keyferry:pause", "2099-01-01T00:00:00Z")], ("paused", 0, "paused"), "paused", 1),
        // A pause that is over is none.
        case(vec![Passes, tagged("keyferry:pause", "1000000000")], fine, "verified", 1),
        case(vec![Passes, tagged("keyferry:pause", "2001-09-09T01:46:40Z")], fine, "verified", 1),
        // Values put, and labels moved, by hand.
        case(vec![Passes, put(1, None)], held("foreign-current"), ACCEPT, 1),
        case(vec![Passes, put(1, None), Lives(40 * DAY)], held("foreign-current"), ACCEPT, 1),
        case(
            vec![Passes, put(1, None), Passes, moved("AWSCURRENT", "$previous", "$current")],
            ("ok", 0, "in-overlap"),
            "the one before is kept in AWS",
            1,
        ),
        case(vec![Passes, put(2, Some("AWSPENDING"))], held("foreign-pending"), "AWSPENDING", 1),
        case(vec![Passes, put(2, Some("AWSPENDING")), Passes, unpend], fine, "verified", 1),
        case(rolled_back(), held("rolled-back"), BACK, 2),
        case([rolled_back(), vec![Lives(3 * DAY)]].concat(), held("rolled-back"), BACK, 2),
        case([rolled_back(), vec![Passes, accept(), Lives(40 * DAY)]].concat(), fine, "verified", 1),
        case(vec![Passes, put(1, None), Passes, accept(), Lives(40 * DAY)], fine, "verified", 1),
        // Back to a version whose credential is revoked.
        case(
            [rotated(), vec![Lives(2 * DAY), moved("AWSCURRENT", "$first", "$current")]].concat(),
            ("held", 6, "dead-current"),
            "nothing can bring a revoked credential back",
            1,
        ),
    ]
}

#[tokio::test]
async fn whatever_people_do_to_a_secret_is_told_respected_and_survived() {
    for (at, case) in cases().into_iter().enumerate() {
        let stage = Stage::with(&format!("{}{}", credential("app"), case.declared)).await;
        for does in &case.does {
            happens(&stage, does).await;
        }
        let created = stage.sandbox.keycard().credentials().len();
        stage.patient_pass().await;
        let shown = shown(&stage);
        println!("{at}: {} {} {}\n  {}", shown.state, shown.code, shown.reason, shown.text);
        assert_eq!((shown.state, shown.code, shown.reason), case.leaves, "{at}: {}", shown.text);
        assert!(shown.text.contains(case.says), "{at} does not say `{}`: {}", case.says, shown.text);
        assert!(shown.hinted || shown.code == 0, "{at} has no hint: {}", shown.text);
        assert_eq!(stage.live_credentials(), case.live, "{at}");
        let parked = matches!(shown.state, "blocked" | "held" | "paused");
        assert!(!parked || stage.sandbox.keycard().credentials().len() == created, "{at}: made although parked");
    }
}

#[tokio::test]
async fn a_secret_deleted_for_good_is_made_again_and_its_credential_stays_visible() {
    let stage = Stage::one().await;
    stage.pass().await;
    stage.person("DeleteSecret", json!({ "SecretId": "app", "ForceDeleteWithoutRecovery": true })).await;
    stage.clock.advance(HOUR);
    stage.live(2 * HOUR, HOUR / 2).await;
    let shown = shown(&stage);
    assert_eq!((shown.state, shown.code), ("ok", 0), "{}", shown.text);
    assert_eq!(stage.live_credentials(), 2, "the old one has another secret's mark");
    look(&stage).await;
    assert_eq!(stage.status("app").foreign, 1, "and is reported");
}

/// As the daemon does every few hours: with the vendor's listing.
async fn look(stage: &Stage) {
    let all = stage.engine.declaration().credentials.clone();
    stage.engine.visit_all(all, Visit { vendor: AskVendor::Always, ..Visit::default() }, |_, _| {}).await;
}

#[tokio::test]
async fn a_current_credential_that_somebody_ends_is_told_and_replaced() {
    let stage = Stage::one().await;
    stage.pass().await;
    stage.clock.advance(HOUR);
    look(&stage).await;
    assert_eq!(shown(&stage).code, 0);
    let id = stage.status("app").published.unwrap().id.unwrap();
    stage.end_at_keycard(id.as_str()).await;
    // Nothing can be made in its place for now: consumers fail, and that is told.
    let full = Effect::Refuse { status: 409, code: "conflict".into() };
    let (service, operation) = ("keycard".into(), "create_credential".into());
    stage.sandbox.add_fault(Rule { service, operation, skip: 0, times: 0, chance: 1.0, effect: full });
    look(&stage).await;
    for _ in 0..2 {
        let shown = shown(&stage);
        assert_eq!(shown.code, 6, "{}", shown.text);
        // A pass that sees nothing new forgets nothing.
        stage.patient_pass().await;
    }
    stage.sandbox.world.faults.lock().unwrap().clear();
    // What was begun in vain is closed and looked for first.
    stage.live(2 * HOUR, HOUR / 3).await;
    look(&stage).await;
    let shown = shown(&stage);
    assert_eq!((shown.state, shown.code), ("ok", 0), "{}", shown.text);
    stage.live(3 * DAY, 6 * HOUR).await;
    assert_eq!(stage.live_credentials(), 1, "the dead one's lease is ended, too");
    assert_eq!(stage.status("app").published.unwrap().live, 1);
}

#[tokio::test]
async fn a_vendor_that_lists_what_it_does_not_know_any_more_is_asked_once_a_visit() {
    let stage = Stage::one().await;
    stage.pass().await;
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    let gone = Effect::Refuse { status: 404, code: "not_found".into() };
    let (service, operation) = ("keycard".into(), "delete_credential".into());
    stage.sandbox.add_fault(Rule { service, operation, skip: 0, times: 0, chance: 1.0, effect: gone });
    stage.clock.advance(26 * HOUR);
    stage.pass().await;
    stage.clock.advance(HOUR);
    let before = deletes(&stage);
    stage.pass().await;
    assert_eq!(deletes(&stage) - before, 1);
    assert_eq!((shown(&stage).state, shown(&stage).code), ("working", 0), "{}", shown(&stage).text);
    assert_eq!(stage.status("app").published.unwrap().live, 2, "still tracked");
    stage.sandbox.world.faults.lock().unwrap().clear();
    stage.live(6 * HOUR, HOUR).await;
    assert_eq!((shown(&stage).state, stage.live_credentials()), ("ok", 1));
}

fn deletes(stage: &Stage) -> u64 {
    let calls = stage.sandbox.keycard().call_counts();
    calls.iter().filter(|one| one.operation == "delete_credential").map(|one| one.count).sum()
}

#[tokio::test]
async fn a_fresh_credential_that_the_vendor_does_not_list_yet_is_not_dead() {
    let stage = Stage::one().await;
    let slow = keyferry::sandbox::keycard::settings::Settings { read_lag_s: 300, ..Default::default() };
    stage.sandbox.keycard().set_settings(slow);
    stage.pass().await;
    look(&stage).await;
    assert_eq!((stage.status("app").dead, shown(&stage).code), (false, 0));
}

#[tokio::test]
async fn strangers_in_the_same_application_are_counted_and_never_touched() {
    let stage = Stage::one().await;
    let seed = |name| stage.sandbox.keycard().seed_credential("production", "app", name).unwrap();
    seed(Some("by-a-person"));
    seed(Some("kf-0123456789ab-00000000-0000-5000-8000-000000000000"));
    seed(None);
    stage.pass().await;
    stage.live(70 * DAY, 6 * HOUR).await;
    look(&stage).await;
    assert_eq!((stage.status("app").foreign, shown(&stage).code), (3, 0));
    assert_eq!(stage.live_credentials(), 4);
    assert_eq!(stage.failures(), 0);
}

#[tokio::test]
async fn another_account_is_refused_before_anything_is_looked_at() {
    let edit = |declaration: String| declaration.replace("[aws]\n", "[aws]\naccount = \"999988887777\"\n");
    let stage = Stage::edited(&credential("app"), edit).await;
    // A pass, and a visit without one, as the daemon's when a date has come.
    stage.patient_pass().await;
    look(&stage).await;
    let shown = shown(&stage);
    assert_eq!((shown.state, shown.code, shown.reason), ("blocked", 3, "not-seen"));
    for word in ["111122223333", "999988887777", "arn:aws:"] {
        assert!(shown.text.contains(word), "{word}: {}", shown.text);
    }
    let asked = stage.sandbox.world.journal().totals;
    let others: Vec<_> = asked.keys().filter(|call| !call.contains("GetCallerIdentity")).collect();
    assert!(others.iter().all(|call| call.contains("GetSecretValue")), "only the consumer asks: {others:?}");
    assert_eq!((stage.writes(), stage.vendor_calls()), (0, 0));

    let right = |declaration: String| declaration.replace("[aws]\n", "[aws]\naccount = \"111122223333\"\n");
    let stage = Stage::edited(&credential("app"), right).await;
    for _ in 0..3 {
        stage.pass().await;
    }
    assert_eq!(stage.sandbox.world.total("aws", "GetCallerIdentity"), 1, "once a process");
}
