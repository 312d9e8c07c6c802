//! `history`: the versions of one secret, newest first, as far as AWS still lists them: it forgets
//! those without labels after a while.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::report::{Output, Printer, say};
use crate::cli::{Source, code, select};
use crate::engine::reconcile::AskVendor;
use crate::model::attempt::Note;
use crate::model::capability::Marking;
use crate::model::label::{Label, Tracked};
use crate::model::name::VersionId;
use crate::model::time::Timestamp;
use crate::rotation::view::{Role, Secret, Version};

/// Options of `history`.
#[derive(clap::Args)]
pub struct Arguments {
    /// A declared name.
    #[arg(value_name = "NAME")]
    name: String,
}

/// Prints the versions.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    let credential = select::by_name(&arguments.name, engine.declaration(), "nothing was looked at")?;
    let glance = engine.glance(&credential, AskVendor::Never).await?;
    let Some(secret) = &glance.view.secret else {
        let message = format!("there is no AWS secret {} yet", credential.destination.name);
        match printer.output() {
            Output::Json => {
                printer.json(&json!({ "name": credential.name.as_str(), "versions": [], "exit_code": code::FINE }));
            }
            Output::Text => say(format_args!("{}: {message}", credential.name)),
        }
        return Ok(code::FINE);
    };
    let mut versions: Vec<&Version> = secret.versions.iter().collect();
    // A claim and its slot may be of one second: the result stands above the claim.
    versions.sort_by_key(|version| std::cmp::Reverse((version.created, version.slot().is_some())));
    let notes = glance.notes();
    let in_place = credential.policy.capabilities.marking == Marking::InPlace;
    match printer.output() {
        Output::Json => {
            let rows: Vec<Value> = versions.iter().map(|version| row(version, secret, &notes, in_place)).collect();
            printer.json(&json!({
                "name": credential.name.as_str(),
                "secret": credential.destination.name.as_str(),
                "versions": rows,
                "exit_code": code::FINE,
            }));
        }
        Output::Text => {
            let (name, aws) = (&credential.name, &credential.destination.name);
            if versions.is_empty() {
                say(format_args!("{name}: the AWS secret {aws} has no version yet"));
            }
            for version in versions {
                say(lines(version, secret, &notes, in_place));
            }
        }
    }
    Ok(code::FINE)
}

type Notes = BTreeMap<VersionId, Note>;

/// Why a person asked for the attempt that a claim or slot is of.
fn note<'a>(version: &Version, notes: &'a Notes) -> Option<&'a Note> {
    match &version.role {
        Role::Claim(of) | Role::Slot(of) => notes.get(&of.attempt.slot_id()),
        Role::Other => None,
    }
}

/// What a version was or is for.
fn role(version: &Version, secret: &Secret) -> &'static str {
    match &version.role {
        Role::Claim(_) => "claim",
        Role::Other if version.lease().is_some() => "adopted",
        Role::Other => "by hand",
        Role::Slot(_) if version.has(&Label::Closed) => "tombstone",
        Role::Slot(_) if version.lease().is_some() => "credential",
        // A first version is published by AWS itself.
        Role::Slot(_) if version.referenced() || version.base() == Some(&None) => "credential",
        Role::Slot(_) if replaced(version, secret) => "credential",
        // Without labels a tombstone and a candidate that was given up look alike.
        Role::Slot(_) => "not used",
    }
}

/// Whether an attempt was made to replace it, so that it was current once.
fn replaced(version: &Version, secret: &Secret) -> bool {
    let base = Some(version.id.clone());
    secret.versions.iter().any(|one| match &one.role {
        Role::Claim(of) | Role::Slot(of) => of.origin.as_ref().is_some_and(|(origin, _)| *origin == base),
        Role::Other => false,
    })
}

fn origin(version: &Version) -> Option<(Option<&VersionId>, u32)> {
    match &version.role {
        Role::Claim(of) | Role::Slot(of) => of.origin.as_ref().map(|(base, number)| (base.as_ref(), *number)),
        Role::Other => None,
    }
}

/// How it stands now, in a few words.
fn standing(version: &Version, role: &str, in_place: bool) -> &'static str {
    match role {
        "claim" if version.labels.is_empty() => "its attempt is resolved",
        "claim" => "its attempt is open",
        "tombstone" => "its attempt was given up",
        "not used" => "its attempt was given up, and nothing was published from it",
        "by hand" => "not keyferry's",
        // One record at the vendor, and no lease: it holds the value that is current.
        _ if in_place && version.has(&Label::Current) => "the vendor's record holds it; consumers read it",
        _ if in_place && version.has(&Label::Pending) => "waits to be set at the vendor",
        _ if in_place => "replaced: the vendor's record holds another value now",
        _ if version.lease().is_none() => "revoked",
        _ if version.has(&Label::Current) => "lives; consumers read it",
        _ if version.has(&Label::Previous) => "lives, in its overlap",
        _ if version.has(&Label::Pending) => "lives; waits for its login",
        _ => "lives, out of use; about to be revoked",
    }
}

fn since(version: &Version) -> Timestamp {
    version.lease().map_or(version.created, |lease| lease.since)
}

fn lines(version: &Version, secret: &Secret, notes: &Notes, in_place: bool) -> String {
    let role = role(version, secret);
    let mut text = format!("{}  {role:<10}  {}", version.created, version.id);
    let stages: Vec<String> = version
        .labels
        .iter()
        .filter(|label| !matches!(label, Label::Cred(_) | Label::Open(_)))
        .map(ToString::to_string)
        .collect();
    let mut said = stages;
    said.push(standing(version, role, in_place).into());
    text.push_str(&format!("\n{:22}{}", "", said.join(" · ")));
    let mut about = Vec::new();
    match version.lease().map(|lease| &lease.tracked) {
        Some(Tracked::Plain(id)) => about.push(format!("credential `{id}`")),
        Some(Tracked::Hashed(digest)) => {
            about.push(format!("credential with the hash {}…", &digest[..digest.len().min(12)]))
        }
        None => {}
    }
    match origin(version) {
        Some((None, number)) => about.push(format!("attempt {number} at a first value")),
        Some((Some(base), number)) => about.push(format!("attempt {number} to replace {base}")),
        None if version.role != Role::Other => about.push("of a version that AWS no longer lists".into()),
        None => {}
    }
    if !about.is_empty() {
        text.push_str(&format!("\n{:22}{}", "", about.join(", ")));
    }
    if let Some(note) = note(version, notes) {
        text.push_str(&format!("\n{:22}asked for because: {note}", ""));
    }
    text
}

fn row(version: &Version, secret: &Secret, notes: &Notes, in_place: bool) -> Value {
    let role = role(version, secret);
    let labels: Vec<String> = version.labels.iter().map(ToString::to_string).collect();
    let id = version.lease().and_then(|lease| lease.tracked.id()).map(ToString::to_string);
    let origin = origin(version);
    json!({
        "version": version.id.as_str(),
        "created": version.created.to_string(),
        "since": since(version).to_string(),
        "role": role,
        "standing": standing(version, role, in_place),
        "labels": labels,
        "credential": id,
        "live": version.lease().is_some() || in_place && version.has(&Label::Current),
        "because": note(version, notes).map(Note::as_str),
        "attempt": origin.map(|(_, number)| number),
        "base": origin.and_then(|(base, _)| base).map(VersionId::as_str),
    })
}
