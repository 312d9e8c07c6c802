//! A declared client is minted, stored, verified, promoted, overlapped and revoked, end to end; and
//! the counts that are promised.

use std::time::Duration;

use keyferry::rotation::Reason;

use crate::stage::{Stage, credential};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_first_value_takes_two_writes_and_is_proved_before_it_is_published() {
    let stage = Stage::one().await;
    stage.pass().await;
    let status = stage.status("app");
    assert_eq!((status.reason, status.fault), (Reason::Healthy, None));
    assert!(status.published.is_some_and(|published| published.verified && published.live == 1));
    let total = |operation| stage.sandbox.world.total("aws", operation);
    assert_eq!((total("CreateSecret"), total("PutSecretValue")), (1, 1), "all that it takes until consumers can read");
    assert_eq!(stage.writes(), 4, "and two to tidy up: AWSPENDING and the bootstrap tag");
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0));
    assert_eq!(stage.sandbox.consumed(), (1, 0), "the consumer logged in with it");
}

#[tokio::test]
async fn a_rotation_takes_seven_writes_and_nobody_notices() {
    let stage = Stage::one().await;
    stage.pass().await;
    let first = stage.status("app").published.unwrap().id;
    stage.clock.advance(30 * DAY - HOUR);
    // The date of the last comparison with the vendor is a tag: one write in six hours.
    let writes = || stage.writes() - stage.sandbox.world.total("aws", "TagResource");
    let before = writes();
    stage.pass().await;
    assert_eq!(writes(), before, "it is not due");
    stage.clock.advance(HOUR);
    stage.pass().await;
    let status = stage.status("app");
    assert_eq!((status.reason, status.fault), (Reason::InOverlap, None));
    assert_ne!(status.published.as_ref().unwrap().id, first, "another credential is current");
    assert_eq!(writes() - before, 5, "claim, put, promote, and two to tidy up");
    assert_eq!(stage.live_credentials(), 2, "both work during the overlap");

    stage.live(25 * HOUR - MINUTE, HOUR / 2).await;
    assert_eq!(stage.live_credentials(), 2, "an hour for the candidate and a day of overlap");
    stage.live(HOUR, 5 * MINUTE).await;
    assert_eq!(stage.live_credentials(), 1, "the old one is revoked");
    assert!(stage.sandbox.world.total("aws", "TagResource") <= 6, "a month, an overlap of a day and an hour");
    assert_eq!(writes() - before, 7, "and AWSPREVIOUS and the lease taken off");
    assert_eq!((stage.status("app").reason, stage.failures()), (Reason::Healthy, 0));
}

#[tokio::test]
async fn a_pass_over_an_idle_fleet_costs_one_call_per_hundred_secrets() {
    let names: Vec<String> = (0..205).map(|number| format!("app-{number}")).collect();
    let mut stage = Stage::with(&names.iter().map(|name| credential(name)).collect::<String>()).await;
    stage.pass().await;
    assert_eq!(stage.live_credentials(), 205);
    for cold in [false, true] {
        if cold {
            stage.restart().await;
        }
        let (aws, vendor) = (stage.aws_calls(), stage.vendor_calls());
        let sorted = stage.engine.sort().await;
        assert!(sorted.wanted.is_empty(), "cold start: {cold}");
        assert_eq!((stage.aws_calls() - aws, stage.vendor_calls() - vendor), (3, 0), "cold start: {cold}");
        assert_eq!(stage.engine.board().all().len(), 205);
    }
}

#[tokio::test]
async fn what_was_due_while_nobody_ran_is_done_once_and_what_was_not_is_left() {
    let stage = Stage::one().await;
    stage.pass().await;
    stage.clock.advance(200 * DAY);
    stage.pass().await;
    assert_eq!(stage.live_credentials(), 2, "one rotation, however many were missed");
    stage.live(2 * DAY, HOUR).await;
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0));
}

