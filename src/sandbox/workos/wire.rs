//! The vendor's words on the wire: paths, bodies, errors, objects, the one list with pages. From a
//! call to an answer, without a socket.

use axum::body::Bytes;
use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::oauth;
use super::settings::{Hint, Order};
use super::state::{Application, At, Kind, Refusal, Secret, State};
use crate::model::time::Timestamp;
use crate::sandbox::desk::{self, Call};
use crate::sandbox::spoil::Reply;

/// What is called, with the ids from the path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Route {
    ListApplications,
    GetApplication(String),
    ListSecrets(String),
    CreateSecret(String),
    DeleteSecret(String),
    Discovery { openid: bool },
    Jwks,
    Token,
    Introspection,
    Unknown,
}

impl Route {
    pub(super) fn of(method: &str, path: &str) -> Self {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (method, parts.as_slice()) {
            ("GET", ["connect", "applications"]) => Self::ListApplications,
            ("GET", ["connect", "applications", id]) => Self::GetApplication(plain(id)),
            ("GET", ["connect", "applications", id, "client_secrets"]) => Self::ListSecrets(plain(id)),
            ("POST", ["connect", "applications", id, "client_secrets"]) => Self::CreateSecret(plain(id)),
            ("DELETE", ["connect", "client_secrets", id]) => Self::DeleteSecret(plain(id)),
            ("GET", [".well-known", "openid-configuration"]) => Self::Discovery { openid: true },
            ("GET", [".well-known", "oauth-authorization-server"]) => Self::Discovery { openid: false },
            ("GET", ["oauth2", "jwks"]) => Self::Jwks,
            ("POST", ["oauth2", "token"]) => Self::Token,
            ("POST", ["oauth2", "introspection"]) => Self::Introspection,
            _ => Self::Unknown,
        }
    }

    /// The name that faults and the journal use.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::ListApplications => "list_applications",
            Self::GetApplication(_) => "get_application",
            Self::ListSecrets(_) => "list_client_secrets",
            Self::CreateSecret(_) => "create_client_secret",
            Self::DeleteSecret(_) => "delete_client_secret",
            Self::Discovery { .. } => "discovery",
            Self::Jwks => "jwks",
            Self::Token => "token",
            Self::Introspection => "introspection",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it is one of the AuthKit domain's, whose errors are OAuth's.
    pub(super) fn is_authkit(&self) -> bool {
        match self {
            Self::Discovery { .. } | Self::Jwks | Self::Token | Self::Introspection => true,
            Self::ListApplications
            | Self::GetApplication(_)
            | Self::ListSecrets(_)
            | Self::CreateSecret(_)
            | Self::DeleteSecret(_)
            | Self::Unknown => false,
        }
    }

    /// Whether a lagging replica may answer.
    pub(super) fn reads(&self) -> bool {
        match self {
            Self::CreateSecret(_) | Self::DeleteSecret(_) | Self::Unknown => false,
            Self::ListApplications
            | Self::GetApplication(_)
            | Self::ListSecrets(_)
            | Self::Discovery { .. }
            | Self::Jwks
            | Self::Token
            | Self::Introspection => true,
        }
    }
}

/// Answers one call. `base` is where the service is reached, without a slash at the end.
pub(super) fn answer(state: &mut State, base: &str, route: &Route, call: &Call, at: At) -> Reply {
    if route.is_authkit() && state.settings.authkit_gone {
        let headers = vec![("content-type".into(), "text/html".into())];
        return Reply { status: 404, headers, body: "<html><body>Not Found</body></html>".into() };
    }
    match route {
        Route::Token => return oauth::token(state, base, call, at),
        Route::Introspection => return oauth::introspection(state, call, at),
        Route::Discovery { openid } => return Reply::json(200, &oauth::discovery(base, *openid)),
        Route::Jwks => return Reply::json(200, &oauth::jwks()),
        Route::ListApplications
        | Route::GetApplication(_)
        | Route::ListSecrets(_)
        | Route::CreateSecret(_)
        | Route::DeleteSecret(_)
        | Route::Unknown => {}
    }
    api(state, route, call, at).unwrap_or_else(|refusal| refused(state, refusal))
}

