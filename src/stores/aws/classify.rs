//! From what the SDK and AWS answered to a [`Fault`]: by modelled error and by the unmodelled code
//! (both are `code()`), by HTTP status, and by how far the request got.
//!
//! AWS's own sentences are looked into but never passed on: a validation error quotes the value
//! that it refuses, and that may be a secret.
//!
//! | what came back | read | write |
//! |---|---|---|
//! | throttled, no connection, credentials not delivered in time | retry | retry |
//! | signature too old or too new | retry | retry: surely not applied, and AWS's date is known now |
//! | signature of a look too old | | taken: look again |
//! | access denied, unknown or expired key, wrong signature, no credentials | denied | denied |
//! | name, version id or label is somebody else's | taken | taken |
//! | no such secret, version or label | gone | gone |
//! | wrong state, argument, quota, KMS key | rejected | rejected |
//! | internal error, 5xx, timeout, reset, an answer that can't be read | retry | **in doubt** |

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::call::{Call, THROTTLING, chain, is_code, throttles};
use super::signin::no_credentials;
use super::signing::Seen;
use super::wire::{InTheClear, TooLarge, Unsent};
use crate::model::fault::{Class, Fault, Hindrance};
use crate::model::unreached::Unreached;

/// Codes of a signature that is too old or too new, whatever its text says.
const SKEWED: &[&str] = &["RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"];

/// Codes of callers that AWS does not know or does not let (common errors of AWS's APIs).
const DENIED: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnauthorizedException",
    "UnrecognizedClientException",
];

/// The answer to a write that was decided too long ago.
pub(super) const LATE: &str = "the call came too late: AWS does not take a signature of the moment it was decided at";
/// The answer to a signature that AWS does not take for its date.
pub(super) const SKEW: &str = "the signature is older or newer than AWS takes";

const HINT_KEY: &str = "enable the secret's KMS key, or cancel its deletion; it must exist in this Region";

/// The service's own failures, which say nothing about what was done.
const INTERNAL: &[&str] =
    &["InternalError", "InternalFailure", "InternalServiceError", "ServiceUnavailable", "ServiceUnavailableException"];

/// Whether AWS refused the call because of its signature's age: then it says by its own clock that
/// ours is wrong, or that the call is old.
pub(super) fn refuses_signature<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: ProvideErrorMetadata,
{
    let SdkError::ServiceError(service) = error else { return false };
    let meta = service.err().meta();
    is_skewed(meta.code().unwrap_or_default(), meta.message().unwrap_or_default())
}

pub(super) fn classify<E>(call: &Call, seen: &Seen, error: &SdkError<E, HttpResponse>) -> Fault
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            by_code(call, seen, status, error.code(), error.message().unwrap_or_default())
        }
        SdkError::ResponseError(_) => call.lost(seen, "an answer that can't be read"),
        SdkError::TimeoutError(_) if seen.sent_at.is_some() => call.lost(seen, "no answer in time"),
        SdkError::TimeoutError(_) => call.fault(Class::Retry { after: None }, "no time left to send it"),
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(error) => by_transport(call, seen, error, failure.is_timeout()),
            None => call.lost(seen, "the connection failed"),
        },
        // Our own mistake (or no region, no endpoint): nothing was sent.
        SdkError::ConstructionFailure(_) if chain(error).any(|cause| cause.to_string().contains("FIPS and custom")) => {
            call.fault(Class::Rejected, "FIPS endpoints and an endpoint of one's own exclude each other")
                .with_hint("unset AWS_USE_FIPS_ENDPOINT, or name the FIPS endpoint itself as `endpoint_url`")
        }
        SdkError::ConstructionFailure(_) => call
            .fault(Class::Rejected, "the request can't be built")
            .with_hint("check the Region, `endpoint_url`, and the AWS_ENDPOINT_URL… and AWS_USE_… variables"),
        _ if seen.sent_at.is_some() => call.lost(seen, "an unknown kind of failure"),
        _ => call.fault(Class::Retry { after: None }, "an unknown kind of failure before sending"),
    }
}

