//! Health and the status page, over HTTP on an address of the operator's choice. Read-only, facts
//! without values, and nothing here can start or change anything.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, Json};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::engine::snapshot::{Board, Status};
use crate::model::name::Name;

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    /// Every credential's last known status.
    pub board: Arc<Board>,
    /// Whether the last pass reached AWS and every vendor it asked.
    pub ready: Arc<AtomicBool>,
    /// The deployment's name.
    pub deployment: String,
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
        let advice = |hint: &str| hint.replace("<version id>", version.unwrap_or("<version id>"));
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
            next: status.look_again.map(|date| date.to_string()),
        }
    }
}

/// Serves until `shutdown` ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    pages: Pages,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/", get(page))
        .route("/status.json", get(rows))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state(pages);
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn rows(State(pages): State<Pages>) -> Json<Vec<Row>> {
    Json(pages.board.all().iter().map(|(name, status)| Row::new(name, status)).collect())
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if pages.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: AWS or a vendor did not answer in the last pass\n")
    }
}

async fn page(State(pages): State<Pages>) -> Html<String> {
    let mut rows = String::new();
    for (name, status) in pages.board.all() {
        let row = Row::new(&name, &status);
        let cells = [
            row.name,
            row.state.into(),
            row.message,
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
         td,th{{padding:.3rem .8rem;border-bottom:1px solid #ddd;text-align:left;white-space:nowrap}}td:nth-child(3){{white-space:normal}}\
         .ok td:nth-child(2){{color:#0a7a2f}}.working td:nth-child(2){{color:#0b5cad}}\
         .retrying td:nth-child(2),.paused td:nth-child(2){{color:#9a6700}}\
         .blocked td:nth-child(2),.held td:nth-child(2){{color:#b3261e}}</style>\
         <h1>keyferry: {deployment}</h1><table><tr><th>credential<th>state<th>why<th>vendor's id<th>since<th>live<th>next</tr>\n\
         {rows}</table></html>\n",
        deployment = escape(&pages.deployment),
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
