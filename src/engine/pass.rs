//! The whole fleet: which names need a look, and the look, a few at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::config::Discovery;
use crate::engine::Engine;
use crate::engine::feeding::sources;
use crate::engine::here::Here;
use crate::engine::pool::{LANE_VISIT_COUNT_MAX, Pool};
use crate::engine::reconcile::{AskVendor, Visit, Visited, same_place};
use crate::engine::snapshot::{Published, Status};
use crate::engine::watch::LISTING_MAX;
use crate::model::credential::Credential;
use crate::model::fault::Fault;
use crate::model::label::{Label, TAG_UNPROVED};
use crate::model::name::{Name, SecretName, TargetName, VersionId};
use crate::model::observed::Summary;
use crate::model::policy::Takeover;
use crate::model::time::Timestamp;
use crate::rotation::fleet::{self, Look, Urgency, look};
use crate::rotation::reason::earlier;
use crate::rotation::tags::Unproved;
use crate::rotation::{Reason, brake};
use crate::stores::aws::Store;

/// How often each credential is looked at where nothing may be listed and nothing is due: what others
/// did to its secret - a pause, a rollback - is seen as late as this.
pub const DECLARED_ROUND: Duration = Duration::from_secs(3_600);
/// How long finding out what would be replaced may take. What is not known then is asked again at the
/// next listing, and does not begin before.
const JUDGE_MAX: Duration = Duration::from_secs(300);

/// How long finding out what goes first may take.
const ORDER_MAX: Duration = Duration::from_secs(10);

/// What a listing of the fleet says: who needs a look now. Credentials of a target that could not be
/// listed are not in it; the board says why.
#[derive(Default)]
pub struct Sorted {
    /// Those that need one.
    pub wanted: Vec<Arc<Credential>>,
    /// Those that need one and may be about to be replaced, too many of them to begin unseen: visited
    /// only once [`Engine::judge`] has let them through.
    pub suspects: Vec<Arc<Credential>>,
    /// AWS secrets of this deployment that no declaration names (any more): nothing is done about
    /// them. Empty where the fleet is not listed.
    pub undeclared: Vec<SecretName>,
}

