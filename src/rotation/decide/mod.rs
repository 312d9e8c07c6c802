//! The one next step of one secret that has a value. Checks stand in a visible order and none
//! relies on an earlier one having run: what one proved, the next takes as an argument.
//!
//! ```text
//!  parked? held?        nothing moves until the cause is gone or a person decides
//!    └ in hand          what this process did a moment ago: mint, end a lease, end a leaked one
//!       └ candidate     AWSPENDING: prove it, promote it, or take the label off
//!          ├ record     in place: the record holds what is current
//!          └ resolved   kf-open off where no leftover can exist
//!             └ open    close what was begun and never finished, or wait for it
//!                ├ urgent       claim at once what leaked, or what may be dead
//!                └ previous     retire it when the overlap is over, and `retire_when` content
//!                   └ unreferenced    revoke what nothing refers to
//!                      └ leftovers    revoke what is provably ours and untracked
//!                         ├ arrived   nothing of ours is left in a former place
//!                         ├ crowded   nothing is made where another declared one is made, too
//!                         ├ due       claim the next attempt
//!                         └ retired   `state = "retired"`: end the current one, delete the secret
//! ```
//!
//! Who asks overrides the calendar: what a person asks for (`rotate`, with or without `--leaked`)
//! begins outside windows and inside freezes. It never overrides a pause, nor anything that is
//! parked or held, nor the backoff after a failed attempt. A value that leaked moreover skips the
//! overlap and `retire_when`, and goes before all cleaning up; settle holds for it too.

use std::time::Duration;

use crate::model::attempt::{Attempt, Base, Cause};
use crate::model::capability::Marking;
use crate::model::label::Label;
use crate::model::name::{VendorId, VersionId};
use crate::model::observed::Obstacle;
use crate::model::policy::{Policy, Takeover, Wanted};
use crate::model::time::{Now, Timestamp};
use crate::rotation::facts::Fact;
use crate::rotation::view::{Dwelling, FOR_EVER, Owner, Role, Secret, Version, View};
use crate::rotation::{Reason, bootstrap};

use case::Case;
pub(crate) use compare::{due as compare_due, missing, next as next_compare};
pub(crate) use evidence::{LOOK_EVERY, LOOK_FOR};
pub(crate) use retired::over;

mod case;
pub mod checks;
mod compare;
mod due;
mod evidence;
mod moving;
mod needs;
mod retired;
#[cfg(test)]
mod tests;

/// A credential is created, and a proved candidate promoted, only this soon after.
pub const FRESH_MAX: Duration = Duration::from_secs(60);

/// One step of the protocol: one write, to AWS or at the vendor, and what it relies on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Create the AWS secret, empty, with our tags and the bootstrap tag of the first try.
    CreateSecret {
        /// Short hashes of what the vendor listed just before (unnamed vendors only).
        before: Vec<String>,
    },
    /// Change tags of the secret, and nothing else. Tags know no compare, so the write is signed with
    /// the date of the look and AWS refuses it five minutes later.
    Tag(TagChange),
    /// Put a claim.
    Claim {
        /// The attempt.
        attempt: Attempt,
        /// What it is to replace.
        base: Base,
        /// Which try.
        number: u32,
        /// Why.
        cause: Cause,
        /// What the vendor listed just before.
        before: Vec<VendorId>,
    },
    /// Create the credential at the vendor and put it into the slot.
    Mint {
        /// The attempt.
        attempt: Attempt,
        /// AWS's date of the claim's answer, or the date in the bootstrap tag: the age of the
        /// credential counts from here, and the put of a first version is signed with it.
        since: Timestamp,
        /// Whether it becomes the secret's first version, which AWS publishes with its put: then it
        /// is proved before it is stored.
        first: bool,
    },
    /// Prove the candidate: log in with it or, at an in-place vendor, set it there and see it in use.
    Prove {
        /// The candidate.
        version: VersionId,
    },
    /// In-place vendors: set AWSCURRENT's value at the vendor again.
    Restore {
        /// The version whose value was set instead.
        version: VersionId,
    },
    /// Move AWSCURRENT to the candidate.
    Promote {
        /// The candidate.
        version: VersionId,
        /// The version that must hold AWSCURRENT for the move to be accepted.
        from: Base,
        /// The moment the proof was asked for: the move is signed with it.
        proved: Timestamp,
    },
    /// Take a label off a version.
    Detach {
        /// The label; never AWSCURRENT.
        label: Label,
        /// The version that must have it.
        version: VersionId,
    },
    /// Put a tombstone into the slot of an attempt.
    Close {
        /// The attempt.
        attempt: Attempt,
    },
    /// Revoke a credential at the vendor.
    Revoke {
        /// The vendor's id.
        id: VendorId,
        /// Whether a lease tracks it.
        tracked: bool,
        /// Where the vendor is asked, in this order.
        sites: Vec<Site>,
        /// Whether it was made in one of them, so that the vendor's word there that it knows no such
        /// credential tells that it is gone.
        home: bool,
    },
    /// Schedule the secret for deletion, with a recovery window of 30 days; never at once.
    DeleteSecret,
}

