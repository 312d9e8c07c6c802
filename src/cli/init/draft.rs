//! The draft itself: what of each secret can be known, what is guessed and says so, and what only a
//! person can fill in. `keyferry check` refuses exactly the places that are left to fill in.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::model::capability::{Marking, Proof};
use crate::model::label::{TAG_CREDENTIAL, TAG_DEPLOYMENT, TAG_PREFLIGHT};
use crate::model::name::{Name, SecretName};
use crate::model::observed::{Obstacle, Summary};
use crate::model::option::{Field, Kind};
use crate::model::time::Timestamp;
use crate::rotation::adopt::terraformed;
use crate::stores::aws::Existing;
use crate::vendors::{ALL, Spec, Type};

/// Where the comments begin, at the least.
const COMMENT_COLUMN: usize = 44;
/// The account's default key, as AWS may show it.
const DEFAULT_KEY: &str = "alias/aws/secretsmanager";

/// Where the secrets are.
pub(super) struct Heading<'a> {
    pub prefix: &'a str,
    pub account: &'a str,
    pub region: &'a str,
    pub endpoint: Option<&'a str>,
    pub sts_endpoint: Option<&'a str>,
}

/// What is drafted, and what is not.
pub(super) struct Draft {
    pub stanzas: Vec<Stanza>,
    pub left_out: Vec<LeftOut>,
}

/// One secret that could be declared.
pub(super) struct Stanza {
    pub name: String,
    pub secret: SecretName,
    pub guess: Option<Guess>,
    created: Option<Timestamp>,
    kms_key_id: Option<String>,
    terraformed: bool,
}

/// Which vendor a secret may be of, and by what.
pub(super) struct Guess {
    pub spec: &'static Spec,
    by: &'static str,
}

/// A secret that is not drafted.
pub(super) struct LeftOut {
    pub secret: String,
    pub why: String,
}

impl Draft {
    /// Sorts `existing`: `declared` are in a declaration already.
    pub(super) fn of(existing: &[Existing], prefix: &str, declared: &[&SecretName]) -> Self {
        let mut draft = Self { stanzas: Vec::new(), left_out: Vec::new() };
        let mut taken = BTreeSet::new();
        for one in existing {
            match one {
                Existing::Strange { name } => {
                    let rule = SecretName::new(name).err().map_or(String::new(), |rule| format!(": a name is {rule}"));
                    let why = format!("no declaration can have this name{rule}");
                    draft.left_out.push(LeftOut { secret: shown(name), why });
                }
                Existing::Named { summary, created, kms_key_id } => match spoken_for(summary, declared) {
                    Some(why) => draft.left_out.push(LeftOut { secret: summary.name.to_string(), why }),
                    None => draft.stanzas.push(Stanza {
                        name: free_name(summary.name.as_str(), prefix, &mut taken),
                        guess: guess(summary),
                        secret: summary.name.clone(),
                        created: *created,
                        terraformed: terraformed(&summary.tags),
                        kms_key_id: kms_key_id.clone().filter(|key| !key.ends_with(DEFAULT_KEY)),
                    }),
                },
            }
        }
        draft
    }

