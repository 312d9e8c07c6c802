//! AWS's clock as this process knows it: the `Date` of an answer plus the monotonic time since.
//! Every age that a decision relies on is measured by it, so a wrong date must not move it.
//!
//! | the date of an answer | is believed |
//! |---|---|
//! | any | only between [`DATE_MIN`] and [`DATE_MAX`] |
//! | the first one, over https | within [`FIRST_MAX`] of this host's clock: outside the lifetime of AWS's certificates there is no TLS connection in the first place |
//! | the first one, over http on this machine | always: a host whose clock is years wrong works there |
//! | a later one | within [`TOLERANCE`], plus [`drift`], of what the first one and the monotonic clock say |
//! | one beside a refusal of our signature for its age | always: here AWS itself says that our time is wrong, as after the machine was suspended |
//!
//! The tolerance counts from the first believed date and not from the last one, so that many small
//! steps cannot add up to a large one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::TimeSource;

use crate::model::time::{Clock, Timestamp};

/// An answer that took longer than this tells the time of a moment long past: the process slept
/// while it lay in the socket, and a clock set by it would hide just that.
const ANSWER_SPAN_MAX: Duration = Duration::from_secs(10);
/// How far a date may be from where the monotonic clock puts it: as long as a signature lives. A
/// larger step makes AWS refuse our signatures, which is what proves it.
const TOLERANCE: Duration = Duration::from_secs(300);
/// How far the first date may be from this host's clock where the connection is encrypted.
const FIRST_MAX: Duration = Duration::from_secs(400 * 86_400);
/// 2020-01-01: no answer of AWS to this program is older.
const DATE_MIN: Timestamp = Timestamp::from_seconds(1_577_836_800);
/// 2100-01-01.
const DATE_MAX: Timestamp = Timestamp::from_seconds(4_102_444_800);

/// How far the monotonic clock and AWS's may drift apart in `span`: one part in a thousand, which
/// is twice what a disciplined clock may be off.
fn drift(span: Duration) -> Duration {
    span / 1_000
}

/// AWS's clock as far as this process has heard of it; clones share what was heard.
#[derive(Clone)]
pub(super) struct AwsTime(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    /// Whether requests stay on this machine, so that nothing says that its clock is about right.
    local: bool,
    heard: Mutex<Option<Heard>>,
}

#[derive(Clone, Copy)]
struct Heard {
    /// The first believed date, which later ones are compared with.
    anchor: Moment,
    /// The last believed date, which the time is told by.
    last: Moment,
}

/// A date, and when it was heard on the monotonic clock.
#[derive(Clone, Copy)]
struct Moment {
    date: Timestamp,
    at: Duration,
}

impl Moment {
    fn after(self, monotonic: Duration) -> Timestamp {
        self.date.plus(monotonic.saturating_sub(self.at))
    }
}

/// A date that can't be right, for the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unbelievable {
    said: Timestamp,
    expected: Timestamp,
    /// Whether `expected` is this host's clock, since AWS has not said anything better yet.
    by_host: bool,
}

impl Unbelievable {
    pub(super) const HINT: &str =
        "compare this host's clock with AWS's; look for a proxy that answers with a `Date` of its own";
}

impl fmt::Display for Unbelievable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { said, expected, by_host } = self;
        let by = if *by_host { "by this host's clock" } else { "by its earlier answers" };
        write!(out, "the answer is dated {said}, but {by} it is {expected}")
    }
}

impl AwsTime {
    /// `local` when requests stay on this machine.
    pub(super) fn new(clock: Arc<dyn Clock>, local: bool) -> Self {
        Self(Arc::new(Shared { clock, local, heard: Mutex::new(None) }))
    }

    /// AWS's last `Date` plus the time since; `None` until an answer carried one.
    pub(super) fn now(&self) -> Option<Timestamp> {
        self.heard().map(|heard| heard.last.after(self.monotonic()))
    }

    /// The best guess there is.
    pub(super) fn now_or_wall(&self) -> Timestamp {
        self.now().unwrap_or_else(|| self.0.clock.wall())
    }

    pub(super) fn monotonic(&self) -> Duration {
        self.0.clock.monotonic()
    }