fn by_code(call: &Call, seen: &Seen, status: u16, code: Option<&str>, message: &str) -> Fault {
    let Some(code) = code.filter(|code| is_code(code)) else {
        let fault = match status {
            429 => call.fault(Class::Retry { after: seen.retry_after }, THROTTLING),
            _ => call.lost(seen, "an answer that AWS would not give"),
        };
        return fault.with_code(format!("HTTP {status}")).with_request(seen.request.clone());
    };
    let fault = if throttles(code) {
        call.fault(Class::Retry { after: seen.retry_after }, THROTTLING)
    } else if INTERNAL.contains(&code) || status >= 500 {
        call.lost(seen, "AWS had an internal failure")
    } else if is_skewed(code, message) {
        match call.looked && message.contains("Signature expired") {
            true => call.fault(Class::Taken, LATE),
            false => call.fault(Class::Retry { after: None }, SKEW).with_hint("compare this host's clock with AWS's"),
        }
    } else if DENIED.contains(&code) {
        denied(call, code, message)
    } else {
        refused(call, code, message)
    };
    fault.with_code(code).with_request(seen.request.clone())
}

fn is_skewed(code: &str, message: &str) -> bool {
    SKEWED.contains(&code)
        || matches!(code, "InvalidSignatureException" | "SignatureDoesNotMatch")
            && (message.contains("Signature expired") || message.contains("Signature not yet current"))
}

fn denied(call: &Call, code: &str, message: &str) -> Fault {
    let action = call.action;
    if code.starts_with("AccessDenied") && message.contains("KMS") {
        let hint = "allow kms:Decrypt and kms:GenerateDataKey on the secret's key, in this role's policy or the key's";
        return call
            .fault(Class::Denied, "access to the KMS key is denied")
            .with_hint(hint)
            .with_hindrance(Hindrance::KeyDenied);
    }
    if code.starts_with("AccessDenied") || code == "NotAuthorized" || code == "UnauthorizedException" {
        return call.fault(Class::Denied, "access denied").with_hint(format!(
            "allow {action} to this principal (`keyferry plan` says which); the README has the whole policy"
        ));
    }
    if code.starts_with("ExpiredToken") {
        return call
            .fault(Class::Denied, "the session has expired")
            .with_hint("sign in again, or renew the session token");
    }
    call.fault(Class::Denied, "AWS does not accept the credentials")
        .with_hint("check the access key, its Region and the role that is used")
}

fn refused(call: &Call, code: &str, message: &str) -> Fault {
    let rejected = |answer: &str| call.fault(Class::Rejected, answer);
    match code {
        "ResourceExistsException" => call.fault(Class::Taken, "somebody else was first"),
        "ResourceNotFoundException" => call.fault(Class::Gone, "not found"),
        // Only the compare-and-swap of a label can fail this way: its other arguments are ours.
        "InvalidParameterException" if call.action == "secretsmanager:UpdateSecretVersionStage" => {
            call.fault(Class::Taken, "the label is not where it was")
        }
        "InvalidRequestException" if message.contains("not associated to the provided VersionId") => {
            call.fault(Class::Gone, "the version does not have that label")
        }
        "InvalidRequestException" if message.contains("deletion") => rejected("the secret is scheduled for deletion")
            .with_hint("restore it, or wait until it is gone; a name stays taken until then")
            .with_hindrance(Hindrance::ScheduledForDeletion),
        "InvalidRequestException" => rejected("the secret's state does not allow it"),
        // A page token that is not known any more: list again from the start.
        "InvalidNextTokenException" => call.fault(Class::Retry { after: None }, "the page token is not known"),
        "LimitExceededException" => rejected("a quota of Secrets Manager is reached")
            .with_hint("versions and labels of one secret and secrets of one account are limited: delete what nobody uses, or ask AWS for more"),
        "EncryptionFailure" => {
            rejected("the KMS key can't encrypt").with_hint(HINT_KEY).with_hindrance(Hindrance::KeyUnusable)
        }
        "DecryptionFailure" => {
            rejected("the KMS key can't decrypt").with_hint(HINT_KEY).with_hindrance(Hindrance::KeyUnusable)
        }
        "MalformedPolicyDocumentException" => rejected("the policy document is malformed"),
        "ValidationException" | "InvalidParameterException" => rejected("an argument is not valid"),
        _ => rejected("refused"),
    }
}

