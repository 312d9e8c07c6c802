//! `rollback`: back to the version before, while its credential lives. It logs in with it first,
//! and only then moves AWSCURRENT; the newer one is kept until a person decides.

use serde_json::json;

use crate::cli::Source;
use crate::cli::outcome::{self, Outcome};
use crate::cli::report::Printer;
use crate::cli::{code, held, resume, select};
use crate::engine::Engine;
use crate::engine::reconcile::AskVendor;
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::name::VersionId;
use crate::model::policy::Verify;
use crate::model::time::human;
use crate::rotation::calendar;
use crate::rotation::person::{self, Back};
use crate::vendors::Verdict;

const NOT_MOVED: &str = "NOT rolled back, and nothing was moved";

/// Options of `rollback`.
#[derive(clap::Args)]
pub struct Arguments {
    /// A declared name.
    #[arg(value_name = "NAME")]
    name: String,
    /// The version to go back to; it must be the previous one.
    #[arg(long, value_name = "VERSION", value_parser = resume::version)]
    to: Option<VersionId>,
}

/// Goes back, or says why not.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    let credential = select::by_name(&arguments.name, engine.declaration(), "nothing was moved")?;
    let outcome = roll_back(&engine, &credential, arguments.to.as_ref()).await;
    let outcome = outcome.unwrap_or_else(|fault| match fault.class {
        Class::InDoubt => Outcome::failed(&credential.name, "perhaps rolled back", &fault)
            .with_hint(format!("`keyferry history {}` shows which version is current", credential.name)),
        Class::Taken => Outcome::failed(&credential.name, NOT_MOVED, &fault)
            .with_hint("AWSCURRENT may have moved at the same time: look at it again before you decide"),
        _ => Outcome::failed(&credential.name, NOT_MOVED, &fault),
    });
    Ok(outcome::print(&[outcome], "rolled_back", printer))
}

async fn roll_back(engine: &Engine, credential: &Credential, to: Option<&VersionId>) -> Result<Outcome, Fault> {
    let name = &credential.name;
    let glance = engine.glance(credential, AskVendor::Never).await?;
    let back = match person::back(glance.view.secret.as_ref(), to, &credential.policy) {
        Ok(back) => back,
        Err(refusal) => return Ok(Outcome::refused(name, NOT_MOVED, &refusal)),
    };
    let Some(secret) = &glance.secret else { return glance.arn().map(|_| unreachable(name)) };
    match engine.roll_back(credential, secret, &back).await? {
        Verdict::Bad { answer } => {
            let why = format!("{NOT_MOVED}: the vendor refuses the previous credential: {answer}");
            Ok(Outcome::undone(name, code::FAILING, why)
                .with_hint(format!("`keyferry rotate {name}` publishes a fresh credential now")))
        }
        Verdict::CannotTell { answer } if credential.policy.verify == Verify::Required => {
            let why = format!("{NOT_MOVED}: no login can tell whether the previous credential works: {answer}");
            Ok(Outcome::undone(name, code::FAILING, why)
                .with_hint("`verify = \"best-effort\"` in the declaration accepts values that nobody proved"))
        }
        Verdict::Good | Verdict::CannotTell { .. } => {
            let listed = |id: &VersionId| glance.view.secret.iter().flat_map(|one| &one.versions).find(|v| v.id == *id);
            let shown = listed(&back.to).map_or_else(|| back.to.to_string(), held::shown);
            let due = listed(&back.to)
                .and_then(|version| calendar::due(&credential.policy, version.lease()?.since))
                .filter(|due| *due <= glance.now.store);
            let message =
                if back.forward { forward(&shown) } else { backward(credential, &shown, &back, due.is_some()) };
            Ok(Outcome::done(name, message)
                .fact("current", json!(back.to.as_str()))
                .fact("kept", json!(back.from.as_str()))
                .fact("forward", json!(back.forward)))
        }
    }
}

fn unreachable(name: &crate::model::name::Name) -> Outcome {
    Outcome::undone(name, code::FAILING, NOT_MOVED)
}

fn forward(shown: &str) -> String {
    format!(
        "forward again: AWSCURRENT is on {shown}, after a login with it\n  \
         keyferry goes on as if it had not been rolled back: the older version is ended when the overlap is over"
    )
}

fn backward(credential: &Credential, shown: &str, back: &Back, due: bool) -> String {
    let (name, overlap) = (&credential.name, human(credential.policy.overlap));
    let mut text = format!(
        "rolled back: AWSCURRENT is on {shown}, after a login with it\n  \
         the newer version {} is kept, and keyferry holds still until you decide (held, rolled-back):\n    \
         keyferry resume {name} --accept {}\n      keeps the older one; the newer one is ended after the overlap ({overlap})\n    \
         keyferry rollback {name}\n      goes forward again to the newer one",
        back.from, back.to
    );
    if due {
        text.push_str(&format!(
            "\n  by the calendar the older one is due: once accepted, it is replaced as soon as the overlap is over;\n  \
             `keyferry pause {name} --for …` puts that off"
        ));
    }
    text
}
