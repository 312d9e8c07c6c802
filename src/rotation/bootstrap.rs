//! The one next step of a secret that has no value yet.
//!
//! While a secret has no version, any put would be published at once (the first version of a
//! secret becomes AWSCURRENT whatever stages it is given). So there are no claims and no
//! tombstones here: a tag says who tries, the credential is proved *before* it is stored, and the
//! put is signed with the date in the tag, so that one that comes late is refused by AWS.

use std::time::Duration;

use crate::model::attempt::Attempt;
use crate::model::capability::Marking;
use crate::model::label::Label;
use crate::model::name::VendorId;
use crate::model::policy::{Policy, Verify, Wanted};
use crate::model::time::Now;
use crate::rotation::calendar;
use crate::rotation::decide::{Decision, FRESH_MAX, Site, Step, TagChange, over};
use crate::rotation::reason::Reason;
use crate::rotation::sweep::{self, Sweep};
use crate::rotation::view::{Bootstrap, Company, Hand, Known, Retiring, Secret, Seen, View, short};

/// There is no secret of that name.
pub fn without_secret(view: &View, policy: &Policy, now: Now) -> Decision {
    if policy.wanted == Wanted::Retired {
        return Decision::wait(Reason::Retired, None);
    }
    if !policy.create_secret {
        return Decision::wait(Reason::SecretAbsent, None);
    }
    if matches!(view.hand, Hand::Tagged { .. }) {
        // We created it a moment ago; this read is older than that.
        return Decision::wait(Reason::AttemptOpen, Some(now.store.plus(policy.settle)));
    }
    match view.listing() {
        // A vendor that does not answer now would not mint either: create nothing.
        None => Decision::wait(Reason::VendorSilent, None),
        Some(listing) => match refusal(view, listing, policy) {
            Some(reason) => Decision::wait(reason, None),
            None => Decision::act(Step::CreateSecret { before: before(listing, policy) }, Reason::SecretMissing),
        },
    }
}

/// The secret is there and no version is current.
pub fn without_current(secret: &Secret, view: &View, policy: &Policy, now: Now) -> Decision {
    if !secret.versions.is_empty() {
        return without_label(secret, view, policy, now);
    }
    match (policy.wanted, &secret.retiring) {
        (Wanted::Present, None) => {}
        (Wanted::Present, Some(_)) => return Decision::tag(TagChange::NotRetiring, Reason::PresentAgain),
        (Wanted::Retired, None) => return Decision::tag(TagChange::Retiring, Reason::Retiring),
        (Wanted::Retired, Some(tag)) => return retired(secret, tag, view, policy, now),
    }
    let Some(tag) = &secret.bootstrap else {
        return match view.listing() {
            None => Decision::wait(Reason::VendorSilent, None),
            Some(listing) => match refusal(view, listing, policy) {
                Some(reason) => Decision::wait(reason, None),
                None => {
                    let first = TagChange::Attempt { number: 1, before: before(listing, policy) };
                    Decision::tag(first, Reason::SecretEmpty)
                }
            },
        };
    };
    let age = now.store.since(tag.at);
    if matches!(&view.hand, Hand::Tagged { nonce } if *nonce == tag.nonce) && age < FRESH_MAX {
        let attempt = Attempt::derive(&secret.arn, &None, tag.number);
        return Decision::act(Step::Mint { attempt, since: tag.at, first: true }, Reason::ClaimWon);
    }
    if age <= policy.settle {
        return Decision::wait(Reason::AttemptOpen, Some(tag.at.plus(policy.settle)));
    }
    next_try(secret, tag, view, policy, now)
}

