//! What can be done with secrets.

use serde_json::{Map, Value, json};

use super::rules::{self, Given, SecretBody};
use super::state::{At, Records, State, later};
use super::words::{Account, Entity, Refusal, Secret, Sharing};

/// What stands for a stored client secret.
pub(super) const MASK: &str = "********";

/// As fetch and list show it: everything but the value.
pub(super) fn item(secret: &Secret) -> Value {
    let mut config = secret.config.clone();
    if let Some(hidden) = config.as_mut().and_then(|config| config.get_mut("clientSecret")) {
        let empty = hidden.as_str().is_none_or(str::is_empty);
        *hidden = if empty { Value::Null } else { MASK.into() };
    }
    without_hidden(json!({
        "id": secret.id, "alias": secret.alias, "name": secret.name, "description": secret.description,
        "blueprintId": secret.blueprint, "kind": secret.sharing.word(), "type": secret.form, "config": config,
        "visibility": secret.visibility, "meta": secret.meta,
        "createdAt": secret.created.millis(), "updatedAt": secret.updated.millis(),
    }))
}

/// Keys that start with `#` never come back, however deep.
fn without_hidden(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(key, _)| !key.starts_with('#'))
                .map(|(key, value)| (key, without_hidden(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_hidden).collect()),
        other => other,
    }
}

/// Finds by raw id, `@alias`, `@@alias` of the parent, or `(name)`; another account's is refused.
pub(super) fn find<'r>(
    state: &'r State,
    records: &'r Records,
    account: &Account,
    reference: &str,
    at: At,
) -> Result<&'r Secret, Refusal> {
    let own = |one: &&Secret| one.owner == account.id;
    let mut shown = records.secrets.iter().filter(|one| state.shows(one.created, at.now));
    let found = if let Some(alias) = reference.strip_prefix("@@") {
        shown.find(|one| account.parent.as_deref() == Some(&one.owner) && one.alias.as_deref() == Some(alias))
    } else if let Some(alias) = reference.strip_prefix('@') {
        shown.filter(own).find(|one| one.alias.as_deref() == Some(alias))
    } else if let Some(name) = reference.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        shown.filter(own).find(|one| one.name == name)
    } else {
        shown.find(|one| one.id == reference)
    };
    let found = found.ok_or(Refusal::NotFound)?;
    if own(&found) { Ok(found) } else { Err(Refusal::NotAuthorized) }
}

/// Finds a blueprint or a skillset of this account.
pub(super) fn entity<'r>(among: &'r [Entity], account: &Account, reference: &str) -> Option<&'r Entity> {
    among.iter().filter(|one| one.owner == account.id).find(|one| match reference.strip_prefix('@') {
        Some(alias) => one.alias.as_deref() == Some(alias),
        None => one.id == reference || Some(one.name.as_str()) == bracketed(reference),
    })
}

fn bracketed(reference: &str) -> Option<&str> {
    reference.strip_prefix('(')?.strip_suffix(')')
}

fn blueprint(state: &State, account: &Account, given: Given<String>) -> Result<Given<String>, Refusal> {
    Ok(match given {
        Given::Absent => Given::Absent,
        Given::Empty => Given::Empty,
        Given::Value(reference) => match entity(&state.records.blueprints, account, &reference) {
            Some(found) => Given::Value(found.id.clone()),
            None => return Err(Refusal::bad("Blueprint not found (blueprintId)")),
        },
    })
}

fn alias_is_free(state: &State, account: &Account, alias: &Given<String>, but: Option<&str>) -> Result<(), Refusal> {
    let Given::Value(alias) = alias else { return Ok(()) };
    let taken =
        |one: &Secret| one.owner == account.id && one.alias.as_deref() == Some(alias) && Some(one.id.as_str()) != but;
    match state.records.secrets.iter().any(taken) {
        true => Err(Refusal::Conflict("Unique constraint violation")),
        false => Ok(()),
    }
}

