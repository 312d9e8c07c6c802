//! The closed list of reasons. The same word appears in status, logs, JSON and `explain`.

use std::fmt;

use crate::model::time::Timestamp;

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Turn {
    /// Nobody's: all is well, or a date has to pass.
    Nobody,
    /// keyferry's: it goes on by itself, now or after a wait.
    Keyferry,
    /// Whoever can remove the cause; it heals as soon as that is gone.
    Cause,
    /// A person's: a decision is needed.
    Person,
    /// A person asked for quiet.
    Paused,
}

/// Why a step is taken, or why none is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// There is no AWS secret of that name yet.
    SecretMissing,
    /// The AWS secret has no value yet.
    SecretEmpty,
    /// The calendar says so.
    Due,
    /// A person asked for it.
    Asked,
    /// A person said that the value leaked.
    Leaked,
    /// Our claim was accepted a moment ago.
    ClaimWon,
    /// A stored candidate waits for its login check.
    CandidateUnproved,
    /// The vendor accepted the candidate a moment ago.
    CandidateProved,
    /// The vendor has refused the candidate for two minutes.
    CandidateRefused,
    /// The candidate's claim is over an hour old.
    CandidateAged,
    /// Something else became current meanwhile, or someone rolled the candidate back.
    CandidateSuperseded,
    /// The candidate is current: its pending label has done its work.
    Promoted,
    /// The first version is there: the bootstrap tag has done its work.
    BootstrapDone,
    /// No leftover of this attempt can exist any more.
    AttemptResolved,
    /// An attempt was begun and never finished.
    AttemptAbandoned,
    /// The previous credential has outlived its successor's promotion by the overlap.
    OverlapOver,
    /// Nothing refers to this credential any more.
    Unreferenced,
    /// The vendor confirmed that the credential is dead.
    RevokeConfirmed,
    /// A live credential that carries our mark and that nothing tracks.
    Leftover,
    /// An in-place vendor's record holds another value than AWSCURRENT.
    RecordDiffers,
    /// The secret is not ours yet and the declaration says to take it over.
    TakeOver,
    /// A credential that feeds this one was rotated.
    SourceMoved,

    /// All is well.
    Healthy,
    /// All is well, and nothing is planned: rotation is manual.
    HealthyManual,
    /// Two generations live side by side.
    InOverlap,
    /// A credential that this one feeds does not hold its new value yet, so the old one lives on.
    FollowersWait,
    /// Something happened too recently to act on it.
    Settling,
    /// An attempt is under way, here or in another replica.
    AttemptOpen,
    /// The vendor refuses the candidate; it may not have reached all of the vendor yet.
    CandidateNotAccepted,
    /// A failed attempt's wait is not over.
    BackingOff,
    /// The vendor did not list its credentials.
    VendorSilent,
    /// As many credentials live as may.
    NoRoom,
    /// Due, but outside the declared window or inside a freeze.
    WindowClosed,
    /// Nobody could look: AWS or the vendor did not answer, or refused.
    NotSeen,

    /// Paused by a person.
    Paused,
    /// AWSCURRENT is not a version that keyferry published.
    ForeignCurrent,
    /// AWSPENDING is not a version that keyferry stored.
    ForeignPending,
    /// Someone moved AWSCURRENT back to the previous version.
    RolledBack,
    /// There are versions, but none is current.
    NoCurrent,
    /// More leftovers than keyferry revokes unasked.
    TooManyLeftovers,
    /// The secret exists and is not ours.
    NotOurs,
    /// The secret's tags name another deployment or credential.
    OtherOwner,
    /// The declaration names another place at the vendor than the secret's credentials live in.
    OtherPlace,
    /// There is no such secret and the declaration says not to create it.
    SecretAbsent,
    /// The secret is scheduled for deletion.
    ScheduledForDeletion,
    /// Secrets Manager rotates this secret itself.
    NativeRotation,
    /// A managed external secret of an AWS partner, or another AWS service's.
    ManagedElsewhere,
    /// A replica; writes go to the primary Region.
    ReplicaRegion,
}

