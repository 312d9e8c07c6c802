//! `rotate`: when a credential is due, and how far apart two due dates are at least.
//!
//! Cron patterns are five fields of `croner`, days of month and week joined by OR as POSIX has it.
//! Because hardly anybody expects that OR, a pattern that restricts both is refused unless `+`
//! before the day of week says that both must match.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds};

use super::diagnostic::{Code, Problem};
use super::notes::{Notes, Span, listed, shortened};
use super::tree::{Item, Length, Text};
use super::zones;
use crate::model::policy::Rotate;

/// Patterns are tried from here on, so that a check never depends on the day it is made:
/// 2026-01-01.
const TRIED_FROM_SECONDS: i64 = 1_767_225_600;
/// How many firings are looked at for the least distance, and over how many days.
const TRIED_FIRING_COUNT: usize = 400;
const TRIED_DAYS: i64 = 400;

const EXAMPLE: &str =
    "rotate = { every = \"30d\" }, { cron = \"0 3 * * SUN\", timezone = \"Europe/Berlin\" } or \"manual\"";

const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];
const FIELDS: &str = "five fields: minute, hour, day of month, month, day of week; for example `0 3 * * SUN`";

/// What a field of a pattern counts.
#[derive(Clone, Copy)]
struct Range {
    first: u32,
    last: u32,
    /// When it begins anew.
    within: &'static str,
    /// The unit of a duration that counts the same.
    unit: Option<char>,
}

const RANGES: [Range; 5] = [
    Range { first: 0, last: 59, within: "every hour", unit: Some('m') },
    Range { first: 0, last: 23, within: "every day", unit: Some('h') },
    Range { first: 1, last: 31, within: "every month", unit: Some('d') },
    Range { first: 1, last: 12, within: "every year", unit: None },
    Range { first: 0, last: 6, within: "every week", unit: Some('d') },
];

/// A rotation rule, checked by itself; floors and the overlap are judged per credential.
#[derive(Clone)]
pub(super) struct Rotation {
    pub rotate: Rotate,
    pub jitter: Duration,
    /// Least time between two due dates; `None` for `manual`.
    pub interval: Option<Duration>,
    pub span: Span,
}

/// The patterns that were compiled so far, by their text: compiling one costs a quarter of a
/// millisecond, and a fleet has few distinct ones.
#[derive(Default)]
pub(super) struct Patterns(HashMap<String, Result<Compiled, Refused>>);

#[derive(Clone)]
struct Compiled {
    pattern: Arc<Cron>,
    text: Arc<str>,
    gap: Duration,
}

#[derive(Clone)]
struct Refused {
    message: String,
    help: String,
}

/// Reads a `rotate` value: a duration, `"manual"`, or a table.
pub(super) fn rotation(notes: &mut Notes<'_>, patterns: &mut Patterns, item: Item<'_>) -> Option<Rotation> {
    if let Some(text) = item.as_text() {
        if text.text == "manual" {
            let (jitter, interval) = (Duration::ZERO, None);
            return Some(Rotation { rotate: Rotate::Manual, jitter, interval, span: item.span });
        }
        let like_cron = text.text.split_whitespace().count() == 5 || text.text.starts_with('@');
        if like_cron || !text.text.starts_with(|c: char| c.is_ascii_digit()) {
            let message = format!("`rotate` can't be `{}`", shortened(text.text));
            let help = if like_cron {
                "a cron pattern goes into a table: `rotate = { cron = \"0 3 * * SUN\", timezone = \"Europe/Berlin\" }`"
                    .into()
            } else {
                format!("write `{EXAMPLE}`")
            };
            notes.push(Problem::error(Code::BadValue, text.span, message).help(help));
            return None;
        }
        let every = notes.duration_of("rotate", text)?;
        return every_so_often(notes, every, Duration::ZERO, item.span);
    }
    let Some(table) = item.as_table() else {
        notes.wrong_type("rotate", item, "a string or a table", EXAMPLE);
        return None;
    };
    notes.unknown_keys(table, ["every", "cron", "timezone", "jitter"].into_iter(), false, None);
    let jitter = match table.has("jitter") {
        true => notes.duration(table, "jitter", "jitter = \"2h\"")?,
        false => Length { length: Duration::ZERO, span: None },
    };
    match (table.get("every"), table.get("cron")) {
        (Some(every), Some(cron)) => {
            notes.push(
                Problem::error(Code::Disagreement, cron.span, "`rotate` has both `every` and `cron`")
                    .other(every.span, "the other one")
                    .help("keep one of them"),
            );
            None
        }
        (None, None) => {
            notes.missing(table, "every", "`rotate`", format!("write `{EXAMPLE}`"));
            None
        }
        (Some(_), None) => {
            if let Some(at) = table.key_span("timezone") {
                let problem = Problem::error(Code::Disagreement, at, "`timezone` means nothing beside `every`");
                notes.push(problem.other_if(table.key_span("every"), "this needs no zone").help("remove `timezone`"));
            }
            let every = notes.duration(table, "every", "every = \"30d\"")?;
            let rotation = every_so_often(notes, every, jitter.length, item.span)?;
            jitter_fits(notes, jitter, every.length, every.span)?;
            Some(rotation)
        }
        (None, Some(_)) => {
            let zone = zones::zone(notes, table);
            let text = notes.text(table, "cron", "cron = \"0 3 * * SUN\"")?;
            let Compiled { pattern, text: written, gap } = patterns.compile(notes, text)?;
            jitter_fits(notes, jitter, gap, Some(text.span))?;
            let rotate = Rotate::Cron { pattern, text: written, zone: zone? };
            Some(Rotation { rotate, jitter: jitter.length, interval: Some(gap), span: item.span })
        }
    }
}

