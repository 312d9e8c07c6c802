//! The nouns of the pretend Keycard: what it keeps, what is asked of it, and how it says no.

use crate::model::time::Timestamp;

/// The moments of one call: when it comes, and up to when it is told the truth. They differ only
/// where a replica answers from an older state.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) now: Timestamp,
    pub(super) seen: Timestamp,
}

impl At {
    pub(super) fn fresh(now: Timestamp) -> Self {
        Self { now, seen: now }
    }
}

/// Why an API call was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    Unauthorized,
    NotFound(&'static str),
    Conflict(&'static str),
    BadRequest(String),
    UnsupportedMediaType,
    /// A body that is no JSON: the real service was seen to answer 500.
    Unparsable,
}

/// Why a token endpoint did not grant (RFC 6749, section 5.2; RFC 8707 for the target).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Denial {
    InvalidClient,
    InvalidRequest(&'static str),
    UnsupportedGrantType,
    InvalidTarget,
    AccessDenied,
}

/// What a zone's resource does when a token for it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResourceKind {
    /// Grants an ordinary token.
    Open,
    /// Backed by a vault: the `access_token` is the planted third-party secret itself.
    Vault,
    /// Policy refuses everybody: `access_denied`.
    Denied,
}

/// A zone, an application or a provider: what they have in common.
#[derive(Clone, Debug)]
pub(super) struct Entity {
    pub(super) sequence: u64,
    pub(super) id: String,
    /// Of the zone it belongs to; its own for a zone.
    pub(super) zone_id: String,
    pub(super) slug: String,
    pub(super) identifier: String,
    pub(super) name: String,
    pub(super) created: Timestamp,
}

/// A resource of a zone, with what a vault would hold for it.
pub(super) struct Resource {
    pub(super) zone_id: String,
    pub(super) identifier: String,
    pub(super) kind: ResourceKind,
    pub(super) planted: String,
}

/// What is asked of a new credential, by type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Draft {
    Token { provider_id: String, subject: Option<String> },
    Password { identifier: Option<String> },
    PublicKey { identifier: Option<String>, jwks_uri: String },
    Url { identifier: String },
    Public { identifier: Option<String> },
}

/// What is asked of an existing credential. `None` leaves as it is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Change {
    pub(super) subject: Option<Option<String>>,
    pub(super) identifier: Option<String>,
}

/// A credential's type and what only that type has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Token { provider_id: String, subject: Option<String> },
    Password { digest: [u8; 32], dud: bool },
    PublicKey { jwks_uri: String },
    Url,
    Public,
}

impl Kind {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token",
            Self::Password { .. } => "password",
            Self::PublicKey { .. } => "public-key",
            Self::Url => "url",
            Self::Public => "public",
        }
    }

    /// Whether the identifier is an OAuth client id, which must be unique in the zone to work.
    pub(super) fn is_client(&self) -> bool {
        match self {
            Self::Password { .. } | Self::PublicKey { .. } | Self::Public => true,
            Self::Token { .. } | Self::Url => false,
        }
    }
}

/// One application credential, live or deleted.
#[derive(Clone, Debug)]
pub(super) struct Credential {
    pub(super) sequence: u64,
    pub(super) id: String,
    pub(super) zone_id: String,
    pub(super) application_id: String,
    pub(super) slug: String,
    pub(super) identifier: String,
    pub(super) kind: Kind,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) deleted: Option<Timestamp>,
    pub(super) last_login: Option<Timestamp>,
    pub(super) login_count: u64,
}

/// A granted access token.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) token: String,
    pub(super) lifetime_s: u64,
}
