//! What happens in a voyage: a beginning, something that goes wrong in it, and fresh processes
//! until everything rests.

use std::ops::RangeInclusive;
use std::time::Duration;

use keyferry::model::time::Timestamp;
use keyferry::sandbox::gate::{Hold, Moment};
use tokio::process::Child;

use crate::judge::SECRET;
use crate::kind::Kind;
use crate::world::{Said, Setting, World};

/// More processes than any way back to rest takes.
const PROCESS_COUNT_MAX: usize = 40;
/// After a date that a process waits for. Dates on the wire are whole seconds, and a process's clock
/// may be a little ahead: one that is woken too early does nothing, and its calls would be counted.
const MARGIN: Duration = Duration::from_secs(90);

const HOUR: Duration = Duration::from_secs(3_600);
pub const DAY: Duration = Duration::from_secs(86_400);

/// What a voyage is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plot {
    /// Nothing is there yet.
    First,
    /// A rotation that is due, with overlap, to the revocation of the old one.
    Rotation,
    /// The current value leaked.
    Leaked,
    /// The declaration says that the credential is no longer wanted, while the one before it lives
    /// for its overlap.
    Retirement,
    /// The declaration names another application: a new credential there, and the old one goes after
    /// its overlap.
    Move,
}

impl Plot {
    /// What may happen with a vendor of this kind.
    pub fn of(kind: Kind) -> &'static [Self] {
        const ALL: [Plot; 5] = [Plot::First, Plot::Rotation, Plot::Leaked, Plot::Retirement, Plot::Move];
        if kind.vendor().moves.is_some() { &ALL } else { &ALL[..4] }
    }

    /// The words of the first process.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::First | Self::Rotation | Self::Retirement | Self::Move => &["once"],
            Self::Leaked => &["rotate", "app", "--leaked"],
        }
    }

    /// How long, from the beginning, the credential that is current then lives at least and at most,
    /// whatever happens. For a rotation that is its overlap, and an hour for the candidate besides,
    /// with an attempt lost or slept away; for a leaked one a lost attempt; for a retired one its
    /// consumers' time, and the word ahead.
    pub fn lives(self, kind: Kind, bounds: Bounds) -> RangeInclusive<Duration> {
        let Bounds { overlap, lost } = bounds;
        match (self, kind) {
            (Self::First, _) => Duration::ZERO..=Duration::MAX,
            (Self::Rotation | Self::Move, Kind::Named | Kind::Unnamed) => overlap..=overlap + HOUR * 8,
            // In place, nothing waits for a value that is replaced, but for a lost attempt.
            (Self::Rotation | Self::Move, Kind::InPlace) | (Self::Leaked, _) => Duration::ZERO..=lost,
            (Self::Retirement, Kind::Named | Kind::Unnamed) => overlap..=overlap + HOUR * 2 + lost,
            // The record is its owner's to delete.
            (Self::Retirement, Kind::InPlace) => Duration::MAX..=Duration::MAX,
        }
    }
}

/// What a voyage's times are made of.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// How long consumers may hold what was replaced or retired.
    pub overlap: Duration,
    /// What a lost attempt takes.
    pub lost: Duration,
}

/// How a voyage ended.
#[derive(Debug)]
pub struct Ended {
    /// Its calls, from the first one that could be the last.
    pub calls: Vec<String>,
    /// Where the process was killed.
    pub killed: Option<(String, Moment)>,
    /// How many processes were killed.
    pub kills: usize,
    /// What was wrong.
    pub violations: Vec<String>,
    /// Processes it took.
    pub processes: usize,
}

/// A voyage that has begun.
pub struct Voyage {
    pub world: World,
    plot: Plot,
    kind: Kind,
    /// A process slept at the wrong moment, or was as slow as if it had.
    pub late: bool,
    /// Calls before it began.
    skip: usize,
    began: Timestamp,
    /// The credential that is to be replaced.
    first: Option<String>,
    /// The one of the other target.
    other: Option<String>,
    processes: usize,
    killed: Option<(String, Moment)>,
    kills: usize,
    /// Claims for a leaked value that had ever been seen when a process was killed first.
    claims_before_kill: Option<usize>,
    /// Failures of a consumer that is told to go.
    failures: u64,
    /// Kills after the first one, the last one first.
    more: Vec<Hold>,
}

