//! The gate that every service's calls pass, whichever service it is: it counts them as they
//! arrive, can hold one of them still, and tells a watcher what happened in which order.
//!
//! A process that is killed while its call is held died exactly there: *before*, and the call was
//! never applied, or *after*, and it was, but nobody heard so. It is not a fault: a call that is let
//! go on is answered as if nothing had been. The sample consumer's calls pass uncounted.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};

use crate::sandbox::consumer;
use crate::sandbox::line::Line;
use crate::sandbox::world::locked;

/// Larger requests are cut off; the services themselves read a megabyte at most.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// When a call is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// It has arrived and is not applied yet.
    Before,
    /// It is applied, and the answer is withheld.
    After,
}

/// A wish to hold one call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Which of the calls from now on; 1 is the next one.
    pub next: u64,
    /// At which moment.
    pub moment: Moment,
    /// Only calls whose name, as it is known at that moment, contains this are counted; all of them
    /// when it is left out.
    #[serde(default)]
    pub call: Option<String>,
}

impl Hold {
    /// Whether a call of this name, at this moment, is the one.
    fn strikes(&mut self, name: &str, moment: Moment) -> bool {
        // Without a name every call counts once: when it arrives.
        let (asked, at) = match &self.call {
            Some(call) => (name.contains(call.as_str()), self.moment),
            None => (true, Moment::Before),
        };
        if asked && at == moment {
            self.next = self.next.saturating_sub(1);
        }
        asked && at == moment && self.next == 0
    }
}

/// One call that arrived.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Passed {
    /// Counted from 1 over all services, in the order of arrival.
    pub number: u64,
    /// `aws`, `keycard`, …
    pub service: String,
    /// The service's word for it (`PutSecretValue`, `create_credential`) once it is applied; before
    /// that AWS's target, or method and path.
    pub call: String,
    /// The caller's end of the connection.
    #[serde(skip)]
    pub peer: Option<SocketAddr>,
}

/// A call that is being held.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Held {
    /// The call.
    #[serde(flatten)]
    pub call: Passed,
    /// At which moment.
    pub moment: Moment,
}

/// Told of every call right after it was applied, one at a time, before its answer leaves.
pub type Watcher = Arc<dyn Fn(&Passed) + Send + Sync>;
/// Says from the caller's end of the connection whether a call counts.
pub type Counts = Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>;

/// The gate. One for all services of a world.
#[derive(Default)]
pub struct Gate {
    inner: Mutex<Inner>,
    /// Something was held, let go or given up.
    moved: Notify,
    /// Whose call is applied now, where a watcher wants to know the order.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Inner {
    arrived: u64,
    wishes: Vec<Hold>,
    held: BTreeMap<u64, (Held, oneshot::Sender<Way>)>,
    watcher: Option<Watcher>,
    counts: Option<Counts>,
}

impl Inner {
    /// When a call of this name is to be held, as far as is known at `moment`; every wish counts it.
    fn strike(&mut self, name: &str, moment: Moment) -> Option<Moment> {
        let mut struck = None;
        self.wishes.retain_mut(|wish| {
            let strikes = wish.strikes(name, moment);
            if strikes {
                struck = struck.or(Some(wish.moment));
            }
            !strikes
        });
        struck
    }
}

/// What becomes of a held call.
enum Way {
    On,
    Cut,
}

impl Gate {
    /// Holds one of the next calls.
    pub fn hold(&self, hold: Hold) {
        locked(&self.inner).wishes.push(Hold { next: hold.next.max(1), ..hold });
    }

    /// How many calls have arrived.
    pub fn arrived(&self) -> u64 {
        locked(&self.inner).arrived
    }

    /// The calls that are being held, by number.
    pub fn held(&self) -> Vec<Held> {
        locked(&self.inner).held.values().map(|(held, _)| held.clone()).collect()
    }

    /// Waits until a call is held. Cancelling it loses nothing.
    pub async fn until_held(&self) -> Held {
        loop {
            let moved = self.moved.notified();
            if let Some(held) = self.held().into_iter().next() {
                return held;
            }
            moved.await;
        }
    }

    /// Forgets every wish and lets every held call go on.
    pub fn release(&self) {
        self.end(|| Way::On);
    }

