//! The stage of the daemon's tests: the real binary as a child, its services in this process on a
//! clock that leaps when a test says so, the service manager's socket, and waits for conditions.

use std::io::{BufRead, BufReader};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyferry::clock::HostClock;
use keyferry::model::time::{Clock, Sleep, Timestamp};
use keyferry::sandbox::consumer::Watch;
use keyferry::sandbox::faults::{Effect, Rule};
use keyferry::sandbox::stage::{Ports, Sandbox};
use serde_json::Value;

/// Everybody's time runs this much faster than the host's.
pub const SPEED: f64 = 60.0;
/// How long a condition may take to come true; nothing is asserted about how long it takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);

/// The services' clock. A leap is what a daemon sees whose machine slept.
struct Leaping {
    host: HostClock,
    ahead_ms: AtomicU64,
}

impl Clock for Leaping {
    fn wall(&self) -> Timestamp {
        self.host.wall().plus(Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst)))
    }

    fn monotonic(&self) -> Duration {
        self.host.monotonic() + Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst))
    }

    fn sleep(&self, span: Duration) -> Sleep<'_> {
        self.host.sleep(span)
    }
}

/// Services, a declaration on disk, and the daemons that were started on it.
pub struct House {
    pub sandbox: Sandbox,
    clock: Arc<Leaping>,
    folder: tempfile::TempDir,
}

impl House {
    /// With these applications at the vendor, and the consumer reading their secrets `test/<name>`.
    pub async fn new(applications: &[&str]) -> Self {
        let clock = Arc::new(Leaping { host: HostClock::at_speed(SPEED), ahead_ms: AtomicU64::new(0) });
        let services: Arc<dyn Clock> = clock.clone();
        let real = Arc::new(HostClock::real());
        let sandbox = Sandbox::start(Ports::default(), 1, services, real).await.unwrap();
        for name in applications {
            sandbox.keycard().seed_application("production", name);
            let token_endpoint = sandbox.keycard().token_endpoint("production").unwrap();
            sandbox.consumer.watch(Watch::new(format!("test/{name}"), token_endpoint));
        }
        Self { sandbox, clock, folder: tempfile::tempdir().unwrap() }
    }

    pub fn leap(&self, span: Duration) {
        let millis = u64::try_from(span.as_millis()).unwrap();
        self.clock.ahead_ms.fetch_add(millis, Ordering::SeqCst);
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("keyferry.toml")
    }

    /// Everything before the credentials.
    pub fn head(&self) -> String {
        format!(
            "deployment = \"test\"\n[aws]\nregion = \"us-east-1\"\nendpoint_url = \"http://{}\"\n\
             sts_endpoint_url = \"http://{}\"\ncredentials = \"sandbox\"\n[vendors.keycard]\nkind = \"keycard\"\nbase_url = \"http://{}\"\n\
             zone = \"production\"\nclient_id = {{ sandbox = true }}\nclient_secret = {{ sandbox = true }}\n\
             [defaults]\nrotate = \"30d\"\noverlap = \"24h\"\n[defaults.secret]\nname = \"test/{{name}}\"\n",
            self.sandbox.aws_address(),
            self.sandbox.sts_address(),
            self.sandbox.vendor_address("keycard").unwrap(),
        )
    }

    /// Writes the declaration: the usual head and these credentials.
    pub fn declare(&self, credentials: &str) {
        self.write(&format!("{}{credentials}", self.head()));
    }

    pub fn write(&self, declaration: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, declaration).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    /// The next `times` calls of an operation, after `skip`, are answered this late.
    pub fn delay(&self, service: &str, operation: &str, skip: u64, late: Duration) {
        let effect = Effect::Delay { ms: u64::try_from(late.as_millis()).unwrap() };
        let (service, operation) = (service.to_owned(), operation.to_owned());
        self.sandbox.add_fault(Rule { service, operation, skip, times: 1, chance: 1.0, effect });
    }

