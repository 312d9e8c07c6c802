//! When one credential is rotated and how long two generations overlap: read, and judged together.

use std::time::Duration;

use super::calendar;
use super::check::{Frame, Given, refresh_within};
use super::diagnostic::{Code, Problem};
use super::duration::written;
use super::notes::{Notes, Span};
use super::schedule::{self, Patterns, Rotation};
use super::tree::{Item, Length, Table, shortened};
use crate::model::capability::Proof;
use crate::model::policy::{Freeze, Policy, RetireWhen, Rotate, Window};
use crate::model::time::human;
use crate::vendors::Type;

/// Shortest overlap and interval that a real vendor and AWS are rotated with.
const OVERLAP_MIN: Duration = Duration::from_secs(2 * 3_600);
const INTERVAL_MIN: Duration = Duration::from_secs(3_600);
/// Where the floors don't hold, the next rotation only has to come after the overlap.
const MARGIN_LIFTED: Duration = Duration::from_secs(1);

/// Longest wait for evidence, where the declaration names none.
const EVIDENCE_MAX_STANDARD: Duration = Duration::from_secs(7 * 86_400);
const RETIRE_WHEN: &str = "retire_when = \"unused\", \"confirmed\", or { when = \"unused\", max = \"7d\" }";

/// `retire_when`, checked by itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Retirement {
    when: RetireWhen,
    /// Where it stands; `None` where nobody wrote it.
    span: Option<Span>,
    /// Where the longest wait stands.
    max_span: Option<Span>,
}

/// Reads a `retire_when` value: a word, or a table of a word and the longest wait.
pub(super) fn retirement(notes: &mut Notes<'_>, item: Item<'_>) -> Option<Retirement> {
    let standard = Length { length: EVIDENCE_MAX_STANDARD, span: None };
    let (text, max) = match (item.as_text(), item.as_table()) {
        (Some(text), _) => (text, standard),
        (None, Some(table)) => {
            notes.unknown_keys(table, ["when", "max"].into_iter(), false, None);
            let max = match table.has("max") {
                true => notes.duration(table, "max", "max = \"7d\"")?,
                false => standard,
            };
            if !table.has("when") {
                notes.missing(table, "when", "`retire_when`", format!("write `{RETIRE_WHEN}`"));
                return None;
            }
            (notes.text(table, "when", "when = \"unused\"")?, max)
        }
        (None, None) => {
            notes.wrong_type("retire_when", item, "a string or a table", RETIRE_WHEN);
            return None;
        }
    };
    let when = match text.text {
        "overlap" if max.span.is_none() => RetireWhen::OverlapOver,
        "unused" => RetireWhen::Unused { max: max.length },
        "confirmed" => RetireWhen::Confirmed { max: max.length },
        "overlap" => {
            let problem = Problem::error(Code::Disagreement, max.span?, "`max` means nothing beside `overlap`");
            notes.push(problem.other(text.span, "this waits for the overlap alone").help("remove `max`"));
            return None;
        }
        other => {
            let words = ["overlap", "unused", "confirmed"].into_iter();
            let help = notes.did_you_mean(other, words, "besides the overlap it can wait for");
            let message = format!("`retire_when` can't be `{}`", shortened(other));
            notes.push(Problem::error(Code::BadValue, text.span, message).help(help));
            return None;
        }
    };
    Some(Retirement { when, span: Some(item.span), max_span: max.span })
}

/// Whether the vendor shows what `retire_when` waits for.
fn offered(notes: &mut Notes<'_>, asked: Retirement, kind: &Type) -> bool {
    let unseen = matches!(asked.when, RetireWhen::Unused { .. }) && !kind.capabilities.last_used;
    let Some(at) = asked.span.filter(|_| unseen) else { return true };
    let message = format!("the vendor does not show when a credential of type `{}` was last used", kind.name);
    notes.push(Problem::error(Code::NotOffered, at, message).label("nobody could tell when it is unused").help(
        "write `confirmed`, and have consumers say so with `keyferry confirm`; or `overlap`, and wait for nothing else",
    ));
    false
}

