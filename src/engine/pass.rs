//! The whole fleet: which names need a look, and the look, a few at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::config::Discovery;
use crate::engine::Engine;
use crate::engine::feeding::sources;
use crate::engine::here::Here;
use crate::engine::pool::{LANE_VISIT_COUNT_MAX, Pool};
use crate::engine::reconcile::{AskVendor, Visit, Visited, same_place};
use crate::engine::snapshot::{Published, Status};
use crate::model::credential::Credential;
use crate::model::fault::Fault;
use crate::model::label::{Label, TAG_UNPROVED};
use crate::model::name::{Name, SecretName, TargetName, VersionId};
use crate::model::observed::Summary;
use crate::model::policy::Takeover;
use crate::model::time::Timestamp;
use crate::rotation::fleet::{self, Look, Urgency, look};
use crate::rotation::tags::Unproved;
use crate::rotation::{Reason, brake};

/// What a listing of the fleet says: who needs a look now. Credentials of a target that could not be
/// listed are not in it; the board says why.
#[derive(Default)]
pub struct Sorted {
    /// Those that need one.
    pub wanted: Vec<Arc<Credential>>,
    /// AWS secrets of this deployment that no declaration names (any more): nothing is done about
    /// them. Empty where the fleet is not listed.
    pub undeclared: Vec<SecretName>,
}

impl Engine {
    /// Lists every target, notes what is quiet on the board, and says who needs a look: one call
    /// per hundred secrets, none at any vendor.
    pub async fn sort(self: &Arc<Self>) -> Sorted {
        let mut listings = Here::default();
        for target in self.stores().keys() {
            listings.add(self.sort_target(target));
        }
        let mut sorted = Sorted::default();
        while !listings.is_empty() {
            let of_target = listings.next().await;
            sorted.wanted.extend(of_target.wanted);
            sorted.undeclared.extend(of_target.undeclared);
        }
        sorted.wanted.sort_by(|one, other| one.name.cmp(&other.name));
        sorted.undeclared.sort();
        sorted
    }

    /// The same for one target, so that one that does not answer delays no other.
    pub async fn sort_target(self: &Arc<Self>, target: &TargetName) -> Sorted {
        let mut sorted = Sorted::default();
        let declared = || {
            let all = self.declaration().credentials.iter();
            all.filter(|credential| credential.destination.target == *target)
        };
        let Some(store) = self.stores().get(target) else { return sorted };
        if self.declaration().discovery == Discovery::Declared {
            // Without the right to list, each is looked at by its name.
            self.board().set_reached(target, None);
            sorted.wanted = declared().cloned().collect();
            self.brake_unlisted(&sorted.wanted).await;
            return sorted;
        }
        let whom = format!("the listing of target {target}");
        self.pulses().beat(&whom);
        let listed = match self.identify(target, store).await {
            Ok(()) => store.fleet(&self.declaration().deployment).await,
            Err(fault) => Err(fault),
        };
        self.pulses().end(&whom);
        let listing = match listed {
            Ok(summaries) => {
                self.board().set_reached(target, None);
                summaries.into_iter().map(|summary| (summary.name.clone(), summary)).collect::<HashMap<_, _>>()
            }
            Err(fault) => {
                declared().for_each(|credential| self.note_unseen(credential, &fault));
                self.board().set_reached(target, Some(fault));
                return sorted;
            }
        };
        let now = store.now().unwrap_or_default();
        let mut suspects = Vec::new();
        for credential in declared() {
            let summary = listing.get(&credential.destination.name);
            self.note_begun(&credential.name, summary.is_some_and(fleet::begun));
            match summary.map(|summary| (summary, judge(summary, credential, now))) {
                Some((summary, Look::At(date))) => self.note_quiet(credential, summary, now, Some(date)),
                Some((summary, Look::Never)) => self.note_quiet(credential, summary, now, None),
                Some((summary, Look::Now)) => {
                    if fleet::moved(summary, &credential.policy) {
                        suspects.push(Arc::clone(credential));
                    }
                    sorted.wanted.push(Arc::clone(credential));
                }
                None => {
                    if credential.policy.takeover == Takeover::Rotate {
                        suspects.push(Arc::clone(credential));
                    }
                    sorted.wanted.push(Arc::clone(credential));
                }
            }
        }
        self.brake_replacements(suspects).await;
        let declared: HashSet<&SecretName> = declared().map(|one| &one.destination.name).collect();
        sorted.undeclared = listing.into_keys().filter(|name| !declared.contains(name)).collect();
        sorted
    }

