//! The daemon's loop: lists the fleet now and then, visits what is due, obeys orders. It waits for
//! nothing: what hangs, hangs in a task of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cli::run::Daemon;
use crate::cli::run::disk::{Read, Trace};
use crate::cli::run::start::Start;
use crate::cli::signals::{DRAIN_MAX, Order};
use crate::clock::HostClock;
use crate::engine::Engine;
use crate::engine::here::Here;
use crate::engine::pass::Sorted;
use crate::engine::pool::{Landed, Pool};
use crate::engine::reconcile::{AskVendor, Visit};
use crate::model::credential::Credential;
use crate::model::name::{Name, TargetName};
use crate::model::time::{Clock, Timestamp};
use crate::rotation::fleet::Urgency;
use crate::schedule::{self, Bell, Bells};

/// How soon a target that could not be listed is listed again: at boot the network may come late.
const UNREACHED_PAUSE: Duration = Duration::from_secs(30);
/// How soon a target or vendor that could not be opened is opened again.
const UNOPENED_PAUSE: Duration = Duration::from_secs(60);
/// Shortest wait between looks at what is due.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(200);
/// After this much real time the start counts as over, whatever has not answered yet.
const START_MAX: Duration = Duration::from_secs(60);
/// How long an attempt of a credential that is declared no more is looked after: a candidate is
/// given up after an hour.
const LEAVING_MAX: Duration = Duration::from_secs(2 * 3_600);

mod changes;
mod tell;

/// What the loop waits for.
enum Event {
    Landed(Box<Landed>),
    Listed(Arc<Engine>, TargetName, Sorted),
    /// Of which suspects it is known now whether they would be replaced.
    Judged(Arc<Engine>, Vec<Arc<Credential>>),
    Reread(Read),
    /// The same declaration, with what could not be opened before.
    Reopened(Option<Arc<Engine>>),
    /// The declaration's files as they are now.
    OnDisk(Option<Trace>),
    Ordered(Order),
    Rang(Bell),
    Woken,
}

/// A credential that nobody declares any more and whose attempt is brought to its end.
struct Last {
    engine: Arc<Engine>,
    credential: Arc<Credential>,
    until: Duration,
}

/// The loop's own knowledge. None of it decides about a rotation.
pub(super) struct Work {
    daemon: Daemon,
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    real: HostClock,
    bells: Bells,
    pool: Pool,
    /// Listings and judgements under way.
    listings: Here<'static, Event>,
    /// When each target is listed next; being listed now.
    list_at: BTreeMap<TargetName, Duration>,
    listing: BTreeSet<TargetName>,
    /// Not visited before it is known whether they would be replaced.
    unjudged: BTreeSet<Name>,
    compared: Duration,
    look_at: Duration,
    start: Start,
    last: BTreeMap<Name, Last>,
    rereading: Option<JoinHandle<Read>>,
    /// Told to reload while reading: the file may have changed since.
    reread_again: bool,
    reopening: Option<JoinHandle<Arc<Engine>>>,
    reopen_at: Duration,
    on_disk: Option<JoinHandle<Trace>>,
    /// What was told of each credential that is not fine.
    told: BTreeMap<Name, String>,
    status: String,
}

impl Work {
    pub(super) async fn new(daemon: Daemon) -> anyhow::Result<Self> {
        let engine = Arc::clone(&daemon.engine.borrow());
        let clock = Arc::clone(engine.clock());
        Ok(Self {
            bells: Bells::start(daemon.speed).await.context("starting the scheduler")?,
            compared: clock.monotonic(),
            look_at: Duration::ZERO,
            start: Start::new(&engine),
            real: HostClock::real(),
            pool: Pool::default(),
            listings: Here::default(),
            list_at: BTreeMap::new(),
            listing: BTreeSet::new(),
            unjudged: BTreeSet::new(),
            last: BTreeMap::new(),
            rereading: None,
            reread_again: false,
            reopening: None,
            reopen_at: clock.monotonic() + UNOPENED_PAUSE,
            on_disk: None,
            told: BTreeMap::new(),
            status: String::new(),
            daemon,
            engine,
            clock,
        })
    }