impl Voyage {
    /// Makes the world as the plot finds it.
    pub async fn begin(plot: Plot, setting: Setting) -> Self {
        let world = World::new(setting).await;
        // And a minute: an age counts from when keyferry was told the time.
        let due = DAY * 30 + Duration::from_secs(60);
        let before: &[Duration] = match plot {
            Plot::First => &[],
            Plot::Rotation => &[due],
            Plot::Leaked | Plot::Move => &[DAY],
            Plot::Retirement => &[due, HOUR],
        };
        for span in before {
            let mut said = world.run(&["once"]).await.0;
            for _ in 0..PROCESS_COUNT_MAX {
                if !said.was_slow() {
                    break;
                }
                world.pass(HOUR).await;
                said = world.run(&["once"]).await.0;
            }
            assert_eq!(said.code, Some(0), "{}", said.text);
            world.pass(*span).await;
        }
        world.edit(plot);
        let (skip, began, first) = (world.judge.calls().len(), world.clock.wall(), world.judge.current());
        let other = world.other.as_ref().and_then(|judge| judge.current());
        Self {
            world,
            plot,
            kind: setting.kind,
            late: false,
            skip,
            began,
            first,
            other,
            processes: 0,
            killed: None,
            kills: 0,
            claims_before_kill: None,
            failures: 0,
            more: Vec::new(),
        }
    }

    /// Kills the process that makes this call, at this moment of it.
    pub fn kill_at(&self, hold: Hold) {
        self.world.sandbox.world.gate.hold(hold);
    }

    /// The calls since it began.
    pub fn calls(&self) -> Vec<String> {
        self.world.judge.calls().split_off(self.skip)
    }

    /// Notes where a process was killed first, and has the next one killed as well if that is wanted.
    fn note_kill(&mut self, held: Option<(String, Moment)>) {
        self.claims_before_kill.get_or_insert(self.world.judge.leak_count());
        self.killed = held;
        self.kills += 1;
        if let Some(hold) = self.more.pop() {
            self.kill_at(hold);
        }
    }

    /// Two replicas at once, again and again, until everything rests.
    pub async fn sail_two(&mut self) {
        let mut words = self.plot.words();
        for _ in 0..PROCESS_COUNT_MAX {
            self.processes += 2;
            let (said, held) = self.world.run_two(words).await;
            self.look().await;
            words = &["once"];
            if held.is_some() {
                // The other one may have ended before: what it said is older than this.
                self.note_kill(held);
                continue;
            }
            self.late |= said.iter().any(Said::was_slow);
            // Of two that get into each other's way each says so, and the next look finds it healed.
            let now = self.world.clock.wall();
            if said.iter().all(|one| self.rests(one, now)) {
                return;
            }
            self.wait_for(said.iter().filter_map(next).min()).await;
        }
        self.world.judge.blame("two replicas do not come to rest".into());
    }

