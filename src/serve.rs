//! Health and the status page, over HTTP on an address of the operator's choice. Read-only, facts
//! without values, and nothing here can start or change anything.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::engine::Engine;
use crate::engine::snapshot::Status;
use crate::model::name::Name;
use crate::model::time::Timestamp;

pub use health::Health;

mod door;
mod health;
pub mod systemd;

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    /// The engine of the declaration in force.
    pub engine: watch::Receiver<Arc<Engine>>,
    /// Whether the daemon lives and is ready.
    pub health: Arc<Health>,
}

impl Pages {
    fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine.borrow())
    }
}

/// One credential in `/status.json`; the same shape as `keyferry status --output json`.
#[derive(Serialize)]
pub struct Row {
    /// Its declared name.
    pub name: String,
    /// `ok`, `working`, `retrying`, `blocked`, `held` or `paused`.
    pub state: &'static str,
    /// The reason's stable word.
    pub reason: &'static str,
    /// The reason as a sentence.
    pub message: String,
    /// What can be done, where something can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The vendor's id of the published credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The AWS version that is current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Since when it counts (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Whether the published value was proved by a login before it was published.
    pub verified: bool,
    /// How many credentials of this secret live at the vendor.
    pub live: usize,
    /// Credentials in the same place that are not keyferry's.
    pub foreign: usize,
    /// Whether something took keyferry's owner tags off the AWS secret.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub owner_tags_missing: bool,
    /// AWS's date at which it was looked at (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// The next date at which something may be done (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Row {
    /// One credential's row.
    pub fn new(name: &Name, status: &Status) -> Self {
        let message = match (&status.fault, status.dead) {
            (Some(fault), _) => fault.to_string(),
            (None, true) => {
                "the vendor no longer lists the published credential: consumers may be reading a dead value".into()
            }
            (None, false) => status.sentence(),
        };
        let dead = status
            .dead
            .then(|| format!("someone deleted it at the vendor: `keyferry rotate {name}` publishes a fresh one now"));
        let hint = status.fault.as_ref().and_then(|fault| fault.hint.clone()).or(dead);
        let version = status.published.as_ref().map(|published| published.version.as_str());
        let advice = |hint: &str| {
            hint.replace("<version id>", version.unwrap_or("<version id>")).replace("<name>", name.as_str())
        };
        Self {
            name: name.to_string(),
            state: status.word(),
            reason: status.reason.code(),
            message,
            hint: hint.or_else(|| status.reason.hint().map(advice)),
            credential: status.published.as_ref().and_then(|published| published.id.as_ref().map(ToString::to_string)),
            version: version.map(Into::into),
            since: status.published.as_ref().map(|published| published.since.to_string()),
            verified: status.published.as_ref().is_some_and(|published| published.verified),
            live: status.published.as_ref().map_or(0, |published| published.live),
            foreign: status.foreign,
            owner_tags_missing: status.stripped,
            as_of: (status.looked != Timestamp::default()).then(|| status.looked.to_string()),
            next: status.look_again.map(|date| date.to_string()),
        }
    }
}

/// Serves until `shutdown` ends. A connection that can't be accepted is said, and the next one is waited
/// for; nothing here ends the daemon.
pub async fn serve(listener: Arc<TcpListener>, pages: Pages, shutdown: impl Future<Output = ()> + Send + 'static) {
    let router = Router::new()
        .route("/", get(page))
        .route("/status.json", get(facts))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .layer(from_fn(guard))
        .with_state(pages);
    door::keep(listener, router, shutdown).await;
}

/// What every answer says to a browser: show this and nothing else, to this page and nobody else.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Answers only who asks for this address: the name of a stranger's site may be made to lead here, and
/// its scripts would read the pages then.
async fn guard(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default().to_owned());
    let mut answer = match host.as_deref().is_none_or(is_own_host) {
        true => next.run(request).await,
        false => {
            let text = "this is keyferry's status page: ask for it by its IP address, or as localhost\n";
            (StatusCode::MISDIRECTED_REQUEST, text).into_response()
        }
    };
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Whether a `Host` header names an address, or this very machine.
fn is_own_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    name.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

