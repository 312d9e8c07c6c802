//! A strict AWS Secrets Manager over real HTTP, and on a port of its own the Security Token Service
//! that its clients sign in with.
//!
//! Strict means: what AWS refuses is refused here, in its words, and what AWS documents as possible
//! (staleness, throttling, lost replies, empty pages) can be asked for. The rules are in [`state`]
//! and know no HTTP; this file is the wire. Not here: replication, rotation by the service,
//! enforcement of resource policies, other accounts.

pub mod auth;
pub mod checks;
pub mod errors;
pub mod inspect;
mod lifecycle;
mod list;
pub mod operation;
mod policy;
pub mod quota;
mod reads;
pub mod settings;
pub mod state;
mod sts;
mod values;
pub mod wire;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use serde_json::json;
use tokio::net::TcpListener;

use crate::model::time::Timestamp;
use crate::sandbox::faults::{Broken, Effect};
use crate::sandbox::line::{self, Line};
use crate::sandbox::world::{World, locked};
use auth::{Caller, SANDBOX_KEY, Signed};
use errors::AwsError;
use operation::Operation;
use quota::Buckets;
use settings::Opposite;
use state::{Call, State};
use sts::{Form, Sessions};

/// The service's name in fault rules and in the journal.
pub const SERVICE: &str = "aws";

/// The largest request that is read: a value of 64 KiB as base64, a policy and tags fit well.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// The size of an answer that is meant to be too large.
const HUGE_BYTES: usize = 64 * 1024 * 1024;

/// The running service.
pub struct SecretsManager {
    world: Arc<World>,
    state: Mutex<State>,
    buckets: Mutex<Buckets>,
    sessions: Mutex<Sessions>,
    request_ids: Mutex<fastrand::Rng>,
    began: Timestamp,
}

impl SecretsManager {
    /// A service without secrets in `world`.
    pub fn new(world: Arc<World>) -> Self {
        let state = Mutex::new(State::new(world.seed));
        let request_ids = Mutex::new(fastrand::Rng::with_seed(world.seed));
        let began = world.now();
        Self { world, state, buckets: Mutex::default(), sessions: Mutex::default(), request_ids, began }
    }

    /// Looks at or changes the state directly: for tests and the control port.
    pub fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut locked(&self.state))
    }

    /// The world it lives in.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Serves until `shutdown` is done.
    ///
    /// # Errors
    /// Those of `axum::serve`, which in practice means none.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        line::serve(listener, self.router(), shutdown).await
    }

    /// Its answers.
    pub fn router(self: Arc<Self>) -> axum::Router {
        let answer = |state, line, request| handle(Door::SecretsManager, state, line, request);
        axum::Router::new().fallback(answer).with_state(self)
    }

    /// The answers of the Security Token Service.
    pub fn sts_router(self: Arc<Self>) -> axum::Router {
        let answer = |state, line, request| handle(Door::Sts, state, line, request);
        axum::Router::new().fallback(answer).with_state(self)
    }

    /// Does one call, or refuses it: signature, quota, then the operation itself.
    fn perform(&self, parts: &Parts, body: &[u8], asked: &Asked, stale: bool) -> (String, Result<String, AwsError>) {
        if let Asked::Sts { form } = asked
            && form.get("Action") == sts::WEB_IDENTITY
        {
            return (String::new(), self.sign_in(form, None, self.world.now()));
        }
        let now_for = |key: &str| match locked(&self.sessions).base_of(key) == SANDBOX_KEY {
            true => self.world.now(),
            false => self.world.real.wall(),
        };
        let skew_max = if self.does(Opposite::OldSignatures) { 3 * auth::SKEW_MAX } else { auth::SKEW_MAX };
        let caller = match auth::check(&parts.headers, asked.signed(), skew_max, now_for) {
            Ok(caller) => caller,
            Err(error) => return (String::new(), Err(error)),
        };
        let token = parts.headers.get("x-amz-security-token").and_then(|token| token.to_str().ok()).unwrap_or_default();
        let now = now_for(&caller.access_key);
        let known = locked(&self.sessions).check(&caller.access_key, token, now, asked.signed());
        let answer = known.and_then(|()| match asked {
            Asked::SecretsManager { operation, .. } => self.operate(&caller, *operation, body, stale),
            Asked::Sts { form } => self.sign_in(form, Some(&caller), now),
        });
        (caller.region, answer)
    }

    fn sign_in(&self, form: &Form, caller: Option<&Caller>, now: Timestamp) -> Result<String, AwsError> {
        let settings = locked(&self.state).settings.clone();
        locked(&self.sessions).perform(form, caller, &settings, now)
    }

    fn operate(
        &self,
        caller: &Caller,
        operation: Option<Operation>,
        body: &[u8],
        stale: bool,
    ) -> Result<String, AwsError> {
        let operation = operation.ok_or_else(unknown_operation)?;
        let mut state = locked(&self.state);
        if state.settings.quotas {
            locked(&self.buckets).take(&caller.region, operation, self.world.real.monotonic())?;
        }
        let request = wire::Request::read(body)?;
        let call =
            Call { region: caller.region.clone(), access_key: caller.access_key.clone(), now: self.world.now(), stale };
        state.perform(&call, operation, &request).map(|answer| answer.to_string())
    }

    fn does(&self, opposite: Opposite) -> bool {
        locked(&self.state).settings.does(opposite)
    }

    fn request_id(&self) -> String {
        let bytes: [u8; 16] = locked(&self.request_ids).u128(..).to_be_bytes();
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    fn respond(&self, asked: &Asked, status: u16, body: impl Into<Body>) -> Response {
        Response::builder()
            .status(status)
            .header("content-type", asked.content_type())
            .header("date", http_date(if self.does(Opposite::DateStands) { self.began } else { self.world.now() }))
            .header("x-amzn-requestid", self.request_id())
            .body(body.into())
            .expect("the headers are plain text")
    }

    fn refuse(&self, asked: &Asked, error: &AwsError) -> Response {
        self.respond(asked, error.status, asked.error_body(error, &self.request_id()))
    }
}

