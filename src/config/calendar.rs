//! `window` and `freeze`: when a rotation may begin.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeZone};
use chrono_tz::Tz;
use toml::de::DeValue;
use toml::value::Datetime;

use super::diagnostic::{Code, Problem};
use super::notes::{Notes, Span, shortened};
use super::tree::{Item, Table};
use super::zones;
use crate::model::policy::{Freeze, Window};
use crate::model::time::Timestamp;

/// Longest time without any rotation; a leap year's days.
const FREEZE_MAX: Duration = Duration::from_secs(366 * 86_400);
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const WINDOW: &str =
    "window = { from = \"02:00\", to = \"05:00\", days = [\"sat\", \"sun\"], timezone = \"Europe/Berlin\" }";
const FREEZE: &str = "freeze = [{ from = \"2026-12-20\", to = \"2027-01-03\" }]";

/// Reads `window`: one table or an array of them. `None` when one of them is wrong.
pub(super) fn windows(notes: &mut Notes<'_>, table: Table<'_>) -> Option<Vec<Window>> {
    tables(notes, table, "window", WINDOW)?.into_iter().map(|table| window(notes, table)).collect()
}

/// Reads `freeze`: one table or an array of them. `None` when one of them is wrong.
pub(super) fn freezes(notes: &mut Notes<'_>, table: Table<'_>) -> Option<Vec<Freeze>> {
    let tables = tables(notes, table, "freeze", FREEZE)?;
    let freezes: Vec<Freeze> = tables.iter().map(|table| freeze(notes, *table)).collect::<Option<_>>()?;
    ends_within_a_year(notes, &freezes, &tables)?;
    Some(freezes)
}

/// Refuses a time without any rotation that is longer than a year, whether one freeze makes it or several
/// that follow one another: nothing that is due would ever be looked for beyond it.
fn ends_within_a_year(notes: &mut Notes<'_>, freezes: &[Freeze], tables: &[Table<'_>]) -> Option<()> {
    let mut sorted: Vec<(Freeze, Span)> = freezes.iter().copied().zip(tables.iter().map(|table| table.span)).collect();
    sorted.sort_by_key(|(freeze, _)| freeze.from);
    let mut whole: Option<(Freeze, Span)> = None;
    for (freeze, at) in sorted {
        let (first, first_at) = match whole {
            Some((before, before_at)) if freeze.from <= before.to => {
                (Freeze { from: before.from, to: before.to.max(freeze.to) }, before_at)
            }
            Some(_) | None => (freeze, at),
        };
        if first.to.since(first.from) > FREEZE_MAX {
            let problem = Problem::error(Code::Calendar, at, "this freeze is longer than a year");
            let other = (first_at != at).then_some(first_at);
            notes.push(
                problem
                    .other_if(other, "it begins here")
                    .help("end it sooner; for a credential that only a person rotates write `rotate = \"manual\"`"),
            );
            return None;
        }
        whole = Some((first, first_at));
    }
    Some(())
}

fn tables<'t>(notes: &mut Notes<'_>, table: Table<'t>, key: &str, example: &str) -> Option<Vec<Table<'t>>> {
    let Some(item) = table.get(key) else { return Some(Vec::new()) };
    let items: Vec<Item<'t>> = item.items().map_or_else(|| vec![item], Iterator::collect);
    let mut found = Vec::new();
    for item in items {
        match item.as_table() {
            Some(table) => found.push(table),
            None => {
                notes.wrong_type(key, item, "a table or an array of tables", example);
                return None;
            }
        }
    }
    Some(found)
}

fn window(notes: &mut Notes<'_>, table: Table<'_>) -> Option<Window> {
    notes.unknown_keys(table, ["from", "to", "days", "timezone"].into_iter(), false, None);
    let zone = zones::zone(notes, table);
    let days = days(notes, table);
    let (from, to) = (minute(notes, table, "from"), minute(notes, table, "to"));
    let (from_minute, to_minute) = (from?, to?);
    if from_minute == to_minute {
        let at = table.get("to").map_or(table.span, |item| item.span);
        notes.push(
            Problem::error(Code::Calendar, at, "this window is never open: it ends when it begins")
                .other_if(table.get("from").map(|item| item.span), "it begins here")
                .help("leave `window` out to allow any time of the day"),
        );
        return None;
    }
    Some(Window { from_minute, to_minute, days: days?, zone: zone? })
}