fn every_so_often(notes: &mut Notes<'_>, every: Length, jitter: Duration, span: Span) -> Option<Rotation> {
    if every.length.is_zero() {
        let help = "write \"manual\" for a credential that only a person rotates";
        let at = every.span.unwrap_or(span);
        notes.push(Problem::error(Code::Duration, at, "an interval can't be zero").help(help));
        return None;
    }
    Some(Rotation { rotate: Rotate::Every(every.length), jitter, interval: Some(every.length), span })
}

fn jitter_fits(notes: &mut Notes<'_>, jitter: Length, interval: Duration, other: Option<Span>) -> Option<()> {
    let Some(at) = jitter.span.filter(|_| jitter.length >= interval) else { return Some(()) };
    notes.push(
        Problem::error(Code::Disagreement, at, "the jitter is not shorter than the time between two rotations")
            .label(format!("up to {}", crate::model::time::human(jitter.length)))
            .other_if(other, format!("as often as every {}", crate::model::time::human(interval)))
            .help("a tenth of the interval is plenty"),
    );
    None
}

impl Patterns {
    fn compile(&mut self, notes: &mut Notes<'_>, text: Text<'_>) -> Option<Compiled> {
        if !self.0.contains_key(text.text) {
            self.0.insert(text.text.to_owned(), compile(text.text));
        }
        match self.0.get(text.text)? {
            Ok(compiled) => Some(compiled.clone()),
            Err(refused) => {
                notes.push(Problem::error(Code::Cron, text.span, refused.message.clone()).help(refused.help.clone()));
                None
            }
        }
    }
}

fn compile(text: &str) -> Result<Compiled, Refused> {
    let refused = |message: String, help: &str| Err(Refused { message, help: help.into() });
    let pattern = match NICKNAMES.iter().find(|(nickname, _)| *nickname == text) {
        Some((_, pattern)) => pattern,
        None if text.starts_with('@') => {
            let known = listed(NICKNAMES.iter().map(|(nickname, _)| *nickname));
            return refused(
                format!("there is no schedule `{}`", shortened(text)),
                &format!("write {known}, or {FIELDS}"),
            );
        }
        None => text,
    };
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    if fields.len() != 5 {
        return refused(format!("a cron pattern has five fields, but this has {}", fields.len()), FIELDS);
    }
    let restricts = |field: &str| !matches!(field, "*" | "?");
    if restricts(fields[2]) && restricts(fields[4]) && !fields[4].starts_with('+') {
        return refused(
            "this pattern restricts the day of month and the day of week; cron fires when either matches".into(),
            "put `*` into one of the two fields, or `+` before the day of week when both must match: `0 3 13 * +FRI`",
        );
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).dom_and_dow(false).build();
    if let Some(step) = fields.iter().zip(RANGES).find_map(|(field, range)| step_too_large(field, range)) {
        return Err(step);
    }
    let pattern = match parser.parse(pattern) {
        Ok(pattern) => pattern,
        Err(problem) => return refused(format!("this is not a cron pattern: {}", said(&problem)), FIELDS),
    };
    let never = || Refused {
        message: "this pattern never fires".into(),
        help: "no such date exists; for the last day of a month write `L` as its day".into(),
    };
    if impossible_date(&fields) {
        return Err(never());
    }
    let gap = least_gap(&pattern).ok_or_else(never)?;
    Ok(Compiled { pattern: Arc::new(pattern), text: text.into(), gap })
}

