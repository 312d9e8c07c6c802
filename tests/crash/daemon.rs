//! The same for the daemon: killed at a call, and started again as a service manager does; alone, or
//! beside a second one. Time passes by itself here, and leaps where nothing but a date is waited for.
//!
//! A person asks a daemon for nothing: `rotate --leaked` is a process of its own while it runs, and
//! whichever of them makes the call is killed. Nobody starts a killed `rotate` again: from its claim
//! on, the daemon goes on with it. A retirement, and a move, is an edit and a SIGHUP.

use std::sync::Arc;
use std::time::Duration;

use keyferry::model::time::Clock;
use keyferry::sandbox::gate::{Held, Hold};
use rustix::process::Signal;
use tokio::process::Child;

use crate::judge::{SECRET, Wait};
use crate::kind::Kind;
use crate::plot::{Bounds, DAY, Ended, Plot, tell};
use crate::world::{LeapClock, Setting, World, owns, signal};
use crate::{Share, all, alone, asked, told, with_every_plot};

/// Seconds that pass in one: a minute's fence is half a second.
const SPEED: u32 = 120;
/// Between two looks at how things stand, in the services' time.
const LOOK: Duration = Duration::from_secs(60);
/// More looks than any way back to rest takes: two days.
const LOOK_COUNT_MAX: usize = 2_880;
const OVERLAP_HOURS: u32 = 2;
const HOUR: Duration = Duration::from_secs(3_600);
/// Time leaps over a date that is waited for, by so much at most over all waits of a voyage.
const LEAPT_MAX: Duration = Duration::from_secs(8 * 3_600);

/// How much longer the old value lives when the `number`-th attempt is lost at the worst moment: its
/// candidate is given up after an hour, settle follows twice, and then the wait before the next try
/// with its fifth of jitter.
fn lost_by(number: u32) -> Duration {
    let wait = (Duration::from_secs(60) * 2_u32.pow(number.min(16) - 1)).min(HOUR * 8);
    HOUR + HOUR / 2 + wait.mul_f64(1.2)
}

/// Who is on the stage.
struct Voyage {
    world: World,
    clock: Arc<LeapClock>,
    plot: Plot,
    daemons: Vec<Child>,
    /// The person's process.
    asker: Option<Child>,
    processes: usize,
    killed: Option<Held>,
    /// Who asked was killed before the claim, and has to ask again.
    forgotten: bool,
    /// The credential that is to end.
    first: Option<String>,
    /// The last wait that time leapt over.
    leapt: Option<Wait>,
    failures: u64,
}

impl Voyage {
    /// The world as the plot finds it, with `count` daemons that have nothing to do.
    async fn begin(plot: Plot, kind: Kind, count: usize) -> Self {
        let clock = Arc::new(LeapClock::at_speed(SPEED));
        let replicas = count + usize::from(plot == Plot::Leaked);
        let setting = Setting { kind, beside: None, replicas, sets_late: false };
        let world = World::on(clock.clone(), setting, OVERLAP_HOURS).await;
        let mut voyage = Self {
            world,
            clock,
            plot,
            daemons: Vec::new(),
            asker: None,
            processes: 0,
            killed: None,
            forgotten: false,
            first: None,
            leapt: None,
            failures: 0,
        };
        if plot != Plot::First {
            voyage.start(count);
            voyage.until(|world| world.judge.at_rest(false).is_empty() && !world.judge.bootstraps()).await;
        }
        if plot == Plot::Retirement {
            voyage.leap(DAY * 30);
            voyage.until(|world| world.judge.waits() == Some(Wait::Overlap)).await;
        }
        voyage.first = voyage.world.judge.current();
        voyage
    }

    fn start(&mut self, count: usize) {
        self.processes += count;
        self.daemons.extend((0..count).map(|_| self.world.start_at(&["run"], SPEED)));
    }

    fn leap(&self, span: Duration) {
        // And a minute: an age counts from when keyferry was told the time.
        self.clock.leap(span + Duration::from_secs(60));
    }

