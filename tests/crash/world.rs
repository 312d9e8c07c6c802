//! One pretend world for one voyage: the services and the consumer live in this process, keyferry is
//! a child process, and somebody watches every call.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyferry::clock::HostClock;
use keyferry::config;
use keyferry::model::time::{Clock, Sleep, Timestamp};
use keyferry::sandbox::gate::Moment;
use keyferry::sandbox::simulator::Seed;
use keyferry::sandbox::stage::{Ports, Sandbox, Watched};
use keyferry::sandbox::world::Calls;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::judge::{self, Judge, Promise, REGION, SECRET};
use crate::kind::Kind;
use crate::plot::Plot;

/// The binary that `cargo test` built.
const BINARY: &str = env!("CARGO_BIN_EXE_keyferry");
/// Text in every secret of the pretend vendors.
const CANARY: &str = "kfcanary";
/// What changes something in AWS.
const WRITES: [&str; 5] =
    ["CreateSecret", "PutSecretValue", "UpdateSecretVersionStage", "TagResource", "UntagResource"];
/// The services' random choices come from this.
const SEED: u64 = 1;
/// A child's own waits, for a lagging read or between two tries, pass so much faster.
const SPEED: u32 = 10;

/// A clock that stands still until it is moved.
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

/// Time that passes by itself, much faster than this host's, and leaps when it is told to.
pub struct LeapClock {
    host: HostClock,
    leapt_ms: AtomicU64,
}

impl LeapClock {
    pub fn at_speed(speed: u32) -> Self {
        Self { host: HostClock::at_speed(f64::from(speed)), leapt_ms: AtomicU64::new(0) }
    }

    /// Lets `span` have passed.
    pub fn leap(&self, span: Duration) {
        self.leapt_ms.fetch_add(u64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for LeapClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_seconds(1_795_000_000).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.host.monotonic() + Duration::from_millis(self.leapt_ms.load(Ordering::SeqCst))
    }

    fn sleep(&self, span: Duration) -> Sleep<'_> {
        self.host.sleep(span)
    }
}

/// The world.
pub struct World {
    pub clock: Arc<dyn Clock>,
    pub sandbox: Sandbox,
    pub judge: Arc<Judge>,
    /// The judge of the other credential, where there are two.
    pub other: Option<Arc<Judge>>,
    kind: Kind,
    folder: TempDir,
}

/// What a finished process said.
pub struct Said {
    /// Its exit code; none when it was killed.
    pub code: Option<i32>,
    /// Standard output, read as JSON.
    pub facts: Value,
    /// Both outputs, for a person.
    pub text: String,
}

/// How a world is to be.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub kind: Kind,
    /// A second credential, of this kind, whose secret has the same name in another target.
    pub beside: Option<Kind>,
    /// Processes that may work at once.
    pub replicas: usize,
    /// A process may sleep before it sets a value in place.
    pub sets_late: bool,
}

impl Said {
    /// Whether this host was so busy that six seconds, which are a minute to the process, passed
    /// between a claim and the creation for it. The next process goes on from there.
    pub fn was_slow(&self) -> bool {
        self.text.contains("the claim is over a minute old")
    }
}

/// Where the second target is.
const OTHER_REGION: &str = "eu-central-1";

/// The declaration of one credential, or of two that share nothing but their secrets' name.
fn declaration(sandbox: &Sandbox, kind: Kind, beside: Option<Kind>, overlap_hours: u32) -> String {
    let mut text = format!(
        "deployment = \"test\"\n\
         [defaults]\nrotate = {{ every = \"30d\" }}\noverlap = \"{overlap_hours}h\"\n\
         [defaults.secret]\nname = \"{SECRET}\"\n"
    );
    let one = (SECRET, kind, REGION);
    let other = beside.map(|kind| ("other", kind, OTHER_REGION));
    for (name, kind, region) in other.into_iter().chain([one]) {
        let vendor = kind.vendor();
        text += &format!(
            "[aws.at-{name}]\nregion = \"{region}\"\nendpoint_url = \"http://{}\"\ncredentials = \"sandbox\"\n\
             [vendors.{kind}]\nkind = \"{kind}\"\nbase_url = \"http://{}\"\n{}\
             [[credential]]\nname = \"{name}\"\naws = \"at-{name}\"\nvendor = \"{kind}\"\n{}",
            sandbox.aws_address(),
            sandbox.vendor_address(vendor.name).unwrap(),
            vendor.access,
            vendor.credential,
            kind = vendor.name,
        );
    }
    text
}

