//! Keycard's five types from declaration to end, and what an edit of the declaration does to each.

use std::sync::Arc;
use std::time::Duration;

use keyferry::engine::Engine;
use keyferry::engine::reconcile::{AskVendor, Visit};
use keyferry::model::attempt::Cause;
use keyferry::model::name::Name;
use keyferry::rotation::Reason;
use keyferry::rotation::Step;
use keyferry::sandbox::faults::{Effect, Rule};
use keyferry::sandbox::keycard::CredentialFact;
use serde_json::{Value, json};

use crate::stage::{Stage, credential};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// A declared credential named `app` of this type, in this application.
fn typed(kind: &str, application: &str, more: &str) -> String {
    format!(
        "[[credential]]\nname = \"app\"\nvendor = \"keycard\"\ntype = \"{kind}\"\napplication = \"{application}\"\n{more}\n"
    )
}

fn live(stage: &Stage) -> Vec<CredentialFact> {
    let all = stage.sandbox.keycard().credentials().into_iter().filter(|one| one.deleted.is_none());
    // The consumer's logins are not what is looked at here.
    all.map(|one| CredentialFact { last_login: None, login_count: 0, ..one }).collect()
}

/// The stored value, as JSON, and the secret's tags.
async fn secret(stage: &Stage) -> (Value, Vec<(String, String)>) {
    let value = stage.person("GetSecretValue", json!({"SecretId": "app"})).await;
    let value = serde_json::from_str(value["SecretString"].as_str().unwrap()).unwrap();
    let described = stage.person("DescribeSecret", json!({"SecretId": "app"})).await;
    let text = |tag: &Value, name: &str| tag[name].as_str().unwrap().to_owned();
    let tags = described["Tags"].as_array().unwrap().iter().map(|tag| (text(tag, "Key"), text(tag, "Value")));
    (value, tags.collect())
}

/// How many places the tags tell of.
fn dwellings(tags: &[(String, String)]) -> usize {
    tags.iter().filter(|(key, _)| key.starts_with("keyferry:dwelling:")).count()
}

/// What a plan would do first to `app`, and what it could not look at.
async fn plan(stage: &Stage) -> (&'static str, Option<String>) {
    let declared = &stage.engine.declaration().credentials;
    let own = declared.iter().find(|one| one.name == Name::new("app").unwrap()).unwrap();
    let visited = stage.engine.reconcile(own, Visit { dry: true, vendor: AskVendor::Always, request: None }).await;
    let fault = visited.status.fault.map(|fault| fault.to_string());
    (visited.planned.as_ref().map_or("nothing", |decision| decision.step().map_or("wait", Step::word)), fault)
}

