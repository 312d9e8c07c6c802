//! What lies around the rules: tags and labels that people and tools take off, listings that come
//! late, answers that confirm nothing. Each case was found outside the proof, and lost or killed a
//! credential before.

use std::sync::Arc;
use std::time::Duration;

use keyferry::engine::reconcile::Visit;
use keyferry::model::attempt::Cause;
use keyferry::sandbox::faults::{Effect, Rule};
use keyferry::sandbox::gate::Passed;
use keyferry::sandbox::workos::Kind;
use serde_json::{Value, json};

use crate::stage::{Stage, client_secret, credential};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The tags of a secret, as a person sees them.
async fn tags(stage: &Stage, secret: &str) -> Vec<String> {
    let shown = stage.person("DescribeSecret", json!({ "SecretId": secret })).await;
    let tags = shown["Tags"].as_array().cloned().unwrap_or_default();
    tags.iter().map(|tag| tag["Key"].as_str().unwrap().to_owned()).collect()
}

/// Terraform applies a plan in which nobody wrote keyferry's tags.
async fn strip_tags(stage: &Stage, secret: &str) {
    let keys: Vec<String> = tags(stage, secret).await.into_iter().filter(|key| key.starts_with("keyferry:")).collect();
    assert!(!keys.is_empty());
    stage.person("UntagResource", json!({ "SecretId": secret, "TagKeys": keys })).await;
}

/// Every version with its labels.
async fn versions(stage: &Stage, secret: &str) -> Vec<(String, Vec<String>)> {
    let listed = stage.person("ListSecretVersionIds", json!({ "SecretId": secret, "IncludeDeprecated": true })).await;
    let labels = |version: &Value| {
        let stages = version["VersionStages"].as_array().cloned().unwrap_or_default();
        stages.iter().map(|stage| stage.as_str().unwrap().to_owned()).collect()
    };
    let versions = listed["Versions"].as_array().cloned().unwrap_or_default();
    versions.iter().map(|one| (one["VersionId"].as_str().unwrap().to_owned(), labels(one))).collect()
}

/// How many live credentials a lease tracks.
async fn leases(stage: &Stage, secret: &str) -> usize {
    let all = versions(stage, secret).await;
    all.iter().flat_map(|(_, labels)| labels).filter(|label| label.starts_with("kf-cred:")).count()
}

/// Several fresh processes in turn, each with one pass.
async fn some_passes(stage: &mut Stage, count: u32, step: Duration) {
    for _ in 0..count {
        stage.restart().await;
        stage.clock.advance(step);
        stage.patient_pass().await;
    }
}

/// The tags say where a credential was made; without them the vendor's "not here" says nothing.
#[tokio::test]
async fn a_credential_left_behind_in_another_application_is_never_forgotten() {
    for strips_first in [false, true] {
        let mut stage = Stage::with(&client_secret("app")).await;
        stage.workos().add_application("app-two", Kind::M2m, "org_1");
        stage.pass().await;
        stage.clock.advance(HOUR);
        stage.pass().await;
        let old = stage.workos().secrets()[0].id.clone();
        if strips_first {
            strip_tags(&stage, "app").await;
        }
        let moved = client_secret("app").replace("application = \"app\"", "application = \"app-two\"");
        stage.redeclare_unseeded(&moved).await;
        stage.pass().await;
        if strips_first {
            let asked = Visit { request: Some(Cause::Asked), ..Visit::default() };
            let all = stage.engine.declaration().credentials.clone();
            stage.engine.visit_all(all, asked, |_, _| {}).await;
        } else {
            assert_eq!(stage.live_credentials(), 2, "it moved, and the overlap runs");
            strip_tags(&stage, "app").await;
        }
        some_passes(&mut stage, 4, DAY).await;
        let lives = stage.workos().secrets().iter().any(|one| one.id == old && one.deleted.is_none());
        let tracked = leases(&stage, "app").await;
        assert_eq!(tracked, stage.live_credentials(), "strips first: {strips_first}; the old one lives: {lives}");
        assert_eq!(stage.failures(), 0);
    }
}

