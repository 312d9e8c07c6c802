//! The only place that reads a clock. Everything else is given one.

#![expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::model::time::{Clock, Sleep, Timestamp};

/// A sleep is over at most this long after a suspended machine was resumed.
const SLICE: Duration = Duration::from_secs(5);

/// This host's clock, optionally faster: a sandbox that runs at speed 60 sees an hour pass in a
/// minute. The wall clock is read once and then follows the monotonic one, so that setting the
/// host's clock moves nothing inside a running process. Time in which the machine was suspended
/// counts: what was seen before is old then.
pub struct HostClock {
    read: fn() -> Duration,
    began: Duration,
    wall_began: Timestamp,
    speed: f64,
}

impl HostClock {
    /// The host's clock as it is.
    pub fn real() -> Self {
        Self::at_speed(1.0)
    }

    /// `speed` seconds pass in one; `speed` must be positive.
    pub fn at_speed(speed: f64) -> Self {
        Self::reading(with_suspend, speed)
    }

    fn reading(read: fn() -> Duration, speed: f64) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_began = Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
        Self { read, began: read(), wall_began, speed }
    }

    /// Real time since it began, suspended or not.
    fn passed(&self) -> Duration {
        (self.read)().saturating_sub(self.began)
    }
}

/// Time since this machine started, with the time in which it was suspended.
fn with_suspend() -> Duration {
    since(ClockId::Boottime)
}

/// Time since this machine started, sleep apart, as the service manager dates its own signals
/// (`CLOCK_MONOTONIC`, `sd_notify(3)`).
pub fn since_start() -> Duration {
    since(ClockId::Monotonic)
}

fn since(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

impl Clock for HostClock {
    fn wall(&self) -> Timestamp {
        self.wall_began.plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.passed().mul_f64(self.speed)
    }

    fn sleep(&self, span: Duration) -> Sleep<'_> {
        let span = span.div_f64(self.speed);
        let until = self.passed().saturating_add(span);
        Box::pin(async move {
            // A timer does not count while the machine is suspended. So it is looked at in between
            // whether the time is over; the timers alone end it as well.
            let mut left = span;
            while !left.is_zero() && self.passed() < until {
                let slice = left.min(SLICE);
                tokio::time::sleep(slice).await;
                left -= slice;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    static SUSPENDED: AtomicU64 = AtomicU64::new(0);

    /// The machine's time, and how long a test says that it was suspended.
    fn leaping() -> Duration {
        since_start() + Duration::from_secs(SUSPENDED.load(Ordering::SeqCst))
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_machine_was_suspended_counts_and_wakes_who_sleeps() {
        let clock = HostClock::reading(leaping, 60.0);
        let before = clock.monotonic();
        let began = tokio::time::Instant::now();
        let sleep = clock.sleep(Duration::from_secs(3_600 * 24));
        let suspend = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            SUSPENDED.fetch_add(3_600, Ordering::SeqCst);
        };
        tokio::join!(sleep, suspend);
        assert!(began.elapsed() <= Duration::from_secs(7) + SLICE, "{:?}", began.elapsed());
        assert!(clock.monotonic() - before >= Duration::from_secs(60 * 3_600));
        // Nobody suspends it: a sleep is as long as it was asked to be.
        let began = tokio::time::Instant::now();
        clock.sleep(Duration::from_secs(60 * 60)).await;
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[test]
    fn the_hosts_own_clock_is_the_one_that_counts_suspension() {
        let (own, boot) = (with_suspend(), since(ClockId::Boottime));
        assert!(boot >= own && boot - own < Duration::from_secs(5));
    }
}
