//! The AuthKit domain on the wire: token and introspection endpoint (RFC 6749, RFC 7662), the two
//! discovery documents and the key set.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use super::state::{Application, At, Denial, Kind, State};
use crate::sandbox::desk::{self, Call};
use crate::sandbox::spoil::Reply;

const MISSING: Denial = Denial { status: 401, error: "invalid_client", why: "Missing authorization header." };
const UNKNOWN: Denial = Denial { status: 401, error: "invalid_client", why: "Application not found." };
const WRONG: Denial = Denial { status: 401, error: "invalid_client", why: "Invalid client ID or secret." };
const GRANTS: [&str; 4] =
    ["authorization_code", "client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"];

/// `POST /oauth2/token`. The order of the checks is the vendor's: the client, the grant type, the
/// secret, the application's type, the scope.
pub(super) fn token(state: &mut State, base: &str, call: &Call, at: At) -> Reply {
    let fields = fields(call);
    match grant(state, base, call, &fields, at) {
        Ok(token) => {
            let body = json!({ "access_token": token, "expires_in": state.settings.token_s, "token_type": "bearer" });
            let mut answer = Reply::json(200, &body);
            answer.headers.push(("cache-control".into(), "no-store".into()));
            answer
        }
        Err(denial) => refuse(denial.status, denial.error, denial.why),
    }
}

fn grant(state: &mut State, base: &str, call: &Call, fields: &[(String, String)], at: At) -> Result<String, Denial> {
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let (application, secret) = client(state, call, fields)?;
    let application = application.clone();
    let kind = field("grant_type").unwrap_or_default();
    if kind.is_empty() {
        return Err(Denial { status: 400, error: "invalid_request", why: "The grant_type is required." });
    }
    if !GRANTS.contains(&kind) {
        return Err(Denial { status: 400, error: "unsupported_grant_type", why: "Unsupported grant type." });
    }
    let status = state.settings.wrong_secret_status;
    let wrong = Denial { status, ..WRONG };
    let position = state.accepted(&application.id, &secret, at).ok_or(wrong)?;
    match (kind, application.kind) {
        ("client_credentials", Kind::M2m) => {}
        ("client_credentials", Kind::Oauth) => {
            let why = "The application can't use this grant type.";
            return Err(Denial { status: 400, error: "unauthorized_client", why });
        }
        _ => return Err(Denial { status: 400, error: "invalid_grant", why: "The grant is invalid or expired." }),
    }
    if field("scope").is_some_and(|scope| !scope.trim().is_empty()) {
        return Err(Denial { status: 400, error: "invalid_scope", why: "The application has none of these scopes." });
    }
    let claims = json!({
        "iss": base, "sub": application.client_id, "client_id": application.client_id,
        "aud": format!("client_{}", super::state::ENVIRONMENT), "org_id": application.organization_id,
    });
    // Only an issued token counts as use.
    state.used(position, at.now);
    Ok(state.token(claims, at.now))
}

/// `POST /oauth2/introspection`: the client first, whatever the token is.
pub(super) fn introspection(state: &mut State, call: &Call, at: At) -> Reply {
    let fields = fields(call);
    let known = client(state, call, &fields).map(|(application, secret)| (application.id.clone(), secret));
    let position = known.and_then(|(id, secret)| state.accepted(&id, &secret, at).ok_or(WRONG));
    let token = fields.iter().find(|(key, _)| key == "token").map(|(_, value)| value.as_str());
    match (position, token) {
        (Err(_), _) if state.settings.introspection_blind => Reply::json(200, &json!({ "active": false })),
        (Err(denial), _) => refuse(401, "invalid_client", denial.why),
        (Ok(_), None) => refuse(400, "invalid_request", "The token is required."),
        (Ok(position), Some(token)) => {
            if state.settings.introspection_counts {
                state.used(position, at.now);
            }
            let mut body = json!({ "active": false });
            if let Some(claims) = state.claims(token, at.now) {
                body = claims.clone();
                body["active"] = json!(true);
                body["token_type"] = json!("access_token");
            }
            Reply::json(200, &body)
        }
    }
}

/// An error in the OAuth form.
pub(super) fn refuse(status: u16, error: &str, description: &str) -> Reply {
    let mut answer = Reply::json(status, &json!({ "error": error, "error_description": description }));
    if status == 401 {
        answer.headers.push(("www-authenticate".into(), "Basic realm=\"AuthKit\"".into()));
    }
    answer
}

/// `/.well-known/openid-configuration`, and the other one, which does not know of machines.
pub(super) fn discovery(base: &str, openid: bool) -> Value {
    let grants: Vec<&str> = GRANTS.into_iter().filter(|grant| openid || *grant != "client_credentials").collect();
    json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/oauth2/authorize"),
        "token_endpoint": format!("{base}/oauth2/token"),
        "introspection_endpoint": format!("{base}/oauth2/introspection"),
        "userinfo_endpoint": format!("{base}/oauth2/userinfo"),
        "device_authorization_endpoint": format!("{base}/oauth2/device_authorization"),
        "jwks_uri": format!("{base}/oauth2/jwks"),
        "scopes_supported": ["email", "offline_access", "openid", "profile"],
        "response_types_supported": ["code"],
        "grant_types_supported": grants,
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "subject_types_supported": ["public"],
    })
}

/// A fixed document of the right shape. Its key signs nothing: the tokens here carry no signature.
pub(super) fn jwks() -> Value {
    json!({ "keys": [{
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "sandbox", "e": "AQAB", "n": "u".repeat(342),
    }] })
}

/// The client that asks and the secret it shows: in the body or by Basic, which is taken as sent.
fn client<'a>(state: &'a State, call: &Call, fields: &[(String, String)]) -> Result<(&'a Application, String), Denial> {
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let basic = call.header("authorization").and_then(|header| header.split_once(' '));
    let basic = basic.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let plain = basic.and_then(|(_, encoded)| BASE64_STANDARD.decode(encoded.trim()).ok());
    let text = plain.and_then(|plain| String::from_utf8(plain).ok());
    let pair = text.and_then(|text| text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned())));
    let (id, secret) =
        pair.or_else(|| Some((field("client_id")?, field("client_secret").unwrap_or_default()))).ok_or(MISSING)?;
    Ok((state.client(&id).ok_or(UNKNOWN)?, secret))
}

/// A form or a JSON object.
fn fields(call: &Call) -> Vec<(String, String)> {
    let text = std::str::from_utf8(&call.body).unwrap_or_default();
    if !call.header("content-type").unwrap_or_default().starts_with("application/json") {
        return desk::pairs(text);
    }
    let object: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    object.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_owned()))).collect()
}