    async fn until(&mut self, reached: impl Fn(&World) -> bool) {
        for _ in 0..LOOK_COUNT_MAX {
            self.clock.sleep(LOOK).await;
            self.world.sandbox.consumer.round().await;
            if reached(&self.world) {
                return;
            }
        }
        panic!("{:?} does not get to its beginning: {:?}", self.plot, self.world.judge.calls());
    }

    /// What the plot is about begins.
    fn set_off(&mut self, count: usize) {
        match self.plot {
            Plot::First => self.start(count),
            Plot::Rotation => self.leap(DAY * 30),
            Plot::Leaked => {
                self.processes += 1;
                self.asker = Some(self.world.start_at(self.plot.words(), SPEED));
            }
            Plot::Retirement | Plot::Move => {
                self.world.edit(self.plot);
                self.daemons.iter().for_each(|daemon| signal(daemon, Signal::HUP));
            }
        }
    }

    /// Whoever made the held call dies there; a daemon is started again.
    async fn kill(&mut self, held: Held) {
        let peer = held.call.peer;
        let gate = &self.world.sandbox.world.gate;
        let daemon = self.daemons.iter().position(|daemon| owns(daemon, peer));
        let asker = self.asker.as_ref().is_some_and(|asker| owns(asker, peer));
        let mut victim = match daemon {
            Some(daemon) => self.daemons.swap_remove(daemon),
            None if asker => self.asker.take().expect("it was there"),
            None => {
                // On a busy host its caller gave it up meanwhile: the next call does as well.
                gate.cut();
                return gate.hold(Hold { next: 1, moment: held.moment, call: None });
            }
        };
        victim.kill().await.unwrap();
        gate.cut();
        self.killed = Some(held);
        self.world.heard(victim).await;
        match daemon {
            Some(_) => self.start(1),
            None => self.forgotten = self.world.judge.leak_count() == 0,
        }
    }

    async fn look(&mut self) {
        let world = &self.world;
        let consumer = &world.sandbox.consumer;
        let overlap = HOUR * OVERLAP_HOURS;
        match self.plot {
            Plot::First | Plot::Rotation | Plot::Move => {}
            // Who reads a leaked value right before it ends is not waited for either.
            Plot::Leaked => consumer.read_anew(),
            Plot::Retirement => {
                if world.judge.retiring().is_some_and(|since| self.clock.wall() >= since.plus(overlap)) {
                    self.failures += consumer.failure_count();
                    consumer.unwatch(SECRET);
                }
            }
        }
        let still = world.sandbox.world.gate.still().await;
        consumer.round().await;
        drop(still);
        let wait = world.judge.waits().filter(|wait| self.leapt.is_none_or(|leapt| *wait > leapt));
        if let Some(wait) = wait {
            self.leapt = Some(wait);
            self.leap(match (wait, self.plot) {
                (Wait::Overlap, Plot::First | Plot::Rotation | Plot::Move) | (Wait::Retiring, _) => HOUR * 3,
                // It is not what the plot waits for.
                (Wait::Overlap, Plot::Leaked | Plot::Retirement) => Duration::ZERO,
                (Wait::Forewarned, _) => HOUR,
            });
        }
        if let Some(asker) = &mut self.asker
            && asker.try_wait().unwrap().is_some()
        {
            let asker = self.asker.take().expect("it was there");
            world.heard(asker).await;
        }
        for daemon in &mut self.daemons {
            if let Some(status) = daemon.try_wait().unwrap() {
                world.judge.blame(format!("a daemon ended by itself: {status}"));
            }
        }
    }

    /// Whether what the plot is about is done, and nothing is left.
    fn rests(&self) -> bool {
        let judge = &self.world.judge;
        let stays = matches!(self.plot, Plot::First | Plot::Retirement) || self.forgotten;
        let replaced = stays || judge.current() != self.first;
        let done = self.asker.is_none() && replaced && !judge.bootstraps();
        done && judge.at_rest(self.plot == Plot::Retirement).is_empty()
    }