/// A change of the secret's tags.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TagChange {
    /// Write the owner tags, and nothing else.
    TakeOver,
    /// Credentials are made in the declared place from now on.
    Move {
        /// Where they were made before, left now.
        from: Dwelling,
    },
    /// Nothing of ours is left in a former place.
    Arrive {
        /// Which.
        left: Dwelling,
    },
    /// A try to make the first version begins.
    Attempt {
        /// Which try.
        number: u32,
        /// Short hashes of what the vendor listed before the first try (unnamed vendors only).
        before: Vec<String>,
    },
    /// The first version is there.
    AttemptDone,
    /// The declaration retires the credential: consumers' time counts from now.
    Retiring,
    /// Written ahead: the current credential is about to end.
    Ending {
        /// The version that is current.
        version: VersionId,
        /// The date in the tag so far.
        since: Timestamp,
    },
    /// The declaration wants it again.
    NotRetiring,
    /// What is published was compared with the vendor's listing.
    Compared {
        /// The version whose credential is not listed.
        missing: Option<VersionId>,
    },
}

/// Where a vendor is asked about a credential.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Site {
    /// In the declared place.
    Declared,
    /// In one that the secret has left.
    Former(Dwelling),
}

/// What to do about one secret now.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Decision {
    /// Take this step.
    Act {
        /// The step.
        step: Step,
        /// Why.
        reason: Reason,
    },
    /// Do nothing now.
    Wait {
        /// Why.
        reason: Reason,
        /// When to look again, by AWS's date; `None` when only an outside change can make a
        /// difference.
        until: Option<Timestamp>,
    },
    /// Fetch this fact and ask again. Never said of a fact that was asked for.
    Need(Fact),
}

impl Decision {
    /// A step to take now.
    pub fn act(step: Step, reason: Reason) -> Self {
        Self::Act { step, reason }
    }

    /// Nothing to do until then.
    pub fn wait(reason: Reason, until: Option<Timestamp>) -> Self {
        Self::Wait { reason, until }
    }

    /// A change of tags to make now.
    pub(super) fn tag(change: TagChange, reason: Reason) -> Self {
        Self::act(Step::Tag(change), reason)
    }

    /// The step to take, if any.
    pub fn step(&self) -> Option<&Step> {
        match self {
            Self::Act { step, .. } => Some(step),
            Self::Wait { .. } | Self::Need(_) => None,
        }
    }

    /// Why; of a fact that is still to be fetched, that nobody could look.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Act { reason, .. } | Self::Wait { reason, .. } => *reason,
            Self::Need(_) => Reason::NotSeen,
        }
    }

    /// When to look again if there is nothing to do now.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Wait { until, .. } => *until,
            Self::Act { .. } | Self::Need(_) => None,
        }
    }
}

/// Decides the one next step, or which fact has to be known first. Pure: the same view, policy and
/// dates give the same decision. `now.store` is AWS's date at which the secret was looked at;
/// everything is judged by the date of the oldest part of what was seen.
pub fn decide(view: &View, policy: &Policy, now: Now) -> Decision {
    if view.compare && view.facts.listing.is_open() {
        return Decision::Need(Fact::Listing);
    }
    let now = Now { store: view.facts.oldest(now.store), ..now };
    let decision = rules(view, policy, now);
    match needs::missing(view, policy, &decision, now) {
        Some(fact) => Decision::Need(fact),
        None => compare::noted(view, policy, decision, now),
    }
}

