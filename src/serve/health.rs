//! Whether the daemon lives and is ready, for `/livez`, `/readyz` and the service manager. It lives
//! while its loop turns and everything under way gives a sign of life now and then; it is ready
//! when AWS and every vendor that was asked answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::Engine;
use crate::model::time::{Clock, Timestamp, human};

/// Most things that are not fine that an answer names.
const NAMED_COUNT_MAX: usize = 20;
/// What the daemon's own loop is called.
const LOOP: &str = "the work loop";

/// What is known of the daemon itself.
pub struct Health {
    clock: Arc<dyn Clock>,
    silence_max: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    turns: u64,
    /// How often each was heard of, and since when no more than that.
    heard: BTreeMap<String, (u64, Duration)>,
    passed: bool,
    stopping: bool,
    in_force: Option<Timestamp>,
    refused: Option<String>,
    differs: bool,
}

/// Which declaration is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InForce {
    /// This host's date at which it was read.
    pub since: Option<Timestamp>,
    /// Why the one on disk is not in force, if it was tried.
    pub refused: Option<String>,
    /// Whether the files on disk are others than those that were read last.
    pub differs: bool,
}

impl Health {
    /// Nothing is known yet. `clock` must be the host's own, at its own speed: calls take as long
    /// as they take. What is under way and silent for longer than `silence_max` hangs.
    pub fn new(clock: Arc<dyn Clock>, silence_max: Duration) -> Self {
        let known = Known { in_force: Some(clock.wall()), ..Known::default() };
        Self { clock, silence_max, known: Mutex::new(known) }
    }

    /// How long silence may last.
    pub fn silence_max(&self) -> Duration {
        self.silence_max
    }

    /// The daemon's loop turned once more.
    pub fn turn(&self) {
        self.lock().turns += 1;
    }

    /// Everything that was wanted at the start was looked at, with whatever result.
    pub fn passed(&self) {
        self.lock().passed = true;
    }

    /// It was told to stop.
    pub fn stopping(&self) {
        self.lock().stopping = true;
    }

    /// The declaration on disk is in force from now on, or is not, for this reason.
    pub fn declared(&self, read: Result<(), String>) {
        let now = self.clock.wall();
        let mut known = self.lock();
        known.differs = false;
        match read {
            Ok(()) => {
                known.in_force = Some(now);
                known.refused = None;
            }
            Err(why) => known.refused = Some(why),
        }
    }

    /// Whether the declaration's files on disk are others than those that were read last.
    pub fn differs(&self, differs: bool) {
        self.lock().differs = differs;
    }

    /// Which declaration is in force.
    pub fn in_force(&self) -> InForce {
        let known = self.lock();
        InForce { since: known.in_force, refused: known.refused.clone(), differs: known.differs }
    }

    /// What hangs, as a sentence; `None` while the daemon lives.
    pub fn hangs(&self, engine: &Engine) -> Option<String> {
        let now = self.clock.monotonic();
        let mut pulses = engine.pulses().all();
        let mut known = self.lock();
        pulses.insert(LOOP.into(), known.turns);
        let before = std::mem::take(&mut known.heard);
        known.heard = pulses
            .into_iter()
            .map(|(who, count)| {
                let since = before.get(&who).filter(|(heard, _)| *heard == count).map_or(now, |(_, since)| *since);
                (who, (count, since))
            })
            .collect();
        let silent = known.heard.iter().map(|(who, (_, since))| (who, now.saturating_sub(*since)));
        let (who, longest) = silent.max_by_key(|(_, silence)| *silence)?;
        (longest > self.silence_max).then(|| format!("no sign of life of `{who}` for {}", human(longest)))
    }

    /// What keeps the daemon from being ready, a sentence each; empty when it is.
    pub fn missing(&self, engine: &Engine) -> Vec<String> {
        let mut missing: Vec<String> = self.hangs(engine).into_iter().collect();
        {
            let known = self.lock();
            if known.stopping {
                missing.push("it was told to stop".into());
            }
            if !known.passed {
                missing.push("the first pass over the fleet is not finished".into());
            }
            if let Some(why) = &known.refused {
                missing.push(format!("the declaration on disk is not in force: {why}"));
            }
            if known.differs {
                missing
                    .push("the declaration on disk changed and is not in force: send SIGHUP to read it again".into());
            }
        }
        let unopened = engine.unopened();
        missing.extend(unopened.vendors.values().map(ToString::to_string));
        let unreachable = engine.board().unreachable();
        missing.extend(unreachable.iter().map(|(target, fault)| format!("target `{target}`: {fault}")));
        let failing: Vec<String> = engine.board().with(|statuses| {
            let faults = statuses.iter().filter_map(|(name, status)| status.fault.as_ref().map(|fault| (name, fault)));
            // One target that can't be listed is one thing, however many credentials lie there.
            let own = faults.filter(|(_, fault)| {
                !unreachable.values().chain(unopened.vendors.values()).any(|known| known == *fault)
            });
            own.map(|(name, fault)| format!("credential `{name}`: {fault}")).collect()
        });
        let more = failing.len().saturating_sub(NAMED_COUNT_MAX);
        missing.extend(failing.into_iter().take(NAMED_COUNT_MAX));
        if more > 0 {
            missing.push(format!("and {more} more credentials"));
        }
        missing
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
