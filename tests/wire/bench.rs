//! keyferry's own clients, one vendor's driver and the store, with a relay between each and its service.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use keyferry::clock::HostClock;
use keyferry::config::{self, Declaration};
use keyferry::model::attempt::{Attempt, Mark};
use keyferry::model::credential::Destination;
use keyferry::model::fault::Fault;
use keyferry::model::name::{Arn, SecretName, VendorId};
use keyferry::model::option::Value as Setting;
use keyferry::model::secret::{Keyring, Read, SecretValue};
use keyferry::model::time::{Clock, Sleep, Timestamp};
use keyferry::sandbox::simulator::Seed;
use keyferry::sandbox::stage::{Ports, Sandbox};
use keyferry::stores::aws::{Owner, Pacing, Store};
use keyferry::vendors::{Ended, Grounds, Instance, Place, Vendor, http};

use crate::relay::Relay;
use tokio_rustls::TlsAcceptor;

/// Text in every secret of the pretend vendors.
pub const CANARY: &str = "kfcanary";
/// Where the services' time begins.
const START_SECONDS: i64 = 1_795_000_000;

/// So much faster than this host's clock is the services', and that of a process which is told so.
pub const SPEED: u32 = 10;

/// Time that passes by itself, and leaps where somebody sleeps.
struct LeapClock {
    host: HostClock,
    leapt_ms: AtomicU64,
}

impl Clock for LeapClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_seconds(START_SECONDS).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.host.monotonic() + Duration::from_millis(self.leapt_ms.load(Ordering::SeqCst))
    }

    fn sleep(&self, span: Duration) -> Sleep<'_> {
        self.leapt_ms.fetch_add(u64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
        Box::pin(tokio::task::yield_now())
    }
}

/// The sandbox's admin secrets are this word, all of them.
struct Sandboxed;

impl Keyring for Sandboxed {
    fn read<'a>(&'a self, _: &'static str) -> Read<'a> {
        Box::pin(std::future::ready(Ok(SecretValue::new("sandbox"))))
    }
}

/// The services.
pub struct Services {
    pub sandbox: Sandbox,
    clock: Arc<LeapClock>,
}

impl Services {
    pub async fn start() -> Self {
        let host = HostClock::at_speed(f64::from(SPEED));
        let clock = Arc::new(LeapClock { host, leapt_ms: AtomicU64::new(0) });
        let services: Arc<dyn Clock> = clock.clone();
        let sandbox = Sandbox::start(Ports::default(), 1, Arc::clone(&services), services).await.unwrap();
        Self { sandbox, clock }
    }

    /// A relay in front of a vendor, or of AWS.
    pub async fn relay(&self, service: &str, tls: Option<TlsAcceptor>) -> Relay {
        let upstream = match service {
            "aws" => self.sandbox.aws_address(),
            kind => self.sandbox.vendor_address(kind).unwrap(),
        };
        Relay::before(upstream, tls).await
    }

    /// Lets time pass for everybody but this host.
    pub async fn pass(&self, span: Duration) {
        self.clock.sleep(span).await;
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
}

/// What the table below says of each vendor: its settings, and one credential's.
pub fn declared(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "keycard" => (
            "zone = \"production\"\nclient_id = { sandbox = true }\nclient_secret = { sandbox = true }\n",
            "type = \"password\"\napplication = \"app\"\n",
        ),
        "workos" => (
            "api_key = { sandbox = true }\n",
            "type = \"client-secret\"\napplication = \"app\"\nownership = \"exclusive\"\n",
        ),
        _ => ("token = { sandbox = true }\n", "type = \"user-token\"\nuser = \"app\"\n"),
    }
}

/// A declaration of one credential at a vendor. Where its services are is said afterwards: the
/// sandbox's secrets are for plain loopback addresses, and not every row has one.
fn declaration(kind: &str) -> Declaration {
    let (access, credential) = declared(kind);
    let nobody = "http://127.0.0.1:1";
    let text = format!(
        "deployment = \"test\"\n[aws]\nregion = \"us-east-1\"\ncredentials = \"sandbox\"\nendpoint_url = \"{nobody}\"\n\
         [vendors.{kind}]\nkind = \"{kind}\"\nbase_url = \"{nobody}\"\n{access}\
         [defaults]\nrotate = \"30d\"\n[defaults.secret]\nname = \"{{name}}\"\n\
         [[credential]]\nname = \"app\"\nvendor = \"{kind}\"\n{credential}"
    );
    config::load_text(&[("keyferry.toml", &text)])
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .declaration
}

