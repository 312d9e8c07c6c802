//! How fast this process writes. AWS allows 50 writes a second for a whole account and Region,
//! other tools included (Secrets Manager quotas), so we stay at half of that. Paced by real time:
//! the quota is AWS's, whatever clock a simulation runs on.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::{Interval, MissedTickBehavior};

/// Limits of one store; clones of a [`super::Store`] share them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pacing {
    /// Most writes a second, evenly spaced.
    pub writes_per_second: NonZeroU32,
    /// Most calls in flight at once.
    pub in_flight_max: usize,
    /// How often a read is sent at most before its fault is reported.
    pub read_tries_max: u32,
    /// Real wait before the second try of a read; doubles with each.
    pub read_wait: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            writes_per_second: NonZeroU32::new(25).expect("25 is not zero"),
            in_flight_max: 16,
            read_tries_max: 3,
            read_wait: Duration::from_millis(100),
        }
    }
}

/// How many requests were sent so far, repeated ones counted each time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Calls {
    /// Calls that change nothing.
    pub reads: u64,
    /// Calls that may.
    pub writes: u64,
}

pub(super) struct Pacer {
    pub(super) pacing: Pacing,
    next_write: Mutex<Interval>,
    in_flight: Semaphore,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Pacer {
    pub(super) fn new(pacing: Pacing) -> Self {
        let mut interval = tokio::time::interval(Duration::from_secs(1) / pacing.writes_per_second.get());
        // No burst after a pause: what counts is AWS's second, not our average.
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            pacing,
            next_write: Mutex::new(interval),
            in_flight: Semaphore::new(pacing.in_flight_max.max(1)),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        }
    }

    pub(super) async fn read(&self) -> SemaphorePermit<'_> {
        let permit = self.permit().await;
        self.reads.fetch_add(1, Ordering::Relaxed);
        permit
    }

    pub(super) async fn write(&self) -> SemaphorePermit<'_> {
        self.next_write.lock().await.tick().await;
        let permit = self.permit().await;
        self.writes.fetch_add(1, Ordering::Relaxed);
        permit
    }

    async fn permit(&self) -> SemaphorePermit<'_> {
        self.in_flight.acquire().await.expect("the semaphore is never closed")
    }

    pub(super) fn calls(&self) -> Calls {
        Calls { reads: self.reads.load(Ordering::Relaxed), writes: self.writes.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn writes_are_spaced_and_reads_are_not() {
        let pacer = Pacer::new(Pacing::default());
        let writes = async {
            for _ in 0..26 {
                drop(pacer.write().await);
            }
        };
        let reads = async {
            for _ in 0..1_000 {
                drop(pacer.read().await);
            }
        };
        tokio::time::timeout(Duration::from_millis(1), reads).await.expect("reads do not wait");
        let early = tokio::time::timeout(Duration::from_millis(999), writes).await;
        assert!(early.is_err(), "26 writes take a second");
        assert_eq!(pacer.calls(), Calls { reads: 1_000, writes: 25 });
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_so_many_calls_are_in_flight() {
        let pacer = Pacer::new(Pacing::default());
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(pacer.read().await);
        }
        assert!(tokio::time::timeout(Duration::from_secs(60), pacer.read()).await.is_err());
        held.pop();
        assert!(tokio::time::timeout(Duration::from_secs(60), pacer.read()).await.is_ok());
    }
}
