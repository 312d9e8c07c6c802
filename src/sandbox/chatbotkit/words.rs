//! The nouns of the pretend ChatBotKit: what it keeps, and how it says no.

use serde_json::{Map, Value};

use crate::model::time::Timestamp;

/// Why a call was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    BadRequest(String),
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    MethodNotAllowed,
    Conflict(&'static str),
    LimitsReached,
    /// Outside of the usual error form: `error` and `message`, without `code`.
    Odd(&'static str, &'static str),
}

impl Refusal {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::BadRequest(message.into())
    }

    /// Status, code and message.
    pub(super) fn explain(&self) -> (u16, &str, &str) {
        match self {
            Self::BadRequest(message) => (400, "BAD_REQUEST", message),
            Self::NotAuthenticated => (401, "NOT_AUTHENTICATED", "Not authenticated"),
            Self::NotAuthorized => (403, "NOT_AUTHORIZED", "Not authorized"),
            Self::NotFound => (404, "NOT_FOUND", "Not found"),
            Self::MethodNotAllowed => (405, "METHOD_NOT_ALLOWED", "Method not allowed"),
            Self::Conflict(message) => (409, "CONFLICT", message),
            Self::LimitsReached => (429, "LIMITS_REACHED", "You have exceeded your allocated rate limits: rate/poll"),
            Self::Odd(code, message) => (409, code, message),
        }
    }
}

/// An account; a child has a parent.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) email: String,
    pub(super) created: Timestamp,
}

/// An API token: its digest only.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) sequence: u64,
    pub(super) id: String,
    pub(super) owner: String,
    pub(super) digest: [u8; 32],
    pub(super) dud: bool,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) meta: Value,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) deleted: Option<Timestamp>,
}

/// What a secret's `kind` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sharing {
    Shared,
    Personal,
}

impl Sharing {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Personal => "personal",
        }
    }
}

/// A secret. Its value is in no answer.
#[derive(Clone, Debug)]
pub(super) struct Secret {
    pub(super) sequence: u64,
    pub(super) id: String,
    pub(super) owner: String,
    pub(super) alias: Option<String>,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) blueprint: Option<String>,
    pub(super) sharing: Sharing,
    pub(super) form: String,
    pub(super) value: Option<String>,
    pub(super) config: Option<Map<String, Value>>,
    pub(super) visibility: String,
    pub(super) meta: Option<Map<String, Value>>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
}

/// A blueprint or a skillset: what others point at.
#[derive(Clone, Debug)]
pub(super) struct Entity {
    pub(super) sequence: u64,
    pub(super) id: String,
    pub(super) owner: String,
    pub(super) alias: Option<String>,
    pub(super) name: String,
    pub(super) created: Timestamp,
}

/// An ability of a skillset.
#[derive(Clone, Debug)]
pub(super) struct Ability {
    pub(super) sequence: u64,
    pub(super) id: String,
    pub(super) skillset: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) instruction: String,
    pub(super) linked_secret: Option<String>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
}