/// The rules in their order, on what is known.
fn rules(view: &View, policy: &Policy, now: Now) -> Decision {
    let Some(secret) = &view.secret else { return bootstrap::without_secret(view, policy, now) };
    if let Some(parked) = parked(secret, policy, now.store).or_else(|| moving::moved(secret, view, policy, now.store)) {
        return parked;
    }
    let Some(current) = secret.with(&Label::Current) else {
        return bootstrap::without_current(secret, view, policy, now);
    };
    if let Some(reason) = held(secret, current, policy) {
        return Decision::wait(reason, None);
    }
    let case = Case { secret, current, view, policy, now };
    match policy.wanted {
        Wanted::Present => case
            .present_again()
            .or_else(|| case.begun())
            .or_else(|| case.urgent())
            .or_else(|| case.older())
            .or_else(|| case.arrived())
            .or_else(|| case.crowded())
            .unwrap_or_else(|| case.due()),
        Wanted::Retired => {
            case.retire().or_else(|| case.begun()).or_else(|| case.older()).unwrap_or_else(|| case.end_current())
        }
    }
}

/// When the last credential that nothing refers to may be revoked; `None` where there is none.
pub(crate) fn last_end(view: &View, policy: &Policy, now: Now) -> Option<Timestamp> {
    let secret = view.secret.as_ref()?;
    let case = Case { secret, current: secret.with(&Label::Current)?, view, policy, now };
    let older = secret.versions.iter().filter(|version| version.id != case.current.id && version.lease().is_some());
    older.map(|version| case.ends(version).max(now.store)).max()
}

/// Whether the value that is current is said to have leaked.
pub(crate) fn leak_asked(view: &View, policy: &Policy, now: Now) -> bool {
    let current = view.secret.as_ref().and_then(|secret| Some((secret, secret.with(&Label::Current)?)));
    let asked = view.request == Some(Cause::Leaked);
    asked || current.is_some_and(|(secret, current)| Case { secret, current, view, policy, now }.leak_asked())
}

impl Case<'_> {
    /// What this process holds, and attempts that are under way.
    fn begun(&self) -> Option<Decision> {
        self.in_hand()
            .or_else(|| self.candidate())
            .or_else(|| self.record())
            .or_else(|| self.resolved())
            .or_else(|| self.open())
    }

    /// Credentials that were replaced, and leftovers.
    fn older(&self) -> Option<Decision> {
        self.previous().or_else(|| self.unreferenced()).or_else(|| self.leftovers())
    }
}

/// States in which keyferry touches nothing and nothing it does would heal them.
pub(super) fn parked(secret: &Secret, policy: &Policy, now: Timestamp) -> Option<Decision> {
    let blocked = |reason| Some(Decision::wait(reason, None));
    let retired = policy.wanted == Wanted::Retired;
    match &secret.obstacle {
        // What it tracks may live: nobody ends that while it is scheduled.
        Some(Obstacle::ScheduledForDeletion(_))
            if retired && !secret.versions.iter().any(|one| one.lease().is_some()) =>
        {
            return blocked(Reason::Retired);
        }
        Some(Obstacle::ScheduledForDeletion(_)) => return blocked(Reason::ScheduledForDeletion),
        Some(Obstacle::NativeRotation) => return blocked(Reason::NativeRotation),
        Some(Obstacle::PartnerType(_) | Obstacle::ManagedBy(_)) => return blocked(Reason::ManagedElsewhere),
        Some(Obstacle::Replica { .. }) => return blocked(Reason::ReplicaRegion),
        None => {}
    }
    match &secret.owner {
        Owner::Us | Owner::Stripped => {}
        Owner::Other { .. } => return blocked(Reason::OtherOwner),
        // An empty secret that someone else creates and keyferry fills has no value to overwrite.
        Owner::Nobody if secret.versions.is_empty() && !policy.create_secret => {}
        // Nothing of ours is in it.
        Owner::Nobody if retired => return blocked(Reason::NotOurs),
        Owner::Nobody => match policy.takeover {
            Takeover::Refuse => return blocked(Reason::NotOurs),
            Takeover::Rotate => return Some(Decision::tag(TagChange::TakeOver, Reason::TakeOver)),
        },
    }
    match secret.paused_until {
        Some(until) if now < until => {
            Some(Decision::wait(Reason::Paused, Some(until).filter(|until| *until != FOR_EVER)))
        }
        Some(_) | None => None,
    }
}