/// `POST /secret/create`. Without `kind`, the record is shared and the value is thrown away.
pub(super) fn create(
    state: &mut State,
    account: &Account,
    body: &Map<String, Value>,
    at: At,
) -> Result<Value, Refusal> {
    let body = SecretBody::read(body)?;
    let blueprint = blueprint(state, account, body.blueprint)?.value();
    alias_is_free(state, account, &body.alias, None)?;
    let keeps = body.sharing == Some(Sharing::Shared) && !state.settings.values_dropped;
    let (sequence, id) = (state.next_sequence(), state.cuid());
    let secret = Secret {
        sequence,
        id: id.clone(),
        owner: account.id.clone(),
        alias: body.alias.value(),
        name: body.name.unwrap_or_default(),
        description: body.description.unwrap_or_default(),
        blueprint,
        sharing: body.sharing.unwrap_or(Sharing::Shared),
        form: body.form.unwrap_or_else(|| "plain".into()),
        value: body.value.value().filter(|_| keeps),
        config: body.config,
        visibility: body.visibility.unwrap_or_else(|| "private".into()),
        meta: body.meta,
        created: at.now,
        updated: at.now,
    };
    state.change().secrets.push(secret);
    Ok(json!({ "id": id }))
}

/// `POST /secret/{id}/update`. The stored kind judges the value; a left-out alias is erased.
pub(super) fn update(
    state: &mut State,
    account: &Account,
    reference: &str,
    body: &Map<String, Value>,
    at: At,
) -> Result<Value, Refusal> {
    let body = SecretBody::read(body)?;
    let blueprint = blueprint(state, account, body.blueprint)?;
    let id = find(state, &state.records, account, reference, at)?.id.clone();
    alias_is_free(state, account, &body.alias, Some(&id))?;
    let dropped = state.settings.values_dropped;
    let secret = own(state, &id)?;
    secret.alias = body.alias.value();
    match (secret.sharing, body.value) {
        (Sharing::Personal, Given::Absent) if body.sharing != Some(Sharing::Shared) => {}
        (Sharing::Personal, _) => secret.value = None,
        (Sharing::Shared, Given::Absent) => {}
        (Sharing::Shared, given) => secret.value = given.value().filter(|_| !dropped),
    }
    if let Some(name) = body.name {
        secret.name = name;
    }
    if let Some(description) = body.description {
        secret.description = description;
    }
    match blueprint {
        Given::Absent => {}
        given => secret.blueprint = given.value(),
    }
    if let Some(sharing) = body.sharing {
        secret.sharing = sharing;
    }
    if let Some(form) = body.form {
        secret.form = form;
    }
    if let Some(config) = body.config {
        secret.config = Some(rules::updated_config(secret.config.as_ref(), config));
    }
    if let Some(visibility) = body.visibility {
        secret.visibility = visibility;
    }
    if let Some(meta) = body.meta {
        secret.meta = Some(rules::updated_meta(secret.meta.take(), meta));
    }
    secret.updated = later(secret.updated, at.now);
    Ok(json!({ "id": id }))
}

/// A record that was found, to be changed.
pub(super) fn own<'s>(state: &'s mut State, id: &str) -> Result<&'s mut Secret, Refusal> {
    state.change().secrets.iter_mut().find(|one| one.id == id).ok_or(Refusal::NotFound)
}

/// `POST /secret/{id}/delete`. Abilities that pointed at it point at nothing.
pub(super) fn delete(state: &mut State, account: &Account, reference: &str, at: At) -> Result<Value, Refusal> {
    let id = find(state, &state.records, account, reference, at)?.id.clone();
    let records = state.change();
    records.secrets.retain(|one| one.id != id);
    for ability in &mut records.abilities {
        ability.linked_secret.take_if(|linked| *linked == id);
    }
    Ok(json!({ "id": id }))
}

