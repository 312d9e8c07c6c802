//! A pretend Keycard over real HTTP: the management API, each zone's issuer and token endpoint.
//!
//! Written from the vendor's published API document, its official clients and its reference pages.
//! What it is not: tokens here look like JWTs but carry no signature; only the client credentials
//! grant with a client secret logs in (no assertions, no token exchange); zones, applications and
//! providers are seeded, not created over the API.
//!
//! | file | |
//! |---|---|
//! | `words`, `state` | what the service knows and decides; no HTTP |
//! | `wire`, `oauth`, `render`, `list` | the vendor's forms: paths, bodies, errors, objects, lists |
//! | `settings` | switches for what varies or lags |
//! | `mod` | the server: dates, faults (one place for every endpoint), journal, inspection |

mod list;
mod oauth;
mod render;
pub mod settings;
mod state;
#[cfg(test)]
pub(super) mod tests;
mod wire;
mod words;

use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::State as Control;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Serialize, Serializer};

pub use self::settings::{ListShape, Settings};
pub use self::state::CANARY;
use self::state::State;
use self::wire::Route;
pub use self::words::ResourceKind;
use self::words::{At, Change, Draft, Entity};
use crate::model::time::{Clock, Timestamp};
use crate::sandbox::consumer::Login;
use crate::sandbox::desk::{self, Call, Desk, Refused, Service};
use crate::sandbox::faults::{Effect, Faults};
use crate::sandbox::simulator::{CallCount, Seed, Setting, Simulator, Spec};
use crate::sandbox::spoil::Reply;

/// The name that fault rules call this service by.
pub const SERVICE: &str = "keycard";

/// Keycard in the list of simulators.
pub const SPEC: Spec = Spec { kind: SERVICE, title: "Keycard", port: 7702, start };

/// Where the sandbox's zone is when a declaration names none.
const ZONE: &str = "production";

fn start(setting: Setting) -> Arc<dyn Simulator> {
    let keycard = Keycard::new(setting.clock, setting.faults, setting.seed, setting.base_url);
    keycard.seed_sandbox();
    Arc::new(keycard)
}

/// The service. Shared between the server, the sandbox's control port and tests.
pub struct Keycard {
    desk: Desk,
    state: Mutex<State>,
}

/// One credential as a bystander may know it: no secret, not even a digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CredentialFact {
    /// The vendor's id.
    pub id: String,
    /// Slug of the zone.
    pub zone: String,
    /// Slug of the application.
    pub application: String,
    /// `password`, `token`, `public-key`, `url` or `public`.
    pub kind: &'static str,
    /// The client id, where the type has one.
    pub identifier: String,
    /// When it was created, on the sandbox's clock.
    #[serde(serialize_with = "as_date")]
    pub created: Timestamp,
    /// When it was deleted; none while it lives.
    #[serde(serialize_with = "as_date_or_none")]
    pub deleted: Option<Timestamp>,
    /// When the pair was last accepted.
    #[serde(serialize_with = "as_date_or_none")]
    pub last_login: Option<Timestamp>,
    /// Times the pair was accepted, whatever came of the grant.
    pub login_count: u64,
}

impl Keycard {
    /// An empty organization that is reached at `base_url` (`http://127.0.0.1:7702`). Ids and
    /// secrets follow from `seed`; dates are the clock's wall time.
    pub fn new(clock: Arc<dyn Clock>, faults: Arc<Mutex<Faults>>, seed: u64, base_url: impl Into<String>) -> Self {
        let state = Mutex::new(State::new(seed, clock.wall()));
        Self { desk: Desk::new(clock, faults, base_url), state }
    }

    /// What the sandbox starts with: the service account `sandbox` with the secret `sandbox`, and
    /// the zone `production` with a few applications and a provider.
    pub fn seed_sandbox(&self) {
        self.seed_service_account("sandbox", "sandbox");
        for slug in ["google-mcp-server", "billing-worker", "support-bot", "linear-mcp-server"] {
            self.seed_application("production", slug);
        }
        self.seed_provider("production", "github-actions");
    }

    /// Makes sure that this pair gets management tokens.
    pub fn seed_service_account(&self, client_id: &str, secret: &str) {
        self.lock().seed_account(client_id, secret);
    }

