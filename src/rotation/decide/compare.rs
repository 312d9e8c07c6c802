//! Whether what is published still lives at the vendor: compared every six hours, by a date that stands
//! in the secret's tags, so that a daemon, a timer and ten replicas compare once between them.
//!
//! ```text
//!  keyferry:compared = <date>                 nothing is missing; again six hours later
//!  keyferry:compared = <date>:<version>       the vendor does not list that version's credential
//! ```
//!
//! A credential that the vendor does not list any more, in the place where it was made, was deleted
//! there: consumers fail now, so it is replaced at once, whatever the calendar says. The listing may
//! be wrong; then one rotation was made that was not needed, with its overlap, and nothing ended.

use std::time::Duration;

use crate::model::capability::Marking;
use crate::model::label::Label;
use crate::model::policy::{Policy, Wanted};
use crate::model::time::{Now, Timestamp};
use crate::rotation::decide::{Decision, TagChange};
use crate::rotation::view::{Compared, Home, Owner, Secret, Version, View};
use crate::rotation::{Reason, Turn};

/// How often what is published is compared with the vendor's listing.
pub(crate) const COMPARE_EVERY: Duration = Duration::from_secs(6 * 3_600);

/// When it is compared next; `None` where comparing tells nothing. `since` is when what is current
/// was made.
pub(crate) fn due(compared: Option<&Compared>, since: Timestamp, policy: &Policy) -> Option<Timestamp> {
    let compares = policy.capabilities.marking != Marking::InPlace && policy.wanted == Wanted::Present;
    let last = compared.map_or(since, |compared| compared.at.max(since));
    compares.then(|| last.plus(COMPARE_EVERY))
}

/// Whether a comparison is due.
pub(super) fn is_due(view: &View, policy: &Policy, now: Now) -> bool {
    next(view, policy).is_some_and(|due| due <= now.store)
}

/// When the secret in view is compared next.
pub(crate) fn next(view: &View, policy: &Policy) -> Option<Timestamp> {
    let secret = view.secret.as_ref()?;
    let lease = secret.with(&Label::Current)?.lease()?;
    due(secret.compared.as_ref(), lease.since, policy)
}

/// The current version, if the vendor does not list its credential where it was made. A young one may
/// not be listed yet.
pub(crate) fn missing<'a>(view: &'a View, policy: &Policy, now: Now) -> Option<&'a Version> {
    let secret = view.secret.as_ref()?;
    let current = secret.with(&Label::Current)?;
    let (lease, listing) = (current.lease()?, view.listing()?);
    let known = secret.home(lease, &policy.place) != Home::Unknown;
    let grown = now.store.since(lease.since) > policy.settle;
    let listed = listing.iter().any(|seen| lease.tracked.is(&seen.id));
    (policy.capabilities.marking != Marking::InPlace && known && grown && !listed).then_some(current)
}

/// A wait on which the vendor was compared: the date and what is missing are written down, if that is
/// due or news.
pub(super) fn noted(view: &View, policy: &Policy, decision: Decision, now: Now) -> Decision {
    let Decision::Wait { reason, until } = decision else { return decision };
    let by_itself = matches!(reason.turn(), Turn::Nobody | Turn::Keyferry | Turn::Cause);
    let Some((secret, next)) = view.secret.as_ref().zip(next(view, policy)) else { return decision };
    if !by_itself || !quiet(secret) || secret.paused_until.is_some_and(|until| until > now.store) {
        return decision;
    }
    if view.listing().is_none() {
        // The vendor did not answer, or is not asked here.
        return Decision::wait(reason, until);
    }
    let missing = missing(view, policy, now).map(|version| version.id.clone());
    let known = secret.compared.as_ref().and_then(|compared| compared.missing.clone());
    if !view.records || next > now.store && missing == known {
        return Decision::wait(reason, until);
    }
    Decision::tag(TagChange::Compared { missing }, Reason::Compared)
}

/// Whether the secret is ours to write to, and a write of a tag delays nothing: some dates count from
/// the secret's last change.
fn quiet(secret: &Secret) -> bool {
    let Some(current) = secret.with(&Label::Current) else { return false };
    let accepted = secret.accepted.as_ref().is_some_and(|one| one.version == current.id);
    let adopted = current.slot().is_none();
    let replaced =
        secret.versions.iter().any(|one| one.id != current.id && (one.lease().is_some() || one.has(&Label::Previous)));
    let ours = matches!(secret.owner, Owner::Us | Owner::Stripped);
    ours && secret.obstacle.is_none() && secret.retiring.is_none() && !((accepted || adopted) && replaced)
}
