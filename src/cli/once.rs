//! `once`: goes on until every credential needs a date to pass, waits for none of them (or, with
//! `--wait`, for those that come soon enough), and ends.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::cli::report::{Output, Printer, say};
use crate::cli::{Source, code, signals};
use crate::config::duration;
use crate::engine::Engine;
use crate::engine::reconcile::{AskVendor, Visit};
use crate::schedule;
use crate::telemetry;

/// Options of `once`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Wait up to this long for dates that come soon (`20m`).
    #[arg(long, value_name = "SPAN", value_parser = span)]
    wait: Option<Duration>,
}

/// Reads a span of time.
///
/// # Errors
/// Says what is no span.
pub fn span(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// Brings everything as far as it goes now.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    let wait = arguments.wait.unwrap_or_default();
    signals::stop_when_told(&engine, wait);
    up_to_date(&engine, wait, printer).await;
    let stopped = engine.stopping();
    // Under a timer, the journal gets what is wrong and not the whole table every time.
    let problems_only = printer.output() == Output::Text && telemetry::is_journal(&std::io::stdout());
    let worst = printer.fleet(engine.board(), problems_only, json!({ "stopped": stopped }));
    if stopped && printer.output() == Output::Text {
        say("\nstopped before everything was done: the next run goes on from there");
    }
    Ok(if stopped { worst.max(code::FAILING) } else { worst })
}

/// Passes over the fleet until nothing is left to do within `wait`, or until told to stop.
pub(super) async fn up_to_date(engine: &Arc<Engine>, wait: Duration, printer: &Printer) {
    let began = engine.clock().monotonic();
    loop {
        let sorted = engine.sort().await;
        let bar = printer.progress(sorted.wanted.len() + sorted.suspects.len(), "bringing up to date");
        let visit = Visit { vendor: AskVendor::AsNeeded, ..Visit::default() };
        engine
            .pass(sorted, visit, |name, _| {
                bar.inc(1);
                bar.set_message(name.to_string());
            })
            .await;
        bar.finish_and_clear();
        let Some(now) = engine.stores().values().filter_map(|store| store.now()).min() else { return };
        let next = schedule::until_next(&engine.board().all(), now);
        let left = wait.saturating_sub(engine.clock().monotonic().saturating_sub(began));
        if engine.stopping() || left.is_zero() || next > left {
            return;
        }
        tokio::select! {
            () = engine.clock().sleep(next + Duration::from_secs(1)) => {}
            () = engine.stopped() => return,
        }
    }
}
