//! Values whose rules come from a vendor's own field table: texts, URLs, words, switches, and
//! references to admin secrets. Nothing here knows any vendor.

use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;

use super::diagnostic::{Code, Problem};
use super::mask;
use super::notes::{Notes, Span};
use super::source;
use super::targets::Targets;
use super::tree::{Item, Table, Text, shortened};
use crate::model::name::SecretName;
use crate::model::option::{Field, Kind, Options, Reference, Value};

/// How a reference to a secret is written.
const REFERENCES: &str = "write a reference: { env = \"NAME\" }, { file = \"/run/secrets/name\" }, \
     { systemd_credential = \"name\" } or { aws_secret = { name = \"…\", key = \"…\" } }";

const REFERENCE_KEYS: [&str; 5] = ["env", "file", "systemd_credential", "aws_secret", "sandbox"];

/// A default that comes from elsewhere: the options, and how to call the place in a message.
#[derive(Clone, Copy)]
pub(super) struct Inherited<'a> {
    pub options: &'a Options,
    pub fields: &'static [Field],
    /// Names of those that were given but are wrong: nobody needs a second complaint.
    pub wrong: &'a [&'static str],
    pub place: &'a str,
}

/// What was read.
pub(super) struct Read {
    pub options: Options,
    /// Names of the fields that are wrong or missing.
    pub wrong: Vec<&'static str>,
}

/// Reads the fields of a table; keys that are no fields are the caller's to judge.
pub(super) fn read(
    notes: &mut Notes<'_>,
    table: Table<'_>,
    fields: &'static [Field],
    inherited: Option<Inherited<'_>>,
    targets: &Targets,
    of: &str,
) -> Read {
    let mut read = Read { options: Options::default(), wrong: Vec::new() };
    for field in fields {
        if let Some(item) = table.get(field.name) {
            match value(notes, field, item, targets) {
                Some(value) => read.options.set(field, value),
                None => read.wrong.push(field.name),
            }
            continue;
        }
        let default = inherited.and_then(|from| from.options.iter().find(|(name, _)| *name == field.name));
        if let Some((_, value)) = default {
            read.options.set(field, value.clone());
        } else if field.required {
            read.wrong.push(field.name);
            if inherited.is_some_and(|from| from.wrong.contains(&field.name)) {
                continue;
            }
            let mut help = format!("write `{} = {}`", field.name, example(field.kind));
            if let Some(from) = inherited.filter(|from| from.fields.iter().any(|other| other.name == field.name)) {
                help.push_str(&format!(" here, or once in {}", from.place));
            }
            help.push_str(&format!(": {}", field.doc));
            notes.missing(table, field.name, of, help);
        }
    }
    read
}

fn example(kind: Kind) -> String {
    match kind {
        Kind::Text { .. } => "\"…\"".into(),
        Kind::Url => "\"https://…\"".into(),
        Kind::OneOf(words) => format!("\"{}\"", words.first().unwrap_or(&"…")),
        Kind::Bool => "true".into(),
        Kind::Secret => "{ env = \"NAME\" }".into(),
        Kind::Source { .. } => "{ generate = { length = 48 } }".into(),
        Kind::Object { .. } => "{ key = \"…\" }".into(),
    }
}

fn value(notes: &mut Notes<'_>, field: &Field, item: Item<'_>, targets: &Targets) -> Option<Value> {
    let key = field.name;
    match field.kind {
        Kind::Secret => reference(notes, key, item, targets).map(Value::Secret),
        Kind::Source { output } => source::piece(notes, key, output, item, targets).map(Value::Source),
        Kind::Object { sources, keys } => source::object(notes, key, item, sources, keys, targets).map(Value::Object),
        Kind::Bool => {
            let flag = item.value.as_bool();
            if flag.is_none() {
                notes.wrong_type(key, item, "`true` or `false`", &format!("{key} = true"));
            }
            flag.map(Value::Bool)
        }
        Kind::Text { .. } | Kind::Url | Kind::OneOf(_) => {
            let Some(text) = item.as_text() else {
                notes.wrong_type(key, item, "a string", &format!("{key} = {}", example(field.kind)));
                return None;
            };
            match field.kind {
                Kind::Text { char_count_max } => plain(notes, key, text, char_count_max)?,
                Kind::OneOf(words) if !words.contains(&text.text) => {
                    let help = notes.did_you_mean(text.text, words.iter().copied(), "one of");
                    let message = format!("`{key}` can't be `{}`", shortened(text.text));
                    notes.push(Problem::error(Code::BadValue, text.span, message).help(help));
                    return None;
                }
                Kind::Url => drop(url(notes, key, text)?),
                Kind::OneOf(_) | Kind::Bool | Kind::Secret | Kind::Source { .. } | Kind::Object { .. } => {}
            }
            Some(Value::Text(text.text.to_owned()))
        }
    }
}

