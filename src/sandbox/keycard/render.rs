//! The service's objects as JSON, with every field that a reader of the published schemas or of
//! the official clients insists on. The deprecated nested objects are left out.

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::list::Row;
use super::state::State;
use super::words::{Credential, Entity, Kind};
use crate::model::time::Timestamp;

/// A zone's issuer, a path of the one service here; a host of its own at the vendor.
pub(super) fn issuer(base: &str, zone_id: &str) -> String {
    format!("{base}/z/{zone_id}")
}

pub(super) fn organization(state: &State) -> Value {
    let one = &state.organization;
    json!({
        "id": one.id, "name": one.name, "label": one.slug, "sso_enabled": false, "zone_id": one.zone_id,
        "created_at": date(one.created), "updated_at": date(one.created),
    })
}

pub(super) fn zone(state: &State, one: &Entity, base: &str) -> Value {
    let issuer = issuer(base, &one.id);
    json!({
        "id": one.id, "organization_id": state.organization.id, "slug": one.slug,
        "name": if state.settings.names_alike { "Zone" } else { &one.name },
        "description": null, "owner_type": "customer", "external_sync_enabled": false,
        "protocols": {
            "oauth2": {
                "issuer": issuer,
                "authorization_server_metadata": format!("{issuer}/.well-known/oauth-authorization-server"),
                "authorization_endpoint": format!("{issuer}/oauth/2/authorize"),
                "token_endpoint": format!("{issuer}/oauth/2/token"),
                "registration_endpoint": format!("{issuer}/oauth/2/registration"),
                "redirect_uri": format!("{issuer}/oauth/2/redirect"),
                "jwks_uri": format!("{issuer}/openidconnect/jwks"),
                "pkce_required": true, "dcr_enabled": false,
                "cimd": { "enabled": false, "allowed_client_ids": [] },
            },
            "openid": {
                "provider_configuration": format!("{issuer}/.well-known/openid-configuration"),
                "userinfo_endpoint": format!("{issuer}/openidconnect/userinfo"),
            },
        },
        "created_at": date(one.created), "updated_at": date(one.created),
    })
}

/// Both discovery documents are one (RFC 8414; OpenID Connect Discovery 1.0).
pub(super) fn discovery(zone: &Entity, base: &str) -> Value {
    let issuer = issuer(base, &zone.id);
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/oauth/2/authorize"),
        "token_endpoint": format!("{issuer}/oauth/2/token"),
        "introspection_endpoint": format!("{issuer}/oauth/2/introspect"),
        "revocation_endpoint": format!("{issuer}/oauth/2/revoke"),
        "registration_endpoint": format!("{issuer}/oauth/2/registration"),
        "pushed_authorization_request_endpoint": format!("{issuer}/oauth/2/par"),
        "userinfo_endpoint": format!("{issuer}/openidconnect/userinfo"),
        "jwks_uri": format!("{issuer}/openidconnect/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256"],
        // Only the first is granted here; the document is the vendor's.
        "grant_types_supported": [
            "client_credentials", "authorization_code", "refresh_token",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
        "token_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
    })
}

/// A fixed document of the right shape. Its key signs nothing: the tokens here carry no signature.
pub(super) fn jwks() -> Value {
    json!({ "keys": [{
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "sandbox", "e": "AQAB", "n": "u".repeat(342),
    }] })
}

pub(super) fn application(state: &State, one: &Entity) -> Value {
    json!({
        "id": one.id, "organization_id": state.organization.id, "zone_id": one.zone_id, "slug": one.slug,
        "identifier": one.identifier,
        "name": if state.settings.names_alike { "Application" } else { &one.name },
        "description": null, "dependencies_count": 0, "consent": "implicit", "owner_type": "customer",
        "created_at": date(one.created), "updated_at": date(one.created),
    })
}

pub(super) fn provider(state: &State, one: &Entity) -> Value {
    json!({
        "id": one.id, "organization_id": state.organization.id, "zone_id": one.zone_id, "slug": one.slug,
        "identifier": one.identifier, "name": one.name, "description": null, "type": "external",
        "owner_type": "customer", "client_id": null, "client_secret_set": false,
        "created_at": date(one.created), "updated_at": date(one.created),
    })
}

/// Without the password, always: the create call alone adds it.
pub(super) fn credential(state: &State, one: &Credential) -> Value {
    let mut json = json!({
        "id": one.id, "organization_id": state.organization.id, "zone_id": one.zone_id,
        "application_id": one.application_id, "slug": one.slug, "type": one.kind.name(),
        "identifier": one.identifier, "created_at": date(one.created), "updated_at": date(one.updated),
    });
    match &one.kind {
        Kind::Token { provider_id, subject } => {
            json["provider_id"] = json!(provider_id);
            json["subject"] = json!(subject);
        }
        Kind::PublicKey { jwks_uri } => json["jwks_uri"] = json!(jwks_uri),
        Kind::Password { .. } | Kind::Url | Kind::Public => {}
    }
    json
}

/// The item of a type from the future, where the settings ask for it.
pub(super) fn unknown_credential(state: &State, zone_id: &str, of: Option<&str>) -> Option<Row> {
    let application = state.applications.iter().find(|one| one.zone_id == zone_id)?;
    let application_id = of.unwrap_or(&application.id);
    let json = json!({
        "id": "futurefuturefuturefuture00", "organization_id": state.organization.id, "zone_id": zone_id,
        "application_id": application_id, "slug": "federation-rule-0", "type": "federation-rule",
        "identifier": "*", "rule": { "issuer": "https://issuer.example" },
        "created_at": date(application.created), "updated_at": date(application.created),
    });
    state.settings.unknown_type_listed.then_some(Row { sequence: u64::MAX, json })
}

fn date(at: Timestamp) -> String {
    at.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true)
}
