//! The two token endpoints on the wire: the management API's and the zones' (RFC 6749).

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;

use super::render;
use super::state::State;
use super::wire;
use super::words::{At, Denial, Grant};
use crate::model::time::Timestamp;
use crate::sandbox::desk::{self, Call};
use crate::sandbox::spoil::Reply;

/// `POST /service-account-token`.
pub(super) fn management_token(state: &mut State, call: &Call, now: Timestamp) -> Reply {
    let granted = form(call).and_then(|form| {
        let (id, secret) = client(call, &form)?.ok_or(Denial::InvalidClient)?;
        let grant = state.grant_bearer(&id, &secret, now)?;
        match form.iter().find(|(key, _)| key == "grant_type") {
            Some((_, kind)) if kind == "client_credentials" => Ok(grant),
            Some(_) => Err(Denial::UnsupportedGrantType),
            None => Err(Denial::InvalidRequest("grant_type is required")),
        }
    });
    token_answer(state, granted, None)
}

/// A zone's token endpoint.
pub(super) fn zone_token(state: &mut State, base: &str, zone: &str, call: &Call, at: At) -> Reply {
    if let Err(refusal) = state.zone(zone) {
        let (status, code, message) = wire::explain(&refusal);
        return wire::api_error(state, call, at.now, status, code, message);
    }
    let mut scope = None;
    let granted = form(call).and_then(|form| {
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let resources: Vec<String> =
            form.iter().filter(|(key, _)| key == "resource").map(|(_, value)| value.clone()).collect();
        scope = field("scope");
        let pair = client(call, &form)?;
        let pair = pair.as_ref().map(|(id, secret)| (id.as_str(), secret.as_str()));
        let grant_type = field("grant_type").unwrap_or_default();
        state.grant_zone_token(zone, pair, &grant_type, &resources, at, &render::issuer(base, zone))
    });
    token_answer(state, granted, scope)
}

fn token_answer(state: &mut State, granted: Result<Grant, Denial>, scope: Option<String>) -> Reply {
    match granted {
        Ok(Grant { token, lifetime_s }) => {
            let mut body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime_s });
            if let Some(scope) = scope {
                body["scope"] = json!(scope);
            }
            let mut answer = Reply::json(200, &body);
            answer.headers.push(("cache-control".into(), "no-store".into()));
            answer
        }
        Err(Denial::InvalidClient) => refuse(state, 401, "invalid_client", "client authentication failed"),
        Err(Denial::InvalidRequest(why)) => refuse(state, 400, "invalid_request", why),
        Err(Denial::UnsupportedGrantType) => {
            refuse(state, 400, "unsupported_grant_type", "only client_credentials is granted here")
        }
        Err(Denial::InvalidTarget) => refuse(state, 400, "invalid_target", "unknown resource"),
        Err(Denial::AccessDenied) => refuse(state, 403, "access_denied", "denied by policy"),
    }
}

/// An error in the OAuth form.
pub(super) fn refuse(state: &mut State, status: u16, error: &str, description: &str) -> Reply {
    let body = json!({ "error": error, "error_description": description, "requestId": state.id() });
    let mut answer = Reply::json(status, &body);
    if status == 401 {
        answer.headers.push(("www-authenticate".into(), "Basic realm=\"keycard\"".into()));
    }
    answer
}

/// The client's pair at a token endpoint, from Basic or from the body (RFC 6749, section 2.3.1).
/// Basic is taken as sent: official clients do not percent-encode it.
fn client(call: &Call, form: &[(String, String)]) -> Result<Option<(String, String)>, Denial> {
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let in_body = field("client_id").zip(field("client_secret"));
    let Some(header) = call.header("authorization") else { return Ok(in_body) };
    if in_body.is_some() {
        return Err(Denial::InvalidRequest("one way of client authentication at a time"));
    }
    let basic = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let plain = basic.and_then(|(_, encoded)| BASE64_STANDARD.decode(encoded.trim()).ok());
    let text = plain.and_then(|plain| String::from_utf8(plain).ok());
    Ok(text.and_then(|text| text.split_once(':').map(|(id, secret)| (id.into(), secret.into()))))
}

fn form(call: &Call) -> Result<Vec<(String, String)>, Denial> {
    let media = call.header("content-type").unwrap_or_default();
    if !media.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        return Err(Denial::InvalidRequest("the body must be application/x-www-form-urlencoded"));
    }
    let text = std::str::from_utf8(&call.body).map_err(|_| Denial::InvalidRequest("the body must be text"))?;
    Ok(desk::pairs(text))
}
