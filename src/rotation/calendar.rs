//! When a credential is due. Pure: the same credential and date give the same answer, also after a
//! restart, so a schedule missed during downtime is due at once and one not missed is not.

use std::time::Duration;

use chrono::{Datelike, Days, NaiveTime, TimeZone};

use crate::model::policy::{Policy, Rotate, Window};
use crate::model::time::Timestamp;

/// Days looked ahead for a window that opens or a freeze that ends.
const LOOK_AHEAD_DAYS: u64 = 400;
/// More than any clock change skips; the usual one skips an hour.
const SKIPPED_MINUTES_MAX: i64 = 240;

/// When a credential made at `since` is due; `None` when only a person can ask for it.
pub fn due(policy: &Policy, since: Timestamp) -> Option<Timestamp> {
    let planned = match &policy.rotate {
        Rotate::Manual => return None,
        Rotate::Every(interval) => since.plus(*interval),
        Rotate::Cron { pattern, zone, .. } => {
            let local = since.to_utc().with_timezone(zone);
            let next = pattern.find_next_occurrence(&local, false).ok()?;
            Timestamp::from_utc(next.to_utc())
        }
    };
    Some(planned.plus(share(policy.jitter, policy.seed)))
}

/// The first moment at or after `at` in which a rotation may begin; `None` when none is within a
/// year.
pub fn opens(policy: &Policy, at: Timestamp) -> Option<Timestamp> {
    let mut moment = at;
    let limit = at.plus(Duration::from_secs(LOOK_AHEAD_DAYS * 86_400));
    while moment <= limit {
        if let Some(freeze) = policy.freezes.iter().find(|freeze| freeze.from <= moment && moment < freeze.to) {
            moment = freeze.to;
            continue;
        }
        if policy.windows.is_empty() {
            return Some(moment);
        }
        let next = policy.windows.iter().filter_map(|window| opening(*window, moment)).min()?;
        if next <= moment {
            return Some(moment);
        }
        moment = next;
    }
    None
}

/// The first moment at or after `at` that lies in the window.
fn opening(window: Window, at: Timestamp) -> Option<Timestamp> {
    let local = at.to_utc().with_timezone(&window.zone);
    let yesterday = local.date_naive().checked_sub_days(Days::new(1))?;
    (0..9).find_map(|offset| {
        let day = yesterday.checked_add_days(Days::new(offset))?;
        if !window.days[usize::try_from(day.weekday().num_days_from_monday()).ok()?] {
            return None;
        }
        let moment = |minute: u16, day: chrono::NaiveDate| {
            let time = NaiveTime::from_num_seconds_from_midnight_opt(u32::from(minute % 1440) * 60, 0)?;
            // A time that a clock change skips is the first moment after the change.
            (0..SKIPPED_MINUTES_MAX).find_map(|minutes| {
                let wall = day.and_time(time) + chrono::Duration::minutes(minutes);
                window.zone.from_local_datetime(&wall).earliest()
            })
        };
        let ends_next_day = window.to_minute <= window.from_minute;
        let end_day = if ends_next_day { day.checked_add_days(Days::new(1))? } else { day };
        let from = Timestamp::from_utc(moment(window.from_minute, day)?.to_utc());
        let mut to = Timestamp::from_utc(moment(window.to_minute, end_day)?.to_utc());
        if from == to {
            // All of it lies in what the clock change skips: it comes right after, as long as it is.
            let minutes = (window.to_minute + 1440 - window.from_minute) % 1440;
            to = from.plus(Duration::from_secs(u64::from(minutes) * 60));
        }
        (at < to).then_some(from.max(at))
    })
}

/// How long to wait after the `failed`-th attempt on a base: doubles each time, with 20 % jitter.
pub fn backoff(policy: &Policy, failed: u32) -> Duration {
    let doubled = policy.backoff_first.saturating_mul(1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX));
    let wait = doubled.min(policy.backoff_max);
    wait + share(wait / 5, policy.seed.wrapping_add(u64::from(failed)))
}

