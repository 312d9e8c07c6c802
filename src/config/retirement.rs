//! `retire_when`: what the end of a replaced credential waits for, besides its overlap.

use std::time::Duration;

use super::diagnostic::{Code, Problem};
use super::notes::{Notes, Span, shortened};
use super::tree::{Item, Length};
use crate::model::policy::RetireWhen;
use crate::vendors::Type;

/// Longest wait for evidence, where the declaration names none.
const EVIDENCE_MAX_STANDARD: Duration = Duration::from_secs(7 * 86_400);
const RETIRE_WHEN: &str = "retire_when = \"unused\", \"confirmed\", or { when = \"unused\", max = \"7d\" }";

/// `retire_when`, checked by itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Retirement {
    pub when: RetireWhen,
    /// Where it stands; `None` where nobody wrote it.
    pub span: Option<Span>,
    /// Where the longest wait stands.
    pub max_span: Option<Span>,
}

/// Reads a `retire_when` value: a word, or a table of a word and the longest wait.
pub(super) fn read(notes: &mut Notes<'_>, item: Item<'_>) -> Option<Retirement> {
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
pub(super) fn offered(notes: &mut Notes<'_>, asked: Retirement, kind: &Type) -> bool {
    let unseen = matches!(asked.when, RetireWhen::Unused { .. }) && !kind.capabilities.last_used;
    let Some(at) = asked.span.filter(|_| unseen) else { return true };
    let message = format!("the vendor does not show when a credential of type `{}` was last used", kind.name);
    notes.push(Problem::error(Code::NotOffered, at, message).label("nobody could tell when it is unused").help(
        "write `confirmed`, and have consumers say so with `keyferry confirm`; or `overlap`, and wait for nothing else",
    ));
    false
}
