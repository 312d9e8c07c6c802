//! How fast this process asks. AWS counts the requests of a whole account and Region, other tools
//! included, in one bucket for each group of operations (Secrets Manager quotas), so keyferry takes
//! a share of each, evenly spaced, and its targets in one account and Region share it. Paced by
//! real time: the quota is AWS's, whatever clock a simulation runs on.

#![expect(clippy::disallowed_methods, reason = "a quota is kept in real time, and no date of the protocol comes of it")]

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::call::{Call, Effect};

/// How long a whole bucket is left alone after AWS refused a request over its quota.
const REST: Duration = Duration::from_millis(500);

/// Limits of one store; clones of a [`super::Store`] share them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pacing {
    /// The share of AWS's quotas for writes, in percent.
    pub writes_percent: u32,
    /// The share of AWS's quotas for reads, in percent.
    pub reads_percent: u32,
    /// Most calls in flight at once.
    pub in_flight_max: usize,
    /// How often a read is sent at most before its fault is reported.
    pub read_tries_max: u32,
    /// The same for one that AWS refused over a quota: waiting heals that, and others use it too.
    pub throttled_tries_max: u32,
    /// Real wait before the second try of a read; doubles with each, and half of it is by chance.
    pub read_wait: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            writes_percent: 50,
            reads_percent: 80,
            in_flight_max: 16,
            read_tries_max: 3,
            throttled_tries_max: 6,
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

/// Operations that draw on one quota.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Group {
    Create,
    Delete,
    ListSecrets,
    ListVersions,
    Tags,
    Writes,
}

impl Group {
    /// The group of an operation; `None` for those with so large a quota (10,000 a second) that
    /// nothing here reaches it, and for STS.
    fn of(action: &str) -> Option<Self> {
        match action.strip_prefix("secretsmanager:")? {
            "CreateSecret" => Some(Self::Create),
            "DeleteSecret" => Some(Self::Delete),
            "ListSecrets" => Some(Self::ListSecrets),
            "ListSecretVersionIds" => Some(Self::ListVersions),
            "TagResource" | "UntagResource" => Some(Self::Tags),
            "PutSecretValue" | "UpdateSecret" | "UpdateSecretVersionStage" => Some(Self::Writes),
            _ => None,
        }
    }

    /// Requests a second, per account and Region.
    fn quota(self) -> u32 {
        match self {
            Self::ListSecrets => 100,
            Self::Create | Self::Delete | Self::ListVersions | Self::Tags | Self::Writes => 50,
        }
    }
}

/// Where a quota is counted: the account as far as it is known, the Region, and the service's address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Counted {
    pub(super) account: Option<String>,
    pub(super) region: String,
    pub(super) endpoint: Option<String>,
}

/// When the next request of each group may be sent.
#[derive(Default)]
struct Buckets(Mutex<HashMap<Group, Instant>>);

/// Every bucket in use. One for the process, because the quota knows no targets.
static BUCKETS: LazyLock<Mutex<HashMap<Counted, Weak<Buckets>>>> = LazyLock::new(Mutex::default);

impl Buckets {
    fn shared(counted: Counted) -> Arc<Self> {
        let mut all = BUCKETS.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, buckets| buckets.strong_count() > 0);
        if let Some(buckets) = all.get(&counted).and_then(Weak::upgrade) {
            return buckets;
        }
        let buckets = Arc::new(Self::default());
        all.insert(counted, Arc::downgrade(&buckets));
        buckets
    }

    /// Takes the next place in the row. No burst after a pause: what counts is AWS's second, not
    /// our average.
    fn take(&self, group: Group, spacing: Duration) -> Instant {
        let mut row = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = row.entry(group).or_insert_with(Instant::now);
        let own = (*next).max(Instant::now());
        *next = own + spacing;
        own
    }

    fn rest(&self, group: Group) {
        let mut row = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = row.entry(group).or_insert_with(Instant::now);
        *next = (*next).max(Instant::now() + REST);
    }
}

pub(super) struct Pacer {
    pub(super) pacing: Pacing,
    buckets: Arc<Buckets>,
    in_flight: Semaphore,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Pacer {
    pub(super) fn new(pacing: Pacing, counted: Counted) -> Self {
        Self {
            pacing,
            buckets: Buckets::shared(counted),
            in_flight: Semaphore::new(pacing.in_flight_max.max(1)),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        }
    }

    /// Waits until `call` may be sent.
    pub(super) async fn turn(&self, call: &Call) -> SemaphorePermit<'_> {
        let (percent, count) = match call.effect {
            Effect::Read => (self.pacing.reads_percent, &self.reads),
            Effect::Write => (self.pacing.writes_percent, &self.writes),
        };
        if let Some(group) = Group::of(call.action) {
            let spacing = Duration::from_secs(100) / group.quota().saturating_mul(percent).max(1);
            let at = self.buckets.take(group, spacing);
            // The timer's own grain is a millisecond: not for a place that is reached already.
            if at > Instant::now() {
                tokio::time::sleep_until(at).await;
            }
        }
        let permit = self.in_flight.acquire().await.expect("the semaphore is never closed");
        count.fetch_add(1, Ordering::Relaxed);
        permit
    }

