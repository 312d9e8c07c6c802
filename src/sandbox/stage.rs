//! The whole stage at once: every service on its port, the consumer, and what a person or a test
//! may ask of them.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::model::time::Clock;
use crate::sandbox::consumer::{self, Consumer, Watch};
use crate::sandbox::control;
use crate::sandbox::faults::Rule;
use crate::sandbox::gate;
use crate::sandbox::keycard::Keycard;
use crate::sandbox::line;
use crate::sandbox::secrets_manager::{self, SecretsManager};
use crate::sandbox::simulator::{self, Seed, Setting, Simulator};
use crate::sandbox::world::World;

/// Sandbox time between a consumer's rounds.
const CONSUMER_PAUSE: Duration = Duration::from_secs(30);
/// How long the consumer holds a value it read.
const CONSUMER_REFRESH: Duration = Duration::from_secs(300);

/// Ports on loopback; 0 for any.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// The Secrets Manager.
    pub aws: u16,
    /// The Security Token Service.
    pub sts: u16,
    /// Each vendor's, by kind; any for one that is not named.
    pub vendors: BTreeMap<String, u16>,
    /// The control interface.
    pub control: u16,
}

/// A secret that the consumer reads and logs in with.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The secret's name.
    pub secret: String,
    /// The credential in it.
    pub seed: Seed,
    /// By output name, the key in the stored JSON under which it stands alone; empty for a value
    /// that is this output and nothing else.
    pub keys: BTreeMap<String, String>,
}

/// The running services. They end with the process.
pub struct Sandbox {
    /// Time, faults and the journal of calls.
    pub world: Arc<World>,
    /// The Secrets Manager.
    pub secrets_manager: Arc<SecretsManager>,
    /// The sample consumer.
    pub consumer: Arc<Consumer>,
    vendors: Vec<Running>,
    aws: SocketAddr,
    sts: SocketAddr,
    control: SocketAddr,
}

/// A vendor's simulator and where it listens.
struct Running {
    spec: &'static simulator::Spec,
    simulator: Arc<dyn Simulator>,
    address: SocketAddr,
}

impl Sandbox {
    /// Starts every service; `clock` is their time, `real` this host's.
    ///
    /// # Errors
    /// When a port is taken.
    pub async fn start(ports: Ports, seed: u64, clock: Arc<dyn Clock>, real: Arc<dyn Clock>) -> io::Result<Self> {
        let aws = bind(ports.aws).await?;
        let sts = bind(ports.sts).await?;
        let controls = bind(ports.control).await?;
        let (aws_at, sts_at, control_at) = (aws.local_addr()?, sts.local_addr()?, controls.local_addr()?);
        let world = Arc::new(World::new(seed, Arc::clone(&clock), real));
        let secrets_manager = Arc::new(SecretsManager::new(Arc::clone(&world)));
        let mut control = control::router(Arc::clone(&secrets_manager));
        let mut vendors = Vec::new();
        for spec in crate::sandbox::ALL.iter().copied() {
            let listener = bind(ports.vendors.get(spec.kind).copied().unwrap_or(0)).await?;
            let address = listener.local_addr()?;
            let simulator = (spec.start)(Setting {
                clock: Arc::clone(&clock),
                faults: Arc::clone(&world.faults),
                seed,
                base_url: format!("http://{address}"),
            });
            control = control.nest(&format!("/{}", spec.kind), Arc::clone(&simulator).control());
            let serving = line::serve(listener, Arc::clone(&simulator).router(), std::future::pending());
            tokio::spawn(gate::behind(Arc::clone(&world.gate), spec.kind, serving));
            vendors.push(Running { spec, simulator, address });
        }
        let options = consumer::Options {
            secrets_endpoint: format!("http://{aws_at}"),
            region: "us-east-1".into(),
            access_key: "sandbox".into(),
            every: CONSUMER_PAUSE,
            refresh: CONSUMER_REFRESH,
        };
        let consumer = Arc::new(Consumer::new(clock, options));
        let serving = Arc::clone(&secrets_manager).serve(aws, std::future::pending());
        tokio::spawn(gate::behind(Arc::clone(&world.gate), secrets_manager::SERVICE, serving));
        let serving = line::serve(sts, Arc::clone(&secrets_manager).sts_router(), std::future::pending());
        tokio::spawn(gate::behind(Arc::clone(&world.gate), secrets_manager::SERVICE, serving));
        tokio::spawn(line::serve(controls, control, std::future::pending()));
        Ok(Self { world, secrets_manager, consumer, vendors, aws: aws_at, sts: sts_at, control: control_at })
    }

