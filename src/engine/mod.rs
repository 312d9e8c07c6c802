//! THE HANDS: observe, ask `rotation` what to do, do it. Decides nothing about rotation itself.
//!
//! | file | does |
//! |---|---|
//! | `reconcile` | one credential: observe, decide, perform, until only time can help |
//! | `company` | which credentials are made in one place, where only the vendor can tell |
//! | `look` | one look: what AWS and the vendor show, and what is decided on it |
//! | `perform` | one step as calls; the only place where a value passes from a vendor to the store |
//! | `fresh` | a fresh value: made, and stored or ended, whatever happens meanwhile |
//! | `pass` | the whole fleet: which names need a look, and the look, a few at a time |
//! | `in_place` | the steps of vendors that keep a value of ours: supply it, store it, set it |
//! | `supply` | where such values come from |
//! | `feeding` | whether credentials that feed one another are in step |
//! | `pool` | which visits run at once, and which wait for a place |
//! | `identity` | whether AWS has said whose account a target is |
//! | `material` | the files that a target is opened with, as they were then |
//! | `open` | opening targets and vendors, each on its own |
//! | `reopen` | the same process with another declaration |
//! | `watch` | a bound on everything that is under way |
//! | `here` | several futures at once in one task |
//! | `pulse` | signs of life of what is under way |
//! | `person` | what a person asked for, as calls |
//! | `adopt` | taking what somebody else made under management, as calls |
//! | `keyring` | where admin secrets come from |
//! | `preflight` | trials of what AWS and a vendor are assumed to do, with throw-away things |
//! | `snapshot` | what is known of each credential, for status and the status page |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::config::Declaration;
use crate::model::attempt::{Cause, Note};
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::name::{Name, TargetName, VendorName};
use crate::model::option::{Options, Value};
use crate::model::place::At;
use crate::model::policy::Ownership;
use crate::model::time::Clock;
use crate::model::transport::Transport;
use crate::rotation::brake::Brake;
use crate::rotation::fleet::{self, Urgency};
use crate::rotation::own::Leaving;
use crate::stores::aws::{Store, refuse_leaky_environment};
use crate::vendors::{Place, Vendor, http};

pub use open::Unopened;

pub mod adopt;
mod company;
mod feeding;
mod fresh;
pub mod here;
mod identity;
mod in_place;
mod keyring;
mod look;
mod material;
mod open;
pub mod pass;
mod perform;
pub mod person;
pub mod pool;
pub mod preflight;
pub mod pulse;
pub mod reconcile;
mod reopen;
pub mod snapshot;
mod supply;
mod watch;

/// Everything needed to carry out one declaration.
pub struct Engine {
    declaration: Arc<Declaration>,
    stores: BTreeMap<TargetName, Store>,
    vendors: BTreeMap<VendorName, Arc<dyn Vendor>>,
    clock: Arc<dyn Clock>,
    /// Tells this process's claims from other replicas'.
    replica: String,
    board: Arc<snapshot::Board>,
    stopping: Arc<AtomicBool>,
    /// Set once AWS has said that a target is the declared account.
    identified: BTreeMap<TargetName, Arc<identity::Identity>>,
    /// Shared by all engines of one process, so that no credential is visited twice at a time.
    memories: Arc<std::sync::Mutex<BTreeMap<Name, Arc<tokio::sync::Mutex<reconcile::Memory>>>>>,
    pulses: Arc<pulse::Pulses>,
    brake: std::sync::Mutex<Brake>,
    /// Credentials of which is known whether they would be replaced, where no listing shows it.
    judged: std::sync::Mutex<BTreeSet<Name>>,
    /// Why the person who asks for rotations in this process does.
    note: std::sync::OnceLock<Note>,
    /// Credentials whose secrets the last listing showed with something under way.
    begun: std::sync::Mutex<BTreeSet<Name>>,
    /// Which credentials are made in one place, as far as vendors told.
    neighbours: std::sync::Mutex<company::Neighbours>,
    /// Whether another declaration is in force: what was begun under this one is finished.
    replaced: AtomicBool,
    client: http::Client,
    unopened: Unopened,
    /// What the open targets were opened with.
    material: BTreeMap<TargetName, material::Material>,
    openings: open::Openings,
    holds: Arc<watch::Holds>,
    /// How long one visit may take.
    visit_max: Duration,
}

