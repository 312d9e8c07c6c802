//! Whether a credential that somebody else made, and an AWS secret that somebody else filled, may be
//! taken under management as they are: nothing is rotated, and what consumers read stays.
//!
//! ```text
//! candidate   by ids, labels and dates alone: may this version be taken for that credential?
//!   judge     by what a login said and what the value names: is it that credential's secret?
//!     writes  what is written then, in this order:
//!
//!             keyferry:unproved = version    only where a person vouched for it
//!             kf-cred:<made>:<id>            on the current version: from here on it is tracked
//!             owner tags, place              from here on the secret is ours
//! ```
//!
//! Why it may be cut anywhere:
//!
//! - Until the last write the secret is nobody's, so no pass touches it; adopting again goes on.
//! - `takeover = "rotate"` lets a pass write the owner tags itself. Before the label it would
//!   rotate, as declared; after it, it finds the version tracked. So the label goes first: it is the
//!   one write that says whose the value is.
//! - The label names a version. If AWSCURRENT has moved meanwhile, it tracks what it was proved for.
//!
//! The lease's date is the vendor's date of the credential, so its age counts from there; a label
//! needs no field more. In-place vendors have no leases: there the tag `keyferry:base` accepts the
//! version, in the call that makes the secret ours, and the age counts from the version's date in
//! AWS, for such a vendor shows none of the value.

use std::collections::BTreeMap;

use crate::model::capability::Marking;
use crate::model::label::{Label, Lease, PlaceKey, Tracked};
use crate::model::name::{Name, SecretName, VendorId, VersionId};
use crate::model::observed::{Listed, Listing, Tie};
use crate::model::policy::{Policy, Wanted};
use crate::model::time::{Now, Timestamp};
use crate::rotation::Reason;
use crate::rotation::decide::parked;
use crate::rotation::view::{Accepted, Marked, Owner, Role, Secret, Version, View, seen};

pub use refused::Refused;

mod refused;
#[cfg(test)]
mod tests;

/// How the mark of any keyferry begins.
const MARK: &str = "kf-";

/// What was found.
pub struct Found<'a> {
    /// The AWS secret; `None` when there is none of that name.
    pub secret: Option<&'a Secret>,
    /// What the vendor lists in the declared place.
    pub listing: &'a Listing,
    /// Another secret of this deployment that tracks the credential.
    pub holder: Option<Holder>,
}

/// A secret of this deployment that tracks a credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Which.
    pub secret: SecretName,
    /// Whose; `None` when no declaration names it.
    pub credential: Option<Name>,
}

/// A version that may be taken for a credential, if the value in it is that credential's secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The version that is current.
    pub version: VersionId,
    /// The date from which its age counts.
    pub since: Timestamp,
    /// What is to be written.
    missing: Missing,
    /// Whether keyferry stored this version itself, and ended its credential.
    ended: bool,
    /// Who else lives in the place.
    neighbours: Neighbours,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Missing {
    lease: Option<Lease>,
    tags: bool,
    base: bool,
}

/// Whose secret a value that works may be besides.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Neighbours {
    /// Nobody's: one credential lives there.
    None,
    /// One of so many others'.
    Others(usize),
    /// The value is so young that the vendor may not list everything yet: until then.
    Young(Timestamp),
}

/// What came of the look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Look {
    /// It is managed as this credential already: nothing is to be done.
    Already(Candidate),
    /// The value has to be looked at.
    May(Candidate),
}

/// Whether the current version may be taken for the credential `id`, as far as ids, labels and dates
/// tell.
///
/// # Errors
/// Says why not.
pub fn candidate(found: &Found<'_>, policy: &Policy, id: &VendorId, now: Now) -> Result<Look, Refused> {
    let secret = found.secret.ok_or(Refused::NoSecret)?;
    free(secret, policy, now.store)?;
    let current = secret.with(&Label::Current).ok_or(Refused::NothingCurrent)?;
    version_fits(secret, current, id)?;
    let listed = found.listing.credentials.iter().find(|one| one.id == *id);
    let in_place = policy.capabilities.marking == Marking::InPlace;
    let tracked = current.lease().is_some();
    // What is tracked already may be gone from the listing, or moved: that is the rules' business.
    let Some(listed) = listed else {
        return Err(Refused::NotListed { there: found.listing.credentials.len(), in_place });
    };
    credential_fits(found, secret, listed)?;
    if !in_place {
        stored_after(current, listed, found.listing.at, policy, now.store)?;
    }
    let accepted = secret.accepted.as_ref().is_some_and(|accepted| accepted.version == current.id);
    // A label holds whole seconds.
    let made = || Timestamp::from_seconds(listed.created.min(now.store).seconds());
    let since = if in_place { current.created } else { made() };
    let missing = Missing {
        lease: (!in_place && !tracked).then(|| Lease {
            since,
            tracked: Tracked::of(id),
            made_in: Some(PlaceKey::of(&policy.place)),
        }),
        tags: secret.owner != Owner::Us || secret.place.as_ref() != Some(&policy.place),
        base: in_place && !accepted && current.slot().is_none(),
    };
    let done = missing == Missing { lease: None, tags: false, base: false };
    let candidate = Candidate {
        version: current.id.clone(),
        since: current.lease().map_or(since, |lease| lease.since),
        ended: !in_place && !tracked && current.role != Role::Other,
        // An in-place vendor's one record was found by its alias.
        neighbours: match in_place {
            true => Neighbours::None,
            false => neighbours(current, found.listing, policy, now.store),
        },
        missing,
    };
    Ok(if done { Look::Already(candidate) } else { Look::May(candidate) })
}

