//! `verify` and `ownership`: what is asked of a login before a value is published, and who else
//! makes credentials in the same place. Each is judged with what the vendor's type can do.

use std::collections::HashMap;

use super::diagnostic::{Code, Problem, Severity};
use super::frame::{Frame, Vendor};
use super::notes::{Notes, Span};
use super::tree::Table;
use crate::model::capability::{Marking, Proof};
use crate::model::option::Options;
use crate::model::policy::{Ownership, Verify};
use crate::vendors::Type;

/// The words of `verify`.
const VERIFY: [(&str, Verify); 2] = [("required", Verify::Required), ("best-effort", Verify::BestEffort)];

/// `verify` of a table, if it is there. `None` when it is wrong.
pub(super) fn verify(notes: &mut Notes<'_>, table: Table<'_>, default: Option<Verify>) -> Option<Verify> {
    if table.has("verify") { notes.word(table, "verify", &VERIFY) } else { default }
}

/// What `[[credential]]` says of both.
pub(super) struct Stance {
    verify: Option<Verify>,
    ownership: Option<Ownership>,
    at: Option<Span>,
}

impl Stance {
    pub(super) fn read(notes: &mut Notes<'_>, frame: &Frame<'_>, table: Table<'_>, kind: Option<&Type>) -> Self {
        let verify = verify(notes, table, frame.defaults.verify);
        let mut ownership = match table.has("ownership") {
            true => {
                notes.word(table, "ownership", &[("shared", Ownership::Shared), ("exclusive", Ownership::Exclusive)])
            }
            false => Some(Ownership::Shared),
        };
        let at = table.key_span("ownership");
        let marked = kind.filter(|kind| kind.capabilities.marking != Marking::Unnamed);
        if let (Some(at), Some(kind)) = (at, marked) {
            let message = format!("`ownership` means nothing for a `{}`", kind.name);
            notes.push(
                Problem::error(Code::Disagreement, at, message)
                    .help("what keyferry makes there carries its mark, so leftovers are told without it: remove it"),
            );
            ownership = None;
        }
        Self { verify, ownership, at }
    }

    /// Both, where they fit the vendor's type and the options.
    pub(super) fn judged(
        self,
        notes: &mut Notes<'_>,
        vendor: &Vendor,
        kind: &Type,
        options: &Options,
        (table, places, place): (Table<'_>, &mut Places, &str),
    ) -> Option<(Verify, Ownership)> {
        let (verify, ownership) = (self.verify?, self.ownership?);
        if kind.capabilities.marking == Marking::Unnamed {
            places.enter(notes, place, ownership, self.at.unwrap_or(table.span))?;
        }
        if let Proof::LoginAt(option) = kind.capabilities.proof
            && options.text(option).is_none()
            && !vendor.loopback
        {
            unprovable(notes, vendor, option, verify, table)?;
        }
        Some((verify, ownership))
    }
}

fn unprovable(notes: &mut Notes<'_>, vendor: &Vendor, option: &str, verify: Verify, table: Table<'_>) -> Option<()> {
    let place = format!("write `{option} = \"https://…\"` here or in `[vendors.{}]`", vendor.instance.name);
    let mut problem = match verify {
        Verify::Required => {
            let message = format!("without `{option}` no login can prove what is made");
            Problem::error(Code::Disagreement, table.span, message)
                .help(format!("{place}, or accept values that nobody proved: `verify = \"best-effort\"`"))
        }
        Verify::BestEffort => {
            let message = format!("without `{option}` every value is published unverified");
            Problem::error(Code::Disagreement, table.span, message).help(place)
        }
    };
    if verify == Verify::BestEffort {
        problem.severity = Severity::Warning;
    }
    notes.push(problem);
    (verify == Verify::BestEffort).then_some(())
}

/// Which credentials live in one place at an unnamed vendor, and the first exclusive one there.
#[derive(Default)]
pub(super) struct Places(HashMap<String, (Span, bool)>);

impl Places {
    /// Refuses a second credential where one of the two is the only one by its own word.
    fn enter(&mut self, notes: &mut Notes<'_>, place: &str, ownership: Ownership, at: Span) -> Option<()> {
        let exclusive = ownership == Ownership::Exclusive;
        let Some((first, first_exclusive)) = self.0.get(place) else {
            self.0.insert(place.to_owned(), (at, exclusive));
            return Some(());
        };
        if !exclusive && !first_exclusive {
            return Some(());
        }
        notes.push(
            Problem::error(Code::Disagreement, at, "`ownership = \"exclusive\"`, but two credentials are made here")
                .other(*first, "the other one")
                .help(
                    "nobody could tell the leftovers of one from the credential of the other: write `shared` in both",
                ),
        );
        None
    }
}