impl Engine {
    /// Opens every target and vendor of `declaration`, side by side. Reads the AWS credential chain;
    /// calls no vendor. What can't be opened is told by [`Engine::unopened`], and by every visit to
    /// what lies there.
    ///
    /// # Errors
    /// When nothing can be opened at all: no CA certificates, an environment that prints secrets.
    pub async fn open(declaration: Arc<Declaration>, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        Self::with_limits(declaration, clock, http::Limits::default()).await
    }

    /// As [`Engine::open`], with other limits on vendor calls.
    ///
    /// # Errors
    /// As there.
    pub async fn with_limits(
        declaration: Arc<Declaration>,
        clock: Arc<dyn Clock>,
        limits: http::Limits,
    ) -> Result<Self, Fault> {
        Self::over(None, declaration, clock, limits).await
    }

    /// As [`Engine::with_limits`]; every request goes where `over` takes it, if anywhere, and not to
    /// the network: for a simulation.
    ///
    /// # Errors
    /// As there.
    pub async fn over(
        over: Option<Arc<dyn Transport>>,
        declaration: Arc<Declaration>,
        clock: Arc<dyn Clock>,
        limits: http::Limits,
    ) -> Result<Self, Fault> {
        refuse_leaky_environment()?;
        let client = http::Client::with_limits(None, limits)?.over(over);
        let nothing = Declaration { targets: BTreeMap::new(), vendors: BTreeMap::new(), ..(*declaration).clone() };
        let blank = Self {
            identified: BTreeMap::new(),
            brake: std::sync::Mutex::new(Brake::new(declaration.limits.max_replacements)),
            declaration: Arc::new(nothing),
            stores: BTreeMap::new(),
            vendors: BTreeMap::new(),
            clock,
            neighbours: std::sync::Mutex::default(),
            replica: Uuid::new_v4().to_string(),
            board: Arc::default(),
            stopping: Arc::default(),
            memories: Arc::default(),
            pulses: Arc::default(),
            judged: std::sync::Mutex::default(),
            note: std::sync::OnceLock::new(),
            begun: std::sync::Mutex::default(),
            replaced: AtomicBool::new(false),
            client,
            unopened: Unopened::default(),
            material: BTreeMap::new(),
            openings: open::Openings::default(),
            holds: Arc::default(),
            visit_max: watch::VISIT_MAX,
        };
        Ok(blank.reopen(declaration).await)
    }

    /// The same engine, which gives up a visit after this long.
    #[must_use]
    pub fn with_visit_max(self, visit_max: Duration) -> Self {
        Self { visit_max, ..self }
    }

    /// Why the person asks for what this process does: goes into the claims of it. The first word
    /// counts.
    pub fn because(&self, note: Note) {
        let _ = self.note.set(note);
    }

    /// The declaration it carries out.
    pub fn declaration(&self) -> &Arc<Declaration> {
        &self.declaration
    }

    /// What is known of each credential.
    pub fn board(&self) -> &Arc<snapshot::Board> {
        &self.board
    }

    /// The clock it works by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Every target.
    pub fn stores(&self) -> &BTreeMap<TargetName, Store> {
        &self.stores
    }

    /// Asks every pass to begin nothing new and to finish what it holds.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Ends soon after it was asked to.
    pub async fn stopped(&self) {
        while !self.stopping() {
            tokio::time::sleep(watch::BEAT_PAUSE).await;
        }
    }

    /// Whether a vendor of this name is open.
    pub fn has_vendor(&self, name: &VendorName) -> bool {
        self.vendors.contains_key(name)
    }

