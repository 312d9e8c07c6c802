//! `timezone`: a region of the IANA database, whose rules for summer time come with it.
//!
//! Abbreviations and offsets are what people write first. Neither says when clocks change, and an
//! abbreviation may mean several zones, so both are refused with the name of a region that keeps them.

use chrono_tz::{TZ_VARIANTS, Tz};

use super::diagnostic::{Code, Problem, Severity};
use super::notes::{Notes, shortened};
use super::tree::{Table, Text};

/// What people call the time of a region, and a region that keeps it.
#[rustfmt::skip]
const ABBREVIATIONS: [(&str, &str); 30] = [
    ("PST", "America/Los_Angeles"), ("PDT", "America/Los_Angeles"), ("PT", "America/Los_Angeles"),
    ("MDT", "America/Denver"), ("MT", "America/Denver"), ("CST", "America/Chicago"), ("CDT", "America/Chicago"),
    ("CT", "America/Chicago"), ("EDT", "America/New_York"), ("ET", "America/New_York"), ("AKST", "America/Anchorage"),
    ("AKDT", "America/Anchorage"), ("AST", "America/Halifax"), ("ADT", "America/Halifax"), ("BRT", "America/Sao_Paulo"),
    ("BST", "Europe/London"), ("WEST", "Europe/Lisbon"), ("CEST", "Europe/Berlin"), ("MEZ", "Europe/Berlin"),
    ("MESZ", "Europe/Berlin"), ("EEST", "Europe/Helsinki"), ("MSK", "Europe/Moscow"), ("SAST", "Africa/Johannesburg"),
    ("IST", "Asia/Kolkata"), ("SGT", "Asia/Singapore"), ("JST", "Asia/Tokyo"), ("KST", "Asia/Seoul"),
    ("AEST", "Australia/Sydney"), ("AEDT", "Australia/Sydney"), ("NZST", "Pacific/Auckland"),
];

/// By hours ahead of UTC, a region whose ordinary time that is.
#[rustfmt::skip]
const REGIONS: [(i32, &str); 24] = [
    (-11, "Pacific/Pago_Pago"), (-10, "Pacific/Honolulu"), (-9, "America/Anchorage"), (-8, "America/Los_Angeles"),
    (-7, "America/Denver"), (-6, "America/Chicago"), (-5, "America/New_York"), (-4, "America/Halifax"),
    (-3, "America/Sao_Paulo"), (-2, "America/Noronha"), (-1, "Atlantic/Azores"), (0, "Europe/London"),
    (1, "Europe/Berlin"), (2, "Europe/Helsinki"), (3, "Europe/Moscow"), (4, "Asia/Dubai"), (5, "Asia/Karachi"),
    (6, "Asia/Dhaka"), (7, "Asia/Bangkok"), (8, "Asia/Singapore"), (9, "Asia/Tokyo"), (10, "Australia/Sydney"),
    (11, "Pacific/Guadalcanal"), (12, "Pacific/Auckland"),
];

/// Names of the database that look like a region's time and never change to summer time.
const FIXED: [(&str, &str); 3] = [("EST", "America/New_York"), ("MST", "America/Denver"), ("HST", "Pacific/Honolulu")];

/// The `timezone` of a table; UTC where none is given.
pub(super) fn zone(notes: &mut Notes<'_>, table: Table<'_>) -> Option<Tz> {
    if !table.has("timezone") {
        return Some(Tz::UTC);
    }
    let text = notes.text(table, "timezone", "timezone = \"Europe/Berlin\"")?;
    let Ok(zone) = text.text.parse::<Tz>() else {
        refuse(notes, text);
        return None;
    };
    doubt(notes, text);
    Some(zone)
}

/// Warns of a name that is a zone, but hardly the one that was meant.
fn doubt(notes: &mut Notes<'_>, text: Text<'_>) {
    let hours = text.text.strip_prefix("Etc/GMT").and_then(|offset| offset.parse::<i32>().ok());
    let (message, help) = if let Some(hours) = hours.filter(|hours| *hours != 0) {
        let side = if hours > 0 { "behind" } else { "ahead of" };
        let number = hours.abs();
        (
            format!("`{}` is {number} hours {side} UTC: POSIX counts the other way round", text.text),
            format!("if the other side of Greenwich was meant, write `Etc/GMT{:+}`; {}", -hours, near(-hours)),
        )
    } else if let Some((_, region)) = FIXED.iter().find(|(name, _)| *name == text.text) {
        (
            format!("`{}` knows no summer time", text.text),
            format!("for the time of a region write its name: `{region}`"),
        )
    } else {
        return;
    };
    let problem = Problem::error(Code::Calendar, text.span, message).help(help);
    notes.push(Problem { severity: Severity::Warning, ..problem });
}

fn refuse(notes: &mut Notes<'_>, text: Text<'_>) {
    let message = format!("there is no time zone `{}`", shortened(text.text));
    let known = ABBREVIATIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.text));
    let help = if let Some((_, region)) = known {
        format!("an abbreviation does not say when clocks change: write the region, such as `{region}`")
    } else if let Some(hours) = offset(text.text) {
        format!("an offset knows no summer time: write a region; {}", hours.map_or(ANY.into(), near))
    } else {
        match notes.nearest(text.text, TZ_VARIANTS.iter().map(|zone| zone.name())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => ANY.into(),
        }
    };
    notes.push(Problem::error(Code::UnknownName, text.span, message).help(help));
}

const ANY: &str = "write the name of a region in the IANA time zone database, such as `Europe/Berlin`, or `UTC`";

fn near(hours: i32) -> String {
    let region = REGIONS.iter().find(|(offset, _)| *offset == hours);
    region.map_or(ANY.into(), |(_, region)| format!("`{region}` is one that is {hours:+} h from UTC in winter"))
}

/// The whole hours of an offset from UTC; `Some(None)` for one that has minutes or is no zone's.
fn offset(text: &str) -> Option<Option<i32>> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.trim_start_matches("UTC").trim_start_matches("GMT").trim_start();
    let sign = if bare.starts_with('+') { 1 } else { -1 };
    let digits = bare.strip_prefix(['+', '-', '\u{2212}'])?;
    let (hours, minutes) = match digits.split_once(':') {
        Some(pair) => pair,
        None if digits.len() > 2 => digits.split_at_checked(digits.len() - 2)?,
        None => (digits, "0"),
    };
    let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
    Some((minutes == 0).then_some(sign * i32::from(hours)))
}
