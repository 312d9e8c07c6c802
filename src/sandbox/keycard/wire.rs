//! The vendor's words on the wire: paths, bodies, errors. From a call to an answer, without a
//! socket.

use axum::body::Bytes;
use serde_json::{Map, Value, json};

use super::list::{self, Row};
use super::oauth;
use super::render;
use super::state::State;
use super::words::{At, Change, Draft, Refusal};
use crate::model::time::Timestamp;
use crate::sandbox::desk::Call;
use crate::sandbox::spoil::Reply;

/// What is called, with the ids from the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Route<'a> {
    Token,
    ListOrganizations,
    GetOrganization(&'a str),
    ListZones,
    GetZone(&'a str),
    ListApplications(&'a str),
    GetApplication(&'a str, &'a str),
    ListCredentials(&'a str),
    ListCredentialsOfOne(&'a str, &'a str),
    CreateCredential(&'a str),
    GetCredential(&'a str, &'a str),
    PatchCredential(&'a str, &'a str),
    DeleteCredential(&'a str, &'a str),
    ListProviders(&'a str),
    GetProvider(&'a str, &'a str),
    Discovery(&'a str),
    Jwks(&'a str),
    ZoneToken(&'a str),
    Unknown,
}

impl<'a> Route<'a> {
    pub(super) fn of(method: &str, path: &'a str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method, parts.as_slice()) {
            ("POST", ["service-account-token"]) => Self::Token,
            ("GET", ["organizations"]) => Self::ListOrganizations,
            ("GET", ["organizations", id]) => Self::GetOrganization(id),
            ("GET", ["zones"]) => Self::ListZones,
            ("GET", ["zones", id]) => Self::GetZone(id),
            ("GET", ["zones", zone, "applications"]) => Self::ListApplications(zone),
            ("GET", ["zones", zone, "applications", id]) => Self::GetApplication(zone, id),
            ("GET", ["zones", zone, "applications", id, "application-credentials"]) => {
                Self::ListCredentialsOfOne(zone, id)
            }
            ("GET", ["zones", zone, "application-credentials"]) => Self::ListCredentials(zone),
            ("POST", ["zones", zone, "application-credentials"]) => Self::CreateCredential(zone),
            ("GET", ["zones", zone, "application-credentials", id]) => Self::GetCredential(zone, id),
            ("PATCH", ["zones", zone, "application-credentials", id]) => Self::PatchCredential(zone, id),
            ("DELETE", ["zones", zone, "application-credentials", id]) => Self::DeleteCredential(zone, id),
            ("GET", ["zones", zone, "providers"]) => Self::ListProviders(zone),
            ("GET", ["zones", zone, "providers", id]) => Self::GetProvider(zone, id),
            ("GET", ["z", zone, ".well-known", "oauth-authorization-server" | "openid-configuration"]) => {
                Self::Discovery(zone)
            }
            ("GET", ["z", zone, "openidconnect", "jwks"]) => Self::Jwks(zone),
            ("POST", ["z", zone, "oauth", "2", "token"]) => Self::ZoneToken(zone),
            _ => Self::Unknown,
        }
    }

    /// The name that faults and the journal use.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::ListOrganizations => "list_organizations",
            Self::GetOrganization(_) => "get_organization",
            Self::ListZones => "list_zones",
            Self::GetZone(_) => "get_zone",
            Self::ListApplications(_) => "list_applications",
            Self::GetApplication(..) => "get_application",
            Self::ListCredentials(_) | Self::ListCredentialsOfOne(..) => "list_credentials",
            Self::CreateCredential(_) => "create_credential",
            Self::GetCredential(..) => "get_credential",
            Self::PatchCredential(..) => "patch_credential",
            Self::DeleteCredential(..) => "delete_credential",
            Self::ListProviders(_) => "list_providers",
            Self::GetProvider(..) => "get_provider",
            Self::Discovery(_) => "discovery",
            Self::Jwks(_) => "jwks",
            Self::ZoneToken(_) => "zone_token",
            Self::Unknown => "unknown",
        }
    }

    /// Whether errors come in the OAuth form (RFC 6749, section 5.2).
    pub(super) fn speaks_oauth(self) -> bool {
        matches!(self, Self::Token | Self::ZoneToken(_))
    }
}

/// Answers one call. `base` is where the service is reached, without a slash at the end.
pub(super) fn answer(state: &mut State, base: &str, route: Route<'_>, call: &Call, at: At) -> Reply {
    match route {
        Route::Token => return oauth::management_token(state, call, at.now),
        Route::ZoneToken(zone) => return oauth::zone_token(state, base, zone, call, at),
        Route::Discovery(_)
        | Route::Jwks(_)
        | Route::ListOrganizations
        | Route::GetOrganization(_)
        | Route::ListZones
        | Route::GetZone(_)
        | Route::ListApplications(_)
        | Route::GetApplication(..)
        | Route::ListCredentials(_)
        | Route::ListCredentialsOfOne(..)
        | Route::CreateCredential(_)
        | Route::GetCredential(..)
        | Route::PatchCredential(..)
        | Route::DeleteCredential(..)
        | Route::ListProviders(_)
        | Route::GetProvider(..)
        | Route::Unknown => {}
    }
    match api(state, base, route, call, at) {
        Ok(Value::Null) => Reply { status: 204, headers: Vec::new(), body: Bytes::new() },
        Ok(body) => Reply::json(200, &body),
        Err(refusal) => {
            let (status, code, message) = explain(&refusal);
            api_error(state, call, at.now, status, code, message)
        }
    }
}

/// An error in the management API's form.
pub(super) fn api_error(
    state: &mut State,
    call: &Call,
    now: Timestamp,
    status: u16,
    code: &str,
    message: &str,
) -> Reply {
    let body = json!({
        "status": status, "code": code, "message": message, "request_id": state.id(),
        "timestamp": now.to_string(), "details": [], "path": call.path,
    });
    Reply::json(status, &body)
}

/// Status, code and message of a refusal.
pub(super) fn explain(refusal: &Refusal) -> (u16, &'static str, &str) {
    match refusal {
        Refusal::Unauthorized => (401, "unauthorized", "a valid bearer token is required"),
        Refusal::NotFound(what) => (404, "not_found", what),
        Refusal::Conflict(why) => (409, "conflict", why),
        Refusal::BadRequest(why) => (400, "bad_request", why),
        Refusal::UnsupportedMediaType => (415, "unsupported_media_type", "the body must be application/json"),
        Refusal::Unparsable => (500, "internal_server_error", "something went wrong"),
    }
}

fn api(state: &mut State, base: &str, route: Route<'_>, call: &Call, at: At) -> Result<Value, Refusal> {
    // Anybody may read these two; official clients send their Basic header here all the same.
    if let Route::Discovery(zone) = route {
        return Ok(render::discovery(state.zone(zone)?, base));
    }
    if let Route::Jwks(zone) = route {
        state.zone(zone)?;
        return Ok(render::jwks());
    }
    let scheme_and_token = call.header("authorization").and_then(|header| header.split_once(' '));
    match scheme_and_token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && state.knows_bearer(token, at.now) => {}
        Some(_) | None => return Err(Refusal::Unauthorized),
    }
    match route {
        Route::CreateCredential(zone) => {
            let body = json_body(call)?;
            let (application_id, draft) = draft(&body)?;
            let (credential, password) = state.create(zone, &application_id, draft, at)?;
            let credential = credential.clone();
            let mut json = render::credential(state, &credential);
            if let Some(password) = password {
                json["password"] = json!(password);
            }
            Ok(json)
        }
        Route::PatchCredential(zone, id) => {
            let body = json_body(call)?;
            let kind = state.credential(zone, id, at)?.kind.name();
            let credential = state.change(zone, id, change(&body, kind)?, at)?.clone();
            Ok(render::credential(state, &credential))
        }
        Route::DeleteCredential(zone, id) => state.delete(zone, id, at).map(|()| Value::Null),
        Route::ListOrganizations
        | Route::GetOrganization(_)
        | Route::ListZones
        | Route::GetZone(_)
        | Route::ListApplications(_)
        | Route::GetApplication(..)
        | Route::ListCredentials(_)
        | Route::ListCredentialsOfOne(..)
        | Route::GetCredential(..)
        | Route::ListProviders(_)
        | Route::GetProvider(..) => read(state, base, route, call, at),
        Route::Token | Route::ZoneToken(_) | Route::Discovery(_) | Route::Jwks(_) | Route::Unknown => {
            Err(Refusal::NotFound("no such path"))
        }
    }
}

fn read(state: &State, base: &str, route: Route<'_>, call: &Call, at: At) -> Result<Value, Refusal> {
    let (query, settings) = (call.query.as_slice(), &state.settings);
    let credentials = |zone, of: Option<&str>| -> Vec<Row> {
        let seen = state.visible(zone, at).filter(|one| of.is_none_or(|of| one.application_id == of));
        let rows = seen.map(|one| Row { sequence: one.sequence, json: render::credential(state, one) });
        rows.chain(render::unknown_credential(state, zone, of)).collect()
    };
    match route {
        Route::ListOrganizations => {
            let row = Row { sequence: 0, json: render::organization(state) };
            list::answer(vec![row], query, &list::ORGANIZATIONS, settings)
        }
        Route::GetOrganization(id) if id == state.organization.id => Ok(render::organization(state)),
        Route::ListZones => {
            let rows =
                state.zones.iter().map(|one| Row { sequence: one.sequence, json: render::zone(state, one, base) });
            list::answer(rows.collect(), query, &list::ZONES, settings)
        }
        Route::GetZone(id) => Ok(render::zone(state, state.zone(id)?, base)),
        Route::ListApplications(zone) => {
            state.zone(zone)?;
            let all = state.applications.iter().filter(|one| one.zone_id == zone);
            let rows = all.map(|one| Row { sequence: one.sequence, json: render::application(state, one) });
            list::answer(rows.collect(), query, &list::APPLICATIONS, settings)
        }
        Route::GetApplication(zone, id) => Ok(render::application(state, state.application(zone, id)?)),
        Route::ListProviders(zone) => {
            state.zone(zone)?;
            let all = state.providers.iter().filter(|one| one.zone_id == zone);
            let rows = all.map(|one| Row { sequence: one.sequence, json: render::provider(state, one) });
            list::answer(rows.collect(), query, &list::PROVIDERS, settings)
        }
        Route::GetProvider(zone, id) => Ok(render::provider(state, state.provider(zone, id)?)),
        Route::ListCredentials(zone) => {
            state.zone(zone)?;
            list::answer(credentials(zone, None), query, &list::CREDENTIALS, settings)
        }
        Route::ListCredentialsOfOne(zone, id) => {
            state.application(zone, id)?;
            list::answer(credentials(zone, Some(id)), query, &list::CREDENTIALS_OF_ONE, settings)
        }
        Route::GetCredential(zone, id) => Ok(render::credential(state, state.credential(zone, id, at)?)),
        Route::GetOrganization(_)
        | Route::Token
        | Route::CreateCredential(_)
        | Route::PatchCredential(..)
        | Route::DeleteCredential(..)
        | Route::Discovery(_)
        | Route::Jwks(_)
        | Route::ZoneToken(_)
        | Route::Unknown => Err(Refusal::NotFound("organization")),
    }
}

fn json_body(call: &Call) -> Result<Map<String, Value>, Refusal> {
    let media = call.header("content-type").unwrap_or_default();
    if !media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Refusal::UnsupportedMediaType);
    }
    match serde_json::from_slice(&call.body).map_err(|_| Refusal::Unparsable)? {
        Value::Object(body) => Ok(body),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Refusal::BadRequest("body must be an object".into()))
        }
    }
}

