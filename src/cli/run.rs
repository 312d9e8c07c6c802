//! `run`: the daemon. Keeps everything up to date until SIGTERM or SIGINT.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::report::Printer;
use crate::cli::{Source, code};
use crate::engine::Engine;
use crate::engine::reconcile::{AskVendor, Visit};
use crate::model::credential::Credential;
use crate::model::name::Name;
use crate::schedule::{self, Ticker};
use crate::serve::{self, Pages, Row};

/// How often the fleet is listed, to see what others did: a rollback, a pause, another replica.
const FLEET_PAUSE: Duration = Duration::from_secs(300);
/// How often each credential is compared with its vendor's listing.
const DRIFT_PAUSE: Duration = Duration::from_secs(6 * 3_600);

/// Options of `run`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Serve the status page, `/status.json`, `/livez` and `/readyz` on this address.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

/// Runs until told to stop; what is under way is finished.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    let ready = Arc::new(AtomicBool::new(false));
    if let Some(address) = arguments.listen {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
        tracing::info!("status page at http://{}/", listener.local_addr()?);
        tokio::spawn(serve::serve(listener, pages(&engine, &ready), std::future::pending()));
    }
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::warn!("SIGHUP: this release does not reload; restart it to read the declaration again");
        }
    });
    keep(&engine, &ready, told_to_stop()).await?;
    Ok(code::FINE)
}

/// Ends when the process is told to: SIGTERM or SIGINT.
pub(super) async fn told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals can't be watched: only a kill will stop this process");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// What the status page shows of `engine`.
pub(super) fn pages(engine: &Engine, ready: &Arc<AtomicBool>) -> Pages {
    Pages {
        board: Arc::clone(engine.board()),
        ready: Arc::clone(ready),
        deployment: engine.declaration().deployment.to_string(),
    }
}

/// Keeps everything up to date until `stop` ends; then finishes what is under way.
pub(super) async fn keep(
    engine: &Arc<Engine>,
    ready: &Arc<AtomicBool>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let ticker = Ticker::start().await.context("starting the scheduler")?;
    tracing::info!(credentials = engine.declaration().credentials.len(), "keeping credentials up to date");
    let worker = work(Arc::clone(engine), Arc::clone(ready), ticker);
    let stopper = async {
        stop.await;
        tracing::info!("stopping: finishing what is under way");
        engine.stop();
    };
    // In this task and not in one of its own: a bug in the loop ends the process, which somebody
    // restarts, and the memory that reading the declaration took is used again by this thread.
    tokio::join!(worker, stopper);
    Ok(())
}

async fn work(engine: Arc<Engine>, ready: Arc<AtomicBool>, ticker: Ticker) {
    let clock = Arc::clone(engine.clock());
    let mut listed: Option<Duration> = None;
    let mut compared = clock.monotonic();
    let mut told = BTreeMap::new();
    while !engine.stopping() {
        let elapsed = clock.monotonic();
        if listed.is_none_or(|at| elapsed.saturating_sub(at) >= FLEET_PAUSE) {
            listed = Some(elapsed);
            let drift = elapsed.saturating_sub(compared) >= DRIFT_PAUSE;
            if drift {
                compared = elapsed;
            }
            let sorted = engine.sort().await;
            let (wanted, vendor) = if drift {
                (engine.declaration().credentials.clone(), AskVendor::Always)
            } else {
                (sorted.wanted, AskVendor::AsNeeded)
            };
            let unreachable = engine.board().unreachable();
            let reached = unreachable.is_empty();
            for (target, fault) in unreachable {
                tracing::warn!(%target, hint = fault.hint, "{fault}");
            }
            look(&engine, &ready, wanted, vendor, reached, &mut told).await;
        }
        let now = engine.stores().values().filter_map(|store| store.now()).min();
        let (due, until_due) = engine.board().with(|statuses| match now {
            Some(now) => (schedule::due(statuses, now), schedule::until_next(statuses, now)),
            None => (Vec::new(), FLEET_PAUSE),
        });
        if !due.is_empty() {
            let declared = engine.declaration().credentials.iter();
            let wanted = declared.filter(|one| due.binary_search(&one.name).is_ok()).cloned().collect();
            look(&engine, &ready, wanted, AskVendor::AsNeeded, true, &mut told).await;
            continue;
        }
        // The tick is a second, independent wake-up: a clock that jumped is noticed by the next one.
        tokio::select! {
            () = clock.sleep(until_due.clamp(Duration::from_millis(200), FLEET_PAUSE)) => {}
            () = ticker.tick() => {}
        }
    }
    ticker.stop().await;
}

/// Visits `wanted`; `ready` says whether everything that was asked answered.
async fn look(
    engine: &Arc<Engine>,
    ready: &AtomicBool,
    wanted: Vec<Arc<Credential>>,
    vendor: AskVendor,
    reached: bool,
    told: &mut BTreeMap<Name, String>,
) {
    let mut answered = reached;
    let visit = Visit { vendor, ..Visit::default() };
    engine
        .visit_all(wanted, visit, |name, visited| {
            answered &= visited.status.fault.is_none();
            let row = Row::new(name, &visited.status);
            if visited.status.exit_code() == code::FINE {
                if told.remove(name).is_some() {
                    tracing::info!(credential = %name, state = row.state, "{}", row.message);
                }
            } else if visited.status.fault.is_some() || told.get(name) != Some(&row.message) {
                // What waits for a person is said once; what fails, each time it is tried.
                tracing::warn!(credential = %name, state = row.state, hint = row.hint, "{}", row.message);
                told.insert(name.clone(), row.message);
            }
        })
        .await;
    let failing = engine.board().with(|statuses| statuses.values().any(|status| status.fault.is_some()));
    ready.store(answered && !failing, Ordering::Relaxed);
}