fn api(state: &mut State, route: &Route, call: &Call, at: At) -> Result<Reply, Refusal> {
    let bearer = call.header("authorization").and_then(|header| header.split_once(' '));
    let key = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key);
    let environment = state.environment(key)?;
    match route {
        Route::ListApplications => list_applications(state, &environment, call),
        Route::GetApplication(id) => Ok(Reply::json(200, &application(state, state.application(&environment, id)?))),
        Route::ListSecrets(id) => {
            let owner = state.application(&environment, id)?.id.clone();
            let mut shown: Vec<Value> =
                state.visible(&owner, at).into_iter().map(|one| secret(state, one, at.now)).collect();
            match state.settings.order {
                Order::OldestFirst => {}
                Order::NewestFirst => shown.reverse(),
                Order::Shuffled => state.shuffle(&mut shown),
            }
            Ok(Reply::json(200, &Value::Array(shown)))
        }
        Route::CreateSecret(id) => {
            // `{}`, nothing at all, and keys that nobody knows are all taken.
            let object = |body: &Bytes| serde_json::from_slice::<serde_json::Map<String, Value>>(body).is_ok();
            if !call.body.is_empty() && !object(&call.body) {
                return Err(Refusal::Malformed);
            }
            let (made, value) = state.create(&environment, id, at.now)?;
            let mut body = secret(state, &made, at.now);
            if let Some(value) = value {
                body["secret"] = json!(value);
            }
            Ok(Reply::json(201, &body))
        }
        Route::DeleteSecret(id) => {
            state.delete(&environment, id, at.now)?;
            let status = state.settings.delete_status;
            let body = if status == 202 { Bytes::from_static(b"Accepted") } else { Bytes::new() };
            Ok(Reply { status, headers: Vec::new(), body })
        }
        Route::Discovery { .. } | Route::Jwks | Route::Token | Route::Introspection | Route::Unknown => {
            Err(Refusal::NotFound { what: "Path", id: String::new() })
        }
    }
}

/// An error as the API says it.
pub(super) fn refused(state: &State, refusal: Refusal) -> Reply {
    let message = |status, text: &str| Reply::json(status, &json!({ "message": text }));
    match refusal {
        Refusal::Unauthorized => message(401, "Unauthorized"),
        Refusal::Forbidden => message(403, "The API key lacks the permission for this."),
        Refusal::NotFound { .. } if state.settings.plain_404 => message(404, "Not Found"),
        Refusal::NotFound { what, id } => Reply::json(
            404,
            &json!({ "message": format!("{what} not found: '{id}'."), "code": "entity_not_found", "entity_id": id }),
        ),
        Refusal::Unprocessable(why) => message(422, &why),
        Refusal::Full => {
            message(state.settings.full_status, "The application has the maximum number of client secrets.")
        }
        Refusal::Malformed => {
            Reply::json(400, &json!({ "message": ["body must be an object"], "error": "Bad Request" }))
        }
    }
}

/// A secret without its value, as lists show it.
fn secret(state: &State, one: &Secret, now: Timestamp) -> Value {
    let (first, last) = &one.hint;
    let hint = match state.settings.hint {
        Hint::Last4 => last.clone(),
        Hint::First6 => first.clone(),
        Hint::Masked => format!("…{last}"),
    };
    let mut json = json!({
        "object": "connect_application_secret", "id": one.id, "secret_hint": hint,
        "last_used_at": state.last_used(one, now).map(date),
        "created_at": date(one.created), "updated_at": date(one.created),
    });
    if state.settings.future {
        json["expires_at"] = Value::Null;
        json["labels"] = json!({});
    }
    json
}

