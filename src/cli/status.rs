//! `status`: the fleet at a glance, problems first, from AWS alone: read-only and without vendor
//! keys.

use serde_json::json;

use crate::cli::Source;
use crate::cli::report::Printer;
use crate::cli::select::Selection;
use crate::engine::reconcile::{AskVendor, Visit};

/// Options of `status`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only what needs somebody.
    #[arg(long)]
    problems: bool,
    #[command(flatten)]
    which: Selection,
}

/// Prints the fleet.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    let asked = arguments.which.pick_or_all(engine.declaration(), "nothing was looked at")?;
    // A few by name need no listing of the fleet, nor the right to it.
    let wanted = if asked.len() == engine.declaration().credentials.len() { engine.sort().await.wanted } else { asked };
    let bar = printer.progress(wanted.len(), "looking at");
    let visit = Visit { vendor: AskVendor::Never, dry: true, request: None };
    let visited = engine.visit_all(wanted, visit, |_, _| bar.inc(1)).await;
    bar.finish_and_clear();
    for (name, one) in visited {
        engine.board().set(&name, one.status);
    }
    Ok(printer.fleet(engine.board(), arguments.problems, json!({})))
}
