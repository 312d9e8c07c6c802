//! The refusals of Secrets Manager, in its own codes and words.
//!
//! `ValidationException`, `AccessDeniedException`, `ThrottlingException` and the signature errors are
//! not in the service's model; they come from the layer in front of it.

use serde_json::{Value, json};

/// One refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AwsError {
    /// The code, such as `ResourceNotFoundException`.
    pub code: String,
    /// A sentence for a person. Never holds a secret value.
    pub message: String,
    /// HTTP status: 400, or 500 for the service's own failures.
    pub status: u16,
}

impl AwsError {
    /// A refusal with HTTP status 400.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), status: 400 }
    }

    /// The same with another HTTP status.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The body in the JSON 1.1 protocol.
    pub fn body(&self) -> Value {
        json!({ "__type": self.code, "Message": self.message })
    }
}

/// No such secret.
pub fn no_secret() -> AwsError {
    AwsError::new("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

/// No value under that label.
pub fn no_value_at(stage: &str) -> AwsError {
    let text = format!("Secrets Manager can't find the specified secret value for staging label: {stage}");
    AwsError::new("ResourceNotFoundException", text)
}

/// No value under that version id.
pub fn no_value_of(version: &str) -> AwsError {
    let text = format!("Secrets Manager can't find the specified secret value for VersionId: {version}");
    AwsError::new("ResourceNotFoundException", text)
}

/// The name is taken.
pub fn name_taken(name: &str) -> AwsError {
    AwsError::new("ResourceExistsException", format!("The operation failed because the secret {name} already exists."))
}

/// The token made another version already.
pub fn token_taken(token: &str, arn: &str) -> AwsError {
    let text = format!(
        "You can't use ClientRequestToken {token} because that value is already in use for a version of secret {arn}."
    );
    AwsError::new("ResourceExistsException", text)
}

/// The token is not on the wire; the SDKs invent one, raw callers must.
pub fn no_token() -> AwsError {
    invalid_request("You must provide a ClientRequestToken value. We recommend a UUID-type value.")
}

/// The secret is scheduled for deletion.
pub fn scheduled() -> AwsError {
    invalid_request("You can't perform this operation on the secret because it was marked for deletion.")
}

/// The name belongs to a secret that is scheduled for deletion, or was force-deleted a moment ago.
pub fn name_scheduled() -> AwsError {
    invalid_request("You can't create this secret because a secret with this name is already scheduled for deletion.")
}

/// Wrong state for this call.
pub fn invalid_request(message: impl Into<String>) -> AwsError {
    AwsError::new("InvalidRequestException", message)
}

/// Wrong argument, or a lost label swap.
pub fn invalid_parameter(message: impl Into<String>) -> AwsError {
    AwsError::new("InvalidParameterException", message)
}

/// An argument that the model's own constraints refuse.
pub fn validation(message: impl Into<String>) -> AwsError {
    AwsError::new("ValidationException", message)
}

/// A quota of the secret.
pub fn limit(message: impl Into<String>) -> AwsError {
    AwsError::new("LimitExceededException", message)
}

/// A page token that this list did not give out.
pub fn bad_page_token() -> AwsError {
    AwsError::new("InvalidNextTokenException", "The NextToken value is invalid.")
}

/// The body is not what the protocol says.
pub fn serialization(message: impl Into<String>) -> AwsError {
    AwsError::new("SerializationException", message)
}

/// The service's own failure.
pub fn internal() -> AwsError {
    AwsError::new("InternalServiceError", "An error occurred on the server side.").with_status(500)
}
