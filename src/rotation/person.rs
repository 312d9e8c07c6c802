//! Whether what a person asks for may be done to a secret: going back to the version before, going
//! on from the version that is there, being quiet. Pure, and apart from `decide`: a person may do
//! what no rule would, and still not break a consumer.

use std::fmt;

use crate::model::attempt::Cause;
use crate::model::capability::Marking;
use crate::model::label::Label;
use crate::model::name::VersionId;
use crate::model::policy::Policy;
use crate::model::time::{Now, Timestamp};
use crate::rotation::decide::parked;
use crate::rotation::view::{Owner, Role, Secret, Version, View};
use crate::rotation::{Reason, Turn, decide};

/// Why something that a person asked for is not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is no AWS secret of that name.
    NoSecret,
    /// The secret is not ours, or must not be touched.
    Parked(Reason),
    /// No version is current.
    NothingCurrent,
    /// There is no version before the current one.
    NoPrevious,
    /// The version that was named is not listed.
    NotListed(VersionId),
    /// The version that was named is current.
    IsCurrent,
    /// The version that was named is a claim or a tombstone.
    NotACredential,
    /// Its credential was revoked, or is no credential of ours.
    Revoked,
    /// It lives, but is out of use: nothing keeps it from being revoked at any moment.
    Retired,
    /// One record at the vendor holds one value: the one before is not there any more.
    InPlace,
    /// It was replaced because it leaked.
    Leaked,
    /// Whether it was replaced because it leaked can't be told: its successor's claim can't be read.
    PerhapsLeaked,
    /// The version that was named is not current; this one is.
    NotCurrent(VersionId),
    /// Nothing waits for a person's word.
    NotHeld,
    /// It waits for a person, but no version's acceptance would help.
    NotByAccepting(Reason),
}

impl Refusal {
    /// What can be done instead, where something can.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoSecret => "`keyferry once` makes it",
            Self::Parked(reason) | Self::NotByAccepting(reason) => return reason.hint(),
            Self::NothingCurrent => "move AWSCURRENT to the right version by hand",
            Self::NoPrevious | Self::Revoked | Self::Retired | Self::Leaked | Self::InPlace => {
                "`keyferry rotate <name>` publishes a fresh credential now"
            }
            Self::NotListed(_) | Self::IsCurrent | Self::NotACredential | Self::NotCurrent(_) => {
                "`keyferry history <name>` shows the versions"
            }
            Self::PerhapsLeaked => {
                "allow secretsmanager:GetSecretValue with the stage `kf-open:*`, or `keyferry rotate <name>`"
            }
            Self::NotHeld => return None,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret => out.write_str("there is no AWS secret of that name yet"),
            Self::Parked(reason) | Self::NotByAccepting(reason) => out.write_str(reason.sentence()),
            Self::NothingCurrent => out.write_str("no version of the secret is current"),
            Self::NoPrevious => out.write_str("there is no previous version that still lives"),
            Self::NotListed(version) => write!(out, "the secret has no version {version}"),
            Self::IsCurrent => out.write_str("that version is current already"),
            Self::NotACredential => out.write_str("that version is keyferry's own note (a claim or a tombstone)"),
            Self::Revoked => out.write_str("the credential in that version was revoked, or is not keyferry's"),
            Self::Retired => out.write_str("that version was taken out of use and may be revoked at any moment"),
            Self::InPlace => out.write_str("this vendor keeps one value at a time: the one before is gone"),
            Self::Leaked => out.write_str("that version was replaced because it leaked"),
            Self::PerhapsLeaked => {
                out.write_str("whether that version leaked can't be told: its successor's claim can't be read")
            }
            Self::NotCurrent(current) => write!(out, "that version is not current; {current} is"),
            Self::NotHeld => out.write_str("nothing waits for a person's word"),
        }
    }
}

/// Where AWSCURRENT goes, and from where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Back {
    /// The version that holds AWSPREVIOUS and lives.
    pub to: VersionId,
    /// The version that is current now.
    pub from: VersionId,
    /// Whether it undoes an earlier going back: `to` was made to replace `from`.
    pub forward: bool,
    /// Whether the acceptance tag names `to`. It says what a person decided earlier: going back is
    /// to be decided anew.
    pub accepted: bool,
}