    /// The declaration.
    pub(super) fn text(&self, heading: &Heading<'_>) -> String {
        let mut out = Text::default();
        let count = match self.stanzas.len() {
            1 => "1 AWS secret".to_owned(),
            count => format!("{count} AWS secrets"),
        };
        out.line(&format!(
            "# Drafted by `keyferry init --prefix {}` from {count} of account {} in",
            heading.prefix, heading.account
        ));
        out.line(&format!("# {}, by their names, tags and dates. No value was read.", heading.region));
        out.line("#");
        out.line("# 1. Fill in what is marked TODO: `keyferry check` names what is still missing.");
        out.line("# 2. `keyferry plan` looks at AWS and the vendors, and changes nothing.");
        out.line("# 3. Take each credential under management as it is: `keyferry orphans NAME` lists the");
        out.line("#    vendor's ids, `keyferry adopt NAME ID` proves by a login that the two belong together.");
        out.line("#    Where Terraform made them, have it let go first: the README says how.");
        out.line("# 4. Say when they are to be rotated. Until then nothing is.");
        out.line("");
        out.noted("deployment = \"TODO\"", "TODO: whose secrets these are, such as \"prod-west\"");
        out.line("");
        out.line("[aws]");
        out.line(&format!("region = {:?}", heading.region));
        out.noted(&format!("account = {:?}", heading.account), "any other account is refused");
        if let Some(endpoint) = heading.endpoint {
            out.line(&format!("endpoint_url = {endpoint:?}"));
        }
        if let Some(endpoint) = heading.sts_endpoint {
            out.line(&format!("sts_endpoint_url = {endpoint:?}"));
        }
        let used =
            |spec: &Spec| self.stanzas.iter().any(|one| one.guess.as_ref().is_some_and(|g| g.spec.kind == spec.kind));
        for spec in ALL {
            out.line("");
            vendor(&mut out, spec, used(spec));
        }
        out.line("");
        out.line("[defaults]");
        out.noted("rotate = \"manual\"", "TODO, once all are adopted: \"30d\", or { cron = \"…\", … }");
        for stanza in &self.stanzas {
            out.line("");
            stanza.write(&mut out);
        }
        if !self.left_out.is_empty() {
            out.line("");
            out.line("# Left out:");
            for one in &self.left_out {
                out.line(&format!("#   {}: {}", one.secret, one.why));
            }
        }
        out.0
    }
}

/// Why a secret is nobody's to declare, or declared already.
fn spoken_for(summary: &Summary, declared: &[&SecretName]) -> Option<String> {
    if declared.contains(&&summary.name) {
        return Some("declared already".into());
    }
    let tag = |key: &str| summary.tags.get(key).map(|text| shown(text));
    if tag(TAG_PREFLIGHT).is_some() {
        return Some("a throw-away secret of `keyferry preflight`".into());
    }
    if let Some(deployment) = tag(TAG_DEPLOYMENT) {
        let credential = tag(TAG_CREDENTIAL).unwrap_or_default();
        return Some(format!("keyferry manages it: deployment `{deployment}`, credential `{credential}`"));
    }
    Some(match &summary.obstacle {
        None if summary.name.is_managed() => "by its name, an AWS service manages it".into(),
        None => return None,
        Some(Obstacle::ScheduledForDeletion(_)) => "it is scheduled for deletion".into(),
        Some(Obstacle::NativeRotation) => "Secrets Manager rotates it itself".into(),
        Some(Obstacle::PartnerType(partner)) => format!("it is managed for the partner `{}`", shown(partner)),
        Some(Obstacle::ManagedBy(service)) => format!("the service `{}` manages it", shown(service)),
        Some(Obstacle::Replica { primary }) => format!("a replica; the primary is in {}", shown(primary)),
    })
}

/// The vendor whose name stands in the secret's name or tags, where only one's does.
fn guess(summary: &Summary) -> Option<Guess> {
    let within = |texts: &[&str]| {
        let has = |spec: &&&'static Spec| texts.iter().any(|text| text.to_ascii_lowercase().contains(spec.kind));
        let mut found = ALL.iter().filter(has);
        found.next().filter(|_| found.next().is_none()).copied()
    };
    if let Some(spec) = within(&[summary.name.as_str()]) {
        return Some(Guess { spec, by: "its name" });
    }
    let tags: Vec<&str> = summary.tags.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]).collect();
    within(&tags).map(|spec| Guess { spec, by: "its tags" })
}

/// A credential's name from its secret's, each once.
fn free_name(secret: &str, prefix: &str, taken: &mut BTreeSet<String>) -> String {
    let rest = secret.strip_prefix(prefix).filter(|rest| !rest.is_empty()).unwrap_or(secret);
    let plain: String = rest
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' })
        .take(100)
        .collect();
    let trimmed = plain.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let base = if Name::new(trimmed).is_ok() { trimmed } else { "secret" };
    let mut name = base.to_owned();
    let mut number = 1;
    while !taken.insert(name.clone()) {
        number += 1;
        name = format!("{base}-{number}");
    }
    name
}