impl Sorted {
    /// Every one that needs a look, for those who only look.
    pub fn all(self) -> Vec<Arc<Credential>> {
        let mut all = self.wanted;
        all.extend(self.suspects);
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

impl Engine {
    /// Lists every target, notes what is quiet on the board, and says who needs a look: one call
    /// per hundred secrets, none at any vendor.
    pub async fn sort(self: &Arc<Self>) -> Sorted {
        let mut listings = Here::default();
        for target in self.declaration().targets.keys() {
            listings.add(self.sort_target(target));
        }
        let mut sorted = Sorted::default();
        while !listings.is_empty() {
            let of_target = listings.next().await;
            sorted.wanted.extend(of_target.wanted);
            sorted.suspects.extend(of_target.suspects);
            sorted.undeclared.extend(of_target.undeclared);
        }
        sorted.wanted.sort_by(|one, other| one.name.cmp(&other.name));
        sorted.suspects.sort_by(|one, other| one.name.cmp(&other.name));
        sorted.undeclared.sort();
        sorted
    }

    /// One pass over the fleet: lists it and visits each that needs it. Who must be judged first waits
    /// for nobody else, and nobody else waits for it.
    pub async fn pass(
        self: &Arc<Self>,
        sorted: Sorted,
        visit: Visit,
        mut done: impl FnMut(&Name, &Visited),
    ) -> BTreeMap<Name, Visited> {
        let Sorted { wanted, suspects, .. } = sorted;
        let (mut visited, judged) = tokio::join!(self.visit_all(wanted, visit, &mut done), self.judge(suspects));
        visited.extend(self.visit_all(judged, visit, &mut done).await);
        visited
    }

    /// The same for one target, so that one that does not answer delays no other.
    pub async fn sort_target(self: &Arc<Self>, target: &TargetName) -> Sorted {
        let declared = || {
            let all = self.declaration().credentials.iter();
            all.filter(|credential| credential.destination.target == *target)
        };
        let whom = format!("the listing of target {target}");
        let before = self.board().unreachable().remove(target);
        let listed = self.watched(&whom, None, LISTING_MAX, self.listing(target)).await;
        match listed.unwrap_or_else(|cut| Err(cut.fault(&format!("listing the secrets of target `{target}`")))) {
            Ok(Listed::All(summaries)) => {
                self.reached(declared(), target, before.as_ref());
                self.sort_listed(declared(), summaries)
            }
            Ok(Listed::ByName) => {
                self.reached(declared(), target, before.as_ref());
                self.sort_unlisted(declared())
            }
            Err(fault) => {
                declared().for_each(|credential| self.note_unseen(credential, &fault, before.as_ref()));
                self.board().set_reached(target, Some(fault));
                Sorted::default()
            }
        }
    }

    async fn listing(&self, target: &TargetName) -> Result<Listed, Fault> {
        let store = self.target(target)?;
        if self.declaration().discovery == Discovery::Declared {
            return Ok(Listed::ByName);
        }
        self.identify(target, store).await?;
        store.fleet(&self.declaration().deployment).await.map(Listed::All)
    }

    fn sort_listed<'a>(
        &self,
        declared: impl Iterator<Item = &'a Arc<Credential>> + Clone,
        summaries: Vec<Summary>,
    ) -> Sorted {
        let listing: HashMap<SecretName, Summary> =
            summaries.into_iter().map(|summary| (summary.name.clone(), summary)).collect();
        let mut sorted = Sorted::default();
        for credential in declared.clone() {
            let summary = listing.get(&credential.destination.name);
            let now = self.store_of(credential).and_then(Store::now).unwrap_or_default();
            self.note_begun(&credential.name, summary.is_some_and(fleet::begun));
            let suspect = match summary {
                Some(summary) => {
                    let quiet = match judge(summary, credential, now) {
                        Look::At(date) => Some(Some(date)),
                        Look::Never => Some(None),
                        Look::Now => None,
                    };
                    if let Some(until) = quiet {
                        self.note_quiet(credential, summary, now, until);
                        // Nothing is to be done, but something failed: it is tried again when it is time.
                        if !self.retries(&credential.name, now) {
                            continue;
                        }
                    }
                    quiet.is_none() && fleet::moved(summary, &credential.policy)
                }
                None => credential.policy.takeover == Takeover::Rotate,
            };
            let list = if suspect { &mut sorted.suspects } else { &mut sorted.wanted };
            list.push(Arc::clone(credential));
        }
        let takeovers = self.declaration().credentials.iter().filter(|one| one.policy.takeover == Takeover::Rotate);
        // Targets are listed one by one, so what another one showed counts too.
        if sorted.suspects.len() + takeovers.count() <= self.replacement_count_max() {
            sorted.wanted.append(&mut sorted.suspects);
        }
        let declared: HashSet<&SecretName> = declared.map(|one| &one.destination.name).collect();
        sorted.undeclared = listing.into_keys().filter(|name| !declared.contains(name)).collect();
        sorted
    }

    /// Without the right to list, each is looked at by its name: when it is due, and otherwise in a
    /// slow round. No listing shows what moved, so each is looked at once before anything begins. An
    /// edit is another engine, and looks anew; what somebody else put there may change at any time.
    fn sort_unlisted<'a>(&self, declared: impl Iterator<Item = &'a Arc<Credential>>) -> Sorted {
        let wanted = declared.filter(|one| self.wants_look(one)).cloned();
        if self.declaration().credentials.len() <= self.replacement_count_max() {
            return Sorted { wanted: wanted.collect(), ..Sorted::default() };
        }
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let suspect = |one: &Arc<Credential>| one.policy.takeover == Takeover::Rotate || !judged.contains(&one.name);
        let (suspects, wanted) = wanted.partition(suspect);
        Sorted { wanted, suspects, ..Sorted::default() }
    }

    /// Whether a credential that no listing shows is looked at now.
    fn wants_look(&self, credential: &Credential) -> bool {
        let now = self.store_of(credential).and_then(Store::now);
        self.board().with(|all| match (all.get(&credential.name), now) {
            (Some(status), Some(now)) if status.looked != Timestamp::default() => {
                status.look_again.is_some_and(|date| date <= now) || now.since(status.looked) >= DECLARED_ROUND
            }
            _ => true,
        })
    }

    fn replacement_count_max(&self) -> usize {
        usize::try_from(self.declaration().limits.max_replacements).unwrap_or(usize::MAX)
    }

