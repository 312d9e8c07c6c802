//! A pretend WorkOS over real HTTP: the API's Connect part and the AuthKit domain, on one port.
//!
//! Written from the vendor's OpenAPI document, its reference pages and what its official clients
//! send and insist on. What it is not: tokens here look like JWTs but carry no signature; nobody
//! signs in, so the only grant is a machine's; applications are seeded, not made over the API.
//!
//! | file | |
//! |---|---|
//! | `state` | what the service knows and decides; no HTTP |
//! | `wire`, `oauth` | the vendor's forms: paths, bodies, errors, objects, the AuthKit domain |
//! | `settings` | switches for what is unknown, varies or lags |
//! | `mod` | the server: dates, faults (one place for every endpoint), journal, inspection |

mod oauth;
pub mod settings;
mod state;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use axum::extract::State as Control;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

pub use self::settings::Settings;
use self::state::{At, ENVIRONMENT, Refusal, State};
pub use self::state::{CANARY, KeyState, Kind};
use self::wire::Route;
use crate::model::time::Clock;
use crate::sandbox::consumer::Login;
use crate::sandbox::desk::{self, Call, Desk, Refused, Service};
use crate::sandbox::faults::{Effect, Faults};
use crate::sandbox::simulator::{CallCount, Seed, Setting, Simulator, Spec};
use crate::sandbox::spoil::Reply;

/// The name that fault rules call this service by.
pub const SERVICE: &str = "workos";

/// WorkOS in the list of simulators.
pub const SPEC: Spec = Spec { kind: SERVICE, title: "WorkOS", port: 7703, start };

const ORGANIZATION: &str = "org_01SANDBOX";

fn start(setting: Setting) -> Arc<dyn Simulator> {
    let workos = WorkOs::new(setting.clock, setting.faults, setting.seed, setting.base_url);
    workos.seed_sandbox();
    Arc::new(workos)
}

/// The service. Shared between the server, the sandbox's control port and tests.
pub struct WorkOs {
    desk: Desk,
    state: Mutex<State>,
    idempotency_keys: Mutex<Vec<String>>,
}

/// One secret as a bystander may know it: no value, not even a digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SecretFact {
    /// The vendor's id.
    pub id: String,
    /// Name of its application.
    pub application: String,
    /// Client id of its application.
    pub client_id: String,
    /// When it was created, on the sandbox's clock (RFC 3339).
    pub created: String,
    /// When it was deleted; none while it lives.
    pub deleted: Option<String>,
    /// When it was last used.
    pub last_used: Option<String>,
    /// How often it was used.
    pub use_count: u64,
}

impl WorkOs {
    /// An empty environment that is reached at `base_url` (`http://127.0.0.1:7703`). Ids and secrets
    /// follow from `seed`; dates are the clock's wall time.
    pub fn new(clock: Arc<dyn Clock>, faults: Arc<Mutex<Faults>>, seed: u64, base_url: impl Into<String>) -> Self {
        let state = Mutex::new(State::new(seed, clock.wall()));
        Self { desk: Desk::new(clock, faults, base_url), state, idempotency_keys: Mutex::default() }
    }

    /// What the sandbox starts with: the API key `sandbox`, the machine's application `payroll-export`,
    /// and `customer-portal`, which signs people in.
    pub fn seed_sandbox(&self) {
        self.seed_key("sandbox", ENVIRONMENT, KeyState::Active);
        self.add_application("payroll-export", Kind::M2m, ORGANIZATION);
        self.add_application("customer-portal", Kind::Oauth, ORGANIZATION);
    }

    /// Makes an API key of an environment known. Objects of another environment do not exist for it.
    pub fn seed_key(&self, key: &str, environment: &str, state: KeyState) {
        self.lock().seed_key(key, environment, state);
    }

    /// Makes one more application, even where the name is taken; its id and client id.
    pub fn add_application(&self, name: &str, kind: Kind, organization_id: &str) -> (String, String) {
        let mut state = self.lock();
        let at = state.add_application(name, kind, organization_id, self.desk.now());
        (state.applications[at].id.clone(), state.applications[at].client_id.clone())
    }

    /// A secret that somebody made by hand, whatever the limit: its id and value. None where there
    /// is no application of this id, client id or name.
    pub fn seed_secret(&self, application: &str) -> Option<(String, String)> {
        let mut state = self.lock();
        let owner = state.applications.iter().find(|one| one.is(application))?.id.clone();
        let (secret, value) = state.make(&owner, self.desk.now());
        Some((secret.id, value))
    }

    /// The id of the secret that has this value, live or deleted.
    pub fn whose(&self, value: &str) -> Option<String> {
        self.lock().whose(value).map(|one| one.id.clone())
    }

    /// Somebody deletes a secret in the dashboard; whether it was there.
    pub fn end_secret(&self, id: &str) -> bool {
        self.lock().delete(ENVIRONMENT, id, self.desk.now()).is_ok()
    }

    /// Somebody renames an application in the dashboard.
    pub fn rename_application(&self, name: &str, to: &str) {
        for one in self.lock().applications.iter_mut().filter(|one| one.name == name) {
            one.name = to.into();
        }
    }