impl Reason {
    /// Whose turn it is.
    pub fn turn(self) -> Turn {
        match self {
            Self::Healthy | Self::HealthyManual | Self::InOverlap | Self::Settling | Self::WindowClosed => Turn::Nobody,
            Self::SecretMissing
            | Self::SecretEmpty
            | Self::Due
            | Self::Asked
            | Self::Leaked
            | Self::ClaimWon
            | Self::CandidateUnproved
            | Self::CandidateProved
            | Self::CandidateRefused
            | Self::CandidateAged
            | Self::CandidateSuperseded
            | Self::Promoted
            | Self::BootstrapDone
            | Self::AttemptResolved
            | Self::AttemptAbandoned
            | Self::OverlapOver
            | Self::Unreferenced
            | Self::RevokeConfirmed
            | Self::Leftover
            | Self::RecordDiffers
            | Self::TakeOver
            | Self::SourceMoved
            | Self::FollowersWait
            | Self::AttemptOpen
            | Self::CandidateNotAccepted
            | Self::BackingOff
            | Self::VendorSilent
            | Self::NotSeen => Turn::Keyferry,
            Self::NoRoom
            | Self::NotOurs
            | Self::OtherOwner
            | Self::OtherPlace
            | Self::SecretAbsent
            | Self::ScheduledForDeletion
            | Self::NativeRotation
            | Self::ManagedElsewhere
            | Self::ReplicaRegion => Turn::Cause,
            Self::ForeignCurrent
            | Self::ForeignPending
            | Self::RolledBack
            | Self::NoCurrent
            | Self::TooManyLeftovers => Turn::Person,
            Self::Paused => Turn::Paused,
        }
    }