#[tokio::test]
async fn two_replicas_share_the_work_without_a_word() {
    let mut stage = Stage::one().await;
    let first = std::sync::Arc::clone(&stage.engine);
    stage.restart().await;
    let second = std::sync::Arc::clone(&stage.engine);
    for _ in 0..40 {
        for engine in [&first, &second] {
            let wanted = engine.sort().await.wanted;
            engine.visit_all(wanted, keyferry::engine::reconcile::Visit::default(), |_, _| {}).await;
            stage.sandbox.consumer.round().await;
            assert!(stage.live_credentials() <= 5);
        }
        stage.clock.advance(2 * DAY);
    }
    stage.live(2 * DAY, HOUR).await;
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0));
}

#[tokio::test]
async fn a_declaration_that_moved_elsewhere_touches_nothing() {
    let mut stage = Stage::one().await;
    stage.pass().await;
    // As an older keyferry left it.
    stage.person("UntagResource", serde_json::json!({"SecretId": "app", "TagKeys": ["keyferry:at"]})).await;
    stage.redeclare(&credential("app").replace("application = \"app\"", "application = \"other\"")).await;
    stage.clock.advance(60 * DAY);
    let before = (stage.writes(), stage.vendor_calls());
    stage.pass().await;
    let status = stage.status("app");
    assert_eq!((status.reason, status.word(), status.exit_code()), (Reason::OtherPlace, "blocked", 3));
    assert_eq!(stage.writes(), before.0, "the live credential would not be found there, and so be forgotten");
    stage.redeclare(&credential("app")).await;
    stage.pass().await;
    assert_eq!(stage.live_credentials(), 2, "put back, it goes on");
}

#[tokio::test]
async fn without_the_right_to_list_each_secret_is_looked_at_by_name() {
    let mut stage = Stage::one().await;
    stage.redeclare(&credential("app")).await;
    stage.declare_head("discovery = \"declared\"\n").await;
    stage.pass().await;
    assert_eq!(stage.status("app").reason, Reason::Healthy);
    assert_eq!(stage.sandbox.world.total("aws", "ListSecrets"), 0);
}

#[tokio::test]
async fn what_was_revoked_behind_our_back_ends_its_lease_without_a_storm_of_deletes() {
    use keyferry::sandbox::faults::{Effect, Rule};
    let stage = Stage::one().await;
    stage.pass().await;
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    // Every reply to a delete is lost: the credential dies, and its lease does not know.
    stage.sandbox.add_fault(Rule {
        service: "keycard".into(),
        operation: "delete_credential".into(),
        skip: 0,
        times: 1,
        chance: 1.0,
        effect: Effect::DropAfter,
    });
    stage.live(26 * HOUR, HOUR).await;
    let deletes = stage.sandbox.keycard().call_counts();
    let deletes: u64 = deletes.iter().filter(|one| one.operation == "delete_credential").map(|one| one.count).sum();
    let status = stage.status("app");
    assert_eq!((status.reason, &status.fault), (Reason::Healthy, &None));
    assert!(status.published.is_some_and(|published| published.live == 1), "the lease is ended");
    assert_eq!(deletes, 2, "the lost one, and the one that said: not found");
}

#[tokio::test]
async fn an_unreadable_pause_is_a_pause() {
    let stage = Stage::one().await;
    stage.pass().await;
    tag(&stage, "keyferry:pause", "4h").await;
    stage.clock.advance(60 * DAY);
    stage.pass().await;
    let status = stage.status("app");
    assert_eq!((status.reason, status.word(), status.exit_code()), (Reason::Paused, "paused", 0));
    assert_eq!(stage.live_credentials(), 1, "nothing was rotated");
}

/// A person's tag, through the API.
async fn tag(stage: &Stage, key: &str, value: &str) {
    let store = stage.engine.stores().values().next().unwrap();
    let name = keyferry::model::name::SecretName::new("app").unwrap();
    let arn = store.observe(&name).await.unwrap().unwrap().arn;
    store.tag(&arn, &[(key, value)], store.fence_now()).await.unwrap();
}