/// Whether a person has to decide before anything moves.
fn held(secret: &Secret, current: &Version, policy: &Policy) -> Option<Reason> {
    // Retired: we ended it ourselves, and its lease may be off.
    if secret.ending(&current.id) {
        return None;
    }
    if secret.accepted.as_ref().is_some_and(|accepted| accepted.version == current.id) {
        return None;
    }
    let replaces_current = |version: &Version| version.base() == Some(&Some(current.id.clone()));
    if !published_by_us(current, policy) {
        // A secret being taken over: nothing of ours was published in it yet.
        let untouched =
            secret.versions.iter().all(|version| !published_by_us(version, policy) || replaces_current(version));
        let taking_over = policy.takeover == Takeover::Rotate && current.role == Role::Other && untouched;
        if !taking_over {
            // A version of ours without its lease: what was in it is gone.
            let ours = current.role != Role::Other;
            return Some(if ours { Reason::DeadCurrent } else { Reason::ForeignCurrent });
        }
    }
    let rolled_back = |previous: &Version| replaces_current(previous) && published_by_us(previous, policy);
    secret.with(&Label::Previous).is_some_and(rolled_back).then_some(Reason::RolledBack)
}

/// Whether a version holds a value that is keyferry's. The lease says so by itself: only the put of
/// a slot writes it, and an adoption after its proof; and it outlives AWS's memory of the version
/// that the slot was made to replace, from which its role is told.
fn published_by_us(version: &Version, policy: &Policy) -> bool {
    match policy.capabilities.marking {
        Marking::InPlace => version.slot().is_some(),
        Marking::Named | Marking::Unnamed => version.lease().is_some(),
    }
}

impl Step {
    /// Whether it must follow the look that it was decided on soon: what it does can't be undone,
    /// and somebody may have paused the secret, or moved a label, while the process slept.
    pub fn irrevocable(&self) -> bool {
        match self {
            Self::Mint { .. } | Self::Promote { .. } | Self::Revoke { .. } | Self::DeleteSecret => true,
            Self::CreateSecret { .. }
            | Self::Tag(_)
            | Self::Claim { .. }
            | Self::Prove { .. }
            | Self::Restore { .. }
            | Self::Detach { .. }
            | Self::Close { .. } => false,
        }
    }

    /// The step's word, for logs and machines: stable, kebab-case.
    pub fn word(&self) -> &'static str {
        match self {
            Self::CreateSecret { .. } => "create-secret",
            Self::Tag(change) => change.word(),
            Self::Claim { .. } => "claim",
            Self::Mint { first: false, .. } => "create-and-store",
            Self::Mint { first: true, .. } => "create-and-publish",
            Self::Prove { .. } => "prove",
            Self::Restore { .. } => "restore",
            Self::Promote { .. } => "promote",
            Self::Detach { label: Label::Previous, .. } => "retire",
            Self::Detach { label: Label::Cred(_), .. } => "end-lease",
            Self::Detach { .. } => "tidy",
            Self::Close { .. } => "close",
            Self::Revoke { tracked: true, .. } => "revoke",
            Self::Revoke { tracked: false, .. } => "sweep",
            Self::DeleteSecret => "delete-secret",
        }
    }
}

impl TagChange {
    fn word(&self) -> &'static str {
        match self {
            Self::TakeOver => "take-over",
            Self::Move { .. } => "move",
            Self::Arrive { .. } => "arrive",
            Self::Attempt { .. } => "tag-attempt",
            Self::AttemptDone => "untag-attempt",
            Self::Retiring => "mark-retiring",
            Self::Ending { .. } => "mark-ending",
            Self::NotRetiring => "unmark-retiring",
            Self::Compared { .. } => "mark-compared",
        }
    }
}
