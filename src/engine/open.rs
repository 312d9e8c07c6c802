//! Opening targets and vendors: side by side, each on its own. One that can't be opened stops nobody
//! else; what lies there shows why, and it is tried again.
//!
//! The AWS SDK reads its files in the middle of asynchronous code, so a file that does not answer would
//! hold a worker for ever. Each target is opened on a thread of its own, and waited for a while.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::clock::HostClock;
use crate::config::{Declaration, VendorInstance};
use crate::engine::{Engine, keyring};
use crate::model::fault::{Class, Fault};
use crate::model::name::{TargetName, VendorName};
use crate::model::option::Reference;
use crate::model::time::Clock;
use crate::model::transport::Transport;
use crate::stores::aws::{Store, Target, refuse_pipes};
use crate::vendors::{Instance, Vendor, http};

/// How long opening one target may take: finding the Region may ask instance metadata.
const OPENING_MAX: Duration = Duration::from_secs(30);
/// Most threads that one target may leave behind because a file does not answer.
const HUNG_COUNT_MAX: usize = 3;

/// What became of one target.
type Opened = Result<Store, Fault>;

/// Targets and vendors of the declaration that could not be opened, and why.
#[derive(Clone, Default, Debug)]
pub struct Unopened {
    /// By the target's name.
    pub targets: BTreeMap<TargetName, Fault>,
    /// By the vendor's name.
    pub vendors: BTreeMap<VendorName, Fault>,
}

impl Unopened {
    /// Whether everything is open.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.vendors.is_empty()
    }
}

/// How many threads are opening each target now. Shared by all engines of one process.
#[derive(Clone, Default)]
pub(super) struct Openings(Arc<Mutex<BTreeMap<TargetName, usize>>>);

impl Openings {
    fn count(&self, target: &TargetName, change: impl FnOnce(usize) -> usize) -> usize {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(target.clone()).or_default();
        *count = change(*count);
        *count
    }

    /// Opens each target, all at once. What goes to services in this very process needs no thread.
    pub(super) async fn targets<'a>(
        &self,
        wanted: impl Iterator<Item = &'a Target>,
        over: Option<&Arc<dyn Transport>>,
        clock: &Arc<dyn Clock>,
    ) -> BTreeMap<TargetName, Opened> {
        if over.is_some() {
            let mut opened = BTreeMap::new();
            for target in wanted {
                opened.insert(target.name.clone(), Store::connect_over(over, target, Arc::clone(clock)).await);
            }
            return opened;
        }
        // Each thread begins at once, so waiting for one after the other takes as long as the slowest.
        let begun: Vec<_> = wanted.map(|target| (target.name.clone(), self.begin(target, Arc::clone(clock)))).collect();
        let waiting = tokio::task::spawn_blocking(move || {
            let waited = HostClock::real();
            let wait = |(name, begun): (TargetName, Result<mpsc::Receiver<Opened>, Fault>)| {
                let doing = format!("opening target `{name}`");
                let opened = begun.and_then(|told| {
                    let left = OPENING_MAX.saturating_sub(waited.monotonic());
                    told.recv_timeout(left).unwrap_or_else(|error| match error {
                        RecvTimeoutError::Timeout => Err(late(&doing)),
                        RecvTimeoutError::Disconnected => Err(bug(&doing)),
                    })
                });
                (name, opened)
            };
            begun.into_iter().map(wait).collect()
        });
        waiting.await.expect("waiting does not panic")
    }

    fn begin(&self, target: &Target, clock: Arc<dyn Clock>) -> Result<mpsc::Receiver<Opened>, Fault> {
        let doing = format!("opening target `{}`", target.name);
        if self.count(&target.name, |count| count) >= HUNG_COUNT_MAX {
            return Err(late(&doing));
        }
        let (tell, told) = mpsc::channel();
        let (runtime, target, openings) = (Handle::current(), target.clone(), self.clone());
        let name = target.name.clone();
        self.count(&name, |count| count + 1);
        let thread = std::thread::Builder::new().name("opening".into()).spawn(move || {
            let opened = refuse_pipes(&target).and_then(|()| runtime.block_on(Store::connect(&target, clock)));
            openings.count(&target.name, |count| count.saturating_sub(1));
            // Whoever asked may have given up.
            let _ = tell.send(opened);
        });
        match thread {
            Ok(_) => Ok(told),
            Err(error) => {
                self.count(&name, |count| count.saturating_sub(1));
                Err(Fault::new(
                    Class::Retry { after: None },
                    doing,
                    format!("no thread for it could be started: {error}"),
                ))
            }
        }
    }
}

fn late(doing: &str) -> Fault {
    Fault::new(Class::Retry { after: None }, doing, "it did not come to its end").with_hint(
        "AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE and the files that they name must be readable at once: no pipe, \
         and no network folder that does not answer",
    )
}

fn bug(doing: &str) -> Fault {
    Fault::new(Class::Bug, doing, "keyferry failed")
        .with_hint("this is a bug of keyferry: please report it with the log")
}

/// Opens one vendor. Its admin secrets are read when they are needed.
pub(super) fn vendor(
    vendor: &VendorInstance,
    stores: &BTreeMap<TargetName, Store>,
    client: &http::Client,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn Vendor>, Fault> {
    (vendor.spec.connect)(Instance {
        name: vendor.name.clone(),
        options: vendor.options.clone(),
        keyring: Arc::new(keyring::References::new(&vendor.name, &vendor.options, stores)),
        client: client.clone(),
        clock: Arc::clone(clock),
    })
}

/// Whether an admin secret of this vendor lies in AWS.
pub(super) fn reads_aws(vendor: &VendorInstance) -> bool {
    vendor.options.references().any(|(_, reference)| matches!(reference, Reference::AwsSecret { .. }))
}

impl Engine {
    /// What could not be opened so far.
    pub fn unopened(&self) -> &Unopened {
        &self.unopened
    }

    /// Whether what lies behind `reference` may be asked for: a target that is not open is not
    /// replaced by another one.
    ///
    /// # Errors
    /// Why its target could not be opened.
    pub(super) fn reachable(&self, reference: &Reference) -> Result<(), Fault> {
        reachable(reference, &self.declaration, &self.unopened)
    }
}

/// The same for every admin secret of a vendor.
pub(super) fn all_reachable(
    vendor: &VendorInstance,
    declaration: &Declaration,
    unopened: &Unopened,
) -> Result<(), Fault> {
    vendor.options.references().try_for_each(|(_, reference)| reachable(reference, declaration, unopened))
}

fn reachable(reference: &Reference, declaration: &Declaration, unopened: &Unopened) -> Result<(), Fault> {
    let Reference::AwsSecret { target, .. } = reference else { return Ok(()) };
    let target = target.as_ref().or_else(|| declaration.targets.keys().next());
    match target.and_then(|target| unopened.targets.get(target)) {
        Some(fault) => Err(fault.clone()),
        None => Ok(()),
    }
}