/// One vendor's driver, fresh: it remembers nothing.
pub struct Driver {
    vendor: Arc<dyn Vendor>,
    declaration: Declaration,
    mark: Mark,
}

impl Driver {
    /// # Errors
    /// What `connect` says of it.
    pub fn open(services: &Services, kind: &str, base: &str, ca_file: Option<&Path>) -> Result<Self, Fault> {
        let declaration = declaration(kind);
        let instance = declaration.vendors.values().next().unwrap();
        let mut options = instance.options.clone();
        let field = instance.spec.fields.iter().find(|field| field.name == "base_url").unwrap();
        options.set(field, Setting::Text(base.into()));
        let moment = Duration::from_millis(1);
        let limits = http::Limits {
            // A row that waits for an answer waits so long; the others never do.
            total_timeout: Duration::from_millis(1_500),
            body_bytes_max: 64 << 10,
            tries_max: 2,
            backoff_first: moment,
            backoff_max: moment,
            retry_after_max: moment,
            ..http::Limits::default()
        };
        let vendor = (instance.spec.connect)(Instance {
            name: instance.name.clone(),
            options,
            keyring: Arc::new(Sandboxed),
            client: http::Client::with_limits(ca_file, limits)?,
            clock: services.clock(),
        })?;
        // Every driver makes another attempt.
        static ATTEMPTS: AtomicU32 = AtomicU32::new(1);
        let (arn, number) = (arn(), ATTEMPTS.fetch_add(1, Ordering::Relaxed));
        let driver = Self { vendor, declaration, mark: Mark::new(&arn, Attempt::derive(&arn, &None, number)) };
        let one = &driver.declaration.credentials[0];
        let (type_name, options) = (one.type_name.into(), one.options.clone());
        services.sandbox.seed(&Seed { vendor: kind.into(), type_name, options });
        Ok(driver)
    }

    fn place(&self) -> Place<'_> {
        let one = &self.declaration.credentials[0];
        Place { type_name: one.type_name, options: &one.options }
    }

    pub async fn list(&self) -> Result<Vec<VendorId>, Fault> {
        self.vendor.list(self.place()).await.map(|listing| listing.credentials.into_iter().map(|one| one.id).collect())
    }

    pub async fn create(&self) -> Result<VendorId, Fault> {
        self.vendor.create(self.place(), &self.mark).await.map(|minted| minted.id)
    }

    pub async fn revoke(&self, id: &VendorId) -> Result<Ended, Fault> {
        self.vendor.revoke(self.place(), id, Grounds::Tracked).await
    }

    /// Creates and logs in with it.
    pub async fn create_and_verify(&self) -> Result<(), Fault> {
        let minted = self.vendor.create(self.place(), &self.mark).await?;
        self.vendor.verify(self.place(), &minted.outputs).await.map(drop)
    }
}

/// Some secret's ARN, for marks.
pub fn arn() -> Arn {
    Arn::new("arn:aws:secretsmanager:us-east-1:111122223333:secret:app-a1b2c3").unwrap()
}

/// The name of the secret that the rows read.
pub fn secret() -> SecretName {
    SecretName::new("app").unwrap()
}

/// The store at the address `base`, by `proxy` where there is one.
///
/// # Errors
/// What `connect` says of it.
pub async fn store(
    services: &Services,
    base: &str,
    ca_file: Option<&Path>,
    proxy: Option<String>,
) -> Result<Store, Fault> {
    let mut target = declaration("keycard").targets.into_values().next().unwrap();
    target.endpoint_url = Some(base.into());
    target.ca_file = ca_file.map(Into::into);
    target.proxy = proxy;
    target.pacing =
        Pacing { read_wait: Duration::ZERO, writes_percent: 1_000_000, reads_percent: 1_000_000, ..target.pacing };
    Store::connect(&target, services.clock()).await
}

/// Makes a secret, as keyferry makes one.
///
/// # Errors
/// What the store says of it.
pub async fn make_secret(store: &Store, name: &SecretName) -> Result<Arn, Fault> {
    let declaration = declaration("keycard");
    let one = &declaration.credentials[0];
    let owner = Owner { deployment: &one.deployment, credential: &one.name, place: &one.policy.place, at: None };
    let wanted = Destination { name: name.clone(), ..one.destination.clone() };
    store.create_secret(&wanted, owner, "1:rows:1795000000").await.map(|created| created.arn)
}