    /// The word for machines: stable, kebab-case.
    pub fn code(self) -> &'static str {
        self.words().0
    }

    /// The sentence for people: lower case, no full stop.
    pub fn sentence(self) -> &'static str {
        self.words().1
    }

    /// What a person can do, where it is their turn.
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::ForeignCurrent => {
                "someone wrote this secret by hand: tag the secret `keyferry:base=<version id>@<seconds since 1970>` (`date +%s`) to accept that version as the one to go on from, or move AWSCURRENT back to keyferry's version"
            }
            Self::ForeignPending => {
                "find out who put AWSPENDING there and take the label off that version; keyferry then goes on by itself"
            }
            Self::RolledBack => {
                "to keep the version that is current now and retire the newer one, tag the secret `keyferry:base=<version id>@<seconds since 1970>` (`date +%s`); otherwise move AWSCURRENT forward again"
            }
            Self::NoCurrent => "move AWSCURRENT to the right version by hand",
            Self::TooManyLeftovers => {
                "look at them at the vendor and revoke by hand those that nobody uses; keyferry goes on with three or fewer"
            }
            Self::NotOurs => {
                "its value was not touched: set `takeover = \"rotate\"` to publish a fresh credential over it, or choose another secret name"
            }
            Self::OtherOwner => {
                "the secret's tags keyferry:deployment and keyferry:credential say whose it is: choose another secret name, or correct the tags"
            }
            Self::OtherPlace => {
                "put vendor, zone and application back as they were, or declare a new credential with a secret of its own for the new place: keyferry might not find the live credential there, and so forget it"
            }
            Self::SecretAbsent => "create the secret, or remove `create = false`",
            Self::ScheduledForDeletion => "restore it (`aws secretsmanager restore-secret`), or remove the declaration",
            Self::NativeRotation => "turn off its rotation in Secrets Manager, or remove the declaration",
            Self::ManagedElsewhere => "choose another secret name: writing to this one would break what manages it",
            Self::ReplicaRegion => "declare the primary Region as the target",
            Self::Paused => {
                "take the tag `keyferry:pause` off the secret, or let its date pass (seconds since 1970, or 2026-12-01T00:00:00Z; anything else never ends)"
            }
            Self::NoRoom => {
                "end credentials at the vendor that nobody uses, or wait until older ones of this secret are revoked"
            }
            _ => return None,
        })
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::SecretMissing => ("secret-missing", "there is no AWS secret of that name yet"),
            Self::SecretEmpty => ("secret-empty", "the AWS secret has no value yet"),
            Self::Due => ("due", "rotation is due"),
            Self::Asked => ("asked", "a person asked for a rotation"),
            Self::Leaked => ("leaked", "the current value leaked"),
            Self::ClaimWon => ("claim-won", "the attempt is claimed; a credential can be made"),
            Self::CandidateUnproved => ("candidate-unproved", "a stored candidate waits for its login check"),
            Self::CandidateProved => ("candidate-proved", "the vendor accepted the candidate"),
            Self::CandidateRefused => ("candidate-refused", "the vendor keeps refusing the candidate"),
            Self::CandidateAged => ("candidate-aged", "the candidate is over an hour old"),
            Self::CandidateSuperseded => ("candidate-superseded", "something else became current meanwhile"),
            Self::Promoted => ("promoted", "the candidate is current"),
            Self::BootstrapDone => ("bootstrap-done", "the first value is published"),
            Self::AttemptResolved => ("attempt-resolved", "no leftover of the attempt can exist"),
            Self::AttemptAbandoned => ("attempt-abandoned", "an attempt was begun and never finished"),
            Self::OverlapOver => ("overlap-over", "the overlap is over"),
            Self::Unreferenced => ("unreferenced", "nothing refers to this credential any more"),
            Self::RevokeConfirmed => ("revoke-confirmed", "the vendor confirmed the revocation"),
            Self::Leftover => ("leftover", "a leftover of a failed attempt lives at the vendor"),
            Self::RecordDiffers => ("record-differs", "the vendor's record holds another value than AWSCURRENT"),
            Self::TakeOver => ("take-over", "the declaration says to take the secret over"),
            Self::SourceMoved => ("source-moved", "a credential that feeds this one was rotated"),
            Self::Healthy => ("healthy", "current, verified and not due"),
            Self::HealthyManual => ("healthy-manual", "current and verified; rotates only when asked"),
            Self::InOverlap => ("in-overlap", "the new value is current; the previous one still works"),
            Self::FollowersWait => {
                ("followers-wait", "a credential that this one feeds does not hold its new value yet")
            }
            Self::Settling => ("settling", "the last change is too young to act on"),
            Self::AttemptOpen => ("attempt-open", "an attempt is under way"),
            Self::CandidateNotAccepted => ("candidate-not-accepted", "the vendor does not accept the candidate yet"),
            Self::BackingOff => ("backing-off", "the last attempt failed; waiting before the next"),
            Self::VendorSilent => ("vendor-silent", "the next step needs the vendor's listing"),
            Self::NoRoom => ("no-room", "as many credentials live at the vendor as may"),
            Self::WindowClosed => ("window-closed", "due, but outside the window or inside a freeze"),
            Self::NotSeen => ("not-seen", "nobody could look at it"),
            Self::Paused => ("paused", "paused by a person"),
            Self::ForeignCurrent => ("foreign-current", "AWSCURRENT is not a version that keyferry published"),
            Self::ForeignPending => ("foreign-pending", "AWSPENDING is not a version that keyferry stored"),
            Self::RolledBack => ("rolled-back", "someone moved AWSCURRENT back to the previous version"),
            Self::NoCurrent => ("no-current", "the secret has versions, but none is current"),
            Self::TooManyLeftovers => {
                ("too-many-leftovers", "more leftovers live at the vendor than keyferry revokes unasked")
            }
            Self::NotOurs => ("not-ours", "the secret exists and is not keyferry's"),
            Self::OtherOwner => ("other-owner", "the secret belongs to another deployment or credential"),
            Self::OtherPlace => ("other-place", "the declaration says differently where the live credential is"),
            Self::SecretAbsent => ("secret-absent", "there is no such secret, and `create = false`"),
            Self::ScheduledForDeletion => ("scheduled-for-deletion", "the secret is scheduled for deletion"),
            Self::NativeRotation => ("native-rotation", "Secrets Manager rotates this secret itself"),
            Self::ManagedElsewhere => ("managed-elsewhere", "an AWS partner or service manages this secret"),
            Self::ReplicaRegion => ("replica-region", "this is a replica; writes go to the primary Region"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.sentence())
    }
}

/// The earlier of two dates, where `None` is never.
pub fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