/// What a request is after, as far as its headers (and a form's first words) tell.
enum Asked {
    SecretsManager { operation: Option<Operation>, name: String },
    Sts { form: Form },
}

/// Which of the two services a request was sent to.
#[derive(Clone, Copy)]
enum Door {
    SecretsManager,
    Sts,
}

impl Asked {
    fn read(door: Door, parts: &Parts, body: &[u8]) -> Self {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_post = parts.method == axum::http::Method::POST && parts.uri.path() == "/";
        match door {
            Door::Sts => {
                let is_form = header("content-type").starts_with("application/x-www-form-urlencoded");
                Self::Sts { form: Form::read(if is_post && is_form { body } else { b"Action=?" }) }
            }
            Door::SecretsManager => {
                let is_json = header("content-type") == "application/x-amz-json-1.1";
                let name = header("x-amz-target").strip_prefix("secretsmanager.").filter(|_| is_post && is_json);
                let name = name.unwrap_or("?").to_owned();
                Self::SecretsManager { operation: Operation::named(&name), name }
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::SecretsManager { name, .. } => name,
            Self::Sts { form } => form.get("Action"),
        }
    }

    fn signed(&self) -> Signed {
        match self {
            Self::SecretsManager { .. } => Signed::SecretsManager,
            Self::Sts { .. } => Signed::Sts,
        }
    }

    fn content_type(&self) -> &'static str {
        match self {
            Self::SecretsManager { .. } => "application/x-amz-json-1.1",
            Self::Sts { .. } => "text/xml",
        }
    }

    fn error_body(&self, error: &AwsError, request_id: &str) -> String {
        match self {
            Self::SecretsManager { .. } => error.body().to_string(),
            Self::Sts { .. } => sts::error_body(error, request_id),
        }
    }
}