    /// The next `times` calls of an operation are refused as by a service that is down.
    pub fn refuse(&self, service: &str, operation: &str, times: u64) {
        let effect = Effect::Refuse { status: 503, code: "ServiceUnavailable".into() };
        let (service, operation) = (service.to_owned(), operation.to_owned());
        self.sandbox.add_fault(Rule { service, operation, skip: 0, times, chance: 1.0, effect });
    }

    /// Waits until a delay struck: its call is under way.
    pub async fn struck(&self) {
        until("the call is under way", || self.sandbox.world.faults.lock().unwrap().struck() > 0).await;
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
        command.args(verb.split(' ')).arg("--config").arg(self.path()).args(["--sandbox-speed", &SPEED.to_string()]);
        command.env_clear().env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
        command
    }

    /// Runs a verb to its end; gives its exit code and what it said.
    pub async fn verb(&self, verb: &str) -> (i32, String) {
        self.start(verb).output().await
    }

    /// Starts a verb.
    pub fn start(&self, verb: &str) -> Started {
        self.start_with(verb, |_| {})
    }

    /// Starts a verb in another environment.
    pub fn start_with(&self, verb: &str, change: impl FnOnce(&mut Command)) -> Started {
        let mut command = self.command(verb);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        change(&mut command);
        Started(command.spawn().unwrap())
    }

    /// Runs a verb, tells it to stop once a delay struck, and gives its exit code and what it said.
    pub async fn stopped(&self, verb: &str) -> (i32, String) {
        let child = self.start(verb);
        self.struck().await;
        child.told("TERM").await
    }

    /// Starts the daemon; ends when its pages are there.
    pub async fn daemon(&self, environment: &[(&str, &str)]) -> Daemon {
        self.daemon_with("", environment).await
    }

    /// The same, with more arguments.
    pub async fn daemon_with(&self, more: &str, environment: &[(&str, &str)]) -> Daemon {
        let mut command = self.command(&format!("run --listen 127.0.0.1:0{more}"));
        command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, told) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                told.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let mut daemon = Daemon { child, log, address: String::new() };
        daemon.says("status page at ").await;
        let log = daemon.log();
        daemon.address = log.split("status page at ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        daemon
    }

    /// The version that holds a label, of the secret `test/<name>`.
    pub fn holder(&self, name: &str, label: &str) -> Option<String> {
        let versions = self.versions(name);
        let holds = |one: &&Value| one["stages"].as_array().unwrap().iter().any(|stage| stage == label);
        versions.iter().find(holds).map(|one| one["id"].as_str().unwrap().to_owned())
    }

    /// The `value` in the current version of the secret `test/<name>`, read as any client does.
    pub async fn value(&self, name: &str) -> Option<String> {
        let now = HostClock::real().wall().to_utc();
        let scope = format!("any/{}/us-east-1/secretsmanager/aws4_request", now.format("%Y%m%d"));
        let signed = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={:064}", 0);
        let answer = reqwest::Client::new()
            .post(format!("http://{}", self.sandbox.aws_address()))
            .header("x-amz-target", "secretsmanager.GetSecretValue")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-date", now.format("%Y%m%dT%H%M%SZ").to_string())
            .header("authorization", signed)
            .body(format!("{{\"SecretId\": \"test/{name}\"}}"))
            .send();
        let answer: Value = serde_json::from_str(&answer.await.unwrap().text().await.unwrap()).unwrap();
        let stored: Value = serde_json::from_str(answer["SecretString"].as_str()?).unwrap();
        stored["value"].as_str().map(Into::into)
    }

    /// Leases of the secret `test/<name>`.
    pub fn leases(&self, name: &str) -> usize {
        let leases = |one: &Value| {
            let stages = one["stages"].as_array().unwrap().iter();
            stages.filter(|stage| stage.as_str().unwrap().starts_with("kf-cred:")).count()
        };
        self.versions(name).iter().map(leases).sum()
    }

    fn versions(&self, name: &str) -> Vec<Value> {
        let now = self.clock.wall();
        let all = self.sandbox.secrets_manager.with_state(|state| state.overview(now));
        let secrets = all["us-east-1"].as_array().cloned().unwrap_or_default();
        let one = secrets.into_iter().find(|one| one["name"] == format!("test/{name}"));
        one.map(|one| one["versions"].as_array().unwrap().clone()).unwrap_or_default()
    }