impl World {
    /// Services with one declared credential, `app`, and nothing in AWS yet.
    pub async fn new(setting: Setting) -> Self {
        Self::on(Arc::new(HandClock::default()), setting, 24).await
    }

    /// The same in another time, with an overlap of this many hours.
    pub async fn on(clock: Arc<dyn Clock>, setting: Setting, overlap_hours: u32) -> Self {
        let Setting { kind, beside, replicas, sets_late } = setting;
        let (services, real) = (Arc::clone(&clock), Arc::clone(&clock));
        let sandbox = Sandbox::start(Ports::default(), SEED, services, real).await.unwrap();
        let text = declaration(&sandbox, kind, beside, overlap_hours);
        let moved = kind.vendor().moves.map(|(from, to)| text.replace(from, to));
        for text in [&text].into_iter().chain(&moved) {
            let loaded = config::load_text(&[("keyferry.toml", text)]).expect("the declaration is good");
            for one in &loaded.declaration.credentials {
                let kind = loaded.declaration.vendors[&one.vendor].spec.kind;
                let seed = Seed { vendor: kind.into(), type_name: one.type_name.into(), options: one.options.clone() };
                sandbox.seed(&seed);
                if one.name.as_str() == SECRET {
                    let keys = one.destination.shape.keys();
                    // In place, nobody logs in at the vendor with the value: there the judge stands in.
                    sandbox.watch([Watched { secret: one.destination.name.to_string(), seed, keys }]);
                }
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let overlap = Duration::from_secs(3_600) * overlap_hours;
        let judge = |kind: Kind, region| {
            kind.add_foreign(&**sandbox.vendor(kind.vendor().name).unwrap());
            Judge::of(&sandbox, Promise { kind, region, replicas, overlap, sets_late })
        };
        let other = beside.map(|kind| judge(kind, OTHER_REGION));
        let judge = judge(kind, REGION);
        judge::watch(&sandbox, [&judge].into_iter().chain(&other).cloned().collect());
        let world = Self { clock, sandbox, judge, other, kind, folder };
        world.declare(&text);
        world
    }

    /// Every judge.
    pub fn judges(&self) -> impl Iterator<Item = &Arc<Judge>> {
        [&self.judge].into_iter().chain(&self.other)
    }

    /// What any judge blames.
    pub fn violations(&self) -> Vec<String> {
        self.judges().flat_map(|judge| judge.violations()).collect()
    }

    fn declare(&self, text: &str) {
        // As an editor that people trust: there is the old file or the new one.
        let draft = self.folder.path().join("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, self.config()).unwrap();
    }

    /// Somebody edits the declaration, where that is what the plot is about.
    pub fn edit(&self, plot: Plot) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        match (plot, self.kind.vendor().moves) {
            (Plot::First | Plot::Rotation | Plot::Leaked, _) | (Plot::Move, None) => {}
            (Plot::Retirement, _) => self.declare(&format!("{text}state = \"retired\"\n")),
            (Plot::Move, Some((from, to))) => self.declare(&text.replace(from, to)),
        }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("keyferry.toml")
    }

    /// Starts keyferry.
    pub fn start(&self, words: &[&str]) -> Child {
        self.start_at(words, SPEED)
    }

    /// Starts keyferry with a clock of its own that is so much faster than this host's.
    pub fn start_at(&self, words: &[&str], speed: u32) -> Child {
        let mut command = Command::new(BINARY);
        command.env_clear().args(words).arg("--config").arg(self.config());
        command.args(["--output", "json", "--sandbox-speed", &speed.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().unwrap()
    }

    /// Waits for a process to end, and reads what it said.
    pub async fn heard(&self, child: Child) -> Said {
        let output = child.wait_with_output().await.unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let text = format!("{out}{err}");
        if text.contains(CANARY) {
            self.judge.blame("a secret is in the output of the process".into());
        }
        Said { code: output.status.code(), facts: serde_json::from_str(&out).unwrap_or_default(), text }
    }

    /// Runs keyferry to its end, or kills it with SIGKILL at the call that the gate holds. Says
    /// which call that was.
    pub async fn run(&self, words: &[&str]) -> (Said, Option<(String, Moment)>) {
        let mut child = self.start(words);
        let gate = &self.sandbox.world.gate;
        let held = tokio::select! {
            biased;
            held = gate.until_held() => Some((format!("{} {}", held.call.service, held.call.call), held.moment)),
            _ = child.wait() => None,
        };
        if held.is_some() {
            child.kill().await.unwrap();
            gate.cut();
        }
        (self.heard(child).await, held)
    }

    /// Two processes at once, to their ends; the one whose call is held is killed there, and the
    /// other one goes on. Gives what those said that were not killed.
    pub async fn run_two(&self, words: &[&str]) -> (Vec<Said>, Option<(String, Moment)>) {
        let (mut one, mut other) = (self.start(words), self.start(&["once"]));
        let gate = &self.sandbox.world.gate;
        let held = tokio::select! {
            biased;
            held = gate.until_held() => held,
            _ = async { tokio::join!(one.wait(), other.wait()) } => {
                return (vec![self.heard(one).await, self.heard(other).await], None);
            }
        };
        let (mut victim, survivor) = if owns(&one, held.call.peer) { (one, other) } else { (other, one) };
        victim.kill().await.unwrap();
        gate.cut();
        self.heard(victim).await;
        let what = (format!("{} {}", held.call.service, held.call.call), held.moment);
        (vec![self.heard(survivor).await], Some(what))
    }

    /// Operations of AWS that were refused because their signature was out of date; reads apart,
    /// which are a process's first calls.
    pub fn late(&self) -> Vec<String> {
        let late = |call: &Calls| call.outcome == "InvalidSignatureException" && WRITES.contains(&&*call.operation);
        let calls = self.sandbox.world.journal().calls.into_iter().filter(late);
        calls.flat_map(|call| (0..call.count).map(move |_| call.operation.clone())).collect()
    }

    /// Lets `span` pass, and the consumer live through it: with what it holds, and with what it
    /// reads anew.
    pub async fn pass(&self, span: Duration) {
        let refresh = Duration::from_secs(300);
        self.sandbox.consumer.round().await;
        let still_held = refresh.saturating_sub(Duration::from_secs(1)).min(span);
        self.clock.sleep(still_held).await;
        self.sandbox.consumer.round().await;
        self.clock.sleep(span - still_held).await;
        self.sandbox.consumer.round().await;
    }
}

/// Sends a signal to a process that runs.
pub fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).unwrap())).expect("it runs");
    kill_process(pid, signal).unwrap();
}

/// Whether the client's end of a connection is this process's.
pub fn owns(child: &Child, peer: Option<SocketAddr>) -> bool {
    let (Some(pid), Some(peer)) = (child.id(), peer) else { return false };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = format!(":{:04X}", peer.port());
    // Connections to different services may share a port, and closed ones linger without an owner.
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let sockets = rows.filter(|row| row.len() > 9 && row[1].ends_with(&ends)).map(|row| format!("socket:[{}]", row[9]));
    let sockets: Vec<String> = sockets.collect();
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    links.into_iter().any(|link| sockets.iter().any(|socket| link.to_string_lossy() == *socket))
}