/// The one credential that a secret with a value of somebody else's may be adopted with, where there
/// is but one: it carries no keyferry's mark, and this secret does not track it.
pub fn only<'a>(secret: &Secret, listing: &'a Listing) -> Option<&'a VendorId> {
    let marked = |one: &&Listed| one.mark.as_deref().is_some_and(|mark| mark.starts_with(MARK));
    let mut free = listing.credentials.iter().filter(|one| !marked(one) && !secret.tracks(&one.id));
    let only = free.next().filter(|_| free.next().is_none())?;
    secret.with(&Label::Current).is_some_and(|current| current.lease().is_none()).then_some(&only.id)
}

/// Whether tags say that Terraform made what they are on, as people tag it: its next run would take
/// keyferry's tags off again, or the whole secret away.
pub fn terraformed(tags: &BTreeMap<String, String>) -> bool {
    let says = |text: &String| text.to_ascii_lowercase().contains("terraform");
    tags.iter().any(|(key, value)| says(key) || says(value))
}

/// Nothing is in the way of the secret as a whole.
fn free(secret: &Secret, policy: &Policy, now: Timestamp) -> Result<(), Refused> {
    if let Owner::Other { deployment, credential } = &secret.owner {
        return Err(Refused::OthersSecret { deployment: deployment.clone(), credential: credential.clone() });
    }
    // As if it were ours already: what else stands in the way, a pause included.
    let ours = Secret { owner: Owner::Us, ..secret.clone() };
    if let Some(parked) = parked(&ours, policy, now) {
        return Err(Refused::Parked(parked.reason()));
    }
    if policy.wanted == Wanted::Retired || secret.retiring.is_some() {
        return Err(Refused::Retired);
    }
    if secret.formers().next().is_some() {
        return Err(Refused::Moving);
    }
    let elsewhere = secret.place.as_ref().is_some_and(|place| *place != policy.place);
    if elsewhere && secret.versions.iter().any(|version| version.lease().is_some()) {
        return Err(Refused::Parked(Reason::OtherPlace));
    }
    let under_way = |version: &Version| {
        version.labels.iter().any(|label| matches!(label, Label::Open(_)))
            || (version.has(&Label::Pending) && version.slot().is_some())
    };
    if secret.bootstrap.is_some() || secret.versions.iter().any(under_way) {
        return Err(Refused::UnderWay);
    }
    if secret.with(&Label::Pending).is_some_and(|pending| !pending.has(&Label::Current)) {
        return Err(Refused::Parked(Reason::ForeignPending));
    }
    Ok(())
}

/// The current version holds a credential, and no lease speaks against its being this one.
fn version_fits(secret: &Secret, current: &Version, id: &VendorId) -> Result<(), Refused> {
    if current.has(&Label::Closed) || matches!(current.role, Role::Claim(_)) {
        return Err(Refused::Note);
    }
    if let Some(lease) = current.lease().filter(|lease| !lease.tracked.is(id)) {
        let (version, label) = (current.id.clone(), Label::Cred(lease.clone()));
        return Err(Refused::TrackedAs { version, lease: label, ours: secret.owner != Owner::Nobody });
    }
    // Two leases of one credential: the end of the older version would end what is current.
    let also =
        |version: &&Version| version.id != current.id && version.lease().is_some_and(|lease| lease.tracked.is(id));
    match secret.versions.iter().find(also) {
        Some(version) => Err(Refused::TrackedBy { version: version.id.clone() }),
        None => Ok(()),
    }
}

/// The credential is what is declared, and nobody else's to end.
fn credential_fits(found: &Found<'_>, secret: &Secret, listed: &Listed) -> Result<(), Refused> {
    if let Some(holder) = &found.holder {
        return Err(Refused::Held(holder.clone()));
    }
    let alone = Listing { at: found.listing.at, credentials: vec![listed.clone()] };
    let ours = seen(&alone, Some(&secret.arn)).iter().any(|one| one.marked != Marked::No);
    if !ours && listed.mark.as_deref().is_some_and(|mark| mark.starts_with(MARK)) {
        return Err(Refused::Marked);
    }
    if !listed.fits {
        return Err(Refused::Differs);
    }
    Ok(())
}

/// A secret is shown when its credential is made, so no value is older than its credential. Each age
/// by the clock of whoever dated it.
fn stored_after(
    current: &Version,
    listed: &Listed,
    vendor_now: Timestamp,
    policy: &Policy,
    now: Timestamp,
) -> Result<(), Refused> {
    let (made, stored) = (vendor_now.since(listed.created), now.since(current.created));
    if made + policy.settle < stored {
        return Err(Refused::MadeAfter { made: listed.created, stored: current.created });
    }
    Ok(())
}

