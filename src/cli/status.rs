//! `status`: the fleet at a glance, problems first, from AWS alone: read-only and without vendor
//! keys.

use std::sync::Arc;

use serde_json::json;

use crate::cli::Source;
use crate::cli::report::Printer;
use crate::engine::Engine;
use crate::engine::reconcile::{AskVendor, Visit};

/// Options of `status`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only what needs somebody.
    #[arg(long)]
    problems: bool,
}

/// Prints the fleet.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    Ok(fleet(&engine, arguments.problems, printer).await)
}

/// Looks at AWS alone and prints the fleet; gives the worst exit code.
pub(super) async fn fleet(engine: &Arc<Engine>, problems: bool, printer: &Printer) -> u8 {
    let sorted = engine.sort().await;
    let bar = printer.progress(sorted.wanted.len(), "looking at");
    let visit = Visit { vendor: AskVendor::Never, dry: true, request: None };
    let visited = engine.visit_all(sorted.wanted, visit, |_, _| bar.inc(1)).await;
    bar.finish_and_clear();
    for (name, one) in visited {
        engine.board().set(&name, one.status);
    }
    printer.fleet(engine.board(), problems, json!({}))
}