/// Whether AWSCURRENT may go back to the version before, or to `named` if that is the one.
///
/// # Errors
/// Says why not. A pause is no reason: this is a person's doing, and the only one left to a fleet
/// that was paused because of a bad value.
pub fn back(secret: Option<&Secret>, named: Option<&VersionId>, policy: &Policy) -> Result<Back, Refusal> {
    let secret = touchable(secret, policy)?;
    let current = secret.with(&Label::Current).ok_or(Refusal::NothingCurrent)?;
    let to = match named {
        None => secret.with(&Label::Previous).ok_or(Refusal::NoPrevious)?,
        Some(named) => {
            let listed = secret.versions.iter().find(|version| version.id == *named);
            listed.ok_or_else(|| Refusal::NotListed(named.clone()))?
        }
    };
    if to.id == current.id {
        return Err(if named.is_some() { Refusal::IsCurrent } else { Refusal::NoPrevious });
    }
    let note = to.has(&Label::Closed) || matches!(to.role, Role::Claim(_));
    match (policy.capabilities.marking, to.lease()) {
        _ if note => return Err(Refusal::NotACredential),
        (Marking::InPlace, _) => return Err(Refusal::InPlace),
        (Marking::Named | Marking::Unnamed, None) => return Err(Refusal::Revoked),
        (Marking::Named | Marking::Unnamed, Some(_)) => {}
    }
    if !to.has(&Label::Previous) {
        return Err(Refusal::Retired);
    }
    leaked(secret, to, current)?;
    let accepted = secret.accepted.as_ref().is_some_and(|accepted| accepted.version == to.id);
    Ok(Back { to: to.id.clone(), from: current.id.clone(), forward: replaces(to, current), accepted })
}

fn replaces(version: &Version, base: &Version) -> bool {
    version.base() == Some(&Some(base.id.clone()))
}

/// A leaked rotation's claim stays open until every older version is gone, so that it tells.
fn leaked(secret: &Secret, to: &Version, current: &Version) -> Result<(), Refusal> {
    let base = Some(to.id.clone());
    if secret.claims.iter().any(|claim| claim.cause == Cause::Leaked && claim.base == base) {
        return Err(Refusal::Leaked);
    }
    let Some(made_by) = current.slot().map(|of| of.attempt) else { return Ok(()) };
    let open = secret.versions.iter().any(|version| version.has(&Label::Open(made_by)));
    if open && secret.claim_of(made_by).is_none() { Err(Refusal::PerhapsLeaked) } else { Ok(()) }
}

/// The secret, if it is ours and nothing is in the way of a person's word about it.
///
/// # Errors
/// Says what is.
pub fn touchable<'a>(secret: Option<&'a Secret>, policy: &Policy) -> Result<&'a Secret, Refusal> {
    let secret = secret.ok_or(Refusal::NoSecret)?;
    match &secret.owner {
        Owner::Us | Owner::Stripped => {}
        Owner::Nobody => return Err(Refusal::Parked(Reason::NotOurs)),
        Owner::Other { .. } => return Err(Refusal::Parked(Reason::OtherOwner)),
    }
    // Without a pause, what stands in the way does so at any date.
    match parked(&unpaused(secret), policy, Timestamp::default()) {
        None => Ok(secret),
        Some(decision) => Err(Refusal::Parked(decision.reason())),
    }
}

/// The same secret as if nobody had paused it: what else stands in its way.
pub fn unpaused(secret: &Secret) -> Secret {
    Secret { paused_until: None, ..secret.clone() }
}

/// Whether a person's word is waited for, a pause apart.
pub fn held(view: &View, policy: &Policy, now: Now) -> Option<Reason> {
    let view = View { secret: view.secret.as_ref().map(unpaused), ..view.clone() };
    let reason = decide(&view, policy, now).reason();
    (reason.turn() == Turn::Person).then_some(reason)
}

/// Whether `named` may be accepted as the version to go on from.
///
/// # Errors
/// Says why not.
pub fn accept(view: &View, named: &VersionId, policy: &Policy, now: Now) -> Result<(), Refusal> {
    let secret = touchable(view.secret.as_ref(), policy)?;
    is_current(secret, named)?;
    match held(view, policy, now) {
        None => Err(Refusal::NotHeld),
        Some(Reason::ForeignCurrent | Reason::RolledBack) => Ok(()),
        Some(reason) => Err(Refusal::NotByAccepting(reason)),
    }
}