    /// Lets everything come to rest, with one process killed on the way if `hold` says at which call.
    async fn sail(mut self, kind: Kind, count: usize, hold: Option<Hold>) -> Ended {
        let skip = self.world.judge.calls().len();
        let to_kill = hold.is_some();
        hold.into_iter().for_each(|hold| self.world.sandbox.world.gate.hold(hold));
        self.set_off(count);
        let began = self.clock.wall();
        let mut rests = false;
        for _ in 0..LOOK_COUNT_MAX {
            let gate = &self.world.sandbox.world.gate;
            tokio::select! {
                biased;
                held = gate.until_held() => self.kill(held).await,
                () = self.clock.sleep(LOOK) => {}
            }
            self.look().await;
            rests = self.killed.is_some() == to_kill && self.rests();
            if rests || !self.world.judge.violations().is_empty() {
                break;
            }
        }
        let calls = self.world.judge.calls().split_off(skip);
        let mut said = String::new();
        for mut child in self.daemons.drain(..).chain(self.asker.take()) {
            child.kill().await.unwrap();
            said += &self.world.heard(child).await.text;
        }
        let judge = &self.world.judge;
        if !rests {
            judge.blame(format!("no rest: {:?} {said}", judge.at_rest(self.plot == Plot::Retirement)));
        }
        let consumer = &self.world.sandbox.consumer;
        if self.failures + consumer.failure_count() > 0 {
            judge.blame(format!("the consumer failed: {:?}", consumer.tally()));
        }
        if let Some(first) = &self.first {
            // Time doesn't wait for a process here, so a busy host loses attempts: each adds to how long
            // the old value may live, and the judge has seen how many there were.
            let attempts = u32::try_from(judge.claim_count()).unwrap();
            let lost = (1..=attempts).map(lost_by).sum::<Duration>() + LEAPT_MAX;
            let bounds = Bounds { overlap: HOUR * OVERLAP_HOURS, lost };
            let within = self.plot.lives(kind, bounds);
            let most = within.end().saturating_add(lost);
            // Who asked was killed before the claim: nobody knows that it leaked.
            judge.lived(first, began, *within.start()..=if self.forgotten { Duration::MAX } else { most });
            judge.saw_the_tags_of(self.plot);
        }
        let kills = usize::from(self.killed.is_some());
        let killed = self.killed.map(|held| (format!("{} {}", held.call.service, held.call.call), held.moment));
        Ended { calls, kills, killed, violations: judge.violations(), processes: self.processes }
    }
}

async fn voyage(plot: Plot, kind: Kind, count: usize, hold: Option<Hold>) -> (String, Ended) {
    let name = format!("{plot:?}, {kind:?}, run, {count} at once, {hold:?}");
    let ended = Voyage::begin(plot, kind, count).await.sail(kind, count, hold).await;
    (name, ended)
}

/// Kills at every call of a plot, or at a share of them, with `count` daemons at once.
async fn at_every_call(plot: Plot, kind: Kind, count: usize, share: Share) {
    let (name, dry) = alone(voyage(plot, kind, count, None)).await;
    assert!(dry.violations.is_empty(), "{}", tell(&name, &dry));
    // How the daemon's looks fall among what it does is the host's: the count is a guide.
    let calls = dry.calls.len();
    let holds = share.of(&dry.calls);
    let what = told(plot, kind, &format!("run, {count} at once"), calls, holds.len());
    all(&what, holds.into_iter().map(|hold| voyage(plot, kind, count, Some(hold))).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_is_killed_and_started_again() {
    for (kind, of_full) in asked([(Kind::Named, 1), (Kind::Unnamed, 4), (Kind::InPlace, 4)]) {
        let share = Share { of_all: 14, of_full, changes: false };
        with_every_plot(kind, |plot| at_every_call(plot, kind, 1, share)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_daemons_one_is_killed_and_started_again() {
    for (kind, of_full) in asked([(Kind::Named, 1), (Kind::Unnamed, 6), (Kind::InPlace, 6)]) {
        let share = Share { of_all: 60, of_full, changes: false };
        with_every_plot(kind, |plot| at_every_call(plot, kind, 2, share)).await;
    }
}
