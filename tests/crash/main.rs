//! The real binary, killed with SIGKILL before and after each of its outside calls, in turn; then
//! started afresh, and again whenever it said that a date would come, until everything rests. All
//! the while a consumer reads and logs in, and a judge sees every call.
//!
//! | file | |
//! |---|---|
//! | `plot` | what happens: a first creation, a rotation, a leaked one, a retirement, a move |
//! | `kind` | with whom: a vendor that keeps our mark, one that keeps none, one in place |
//! | `world` | the services, the declaration, processes |
//! | `judge` | the invariants, after every single call |
//! | `main`, `daemon` | `once` and `run`, one and two at once |
//! | `sleepers` | processes that sleep at the wrong moment |
//!
//! `cargo test` kills `once` at every call where marks are kept, and at a seeded share with the other
//! kinds and in a world of two targets; `run`, and two at once, at a seeded share where marks are kept.
//! `KEYFERRY_CRASH=full` kills before and after every call of `once` with every kind, and of `run` and of
//! two at once where marks are kept (a share with the other kinds), and on 2,000 random voyages besides.

mod daemon;
mod judge;
mod kind;
mod plot;
mod sleepers;
mod world;

use keyferry::sandbox::gate::{Hold, Moment};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use kind::Kind;
use plot::{Ended, Plot, moments, tell, voyage};
use world::Setting;

/// Voyages at once, over all tests: most of their time they wait, for a child process that keeps
/// its pace.
static AT_ONCE: Semaphore = Semaphore::const_new(16);
/// Random choices come from this.
const SEED: u64 = 1;

/// Whether everything is asked for.
fn full() -> bool {
    std::env::var("KEYFERRY_CRASH").is_ok_and(|asked| asked == "full")
}

/// How many moments of a plot's calls processes are killed at: one in so many, from a seed.
#[derive(Clone, Copy)]
struct Share {
    of_all: usize,
    /// The same where everything is asked for.
    of_full: usize,
    /// And right after each call that changes something.
    changes: bool,
}

impl Share {
    /// The moments.
    fn of(self, calls: &[String]) -> Vec<Hold> {
        const CHANGES: [&str; 6] = ["create", "put", "update", "tag", "untag", "delete"];
        let changes = |hold: &Hold| {
            let call = &calls[usize::try_from(hold.next).unwrap() - 1];
            let word = call.rsplit(' ').next().unwrap_or_default().to_lowercase();
            hold.moment == Moment::After && CHANGES.iter().any(|change| word.starts_with(change))
        };
        let mut dice = fastrand::Rng::with_seed(SEED);
        let one_in = if full() { self.of_full } else { self.of_all };
        // Killed before a call, a process leaves behind what it leaves when killed after the one before.
        // With everything asked for, that is not taken on trust.
        let tells = |hold: &Hold| full() || one_in > 1 || hold.moment == Moment::After || hold.next == 1;
        // The dice first, so that the others don't depend on what a call is called.
        let wanted = |hold: &Hold| dice.usize(..one_in) == 0 || (self.changes && changes(hold));
        moments(calls.len()).filter(wanted).filter(tells).collect()
    }
}

/// Every day only the kind that keeps our marks: a voyage of two, or of a daemon, takes its time.
fn asked<const COUNT: usize>(kinds: [(Kind, usize); COUNT]) -> impl Iterator<Item = (Kind, usize)> {
    kinds.into_iter().filter(|(kind, _)| full() || *kind == Kind::Named)
}

/// What became of many voyages.
#[derive(Default)]
struct Tally {
    kills: usize,
    missed: usize,
    processes: usize,
    wrong: Vec<String>,
}

/// Sails when there is room for one more.
async fn alone<V: Future>(voyage: V) -> V::Output {
    let _permit = AT_ONCE.acquire().await.unwrap();
    voyage.await
}

/// Sails each of `voyages`, a few at a time, and tells how many kills and violations there were.
async fn all<V>(what: &str, voyages: Vec<V>) -> Tally
where
    V: Future<Output = (String, Ended)> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut tally = Tally::default();
    for voyage in voyages {
        running.spawn(alone(voyage));
    }
    while let Some(done) = running.join_next().await {
        let (name, ended) = done.unwrap();
        tally.processes += ended.processes;
        tally.kills += ended.kills;
        tally.missed += usize::from(ended.kills == 0);
        if !ended.violations.is_empty() {
            tally.wrong.push(tell(&name, &ended));
        }
    }
    let Tally { kills, missed, processes, wrong } = &tally;
    println!("{what}: {kills} kills, {missed} calls not reached, {processes} processes, {} violations", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    tally
}

/// What a line of the tally is about: `calls` were made on a voyage without a kill, and `count`
/// processes are to be killed at them.
fn told(plot: Plot, kind: Kind, how: &str, calls: usize, count: usize) -> String {
    let share = match count {
        _ if count == 2 * calls => "before and after each".to_owned(),
        _ if count == calls + 1 => "before the first and after each".to_owned(),
        _ => format!("{count} moments of them"),
    };
    format!("{plot:?}, {kind:?}, {how}, {calls} outside calls, {share}")
}