    /// Finds out which of `suspects` would be replaced, where they are so many that it matters, and
    /// lets all of them begin or none. Targets are listed one by one, so what another one showed
    /// before counts too, and has begun.
    async fn brake_replacements(self: &Arc<Self>, suspects: Vec<Arc<Credential>>) {
        let takeovers = self.declaration().credentials.iter().filter(|one| one.policy.takeover == Takeover::Rotate);
        if suspects.len() + takeovers.count() > self.replacement_count_max() {
            self.judge_replacements(suspects).await;
        }
    }

    /// The same where no listing shows what moved: each is looked at once, before anything begins. An
    /// edit is another engine, and looks anew. What somebody else put there may change at any time.
    async fn brake_unlisted(self: &Arc<Self>, wanted: &[Arc<Credential>]) {
        if self.declaration().credentials.len() <= self.replacement_count_max() {
            return;
        }
        let suspects = {
            let judged = self.judged.lock().expect("no holder panics");
            let suspect =
                |one: &&Arc<Credential>| one.policy.takeover == Takeover::Rotate || !judged.contains(&one.name);
            wanted.iter().filter(suspect).cloned().collect()
        };
        self.judge_replacements(suspects).await;
    }

    fn replacement_count_max(&self) -> usize {
        usize::try_from(self.declaration().limits.max_replacements).unwrap_or(usize::MAX)
    }

    async fn judge_replacements(self: &Arc<Self>, suspects: Vec<Arc<Credential>>) {
        let visit = Visit { dry: true, vendor: AskVendor::AsNeeded, request: None };
        let visited = self.visit_all(suspects, visit, |_, _| {}).await;
        let seen = visited.iter().filter(|(_, one)| one.status.fault.is_none()).map(|(name, _)| name.clone());
        self.judged.lock().expect("no holder panics").extend(seen);
        let replaced = visited.into_iter().filter(|(_, one)| one.planned.as_ref().is_some_and(brake::replaces));
        self.with_brake(|brake| brake.judge(replaced.map(|(name, _)| name)));
    }

    /// Holds back, among what a dry look at the whole fleet planned, replacements that are too many.
    pub fn brake_planned(&self, visited: &mut BTreeMap<Name, Visited>) {
        let planned = |one: &Visited| one.planned.as_ref().is_some_and(brake::replaces);
        let replaced: Vec<Name> =
            visited.iter().filter(|(_, one)| planned(one)).map(|(name, _)| name.clone()).collect();
        self.with_brake(|brake| {
            brake.judge(replaced);
            for (name, one) in visited.iter_mut() {
                if let Some(decision) = one.planned.take() {
                    let decision = brake.apply(name, false, decision);
                    one.status.reason = decision.reason;
                    one.planned = Some(decision);
                }
            }
        });
    }

