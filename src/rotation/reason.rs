//! The closed list of reasons. The same word appears in status, logs, JSON and `explain`.

use std::fmt;

use crate::model::time::Timestamp;

/// What `InOverlap` comes to where the one before does not work any more, or is not known to: a record
/// that holds one value, or a value that somebody else put there.
pub const PREVIOUS_KEPT: &str = "the new value is current; the one before is kept in AWS until the overlap is over";

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
    /// No login can tell whether the candidate works.
    CandidateUntold,
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
    /// What the end of the previous credential waited for did not come within its longest wait.
    EvidenceOverdue,
    /// The declaration wants a credential again that it had retired.
    PresentAgain,
    /// The declaration names another place, or another thing to make there.
    Moved,
    /// The vendor shows the current credential elsewhere, or otherwise, than declared.
    Strays,
    /// The vendor does not list the current credential any more where it was made.
    Missing,
    /// What is published was compared with the vendor's listing.
    Compared,
    /// Nothing of ours is left in a former place.
    Arrived,
    /// The secret moved less than settle ago.
    MovedLately,

    /// All is well.
    Healthy,
    /// All is well, and nothing is planned: rotation is manual.
    HealthyManual,
    /// Two generations live side by side.
    InOverlap,
    /// A credential that this one feeds does not hold its new value yet, so the old one lives on.
    FollowersWait,
    /// The overlap is over, and the vendor shows that the previous credential is still used.
    InUse,
    /// The overlap is over, and no consumer has said that it has the new value.
    Unconfirmed,
    /// A leaked value was replaced; something older lives yet.
    LeakedEnding,
    /// The declaration retires the credential; its consumers are given their time.
    Retiring,
    /// The credential is revoked, and its secret deleted or scheduled for it, as declared.
    Retired,
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
    /// No login at the vendor could prove what would be made.
    Unprovable,
    /// Another declared credential is made in the same place, which this one is said to have alone.
    NotAlone,
    /// Due, but outside the declared window or inside a freeze.
    WindowClosed,
    /// Nobody could look: AWS or the vendor did not answer, or refused.
    NotSeen,

    /// Paused by a person.
    Paused,
    /// AWSCURRENT is not a version that keyferry published.
    ForeignCurrent,
    /// AWSCURRENT is on a version of keyferry's whose credential was ended, or that never held one.
    DeadCurrent,
    /// AWSPENDING is not a version that keyferry stored.
    ForeignPending,
    /// Someone moved AWSCURRENT back to the previous version.
    RolledBack,
    /// There are versions, but none is current.
    NoCurrent,
    /// More leftovers than keyferry revokes unasked.
    TooManyLeftovers,
    /// An edit of the declaration would replace more than it may unasked.
    TooManyReplacements,
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
            Self::Healthy
            | Self::HealthyManual
            | Self::InOverlap
            | Self::InUse
            | Self::Unconfirmed
            | Self::Retiring
            | Self::Retired
            | Self::Settling
            | Self::WindowClosed => Turn::Nobody,
            Self::SecretMissing
            | Self::SecretEmpty
            | Self::Due
            | Self::Asked
            | Self::Leaked
            | Self::ClaimWon
            | Self::CandidateUnproved
            | Self::CandidateProved
            | Self::CandidateRefused
            | Self::CandidateUntold
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
            | Self::EvidenceOverdue
            | Self::PresentAgain
            | Self::LeakedEnding
            | Self::Moved
            | Self::Strays
            | Self::Missing
            | Self::Compared
            | Self::Arrived
            | Self::MovedLately
            | Self::AttemptOpen
            | Self::CandidateNotAccepted
            | Self::BackingOff
            | Self::VendorSilent
            | Self::NotSeen => Turn::Keyferry,
            Self::NoRoom
            | Self::Unprovable
            | Self::NotAlone
            | Self::NotOurs
            | Self::OtherOwner
            | Self::OtherPlace
            | Self::SecretAbsent
            | Self::ScheduledForDeletion
            | Self::NativeRotation
            | Self::ManagedElsewhere
            | Self::ReplicaRegion => Turn::Cause,
            Self::ForeignCurrent
            | Self::DeadCurrent
            | Self::ForeignPending
            | Self::RolledBack
            | Self::NoCurrent
            | Self::TooManyLeftovers
            | Self::TooManyReplacements => Turn::Person,
            Self::Paused => Turn::Paused,
        }
    }

    /// Whether an attempt was begun and is not at its end.
    pub fn is_mid_attempt(self) -> bool {
        matches!(
            self,
            Self::ClaimWon
                | Self::CandidateUnproved
                | Self::CandidateProved
                | Self::CandidateRefused
                | Self::CandidateAged
                | Self::CandidateSuperseded
                | Self::CandidateNotAccepted
                | Self::Promoted
                | Self::BootstrapDone
                | Self::AttemptOpen
                | Self::AttemptResolved
                | Self::AttemptAbandoned
        )
    }

    /// The word for machines: stable, kebab-case.
    pub fn code(self) -> &'static str {
        self.words().0
    }

    /// The sentence for people: lower case, no full stop.
    pub fn sentence(self) -> &'static str {
        self.words().1
    }

    /// The sentence with the date until which it holds, where that says more than when the next look
    /// is.
    pub fn message(self, until: Option<Timestamp>) -> String {
        let sentence = self.sentence();
        match (self, until) {
            (Self::InUse | Self::Unconfirmed, Some(date)) => {
                format!("{sentence}; the old one ends {date} at the latest")
            }
            (Self::WindowClosed, Some(date)) => format!("{sentence} until {date}"),
            (Self::WindowClosed, None) => format!("{sentence}, and nothing opens within a year"),
            (Self::Retiring, Some(date)) => format!("{sentence} (next step {date})"),
            _ => sentence.into(),
        }
    }

    /// What a person can do, where there is something. `<name>` stands for the credential's, `<version
    /// id>` for the current version's.
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::ForeignCurrent => {
                "someone wrote this secret by hand: `keyferry adopt <name> ID` takes the value under management with the vendor's credential ID, `keyferry resume <name> --accept <version id>` goes on from that version and never ends what is in it, `keyferry rollback <name>` goes back to keyferry's own while it lives"
            }
            Self::DeadCurrent => {
                "move AWSCURRENT to the version that has a label `kf-cred:…` and works (`aws secretsmanager update-secret-version-stage`); nothing can bring a revoked credential back"
            }
            Self::ForeignPending => {
                "find out who put AWSPENDING there and take the label off that version; keyferry then goes on by itself"
            }
            Self::RolledBack => {
                "to keep the version that is current now and retire the newer one: `keyferry resume <name> --accept <version id>`; to go forward again to the newer one: `keyferry rollback <name>`"
            }
            Self::NoCurrent => "move AWSCURRENT to the right version by hand",
            Self::TooManyLeftovers => {
                "`keyferry orphans <name>` lists them, `keyferry orphans revoke ID` ends one that nobody uses; keyferry goes on with three or fewer"
            }
            Self::TooManyReplacements => {
                "nothing was replaced: undo the edit; or `keyferry rotate <name>`, and so for each that is meant; or raise `limits.max_replacements` and reload"
            }
            Self::NotOurs => {
                "its value was not touched: `keyferry adopt <name> ID` takes it under management as it is, with the vendor's credential ID that it holds (`keyferry orphans <name>` lists them); `takeover = \"rotate\"` publishes a fresh credential over it; or choose another secret name"
            }
            Self::OtherOwner => {
                "the secret's tags keyferry:deployment and keyferry:credential say whose it is: choose another secret name, or correct the tags"
            }
            Self::OtherPlace => {
                "put it back as it was, or declare a new credential with a secret of its own for the new place: keyferry might not find the live credential there, and so forget it. What can change: zone, application and what the credential says, and the type among those that are told from others in the same way; not the vendor"
            }
            Self::SecretAbsent => "create the secret, or remove `create = false`",
            Self::ScheduledForDeletion => "restore it (`aws secretsmanager restore-secret`), or remove the declaration",
            Self::NativeRotation => "turn off its rotation in Secrets Manager, or remove the declaration",
            Self::ManagedElsewhere => "choose another secret name: writing to this one would break what manages it",
            Self::ReplicaRegion => "declare the primary Region as the target",
            Self::Paused => "`keyferry resume <name>` ends it",
            Self::InUse => "find the consumer that still logs in with the old value, and have it read the secret again",
            Self::Unconfirmed => "once consumers have the new value, say so: `keyferry confirm <name>`",
            Self::WindowClosed => "`keyferry rotate <name>` begins at once, also in a freeze",
            Self::NoRoom => {
                "`keyferry orphans <name>` lists them: end those that nobody uses, or wait until older ones of this secret are revoked"
            }
            Self::Unprovable => {
                "nothing was made: declare where to log in (for WorkOS `authkit_domain`), or accept values that nobody proved with `verify = \"best-effort\"`"
            }
            Self::NotAlone => {
                "nothing was made or swept: nobody could tell the leftovers of one from the credential of the other. Write `ownership = \"shared\"` in both, or give one of them another application"
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
            Self::CandidateUntold => ("candidate-untold", "no login can tell whether the candidate works"),
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
            Self::EvidenceOverdue => ("evidence-overdue", "the longest wait that `retire_when` allows is over"),
            Self::PresentAgain => ("present-again", "the declaration wants it again, after it was retired"),
            Self::Moved => ("moved", "the declaration changed where the credential is made, or what it is there"),
            Self::Strays => ("strays", "the current credential is not where, or what, the declaration says"),
            Self::Missing => (
                "missing-at-vendor",
                "the vendor does not list the current credential any more: consumers may be failing",
            ),
            Self::Compared => ("compared", "what is published was compared with the vendor's listing"),
            Self::Arrived => ("arrived", "nothing is left where the credential was made before"),
            Self::MovedLately => {
                ("moved-lately", "it moved a moment ago, and another replica may still go by the declaration before")
            }
            Self::Healthy => ("healthy", "current, verified and not due"),
            Self::HealthyManual => ("healthy-manual", "current and verified; rotates only when asked"),
            Self::InOverlap => ("in-overlap", "the new value is current; the previous one still works"),
            Self::FollowersWait => {
                ("followers-wait", "a credential that this one feeds does not hold its new value yet")
            }
            Self::InUse => {
                ("in-use", "the overlap is over, but the vendor shows that the old credential is still used")
            }
            Self::Unconfirmed => ("unconfirmed", "the overlap is over, but no consumer has confirmed the new value"),
            Self::LeakedEnding => ("leaked-ending", "the leaked value is replaced; something older still works"),
            Self::Retiring => ("retiring", "declared retired: consumers read the value until the overlap is over"),
            Self::Retired => ("retired", "retired as declared: nothing of it works any more"),
            Self::Settling => ("settling", "the last change is too young to act on"),
            Self::AttemptOpen => ("attempt-open", "an attempt is under way"),
            Self::CandidateNotAccepted => ("candidate-not-accepted", "the vendor does not accept the candidate yet"),
            Self::BackingOff => ("backing-off", "the last attempt failed; waiting before the next"),
            Self::VendorSilent => ("vendor-silent", "the next step needs the vendor's listing"),
            Self::NoRoom => ("no-room", "as many credentials live at the vendor as may"),
            Self::Unprovable => ("unprovable", "no login at the vendor could prove a new credential"),
            Self::NotAlone => {
                ("not-alone", "`ownership = \"exclusive\"`, but another declared credential is made in the same place")
            }
            Self::WindowClosed => ("window-closed", "due, but outside its window or inside a freeze"),
            Self::NotSeen => ("not-seen", "nobody could look at it"),
            Self::Paused => ("paused", "paused by a person"),
            Self::ForeignCurrent => ("foreign-current", "AWSCURRENT is not a version that keyferry published"),
            Self::DeadCurrent => (
                "dead-current",
                "someone moved AWSCURRENT to a version whose credential is revoked, or that holds none: consumers may be reading a dead value",
            ),
            Self::ForeignPending => ("foreign-pending", "AWSPENDING is not a version that keyferry stored"),
            Self::RolledBack => ("rolled-back", "someone moved AWSCURRENT back to the previous version"),
            Self::NoCurrent => ("no-current", "the secret has versions, but none is current"),
            Self::TooManyLeftovers => {
                ("too-many-leftovers", "more leftovers live at the vendor than keyferry revokes unasked")
            }
            Self::TooManyReplacements => (
                "too-many-replacements",
                "the declaration would replace more credentials at once than `limits.max_replacements`",
            ),
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
