//! What lies around secrets: child accounts and their tokens, blueprints, skillsets' abilities.

use serde_json::{Map, Value, json};

use super::list::Row;
use super::rules::{self, Given};
use super::secrets;
use super::state::{At, State, digest, later};
use super::words::{Ability, Account, Entity, Refusal, Token};

// --- child accounts and their tokens

pub(super) fn user(account: &Account) -> Value {
    json!({
        "id": account.id, "name": account.id, "email": account.email,
        "createdAt": account.created.millis(), "updatedAt": account.created.millis(),
    })
}

pub(super) fn users(state: &State, account: &Account) -> Vec<Row> {
    let children = (0..).zip(&state.accounts).filter(|(_, one)| one.parent.as_deref() == Some(&account.id));
    children.map(|(sequence, one)| Row { sequence, json: user(one) }).collect()
}

struct TokenBody {
    name: Option<String>,
    description: Option<String>,
    meta: Option<Map<String, Value>>,
}

impl TokenBody {
    fn read(body: &Map<String, Value>) -> Result<Self, Refusal> {
        let read = Self {
            name: rules::nullable_text(body, "name")?.value(),
            description: rules::nullable_text(body, "description")?.value(),
            meta: rules::meta(body)?,
        };
        rules::object(body, "config")?;
        rules::known(body, &["name", "description", "config", "meta"])?;
        Ok(read)
    }
}

/// `POST /user/{id}/token/create`: the only answer that holds the token.
pub(super) fn create_token(
    state: &mut State,
    account: &Account,
    user: &str,
    body: &Map<String, Value>,
    at: At,
) -> Result<Value, Refusal> {
    let body = TokenBody::read(body)?;
    let owner = state.child(&account.id, user)?.id.clone();
    let dud = state.settings.duds > 0;
    state.settings.duds -= u64::from(dud);
    let (sequence, id, text) = (state.next_sequence(), state.cuid(), state.token_text());
    let token = Token {
        sequence,
        id: id.clone(),
        owner,
        digest: digest(&text),
        dud,
        name: body.name.unwrap_or_default(),
        description: body.description.unwrap_or_default(),
        meta: body.meta.map_or(Value::Null, Value::Object),
        created: at.now,
        updated: at.now,
        deleted: None,
    };
    state.change().tokens.push(token);
    Ok(json!({ "id": id, "token": text, "createdAt": at.now.millis() }))
}

/// Items of `GET /user/{id}/token/list`; neither the token nor its config is in them.
pub(super) fn tokens(state: &State, account: &Account, user: &str, at: At) -> Result<Vec<Row>, Refusal> {
    let owner = &state.child(&account.id, user)?.id;
    let shown = |one: &&Token| one.owner == *owner && one.deleted.is_none() && state.shows(one.created, at.now);
    let rows = state.view(at).tokens.iter().filter(shown).map(|one| Row {
        sequence: one.sequence,
        json: json!({
            "id": one.id, "name": one.name, "description": one.description, "meta": one.meta,
            "createdAt": one.created.millis(), "updatedAt": one.updated.millis(),
        }),
    });
    Ok(rows.collect())
}

fn token<'s>(state: &'s mut State, account: &Account, user: &str, id: &str, at: At) -> Result<&'s mut Token, Refusal> {
    let owner = state.child(&account.id, user)?.id.clone();
    let own = |one: &Token| one.owner == owner && one.id == id && one.deleted.is_none();
    let there = state.records.tokens.iter().any(|one| own(one) && state.shows(one.created, at.now));
    let found = state.change().tokens.iter_mut().find(|one| own(one)).filter(|_| there);
    found.ok_or(Refusal::NotFound)
}

pub(super) fn update_token(
    state: &mut State,
    account: &Account,
    user: &str,
    id: &str,
    body: &Map<String, Value>,
    at: At,
) -> Result<Value, Refusal> {
    let body = TokenBody::read(body)?;
    let token = token(state, account, user, id, at)?;
    if let Some(name) = body.name {
        token.name = name;
    }
    if let Some(description) = body.description {
        token.description = description;
    }
    if let Some(meta) = body.meta {
        let old = token.meta.as_object().cloned();
        token.meta = Value::Object(rules::updated_meta(old, meta));
    }
    token.updated = later(token.updated, at.now);
    Ok(json!({ "id": id }))
}

pub(super) fn delete_token(
    state: &mut State,
    account: &Account,
    user: &str,
    id: &str,
    at: At,
) -> Result<Value, Refusal> {
    token(state, account, user, id, at)?.deleted = Some(at.now);
    Ok(json!({ "id": id }))
}