    /// Every secret ever, oldest first, live and deleted.
    pub fn secrets(&self) -> Vec<SecretFact> {
        let state = self.lock();
        let owner = |id: &str| state.applications.iter().find(|one| one.id == id);
        let facts = state.secrets.iter().map(|one| SecretFact {
            id: one.id.clone(),
            application: owner(&one.application_id).map(|one| one.name.clone()).unwrap_or_default(),
            client_id: owner(&one.application_id).map(|one| one.client_id.clone()).unwrap_or_default(),
            created: one.created.to_string(),
            deleted: one.deleted.map(|at| at.to_string()),
            last_used: one.uses.back().map(ToString::to_string),
            use_count: one.use_count,
        });
        facts.collect()
    }

    /// The `Idempotency-Key` headers that came with creates. They mean nothing here, as at the vendor.
    pub fn idempotency_keys(&self) -> Vec<String> {
        self.idempotency_keys.lock().expect("no holder of this lock panics").clone()
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.lock().settings.clone()
    }

    /// Other settings, from the next call on.
    pub fn set_settings(&self, settings: Settings) {
        self.lock().settings = settings;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl Service for WorkOs {
    const NAME: &'static str = SERVICE;

    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn operation(&self, call: &Call) -> &'static str {
        Route::of(&call.method, &call.path).name()
    }

    fn perform(&self, call: &Call, effect: Option<&Effect>) -> Option<Reply> {
        let (route, now) = (Route::of(&call.method, &call.path), self.desk.now());
        if let (Route::CreateSecret(_), Some(key)) = (&route, call.header("idempotency-key")) {
            self.idempotency_keys.lock().expect("no holder of this lock panics").push(key.to_owned());
        }
        let mut state = self.lock();
        let said = |status: u16, code: &str| match route.is_authkit() {
            true => oauth::refuse(status, code, "refused by the sandbox"),
            false => Reply::json(status, &serde_json::json!({ "code": code, "message": "refused by the sandbox" })),
        };
        let refuse = |state: &mut State, refused: Refused<'_>| match refused {
            Refused::Throttled => {
                let mut answer = said(429, "rate_limit_exceeded");
                if state.settings.bare_429 {
                    answer.body = Bytes::from_static(b"Throttled");
                }
                answer
            }
            Refused::Failed => said(500, "internal_server_error"),
            Refused::With { status: 401, .. } if !route.is_authkit() => wire::refused(state, Refusal::Unauthorized),
            Refused::With { status, code } => said(status, code),
        };
        let seen = if effect == Some(&Effect::Stale) { state.before_last_change() } else { now };
        let at = if route.reads() { At { now, seen } } else { At { now, seen: now } };
        let apply = |state: &mut State| wire::answer(state, self.desk.base_url(), &route, call, at);
        desk::under(effect, &mut *state, apply, refuse)
    }

    fn signed(&self, mut reply: Reply) -> Reply {
        let number = format!("{:032x}", fastrand::Rng::with_seed(self.desk.call_count()).u128(..));
        let id =
            format!("{}-{}-4{}-8{}-{}", &number[..8], &number[8..12], &number[13..16], &number[17..20], &number[20..]);
        reply.headers.push(("x-request-id".into(), id));
        reply
    }
}

impl state::Application {
    fn is(&self, text: &str) -> bool {
        self.id == text || self.client_id == text || self.name == text
    }
}

impl Simulator for WorkOs {
    fn router(self: Arc<Self>) -> Router {
        desk::router(self)
    }

    fn control(self: Arc<Self>) -> Router {
        Router::new()
            .route("/credentials", get(secrets))
            .route("/journal", get(journal))
            .route("/settings", get(settings).put(change_settings))
            .with_state(self)
    }

    /// A machine's application, or one that signs people in where its name says `oauth`.
    fn seed(&self, seed: &Seed) {
        let wanted = seed.text("application");
        let mut state = self.lock();
        if wanted.is_empty() || state.applications.iter().any(|one| one.is(wanted)) {
            return;
        }
        let kind = if wanted.contains("oauth") { Kind::Oauth } else { Kind::M2m };
        let organization = Some(seed.text("organization_id")).filter(|id| !id.is_empty()).unwrap_or(ORGANIZATION);
        let at = state.add_application(wanted, kind, organization, self.desk.now());
        if wanted.starts_with("client_") {
            state.applications[at].client_id = wanted.into();
        } else if wanted.starts_with("conn_app_") || wanted.starts_with("app_") {
            state.applications[at].id = wanted.into();
        }
    }

    fn login(&self, _: &Seed) -> Option<Login> {
        let token_endpoint = format!("{}/oauth2/token", self.desk.base_url());
        Some(Login::ClientCredentials { token_endpoint, id: "client_id".into(), secret: "client_secret".into() })
    }

    fn live(&self) -> Vec<String> {
        self.lock().secrets.iter().filter(|one| one.lives()).map(|one| one.id.clone()).collect()
    }

    fn call_counts(&self) -> Vec<CallCount> {
        self.desk.call_counts()
    }
}

async fn secrets(Control(workos): Control<Arc<WorkOs>>) -> Json<Vec<SecretFact>> {
    Json(workos.secrets())
}

async fn journal(Control(workos): Control<Arc<WorkOs>>) -> Json<Vec<CallCount>> {
    Json(workos.call_counts())
}

async fn settings(Control(workos): Control<Arc<WorkOs>>) -> Json<Settings> {
    Json(workos.settings())
}

async fn change_settings(Control(workos): Control<Arc<WorkOs>>, Json(settings): Json<Settings>) -> StatusCode {
    workos.set_settings(settings);
    StatusCode::NO_CONTENT
}
