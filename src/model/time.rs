//! Points in time, and whose clock they come from.
//!
//! The wall clock of this host decides nothing: ages are AWS dates against AWS's own `Date`
//! header, vendor dates against the vendor's. Only `clock.rs` reads a clock; everything else gets
//! one as [`Clock`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

/// A point in time in milliseconds since 1970-01-01 UTC, on whichever clock it was read from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(i64);

/// 0001-01-01T00:00:00Z.
const YEAR_ONE_MS: i64 = -62_135_596_800_000;
/// 9999-12-31T23:59:59.999Z.
const YEAR_9999_MS: i64 = 253_402_300_799_999;

impl Timestamp {
    /// From whole seconds since the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Parses an RFC 3339 date, as vendors send them in JSON.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|date| Self(date.timestamp_millis()))
    }

    /// Parses an HTTP date (RFC 9110, section 5.6.7; the `Date` header), which has no fraction.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc2822(text).ok().map(|date| Self(date.timestamp_millis()))
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This moment plus `span`, saturating.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment minus `span`, saturating.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this moment is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As a calendar date in UTC, saturating at the years that have four digits: libraries refuse
    /// others, or panic.
    pub fn to_utc(self) -> DateTime<Utc> {
        let millis = self.0.clamp(YEAR_ONE_MS, YEAR_9999_MS);
        DateTime::from_timestamp_millis(millis).unwrap_or_default()
    }

    /// From a calendar date.
    pub fn from_utc(date: DateTime<Utc>) -> Self {
        Self(date.timestamp_millis())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

/// The dates a decision is made against: AWS's own and, where the vendor was asked, the vendor's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Now {
    /// AWS's `Date` header plus the monotonic time since it was read.
    pub store: Timestamp,
    /// The vendor's `Date` header plus the monotonic time since, if it was heard of.
    pub vendor: Option<Timestamp>,
}

/// A boxed sleep.
pub type Sleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The one way to learn the time. `clock.rs` implements it; the sandbox's runs faster.
pub trait Clock: Send + Sync {
    /// The wall clock. For log lines, for the first signature and for simulators; never for a decision.
    fn wall(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
    /// Waits for `span` of this clock.
    fn sleep(&self, span: Duration) -> Sleep<'_>;
}

/// A span as people write it: the largest units first, at most two of them (`1h 30m`).
pub fn human(span: Duration) -> String {
    let mut seconds = span.as_secs();
    let mut parts = Vec::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        let count = seconds / length;
        seconds %= length;
        if count > 0 && parts.len() < 2 {
            parts.push(format!("{count}{unit}"));
        }
    }
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_out_of_range_saturate() {
        let (first, last) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
        assert_eq!(
            (first.to_string().as_str(), last.to_string().as_str()),
            ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
        );
        assert_eq!(
            (first.since(last), last.plus(Duration::MAX), first.minus(Duration::MAX)),
            (Duration::ZERO, last, first)
        );
        assert_eq!(Timestamp::from_seconds(i64::MAX), last);
        assert_eq!(last.since(first), Duration::from_millis(i64::MAX.unsigned_abs()));
    }

    #[test]
    fn dates_are_read_in_both_forms_and_spans_are_written_as_people_do() {
        let date = Timestamp::from_seconds(784_111_777);
        assert_eq!(Timestamp::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(date));
        assert_eq!(Timestamp::parse_rfc3339("1994-11-06T08:49:37.000Z"), Some(date));
        assert_eq!(date.to_string(), "1994-11-06T08:49:37Z");
        for (seconds, text) in [(0, "0s"), (59, "59s"), (5_400, "1h 30m"), (90_061, "1d 1h")] {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
    }
}
