//! `resume`: takes a pause off; and where keyferry holds still because of what a person did by hand,
//! says what going on would mean, and goes on from a version that is named.

use std::sync::Arc;

use serde_json::json;

use crate::cli::held;
use crate::cli::outcome::{self, Outcome};
use crate::cli::report::{Printer, Wrong};
use crate::cli::select::Selection;
use crate::cli::{Source, code};
use crate::engine::Engine;
use crate::engine::person::Glance;
use crate::engine::reconcile::AskVendor;
use crate::engine::snapshot::Paused;
use crate::model::credential::Credential;
use crate::model::fault::Fault;
use crate::model::name::VersionId;
use crate::model::time::human;
use crate::rotation::person::{self, Refusal};

/// Options of `resume`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Selection,
    /// Accept this version, which must be the one that is current, as the one to go on from; for
    /// one NAME.
    #[arg(long, value_name = "VERSION", value_parser = version)]
    accept: Option<VersionId>,
}

/// Reads a version's id.
///
/// # Errors
/// Says what one looks like.
pub fn version(text: &str) -> Result<VersionId, String> {
    VersionId::new(text).map_err(|rule| format!("not the id of a version: {rule}"))
}

/// Resumes each, and says of each what it did and what is left to decide.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    arguments.which.require("nothing was changed")?;
    if arguments.accept.is_some() && arguments.which.names.len() != 1 {
        return Err(Wrong::new("--accept is for one NAME: a version belongs to one secret; nothing was changed").into());
    }
    let engine = super::open(source, printer).await?;
    let wanted = arguments.which.pick(engine.declaration(), "nothing was changed")?;
    let outcomes = outcome::each(&wanted, printer, "resuming", |credential| {
        let engine = Arc::clone(&engine);
        let accept = arguments.accept.clone();
        async move {
            let resumed = resume(&engine, &credential, accept.as_ref()).await;
            resumed.unwrap_or_else(|fault| Outcome::failed(&credential.name, "NOT resumed", &fault))
        }
    })
    .await;
    Ok(outcome::print(&outcomes, "resumed", printer))
}

async fn resume(engine: &Engine, credential: &Credential, accept: Option<&VersionId>) -> Result<Outcome, Fault> {
    let (name, policy) = (&credential.name, &credential.policy);
    let glance = engine.glance(credential, AskVendor::Never).await?;
    if let Err(refusal) = person::touchable(glance.view.secret.as_ref(), policy) {
        return Ok(Outcome::refused(name, "NOT resumed", &refusal));
    }
    let arn = glance.arn()?;
    let mut said = Vec::new();
    if let Some(version) = accept {
        match person::accept(&glance.view, version, policy, glance.now) {
            Ok(()) => {
                engine.accept(credential, arn, version).await?;
                said.push(format!("accepted {version}: keyferry goes on from it"));
            }
            Err(Refusal::NotHeld) => {
                said.push(format!("{version} is current and nothing is held: there was nothing to accept"));
            }
            Err(refusal) => {
                return Ok(Outcome::refused(name, "NOT resumed, and nothing was changed", &refusal));
            }
        }
    }
    let paused = glance.secret.as_ref().and_then(|secret| Paused::of(&secret.tags));
    if let Some(paused) = &paused {
        engine.unpause(credential, arn).await?;
        said.push(format!("the pause is off (it was {paused})"));
    }
    let held = person::held(&glance.view, policy, glance.now);
    if let Some(reason) = held.filter(|_| accept.is_none()) {
        said.push(held::told(reason, &glance, credential));
        let outcome = Outcome::undone(name, code::PERSON, said.join("; "));
        return Ok(outcome.fact("held", held::facts(reason, &glance, credential)));
    }
    if said.is_empty() {
        said.push("not paused, and nothing waits for a person: nothing was changed".into());
    }
    Ok(next(Outcome::done(name, said.join("; ")), &glance, credential, accept.is_some()))
}

/// What comes next, as far as it can be told without the vendor.
fn next(outcome: Outcome, glance: &Glance, credential: &Credential, accepted: bool) -> Outcome {
    let mut after = glance.view.clone();
    after.secret = after.secret.as_ref().map(person::unpaused);
    if accepted && let Some(secret) = &mut after.secret {
        secret.accepted = held::accepted(secret, glance.now.store);
    }
    let decision = crate::rotation::decide(&after, &credential.policy, glance.now);
    let when = match decision.until() {
        _ if decision.step().is_some() => format!("next, now: {}", decision.reason()),
        Some(date) if date > glance.now.store => {
            format!("{}; next look {date} (in {})", decision.reason(), human(date.since(glance.now.store)))
        }
        Some(_) | None => decision.reason().to_string(),
    };
    let next = decision.until().map(|date| date.to_string());
    let message = format!("{}\n  {when}", outcome.message);
    Outcome { message, ..outcome }.fact("reason", json!(decision.reason().code())).fact("next", json!(next))
}
