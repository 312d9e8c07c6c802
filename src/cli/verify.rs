//! `verify`: a live login with the value that consumers read. Needs `GetSecretValue` on AWSCURRENT,
//! which rotating does not.

use std::sync::Arc;

use serde_json::json;

use crate::cli::outcome::{self, Outcome};
use crate::cli::report::Printer;
use crate::cli::select::Selection;
use crate::cli::{Source, code};
use crate::engine::Engine;
use crate::engine::reconcile::AskVendor;
use crate::model::credential::Credential;
use crate::model::fault::Fault;
use crate::model::label::Label;
use crate::rotation::person::Refusal;
use crate::vendors::Verdict;

/// Options of `verify`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Selection,
}

/// Logs in with each, and says of each what the vendor said. Without names, with all.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    let wanted = arguments.which.pick(engine.declaration(), "nothing was tried")?;
    let outcomes = outcome::each(&wanted, printer, "logging in with", |credential| {
        let engine = Arc::clone(&engine);
        async move {
            let outcome = verify(&engine, &credential).await;
            outcome.unwrap_or_else(|fault| {
                Outcome::failed(&credential.name, "unknown", &fault).fact("verdict", json!("unknown"))
            })
        }
    })
    .await;
    Ok(outcome::print(&outcomes, "good", printer))
}

async fn verify(engine: &Engine, credential: &Credential) -> Result<Outcome, Fault> {
    let name = &credential.name;
    let glance = engine.glance(credential, AskVendor::Never).await?;
    let current = glance.view.secret.as_ref().and_then(|secret| secret.with(&Label::Current));
    let Some(current) = current else {
        let refusal = if glance.secret.is_some() { Refusal::NothingCurrent } else { Refusal::NoSecret };
        return Ok(Outcome::refused(name, "unknown", &refusal).fact("verdict", json!("unknown")));
    };
    let verdict = engine.verify_current(credential, glance.arn()?, &current.id).await?;
    let outcome = match verdict {
        Verdict::Good => Outcome::done(name, format!("good: the vendor accepts version {}", current.id))
            .fact("verdict", json!("good")),
        Verdict::Bad { answer } => {
            let message = format!("BAD: the vendor refuses version {}, which consumers read: {answer}", current.id);
            Outcome::undone(name, code::DEAD, message)
                .with_hint(format!("`keyferry rotate {name}` publishes a fresh credential now; `keyferry rollback {name}` goes back to the one before, if it still lives"))
                .fact("verdict", json!("bad"))
        }
        Verdict::CannotTell { answer } => {
            let message = format!("unknown: no login can tell whether version {} works: {answer}", current.id);
            Outcome::undone(name, code::FAILING, message).fact("verdict", json!("unknown"))
        }
    };
    Ok(outcome.fact("version", json!(current.id.as_str())))
}
