//! Values that must never be printed.
//!
//! Only `vendors/`, `stores/` and `model/payload.rs` may look inside; a lint refuses it elsewhere.
//! There is no `Display`, no `Serialize`, and `Debug` says `[redacted]`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use zeroize::Zeroizing;

use crate::model::fault::Fault;

/// A secret text, wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Takes ownership of a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the request it must go into and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The same without one line end after it, which editors and `echo` leave there.
    #[must_use]
    pub fn without_line_end(self) -> Self {
        let text = self.0.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
        text.map(Self::new).unwrap_or(self)
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What is odd about the text for something that a vendor hands out, without showing it.
    pub fn oddity(&self) -> Option<&'static str> {
        let text = self.0.as_str();
        let object = text.trim_start().starts_with('{') && text.trim_end().ends_with('}');
        match text {
            "" => Some("it is empty"),
            _ if text.starts_with('\u{feff}') => Some("it begins with a byte-order mark"),
            _ if object => Some("it is a JSON object: name the `key` in it that holds the secret"),
            _ if text.ends_with(['\n', '\r']) => Some("it ends in a line end"),
            _ if text.starts_with(['"', '\'']) && text.ends_with(['"', '\'']) => Some("it stands in quotation marks"),
            _ if text.trim() != text => Some("it has white space around it"),
            _ if text.chars().any(char::is_whitespace) => Some("it has white space in it"),
            _ => None,
        }
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[redacted]")
    }
}

/// A boxed read of an admin secret.
pub type Read<'a> = Pin<Box<dyn Future<Output = Result<SecretValue, Fault>> + Send + 'a>>;

/// Where a vendor driver gets its admin secrets from, by option name. Read again whenever asked,
/// so that a replaced file or secret is picked up after a 401 without a restart.
pub trait Keyring: Send + Sync {
    /// Reads the admin secret that the declaration refers to under `option`.
    ///
    /// # Errors
    /// A fault that names the reference (never its content) when it can't be read.
    fn read<'a>(&'a self, option: &'static str) -> Read<'a>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_none_of_the_secret() {
        for (text, value) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a\r", "a\r"),
            ("\n", ""),
            (" a ", " a "),
            ("", ""),
        ] {
            assert!(SecretValue::new(text).without_line_end() == SecretValue::new(value), "{text:?}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test compares what is inside")]
    fn one_line_end_is_left_out_and_what_is_odd_is_told_without_the_text() {
        for (given, kept, odd) in [
            ("sk-1", "sk-1", None),
            ("sk-1\n", "sk-1", None),
            ("sk-1\r\n", "sk-1", None),
            ("sk-1\n\n", "sk-1\n", Some("it ends in a line end")),
            ("\u{feff}sk-1\n", "\u{feff}sk-1", Some("it begins with a byte-order mark")),
            (
                "{\"a\": \"sk-1\"}\n",
                "{\"a\": \"sk-1\"}",
                Some("it is a JSON object: name the `key` in it that holds the secret"),
            ),
            ("\"sk-1\"", "\"sk-1\"", Some("it stands in quotation marks")),
            (" sk-1", " sk-1", Some("it has white space around it")),
            ("sk 1", "sk 1", Some("it has white space in it")),
            ("\n", "", Some("it is empty")),
        ] {
            let value = SecretValue::new(given).without_line_end();
            assert_eq!((value.expose(), value.oddity()), (kept, odd), "{given:?}");
        }
    }
}
