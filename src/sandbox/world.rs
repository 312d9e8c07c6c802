//! What all pretend services share: the time, the faults and the journal of calls.
//!
//! It knows no service: each keeps its own state and asks here what time it is and what goes wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::model::time::{Clock, Timestamp};
use crate::sandbox::faults::{Effect, Faults};
use crate::sandbox::gate::Gate;

/// The pretend world.
pub struct World {
    /// Every random choice of the sandbox comes from this.
    pub seed: u64,
    /// The services' time, already sped up.
    pub clock: Arc<dyn Clock>,
    /// Real time: for pacing, late answers and clients that sign by their own clock.
    pub real: Arc<dyn Clock>,
    /// What goes wrong; its own `Arc`, so that a service can hold it alone.
    pub faults: Arc<Mutex<Faults>>,
    /// What every call to a service passes.
    pub gate: Arc<Gate>,
    journal: Mutex<Journal>,
}

impl World {
    /// A world without faults whose services live in `clock`'s time.
    pub fn new(seed: u64, clock: Arc<dyn Clock>, real: Arc<dyn Clock>) -> Self {
        let faults = Arc::new(Mutex::new(Faults::new(seed)));
        Self { seed, clock, real, faults, gate: Arc::default(), journal: Mutex::default() }
    }

    /// The services' time.
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// What goes wrong with this call, if anything; counts it.
    pub fn fault(&self, service: &str, operation: &str) -> Option<Effect> {
        locked(&self.faults).next(service, operation)
    }

    /// Notes a finished call. `outcome` is `ok`, an error code, or what became of the connection.
    pub fn record(&self, service: &str, operation: &str, region: &str, outcome: &str) {
        let mut journal = locked(&self.journal);
        *journal.totals.entry(format!("{service} {operation}")).or_default() += 1;
        let known = journal.calls.iter_mut().find(|call| {
            call.service == service && call.operation == operation && call.region == region && call.outcome == outcome
        });
        match known {
            Some(call) => call.count += 1,
            None => journal.calls.push(Calls {
                service: service.into(),
                operation: operation.into(),
                region: region.into(),
                outcome: outcome.into(),
                count: 1,
            }),
        }
    }

    /// The calls so far.
    pub fn journal(&self) -> Journal {
        locked(&self.journal).clone()
    }

    /// Forgets the calls so far.
    pub fn clear_journal(&self) {
        *locked(&self.journal) = Journal::default();
    }

    /// How many calls of `operation` arrived at `service`, whatever became of them.
    pub fn total(&self, service: &str, operation: &str) -> u64 {
        locked(&self.journal).totals.get(&format!("{service} {operation}")).copied().unwrap_or(0)
    }
}

/// The calls that arrived, counted. Its size depends on how many kinds of call there are, not on how many calls.
#[derive(Clone, Default, Debug, Serialize)]
pub struct Journal {
    /// `<service> <operation>` and how many arrived, whatever became of them.
    pub totals: BTreeMap<String, u64>,
    /// The same in detail, in the order of first sight.
    pub calls: Vec<Calls>,
}

/// Calls that went the same way.
#[derive(Clone, Debug, Serialize)]
pub struct Calls {
    /// `aws`, `keycard`, …
    pub service: String,
    /// The service's name of the call.
    pub operation: String,
    /// AWS Region; empty elsewhere.
    pub region: String,
    /// `ok`, the error code, `dropped before` or `dropped after`.
    pub outcome: String,
    /// How many.
    pub count: u64,
}

/// The value behind `mutex`. A panic of another holder is that test's failure, not a reason to stop serving.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A clock that stands still until it is moved.
#[cfg(test)]
pub(crate) mod manual {
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use crate::model::time::{Clock, Sleep, Timestamp};

    pub(crate) struct ManualClock(AtomicI64);

    impl ManualClock {
        pub(crate) fn at(seconds: i64) -> Self {
            Self(AtomicI64::new(seconds * 1000))
        }

        pub(crate) fn advance(&self, span: Duration) {
            self.0.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
        }
    }

    impl Clock for ManualClock {
        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::SeqCst))
        }

        fn monotonic(&self) -> Duration {
            self.wall().since(Timestamp::default())
        }

        fn sleep(&self, span: Duration) -> Sleep<'_> {
            self.advance(span);
            Box::pin(std::future::ready(()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::manual::ManualClock;
    use super::*;

    #[test]
    fn the_journal_counts_calls_by_outcome_and_in_total() {
        let clock = Arc::new(ManualClock::at(0));
        let world = World::new(1, clock.clone(), clock);
        for outcome in ["ok", "ok", "ThrottlingException"] {
            world.record("aws", "PutSecretValue", "eu-central-1", outcome);
        }
        world.record("aws", "PutSecretValue", "us-east-1", "ok");
        assert_eq!(world.total("aws", "PutSecretValue"), 4);
        let counts: Vec<u64> = world.journal().calls.iter().map(|call| call.count).collect();
        assert_eq!(counts, [2, 1, 1]);
        world.clear_journal();
        assert_eq!(world.total("aws", "PutSecretValue"), 0);
    }
}
