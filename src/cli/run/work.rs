//! The daemon's loop: lists the fleet now and then, visits what is due, obeys orders. It waits for
//! nothing: what hangs, hangs in a task of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cli::code;
use crate::cli::run::{Daemon, Order};
use crate::clock::{HostClock, since_start};
use crate::engine::Engine;
use crate::engine::here::Here;
use crate::engine::pass::Sorted;
use crate::engine::pool::{Landed, Pool};
use crate::engine::reconcile::{AskVendor, Visit, Visited};
use crate::model::credential::Credential;
use crate::model::name::{Name, TargetName, VendorName};
use crate::model::time::{Clock, Timestamp};
use crate::rotation::fleet::Urgency;
use crate::schedule::{self, Ticker};
use crate::serve::Row;

/// How often the fleet is listed, to see what others did: a rollback, a pause, another replica.
const FLEET_PAUSE: Duration = Duration::from_secs(300);
/// How soon a target that could not be listed is listed again: at boot the network may come late.
const UNREACHED_PAUSE: Duration = Duration::from_secs(30);
/// How often each credential is compared with its vendor's listing.
const DRIFT_PAUSE: Duration = Duration::from_secs(6 * 3_600);
/// Shortest wait between looks at what is due.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(200);
/// After this much real time the start counts as over, whatever has not answered yet.
const START_MAX: Duration = Duration::from_secs(60);
/// Real time in which a stop must be over: less than the service manager's patience.
const DRAIN_MAX: Duration = Duration::from_secs(75);
/// How long an attempt of a credential that is declared no more is looked after: a candidate is
/// given up after an hour.
const LEAVING_MAX: Duration = Duration::from_secs(2 * 3_600);

/// What the loop waits for.
enum Event {
    Landed(Box<Landed>),
    Listed(Arc<Engine>, TargetName, Sorted),
    Reread(Result<Arc<Engine>, String>),
    Ordered(Order),
    Woken,
}

/// What has to be heard of before the daemon calls itself started.
struct Start {
    told: bool,
    passed: bool,
    targets: BTreeSet<TargetName>,
    vendors: BTreeSet<VendorName>,
    asked: BTreeSet<Name>,
    wanted: BTreeSet<Name>,
}

impl Start {
    fn new(engine: &Engine) -> Self {
        let declared = &engine.declaration().credentials;
        Self {
            told: false,
            passed: false,
            targets: engine.stores().keys().cloned().collect(),
            vendors: declared.iter().map(|one| one.vendor.clone()).collect(),
            asked: BTreeSet::new(),
            wanted: BTreeSet::new(),
        }
    }
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
    ticker: Ticker,
    pool: Pool,
    listings: Here<'static, (Arc<Engine>, TargetName, Sorted)>,
    /// When each target is listed next; being listed now.
    list_at: BTreeMap<TargetName, Duration>,
    listing: BTreeSet<TargetName>,
    compared: Duration,
    look_at: Duration,
    start: Start,
    last: BTreeMap<Name, Last>,
    rereading: Option<JoinHandle<Result<Arc<Engine>, String>>>,
    /// Told to reload while reading: the file may have changed since.
    reread_again: bool,
    /// What was told of each credential that is not fine.
    told: BTreeMap<Name, String>,
    status: String,
}

impl Work {
    pub(super) async fn new(daemon: Daemon) -> anyhow::Result<Self> {
        let engine = Arc::clone(&daemon.engine.borrow());
        let clock = Arc::clone(engine.clock());
        Ok(Self {
            ticker: Ticker::start().await.context("starting the scheduler")?,
            compared: clock.monotonic(),
            look_at: Duration::ZERO,
            start: Start::new(&engine),
            real: HostClock::real(),
            pool: Pool::default(),
            listings: Here::default(),
            list_at: BTreeMap::new(),
            listing: BTreeSet::new(),
            last: BTreeMap::new(),
            rereading: None,
            reread_again: false,
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
                Event::Reread(read) => self.reread(read),
                Event::Ordered(Order::Reload) => self.reload(),
                Event::Ordered(Order::Stop) => break,
                Event::Woken => self.look_at = Duration::ZERO,
            }
        }
        self.drain(&mut orders).await;
        self.ticker.stop().await;
        Ok(())
    }