fn days(notes: &mut Notes<'_>, table: Table<'_>) -> Option<[bool; 7]> {
    let Some(item) = table.get("days") else { return Some([true; 7]) };
    let Some(items) = item.items() else {
        notes.wrong_type("days", item, "an array of strings", "days = [\"sat\", \"sun\"]");
        return None;
    };
    let mut open = [false; 7];
    for item in items {
        let Some(text) = item.as_text() else {
            notes.wrong_type("days", item, "an array of strings", "days = [\"sat\", \"sun\"]");
            return None;
        };
        let Some(day) = DAYS.iter().position(|day| *day == text.text) else {
            let help = notes.did_you_mean(text.text, DAYS.into_iter(), "one of");
            let message = format!("`{}` is not a day of the week", shortened(text.text));
            notes.push(Problem::error(Code::Calendar, text.span, message).help(help));
            return None;
        };
        open[day] = true;
    }
    if open == [false; 7] {
        let problem = Problem::error(Code::Calendar, item.span, "this window is never open: it names no day");
        notes.push(problem.help("leave `days` out to open it every day"));
        return None;
    }
    Some(open)
}

/// A time of day, as `"02:00"` or as TOML's own local time.
fn minute(notes: &mut Notes<'_>, table: Table<'_>, key: &'static str) -> Option<u16> {
    let Some(item) = table.get(key) else {
        notes.missing(table, key, "this window", format!("for example `{WINDOW}`"));
        return None;
    };
    let minute = match item.value {
        DeValue::String(text) => {
            (text.len() == 5).then(|| NaiveTime::parse_from_str(text, "%H:%M").ok()).flatten().map(|time| {
                use chrono::Timelike;
                time.hour() * 60 + time.minute()
            })
        }
        DeValue::Datetime(Datetime { date: None, time: Some(time), offset: None })
            if time.second.unwrap_or(0) == 0 && time.nanosecond.unwrap_or(0) == 0 =>
        {
            Some(u32::from(time.hour) * 60 + u32::from(time.minute))
        }
        _ => None,
    };
    let minute = minute.and_then(|minute| u16::try_from(minute).ok());
    if minute.is_none() {
        notes.push(
            Problem::error(Code::Calendar, item.span, format!("`{key}` is not a time of the day"))
                .help("write hours and minutes, `02:00` to `23:59`; a window that ends at midnight ends at `00:00`"),
        );
    }
    minute
}

fn freeze(notes: &mut Notes<'_>, table: Table<'_>) -> Option<Freeze> {
    notes.unknown_keys(table, ["from", "to", "timezone"].into_iter(), false, None);
    let zone = zones::zone(notes, table);
    let (from, to) = (date(notes, table, "from"), date(notes, table, "to"));
    let (zone, (from, from_at), (to, to_at)) = (zone?, from?, to?);
    // A day that is named as the end is frozen itself.
    let (from, to) = (from.begin(zone), to.end(zone));
    if from >= to {
        notes.push(
            Problem::error(Code::Calendar, to_at, "this freeze ends before it begins")
                .other(from_at, "it begins here")
                .help(format!("for example `{FREEZE}`")),
        );
        return None;
    }
    Some(Freeze { from, to })
}

/// A day, or a moment.
enum Date {
    Day(NaiveDate),
    Moment(Timestamp),
}

impl Date {
    fn begin(&self, zone: Tz) -> Timestamp {
        match self {
            Self::Day(day) => midnight(*day, zone),
            Self::Moment(moment) => *moment,
        }
    }

    fn end(&self, zone: Tz) -> Timestamp {
        match self {
            Self::Day(day) => midnight(day.succ_opt().unwrap_or(*day), zone),
            Self::Moment(moment) => *moment,
        }
    }
}

/// The first moment of a day; where clocks skip midnight, the first one after it.
fn midnight(day: NaiveDate, zone: Tz) -> Timestamp {
    let first = (0..=180).step_by(15).find_map(|minute| {
        let time = NaiveTime::from_num_seconds_from_midnight_opt(minute * 60, 0)?;
        zone.from_local_datetime(&day.and_time(time)).earliest()
    });
    first.map_or(Timestamp::from_utc(day.and_time(NaiveTime::MIN).and_utc()), |date| {
        Timestamp::from_seconds(date.timestamp())
    })
}

/// A day or a moment with an offset, as text or as TOML's own date.
fn date(notes: &mut Notes<'_>, table: Table<'_>, key: &'static str) -> Option<(Date, Span)> {
    let Some(item) = table.get(key) else {
        notes.missing(table, key, "this freeze", format!("for example `{FREEZE}`"));
        return None;
    };
    let written = match item.value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Datetime(date) => Some(date.to_string()),
        _ => None,
    };
    let date = written.and_then(|text| {
        let day = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok().filter(|_| text.len() == 10).map(Date::Day);
        let moment = || DateTime::parse_from_rfc3339(&text).ok();
        day.or_else(|| moment().map(|date| Date::Moment(Timestamp::from_millis(date.timestamp_millis()))))
    });
    let Some(date) = date else {
        notes.push(
            Problem::error(Code::Calendar, item.span, format!("`{key}` is neither a day nor a moment"))
                .help("write a day, `2026-12-20`, or a moment with its offset, `2026-12-20T18:00:00+01:00`"),
        );
        return None;
    };
    Some((date, item.span))
}
