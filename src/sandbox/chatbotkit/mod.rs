//! A pretend ChatBotKit over real HTTP: secrets, child accounts' API tokens, blueprints, abilities.
//!
//! Written from the vendor's published server source and its official clients. What it is not:
//! there is no GraphQL, no consent page behind `authenticate`, no proxy, and no contact with values
//! of its own; accounts, blueprints and skillsets are seeded, not created over the API.
//!
//! | file | |
//! |---|---|
//! | `words`, `state` | what the service knows; no HTTP |
//! | `rules` | what its validation refuses |
//! | `secrets`, `others` | what can be done |
//! | `wire`, `list` | the vendor's forms: paths, bodies, errors, lists |
//! | `settings` | switches for what varies or lags |
//! | `mod` | the server: dates, faults (one place for every endpoint), journal, inspection |

mod list;
mod others;
mod rules;
mod secrets;
pub mod settings;
mod state;
#[cfg(test)]
mod tests;
mod wire;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::State as Control;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::Value;

pub use self::settings::Settings;
pub use self::state::CANARY;
use self::state::{At, State};
use self::wire::Route;
use self::words::{Ability, Entity};
use crate::model::option;
use crate::model::time::Clock;
use crate::sandbox::consumer::Login;
use crate::sandbox::desk::{self, Call, Desk, Refused, Service};
use crate::sandbox::faults::{Effect, Faults};
use crate::sandbox::simulator::{CallCount, Seed, Setting, Simulator, Spec};
use crate::sandbox::spoil::Reply;

/// The name that fault rules call this service by.
pub const SERVICE: &str = "chatbotkit";

/// ChatBotKit in the list of simulators.
pub const SPEC: Spec = Spec { kind: SERVICE, title: "ChatBotKit", port: 7704, start };

/// The sandbox's own account and its token; a second account that shares nothing with it.
const ACCOUNT: &str = "sandbox";
const STRANGER: &str = "stranger";

fn start(setting: Setting) -> Arc<dyn Simulator> {
    let chatbotkit = ChatBotKit::new(setting.clock, setting.faults, setting.seed, setting.base_url);
    chatbotkit.seed_sandbox();
    Arc::new(chatbotkit)
}

/// The service. Shared between the server, the sandbox's control port and tests.
pub struct ChatBotKit {
    desk: Desk,
    state: Mutex<State>,
}

/// One secret as a bystander may know it: as fetch shows it, and whether a value is stored.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SecretFact {
    /// The account's id.
    pub owner: String,
    /// What fetch answers.
    pub item: Value,
    /// Whether there is a value.
    pub has_value: bool,
}

impl ChatBotKit {
    /// An empty service that is reached at `base_url` (`http://127.0.0.1:7704`). Ids and tokens
    /// follow from `seed`; dates are the clock's wall time.
    pub fn new(clock: Arc<dyn Clock>, faults: Arc<Mutex<Faults>>, seed: u64, base_url: impl Into<String>) -> Self {
        Self { desk: Desk::new(clock, faults, base_url), state: Mutex::new(State::new(seed)) }
    }

    /// What the sandbox starts with: the account `sandbox`, whose token is that word, its child
    /// `support-team`, and an account that is none of its business.
    pub fn seed_sandbox(&self) {
        let now = self.desk.now();
        let mut state = self.lock();
        state.seed_account(ACCOUNT, None, now);
        state.seed_account(STRANGER, None, now);
        state.seed_token(ACCOUNT, "sandbox", now);
        state.seed_token(STRANGER, "stranger", now);
        state.seed_account("support-team", Some(ACCOUNT), now);
    }

    /// Makes sure that the child account is there.
    pub fn seed_user(&self, id: &str) {
        self.lock().seed_account(id, Some(ACCOUNT), self.desk.now());
    }

    /// Makes sure that the blueprint is there, by its alias or id.
    pub fn seed_blueprint(&self, reference: &str) {
        let mut state = self.lock();
        let account = state.account(ACCOUNT).cloned();
        if account.is_some_and(|account| secrets::entity(&state.records.blueprints, &account, reference).is_none()) {
            let entity = self.entity(&mut state, reference);
            state.change().blueprints.push(entity);
        }
    }

    /// Makes sure that the ability is there, and its skillset, by alias or id.
    pub fn seed_ability(&self, skillset: &str, id: &str) {
        let mut state = self.lock();
        let Some(account) = state.account(ACCOUNT).cloned() else { return };
        let found = secrets::entity(&state.records.skillsets, &account, skillset).map(|one| one.id.clone());
        let skillset = found.unwrap_or_else(|| {
            let entity = self.entity(&mut state, skillset);
            let id = entity.id.clone();
            state.change().skillsets.push(entity);
            id
        });
        if state.records.abilities.iter().any(|one| one.skillset == skillset && one.id == id) {
            return;
        }
        let (sequence, now) = (state.next_sequence(), self.desk.now());
        state.change().abilities.push(Ability {
            sequence,
            id: id.into(),
            skillset,
            name: id.into(),
            description: String::new(),
            instruction: "uses ${SECRET_DEFAULT}".into(),
            linked_secret: None,
            created: now,
            updated: now,
        });
    }