    /// Finds out which of `suspects` would be replaced, lets all of those begin or none, and gives
    /// everybody whom that is known of. The others are asked about again at the next listing.
    pub async fn judge(self: &Arc<Self>, suspects: Vec<Arc<Credential>>) -> Vec<Arc<Credential>> {
        let (mut known, unknown): (Vec<_>, Vec<_>) =
            suspects.into_iter().partition(|one| self.with_brake(|brake| brake.knows(&one.name)));
        if unknown.is_empty() {
            return known;
        }
        let visit = Visit { dry: true, vendor: AskVendor::AsNeeded, request: None };
        let mut told: BTreeMap<Name, bool> = BTreeMap::new();
        let looking = self.visit_all(unknown.clone(), visit, |name, one| {
            if one.status.fault.is_none() {
                told.insert(name.clone(), one.planned.as_ref().is_some_and(brake::replaces));
            } else {
                self.board().set(name, one.status.clone());
            }
        });
        if tokio::time::timeout(JUDGE_MAX, looking).await.is_err() {
            tracing::warn!("what would be replaced is not known of every credential yet: a vendor answers too slowly");
        }
        let replaced = told.iter().filter(|(_, replaced)| **replaced).map(|(name, _)| name.clone());
        self.with_brake(|brake| brake.judge(replaced));
        known.extend(unknown.into_iter().filter(|one| told.contains_key(&one.name)));
        self.judged.lock().unwrap_or_else(PoisonError::into_inner).extend(told.into_keys());
        known
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
                    one.status.reason = decision.reason();
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
            // The order is worth a moment and no more.
            let _ = tokio::time::timeout(ORDER_MAX, self.learn_what_is_begun(&wanted)).await;
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
        // show in a listing of secrets, and neither does what went wrong.
        let before = self.board().get(&credential.name);
        let fault = before.as_ref().and_then(|before| before.fault.clone());
        let retry = before.as_ref().filter(|_| fault.is_some()).map(|before| before.look_again.unwrap_or(now));
        let before = before.filter(|before| before.publishes_as(&published));
        let (dead, foreign) = before.map_or((false, 0), |before| (before.dead, before.foreign));
        let others = self.crowd(&credential.name);
        let (reason, detail) = match others.is_empty() {
            true => (reason, None),
            false => (Reason::NotAlone, Some(same_place(&others))),
        };
        let look_again = earlier(until, retry);
        let compare_at = fleet::compares(summary, &credential.policy);
        let status = Status { reason, fault, look_again, compare_at, published, dead, foreign, detail, ..blank(now) };
        self.board().set(&credential.name, status);
    }

    /// Whether what failed at a credential is to be tried again by now.
    fn retries(&self, name: &Name, now: Timestamp) -> bool {
        let due = |status: &Status| status.fault.is_some() && status.look_again.is_none_or(|date| date <= now);
        self.board().with(|all| all.get(name).is_some_and(due))
    }

    /// Whether a credential's last look failed.
    pub(super) fn fails(&self, name: &Name) -> bool {
        self.board().with(|all| all.get(name).is_some_and(|status| status.fault.is_some()))
    }

    /// A target answered: what it failed with `before` is over for everybody there. Their own faults
    /// stand.
    fn reached<'a>(
        &self,
        declared: impl Iterator<Item = &'a Arc<Credential>>,
        target: &TargetName,
        before: Option<&Fault>,
    ) {
        self.board().set_reached(target, None);
        for credential in declared.filter(|_| before.is_some()) {
            let Some(status) = self.board().get(&credential.name) else { continue };
            if status.fault.as_ref() == before {
                self.board().set(&credential.name, Status { fault: None, ..status });
            }
        }
    }

    fn note_unseen(&self, credential: &Credential, fault: &Fault, before: Option<&Fault>) {
        let status = self.board().get(&credential.name).unwrap_or_else(|| blank(Timestamp::default()));
        let own = status.fault.as_ref().is_some_and(|known| Some(known) != before);
        if !own {
            self.board().set(&credential.name, Status { fault: Some(fault.clone()), ..status });
        }
    }
}

/// What a target tells of its secrets.
enum Listed {
    /// Those of the deployment.
    All(Vec<Summary>),
    /// Nothing: keyferry may not list them.
    ByName,
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
        compare_at: None,
        published: None,
        dead: false,
        foreign: 0,
        paused: None,
        stripped: false,
        detail: None,
    }
}
