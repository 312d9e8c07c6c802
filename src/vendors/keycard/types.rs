//! The five types of application credentials: their options, what each can do, what a create of
//! one says, and whether a listed one is what is declared.
//!
//! | type | `identifier` | told from others by | rotated |
//! |---|---|---|---|
//! | `password` | client id, ours to choose | our mark in it | client id and secret, by the calendar |
//! | `public-key` | client id, ours to choose | our mark in it | nothing secret in it |
//! | `public` | client id, ours to choose | our mark in it | nothing secret in it |
//! | `token` | the subject, or `*` | its id, once it is stored | nothing secret in it |
//! | `url` | the URL itself | its id, once it is stored | nothing secret in it |
//!
//! Without a secret nobody can log in here, so the proof of such a credential is that the vendor
//! shows it exactly as declared. Where the identifier has a meaning of its own, no mark fits into it:
//! what a lost answer leaves behind is reported, and never revoked unasked.
//!
//! # Why nothing is changed in place
//!
//! | type | what a PATCH may change (contract, section 3) | what it would do |
//! |---|---|---|
//! | `password`, `public-key` | nothing, not even `jwks_uri` | |
//! | `public` | `identifier` | rename the client under its users, and take our mark off |
//! | `url` | `identifier` | the same; the mark it never had |
//! | `token` | `subject` | shut the old subject out at that moment |
//!
//! So no change needs a PATCH, and each that one allows would take effect at once: whoever still has
//! the old value from AWS is shut out, nothing can be verified first, and there is nothing to go back
//! to. As a replacement it is a rotation like any other: made, compared, published, and the old one
//! goes when the overlap is over. The price: a `subject` that is narrowed leaves the wider one alive
//! for that long, unless a person says `rotate --leaked`.

use reqwest::Url;
use serde_json::{Value, json};

use super::{ZONE, wire};
use crate::model::capability::{Capabilities, Marking, Proof};
use crate::model::option::{Field, Kind, Options};
use crate::model::payload::Letters;
use crate::vendors::Type;

/// Every type; `password` first, for it is what most declare.
pub(super) const TYPES: &[Type] = &[PASSWORD, PUBLIC_KEY, PUBLIC, TOKEN, URL];

/// Ids are checked against their alphabet when keyferry makes them, and are Keycard's own otherwise; of a
/// secret nothing is promised. A client id may be an address, and an identifier anything.
pub(super) fn letters(kind: &Type, output: &str) -> Letters {
    match output {
        "client_id" if kind.name == URL.name => Letters::Url,
        "client_id" | "provider_id" | "zone_id" | "application_id" | "credential_id" => Letters::Id,
        "token_endpoint" | "issuer" | "jwks_uri" => Letters::Url,
        _ => Letters::Any,
    }
}

const PLACE: &[&str] = &["zone", "application"];

const ZONE_HERE: Field =
    Field { required: true, doc: "The zone's slug or id; from the vendor's table if left out.", ..ZONE };
const APPLICATION: Field = Field {
    name: "application",
    kind: Kind::Text { char_count_max: 255 },
    required: true,
    doc: "The application's slug or id.",
};

/// Nothing to log in with: that it is there as declared is all that can be proved.
const SECRETLESS: Capabilities =
    Capabilities { marking: Marking::Named, live_max: None, last_used: false, proof: Proof::Existence };

const PASSWORD: Type = Type {
    name: "password",
    fields: &[
        ZONE_HERE,
        APPLICATION,
        Field {
            name: "resource",
            kind: Kind::Text { char_count_max: 2048 },
            required: false,
            doc: "Identifier of a resource to ask a token for when a pair is proved; never one backed by a vault.",
        },
    ],
    capabilities: Capabilities { marking: Marking::Named, live_max: None, last_used: false, proof: Proof::Login },
    outputs: &["client_id", "client_secret", "token_endpoint", "issuer", "zone_id", "application_id", "credential_id"],
    place: PLACE,
    content: &[],
    proof_outputs: &["client_id", "client_secret"],
};

const PUBLIC_KEY: Type = Type {
    name: "public-key",
    fields: &[
        ZONE_HERE,
        APPLICATION,
        Field {
            name: "jwks_uri",
            kind: Kind::Url,
            required: true,
            doc: "Where Keycard fetches the public keys that check the application's assertions.",
        },
    ],
    capabilities: SECRETLESS,
    outputs: &["client_id", "jwks_uri", "token_endpoint", "issuer", "zone_id", "application_id", "credential_id"],
    place: PLACE,
    content: &["jwks_uri"],
    proof_outputs: &["client_id"],
};

const PUBLIC: Type = Type {
    name: "public",
    fields: &[ZONE_HERE, APPLICATION],
    capabilities: SECRETLESS,
    outputs: &["client_id", "token_endpoint", "issuer", "zone_id", "application_id", "credential_id"],
    place: PLACE,
    content: &[],
    proof_outputs: &["client_id"],
};

