//! Nothing that arrives, or does not, may end the process or hang it: mute vendors, bugs, pipes, too
//! few descriptors, one broken target among good ones.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyferry::clock::HostClock;
use keyferry::config;
use keyferry::engine::Engine;
use keyferry::engine::reconcile::{AskVendor, Visit};
use keyferry::model::name::Name;
use keyferry::model::time::{Clock, Sleep, Timestamp};
use keyferry::rotation::Reason;
use keyferry::sandbox::faults::{Effect, Rule};
use tokio::net::TcpListener;

use super::house::{House, SPEED, credential, until};
use super::{DAY, HOUR};
use crate::stage::{Stage, impatient};

/// A vendor instance that accepts connections and never answers.
struct Mute {
    listener: TcpListener,
}

impl Mute {
    async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// Its table in a declaration.
    fn declared(&self) -> String {
        format!(
            "[vendors.nobody]\nkind = \"keycard\"\nbase_url = \"http://{}\"\nzone = \"production\"\n\
             client_id = {{ sandbox = true }}\nclient_secret = {{ sandbox = true }}\n",
            self.listener.local_addr().unwrap()
        )
    }

    /// Ends when somebody waits for its answer.
    async fn asked(&self) -> tokio::net::TcpStream {
        self.listener.accept().await.unwrap().0
    }
}

/// One declared credential there.
fn at_nobody(name: &str, more: &str) -> String {
    credential(name, more).replace("vendor = \"keycard\"", "vendor = \"nobody\"")
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The same engine, which gives up a visit soon.
async fn hasty(stage: &Stage) -> Arc<Engine> {
    let declaration = Arc::clone(stage.engine.declaration());
    Arc::new(stage.engine.reopen(declaration).await.with_visit_max(Duration::from_millis(400)))
}

/// A bound for tests: nothing is asserted about how long it takes within it.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(Duration::from_secs(40), future).await;
    done.unwrap_or_else(|_| panic!("this had no end: {what}"))
}

