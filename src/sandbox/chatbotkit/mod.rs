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
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State as Control};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::Value;

pub use self::settings::Settings;
pub use self::state::CANARY;
use self::state::{At, State};
use self::wire::{Call, Route};
use self::words::{Ability, Entity};
use crate::model::option;
use crate::model::time::Clock;
use crate::sandbox::consumer::Login;
use crate::sandbox::faults::{Effect, Faults};
use crate::sandbox::line::{self, Line};
use crate::sandbox::simulator::{CallCount, Seed, Serving, Setting, Simulator, Spec};
use crate::sandbox::spoil::{Reply, spoil};

/// The name that fault rules call this service by.
pub const SERVICE: &str = "chatbotkit";

/// ChatBotKit in the list of simulators.
pub const SPEC: Spec = Spec { kind: SERVICE, title: "ChatBotKit", port: 7704, start };

/// The sandbox's own account and its token; a second account that shares nothing with it.
const ACCOUNT: &str = "sandbox";
const STRANGER: &str = "stranger";

const BODY_BYTES_MAX: usize = 1 << 20;

fn start(setting: Setting) -> Arc<dyn Simulator> {
    let chatbotkit = ChatBotKit::new(setting.clock, setting.faults, setting.seed, setting.base_url);
    chatbotkit.seed_sandbox();
    Arc::new(chatbotkit)
}

/// The service. Shared between the server, the sandbox's control port and tests.
pub struct ChatBotKit {
    clock: Arc<dyn Clock>,
    faults: Arc<Mutex<Faults>>,
    base_url: String,
    state: Mutex<State>,
    counts: Mutex<BTreeMap<(&'static str, Option<u16>), u64>>,
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
        let base_url = base_url.into().trim_end_matches('/').to_owned();
        Self { clock, faults, base_url, state: Mutex::new(State::new(seed)), counts: Mutex::default() }
    }

    /// What the sandbox starts with: the account `sandbox`, whose token is that word, its child
    /// `support-team`, and an account that is none of its business.
    pub fn seed_sandbox(&self) {
        let now = self.clock.wall();
        let mut state = self.lock();
        state.seed_account(ACCOUNT, None, now);
        state.seed_account(STRANGER, None, now);
        state.seed_token(ACCOUNT, "sandbox", now);
        state.seed_token(STRANGER, "stranger", now);
        state.seed_account("support-team", Some(ACCOUNT), now);
    }

    /// Makes sure that the child account is there.
    pub fn seed_user(&self, id: &str) {
        self.lock().seed_account(id, Some(ACCOUNT), self.clock.wall());
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
        let (sequence, now) = (state.next_sequence(), self.clock.wall());
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
            created: self.clock.wall(),
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
        let counts = self.counts.lock().expect("no holder of this lock panics");
        counts.iter().map(|(&(operation, status), &count)| CallCount { operation, status, count }).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// The answer to one call under one fault; none where the connection must be dropped instead.
    fn perform(&self, route: Route<'_>, call: &Call, effect: Option<&Effect>) -> Option<Reply> {
        let mut state = self.lock();
        let at = At { now: self.clock.wall(), stale: effect == Some(&Effect::Stale) };
        let refuse = |status, code: &str| {
            Reply::json(status, &serde_json::json!({ "message": "Refused by the sandbox", "code": code }))
        };
        let apply = |state: &mut State| wire::answer(state, &self.base_url, route, call, at);
        Some(match effect {
            None | Some(Effect::Delay { .. } | Effect::Stale) => apply(&mut state),
            Some(Effect::Throttle { retry_after }) => {
                let mut answer = wire::refuse(&words::Refusal::LimitsReached);
                answer.headers.extend(retry_after.iter().map(|wait| ("retry-after".into(), wait.clone())));
                answer
            }
            Some(Effect::Refuse { status, code }) => refuse(*status, code),
            Some(Effect::DropBefore) => return None,
            Some(Effect::DropAfter) => {
                apply(&mut state);
                return None;
            }
            Some(Effect::FailAfter) => {
                apply(&mut state);
                refuse(500, "GENERIC_ERROR")
            }
            Some(Effect::Body(broken)) => spoil(apply(&mut state), *broken),
        })
    }
}

impl Simulator for ChatBotKit {
    fn serve(self: Arc<Self>, listener: tokio::net::TcpListener) -> Serving {
        Box::pin(serve(listener, self))
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
            url: format!("{}/api/v1/secret/list?take=1", self.base_url),
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

async fn serve(listener: tokio::net::TcpListener, chatbotkit: Arc<ChatBotKit>) -> io::Result<()> {
    let answering = move |ConnectInfo(line): ConnectInfo<Line>, request: Request| {
        let chatbotkit = Arc::clone(&chatbotkit);
        async move { respond(&chatbotkit, &line, request).await }
    };
    line::serve(listener, Router::new().fallback(answering), std::future::pending()).await
}

async fn respond(chatbotkit: &ChatBotKit, line: &Line, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        // Too large, or the client went away while it was sending.
        return Reply { status: 413, headers: Vec::new(), body: Bytes::new() }.at(chatbotkit.clock.wall());
    };
    let text = |name: &str| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(Into::into);
    let call = Call {
        method: parts.method.as_str().into(),
        path: wire::segments(parts.uri.path()),
        query: wire::pairs(parts.uri.query().unwrap_or_default()),
        authorization: text("authorization"),
        accept: text("accept"),
        content_type: text("content-type"),
        run_as: text("x-runas-user-id").or_else(|| text("x-runas-userid")),
        run_as_email: text("x-runas-child-user-email"),
        body,
    };
    let partner = chatbotkit.lock().settings.partner_paths;
    let route = Route::of(call.path.as_deref(), partner);
    let operation = route.name();
    let effect = chatbotkit.faults.lock().expect("no holder of this lock panics").next(SERVICE, operation);
    let answer = chatbotkit.perform(route, &call, effect.as_ref());
    let status = answer.as_ref().map(|answer| answer.status);
    *chatbotkit.counts.lock().expect("no holder of this lock panics").entry((operation, status)).or_default() += 1;
    if let Some(Effect::Delay { ms }) = effect {
        // Real time on purpose: it is the caller's HTTP timeout that is under test.
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    match answer {
        Some(answer) => answer.at(chatbotkit.clock.wall()),
        None => line.cut(),
    }
}
