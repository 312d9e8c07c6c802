//! References to admin secrets: where a secret is read from, never the secret itself.

use std::path::{Path, PathBuf};

use super::diagnostic::{Code, Problem};
use super::mask;
use super::notes::{Notes, Span};
use super::targets::Targets;
use super::texts::plain;
use super::tree::{Item, Table, Text};
use crate::files::Content;
use crate::model::name::SecretName;
use crate::model::option::Reference;

/// How a reference to a secret is written.
const REFERENCES: &str = "write a reference: { env = \"NAME\" }, { file = \"/run/secrets/name\" }, \
     { systemd_credential = \"name\" } or { aws_secret = { name = \"…\", key = \"…\" } }";

const REFERENCE_KEYS: [&str; 5] = ["env", "file", "systemd_credential", "aws_secret", "sandbox"];

/// Reads a reference to an admin secret. Whatever is not one may be the secret itself, so none of
/// it is shown.
pub(super) fn reference(notes: &mut Notes<'_>, key: &str, item: Item<'_>, targets: &Targets) -> Option<Reference> {
    let Some(table) = item.as_table() else {
        mask::leaves(notes, item);
        notes.push(
            Problem::error(Code::InlineSecret, item.span, format!("`{key}` stands in the declaration itself"))
                .label("not shown")
                .help(format!(
                    "never write a secret inline; {REFERENCES}. If this was the secret, replace it: it has been in a file"
                )),
        );
        return None;
    };
    let found = one_reference(notes, key, table, targets);
    if found.is_none() {
        mask::leaves(notes, item);
    }
    found
}

pub(super) fn one_reference(
    notes: &mut Notes<'_>,
    key: &str,
    table: Table<'_>,
    targets: &Targets,
) -> Option<Reference> {
    notes.unknown_keys(table, REFERENCE_KEYS.into_iter(), true, None);
    if table.iter().any(|(key, ..)| !REFERENCE_KEYS.contains(&key)) {
        return None;
    }
    let mut ways = table.iter();
    let Some((way, at, item)) = ways.next() else {
        let message = format!("`{key}` refers to nothing");
        notes.push(Problem::error(Code::MissingKey, table.span, message).help(REFERENCES));
        return None;
    };
    if let Some((_, second, _)) = ways.next() {
        let message = format!("`{key}` refers to two places");
        let problem = Problem::error(Code::Disagreement, second, message).other(at, "the other one");
        notes.push(problem.help("keep one of them"));
        return None;
    }
    one_place(notes, key, way, item, targets)
}

/// Reads one way of saying where a secret is.
fn one_place(notes: &mut Notes<'_>, key: &str, way: &str, item: Item<'_>, targets: &Targets) -> Option<Reference> {
    let mut refuse = |span: Span, rule: &str| {
        let message = format!("`{way}` of `{key}` is not usable");
        let help = format!("{rule}; if this was the secret itself, replace it: it has been in a file");
        notes.push(Problem::error(Code::InlineSecret, span, message).label("not shown").help(help));
    };
    let among = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    match (way, item.as_text()) {
        ("env", Some(Text { text, .. })) => {
            if text.is_empty()
                || text.len() > 255
                || !among(text, "_")
                || text.starts_with(|c: char| c.is_ascii_digit())
            {
                refuse(item.span, "write the name of an environment variable: letters, digits and `_`");
                return None;
            }
            Some(Reference::Env(text.to_owned()))
        }
        ("file", Some(Text { text, .. })) => {
            if !text.starts_with('/') || text.len() > 4_096 || text.chars().any(char::is_control) {
                refuse(item.span, "write an absolute path: a relative one would depend on where keyferry was started");
                return None;
            }
            notes.doubts(Path::new(text), Content::Secret, item.span);
            Some(Reference::File(PathBuf::from(text)))
        }
        ("systemd_credential", Some(Text { text, .. })) => {
            if text.is_empty() || text.len() > 255 || !among(text, "_.-") || text.starts_with('.') {
                refuse(item.span, "write the name in `LoadCredential=`: letters, digits, `.`, `_` and `-`");
                return None;
            }
            Some(Reference::SystemdCredential(text.to_owned()))
        }
        ("aws_secret", _) => match item.as_table() {
            Some(table) => aws_secret(notes, table, targets),
            None => {
                refuse(item.span, "write `aws_secret = { name = \"…\", key = \"…\" }`");
                None
            }
        },
        ("sandbox", _) if item.value.as_bool() == Some(true) => Some(Reference::Sandbox),
        ("sandbox", _) => {
            refuse(item.span, "`sandbox` can only be `true`");
            None
        }
        _ => {
            refuse(item.span, "write a string");
            None
        }
    }
}

fn aws_secret(notes: &mut Notes<'_>, table: Table<'_>, targets: &Targets) -> Option<Reference> {
    notes.unknown_keys(table, ["name", "key", "aws"].into_iter(), true, None);
    if table.iter().any(|(key, ..)| !["name", "key", "aws"].contains(&key)) {
        return None;
    }
    if !table.has("name") {
        notes.missing(table, "name", "`aws_secret`", "write the name of the secret in AWS Secrets Manager");
        return None;
    }
    let text = notes.text(table, "name", "name = \"keyferry/admin\"")?;
    let name = match SecretName::new(text.text) {
        Ok(name) => name,
        Err(rule) => {
            let problem = Problem::error(Code::InlineSecret, text.span, "this is not the name of an AWS secret");
            notes.push(problem.label("not shown").help(format!("write {rule}")));
            return None;
        }
    };
    let key = match table.has("key") {
        true => {
            let key = notes.text(table, "key", "key = \"client_secret\"")?;
            plain(notes, "key", key, 256)?;
            Some(key.text.to_owned())
        }
        false => None,
    };
    let target = match table.has("aws") {
        true => {
            let text = notes.text(table, "aws", "aws = \"main\"")?;
            Some(targets.find(notes, text)?)
        }
        false => {
            targets.only(notes, table.span, "`aws_secret`")?;
            None
        }
    };
    Some(Reference::AwsSecret { target, name, key })
}