    /// Processes one after another, the first with `words`, until everything rests.
    pub async fn sail(&mut self, mut words: &'static [&'static str]) {
        let mut last = String::new();
        for _ in 0..PROCESS_COUNT_MAX {
            self.processes += 1;
            let (said, held) = self.world.run(words).await;
            self.look().await;
            let asked = std::mem::replace(&mut words, &["once"]);
            if held.is_some() {
                self.note_kill(held);
                continue;
            }
            self.world.judges().for_each(|judge| judge.settled());
            self.late |= said.was_slow();
            if said.code != Some(0) && !said.was_slow() {
                self.world.judge.blame(format!("{asked:?} ended with {:?}: {}", said.code, said.text));
            }
            if asked == ["once"] {
                if self.rests(&said, self.world.clock.wall()) {
                    return;
                }
                self.wait_for(next(&said)).await;
            }
            last = said.text;
        }
        self.world.judge.blame(format!("it does not come to rest: {last}"));
    }

    /// Processes one after another, with clocks of their own at `speed`, until one makes the call
    /// that is held.
    pub async fn until_held(&mut self, speed: u32) -> Child {
        let mut words = self.plot.words();
        loop {
            self.processes += 1;
            let mut child = self.world.start_at(words, speed);
            let gate = &self.world.sandbox.world.gate;
            tokio::select! {
                biased;
                _ = gate.until_held() => return child,
                _ = child.wait() => {}
            }
            let said = self.world.heard(child).await;
            assert!(!self.rests(&said, self.world.clock.wall()), "the call never came");
            words = &["once"];
            self.wait_for(next(&said)).await;
        }
    }

    /// The consumer's round at a moment when something may just have changed.
    pub async fn look(&mut self) {
        let consumer = &self.world.sandbox.consumer;
        match self.plot {
            Plot::First | Plot::Rotation | Plot::Move => {}
            // Who holds a leaked value is not waited for.
            Plot::Leaked => consumer.read_anew(),
            // Whoever was told that it is retired is gone when their time is over.
            Plot::Retirement => {
                let since = self.world.judge.retiring();
                if since.is_some_and(|since| self.world.clock.wall() >= since.plus(DAY)) {
                    self.failures += consumer.failure_count();
                    consumer.unwatch(SECRET);
                }
            }
        }
        consumer.round().await;
    }

    async fn wait_for(&mut self, next: Option<Timestamp>) {
        let now = self.world.clock.wall();
        let span = next.unwrap_or(now).since(now) + MARGIN;
        self.world.pass(span).await;
        self.look().await;
    }

    /// Whether nothing is left to do before the next rotation, or ever.
    fn rests(&self, said: &Said, now: Timestamp) -> bool {
        let next = next(said);
        let (wanted, far) = match self.plot {
            Plot::Retirement => ("retired", next.is_none_or(|next| next.since(now) > DAY * 2)),
            Plot::First | Plot::Rotation | Plot::Leaked | Plot::Move => {
                ("healthy", next.is_some_and(|next| next.since(now) > DAY * 2))
            }
        };
        let each = said.facts["credentials"].as_array();
        far && each.is_some_and(|each| !each.is_empty() && each.iter().all(|one| one["reason"] == wanted))
    }

    /// Judges how it ended.
    pub async fn end(self) -> Ended {
        let world = &self.world;
        world.pass(Duration::from_secs(600)).await;
        for judge in world.judges() {
            judge.at_rest(self.plot == Plot::Retirement).into_iter().for_each(|what| judge.blame(what));
            judge.saw_the_tags_of(self.plot);
        }
        if let Some(other) =
            world.other.as_ref().filter(|other| self.plot == Plot::Leaked && other.current() != self.other)
        {
            other.blame("what leaked in one target was replaced in the other".into());
        }
        if self.failures + world.sandbox.consumer.failure_count() > 0 {
            world.judge.blame(format!("the consumer failed: {:?}", world.sandbox.consumer.tally()));
        }
        let calls = self.calls();
        if let Some(first) = &self.first {
            // Who asks, and is killed before the claim, has to ask again.
            let claimed = self.claims_before_kill.unwrap_or_else(|| world.judge.leak_count()) > 0;
            if self.plot != Plot::Leaked || claimed {
                let bounds = Bounds { overlap: DAY, lost: if self.late { HOUR * 4 } else { HOUR } };
                world.judge.lived(first, self.began, self.plot.lives(self.kind, bounds));
            }
        }
        Ended {
            calls,
            violations: world.violations(),
            kills: self.kills,
            killed: self.killed,
            processes: self.processes,
        }
    }
}

/// One voyage, on which processes are killed at these calls, each counted from the kill before it.
pub async fn voyage(plot: Plot, setting: Setting, holds: Vec<Hold>) -> Ended {
    let replicas = setting.replicas;
    let mut voyage = Voyage::begin(plot, setting).await;
    voyage.more = holds.into_iter().rev().collect();
    if let Some(hold) = voyage.more.pop() {
        voyage.kill_at(hold);
    }
    match replicas {
        1 => voyage.sail(plot.words()).await,
        _ => voyage.sail_two().await,
    }
    voyage.end().await
}

/// The date that it waits for.
fn next(said: &Said) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(said.facts["next_due"].as_str()?)
}

/// Every moment of a plot's `count` calls.
pub fn moments(count: usize) -> impl Iterator<Item = Hold> {
    let number = 1..=u64::try_from(count).unwrap();
    number.flat_map(|next| [Moment::Before, Moment::After].map(|moment| Hold { next, moment, call: None }))
}

/// For a person: how a voyage went wrong.
pub fn tell(what: &str, ended: &Ended) -> String {
    format!("{what}, killed at {:?}:\n  {}\n  {}", ended.killed, ended.violations.join("\n  "), ended.calls.join(", "))
}