/// A create body. Properties no variant has are ignored, as the published schema allows them.
fn draft(body: &Map<String, Value>) -> Result<(String, Draft), Refusal> {
    let needed = |name: &str| {
        optional(body, name)?.ok_or_else(|| Refusal::BadRequest(format!("body must have required property '{name}'")))
    };
    let application_id = needed("application_id")?;
    let draft = match needed("type")?.as_str() {
        "password" => Draft::Password { identifier: identifier(body)? },
        "public-key" => Draft::PublicKey { jwks_uri: address(needed("jwks_uri")?)?, identifier: identifier(body)? },
        "url" => Draft::Url { identifier: address(needed("identifier")?)? },
        "public" => Draft::Public { identifier: identifier(body)? },
        "token" => Draft::Token { provider_id: needed("provider_id")?, subject: optional(body, "subject")? },
        // The service tries the token variant on a type it does not know, and says so.
        _ => return Err(Refusal::BadRequest("body must have required property 'provider_id'".into())),
    };
    Ok((application_id, draft))
}

fn change(body: &Map<String, Value>, kind: &str) -> Result<Change, Refusal> {
    if optional(body, "type")?.is_some_and(|given| given != kind) {
        return Err(Refusal::BadRequest(format!("type of this credential is {kind}")));
    }
    let mut change = Change::default();
    match kind {
        "token" => {
            change.subject = match body.get("subject") {
                Some(Value::Null) => Some(None),
                Some(_) | None => optional(body, "subject")?.map(Some),
            }
        }
        "url" => change.identifier = optional(body, "identifier")?.map(address).transpose()?,
        "public" => change.identifier = identifier(body)?,
        _ => {}
    }
    Ok(change)
}

fn optional(body: &Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::BadRequest(format!("body/{name} must be string"))),
    }
}

/// Tags and control characters are refused in the service's other texts; assumed here too.
fn identifier(body: &Map<String, Value>) -> Result<Option<String>, Refusal> {
    let text = optional(body, "identifier")?;
    let well_formed = |text: &String| {
        (1..=2048).contains(&text.len()) && !text.contains(['<', '>']) && !text.chars().any(char::is_control)
    };
    match text {
        Some(text) if !well_formed(&text) => Err(Refusal::BadRequest("body/identifier is malformed".into())),
        other => Ok(other),
    }
}

fn address(text: String) -> Result<String, Refusal> {
    let is_url = reqwest::Url::parse(&text).is_ok_and(|url| url.has_host());
    if is_url { Ok(text) } else { Err(Refusal::BadRequest("body must match format \"uri\"".into())) }
}
