//! The control port: faults on demand, the journal of calls, and what the services hold.
//!
//! | call | does |
//! |---|---|
//! | `POST /faults` | adds one rule or a list of them (`faults::Rule` as JSON) |
//! | `DELETE /faults` | no more faults |
//! | `GET /journal`, `DELETE /journal` | the calls so far, counted; forgets them |
//! | `POST /held` | holds one of the next calls (`gate::Hold` as JSON) |
//! | `GET /held` | how many calls have arrived, and which are held now |
//! | `DELETE /held` | lets every held call go on |
//! | `GET /secrets` | names, labels, dates and tags per Region, never a value |
//! | `POST /secrets-manager/settings` | changes the fields that are sent, answers all settings |
//! | `GET /<vendor>/credentials` | every credential ever made there, live or not, never a secret |
//! | `GET /<vendor>/journal` | the calls there so far, counted |
//! | `GET /<vendor>/settings`, `PUT /<vendor>/settings` | lags, list shapes, duds |
//! | `GET /now` | the services' time and real time |
//!
//! For loopback only: it asks for no credentials.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::time::Timestamp;
use crate::sandbox::faults::Rule;
use crate::sandbox::gate::Hold;
use crate::sandbox::secrets_manager::SecretsManager;
use crate::sandbox::secrets_manager::inspect::Forced;
use crate::sandbox::secrets_manager::settings::{Deny, KeyState, Opposite};
use crate::sandbox::world::locked;

/// The routes that are not a vendor's; serve them on a port of their own.
pub fn router(service: Arc<SecretsManager>) -> Router {
    Router::new()
        .route("/faults", post(add_faults).delete(clear_faults))
        .route("/journal", get(journal).delete(clear_journal))
        .route("/held", get(held).post(hold).delete(release))
        .route("/secrets", get(secrets))
        .route("/secrets-manager/settings", post(change_settings))
        .route("/now", get(now))
        .with_state(service)
}

/// The settings to change; what is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    quotas: Option<bool>,
    labels_move_last_changed: Option<bool>,
    empty_pages: Option<bool>,
    force_delete_lingers_ms: Option<u64>,
    deny: Option<Vec<Deny>>,
    kms: Option<BTreeMap<String, KeyState>>,
    /// An empty list goes back to no condition at all.
    readable_stages: Option<Vec<String>>,
    opposites: Option<BTreeSet<Opposite>>,
    #[serde(default)]
    secrets: Vec<Forced>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Rules {
    Many(Vec<Rule>),
    One(Rule),
}

async fn add_faults(State(service): State<Arc<SecretsManager>>, Json(rules): Json<Rules>) -> StatusCode {
    let rules = match rules {
        Rules::Many(rules) => rules,
        Rules::One(rule) => vec![rule],
    };
    let mut faults = locked(&service.world().faults);
    for rule in rules {
        faults.add(rule);
    }
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(service): State<Arc<SecretsManager>>) -> StatusCode {
    locked(&service.world().faults).clear();
    StatusCode::NO_CONTENT
}

async fn journal(State(service): State<Arc<SecretsManager>>) -> Response {
    Json(service.world().journal()).into_response()
}

async fn clear_journal(State(service): State<Arc<SecretsManager>>) -> StatusCode {
    service.world().clear_journal();
    StatusCode::NO_CONTENT
}

async fn hold(State(service): State<Arc<SecretsManager>>, Json(hold): Json<Hold>) -> StatusCode {
    service.world().gate.hold(hold);
    StatusCode::NO_CONTENT
}

async fn held(State(service): State<Arc<SecretsManager>>) -> Json<Value> {
    let gate = &service.world().gate;
    Json(json!({ "arrived": gate.arrived(), "held": gate.held() }))
}

async fn release(State(service): State<Arc<SecretsManager>>) -> StatusCode {
    service.world().gate.release();
    StatusCode::NO_CONTENT
}

async fn secrets(State(service): State<Arc<SecretsManager>>) -> Json<Value> {
    let now = service.world().now();
    Json(service.with_state(|state| state.overview(now)))
}

async fn change_settings(State(service): State<Arc<SecretsManager>>, Json(patch): Json<Patch>) -> Response {
    let now = service.world().now();
    let outcome = service.with_state(|state| {
        // All named secrets must be there before anything is changed.
        if let Some(missing) = patch.secrets.iter().find(|forced| !state.has(forced, now)) {
            return Err(format!("no secret {} in {}", missing.name, missing.region));
        }
        let settings = &mut state.settings;
        settings.quotas = patch.quotas.unwrap_or(settings.quotas);
        settings.labels_move_last_changed = patch.labels_move_last_changed.unwrap_or(settings.labels_move_last_changed);
        settings.empty_pages = patch.empty_pages.unwrap_or(settings.empty_pages);
        settings.force_delete_lingers_ms = patch.force_delete_lingers_ms.unwrap_or(settings.force_delete_lingers_ms);
        if let Some(deny) = patch.deny {
            settings.deny = deny;
        }
        if let Some(kms) = patch.kms {
            settings.kms = kms;
        }
        if let Some(stages) = patch.readable_stages {
            settings.readable_stages = Some(stages).filter(|stages| !stages.is_empty());
        }
        if let Some(opposites) = patch.opposites {
            settings.opposites = opposites;
        }
        for forced in &patch.secrets {
            state.force(forced, now);
        }
        Ok(json!(state.settings))
    });
    match outcome {
        Ok(settings) => Json(settings).into_response(),
        Err(problem) => (StatusCode::NOT_FOUND, Json(json!({ "error": problem }))).into_response(),
    }
}

async fn now(State(service): State<Arc<SecretsManager>>) -> Json<Value> {
    let shown = |time: Timestamp| json!({ "date": time.to_string(), "epoch_ms": time.millis() });
    let world = service.world();
    Json(json!({ "services": shown(world.now()), "real": shown(world.real.wall()) }))
}