async fn named(plot: Plot, setting: Setting, holds: Vec<Hold>) -> (String, Ended) {
    let name = format!("{plot:?}, {setting:?}, {holds:?}");
    (name, voyage(plot, setting, holds).await)
}

/// A world with one credential.
const fn alone_with(kind: Kind, replicas: usize) -> Setting {
    Setting { kind, beside: None, replicas, sets_late: false }
}

/// Kills at every call of a plot, or at a share of them.
async fn at_every_call(plot: Plot, setting: Setting, share: Share) {
    let (kind, replicas) = (setting.kind, setting.replicas);
    let (name, dry) = alone(named(plot, setting, Vec::new())).await;
    assert!(dry.violations.is_empty(), "{}", tell(&name, &dry));
    let calls = dry.calls.len();
    let holds = share.of(&dry.calls);
    let count = holds.len();
    let voyages = holds.into_iter().map(|hold| named(plot, setting, vec![hold])).collect();
    let how = match setting.beside {
        None => format!("once, {replicas} at once"),
        Some(other) => format!("once, beside {other:?} in another target"),
    };
    let tally = all(&told(plot, kind, &how, calls, count), voyages).await;
    // How two processes, or two targets in one, interleave is theirs: there the count is a guide.
    let exact = replicas == 1 && setting.beside.is_none();
    assert!(!exact || (tally.kills, tally.missed) == (count, 0), "{plot:?}, {kind:?}");
}

/// Does it with every plot of a kind, side by side.
async fn with_every_plot<V>(kind: Kind, of: impl Fn(Plot) -> V)
where
    V: Future<Output = ()> + Send + 'static,
{
    let mut running: JoinSet<()> = Plot::of(kind).iter().map(|plot| of(*plot)).collect();
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_is_killed_at_every_call_and_the_next_one_goes_on() {
    let share = Share { of_all: 1, of_full: 1, changes: true };
    with_every_plot(Kind::Named, |plot| at_every_call(plot, alone_with(Kind::Named, 1), share)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_where_leftovers_are_told_by_elimination() {
    let share = Share { of_all: 12, of_full: 1, changes: true };
    with_every_plot(Kind::Unnamed, |plot| at_every_call(plot, alone_with(Kind::Unnamed, 1), share)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_where_a_value_is_kept_in_place() {
    let share = Share { of_all: 12, of_full: 1, changes: true };
    with_every_plot(Kind::InPlace, |plot| at_every_call(plot, alone_with(Kind::InPlace, 1), share)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_is_killed_and_the_other_goes_on() {
    for (kind, of_full) in asked([(Kind::Named, 1), (Kind::Unnamed, 4), (Kind::InPlace, 4)]) {
        let share = Share { of_all: 40, of_full, changes: false };
        with_every_plot(kind, |plot| at_every_call(plot, alone_with(kind, 2), share)).await;
    }
}

/// Half way through a move the judge says that it is not at rest, and why: a check that can't fail
/// would pass everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_what_it_waits_to_see_gone() {
    for kind in [Kind::Named, Kind::Unnamed] {
        let voyage = plot::Voyage::begin(Plot::Move, alone_with(kind, 1)).await;
        voyage.world.run(&["once"]).await;
        let wrong = voyage.world.judge.at_rest(false);
        let said = |words: &str| wrong.iter().any(|what| what.contains(words));
        assert!(said("the tag of a former place"), "{kind:?}: {wrong:?}");
        assert!(said("a label AWSPREVIOUS"), "{kind:?}: {wrong:?}");
        assert!(said("2 credentials live"), "{kind:?}: {wrong:?}");
    }
}

/// Two vendors and two targets in one declaration, with a secret of the same name in each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_where_two_targets_and_two_vendors_share_a_process() {
    let share = Share { of_all: 48, of_full: 2, changes: false };
    for (kind, other) in [(Kind::Named, Kind::Unnamed), (Kind::Unnamed, Kind::InPlace), (Kind::InPlace, Kind::Named)] {
        for plot in [Plot::First, Plot::Rotation, Plot::Leaked] {
            at_every_call(plot, Setting { beside: Some(other), ..alone_with(kind, 1) }, share).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_still_comes_to_rest() {
    let mut dice = fastrand::Rng::with_seed(SEED);
    let count = if full() { 2_000 } else { 24 };
    let voyages = (0..count).map(|_| {
        let kind = Kind::ALL[dice.usize(..Kind::ALL.len())];
        let plots = Plot::of(kind);
        let plot = plots[dice.usize(..plots.len())];
        let mut hold = |most| Hold {
            next: dice.u64(1..=most),
            moment: if dice.bool() { Moment::Before } else { Moment::After },
            call: None,
        };
        named(plot, alone_with(kind, 1), vec![hold(36), hold(20), hold(20)])
    });
    let voyages = voyages.collect();
    all("random, three kills each", voyages).await;
}