/// The settings about time; `None` stands for one that is wrong or missing.
pub(super) struct Timing {
    rotation: Option<Rotation>,
    overlap: Option<Length>,
    refresh: Option<Length>,
    retirement: Option<Retirement>,
    windows: Option<Vec<Window>>,
    freezes: Option<Vec<Freeze>>,
}

impl Timing {
    /// Reads each setting, or takes its default.
    pub fn read(
        notes: &mut Notes<'_>,
        frame: &Frame<'_>,
        patterns: &mut Patterns,
        table: Table<'_>,
        kind: Option<&Type>,
        of: &str,
    ) -> Self {
        let secretless = kind.filter(|kind| kind.capabilities.proof == Proof::Existence);
        let rotation = match (table.get("rotate"), &frame.defaults.rotate) {
            (Some(item), _) => {
                let rotation = schedule::rotation(notes, patterns, item);
                rotation.filter(|rotation| secretless.is_none_or(|kind| nothing_to_rotate(notes, rotation, kind)))
            }
            // A schedule that is meant for all is not meant for what has nothing to rotate.
            (None, _) if secretless.is_some() => {
                Some(Rotation { rotate: Rotate::Manual, jitter: Duration::ZERO, interval: None, span: table.span })
            }
            (None, Given::Yes(rotation)) => Some(rotation.clone()),
            (None, Given::Wrong) => None,
            (None, Given::No) => {
                notes.missing(table, "rotate", of, "write `rotate = \"30d\"` here or in `[defaults]`");
                None
            }
        };
        let overlap = if table.has("overlap") {
            notes.duration(table, "overlap", "overlap = \"24h\"")
        } else {
            frame.defaults.overlap
        };
        Self {
            rotation,
            overlap,
            refresh: refresh_within(notes, table, frame.defaults.refresh_within),
            retirement: match table.get("retire_when") {
                Some(item) => retirement(notes, item),
                None => frame.defaults.retire_when,
            },
            windows: calendar::windows(notes, table),
            freezes: calendar::freezes(notes, table),
        }
    }

    /// The policy, when the settings fit together. `lifted`: the floors don't hold, because vendor
    /// and AWS are on loopback addresses, where nobody's credential is at stake.
    pub fn policy(self, notes: &mut Notes<'_>, kind: &Type, lifted: bool) -> Option<Policy> {
        let evidence_offered = self.retirement.is_some_and(|asked| offered(notes, asked, kind));
        let (rotation, overlap, refresh) = (self.rotation?, self.overlap?, self.refresh?);
        let mut policy = Policy::standard(rotation.rotate.clone(), overlap.length, kind.capabilities);
        overlap_holds(notes, &rotation, overlap, refresh, lifted)?;
        interval_holds(notes, &policy, &rotation, overlap, lifted)?;
        let retirement = self.retirement.filter(|_| evidence_offered)?;
        longest_wait_holds(notes, &policy, &rotation, overlap, retirement, lifted)?;
        policy.refresh = refresh.length;
        policy.retire_when = retirement.when;
        policy.jitter = rotation.jitter;
        policy.windows = self.windows?;
        policy.freezes = self.freezes?;
        Some(policy)
    }
}

/// Whether the schedule is no schedule; notes it otherwise.
fn nothing_to_rotate(notes: &mut Notes<'_>, rotation: &Rotation, kind: &Type) -> bool {
    if rotation.interval.is_none() {
        return true;
    }
    let message = format!("there is no secret in a `{}` credential that could be rotated", kind.name);
    notes.push(
        Problem::error(Code::Disagreement, rotation.span, message)
            .help("remove `rotate`, or write `rotate = \"manual\"`: it is replaced when its declaration changes"),
    );
    false
}