/// Retired before it ever had a value. A put may still land until the bootstrap tag has settled.
fn retired(secret: &Secret, tag: &Retiring, view: &View, policy: &Policy, now: Now) -> Decision {
    let wait = |until| Decision::wait(Reason::Retiring, until);
    let settled = secret.bootstrap.as_ref().map_or(tag.since, |one| one.at).plus(policy.settle);
    let from = over(tag, policy).max(settled);
    if now.store <= from {
        return wait(Some(from.plus(Duration::from_secs(1))));
    }
    if view.listing().is_none() {
        return Decision::wait(Reason::VendorSilent, None);
    }
    match (sweep::sweep(secret, None, view, policy, now), sweep::next(secret, view, policy, now)) {
        (Sweep::Revoke(id, sites), _) => leftover(id, sites),
        (Sweep::TooMany, _) => Decision::wait(Reason::TooManyLeftovers, None),
        (Sweep::Nothing, Some(young)) => wait(Some(young)),
        (Sweep::Nothing, None) if policy.create_secret => Decision::act(Step::DeleteSecret, Reason::Retiring),
        (Sweep::Nothing, None) => Decision::wait(Reason::Retired, None),
    }
}

fn next_try(secret: &Secret, tag: &Bootstrap, view: &View, policy: &Policy, now: Now) -> Decision {
    let Some(listing) = view.listing() else { return Decision::wait(Reason::VendorSilent, None) };
    match sweep::sweep(secret, None, view, policy, now) {
        Sweep::Revoke(id, sites) => return leftover(id, sites),
        Sweep::TooMany => return Decision::wait(Reason::TooManyLeftovers, None),
        Sweep::Nothing => {}
    }
    if let Some(reason) = refusal(view, listing, policy) {
        return Decision::wait(reason, None);
    }
    let over = tag.at.plus(calendar::backoff(policy, tag.number));
    if now.store < over {
        return Decision::wait(Reason::BackingOff, Some(over));
    }
    // What was listed before the first try stays what leftovers are told from.
    Decision::tag(TagChange::Attempt { number: tag.number + 1, before: tag.before.clone() }, Reason::SecretEmpty)
}

fn leftover(id: VendorId, sites: Vec<Site>) -> Decision {
    Decision::act(Step::Revoke { id, tracked: false, sites, home: true }, Reason::Leftover)
}

/// There are versions and none is current: the first put did not publish, or someone took the
/// versions' labels off. The first put's own candidate is proved and promoted; anything else is a
/// person's.
fn without_label(secret: &Secret, view: &View, policy: &Policy, now: Now) -> Decision {
    let first = secret.with(&Label::Pending).filter(|version| version.base() == Some(&None));
    let Some(candidate) = first else { return Decision::wait(Reason::NoCurrent, None) };
    let version = candidate.id.clone();
    match &view.hand {
        Hand::Proved { version: proved, at } if *proved == version && now.store.since(*at) < FRESH_MAX => {
            Decision::act(Step::Promote { version, from: None, proved: *at }, Reason::CandidateProved)
        }
        Hand::Untold { version: untold, at } if *untold == version && now.store.since(*at) < FRESH_MAX => {
            match policy.verify {
                Verify::BestEffort => {
                    Decision::act(Step::Promote { version, from: None, proved: *at }, Reason::CandidateUntold)
                }
                Verify::Required => Decision::wait(Reason::Unprovable, None),
            }
        }
        _ => Decision::act(Step::Prove { version }, Reason::CandidateUnproved),
    }
}

/// Why nothing may be made there, if so: others are made there too, what would be made could not be
/// proved and must be, or the vendor holds as many as it takes.
fn refusal(view: &View, listing: &[Seen], policy: &Policy) -> Option<Reason> {
    let full = policy.capabilities.live_max.is_some_and(|max| listing.len() >= usize::from(max.get()));
    if view.facts.company.found() == Some(&Company::Others) {
        Some(Reason::NotAlone)
    } else {
        match (&view.facts.provable, policy.verify) {
            (Known::Found { what: false, .. }, Verify::Required) => Some(Reason::Unprovable),
            (Known::Failed, Verify::Required) => Some(Reason::VendorSilent),
            (Known::Found { .. } | Known::NotAsked, Verify::Required) | (_, Verify::BestEffort) => {
                full.then_some(Reason::NoRoom)
            }
        }
    }
}

/// What the vendor listed before the first try, where leftovers can't be told by a mark.
fn before(listing: &[Seen], policy: &Policy) -> Vec<String> {
    match policy.capabilities.marking {
        Marking::Unnamed => listing.iter().map(|seen| short(&seen.id)).collect(),
        Marking::Named | Marking::InPlace => Vec::new(),
    }
}
