//! `plan`: observes, says what would happen and why, and as which AWS principal; changes nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::report::{Output, Printer, say, say_table};
use crate::cli::select::Selection;
use crate::cli::table::Entry;
use crate::cli::{Source, code};
use crate::engine::reconcile::{AskVendor, Visit};
use crate::engine::snapshot::Status;
use crate::model::fault::Fault;
use crate::model::name::{Name, TargetName};
use crate::model::time::Timestamp;
use crate::rotation::Decision;
use crate::stores::aws::Identity;

/// Options of `plan`.
#[derive(clap::Args)]
pub struct Arguments {
    /// End with 5 when there is something to do.
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    which: Selection,
}

/// Observes everything and prints one line a credential.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    let asked = arguments.which.pick(engine.declaration(), "nothing was looked at")?;
    let mut principals: BTreeMap<TargetName, Identity> = BTreeMap::new();
    let mut unreachable: BTreeMap<TargetName, Fault> = BTreeMap::new();
    let of_asked = |target: &TargetName| asked.iter().any(|one| one.destination.target == *target);
    for (target, fault) in engine.unopened().targets.iter().filter(|(target, _)| of_asked(target)) {
        unreachable.insert(target.clone(), fault.clone());
    }
    for (target, store) in engine.stores().iter().filter(|(target, _)| of_asked(target)) {
        match store.identity().await {
            Ok(who) => drop(principals.insert(target.clone(), who)),
            Err(fault) => drop(unreachable.insert(target.clone(), fault)),
        }
    }
    // What is behind a target that does not answer, or is not the right one, is not asked for.
    let mut seen: BTreeMap<Name, (&'static str, Status)> = BTreeMap::new();
    let mut wanted = Vec::new();
    for credential in &asked {
        match unreachable.get(&credential.destination.target) {
            None => wanted.push(credential.clone()),
            Some(fault) => {
                let unseen = Status::unseen(fault.clone(), Timestamp::default());
                seen.insert(credential.name.clone(), ("unknown", unseen));
            }
        }
    }
    let bar = printer.progress(wanted.len(), "looking at");
    let visit = Visit { vendor: AskVendor::Always, dry: true, request: None };
    let mut visited = engine.visit_all(wanted, visit, |_, _| bar.inc(1)).await;
    engine.brake_planned(&mut visited);
    bar.finish_and_clear();
    for (name, one) in visited {
        seen.insert(name, (would(one.planned.as_ref(), &one.status), one.status));
    }
    let entries: Vec<_> = seen.iter().map(|(name, (step, status))| (*step, Entry::new(name, status))).collect();
    let pending = entries.iter().filter(|(step, _)| !matches!(*step, "nothing" | "unknown")).count();
    let failing = if unreachable.is_empty() { code::FINE } else { code::FAILING };
    let mut worst = seen.values().map(|(_, status)| status.exit_code()).max().unwrap_or(code::FINE).max(failing);
    if arguments.exit_code && pending > 0 {
        worst = worst.max(code::PENDING);
    }
    match printer.output() {
        Output::Json => {
            let mut targets: Vec<Value> = principals
                .iter()
                .map(|(target, who)| json!({ "target": target.as_str(), "account": who.account, "arn": who.arn }))
                .collect();
            targets.extend(unreachable.iter().map(
                |(target, fault)| json!({ "target": target.as_str(), "error": fault.to_string(), "hint": fault.hint }),
            ));
            let plan: Vec<_> =
                entries.iter().map(|(step, entry)| json!({ "step": step, "credential": entry.row })).collect();
            printer.json(&json!({ "principals": targets, "plan": plan, "pending": pending, "exit_code": worst }));
        }
        Output::Text => {
            for (target, who) in &principals {
                say(format_args!("target {target}: {} in account {}", who.arn, who.account));
            }
            if !entries.is_empty() {
                say_table(printer.style().plan(&entries));
            }
            let unknown = entries.iter().filter(|(step, _)| *step == "unknown").count();
            let unknown = if unknown > 0 { format!(", {unknown} can't be told") } else { String::new() };
            let count = entries.len();
            say(format_args!("{pending} of {count} credentials have something to do{unknown}; nothing was changed"));
            printer.say_all(printer.style().details(entries.iter().map(|(_, entry)| entry), &unreachable));
        }
    }
    Ok(worst)
}

/// The word of the step that a visit would begin with. What could not be looked at may have one.
fn would(planned: Option<&Decision>, status: &Status) -> &'static str {
    match planned.and_then(Decision::step) {
        Some(step) => step.word(),
        None if status.fault.is_some() => "unknown",
        None => "nothing",
    }
}
