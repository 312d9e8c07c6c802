//! Admin secrets and sources that keyferry would overwrite with what it makes with their help: once that
//! went wrong, nothing could mend it.

use std::sync::Arc;

use super::diagnostic::{Code, Problem};
use super::frame::Frame;
use super::notes::{Notes, Span};
use super::tree::Table;
use crate::model::credential::Credential;
use crate::model::option::{Options, Reference};
use crate::model::source::Source;

/// Refuses a credential whose own AWS secret is where its vendor's admin secret or its value is read from.
/// The credentials are those that are good by themselves.
pub(super) fn check(
    notes: &mut Notes<'_>,
    frame: &Frame<'_>,
    credentials: &[Arc<Credential>],
    tables: &[Table<'_>],
) -> bool {
    let mut fine = true;
    for credential in credentials {
        let secret = &credential.destination.name;
        let (name, at) = (&credential.name, name_of(credential, tables));
        let vendor = frame.vendors.get(credential.vendor.as_str()).and_then(Option::as_ref);
        let admin = vendor.and_then(|vendor| {
            let own = |reference: &Reference| is_own(credential, frame, reference);
            let option = vendor.instance.options.references().find(|(_, reference)| own(reference));
            option.map(|(option, _)| (option, vendor.at))
        });
        let problem = if let Some((option, there)) = admin {
            let message = format!(
                "`{name}` is written to the AWS secret `{secret}`, which holds `{option}` of `[vendors.{}]`",
                credential.vendor
            );
            Problem::error(Code::Disagreement, at, message).other(there, "the admin secret stands here")
        } else if sources(&credential.options).any(|reference| is_own(credential, frame, reference)) {
            let message = format!("`{name}` is written to the AWS secret `{secret}`, and its value is read from there");
            Problem::error(Code::Disagreement, at, message)
        } else {
            continue;
        };
        notes.push(problem.help("read it from a secret that keyferry does not write, or give this credential another `name` in `[credential.secret]`"));
        fine = false;
    }
    fine
}

fn is_own(credential: &Credential, frame: &Frame<'_>, reference: &Reference) -> bool {
    let Reference::AwsSecret { target, name, .. } = reference else { return false };
    let place = &credential.destination;
    // Without a target it is the only one there is.
    *name == place.name && target.as_ref().is_none_or(|target| frame.targets.are_same(target, &place.target))
}

fn sources(options: &Options) -> impl Iterator<Item = &Reference> {
    let pieces = options.pieces().into_iter().filter_map(|piece| match &piece.source {
        Source::Read(reference) => Some(reference),
        Source::Generate(_) | Source::Credential { .. } => None,
    });
    pieces.chain(options.references().map(|(_, reference)| reference))
}

fn name_of(credential: &Credential, tables: &[Table<'_>]) -> Span {
    let names = tables.iter().filter_map(|table| table.get("name"));
    let mut own = names.filter(move |item| item.value.as_str() == Some(credential.name.as_str()));
    own.next().map_or(Span::new(0, 0..0), |item| item.span)
}