// --- blueprints

pub(super) fn blueprint(one: &Entity) -> Value {
    json!({
        "id": one.id, "alias": one.alias, "name": one.name, "description": "", "visibility": "private",
        "config": null, "meta": null, "createdAt": one.created.millis(), "updatedAt": one.created.millis(),
    })
}

pub(super) fn blueprints(state: &State, account: &Account) -> Vec<Row> {
    let own = state.records.blueprints.iter().filter(|one| one.owner == account.id);
    own.map(|one| Row { sequence: one.sequence, json: blueprint(one) }).collect()
}

pub(super) fn fetch_blueprint(state: &State, account: &Account, reference: &str) -> Result<Value, Refusal> {
    match secrets::entity(&state.records.blueprints, account, reference) {
        Some(found) => Ok(blueprint(found)),
        None if state.records.blueprints.iter().any(|one| one.id == reference) => Err(Refusal::NotAuthorized),
        None => Err(Refusal::NotFound),
    }
}

/// Secrets of a deleted blueprint stay and point at nothing.
pub(super) fn delete_blueprint(state: &mut State, account: &Account, reference: &str) -> Result<Value, Refusal> {
    let found = secrets::entity(&state.records.blueprints, account, reference).ok_or(Refusal::NotFound)?;
    let id = found.id.clone();
    let records = state.change();
    records.blueprints.retain(|one| one.id != id);
    for secret in &mut records.secrets {
        secret.blueprint.take_if(|blueprint| *blueprint == id);
    }
    Ok(json!({ "id": id }))
}

// --- abilities

fn ability(one: &Ability) -> Value {
    json!({
        "id": one.id, "name": one.name, "description": one.description, "instruction": one.instruction,
        "linkedSecretId": one.linked_secret, "createdAt": one.created.millis(), "updatedAt": one.updated.millis(),
    })
}

fn skillset(state: &State, account: &Account, reference: &str) -> Result<String, Refusal> {
    match secrets::entity(&state.records.skillsets, account, reference) {
        Some(found) => Ok(found.id.clone()),
        None if state.records.skillsets.iter().any(|one| one.id == reference) => Err(Refusal::NotAuthorized),
        None => Err(Refusal::NotFound),
    }
}

pub(super) fn abilities(state: &State, account: &Account, reference: &str) -> Result<Vec<Row>, Refusal> {
    let id = skillset(state, account, reference)?;
    let own = state.records.abilities.iter().filter(|one| one.skillset == id);
    Ok(own.map(|one| Row { sequence: one.sequence, json: ability(one) }).collect())
}

pub(super) fn fetch_ability(state: &State, account: &Account, of: &str, id: &str, at: At) -> Result<Value, Refusal> {
    let skillset = skillset(state, account, of)?;
    let own = |one: &&Ability| one.skillset == skillset && one.id == id;
    state.view(at).abilities.iter().find(own).map(ability).ok_or(Refusal::NotFound)
}

pub(super) fn update_ability(
    state: &mut State,
    account: &Account,
    of: &str,
    id: &str,
    body: &Map<String, Value>,
    at: At,
) -> Result<Value, Refusal> {
    let name = rules::nullable_text(body, "name")?.value();
    let description = rules::nullable_text(body, "description")?.value();
    let instruction = rules::nullable_text(body, "instruction")?.value();
    let linked = rules::nullable_text(body, "linkedSecretId")?;
    rules::meta(body)?;
    rules::known(body, &["name", "description", "instruction", "linkedSecretId", "meta"])?;
    let skillset = skillset(state, account, of)?;
    let linked = match linked {
        Given::Value(reference) => match secrets::find(state, &state.records, account, &reference, at) {
            Ok(secret) => Given::Value(secret.id.clone()),
            Err(_) => return Err(Refusal::bad("Secret not found (linkedSecretId)")),
        },
        other => other,
    };
    let own = |one: &&mut Ability| one.skillset == skillset && one.id == id;
    let found = state.change().abilities.iter_mut().find(own).ok_or(Refusal::NotFound)?;
    found.name = name.unwrap_or_else(|| found.name.clone());
    found.description = description.unwrap_or_else(|| found.description.clone());
    found.instruction = instruction.unwrap_or_else(|| found.instruction.clone());
    match linked {
        Given::Absent => {}
        given => found.linked_secret = given.value(),
    }
    found.updated = later(found.updated, at.now);
    Ok(json!({ "id": id }))
}
