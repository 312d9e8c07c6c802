//! Seeds by the dozen; a failing one is told with one command to replay it, and shortened: events
//! are left out one at a time as long as the same thing goes wrong.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::world::{Ask, Outcome, Plan, run};

/// Seeds of an ordinary `cargo test`.
const SEED_COUNT: u64 = 50;

/// What this thread has used of a core: how busy the machine is besides does not matter.
fn thread_ms() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(spent.tv_sec * 1_000 + spent.tv_nsec / 1_000_000).unwrap_or(0)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn seeds() {
    let count = number("KEYFERRY_SIM").unwrap_or(SEED_COUNT);
    let from = number("KEYFERRY_SIM_FROM").unwrap_or(0);
    let (next, failed) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    let (calls, simulated, spent_ms) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        spent_ms.fetch_add(thread_ms(), Ordering::Relaxed);
                        return;
                    }
                    let one = thread_ms();
                    let outcome = run(&Ask { seed, ..Ask::default() });
                    if number("KEYFERRY_SIM_TOLD").is_some() {
                        println!("seed {seed}: {} calls, {} ms", outcome.calls, thread_ms() - one);
                    }
                    calls.fetch_add(outcome.calls, Ordering::Relaxed);
                    simulated.fetch_add(outcome.simulated.as_secs(), Ordering::Relaxed);
                    if let Some(first) = outcome.violations.first() {
                        println!("seed {seed}: {}", first.text);
                        failed.lock().unwrap().push((seed, outcome));
                    }
                }
            });
        }
    });
    let took = spent_ms.into_inner() as f64 / 1_000.0;
    let days = simulated.into_inner() as f64 / 86_400.0;
    println!(
        "{count} worlds, {days:.0} days, {} calls, {took:.0} s of CPU: {:.1} simulated days a second",
        calls.into_inner(),
        days / took
    );
    let mut failed = failed.into_inner().unwrap();
    failed.sort_by_key(|(seed, _)| *seed);
    if let Some((seed, outcome)) = failed.first() {
        let keep = if number("KEYFERRY_SIM_TOLD").is_some() { Vec::new() } else { shortened(*seed, outcome) };
        panic!("{} of {count} worlds failed; the first, shortened:\n{}", failed.len(), command(*seed, &keep));
    }
}

/// One world, told.
#[test]
fn replay() {
    let Some(seed) = number("KEYFERRY_SIM_SEED") else { return };
    let keep = std::env::var("KEYFERRY_SIM_KEEP").ok();
    let keep = keep.map(|text| text.split(',').filter_map(|one| one.parse().ok()).collect());
    let plan = Plan::drawn(seed);
    println!("{}\n{:?}", plan.draft.text(), plan.cadence);
    let outcome = run(&Ask { seed, keep, told: true });
    outcome.lines.iter().for_each(|line| println!("{line}"));
    assert!(outcome.violations.is_empty(), "{} violations", outcome.violations.len());
}

/// The events that it takes, by number.
fn shortened(seed: u64, outcome: &Outcome) -> Vec<usize> {
    let name = outcome.violations[0].name;
    let mut keep: Vec<usize> = (0..outcome.event_count).collect();
    let over = Instant::now() + Duration::from_secs(60);
    for event in (0..outcome.event_count).rev() {
        let fewer: Vec<usize> = keep.iter().copied().filter(|one| *one != event).collect();
        if Instant::now() > over {
            break;
        }
        let again = run(&Ask { seed, keep: Some(fewer.clone()), told: false });
        if again.violations.iter().any(|one| one.name == name) {
            keep = fewer;
        }
    }
    keep
}

fn command(seed: u64, keep: &[usize]) -> String {
    let keep: Vec<String> = keep.iter().map(ToString::to_string).collect();
    format!(
        "  KEYFERRY_SIM_SEED={seed} KEYFERRY_SIM_KEEP={} cargo test --test sim replay -- --nocapture",
        keep.join(",")
    )
}

#[test]
fn one_seed_is_one_trace() {
    for seed in [1, 7] {
        let once = run(&Ask { seed, keep: None, told: true });
        let again = run(&Ask { seed, keep: None, told: true });
        let differs = once.lines.iter().zip(&again.lines).find(|(one, other)| one != other);
        assert_eq!((differs, once.digest), (None, again.digest), "seed {seed}");
        let names: BTreeSet<&str> = once.violations.iter().map(|one| one.name).collect();
        assert_eq!(names, again.violations.iter().map(|one| one.name).collect());
    }
}
