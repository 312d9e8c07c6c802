//! The pretend services in a process of their own: this same program, started with a variable that
//! says so, which does what it is told line by line on its standard input.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::ops::Add;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyferry::clock::HostClock;
use keyferry::model::attempt::Attempt;
use keyferry::model::label::{Label, Lease, TAG_CREDENTIAL, TAG_DEPLOYMENT, Tracked};
use keyferry::model::name::{Arn, VendorId};
use keyferry::model::time::{Clock, Sleep, Timestamp};
use keyferry::sandbox::secrets_manager::operation::Operation;
use keyferry::sandbox::secrets_manager::state::{Call, State};
use keyferry::sandbox::secrets_manager::wire::Request;
use keyferry::sandbox::stage::{Ports, Sandbox};
use serde_json::json;

const VARIABLE: &str = "KEYFERRY_BENCH_SERVICES";
const WRITES: [&str; 6] =
    ["CreateSecret", "PutSecretValue", "UpdateSecretVersionStage", "TagResource", "UntagResource", "UpdateSecret"];

/// The host's clock, which can be set forward.
pub struct SkippingClock {
    host: HostClock,
    skipped_seconds: AtomicU64,
}

impl Default for SkippingClock {
    fn default() -> Self {
        Self { host: HostClock::real(), skipped_seconds: AtomicU64::new(0) }
    }
}

impl SkippingClock {
    fn skip(&self, seconds: u64) {
        self.skipped_seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    fn skipped(&self) -> Duration {
        Duration::from_secs(self.skipped_seconds.load(Ordering::SeqCst))
    }
}

impl Clock for SkippingClock {
    fn wall(&self) -> Timestamp {
        self.host.wall().plus(self.skipped())
    }

    fn monotonic(&self) -> Duration {
        self.host.monotonic() + self.skipped()
    }

    fn sleep(&self, span: Duration) -> Sleep<'_> {
        self.host.sleep(span)
    }
}

/// Calls that arrived.
#[derive(Clone, Copy, Default)]
pub struct Calls {
    pub aws: u64,
    /// Those of them that change something.
    pub writes: u64,
    pub vendor: u64,
}

impl Calls {
    pub fn since(self, before: Self) -> Self {
        Self { aws: self.aws - before.aws, writes: self.writes - before.writes, vendor: self.vendor - before.vendor }
    }
}

impl Add for Calls {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { aws: self.aws + other.aws, writes: self.writes + other.writes, vendor: self.vendor + other.vendor }
    }
}

/// The running services, seen from the benchmark. They end with it.
pub struct Services {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub aws: SocketAddr,
    keycard: SocketAddr,
}