    fn heard(&self) -> Option<Heard> {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the clock by the date of an answer to what was sent then, where it can be believed. One
    /// that took long does not set a clock that is set already.
    pub(super) fn hear(
        &self,
        date: Option<Timestamp>,
        sent_at: Option<Duration>,
        signature_refused: bool,
    ) -> Result<(), Unbelievable> {
        let Some(said) = date else { return Ok(()) };
        let at = self.monotonic();
        let sent = sent_at.unwrap_or(at);
        let heard = self.heard();
        let expected = heard.map_or_else(|| self.0.clock.wall(), |heard| heard.anchor.after(at));
        let possible = (DATE_MIN..DATE_MAX).contains(&said);
        let believed = signature_refused
            || match heard {
                None if self.0.local => true,
                None => said >= expected.minus(FIRST_MAX) && said <= expected.plus(FIRST_MAX),
                Some(Heard { anchor, .. }) => {
                    let allowed = TOLERANCE + drift(at.saturating_sub(anchor.at));
                    // The answer was given at some moment since the request was sent.
                    said >= anchor.after(sent).minus(allowed) && said <= expected.plus(allowed)
                }
            };
        if !(possible && believed) {
            return Err(Unbelievable { said, expected, by_host: heard.is_none() });
        }
        if heard.is_some() && at.saturating_sub(sent) > ANSWER_SPAN_MAX {
            return Ok(());
        }
        let last = Moment { date: said, at };
        let anchor = heard.map(|heard| heard.anchor).filter(|_| !signature_refused).unwrap_or(last);
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Heard { anchor, last });
        Ok(())
    }
}

impl TimeSource for AwsTime {
    fn now(&self) -> SystemTime {
        system_time(self.now_or_wall())
    }
}

impl fmt::Debug for AwsTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "AwsTime({:?})", Self::now(self))
    }
}

/// As the SDK wants it: its signer panics outside the years that have four digits.
pub(super) fn system_time(moment: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + moment.min(DATE_MAX).since(Timestamp::default())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::model::time::Sleep;

    const WALL: Timestamp = Timestamp::from_seconds(1_795_176_000);
    const HOUR: i64 = 3_600;
    const YEAR: i64 = 365 * 86_400;

    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn wall(&self) -> Timestamp {
            WALL
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::SeqCst))
        }

        fn sleep(&self, _: Duration) -> Sleep<'_> {
            Box::pin(std::future::ready(()))
        }
    }

    /// Hears a date in an answer that came at once.
    fn hear(time: &AwsTime, date: Timestamp, signature_refused: bool) -> Result<(), Unbelievable> {
        time.hear(Some(date), Some(time.monotonic()), signature_refused)
    }

    #[test]
    fn the_first_date_is_believed_near_this_hosts_clock_or_on_this_machine() {
        for (local, off, believed) in [
            (false, YEAR, true),
            (false, -YEAR, true),
            (false, 2 * YEAR, false),
            (false, -2 * YEAR, false),
            (true, 11 * YEAR, true),
            (true, 100 * YEAR, false),
            (true, -40 * YEAR, false),
            (true, 8_000 * YEAR, false),
        ] {
            let time = AwsTime::new(Arc::new(Hand::default()), local);
            let date = Timestamp::from_seconds(WALL.seconds() + off);
            assert_eq!(hear(&time, date, false).is_ok(), believed, "{local} {date}");
            assert_eq!(time.now(), believed.then_some(date));
        }
    }

    #[test]
    fn later_dates_go_as_the_monotonic_clock_does() {
        for (off, signature_refused, believed) in [
            (300, false, true),
            (-300, false, true),
            (304, false, false),
            (-304, false, false),
            (HOUR, false, false),
            (HOUR, true, true),
            (-HOUR, true, true),
            (8_000 * YEAR, false, false),
            (8_000 * YEAR, true, false),
        ] {
            let clock = Arc::new(Hand::default());
            let time = AwsTime::new(clock.clone(), true);
            hear(&time, WALL, false).unwrap();
            clock.0.store(3_000, Ordering::SeqCst);
            let date = Timestamp::from_seconds(WALL.seconds() + 3_000 + off);
            assert_eq!(hear(&time, date, signature_refused).is_ok(), believed, "{off}");
            let expected = if believed { date } else { WALL.plus(Duration::from_secs(3_000)) };
            assert_eq!(time.now(), Some(expected), "{off} {signature_refused}");
        }
    }

    #[test]
    fn small_steps_do_not_add_up() {
        let time = AwsTime::new(Arc::new(Hand::default()), true);
        let step = |minutes: u64| hear(&time, WALL.plus(Duration::from_secs(60 * minutes)), false);
        let believed: Vec<bool> = (0..9).map(|minutes| step(minutes).is_ok()).collect();
        assert_eq!(believed, [true, true, true, true, true, true, false, false, false]);
    }

    #[test]
    fn a_late_answer_is_possible_and_sets_no_clock() {
        let clock = Arc::new(Hand::default());
        let time = AwsTime::new(clock.clone(), true);
        hear(&time, WALL, false).unwrap();
        let sent = time.monotonic();
        clock.0.store(3_000, Ordering::SeqCst);
        assert_eq!(time.hear(Some(WALL), Some(sent), false), Ok(()));
        assert_eq!(time.now(), Some(WALL.plus(Duration::from_secs(3_000))));
    }

    #[test]
    fn what_is_signed_has_a_year_of_four_digits() {
        for moment in [Timestamp::from_millis(i64::MAX), Timestamp::from_millis(i64::MIN), WALL] {
            let limit = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
            assert!((SystemTime::UNIX_EPOCH..=limit).contains(&system_time(moment)), "{moment:?}");
        }
    }
}
