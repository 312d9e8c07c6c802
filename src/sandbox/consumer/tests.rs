//! What counts as a failure, and what is only trouble on the way.

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;

use super::*;
use crate::sandbox::faults::Effect;
use crate::sandbox::keycard::tests::Stage;

/// A Secrets Manager of one answer: status and body.
type Desk = Arc<Mutex<(u16, Value)>>;

async fn secrets_manager() -> (String, Desk, Arc<Mutex<Vec<HeaderMap>>>) {
    let desk: Desk = Arc::new(Mutex::new((400, json!({ "__type": "ResourceNotFoundException" }))));
    let seen: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let (at_desk, noted) = (Arc::clone(&desk), Arc::clone(&seen));
    let answering = move |request: Request| {
        noted.lock().unwrap().push(request.headers().clone());
        let (status, body) = at_desk.lock().unwrap().clone();
        async move { (axum::http::StatusCode::from_u16(status).unwrap(), body.to_string()) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answering)).await });
    (address, desk, seen)
}

struct Scene {
    stage: Stage,
    consumer: Arc<Consumer>,
    desk: Desk,
    calls: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Scene {
    async fn open() -> Self {
        let stage = Stage::open().await;
        let (secrets_endpoint, desk, calls) = secrets_manager().await;
        let options = Options { secrets_endpoint, ..Options::default() };
        let consumer = Arc::new(Consumer::new(stage.clock.clone(), options));
        consumer.watch(Watch::new("billing", stage.keycard.token_endpoint("production").unwrap()));
        Self { stage, consumer, desk, calls }
    }

    fn publish(&self, identifier: &str) {
        let pair = self.stage.keycard.seed_credential("production", "billing-worker", Some(identifier));
        let (id, secret) = pair.unwrap();
        let text = json!({ "client_id": id, "client_secret": secret }).to_string();
        self.answer(200, json!({ "SecretString": text }));
    }

    fn answer(&self, status: u16, body: Value) {
        *self.desk.lock().unwrap() = (status, body);
    }

    async fn revoke(&self, identifier: &str) {
        let facts = self.stage.keycard.credentials();
        let fact = facts.iter().find(|fact| fact.identifier == identifier).unwrap();
        assert_eq!(self.stage.delete(&fact.id).await, 204);
    }

    /// One round, then (reads, logins, failures, waiting, troubles).
    async fn round(&self) -> (u64, u64, u64, u64, u64) {
        self.consumer.round().await;
        let tally = &self.consumer.tally()[0];
        (tally.reads, tally.logins, tally.failures, tally.waiting, tally.troubles)
    }
}

#[tokio::test]
async fn it_waits_for_the_secret_then_reads_keeps_and_logs_in() {
    let scene = Scene::open().await;
    assert_eq!(scene.round().await, (0, 0, 0, 1, 0));
    scene.publish("kf-1");
    assert_eq!(scene.round().await, (1, 1, 0, 1, 0));
    assert_eq!(scene.round().await, (1, 2, 0, 1, 0));
    scene.stage.clock.advance(300);
    assert_eq!(scene.round().await, (2, 3, 0, 1, 0));
    let headers = scene.calls.lock().unwrap()[0].clone();
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(text("x-amz-target"), "secretsmanager.GetSecretValue");
    assert_eq!(text("x-amz-date"), "20260921T141320Z");
    let signed = text("authorization");
    let start = "AWS4-HMAC-SHA256 Credential=sandbox/20260921/eu-central-1/secretsmanager/aws4_request, ";
    assert!(signed.starts_with(start) && signed.rsplit('=').next().unwrap().len() == 64, "{signed}");
}

#[tokio::test]
async fn a_value_revoked_within_its_time_is_a_failure_and_one_past_it_is_not() {
    let scene = Scene::open().await;
    scene.publish("kf-1");
    assert_eq!(scene.round().await, (1, 1, 0, 0, 0));
    scene.publish("kf-2");
    scene.stage.clock.advance(300);
    scene.revoke("kf-1").await;
    assert_eq!(scene.round().await, (2, 2, 0, 0, 0), "past its time it reads the new one first");
    scene.publish("kf-3");
    scene.stage.clock.advance(299);
    scene.revoke("kf-2").await;
    assert_eq!(scene.round().await, (2, 2, 1, 0, 0));
    let failure = scene.consumer.tally()[0].first_failure.clone().unwrap();
    assert!(failure.reason.contains("invalid_client") && failure.at.starts_with("2026-"), "{failure:?}");
    assert_eq!(scene.round().await, (3, 3, 1, 0, 0), "and recovers with the new one");
}

#[tokio::test]
async fn losing_the_current_value_is_a_failure_and_trouble_on_the_way_is_not() {
    let scene = Scene::open().await;
    scene.publish("kf-1");
    for effect in [Effect::DropBefore, Effect::FailAfter, Effect::Throttle { retry_after: None }] {
        scene.stage.fault("zone_token", 1, effect);
    }
    assert_eq!(scene.round().await, (1, 1, 0, 0, 0), "the fourth try goes well");
    scene.stage.fault("zone_token", 4, Effect::DropAfter);
    assert_eq!(scene.round().await, (1, 1, 0, 0, 1));
    scene.stage.clock.advance(300);
    for (status, code) in [(400, "ThrottlingException"), (500, "InternalServiceError")] {
        scene.answer(status, json!({ "__type": code }));
        let troubles = scene.consumer.tally()[0].troubles;
        assert_eq!(scene.round().await, (1, 1, 0, 0, troubles + 1), "{code}");
    }
    scene.answer(400, json!({ "__type": "ResourceNotFoundException" }));
    assert_eq!(scene.round().await, (1, 1, 1, 0, 3));
    scene.answer(200, json!({ "SecretString": "plain" }));
    assert_eq!(scene.round().await, (2, 1, 2, 0, 3));
    assert_eq!(scene.consumer.failure_count(), 2);
}

#[tokio::test]
async fn it_goes_round_until_told_to_stop() {
    let scene = Scene::open().await;
    scene.publish("kf-1");
    let consumer = Arc::clone(&scene.consumer);
    let enough = async {
        while consumer.tally()[0].logins < 20 {
            tokio::task::yield_now().await;
        }
    };
    run(Arc::clone(&scene.consumer), enough).await;
    let tally = scene.consumer.tally()[0].clone();
    assert!((2..=3).contains(&tally.reads), "every 30 s, kept for 300 s: {tally:?}");
    let text = serde_json::to_string(&tally).unwrap();
    assert!(!text.contains(crate::sandbox::keycard::CANARY), "{text}");
}
