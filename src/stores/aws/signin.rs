//! Why keyferry could not sign in to AWS: which provider of credentials, which role, which file, and
//! STS's own code. The SDK's sentences are looked into but never passed on.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::call::{Call, chain, is_code, throttles};
use super::keys::OddKey;
use super::role::NotGiven;
use super::wire::Unsent;
use crate::model::fault::{Class, Fault};
use crate::model::unreached::Unreached;

/// The fault of a call that could not be signed. `variable` reads the environment.
pub(super) fn no_credentials(
    call: &Call,
    cause: &CredentialsError,
    variable: impl Fn(&str) -> Option<String>,
) -> Fault {
    if let Some(odd) = find::<OddKey>(cause) {
        return call.fault(Class::Denied, odd.to_string()).with_hint(OddKey::HINT);
    }
    if let Some(refused) = refused_by_sts(call, cause, &variable) {
        return refused;
    }
    if let Some(inner) = chain(cause).skip(1).find_map(|error| error.downcast_ref::<CredentialsError>()) {
        // Such as: no keys to take on the role with.
        let fault = no_credentials(call, inner, variable);
        return match find::<NotGiven>(cause) {
            Some(not_given) => {
                Fault { answer: format!("{} to take on the role {}", fault.answer, not_given.role), ..fault }
            }
            None => fault,
        };
    }
    without_sts(call, cause, variable)
}

fn find<T: Error + 'static>(cause: &CredentialsError) -> Option<&T> {
    chain(cause).find_map(|error| error.downcast_ref::<T>())
}

fn filled(variable: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    variable(name).filter(|value| !value.is_empty())
}

/// What STS answered when a role was asked for: the declared one, a profile's, or a web identity's.
fn refused_by_sts(call: &Call, cause: &CredentialsError, variable: impl Fn(&str) -> Option<String>) -> Option<Fault> {
    let role = |error: &SdkError<AssumeRoleError, HttpResponse>| error.code().map(str::to_owned);
    let web = |error: &SdkError<AssumeRoleWithWebIdentityError, HttpResponse>| error.code().map(str::to_owned);
    let by_role = find::<SdkError<AssumeRoleError, HttpResponse>>(cause).and_then(role);
    let by_web = find::<SdkError<AssumeRoleWithWebIdentityError, HttpResponse>>(cause).and_then(web);
    let is_web = by_web.is_some();
    let code = by_role.or(by_web).filter(|code| is_code(code))?;
    let role = match find::<NotGiven>(cause) {
        Some(declared) => format!("the role {}", declared.role),
        None => match filled(&variable, "AWS_ROLE_ARN").filter(|arn| is_web && plain(arn)) {
            Some(arn) => format!("the role {arn}"),
            None => "the role that the AWS profile names".to_owned(),
        },
    };
    let doing = if is_web { "with the web identity token" } else { "with the credentials that it signed with" };
    let file = filled(&variable, "AWS_WEB_IDENTITY_TOKEN_FILE").filter(|file| plain(file));
    let file = file.map_or_else(|| "the token file".to_owned(), |file| format!("the token file {file}"));
    let denied = |answer: String, hint: String| call.fault(Class::Denied, answer).with_hint(hint);
    let fault = if throttles(&code) {
        call.fault(Class::Retry { after: None }, format!("STS is throttled, so {role} could not be taken on"))
    } else if is_web && code.starts_with("ExpiredToken") {
        denied(
            format!("the web identity token for {role} has expired"),
            format!("whatever writes {file} has stopped renewing it: look at it there"),
        )
    } else if is_web {
        denied(
            format!("STS does not give {role} {doing}"),
            format!("check {file}, the identity provider in IAM, and the role's trust policy (audience and subject)"),
        )
    } else if code.starts_with("ExpiredToken") {
        denied(
            format!("the session that {role} is taken on from has expired"),
            "sign in again, or renew the session token".into(),
        )
    } else if code.starts_with("AccessDenied") {
        denied(
            format!("STS does not give {role} {doing}"),
            "allow sts:AssumeRole on it to who signs, and who signs in its trust policy; compare `external_id`".into(),
        )
    } else {
        denied(
            format!("STS refuses to give {role}"),
            "check the role's ARN, and the credentials it is taken on with".into(),
        )
    };
    Some(fault.with_code(code))
}

