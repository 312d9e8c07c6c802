//! A bound on everything that is under way. A visit or a listing gives a sign of life while the
//! runtime still turns it, ends as failed when its time is over, and a bug in it is its own failure
//! and nobody else's.
//!
//! One thing is not cut off: a process that may hold a fresh credential. Only it can store that
//! credential or end it, so it is asked to finish, and gets [`HOLD_MAX`] for it.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use crate::engine::Engine;
use crate::engine::pulse::Pulses;
use crate::model::fault::{Class, Fault};
use crate::model::name::Name;
use crate::model::time::human;

/// How long one visit may take, in real time. A slow rotation fits in: a vendor that asks for two
/// minutes of patience at each of three calls, and a candidate that is refused for two more.
pub(super) const VISIT_MAX: Duration = Duration::from_secs(900);
/// How long one target may take to be listed: 100 pages of a throttled account fit in.
pub(super) const LISTING_MAX: Duration = Duration::from_secs(600);
/// How long a visit that holds nothing may go on after the process was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How much longer whoever holds a fresh credential may take to store or to end it: its put is sent
/// again for ten minutes at most.
const HOLD_MAX: Duration = Duration::from_secs(900);
/// Between signs of life, and between looks at whether the process was told to stop.
pub(super) const BEAT_PAUSE: Duration = Duration::from_secs(1);

/// Why something did not come to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cut {
    /// It took longer than it may.
    Overdue(Duration),
    /// The process was told to stop.
    Stopped,
    /// A bug of keyferry.
    Panicked,
}

impl Cut {
    /// What that means for whoever waits for `doing`.
    pub(super) fn fault(self, doing: &str) -> Fault {
        match self {
            Self::Overdue(max) => {
                let answer = format!("it took longer than {} and was given up", human(max));
                Fault::new(Class::Retry { after: None }, doing, answer)
                    .with_hint("something answers too slowly or not at all; the next look goes on from what was done")
            }
            Self::Stopped => {
                let answer = "keyferry was told to stop while it waited for an answer";
                Fault::new(Class::Retry { after: None }, doing, answer)
            }
            Self::Panicked => Fault::new(Class::Bug, doing, "keyferry failed")
                .with_hint("this is a bug of keyferry: please report it with the log"),
        }
    }
}

/// Credentials for which this process may hold a fresh value, and whether they are asked to finish.
#[derive(Default)]
pub(super) struct Holds(Mutex<BTreeMap<Name, bool>>);

impl Holds {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, name: &Name) -> bool {
        self.lock().contains_key(name)
    }

    fn ask_to_finish(&self, name: &Name) {
        if let Some(asked) = self.lock().get_mut(name) {
            *asked = true;
        }
    }
}

/// While this exists, the visit is not cut off.
pub(super) struct Hold<'a> {
    holds: &'a Holds,
    name: &'a Name,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.holds.lock().remove(self.name);
    }
}

/// Something is under way until this is dropped, however it ends.
struct Pulse<'a> {
    pulses: &'a Pulses,
    who: &'a str,
}

impl Drop for Pulse<'_> {
    fn drop(&mut self) {
        self.pulses.end(self.who);
    }
}

impl Engine {
    /// From now on this process may hold a fresh credential for `name`.
    pub(super) fn hold<'a>(&'a self, name: &'a Name) -> Hold<'a> {
        self.holds.lock().insert(name.clone(), false);
        Hold { holds: &self.holds, name }
    }

    /// Whether whoever holds a fresh credential for `name` should finish with it now.
    pub(super) fn must_finish(&self, name: &Name) -> bool {
        self.stopping() || self.holds.lock().get(name).is_some_and(|asked| *asked)
    }

