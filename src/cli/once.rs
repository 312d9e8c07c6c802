//! `once`: goes on until every credential needs a date to pass, waits for none of them (or, with
//! `--wait`, for those that come soon enough), and ends.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::cli::report::Printer;
use crate::cli::{Source, run};
use crate::config::duration;
use crate::engine::Engine;
use crate::engine::reconcile::{AskVendor, Visit};
use crate::schedule;

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
    run::stop_when_told(&engine);
    up_to_date(&engine, arguments.wait.unwrap_or_default(), printer).await;
    Ok(printer.fleet(engine.board(), false, json!({})))
}

/// Passes over the fleet until nothing is left to do within `wait`.
pub(super) async fn up_to_date(engine: &Arc<Engine>, wait: Duration, printer: &Printer) {
    let began = engine.clock().monotonic();
    loop {
        let sorted = engine.sort().await;
        let bar = printer.progress(sorted.wanted.len(), "bringing up to date");
        let visit = Visit { vendor: AskVendor::AsNeeded, ..Visit::default() };
        engine
            .visit_all(sorted.wanted, visit, |name, _| {
                bar.inc(1);
                bar.set_message(name.to_string());
            })
            .await;
        bar.finish_and_clear();
        let Some(now) = engine.stores().values().filter_map(|store| store.now()).min() else { return };
        let next = schedule::until_next(&engine.board().all(), now);
        if engine.stopping() {
            return;
        }
        let left = wait.saturating_sub(engine.clock().monotonic().saturating_sub(began));
        if left.is_zero() || next > left {
            return;
        }
        engine.clock().sleep(next + Duration::from_secs(1)).await;
    }
}
