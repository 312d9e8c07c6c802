//! What the service's validation refuses, with its words: one problem at a time, the first found.

use serde_json::{Map, Value};

use super::words::{Refusal, Sharing};

pub(super) const FORMS: [&str; 7] = ["plain", "basic", "bearer", "jwt", "oauth", "template", "reference"];
const SHARINGS: [&str; 2] = ["shared", "personal"];
const VISIBILITIES: [&str; 3] = ["private", "protected", "public"];
const ALIAS_CHAR_COUNT_MAX: usize = 128;

/// A field that is left out, emptied, or given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Given<T> {
    Absent,
    Empty,
    Value(T),
}

impl<T> Given<T> {
    pub(super) fn value(self) -> Option<T> {
        match self {
            Self::Absent | Self::Empty => None,
            Self::Value(value) => Some(value),
        }
    }
}

/// The body of a create or an update of a secret, checked.
pub(super) struct SecretBody {
    pub(super) alias: Given<String>,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) blueprint: Given<String>,
    pub(super) sharing: Option<Sharing>,
    pub(super) form: Option<String>,
    pub(super) value: Given<String>,
    pub(super) config: Option<Map<String, Value>>,
    pub(super) visibility: Option<String>,
    pub(super) meta: Option<Map<String, Value>>,
}

impl SecretBody {
    pub(super) fn read(body: &Map<String, Value>) -> Result<Self, Refusal> {
        let alias = nullable_text(body, "alias")?;
        if let Given::Value(alias) = &alias {
            check_alias(alias)?;
        }
        let read = Self {
            alias,
            name: nullable_text(body, "name")?.value(),
            description: nullable_text(body, "description")?.value(),
            blueprint: nullable_text(body, "blueprintId")?,
            sharing: word(body, "kind", &SHARINGS)?.map(|kind| match kind {
                "personal" => Sharing::Personal,
                _ => Sharing::Shared,
            }),
            form: word(body, "type", &FORMS)?.map(Into::into),
            value: nullable_text(body, "value")?,
            config: object(body, "config")?,
            visibility: word(body, "visibility", &VISIBILITIES)?.map(Into::into),
            meta: meta(body)?,
        };
        known(
            body,
            &["alias", "name", "description", "blueprintId", "kind", "type", "value", "config", "visibility", "meta"],
        )?;
        if read.sharing == Some(Sharing::Personal) && matches!(read.value, Given::Value(_)) {
            return Err(Refusal::Conflict("Personal secrets cannot have a value"));
        }
        Ok(read)
    }
}

/// Refuses keys that are not in the list.
pub(super) fn known(body: &Map<String, Value>, keys: &[&str]) -> Result<(), Refusal> {
    match body.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err(Refusal::bad(format!("\"{key}\" is not allowed"))),
        None => Ok(()),
    }
}

/// A text that may be null; the empty text counts as null.
pub(super) fn nullable_text(body: &Map<String, Value>, key: &str) -> Result<Given<String>, Refusal> {
    match body.get(key) {
        None => Ok(Given::Absent),
        Some(Value::Null) => Ok(Given::Empty),
        Some(Value::String(text)) if text.is_empty() => Ok(Given::Empty),
        Some(Value::String(text)) => Ok(Given::Value(text.clone())),
        Some(_) => Err(Refusal::bad(format!("\"{key}\" must be a string"))),
    }
}

fn word<'b>(body: &'b Map<String, Value>, key: &str, words: &[&str]) -> Result<Option<&'b str>, Refusal> {
    match body.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if words.contains(&text.as_str()) => Ok(Some(text)),
        Some(_) => Err(Refusal::bad(format!("\"{key}\" must be one of [{}]", words.join(", ")))),
    }
}

/// An object; null stands for an empty one.
pub(super) fn object(body: &Map<String, Value>, key: &str) -> Result<Option<Map<String, Value>>, Refusal> {
    match body.get(key) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(Map::new())),
        Some(Value::Object(object)) => Ok(Some(object.clone())),
        Some(_) => Err(Refusal::bad(format!("\"{key}\" must be of type object"))),
    }
}

/// `meta`, whose keys must not begin with an underscore.
pub(super) fn meta(body: &Map<String, Value>) -> Result<Option<Map<String, Value>>, Refusal> {
    let meta = object(body, "meta")?;
    if let Some(key) = meta.iter().flat_map(Map::keys).find(|key| key.starts_with('_')) {
        return Err(Refusal::bad(format!("\"meta.{key}\" is not allowed")));
    }
    Ok(meta)
}

/// The `meta` of an update: replaced, or with `$update` merged one level deep. Keys that begin with
/// anything but a word character are dropped.
pub(super) fn updated_meta(old: Option<Map<String, Value>>, new: Map<String, Value>) -> Map<String, Value> {
    let plain = |key: &String| key.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    match new.get("$update") {
        Some(Value::Object(changes)) if new.len() == 1 => {
            let mut merged = old.unwrap_or_default();
            merged
                .extend(changes.iter().filter(|(key, _)| plain(key)).map(|(key, value)| (key.clone(), value.clone())));
            merged
        }
        _ => new.into_iter().filter(|(key, _)| plain(key)).collect(),
    }
}

/// The `config` of an update: replaced, but eight asterisks keep the stored client secret.
pub(super) fn updated_config(old: Option<&Map<String, Value>>, mut new: Map<String, Value>) -> Map<String, Value> {
    if new.get("clientSecret").and_then(Value::as_str) == Some(super::secrets::MASK) {
        match old.and_then(|old| old.get("clientSecret")).filter(|kept| !kept.is_null()) {
            Some(kept) => new.insert("clientSecret".into(), kept.clone()),
            None => new.remove("clientSecret"),
        };
    }
    new
}

fn check_alias(alias: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if !alias.chars().all(plain) {
        return Err(Refusal::bad("Alias must contain only lowercase letters, numbers, hyphens, and underscores"));
    }
    if alias.len() > ALIAS_CHAR_COUNT_MAX {
        return Err(Refusal::bad("\"alias\" length must be less than or equal to 128 characters long"));
    }
    Ok(())
}
