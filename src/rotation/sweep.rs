//! Which live credentials at the vendor are leftovers of ours: made by us, and nothing tracks them.
//!
//! A credential that no lease tracks is revoked only if it is provably a leftover:
//!
//! - it is older than twice settle by the vendor's own date, so whoever made it is past storing it;
//! - its attempt is closed: the slot holds something else, or a tombstone;
//! - where the vendor keeps no marks: the declaration says that nobody else makes credentials
//!   there, the vendor shows that no other declared credential is made there, no attempt is open, it was not there before the attempt, appeared in the attempt's
//!   window and was **never used** (nobody can use a secret that was lost; a first credential is
//!   proved before it is stored, so its maker's own login counts for nothing).
//!
//! What was made for a version that AWSCURRENT, AWSPENDING or AWSPREVIOUS is on is no leftover, lease or
//! no lease: people and tools take labels off.
//!
//! More than three at once are a person's to judge. There is no rule about their share of what is
//! listed: by a mark each is proved for itself, and without marks no more than one attempt is ever
//! unresolved, while in a small place one leftover is half of what is listed.
//!
//! Everything else is foreign: reported, never touched.

use std::time::Duration;

use crate::model::attempt::Attempt;
use crate::model::capability::Marking;
use crate::model::label::Label;
use crate::model::name::VendorId;
use crate::model::policy::{Ownership, Policy};
use crate::model::time::{Now, Timestamp};
use crate::rotation::decide::Site;
use crate::rotation::reason::earlier;
use crate::rotation::view::{Bootstrap, Company, Fit, Marked, Secret, Seen, Version, View, short};

/// More leftovers than this at once are a person's to judge: something is not as we think.
const LEFTOVERS_MAX: usize = 3;

/// What a sweep found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sweep {
    /// Nothing to do now.
    Nothing,
    /// A leftover to revoke, and where the vendor is asked.
    Revoke(VendorId, Vec<Site>),
    /// More than keyferry revokes unasked.
    TooMany,
}

/// Looks for a leftover that may be revoked now.
pub fn sweep(secret: &Secret, current: Option<&Version>, view: &View, policy: &Policy, now: Now) -> Sweep {
    let Some(listing) = view.listing() else { return Sweep::Nothing };
    let Some(vendor_now) = now.vendor else { return Sweep::Nothing };
    let judge = Judge { secret, current, policy, now };
    let leftovers: Vec<&Seen> = listing
        .iter()
        .filter(|seen| vendor_now.since(seen.created) > policy.settle * 2)
        .filter(|seen| told_apart(seen, view, policy) && judge.closed_leftover(seen))
        .collect();
    match leftovers.first() {
        None => Sweep::Nothing,
        Some(_) if leftovers.len() > LEFTOVERS_MAX => Sweep::TooMany,
        Some(first) => Sweep::Revoke(first.id.clone(), sites(first, secret)),
    }
}

/// AWS's date at which a leftover that is too young now is old enough.
pub fn next(secret: &Secret, view: &View, policy: &Policy, now: Now) -> Option<Timestamp> {
    let vendor_now = now.vendor?;
    let judge = Judge { secret, current: secret.with(&Label::Current), policy, now };
    let listed = view.listing().into_iter().flatten().filter(|seen| told_apart(seen, view, policy));
    let young = listed.filter(|seen| judge.closed_leftover(seen));
    young
        .map(|seen| {
            now.store.plus((policy.settle * 2 + Duration::from_secs(1)).saturating_sub(vendor_now.since(seen.created)))
        })
        .fold(None, |soonest, date| earlier(soonest, Some(date)))
}

/// Where a listed credential is ended: where it was seen.
fn sites(seen: &Seen, secret: &Secret) -> Vec<Site> {
    match seen.fit {
        Fit::Declared | Fit::Differs => vec![Site::Declared],
        Fit::Away { .. } => secret.formers().map(|one| Site::Former(one.clone())).collect(),
    }
}

/// What becomes of a listed credential that no lease tracks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is not provably ours: it stays.
    NotOurs,
    /// It is ours, and whoever made it may still store it.
    Open,
    /// It is a leftover of ours, revoked from this date of AWS's on.
    SweptFrom(Timestamp),
}