#[tokio::test]
async fn each_type_is_made_proved_and_stored_and_what_holds_no_secret_stays() {
    for (kind, more, keys) in [
        ("password", "", vec!["client_id", "client_secret"]),
        ("public", "", vec!["client_id", "issuer", "token_endpoint"]),
        ("public-key", "jwks_uri = \"https://k.example/jwks\"", vec!["client_id", "jwks_uri", "token_endpoint"]),
        ("token", "provider = \"ci\"\nsubject = \"repo:x\"", vec!["identifier", "provider_id", "token_endpoint"]),
        ("token", "provider = \"ci\"", vec!["identifier", "provider_id", "issuer"]),
        ("url", "url = \"https://c.example/client.json\"", vec!["client_id", "issuer", "credential_id"]),
    ] {
        let stage = Stage::with(&typed(kind, "app", more)).await;
        stage.pass().await;
        let status = stage.status("app");
        assert!(status.fault.is_none() && status.published.is_some_and(|one| one.verified), "{kind}");
        let (value, _) = secret(&stage).await;
        for key in keys {
            assert!(value[key].as_str().is_some_and(|text| !text.is_empty()), "{kind}: {key} in {value}");
        }
        let made = live(&stage);
        assert_eq!((made.len(), made[0].kind), (1, kind));
        stage.live(100 * DAY, DAY).await;
        let now = live(&stage);
        let rotated = now.iter().all(|one| one.id != made[0].id);
        assert_eq!(rotated, kind == "password", "{kind}");
        assert_eq!(stage.failures(), 0);
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_stops_before_anything_is_made() {
    let mut stage = Stage::with(&typed("token", "app", "provider = \"ci\"")).await;
    stage.pass().await;
    let nobody = typed("token", "app", "provider = \"not-seeded\"");
    let before = (stage.writes(), live(&stage));
    stage.redeclare_unseeded(&nobody).await;
    stage.patient_pass().await;
    let fault = stage.status("app").fault.unwrap().to_string();
    assert!(fault.starts_with("resolving provider `not-seeded`"), "{fault}");
    assert_eq!((stage.writes(), live(&stage)), before);
}

#[tokio::test]
async fn an_edit_makes_a_new_one_before_the_old_one_goes() {
    let key = |path: &str| format!("jwks_uri = \"https://k.example/{path}\"");
    let url = |path: &str| format!("url = \"https://c.example/{path}\"");
    let token = |text: &str| text.to_owned();
    // From, to, and the identifier of what is made then; `None` for our mark.
    for (from, to, identifier) in [
        (("password", "app", String::new()), ("password", "other", String::new()), None),
        (("public", "app", String::new()), ("public", "other", String::new()), None),
        (("public-key", "app", key("a")), ("public-key", "app", key("b")), None),
        (
            ("token", "app", token("provider = \"ci\"")),
            ("token", "app", token("provider = \"ci\"\nsubject = \"s\"")),
            Some("s"),
        ),
        (("token", "app", token("provider = \"ci\"")), ("token", "app", token("provider = \"cd\"")), Some("*")),
        (("token", "app", token("provider = \"ci\"")), ("token", "other", token("provider = \"ci\"")), Some("*")),
        (("url", "app", url("a")), ("url", "app", url("b")), Some("https://c.example/b")),
        (("password", "app", String::new()), ("public-key", "app", key("a")), None),
    ] {
        let what = format!("{from:?} to {to:?}");
        let mut stage = Stage::with(&typed(from.0, from.1, &from.2)).await;
        stage.pass().await;
        let (old, old_value) = (live(&stage).remove(0), secret(&stage).await.0);
        stage.clock.advance(2 * DAY);
        stage.redeclare(&typed(to.0, to.1, &to.2)).await;
        assert_eq!(plan(&stage).await, ("move", None), "{what}");
        stage.pass().await;
        assert_eq!(stage.status("app").reason, Reason::InOverlap, "{what}");
        let both = live(&stage);
        assert_eq!(both.len(), 2, "{what}: the old one lives through the overlap");
        let new = both.iter().find(|one| one.id != old.id).unwrap();
        assert_eq!((new.kind, new.application.as_str()), (to.0, to.1), "{what}");
        match identifier {
            Some(identifier) => assert_eq!(new.identifier, identifier, "{what}"),
            None => assert!(new.identifier.starts_with("kf-"), "{what}"),
        }
        let (value, tags) = secret(&stage).await;
        assert_ne!(value, old_value, "{what}");
        assert_eq!(dwellings(&tags), 2, "{what}");
        stage.live(26 * HOUR, HOUR / 2).await;
        let rest = live(&stage);
        assert_eq!((rest.len(), &rest[0].id), (1, &new.id), "{what}: the old one is gone");
        let (_, tags) = secret(&stage).await;
        assert_eq!(dwellings(&tags), 1, "{what}");
        assert_eq!(stage.status("app").fault, None, "{what}");
        // Who was made to be another kind of client can't log in as before.
        assert!(stage.failures() == 0 || from.0 != to.0, "{what}");
        assert!(stage.engine.sort().await.wanted.is_empty(), "{what}: at rest");
        let calls = stage.sandbox.keycard().call_counts();
        assert!(calls.iter().all(|one| one.operation != "patch_credential"), "{what}: nothing is changed in place");
    }
}

#[tokio::test]
async fn another_zone_is_another_place_and_the_old_credential_is_ended_where_it_lives() {
    let mut stage = Stage::one().await;
    stage.pass().await;
    let old = live(&stage).remove(0);
    stage.sandbox.keycard().seed_application("staging", "app");
    stage.clock.advance(DAY);
    stage.redeclare(&typed("password", "app", "zone = \"staging\"")).await;
    stage.live(27 * HOUR, HOUR / 2).await;
    let rest = live(&stage);
    assert_eq!((rest.len(), rest[0].zone.as_str()), (1, "staging"));
    assert_ne!(rest[0].id, old.id);
    assert_eq!(dwellings(&secret(&stage).await.1), 1);
}

#[tokio::test]
async fn a_place_that_is_not_there_is_not_moved_to_and_an_edit_can_be_taken_back() {
    let mut stage = Stage::one().await;
    stage.pass().await;
    stage.clock.advance(DAY);
    let before = (stage.writes(), live(&stage));
    stage.redeclare(&typed("password", crate::stage::NOT_AT_KEYCARD, "")).await;
    let (step, fault) = plan(&stage).await;
    assert!(fault.is_some_and(|fault| fault.contains("there is none with this slug or id")), "{step}");
    stage.patient_pass().await;
    assert_eq!((stage.writes(), live(&stage)), before, "nothing was touched");
    // Taken back half-way: the move is written, and the new one made; and a third place before that
    // is finished. All three are looked after.
    stage.redeclare(&typed("password", "other", "")).await;
    stage.pass().await;
    stage.redeclare(&typed("password", "third", "")).await;
    assert_eq!(plan(&stage).await, ("wait", None), "another replica may still go by the one before");
    stage.clock.advance(DAY);
    stage.patient_pass().await;
    assert_eq!(dwellings(&secret(&stage).await.1), 3);
    for (declared, application) in [(typed("password", "third", ""), "third"), (credential("app"), "app")] {
        stage.redeclare(&declared).await;
        stage.live(60 * HOUR, HOUR / 2).await;
        let rest = live(&stage);
        assert_eq!((rest.len(), rest[0].application.as_str()), (1, application));
        assert_eq!(dwellings(&secret(&stage).await.1), 1);
    }
    assert_eq!(stage.failures(), 0);
}

#[tokio::test]
async fn a_type_that_is_told_from_others_in_another_way_is_refused() {
    let mut stage = Stage::one().await;
    stage.pass().await;
    let before = (stage.writes(), live(&stage));
    stage.redeclare(&typed("token", "app", "provider = \"ci\"")).await;
    stage.patient_pass().await;
    let status = stage.status("app");
    assert_eq!((status.reason, status.word(), status.exit_code()), (Reason::OtherPlace, "blocked", 3));
    assert_eq!((stage.writes(), live(&stage)), before);
}

#[tokio::test]
async fn an_application_that_was_deleted_took_its_credentials_with_it() {
    let mut stage = Stage::one().await;
    stage.pass().await;
    stage.clock.advance(DAY);
    stage.sandbox.keycard().end_application("production", "app");
    stage.redeclare(&typed("password", "other", "")).await;
    stage.live(27 * HOUR, HOUR / 2).await;
    let rest = live(&stage);
    assert_eq!((rest.len(), rest[0].application.as_str()), (1, "other"));
    assert_eq!((stage.status("app").reason, stage.status("app").fault), (Reason::Healthy, None));
    assert_eq!(dwellings(&secret(&stage).await.1), 1);
}

#[tokio::test]
async fn what_somebody_changed_at_the_vendor_is_replaced_at_the_next_look_there() {
    let stage = Stage::with(&typed("token", "app", "provider = \"ci\"\nsubject = \"good\"")).await;
    stage.pass().await;
    stage.clock.advance(DAY);
    stage.sandbox.keycard().change_subject(&live(&stage)[0].id, Some("evil"));
    assert_eq!(plan(&stage).await, ("claim", None));
    let look = Visit { vendor: AskVendor::Always, ..Visit::default() };
    stage.engine.visit_all(stage.engine.declaration().credentials.clone(), look, |_, _| {}).await;
    assert!(live(&stage).iter().any(|one| one.identifier == "good"), "{:?}", stage.status("app").fault);
    stage.live(27 * HOUR, HOUR / 2).await;
    let rest: Vec<_> = live(&stage).into_iter().map(|one| one.identifier).collect();
    assert_eq!(rest, ["good"]);
}

/// Calls of a move; each fails at its first time.
const CALLS: [(&str, &str); 11] = [
    ("aws", "DescribeSecret"),
    ("aws", "ListSecretVersionIds"),
    ("aws", "GetSecretValue"),
    ("aws", "PutSecretValue"),
    ("aws", "UpdateSecretVersionStage"),
    ("aws", "TagResource"),
    ("aws", "UntagResource"),
    ("keycard", "list_credentials"),
    ("keycard", "create_credential"),
    ("keycard", "zone_token"),
    ("keycard", "delete_credential"),
];

/// One secret is moved to another application in bad weather, by one replica or, while the old
/// declaration is still about, by two; then all must come to rest in the new place.
async fn move_under(what: &str, rule: Rule, replicas: bool) {
    let mut stage = Stage::one().await;
    stage.pass().await;
    stage.clock.advance(40 * DAY);
    stage.sandbox.add_fault(rule);
    let old: Arc<Engine> = Arc::clone(&stage.engine);
    stage.redeclare(&typed("password", "other", "")).await;
    for _ in 0..6 {
        let behind = async {
            if replicas {
                let wanted = old.sort().await.wanted;
                old.visit_all(wanted, Visit::default(), |_, _| {}).await;
            }
        };
        tokio::join!(behind, stage.patient_pass());
        stage.clock.advance(10 * MINUTE);
    }
    for _ in 0..28 {
        stage.clock.advance(2 * HOUR);
        stage.patient_pass().await;
    }
    let rest = live(&stage);
    assert_eq!(rest.len(), 1, "{what}: {rest:?} {:?}", stage.status("app"));
    assert_eq!(rest[0].application, "other", "{what}");
    let (_, tags) = secret(&stage).await;
    assert_eq!(dwellings(&tags), 1, "{what}");
    assert_eq!(stage.failures(), 0, "{what}");
    assert_eq!(stage.status("app").fault, None, "{what}");
}

async fn faults(replicas: bool) {
    let every = [Effect::DropAfter, Effect::Stale];
    let effects = if replicas { &every[..1] } else { &every[..] };
    for (service, operation) in CALLS {
        for effect in effects {
            if *effect == Effect::Stale && operation == "zone_token" {
                continue;
            }
            let (service, operation) = (service.to_owned(), operation.to_owned());
            let rule = Rule { service, operation, skip: 0, times: 1, chance: 1.0, effect: effect.clone() };
            move_under(&format!("{rule:?} replicas: {replicas}"), rule, replicas).await;
        }
    }
}

#[tokio::test]
async fn one_fault_at_any_call_of_a_move_leaves_one_credential_in_the_new_place() {
    faults(false).await;
}

#[tokio::test]
async fn a_replica_that_knows_the_old_declaration_only_leaves_nothing_behind() {
    faults(true).await;
}

#[tokio::test]
async fn a_subject_that_is_narrowed_ends_the_wider_one_at_once_where_a_person_says_so() {
    let mut stage = Stage::with(&typed("token", "app", "provider = \"ci\"")).await;
    stage.pass().await;
    stage.clock.advance(2 * DAY);
    stage.redeclare(&typed("token", "app", "provider = \"ci\"\nsubject = \"s\"")).await;
    stage.pass().await;
    let subjects = |stage: &Stage| live(stage).into_iter().map(|one| one.identifier).collect::<Vec<_>>();
    assert_eq!(subjects(&stage), ["*", "s"]);
    stage.clock.advance(HOUR);
    let all = stage.engine.declaration().credentials.clone();
    let visit = Visit { request: Some(Cause::Leaked), ..Visit::default() };
    stage.engine.visit_all(all, visit, |_, _| {}).await;
    assert_eq!(subjects(&stage), ["s"]);
}
