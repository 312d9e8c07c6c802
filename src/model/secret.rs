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
}
