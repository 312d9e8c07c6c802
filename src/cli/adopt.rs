//! `adopt`: takes a credential that is there already and the AWS secret that holds it under
//! management, as they are. Proves by a login that they belong together; rotates nothing, changes
//! nothing at the vendor, and writes labels and tags alone.

use serde_json::json;

use crate::cli::outcome::{self, Outcome};
use crate::cli::report::Printer;
use crate::cli::{Source, code, orphans, select};
use crate::engine::Engine;
use crate::engine::adopt::{Adopted, Undone};
use crate::model::capability::{Marking, Proof};
use crate::model::credential::Credential;
use crate::model::fault::Class;
use crate::model::name::VendorId;
use crate::model::time::{Now, human};
use crate::rotation::adopt::{Allowed, Candidate, Judged, Refused};
use crate::rotation::view::View;
use crate::rotation::{Reason, Step, calendar, decide};

const NOT: &str = "NOT adopted, and nothing was changed";

/// What somebody has to do whose secret Terraform made.
const TERRAFORM: &str = "  its tags say that Terraform made it: have it let go of the secret and the credential \
     (`removed` blocks with `destroy = false`), or\n  its next run may undo this; where it keeps the secret, let it \
     ignore keyferry's tags: `ignore_tags { key_prefixes = [\"keyferry:\"] }`";

/// Options of `adopt`.
#[derive(clap::Args)]
pub struct Arguments {
    /// A declared name; its AWS secret must be there, with the credential's value in it.
    #[arg(value_name = "NAME")]
    name: String,
    /// The credential's id at the vendor; `orphans NAME` lists them.
    #[arg(value_name = "ID", value_parser = orphans::vendor_id)]
    id: VendorId,
    /// Take my word for it that the two belong together, where no login can tell.
    #[arg(long)]
    unproved: bool,
    /// The value may be in another shape than is declared; the next rotation changes it.
    #[arg(long)]
    allow_shape_change: bool,
}

/// Adopts, or says why not.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    let credential = select::by_name(&arguments.name, engine.declaration(), "nothing was adopted")?;
    let allowed = Allowed {
        unproved: arguments.unproved,
        shape_change: arguments.allow_shape_change || credential.policy.allow_shape_change,
    };
    let outcome = match engine.adopt(&credential, &arguments.id, allowed).await {
        Ok(Ok(adopted)) => told(&adopted, &engine, &credential, &arguments.id),
        Ok(Err(refused)) => refusal(&refused, &credential, &arguments.id),
        Err(undone) => cut(&undone, &credential, &arguments.id),
    };
    let outcome = outcome.fact("credential", json!(arguments.id.as_str()));
    Ok(outcome::print(&[outcome], "adopted", printer))
}

fn refusal(refused: &Refused, credential: &Credential, id: &VendorId) -> Outcome {
    let code = match refused {
        Refused::NotListed { .. } => code::USAGE,
        refused if refused.asks_a_person() => code::PERSON,
        _ => code::FAILING,
    };
    let outcome = Outcome::undone(&credential.name, code, format!("{NOT}: {refused}")).fact("refused", json!(true));
    match refused.hint() {
        Some(hint) => outcome.with_hint(hint.replace("<name>", credential.name.as_str()).replace("<id>", id.as_str())),
        None => outcome,
    }
}

/// Something went wrong on the way. What was written before stays, and adopting again goes on from it.
fn cut(undone: &Undone, credential: &Credential, id: &VendorId) -> Outcome {
    let (name, fault) = (&credential.name, &undone.fault);
    let again = format!("`keyferry adopt {name} {id}` again goes on from here; until then nothing rotates it");
    match (undone.written, fault.class) {
        (0, Class::InDoubt) => Outcome::failed(name, "perhaps adopted in part", fault).with_hint(again),
        (0, _) => Outcome::failed(name, NOT, fault),
        (_, _) => {
            let outcome = Outcome::failed(name, "adopted in part", fault);
            match &fault.hint {
                Some(hint) => outcome.with_hint(format!("{hint}; {again}")),
                None => outcome.with_hint(again),
            }
        }
    }
}