/// What becomes of `seen`, which no lease of `secret` tracks.
pub fn fate(seen: &Seen, secret: &Secret, policy: &Policy, now: Now) -> Fate {
    let judge = Judge { secret, current: secret.with(&Label::Current), policy, now };
    if judge.closed_leftover(seen) {
        let age = now.vendor.map_or(Duration::ZERO, |vendor_now| vendor_now.since(seen.created));
        Fate::SweptFrom(now.store.plus((policy.settle * 2).saturating_sub(age)))
    } else if ours(seen) && policy.capabilities.marking == Marking::Named {
        Fate::Open
    } else {
        Fate::NotOurs
    }
}

/// Whether a listed credential carries this secret's mark.
pub fn ours(seen: &Seen) -> bool {
    match seen.marked {
        Marked::Ours(_) | Marked::First(_) => true,
        Marked::No => false,
    }
}

/// Whether the listing still shows something that `attempt` may have left, however young.
pub fn leaves(attempt: Attempt, secret: &Secret, policy: &Policy, listing: &[Seen]) -> bool {
    listing.iter().filter(|seen| !secret.tracks(&seen.id)).any(|seen| match policy.capabilities.marking {
        Marking::Named => seen.marked == Marked::Ours(attempt) || seen.marked == Marked::First(attempt),
        // Without the claim's text nobody can tell.
        Marking::Unnamed => {
            exclusive(seen, policy) && (secret.claim_of(attempt).is_none() || appeared(seen, attempt, secret, policy))
        }
        Marking::InPlace => false,
    })
}

/// Whether nothing that the attempts at a first version may have left is at the vendor any more,
/// so that the bootstrap tag may go.
pub fn first_done(tag: &Bootstrap, secret: &Secret, view: &View, policy: &Policy, now: Now) -> bool {
    match policy.capabilities.marking {
        Marking::InPlace => true,
        // The first try's only create is the one that was published. After more than one, the tag
        // stays until nothing is left of the earlier ones, so that every pass looks for them.
        Marking::Named if tag.number <= 1 => true,
        Marking::Named => {
            let Some(listing) = view.listing() else { return false };
            let left = |seen: &Seen| matches!(seen.marked, Marked::First(_)) && !secret.tracks(&seen.id);
            !listing.iter().any(left) && now.store.since(tag.at) > policy.settle
        }
        Marking::Unnamed if policy.ownership == Ownership::Shared || !policy.capabilities.last_used => true,
        Marking::Unnamed => {
            let Some(listing) = view.listing() else { return false };
            let left = listing.iter().any(|seen| !secret.tracks(&seen.id) && first_unmarked(seen, tag, policy));
            !left && now.store.since(tag.at) > policy.settle * 2
        }
    }
}

/// Whether elimination may tell what is ours, where marks don't. Who else is made there was asked of
/// the declared place; what is said of a former one stands for itself.
fn told_apart(seen: &Seen, view: &View, policy: &Policy) -> bool {
    let away = matches!(seen.fit, Fit::Away { .. });
    policy.capabilities.marking != Marking::Unnamed || away || view.facts.company.found() == Some(&Company::Alone)
}

/// Whether an unmarked credential may be told by elimination: nobody else makes any where it lives.
fn exclusive(seen: &Seen, policy: &Policy) -> bool {
    let ownership = match seen.fit {
        Fit::Declared | Fit::Differs => policy.ownership,
        // What is declared of the declared place says nothing of a former one.
        Fit::Away { ownership } => ownership,
    };
    ownership == Ownership::Exclusive && policy.capabilities.last_used
}

/// Whether an unmarked credential was not there before the first try, was there by the last one's
/// time, and was never used but by its maker: a first credential is proved before it is stored, so
/// one login follows its creation.
fn first_unmarked(seen: &Seen, tag: &Bootstrap, policy: &Policy) -> bool {
    let only_proved = seen.last_used.is_none_or(|used| used <= seen.created.plus(policy.settle));
    // AWS's date against the vendor's: settle is far more than their clocks differ.
    let in_time = seen.created <= tag.at.plus(policy.settle);
    exclusive(seen, policy) && only_proved && in_time && !tag.before.contains(&short(&seen.id))
}

