//! `rotate`: now, because a person says so, whatever the calendar says.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::report::{Output, Printer, Wrong, say};
use crate::cli::select::Selection;
use crate::cli::table::Entry;
use crate::cli::{Source, code, pause, signals};
use crate::config::Declaration;
use crate::engine::reconcile::{AskVendor, Visit, Visited};
use crate::model::attempt::{Cause, Note};
use crate::model::credential::Credential;
use crate::model::name::Name;
use crate::model::time::{Timestamp, human};
use crate::rotation::Step;
use crate::rotation::leaked::Wait;

/// Options of `rotate`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Selection,
    /// The current value leaked: end every older one as soon as the new one is current, without overlap.
    #[arg(long)]
    leaked: bool,
    /// Why, for whoever reads `explain`, `history` or the log; in the claim, so that a crash does not forget it.
    #[arg(long, value_name = "TEXT", value_parser = note)]
    reason: Option<Note>,
    /// Also when --all, --vendor or --tag means more credentials than `limits.max_replacements`.
    #[arg(long)]
    yes: bool,
}

fn note(text: &str) -> Result<Note, String> {
    let text = pause::tag_text(text, Note::CHAR_COUNT_MAX)?;
    Note::new(&text).ok_or_else(|| "it can't stand in an AWS tag".into())
}

/// Rotates each once, and says of each whether it was.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    arguments.which.require("nothing was rotated")?;
    let engine = super::open(source, printer).await?;
    if let Some(note) = &arguments.reason {
        engine.because(note.clone());
    }
    let wanted = arguments.which.pick(engine.declaration(), "nothing was rotated")?;
    few_enough(arguments, wanted.len(), engine.declaration())?;
    signals::stop_when_told(&engine, Duration::ZERO);
    let bar = printer.progress(wanted.len(), "rotating");
    let cause = if arguments.leaked { Cause::Leaked } else { Cause::Asked };
    let visit = Visit { request: Some(cause), vendor: AskVendor::AsNeeded, dry: false };
    let began = engine.clock().monotonic();
    let mut took: Vec<(String, Duration)> = Vec::new();
    let visited = engine
        .visit_all(wanted.clone(), visit, |name, _| {
            took.push((name.to_string(), engine.clock().monotonic().saturating_sub(began)));
            bar.inc(1);
        })
        .await;
    bar.finish_and_clear();
    // A rotation that was asked for and did not happen is no success, whatever the reason; a leaked
    // value that still works is none either.
    let leaks = arguments.leaked;
    let outcome = |one: &Visited| match (rotated(one), one.status.exit_code()) {
        (true, code) if !leaks || matches!(old(one), Old::Dead) => code,
        (_, code) => code.max(code::FAILING),
    };
    // Told to stop, it begins no more.
    let left: Vec<&str> =
        wanted.iter().map(|one| &one.name).filter(|one| !visited.contains_key(one)).map(Name::as_str).collect();
    let stopped = if left.is_empty() { code::FINE } else { code::FAILING };
    let worst = visited.values().map(outcome).max().unwrap_or(code::FINE).max(stopped);
    let entries: Vec<Entry<'_>> = visited.iter().map(|(name, one)| Entry::new(name, &one.status)).collect();
    let declared = |name: &str| wanted.iter().find(|one| one.name.as_str() == name);
    let time = |name: &str| took.iter().find(|(one, _)| one == name).map_or(Duration::ZERO, |(_, took)| *took);
    match printer.output() {
        Output::Json => {
            let row = |one: &Visited, entry: &Entry<'_>| {
                let mut row = json!({
                    "rotated": rotated(one),
                    "remembered": remembered(one),
                    "seconds": time(&entry.row.name).as_secs_f64(),
                    "credential": entry.row,
                });
                if leaks {
                    row["leak"] = leak_facts(one);
                }
                row
            };
            let rows: Vec<_> = visited.values().zip(&entries).map(|(one, entry)| row(one, entry)).collect();
            printer.json(&json!({ "credentials": rows, "not_begun": left, "exit_code": worst }));
        }
        Output::Text => {
            for (one, entry) in visited.values().zip(&entries) {
                let (name, row) = (&entry.row.name, &entry.row);
                match (rotated(one), declared(name)) {
                    (true, Some(credential)) if leaks => say(leak(one, credential, time(name))),
                    (true, _) => say(format_args!("{name}: rotated; {} live, {}", row.live, row.message)),
                    (false, _) => {
                        say(not_rotated(one, entry));
                        if leaks && !matches!(old(one), Old::Dead) {
                            say("  NOT SAFE: the value that leaked still works, as far as keyferry knows");
                        }
                    }
                }
            }
            for name in left {
                say(format_args!("{name}: NOT rotated: told to stop before it began; nothing remembers this request"));
            }
        }
    }
    Ok(worst)
}

