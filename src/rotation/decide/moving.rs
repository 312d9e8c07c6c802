//! A secret whose declaration names another place at the same vendor, or another thing to make
//! there: a new credential comes before the old one goes.
//!
//! ```text
//!  keyferry:place ≠ declared ──▶ move: place and at as declared, former = the old at (one call)
//!        current strays       ──▶ a rotation as any other, its overlap included
//!        nothing strays, and nothing of ours is left in the former place ──▶ arrive: former off
//! ```
//!
//! Why a crash anywhere is safe:
//!
//! - The move is one write of tags, and changes nothing at the vendor. Before it, nothing begins in
//!   the new place; after it, nothing in the old one.
//! - From the move to the arrival, both places are listed. Every credential of ours lives in one of
//!   the two, so each is found by its lease or its mark, and is ended where it was seen. That holds
//!   as well for what another replica, which knows only the old declaration, made in the meantime.
//! - The tag `keyferry:former` goes last: only when the current credential is seen as declared, no
//!   other is leased, no attempt is open, and no mark of ours is left in either listing.
//! - A third place before that would leave one of the three unlisted, so it waits. Back to the former
//!   one is always possible: the two are the same two.
//! - A place that can't be listed is not moved to: the listing comes before the move.

use crate::model::capability::Marking;
use crate::model::label::Label;
use crate::model::place::At;
use crate::model::policy::Policy;
use crate::model::time::Timestamp;
use crate::rotation::decide::case::{Case, TICK};
use crate::rotation::decide::{Decision, Step};
use crate::rotation::view::{Fit, Secret, View};
use crate::rotation::{Reason, sweep};

/// What to do about a secret whose credentials live elsewhere than declared; `None` where they
/// don't.
pub(super) fn moved(secret: &Secret, view: &View, policy: &Policy) -> Option<Decision> {
    let place = secret.place.as_ref()?;
    if *place == policy.place {
        return None;
    }
    Some(match former(secret, policy) {
        // What lives in another place can neither be found nor ended in the declared one.
        None => Decision::wait(Reason::OtherPlace, None),
        Some(_) if view.listing.is_none() => Decision::wait(Reason::VendorSilent, None),
        Some(former) => Decision::act(Step::Move { former: former.clone() }, Reason::Moved),
    })
}

/// The place to remember when the secret moves to the declared one; `None` when it can't move.
fn former<'a>(secret: &'a Secret, policy: &Policy) -> Option<&'a At> {
    let (at, wanted) = (secret.at.as_ref()?, policy.at.as_ref()?);
    if policy.capabilities.marking == Marking::InPlace || !at.is_near(wanted) {
        return None;
    }
    match &secret.former {
        None => Some(at),
        // The same place, and something else to make there.
        Some(former) if at == wanted => Some(former),
        // Back again.
        Some(former) if former == wanted => Some(at),
        Some(_) => None,
    }
}

