//! What every pretend vendor offers the stage.

use std::any::Any;
use std::sync::{Arc, Mutex};

use axum::Router;
use serde::Serialize;

use crate::model::option::Options;
use crate::model::time::Clock;
use crate::sandbox::consumer::Login;
use crate::sandbox::faults::Faults;

/// A simulator, as data.
pub struct Spec {
    /// The vendor's `kind` in a declaration, the service's name in fault rules, and the first part of
    /// its paths on the control port.
    pub kind: &'static str,
    /// For people: the vendor's own name.
    pub title: &'static str,
    /// Its usual port on loopback.
    pub port: u16,
    /// Makes one that is reached at a base URL.
    pub start: fn(Setting) -> Arc<dyn Simulator>,
}

/// What a simulator is given.
pub struct Setting {
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// What goes wrong.
    pub faults: Arc<Mutex<Faults>>,
    /// Ids and secrets follow from it.
    pub seed: u64,
    /// Where it is reached: `http://127.0.0.1:7702`.
    pub base_url: String,
}

/// A declared credential, as the sandbox needs to know it: what must be there at its vendor, and
/// where one logs in with it.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The vendor's kind.
    pub vendor: String,
    /// The credential type's name.
    pub type_name: String,
    /// The credential's options, with the vendor's defaults filled in.
    pub options: Options,
}

impl Seed {
    /// The text of an option; empty when it is not there.
    pub fn text(&self, name: &str) -> &str {
        self.options.text(name).unwrap_or_default()
    }
}

/// How often an operation was answered with a status.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CallCount {
    /// The service's word for the call: `create_credential`, `zone_token`, …
    pub operation: &'static str,
    /// HTTP status; none where the connection was dropped without an answer.
    pub status: Option<u16>,
    /// Number of such calls.
    pub count: u64,
}

/// One pretend vendor.
pub trait Simulator: Any + Send + Sync {
    /// Its answers, for [`crate::sandbox::line`] to serve on a listener or to ask without one.
    fn router(self: Arc<Self>) -> Router;

    /// Its routes on the control port, below `/<kind>/`.
    fn control(self: Arc<Self>) -> Router;

    /// Makes what a declared credential needs at the vendor: its zone, application, account, …
    fn seed(&self, seed: &Seed);

    /// Where a consumer logs in with this credential; `None` where nobody could.
    fn login(&self, seed: &Seed) -> Option<Login>;

    /// Vendor ids of the credentials that live now.
    fn live(&self) -> Vec<String>;

    /// The calls so far.
    fn call_counts(&self) -> Vec<CallCount>;
}