/// Whether `named` is the version that is current.
///
/// # Errors
/// Says which one is.
pub fn is_current(secret: &Secret, named: &VersionId) -> Result<(), Refusal> {
    let current = secret.with(&Label::Current).ok_or(Refusal::NothingCurrent)?;
    if current.id == *named {
        return Ok(());
    }
    let listed = secret.versions.iter().any(|version| version.id == *named);
    Err(if listed { Refusal::NotCurrent(current.id.clone()) } else { Refusal::NotListed(named.clone()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::observed::Obstacle;
    use crate::rotation::story::*;

    /// In the overlap after a rotation that was asked for an hour ago.
    fn rotated() -> Told {
        healthy().promoted(60).resolved(1)
    }

    fn version(told: &Told, number: u32) -> VersionId {
        let secret = told.view.secret.as_ref().unwrap();
        secret.slot_of(attempt(number)).unwrap().id.clone()
    }

    #[test]
    fn going_back_is_for_the_version_before_while_it_lives_and_did_not_leak() {
        let old = first().slot_id();
        let unlease = |told: &mut Told| told.secret().versions[0].labels.retain(|label| *label == Label::Previous);
        let rows: Vec<(&str, Told, Option<VersionId>, Refusal)> = vec![
            ("absent", healthy().with(|told| told.view.secret = None), None, Refusal::NoSecret),
            ("a first value", healthy(), None, Refusal::NoPrevious),
            (
                "after the overlap",
                rotated().with(|told| told.secret().versions[0].labels.clear()),
                None,
                Refusal::NoPrevious,
            ),
            (
                "revoked",
                rotated().with(|told| told.secret().versions[0].labels.clear()),
                Some(old.clone()),
                Refusal::Revoked,
            ),
            ("by hand", rotated().with(unlease), None, Refusal::Revoked),
            (
                "retired",
                rotated().with(|told| told.secret().versions[0].labels.retain(|l| *l != Label::Previous)),
                Some(old.clone()),
                Refusal::Retired,
            ),
            ("current", rotated(), Some(attempt(1).slot_id()), Refusal::IsCurrent),
            ("a claim", rotated(), Some(attempt(1).claim_id()), Refusal::NotACredential),
            (
                "a tombstone",
                rotated().claimed(2, 20).tombstone(2, 1),
                Some(attempt(2).slot_id()),
                Refusal::NotACredential,
            ),
            ("unknown", rotated(), Some(attempt(9).slot_id()), Refusal::NotListed(attempt(9).slot_id())),
            ("in place", in_place().promoted(60), None, Refusal::InPlace),
            (
                "leaked",
                healthy().claimed_for(1, 60, Cause::Leaked).stored(1, 60, &[Label::Current]).old_is(&[Label::Previous]),
                None,
                Refusal::Leaked,
            ),
            (
                "unreadable claim",
                healthy().promoted(60).with(|told| told.secret().claims.clear()),
                None,
                Refusal::PerhapsLeaked,
            ),
            (
                "another's",
                rotated().with(|told| told.secret().owner = Owner::Nobody),
                None,
                Refusal::Parked(Reason::NotOurs),
            ),
            (
                "replica",
                rotated().with(|told| told.secret().obstacle = Some(Obstacle::Replica { primary: "x".into() })),
                None,
                Refusal::Parked(Reason::ReplicaRegion),
            ),
            ("nothing current", rotated().with(|told| told.secret().versions.clear()), None, Refusal::NothingCurrent),
        ];
        for (what, told, named, refusal) in rows {
            let said = back(told.view.secret.as_ref(), named.as_ref(), &told.policy);
            assert_eq!(said, Err(refusal), "{what}");
        }
        for told in [
            rotated(),
            rotated().with(|told| told.secret().paused_until = Some(NOW.plus(std::time::Duration::from_secs(60)))),
        ] {
            for named in [None, Some(old.clone())] {
                let back = back(told.view.secret.as_ref(), named.as_ref(), &told.policy).unwrap();
                assert_eq!(back, Back { to: old.clone(), from: version(&told, 1), forward: false, accepted: false });
            }
        }
    }

    #[test]
    fn going_back_twice_is_going_forward() {
        let mut told = rotated();
        for version in &mut told.secret().versions {
            for label in &mut version.labels {
                match label {
                    Label::Current => *label = Label::Previous,
                    Label::Previous => *label = Label::Current,
                    _ => {}
                }
            }
        }
        let now = Now { store: NOW, vendor: None };
        assert_eq!(held(&told.view, &told.policy, now), Some(Reason::RolledBack));
        let back = back(told.view.secret.as_ref(), None, &told.policy).unwrap();
        assert_eq!(back, Back { to: attempt(1).slot_id(), from: first().slot_id(), forward: true, accepted: false });
        let accepts = |version: VersionId| accept(&told.view, &version, &told.policy, now);
        assert_eq!(accepts(first().slot_id()), Ok(()));
        assert_eq!(accepts(attempt(1).slot_id()), Err(Refusal::NotCurrent(first().slot_id())));
        assert_eq!(accepts(attempt(7).slot_id()), Err(Refusal::NotListed(attempt(7).slot_id())));
    }

    #[test]
    fn only_what_is_held_can_be_accepted_and_a_pause_hides_nothing() {
        let now = Now { store: NOW, vendor: None };
        let current = first().slot_id();
        let bare = |told: &mut Told| told.secret().versions[0].labels = vec![Label::Current];
        let strange = |told: &mut Told| {
            bare(told);
            told.secret().versions[0].role = Role::Other;
        };
        let paused = |told: &mut Told| told.secret().paused_until = Some(NOW.plus(std::time::Duration::from_secs(60)));
        let pending = |told: &mut Told| {
            let mut version = told.secret().versions[0].clone();
            version.id = VersionId::new(&"f".repeat(32)).unwrap();
            (version.role, version.labels) = (Role::Other, vec![Label::Pending]);
            told.secret().versions.push(version);
        };
        for (told, expected) in [
            (healthy(), Err(Refusal::NotHeld)),
            (healthy().with(strange), Ok(())),
            (healthy().with(bare), Err(Refusal::NotByAccepting(Reason::DeadCurrent))),
            (healthy().with(strange).with(paused), Ok(())),
            (healthy().with(pending), Err(Refusal::NotByAccepting(Reason::ForeignPending))),
        ] {
            assert_eq!(accept(&told.view, &current, &told.policy, now), expected);
        }
    }
}
