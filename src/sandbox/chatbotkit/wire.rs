//! The vendor's words on the wire: paths, headers, bodies, errors. From a call to an answer, without
//! a socket.

use axum::body::Bytes;
use serde_json::{Map, Value, json};

use super::list::{self, Asked, Row};
use super::state::{At, State};
use super::words::{Account, Refusal};
use super::{others, secrets};
use crate::model::time::Timestamp;
use crate::sandbox::desk::Call;
use crate::sandbox::spoil::Reply;

/// What is called, with the references from the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Route<'a> {
    ListSecrets,
    CreateSecret,
    FetchSecret(&'a str),
    UpdateSecret(&'a str),
    DeleteSecret(&'a str),
    VerifySecret(&'a str),
    AuthenticateSecret(&'a str),
    RevokeSecret(&'a str),
    MintSecret(&'a str),
    ListUsers,
    FetchUser(&'a str),
    ListTokens(&'a str),
    CreateToken(&'a str),
    UpdateToken(&'a str, &'a str),
    DeleteToken(&'a str, &'a str),
    OwnTokens,
    ListBlueprints,
    FetchBlueprint(&'a str),
    DeleteBlueprint(&'a str),
    ListAbilities(&'a str),
    FetchAbility(&'a str, &'a str),
    UpdateAbility(&'a str, &'a str),
    Unknown,
}

impl<'a> Route<'a> {
    pub(super) fn of(path: Option<&'a [String]>, partner: bool) -> Self {
        let mut parts: Vec<&str> = path.unwrap_or_default().iter().map(String::as_str).collect();
        match (parts.first().copied(), partner) {
            (Some("partner"), true) => drop(parts.remove(0)),
            (Some("user"), true) => return Self::Unknown,
            _ => {}
        }
        match parts.as_slice() {
            ["secret", "list"] => Self::ListSecrets,
            ["secret", "create"] => Self::CreateSecret,
            ["secret", id, "fetch"] => Self::FetchSecret(id),
            ["secret", id, "update"] => Self::UpdateSecret(id),
            ["secret", id, "delete"] => Self::DeleteSecret(id),
            ["secret", id, "verify"] => Self::VerifySecret(id),
            ["secret", id, "authenticate"] => Self::AuthenticateSecret(id),
            ["secret", id, "revoke"] => Self::RevokeSecret(id),
            ["secret", id, "mint"] => Self::MintSecret(id),
            ["user", "list"] => Self::ListUsers,
            ["user", id, "fetch"] => Self::FetchUser(id),
            ["user", id, "token", "list"] => Self::ListTokens(id),
            ["user", id, "token", "create"] => Self::CreateToken(id),
            ["user", user, "token", id, "update"] => Self::UpdateToken(user, id),
            ["user", user, "token", id, "delete"] => Self::DeleteToken(user, id),
            ["token", ..] => Self::OwnTokens,
            ["blueprint", "list"] => Self::ListBlueprints,
            ["blueprint", id, "fetch"] => Self::FetchBlueprint(id),
            ["blueprint", id, "delete"] => Self::DeleteBlueprint(id),
            ["skillset", id, "ability", "list"] => Self::ListAbilities(id),
            ["skillset", of, "ability", id, "fetch"] => Self::FetchAbility(of, id),
            ["skillset", of, "ability", id, "update"] => Self::UpdateAbility(of, id),
            _ => Self::Unknown,
        }
    }

    /// The name that faults and the journal use.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ListSecrets => "list_secrets",
            Self::CreateSecret => "create_secret",
            Self::FetchSecret(_) => "fetch_secret",
            Self::UpdateSecret(_) => "update_secret",
            Self::DeleteSecret(_) => "delete_secret",
            Self::VerifySecret(_) => "verify_secret",
            Self::AuthenticateSecret(_) => "authenticate_secret",
            Self::RevokeSecret(_) => "revoke_secret",
            Self::MintSecret(_) => "mint_secret",
            Self::ListUsers => "list_users",
            Self::FetchUser(_) => "fetch_user",
            Self::ListTokens(_) => "list_tokens",
            Self::CreateToken(_) => "create_token",
            Self::UpdateToken(..) => "update_token",
            Self::DeleteToken(..) => "delete_token",
            Self::OwnTokens => "own_tokens",
            Self::ListBlueprints => "list_blueprints",
            Self::FetchBlueprint(_) => "fetch_blueprint",
            Self::DeleteBlueprint(_) => "delete_blueprint",
            Self::ListAbilities(_) => "list_abilities",
            Self::FetchAbility(..) => "fetch_ability",
            Self::UpdateAbility(..) => "update_ability",
            Self::Unknown => "unknown",
        }
    }

    /// `GET` for what only reads, `POST` for everything else.
    fn reads(self) -> bool {
        self.lists()
            || matches!(
                self,
                Self::FetchSecret(_) | Self::FetchUser(_) | Self::FetchBlueprint(_) | Self::FetchAbility(..)
            )
    }

    fn lists(self) -> bool {
        matches!(
            self,
            Self::ListSecrets | Self::ListUsers | Self::ListTokens(_) | Self::ListBlueprints | Self::ListAbilities(_)
        )
    }
}

/// Answers one call. `base` is where the service is reached, without a slash at the end.
pub(super) fn answer(state: &mut State, base: &str, route: Route<'_>, call: &Call, at: At) -> Reply {
    if route == Route::Unknown {
        let headers = vec![("content-type".into(), "text/html".into())];
        let body = Bytes::from_static(b"<!DOCTYPE html><html><body><h1>404</h1></body></html>");
        return Reply { status: 404, headers, body };
    }
    match (call.method.as_str(), route) {
        ("HEAD", _) => return Reply { status: 200, headers: Vec::new(), body: Bytes::new() },
        ("OPTIONS", _) => return Reply::json(200, &json!({})),
        ("GET", route) if route.reads() => {}
        ("POST", route) if !route.reads() => {}
        // Undocumented, and a browser's own: nothing is known of its methods.
        (_, Route::OwnTokens) => {}
        _ => return refuse(&Refusal::MethodNotAllowed),
    }
    let done = caller(state, call, at.now).and_then(|account| {
        if route.lists() {
            return listed(state, &account, route, call, at);
        }
        if route == Route::OwnTokens {
            // A browser's session may; an API token may not.
            return Err(Refusal::NotAuthorized);
        }
        let body = if route.reads() { Map::new() } else { body(call)? };
        perform(state, &account, base, route, &body, at).map(|done| Reply::json(200, &done))
    });
    done.unwrap_or_else(|refusal| refuse(&refusal))
}

/// An error in the vendor's form.
pub(super) fn refuse(refusal: &Refusal) -> Reply {
    let (status, code, message) = refusal.explain();
    let mut reply = match refusal {
        Refusal::Odd(..) => Reply::json(status, &json!({ "error": code, "message": message })),
        _ => Reply::json(status, &json!({ "message": message, "code": code })),
    };
    if matches!(refusal, Refusal::NotAuthorized | Refusal::LimitsReached) {
        reply.headers.push(("x-failure-code".into(), code.into()));
    }
    reply
}

/// The account that the call acts for. The scheme's word is not looked at.
fn caller(state: &State, call: &Call, now: Timestamp) -> Result<Account, Refusal> {
    let token = call.header("authorization").and_then(|text| text.split_whitespace().nth(1));
    let account = state.account_of(token.ok_or(Refusal::NotAuthenticated)?, now)?;
    let child = |found: Option<&Account>| {
        let own = found.filter(|one| one.parent.as_deref() == Some(&account.id));
        own.cloned().ok_or(Refusal::NotAuthenticated)
    };
    let run_as = call.header("x-runas-user-id").or_else(|| call.header("x-runas-userid"));
    match (run_as, call.header("x-runas-child-user-email")) {
        (Some(id), _) => child(state.account(id)),
        (None, Some(email)) => child(state.accounts.iter().find(|one| one.email == email)),
        (None, None) => Ok(account.clone()),
    }
}

fn body(call: &Call) -> Result<Map<String, Value>, Refusal> {
    let essence = call.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::bad("Unsupported content type"));
    }
    match serde_json::from_slice(&call.body) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(_) => Err(Refusal::bad("\"value\" must be of type object")),
        Err(_) => Err(Refusal::bad("Invalid JSON")),
    }
}

fn listed(state: &mut State, account: &Account, route: Route<'_>, call: &Call, at: At) -> Result<Reply, Refusal> {
    let lines = match call.header("accept").map(|text| text.split([';', ',']).next().unwrap_or_default().trim()) {
        None | Some("" | "*/*" | "application/*" | "application/json") => false,
        Some("application/jsonl") => true,
        Some(_) => return Err(Refusal::bad("Unsupported accept header")),
    };
    state.count_list(&account.id, at.now)?;
    let rows = match route {
        Route::ListUsers => others::users(state, account),
        Route::ListTokens(user) => others::tokens(state, account, user, at)?,
        Route::ListBlueprints => others::blueprints(state, account),
        Route::ListAbilities(of) => others::abilities(state, account, of)?,
        _ => {
            let own = state.view(at).secrets.iter();
            let own = own.filter(|one| one.owner == account.id && state.shows(one.created, at.now));
            own.map(|one| Row { sequence: one.sequence, json: secrets::item(one) }).collect()
        }
    };
    if state.settings.lists_break {
        return Ok(Reply::json(200, &json!({ "message": "Timeout", "code": "TIMEOUT" })));
    }
    let asked = Asked::new(&call.query);
    let items = list::page(rows, &asked, state.settings.cursor_stuck)?;
    if !lines {
        return Ok(Reply::json(200, &list::envelope(items)));
    }
    let headers = vec![("content-type".into(), "application/jsonl".into())];
    Ok(Reply { status: 200, headers, body: list::lines(&items).into() })
}

fn perform(
    state: &mut State,
    account: &Account,
    base: &str,
    route: Route<'_>,
    body: &Map<String, Value>,
    at: At,
) -> Result<Value, Refusal> {
    match route {
        Route::CreateSecret => secrets::create(state, account, body, at),
        Route::FetchSecret(id) => secrets::find(state, state.view(at), account, id, at).map(secrets::item),
        Route::UpdateSecret(id) => secrets::update(state, account, id, body, at),
        Route::DeleteSecret(id) => secrets::delete(state, account, id, at),
        Route::VerifySecret(id) => secrets::verify(state, account, id, base, at),
        Route::AuthenticateSecret(id) => secrets::authenticate(state, account, id, base, at),
        Route::RevokeSecret(id) => secrets::revoke(state, account, id, at),
        Route::MintSecret(id) => secrets::mint(state, account, id, at),
        Route::FetchUser(id) => state.child(&account.id, id).map(others::user),
        Route::CreateToken(user) => others::create_token(state, account, user, body, at),
        Route::UpdateToken(user, id) => others::update_token(state, account, user, id, body, at),
        Route::DeleteToken(user, id) => others::delete_token(state, account, user, id, at),
        Route::FetchBlueprint(id) => others::fetch_blueprint(state, account, id),
        Route::DeleteBlueprint(id) => others::delete_blueprint(state, account, id),
        Route::FetchAbility(of, id) => others::fetch_ability(state, account, of, id, at),
        Route::UpdateAbility(of, id) => others::update_ability(state, account, of, id, body, at),
        Route::ListSecrets
        | Route::ListUsers
        | Route::ListTokens(_)
        | Route::ListBlueprints
        | Route::ListAbilities(_)
        | Route::OwnTokens
        | Route::Unknown => Err(Refusal::NotFound),
    }
}

/// Below `/api/v1/` or `/v1/`: the segments, unescaped.
pub(super) fn segments(path: &str) -> Option<Vec<String>> {
    let rest = path.strip_prefix("/api/v1/").or_else(|| path.strip_prefix("/v1/"))?;
    Some(rest.trim_end_matches('/').split('/').map(unescaped).collect())
}

fn unescaped(segment: &str) -> String {
    let escaped = |at: usize| {
        let digits = segment.get(at + 1..at + 3).filter(|_| segment.as_bytes()[at] == b'%')?;
        u8::from_str_radix(digits, 16).ok()
    };
    let (mut bytes, mut at) = (Vec::with_capacity(segment.len()), 0);
    while at < segment.len() {
        let byte = escaped(at);
        bytes.push(byte.unwrap_or(segment.as_bytes()[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
