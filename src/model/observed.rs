//! What the store and a vendor showed: ids, labels, dates - never values.

use std::collections::BTreeMap;

use crate::model::attempt::{Attempt, Base, Cause, Note};
use crate::model::label::Label;
use crate::model::name::{Arn, SecretName, VendorId, VersionId};
use crate::model::time::Timestamp;

/// Why a secret must not be touched, whatever its labels say (Secrets Manager API reference, DescribeSecret).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Obstacle {
    /// Scheduled for deletion since this date.
    ScheduledForDeletion(Timestamp),
    /// Secrets Manager itself rotates it.
    NativeRotation,
    /// A managed external secret of this partner type.
    PartnerType(String),
    /// Another AWS service owns it.
    ManagedBy(String),
    /// A replica; writes go to the primary Region.
    Replica {
        /// The primary Region.
        primary: String,
    },
}

/// One version of a secret.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Version {
    /// Its id.
    pub id: VersionId,
    /// Its labels; none when it is deprecated.
    pub labels: Vec<Label>,
    /// AWS's date of its creation.
    pub created: Timestamp,
}

/// One secret, described and with all its listed versions, deprecated ones too.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Secret {
    /// Its full ARN.
    pub arn: Arn,
    /// Its name.
    pub name: SecretName,
    /// All versions that AWS lists.
    pub versions: Vec<Version>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// AWS's `LastChangedDate`; its creation date when it never changed.
    pub changed: Timestamp,
    /// Why it must not be touched.
    pub obstacle: Option<Obstacle>,
    /// The Regions that hold replicas of it; while there are any, AWS refuses to delete it.
    pub replicas: Vec<String>,
    /// The KMS key; `None` for the account's default key.
    pub kms_key_id: Option<String>,
    /// Its description.
    pub description: Option<String>,
}

/// One secret as a listing of the whole fleet shows it: labelled versions only, up to five
/// minutes old. Enough to tell that nothing needs to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Its full ARN.
    pub arn: Arn,
    /// Its name.
    pub name: SecretName,
    /// Labels by version; deprecated versions are missing.
    pub labels: BTreeMap<VersionId, Vec<Label>>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// AWS's `LastChangedDate`; its creation date when it never changed.
    pub changed: Timestamp,
    /// Why it must not be touched.
    pub obstacle: Option<Obstacle>,
}

/// What a claim says (read from the claim's version; there is no secret in it).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Claim {
    /// The attempt it opens.
    pub attempt: Attempt,
    /// The version it wants to replace.
    pub base: Base,
    /// Which try.
    pub number: u32,
    /// Why.
    pub cause: Cause,
    /// Vendor ids listed just before; what is not among them may be this attempt's leftover.
    pub before: Vec<VendorId>,
    /// What the person who asked for it said of why.
    pub note: Option<Note>,
}

/// One credential in a vendor's listing.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Listed {
    /// The vendor's id.
    pub id: VendorId,
    /// The name that the caller chose, where the vendor keeps one.
    pub mark: Option<String>,
    /// The vendor's date of its creation.
    pub created: Timestamp,
    /// When it was last used, where the vendor says; `None` for never or unknown.
    pub last_used: Option<Timestamp>,
    /// Whether it is what the declaration describes, as far as the vendor shows it: its type and
    /// whatever else makes one credential of it another.
    pub fits: bool,
}

/// What in a stored value tells that it is the secret of one listed credential and of no other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tie {
    /// The value names this credential.
    This,
    /// The value names another one.
    Another,
    /// Nothing in the value tells.
    Untold,
}

/// Everything a vendor listed in the place where a credential lives, to the last page.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Listing {
    /// The vendor's own date of the answer.
    pub at: Timestamp,
    /// Every credential there, ours or not.
    pub credentials: Vec<Listed>,
}