    /// Whether it was asked to.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Signs of life of what is under way.
    pub fn pulses(&self) -> &Arc<pulse::Pulses> {
        &self.pulses
    }

    /// The target that a credential's secret lies in.
    pub fn store_of(&self, credential: &Credential) -> Option<&Store> {
        self.stores.get(&credential.destination.target)
    }

    /// How urgent a visit for `request` is, as far as is known of the credential: what its open
    /// claims said, and what the last listing showed.
    pub fn urgency(&self, name: &Name, request: Option<Cause>) -> Urgency {
        let memory = self.memories.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let claimed = memory.and_then(|memory| memory.try_lock().ok().and_then(|memory| memory.cause()));
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).contains(name);
        fleet::urgency(claimed.filter(|cause| *cause == Cause::Leaked).or(request), begun || claimed.is_some())
    }

    /// Notes whether a listing shows something under way.
    fn note_begun(&self, name: &Name, begun: bool) {
        let mut names = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun {
            names.insert(name.clone())
        } else {
            names.remove(name)
        };
    }

    /// How this engine is about to leave its credentials.
    fn leaving(&self) -> Leaving {
        match (self.stopping(), self.replaced.load(Ordering::Relaxed)) {
            (true, _) => Leaving::Ends,
            (false, true) => Leaving::Replaced,
            (false, false) => Leaving::No,
        }
    }

    fn with_brake<T>(&self, act: impl FnOnce(&mut Brake) -> T) -> T {
        act(&mut self.brake.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn store(&self, credential: &Credential) -> Result<&Store, Fault> {
        let target = &credential.destination.target;
        let store = self.target(target)?;
        self.identify(target, store).await?;
        Ok(store)
    }

    /// A target, if it is open.
    fn target(&self, target: &TargetName) -> Result<&Store, Fault> {
        self.stores.get(target).ok_or_else(|| {
            let unopened = self.unopened.targets.get(target).cloned();
            unopened.unwrap_or_else(|| unknown("target", target.as_str()))
        })
    }

    /// Where an account is declared, nothing is looked at or written before AWS has said once that
    /// this is it: a wrong profile must not create secrets in somebody else's account.
    async fn identify(&self, target: &TargetName, store: &Store) -> Result<(), Fault> {
        match (store.declared_account(), self.identified.get(target)) {
            (Some(_), Some(known)) => known.ask(|| async { store.identity().await.map(drop) }).await,
            (None, _) | (_, None) => Ok(()),
        }
    }

    /// The place that a tag names, for the vendor's driver; `None` where this keyferry knows no such
    /// type or option.
    fn former(&self, credential: &Credential, at: &At) -> Option<Former> {
        let types = self.declaration.vendors.get(&credential.vendor)?.spec.types;
        let kind = types.iter().find(|kind| kind.name == at.type_name())?;
        let mut options = Options::default();
        for (name, text) in at.options() {
            let field = kind.fields.iter().find(|field| field.name == name)?;
            options.set(field, Value::Text(text.to_owned()));
        }
        Some(Former { type_name: kind.name, options, ownership: at.ownership() })
    }

    fn vendor(&self, credential: &Credential) -> Result<&Arc<dyn Vendor>, Fault> {
        self.vendors.get(&credential.vendor).ok_or_else(|| {
            let unopened = self.unopened.vendors.get(&credential.vendor).cloned();
            unopened.unwrap_or_else(|| unknown("vendor", credential.vendor.as_str()))
        })
    }
}

fn place(credential: &Credential) -> Place<'_> {
    Place { type_name: credential.type_name, options: &credential.options }
}

/// A place that a credential was made in before.
struct Former {
    type_name: &'static str,
    options: Options,
    ownership: Ownership,
}

impl Former {
    fn place(&self) -> Place<'_> {
        Place { type_name: self.type_name, options: &self.options }
    }
}

fn unknown(what: &str, which: &str) -> Fault {
    Fault::new(Class::Rejected, format!("opening {what} `{which}`"), "it is not declared")
}
