//! Wake-ups: says only *look at this name*, never what happened. What is due, `rotation::calendar`
//! decides from what is observed; a bell that is lost, late or doubled changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::engine::snapshot::Status;
use crate::model::name::Name;
use crate::model::time::Timestamp;

/// Longest wait between looks at the clock, so that a clock that jumped is noticed.
const IDLE_MAX: Duration = Duration::from_secs(3_600);
/// Bells that wait to be heard. One that finds no place here is rung again at its next turn.
const WAITING_COUNT_MAX: usize = 16;

/// Shortest time between two looks at one credential that nobody asked for.
const LOOK_AGAIN_MIN: Duration = Duration::from_secs(5);

/// What the fleet as a whole needs now and then. What a single credential needs has a date of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bell {
    /// The daemon shows that it turns, and looks at its clock.
    Heartbeat,
    /// List the secrets: what did others do - a pause, a rollback, another replica?
    Listing,
    /// Compare the declaration on disk with the one in force.
    Reload,
    /// Compare each credential with its vendor's listing.
    Comparison,
}

impl Bell {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Heartbeat, Self::Listing, Self::Reload, Self::Comparison];

    /// How often it rings, in the time of the daemon's clock.
    pub const fn every(self) -> Duration {
        Duration::from_secs(match self {
            Self::Heartbeat => 5,
            Self::Listing | Self::Reload => 60,
            Self::Comparison => 6 * 3_600,
        })
    }
}

/// The scheduler with a job for each bell. It goes by the host's clock, which somebody may set back:
/// whoever hears the bells also looks at a clock of its own. Dropping it does not stop the jobs;
/// [`Bells::stop`] does.
pub struct Bells {
    scheduler: JobScheduler,
    rung: mpsc::Receiver<Bell>,
}

impl Bells {
    /// Starts ringing, `speed` times as often as declared.
    ///
    /// # Errors
    /// What the scheduler says.
    pub async fn start(speed: f64) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new_with_channel_size(1024).await?;
        let (ring, rung) = mpsc::channel(WAITING_COUNT_MAX);
        for bell in Bell::ALL {
            // The scheduler counts whole seconds.
            let every = bell.every().div_f64(speed).max(Duration::from_secs(1));
            let ring = ring.clone();
            let job = Job::new_repeated_async(every, move |_, _| {
                let ring = ring.clone();
                // Nobody may have heard the last ones yet.
                Box::pin(async move {
                    let _ = ring.try_send(bell);
                })
            })?;
            scheduler.add(job).await?;
        }
        scheduler.start().await?;
        Ok(Self { scheduler, rung })
    }

    /// Waits for the next bell.
    pub async fn rung(&mut self) -> Bell {
        match self.rung.recv().await {
            Some(bell) => bell,
            // The scheduler is gone; whoever waits has a clock of its own.
            None => std::future::pending().await,
        }
    }

    /// Stops ringing.
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
        let Some(date) = status.next_look().filter(|_| status.looked != Timestamp::default()) else { continue };
        // A date that was past already when it was given asks for nothing sooner than this.
        let date = date.max(status.looked.plus(LOOK_AGAIN_MIN));
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
    let next = statuses.values().filter_map(Status::next_look).min();
    next.map_or(IDLE_MAX, |next| next.since(now)).min(IDLE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fault::{Class, Fault};

    #[tokio::test]
    async fn every_bell_has_a_job_of_its_own_and_rings_again() {
        // The scheduler goes by the host's clock, in whole seconds: this is a second or two.
        let mut bells = Bells::start(6.0 * 3_600.0).await.unwrap();
        let mut heard: BTreeMap<Bell, usize> = BTreeMap::new();
        while heard.len() < Bell::ALL.len() || heard.values().any(|count| *count < 2) {
            *heard.entry(bells.rung().await).or_default() += 1;
        }
        bells.stop().await;
    }

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
            // Given as past, at this very moment.
            ("past", 100, Some(50)),
        ];
        let name = |text: &str| Name::new(text).unwrap();
        let statuses = rows.map(|(text, looked, again)| (name(text), status(looked, again))).into();
        let (due, next) = plan(&statuses, at(100), |name| name.as_str().starts_with("busy"));
        assert_eq!((due, next), (vec![name("due"), name("now")], Some(at(105))));
    }
}
