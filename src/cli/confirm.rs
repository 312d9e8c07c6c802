//! `confirm`: a consumer's word that it has the new value, so that the old one may go. Kept as a tag
//! of the AWS secret.

use serde_json::json;

use crate::cli::Source;
use crate::cli::outcome::{self, Outcome};
use crate::cli::report::Printer;
use crate::cli::{resume, select};
use crate::engine::Engine;
use crate::engine::reconcile::AskVendor;
use crate::model::credential::Credential;
use crate::model::fault::Fault;
use crate::model::label::Label;
use crate::model::name::VersionId;
use crate::rotation::person::{self, Refusal};

const NOT: &str = "NOT confirmed, and nothing was changed";

/// Options of `confirm`.
#[derive(clap::Args)]
pub struct Arguments {
    /// A declared name.
    #[arg(value_name = "NAME")]
    name: String,
    /// The version that the consumer has; refused when it is not the current one. Without it, the
    /// current one.
    #[arg(long, value_name = "VERSION", value_parser = resume::version)]
    version: Option<VersionId>,
}

/// Writes the word down, or says why not.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    let credential = select::by_name(&arguments.name, engine.declaration(), "nothing was confirmed")?;
    let outcome = confirm(&engine, &credential, arguments.version.as_ref()).await;
    let outcome = outcome.unwrap_or_else(|fault| Outcome::failed(&credential.name, NOT, &fault));
    Ok(outcome::print(&[outcome], "confirmed", printer))
}

async fn confirm(engine: &Engine, credential: &Credential, named: Option<&VersionId>) -> Result<Outcome, Fault> {
    let name = &credential.name;
    let glance = engine.glance(credential, AskVendor::Never).await?;
    let seen = person::touchable(glance.view.secret.as_ref(), &credential.policy).and_then(|secret| {
        let current = secret.with(&Label::Current).ok_or(Refusal::NothingCurrent)?;
        person::is_current(secret, named.unwrap_or(&current.id)).map(|()| (secret, current))
    });
    let (secret, current) = match seen {
        Ok(seen) => seen,
        Err(refusal) => return Ok(Outcome::refused(name, NOT, &refusal)),
    };
    engine.confirm(credential, glance.arn()?, &current.id).await?;
    let message = if secret.with(&Label::Previous).is_some_and(|previous| previous.id != current.id) {
        format!("confirmed: consumers have version {}", current.id)
    } else {
        format!("confirmed: consumers have version {}; no older one waits for it", current.id)
    };
    Ok(Outcome::done(name, message).fact("version", json!(current.id.as_str())))
}
