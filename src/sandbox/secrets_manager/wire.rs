//! The requests as they stand in the JSON: every field optional here, so that a missing one is
//! refused in the service's words and unknown ones are ignored (API reference, request syntax).
//!
//! None of these types implements `Debug`: several hold secret values.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::errors::{self, AwsError};
use super::state::Content;

/// A key and a value.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
#[expect(missing_docs, reason = "the names are the API's own")]
pub struct Tag {
    pub key: Option<String>,
    pub value: Option<String>,
}

/// A filter of a list.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the API's own")]
pub struct Filter {
    pub key: Option<String>,
    pub values: Option<Vec<String>>,
}

/// The fields of all requests together; each operation reads its own and ignores the others, as the
/// service ignores what it does not know.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the API's own")]
pub struct Request {
    pub name: Option<String>,
    pub secret_id: Option<String>,
    pub client_request_token: Option<String>,
    pub description: Option<String>,
    pub kms_key_id: Option<String>,
    pub secret_string: Option<String>,
    pub secret_binary: Option<String>,
    pub tags: Option<Vec<Tag>>,
    pub tag_keys: Option<Vec<String>>,
    #[serde(rename = "Type")]
    pub kind: Option<String>,
    pub add_replica_regions: Option<Vec<serde_json::Value>>,
    pub version_stages: Option<Vec<String>>,
    pub version_stage: Option<String>,
    pub version_id: Option<String>,
    pub remove_from_version_id: Option<String>,
    pub move_to_version_id: Option<String>,
    pub secret_id_list: Option<Vec<String>>,
    pub filters: Option<Vec<Filter>>,
    pub max_results: Option<i64>,
    pub next_token: Option<String>,
    pub include_planned_deletion: Option<bool>,
    pub include_deprecated: Option<bool>,
    pub sort_by: Option<String>,
    pub sort_order: Option<String>,
    pub recovery_window_in_days: Option<i64>,
    pub force_delete_without_recovery: Option<bool>,
    pub resource_policy: Option<String>,
    pub block_public_policy: Option<bool>,
    pub password_length: Option<i64>,
    pub exclude_characters: Option<String>,
    pub exclude_numbers: Option<bool>,
    pub exclude_punctuation: Option<bool>,
    pub exclude_uppercase: Option<bool>,
    pub exclude_lowercase: Option<bool>,
    pub include_space: Option<bool>,
    pub require_each_included_type: Option<bool>,
}

impl Request {
    /// Reads a request body.
    ///
    /// # Errors
    /// `SerializationException` for a body that is no JSON object or has a field of the wrong type.
    pub fn read(body: &[u8]) -> Result<Self, AwsError> {
        // serde's own message may quote the offending value, which may be a secret: only the place is told.
        serde_json::from_slice(body).map_err(|error| {
            let text = format!("cannot read the request at line {} column {}", error.line(), error.column());
            errors::serialization(text)
        })
    }

    /// The value to store, if one was sent.
    ///
    /// # Errors
    /// Both kinds at once, a size out of bounds, or base64 that is none.
    pub fn content(&self) -> Result<Option<Content>, AwsError> {
        let content = match (&self.secret_string, &self.secret_binary) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(errors::invalid_parameter(
                    "You can't specify both a binary secret value and a string secret value in the same secret.",
                ));
            }
            (Some(text), None) => Content::Text(text.clone()),
            (None, Some(base64)) => {
                let bytes = STANDARD
                    .decode(base64)
                    .map_err(|_| errors::serialization("the value of SecretBinary is not base64"))?;
                Content::Bytes(bytes)
            }
        };
        let (field, size) = match &content {
            Content::Text(text) => ("secretString", text.len()),
            Content::Bytes(bytes) => ("secretBinary", bytes.len()),
        };
        super::checks::hidden_size(field, size, 1, 65_536)?;
        Ok(Some(content))
    }
}
