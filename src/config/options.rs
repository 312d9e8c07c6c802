//! Values whose rules come from a vendor's own field table: texts, URLs, words, switches, and
//! references to admin secrets. Nothing here knows any vendor.

use super::diagnostic::{Code, Problem};
use super::notes::{Notes, shortened};
use super::reference::reference;
use super::source;
use super::targets::Targets;
use super::texts::{plain, url};
use super::tree::{Item, Table};
use crate::model::option::{Field, Kind, Options, Value};

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
