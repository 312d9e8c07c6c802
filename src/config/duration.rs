//! Durations as people write them: `30d`, `12h`, `1h30m`, `2w`.

use std::ops::Range;
use std::time::Duration;

/// Longest duration that anything here can sensibly last: ten years.
const SECONDS_MAX: u64 = 3_650 * 86_400;

const UNITS: [(&str, u64); 5] = [("w", 7 * 86_400), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Why a text is not a duration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Which bytes of the text.
    pub range: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: &'static str,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.message, self.help)
    }
}

const EXAMPLES: &str = "write a number and a unit: `30d`, `12h`, `1h30m`, `2w` (units: w, d, h, m, s)";

/// Reads numbers with units, the longest unit first, each at most once; spaces may stand between
/// them.
///
/// # Errors
/// Says which part is no duration, and what to write.
pub fn parse(text: &str) -> Result<Duration, Refused> {
    let refused = |range: Range<usize>, message: &str, help| Err(Refused { range, message: message.into(), help });
    if text.trim().is_empty() {
        return refused(0..text.len(), "it is empty", EXAMPLES);
    }
    let bytes = text.as_bytes();
    let (mut at, mut total, mut unit_before) = (0, 0_u64, u64::MAX);
    while at < bytes.len() {
        if bytes[at] == b' ' {
            at += 1;
            continue;
        }
        let number = at..run(text, at, |c| c.is_ascii_digit());
        if number.is_empty() {
            let end = run(text, at, |c| c != ' ');
            let help = if bytes[at] == b'-' { "a duration is never negative" } else { EXAMPLES };
            return refused(at..end, "a number is expected here", help);
        }
        let unit = number.end..run(text, number.end, |c| !c.is_ascii_digit() && c != ' ');
        if unit.is_empty() {
            return refused(number, "this number has no unit", EXAMPLES);
        }
        let Some((_, seconds)) = UNITS.iter().find(|(name, _)| *name == &text[unit.clone()]) else {
            let help = match text[unit.clone()].to_lowercase().as_str() {
                "." | "," => "no fractions: write `1h30m` for one and a half hours",
                "mo" | "month" | "months" | "y" | "year" | "years" => {
                    "months and years have no fixed length: write days, or use `{ cron = \"…\" }`"
                }
                "ms" => "the smallest unit is the second, `s`",
                _ => EXAMPLES,
            };
            return Err(Refused {
                message: format!("`{}` is not a unit", super::notes::shortened(&text[unit.clone()])),
                range: unit,
                help,
            });
        };
        if *seconds >= unit_before {
            return refused(number.start..unit.end, "the longest unit comes first, and each once", EXAMPLES);
        }
        unit_before = *seconds;
        let part = text[number.clone()].parse::<u64>().ok().and_then(|count| count.checked_mul(*seconds));
        match part.and_then(|part| total.checked_add(part)).filter(|sum| *sum <= SECONDS_MAX) {
            Some(sum) => total = sum,
            None => return refused(number.start..unit.end, "it is too long", "at most ten years, `3650d`"),
        }
        at = unit.end;
    }
    Ok(Duration::from_secs(total))
}

/// A duration as [`parse`] reads it, with nothing left out.
pub fn written(length: Duration) -> String {
    let mut seconds = length.as_secs();
    let mut parts = Vec::new();
    for (unit, size) in UNITS.into_iter().skip(1) {
        if seconds >= size {
            parts.push(format!("{}{unit}", seconds / size));
            seconds %= size;
        }
    }
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}

/// The end of the run of such characters that begins at `from`.
fn run(text: &str, from: usize, belongs: impl Fn(char) -> bool) -> usize {
    text[from..].find(|c| !belongs(c)).map_or(text.len(), |length| from + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_durations_so() {
        for (text, seconds) in [
            ("30d", 2_592_000),
            ("12h", 43_200),
            ("1h30m", 5_400),
            ("1h 30m", 5_400),
            ("2w", 1_209_600),
            ("1w2d3h4m5s", 788_645),
            ("90m", 5_400),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused_at_its_place() {
        for (text, range, word) in [
            ("", 0..0, "empty"),
            ("30", 0..2, "no unit"),
            ("1h30", 2..4, "no unit"),
            ("-5m", 0..3, "number"),
            ("1.5h", 1..2, "unit"),
            ("30 days", 0..2, "no unit"),
            ("30days", 2..6, "not a unit"),
            ("5m1h", 2..4, "longest"),
            ("1h1h", 2..4, "longest"),
            ("3651d", 0..5, "too long"),
            ("99999999999999999999d", 0..21, "too long"),
            ("10000000000000000000w", 0..21, "too long"),
            ("ü", 0..2, "number"),
            ("1ü", 1..3, "not a unit"),
            ("1M", 1..2, "not a unit"),
        ] {
            let problem = parse(text).unwrap_err();
            assert_eq!(problem.range, range, "{text}");
            assert!(problem.message.contains(word), "{text}: {}", problem.message);
        }
    }
}
