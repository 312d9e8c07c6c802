//! What a test or a person can set about the service: quotas, an IAM-like deny list, KMS keys.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::errors::AwsError;
use super::state::Call;

/// The account of every access key.
pub const ACCOUNT: &str = "111122223333";

/// How the service behaves.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// Whether the published request quotas are enforced.
    pub quotas: bool,
    /// Whether `LastChangedDate` moves when only a label or a tag does. AWS does not say; true is the default.
    pub labels_move_last_changed: bool,
    /// Whether every list starts with an empty page that carries a token, as AWS says may happen.
    pub empty_pages: bool,
    /// How long, in milliseconds of service time, a force-deleted name cannot be used again.
    pub force_delete_lingers_ms: u64,
    /// What is denied; everything else is allowed.
    pub deny: Vec<Deny>,
    /// Keys that are not in order, by the text they are named with in the secret.
    pub kms: BTreeMap<String, KeyState>,
    /// If set, `GetSecretValue` is allowed only with a `VersionStage` among these, as a policy with
    /// a condition on `secretsmanager:VersionStage` does it; a `*` in the end stands for anything.
    pub readable_stages: Option<Vec<String>>,
    /// Where it does the opposite of what AWS is believed to do.
    pub opposites: BTreeSet<Opposite>,
}

/// The opposite of something that AWS is believed to do, so that what leans on it can be seen to
/// notice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opposite {
    /// A name that is taken is refused with another code.
    NameTakenCode,
    /// A secret's first version holds only the labels asked for.
    FirstVersionUnpublished,
    /// Every put publishes.
    PutsPublish,
    /// Labels must not have colons.
    LabelsWithoutColons,
    /// A secret has half as many labels.
    FewLabels,
    /// The labels of a repeated put are applied again.
    RepeatedLabels,
    /// Another value under a used token replaces the first.
    TokensOverwrite,
    /// A used token is refused with another code.
    TokenTakenCode,
    /// A label moves from whichever version holds it, if any version is named.
    SwapsIgnoreFrom,
    /// A label moves without its holder being named.
    SwapsNeedNoFrom,
    /// A label is taken off whichever version holds it, and taking it off twice is fine.
    DetachesIgnoreFrom,
    /// A refused label move has another code.
    SwapCode,
    /// AWSPREVIOUS stays where it is.
    PreviousStays,
    /// AWSPENDING goes when its version becomes current.
    PendingGoes,
    /// Versions without labels are not listed at all.
    DeprecatedUnlisted,
    /// `LastChangedDate` does not move when a version is put that does not become current.
    PutsKeepDate,
    /// A signature lives for fifteen minutes.
    OldSignatures,
    /// The `Date` of every answer is that of the first.
    DateStands,
    /// A policy's condition on labels is not asked where a version is named by its id alone.
    ReadableById,
    /// Lists of secrets never show a label.
    ListWithoutLabels,
    /// Throttling has another code.
    ThrottlingCode,
    /// Deleting without a recovery window is denied (not an opposite of AWS, but of a caller's rights:
    /// IAM can deny it by `secretsmanager:ForceDeleteWithoutRecovery`).
    ForcedDeletionDenied,
    /// A secret that is scheduled for deletion is written to as any other.
    ScheduledWrites,
}

/// One denied action.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// `PutSecretValue`, `secretsmanager:PutSecretValue` or `*`; `sts:AssumeRole` for taking on a role.
    pub action: String,
    /// Secrets whose name, or roles whose ARN, starts with this; empty for all.
    #[serde(default)]
    pub secret_prefix: String,
    /// Only for this access key; all if left out.
    #[serde(default)]
    pub access_key: Option<String>,
}

/// What is wrong with a KMS key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// In order.
    Enabled,
    /// Disabled: neither encrypts nor decrypts.
    Disabled,
    /// Scheduled for deletion: the same.
    PendingDeletion,
    /// The caller may not use it.
    Denied,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quotas: false,
            labels_move_last_changed: true,
            empty_pages: false,
            force_delete_lingers_ms: 5_000,
            deny: Vec::new(),
            kms: BTreeMap::new(),
            readable_stages: None,
            opposites: BTreeSet::new(),
        }
    }
}

/// What is done with a KMS key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyUse {
    /// A value is stored.
    Encrypt,
    /// A value is read.
    Decrypt,
}

impl Settings {
    /// Whether it does this opposite.
    pub fn does(&self, opposite: Opposite) -> bool {
        self.opposites.contains(&opposite)
    }

    /// Whether a policy with a condition on labels lets `call` read what `id` and `stage` select.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn authorize_reading(
        &self,
        call: &Call,
        id: Option<&str>,
        stage: Option<&str>,
        resource: &str,
    ) -> Result<(), AwsError> {
        let Some(patterns) = &self.readable_stages else { return Ok(()) };
        let fits = |pattern: &str, stage: &str| match pattern.strip_suffix('*') {
            Some(start) => stage.starts_with(start),
            None => stage == pattern,
        };
        let fine = match stage {
            Some(stage) => patterns.iter().any(|pattern| fits(pattern, stage)),
            None => id.is_some() && self.does(Opposite::ReadableById),
        };
        if fine { Ok(()) } else { Err(not_authorized(call, "GetSecretValue", resource)) }
    }

    /// Whether `call` may do `action` (without its prefix) to the secret of this name; `resource` is
    /// its ARN where it exists, as AWS's own message has it.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn authorize(&self, call: &Call, action: &str, name: &str, resource: &str) -> Result<(), AwsError> {
        let denied = self.deny.iter().any(|rule| {
            let rule_action = rule.action.strip_prefix("secretsmanager:").unwrap_or(&rule.action);
            (rule_action == "*" || rule_action == action)
                && name.starts_with(&rule.secret_prefix)
                && rule.access_key.as_ref().is_none_or(|key| *key == call.access_key)
        });
        if !denied {
            return Ok(());
        }
        Err(not_authorized(call, action, resource))
    }

    /// Whether `key` (none for the account's default key) can be used.
    ///
    /// # Errors
    /// `EncryptionFailure`, `DecryptionFailure` or `AccessDeniedException`.
    pub fn use_key(&self, key: Option<&str>, wanted: KeyUse) -> Result<(), AwsError> {
        let state = self.kms.get(key.unwrap_or(DEFAULT_KEY)).copied().unwrap_or(KeyState::Enabled);
        match state {
            KeyState::Enabled => Ok(()),
            KeyState::Denied => Err(AwsError::new("AccessDeniedException", "Access to KMS is not allowed")),
            KeyState::Disabled | KeyState::PendingDeletion => Err(match wanted {
                KeyUse::Encrypt => AwsError::new(
                    "EncryptionFailure",
                    "Secrets Manager can't encrypt the protected secret text using the provided KMS key. \
                     Check that the KMS key is available, enabled, and not in an invalid state.",
                ),
                KeyUse::Decrypt => AwsError::new(
                    "DecryptionFailure",
                    "Secrets Manager can't decrypt the protected secret text using the provided KMS key.",
                ),
            }),
        }
    }
}

pub(super) fn not_authorized(call: &Call, action: &str, resource: &str) -> AwsError {
    let user = user_arn(&call.access_key);
    let text = format!(
        "User: {user} is not authorized to perform: secretsmanager:{action} on resource: {resource} \
         with an explicit deny in an identity-based policy"
    );
    AwsError::new("AccessDeniedException", text)
}

/// The account's default key, as a setting names it.
pub const DEFAULT_KEY: &str = "alias/aws/secretsmanager";

/// Who the holder of an access key is.
pub fn user_arn(access_key: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:user/{access_key}")
}