fn overlap_holds(
    notes: &mut Notes<'_>,
    rotation: &Rotation,
    overlap: Length,
    refresh: Length,
    lifted: bool,
) -> Option<()> {
    // Where nobody wrote an overlap, whatever made the standard one unfit is pointed at.
    let at = overlap.span.or(refresh.span).unwrap_or(rotation.span);
    if overlap.length < refresh.length {
        let (lives, held) = (human(overlap.length), human(refresh.length));
        notes.push(
            Problem::error(Code::Disagreement, at, "the overlap is shorter than consumers may hold a value")
                .label(if overlap.span.is_some() {
                    format!("the old credential lives {lives} longer")
                } else {
                    format!("held up to {held}, but the standard overlap is {lives}")
                })
                .other_if(refresh.span.filter(|_| overlap.span.is_some()), format!("held up to {held}"))
                .help(format!(
                    "consumers may hold a value for {held}{}: make `overlap` at least that long, or have them \
                     refresh sooner and say so in `consumers = {{ refresh_within = \"…\" }}`",
                    by_default(refresh)
                )),
        );
        return None;
    }
    if !lifted && overlap.length < OVERLAP_MIN {
        notes.push(
            Problem::error(Code::Floor, at, format!("an overlap of {} is below 2h", human(overlap.length)))
                .help("AWS's own caches refresh hourly; the floor is lifted only for loopback addresses (the sandbox)"),
        );
        return None;
    }
    Some(())
}

fn interval_holds(
    notes: &mut Notes<'_>,
    policy: &Policy,
    rotation: &Rotation,
    overlap: Length,
    lifted: bool,
) -> Option<()> {
    let Some(interval) = rotation.interval else { return Some(()) };
    if !lifted && interval < INTERVAL_MIN {
        notes.push(
            Problem::error(Code::Floor, rotation.span, format!("a rotation every {} is below 1h", human(interval)))
                .help("rotate at most hourly; the floor is lifted only for loopback addresses (the sandbox)"),
        );
        return None;
    }
    let margin = policy.candidate_age_max + 2 * policy.settle;
    let least = overlap.length + if lifted { MARGIN_LIFTED } else { margin };
    if interval < least {
        let why = if lifted { "the overlap" } else { "the overlap, one hour, and twice 15 minutes to settle" };
        notes.push(
            Problem::error(Code::Disagreement, rotation.span, "the next rotation would begin before this one is over")
                .label(format!("every {}", human(interval)))
                .other_if(overlap.span, format!("the old credential lives {} longer", human(overlap.length)))
                .help(format!(
                    "rotate every {} or less often ({why}), or shorten the overlap of {}{}",
                    written(least),
                    written(overlap.length),
                    by_default(overlap)
                )),
        );
        return None;
    }
    Some(())
}

/// The longest wait for evidence lies between the overlap, which it comes on top of, and the next
/// rotation, which needs the previous credential gone.
fn longest_wait_holds(
    notes: &mut Notes<'_>,
    policy: &Policy,
    rotation: &Rotation,
    overlap: Length,
    retirement: Retirement,
    lifted: bool,
) -> Option<()> {
    let max = match retirement.when {
        RetireWhen::OverlapOver => return Some(()),
        RetireWhen::Unused { max } | RetireWhen::Confirmed { max } => max,
    };
    let at = retirement.max_span.or(retirement.span)?;
    let standard = if retirement.max_span.is_none() { " (the standard)" } else { "" };
    if max < overlap.length {
        notes.push(
            Problem::error(Code::Disagreement, at, "the longest wait for evidence is shorter than the overlap")
                .label(format!("at most {}{standard}", human(max)))
                .other_if(overlap.span, format!("it begins after {}", human(overlap.length)))
                .help("evidence is waited for when the overlap is over: make `max` longer, or the overlap shorter"),
        );
        return None;
    }
    let margin = if lifted { MARGIN_LIFTED } else { policy.candidate_age_max + 2 * policy.settle };
    let Some(interval) = rotation.interval.filter(|interval| *interval < max + margin) else { return Some(()) };
    let message = "the next rotation may come while the old credential still waits for evidence";
    notes.push(
        Problem::error(Code::Disagreement, at, message)
            .label(format!("for up to {}{standard}", human(max)))
            .other(rotation.span, format!("every {}", human(interval)))
            .help(format!(
                "rotate every {} or less often, or wait less: `retire_when = {{ when = \"…\", max = \"…\" }}`",
                written(max + margin)
            )),
    );
    None
}

fn by_default(length: Length) -> &'static str {
    if length.span.is_none() { " (the standard)" } else { "" }
}
