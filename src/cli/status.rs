//! `status`: the fleet at a glance, problems first, from AWS alone: read-only and without vendor
//! keys.

use std::sync::Arc;

use serde_json::json;

use crate::cli::Source;
use crate::cli::report::{Output, Printer, say};
use crate::cli::select::Selection;
use crate::config::Discovery;
use crate::engine::Engine;
use crate::engine::pass::Sorted;
use crate::engine::reconcile::{AskVendor, Visit};
use crate::engine::snapshot::Status;
use crate::model::credential::Credential;
use crate::model::fault::Class;
use crate::rotation::Reason;

/// Who looks here may be another principal than keyferry runs as.
fn not_about_it(status: &mut Status) {
    if status.reason != Reason::NotSeen {
        return;
    }
    if let Some(fault) = status.fault.as_mut().filter(|fault| fault.class == Class::Denied) {
        let hint = fault.hint.take().map_or(String::new(), |hint| format!("{hint}; "));
        fault.hint = Some(format!(
            "{hint}this is about who is asking and says nothing about the credential: keyferry itself may run as \
             another principal"
        ));
    }
}

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
    let asked = arguments.which.pick(engine.declaration(), "nothing was looked at")?;
    // A few by name need no listing of the fleet, nor the right to it.
    let all = asked.len() == engine.declaration().credentials.len();
    let sorted = if all { engine.sort().await } else { Sorted { wanted: asked, ..Sorted::default() } };
    let undeclared = sorted.undeclared.clone();
    look(&engine, sorted.all(), printer).await;
    let undeclared: Vec<&str> = undeclared.iter().map(|name| name.as_str()).collect();
    let listed = all && engine.declaration().discovery == Discovery::List;
    let worst =
        printer.fleet(engine.board(), arguments.problems, json!({ "undeclared": listed.then_some(&undeclared) }));
    if printer.output() == Output::Text && !arguments.problems {
        if !undeclared.is_empty() {
            say(format_args!(
                "\nof this deployment and not declared any more, so that nothing is done about them: {}",
                undeclared.join(", ")
            ));
        }
        if engine.declaration().discovery == Discovery::Declared {
            say(
                "\nlooked at by declared name only: secrets of this deployment that are not declared any more are not seen",
            );
        }
    }
    Ok(worst)
}

/// Looks at AWS alone and prints the fleet; gives the worst exit code.
pub(super) async fn fleet(engine: &Arc<Engine>, printer: &Printer) -> u8 {
    let sorted = engine.sort().await;
    look(engine, sorted.all(), printer).await;
    printer.fleet(engine.board(), false, json!({}))
}

/// Looks at each with AWS alone, and notes it on the board.
async fn look(engine: &Arc<Engine>, wanted: Vec<Arc<Credential>>, printer: &Printer) {
    let bar = printer.progress(wanted.len(), "looking at");
    let visit = Visit { vendor: AskVendor::Never, dry: true, request: None };
    let mut visited = engine.visit_all(wanted, visit, |_, _| bar.inc(1)).await;
    engine.brake_planned(&mut visited);
    bar.finish_and_clear();
    for (name, mut one) in visited {
        not_about_it(&mut one.status);
        engine.board().set(&name, one.status);
    }
}
