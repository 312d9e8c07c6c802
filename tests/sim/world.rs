//! One world from its beginning to its judgement: services, declaration, processes, events, quiet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keyferry::config::Declaration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::declare::Draft;
use crate::events::{self, Event};
use crate::judge::{Judge, Violation};
use crate::net::{Net, Process, Trap};
use crate::process::{self, Cadence, Order, Running};
use crate::rest;
use crate::services::{SecretKey, Services};
use crate::time::{HOUR, WorldTime};

/// What became of a world.
pub struct Outcome {
    pub violations: Vec<Violation>,
    pub calls: u64,
    pub digest: u64,
    pub simulated: Duration,
    pub lines: Vec<String>,
    /// How many events it had.
    pub event_count: usize,
}

/// How a world is run.
#[derive(Clone, Default)]
pub struct Ask {
    pub seed: u64,
    /// Only these events, by number; all where `None`.
    pub keep: Option<Vec<usize>>,
    /// Whether the journal is kept.
    pub told: bool,
}

/// A world's drawn plan.
pub struct Plan {
    pub draft: Draft,
    pub events: Vec<(Duration, Event)>,
    pub cadence: Cadence,
}

impl Plan {
    pub fn drawn(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let draft = Draft::drawn(&mut dice);
        let (_, events) = events::drawn(&mut dice);
        let list = [HOUR, 2 * HOUR, 4 * HOUR][dice.usize(..3)];
        let compare = [6 * HOUR, 12 * HOUR][dice.usize(..2)];
        Self { draft, events, cadence: Cadence { list, compare } }
    }
}

