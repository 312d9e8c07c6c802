//! Where values come from that keyferry supplies itself, and tables of a vendor's own shape that
//! may hold such values.

use serde_json::{Map, Number, Value};
use toml::de::DeValue;

use super::diagnostic::{Code, Problem};
use super::mask;
use super::notes::{Notes, listed, shortened};
use super::reference::one_reference;
use super::targets::Targets;
use super::texts::plain;
use super::tree::{Item, Table};
use crate::model::name::Name;
use crate::model::option::{Object, Piece, Reference};
use crate::model::source::{GENERATED_BITS_MIN, GENERATED_CHAR_COUNT_MAX, Rule, Source};

const SOURCES: &str = "write where the value comes from: { generate = { length = 48 } }, { credential = \"name\", \
     output = \"client_secret\" }, { env = \"NAME\" }, { file = \"/run/secrets/name\" }, \
     { systemd_credential = \"name\" } or { aws_secret = { name = \"…\", key = \"…\" } }";

/// Characters of a generated value when nothing is said.
const LENGTH_STANDARD: usize = 48;
const ALPHANUMERIC: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const FORMATS: [(&str, &str); 3] = [
    ("alphanumeric", ALPHANUMERIC),
    ("hex", "0123456789abcdef"),
    ("base64url", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
];
/// Deepest nesting of a table of the vendor's own shape.
const DEPTH_MAX: usize = 8;

/// Reads one source. What is not one may be the value itself, so none of it is shown.
pub(super) fn piece(
    notes: &mut Notes<'_>,
    key: &str,
    output: &'static str,
    item: Item<'_>,
    targets: &Targets,
) -> Option<Piece> {
    let Some(table) = item.as_table() else {
        mask::leaves(notes, item);
        let problem =
            Problem::error(Code::InlineSecret, item.span, format!("`{key}` stands in the declaration itself"));
        notes.push(problem.label("not shown").help(format!(
            "never write a secret inline; {SOURCES}. If this was the secret, replace it: it has been in a file"
        )));
        return None;
    };
    let source = if table.has("generate") {
        alone(notes, key, table, &["generate"])?;
        Source::Generate(rule(notes, table)?)
    } else if table.has("credential") || table.has("output") {
        alone(notes, key, table, &["credential", "output"])?;
        credential(notes, key, table)?
    } else {
        match one_reference(notes, key, table, targets) {
            Some(Reference::Sandbox) => {
                let message = format!("the sandbox's own secret can't be the value of `{key}`");
                notes.push(Problem::error(Code::BadValue, table.span, message).help(SOURCES));
                return None;
            }
            Some(reference) => Source::Read(reference),
            None => {
                mask::leaves(notes, item);
                return None;
            }
        }
    };
    Some(Piece { output, source })
}

/// Refuses keys that don't go with this way of saying where a value comes from.
fn alone(notes: &mut Notes<'_>, key: &str, table: Table<'_>, keys: &'static [&'static str]) -> Option<()> {
    let other = table.iter().find(|(other, ..)| !keys.contains(other));
    let Some((other, at, item)) = other else { return Some(()) };
    mask::leaves(notes, item);
    let message = format!("`{}` does not go with `{}` in `{key}`", shortened(other), keys[0]);
    notes.push(Problem::error(Code::Disagreement, at, message).help(format!("remove it; {SOURCES}")));
    None
}

fn credential(notes: &mut Notes<'_>, key: &str, table: Table<'_>) -> Option<Source> {
    let example = "{ credential = \"google-mcp\", output = \"client_secret\" }";
    for part in ["credential", "output"] {
        if !table.has(part) {
            let message = format!("`{key}` names another credential without `{part}`");
            notes.push(Problem::error(Code::MissingKey, table.span, message).help(format!("for example {example}")));
            return None;
        }
    }
    let name = notes.text(table, "credential", example)?;
    let output = notes.text(table, "output", example)?;
    let known = Name::new(name.text);
    plain(notes, "output", output, 128)?;
    match known {
        Ok(name) => Some(Source::Credential { name, output: output.text.to_owned() }),
        Err(rule) => {
            let message = format!("`{}` can't be the name of a credential", shortened(name.text));
            notes.push(Problem::error(Code::BadValue, name.span, message).help(format!("write {rule}")));
            None
        }
    }
}

