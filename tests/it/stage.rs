//! The stage of every test here: services on any free port, an engine on a clock of our own, and
//! the counts of what was called.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyferry::config::{self, Declaration};
use keyferry::engine::Engine;
use keyferry::engine::reconcile::Visit;
use keyferry::engine::snapshot::Status;
use keyferry::model::credential::Credential;
use keyferry::model::name::Name;
use keyferry::model::time::{Clock, Sleep, Timestamp};
use keyferry::sandbox::simulator::Seed;
use keyferry::sandbox::stage::{Ports, Sandbox, Watched};
use keyferry::sandbox::workos::WorkOs;
use keyferry::vendors::{self, http::Limits};
use serde_json::Value;

/// A clock that moves only when somebody sleeps or a test says so.
#[derive(Default)]
pub struct HandClock(AtomicU64);

impl HandClock {
    /// Lets time pass.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(u64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_seconds(1_795_000_000).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, span: Duration) -> Sleep<'_> {
        self.advance(span);
        Box::pin(tokio::task::yield_now())
    }
}

/// AWS operations that change something.
const WRITES: [&str; 6] =
    ["CreateSecret", "PutSecretValue", "UpdateSecretVersionStage", "TagResource", "UntagResource", "UpdateSecret"];

/// An application of this name is declared but not made at the vendor.
pub const NOT_AT_KEYCARD: &str = "not-at-keycard";

pub struct Stage {
    pub clock: Arc<HandClock>,
    pub sandbox: Sandbox,
    pub engine: Arc<Engine>,
    head: String,
    declaration: String,
}

impl Stage {
    /// Starts the services and an engine for `credentials` (the `[[credential]]` part).
    pub async fn with(credentials: &str) -> Self {
        Self::edited(credentials, |declaration| declaration).await
    }

    /// The same, with the whole declaration changed before it is read.
    pub async fn edited(credentials: &str, edit: impl FnOnce(String) -> String) -> Self {
        let clock = Arc::new(HandClock::default());
        let services: Arc<dyn Clock> = clock.clone();
        let sandbox = Sandbox::start(Ports::default(), 1, Arc::clone(&services), services).await.unwrap();
        let vendors: String = vendors::ALL.iter().map(|spec| declared_vendor(&sandbox, spec)).collect();
        let head = format!(
            "deployment = \"test\"\n\
             [aws]\nregion = \"us-east-1\"\nendpoint_url = \"http://{}\"\n\
             sts_endpoint_url = \"http://{}\"\ncredentials = \"sandbox\"\n\
             {vendors}\
             [defaults]\nrotate = {{ every = \"30d\" }}\noverlap = \"24h\"\n\
             [defaults.secret]\nname = \"{{name}}\"\n",
            sandbox.aws_address(),
            sandbox.sts_address(),
        );
        let declaration = edit(format!("{head}{credentials}"));
        let engine = open(&declaration, &clock).await;
        let stage = Self { clock, sandbox, engine, head, declaration };
        stage.seed();
        stage
    }

    /// The whole declaration as written.
    pub fn declaration(&self) -> &str {
        &self.declaration
    }

    /// One credential named `app`.
    pub async fn one() -> Self {
        Self::with(&credential("app")).await
    }

    fn seed(&self) {
        let declaration = self.engine.declaration();
        for one in &declaration.credentials {
            let elsewhere = one.options.text("zone").is_some_and(|zone| zone != "production");
            if elsewhere || one.options.text("application") == Some(NOT_AT_KEYCARD) {
                continue;
            }
            self.sandbox.seed(&seed_of(declaration, one));
        }
        self.sandbox.watch(declaration.credentials.iter().map(|one| Watched {
            secret: one.destination.name.to_string(),
            seed: seed_of(declaration, one),
            keys: one.destination.shape.keys(),
        }));
    }

    /// A fresh process: the same declaration, nothing remembered.
    pub async fn restart(&mut self) {
        self.engine = open(&self.declaration, &self.clock).await;
    }

    /// A fresh process with other credentials declared.
    pub async fn redeclare(&mut self, credentials: &str) {
        self.declaration = format!("{}{credentials}", self.head);
        self.restart().await;
        self.seed();
    }

    /// The same, and nothing of it is made at the vendor.
    pub async fn redeclare_unseeded(&mut self, credentials: &str) {
        self.declaration = format!("{}{credentials}", self.head);
        self.restart().await;
    }

    /// A fresh process with a line more before everything else.
    pub async fn declare_head(&mut self, line: &str) {
        self.declaration = format!("{line}{}", self.declaration);
        self.restart().await;
    }

    /// One pass over the fleet, and then each credential's visits.
    pub async fn pass(&self) {
        let sorted = self.engine.sort().await;
        let unreachable = self.engine.board().unreachable();
        assert!(unreachable.is_empty(), "{unreachable:?}");
        self.engine.pass(sorted, Visit::default(), |_, _| {}).await;
        self.sandbox.consumer.round().await;
    }

    /// Lets `span` pass in steps, with a pass after each.
    pub async fn live(&self, span: Duration, step: Duration) {
        let until = self.clock.monotonic() + span;
        while self.clock.monotonic() < until {
            self.clock.advance(step);
            self.pass().await;
        }
    }

    /// One pass in which anything may fail.
    pub async fn patient_pass(&self) {
        let sorted = self.engine.sort().await;
        self.engine.pass(sorted, Visit::default(), |_, _| {}).await;
        self.sandbox.consumer.round().await;
    }

    /// What a person does with the AWS command line.
    pub async fn person(&self, operation: &str, body: Value) -> Value {
        person(self.sandbox.aws_address(), &*self.clock, operation, body).await
    }