    /// Makes sure that the zone is there; its id.
    pub fn seed_zone(&self, slug: &str) -> String {
        self.lock().seed_zone(slug, self.desk.now())
    }

    /// Makes sure that the application is there, and its zone; its id. Its identifier is its slug.
    pub fn seed_application(&self, zone_slug: &str, slug: &str) -> String {
        self.lock().seed_application(zone_slug, slug, self.desk.now())
    }

    /// Makes sure that the provider is there, and its zone; its id.
    pub fn seed_provider(&self, zone_slug: &str, slug: &str) -> String {
        self.lock().seed_provider(zone_slug, slug, self.desk.now())
    }

    /// Puts a resource into a zone, in place of one with the same identifier.
    pub fn seed_resource(&self, zone_slug: &str, identifier: &str, kind: ResourceKind) {
        self.lock().seed_resource(zone_slug, identifier, kind, self.desk.now());
    }

    /// A password credential that somebody made by hand: client id (generated if not given) and
    /// client secret. None if that client id is taken.
    pub fn seed_credential(&self, zone_slug: &str, slug: &str, identifier: Option<&str>) -> Option<(String, String)> {
        let now = self.desk.now();
        let mut state = self.lock();
        let zone_id = state.seed_zone(zone_slug, now);
        let application_id = state.seed_application(zone_slug, slug, now);
        let draft = Draft::Password { identifier: identifier.map(Into::into) };
        let (credential, password) = state.create(&zone_id, &application_id, draft, At::fresh(now)).ok()?;
        Some((credential.identifier.clone(), password?))
    }

    /// Somebody deletes an application by hand; its credentials go with it.
    pub fn end_application(&self, zone_slug: &str, slug: &str) {
        self.lock().end_application(zone_slug, slug, self.desk.now());
    }

    /// Somebody deletes a credential by hand; whether it was there.
    pub fn end_credential(&self, id: &str) -> bool {
        let now = self.desk.now();
        let mut state = self.lock();
        let zone = state.credentials.iter().find(|one| one.id == id).map(|one| one.zone_id.clone());
        zone.is_some_and(|zone| state.delete(&zone, id, At::fresh(now)).is_ok())
    }

    /// Somebody changes the subject of a `token` credential by hand.
    pub fn change_subject(&self, id: &str, subject: Option<&str>) {
        let mut state = self.lock();
        let zone = state.credentials.iter().find(|one| one.id == id).map(|one| one.zone_id.clone());
        let change = Change { subject: Some(subject.map(Into::into)), identifier: None };
        let _changed = state.change(&zone.unwrap_or_default(), id, change, At::fresh(self.desk.now())).is_ok();
    }

    /// The token endpoint of a zone, if the zone is there.
    pub fn token_endpoint(&self, zone_slug: &str) -> Option<String> {
        let state = self.lock();
        let zone = state.zones.iter().find(|zone| zone.slug == zone_slug)?;
        Some(format!("{}/oauth/2/token", render::issuer(self.desk.base_url(), &zone.id)))
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.lock().settings.clone()
    }

    /// Other settings, from the next call on.
    pub fn set_settings(&self, settings: Settings) {
        self.lock().settings = settings;
    }

    /// Ends every management token before its time.
    pub fn end_bearers(&self) {
        self.lock().end_bearers();
    }

    /// Every credential ever, oldest first, live and deleted.
    pub fn credentials(&self) -> Vec<CredentialFact> {
        let state = self.lock();
        let slug = |among: &[Entity], id: &str| {
            among.iter().find(|one| one.id == id).map(|one| one.slug.clone()).unwrap_or_default()
        };
        let facts = state.credentials.iter().map(|one| CredentialFact {
            id: one.id.clone(),
            zone: slug(&state.zones, &one.zone_id),
            application: slug(&state.applications, &one.application_id),
            kind: one.kind.name(),
            identifier: one.identifier.clone(),
            created: one.created,
            deleted: one.deleted,
            last_login: one.last_login,
            login_count: one.login_count,
        });
        facts.collect()
    }

    /// How often each operation was answered with each status.
    pub fn call_counts(&self) -> Vec<CallCount> {
        self.desk.call_counts()
    }