fn told(adopted: &Adopted, engine: &Engine, credential: &Credential, id: &VendorId) -> Outcome {
    let name = &credential.name;
    match adopted {
        Adopted::Already(candidate) => {
            let text = format!(
                "already adopted: version {} of AWS secret {} is managed as `{id}`; nothing was changed",
                candidate.version, credential.destination.name
            );
            Outcome::done(name, text).fact("version", json!(candidate.version.as_str())).fact("writes", json!(0))
        }
        Adopted::Now { candidate, judged, writes, terraformed, view, now } => {
            let mut lines = vec![first(candidate, judged, engine, credential, id)];
            lines.extend(judged.unproved.iter().map(|why| format!("  unproved: {why}")));
            lines.push(format!("  {}", age(candidate, credential, *now)));
            lines.extend(next(view, credential, *now).map(|next| format!("  {next}")));
            if judged.reshaped {
                lines.push(
                    "  the next rotation stores the declared shape: its readers must be able to take that".into(),
                );
            }
            let times = if *writes == 1 { "one write" } else { &format!("{writes} writes") };
            lines
                .push(format!("  {times} to the AWS secret, labels and tags alone; nothing was changed at the vendor"));
            if *terraformed {
                lines.push(TERRAFORM.into());
            }
            Outcome::done(name, lines.join("\n"))
                .fact("version", json!(candidate.version.as_str()))
                .fact("since", json!(candidate.since.to_string()))
                .fact("proved", json!(judged.unproved.is_empty()))
                .fact("shape_changes", json!(judged.reshaped))
                .fact("terraform", json!(terraformed))
                .fact("writes", json!(writes))
        }
    }
}

fn first(candidate: &Candidate, judged: &Judged, engine: &Engine, credential: &Credential, id: &VendorId) -> String {
    let vendors = &engine.declaration().vendors;
    let vendor = vendors.get(&credential.vendor).map_or(credential.vendor.as_str(), |vendor| vendor.spec.title);
    let proof = match credential.policy.capabilities.proof {
        _ if !judged.unproved.is_empty() => "on your word, unproved",
        Proof::Existence => "which the vendor shows as it is declared",
        Proof::Login | Proof::LoginAt(_) | Proof::Impossible => "after a login with it",
    };
    format!(
        "adopted: version {} of AWS secret {} is managed as `{id}` of {vendor}, {proof}",
        candidate.version, credential.destination.name
    )
}

/// From when on its age counts, and when it is due by it.
fn age(candidate: &Candidate, credential: &Credential, now: Now) -> String {
    let since = candidate.since;
    let whose = match credential.policy.capabilities.marking {
        Marking::Named | Marking::Unnamed => "the vendor's date",
        Marking::InPlace => "the version's date in AWS",
    };
    let made = format!("its age counts from {since} ({whose}, {} ago)", human(now.store.since(since)));
    match calendar::due(&credential.policy, since) {
        None => format!("{made}; it is rotated only when asked"),
        Some(due) if due <= now.store => format!("{made}: due since {due}"),
        Some(due) => format!("{made}: due {due}"),
    }
}

/// What the next pass does, where that is more than to look whether it is due.
fn next(view: &View, credential: &Credential, now: Now) -> Option<String> {
    let decision = decide(view, &credential.policy, now);
    let overlap = human(credential.policy.overlap);
    match (decision.step(), decision.reason(), decision.until()) {
        (None, Reason::Healthy | Reason::HealthyManual, _) => None,
        (Some(Step::Claim { .. }), ..) => {
            Some(format!("the next pass (`once`, `run`) replaces it, and it ends after the overlap of {overlap}"))
        }
        (None, reason, Some(date)) if date > now.store => {
            Some(format!("{reason}; next look {date} (in {})", human(date.since(now.store))))
        }
        (None, reason, _) => Some(reason.to_string()),
        (Some(step), reason, _) => Some(format!("next, in a pass: {} ({reason})", step.word())),
    }
}
