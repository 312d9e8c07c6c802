//! The adapter against a scripted responder on loopback: what goes over the wire, to the byte, and
//! what is made of the answers. The strict simulator is another test's business; this one knows no
//! semantics and only plays its script.

mod reads;
mod responder;
mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use self::responder::{Reply, Responder, ok, refuse};
use super::*;
use crate::model::attempt::{Attempt, Cause};
use crate::model::credential::Destination;
use crate::model::fault::{Class, Fault};
use crate::model::label::{Label, Lease, Tracked};
use crate::model::name::{Arn, Deployment, Name, SecretName, VendorId, VersionId};
use crate::model::observed::{Claim, Secret, Version};
use crate::model::payload::Shape;
use crate::model::secret::SecretValue;
use crate::model::time::{Clock, Sleep};

const ARN: &str = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app/key-AbCdEf";
const BASE: &str = "00000000-0000-4000-8000-000000000001";
/// 2026-11-20T12:00:00Z, AWS's date at the start of every test.
const START: i64 = 1_795_176_000;

/// A clock whose wall side is eleven years off and whose monotonic side stands still until told.
#[derive(Default)]
struct Manual(AtomicU64);

impl Manual {
    fn pass(&self, span: Duration) {
        self.0.fetch_add(span.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for Manual {
    fn wall(&self) -> Timestamp {
        Timestamp::from_seconds(START - 11 * 365 * 86_400)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, _: Duration) -> Sleep<'_> {
        Box::pin(std::future::ready(()))
    }
}

struct World {
    responder: Responder,
    clock: Arc<Manual>,
    store: Store,
}

fn target(endpoint_url: &str) -> Target {
    Target {
        name: TargetName::new("main").unwrap(),
        region: None,
        account: Some("111122223333".into()),
        assume_role: None,
        endpoint_url: Some(endpoint_url.into()),
        allow_http: false,
        sts_endpoint_url: Some(endpoint_url.into()),
        credentials: Credentials::Sandbox,
        proxy: None,
        ca_file: None,
        pacing: Pacing {
            writes_percent: 1_000_000,
            reads_percent: 1_000_000,
            read_wait: Duration::ZERO,
            ..Pacing::default()
        },
    }
}

async fn world(script: impl IntoIterator<Item = Reply>) -> World {
    let responder = Responder::start(script).await;
    let clock = Arc::new(Manual::default());
    let store = Store::connect(&target(&responder.url), clock.clone()).await.unwrap();
    World { responder, clock, store }
}

fn arn() -> Arn {
    Arn::new(ARN).unwrap()
}

fn base() -> VersionId {
    VersionId::new(BASE).unwrap()
}

fn attempt() -> Attempt {
    Attempt::derive(&arn(), &Some(base()), 1)
}

fn name() -> SecretName {
    SecretName::new("app/key").unwrap()
}

fn secret(versions: Vec<Version>) -> Secret {
    Secret {
        arn: arn(),
        name: name(),
        versions,
        tags: BTreeMap::new(),
        changed: Timestamp::from_seconds(START),
        obstacle: None,
        replicas: Vec::new(),
        kms_key_id: None,
        description: None,
    }
}

fn published() -> Published {
    let version = Version { id: base(), labels: vec![Label::Current], created: Timestamp::from_seconds(START) };
    Published::of(&secret(vec![version])).unwrap()
}

fn unpublished() -> Unpublished {
    Unpublished::of(&secret(Vec::new())).unwrap()
}

fn lease() -> Lease {
    let tracked = Tracked::of(&VendorId::new("client_1").unwrap());
    Lease { since: Timestamp::from_seconds(START), tracked, made_in: None }
}

fn fence(seconds: i64) -> Fence {
    Fence { signed_at: Timestamp::from_seconds(seconds) }
}

fn put_answer(id: &VersionId) -> Reply {
    ok(json!({"ARN": ARN, "Name": "app/key", "VersionId": id.as_str(), "VersionStages": []}))
}

fn described(labels: &Value) -> Reply {
    ok(json!({"ARN": ARN, "Name": "app/key", "VersionIdsToStages": labels, "CreatedDate": 1_795_000_000.5,
        "LastChangedDate": 1_795_000_100.25, "Tags": [{"Key": "a", "Value": "b"}], "KmsKeyId": "k"}))
}

fn listed(versions: &Value, next: Option<&str>) -> Reply {
    let mut page = json!({"ARN": ARN, "Name": "app/key", "Versions": versions});
    if let Some(token) = next {
        page["NextToken"] = token.into();
    }
    ok(page)
}

/// A date as SigV4 writes it.
fn amz(seconds: i64) -> String {
    Timestamp::from_seconds(seconds).to_utc().format("%Y%m%dT%H%M%SZ").to_string()
}

/// Sends one of each write and gives its result.
async fn send(store: &Store, which: &str) -> Result<Timestamp, Fault> {
    let value = SecretValue::new("the value");
    match which {
        "claim" => {
            let before = vec![VendorId::new("client_0").unwrap()];
            let claim =
                Claim { attempt: attempt(), base: Some(base()), number: 1, cause: Cause::Due, before, note: None };
            store.put_claim(&published(), &claim, "replica-1", "0123456789abcdef").await
        }
        "slot" => store.put_slot(&published(), attempt(), Some(&lease()), &value).await,
        "in place" => store.put_slot(&published(), attempt(), None, &value).await,
        "first" => store.put_first(&unpublished(), attempt(), Some(&lease()), &value, fence(START - 60)).await,
        "tombstone" => store.put_tombstone(&published(), attempt()).await,
        "promote" => store.promote(&arn(), &attempt().slot_id(), Some(&base()), fence(START - 60)).await,
        "promote first" => store.promote(&arn(), &attempt().slot_id(), None, fence(START - 60)).await,
        "detach" => store.detach(&arn(), &Removable::Previous, &base(), fence(START - 60)).await,
        "delete" => store.delete_secret(&arn(), fence(START - 60)).await,
        "tag" => store.tag(&arn(), &[("keyferry:pause", "2026-12-01T00:00:00Z")], fence(START - 60)).await,
        "untag" => store.untag(&arn(), &["keyferry:pause"], fence(START - 60)).await,
        "create" => {
            let wanted = Destination {
                target: TargetName::new("main").unwrap(),
                name: name(),
                description: Some("made by keyferry".into()),
                kms_key_id: Some("alias/app".into()),
                tags: BTreeMap::from([("team".into(), "core".into()), ("keyferry:deployment".into(), "x".into())]),
                shape: Shape::of_outputs(&["client_id"]),
            };
            let (deployment, credential) = (Deployment::new("prod").unwrap(), Name::new("app").unwrap());
            let owner = Owner { deployment: &deployment, credential: &credential, place: "0011223344556677", at: None };
            store.create_secret(&wanted, owner, "1:nonce:1795176000").await.map(|created| created.at)
        }
        other => panic!("{other}"),
    }
}

const WRITES: [&str; 11] =
    ["claim", "slot", "in place", "first", "tombstone", "promote", "promote first", "detach", "tag", "untag", "create"];

/// What AWS says when the write was done.
fn done(which: &str) -> Reply {
    match which {
        "claim" => put_answer(&attempt().claim_id()),
        "slot" | "in place" | "first" | "tombstone" => put_answer(&attempt().slot_id()),
        "tag" | "untag" => Reply::Answer(200, String::new(), ""),
        _ => ok(json!({"ARN": ARN, "Name": "app/key"})),
    }
}
