//! What vendors and AWS answer: whatever it is, there is a result or a fault, and no word of it that
//! could not be printed. The answers are the sandbox's, with a part of each replaced.

use std::sync::Arc;

use keyferry::model::attempt::Attempt;
use keyferry::model::fault::Fault;
use keyferry::model::name::{VendorId, VersionId};
use keyferry::model::time::Timestamp;
use keyferry::stores::aws::Fence;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Number, Value};
use tokio::runtime::Runtime;

use crate::bench::{CANARY, Driver, Services, make_secret, secret, store};
use crate::relay::{Fault as Broken, Relay, Wrong};
use crate::{holds, text};

/// Any JSON, not large.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| Value::Number(number.into())),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
        text().prop_map(Value::String),
        "[0-9]{4,6}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?Z".prop_map(Value::String),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-z_]{1,12}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// What becomes of one part of an answer.
#[derive(Clone, Debug)]
enum Change {
    Put(Value),
    Drop,
    /// It stands there so many times.
    Again(usize),
}

fn change() -> impl Strategy<Value = (Index, Change)> {
    let change = prop_oneof![
        6 => json().prop_map(Change::Put),
        2 => Just(Change::Drop),
        1 => (2..40_usize).prop_map(Change::Again),
    ];
    (any::<Index>(), change)
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

/// Changes the `at`-th part, counted from the outermost.
fn changed(value: Value, at: &mut usize, change: &Change) -> Vec<Value> {
    let here = *at == 0;
    *at = at.wrapping_sub(1);
    if here {
        return match change {
            Change::Put(other) => vec![other.clone()],
            Change::Drop => Vec::new(),
            Change::Again(times) => vec![value; *times],
        };
    }
    vec![match value {
        Value::Array(items) => Value::Array(items.into_iter().flat_map(|item| changed(item, at, change)).collect()),
        Value::Object(members) => {
            let member = |(key, item): (String, Value)| changed(item, at, change).pop().map(|item| (key, item));
            Value::Object(members.into_iter().filter_map(member).collect())
        }
        other => other,
    }]
}

fn breaks(relay: &Relay, of: &'static str, (index, change): (Index, Change)) {
    let spoil = move |value: Value| {
        let mut at = index.index(count(&value));
        changed(value, &mut at, &change).pop().unwrap_or(Value::Null)
    };
    relay.breaks(Some(Broken { of, wrong: Wrong::Json(Arc::new(spoil)) }));
}

fn can_be_shown<T>(outcome: Result<T, Fault>) -> Option<T> {
    outcome
        .map_err(|fault| {
            let all = format!("{fault} {:?} {:?}", fault.hint, fault.request);
            assert!(
                !all.contains(CANARY)
                    && !all.chars().any(char::is_control)
                    && !all.contains("\\u{")
                    && all.len() < 2_000,
                "{all:?}"
            );
        })
        .ok()
}

/// A driver behind a relay, with every call once for every case; `calls` are a part of each answer's
/// request.
fn whatever_a_vendor_answers(kind: &'static str, calls: &'static [&'static str]) {
    let runtime = Runtime::new().unwrap();
    let (services, relay) = runtime.block_on(async {
        let services = Services::start().await;
        let relay = services.relay(kind, None).await;
        (services, relay)
    });
    holds(60, [], (0..calls.len(), change()), |(call, change)| {
        breaks(&relay, calls[call], change);
        runtime.block_on(async {
            let driver = Driver::open(&services, kind, relay.base(), None).unwrap();
            for id in can_be_shown(driver.list().await).unwrap_or_default() {
                assert!(!id.as_str().chars().any(char::is_control), "{id:?}");
            }
            can_be_shown(driver.create_and_verify().await);
            can_be_shown(driver.revoke(&VendorId::new("nobody").unwrap()).await);
        });
    });
}

#[test]
fn whatever_keycard_answers_there_is_a_result_or_a_fault() {
    whatever_a_vendor_answers(
        "keycard",
        &["service-account-token", "GET /zones", "POST /zones", "oauth/2/token", "DELETE"],
    );
}

#[test]
fn whatever_workos_answers_there_is_a_result_or_a_fault() {
    whatever_a_vendor_answers("workos", &["GET /connect", "POST /connect", "well-known", "token", "DELETE"]);
}

#[test]
fn whatever_chatbotkit_answers_there_is_a_result_or_a_fault() {
    whatever_a_vendor_answers("chatbotkit", &["GET /", "/create", "/list", "/delete"]);
}

#[test]
fn whatever_aws_answers_there_is_a_result_or_a_fault() {
    let runtime = Runtime::new().unwrap();
    let (services, relay, arn) = runtime.block_on(async {
        let services = Services::start().await;
        let relay = services.relay("aws", None).await;
        let arn = make_secret(&store(&services, relay.base(), None, None).await.unwrap(), &secret()).await.unwrap();
        (services, relay, arn)
    });
    let deployment = keyferry::model::name::Deployment::new("test").unwrap();
    let version = VersionId::new(&"0".repeat(32)).unwrap();
    let attempt = Attempt::derive(&arn, &None, 1);
    const CALLS: [&str; 4] = ["DescribeSecret", "ListSecretVersionIds", "ListSecrets", "TagResource"];
    holds(100, [], (0..CALLS.len(), change()), |(call, change)| {
        breaks(&relay, CALLS[call], change);
        runtime.block_on(async {
            let store = store(&services, relay.base(), None, None).await.unwrap();
            can_be_shown(store.observe(&secret()).await);
            can_be_shown(store.fleet(&deployment).await);
            can_be_shown(
                store
                    .tag(&arn, &[("keyferry:note", "x")], Fence { signed_at: Timestamp::from_seconds(1_795_000_000) })
                    .await,
            );
            can_be_shown(store.claim(&arn, &version, attempt).await);
        });
    });
}

/// Who has `PutSecretValue` may write anything where a claim should be.
#[test]
fn whatever_stands_in_a_claim_it_is_read_or_refused() {
    let runtime = Runtime::new().unwrap();
    let (services, relay, arn) = runtime.block_on(async {
        let services = Services::start().await;
        let relay = services.relay("aws", None).await;
        let arn = make_secret(&store(&services, relay.base(), None, None).await.unwrap(), &secret()).await.unwrap();
        (services, relay, arn)
    });
    let version = VersionId::new(&"0".repeat(32)).unwrap();
    let attempt = Attempt::derive(&arn, &None, 1);
    let claim = || {
        let like = serde_json::json!({
            "keyferry": "claim, not a credential", "v": 1, "attempt": attempt.to_string(), "base": "none", "n": 1,
            "replica": "r", "fingerprint": "f", "cause": "due", "before": ["a", "b"], "note": "why",
        });
        (any::<Index>(), change()).prop_map(move |(_, (index, change))| {
            let mut at = index.index(count(&like));
            changed(like.clone(), &mut at, &change).pop().unwrap_or(Value::Null).to_string()
        })
    };
    holds(150, [], prop_oneof![3 => claim().boxed(), 1 => text()], |stored: String| {
        let own = (version.to_string(), arn.to_string());
        let spoil = move |_: Value| {
            serde_json::json!({
                "ARN": own.1, "Name": "app", "VersionId": own.0, "SecretString": stored, "VersionStages": ["x"],
                "CreatedDate": 1_795_000_000,
            })
        };
        let answer = spoil(Value::Null).to_string();
        let head =
            "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 07:00:00 GMT\r\nContent-Type: application/x-amz-json-1.1\r\n";
        let bytes = format!("{head}Content-Length: {}\r\n\r\n{answer}", answer.len()).into_bytes();
        relay.breaks(Some(Broken { of: "GetSecretValue", wrong: Wrong::Instead(bytes) }));
        runtime.block_on(async {
            let store = store(&services, relay.base(), None, None).await.unwrap();
            if let Some(claim) = can_be_shown(store.claim(&arn, &version, attempt).await) {
                assert_eq!(claim.attempt, attempt);
                assert!(claim.before.iter().all(|id| !id.as_str().chars().any(char::is_control)));
            }
        });
    });
}
