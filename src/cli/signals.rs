//! What the process is told by signals, and that every verb ends soon after it was told to.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::code;
use crate::engine::Engine;

/// Real time in which a stop must be over: less than the service manager's patience.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(75);

/// Real time that a verb may take which ends by itself, however many vendors do not answer.
const RUN_MAX: Duration = Duration::from_secs(2 * 3_600);

/// What a running daemon is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Read the declaration again.
    Reload,
    /// Begin nothing new, finish what only this process can finish, and end. The second time: end.
    Stop,
}

/// Ends when the process is told to: SIGTERM, SIGINT, or SIGHUP, which a closed terminal sends.
pub(super) async fn told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals can't be watched: only a kill will stop this process");
        return std::future::pending().await;
    };
    let mut hangup = if ignores_hangup() { None } else { signal(SignalKind::hangup()).ok() };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = heard(hangup.as_mut()) => {}
    }
}

async fn heard(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether whoever started this process wants it to survive its terminal (`nohup`). Asked before the
/// first handler is set, or not at all.
fn ignores_hangup() -> bool {
    const HANGUP_BIT: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & HANGUP_BIT != 0)
}

/// For verbs that begin rotations and end by themselves: told to stop, or after [`RUN_MAX`] and `more`,
/// nothing new begins, and what is under way is finished or left in a state that the next run goes on
/// from. Told again, or after a while, it ends at once.
pub(super) fn stop_when_told(engine: &Arc<Engine>, more: Duration) {
    let engine = Arc::clone(engine);
    tokio::spawn(async move {
        let why = tokio::select! {
            () = told_to_stop() => "told to stop",
            () = tokio::time::sleep(RUN_MAX.saturating_add(more)) => "it takes too long",
        };
        engine.stop();
        tracing::warn!("{why}: finishing what only this process can finish; a signal ends it at once");
        let why = tokio::select! {
            () = told_to_stop() => "told to stop again",
            () = tokio::time::sleep(DRAIN_MAX) => "it took too long",
        };
        tracing::warn!("stopped at once ({why}): the next run goes on from there");
        std::process::exit(i32::from(code::FAILING));
    });
}

/// Orders for the daemon: SIGHUP, SIGTERM, SIGINT.
pub(super) fn orders() -> anyhow::Result<mpsc::Receiver<Order>> {
    let mut hangup = signal(SignalKind::hangup()).context("watching for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("watching for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watching for signals")?;
    let (tell, orders) = mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let order = tokio::select! {
                _ = hangup.recv() => Order::Reload,
                _ = terminate.recv() => Order::Stop,
                _ = interrupt.recv() => Order::Stop,
            };
            if tell.send(order).await.is_err() {
                return;
            }
        }
    });
    Ok(orders)
}