fn application(state: &State, one: &Application) -> Value {
    let mut json = json!({
        "object": "connect_application", "id": one.id, "client_id": one.client_id, "name": one.name,
        "description": null, "scopes": [], "organization_id": one.organization_id,
        "created_at": date(one.created), "updated_at": date(one.created),
    });
    match one.kind {
        Kind::M2m => json["application_type"] = json!("m2m"),
        Kind::Oauth => {
            json["application_type"] = json!("oauth");
            json["redirect_uris"] = json!([{ "uri": "https://app.example.com/callback", "default": true }]);
            json["uses_pkce"] = json!(false);
            json["is_first_party"] = json!(false);
            json["was_dynamically_registered"] = json!(one.dynamic);
            json["cors_origins"] = json!([]);
        }
    }
    if state.settings.future {
        json["logo_uri"] = json!("https://app.example.com/logo.png");
    }
    json
}

/// The list of applications: pages by object id. `normal` reverses the sense of the cursors.
fn list_applications(state: &State, environment: &str, call: &Call) -> Result<Reply, Refusal> {
    let given = |name: &str| call.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let bad = |why: &str| Refusal::Unprocessable(why.into());
    let limit: usize = match given("limit").map(str::parse) {
        None => 10,
        Some(Ok(limit @ 1..=100)) => limit,
        Some(_) => return Err(bad("limit must be between 1 and 100")),
    };
    let order = given("order").unwrap_or("normal");
    if !["asc", "desc", "normal"].contains(&order) {
        return Err(bad("order must be asc, desc or normal"));
    }
    let types = given("registration_types").unwrap_or("authenticated");
    let registered = |one: &Application| {
        types.split(',').any(|kind| (kind == "dynamic" && one.dynamic) || (kind == "authenticated" && !one.dynamic))
    };
    let mut all: Vec<&Application> = state
        .applications
        .iter()
        .filter(|one| one.environment == environment && registered(one))
        .filter(|one| given("organization_id").is_none_or(|wanted| wanted == one.organization_id))
        .collect();
    all.sort_by_key(|one| one.created);
    if order != "asc" {
        all.reverse();
    }
    let (after, before) = match order {
        "normal" => (given("before"), given("after")),
        _ => (given("after"), given("before")),
    };
    let place = |id: &str| all.iter().position(|one| one.id == id).ok_or_else(|| bad("no such cursor"));
    let (from, to) = match (after, before) {
        (Some(id), _) if !state.settings.cursor_stuck => {
            let from = place(id)? + 1;
            (from, all.len().min(from + limit))
        }
        (_, Some(id)) => {
            let to = place(id)?;
            (to.saturating_sub(limit), to)
        }
        _ => (0, all.len().min(limit)),
    };
    let page = &all[from..to];
    let more = to < all.len() || (state.settings.cursor_stuck && !page.is_empty());
    let older = page.last().filter(|_| more).map(|one| one.id.clone());
    let newer = page.first().filter(|_| from > 0).map(|one| one.id.clone());
    let (after, before) = if order == "normal" { (newer, older) } else { (older, newer) };
    let mut data: Vec<Value> = page.iter().map(|one| application(state, one)).collect();
    if state.settings.future {
        let mut unknown = json!({ "object": "connect_application", "application_type": "agent" });
        unknown["id"] = json!("conn_app_OFTHEFUTURE");
        data.push(unknown);
    }
    let envelope = json!({ "object": "list", "data": data, "list_metadata": { "before": before, "after": after } });
    Ok(Reply::json(200, &envelope))
}

/// A path's segment without percent-encoding.
fn plain(segment: &str) -> String {
    let escaped = segment.replace('+', "%2B");
    desk::pairs(&format!("x={escaped}")).pop().map(|(_, value)| value).unwrap_or_default()
}

fn date(at: Timestamp) -> String {
    at.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true)
}
