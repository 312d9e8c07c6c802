//! The only place that reads a clock. Everything else is given one.

#![expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::time::{Clock, Sleep, Timestamp};

/// This host's clock, optionally faster: a sandbox that runs at speed 60 sees an hour pass in a
/// minute. The wall clock is read once and then follows the monotonic one, so that setting the
/// host's clock moves nothing inside a running process.
pub struct HostClock {
    began: Instant,
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
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_began = Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
        Self { began: Instant::now(), wall_began, speed }
    }
}

/// Time since this machine started, sleep apart, as the service manager dates its own signals
/// (`CLOCK_MONOTONIC`, `sd_notify(3)`).
pub fn since_start() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

impl Clock for HostClock {
    fn wall(&self) -> Timestamp {
        self.wall_began.plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed().mul_f64(self.speed)
    }

    fn sleep(&self, span: Duration) -> Sleep<'_> {
        Box::pin(tokio::time::sleep(span.div_f64(self.speed)))
    }
}