    /// Forgets every wish and cuts the connections of held calls: one held before it was applied
    /// never will be.
    pub fn cut(&self) {
        self.end(|| Way::Cut);
    }

    fn end(&self, way: impl Fn() -> Way) {
        let mut inner = locked(&self.inner);
        inner.wishes.clear();
        for (_, (_, hear)) in std::mem::take(&mut inner.held) {
            // The client may be gone already, and its call with it.
            let _ = hear.send(way());
        }
        drop(inner);
        self.moved.notify_waiters();
    }

    /// Tells `watcher` of every call from now on. Calls are then applied one after another, so that
    /// what it sees of the services is the state after this call and before any other.
    pub fn watch(&self, watcher: Watcher) {
        locked(&self.inner).watcher = Some(watcher);
    }

    /// Applies no call, where somebody watches, until what this gives is dropped: for looking around
    /// at one moment.
    pub async fn still(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Counts, and holds, only calls of which `counts` says so; all of them when this was never called.
    pub fn count_only(&self, counts: Counts) {
        locked(&self.inner).counts = Some(counts);
    }

    fn arrive(&self, service: &str, parts: &Parts, peer: Option<SocketAddr>) -> (Passed, Option<Moment>) {
        let counts = locked(&self.inner).counts.clone();
        let counted = counts.zip(peer).is_none_or(|(counts, peer)| counts(peer));
        let mut inner = locked(&self.inner);
        let mut call = Passed { number: 0, service: service.into(), call: asked(parts), peer };
        if !counted {
            return (call, None);
        }
        inner.arrived += 1;
        call.number = inner.arrived;
        let moment = inner.strike(&call.call, Moment::Before);
        (call, moment)
    }

    async fn wait(&self, call: &Passed, moment: Moment) -> Way {
        let (hear, heard) = oneshot::channel();
        let held = Held { call: call.clone(), moment };
        locked(&self.inner).held.insert(call.number, (held, hear));
        self.moved.notify_waiters();
        // A client that goes away takes this future with it.
        let _gone = Gone { gate: self, number: call.number };
        heard.await.unwrap_or(Way::Cut)
    }

    async fn apply(&self, mut call: Passed, request: Request, next: Next) -> (Passed, Response) {
        let watcher = locked(&self.inner).watcher.clone();
        let turn = match &watcher {
            Some(_) => Some(self.turn.lock().await),
            None => None,
        };
        let word = Arc::new(Mutex::new(None));
        let response = WORD.scope(Arc::clone(&word), next.run(request)).await;
        if let Some(word) = locked(&word).take() {
            call.call = word;
        }
        if let Some(watcher) = watcher {
            watcher(&call);
        }
        drop(turn);
        (call, response)
    }
}

/// Takes a call that is held no longer off the list.
struct Gone<'a> {
    gate: &'a Gate,
    number: u64,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        locked(&self.gate.inner).held.remove(&self.number);
        self.gate.moved.notify_waiters();
    }
}

tokio::task_local! {
    /// The gate and the service's name, for a server that is being started.
    static DOOR: (Arc<Gate>, &'static str);
    /// The service's own word for the call that is being answered.
    static WORD: Arc<Mutex<Option<String>>>;
}

/// Runs a server whose calls all pass `gate`: whatever it serves by [`crate::sandbox::line::serve`].
pub async fn behind<T>(gate: Arc<Gate>, service: &'static str, server: impl Future<Output = T>) -> T {
    DOOR.scope((gate, service), server).await
}

/// Puts the gate before `router`, if this server runs [`behind`] one.
pub(super) fn guarded(router: Router) -> Router {
    let Ok((gate, service)) = DOOR.try_with(Clone::clone) else { return router };
    router.layer(middleware::from_fn(move |ConnectInfo(line): ConnectInfo<Line>, request: Request, next: Next| {
        let gate = Arc::clone(&gate);
        async move { pass(&gate, service, line, request, next).await }
    }))
}

/// Notes the service's own word for the call that is being answered.
pub(super) fn note_word(word: &str) {
    // Outside of a gate nobody asks.
    let _ = WORD.try_with(|noted| *locked(noted) = Some(word.to_owned()));
}

async fn pass(gate: &Gate, service: &str, line: Line, request: Request, next: Next) -> Response {
    if request.headers().get("user-agent").is_some_and(|agent| agent == consumer::USER_AGENT) {
        return next.run(request).await;
    }
    // Read to the end first: a call that is held has arrived whole.
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, REQUEST_BYTES_MAX).await else { return line.cut() };
    let (call, moment) = gate.arrive(service, &parts, line.peer());
    let request = Request::from_parts(parts, Body::from(body));
    if moment == Some(Moment::Before)
        && let Way::Cut = gate.wait(&call, Moment::Before).await
    {
        return line.cut();
    }
    let (call, response) = gate.apply(call, request, next).await;
    let moment = if call.number == 0 { None } else { moment.or(locked(&gate.inner).strike(&call.call, Moment::After)) };
    if moment == Some(Moment::After)
        && let Way::Cut = gate.wait(&call, Moment::After).await
    {
        return line.cut();
    }
    response
}

