//! `rotate`: now, because a person says so, whatever the calendar says.

use std::sync::Arc;

use anyhow::bail;
use serde_json::json;

use crate::cli::report::{Output, Printer, say};
use crate::cli::table::Entry;
use crate::cli::{Source, code};
use crate::engine::reconcile::{AskVendor, Visit, Visited};
use crate::model::attempt::Cause;
use crate::model::credential::Credential;
use crate::rotation::Step;

/// Options of `rotate`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Declared names.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// The current value leaked: end every older one as soon as the new one is current, without overlap.
    #[arg(long)]
    leaked: bool,
}

/// Rotates each name once, and says of each whether it was.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    let mut wanted: Vec<Arc<Credential>> = Vec::new();
    for name in &arguments.names {
        let declared = &engine.declaration().credentials;
        match declared.iter().find(|one| one.name.as_str() == name) {
            Some(credential) if wanted.iter().all(|one| one.name != credential.name) => wanted.push(credential.clone()),
            Some(_) => {}
            None => bail!("no credential `{name}` is declared; nothing was rotated"),
        }
    }
    let bar = printer.progress(wanted.len(), "rotating");
    let cause = if arguments.leaked { Cause::Leaked } else { Cause::Asked };
    let visit = Visit { request: Some(cause), vendor: AskVendor::AsNeeded, dry: false };
    let visited = engine.visit_all(wanted, visit, |_, _| bar.inc(1)).await;
    bar.finish_and_clear();
    // A rotation that was asked for and did not happen is no success, whatever the reason.
    let outcome = |one: &Visited| match (rotated(one), one.status.exit_code()) {
        (true, code) => code,
        (false, code) => code.max(code::FAILING),
    };
    let worst = visited.values().map(outcome).max().unwrap_or(code::FINE);
    let entries: Vec<Entry<'_>> = visited.iter().map(|(name, one)| Entry::new(name, &one.status)).collect();
    match printer.output() {
        Output::Json => {
            let rows = visited.values().zip(&entries);
            let rows: Vec<_> =
                rows.map(|(one, entry)| json!({ "rotated": rotated(one), "credential": entry.row })).collect();
            printer.json(&json!({ "credentials": rows, "exit_code": worst }));
        }
        Output::Text => {
            for (one, entry) in visited.values().zip(&entries) {
                let (name, row) = (&entry.row.name, &entry.row);
                if rotated(one) {
                    say(format_args!("{name}: rotated; {} live, {}", row.live, row.message));
                } else {
                    let next = row.next.as_ref().map_or(String::new(), |date| format!(" (looked at again {date})"));
                    say(format_args!("{name}: NOT rotated: {}{next}", row.message));
                }
            }
            printer.say_all(printer.style().details(&entries, &engine.board().unreachable()));
        }
    }
    Ok(worst)
}

/// Whether a new value was published in this visit.
fn rotated(visited: &Visited) -> bool {
    let publishes = |step: &Step| matches!(step, Step::Promote { .. } | Step::MintFirst { .. });
    visited.status.fault.is_none() && visited.steps.iter().any(|(step, _)| publishes(step))
}