/// Whether an unmarked credential appeared in the window of `attempt` and was never used.
fn appeared(seen: &Seen, attempt: Attempt, secret: &Secret, policy: &Policy) -> bool {
    let Some(claim) = secret.claim_of(attempt) else { return false };
    let claimed = secret.versions.iter().find(|version| version.claim().is_some_and(|of| of.attempt == attempt));
    let Some(claimed) = claimed.map(|version| version.created) else { return false };
    // AWS's date against the vendor's: settle is far more than their clocks differ.
    let window = claimed.minus(policy.settle)..=claimed.plus(policy.settle);
    seen.last_used.is_none() && !claim.before.contains(&seen.id) && window.contains(&seen.created)
}

struct Judge<'a> {
    secret: &'a Secret,
    current: Option<&'a Version>,
    policy: &'a Policy,
    now: Now,
}

impl Judge<'_> {
    /// Whether it is a leftover of a closed attempt, its age apart.
    fn closed_leftover(&self, seen: &Seen) -> bool {
        if self.secret.tracks(&seen.id) || self.sheltered(seen) {
            return false;
        }
        match self.policy.capabilities.marking {
            Marking::InPlace => false,
            Marking::Named => match &seen.marked {
                Marked::No => false,
                Marked::First(attempt) => self.first_closed(*attempt),
                Marked::Ours(attempt) => self.closed(*attempt, seen),
            },
            Marking::Unnamed => exclusive(seen, self.policy) && self.unmarked_leftover(seen),
        }
    }

    /// Whether a label that readers or a promotion may follow is on a version that this credential may
    /// be in, although no lease says so: people and tools take labels off. By a mark it is told which;
    /// without marks it may be any.
    fn sheltered(&self, seen: &Seen) -> bool {
        let mut bare = self.secret.shelters().filter_map(|version| Some(version.slot()?.attempt));
        match (&seen.marked, self.policy.capabilities.marking) {
            (Marked::Ours(attempt) | Marked::First(attempt), _) => {
                bare.any(|sheltering| sheltering == *attempt) || self.unsettled(*attempt)
            }
            (Marked::No, Marking::Unnamed) => bare.next().is_some(),
            (Marked::No, Marking::Named | Marking::InPlace) => false,
        }
    }

    /// Whether the slot of an attempt has no lease, and labels of the secret moved a moment ago: a label
    /// that was just taken off that version may be put back.
    fn unsettled(&self, attempt: Attempt) -> bool {
        let bare = self.secret.slot_of(attempt).is_some_and(|slot| slot.lease().is_none() && !slot.has(&Label::Closed));
        bare && self.now.store.since(self.secret.changed) <= self.policy.settle
    }

    /// Attempts at a first version have no claim: closed by another content of the slot, or by
    /// age, for their put is signed with the date in the tag.
    fn first_closed(&self, attempt: Attempt) -> bool {
        self.secret.slot_of(attempt).is_some() || self.current.is_some() || self.tag_settled()
    }

    fn tag_settled(&self) -> bool {
        self.secret.bootstrap.as_ref().is_none_or(|tag| self.now.store.since(tag.at) > self.policy.settle)
    }

    fn closed(&self, attempt: Attempt, seen: &Seen) -> bool {
        if self.secret.slot_of(attempt).is_some() {
            return true;
        }
        let claimed =
            self.secret.versions.iter().any(|version| version.claim().is_some_and(|of| of.attempt == attempt));
        if claimed {
            return false;
        }
        // Its claim is gone (AWS prunes old versions): only once something newer was promoted and
        // has been current for the overlap.
        let promoted = self.current.and_then(Version::lease).map(|lease| lease.since);
        promoted.is_some_and(|since| {
            let waited = since.plus(self.policy.candidate_age_max).plus(self.policy.overlap);
            seen.created.plus(self.policy.settle * 2) < since && self.now.store >= waited
        })
    }

    fn unmarked_leftover(&self, seen: &Seen) -> bool {
        let open = |version: &Version| version.claim().is_some_and(|of| self.secret.slot_of(of.attempt).is_none());
        if self.secret.versions.iter().any(open) {
            return false;
        }
        let of_claim = self.secret.claims.iter().any(|claim| {
            self.secret.slot_of(claim.attempt).is_some() && appeared(seen, claim.attempt, self.secret, self.policy)
        });
        let of_first = self.secret.bootstrap.as_ref().is_some_and(|tag| {
            (self.current.is_some() || self.tag_settled()) && first_unmarked(seen, tag, self.policy)
        });
        of_claim || of_first
    }
}
