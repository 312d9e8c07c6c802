//! Which visits run at once. Every vendor at every target has a lane with places of its own, so a
//! vendor or target that hangs delays nobody but itself; within a lane, what is urgent goes first.
//! No credential is visited twice at a time.
//!
//! A visit is spawned when it may begin, not before: the state of one is seven kilobytes, what
//! waits in a queue a few dozen bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::task::{Id, JoinSet};

use crate::engine::Engine;
use crate::engine::reconcile::{AskVendor, Visit, Visited};
use crate::engine::watch::Cut;
use crate::model::credential::Credential;
use crate::model::name::{Name, TargetName, VendorName};
use crate::rotation::fleet::Urgency;

/// Most visits at once, when every lane is full.
const VISIT_COUNT_MAX: usize = 64;
/// Most visits at once in one lane.
pub(super) const LANE_VISIT_COUNT_MAX: usize = 8;

/// A vendor at a target: what hangs together.
type Lane = (VendorName, TargetName);

/// What waits in one lane, by its name, the most urgent first. A name that was overtaken by itself
/// stands here a second time, and counts once: where [`Asked`] says.
type Queue = BTreeMap<Urgency, VecDeque<Name>>;

/// A visit asked for: under which declaration, to what, and what for.
struct Asked {
    engine: Arc<Engine>,
    credential: Arc<Credential>,
    visit: Visit,
    urgency: Urgency,
}

/// Visits that run and visits that wait for a place.
#[derive(Default)]
pub struct Pool {
    waiting: BTreeMap<Lane, Queue>,
    asked: BTreeMap<Name, Asked>,
    running: JoinSet<Visited>,
    flights: HashMap<Id, Flight>,
    names: BTreeSet<Name>,
}

struct Flight {
    engine: Arc<Engine>,
    credential: Arc<Credential>,
    visit: Visit,
}

/// A visit that ended.
pub struct Landed {
    /// Under which declaration it was made.
    pub engine: Arc<Engine>,
    /// What was visited.
    pub credential: Arc<Credential>,
    /// What the visit was for.
    pub visit: Visit,
    /// What it found and did.
    pub visited: Visited,
}

impl Pool {
    /// Asks for a visit. A name that waits already is asked for once, for all that anybody asked and
    /// as urgently as anybody did; one that runs is visited again after it.
    pub fn ask(&mut self, engine: &Arc<Engine>, credential: &Arc<Credential>, visit: Visit, urgency: Urgency) {
        let name = &credential.name;
        let lane = match self.asked.get_mut(name) {
            Some(waits) => {
                waits.visit = waits.visit.and(visit);
                if waits.urgency <= urgency {
                    return;
                }
                waits.urgency = urgency;
                lane(&waits.credential)
            }
            None => {
                let (engine, credential) = (Arc::clone(engine), Arc::clone(credential));
                let lane = lane(&credential);
                self.asked.insert(name.clone(), Asked { engine, credential, visit, urgency });
                lane
            }
        };
        self.waiting.entry(lane).or_default().entry(urgency).or_default().push_back(name.clone());
    }

    /// Forgets what waits; what runs, runs on.
    pub fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.asked.clear();
    }

    /// Whether a name is visited now, or waits for it.
    pub fn has(&self, name: &Name) -> bool {
        self.asked.contains_key(name) || self.runs(name)
    }

    /// Whether a name is visited now.
    pub fn runs(&self, name: &Name) -> bool {
        self.names.contains(name)
    }

    /// Names that are visited now.
    pub fn running(&self) -> &BTreeSet<Name> {
        &self.names
    }

    /// Begins as many visits as there are places for.
    pub fn begin(&mut self) {
        let lanes: Vec<Lane> = self.waiting.keys().cloned().collect();
        for lane in lanes {
            let mut places = self.places(&lane);
            // A name that runs already delays none of its lane, and stays where it was.
            let mut passed_over = Vec::new();
            while places > 0
                && let Some((name, urgency)) = self.take(&lane)
            {
                if self.runs(&name) {
                    passed_over.push((name, urgency));
                    continue;
                }
                let Some(Asked { engine, credential, visit, .. }) = self.asked.remove(&name) else { continue };
                self.spawn(engine, credential, visit);
                places -= 1;
            }
            let queue = self.waiting.entry(lane).or_default();
            for (name, urgency) in passed_over.into_iter().rev() {
                queue.entry(urgency).or_default().push_front(name);
            }
        }
        self.waiting.retain(|_, queue| queue.values().any(|names| !names.is_empty()));
    }

    /// The next visit that ends; `None` when none runs. May be dropped and called again.
    pub async fn landed(&mut self) -> Option<Landed> {
        let (id, visited) = match self.running.join_next_with_id().await? {
            Ok((id, visited)) => (id, Ok(visited)),
            Err(error) => (error.id(), Err(error)),
        };
        let Flight { engine, credential, visit } = self.flights.remove(&id).expect("what runs has its flight");
        self.names.remove(&credential.name);
        // A panic is that credential's failed visit; one outside of the visit itself as well.
        let visited = visited.unwrap_or_else(|_| {
            let visited = engine.failed(&credential, Cut::Panicked.fault(&format!("visiting `{}`", credential.name)));
            engine.board().set(&credential.name, visited.status.clone());
            visited
        });
        Some(Landed { engine, credential, visit, visited })
    }

    /// The next name of a lane; one that waits elsewhere by now is passed over for good.
    fn take(&mut self, lane: &Lane) -> Option<(Name, Urgency)> {
        for (urgency, names) in self.waiting.get_mut(lane)? {
            while let Some(name) = names.pop_front() {
                if self.asked.get(&name).is_some_and(|asked| asked.urgency == *urgency) {
                    return Some((name, *urgency));
                }
            }
        }
        None
    }

    /// Free places of a lane. Lanes share the whole evenly and none may take another's, so that
    /// there is always a place for what is due elsewhere.
    fn places(&self, wanted: &Lane) -> usize {
        let mut taken: BTreeMap<Lane, usize> = self.waiting.keys().map(|lane| (lane.clone(), 0)).collect();
        for flight in self.flights.values() {
            *taken.entry(lane(&flight.credential)).or_default() += 1;
        }
        let most = (VISIT_COUNT_MAX / taken.len().max(1)).clamp(1, LANE_VISIT_COUNT_MAX);
        most.saturating_sub(taken.get(wanted).copied().unwrap_or_default())
    }

    fn spawn(&mut self, engine: Arc<Engine>, credential: Arc<Credential>, mut visit: Visit) {
        if visit.vendor == AskVendor::AsNeeded && engine.fails(&credential.name) {
            // A fault stands until the very thing that failed was tried again, the vendor included.
            visit.vendor = AskVendor::Always;
        }
        let flight = Flight { engine: Arc::clone(&engine), credential: Arc::clone(&credential), visit };
        self.names.insert(credential.name.clone());
        let handle = self.running.spawn(async move { engine.reconcile(&credential, visit).await });
        self.flights.insert(handle.id(), flight);
    }
}

fn lane(credential: &Credential) -> Lane {
    (credential.vendor.clone(), credential.destination.target.clone())
}
