//! `explain`: why one credential is or isn't being rotated now, and when. Read-only, and without
//! vendor keys too: then it says what it could not see.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cli::report::{Output, Printer, say};
use crate::cli::{Source, code, held, select};
use crate::engine::person::Glance;
use crate::engine::reconcile::AskVendor;
use crate::engine::snapshot::Paused;
use crate::model::capability::Marking;
use crate::model::credential::Credential;
use crate::model::label::Label;
use crate::model::name::VersionId;
use crate::model::time::human;
use crate::rotation::decide::checks::{Check, checks};
use crate::rotation::reason::PREVIOUS_KEPT;
use crate::rotation::{Reason, Step, Turn, person};

/// Options of `explain`.
#[derive(clap::Args)]
pub struct Arguments {
    /// A declared name.
    #[arg(value_name = "NAME")]
    name: String,
}

/// Prints every check in the order in which they are made, and what comes of them.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    let credential = select::by_name(&arguments.name, engine.declaration(), "nothing was looked at")?;
    let glance = engine.glance(&credential, AskVendor::Always).await?;
    let checks = checks(&glance.view, &credential.policy, glance.now);
    let reason = glance.decision.reason();
    let worst = match reason.turn() {
        Turn::Person => code::PERSON,
        Turn::Cause => code::FAILING,
        Turn::Nobody | Turn::Keyferry | Turn::Paused => code::FINE,
    };
    match printer.output() {
        Output::Json => printer.json(&document(&glance, &credential, &checks, worst)),
        Output::Text => text(&glance, &credential, &checks),
    }
    Ok(worst)
}

/// Whose turn it is, in the words of `status`.
fn state(reason: Reason) -> &'static str {
    match reason.turn() {
        Turn::Nobody => "ok",
        Turn::Keyferry => "working",
        Turn::Cause => "blocked",
        Turn::Person => "held",
        Turn::Paused => "paused",
    }
}

fn sentence(glance: &Glance, credential: &Credential) -> &'static str {
    let in_place = credential.policy.capabilities.marking == Marking::InPlace;
    match glance.decision.reason() {
        Reason::InOverlap if in_place => PREVIOUS_KEPT,
        reason => reason.sentence(),
    }
}

fn next(glance: &Glance) -> String {
    let now = glance.now.store;
    match (glance.decision.step(), glance.decision.until()) {
        (None, None) if glance.decision.reason().turn() == Turn::Person => "nothing, until a person decides".into(),
        (None, None) => "nothing, until something outside changes".into(),
        (None, Some(date)) if date > now => format!("a look at {date} (in {})", human(date.since(now))),
        (None, Some(_)) => "a look, now".into(),
        (Some(step), _) => format!("{}, now: {}", step.word(), glance.decision.reason()),
    }
}

/// Why the current value was made, and why the attempts that are open are, in the words of whoever
/// asked.
fn because(glance: &Glance) -> Vec<String> {
    let secret = glance.view.secret.as_ref();
    let open = secret.iter().flat_map(|secret| &secret.claims).map(|claim| claim.attempt.slot_id());
    let current = secret.and_then(|secret| secret.with(&Label::Current)).map(|version| version.id.clone());
    let versions: BTreeSet<VersionId> = open.chain(current).collect();
    let notes = glance.notes().into_iter().filter(|(version, _)| versions.contains(version));
    notes.map(|(_, note)| note.to_string()).collect()
}

fn text(glance: &Glance, credential: &Credential, checks: &[Check]) {
    let reason = glance.decision.reason();
    say(format_args!("{} ({}): {} [{}]", credential.name, state(reason), sentence(glance, credential), reason.code()));
    say(format_args!("  AWS says it is {}; secret {}", glance.now.store, credential.destination.name));
    if let Some(paused) = glance.secret.as_ref().and_then(|secret| Paused::of(&secret.tags))
        && reason == Reason::Paused
    {
        say(format_args!("  {paused}"));
    }
    for note in because(glance) {
        say(format_args!("  rotation asked for because: {note}"));
    }
    say("");
    for check in checks {
        let mark = if check.stops.is_some() { "x" } else { "-" };
        say(format_args!("  {mark} {:<11} {}", check.what, check.found));
    }
    say(format_args!("\n  next: {}", next(glance)));
    if let Some(reason) = person::held(&glance.view, &credential.policy, glance.now) {
        say(format_args!("\n{}", held::told(reason, glance, credential)));
    } else if let Some(hint) = reason.hint() {
        say(format_args!("  hint: {}", hint.replace("<name>", credential.name.as_str())));
    }
    for fault in &glance.unseen {
        say(format_args!("\nnot seen: {fault}"));
        if let Some(hint) = &fault.hint {
            say(format_args!("  hint: {hint}"));
        }
    }
}

fn document(glance: &Glance, credential: &Credential, checks: &[Check], worst: u8) -> Value {
    let reason = glance.decision.reason();
    let row = |check: &Check| {
        let stops = check.stops.map(Reason::code);
        json!({ "check": check.what, "found": check.found, "stops": stops })
    };
    let held = person::held(&glance.view, &credential.policy, glance.now);
    json!({
        "name": credential.name.as_str(),
        "state": state(reason),
        "reason": reason.code(),
        "message": sentence(glance, credential),
        "hint": reason.hint().map(|hint| hint.replace("<name>", credential.name.as_str())),
        "secret": credential.destination.name.as_str(),
        "because": because(glance),
        "now": glance.now.store.to_string(),
        "step": glance.decision.step().map_or("wait", Step::word),
        "next": glance.decision.until().map(|date| date.to_string()),
        "checks": checks.iter().map(row).collect::<Vec<_>>(),
        "held": held.map(|reason| held::facts(reason, glance, credential)),
        "not_seen": glance.unseen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "exit_code": worst,
    })
}