    /// Live credentials at the vendor.
    pub fn live(&self) -> usize {
        self.sandbox.keycard().credentials().iter().filter(|one| one.deleted.is_none()).count()
    }
}

/// One credential named `name` of an application of the same name, with more lines.
pub fn credential(name: &str, more: &str) -> String {
    format!("{}{more}", crate::stage::credential(name))
}

fn signal(id: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status().unwrap();
    assert!(status.success());
}

/// A verb that runs.
pub struct Started(Child);

impl Started {
    /// Waits for its end; gives its exit code and what it said.
    pub async fn output(self) -> (i32, String) {
        let output = tokio::task::spawn_blocking(move || self.0.wait_with_output().unwrap()).await.unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.code().unwrap_or(-1), text)
    }

    /// Sends it a signal, and waits.
    pub async fn told(self, name: &str) -> (i32, String) {
        signal(self.0.id(), name);
        self.output().await
    }
}

/// The binary as a daemon. Killed when dropped.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
    address: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

impl Daemon {
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log has these words.
    pub async fn says(&self, words: &str) {
        until(&format!("the log says `{words}`"), || self.log().contains(words)).await;
    }

    /// Address and port of its pages.
    pub fn host(&self) -> &str {
        self.address.trim_start_matches("http://").trim_end_matches('/')
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many sockets and files it has open, where this test's user may look.
    pub fn descriptor_count(&self) -> Option<usize> {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).ok().map(Iterator::count)
    }

    /// Waits until it ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the daemon ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// Tells it to stop and waits for its end, which must be a good one.
    pub async fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(self.ended().await.code(), Some(0), "{}", self.log());
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("{}{path}", self.address)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The facts of the status page.
    pub async fn facts(&self) -> Value {
        serde_json::from_str(&self.get("status.json").await.1).unwrap()
    }

    /// State and reason of a credential, as the status page has them.
    pub async fn row(&self, name: &str) -> Option<(String, String)> {
        let facts = self.facts().await;
        let row = facts["credentials"].as_array().unwrap().iter().find(|row| row["name"] == name)?.clone();
        Some((row["state"].as_str().unwrap().to_owned(), row["reason"].as_str().unwrap().to_owned()))
    }

    /// Waits until a credential is in this state for this reason.
    pub async fn shows(&self, name: &str, state: &str, reason: &str) {
        let wanted = Some((state.to_owned(), reason.to_owned()));
        let patience = Patience::new();
        while self.row(name).await != wanted {
            assert!(patience.is_left(), "`{name}` is {:?}, not {wanted:?}:\n{}", self.row(name).await, self.log());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until a page answers so.
    pub async fn answers(&self, path: &str, code: u16, words: &str) {
        let patience = Patience::new();
        loop {
            let answer = self.get(path).await;
            if answer.0 == code && answer.1.contains(words) {
                return;
            }
            assert!(patience.is_left(), "/{path} answers {answer:?}, not {code} with `{words}`:\n{}", self.log());
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// How much longer a test waits.
struct Patience(HostClock);

impl Patience {
    fn new() -> Self {
        Self(HostClock::real())
    }

    fn is_left(&self) -> bool {
        self.0.monotonic() < PATIENCE
    }
}

/// Waits for a condition.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Patience::new();
    while !holds() {
        assert!(patience.is_left(), "this never came true: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The service manager's ear: an abstract socket, and what was said on it.
pub struct Ear {
    pub address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Ear {
    pub fn new(name: &str) -> Self {
        let name = format!("keyferry-test-{}-{name}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = socket.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                noted.lock().unwrap().extend(text.lines().map(Into::into));
            }
        });
        Self { address: format!("@{name}"), heard }
    }

    /// Every assignment so far.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    pub fn count(&self, line: &str) -> usize {
        self.heard().iter().filter(|heard| *heard == line).count()
    }

    /// Waits until an assignment begins so.
    pub async fn hears(&self, start: &str) {
        until(&format!("the manager hears {start}"), || self.heard().iter().any(|line| line.starts_with(start))).await;
    }
}