/// Notes a text that is empty, too long, or has control characters.
pub(super) fn plain(notes: &mut Notes<'_>, key: &str, text: Text<'_>, char_count_max: usize) -> Option<()> {
    let problem = if text.text.trim().is_empty() {
        "it is empty".to_owned()
    } else if text.text.chars().any(char::is_control) {
        "it has control characters".to_owned()
    } else if text.text.chars().count() > char_count_max {
        format!("it is longer than {char_count_max} characters")
    } else {
        return Some(());
    };
    let message = format!("`{key}` can't be this: {problem}");
    let help = format!("write 1 to {char_count_max} characters in one line");
    notes.push(Problem::error(Code::BadValue, text.span, message).help(help));
    None
}

/// Reads an endpoint: https, or http with a loopback address; no user, no query.
pub(super) fn url(notes: &mut Notes<'_>, key: &str, text: Text<'_>) -> Option<Url> {
    let url = any_url(notes, key, text)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        let message = format!("`{key}` is plain http, which would show secrets to the network");
        let emulator = match key {
            "endpoint_url" => "; for an emulator elsewhere add `allow_http = true` and `credentials = \"sandbox\"`",
            _ => "",
        };
        notes.push(
            Problem::error(Code::LoopbackOnly, text.span, message).label("http is for loopback addresses only").help(
                format!(
                    "write https; on this machine write the address itself, 127.0.0.1 or [::1], not a name for \
                     it{emulator}"
                ),
            ),
        );
        return None;
    }
    Some(url)
}

/// Reads an http or https URL, as a proxy may have one; no user, no query.
pub(super) fn any_url(notes: &mut Notes<'_>, key: &str, text: Text<'_>) -> Option<Url> {
    let Some(url) = Url::parse(text.text).ok().filter(|url| url.has_host()) else {
        if text.text.contains('@') {
            // Nobody can tell where the password begins.
            notes.mask(text.span);
            let message = format!("`{key}` is not a usable URL, and something in it may be a password");
            let help = "write it in full, such as `https://api.example.com`, without user and password";
            notes.push(Problem::error(Code::BadValue, text.span, message).label("not shown").help(help));
            return None;
        }
        let message = format!("`{key}` is not a usable URL: it has no scheme or no host");
        let help = "write it in full, such as `https://api.example.com`";
        notes.push(Problem::error(Code::BadValue, text.span, message).help(help));
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        let message = format!("`{key}` has a user or a password in it");
        notes.mask(text.span);
        notes.push(
            Problem::error(Code::InlineSecret, text.span, message)
                .label("not shown")
                .help("never write a secret into the declaration; change this password, it has been in a file"),
        );
        return None;
    }
    if !matches!(url.scheme(), "https" | "http") {
        let message = format!("`{key}` is not a usable URL: only https is spoken");
        notes.push(Problem::error(Code::BadValue, text.span, message).help("write `https://…`"));
        return None;
    }
    if url.query().is_some() || url.fragment().is_some() {
        notes.mask(text.span);
        let message = format!("`{key}` is not a usable URL: it has a query or a fragment");
        notes.push(Problem::error(Code::BadValue, text.span, message).help("end it before the `?` or `#`"));
        return None;
    }
    Some(url)
}

/// Whether a URL leads to this very machine. Names don't count: what they mean is decided elsewhere.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Reads a reference to an admin secret. Whatever is not one may be the secret itself, so none of
/// it is shown.
fn reference(notes: &mut Notes<'_>, key: &str, item: Item<'_>, targets: &Targets) -> Option<Reference> {
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
