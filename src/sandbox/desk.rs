//! Where a call to a pretend vendor comes in and its answer goes out: read to a limit, given its
//! fault, counted, dated. What is asked and answered is each vendor's own, and not here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, Response};

use crate::model::time::{Clock, Timestamp};
use crate::sandbox::faults::{Effect, Faults};
use crate::sandbox::line::Line;
use crate::sandbox::simulator::CallCount;
use crate::sandbox::spoil::{Reply, spoil};
use crate::sandbox::world::locked;

const BODY_BYTES_MAX: usize = 1 << 20;
/// Latest calls that are remembered one by one.
const RECENT_CALL_COUNT_MAX: usize = 1_000;

/// One request, read whole.
pub struct Call {
    /// `GET`, `POST`, …
    pub method: String,
    /// As it came: escaped, with its slash in front.
    pub path: String,
    /// Unescaped, in order.
    pub query: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    headers: HeaderMap,
}

impl Call {
    /// A header's text, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Pairs of a query or of a form body (`application/x-www-form-urlencoded`).
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let mut url = reqwest::Url::parse("http://form.invalid/").expect("a fixed, valid address");
    url.set_query(Some(text));
    url.query_pairs().into_owned().collect()
}

/// What every pretend vendor has beside its state.
pub struct Desk {
    clock: Arc<dyn Clock>,
    faults: Arc<Mutex<Faults>>,
    base_url: String,
    journal: Mutex<Journal>,
}

#[derive(Default)]
struct Journal {
    counts: BTreeMap<(&'static str, Option<u16>), u64>,
    recent: VecDeque<(&'static str, Option<u16>)>,
}

impl Desk {
    /// A desk at `base_url` (`http://127.0.0.1:7702`), with `clock`'s wall time for a date.
    pub fn new(clock: Arc<dyn Clock>, faults: Arc<Mutex<Faults>>, base_url: impl Into<String>) -> Self {
        let base_url = base_url.into().trim_end_matches('/').to_owned();
        Self { clock, faults, base_url, journal: Mutex::default() }
    }

    /// The service's time.
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Where the service is reached, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// What goes wrong.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        locked(&self.faults)
    }

    /// How often each operation was answered with each status.
    pub fn call_counts(&self) -> Vec<CallCount> {
        let journal = locked(&self.journal);
        let counts = journal.counts.iter();
        counts.map(|(&(operation, status), &count)| CallCount { operation, status, count }).collect()
    }

    /// The latest calls in order, operation and status, 1,000 at most.
    pub fn recent_calls(&self) -> Vec<(&'static str, Option<u16>)> {
        locked(&self.journal).recent.iter().copied().collect()
    }

    /// How many calls there were.
    pub fn call_count(&self) -> u64 {
        locked(&self.journal).counts.values().sum()
    }

    fn note(&self, operation: &'static str, status: Option<u16>) {
        let mut journal = locked(&self.journal);
        *journal.counts.entry((operation, status)).or_default() += 1;
        if journal.recent.len() == RECENT_CALL_COUNT_MAX {
            journal.recent.pop_front();
        }
        journal.recent.push_back((operation, status));
    }
}

/// A service behind a desk.
pub trait Service: Send + Sync + 'static {
    /// The name that fault rules call it by.
    const NAME: &'static str;

    /// Its desk.
    fn desk(&self) -> &Desk;

    /// Its word for what is called: `create_credential`, `zone_token`, …
    fn operation(&self, call: &Call) -> &'static str;

    /// The answer to one call under one fault ([`under`]); `None` where the connection is to be cut.
    fn perform(&self, call: &Call, effect: Option<&Effect>) -> Option<Reply>;

    /// What every answer carries.
    fn signed(&self, reply: Reply) -> Reply {
        reply
    }
}

/// What a fault has a service say in place of an answer.
pub enum Refused<'a> {
    /// That there were too many calls.
    Throttled,
    /// That something went wrong inside.
    Failed,
    /// This.
    With {
        /// HTTP status.
        status: u16,
        /// The service's error code.
        code: &'a str,
    },
}

/// The answer to one call under one fault, in the service's own words; `None` where the connection
/// is to be cut.
pub fn under<S>(
    effect: Option<&Effect>,
    state: &mut S,
    apply: impl FnOnce(&mut S) -> Reply,
    refuse: impl FnOnce(&mut S, Refused<'_>) -> Reply,
) -> Option<Reply> {
    Some(match effect {
        None | Some(Effect::Delay { .. } | Effect::Stale) => apply(state),
        Some(Effect::Throttle { retry_after }) => {
            let mut answer = refuse(state, Refused::Throttled);
            answer.headers.extend(retry_after.iter().map(|wait| ("retry-after".into(), wait.clone())));
            answer
        }
        Some(Effect::Refuse { status, code }) => refuse(state, Refused::With { status: *status, code }),
        Some(Effect::Pretend { status, body }) => {
            Reply { status: *status, headers: Vec::new(), body: Bytes::from(body.clone()) }
        }
        Some(Effect::DropBefore) => return None,
        Some(Effect::DropAfter) => {
            apply(state);
            return None;
        }
        Some(Effect::FailAfter) => {
            apply(state);
            refuse(state, Refused::Failed)
        }
        Some(Effect::Body(broken)) => spoil(apply(state), *broken),
    })
}

/// A service's answers.
pub fn router<S: Service>(service: Arc<S>) -> Router {
    let answering = move |ConnectInfo(line): ConnectInfo<Line>, request: Request| {
        let service = Arc::clone(&service);
        async move { respond(&*service, &line, request).await }
    };
    Router::new().fallback(answering)
}

async fn respond<S: Service>(service: &S, line: &Line, request: Request) -> Response<Body> {
    let desk = service.desk();
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        // Too large, or the client went away while it was sending.
        let reply = Reply { status: 413, headers: Vec::new(), body: Bytes::new() };
        return service.signed(reply).at(desk.now());
    };
    let call = Call {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: pairs(parts.uri.query().unwrap_or_default()),
        body,
        headers: parts.headers,
    };
    let operation = service.operation(&call);
    let effect = desk.faults().next(S::NAME, operation);
    let answer = service.perform(&call, effect.as_ref());
    desk.note(operation, answer.as_ref().map(|answer| answer.status));
    if let Some(Effect::Delay { ms }) = effect {
        // Real time on purpose: it is the caller's HTTP timeout that is under test.
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    match answer {
        Some(answer) => service.signed(answer).at(desk.now()),
        None => line.cut(),
    }
}