/// Refuses a step after which its field is over: cron begins anew with each hour, day or month, so it
/// fires once in it and not once a step.
fn step_too_large(field: &str, range: Range) -> Option<Refused> {
    for part in field.split(',') {
        let Some((span, step)) = part.split_once('/') else { continue };
        let Ok(step) = step.parse::<u32>() else { continue };
        let number = |text: &str| text.parse::<u32>().ok();
        let (from, to) = match span.split_once('-') {
            Some((from, to)) => (number(from), number(to)),
            None if span == "*" => (Some(range.first), Some(range.last)),
            None => (number(span), Some(range.last)),
        };
        let (Some(from), Some(to)) = (from, to) else { continue };
        if from <= to && step > to - from {
            let message =
                format!("the step in `{part}` is larger than what it steps through: it fires once {}", range.within);
            let help = match range.unit {
                Some(unit) => format!("for an interval write `rotate = {{ every = \"{step}{unit}\" }}`"),
                None => "name the months: `0 3 1 1,6 *`".into(),
            };
            return Some(Refused { message, help });
        }
    }
    None
}

/// What croner said, in our form: lower case, no full stop.
fn said(problem: &CronError) -> String {
    let text = problem.to_string();
    let text = text.rsplit(": ").next().unwrap_or_default().trim_end_matches('.');
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// Whether no chosen month ever has a chosen day: croner finds that out too, but takes a third of
/// a second to look through three thousand years.
fn impossible_date(fields: &[&str]) -> bool {
    let numbers = |field: &str| field.split(',').map(|part| part.parse::<u8>().ok()).collect::<Option<Vec<u8>>>();
    let (Some(days), Some(months)) = (numbers(fields[2]), numbers(fields[3])) else { return false };
    let longest = months.iter().map(|month| match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    });
    days.iter().min() > longest.max().as_ref()
}

/// Least time between two firings, reckoned in UTC: what a zone's change of clocks adds or takes
/// is not the pattern's. `None` when it never fires.
fn least_gap(pattern: &Cron) -> Option<Duration> {
    let start: DateTime<Utc> = DateTime::from_timestamp(TRIED_FROM_SECONDS, 0)?;
    let mut before = pattern.find_next_occurrence(&start, true).ok()?;
    let last = before + chrono::Duration::days(TRIED_DAYS);
    let mut least: Option<chrono::Duration> = None;
    for _ in 0..TRIED_FIRING_COUNT {
        let Ok(next) = pattern.find_next_occurrence(&before, false) else { break };
        let gap = next - before;
        least = Some(least.map_or(gap, |least| least.min(gap)));
        // Once a minute is as often as it gets.
        if next > last || gap <= chrono::Duration::minutes(1) {
            break;
        }
        before = next;
    }
    // A pattern that fires only once fires as rarely as one can wish.
    Some(least.map_or(Duration::from_secs(366 * 86_400), |gap| gap.to_std().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_gap_is_found() {
        for (text, hours) in [
            ("0 3 * * SUN", 168),
            ("0 3 * * *", 24),
            ("0 * * * *", 1),
            ("0 3,5 * * MON", 2),
            ("0 0 1 * *", 28 * 24),
            ("0 23 L * *", 28 * 24),
            ("0 0 29 2 *", 4 * 365 * 24 + 24),
            ("0 3 * * 1-5", 24),
            ("0 0,12 1,2 * *", 12),
            ("0 3 13 * +FRI", 28 * 24),
        ] {
            let compiled = compile(text).map_err(|refused| refused.message).unwrap();
            assert_eq!(compiled.gap, Duration::from_secs(hours * 3_600), "{text}");
        }
    }

    #[test]
    fn unusable_patterns_are_refused() {
        for (text, words) in [
            ("", "five fields"),
            ("* * * *", "five fields, but this has 4"),
            ("0 0 3 * * SUN", "five fields, but this has 6"),
            ("daily", "five fields, but this has 1"),
            ("*/90 * * * *", "larger than"),
            ("0 0-11/13 * * *", "larger than"),
            ("61 * * * *", "not a cron pattern"),
            ("0 3 * * FOO", "not a cron pattern"),
            ("0 3 13 * FRI", "either matches"),
            ("0 0 31 2 *", "never fires"),
            ("0 0 30,31 2 *", "never fires"),
            ("0 0 31 4,6,9,11 *", "never fires"),
        ] {
            let refused = compile(text).map(|compiled| compiled.gap).unwrap_err();
            assert!(refused.message.contains(words), "{text}: {}", refused.message);
        }
    }
}