    /// Waits for `future`, called `who`, for as long as it may take. `name` is the credential that it
    /// is about, if it is about one.
    pub(super) async fn watched<F: Future>(
        &self,
        who: &str,
        name: Option<&Name>,
        max: Duration,
        future: F,
    ) -> Result<F::Output, Cut> {
        let mut future = pin!(caught(future));
        let pulse = Pulse { pulses: &self.pulses, who };
        let mut over = pin!(tokio::time::sleep(max));
        let mut beats = tokio::time::interval(BEAT_PAUSE);
        let holds = || name.is_some_and(|name| self.holds.has(name));
        // How long it has been stopping, or overdue.
        let (mut stopping, mut overdue) = (Duration::ZERO, None::<Duration>);
        loop {
            tokio::select! {
                biased;
                done = &mut future => return done.ok_or(Cut::Panicked),
                () = &mut over, if overdue.is_none() => overdue = Some(Duration::ZERO),
                _ = beats.tick() => {
                    pulse.pulses.beat(who);
                    stopping += if self.stopping() { BEAT_PAUSE } else { Duration::ZERO };
                    overdue = overdue.map(|span| span + BEAT_PAUSE);
                }
            }
            let late = overdue.is_some_and(|span| !holds() || span > HOLD_MAX);
            if late {
                return Err(Cut::Overdue(max));
            }
            if stopping > STOP_GRACE && !holds() {
                return Err(Cut::Stopped);
            }
            if let (Some(name), true) = (name, overdue.is_some()) {
                self.holds.ask_to_finish(name);
            }
        }
    }
}

/// The same future; `None` when it panics.
async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // What it leaves half done is dropped with it; what it shares stands behind locks that
        // whoever comes next takes as they are.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Ready(done)) => Poll::Ready(Some(done)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::Pin;
    use std::sync::Arc;

    use super::*;
    use crate::clock::HostClock;
    use crate::config;

    async fn engine() -> Engine {
        let text = "deployment = \"test\"\n[aws]\nregion = \"us-east-1\"\nendpoint_url = \"http://127.0.0.1:1\"\n\
                    credentials = \"sandbox\"\n[vendors.k]\nkind = \"keycard\"\nbase_url = \"http://127.0.0.1:1\"\n\
                    zone = \"z\"\nclient_id = { sandbox = true }\nclient_secret = { sandbox = true }\n\
                    [[credential]]\nname = \"app\"\nvendor = \"k\"\ntype = \"password\"\napplication = \"app\"\n\
                    rotate = \"30d\"\noverlap = \"24h\"\n";
        let loaded =
            config::load_text(&[("test.toml", text)]).unwrap_or_else(|report| panic!("{}", report.render(false)));
        Engine::open(Arc::new(loaded.declaration), Arc::new(HostClock::real())).await.unwrap()
    }

    const MAX: Duration = Duration::from_secs(900);

    async fn bug() -> u8 {
        panic!("a bug that a test made")
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_ends_within_its_time_and_a_bug_is_its_own() {
        let engine = engine().await;
        let watched = |future: Pin<Box<dyn Future<Output = u8>>>| engine.watched("app", None, MAX, future);
        assert_eq!(watched(Box::pin(ready(7))).await, Ok(7));
        assert_eq!(watched(Box::pin(bug())).await, Err(Cut::Panicked));
        assert_eq!(watched(Box::pin(pending())).await, Err(Cut::Overdue(MAX)));
        assert!(engine.pulses().all().is_empty(), "nothing is under way any more");
        engine.stop();
        assert_eq!(watched(Box::pin(pending())).await, Err(Cut::Stopped));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_holds_a_fresh_credential_is_asked_to_finish_and_not_cut_off() {
        let name = Name::new("app").unwrap();
        let long = Duration::from_secs(60);
        // (told to stop from the start, how long it goes on before it asks whether it must finish)
        for (stops, before) in [(false, MAX + long), (true, long)] {
            let engine = engine().await;
            if stops {
                engine.stop();
            }
            let holds = async {
                let hold = engine.hold(&name);
                tokio::time::sleep(before).await;
                assert!(engine.must_finish(&name), "it is asked to finish");
                tokio::time::sleep(long).await;
                drop(hold);
                "stored"
            };
            assert_eq!(engine.watched("app", Some(&name), MAX, holds).await, Ok("stored"), "told to stop: {stops}");
            let never = async {
                let _hold = engine.hold(&name);
                pending::<()>().await;
            };
            let mut cut = pin!(engine.watched("app", Some(&name), Duration::from_secs(1), never));
            let early = tokio::time::timeout(HOLD_MAX, &mut cut).await;
            assert!(early.is_err(), "it has its time: {early:?}");
            let late = tokio::time::timeout(long, cut).await;
            assert_eq!(late, Ok(Err(Cut::Overdue(Duration::from_secs(1)))), "and not even that goes on for ever");
            assert!(!engine.holds.has(&name));
        }
    }
}