fn neighbours(current: &Version, listing: &Listing, policy: &Policy, now: Timestamp) -> Neighbours {
    let listed_by = current.created.plus(policy.settle);
    match listing.credentials.len() {
        0 | 1 if now <= listed_by => Neighbours::Young(listed_by),
        0 | 1 => Neighbours::None,
        count => Neighbours::Others(count - 1),
    }
}

/// What a look at the value showed. Only this is ever said of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// Whether it has the declared shape.
    pub shape: Shape,
    /// Which credential it names.
    pub tie: Tie,
    /// What a login with it said.
    pub login: Login,
}

/// How the stored value fits the declaration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// It is as declared.
    Same,
    /// It has more keys than are declared.
    Wider,
    /// It is of another shape.
    Another,
}

/// What a login said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Login {
    /// The vendor accepted it.
    Good,
    /// The vendor refused it.
    Bad {
        /// What it said, in checked words.
        answer: String,
    },
    /// No login could tell.
    CannotTell {
        /// Why not.
        answer: String,
    },
}

/// What a person allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Allowed {
    /// That nothing proves it.
    pub unproved: bool,
    /// That the next rotation changes the shape of the value.
    pub shape_change: bool,
}

/// It may be adopted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// What nothing proves, where a person vouched for it; empty where all is proved.
    pub unproved: Vec<String>,
    /// Whether the next rotation changes the shape of the value.
    pub reshaped: bool,
}

/// Whether the value is the credential's secret.
///
/// # Errors
/// Says why that is not known, or known to be wrong.
pub fn judge(candidate: &Candidate, proof: &Proof, allowed: Allowed) -> Result<Judged, Refused> {
    if proof.tie == Tie::Another {
        return Err(Refused::NamesAnother);
    }
    if let Login::Bad { answer } = &proof.login {
        return Err(Refused::LoginRefused { answer: answer.clone() });
    }
    if proof.shape != Shape::Same && !allowed.shape_change {
        return Err(Refused::Shape { wider: proof.shape == Shape::Wider });
    }
    let mut unproved = Vec::new();
    if let Login::CannotTell { answer } = &proof.login {
        unproved.push(format!("no login tells whether it works: {answer}"));
    }
    match (proof.tie, &candidate.neighbours) {
        (Tie::This, _) | (Tie::Untold, Neighbours::None) => {}
        (Tie::Another, _) => return Err(Refused::NamesAnother),
        (Tie::Untold, Neighbours::Others(others)) => unproved.push(format!(
            "nothing in it tells which credential it belongs to, and {others} more {} there",
            if *others == 1 { "lives" } else { "live" }
        )),
        (Tie::Untold, Neighbours::Young(until)) => unproved.push(format!(
            "nothing in it tells which credential it belongs to, and until {until} it is so young that the vendor may \
             not list them all"
        )),
    }
    match (unproved.is_empty(), candidate.ended, allowed.unproved) {
        (false, true, _) => Err(Refused::Ended { why: unproved }),
        (false, false, false) => Err(Refused::Unproved { why: unproved }),
        (true, ..) | (false, false, true) => Ok(Judged { unproved, reshaped: proof.shape != Shape::Same }),
    }
}

/// One write to the AWS secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Say in the tags that nothing proves this version.
    Unproved {
        /// Which.
        version: VersionId,
    },
    /// Put the lease on the version.
    Lease {
        /// Which.
        version: VersionId,
        /// The lease.
        lease: Lease,
    },
    /// Write the tags that make the secret ours, and with `base` the one that accepts the version.
    Own {
        /// The version, where no lease tells that it is accepted.
        base: Option<VersionId>,
    },
}

/// What is written, in this order.
pub fn writes(candidate: &Candidate, judged: &Judged) -> Vec<Write> {
    let version = || candidate.version.clone();
    let unproved = (!judged.unproved.is_empty()).then(|| Write::Unproved { version: version() });
    let lease = candidate.missing.lease.clone().map(|lease| Write::Lease { version: version(), lease });
    let base = candidate.missing.base.then(version);
    let own = (candidate.missing.tags || base.is_some()).then_some(Write::Own { base });
    unproved.into_iter().chain(lease).chain(own).collect()
}

/// What the writes leave, as the rules will see it.
pub fn after(view: &View, writes: &[Write], policy: &Policy, now: Timestamp) -> View {
    let mut view = view.clone();
    let Some(secret) = &mut view.secret else { return view };
    for write in writes {
        match write {
            Write::Unproved { .. } => {}
            Write::Lease { version, lease } => {
                let leased = secret.versions.iter_mut().filter(|one| one.id == *version);
                leased.for_each(|one| one.labels.push(Label::Cred(lease.clone())));
            }
            Write::Own { base } => {
                (secret.owner, secret.place, secret.at) = (Owner::Us, Some(policy.place.clone()), policy.at.clone());
                let accepted = base.clone().map(|version| Accepted { version, at: Some(now) });
                secret.accepted = accepted.or(secret.accepted.take());
            }
        }
        secret.changed = secret.changed.max(now);
    }
    view
}
