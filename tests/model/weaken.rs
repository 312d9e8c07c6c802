//! Rules broken on purpose. A check that finds nothing wrong with a broken protocol checks nothing.

use std::time::Duration;

use keyferry::model::attempt::{Attempt, Cause};
use keyferry::model::label::Label;
use keyferry::model::time::Timestamp;
use keyferry::rotation::view::{Role, Try, Version, View};

use crate::names::{claim_code, slot_code};
use crate::world::{Act, Aws, Mark, NONE, Sent};

/// A rule that is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weakening {
    /// Nothing is too young to act on.
    NoSettle,
    /// AWSCURRENT is moved from wherever it is.
    PromoteFromAnywhere,
    /// Signatures never expire: calls decided or sent long ago still land.
    NoFence,
    /// The credential of AWSPREVIOUS is revoked where its label should be taken off.
    RevokeBeforePreviousIsOff,
    /// Every candidate counts as proved.
    NoVerify,
    /// The lease ends before the vendor confirmed the revoke.
    LeaseEndsFirst,
    /// A version may be written twice.
    TokenOverwrites,
    /// Claims whose slot is empty are not seen.
    OpenClaimsHidden,
    /// Claims on other bases than the current one are not seen.
    OpenClaimsOfOtherBasesHidden,
    /// An open attempt counts as closed once it is old enough, without a tombstone.
    NoTombstone,
    /// Slots are stored without their lease.
    NoLease,
    /// The holder of a fresh credential revokes it while its put is in doubt.
    OwnRevokesInDoubt,
    /// Reads may be as old as they like. The same as a date that is read long after the view.
    StaleForEver,
    /// `kf-open` comes off as soon as the slot is closed, before the sweep.
    OpenEndsFirst,
    /// The first credential is put under a fresh signature, however late.
    BootstrapNotFenced,
    /// The first version's claim is put as a version.
    BootstrapClaim,
    /// What leaked is revoked where its successor should be claimed.
    LeakedRevokesFirst,
    /// Only as long as its attempt is open does a claim say that the value leaked.
    LeakForgotten,
    /// The policy asks for evidence, and nobody looks.
    NoEvidence,
    /// Whatever version was confirmed, the current one counts as confirmed.
    AnyConfirmed,
    /// A retired credential's consumers are given no time.
    RetiredAtOnce,
    /// A pause is not seen.
    PauseIgnored,
    /// The current credential is revoked without writing that down first.
    EndingNotWritten,
    /// The retiring tag, and those of a move, are written and taken off however long after the look.
    MarksNotFenced,
    /// When the secret moved last is not seen.
    MovesAtOnce,
    /// A move does not say where something may live.
    DwellingForgotten,
    /// A former place is forgotten while something may live there.
    ArrivesEarly,
    /// ... and as soon as that is written, before everybody must have seen it.
    EndingNotSettled,
}

impl Weakening {
    /// What a weakened process sees.
    pub fn blind(self, view: &mut View, settle: Duration, now: Timestamp) {
        let Some(secret) = &mut view.secret else { return };
        match self {
            // The claim is not seen, so the attempt is not seen to be open.
            Self::OpenClaimsHidden => {
                let slots: Vec<Attempt> =
                    secret.versions.iter().filter_map(|version| version.slot()).map(|of| of.attempt).collect();
                secret.versions.retain(|version| version.claim().is_none_or(|of| slots.contains(&of.attempt)));
            }
            Self::OpenClaimsOfOtherBasesHidden => {
                let current = secret.with(&Label::Current).map(|version| version.id.clone());
                secret.versions.retain(|version| {
                    version.claim().is_none_or(|of| of.origin.as_ref().is_some_and(|(base, _)| *base == current))
                });
            }
            // An open attempt past settle is taken for closed, without the tombstone.
            Self::NoTombstone => {
                let claims: Vec<(Try, Timestamp)> = secret
                    .versions
                    .iter()
                    .filter_map(|version| Some((version.claim()?.clone(), version.created)))
                    .collect();
                for (of, created) in claims {
                    if secret.slot_of(of.attempt).is_none() && now.since(created) > settle {
                        secret.versions.push(Version {
                            id: of.attempt.slot_id(),
                            role: Role::Slot(of),
                            labels: Vec::new(),
                            created,
                        });
                    }
                }
            }
            // The claim is there, and nobody knows any more why.
            Self::LeakForgotten => {
                let slots: Vec<Attempt> =
                    secret.versions.iter().filter_map(|version| version.slot()).map(|of| of.attempt).collect();
                for claim in secret.claims.iter_mut().filter(|claim| slots.contains(&claim.attempt)) {
                    claim.cause = Cause::Asked;
                }
            }
            Self::AnyConfirmed => {
                let current = secret.with(&Label::Current).map(|version| version.id.clone());
                if let (Some(confirmed), Some(current)) = (&mut secret.confirmed, current) {
                    confirmed.version = current;
                }
            }
            Self::MovesAtOnce => secret.moved = None,
            Self::DwellingForgotten => secret.dwellings.clear(),
            Self::PauseIgnored => secret.paused_until = None,
            Self::EndingNotSettled => {
                if let Some(ending) = secret.retiring.as_mut().and_then(|tag| tag.ending.as_mut()) {
                    ending.at = ending.at.minus(settle * 3);
                    secret.changed = secret.changed.minus(settle * 3);
                }
            }
            _ => {}
        }
    }
}

impl Weakening {
    /// The step that a weakened process takes instead.
    pub fn twist(self, act: Act, aws: &Aws) -> Act {
        match (self, act) {
            (Self::RevokeBeforePreviousIsOff, Act::Detach { mark: Mark::Previous, code }) => {
                aws.cred(code).map_or(act, |cred| Act::Revoke { cred, tracked: true, sent: Sent::Both })
            }
            (Self::LeaseEndsFirst, Act::Revoke { cred, tracked: true, .. }) => {
                let slot = aws.slots.iter().position(|slot| slot.is_some_and(|slot| slot.cred == cred));
                slot.map_or(act, |row| Act::Detach { mark: Mark::Lease, code: slot_code(row as u8) })
            }
            (Self::LeakedRevokesFirst, Act::Claim { leak: true, .. })
            | (Self::EndingNotWritten, Act::MarkEnding { .. }) => {
                aws.cred(aws.current).map_or(act, |cred| Act::Revoke { cred, tracked: true, sent: Sent::Both })
            }
            (Self::ArrivesEarly, Act::Wait) if aws.dwellings[usize::from(!aws.there)] => {
                Act::Arrive { left: !aws.there }
            }
            (Self::OpenEndsFirst, Act::Wait) => {
                let early = (0..aws.slots.len()).find(|row| {
                    aws.slots[*row].is_some_and(|slot| slot.cred == NONE)
                        && aws.claims[*row].is_some_and(|claim| claim.open)
                });
                early.map_or(act, |row| Act::Detach { mark: Mark::Open, code: claim_code(row as u8) })
            }
            _ => act,
        }
    }
}
