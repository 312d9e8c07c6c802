//! What a test or a person can set about the service: quotas, an IAM-like deny list, KMS keys.

use std::collections::BTreeMap;

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
}

/// One denied action.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// `PutSecretValue`, `secretsmanager:PutSecretValue` or `*`.
    pub action: String,
    /// Secrets whose name starts with this; empty for all.
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
        let user = user_arn(&call.access_key);
        let text = format!(
            "User: {user} is not authorized to perform: secretsmanager:{action} on resource: {resource} \
             with an explicit deny in an identity-based policy"
        );
        Err(AwsError::new("AccessDeniedException", text))
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

/// The account's default key, as a setting names it.
pub const DEFAULT_KEY: &str = "alias/aws/secretsmanager";

/// Who the holder of an access key is.
pub fn user_arn(access_key: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:user/{access_key}")
}
