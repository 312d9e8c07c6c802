//! The processes of a world: daemons, and the verbs that people type. Each is an engine that ships,
//! with everything below it, over the world's network.
//!
//! The daemon's loop here has the shape of the one that ships (`cli::run::work`): lists, visits what
//! is due, compares now and then. It is not that one, whose service manager, signals and scheduler
//! live in real time.
//!
//! | name of a violation | what a process did |
//! |---|---|
//! | `visit-without-end` | visited one credential for longer than any wait it may have |
//! | `verb-without-end` | typed by a person, it did not come back |
//! | `slow-emergency` | a leaked value was not replaced at once, though nothing that it needs was in trouble |
//! | `said-safe` | said that nothing older works while the leaked credential did |
//! | `panicked` | a visit ended in a bug |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyferry::config::Declaration;
use keyferry::engine::Engine;
use keyferry::engine::here::Here;
use keyferry::engine::pass::Sorted;
use keyferry::engine::pool::Pool;
use keyferry::engine::reconcile::{AskVendor, Visit, Visited};
use keyferry::model::attempt::Cause;
use keyferry::model::fault::Class;
use keyferry::model::name::{Name, TargetName, VendorId};
use keyferry::model::time::{Clock, Timestamp};
use keyferry::rotation::Step;
use keyferry::rotation::adopt::Allowed;
use keyferry::rotation::fleet::Urgency;
use keyferry::schedule;
use keyferry::vendors::http::Limits;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::net::{Net, Process, Wire};
use crate::services::SecretKey;
use crate::time::{HOUR, MINUTE};

/// No visit may take longer: the longest told wait is two minutes, there are three tries, and a visit
/// has at most forty steps.
const VISIT_MAX: Duration = Duration::from_secs(3_600);
/// No verb may take longer.
const VERB_MAX: Duration = Duration::from_secs(2 * 3_600);
/// A leaked value is replaced in this time where nothing that it needs is in trouble.
const EMERGENCY_MAX: Duration = Duration::from_secs(30);
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(200);
const UNREACHED_PAUSE: Duration = Duration::from_secs(30);

/// What a daemon is told.
pub enum Order {
    Reload(Arc<Declaration>),
    Stop,
}

/// How often a daemon looks; the real one's figures are five minutes and six hours.
#[derive(Clone, Copy, Debug)]
pub struct Cadence {
    pub list: Duration,
    pub compare: Duration,
}

/// A process that runs.
pub struct Running {
    pub process: Process,
    /// When it was started.
    pub since: Duration,
    pub handle: JoinHandle<()>,
    pub orders: mpsc::Sender<Order>,
    pub engine: Arc<Mutex<Option<Arc<Engine>>>>,
}

/// Opens an engine on the world's network.
pub async fn open(net: &Arc<Net>, process: Process, declaration: &Arc<Declaration>) -> Arc<Engine> {
    let wire = Wire { net: Arc::clone(net), process };
    let clock: Arc<dyn Clock> = Arc::new(net.services.time.clone());
    let engine = Engine::over(Some(Arc::new(wire)), Arc::clone(declaration), clock, Limits::default()).await;
    Arc::new(engine.expect("nothing that opening needs is missing"))
}

/// Starts a daemon.
pub fn daemon(net: &Arc<Net>, process: Process, declaration: &Arc<Declaration>, cadence: Cadence) -> Running {
    let (orders, told) = mpsc::channel(8);
    let engine = Arc::new(Mutex::new(None));
    let since = net.services.time.elapsed();
    let (net, declaration, shown) = (Arc::clone(net), Arc::clone(declaration), Arc::clone(&engine));
    let handle = tokio::spawn(async move {
        let opened = open(&net, process, &declaration).await;
        *shown.lock().unwrap() = Some(Arc::clone(&opened));
        Daemon::new(net, process, opened, shown, cadence).run(told).await;
    });
    Running { process, since, handle, orders, engine }
}

enum Event {
    Landed(Box<keyferry::engine::pool::Landed>),
    Listed(Arc<Engine>, TargetName, Sorted),
    Ordered(Option<Order>),
    Woken,
}

