//! One declared credential, as meant: every name checked, every reference resolved to what it
//! names, every default filled in.

use std::collections::BTreeMap;

use crate::model::name::{Deployment, Name, SecretName, TargetName, VendorName};
use crate::model::option::Options;
use crate::model::payload::Shape;
use crate::model::policy::Policy;

/// The AWS side of a credential.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Which target it lies in.
    pub target: TargetName,
    /// The secret's name.
    pub name: SecretName,
    /// Its description.
    pub description: Option<String>,
    /// Its KMS key; `None` for the account's default key.
    pub kms_key_id: Option<String>,
    /// The person's own tags; ours are added by the store.
    pub tags: BTreeMap<String, String>,
    /// How the value looks.
    pub shape: Shape,
}

/// One declared credential.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its name, unique in the declaration.
    pub name: Name,
    /// Whose it is.
    pub deployment: Deployment,
    /// The vendor instance it is made at.
    pub vendor: VendorName,
    /// The credential type, a word of that vendor's driver.
    pub type_name: &'static str,
    /// The vendor's own options for it.
    pub options: Options,
    /// When and how it is rotated.
    pub policy: Policy,
    /// Where its value goes.
    pub destination: Destination,
    /// Hash of all that makes the value what it is (vendor, type, options, shape), 16 hex digits;
    /// stands in claims, so that a replaced declaration shows.
    pub fingerprint: String,
}