/// Runs one world, on a thread of its own kind: one task at a time, in paused time.
pub fn run(ask: &Ask) -> Outcome {
    fastrand::seed(ask.seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(async { World::begin(ask).live(ask).await })
}

pub struct World {
    pub net: Arc<Net>,
    pub draft: Draft,
    pub events: Vec<(Duration, Event)>,
    pub cadence: Cadence,
    pub slots: BTreeMap<usize, Running>,
    verbs: Vec<JoinHandle<()>>,
    fallen: mpsc::UnboundedReceiver<Process>,
    process_count: Process,
}

impl World {
    pub fn begin(ask: &Ask) -> Self {
        Self::planned(Plan::drawn(ask.seed), ask)
    }

    /// A world of this plan.
    pub fn planned(plan: Plan, ask: &Ask) -> Self {
        let Plan { draft, events, cadence } = plan;
        let time = WorldTime::begin();
        let services = Services::start(&draft, ask.seed, &time);
        services.seed(&draft.read());
        let mut judge = Judge::default();
        judge.first_look(&services);
        judge.declare(&draft);
        let (tell, fallen) = mpsc::unbounded_channel();
        let net = Arc::new(Net::new(services, judge, ask.seed, tell));
        if ask.told {
            net.journal.lock().unwrap().lines = Some(Vec::new());
        }
        let world =
            Self { net, draft, events, cadence, slots: BTreeMap::new(), verbs: Vec::new(), fallen, process_count: 0 };
        world.draft.credentials.iter().filter(|one| one.premade).for_each(|one| world.premake(one));
        world
    }

    pub async fn live(mut self, ask: &Ask) -> Outcome {
        let events = self.events.clone();
        for (number, (at, event)) in events.iter().enumerate() {
            self.wait_until(*at).await;
            if ask.keep.as_ref().is_none_or(|keep| keep.contains(&number)) {
                self.net.note(&format!("#{number} {event:?}"));
                self.happen(*event);
            }
        }
        self.rest().await;
        self.end(events.len())
    }

    /// Lets time pass; who falls meanwhile is gone.
    pub async fn wait_until(&mut self, elapsed: Duration) {
        loop {
            let left = elapsed.saturating_sub(self.net.services.time.elapsed()).min(HOUR);
            if left.is_zero() {
                return;
            }
            self.in_between();
            tokio::select! {
                biased;
                Some(process) = self.fallen.recv() => self.fell(process),
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    fn in_between(&mut self) {
        let up = self.slots.values().filter(|running| !running.handle.is_finished());
        for running in up {
            let engine = running.engine.lock().unwrap().clone();
            let statuses = engine.map(|engine| engine.board().all()).unwrap_or_default();
            self.net.judge.lock().unwrap().in_between(&self.net.services, &statuses, running.since);
        }
    }

    fn fell(&mut self, process: Process) {
        self.net.note(&format!("p{process} is dead"));
        self.slots.retain(|_, running| {
            let stays = running.process != process;
            if !stays {
                running.handle.abort();
            }
            stays
        });
    }

    /// The faults are over; everything must come to rest.
    async fn rest(&mut self) {
        self.net.note("quiet");
        let names: Vec<String> = self.net.services.points.values().map(|point| point.name.clone()).collect();
        names.iter().for_each(|name| self.net.trouble(name, None));
        for (_, running) in std::mem::take(&mut self.slots) {
            running.handle.abort();
        }
        self.start(0);
        let quiet = rest::quiet(&self.draft.credentials).max(process::promise(self.cadence));
        self.wait_until(self.net.services.time.elapsed() + quiet).await;
    }

    fn end(self, event_count: usize) -> Outcome {
        let engine = self.slots.get(&0).and_then(|running| running.engine.lock().unwrap().clone());
        let statuses = engine.map(|engine| engine.board().all()).unwrap_or_default();
        for (name, status) in &statuses {
            self.net.note(&format!("at last {name}: {} {:?} {:?}", status.word(), status.reason, status.fault));
        }
        let mut judge = self.net.judge.lock().unwrap();
        judge.at_rest(&self.net.services, &statuses);
        let violations = judge.violations.clone();
        let mut journal = self.net.journal.lock().unwrap();
        for violation in &violations {
            journal.note(violation.text.clone());
        }
        Outcome {
            violations,
            calls: journal.calls,
            digest: journal.digest(),
            simulated: self.net.services.time.elapsed(),
            lines: journal.lines.take().unwrap_or_default(),
            event_count,
        }
    }

    pub fn declaration(&self) -> Arc<Declaration> {
        Arc::new(self.draft.read())
    }

    fn next_process(&mut self) -> Process {
        self.process_count += 1;
        self.process_count
    }

    pub fn start(&mut self, slot: usize) {
        let ended = self.slots.get(&slot).is_none_or(|running| running.handle.is_finished());
        if ended {
            let process = self.next_process();
            let running = process::daemon(&self.net, process, &self.declaration(), self.cadence);
            self.slots.insert(slot, running);
        }
    }

    pub fn crash(&mut self, slot: usize, trap: Trap) {
        if let Some(running) = self.slots.get(&slot) {
            self.net.trap(running.process, trap);
        }
    }

    pub fn kill(&mut self, slot: usize) {
        if let Some(running) = self.slots.remove(&slot) {
            running.handle.abort();
        }
    }

    pub fn order(&mut self, slot: usize, order: Order) {
        if let Some(running) = self.slots.get(&slot) {
            // One that is opening, or gone, hears nothing.
            let _ = running.orders.try_send(order);
        }
    }

    pub fn once(&mut self) {
        let (net, process, declaration) = (Arc::clone(&self.net), self.next_process(), self.declaration());
        self.verbs.push(tokio::spawn(process::once(net, process, declaration)));
    }

    pub fn adopt(&mut self, key: SecretKey) {
        let (net, process, declaration) = (Arc::clone(&self.net), self.next_process(), self.declaration());
        self.verbs.push(tokio::spawn(process::adopt(net, process, declaration, key)));
    }

    pub fn rotate(&mut self, key: SecretKey, leaked: bool) {
        let (net, process, declaration) = (Arc::clone(&self.net), self.next_process(), self.declaration());
        self.verbs.push(tokio::spawn(process::rotate(net, process, declaration, key, leaked)));
    }
}
