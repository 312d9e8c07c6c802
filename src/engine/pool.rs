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
use crate::engine::reconcile::{Visit, Visited};
use crate::engine::snapshot::Status;
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::name::{Name, TargetName, VendorName};

/// Most visits at once, when every lane is full.
const VISIT_COUNT_MAX: usize = 64;
/// Most visits at once in one lane.
const LANE_VISIT_COUNT_MAX: usize = 8;

/// A vendor at a target: what hangs together.
type Lane = (VendorName, TargetName);

/// A visit asked for: under which declaration, to what, and what for.
type Asked = (Arc<Engine>, Arc<Credential>, Visit);

/// Visits that run and visits that wait for a place.
#[derive(Default)]
pub struct Pool {
    waiting: BTreeMap<Lane, Queue>,
    asked: BTreeSet<Name>,
    running: JoinSet<Visited>,
    flights: HashMap<Id, Flight>,
    names: BTreeSet<Name>,
}

#[derive(Default)]
struct Queue {
    urgent: VecDeque<Asked>,
    routine: VecDeque<Asked>,
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
    /// Asks for a visit. A name that waits already is asked for once; one that runs is visited
    /// again after it.
    pub fn ask(&mut self, engine: &Arc<Engine>, credential: &Arc<Credential>, visit: Visit, urgent: bool) {
        if !self.asked.insert(credential.name.clone()) {
            return;
        }
        let queue = self.waiting.entry(lane(credential)).or_default();
        let asked = (Arc::clone(engine), Arc::clone(credential), visit);
        if urgent { queue.urgent.push_back(asked) } else { queue.routine.push_back(asked) }
    }

    /// Forgets what waits; what runs, runs on.
    pub fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.asked.clear();
    }

    /// Whether a name is visited now, or waits for it.
    pub fn has(&self, name: &Name) -> bool {
        self.asked.contains(name) || self.runs(name)
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
            // A name that runs already waits behind the others of its lane.
            let mut passed_over = Vec::new();
            while places > 0
                && let Some((engine, credential, visit)) = self.take(&lane)
            {
                if self.runs(&credential.name) {
                    passed_over.push((engine, credential, visit));
                    continue;
                }
                self.asked.remove(&credential.name);
                self.spawn(engine, credential, visit);
                places -= 1;
            }
            if let Some(queue) = self.waiting.get_mut(&lane) {
                queue.routine.extend(passed_over);
            }
            self.waiting.retain(|_, queue| !queue.urgent.is_empty() || !queue.routine.is_empty());
        }
    }

    /// The next visit that ends; `None` when none runs. May be dropped and called again.
    pub async fn landed(&mut self) -> Option<Landed> {
        let (id, visited) = match self.running.join_next_with_id().await? {
            Ok((id, visited)) => (id, Ok(visited)),
            Err(error) => (error.id(), Err(error)),
        };
        let Flight { engine, credential, visit } = self.flights.remove(&id).expect("what runs has its flight");
        self.names.remove(&credential.name);
        // One credential's panic is that credential's failed visit.
        let visited = visited.unwrap_or_else(|_| {
            let name = &credential.name;
            let fault = Fault::new(Class::Bug, format!("visiting `{name}`"), "keyferry failed")
                .with_hint("this is a bug of keyferry: please report it with the log");
            let looked = engine.store_of(&credential).and_then(crate::stores::aws::Store::now).unwrap_or_default();
            let status = Status::unseen(fault, looked);
            engine.board().set(name, status.clone());
            engine.pulses().end(name.as_str());
            Visited { status, planned: None, steps: Vec::new(), leaked: None }
        });
        Some(Landed { engine, credential, visit, visited })
    }

    fn take(&mut self, lane: &Lane) -> Option<Asked> {
        let queue = self.waiting.get_mut(lane)?;
        queue.urgent.pop_front().or_else(|| queue.routine.pop_front())
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

    fn spawn(&mut self, engine: Arc<Engine>, credential: Arc<Credential>, visit: Visit) {
        let flight = Flight { engine: Arc::clone(&engine), credential: Arc::clone(&credential), visit };
        self.names.insert(credential.name.clone());
        let handle = self.running.spawn(async move { engine.reconcile(&credential, visit).await });
        self.flights.insert(handle.id(), flight);
    }
}

fn lane(credential: &Credential) -> Lane {
    (credential.vendor.clone(), credential.destination.target.clone())
}