#[tokio::test]
async fn a_visit_to_a_mute_vendor_ends_as_failed_and_gives_signs_of_life_meanwhile() {
    let mute = Mute::new().await;
    let stage = Stage::with(&(mute.declared() + &at_nobody("app", "") + &credential("z", ""))).await;
    let engine = hasty(&stage).await;
    let visiting = async {
        let wanted = engine.sort().await;
        engine.pass(wanted, Visit::default(), |_, _| {}).await
    };
    let watching = async {
        let _waits = mute.asked().await;
        until("it gives a sign of life", || engine.pulses().all().get("app").is_some_and(|count| *count > 0)).await;
    };
    let (visited, ()) = soon("a pass over a mute vendor", async { tokio::join!(visiting, watching) }).await;
    let status = &visited[&name("app")].status;
    let fault = status.fault.as_ref().unwrap();
    assert!(fault.answer.contains("took longer than") && fault.heals_by_itself(), "{fault}");
    assert!(status.look_again.is_some(), "it is tried again");
    assert_eq!(visited[&name("z")].status.reason, Reason::Healthy, "another vendor's is done");
    assert!(engine.pulses().all().is_empty(), "nothing is under way any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_that_holds_a_fresh_credential_is_not_cut_off() {
    let house = House::new(&["app"]).await;
    house.declare(&credential("app", ""));
    assert_eq!(house.verb("once").await.0, 0);
    house.leap(31 * DAY);
    // The vendor has made it, and AWS does not take it for a while.
    house.sandbox.add_fault(Rule {
        service: "aws".into(),
        operation: "PutSecretValue".into(),
        skip: 1,
        times: 100,
        chance: 1.0,
        effect: Effect::Throttle { retry_after: None },
    });
    let declaration = config::load(&house.path()).unwrap().declaration;
    let clock: Arc<dyn Clock> = Arc::new(HostClock::at_speed(5.0));
    let engine = Engine::with_limits(Arc::new(declaration), clock, impatient()).await.unwrap();
    let engine = Arc::new(engine.with_visit_max(Duration::from_millis(1_000)));
    let sorted = engine.sort().await;
    let visited = soon("a pass", engine.pass(sorted, Visit::default(), |_, _| {})).await;
    let made = house.sandbox.keycard().credentials().len();
    assert_eq!(made, 2, "it was made: {:?}", visited[&name("app")].status);
    assert_eq!((house.live(), house.leases("app")), (1, 1), "and ended by the only one who could");
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_while_a_vendor_is_mute_a_verb_ends_soon_and_not_as_a_success() {
    let mut cases = tokio::task::JoinSet::new();
    for (verb, signal) in [("once", "TERM"), ("rotate app", "INT"), ("rotate app --leaked", "TERM"), ("once", "HUP")] {
        cases.spawn(async move {
            let mute = Mute::new().await;
            let house = House::new(&[]).await;
            house.declare(&(mute.declared() + &at_nobody("app", "")));
            let child = house.start(verb);
            let _waits = soon("it asks", mute.asked()).await;
            let (code, text) = soon(verb, child.told(signal)).await;
            assert!(code == 3 && text.contains("told to stop"), "{verb} {signal}: {code}\n{text}");
        });
    }
    while let Some(done) = cases.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn what_waits_to_be_judged_at_a_mute_vendor_delays_nobody_else() {
    let mute = Mute::new().await;
    let takeovers: String = (0..6).map(|number| at_nobody(&format!("a{number}"), "takeover = \"rotate\"\n")).collect();
    let limited = |text: String| text.replace("[defaults]\n", "[limits]\nmax_replacements = 2\n[defaults]\n");
    let stage = Stage::edited(&(mute.declared() + &takeovers + &credential("good", "")), limited).await;
    let sorted = soon("a listing", stage.engine.sort()).await;
    assert_eq!((sorted.wanted.len(), sorted.suspects.len()), (1, 6), "those who must be judged stand apart");
    let engine = hasty(&stage).await;
    let visited = soon("a pass", engine.pass(sorted, Visit::default(), |_, _| {})).await;
    assert_eq!(visited[&name("good")].status.reason, Reason::Healthy);
    assert_eq!(visited.len(), 1, "what could not be judged was not visited");
    let status = engine.board().get(&name("a0")).unwrap();
    assert!(status.fault.is_some(), "and it is told why: {status:?}");
}

/// A clock of somebody's bug: reading it panics as often as a test says.
struct Broken {
    host: HostClock,
    panics: AtomicU64,
}

impl Clock for Broken {
    fn wall(&self) -> Timestamp {
        self.host.wall()
    }

    fn monotonic(&self) -> Duration {
        let broken = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(broken.is_err(), "a bug that a test made");
        self.host.monotonic()
    }

    fn sleep(&self, span: Duration) -> Sleep<'_> {
        self.host.sleep(span)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bug_is_one_failed_visit_or_one_failed_listing_and_stands_until_it_is_gone() {
    let house = House::new(&["app"]).await;
    house.declare(&credential("app", ""));
    let declaration = config::load(&house.path()).unwrap().declaration;
    let clock = Arc::new(Broken { host: HostClock::at_speed(SPEED), panics: AtomicU64::new(0) });
    let engine = Engine::with_limits(Arc::new(declaration), clock.clone(), impatient()).await.unwrap();
    let engine = Arc::new(engine);
    let all = engine.declaration().credentials.clone();
    let status = || engine.board().get(&name("app")).unwrap();
    let fails = || status().fault.is_some();
    let sorted = engine.sort().await;
    engine.pass(sorted, Visit::default(), |_, _| {}).await;
    assert_eq!((status().reason, fails()), (Reason::Healthy, false));

    clock.panics.store(1, Ordering::SeqCst);
    engine.sort().await;
    let unreachable = engine.board().unreachable();
    assert_eq!(unreachable.len(), 1, "a bug in a listing is that target's: {unreachable:?}");
    engine.sort().await;
    assert_eq!((engine.board().unreachable().len(), fails()), (0, false), "the next one went well");

    clock.panics.store(1, Ordering::SeqCst);
    engine.visit_all(all.clone(), Visit::default(), |_, _| {}).await;
    assert!(fails() && status().exit_code() > 0, "{:?}", status());
    assert!(status().look_again.is_some(), "it is tried again");
    engine.sort().await;
    assert!(fails(), "a listing does not know better");
    engine.visit_all(all, Visit::default(), |_, _| {}).await;
    assert_eq!((fails(), status().reason), (false, Reason::Healthy), "nothing is stuck");
}

#[tokio::test]
async fn a_fault_stands_until_the_very_thing_that_failed_was_tried_again() {
    let stage = Stage::one().await;
    stage.pass().await;
    let all = stage.engine.declaration().credentials.clone();
    let drift = Visit { vendor: AskVendor::Always, ..Visit::default() };
    let refuse = |times| Rule {
        service: "keycard".into(),
        operation: "list_credentials".into(),
        skip: 0,
        times,
        chance: 1.0,
        effect: Effect::Refuse { status: 403, code: "forbidden".into() },
    };
    let failing = || stage.status("app").fault.is_some();
    stage.sandbox.add_fault(refuse(3));
    stage.engine.visit_all(all.clone(), drift, |_, _| {}).await;
    assert!(failing());
    assert!(stage.status("app").look_again.is_some(), "it is tried again soon");
    for round in 0..2 {
        assert!(stage.engine.sort().await.wanted.is_empty(), "it is not time yet: {round}");
        assert!(failing(), "a listing of AWS does not ask the vendor: {round}");
        stage.clock.advance(HOUR);
        assert_eq!(stage.engine.sort().await.wanted.len(), 1, "it is tried again: {round}");
        assert!(failing(), "a listing of AWS does not ask the vendor: {round}");
        stage.engine.visit_all(all.clone(), Visit::default(), |_, _| {}).await;
        assert!(failing(), "the vendor still refuses: {round}");
    }
    stage.engine.visit_all(all, Visit::default(), |_, _| {}).await;
    assert!(!failing(), "it was asked again, and answered");
}

#[tokio::test]
async fn without_a_listing_everybody_is_looked_at_when_due_and_otherwise_in_a_slow_round() {
    let stage = Stage::edited(&credential("app", ""), |text| format!("discovery = \"declared\"\n{text}")).await;
    stage.pass().await;
    assert_eq!(stage.status("app").reason, Reason::Healthy);
    for (passes, wanted) in [(5 * 60, 0), (50 * 60, 0), (10 * 60, 1)] {
        stage.clock.advance(Duration::from_secs(passes));
        assert_eq!(stage.engine.sort().await.wanted.len(), wanted, "after {passes} s more");
    }
    stage.pass().await;
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    assert_eq!(stage.live_credentials(), 2, "what is due is rotated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_target_or_vendor_stops_nobody_else_and_is_opened_when_it_can_be() {
    let house = House::new(&["app", "more"]).await;
    let ca = house.path().with_file_name("ca.pem");
    let broken = format!(
        "[aws.broken]\nregion = \"us-east-1\"\nendpoint_url = \"http://{}\"\ncredentials = \"sandbox\"\nca_file = {:?}\n",
        house.sandbox.aws_address(),
        ca.display().to_string(),
    );
    let head = house.head().replace("[aws]\n", "[aws.main]\n");
    let declared = head.replace("[vendors.keycard]", &format!("{broken}[vendors.keycard]"));
    house.write(&(declared + &credential("app", "aws = \"main\"\n") + &credential("more", "aws = \"broken\"\n")));
    let (code, text) = house.verb("once").await;
    assert!(code == 3 && text.contains("more") && text.contains("ca.pem"), "{code}\n{text}");
    assert_eq!(house.live(), 1, "the other one was made: {text}");
    let (code, text) = house.verb("status").await;
    assert!(code == 3 && text.contains("ca.pem"), "{code}\n{text}");

    let daemon = house.daemon(&[]).await;
    daemon.shows("app", "ok", "healthy").await;
    daemon.answers("readyz", 503, "ca.pem").await;
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-keyout", "/dev/null", "-out"])
        .arg(&ca)
        .stderr(Stdio::null())
        .status();
    if made.is_ok_and(|made| made.success()) {
        daemon.shows("more", "ok", "healthy").await;
        daemon.answers("readyz", 200, "ready").await;
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_where_the_sdk_expects_a_file_is_a_sentence_and_no_hang() {
    let house = House::new(&["app"]).await;
    house.write(&(house.head().replace("credentials = \"sandbox\"\n", "") + &credential("app", "")));
    let pipe = house.path().with_file_name("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for variable in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"] {
        let child = house.start_with("status", |command| {
            command.env(variable, &pipe);
        });
        let (code, text) = soon(variable, child.output()).await;
        assert!(code == 3 && text.contains(variable) && text.contains("pipe"), "{variable}: {code}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_while_a_target_is_being_opened_it_ends_at_once_and_calls_it_no_bug() {
    let house = House::new(&["app"]).await;
    let head = house.head().replace("credentials = \"sandbox\"\n", "").replace("region = \"us-east-1\"\n", "");
    house.write(&(head + &credential("app", "")));
    // The Region is asked for at the instance's metadata, which does not answer.
    let mute = Mute::new().await;
    let child = house.start_with("run", |command| {
        command.env_remove("AWS_EC2_METADATA_DISABLED");
        let endpoint = format!("http://{}", mute.listener.local_addr().unwrap());
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint);
    });
    let _waits = soon("it asks for its Region", mute.asked()).await;
    let (code, text) = soon("an opening", child.told("TERM")).await;
    assert!(code == 0 && !text.contains("bug"), "{code}\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_too_few_descriptors_it_says_so_and_does_not_panic() {
    let house = House::new(&["app"]).await;
    house.declare(&credential("app", ""));
    for most in 6..28 {
        let mut command = Command::new("sh");
        let line = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
        command.args(["-c", &line, env!("CARGO_BIN_EXE_keyferry"), "status", "--config"]).arg(house.path());
        command.env_clear().env("AWS_EC2_METADATA_DISABLED", "true");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 3)) && !text.contains("panicked"), "{most}: {code:?}\n{text}");
        assert!(code == Some(0) || text.contains("more files"), "{most}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_of_the_sandboxs_does_nothing_to_any_verb() {
    let house = House::new(&["app"]).await;
    house.declare(&credential("app", ""));
    let child = house.start_with("once", |command| {
        command.env("KEYFERRY_SANDBOX_PARENT", "1");
    });
    let (code, text) = child.output().await;
    assert!(code == 0 && text.contains("app"), "{code}\n{text}");
    assert_eq!(house.live(), 1);
}
