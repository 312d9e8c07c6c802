//! The whole stage at once: every service on its port, the consumer, and what a person or a test
//! may ask of them.

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
use crate::sandbox::keycard::{self, Keycard};
use crate::sandbox::line;
use crate::sandbox::secrets_manager::SecretsManager;
use crate::sandbox::world::World;

/// Where the sandbox's zone is when a declaration names none.
const ZONE: &str = "production";
/// Sandbox time between a consumer's rounds.
const CONSUMER_PAUSE: Duration = Duration::from_secs(30);
/// How long the consumer holds a value it read.
const CONSUMER_REFRESH: Duration = Duration::from_secs(300);

/// Ports on loopback; 0 for any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// The Secrets Manager (and STS).
    pub aws: u16,
    /// Keycard.
    pub keycard: u16,
    /// The control interface.
    pub control: u16,
}

/// What a declared credential needs to be there at its vendor.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The vendor's kind.
    pub vendor: String,
    /// Its zone, by slug; empty for the sandbox's own.
    pub zone: String,
    /// Its application, by slug.
    pub application: String,
}

/// A secret that the consumer reads and logs in with.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The secret's name.
    pub secret: String,
    /// The zone it logs in at, by slug; empty for the sandbox's own.
    pub zone: String,
    /// The key of the client id in the stored JSON.
    pub id_key: String,
    /// The key of the client secret.
    pub secret_key: String,
}

/// The running services. They end with the process.
pub struct Sandbox {
    /// Time, faults and the journal of calls.
    pub world: Arc<World>,
    /// The Secrets Manager.
    pub secrets_manager: Arc<SecretsManager>,
    /// Keycard.
    pub keycard: Arc<Keycard>,
    /// The sample consumer.
    pub consumer: Arc<Consumer>,
    aws: SocketAddr,
    keycard_address: SocketAddr,
    control: SocketAddr,
}

impl Sandbox {
    /// Starts every service; `clock` is their time, `real` this host's.
    ///
    /// # Errors
    /// When a port is taken.
    pub async fn start(ports: Ports, seed: u64, clock: Arc<dyn Clock>, real: Arc<dyn Clock>) -> io::Result<Self> {
        let aws = bind(ports.aws).await?;
        let vendor = bind(ports.keycard).await?;
        let controls = bind(ports.control).await?;
        let (aws_at, keycard_at, control_at) = (aws.local_addr()?, vendor.local_addr()?, controls.local_addr()?);
        let world = Arc::new(World::new(seed, Arc::clone(&clock), real));
        let keycard =
            Arc::new(Keycard::new(Arc::clone(&clock), Arc::clone(&world.faults), seed, format!("http://{keycard_at}")));
        keycard.seed_sandbox();
        let secrets_manager = Arc::new(SecretsManager::new(Arc::clone(&world)));
        let options = consumer::Options {
            secrets_endpoint: format!("http://{aws_at}"),
            region: "us-east-1".into(),
            access_key: "sandbox".into(),
            every: CONSUMER_PAUSE,
            refresh: CONSUMER_REFRESH,
        };
        let consumer = Arc::new(Consumer::new(clock, options));
        tokio::spawn(Arc::clone(&secrets_manager).serve(aws, std::future::pending()));
        tokio::spawn(keycard::serve(vendor, Arc::clone(&keycard), std::future::pending()));
        let control =
            control::router(Arc::clone(&secrets_manager)).merge(control::keycard_router(Arc::clone(&keycard)));
        tokio::spawn(line::serve(controls, control, std::future::pending()));
        Ok(Self {
            world,
            secrets_manager,
            keycard,
            consumer,
            aws: aws_at,
            keycard_address: keycard_at,
            control: control_at,
        })
    }

    /// Where the Secrets Manager listens.
    pub fn aws_address(&self) -> SocketAddr {
        self.aws
    }

    /// Every service's title and address, in the order of their ports.
    pub fn services(&self) -> [(&'static str, SocketAddr); 3] {
        [("Secrets Manager", self.aws), ("Keycard", self.keycard_address), ("control", self.control)]
    }

    /// Where the simulator of a vendor kind listens.
    pub fn vendor_address(&self, kind: &str) -> Option<SocketAddr> {
        (kind == keycard::SERVICE).then_some(self.keycard_address)
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
        if seed.vendor == keycard::SERVICE {
            self.keycard.seed_application(zone(&seed.zone), &seed.application);
        }
    }

    /// Has the consumer read and log in with these secrets.
    pub fn watch(&self, watched: impl IntoIterator<Item = Watched>) {
        for one in watched {
            if let Some(endpoint) = self.keycard.token_endpoint(zone(&one.zone)) {
                let watch =
                    Watch { id_key: one.id_key, secret_key: one.secret_key, ..Watch::new(one.secret, endpoint) };
                self.consumer.watch(watch);
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

fn zone(named: &str) -> &str {
    if named.is_empty() { ZONE } else { named }
}

async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("port {port} on 127.0.0.1: {error}")))
}