    /// The pretend WorkOS.
    pub fn workos(&self) -> &WorkOs {
        self.sandbox.find().expect("WorkOS is in the list of simulators")
    }

    /// A person ends a credential in Keycard's console.
    pub async fn end_at_keycard(&self, id: &str) {
        let base = format!("http://{}", self.sandbox.vendor_address("keycard").unwrap());
        let client = reqwest::Client::new();
        let form = [("grant_type", "client_credentials")];
        let token = client.post(format!("{base}/service-account-token")).basic_auth("sandbox", Some("sandbox"));
        let token: Value = token.form(&form).send().await.unwrap().json().await.unwrap();
        let token = token["access_token"].as_str().unwrap();
        let zones: Value =
            client.get(format!("{base}/zones")).bearer_auth(token).send().await.unwrap().json().await.unwrap();
        let zone = zones["items"][0]["id"].as_str().unwrap();
        let ended = client.delete(format!("{base}/zones/{zone}/application-credentials/{id}")).bearer_auth(token);
        let status = ended.send().await.unwrap().status();
        assert!(status.is_success(), "{status}");
    }

    pub fn status(&self, name: &str) -> Status {
        self.engine.board().get(&Name::new(name).unwrap()).expect("it was visited")
    }

    /// AWS calls so far that change something, by operation.
    pub fn writes(&self) -> u64 {
        WRITES.iter().map(|operation| self.sandbox.world.total("aws", operation)).sum()
    }

    /// AWS calls so far, of any kind, the consumer's reads of AWSCURRENT apart.
    pub fn aws_calls(&self) -> u64 {
        let totals = self.sandbox.world.journal().totals;
        totals.iter().filter(|(call, _)| call.starts_with("aws ")).map(|(_, count)| count).sum()
    }

    /// Calls at the vendors so far.
    pub fn vendor_calls(&self) -> u64 {
        self.sandbox.vendors().flat_map(|vendor| vendor.call_counts()).map(|one| one.count).sum()
    }

    /// Live credentials at the vendors.
    pub fn live_credentials(&self) -> usize {
        self.sandbox.vendors().map(|vendor| vendor.live().len()).sum()
    }

    /// Failures of the consumer so far.
    pub fn failures(&self) -> u64 {
        self.sandbox.consumer.failure_count()
    }
}

/// A declared credential, as the sandbox needs to know it.
pub fn seed_of(declaration: &Declaration, credential: &Credential) -> Seed {
    Seed {
        vendor: declaration.vendors[&credential.vendor].spec.kind.into(),
        type_name: credential.type_name.into(),
        options: credential.options.clone(),
    }
}

async fn open(declaration: &str, clock: &Arc<HandClock>) -> Arc<Engine> {
    let loaded = config::load_text(&[("test.toml", declaration)])
        .unwrap_or_else(|report| panic!("the test's declaration is refused:\n{}", report.render(false)));
    let mut declared = loaded.declaration;
    for target in declared.targets.values_mut() {
        // The pace is kept in real time, and no test waits.
        target.pacing.writes_percent = 200_000;
        target.pacing.reads_percent = 200_000;
        target.pacing.read_wait = Duration::from_millis(1);
    }
    let clock: Arc<dyn Clock> = clock.clone();
    Arc::new(Engine::with_limits(Arc::new(declared), clock, impatient()).await.unwrap())
}

/// A vendor of the list as a declaration has it, named as its kind, at its simulator.
fn declared_vendor(sandbox: &Sandbox, spec: &vendors::Spec) -> String {
    let kind = spec.kind;
    let address = sandbox.vendor_address(kind).unwrap_or_else(|| panic!("{kind} has no simulator"));
    let lines = spec.fields.iter().filter_map(|field| match field.name {
        "zone" => Some("zone = \"production\"\n".to_owned()),
        name => field.required.then(|| format!("{name} = {{ sandbox = true }}\n")),
    });
    format!("[vendors.{kind}]\nkind = \"{kind}\"\nbase_url = \"http://{address}\"\n{}", lines.collect::<String>())
}

/// One declared credential.
pub fn credential(name: &str) -> String {
    format!("[[credential]]\nname = \"{name}\"\nvendor = \"keycard\"\ntype = \"password\"\napplication = \"{name}\"\n")
}

/// One declared client secret of a machine's application of this name, in which nobody else makes any.
pub fn client_secret(name: &str) -> String {
    format!(
        "[[credential]]\nname = \"{name}\"\nvendor = \"workos\"\ntype = \"client-secret\"\napplication = \"{name}\"\n\
         ownership = \"exclusive\"\n"
    )
}

/// Vendor calls are retried in real time, and no test waits.
pub fn impatient() -> Limits {
    Limits {
        backoff_first: Duration::from_millis(1),
        backoff_max: Duration::from_millis(2),
        retry_after_max: Duration::ZERO,
        ..Limits::default()
    }
}

/// What a person does with the AWS command line. The sandbox checks a signature's form and
/// date, not its bytes.
pub async fn person(aws: SocketAddr, clock: &dyn Clock, operation: &str, body: Value) -> Value {
    let now = clock.wall().to_utc();
    let scope = format!("sandbox/{}/us-east-1/secretsmanager/aws4_request", now.format("%Y%m%d"));
    let answer = reqwest::Client::new()
        .post(format!("http://{}", aws))
        .header("x-amz-target", format!("secretsmanager.{operation}"))
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-date", now.format("%Y%m%dT%H%M%SZ").to_string())
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={:064}", 0),
        )
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{operation} {body}: {status} {text}");
    serde_json::from_str(&text).unwrap_or_default()
}
