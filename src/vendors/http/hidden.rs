//! The secrets that were sent, so that no word of an answer that repeats one is ever printed: a
//! vendor, or a proxy in front of it, may put them into an error code, a request id or the id of a
//! credential.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use serde_json::Value;
use zeroize::Zeroizing;

/// A word that is part of a secret, or that has a secret in it, counts from so many characters on;
/// one that is a secret counts at any length.
const PART_LENGTH_MIN: usize = 6;
/// A whole body counts as repeating a secret only for one of so many bytes: short ones occur by chance.
const BODY_SECRET_LENGTH_MIN: usize = 12;
/// Fields that are there to hold a secret: they are read sealed, and never shown.
const SEALED_FIELDS: [&str; 4] = ["access_token", "token", "secret", "password"];

/// Secrets that were sent, in lower case.
#[derive(Clone, Default)]
pub(super) struct Hidden(Vec<Zeroizing<String>>);

impl Hidden {
    /// One more.
    pub(super) fn add(&mut self, secret: &str) {
        let secret = secret.trim().to_lowercase();
        if !secret.is_empty() && !self.0.iter().any(|known| **known == secret) {
            self.0.push(Zeroizing::new(secret));
        }
    }

    /// Those of an `Authorization` header: its token, or the secret half of its pair.
    pub(super) fn add_authorization(&mut self, value: &HeaderValue) {
        let Ok(text) = value.to_str() else { return };
        let Some((_, rest)) = text.split_once(' ') else { return };
        self.add(rest);
        let decoded = Zeroizing::new(STANDARD.decode(rest).unwrap_or_default());
        if let Some((_, secret)) = std::str::from_utf8(&decoded).ok().and_then(|pair| pair.split_once(':')) {
            self.add(secret);
        }
    }

    /// Whether a word of the other side may be shown.
    pub(super) fn permits(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        let part = |whole: &str, part: &str| part.len() >= PART_LENGTH_MIN && whole.contains(part);
        !self.0.iter().any(|secret| **secret == word || part(&word, secret) || part(secret, &word))
    }

    /// Whether a body repeats a secret outside of the fields that are there for one.
    pub(super) fn is_repeated_in(&self, body: &Value) -> bool {
        let repeats = |text: &str| {
            let text = text.to_lowercase();
            self.0.iter().any(|secret| secret.len() >= BODY_SECRET_LENGTH_MIN && text.contains(secret.as_str()))
        };
        match body {
            Value::String(text) => repeats(text),
            Value::Array(items) => items.iter().any(|item| self.is_repeated_in(item)),
            Value::Object(fields) => fields.iter().any(|(name, value)| {
                let sealed = SEALED_FIELDS.contains(&name.as_str()) && value.is_string();
                repeats(name) || !sealed && self.is_repeated_in(value)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hidden() -> Hidden {
        let mut hidden = Hidden::default();
        hidden.add("kfcanary-Admin-0123456789");
        hidden.add("abc");
        hidden.add_authorization(&HeaderValue::from_static("Bearer sk-TOKEN0123456789"));
        // The pair `app:pass:word-0123`.
        hidden.add_authorization(&HeaderValue::from_static("Basic YXBwOnBhc3M6d29yZC0wMTIz"));
        hidden
    }

    #[test]
    fn a_word_that_repeats_a_secret_or_a_good_part_of_it_is_not_shown() {
        for shown in ["invalid_client", "req-1", "app", "ab", "abcd", "admin"] {
            assert!(hidden().permits(shown), "{shown}");
        }
        for kept in [
            "kfcanary-admin-0123456789",
            "x-KFCANARY-ADMIN-0123456789-y",
            "kfcanary-admin",
            "abc",
            "sk-token0123456789",
            "pass:word-0123",
            "YXBwOnBhc3M6d29yZC0wMTIz",
        ] {
            assert!(!hidden().permits(kept), "{kept}");
        }
    }

    #[test]
    fn a_body_repeats_a_secret_anywhere_but_in_a_field_that_is_there_for_one() {
        for (body, repeated) in [
            (json!({"id": "c1", "access_token": "sk-TOKEN0123456789", "note": "abc"}), false),
            (json!({"items": [{"id": "kfcanary-admin-0123456789"}]}), true),
            (json!({"a": {"sk-token0123456789": 1}}), true),
            (json!("see pass:word-0123"), true),
            (json!({"token": {"id": "sk-token0123456789"}}), true),
        ] {
            assert_eq!(hidden().is_repeated_in(&body), repeated, "{body}");
        }
    }
}
