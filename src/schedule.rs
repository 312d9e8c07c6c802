//! Wake-ups: says only *look at this name*, never what happened. What is due, `rotation::calendar`
//! decides from what is observed; a tick that is lost, late or doubled changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::engine::snapshot::Status;
use crate::model::name::Name;
use crate::model::time::Timestamp;

/// Every five seconds, in the scheduler's six-field dialect. A declaration's own patterns never get
/// here: they are read in their time zone by `rotation::calendar`.
const TICK: &str = "*/5 * * * * *";
/// Longest wait between looks at the clock, so that a clock that jumped is noticed.
const IDLE_MAX: Duration = Duration::from_secs(3_600);

/// The scheduler with its one job. Dropping it does not stop the job; [`Ticker::stop`] does.
pub struct Ticker {
    scheduler: JobScheduler,
    wake: Arc<Notify>,
}

impl Ticker {
    /// Starts ticking.
    ///
    /// # Errors
    /// What the scheduler says.
    pub async fn start() -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new_with_channel_size(1024).await?;
        let wake = Arc::new(Notify::new());
        let bell = Arc::clone(&wake);
        let job = Job::new_async(TICK, move |_, _| {
            let bell = Arc::clone(&bell);
            Box::pin(async move { bell.notify_one() })
        })?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok(Self { scheduler, wake })
    }

    /// Waits for the next tick; ticks that came meanwhile count as one.
    pub async fn tick(&self) {
        self.wake.notified().await;
    }

    /// Stops ticking.
    pub async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!(%error, "the scheduler did not stop");
        }
    }
}

/// The names whose next look is due at `now`, in their order, and the date of the first one that is
/// due later. What is `busy` is looked at already; what AWS never answered for has no date of its
/// own, and waits for the next listing.
pub fn plan(
    statuses: &BTreeMap<Name, Status>,
    now: Timestamp,
    busy: impl Fn(&Name) -> bool,
) -> (Vec<Name>, Option<Timestamp>) {
    let mut due = Vec::new();
    let mut next: Option<Timestamp> = None;
    for (name, status) in statuses {
        let Some(date) = status.look_again.filter(|_| status.looked != Timestamp::default()) else { continue };
        if busy(name) {
            continue;
        }
        if date <= now {
            due.push(name.clone());
        } else {
            next = Some(next.map_or(date, |earlier| earlier.min(date)));
        }
    }
    (due, next)
}

/// How long until the next look is due.
pub fn until_next(statuses: &BTreeMap<Name, Status>, now: Timestamp) -> Duration {
    let next = statuses.values().filter_map(|status| status.look_again).min();
    next.map_or(IDLE_MAX, |next| next.since(now)).min(IDLE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fault::{Class, Fault};

    #[test]
    fn what_is_due_is_named_and_what_is_busy_or_never_seen_is_not() {
        let at = Timestamp::from_seconds;
        let status = |looked: i64, again: Option<i64>| Status {
            look_again: again.map(at),
            ..Status::unseen(Fault::new(Class::Rejected, "a test", "nothing"), at(looked))
        };
        // (name, looked at, to be looked at again)
        let rows = [
            ("due", 50, Some(99)),
            ("now", 50, Some(100)),
            ("later", 50, Some(130)),
            ("soon", 50, Some(120)),
            ("busy", 50, Some(60)),
            ("busy-later", 50, Some(101)),
            ("never", 50, None),
            ("unseen", 0, Some(10)),
        ];
        let name = |text: &str| Name::new(text).unwrap();
        let statuses = rows.map(|(text, looked, again)| (name(text), status(looked, again))).into();
        let (due, next) = plan(&statuses, at(100), |name| name.as_str().starts_with("busy"));
        assert_eq!((due, next), (vec![name("due"), name("now")], Some(at(120))));
    }
}