    fn entity(&self, state: &mut State, reference: &str) -> Entity {
        let alias = reference.strip_prefix('@');
        Entity {
            sequence: state.next_sequence(),
            id: if alias.is_some() { state.cuid() } else { reference.into() },
            owner: ACCOUNT.into(),
            alias: alias.map(Into::into),
            name: reference.trim_start_matches('@').into(),
            created: self.desk.now(),
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.lock().settings.clone()
    }

    /// Other settings, from the next call on.
    pub fn set_settings(&self, settings: Settings) {
        self.lock().settings = settings;
    }

    /// Every secret, oldest first.
    pub fn secrets(&self) -> Vec<SecretFact> {
        let state = self.lock();
        let facts = state.records.secrets.iter().map(|one| SecretFact {
            owner: one.owner.clone(),
            item: secrets::item(one),
            has_value: one.value.as_deref().is_some_and(|value| !value.is_empty()),
        });
        facts.collect()
    }

    /// For tests only: what the vendor never shows, the stored value and client secret of the
    /// record with this alias.
    pub fn holds(&self, alias: &str) -> Option<(Option<String>, Option<String>)> {
        let state = self.lock();
        let found = state.records.secrets.iter().find(|one| one.alias.as_deref() == Some(alias))?;
        let client_secret = found.config.as_ref().and_then(|config| config.get("clientSecret"));
        Some((found.value.clone(), client_secret.and_then(Value::as_str).map(Into::into)))
    }

    /// Live API tokens of children: id, child, name.
    pub fn tokens(&self) -> Vec<(String, String, String)> {
        let state = self.lock();
        let children = |owner: &str| state.account(owner).is_some_and(|account| account.parent.is_some());
        let live = state.records.tokens.iter().filter(|one| one.deleted.is_none() && children(&one.owner));
        live.map(|one| (one.id.clone(), one.owner.clone(), one.name.clone())).collect()
    }

    /// How often each operation was answered with each status.
    pub fn call_counts(&self) -> Vec<CallCount> {
        self.desk.call_counts()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl Service for ChatBotKit {
    const NAME: &'static str = SERVICE;

    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn operation(&self, call: &Call) -> &'static str {
        let partner = self.lock().settings.partner_paths;
        Route::of(wire::segments(&call.path).as_deref(), partner).name()
    }

    fn perform(&self, call: &Call, effect: Option<&Effect>) -> Option<Reply> {
        let mut state = self.lock();
        let segments = wire::segments(&call.path);
        let route = Route::of(segments.as_deref(), state.settings.partner_paths);
        let at = At { now: self.desk.now(), stale: effect == Some(&Effect::Stale) };
        let said = |status, code: &str| {
            Reply::json(status, &serde_json::json!({ "message": "Refused by the sandbox", "code": code }))
        };
        let refuse = |_: &mut State, refused: Refused<'_>| match refused {
            Refused::Throttled => wire::refuse(&words::Refusal::LimitsReached),
            Refused::Failed => said(500, "GENERIC_ERROR"),
            Refused::With { status, code } => said(status, code),
        };
        let apply = |state: &mut State| wire::answer(state, self.desk.base_url(), route, call, at);
        desk::under(effect, &mut *state, apply, refuse)
    }
}

impl Simulator for ChatBotKit {
    fn router(self: Arc<Self>) -> Router {
        desk::router(self)
    }

    fn control(self: Arc<Self>) -> Router {
        Router::new()
            .route("/secrets", get(facts))
            .route("/values", get(values))
            .route("/settings", get(settings).put(change_settings))
            .with_state(self)
    }

    fn seed(&self, seed: &Seed) {
        match seed.text("user") {
            "" => {}
            user => self.seed_user(user),
        }
        match seed.text("blueprint") {
            "" => {}
            blueprint => self.seed_blueprint(blueprint),
        }
        if let Some(option::Value::Object(ability)) = seed.options.get("ability") {
            let text = |key: &str| ability.fixed(key).and_then(Value::as_str).unwrap_or_default();
            self.seed_ability(text("skillset"), text("id"));
        }
    }

    fn login(&self, seed: &Seed) -> Option<Login> {
        // A secret's value logs in elsewhere, at whatever it is for; a token logs in here.
        (seed.type_name == "user-token").then(|| Login::Bearer {
            url: format!("{}/api/v1/secret/list?take=1", self.desk.base_url()),
            token: "token".into(),
        })
    }

    fn live(&self) -> Vec<String> {
        self.tokens().into_iter().map(|(id, ..)| id).collect()
    }

    fn call_counts(&self) -> Vec<CallCount> {
        self.call_counts()
    }
}

async fn facts(Control(chatbotkit): Control<Arc<ChatBotKit>>) -> Json<Vec<SecretFact>> {
    Json(chatbotkit.secrets())
}

/// Stored values by alias, where the settings open this door.
async fn values(Control(chatbotkit): Control<Arc<ChatBotKit>>) -> Result<Json<BTreeMap<String, Value>>, StatusCode> {
    let state = chatbotkit.lock();
    if !state.settings.values_shown {
        return Err(StatusCode::FORBIDDEN);
    }
    let named = state.records.secrets.iter().filter_map(|one| Some((one.alias.clone()?, one)));
    let shown = named.map(|(alias, one)| (alias, serde_json::json!({ "value": one.value, "config": one.config })));
    Ok(Json(shown.collect()))
}

async fn settings(Control(chatbotkit): Control<Arc<ChatBotKit>>) -> Json<Settings> {
    Json(chatbotkit.settings())
}

async fn change_settings(Control(chatbotkit): Control<Arc<ChatBotKit>>, Json(settings): Json<Settings>) -> StatusCode {
    chatbotkit.set_settings(settings);
    StatusCode::NO_CONTENT
}
