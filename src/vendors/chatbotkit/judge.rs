//! What a secret's options say together, and which values fit it. Offline: no call is made.

use super::super::{Objection, Type};
use super::{SECRET, wire};
use crate::model::fault::{Class, Fault};
use crate::model::option::Options;
use crate::model::payload::Outputs;
use crate::model::source::SOURCE_BYTES_MAX;

/// Keys of an oauth configuration that people write in the other spelling: stored, read by nothing,
/// and shown to everybody who may read the record (contract 4.2).
const MISSPELT: [(&str, &str); 6] = [
    ("client_id", "clientId"),
    ("client_secret", "clientSecret"),
    ("token_url", "tokenUrl"),
    ("authorization_url", "authorizationUrl"),
    ("grant_type", "grantType"),
    ("resource_url", "resourceUrl"),
];
/// Configuration that ChatBotKit gives back in clear.
const SHOWN: [&str; 6] = ["password", "pass", "accessToken", "refreshToken", "apiKey", "privateKey"];

/// Everything that is wrong with the options of one credential.
pub(super) fn judge(kind: &Type, options: &Options) -> Vec<Objection> {
    if kind.name != SECRET {
        return Vec::new();
    }
    let mut objections = Vec::new();
    let mut object = |field: &'static str, message: &str, help: &str| {
        objections.push(Objection { field, message: message.into(), help: help.into() });
    };
    let alias = options.text("alias").unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if !alias.chars().all(plain) {
        object("alias", "ChatBotKit would refuse this alias", "write lower-case letters, digits, `-` and `_`");
    }
    let usage = options.text("usage").unwrap_or("plain");
    let has_value = options.get("value").is_some();
    match (options.text("kind"), has_value) {
        (Some("personal"), true) => object(
            "value",
            "a personal secret can't have a value: each contact gives their own",
            "remove `value`, or write `kind = \"shared\"`",
        ),
        (Some("personal"), false) => {}
        (_, true) if usage == "reference" => object(
            "value",
            "a secret of usage `reference` has no value of its own",
            "remove `value`; the one that `config` names is used",
        ),
        (_, false) if matches!(usage, "plain" | "basic" | "bearer" | "jwt") => object(
            "usage",
            &format!("a shared secret of usage `{usage}` needs a `value`"),
            "write where it comes from: `value = { generate = { length = 48 } }`, a file, another credential, …",
        ),
        (_, _) => {}
    }
    if let Some(config) = options.object("config") {
        for (wrong, right) in MISSPELT.iter().filter(|(wrong, _)| usage == "oauth" && config.fixed.contains_key(*wrong))
        {
            object(
                "config",
                &format!("ChatBotKit reads no `{wrong}` and would show it to every reader of the record"),
                &format!("write `{right}`"),
            );
        }
        for key in SHOWN.iter().filter(|key| config.fixed.contains_key(**key)) {
            object(
                "config",
                &format!("ChatBotKit gives `{key}` back in clear to every reader of the record"),
                "put the secret into `value`, or into `clientSecret` of an oauth configuration",
            );
        }
    }
    for key in options.object("meta").iter().flat_map(|meta| meta.fixed.keys()) {
        if [wire::META_MANAGER, wire::META_ALIAS, wire::META_MARK].contains(&key.as_str()) {
            object("meta", &format!("`{key}` in meta is keyferry's own"), "remove it");
        } else if !key.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            object("meta", "ChatBotKit drops or refuses a key of meta that begins like this", "begin it with a letter");
        }
    }
    if let Some(ability) = options.object("ability") {
        let named =
            |key: &str| ability.fixed(key).and_then(serde_json::Value::as_str).is_some_and(|text| !text.is_empty());
        if !named("skillset") || !named("id") {
            object(
                "ability",
                "an ability is named by its skillset and its id",
                "write { skillset = \"…\", id = \"…\" }",
            );
        }
    }
    objections
}

/// Whether the pieces fit what is declared.
pub(super) fn accepts(doing: &str, options: &Options, outputs: &Outputs) -> Result<(), Fault> {
    let usage = options.text("usage").unwrap_or("plain");
    for piece in options.pieces() {
        let name = piece.output;
        let refuse = |answer: String, hint: &str| {
            Err(Fault::new(Class::Rejected, doing, format!("`{name}` {answer}; nothing was written")).with_hint(hint))
        };
        let Some(value) = outputs.get(name).filter(|value| !value.is_empty()) else {
            return refuse("is empty".into(), "ChatBotKit takes an empty value for none: check where it comes from");
        };
        if value.len() > SOURCE_BYTES_MAX {
            let answer = format!("has {} bytes, and at most {SOURCE_BYTES_MAX} can be kept", value.len());
            return refuse(answer, "check that its source is the right one");
        }
        let text = value.expose();
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return refuse("has control characters".into(), "check that its source is the right one, and text");
        }
        let in_a_line = matches!((name, usage), ("client_id" | "client_secret", _) | (_, "bearer"));
        if in_a_line && text.chars().any(char::is_control) {
            return refuse(
                "has a line break, and goes into a header, where none can be".into(),
                "one line end at the end of a file is left out; remove any other",
            );
        }
        match (name, usage) {
            ("value", "bearer") if text.to_ascii_lowercase().starts_with("bearer ") => {
                return refuse(
                    "begins with the word Bearer, which ChatBotKit puts in front itself".into(),
                    "keep the bare token in its source",
                );
            }
            ("value", "basic") if !text.contains([':', '=']) => {
                return refuse("has no colon".into(), "write `user:password`, or JSON with `username` and `password`");
            }
            ("value", "jwt") if !text.contains("-----BEGIN ") => {
                return refuse("is no private key in PEM form".into(), "it begins with `-----BEGIN PRIVATE KEY-----`");
            }
            _ => {}
        }
    }
    Ok(())
}