async fn facts(State(pages): State<Pages>) -> Json<Value> {
    let (engine, in_force) = (pages.engine(), pages.health.in_force());
    let missing = pages.health.missing(&engine);
    let rows: Vec<Row> =
        engine.board().with(|statuses| statuses.iter().map(|(name, status)| Row::new(name, status)).collect());
    let unreachable = engine.board().unreachable();
    let unreachable: serde_json::Map<String, Value> =
        unreachable.iter().map(|(target, fault)| (target.to_string(), fault.to_string().into())).collect();
    Json(json!({
        "deployment": engine.declaration().deployment.as_str(),
        "declaration": {
            "in_force_since": in_force.since.map(|date| date.to_string()),
            "refused": in_force.refused,
            "differs_on_disk": in_force.differs,
        },
        "as_of": as_of(&engine).map(|date| date.to_string()),
        "ready": missing.is_empty(),
        "not_ready": missing,
        "unreachable": unreachable,
        "credentials": rows,
    }))
}

/// The date at which the oldest of what is shown was looked at, by AWS's clock.
fn as_of(engine: &Engine) -> Option<Timestamp> {
    let seen = |status: &Status| Some(status.looked).filter(|date| *date != Timestamp::default());
    engine.board().with(|statuses| statuses.values().filter_map(seen).min())
}

async fn alive(State(pages): State<Pages>) -> (StatusCode, String) {
    match pages.health.hangs(&pages.engine()) {
        None => (StatusCode::OK, "alive\n".into()),
        Some(what) => (StatusCode::SERVICE_UNAVAILABLE, format!("not alive: {what}\n")),
    }
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, String) {
    let missing = pages.health.missing(&pages.engine());
    if missing.is_empty() {
        return (StatusCode::OK, "ready\n".into());
    }
    let lines: String = missing.iter().map(|line| format!("not ready: {line}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines)
}

async fn page(State(pages): State<Pages>) -> Html<String> {
    let engine = pages.engine();
    let notes = pages.health.missing(&engine);
    let notes: String = notes.iter().map(|note| format!("<p class=\"held\">{}</p>\n", escape(note))).collect();
    let as_of = as_of(&engine).map_or_else(
        || "<p>nothing was looked at yet</p>\n".to_owned(),
        |date| format!("<p>as of {date}, by AWS's clock; what others change is seen within a minute or two</p>\n"),
    );
    let mut rows = String::new();
    for (name, status) in engine.board().all() {
        let row = Row::new(&name, &status);
        let told = row.hint.map_or(row.message.clone(), |hint| format!("{}\nwhat to do: {hint}", row.message));
        let cells = [
            row.name,
            row.state.into(),
            told,
            row.credential.unwrap_or_default(),
            row.since.unwrap_or_default(),
            row.live.to_string(),
            row.next.unwrap_or_default(),
        ];
        let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        rows.push_str(&format!("<tr class=\"{}\">{cells}</tr>\n", row.state));
    }
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\">\
         <title>keyferry: {deployment}</title><style>\
         body{{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222}}table{{border-collapse:collapse}}\
         td,th{{padding:.3rem .8rem;border-bottom:1px solid #ddd;text-align:left;white-space:nowrap}}td:nth-child(3){{white-space:pre-line}}\
         .ok td:nth-child(2){{color:#0a7a2f}}.working td:nth-child(2){{color:#0b5cad}}\
         .retrying td:nth-child(2),.paused td:nth-child(2){{color:#9a6700}}\
         .blocked td:nth-child(2),.held td:nth-child(2),p.held{{color:#b3261e}}</style>\
         <h1>keyferry: {deployment}</h1>{as_of}{notes}<table><tr><th>credential<th>state<th>why<th>vendor's id<th>since<th>live<th>next</tr>\n\
         {rows}</table></html>\n",
        deployment = escape(engine.declaration().deployment.as_str()),
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