impl Case<'_> {
    /// When the current credential is to be replaced because the vendor shows it elsewhere, or
    /// otherwise, than declared. A fresh one may not be listed yet.
    pub(super) fn strays(&self) -> Option<Timestamp> {
        let lease = self.current.lease()?;
        let seen = self.view.listing.as_ref()?.iter().find(|seen| lease.tracked.is(&seen.id));
        let fits = match seen {
            Some(seen) => seen.fit == Fit::Declared,
            // Dead: replaced unasked only where the move would replace it anyway.
            None => self.secret.former.is_none(),
        };
        (!fits).then(|| lease.since.plus(self.policy.settle).plus(TICK))
    }

    /// Nothing of ours is left in the former place.
    pub(super) fn arrived(&self) -> Option<Decision> {
        self.secret.former.as_ref()?;
        let listing = self.view.listing.as_ref()?;
        let lease = self.current.lease()?;
        let here = listing.iter().any(|seen| lease.tracked.is(&seen.id) && seen.fit == Fit::Declared);
        let alone = self.secret.versions.iter().all(|one| one.id == self.current.id || one.lease().is_none());
        let swept = !listing.iter().any(|seen| sweep::ours(seen) && !self.secret.tracks(&seen.id));
        let idle = self.opened().next().is_none()
            && self.secret.bootstrap.is_none()
            && self.secret.with(&Label::Pending).is_none();
        (here && alone && swept && idle).then(|| Decision::act(Step::Arrive, Reason::Arrived))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attempt::Cause;
    use crate::rotation::story::{DAY, Told, attempt, first, healthy, id, in_place, told};
    use crate::rotation::view::Marked;

    fn at(application: &str) -> At {
        At::new(&["main", "keycard", "named"], "password", [("application", application)].into_iter()).unwrap()
    }

    /// Declared in `application`; made in `old`.
    fn declared(told: Told, application: &str) -> Told {
        told.with(|told| {
            (told.policy.place, told.policy.at) = (application.into(), Some(at(application)));
            let secret = told.secret();
            (secret.place, secret.at) = (Some("old".into()), Some(at("old")));
        })
    }

    /// The same after the move to `new`.
    fn under_way(told: Told) -> Told {
        declared(told, "new").with(|told| {
            let secret = told.secret();
            (secret.place, secret.at, secret.former) = (Some("new".into()), Some(at("new")), Some(at("old")));
        })
    }

    fn lives(told: Told, which: &str, fit: Fit) -> Told {
        told.with(|told| {
            let listing = told.view.listing.as_mut().unwrap();
            listing.iter_mut().find(|seen| seen.id == id(which)).unwrap().fit = fit;
        })
    }

    fn check(rows: Vec<(&str, Told, &str, Reason)>) {
        for (situation, situated, step, reason) in rows {
            let decision = situated.decide();
            assert_eq!((told(&decision.step).as_str(), decision.reason), (step, reason), "{situation}");
        }
    }

    #[test]
    fn a_secret_moves_where_both_places_can_be_listed_and_nowhere_else() {
        let edit = |change: fn(&mut Told)| declared(healthy(), "new").with(change);
        check(vec![
            ("not moved", declared(healthy(), "old"), "wait", Reason::HealthyManual),
            ("moved", declared(healthy(), "new"), "move", Reason::Moved),
            ("not listed yet", edit(|told| told.view.listing = None), "wait", Reason::VendorSilent),
            ("an older keyferry made it", edit(|told| told.secret().at = None), "wait", Reason::OtherPlace),
            ("a tag can't hold it", edit(|told| told.policy.at = None), "wait", Reason::OtherPlace),
            (
                "another vendor",
                edit(|told| told.policy.at = At::new(&["main", "workos", "named"], "password", [].into_iter())),
                "wait",
                Reason::OtherPlace,
            ),
            (
                "another type",
                edit(|told| told.policy.at = At::new(&["main", "keycard", "named"], "public", [].into_iter())),
                "move",
                Reason::Moved,
            ),
            (
                "a third place",
                declared(under_way(healthy()), "third").with(|told| {
                    let secret = told.secret();
                    (secret.place, secret.at) = (Some("new".into()), Some(at("new")));
                }),
                "wait",
                Reason::OtherPlace,
            ),
            (
                "back again",
                under_way(healthy()).with(|told| {
                    (told.policy.place, told.policy.at) = ("old".into(), Some(at("old")));
                }),
                "move",
                Reason::Moved,
            ),
            (
                "something else to make in the new place",
                under_way(healthy()).with(|told| {
                    told.policy.place = "other content".into();
                }),
                "move",
                Reason::Moved,
            ),
            ("in place", declared(in_place(), "new"), "wait", Reason::OtherPlace),
            ("while an attempt is open", declared(healthy().claimed(1, 5), "new"), "move", Reason::Moved),
        ]);
        let back = under_way(healthy()).with(|told| {
            (told.policy.place, told.policy.at) = ("old".into(), Some(at("old")));
        });
        assert_eq!(back.decide().step, Step::Move { former: at("new") });
    }

    #[test]
    fn what_strays_is_replaced_with_overlap_and_the_former_place_is_kept_until_it_is_empty() {
        let replaced = |minutes| under_way(healthy().promoted(minutes).resolved(1));
        let over = || {
            let told = replaced(2 * DAY).changed(DAY);
            let told = told.with(|told| told.secret().versions[0].labels.retain(|label| *label != Label::Previous));
            lives(told, "old", Fit::Away)
        };
        let ended = || over().dead("old").with(|told| told.secret().versions[0].labels.clear());
        check(vec![
            ("right after the move", lives(under_way(healthy()), "old", Fit::Away), "claim 1", Reason::Strays),
            ("differs where it is", lives(under_way(healthy()), "old", Fit::Differs), "claim 1", Reason::Strays),
            ("somebody changed it at the vendor", lives(healthy(), "old", Fit::Differs), "claim 1", Reason::Strays),
            ("its application is gone", under_way(healthy().dead("old")), "claim 1", Reason::Strays),
            ("dead, and not moved", healthy().dead("old"), "wait", Reason::HealthyManual),
            (
                "asked for as well",
                lives(under_way(healthy()), "old", Fit::Away).asked(Cause::Asked),
                "claim 1",
                Reason::Asked,
            ),
            ("in overlap", lives(replaced(5), "old", Fit::Away), "wait", Reason::InOverlap),
            (
                "in overlap, and the new one is not listed yet",
                lives(replaced(5), "old", Fit::Away).dead("new"),
                "wait",
                Reason::InOverlap,
            ),
            ("the overlap is over", over(), "revoke old", Reason::Unreferenced),
            ("the old one is dead", ended(), "arrive", Reason::Arrived),
            (
                "a leftover is in the former place",
                ended().lives("lost", Marked::First(first()), 3 * DAY),
                "revoke leftover lost",
                Reason::Leftover,
            ),
            (
                "a leftover too young to be revoked",
                ended().lives("lost", Marked::Ours(attempt(1)), 1),
                "wait",
                Reason::HealthyManual,
            ),
            ("an edit that was taken back", under_way(healthy()), "arrive", Reason::Arrived),
        ]);
    }
}