/// A share of `span` that depends on `seed` alone.
fn share(span: Duration, seed: u64) -> Duration {
    // Multiplicative hashing (Knuth) spreads neighbouring seeds; the top bits are the good ones.
    let spread = u32::try_from(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48).unwrap_or(0);
    span / 65_536 * spread
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::capability::{Capabilities, Marking, Proof};
    use crate::model::policy::Freeze;
    use chrono_tz::Tz;
    use std::str::FromStr;
    use std::sync::Arc;

    fn policy(rotate: Rotate) -> Policy {
        let capabilities =
            Capabilities { marking: Marking::Named, live_max: None, last_used: false, proof: Proof::Login };
        Policy::standard(rotate, Duration::from_secs(86_400), capabilities)
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn cron_is_read_in_its_zone_across_clock_changes() {
        let cron = |text: &str| Rotate::Cron {
            pattern: Arc::new(croner::Cron::from_str(text).unwrap()),
            text: text.into(),
            zone: Tz::Europe__Berlin,
        };
        for (pattern, since, expected) in [
            ("0 3 * * SUN", "2026-11-21T06:00:00Z", "2026-11-22T02:00:00Z"),
            ("0 3 * * SUN", "2026-11-22T02:00:00Z", "2026-11-29T02:00:00Z"),
            // 02:30 does not exist on 29 March 2026: the first moment after the gap.
            ("30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
            // 02:30 comes twice on 25 October 2026: once is enough.
            ("30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
            ("30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ] {
            assert_eq!(due(&policy(cron(pattern)), at(since)), Some(at(expected)), "{pattern} after {since}");
        }
        assert_eq!(due(&policy(Rotate::Manual), at("2026-11-21T06:00:00Z")), None);
    }

    #[test]
    fn windows_and_freezes_put_a_rotation_off() {
        let mut policy = policy(Rotate::Manual);
        let mut days = [false; 7];
        days[5] = true; // Saturday
        policy.windows = vec![Window { from_minute: 23 * 60, to_minute: 60, days, zone: Tz::UTC }];
        for (from, expected) in [
            ("2026-11-21T06:00:00Z", Some("2026-11-21T23:00:00Z")),
            ("2026-11-21T23:30:00Z", Some("2026-11-21T23:30:00Z")),
            ("2026-11-22T00:59:00Z", Some("2026-11-22T00:59:00Z")),
            ("2026-11-22T01:00:00Z", Some("2026-11-28T23:00:00Z")),
        ] {
            assert_eq!(opens(&policy, at(from)), expected.map(at), "{from}");
        }
        policy.freezes = vec![Freeze { from: at("2026-11-20T00:00:00Z"), to: at("2026-11-29T00:30:00Z") }];
        assert_eq!(opens(&policy, at("2026-11-21T06:00:00Z")), Some(at("2026-11-29T00:30:00Z")));
        policy.freezes[0].to = at("2029-01-01T00:00:00Z");
        assert_eq!(opens(&policy, at("2026-11-21T06:00:00Z")), None);
    }

    #[test]
    fn clock_changes_neither_skip_nor_double_a_rotation() {
        let cron = |text: &str| Rotate::Cron {
            pattern: Arc::new(croner::Cron::from_str(text).unwrap()),
            text: text.into(),
            zone: Tz::Europe__Berlin,
        };
        // Every rotation from one day to the next but one, each counted from the one before.
        let rows = [
            // 29 March 2026 has no 02:xx: the 02:30 of that day comes at 03:00.
            (
                "30 2 * * *",
                "2026-03-28T00:00:00Z",
                vec!["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
            ),
            // 25 October 2026 has two: the first counts.
            (
                "30 2 * * *",
                "2026-10-24T00:00:00Z",
                vec!["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
            ),
        ];
        for (pattern, from, expected) in rows {
            let policy = policy(cron(pattern));
            let mut since = at(from);
            for (number, date) in expected.iter().enumerate() {
                since = due(&policy, since).unwrap();
                assert_eq!(since, at(date), "{pattern} number {number} after {from}");
            }
        }
        // An interval is an interval, whatever the clocks on the wall do.
        let every = policy(Rotate::Every(Duration::from_secs(86_400)));
        assert_eq!(due(&every, at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T12:00:00Z")));
    }

    #[test]
    fn a_window_at_a_clock_change_opens_once_and_for_what_is_there_of_it() {
        let mut policy = policy(Rotate::Manual);
        let window =
            |from_minute, to_minute| Window { from_minute, to_minute, days: [true; 7], zone: Tz::Europe__Berlin };
        let rows = [
            // 02:00 to 03:00 does not exist on 29 March: as cron does, it comes when the hour would have been over.
            (window(120, 180), "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),
            (window(120, 180), "2026-03-29T01:59:00Z", "2026-03-29T01:59:00Z"),
            (window(120, 180), "2026-03-29T02:00:00Z", "2026-03-30T00:00:00Z"),
            (window(135, 165), "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),
            (window(135, 165), "2026-03-29T01:30:00Z", "2026-03-30T00:15:00Z"),
            // 02:30 to 04:00 begins with the first moment there is, 03:00.
            (window(150, 240), "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),
            // 01:00 to 02:30 ends there, too.
            (window(60, 150), "2026-03-29T00:59:00Z", "2026-03-29T00:59:00Z"),
            (window(60, 150), "2026-03-29T01:00:00Z", "2026-03-29T23:00:00Z"),
            // On 25 October 02:00 comes twice; a window that begins then begins with the first.
            (window(120, 240), "2026-10-24T23:00:00Z", "2026-10-25T00:00:00Z"),
            (window(120, 240), "2026-10-25T01:30:00Z", "2026-10-25T01:30:00Z"),
        ];
        for (window, from, expected) in rows {
            policy.windows = vec![window];
            assert_eq!(opens(&policy, at(from)), Some(at(expected)), "{window:?} from {from}");
        }
    }

    #[test]
    fn backoff_doubles_up_to_its_maximum_and_never_moves() {
        let policy = policy(Rotate::Manual);
        for (failed, minutes) in [(1, 1), (2, 2), (5, 16), (9, 256), (12, 480), (4_000_000_000, 480)] {
            let wait = backoff(&policy, failed);
            let floor = Duration::from_secs(minutes * 60);
            assert!(floor <= wait && wait <= floor + floor / 5, "{failed}: {wait:?}");
            assert_eq!(wait, backoff(&policy, failed));
        }
    }
}