/// What a request asks for, as far as anybody can tell who does not know the service.
fn asked(parts: &Parts) -> String {
    let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    match target.and_then(|target| target.split_once('.')) {
        Some((_, operation)) => operation.to_owned(),
        None => format!("{} {}", parts.method, parts.uri.path()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;
    use crate::sandbox::line;

    /// A service that counts what was applied, behind a gate.
    async fn service() -> (Arc<Gate>, Arc<AtomicU64>, String) {
        let (gate, applied) = (Arc::new(Gate::default()), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&applied);
        let router = Router::new().fallback(move || {
            note_word("apply");
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready("done")
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let serving = line::serve(listener, router, std::future::pending());
        tokio::spawn(behind(Arc::clone(&gate), "svc", serving));
        (gate, applied, url)
    }

    fn call(url: &str) -> tokio::task::JoinHandle<Result<String, reqwest::Error>> {
        let url = url.to_owned();
        tokio::spawn(async move { reqwest::get(url).await?.text().await })
    }

    #[tokio::test]
    async fn a_held_call_goes_on_when_it_is_let_go() {
        let rows = [(Moment::Before, "GET /", 1), (Moment::After, "apply", 2)];
        for ((moment, word, applied_while_held), named) in rows.into_iter().flat_map(|row| [(row, false), (row, true)])
        {
            let (gate, applied, url) = service().await;
            gate.hold(Hold { next: 2, moment, call: named.then(|| word.to_owned()) });
            assert_eq!(call(&url).await.unwrap().unwrap(), "done");
            let second = call(&url);
            let held = gate.until_held().await;
            assert_eq!((held.call.number, held.call.service.as_str(), held.call.call.as_str()), (2, "svc", word));
            assert_eq!((held.moment, applied.load(Ordering::SeqCst)), (moment, applied_while_held));
            assert_eq!(call(&url).await.unwrap().unwrap(), "done", "others pass meanwhile");
            gate.release();
            assert_eq!(second.await.unwrap().unwrap(), "done");
            assert_eq!((applied.load(Ordering::SeqCst), gate.held(), gate.arrived()), (3, Vec::new(), 3));
        }
    }

    #[tokio::test]
    async fn a_call_whose_client_is_gone_is_not_held_and_not_applied_any_more() {
        for (moment, applied_at_last) in [(Moment::Before, 0), (Moment::After, 1)] {
            for cut in [false, true] {
                let (gate, applied, url) = service().await;
                gate.hold(Hold { next: 1, moment, call: None });
                let client = call(&url);
                gate.until_held().await;
                if cut {
                    gate.cut();
                    assert!(client.await.unwrap().is_err(), "no answer came");
                } else {
                    client.abort();
                    let gone = async {
                        loop {
                            let moved = gate.moved.notified();
                            if gate.held().is_empty() {
                                break;
                            }
                            moved.await;
                        }
                    };
                    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
                    gate.release();
                }
                assert_eq!(call(&url).await.unwrap().unwrap(), "done");
                assert_eq!(applied.load(Ordering::SeqCst), applied_at_last + 1, "{moment:?} cut: {cut}");
            }
        }
    }
}
