//! The same process with another declaration: what is known of credentials, targets and vendors
//! that did not change is kept, AWS's clocks included. A target whose keys or certificates changed on
//! disk is opened anew. Visits under way go on under the engine that they began with; to the
//! protocol, the two are two replicas.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use uuid::Uuid;

use crate::config::{Declaration, VendorInstance};
use crate::engine::material::Material;
use crate::engine::open::{all_reachable, reads_aws};
use crate::engine::{Engine, Unopened, open};
use crate::model::credential::Credential;
use crate::model::name::{Name, TargetName};
use crate::rotation::brake::{self, Brake};
use crate::stores::aws::Store;

impl Engine {
    /// Opens `declaration` next to this engine, which should begin nothing more then. What could not be
    /// opened before is tried again.
    pub async fn reopen(&self, declaration: Arc<Declaration>) -> Self {
        let same_target = |name: &TargetName| self.declaration.targets.get(name) == declaration.targets.get(name);
        let material = self.look_at_files(&declaration).await;
        let same_files = |name: &TargetName| self.material.get(name) == material.get(name);
        let known = |name: &TargetName| self.stores.get(name).filter(|_| same_target(name) && same_files(name));
        let missing = declaration.targets.iter().filter(|(name, _)| known(name).is_none()).map(|(_, target)| target);
        let fresh = self.openings.targets(missing, self.client.transport(), &self.clock).await;
        // Admin secrets may lie in a target.
        let all_same = declaration.targets == self.declaration.targets && fresh.is_empty();
        let kept = declaration.targets.keys().filter_map(|name| Some((name.clone(), known(name)?.clone())));
        let mut stores: BTreeMap<TargetName, Store> = kept.collect();
        let mut unopened = Unopened::default();
        for (name, opened) in fresh {
            match opened {
                Ok(store) => drop(stores.insert(name, store)),
                Err(fault) => drop(unopened.targets.insert(name, fault)),
            }
        }
        let told = |name: &TargetName| known(name).and_then(|_| self.identified.get(name)).cloned();
        let identified = stores.keys().map(|name| (name.clone(), told(name).unwrap_or_default())).collect();
        let mut vendors = BTreeMap::new();
        for (name, vendor) in &declaration.vendors {
            let before = self.declaration.vendors.get(name);
            let same = before.is_some_and(|before| same_vendor(before, vendor)) && (all_same || !reads_aws(vendor));
            let opened = match self.vendors.get(name).filter(|_| same) {
                Some(known) => Ok(Arc::clone(known)),
                None => all_reachable(vendor, &declaration, &unopened)
                    .and_then(|()| open::vendor(vendor, &stores, &self.client, &self.clock)),
            };
            match opened {
                Ok(opened) => drop(vendors.insert(name.clone(), opened)),
                Err(fault) => drop(unopened.vendors.insert(name.clone(), fault)),
            }
        }
        let kept = |name: &Name| match (self.declared(name), find(&declaration, name)) {
            (Some(before), Some(after)) => same_place(before, after),
            (_, None) | (None, _) => false,
        };
        let mut brake = Brake::new(declaration.limits.max_replacements);
        brake.judge(self.due_by(&declaration));
        Self {
            board: Arc::new(self.board.kept(kept, same_target)),
            identified,
            stores,
            vendors,
            clock: Arc::clone(&self.clock),
            replica: Uuid::new_v4().to_string(),
            stopping: Arc::clone(&self.stopping),
            memories: Arc::clone(&self.memories),
            pulses: Arc::clone(&self.pulses),
            brake: Mutex::new(brake),
            judged: Mutex::default(),
            note: OnceLock::new(),
            begun: Mutex::default(),
            neighbours: Mutex::default(),
            replaced: AtomicBool::new(false),
            client: self.client.clone(),
            unopened,
            material,
            openings: self.openings.clone(),
            holds: Arc::clone(&self.holds),
            visit_max: self.visit_max,
            declaration,
        }
    }

    /// The files that each target would be opened with now. Services in this very process need none.
    async fn look_at_files(&self, declaration: &Declaration) -> BTreeMap<TargetName, Material> {
        if self.client.transport().is_some() {
            return BTreeMap::new();
        }
        let targets = declaration.targets.clone();
        let look = move || targets.into_iter().map(|(name, target)| (name, Material::of(&target))).collect();
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    /// Tells this engine that `next` took its place: it finishes what it began. Gives those of its credentials that nobody
    /// looks after from now on: gone from the declaration, or written to another secret.
    pub fn replaced_by(&self, next: &Self) -> Vec<Arc<Credential>> {
        let gone = |one: &&Arc<Credential>| next.declared(&one.name).is_none_or(|after| !same_secret(one, after));
        let gone: Vec<_> = self.declaration.credentials.iter().filter(gone).cloned().collect();
        self.replaced.store(true, Ordering::Relaxed);
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.retain(|name, _| next.declared(name).is_some());
        gone
    }

    /// The declared credential of this name.
    pub fn declared(&self, name: &Name) -> Option<&Arc<Credential>> {
        find(&self.declaration, name)
    }

    /// What `next` would have replaced now and this declaration would not, as far as is known, and
    /// what waits already for a person to say whether it is meant.
    fn due_by(&self, next: &Declaration) -> Vec<Name> {
        let due = |after: &&Arc<Credential>| {
            let name = &after.name;
            let before = self.declared(name).filter(|before| same_place(before, after));
            let now = self.store_of(after).and_then(Store::now);
            let since = self.board.get(name).and_then(|status| status.published).map(|published| published.since);
            let (Some(before), Some(now), Some(since)) = (before, now, since) else { return false };
            let held = self.with_brake(|brake| brake.holds(name));
            held && brake::begins(&after.policy, since, now)
                || brake::due_by_edit(&before.policy, &after.policy, since, now)
        };
        next.credentials.iter().filter(due).map(|one| one.name.clone()).collect()
    }
}

fn find<'a>(declaration: &'a Declaration, name: &Name) -> Option<&'a Arc<Credential>> {
    let all = &declaration.credentials;
    all.binary_search_by(|one| one.name.cmp(name)).ok().map(|at| &all[at])
}

fn same_secret(one: &Credential, other: &Credential) -> bool {
    let place =
        |one: &Credential| (one.deployment.clone(), one.destination.target.clone(), one.destination.name.clone());
    place(one) == place(other)
}

fn same_place(one: &Credential, other: &Credential) -> bool {
    same_secret(one, other) && one.vendor == other.vendor && one.policy.place == other.policy.place
}

fn same_vendor(one: &VendorInstance, other: &VendorInstance) -> bool {
    one.spec.kind == other.spec.kind && one.options == other.options
}