struct Daemon {
    net: Arc<Net>,
    process: Process,
    engine: Arc<Engine>,
    shown: Arc<Mutex<Option<Arc<Engine>>>>,
    cadence: Cadence,
    pool: Pool,
    listings: Here<'static, (Arc<Engine>, TargetName, Sorted)>,
    list_at: BTreeMap<TargetName, Duration>,
    listing: BTreeSet<TargetName>,
    compared: Duration,
    look_at: Duration,
    begun: BTreeMap<Name, Instant>,
}

impl Daemon {
    fn new(
        net: Arc<Net>,
        process: Process,
        engine: Arc<Engine>,
        shown: Arc<Mutex<Option<Arc<Engine>>>>,
        cadence: Cadence,
    ) -> Self {
        let compared = engine.clock().monotonic();
        Self {
            net,
            process,
            engine,
            shown,
            cadence,
            pool: Pool::default(),
            listings: Here::default(),
            list_at: BTreeMap::new(),
            listing: BTreeSet::new(),
            compared,
            look_at: Duration::ZERO,
            begun: BTreeMap::new(),
        }
    }

    fn elapsed(&self) -> Duration {
        self.engine.clock().monotonic()
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            if self.elapsed() >= self.look_at {
                self.look();
            }
            self.pool.begin();
            self.watch_visits();
            match self.next(&mut orders).await {
                Event::Landed(landed) => self.landed(*landed),
                Event::Listed(engine, target, sorted) => self.listed(&engine, &target, sorted),
                Event::Ordered(Some(Order::Reload(declaration))) => self.reload(declaration).await,
                Event::Ordered(Some(Order::Stop) | None) => break,
                Event::Woken => self.look_at = Duration::ZERO,
            }
        }
        self.drain().await;
    }

    async fn next(&mut self, orders: &mut mpsc::Receiver<Order>) -> Event {
        let wait = self.look_at.saturating_sub(self.elapsed()).min(20 * MINUTE);
        tokio::select! {
            biased;
            order = orders.recv() => Event::Ordered(order),
            Some(landed) = self.pool.landed() => Event::Landed(Box::new(landed)),
            (engine, target, sorted) = self.listings.next() => Event::Listed(engine, target, sorted),
            () = tokio::time::sleep(wait) => Event::Woken,
        }
    }

    fn look(&mut self) {
        let elapsed = self.elapsed();
        let declaration = Arc::clone(self.engine.declaration());
        for target in declaration.targets.keys() {
            let due = self.list_at.get(target).is_none_or(|at| *at <= elapsed);
            if due && self.listing.insert(target.clone()) {
                self.list_at.insert(target.clone(), elapsed + self.cadence.list);
                let (engine, target) = (Arc::clone(&self.engine), target.clone());
                self.listings.add(async move {
                    let sorted = engine.sort_target(&target).await;
                    (engine, target, sorted)
                });
            }
        }
        if elapsed.saturating_sub(self.compared) >= self.cadence.compare {
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
    }

    fn look_before(&mut self, date: Timestamp) {
        if let Some(now) = now(&self.engine) {
            let wait = date.since(now).clamp(LOOK_PAUSE_MIN, self.cadence.list);
            self.look_at = self.look_at.min(self.elapsed() + wait);
        }
    }

    fn listed(&mut self, engine: &Arc<Engine>, target: &TargetName, sorted: Sorted) {
        if !Arc::ptr_eq(engine, &self.engine) {
            return;
        }
        self.listing.remove(target);
        if self.engine.board().unreachable().contains_key(target) {
            self.list_at.insert(target.clone(), self.elapsed() + UNREACHED_PAUSE);
        }
        for credential in &sorted.wanted {
            let urgency = self.engine.urgency(&credential.name, None);
            self.pool.ask(&self.engine, credential, Visit::default(), urgency);
        }
        self.look_at = Duration::ZERO;
    }

    fn landed(&mut self, landed: keyferry::engine::pool::Landed) {
        let name = &landed.credential.name;
        self.begun.remove(name);
        self.net.note(&format!("p{} visited {name}: {}", self.process, told(&landed.visited)));
        look_for_bugs(&self.net, name, &landed.visited);
        if Arc::ptr_eq(&landed.engine, &self.engine) {
            for follower in landed.engine.followers_after(name, &landed.visited) {
                self.pool.ask(&self.engine, &follower, Visit::default(), Urgency::Begun);
            }
            if let Some(date) = landed.visited.status.look_again {
                self.look_before(date);
            }
        } else if let Some(credential) = self.engine.declared(name) {
            self.pool.ask(&self.engine, credential, Visit::default(), Urgency::Begun);
        }
    }

    async fn reload(&mut self, declaration: Arc<Declaration>) {
        let next = Arc::new(self.engine.reopen(declaration).await);
        let before = std::mem::replace(&mut self.engine, next);
        self.pool.forget_waiting();
        before.replaced_by(&self.engine);
        self.list_at.clear();
        self.listing.clear();
        self.look_at = Duration::ZERO;
        *self.shown.lock().unwrap() = Some(Arc::clone(&self.engine));
    }

    /// As the real one: begins nothing new, and gives what is under way a minute and a quarter.
    async fn drain(&mut self) {
        self.engine.stop();
        self.pool.forget_waiting();
        self.listings.clear();
        let over = Instant::now() + Duration::from_secs(75);
        while let Ok(Some(landed)) = tokio::time::timeout_at(over, self.pool.landed()).await {
            self.net.note(&format!("p{} stopped {}: {}", self.process, landed.credential.name, told(&landed.visited)));
        }
    }

    fn watch_visits(&mut self) {
        for name in self.pool.running() {
            self.begun.entry(name.clone()).or_insert_with(Instant::now);
        }
        let running = self.pool.running();
        self.begun.retain(|name, _| running.contains(name));
        let late = self.begun.iter().find(|(_, since)| since.elapsed() > VISIT_MAX);
        if let Some((name, since)) = late {
            let text = format!("p{}: {name} has been visited for {:?}", self.process, since.elapsed());
            self.net.judge.lock().unwrap().violate("visit-without-end", text);
            let name = name.clone();
            self.begun.insert(name, Instant::now());
        }
    }
}

