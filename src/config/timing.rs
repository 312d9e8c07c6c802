//! When one credential is rotated and how long two generations overlap: read, and judged together.

use std::time::Duration;

use super::calendar;
use super::diagnostic::{Code, Problem};
use super::duration::written;
use super::frame::{Frame, Given, refresh_within};
use super::notes::Notes;
use super::retirement::{self, Retirement};
use super::schedule::{self, Patterns, Rotation};
use super::tree::{Length, Table};
use crate::model::capability::Proof;
use crate::model::policy::{Freeze, Policy, RetireWhen, Rotate, Window};
use crate::model::time::human;
use crate::vendors::Type;

/// Shortest overlap and interval that a real vendor and AWS are rotated with.
const OVERLAP_MIN: Duration = Duration::from_secs(2 * 3_600);
const INTERVAL_MIN: Duration = Duration::from_secs(3_600);
/// Where the floors don't hold, the next rotation only has to come after the overlap.
const MARGIN_LIFTED: Duration = Duration::from_secs(1);

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
                Some(item) => retirement::read(notes, item),
                None => frame.defaults.retire_when,
            },
            windows: calendar::windows(notes, table),
            freezes: calendar::freezes(notes, table),
        }
    }

    /// The policy, when the settings fit together. `lifted`: the floors don't hold, because vendor
    /// and AWS are on loopback addresses, where nobody's credential is at stake.
    pub fn policy(self, notes: &mut Notes<'_>, kind: &Type, lifted: bool) -> Option<Policy> {
        let evidence_offered = self.retirement.is_some_and(|asked| retirement::offered(notes, asked, kind));
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
