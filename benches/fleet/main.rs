//! What a fleet costs: time, CPU, memory and calls, in one run. `cargo bench`.
//!
//! The pretend services run in a process of their own (`services`), so that CPU and memory counted
//! here are keyferry's alone. Not a pass-or-fail test: counts of calls are tested in `tests/it`, and
//! times depend on the machine. `README.md` beside this folder keeps figures to compare with.

mod meter;
mod raw;
mod services;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use keyferry::config;
use keyferry::engine::Engine;
use keyferry::engine::reconcile::Visit;
use keyferry::model::time::Clock;
use meter::{Meter, Spent};
use services::{Calls, Services, SkippingClock};

/// Set to measure the idle daemon for so many seconds; what is spent in a shorter time hardly shows.
const IDLE_SECONDS: &str = "KEYFERRY_BENCH_IDLE_SECONDS";
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Credentials that are created and rotated.
const MOVED: u32 = 100;
/// A large fleet.
const LARGE: u32 = 10_000;

fn main() {
    if services::asked() {
        services::serve();
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be started");
    println!("{:<52} {:>9} {:>9}  calls", "", "wall", "CPU");
    check();
    runtime.block_on(async {
        for count in [1_000, LARGE] {
            no_op(count).await;
        }
        create_and_rotate().await;
    });
    for count in [1_000, LARGE] {
        once(count);
    }
    daemon();
}

fn line(what: &str, spent: Spent, calls: &str) {
    let milliseconds = |span: Duration| format!("{:.1} ms", span.as_secs_f64() * 1e3);
    println!("{what:<52} {:>9} {:>9}  {calls}", milliseconds(spent.wall), milliseconds(spent.cpu));
}

/// `keyferry check`, the whole process.
fn check() {
    let services = Services::start();
    let (_folder, path) = declared(&services.declaration("bench", LARGE));
    let meter = Meter::of_ended_children();
    for _ in 0..5 {
        let ended = keyferry("check", &path).stdout(Stdio::null()).status();
        assert!(ended.is_ok_and(|status| status.success()), "the declaration has no problems");
    }
    line(&format!("keyferry check, {LARGE} credentials (process)"), meter.spent().each(5), "0");
}

/// A pass over a fleet at rest, in a process that knows it and in one that does not.
async fn no_op(count: u32) {
    let mut services = Services::start();
    services.seed(count);
    let clock = Arc::new(SkippingClock::default());
    let engine = open(&services.declaration("bench", count), &clock).await;
    for (word, times) in [("first", 1), ("next", 20_000 / count)] {
        let before = services.calls();
        let meter = Meter::of_this_process();
        for _ in 0..times {
            let sorted = engine.sort().await;
            assert!(sorted.wanted.is_empty(), "the fleet is at rest");
        }
        let spent = meter.spent().each(times);
        let calls = services.calls().since(before);
        let each = spent.cpu.as_secs_f64() * 1e3 / f64::from(count);
        let calls = format!("{} AWS, {} vendor; {each:.4} ms CPU a secret", calls.aws / u64::from(times), calls.vendor);
        line(&format!("no-op pass, {count} secrets, {word}"), spent, &calls);
    }
}

/// First values and rotations of some credentials, the pacing of writes apart.
async fn create_and_rotate() {
    let mut services = Services::start();
    let clock = Arc::new(SkippingClock::default());
    services.applications(MOVED);
    let engine = open(&services.declaration("bench", MOVED), &clock).await;
    let created = pass(&engine, &mut services).await;
    line_each("first creation", created);
    // Dates on the wire are whole seconds: a moment past the due date, not the date itself.
    services.skip(&clock, 30 * DAY + HOUR);
    let rotated = pass(&engine, &mut services).await;
    line_each("rotation until the new value is current", rotated);
    let mut ended = (Spent::default(), Calls::default());
    for hours in [25, 1, 1] {
        services.skip(&clock, hours * HOUR);
        let (spent, calls) = pass(&engine, &mut services).await;
        ended = (ended.0 + spent, ended.1 + calls);
    }
    assert_eq!(services.live(), u64::from(MOVED), "the old ones are revoked");
    line_each("its end: overlap over, old one revoked", ended);
    let rotation = (rotated.0 + ended.0, rotated.1 + ended.1);
    line_each("rotation in all", rotation);

    // The same machine, the same services, the least that any tool has to send.
    let before = services.calls();
    let meter = Meter::of_this_process();
    raw::rotate(&services, MOVED, &*clock).await;
    let bare = (meter.spent(), services.calls().since(before));
    line_each("reference: bare rotation with 4 unsigned raw calls", bare);
    let ratio = rotation.0.cpu.as_secs_f64() / bare.0.cpu.as_secs_f64();
    let per_call = |(spent, calls): (Spent, Calls)| {
        spent.cpu.as_secs_f64() * 1e6 / (calls.aws + calls.vendor).to_string().parse::<f64>().unwrap_or(f64::NAN)
    };
    println!(
        "{:<52} {ratio:.1} x the CPU; {:.0} against {:.0} us a call",
        "rotation in all, against that",
        per_call(rotation),
        per_call(bare)
    );
}

fn line_each(what: &str, (spent, calls): (Spent, Calls)) {
    let each = |count: u64| format!("{:.2}", f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / f64::from(MOVED));
    let calls =
        format!("{} AWS ({} of them writes), {} vendor", each(calls.aws), each(calls.writes), each(calls.vendor));
    line(&format!("{what} (each of {MOVED})"), spent.each(MOVED), &calls);
}

/// Sorts the fleet and visits who needs it.
async fn pass(engine: &Arc<Engine>, services: &mut Services) -> (Spent, Calls) {
    let before = services.calls();
    let meter = Meter::of_this_process();
    let wanted = engine.sort().await.wanted;
    assert!(engine.board().unreachable().is_empty(), "{:?}", engine.board().unreachable());
    let visited = engine.visit_all(wanted, Visit::default(), |_, _| {}).await;
    for (name, one) in visited {
        assert!(one.status.fault.is_none(), "{name}: {:?}", one.status);
    }
    (meter.spent(), services.calls().since(before))
}

/// `keyferry once` over a fleet at rest, the whole process: what a timer or a pipeline pays.
fn once(count: u32) {
    let mut services = Services::start();
    services.seed(count);
    let (_folder, path) = declared(&services.declaration("bench", count));
    let before = services.calls();
    let meter = Meter::of_ended_children();
    let ended = keyferry("once", &path).stdout(Stdio::null()).status();
    assert!(ended.is_ok_and(|status| status.success()), "the fleet is at rest");
    let spent = meter.spent();
    let calls = services.calls().since(before);
    let calls = format!("{} AWS, {} vendor", calls.aws, calls.vendor);
    line(&format!("keyferry once, {count} secrets at rest (process)"), spent, &calls);
}

/// The daemon with a large fleet at rest: memory, then CPU and calls while nothing happens.
fn daemon() {
    let mut services = Services::start();
    services.seed(LARGE);
    let (_folder, path) = declared(&services.declaration("bench", LARGE));
    let began = services.calls();
    let daemon = Running(keyferry("run", &path).spawn().expect("the daemon starts"));
    while services.calls().since(began).aws < u64::from(LARGE) / 100 {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(2));
    let memory = meter::memory(daemon.0.id());
    println!(
        "{:<52} {:.1} MiB resident, {:.1} MiB at its peak",
        format!("keyferry run, {LARGE} idle (process)"),
        memory.now_mib,
        memory.peak_mib
    );
    let seconds = std::env::var(IDLE_SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let before = services.calls();
    let meter = Meter::of_process(daemon.0.id());
    std::thread::sleep(Duration::from_secs(seconds));
    let spent = meter.spent();
    let calls = services.calls().since(before);
    let calls = format!("{} AWS, {} vendor", calls.aws, calls.vendor);
    line(&format!("the same, idle for {seconds} s"), spent, &calls);
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn keyferry(verb: &str, declaration: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.arg(verb).arg("--config").arg(declaration).env_clear().env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// The declaration as a file that only its owner may write.
fn declared(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("keyferry.toml");
    std::fs::write(&path, text).expect("a file can be written there");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("it is ours");
    (folder, path)
}

/// An engine for `declaration`, with the pacing of writes out of the way: it would cost wall time only.
async fn open(declaration: &str, clock: &Arc<SkippingClock>) -> Arc<Engine> {
    let loaded = config::load_text(&[("bench.toml", declaration)]);
    let mut declared = loaded.unwrap_or_else(|report| panic!("{}", report.render(false))).declaration;
    for target in declared.targets.values_mut() {
        target.pacing.writes_percent = 200_000;
        target.pacing.reads_percent = 200_000;
    }
    let clock: Arc<dyn Clock> = clock.clone();
    Arc::new(Engine::open(Arc::new(declared), clock).await.expect("the services are there"))
}