/// The vendor's table, or where nothing is known to be of that vendor, how it would look.
fn vendor(out: &mut Text, spec: &Spec, used: bool) {
    let mark = if used { "" } else { "# " };
    let note = if used { "" } else { "TODO: without the `#` if some are of it" };
    out.noted(&format!("{mark}[vendors.{}]", spec.kind), note);
    out.line(&format!("{mark}kind = {:?}", spec.kind));
    for field in spec.fields.iter().filter(|field| field.required) {
        let variable = format!("KEYFERRY_{}_{}", spec.kind, field.name).to_ascii_uppercase();
        match field.kind {
            Kind::Secret => {
                let by = "or { file = \"…\" }, { systemd_credential = \"…\" }";
                out.noted(&format!("{mark}{} = {{ env = {variable:?} }}", field.name), by);
            }
            _ => out.noted(&format!("# {} = \"…\"", field.name), &format!("TODO: {}", field.doc)),
        }
    }
    // What its credentials need, and may have from here.
    let needs = |kind: &Type, field: &Field| {
        let required = kind.fields.iter().any(|own| own.required && own.name == field.name);
        required || kind.capabilities.proof == Proof::LoginAt(field.name)
    };
    for field in spec.fields.iter().filter(|field| !field.required && spec.types.iter().any(|kind| needs(kind, field)))
    {
        out.noted(&format!("# {} = \"…\"", field.name), &format!("TODO: {}", field.doc));
    }
}

impl Stanza {
    fn write(&self, out: &mut Text) {
        if self.terraformed {
            out.line("# By its tags, Terraform made it: have it let go first.");
        }
        out.line("[[credential]]");
        out.line(&format!("name = {:?}", self.name));
        let kind = self.guess.as_ref().map(|guess| (guess.spec, likely(guess.spec)));
        match &self.guess {
            Some(guess) => {
                out.noted(&format!("vendor = {:?}", guess.spec.kind), &format!("TODO: guessed from {}", guess.by))
            }
            None => out.noted("vendor = \"TODO\"", "TODO: the name of a [vendors.…] table"),
        }
        match kind {
            Some((spec, Some(kind))) => {
                let others: Vec<&str> = spec.types.iter().map(|one| one.name).filter(|one| *one != kind.name).collect();
                let note = if others.is_empty() { String::new() } else { format!("TODO: or {}", others.join(", ")) };
                out.noted(&format!("type = {:?}", kind.name), &note);
                let own = |field: &&Field| field.required && spec.fields.iter().all(|one| one.name != field.name);
                for field in kind.fields.iter().filter(own) {
                    out.noted(&format!("# {} = \"…\"", field.name), &format!("TODO: {}", field.doc));
                }
            }
            Some((spec, None)) => {
                let all: Vec<&str> = spec.types.iter().map(|one| one.name).collect();
                out.noted("type = \"TODO\"", &format!("TODO: one of {}, and its options", all.join(", ")));
            }
            None => out.noted("type = \"TODO\"", "TODO: what it is there, and its options"),
        }
        out.line("[credential.secret]");
        let made = self.created.map_or(String::new(), |date| format!("made {date}"));
        out.noted(&format!("name = {:?}", self.secret.as_str()), &made);
        if let Some(key) = &self.kms_key_id {
            out.noted(&format!("kms_key_id = {key:?}"), "its key, for `keyferry iam`");
        }
        let stored = kind.and_then(|(_, kind)| kind).map(|kind| {
            let keys: Vec<String> = kind.proof_outputs.iter().map(|name| format!("{name:?}: \"…\"")).collect();
            format!("TODO if what is stored is not {{{}}}", keys.join(", "))
        });
        out.noted(
            "# value = { KEY = \"{output}\", … }",
            &stored.unwrap_or_else(|| "TODO if other keys are stored".into()),
        );
        out.line(&format!("#   keyferry orphans {0} && keyferry adopt {0} ID", self.name));
    }
}

/// The type that a credential of this vendor most likely is: the first in its list, or none where that
/// one keeps its value at the vendor.
fn likely(spec: &'static Spec) -> Option<&'static Type> {
    spec.types.first().filter(|kind| spec.types.len() == 1 || kind.capabilities.marking != Marking::InPlace)
}

/// A tag or a name may hold anything.
fn shown(text: &str) -> String {
    text.chars().take(128).flat_map(char::escape_debug).collect()
}

/// Lines, with comments that stand below each other.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn noted(&mut self, text: &str, note: &str) {
        match note {
            "" => self.line(text),
            note => writeln!(self.0, "{text:<COMMENT_COLUMN$} # {note}").expect("a text takes what is written to it"),
        }
    }
}

#[cfg(test)]
mod tests;