const TOKEN: Type = Type {
    name: "token",
    fields: &[
        ZONE_HERE,
        APPLICATION,
        Field {
            name: "provider",
            kind: Kind::Text { char_count_max: 255 },
            required: true,
            doc: "Slug or id of the provider whose tokens the application logs in with.",
        },
        Field {
            name: "subject",
            kind: Kind::Text { char_count_max: 2048 },
            required: false,
            doc: "The only subject accepted; any token of the provider if left out.",
        },
    ],
    capabilities: Capabilities { marking: Marking::Unnamed, ..SECRETLESS },
    outputs: &["identifier", "provider_id", "token_endpoint", "issuer", "zone_id", "application_id", "credential_id"],
    place: PLACE,
    content: &["provider", "subject"],
    proof_outputs: &["credential_id"],
};

const URL: Type = Type {
    name: "url",
    fields: &[
        ZONE_HERE,
        APPLICATION,
        Field {
            name: "url",
            kind: Kind::Url,
            required: true,
            doc: "The address that is the client id: where the application's client metadata stands.",
        },
    ],
    capabilities: Capabilities { marking: Marking::Unnamed, ..SECRETLESS },
    outputs: &["client_id", "token_endpoint", "issuer", "zone_id", "application_id", "credential_id"],
    place: PLACE,
    content: &["url"],
    proof_outputs: &["credential_id"],
};

/// What is declared, as far as it can be told without a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted<'a> {
    Password { resource: Option<&'a str> },
    PublicKey { jwks_uri: Option<&'a str> },
    Public,
    Token { provider: Option<&'a str>, subject: Option<&'a str> },
    Url { url: Option<&'a str> },
}

impl<'a> Wanted<'a> {
    /// Of a type's name and options. A former place comes without the options that are not about
    /// where it is.
    pub(super) fn of(type_name: &str, options: &'a Options) -> Option<Self> {
        let text = |name| options.text(name);
        Some(match type_name {
            "password" => Self::Password { resource: text("resource") },
            "public-key" => Self::PublicKey { jwks_uri: text("jwks_uri") },
            "public" => Self::Public,
            "token" => Self::Token { provider: text("provider"), subject: text("subject") },
            "url" => Self::Url { url: text("url") },
            _ => return None,
        })
    }
}

/// The same with its provider resolved: all that makes one credential what it is, its id apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Content {
    Password,
    PublicKey { jwks_uri: String },
    Public,
    Token { provider_id: String, subject: Option<String> },
    Url { url: String },
}

impl Content {
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Password => PASSWORD.name,
            Self::PublicKey { .. } => PUBLIC_KEY.name,
            Self::Public => PUBLIC.name,
            Self::Token { .. } => TOKEN.name,
            Self::Url { .. } => URL.name,
        }
    }

    /// The body of a create, with our mark where the type lets us choose the identifier.
    pub(super) fn body(&self, application_id: &str, mark: &str) -> Value {
        let mut body = json!({"application_id": application_id, "type": self.type_name()});
        match self {
            Self::Password | Self::Public => body["identifier"] = json!(mark),
            Self::PublicKey { jwks_uri } => {
                body["identifier"] = json!(mark);
                body["jwks_uri"] = json!(jwks_uri);
            }
            Self::Token { provider_id, subject } => {
                body["provider_id"] = json!(provider_id);
                if let Some(subject) = subject {
                    body["subject"] = json!(subject);
                }
            }
            Self::Url { url } => body["identifier"] = json!(url),
        }
        body
    }

    /// What differs between this and what the vendor shows, if anything: one word for people.
    pub(super) fn differs(&self, shown: &wire::Credential) -> Option<&'static str> {
        // A type that is not told is an older or a shortened answer's.
        if shown.kind.as_deref().is_some_and(|kind| kind != self.type_name()) {
            return Some("type");
        }
        let identifier = shown.identifier.as_deref().unwrap_or_default();
        match self {
            Self::Password | Self::Public => None,
            Self::PublicKey { jwks_uri } => {
                (!shown.jwks_uri.as_deref().is_some_and(|uri| same_url(uri, jwks_uri))).then_some("jwks_uri")
            }
            Self::Token { provider_id, .. } if shown.provider_id.as_ref() != Some(provider_id) => Some("provider"),
            Self::Token { subject, .. } if identifier != subject.as_deref().unwrap_or("*") => Some("subject"),
            Self::Token { .. } => None,
            Self::Url { url } => (!same_url(identifier, url)).then_some("url"),
        }
    }

    /// Whether a create's answer has the identifier that it must have.
    pub(super) fn is_named(&self, identifier: &str, mark: &str) -> bool {
        match self {
            Self::Password | Self::PublicKey { .. } | Self::Public => identifier == mark,
            Self::Token { subject, .. } => identifier == subject.as_deref().unwrap_or("*"),
            Self::Url { url } => same_url(identifier, url),
        }
    }

    /// Whether our mark stands in the identifier.
    pub(super) fn is_marked(&self) -> bool {
        match self {
            Self::Password | Self::PublicKey { .. } | Self::Public => true,
            Self::Token { .. } | Self::Url { .. } => false,
        }
    }
}

/// Whether two texts are one address: a server may write `https://a.example` with a slash at the end.
fn same_url(one: &str, other: &str) -> bool {
    let parsed = |text| Url::parse(text).ok();
    one == other || parsed(one).is_some_and(|one| parsed(other) == Some(one))
}
