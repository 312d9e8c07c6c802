//! The whole fleet: which names need a look, and the look, a few at a time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::config::Discovery;
use crate::engine::Engine;
use crate::engine::feeding::sources;
use crate::engine::reconcile::{Visit, Visited};
use crate::engine::snapshot::{Published, Status};
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::label::Label;
use crate::model::name::{Name, SecretName, TargetName};
use crate::model::observed::Summary;
use crate::model::time::Timestamp;
use crate::rotation::fleet::{Look, look};
use crate::rotation::{Reason, Step};

/// Credentials visited at once.
const VISITS_AT_ONCE_MAX: usize = 8;

/// What a listing of the fleet says: who needs a look now. Credentials of a target that could not be
/// listed are not in it; the board says why.
#[derive(Default)]
pub struct Sorted {
    /// Those that need one.
    pub wanted: Vec<Arc<Credential>>,
}

impl Engine {
    /// Lists every target, notes what is quiet on the board, and says who needs a look: one call
    /// per hundred secrets, none at any vendor.
    pub async fn sort(&self) -> Sorted {
        let mut sorted = Sorted::default();
        if self.declaration().discovery == Discovery::Declared {
            // Without the right to list, each is looked at by its name.
            sorted.wanted = self.declaration().credentials.clone();
            return sorted;
        }
        let mut unreachable: BTreeMap<TargetName, Fault> = BTreeMap::new();
        let mut listings: BTreeMap<TargetName, (HashMap<SecretName, Summary>, Timestamp)> = BTreeMap::new();
        for (target, store) in self.stores() {
            let listed = match self.identify(target, store).await {
                Ok(()) => store.fleet(&self.declaration().deployment).await,
                Err(fault) => Err(fault),
            };
            match listed {
                Ok(summaries) => {
                    let by_name = summaries.into_iter().map(|summary| (summary.name.clone(), summary)).collect();
                    listings.insert(target.clone(), (by_name, store.now().unwrap_or_default()));
                }
                Err(fault) => {
                    unreachable.insert(target.clone(), fault);
                }
            }
        }
        for credential in &self.declaration().credentials {
            let Some((listing, now)) = listings.get(&credential.destination.target) else {
                let fault = unreachable.get(&credential.destination.target).cloned();
                self.note_unseen(credential, fault);
                continue;
            };
            let summary = listing.get(&credential.destination.name);
            match summary.map(|summary| (summary, judge(summary, credential, *now))) {
                Some((summary, Look::At(date))) => self.note_quiet(credential, summary, *now, Some(date)),
                Some((summary, Look::Never)) => self.note_quiet(credential, summary, *now, None),
                Some((_, Look::Now)) | None => sorted.wanted.push(Arc::clone(credential)),
            }
        }
        self.board().set_unreachable(unreachable);
        sorted
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
        let mut wanted = VecDeque::from(wanted);
        wanted.make_contiguous().sort_by_key(|credential| !sources(credential).is_empty());
        let mut running: JoinSet<(Name, Visited)> = JoinSet::new();
        let mut names = HashMap::new();
        let mut results = BTreeMap::new();
        loop {
            // A visit is spawned when it may begin: the state of one is seven kilobytes. Told to
            // stop: what has not begun is left as it is.
            while running.len() < VISITS_AT_ONCE_MAX && !self.stopping() {
                let Some(credential) = wanted.pop_front() else { break };
                let engine = Arc::clone(self);
                let name = credential.name.clone();
                let handle = running.spawn(async move {
                    let visited = engine.reconcile(&credential, visit).await;
                    (credential.name.clone(), visited)
                });
                names.insert(handle.id(), name);
            }
            match running.join_next_with_id().await {
                None => return results,
                Some(Ok((id, (name, visited)))) => {
                    names.remove(&id);
                    let publishes =
                        |(step, _): &(Step, _)| matches!(step, Step::Promote { .. } | Step::MintFirst { .. });
                    if visited.steps.iter().any(publishes) {
                        wanted.extend(self.followers(&name));
                    }
                    done(&name, &visited);
                    results.insert(name, visited);
                }
                // One credential's panic is that credential's failed visit.
                Some(Err(error)) => {
                    if let Some(name) = names.remove(&error.id()) {
                        let fault = Fault::new(Class::Bug, format!("visiting `{name}`"), "keyferry failed")
                            .with_hint("this is a bug of keyferry: please report it with the log");
                        let status = Status { fault: Some(fault), ..blank(Timestamp::default()) };
                        self.board().set(&name, status.clone());
                        results.insert(name, Visited { status, planned: None, steps: Vec::new() });
                    }
                }
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
        let published = current.map(|(version, lease)| Published {
            version,
            id: lease.tracked.id().cloned(),
            since: lease.since,
            verified: true,
            live,
        });
        // What a closer look found stands until the next one: dead or foreign credentials don't
        // show in a listing of secrets.
        let before = self.board().get(&credential.name).filter(|before| before.publishes_as(&published));
        let (dead, foreign) = before.map_or((false, 0), |before| (before.dead, before.foreign));
        self.board()
            .set(&credential.name, Status { reason, look_again: until, published, dead, foreign, ..blank(now) });
    }

    fn note_unseen(&self, credential: &Credential, fault: Option<Fault>) {
        let before = self.board().get(&credential.name);
        let status = before.unwrap_or_else(|| blank(Timestamp::default()));
        self.board().set(&credential.name, Status { fault, ..status });
    }
}

fn judge(summary: &Summary, credential: &Credential, now: Timestamp) -> Look {
    look(summary, &credential.deployment, &credential.name, &credential.policy, now)
}

fn blank(looked: Timestamp) -> Status {
    Status { reason: Reason::NotSeen, fault: None, looked, look_again: None, published: None, dead: false, foreign: 0 }
}