/// Whatever is wrong before STS is asked.
fn without_sts(call: &Call, cause: &CredentialsError, variable: impl Fn(&str) -> Option<String>) -> Fault {
    let says = |words: &str| chain(cause).any(|error| error.to_string().contains(words));
    let denied = |answer: &str| call.fault(Class::Denied, answer);
    if says("cargo feature") {
        return denied("the AWS profile needs a way to sign in that is not built in")
            .with_hint("build keyferry with `--features sso`, or use keys, a role or a web identity");
    }
    if let Some(file) = unread_token(cause, &variable) {
        return file_fault(call, cause, &file);
    }
    if let (true, Some(profile)) = (says("was not defined"), filled(&variable, "AWS_PROFILE")) {
        let file =
            |name, usual: &str| filled(&variable, name).unwrap_or_else(|| usual.into()).escape_debug().to_string();
        let config = file("AWS_CONFIG_FILE", "~/.aws/config");
        let keys = file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials");
        let answer = format!("no AWS credentials found: there is no AWS profile `{}`", profile.escape_debug());
        return denied(&answer).with_hint(format!("the AWS files are {config} and {keys}; {}", looked_at(variable)));
    }
    let transient = find::<Unsent>(cause).is_some() || matches!(cause, CredentialsError::ProviderTimedOut(_));
    // The chain ends with instance metadata; that it fails says that nothing before it had any.
    let at_the_end = says("IMDS");
    match cause {
        CredentialsError::CredentialsNotLoaded(_) => denied("no AWS credentials found").with_hint(looked_at(variable)),
        CredentialsError::ProviderError(_) if at_the_end && !transient => {
            denied("no AWS credentials found, and instance metadata refuses to give any").with_hint(looked_at(variable))
        }
        CredentialsError::InvalidConfiguration(_) => denied("the configuration of the AWS credentials is not valid")
            .with_hint("check the profile files and the AWS_* environment variables"),
        _ if find::<Unsent>(cause).is_some() => {
            let unreached = Unreached::of(cause);
            let why = unreached.map_or_else(String::new, |unreached| format!(": {}", unreached.answer));
            let hint = unreached.and_then(|unreached| unreached.hint).map_or_else(|| looked_at(variable), Into::into);
            let answer = format!("no AWS credentials: what gives them could not be reached{why}");
            call.fault(Class::Retry { after: None }, answer).with_hint(hint)
        }
        _ if transient => {
            call.fault(Class::Retry { after: None }, "no AWS credentials in time").with_hint(looked_at(variable))
        }
        _ => denied("the provider of AWS credentials failed")
            .with_hint("check the role, its trust policy and the session it is assumed from"),
    }
}

/// The web identity's file, where it is what could not be read.
fn unread_token(cause: &CredentialsError, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let io = matches!(cause, CredentialsError::ProviderError(_)) && find::<std::io::Error>(cause).is_some();
    let connecting = find::<Unsent>(cause).is_some();
    filled(variable, "AWS_WEB_IDENTITY_TOKEN_FILE").filter(|_| io && !connecting)
}

fn file_fault(call: &Call, cause: &CredentialsError, file: &str) -> Fault {
    let kind = find::<std::io::Error>(cause).map(|error| error.kind().to_string()).unwrap_or_default();
    let answer = format!("can't read the web identity token file {}: {kind}", file.escape_debug());
    call.fault(Class::Denied, answer)
        .with_hint("AWS_WEB_IDENTITY_TOKEN_FILE names it; on Kubernetes check the service account and its volume")
}

/// What may stand in a message as it is.
fn plain(text: &str) -> bool {
    text.len() <= 300 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Where credentials were looked for, in the chain's order, and what to do. Names only: of the
/// variables just a profile's name is repeated.
fn looked_at(variable: impl Fn(&str) -> Option<String>) -> String {
    let set = |name: &str| if variable(name).is_some_and(|value| !value.is_empty()) { "set" } else { "not set" };
    let profile = variable("AWS_PROFILE").filter(|name| !name.is_empty()).unwrap_or_else(|| "default".into());
    let metadata = match variable("AWS_EC2_METADATA_DISABLED") {
        Some(off) if off.eq_ignore_ascii_case("true") => "switched off by AWS_EC2_METADATA_DISABLED",
        _ => "no role there, or not reachable",
    };
    format!(
        "looked at AWS_ACCESS_KEY_ID ({}), profile `{profile}` in the AWS files, AWS_WEB_IDENTITY_TOKEN_FILE ({}), the \
         container's AWS_CONTAINER_CREDENTIALS_… ({}), instance metadata ({metadata}); provide one of them",
        set("AWS_ACCESS_KEY_ID"),
        set("AWS_WEB_IDENTITY_TOKEN_FILE"),
        match (set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), set("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            ("not set", "not set") => "not set",
            _ => "set",
        },
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn what_was_looked_at_is_told_without_a_value() {
        let hint = looked_at(|name| match name {
            "AWS_PROFILE" => Some("prod".into()),
            "AWS_ACCESS_KEY_ID" | "AWS_CONTAINER_CREDENTIALS_FULL_URI" => Some("kfcanary".into()),
            _ => None,
        });
        for words in ["AWS_ACCESS_KEY_ID (set)", "profile `prod`", "TOKEN_FILE (not set)", "CREDENTIALS_… (set)"] {
            assert!(hint.contains(words), "{words}: {hint}");
        }
        assert!(!hint.contains("kfcanary"));
        assert!(looked_at(|_| Some("TRUE".into())).contains("switched off"));
    }

    #[test]
    fn missing_credentials_are_denied_late_ones_are_not() {
        let call = Call::write("x", "trying");
        let missing = no_credentials(&call, &CredentialsError::not_loaded("no providers in chain"), none);
        assert_eq!(missing.class, Class::Denied);
        let sso = no_credentials(
            &call,
            &CredentialsError::invalid_configuration("This behavior requires following cargo feature(s) enabled: sso"),
            none,
        );
        assert!(sso.class == Class::Denied && sso.hint.unwrap().contains("--features sso"));
        let late = no_credentials(&call, &CredentialsError::provider_timed_out(Duration::from_secs(5)), none);
        assert_eq!(late.class, Class::Retry { after: None });
        assert!(late.surely_not_applied());
    }
}