/// The earliest of the targets' dates, of those that ever answered.
fn now(engine: &Engine) -> Option<Timestamp> {
    engine.stores().values().filter_map(|store| store.now()).min()
}

/// What a visit found and did, in one line.
fn told(visited: &Visited) -> String {
    let steps: Vec<&str> = visited.steps.iter().map(|(step, _)| step.word()).collect();
    let fault = visited.status.fault.as_ref().map(|fault| format!(" ({fault})")).unwrap_or_default();
    let next = visited.status.look_again.map(|date| format!(", again {date}")).unwrap_or_default();
    format!("{} {:?}{fault} [{}]{next}", visited.status.word(), visited.status.reason, steps.join(" "))
}

fn look_for_bugs(net: &Net, name: &Name, visited: &Visited) {
    if let Some(fault) = visited.status.fault.as_ref().filter(|fault| fault.class == Class::Bug) {
        net.judge.lock().unwrap().violate("panicked", format!("{name}: {fault}"));
    }
}

/// `once`: passes over the fleet until nothing is left to do now.
pub async fn once(net: Arc<Net>, process: Process, declaration: Arc<Declaration>) {
    let began = Instant::now();
    let all = async {
        let engine = open(&net, process, &declaration).await;
        let sorted = engine.sort().await;
        let visited = engine.visit_all(sorted.wanted, Visit::default(), |_, _| {}).await;
        for (name, one) in &visited {
            net.note(&format!("p{process} once {name}: {}", told(one)));
            look_for_bugs(&net, name, one);
        }
    };
    if tokio::time::timeout(VERB_MAX, all).await.is_err() {
        let text = format!("once has run for {:?}", began.elapsed());
        net.judge.lock().unwrap().violate("verb-without-end", text);
    }
}