/// `POST /secret/{id}/verify`: of most types it says only whether a value is stored.
pub(super) fn verify(state: &State, account: &Account, reference: &str, base: &str, at: At) -> Result<Value, Refusal> {
    let secret = find(state, state.view(at), account, reference, at)?;
    if secret.sharing == Sharing::Personal {
        return Err(Refusal::Conflict("Cannot verify secret for this secret configuration"));
    }
    let id = &secret.id;
    Ok(match authenticated(secret, state.view(at), 0)? {
        true => json!({ "id": id, "status": "authenticated" }),
        false => json!({ "id": id, "status": "unauthenticated",
            "action": { "type": "authenticate", "url": format!("{base}/secret/{id}/authenticate") } }),
    })
}

fn authenticated(secret: &Secret, records: &Records, depth: usize) -> Result<bool, Refusal> {
    let stored = secret.value.as_deref().unwrap_or_default();
    let config = |key: &str| {
        let value = secret.config.as_ref().and_then(|config| config.get(key));
        value.and_then(Value::as_str).filter(|text| !text.is_empty())
    };
    Ok(match secret.form.as_str() {
        "jwt" if stored.is_empty() => false,
        "jwt" if stored.contains("-----BEGIN ") => true,
        "jwt" => return Err(Refusal::Conflict("The private key is not valid PEM")),
        "oauth" if config("grantType") == Some("client_credentials") => {
            config("clientId").is_some() && config("clientSecret").is_some()
        }
        "oauth" => {
            let tokens: Value = serde_json::from_str(stored).unwrap_or_default();
            tokens["accessToken"].is_string()
        }
        "reference" => {
            let target = config("secretId").or(config("id")).or(config("reference")).unwrap_or_default();
            let own = |one: &&Secret| {
                one.owner == secret.owner
                    && (one.id == target
                        || target.strip_prefix('@').is_some_and(|name| one.alias.as_deref() == Some(name)))
            };
            match records.secrets.iter().find(own) {
                Some(target) if depth == 0 => authenticated(target, records, 1)?,
                Some(_) | None => return Err(Refusal::Conflict("Cannot resolve secret reference")),
            }
        }
        _ => !stored.is_empty(),
    })
}

/// `POST /secret/{id}/authenticate`.
pub(super) fn authenticate(
    state: &State,
    account: &Account,
    reference: &str,
    base: &str,
    at: At,
) -> Result<Value, Refusal> {
    let secret = find(state, state.view(at), account, reference, at)?;
    if secret.sharing == Sharing::Personal {
        return Err(Refusal::Conflict("Cannot authenticate secret for this secret configuration"));
    }
    Ok(json!({ "id": secret.id, "url": format!("{base}/secret/{}/authenticate", secret.id) }))
}

/// `POST /secret/{id}/revoke`: empties the value and keeps the record.
pub(super) fn revoke(state: &mut State, account: &Account, reference: &str, at: At) -> Result<Value, Refusal> {
    let secret = find(state, &state.records, account, reference, at)?;
    if secret.sharing == Sharing::Personal {
        return Err(Refusal::Conflict("Conflict"));
    }
    if secret.value.as_deref().unwrap_or_default().is_empty() {
        return Err(Refusal::NotFound);
    }
    let id = secret.id.clone();
    let secret = own(state, &id)?;
    secret.value = None;
    secret.updated = later(secret.updated, at.now);
    Ok(json!({ "id": id }))
}

/// `POST /secret/{id}/mint`: a short-lived token, for types that have one.
pub(super) fn mint(state: &mut State, account: &Account, reference: &str, at: At) -> Result<Value, Refusal> {
    let secret = find(state, &state.records, account, reference, at)?;
    if !matches!(secret.form.as_str(), "oauth" | "jwt") {
        return Err(Refusal::Odd("not_mintable", "This secret cannot be minted"));
    }
    if secret.value.as_deref().unwrap_or_default().is_empty() {
        return Err(Refusal::Odd("authorization_required", "Authorization is required"));
    }
    Ok(json!({ "token": state.token_text(), "expiresAt": null }))
}
