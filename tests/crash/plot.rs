//! What happens in a voyage: a beginning, a kill somewhere, and fresh processes until everything
//! rests.

use std::time::Duration;

use keyferry::model::time::{Clock, Timestamp};
use keyferry::sandbox::gate::{Hold, Moment};

use crate::world::{Said, World};

/// More processes than any way back to rest takes.
const PROCESS_COUNT_MAX: usize = 40;

/// What a voyage is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plot {
    /// Nothing is there yet.
    First,
    /// A rotation that is due, with overlap, to the revocation of the old one.
    Rotation,
    /// The current value leaked.
    Leaked,
}

impl Plot {
    pub const ALL: [Self; 3] = [Self::First, Self::Rotation, Self::Leaked];

    /// What goes before, and the words of the first process.
    async fn begin(self, world: &World) -> &'static [&'static str] {
        if self == Self::First {
            return &["once"];
        }
        let (said, _) = world.run(&["once"]).await;
        assert_eq!(said.code, Some(0), "{}", said.text);
        match self {
            Self::First | Self::Rotation => {
                // And a minute: an age counts from when keyferry was told the time.
                world.pass(Duration::from_secs(30 * 86_400 + 60)).await;
                &["once"]
            }
            Self::Leaked => {
                world.pass(Duration::from_secs(86_400)).await;
                &["rotate", "app", "--leaked"]
            }
        }
    }

    /// How long the old credential may live on, whatever happens: a rotation's hour for the
    /// candidate and its overlap, with an attempt lost; a leaked one's lost attempt.
    fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::First | Self::Rotation => 28 * 3_600,
            Self::Leaked => 3_600,
        })
    }
}

/// How a voyage ended.
#[derive(Debug)]
pub struct Ended {
    /// Its calls, from the first one that could be the last.
    pub calls: Vec<String>,
    /// Where the process was killed.
    pub killed: Option<(String, Moment)>,
    /// What was wrong.
    pub violations: Vec<String>,
    /// Processes it took.
    pub processes: usize,
}

/// One voyage, on which the process that makes the `hold.next`-th call is killed there.
pub async fn voyage(plot: Plot, hold: Option<Hold>) -> Ended {
    let world = World::new(1, 1).await;
    let mut words = plot.begin(&world).await;
    let (before, began, first) = (world.judge.calls().len(), world.clock.wall(), world.judge.current());
    if let Some(hold) = hold {
        world.sandbox.world.gate.hold(hold);
    }
    let mut killed = None;
    let mut processes = 0;
    let mut last = String::new();
    loop {
        if processes == PROCESS_COUNT_MAX {
            world.judge.blame(format!("it does not come to rest: {last}"));
            break;
        }
        processes += 1;
        let (said, held) = world.run(words).await;
        if plot == Plot::Leaked {
            // Who holds a leaked value is not waited for.
            world.sandbox.consumer.read_anew();
        }
        world.sandbox.consumer.round().await;
        let asked = std::mem::replace(&mut words, &["once"]);
        if held.is_some() {
            killed = held;
            continue;
        }
        if said.code.is_none_or(|code| code != 0) {
            world.judge.blame(format!("{asked:?} ended with {:?}: {}", said.code, said.text));
        }
        last = said.text.clone();
        if asked != ["once"] {
            continue;
        }
        if rests(&said, world.clock.wall()) {
            break;
        }
        let next = next(&said).unwrap_or_else(|| world.clock.wall());
        // A second more: dates on the wire are whole seconds.
        world.pass(next.since(world.clock.wall()) + Duration::from_secs(1)).await;
    }
    world.pass(Duration::from_secs(600)).await;
    world.judge.rest();
    let failures = world.sandbox.consumer.failure_count();
    if failures > 0 {
        world.judge.blame(format!("the consumer failed: {:?}", world.sandbox.consumer.tally()));
    }
    let calls = world.judge.calls().split_off(before);
    if let Some(first) = first {
        // Once there is a claim, neither the rotation nor why it was wanted may be forgotten.
        let begun = plot == Plot::Rotation || calls.iter().any(|call| call == "aws PutSecretValue");
        let took = world.judge.revoked(&first).map(|at| at.since(began));
        if begun && took.is_none_or(|took| took > plot.patience()) {
            world.judge.blame(format!("the old credential was revoked after {took:?}"));
        }
    }
    Ended { calls, killed, violations: world.judge.violations(), processes }
}

/// Whether nothing is left to do before the next rotation.
fn rests(said: &Said, now: Timestamp) -> bool {
    let far = next(said).is_some_and(|next| next.since(now) > Duration::from_secs(2 * 86_400));
    far && said.facts["credentials"][0]["reason"] == "healthy"
}

/// The date that it waits for.
fn next(said: &Said) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(said.facts["next_due"].as_str()?)
}

/// Every moment of a plot's `count` calls.
pub fn moments(count: usize) -> impl Iterator<Item = Hold> {
    let number = 1..=u64::try_from(count).unwrap();
    number.flat_map(|next| [Moment::Before, Moment::After].map(|moment| Hold { next, moment }))
}

/// For a person: how a voyage went wrong.
pub fn tell(plot: Plot, hold: Option<Hold>, ended: &Ended) -> String {
    format!(
        "{plot:?} {hold:?} killed at {:?}:\n  {}\n  {}",
        ended.killed,
        ended.violations.join("\n  "),
        ended.calls.join(", ")
    )
}