/// A person takes the lease's label off the version before: consumers still hold its value.
#[tokio::test]
async fn what_awsprevious_is_on_outlives_the_loss_of_its_label() {
    for declared in [credential("app"), client_secret("app")] {
        let stage = Stage::with(&declared).await;
        stage.pass().await;
        stage.clock.advance(30 * DAY + HOUR);
        stage.pass().await;
        assert_eq!(stage.live_credentials(), 2);
        let all = versions(&stage, "app").await;
        let (previous, labels) = all.iter().find(|(_, labels)| labels.contains(&"AWSPREVIOUS".into())).unwrap();
        let lease = labels.iter().find(|label| label.starts_with("kf-cred:")).unwrap();
        let off = json!({ "SecretId": "app", "VersionStage": lease, "RemoveFromVersionId": previous });
        stage.person("UpdateSecretVersionStage", off).await;
        stage.live(20 * HOUR, HOUR).await;
        assert_eq!(stage.live_credentials(), 2, "within the overlap of a day");
        assert_eq!(stage.failures(), 0);
    }
}

/// A credential that somebody deleted at the vendor is found by whoever looks six hours later, and
/// replaced at once; what was found stands in AWS.
#[tokio::test]
async fn a_published_credential_that_was_deleted_at_the_vendor_is_replaced() {
    let mut stage = Stage::with(&credential("app")).await;
    stage.pass().await;
    let status = stage.status("app");
    let id = status.published.unwrap().id.unwrap();
    stage.end_at_keycard(id.as_str()).await;
    stage.restart().await;
    stage.clock.advance(5 * HOUR);
    stage.patient_pass().await;
    assert_eq!(stage.live_credentials(), 0, "compared every six hours");
    stage.restart().await;
    stage.clock.advance(2 * HOUR);
    stage.patient_pass().await;
    assert_eq!(stage.live_credentials(), 1, "a fresh process compares, too");
    stage.sandbox.consumer.round().await;
    let failures = stage.failures();
    stage.sandbox.consumer.round().await;
    assert_eq!(stage.failures(), failures, "consumers read a value that works again");
}

/// The vendor takes longer to list than a look may be old.
#[tokio::test]
async fn a_listing_that_takes_longer_than_a_minute_stops_no_step_and_counts_for_none() {
    let stage = Stage::with(&client_secret("app")).await;
    stage.pass().await;
    stage.clock.advance(30 * DAY + HOUR);
    stage.pass().await;
    assert_eq!(stage.live_credentials(), 2);
    let slow = Arc::clone(&stage.clock);
    stage.sandbox.world.gate.watch(Arc::new(move |passed: &Passed| {
        if passed.call == "list_client_secrets" {
            slow.advance(Duration::from_secs(90));
        }
    }));
    stage.live(3 * DAY, HOUR).await;
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0), "the old one ends all the same");
    stage.clock.advance(30 * DAY);
    stage.live(3 * DAY, HOUR).await;
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0), "and rotations go on");
    assert_eq!(leases(&stage, "app").await, 1);
}

/// Whatever stands in front of the vendor answers a delete that never arrives there.
#[tokio::test]
async fn a_revoke_that_nothing_proves_ends_no_lease() {
    let answers = [
        (200, "<html>welcome</html>"),
        (200, ""),
        (200, "{}"),
        (200, r#"{"error":"try later"}"#),
        (202, ""),
        (204, ""),
    ];
    for (status, body) in answers {
        let stage = Stage::with(&client_secret("app")).await;
        stage.pass().await;
        stage.clock.advance(30 * DAY + HOUR);
        stage.pass().await;
        stage.sandbox.world.faults.lock().unwrap().add(Rule {
            service: "workos".into(),
            operation: "delete_client_secret".into(),
            skip: 0,
            times: 0,
            chance: 1.0,
            effect: Effect::Pretend { status, body: body.into() },
        });
        stage.live(3 * DAY, 4 * HOUR).await;
        assert_eq!(stage.live_credentials(), 2, "{status} {body}: nothing was deleted");
        assert_eq!(leases(&stage, "app").await, 2, "{status} {body}: so nothing is forgotten");
        stage.sandbox.world.faults.lock().unwrap().clear();
        stage.live(2 * HOUR, 20 * MINUTE).await;
        assert_eq!((stage.live_credentials(), leases(&stage, "app").await, stage.failures()), (1, 1, 0));
    }
}