    /// Visits each of `wanted`, a few at a time; tells `done` about each as it ends.
    pub async fn visit_all(
        self: &Arc<Self>,
        wanted: Vec<Arc<Credential>>,
        visit: Visit,
        mut done: impl FnMut(&Name, &Visited),
    ) -> BTreeMap<Name, Visited> {
        // Those that are fed by others come after them, and again where one of them was published
        // meanwhile.
        if visit.request.is_some() && wanted.len() > LANE_VISIT_COUNT_MAX {
            self.learn_what_is_begun(&wanted).await;
        }
        let urgency = |name: &Name| self.urgency(name, visit.request);
        let (mut held, first): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|credential| !sources(credential).is_empty());
        let mut pool = Pool::default();
        for credential in first {
            pool.ask(self, &credential, visit, urgency(&credential.name));
        }
        let mut results = BTreeMap::new();
        loop {
            // Told to stop: what has not begun is left as it is.
            if self.stopping() {
                pool.forget_waiting();
                held.clear();
            }
            let names: BTreeSet<Name> = held.iter().map(|credential| credential.name.clone()).collect();
            held.retain(|credential| {
                let waits = sources(credential).into_iter().any(|name| pool.has(name) || names.contains(name));
                if !waits {
                    pool.ask(self, credential, visit, urgency(&credential.name));
                }
                waits
            });
            pool.begin();
            let Some(landed) = pool.landed().await else { return results };
            let name = &landed.credential.name;
            for follower in self.followers_after(name, &landed.visited) {
                if !names.contains(&follower.name) {
                    pool.ask(self, &follower, Visit { request: None, ..visit }, Urgency::Routine);
                }
            }
            done(name, &landed.visited);
            results.insert(name.clone(), landed.visited);
        }
    }

    /// Where not all of `wanted` can begin at once, what may be an emergency goes first: one listing
    /// tells. Where there is none, nothing is lost but the order.
    async fn learn_what_is_begun(&self, wanted: &[Arc<Credential>]) {
        if self.declaration().discovery == Discovery::Declared {
            return;
        }
        let targets: BTreeSet<&TargetName> = wanted.iter().map(|one| &one.destination.target).collect();
        for (target, store) in self.stores().iter().filter(|(target, _)| targets.contains(target)) {
            let listed = match self.identify(target, store).await {
                Ok(()) => store.fleet(&self.declaration().deployment).await,
                Err(fault) => Err(fault),
            };
            match listed {
                Ok(summaries) => {
                    let begun = summaries.iter().filter(|one| fleet::begun(one)).map(|one| &one.name);
                    let begun: HashSet<&SecretName> = begun.collect();
                    for credential in wanted.iter().filter(|one| one.destination.target == *target) {
                        self.note_begun(&credential.name, begun.contains(&credential.destination.name));
                    }
                }
                Err(fault) => tracing::debug!(%target, "{fault}; going on in the order of the names"),
            }
        }
    }

    fn note_quiet(&self, credential: &Credential, summary: &Summary, now: Timestamp, until: Option<Timestamp>) {
        let all = || summary.labels.values().flatten();
        let leases = |labels: &Vec<Label>| {
            labels.iter().find_map(|label| match label {
                Label::Cred(lease) => Some(lease.clone()),
                _ => None,
            })
        };
        let current = summary.labels.iter().find(|(_, labels)| labels.contains(&Label::Current));
        let current = current.and_then(|(version, labels)| Some((version.clone(), leases(labels)?)));
        let overlap = all().any(|label| *label == Label::Previous);
        let reason = match (overlap, until) {
            (true, _) => Reason::InOverlap,
            (false, Some(_)) => Reason::Healthy,
            (false, None) => Reason::HealthyManual,
        };
        let live = all().filter(|label| matches!(label, Label::Cred(_))).count();
        let unproved = |version: &VersionId| Unproved::of(summary.tags.get(TAG_UNPROVED)?, version);
        let published = current.map(|(version, lease)| Published {
            id: lease.tracked.id().cloned(),
            since: lease.since,
            verified: unproved(&version).is_none(),
            unproved: unproved(&version),
            version,
            live,
        });
        // What a closer look found stands until the next one: dead or foreign credentials don't
        // show in a listing of secrets.
        let before = self.board().get(&credential.name).filter(|before| before.publishes_as(&published));
        let (dead, foreign) = before.map_or((false, 0), |before| (before.dead, before.foreign));
        let others = self.crowd(&credential.name);
        let (reason, detail) = match others.is_empty() {
            true => (reason, None),
            false => (Reason::NotAlone, Some(same_place(&others))),
        };
        let status = Status { reason, look_again: until, published, dead, foreign, detail, ..blank(now) };
        self.board().set(&credential.name, status);
    }

    fn note_unseen(&self, credential: &Credential, fault: &Fault) {
        let before = self.board().get(&credential.name);
        let status = before.unwrap_or_else(|| blank(Timestamp::default()));
        self.board().set(&credential.name, Status { fault: Some(fault.clone()), ..status });
    }
}

fn judge(summary: &Summary, credential: &Credential, now: Timestamp) -> Look {
    look(summary, &credential.deployment, &credential.name, &credential.policy, now)
}

fn blank(looked: Timestamp) -> Status {
    Status {
        reason: Reason::NotSeen,
        fault: None,
        looked,
        look_again: None,
        published: None,
        dead: false,
        foreign: 0,
        paused: None,
        stripped: false,
        detail: None,
    }
}
