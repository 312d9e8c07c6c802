//! A secret whose declaration names another place at the same vendor, or another thing to make
//! there: a new credential comes before the old one goes.
//!
//! ```text
//!  keyferry:place ≠ declared ──▶ move: place and at as declared, and a dwelling for each of the
//!                                two, and the date (one call)
//!        current strays       ──▶ a rotation as any other, its overlap included
//!        nothing strays, and nothing of ours is left in a former place ──▶ arrive: its dwelling off
//! ```
//!
//! Why a crash anywhere is safe, and replicas that go by different declarations as well:
//!
//! - The move is one write of tags, and changes nothing at the vendor. Before it, nothing begins in
//!   the new place; after it, nothing in the old one.
//! - Until the arrival, every dwelling is listed. Every credential of ours lives in one of them, so
//!   each is found by its lease or its mark, and is ended where it was seen. That holds as well for
//!   what another replica, which knows only the old declaration, made in the meantime.
//! - A dwelling goes last: only when the current credential is seen as declared, no other is leased,
//!   no attempt is open, no mark of ours is left in any listing, and settle has passed since the
//!   last move, so that nobody goes by a look from before.
//! - Tags know no compare, so a late arrival might take away what a later move has written. Each
//!   place has a tag of its own: the late one takes away the tag of a place that was left, and a
//!   move back writes that of the other. Only two moves after that look would make it harmful. Both
//!   writes are signed with the date of the look, so they end five minutes after it; and there is
//!   settle between two moves.
//! - A place that can't be listed is not moved to: the listing comes before the move.
//!
//! Not covered: a process that sleeps between its claim and its create until the secret has arrived
//! elsewhere (a day or more), creates, and dies before it ends what it then finds it can't store.

use crate::model::capability::Marking;
use crate::model::label::Label;
use crate::model::place::At;
use crate::model::policy::Policy;
use crate::model::time::Timestamp;
use crate::rotation::decide::case::{Case, TICK};
use crate::rotation::decide::{Decision, TagChange};
use crate::rotation::view::{Dwelling, Fit, Secret, View};
use crate::rotation::{Reason, sweep};

/// What to do about a secret whose credentials live elsewhere than declared; `None` where they
/// don't.
pub(super) fn moved(secret: &Secret, view: &View, policy: &Policy, now: Timestamp) -> Option<Decision> {
    let place = secret.place.as_ref()?;
    if *place == policy.place {
        return None;
    }
    let Some(at) = leaves(secret, policy) else {
        // What lives in another place can neither be found nor ended in the declared one.
        return Some(Decision::wait(Reason::OtherPlace, None));
    };
    Some(match quiet(secret, policy).filter(|quiet| *quiet > now) {
        Some(quiet) => Decision::wait(Reason::MovedLately, Some(quiet)),
        None if view.listing().is_none() => Decision::wait(Reason::VendorSilent, None),
        None => {
            let from = Dwelling { place: place.clone(), at: at.clone() };
            Decision::tag(TagChange::Move { from }, Reason::Moved)
        }
    })
}

/// The place that the secret leaves when it moves to the declared one; `None` when it can't.
fn leaves<'a>(secret: &'a Secret, policy: &Policy) -> Option<&'a At> {
    let (at, wanted) = (secret.at.as_ref()?, policy.at.as_ref()?);
    (policy.capabilities.marking != Marking::InPlace && at.is_near(wanted)).then_some(at)
}

/// When nobody goes any more by a look from before the last move.
fn quiet(secret: &Secret, policy: &Policy) -> Option<Timestamp> {
    Some(secret.moved?.plus(policy.settle).plus(TICK))
}

