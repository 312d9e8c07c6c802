//! The rules of the service as tables, and the server over real connections.

mod labels;
mod lifecycle;
mod limits;
mod lists;
mod server;
mod stale;

use std::time::Duration;

use serde_json::{Value, json};

use super::operation::Operation;
use super::state::{Call, State};
use super::wire::Request;
use crate::model::time::Timestamp;

/// The state machine with a Region, a caller and a date: the only place here that knows its API.
pub(super) struct Bench {
    pub(super) state: State,
    pub(super) call: Call,
}

impl Bench {
    pub(super) fn new() -> Self {
        let call = Call {
            region: "eu-central-1".into(),
            access_key: "AKID".into(),
            now: Timestamp::from_seconds(1_800_000_000),
            stale: false,
        };
        Self { state: State::new(7), call }
    }

    /// With a secret `s` whose version `id(1)` is current.
    pub(super) fn with_secret() -> Self {
        let mut bench = Self::new();
        bench.ok("CreateSecret", json!({ "Name": "s", "ClientRequestToken": id(1), "SecretString": "one" }));
        bench
    }

    pub(super) fn advance(&mut self, span: Duration) {
        self.call.now = self.call.now.plus(span);
    }

    /// The answer, or `Code: message`.
    pub(super) fn call(&mut self, operation: &str, body: Value) -> Result<Value, String> {
        let operation = Operation::named(operation).unwrap();
        Request::read(body.to_string().as_bytes())
            .and_then(|request| self.state.perform(&self.call, operation, &request))
            .map_err(|error| format!("{}: {}", error.code, error.message))
    }

    #[track_caller]
    pub(super) fn ok(&mut self, operation: &str, body: Value) -> Value {
        self.call(operation, body).unwrap()
    }

    /// The code it is refused with; nothing may have changed.
    #[track_caller]
    pub(super) fn refused(&mut self, operation: &str, body: Value) -> String {
        let before = self.state.overview(self.call.now);
        let error = self.call(operation, body).expect_err("must be refused");
        assert_eq!(self.state.overview(self.call.now), before, "a refused call changed something");
        error.split(':').next().unwrap().to_owned()
    }

    pub(super) fn put(&mut self, version: u32, stages: &[&str]) -> Value {
        let mut body =
            json!({ "SecretId": "s", "ClientRequestToken": id(version), "SecretString": format!("value {version}") });
        if !stages.is_empty() {
            body["VersionStages"] = json!(stages);
        }
        self.ok("PutSecretValue", body)
    }

    /// The labels of `s` by version: `1:AWSCURRENT+x 2:AWSPENDING`.
    pub(super) fn labels(&mut self) -> String {
        let answer = self.ok("DescribeSecret", json!({ "SecretId": "s" }));
        let versions = answer.get("VersionIdsToStages").and_then(Value::as_object).cloned().unwrap_or_default();
        // Ids have one length and leading zeros, so the map's order is that of the numbers.
        let shown: Vec<String> = versions
            .iter()
            .map(|(id, stages)| {
                let stages: Vec<&str> =
                    stages.as_array().unwrap().iter().map(|stage| stage.as_str().unwrap()).collect();
                format!("{}:{}", id.trim_start_matches('0'), stages.join("+"))
            })
            .collect();
        shown.join(" ")
    }
}

/// A version id of the shortest length allowed.
pub(super) fn id(number: u32) -> String {
    format!("{number:032}")
}