impl Services {
    pub fn start() -> Self {
        let program = std::env::current_exe().expect("it runs");
        let mut command = Command::new(program);
        command.env(VARIABLE, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it was started before");
        let orders = process.stdin.take().expect("it is piped");
        let mut answers = BufReader::new(process.stdout.take().expect("it is piped"));
        let addresses = answer(&mut answers);
        let mut addresses = addresses.split(' ').map(|text| text.parse().expect("it is an address"));
        let mut next = || addresses.next().expect("there are two addresses");
        let (aws, keycard) = (next(), next());
        Self { process, orders, answers, aws, keycard }
    }

    /// `count` credentials of one deployment, with names as [`Services::seed`] gives them.
    pub fn declaration(&self, deployment: &str, count: u32) -> String {
        let mut text = format!(
            "deployment = \"{deployment}\"\n\
             [aws]\nregion = \"us-east-1\"\nendpoint_url = \"http://{}\"\ncredentials = \"sandbox\"\n\
             [vendors.keycard]\nkind = \"keycard\"\nbase_url = \"http://{}\"\nzone = \"production\"\n\
             client_id = {{ sandbox = true }}\nclient_secret = {{ sandbox = true }}\n\
             [defaults]\nrotate = {{ every = \"30d\" }}\noverlap = \"24h\"\n\
             [defaults.secret]\nname = \"{{deployment}}/{{name}}\"\n",
            self.aws, self.keycard
        );
        for number in 0..count {
            text.push_str(&format!(
                "[[credential]]\nname = \"{name}\"\nvendor = \"keycard\"\ntype = \"password\"\napplication = \"{name}\"\n",
                name = name(number)
            ));
        }
        text
    }

    /// Makes what `count` credentials need at the vendor.
    pub fn applications(&mut self, count: u32) {
        self.order(&format!("applications {count}"));
    }

    /// Makes the secrets of `count` credentials as keyferry leaves them, a day ago.
    pub fn seed(&mut self, count: u32) {
        self.order(&format!("secrets {count}"));
    }

    /// Sets the services' clock forward, and `clock`.
    pub fn skip(&mut self, clock: &SkippingClock, span: Duration) {
        self.order(&format!("skip {}", span.as_secs()));
        clock.skip(span.as_secs());
    }

    pub fn calls(&mut self) -> Calls {
        let answer = self.order("calls");
        let mut numbers = answer.split(' ').map(|text| text.parse().expect("it is a number"));
        let mut next = || numbers.next().expect("there are three numbers");
        Calls { aws: next(), writes: next(), vendor: next() }
    }

    /// Live credentials at the vendor.
    pub fn live(&mut self) -> u64 {
        self.order("live").parse().expect("it is a number")
    }

    fn order(&mut self, text: &str) -> String {
        writeln!(self.orders, "{text}").expect("the services run");
        answer(&mut self.answers)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        // They may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn answer(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("the services answer");
    line.trim_end().to_owned()
}

pub fn name(number: u32) -> String {
    format!("app-{number:05}")
}

/// Whether this process is to be the services.
pub fn asked() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Is the services until standard input ends.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime can be started");
    let clock = Arc::new(SkippingClock::default());
    let shared: Arc<dyn Clock> = clock.clone();
    let sandbox = runtime.block_on(Sandbox::start(Ports::default(), 1, Arc::clone(&shared), shared));
    let sandbox = sandbox.expect("any free port will do");
    let keycard = sandbox.vendor_address("keycard").expect("the sandbox has it");
    println!("{} {keycard}", sandbox.aws_address());
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let (order, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number: u32 = number.parse().expect("the benchmark writes numbers");
        match order {
            "applications" => {
                for number in 0..number {
                    let application = name(number);
                    sandbox.keycard().seed_application("production", &application);
                }
                println!("done");
            }
            "secrets" => {
                sandbox
                    .secrets_manager
                    .with_state(|state| (0..number).for_each(|number| at_rest(state, &clock, number)));
                println!("done");
            }
            "skip" => {
                clock.skip(number.into());
                println!("done");
            }
            "calls" => {
                let totals = sandbox.world.journal().totals;
                let aws: u64 = totals.iter().filter(|(call, _)| call.starts_with("aws ")).map(|(_, count)| count).sum();
                let writes: u64 = WRITES.iter().map(|operation| sandbox.world.total("aws", operation)).sum();
                let vendor: u64 = sandbox.keycard().call_counts().iter().map(|one| one.count).sum();
                println!("{aws} {writes} {vendor}");
            }
            "live" => {
                println!("{}", sandbox.keycard().credentials().iter().filter(|one| one.deleted.is_none()).count())
            }
            other => panic!("the benchmark says `{other}`"),
        }
    }
}

/// A secret as keyferry leaves it after a first creation a day ago.
fn at_rest(state: &mut State, clock: &SkippingClock, number: u32) {
    let now = clock.wall().minus(Duration::from_secs(24 * 3_600));
    let call = Call { region: "us-east-1".into(), access_key: "sandbox".into(), now, stale: false };
    let mut perform = |operation, request: serde_json::Value| {
        let request = Request::read(request.to_string().as_bytes()).expect("it is well-formed");
        state.perform(&call, operation, &request).expect("the service takes it")
    };
    let made = perform(
        Operation::CreateSecret,
        json!({
            "Name": format!("bench/{}", name(number)),
            "ClientRequestToken": format!("{number:032}"),
            "Tags": [
                { "Key": TAG_DEPLOYMENT, "Value": "bench" },
                { "Key": TAG_CREDENTIAL, "Value": name(number) },
            ],
        }),
    );
    let arn = Arn::new(made["ARN"].as_str().expect("a new secret has an ARN")).expect("it is one");
    let id = VendorId::new(&format!("ac_{number:022}")).expect("it is visible text");
    let since = Timestamp::from_seconds(now.seconds());
    let lease = Label::Cred(Lease { since, tracked: Tracked::of(&id), made_in: None });
    perform(
        Operation::PutSecretValue,
        json!({
            "SecretId": arn.as_str(),
            "ClientRequestToken": Attempt::derive(&arn, &None, 1).slot_id().as_str(),
            "SecretString": "{\"client_id\":\"kf-bench\",\"client_secret\":\"kf-bench\"}",
            "VersionStages": [Label::Current.to_string(), lease.to_string()],
        }),
    );
}