    /// Where the Secrets Manager listens.
    pub fn aws_address(&self) -> SocketAddr {
        self.aws
    }

    /// Where the Security Token Service listens.
    pub fn sts_address(&self) -> SocketAddr {
        self.sts
    }

    /// Every service's title and address, in the order of their usual ports.
    pub fn services(&self) -> Vec<(&'static str, SocketAddr)> {
        let mut services = vec![("Secrets Manager", self.aws), ("STS", self.sts)];
        services.extend(self.vendors.iter().map(|one| (one.spec.title, one.address)));
        services.push(("control", self.control));
        services
    }

    /// Where the simulator of a vendor kind listens.
    pub fn vendor_address(&self, kind: &str) -> Option<SocketAddr> {
        self.running(kind).map(|one| one.address)
    }

    /// The simulator of a vendor kind.
    pub fn vendor(&self, kind: &str) -> Option<&Arc<dyn Simulator>> {
        self.running(kind).map(|one| &one.simulator)
    }

    /// Every vendor's simulator.
    pub fn vendors(&self) -> impl Iterator<Item = &Arc<dyn Simulator>> {
        self.vendors.iter().map(|one| &one.simulator)
    }

    /// The pretend Keycard.
    ///
    /// # Panics
    /// Never: it is in the list.
    pub fn keycard(&self) -> &Keycard {
        self.find().expect("Keycard is in the list of simulators")
    }

    /// The simulator of this type, for what only that vendor has.
    pub fn find<S: Simulator>(&self) -> Option<&S> {
        self.vendors.iter().find_map(|one| (&*one.simulator as &dyn Any).downcast_ref())
    }

    fn running(&self, kind: &str) -> Option<&Running> {
        self.vendors.iter().find(|one| one.spec.kind == kind)
    }

    /// Where the control interface listens.
    pub fn control_address(&self) -> SocketAddr {
        self.control
    }

    /// Adds a fault.
    pub fn add_fault(&self, rule: Rule) {
        self.world.faults.lock().expect("no holder of this lock panics").add(rule);
    }

    /// Makes what a declared credential needs at its vendor.
    pub fn seed(&self, seed: &Seed) {
        if let Some(vendor) = self.vendor(&seed.vendor) {
            vendor.seed(seed);
        }
    }

    /// Has the consumer read and log in with these secrets. One that nobody can log in with, or
    /// whose value does not show the pieces that a login takes, is not for this consumer.
    pub fn watch(&self, watched: impl IntoIterator<Item = Watched>) {
        for one in watched {
            let login = self.vendor(&one.seed.vendor).and_then(|vendor| vendor.login(&one.seed));
            let login = login.and_then(|login| login.renamed(|piece| one.keys.get(piece).cloned()));
            if let Some(login) = login {
                self.consumer.watch(Watch { secret: one.secret, login });
            }
        }
    }

    /// Lets the consumer work until the handle is aborted.
    pub fn start_consumer(&self) -> JoinHandle<()> {
        tokio::spawn(consumer::run(Arc::clone(&self.consumer), std::future::pending()))
    }

    /// Logins and failures of the consumer so far.
    pub fn consumed(&self) -> (u64, u64) {
        (self.consumer.tally().iter().map(|one| one.logins).sum(), self.consumer.failure_count())
    }
}

async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("port {port} on 127.0.0.1: {error}")))
}
