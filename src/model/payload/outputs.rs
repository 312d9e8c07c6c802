//! The named pieces of a credential, as a vendor gave them or a stored value holds them.

use std::collections::BTreeMap;

use crate::model::secret::SecretValue;

/// One named piece of a minted credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// May be shown.
    Public(String),
    /// Must not.
    Secret(SecretValue),
}

/// What a vendor gave for one credential, by output name (`client_id`, `client_secret`, …).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outputs(pub(super) BTreeMap<String, Output>);

impl Outputs {
    /// Adds a piece that may be shown.
    #[must_use]
    pub fn public(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), Output::Public(value.into()));
        self
    }

    /// Adds a piece that must not be shown.
    #[must_use]
    pub fn secret(mut self, name: &str, value: SecretValue) -> Self {
        self.0.insert(name.into(), Output::Secret(value));
        self
    }

    /// One piece as a secret, whether it may be shown or not.
    pub fn get(&self, name: &str) -> Option<SecretValue> {
        self.0.get(name).map(|output| SecretValue::new(expose(output)))
    }

    /// Whether the piece of that name, where there is one, is this text.
    pub fn holds(&self, name: &str, text: &str) -> Option<bool> {
        self.0.get(name).map(|output| expose(output) == text)
    }

    /// The same with another text in place of every secret piece: what a login must refuse.
    #[must_use]
    pub fn with_secrets(&self, other: &SecretValue) -> Self {
        let other = |output: &Output| match output {
            Output::Public(text) => Output::Public(text.clone()),
            Output::Secret(_) => Output::Secret(other.clone()),
        };
        Self(self.0.iter().map(|(name, output)| (name.clone(), other(output))).collect())
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

pub(super) fn expose(output: &Output) -> &str {
    match output {
        Output::Public(text) => text,
        Output::Secret(value) => value.expose(),
    }
}