/// A rule may mean more than its writer thinks of.
fn few_enough(arguments: &Arguments, count: usize, declaration: &Arc<Declaration>) -> Result<(), Wrong> {
    let most = declaration.limits.max_replacements;
    let many = usize::try_from(most).is_ok_and(|most| count > most);
    if arguments.yes || !arguments.which.by_rule() || !many {
        return Ok(());
    }
    let message = format!(
        "{count} credentials would be rotated, more than `limits.max_replacements` ({most}); nothing was rotated"
    );
    Err(Wrong::new(message).with_hint("add `--yes` to rotate them all"))
}

/// Whether a new value was published in this visit.
fn rotated(visited: &Visited) -> bool {
    let publishes = |step: &Step| matches!(step, Step::Promote { .. } | Step::Mint { first: true, .. });
    visited.status.fault.is_none() && visited.steps.iter().any(|(step, _)| publishes(step))
}

/// Whether the request stands in a claim, so that any other run goes on with it.
fn remembered(visited: &Visited) -> bool {
    visited.steps.iter().any(|(step, _)| matches!(step, Step::Claim { .. }))
}

fn not_rotated(visited: &Visited, entry: &Entry<'_>) -> String {
    let (name, row) = (&entry.row.name, &entry.row);
    let next = row.next.as_ref().map_or(String::new(), |date| format!(" (looked at again {date})"));
    let memory = if remembered(visited) {
        "an attempt was begun, and its claim remembers why: the daemon or `keyferry once` goes on with it".to_owned()
    } else {
        let when = row.next.as_ref().map_or("when that is mended".to_owned(), |date| format!("after {date}"));
        format!("nothing remembers this request: ask again {when}")
    };
    let hint = row.hint.as_ref().map_or(String::new(), |hint| format!("\n  hint: {hint}"));
    format!("{name}: NOT rotated: {}{next}\n  so far: {}\n  {memory}{hint}", row.message, entry.so_far())
}

/// What became of the value that leaked, once a new one is current.
enum Old {
    /// Nothing but the new one lives.
    Dead,
    /// It works, until it is ended at this date or later; `None` when none can be told.
    Works(Option<Timestamp>),
}

fn old(visited: &Visited) -> Old {
    match &visited.leaked {
        Some(outlook) if outlook.live == 0 && !outlook.exposed => Old::Dead,
        Some(outlook) => Old::Works(outlook.safe_at),
        None => Old::Works(visited.status.look_again),
    }
}

/// The waits of one list, each with the date at which it would be, or is, over.
fn waits(list: &[(Wait, Timestamp)]) -> String {
    let told = list.iter().map(|(wait, until)| format!("{wait} (until {until})"));
    told.collect::<Vec<_>>().join(", ")
}

fn leak(visited: &Visited, credential: &Credential, took: Duration) -> String {
    let name = &credential.name;
    let ended = visited.steps.iter().filter(|(step, _)| matches!(step, Step::Revoke { .. })).count();
    let settle = human(credential.policy.settle);
    let (skipped, kept) = visited.leaked.as_ref().map_or((String::new(), String::new()), |outlook| {
        let kept = if outlook.kept.is_empty() { String::new() } else { format!(", {}", waits(&outlook.kept)) };
        (waits(&outlook.skipped), kept)
    });
    let skipped =
        format!("skipped: {skipped}; not skipped: the login with the new value before it was published{kept}");
    let tokens =
        "tokens that were issued with the leaked value live until they expire: see the vendor's own way to end them";
    match old(visited) {
        Old::Dead => format!(
            "{name}: rotated, and SAFE: {ended} older credential{} ended {} after the command began; only the new one lives\n  \
             {skipped}\n  {tokens}",
            if ended == 1 { " was" } else { "s were" },
            seconds(took),
        ),
        Old::Works(until) => {
            let looked = visited.status.looked;
            let when = match until {
                Some(until) => format!("from {until} on (in {})", human(until.since(looked))),
                None => "once what is in the way is gone".into(),
            };
            format!(
                "{name}: rotated, but NOT SAFE yet: an older credential of this secret still works\n  \
                 it is ended {when}: changes to a secret younger than {settle} are not relied upon, so that a replica \
                 that slept can't bring a dead value back\n  \
                 the daemon does it then; without one, `keyferry once --config …` after that date. To end it at this \
                 moment, end it at the vendor by hand: consumers read the new one\n  {skipped}\n  {tokens}"
            )
        }
    }
}

fn leak_facts(visited: &Visited) -> Value {
    let (dead, safe_from) = match old(visited) {
        Old::Dead => (true, None),
        Old::Works(until) => (false, until.map(|date| date.to_string())),
    };
    json!({
        "safe": rotated(visited) && dead,
        "safe_from": safe_from,
        "skipped": visited.leaked.as_ref().map(|outlook| listed(&outlook.skipped)),
        "kept": visited.leaked.as_ref().map(|outlook| listed(&outlook.kept)),
    })
}

fn listed(waits: &[(Wait, Timestamp)]) -> Vec<Value> {
    waits.iter().map(|(wait, until)| json!({ "wait": wait.to_string(), "until": until.to_string() })).collect()
}

fn seconds(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}