    /// Works until told to stop; then finishes what only this process can finish.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> anyhow::Result<()> {
        tracing::info!(credentials = self.engine.declaration().credentials.len(), "keeping credentials up to date");
        self.tell_unopened();
        loop {
            self.daemon.health.turn();
            if self.clock.monotonic() >= self.look_at {
                self.look();
            }
            self.pool.begin();
            self.tell_start();
            match self.next(&mut orders).await {
                Event::Landed(landed) => self.landed(*landed),
                Event::Listed(engine, target, sorted) => self.listed(&engine, &target, sorted),
                Event::Judged(engine, judged) => self.judged(&engine, judged),
                Event::Reread(read) => self.reread(read),
                Event::Reopened(next) => self.reopened(next),
                Event::OnDisk(trace) => self.compare_disk(trace),
                Event::Ordered(Order::Reload) => self.reload(),
                Event::Ordered(Order::Stop) => break,
                Event::Rang(bell) => self.rang(bell),
                Event::Woken => self.look_at = Duration::ZERO,
            }
        }
        self.drain(&mut orders).await;
        self.bells.stop().await;
        Ok(())
    }

    async fn next(&mut self, orders: &mut mpsc::Receiver<Order>) -> Event {
        let wait = self.look_at.saturating_sub(self.clock.monotonic());
        let clock = Arc::clone(&self.clock);
        // However little there is to do, the loop shows that it turns.
        let sign_of_life = self.daemon.health.silence_max() / 4;
        let bug = || Read { next: Err("opening it failed, a bug of keyferry".into()), trace: None };
        tokio::select! {
            order = orders.recv() => Event::Ordered(order.unwrap_or(Order::Stop)),
            read = ended(&mut self.rereading) => Event::Reread(read.unwrap_or_else(bug)),
            next = ended(&mut self.reopening) => Event::Reopened(next),
            trace = ended(&mut self.on_disk) => Event::OnDisk(trace),
            Some(landed) = self.pool.landed() => Event::Landed(Box::new(landed)),
            listed = self.listings.next() => listed,
            bell = self.bells.rung() => Event::Rang(bell),
            () = clock.sleep(wait) => Event::Woken,
            () = self.real.sleep(sign_of_life) => Event::Woken,
        }
    }

    fn rang(&mut self, bell: Bell) {
        match bell {
            // Whatever the clock says: a clock that jumped is noticed here.
            Bell::Heartbeat => {}
            Bell::Listing => self.list_at.clear(),
            Bell::Comparison => self.compare(),
            Bell::Reload => {
                let trace = self.daemon.files.trace.clone();
                if self.on_disk.is_none() {
                    self.on_disk = Some(tokio::task::spawn_blocking(move || trace.now()));
                }
            }
        }
        self.look_at = Duration::ZERO;
    }

    /// Begins the listings that are due and asks for the visits that are.
    fn look(&mut self) {
        let elapsed = self.clock.monotonic();
        let declaration = Arc::clone(self.engine.declaration());
        for target in declaration.targets.keys() {
            let due = self.list_at.get(target).is_none_or(|at| *at <= elapsed);
            if due && self.listing.insert(target.clone()) {
                // The bell comes first, unless somebody set the host's clock back.
                self.list_at.insert(target.clone(), elapsed + 2 * Bell::Listing.every());
                let (engine, target) = (Arc::clone(&self.engine), target.clone());
                self.listings.add(async move {
                    let sorted = engine.sort_target(&target).await;
                    Event::Listed(engine, target, sorted)
                });
            }
        }
        if elapsed.saturating_sub(self.compared) >= 2 * Bell::Comparison.every() {
            self.compare();
        }
        self.reopen(elapsed);
        self.look_at = self.list_at.values().copied().min().unwrap_or_default().max(elapsed + LOOK_PAUSE_MIN);
        if let Some(now) = now(&self.engine) {
            let busy = |name: &Name| self.pool.has(name) || self.unjudged.contains(name);
            let (due, next) = self.engine.board().with(|all| schedule::plan(all, now, busy));
            for name in due {
                if let Some(credential) = self.engine.declared(&name).cloned() {
                    self.ask(&credential, Visit::default(), self.engine.urgency(&name, None));
                }
            }
            if let Some(next) = next {
                self.look_before(next);
            }
        }
        self.look_after_last();
        self.tell_status();
    }

    /// Asks for a visit under the declaration in force.
    fn ask(&mut self, credential: &Arc<Credential>, visit: Visit, urgency: Urgency) {
        if !self.unjudged.contains(&credential.name) {
            self.pool.ask(&self.engine, credential, visit, urgency);
        }
    }

    /// Compares everything with what its vendor lists.
    fn compare(&mut self) {
        self.compared = self.clock.monotonic();
        let visit = Visit { vendor: AskVendor::Always, ..Visit::default() };
        let declaration = Arc::clone(self.engine.declaration());
        for credential in &declaration.credentials {
            self.ask(credential, visit, Urgency::Routine);
        }
    }

    /// Looks again at this date at the latest.
    fn look_before(&mut self, date: Timestamp) {
        if let Some(now) = now(&self.engine) {
            let wait = date.since(now).clamp(LOOK_PAUSE_MIN, Bell::Listing.every());
            self.look_at = self.look_at.min(self.clock.monotonic() + wait);
        }
    }

    fn listed(&mut self, engine: &Arc<Engine>, target: &TargetName, sorted: Sorted) {
        if !Arc::ptr_eq(engine, &self.engine) {
            return;
        }
        self.listing.remove(target);
        self.start.targets.remove(target);
        if let Some(fault) = self.engine.board().unreachable().get(target) {
            tracing::warn!(%target, hint = fault.hint, "{fault}");
            self.list_at.insert(target.clone(), self.clock.monotonic() + UNREACHED_PAUSE);
        }
        self.unjudged.retain(|name| {
            let here = self.engine.declared(name).is_some_and(|one| one.destination.target == *target);
            !here || sorted.suspects.iter().any(|one| one.name == *name)
        });
        if !sorted.suspects.is_empty() {
            // They wait for the vendor; nobody else does.
            self.unjudged.extend(sorted.suspects.iter().map(|one| one.name.clone()));
            let (engine, suspects) = (Arc::clone(engine), sorted.suspects.clone());
            self.listings.add(async move {
                let judged = engine.judge(suspects).await;
                Event::Judged(engine, judged)
            });
        }
        if !self.engine.board().unreachable().contains_key(target) {
            self.ask_vendors(target);
        }
        for credential in &sorted.wanted {
            let urgency = self.engine.urgency(&credential.name, None);
            self.ask(credential, Visit::default(), urgency);
        }
        if !self.start.passed {
            let names = sorted.wanted.iter().chain(&sorted.suspects).map(|one| one.name.clone());
            self.start.wanted.extend(names);
        }
        self.look_at = Duration::ZERO;
    }

    fn judged(&mut self, engine: &Arc<Engine>, judged: Vec<Arc<Credential>>) {
        if !Arc::ptr_eq(engine, &self.engine) {
            return;
        }
        for credential in &judged {
            self.unjudged.remove(&credential.name);
            self.ask(credential, Visit::default(), self.engine.urgency(&credential.name, None));
        }
        // Of the others it is told why they wait.
        for name in &self.unjudged {
            self.start.heard(name);
        }
        self.look_at = Duration::ZERO;
    }

    /// At the start every vendor is asked once, so that `ready` means that all of them answered.
    fn ask_vendors(&mut self, target: &TargetName) {
        if self.start.vendors.is_empty() {
            return;
        }
        let visit = Visit { vendor: AskVendor::Always, ..Visit::default() };
        let declaration = Arc::clone(self.engine.declaration());
        let here = |one: &&Arc<Credential>| one.destination.target == *target;
        for credential in declaration.credentials.iter().filter(here) {
            if !self.unjudged.contains(&credential.name) && self.start.vendors.remove(&credential.vendor) {
                self.start.asked.insert(credential.name.clone());
                self.start.wanted.insert(credential.name.clone());
                self.ask(credential, visit, Urgency::Begun);
            }
        }
    }

    fn landed(&mut self, landed: Landed) {
        let Landed { engine, credential, visited, .. } = landed;
        let name = &credential.name;
        self.tell(name, &visited);
        if Arc::ptr_eq(&engine, &self.engine) {
            self.start.heard(name);
            for follower in engine.followers_after(name, &visited) {
                self.ask(&follower, Visit::default(), Urgency::Begun);
            }
            if let Some(date) = visited.status.look_again {
                self.look_before(date);
            }
            return;
        }
        // It began under a declaration that is not in force any more.
        let mine = self.last.get(name).is_some_and(|last| Arc::ptr_eq(&last.engine, &engine));
        if mine && visited.status.fault.is_none() && !visited.status.reason.is_mid_attempt() {
            self.last.remove(name);
            tracing::info!(credential = %name, "declared no more: what was under way is finished; nothing was revoked");
        }
        if let Some(credential) = self.engine.declared(name).cloned() {
            self.ask(&credential, Visit::default(), Urgency::Begun);
        }
    }

    /// What is declared no more is visited until its attempt is at its end.
    fn look_after_last(&mut self) {
        let elapsed = self.clock.monotonic();
        self.last.retain(|name, last| {
            let stays = elapsed < last.until;
            if !stays {
                tracing::warn!(credential = %name, "declared no more, and its attempt did not end: left as it is");
            }
            stays
        });
        let now = now(&self.engine);
        let mut next = None;
        for (name, last) in &self.last {
            let date = last.engine.board().get(name).and_then(|status| status.look_again);
            match (date, now) {
                _ if self.pool.has(name) => {}
                (Some(date), Some(now)) if date > now => next = crate::rotation::reason::earlier(next, Some(date)),
                _ => self.pool.ask(&last.engine, &last.credential, Visit::default(), Urgency::Begun),
            }
        }
        if let Some(next) = next {
            self.look_before(next);
        }
    }

    /// Begins nothing new and waits for what is under way: a visit that was told to stop goes no
    /// further than what only this process can finish.
    async fn drain(&mut self, orders: &mut mpsc::Receiver<Order>) {
        self.daemon.manager.tell("STOPPING=1\nSTATUS=stopping: finishing what only this process can finish");
        self.daemon.health.stopping();
        self.engine.stop();
        self.pool.forget_waiting();
        self.listings.clear();
        let names = |pool: &Pool| pool.running().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        tracing::info!(under_way = names(&self.pool), "stopping: finishing what only this process can finish");
        let over = self.real.monotonic() + DRAIN_MAX;
        loop {
            self.daemon.health.turn();
            let left = over.saturating_sub(self.real.monotonic());
            let why = tokio::select! {
                landed = self.pool.landed() => match landed {
                    Some(landed) => {
                        self.tell(&landed.credential.name, &landed.visited);
                        continue;
                    }
                    None => break,
                },
                order = orders.recv() => match order {
                    Some(Order::Reload) => continue,
                    Some(Order::Stop) | None => "told to stop again",
                },
                () = self.real.sleep(left) => "it took too long",
            };
            tracing::warn!(under_way = names(&self.pool), "stopped at once ({why}): the next start goes on from there");
            return;
        }
        tracing::info!("stopped");
    }
}

/// What a task gives that ended, and that there is none any more; `None` when it failed. Waits for ever
/// where there is none.
async fn ended<T>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    let done = match task.as_mut() {
        Some(running) => running.await,
        None => std::future::pending().await,
    };
    *task = None;
    done.ok()
}

/// The earliest of the targets' dates, of those that ever answered.
fn now(engine: &Engine) -> Option<Timestamp> {
    engine.stores().values().filter_map(|store| store.now()).min()
}