impl Case<'_> {
    /// When the current credential is to be replaced because the vendor shows it elsewhere, or
    /// otherwise, than declared. A fresh one may not be listed yet.
    pub(super) fn strays(&self) -> Option<Timestamp> {
        let lease = self.current.lease()?;
        let seen = self.view.listing()?.iter().find(|seen| lease.tracked.is(&seen.id));
        let fits = match seen {
            Some(seen) => seen.fit == Fit::Declared,
            // Dead: replaced unasked only where the move would replace it anyway.
            None => self.secret.formers().next().is_none(),
        };
        (!fits).then(|| lease.since.plus(self.policy.settle).plus(TICK))
    }

    /// Nothing of ours is left in a former place.
    pub(super) fn arrived(&self) -> Option<Decision> {
        let left = self.secret.formers().next()?;
        let listing = self.view.listing()?;
        let lease = self.current.lease()?;
        let here = listing.iter().any(|seen| lease.tracked.is(&seen.id) && seen.fit == Fit::Declared);
        let alone = self.secret.versions.iter().all(|one| one.id == self.current.id || one.lease().is_none());
        let swept = !listing.iter().any(|seen| sweep::ours(seen) && !self.secret.tracks(&seen.id));
        let idle = self.opened().next().is_none()
            && self.secret.bootstrap.is_none()
            && self.secret.with(&Label::Pending).is_none();
        (here && alone && swept && idle).then(|| match quiet(self.secret, self.policy) {
            Some(quiet) if quiet > self.now.store => Decision::wait(Reason::MovedLately, Some(quiet)),
            Some(_) | None => Decision::tag(TagChange::Arrive { left: left.clone() }, Reason::Arrived),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attempt::Cause;
    use crate::model::policy::Ownership;
    use crate::rotation::Step;
    use crate::rotation::story::{DAY, Told, ago, attempt, first, healthy, id, in_place, told};
    use crate::rotation::view::Marked;

    fn at(application: &str) -> At {
        At::new(
            &["main", "keycard", "named"],
            "password",
            [("application", application)].into_iter(),
            Ownership::Shared,
        )
        .unwrap()
    }

    const AWAY: Fit = Fit::Away { ownership: Ownership::Shared };

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
            (secret.place, secret.at) = (Some("new".into()), Some(at("new")));
            secret.moved = Some(secret.changed);
            secret.dwellings = ["old", "new"].map(|place| Dwelling { place: place.into(), at: at(place) }).into();
        })
    }

    fn lives(told: Told, which: &str, fit: Fit) -> Told {
        told.with(|told| {
            let listing = told.listed();
            listing.iter_mut().find(|seen| seen.id == id(which)).unwrap().fit = fit;
        })
    }

    fn check(rows: Vec<(&str, Told, &str, Reason)>) {
        for (situation, situated, step, reason) in rows {
            let decision = situated.decide();
            assert_eq!((told(&decision).as_str(), decision.reason()), (step, reason), "{situation}");
        }
    }

    /// Declared in a third place while it moves from the first to the second.
    fn third() -> Told {
        under_way(healthy()).with(|told| (told.policy.place, told.policy.at) = ("third".into(), Some(at("third"))))
    }

    fn moved_lately(told: Told) -> Told {
        told.with(|told| told.secret().moved = Some(ago(5)))
    }

    #[test]
    fn a_secret_moves_where_both_places_can_be_listed_and_nowhere_else() {
        let edit = |change: fn(&mut Told)| declared(healthy(), "new").with(change);
        check(vec![
            ("not moved", declared(healthy(), "old"), "wait", Reason::HealthyManual),
            ("moved", declared(healthy(), "new"), "move", Reason::Moved),
            ("not listed yet", edit(|told| told.silent()), "wait", Reason::VendorSilent),
            ("an older keyferry made it", edit(|told| told.secret().at = None), "wait", Reason::OtherPlace),
            ("a tag can't hold it", edit(|told| told.policy.at = None), "wait", Reason::OtherPlace),
            (
                "another vendor",
                edit(|told| {
                    told.policy.at =
                        At::new(&["main", "workos", "named"], "password", [].into_iter(), Ownership::Shared)
                }),
                "wait",
                Reason::OtherPlace,
            ),
            (
                "another type",
                edit(|told| {
                    told.policy.at = At::new(&["main", "keycard", "named"], "public", [].into_iter(), Ownership::Shared)
                }),
                "move",
                Reason::Moved,
            ),
            ("a third place", third(), "move", Reason::Moved),
            ("a third place, at once", moved_lately(third()), "wait", Reason::MovedLately),
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
        let from = Dwelling { place: "new".into(), at: at("new") };
        assert_eq!(third().decide().step(), Some(&Step::Tag(TagChange::Move { from })));
    }

    #[test]
    fn what_strays_is_replaced_with_overlap_and_the_former_place_is_kept_until_it_is_empty() {
        let replaced = |minutes| under_way(healthy().promoted(minutes).resolved(1));
        let over = || {
            let told = replaced(2 * DAY).changed(DAY);
            let told = told.with(|told| told.secret().versions[0].labels.retain(|label| *label != Label::Previous));
            lives(told, "old", AWAY)
        };
        let ended = || over().dead("old").with(|told| told.secret().versions[0].labels.clear());
        check(vec![
            ("right after the move", lives(under_way(healthy()), "old", AWAY), "claim 1", Reason::Strays),
            ("differs where it is", lives(under_way(healthy()), "old", Fit::Differs), "claim 1", Reason::Strays),
            ("somebody changed it at the vendor", lives(healthy(), "old", Fit::Differs), "claim 1", Reason::Strays),
            ("its application is gone", under_way(healthy().dead("old")), "claim 1", Reason::Strays),
            ("dead, and not moved", healthy().dead("old"), "wait", Reason::HealthyManual),
            (
                "asked for as well",
                lives(under_way(healthy()), "old", AWAY).asked(Cause::Asked),
                "claim 1",
                Reason::Asked,
            ),
            ("in overlap", lives(replaced(5), "old", AWAY), "wait", Reason::InOverlap),
            (
                "in overlap, and the new one is not listed yet",
                lives(replaced(5), "old", AWAY).dead("new"),
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
            (
                "nobody knows when it moved",
                under_way(healthy()).with(|told| told.secret().moved = None),
                "arrive",
                Reason::Arrived,
            ),
            ("an edit that was taken back at once", moved_lately(under_way(healthy())), "wait", Reason::MovedLately),
        ]);
    }
}