fn by_transport(call: &Call, seen: &Seen, error: &(dyn Error + 'static), timeout: bool) -> Fault {
    if let Some(cause) = chain(error).find_map(|error| error.downcast_ref::<CredentialsError>()) {
        return no_credentials(call, cause, |name| std::env::var(name).ok());
    }
    if chain(error).any(|error| error.is::<InTheClear>()) {
        return call
            .fault(Class::Rejected, "the endpoint is plain http beyond this machine")
            .with_hint("see AWS_ENDPOINT_URL in the environment and `endpoint_url` in the profile");
    }
    let not_sent = seen.sent_at.is_none() || chain(error).any(|error| error.is::<Unsent>());
    if not_sent {
        let io = chain(error).find_map(|error| error.downcast_ref::<std::io::Error>());
        let cause = Unreached::of(error);
        let answer = match (cause, io) {
            (Some(cause), _) => format!("could not connect: {}", cause.answer),
            (None, Some(io)) if timeout => format!("could not connect in time ({})", io.kind()),
            (None, Some(io)) => format!("could not connect ({})", io.kind()),
            (None, None) => "could not connect".to_owned(),
        };
        let hint = "check the network, the endpoint, proxies and CA certificates (`SSL_CERT_FILE`)";
        let hint = cause.and_then(|cause| cause.hint).unwrap_or(hint);
        return call.fault(Class::Retry { after: None }, answer).with_hint(hint);
    }
    if chain(error).any(|error| error.is::<TooLarge>()) {
        return call.lost(seen, "an answer of more than 8 MiB");
    }
    call.lost(seen, if timeout { "no answer in time" } else { "the connection broke before the answer" })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::call::Effect;
    use super::*;

    fn class(action: &'static str, effect: Effect, status: u16, code: Option<&str>, message: &str) -> Fault {
        let call = Call { action, effect, doing: "trying".into(), looked: false };
        let seen = Seen { sent_at: Some(Duration::ZERO), retry_after: Some(Duration::from_secs(7)), ..Seen::default() };
        by_code(&call, &seen, status, code, message)
    }

    #[test]
    fn every_code_has_one_class_for_reads_and_one_for_writes() {
        const PUT: &str = "secretsmanager:PutSecretValue";
        const MOVE: &str = "secretsmanager:UpdateSecretVersionStage";
        let retry = Class::Retry { after: None };
        let told = Class::Retry { after: Some(Duration::from_secs(7)) };
        let unread = "VersionStage that is not associated to the provided VersionId.";
        for (action, status, code, message, read, write) in [
            (PUT, 400, Some("ThrottlingException"), "Rate exceeded", told, told),
            (PUT, 503, Some("SlowDown"), "", told, told),
            (PUT, 429, None, "", told, told),
            (PUT, 400, Some("InvalidSignatureException"), "Signature expired: 2020 is now earlier", retry, retry),
            (PUT, 403, Some("SignatureDoesNotMatch"), "Signature not yet current: 2020", retry, retry),
            (PUT, 400, Some("RequestTimeTooSkewed"), "", retry, retry),
            (PUT, 400, Some("InvalidSignatureException"), "does not match", Class::Denied, Class::Denied),
            (PUT, 400, Some("AccessDeniedException"), "not authorized", Class::Denied, Class::Denied),
            (PUT, 400, Some("UnrecognizedClientException"), "", Class::Denied, Class::Denied),
            (PUT, 400, Some("ExpiredTokenException"), "", Class::Denied, Class::Denied),
            (PUT, 403, Some("ExpiredToken"), "", Class::Denied, Class::Denied),
            (PUT, 400, Some("ResourceExistsException"), "", Class::Taken, Class::Taken),
            (MOVE, 400, Some("InvalidParameterException"), "", Class::Taken, Class::Taken),
            (PUT, 400, Some("InvalidParameterException"), "", Class::Rejected, Class::Rejected),
            (PUT, 400, Some("ResourceNotFoundException"), "", Class::Gone, Class::Gone),
            (PUT, 400, Some("InvalidRequestException"), "marked for deletion", Class::Rejected, Class::Rejected),
            (PUT, 400, Some("InvalidRequestException"), "managed", Class::Rejected, Class::Rejected),
            (PUT, 400, Some("InvalidRequestException"), unread, Class::Gone, Class::Gone),
            (PUT, 400, Some("InvalidNextTokenException"), "", retry, retry),
            (PUT, 400, Some("LimitExceededException"), "", Class::Rejected, Class::Rejected),
            (PUT, 400, Some("EncryptionFailure"), "", Class::Rejected, Class::Rejected),
            (PUT, 400, Some("DecryptionFailure"), "", Class::Rejected, Class::Rejected),
            (PUT, 400, Some("ValidationException"), "", Class::Rejected, Class::Rejected),
            (PUT, 400, Some("MalformedPolicyDocumentException"), "", Class::Rejected, Class::Rejected),
            (PUT, 400, Some("PreconditionNotMetException"), "", Class::Rejected, Class::Rejected),
            (PUT, 400, Some("BrandNewException"), "", Class::Rejected, Class::Rejected),
            (PUT, 500, Some("InternalServiceError"), "", told, Class::InDoubt),
            (PUT, 503, Some("ServiceUnavailable"), "", told, Class::InDoubt),
            (PUT, 500, Some("BrandNewFailure"), "", told, Class::InDoubt),
            (PUT, 502, None, "", told, Class::InDoubt),
            (PUT, 302, None, "", told, Class::InDoubt),
            (PUT, 403, None, "", told, Class::InDoubt),
            (PUT, 400, Some("a code\r\nwith more"), "", told, Class::InDoubt),
        ] {
            assert_eq!(class(action, Effect::Read, status, code, message).class, read, "read {code:?} {message}");
            assert_eq!(class(action, Effect::Write, status, code, message).class, write, "write {code:?} {message}");
        }
    }

    #[test]
    fn what_aws_quotes_is_never_passed_on_and_hints_stand_apart() {
        let quoting = "1 validation error: Value 'hunter2' at 'secretString' failed";
        let fault = class("secretsmanager:PutSecretValue", Effect::Write, 400, Some("ValidationException"), quoting);
        assert!(!format!("{fault:?}").contains("hunter2"));
        for (code, hindrance) in [
            ("DecryptionFailure", Some(Hindrance::KeyUnusable)),
            ("EncryptionFailure", Some(Hindrance::KeyUnusable)),
            ("ResourceNotFoundException", None),
        ] {
            assert_eq!(class("x", Effect::Read, 400, Some(code), "").hindrance, hindrance, "{code}");
        }
        let deleted =
            class("x", Effect::Read, 400, Some("InvalidRequestException"), "because it was marked for deletion.");
        assert_eq!(deleted.hindrance, Some(Hindrance::ScheduledForDeletion));
        let kms = class("x", Effect::Write, 400, Some("AccessDeniedException"), "Access to KMS is not allowed");
        assert_eq!(kms.to_string(), "trying: access to the KMS key is denied (AccessDeniedException)");
        assert_eq!(kms.hindrance, Some(Hindrance::KeyDenied));
        assert!(kms.hint.unwrap().contains("kms:Decrypt"));
    }
}