    /// The latest calls in order, operation and status, 1,000 at most.
    pub fn recent_calls(&self) -> Vec<(&'static str, Option<u16>)> {
        self.desk.recent_calls()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl Service for Keycard {
    const NAME: &'static str = SERVICE;

    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn operation(&self, call: &Call) -> &'static str {
        Route::of(&call.method, &call.path).name()
    }

    fn perform(&self, call: &Call, effect: Option<&Effect>) -> Option<Reply> {
        let (route, now) = (Route::of(&call.method, &call.path), self.desk.now());
        let mut state = self.lock();
        let refuse = |state: &mut State, refused: Refused<'_>| {
            let (status, code) = match refused {
                Refused::Throttled => (429, "too_many_requests"),
                Refused::Failed => (500, "internal_server_error"),
                Refused::With { status, code } => (status, code),
            };
            let message = "refused by the sandbox";
            if route.speaks_oauth() {
                oauth::refuse(state, status, code, message)
            } else {
                wire::api_error(state, call, now, status, code, message)
            }
        };
        let seen = if effect == Some(&Effect::Stale) { state.before_last_change() } else { now };
        let at = if reads(route) { At { now, seen } } else { At::fresh(now) };
        let apply = |state: &mut State| wire::answer(state, self.desk.base_url(), route, call, at);
        let mut answer = desk::under(effect, &mut *state, apply, refuse)?;
        if answer.status >= 400 {
            answer.headers.extend(state.settings.error_headers.clone());
        }
        Some(answer)
    }
}

impl Simulator for Keycard {
    fn router(self: Arc<Self>) -> Router {
        desk::router(self)
    }

    fn control(self: Arc<Self>) -> Router {
        Router::new()
            .route("/credentials", get(credentials))
            .route("/journal", get(journal))
            .route("/settings", get(settings).put(change_settings))
            .with_state(self)
    }

    fn seed(&self, seed: &Seed) {
        self.seed_application(zone(seed), seed.text("application"));
        if !seed.text("provider").is_empty() {
            self.seed_provider(zone(seed), seed.text("provider"));
        }
    }

    fn login(&self, seed: &Seed) -> Option<Login> {
        // The other types log in with assertions, or not at all.
        if seed.type_name != "password" {
            return None;
        }
        let token_endpoint = self.token_endpoint(zone(seed))?;
        Some(Login::ClientCredentials { token_endpoint, id: "client_id".into(), secret: "client_secret".into() })
    }

    fn live(&self) -> Vec<String> {
        self.credentials().into_iter().filter(|one| one.deleted.is_none()).map(|one| one.id).collect()
    }

    fn call_counts(&self) -> Vec<CallCount> {
        self.call_counts()
    }
}

fn zone(seed: &Seed) -> &str {
    match seed.text("zone") {
        "" => ZONE,
        named => named,
    }
}

async fn credentials(Control(keycard): Control<Arc<Keycard>>) -> Json<Vec<CredentialFact>> {
    Json(keycard.credentials())
}

async fn journal(Control(keycard): Control<Arc<Keycard>>) -> Json<Vec<CallCount>> {
    Json(keycard.call_counts())
}

async fn settings(Control(keycard): Control<Arc<Keycard>>) -> Json<Settings> {
    Json(keycard.settings())
}

async fn change_settings(Control(keycard): Control<Arc<Keycard>>, Json(settings): Json<Settings>) -> StatusCode {
    keycard.set_settings(settings);
    StatusCode::NO_CONTENT
}

/// Whether a lagging replica may answer: reads, and the token endpoint's look at the pair.
fn reads(route: Route<'_>) -> bool {
    match route {
        Route::ListCredentials(_)
        | Route::ListCredentialsOfOne(..)
        | Route::GetCredential(..)
        | Route::ZoneToken(_)
        | Route::ListOrganizations
        | Route::GetOrganization(_)
        | Route::ListZones
        | Route::GetZone(_)
        | Route::ListApplications(_)
        | Route::GetApplication(..)
        | Route::ListProviders(_)
        | Route::GetProvider(..)
        | Route::Discovery(_)
        | Route::Jwks(_) => true,
        Route::Token
        | Route::CreateCredential(_)
        | Route::PatchCredential(..)
        | Route::DeleteCredential(..)
        | Route::Unknown => false,
    }
}

fn as_date<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(at)
}

fn as_date_or_none<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => to.serialize_some(&at.to_string()),
        None => to.serialize_none(),
    }
}
