//! `plan`: observes, says what would happen and why, and as which AWS principal; changes nothing.

use std::path::Path;

use serde_json::json;

use crate::cli::code;
use crate::cli::report::{Output, Printer};
use crate::engine::reconcile::{AskVendor, Visit};
use crate::rotation::Step;
use crate::serve::Row;

/// Options of `plan`.
#[derive(clap::Args)]
pub struct Arguments {
    /// End with 5 when there is something to do.
    #[arg(long)]
    exit_code: bool,
}

/// Observes everything and prints one line a credential.
pub async fn run(path: &Path, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(path, printer).await?;
    let mut principals = Vec::new();
    for (target, store) in engine.stores() {
        principals.push((target.to_string(), store.identity().await?));
    }
    let all = engine.declaration().credentials.clone();
    let bar = printer.progress(all.len(), "looking at");
    let visit = Visit { vendor: AskVendor::Always, dry: true, request: None };
    let visited = engine.visit_all(all, visit, |_, _| bar.inc(1)).await;
    bar.finish_and_clear();
    let mut worst = code::FINE;
    let mut pending = 0;
    let mut rows = Vec::new();
    for (name, one) in &visited {
        worst = worst.max(one.status.exit_code());
        let step = one.planned.as_ref().map(|decision| &decision.step).filter(|step| **step != Step::Wait);
        pending += usize::from(step.is_some());
        rows.push((step.map_or("nothing", Step::word), Row::new(name, &one.status)));
    }
    match printer.output() {
        Output::Json => {
            let principals: Vec<_> = principals
                .iter()
                .map(|(target, who)| json!({ "target": target, "account": who.account, "arn": who.arn }))
                .collect();
            let rows: Vec<_> = rows.iter().map(|(step, row)| json!({ "step": step, "credential": row })).collect();
            printer.json(&json!({ "principals": principals, "plan": rows, "pending": pending }));
        }
        Output::Text => {
            for (target, who) in &principals {
                println!("target {target}: {} in account {}", who.arn, who.account);
            }
            let mut table = printer.empty_table(&["CREDENTIAL", "WOULD", "STATE", "BECAUSE", "NEXT"]);
            for (step, row) in &rows {
                let next = row.next.as_deref().unwrap_or("-");
                table.add_row([
                    comfy_table::Cell::new(&row.name),
                    comfy_table::Cell::new(step),
                    printer.state(row.state),
                    comfy_table::Cell::new(&row.message),
                    comfy_table::Cell::new(next),
                ]);
            }
            println!("{table}");
            println!("{pending} of {} credentials have something to do; nothing was changed", rows.len());
            for (_, row) in &rows {
                if let Some(hint) = row.hint.as_ref().filter(|_| row.state != "ok") {
                    println!("{}: hint: {hint}", row.name);
                }
            }
        }
    }
    if arguments.exit_code && pending > 0 {
        worst = worst.max(code::PENDING);
    }
    Ok(worst)
}