    /// AWS refused `call` over its quota: everybody who draws on it waits a moment.
    pub(super) fn throttled(&self, call: &Call) {
        if let Some(group) = Group::of(call.action) {
            self.buckets.rest(group);
        }
    }

    /// `wait` with half of it by chance, so that what was refused together does not come back
    /// together. The chance is a hash, so that a simulation is the same on every run.
    pub(super) fn jittered(&self, call: &Call, wait: Duration) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&call.doing, self.reads.load(Ordering::Relaxed), std::process::id()).hash(&mut hasher);
        let thousandths = u32::try_from(hasher.finish() % 1_000).unwrap_or(0);
        wait / 2 + wait / 2 * thousandths / 1_000
    }

    pub(super) fn calls(&self) -> Calls {
        Calls { reads: self.reads.load(Ordering::Relaxed), writes: self.writes.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "secretsmanager:ListSecretVersionIds";

    fn pacer(region: &str) -> Pacer {
        let counted = Counted { account: None, region: region.into(), endpoint: Some("pacing's tests".into()) };
        Pacer::new(Pacing::default(), counted)
    }

    /// AWS's side: so many requests a second, and as many at once.
    struct Quota {
        left: f64,
        per_second: f64,
        filled: Instant,
    }

    impl Quota {
        fn take(&mut self) -> bool {
            let now = Instant::now();
            self.left = (self.left + (now - self.filled).as_secs_f64() * self.per_second).min(self.per_second);
            self.filled = now;
            self.left -= 1.0;
            self.left >= 0.0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_at_a_whole_fleet_is_never_refused_over_a_quota() {
        let (pacer, began) = (Arc::new(pacer("fleet")), Instant::now());
        let quota = Arc::new(Mutex::new(Quota { left: 50.0, per_second: 50.0, filled: began }));
        let looks: Vec<_> = (0..250)
            .map(|number| {
                let (pacer, quota) = (Arc::clone(&pacer), Arc::clone(&quota));
                tokio::spawn(async move {
                    drop(pacer.turn(&Call::read("secretsmanager:DescribeSecret", "describe")).await);
                    let _permit = pacer.turn(&Call::read(LIST, format!("list {number}"))).await;
                    quota.lock().unwrap().take()
                })
            })
            .collect();
        for look in looks {
            assert!(look.await.unwrap(), "refused");
        }
        let took = began.elapsed();
        assert!((Duration::from_millis(6_200)..Duration::from_millis(6_300)).contains(&took), "{took:?}");
        assert_eq!(pacer.calls(), Calls { reads: 500, writes: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn targets_of_one_account_and_region_share_a_bucket_for_each_group() {
        let (one, other, elsewhere) = (pacer("a"), pacer("a"), pacer("b"));
        let (put, tag) =
            (Call::write("secretsmanager:PutSecretValue", "put"), Call::write("secretsmanager:TagResource", "tag"));
        let began = Instant::now();
        for _ in 0..13 {
            drop(one.turn(&put).await);
            drop(other.turn(&put).await);
        }
        assert_eq!(began.elapsed().as_secs(), 1, "25 writes a second, whoever sends them");
        let began = Instant::now();
        drop(other.turn(&tag).await);
        drop(elsewhere.turn(&put).await);
        assert!(began.elapsed() < Duration::from_millis(2), "another group, another Region");
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_bucket_rests_and_waits_are_not_all_the_same() {
        let pacer = pacer("throttled");
        let call = Call::read(LIST, "list");
        drop(pacer.turn(&call).await);
        pacer.throttled(&call);
        let began = Instant::now();
        drop(pacer.turn(&call).await);
        assert!(began.elapsed() >= REST);
        let wait = Duration::from_secs(8);
        let waits: Vec<Duration> =
            (0..20).map(|number| pacer.jittered(&Call::read(LIST, format!("list {number}")), wait)).collect();
        assert!(waits.iter().all(|one| (wait / 2..=wait).contains(one)), "{waits:?}");
        assert!(waits.iter().collect::<std::collections::BTreeSet<_>>().len() > 15, "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_so_many_calls_are_in_flight() {
        let pacer = pacer("in flight");
        let read = Call::read("secretsmanager:DescribeSecret", "describe");
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(pacer.turn(&read).await);
        }
        assert!(tokio::time::timeout(Duration::from_secs(60), pacer.turn(&read)).await.is_err());
        held.pop();
        assert!(tokio::time::timeout(Duration::from_secs(60), pacer.turn(&read)).await.is_ok());
    }
}
