//! One time for everything: tokio's paused clock, plus the hours in which the machine was suspended.
//!
//! Timers of the process follow tokio's clock, which does not move while a machine sleeps. The
//! services' clock does, and so does the engine's own: it counts the time asleep, as the clock that
//! ships must.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyferry::model::time::{Clock, Sleep, Timestamp};
use tokio::time::Instant;

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);
pub const DAY: Duration = Duration::from_secs(86_400);

/// When every world begins.
const BEGIN: Timestamp = Timestamp::from_seconds(1_795_000_000);

/// The world's clock. Clones are the same clock.
#[derive(Clone)]
pub struct WorldTime(Arc<Shared>);

struct Shared {
    began: Instant,
    asleep_ms: AtomicU64,
}

impl WorldTime {
    /// Begins now; must be called inside the world's runtime.
    pub fn begin() -> Self {
        Self(Arc::new(Shared { began: Instant::now(), asleep_ms: AtomicU64::new(0) }))
    }

    /// Since the world began.
    pub fn elapsed(&self) -> Duration {
        self.0.began.elapsed() + Duration::from_millis(self.0.asleep_ms.load(Ordering::Relaxed))
    }

    /// The date now.
    pub fn now(&self) -> Timestamp {
        BEGIN.plus(self.elapsed())
    }

    /// Every process of the world stands still for `span`, in the middle of whatever it does.
    pub fn suspend(&self, span: Duration) {
        self.0.asleep_ms.fetch_add(u64::try_from(span.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for WorldTime {
    fn wall(&self) -> Timestamp {
        self.now()
    }

    fn monotonic(&self) -> Duration {
        self.elapsed()
    }

    fn sleep(&self, span: Duration) -> Sleep<'_> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// As people write a moment of a trace: `2d 03:14:15`.
pub fn shown(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    format!("{days}d {:02}:{:02}:{:02}.{:03}", rest / 3_600, rest / 60 % 60, rest % 60, elapsed.subsec_millis())
}