fn rule(notes: &mut Notes<'_>, table: Table<'_>) -> Option<Rule> {
    let table = notes.table(table, "generate", "generate = { length = 48 }")?;
    notes.unknown_keys(table, ["length", "alphabet", "format"].into_iter(), false, None);
    let length = match table.get("length") {
        None => LENGTH_STANDARD,
        Some(item) => {
            let number = item.value.as_integer();
            let number = number.and_then(|number| usize::from_str_radix(number.as_str(), number.radix()).ok());
            let Some(number) = number.filter(|number| (1..=GENERATED_CHAR_COUNT_MAX).contains(number)) else {
                let message = format!("`length` is 1 to {GENERATED_CHAR_COUNT_MAX} characters");
                notes.push(Problem::error(Code::BadValue, item.span, message).help("for example `length = 48`"));
                return None;
            };
            number
        }
    };
    if let (Some(at), Some(other)) = (table.key_span("alphabet"), table.key_span("format")) {
        let problem = Problem::error(Code::Disagreement, other, "`alphabet` and `format` both say which characters");
        notes.push(problem.other(at, "the other one").help("keep one of them"));
        return None;
    }
    let alphabet = if table.has("alphabet") {
        let text = notes.text(table, "alphabet", "alphabet = \"abcdefghijkmnpqrstuvwxyz23456789\"")?;
        if !text.text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem =
                Problem::error(Code::BadValue, text.span, "`alphabet` has characters that no value should have");
            notes.push(problem.help("write visible ASCII characters, each once"));
            return None;
        }
        text.text
    } else if table.has("format") {
        notes.word(table, "format", &FORMATS)?
    } else {
        ALPHANUMERIC
    };
    let rule = Rule::new(length, alphabet);
    if rule.is_none() {
        let message = format!("such a value could be guessed: it has less than {GENERATED_BITS_MIN} bits");
        let help = "make it longer or its alphabet larger: 48 letters and digits have 285 bits";
        notes.push(Problem::error(Code::Floor, table.span, message).help(help));
    }
    rule
}

/// Reads a table of the vendor's own shape.
pub(super) fn object(
    notes: &mut Notes<'_>,
    key: &str,
    item: Item<'_>,
    sources: &'static [(&'static str, &'static str)],
    keys: &'static [&'static str],
    targets: &Targets,
) -> Option<Object> {
    let Some(table) = item.as_table() else {
        mask::leaves(notes, item);
        notes.wrong_type(key, item, "a table", &format!("{key} = {{ … }}"));
        return None;
    };
    let (mut object, mut good) = (Object::default(), true);
    for (inner, at, item) in table.iter() {
        if !keys.is_empty() && !keys.contains(&inner) {
            mask::leaves(notes, item);
            let message = format!("`{key}` has no `{}`", shortened(inner));
            let help = format!("its keys are {}", listed(keys.iter().copied()));
            notes.push(Problem::error(Code::UnknownKey, at, message).help(help));
            good = false;
            continue;
        }
        let sourced = sources.iter().find(|(own, _)| *own == inner);
        // Texts that need not be hidden may stand there themselves.
        let plain = item.as_text().is_some() && !inner.to_lowercase().contains("secret");
        match sourced {
            Some((_, output)) if !plain => match piece(notes, inner, output, item, targets) {
                Some(piece) => object.pieces.push((inner.to_owned(), piece)),
                None => good = false,
            },
            Some(_) | None => match json(item.value, DEPTH_MAX) {
                Some(value) => drop(object.fixed.insert(inner.to_owned(), value)),
                None => {
                    let message = format!("`{}` of `{key}` can't be sent", shortened(inner));
                    let help = "write strings, numbers, switches, tables and lists of them; a date as a string";
                    notes.push(Problem::error(Code::WrongType, item.span, message).help(help));
                    good = false;
                }
            },
        }
    }
    object.pieces.sort_by(|one, other| one.0.cmp(&other.0));
    good.then_some(object)
}

fn json(value: &DeValue<'_>, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(number) => Value::Number(i64::from_str_radix(number.as_str(), number.radix()).ok()?.into()),
        DeValue::Float(number) => Value::Number(Number::from_f64(number.as_str().parse().ok()?)?),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| json(item.get_ref(), depth)).collect::<Option<_>>()?)
        }
        DeValue::Table(fields) => {
            let fields =
                fields.iter().map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref(), depth)?)));
            Value::Object(fields.collect::<Option<Map<_, _>>>()?)
        }
        DeValue::Datetime(_) => return None,
    })
}