/// The one place where a request comes in, faults strike, and an answer goes out.
async fn handle(
    door: Door,
    Shared(service): Shared<Arc<SecretsManager>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, REQUEST_BYTES_MAX).await.ok();
    let asked = Asked::read(door, &parts, body.as_deref().unwrap_or_default());
    let Some(body) = body else {
        let error = AwsError::new("RequestEntityTooLargeException", "The request is too large.").with_status(413);
        return service.refuse(&asked, &error);
    };
    let effect = service.world.fault(SERVICE, asked.name());
    let record = |region: &str, outcome: &str| service.world.record(SERVICE, asked.name(), region, outcome);
    if let Some(answer) = struck(&service, &asked, &line, effect.as_ref()) {
        return answer;
    }
    let stale = effect == Some(Effect::Stale);
    let (region, outcome) = service.perform(&parts, &body, &asked, stale);
    let code = outcome.as_ref().map_or_else(|error| error.code.clone(), |_| "ok".to_owned());
    match effect {
        Some(Effect::DropAfter) => {
            record(&region, "dropped after");
            return line.cut();
        }
        Some(Effect::FailAfter) => {
            record(&region, "failed after");
            return service.refuse(&asked, &errors::internal());
        }
        Some(Effect::Body(broken)) => {
            record(&region, &code);
            return break_body(&service, &asked, broken, outcome.unwrap_or_default());
        }
        Some(Effect::Delay { ms }) => {
            // Noted first: a client that gives up meanwhile takes this handler with it.
            record(&region, &code);
            service.world.real.sleep(Duration::from_millis(ms)).await;
        }
        Some(
            Effect::DropBefore
            | Effect::Throttle { .. }
            | Effect::Refuse { .. }
            | Effect::Pretend { .. }
            | Effect::Stale,
        )
        | None => {
            record(&region, &code);
        }
    }
    match outcome {
        Ok(answer) => service.respond(&asked, 200, answer),
        Err(error) => service.refuse(&asked, &error),
    }
}

/// What a fault answers instead of the service, before the call is applied.
fn struck(service: &SecretsManager, asked: &Asked, line: &Line, effect: Option<&Effect>) -> Option<Response> {
    let record = |region: &str, outcome: &str| service.world.record(SERVICE, asked.name(), region, outcome);
    match effect {
        Some(Effect::DropBefore) => {
            record("", "dropped before");
            Some(line.cut())
        }
        Some(Effect::Throttle { retry_after }) => {
            record("", "ThrottlingException");
            Some(throttle(service, asked, retry_after.as_deref()))
        }
        Some(Effect::Refuse { status, code }) => {
            record("", code);
            let error = AwsError::new(code, "Refused by a fault rule of the sandbox.").with_status(*status);
            Some(service.refuse(asked, &error))
        }
        Some(Effect::Pretend { status, body }) => {
            record("", "pretended");
            let answer = Response::builder().status(*status).body(Body::from(body.clone()));
            Some(answer.unwrap_or_else(|_| line.cut()))
        }
        Some(Effect::DropAfter | Effect::FailAfter | Effect::Delay { .. } | Effect::Body(_) | Effect::Stale) | None => {
            None
        }
    }
}

fn throttle(service: &SecretsManager, asked: &Asked, retry_after: Option<&str>) -> Response {
    let error = match asked {
        Asked::SecretsManager { .. } if service.does(Opposite::ThrottlingCode) => {
            AwsError::new("TooManyRequestsException", "Rate exceeded")
        }
        Asked::SecretsManager { .. } => quota::throttled(),
        Asked::Sts { .. } => AwsError::new("Throttling", "Rate exceeded"),
    };
    let mut response = service.refuse(asked, &error);
    if let Some(value) = retry_after.and_then(|text| text.parse().ok()) {
        response.headers_mut().insert("retry-after", value);
    }
    response
}

fn break_body(service: &SecretsManager, asked: &Asked, broken: Broken, mut answer: String) -> Response {
    match broken {
        Broken::Empty => service.respond(asked, 200, Body::empty()),
        Broken::Html => {
            let page = "<html><body><h1>502 Bad Gateway</h1></body></html>";
            let mut response = service.respond(asked, 502, page);
            response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/html"));
            response
        }
        Broken::Truncated => {
            let middle = (0..=answer.len() / 2).rev().find(|at| answer.is_char_boundary(*at)).unwrap_or(0);
            answer.truncate(middle);
            service.respond(asked, 200, answer)
        }
        Broken::Huge => service.respond(asked, 200, Bytes::from(vec![b' '; HUGE_BYTES])),
        Broken::WrongType => service.respond(asked, 200, json!([{ "ARN": 7, "Name": [] }]).to_string()),
        Broken::Redirect => {
            let mut response = service.respond(asked, StatusCode::TEMPORARY_REDIRECT.as_u16(), Body::empty());
            let target = http::HeaderValue::from_static("https://elsewhere.invalid/");
            response.headers_mut().insert("location", target);
            response
        }
    }
}

fn unknown_operation() -> AwsError {
    AwsError::new(
        "UnknownOperationException",
        "Send POST / with Content-Type: application/x-amz-json-1.1 and X-Amz-Target: secretsmanager.<Operation>.",
    )
}

/// An HTTP date (RFC 9110, section 5.6.7).
fn http_date(time: Timestamp) -> String {
    time.to_utc().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