/// `adopt NAME ID`, with the id of what is current.
pub async fn adopt(net: Arc<Net>, process: Process, declaration: Arc<Declaration>, key: SecretKey) {
    let owner = {
        let mut judge = net.judge.lock().unwrap();
        let owner = judge.secrets[&key].owners.values().next().cloned();
        let Some(owner) = owner else { return };
        // Whatever comes of it, it is keyferry's from now on, if keyferry takes it.
        if let Some(credential) = judge.credentials.get_mut(&owner) {
            credential.ours = true;
        }
        owner
    };
    let (name, id) = (Name::new(&key.1).expect("a declared name"), VendorId::new(&owner.1).expect("a vendor's id"));
    let all = async {
        let engine = open(&net, process, &declaration).await;
        let Some(credential) = engine.declared(&name).cloned() else { return };
        let adopted = engine.adopt(&credential, &id, Allowed { unproved: true, shape_change: true }).await;
        let said = match adopted {
            Ok(Ok(_)) => "done".into(),
            Ok(Err(refused)) => format!("refused: {refused}"),
            Err(undone) => format!("undone: {}", undone.fault),
        };
        net.note(&format!("p{process} adopt {name}: {said}"));
    };
    if tokio::time::timeout(VERB_MAX, all).await.is_err() {
        net.judge.lock().unwrap().violate("verb-without-end", format!("adopt {}", key.1));
    }
}

/// `rotate NAME`, or with `--leaked`.
pub async fn rotate(net: Arc<Net>, process: Process, declaration: Arc<Declaration>, key: SecretKey, leaked: bool) {
    let began = Instant::now();
    let calm = |net: &Net| {
        let judge = net.judge.lock().unwrap();
        let one = judge.secrets[&key].one.as_ref().expect("it is declared");
        judge.is_calm(&one.vendor) && judge.is_calm(&one.target)
    };
    let (calm_before, mut old) = (calm(&net), Vec::new());
    if leaked {
        let mut judge = net.judge.lock().unwrap();
        let owners: Vec<_> = judge.secrets[&key].owners.values().cloned().collect();
        old.extend(owners.iter().filter(|one| judge.credentials.get(*one).is_some_and(|one| one.current)).cloned());
        judge.secrets.get_mut(&key).expect("it is there").leaked.extend(owners);
    }
    let name = Name::new(&key.1).expect("a declared name");
    let all = async {
        let engine = open(&net, process, &declaration).await;
        let Some(credential) = engine.declared(&name).cloned() else { return };
        let cause = if leaked { Cause::Leaked } else { Cause::Asked };
        let visit = Visit { request: Some(cause), ..Visit::default() };
        let visited = engine.visit_all(vec![credential], visit, |_, _| {}).await;
        for (name, one) in &visited {
            net.note(&format!("p{process} rotate {name} (leaked: {leaked}): {}", told(one)));
            look_for_bugs(&net, name, one);
        }
        if let Some(one) = visited.get(&name).filter(|one| said_safe(one)) {
            let mut judge = net.judge.lock().unwrap();
            let alive = old.iter().find(|key| judge.credentials[*key].died.is_none()).cloned();
            if let Some((vendor, id)) = alive {
                let steps = one.steps.len();
                judge.violate("said-safe", format!("{name}: {id} still works at {vendor} (after {steps} steps)"));
            }
        }
    };
    let ended = tokio::time::timeout(VERB_MAX, all).await.is_ok();
    let (took, calm) = (began.elapsed(), calm_before && calm(&net));
    let mut judge = net.judge.lock().unwrap();
    if !ended {
        judge.violate("verb-without-end", format!("rotate {} has run for {took:?}", key.1));
    }
    if leaked && calm && took > EMERGENCY_MAX {
        judge.violate("slow-emergency", format!("rotate {} --leaked took {took:?}", key.1));
    }
}

/// What `rotate --leaked` prints as SAFE.
fn said_safe(visited: &Visited) -> bool {
    let publishes = |step: &Step| matches!(step, Step::Promote { .. } | Step::Mint { first: true, .. });
    let rotated = visited.status.fault.is_none() && visited.steps.iter().any(|(step, _)| publishes(step));
    rotated && visited.leaked.as_ref().is_some_and(|outlook| outlook.live == 0 && !outlook.exposed)
}

/// Long enough for a daemon to have seen whatever was done to a credential.
pub fn promise(cadence: Cadence) -> Duration {
    cadence.compare + cadence.list + HOUR
}