    async fn next(&mut self, orders: &mut mpsc::Receiver<Order>) -> Event {
        let wait = self.look_at.saturating_sub(self.clock.monotonic());
        let clock = Arc::clone(&self.clock);
        // However little there is to do, the loop shows that it turns.
        let sign_of_life = self.daemon.health.silence_max() / 4;
        let read = async {
            match self.rereading.as_mut() {
                Some(reading) => reading.await.unwrap_or_else(|_| Err("opening it failed, a bug of keyferry".into())),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => Event::Ordered(order.unwrap_or(Order::Stop)),
            read = read => Event::Reread(read),
            Some(landed) = self.pool.landed() => Event::Landed(Box::new(landed)),
            (engine, target, sorted) = self.listings.next() => Event::Listed(engine, target, sorted),
            () = clock.sleep(wait) => Event::Woken,
            // A second, independent wake-up: a clock that jumped is noticed by the next one.
            () = self.ticker.tick() => Event::Woken,
            () = self.real.sleep(sign_of_life) => Event::Woken,
        }
    }

    /// Begins the listings that are due and asks for the visits that are.
    fn look(&mut self) {
        let elapsed = self.clock.monotonic();
        let declaration = Arc::clone(self.engine.declaration());
        for target in declaration.targets.keys() {
            let due = self.list_at.get(target).is_none_or(|at| *at <= elapsed);
            if due && self.listing.insert(target.clone()) {
                self.list_at.insert(target.clone(), elapsed + FLEET_PAUSE);
                let (engine, target) = (Arc::clone(&self.engine), target.clone());
                self.listings.add(async move {
                    let sorted = engine.sort_target(&target).await;
                    (engine, target, sorted)
                });
            }
        }
        if elapsed.saturating_sub(self.compared) >= DRIFT_PAUSE {
            self.compared = elapsed;
            let visit = Visit { vendor: AskVendor::Always, ..Visit::default() };
            for credential in &declaration.credentials {
                self.pool.ask(&self.engine, credential, visit, Urgency::Routine);
            }
        }
        self.look_at = self.list_at.values().copied().min().unwrap_or_default().max(elapsed + LOOK_PAUSE_MIN);
        if let Some(now) = now(&self.engine) {
            let (due, next) = self.engine.board().with(|all| schedule::plan(all, now, |name| self.pool.has(name)));
            for name in due {
                if let Some(credential) = self.engine.declared(&name) {
                    self.pool.ask(&self.engine, credential, Visit::default(), self.engine.urgency(&name, None));
                }
            }
            if let Some(next) = next {
                self.look_before(next);
            }
        }
        self.look_after_last();
        self.tell_status();
    }

    /// Looks again at this date at the latest.
    fn look_before(&mut self, date: Timestamp) {
        if let Some(now) = now(&self.engine) {
            let wait = date.since(now).clamp(LOOK_PAUSE_MIN, FLEET_PAUSE);
            self.look_at = self.look_at.min(self.clock.monotonic() + wait);
        }
    }

    fn listed(&mut self, engine: &Arc<Engine>, target: &TargetName, sorted: Sorted) {
        if !Arc::ptr_eq(engine, &self.engine) {
            return;
        }
        self.listing.remove(target);
        self.start.targets.remove(target);
        match self.engine.board().unreachable().get(target) {
            Some(fault) => {
                tracing::warn!(%target, hint = fault.hint, "{fault}");
                self.list_at.insert(target.clone(), self.clock.monotonic() + UNREACHED_PAUSE);
            }
            None => self.ask_vendors(target),
        }
        for credential in &sorted.wanted {
            let urgency = self.engine.urgency(&credential.name, None);
            self.pool.ask(&self.engine, credential, Visit::default(), urgency);
            if !self.start.passed {
                self.start.wanted.insert(credential.name.clone());
            }
        }
        self.look_at = Duration::ZERO;
    }

    /// At the start every vendor is asked once, so that `ready` means that all of them answered.
    fn ask_vendors(&mut self, target: &TargetName) {
        if self.start.vendors.is_empty() {
            return;
        }
        let visit = Visit { vendor: AskVendor::Always, ..Visit::default() };
        let here = |one: &&Arc<Credential>| one.destination.target == *target;
        for credential in self.engine.declaration().credentials.iter().filter(here) {
            if self.start.vendors.remove(&credential.vendor) {
                self.start.asked.insert(credential.name.clone());
                self.start.wanted.insert(credential.name.clone());
                self.pool.ask(&self.engine, credential, visit, Urgency::Begun);
            }
        }
    }

    fn landed(&mut self, landed: Landed) {
        let Landed { engine, credential, visited, .. } = landed;
        let name = &credential.name;
        self.tell(name, &visited);
        if Arc::ptr_eq(&engine, &self.engine) {
            self.start.asked.remove(name);
            self.start.wanted.remove(name);
            for follower in engine.followers_after(name, &visited) {
                self.pool.ask(&self.engine, &follower, Visit::default(), Urgency::Begun);
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
        if let Some(credential) = self.engine.declared(name) {
            self.pool.ask(&self.engine, credential, Visit::default(), Urgency::Begun);
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

    fn reload(&mut self) {
        let Some(reread) = self.daemon.reread.clone() else { return };
        if self.rereading.is_some() {
            self.reread_again = true;
            return;
        }
        let now = since_start().as_micros();
        self.daemon.manager.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reading the declaration again"));
        self.rereading = Some(tokio::spawn(reread.read(Arc::clone(&self.engine))));
    }

    fn reread(&mut self, read: Result<Arc<Engine>, String>) {
        self.rereading = None;
        match read {
            Ok(next) => {
                self.daemon.health.declared(Ok(()));
                self.go_on_with(next);
            }
            Err(why) => {
                tracing::error!("the declaration on disk is not in force, the last good one is: {why}");
                self.daemon.health.declared(Err(why));
            }
        }
        self.status.clear();
        self.tell_status();
        if self.start.told {
            self.daemon.manager.tell("READY=1");
        }
        if std::mem::take(&mut self.reread_again) {
            self.reload();
        }
    }

    /// Another declaration is in force. Visits under way finish under the one they began with.
    fn go_on_with(&mut self, next: Arc<Engine>) {
        let before = std::mem::replace(&mut self.engine, next);
        self.pool.forget_waiting();
        let until = self.clock.monotonic() + LEAVING_MAX;
        for credential in before.replaced_by(&self.engine) {
            let status = before.board().get(&credential.name);
            let begun = status.is_none_or(|one| one.fault.is_some() || one.reason.is_mid_attempt());
            if begun || self.pool.runs(&credential.name) {
                let last = Last { engine: Arc::clone(&before), credential: Arc::clone(&credential), until };
                self.last.insert(credential.name.clone(), last);
            }
            tracing::info!(credential = %credential.name, "declared no more: left as it is, nothing is revoked");
        }
        let (told, passed) = (self.start.told, self.start.passed);
        self.start = Start { told, passed, ..Start::new(&self.engine) };
        self.told.retain(|name, _| self.engine.declared(name).is_some());
        self.list_at.clear();
        self.listing.clear();
        self.look_at = Duration::ZERO;
        self.daemon.engine.send_replace(Arc::clone(&self.engine));
        tracing::info!(
            credentials = self.engine.declaration().credentials.len(),
            under_way = self.pool.running().len(),
            "the declaration on disk is in force"
        );
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

    /// Whatever answered or did not: once everything was asked, the start is over.
    fn tell_start(&mut self) {
        let waits = !self.start.targets.is_empty() || !self.start.asked.is_empty();
        let late = self.real.monotonic() >= START_MAX;
        if !self.start.told && (!waits || late) {
            self.start.told = true;
            self.daemon.manager.tell("READY=1");
            tracing::info!(all_asked = !waits, "started");
        }
        if !self.start.passed && !waits && self.start.wanted.is_empty() {
            self.start.passed = true;
            self.daemon.health.passed();
            self.tell_status();
        }
    }

    /// One line for the service manager, when it changed.
    fn tell_status(&mut self) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        self.engine.board().with(|all| all.values().for_each(|one| *counts.entry(one.word()).or_default() += 1));
        let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
        let unreachable = self.engine.board().unreachable();
        let mut line = if counts.is_empty() { "looking at the fleet".to_owned() } else { counts.join(", ") };
        if !unreachable.is_empty() {
            let names: Vec<_> = unreachable.keys().map(ToString::to_string).collect();
            line.push_str(&format!("; no answer from target {}", names.join(", ")));
        }
        if let Some(why) = self.daemon.health.in_force().refused {
            line.push_str(&format!("; the declaration on disk is NOT in force: {why}"));
        }
        if line != self.status {
            self.daemon.manager.status(&line);
            self.status = line;
        }
    }

    fn tell(&mut self, name: &Name, visited: &Visited) {
        let row = Row::new(name, &visited.status);
        if visited.status.exit_code() == code::FINE {
            if self.told.remove(name).is_some() {
                tracing::info!(credential = %name, state = row.state, "{}", row.message);
            }
        } else if visited.status.fault.is_some() || self.told.get(name) != Some(&row.message) {
            // What waits for a person is said once; what fails, each time it is tried.
            tracing::warn!(credential = %name, state = row.state, hint = row.hint, "{}", row.message);
            self.told.insert(name.clone(), row.message);
        }
    }
}

/// The earliest of the targets' dates, of those that ever answered.
fn now(engine: &Engine) -> Option<Timestamp> {
    engine.stores().values().filter_map(|store| store.now()).min()
}
