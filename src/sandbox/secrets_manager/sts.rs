//! The Security Token Service (STS API reference): who a key belongs to, and roles to take on.
//!
//! Any role of the account can be assumed unless a `deny` rule of the settings names the action
//! `sts:AssumeRole` (its `secret_prefix` is then the beginning of the role's ARN). A session's keys
//! work at the Secrets Manager until they expire, in the time of the key that asked for them. A web
//! identity's token is whatever text the caller has: `expired` and `invalid` are refused as such.
//!
//! Not here: policies of sessions, tags, SAML, other accounts, regional differences.

use std::collections::BTreeMap;
use std::time::Duration;

use super::auth::{Caller, Signed};
use super::errors::AwsError;
use super::settings::{self, ACCOUNT, Settings};
use super::state;
use crate::model::time::Timestamp;

/// Every session's key id begins with this.
const KEY_PREFIX: &str = "ASIASANDBOX";
/// The shortest and longest session, and how long one lasts when nothing is said.
const DURATION_SECONDS: (u64, u64, u64) = (900, 43_200, 3_600);
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// A role that somebody took on for a while.
struct Session {
    arn: String,
    /// The key whose time it lives in.
    base_key: String,
    token: String,
    ends: Timestamp,
}

/// The sessions of the account, by their key ids.
#[derive(Default)]
pub(super) struct Sessions(BTreeMap<String, Session>);

impl Sessions {
    /// The key whose time `key` lives in: itself, unless it is a session's.
    pub(super) fn base_of(&self, key: &str) -> String {
        self.0.get(key).map_or(key, |session| &session.base_key).to_owned()
    }

    /// Whether a key is known and still good.
    ///
    /// # Errors
    /// What AWS says of a session's key that it does not know, or not any more.
    pub(super) fn check(&self, key: &str, token: &str, now: Timestamp, service: Signed) -> Result<(), AwsError> {
        if !key.starts_with(KEY_PREFIX) {
            return Ok(());
        }
        let (unknown, expired) = match service {
            Signed::SecretsManager => ("UnrecognizedClientException", "ExpiredTokenException"),
            Signed::Sts => ("InvalidClientTokenId", "ExpiredToken"),
        };
        match self.0.get(key).filter(|session| session.token == token) {
            None => Err(AwsError::new(unknown, "The security token included in the request is invalid.")),
            Some(session) if session.ends <= now => {
                Err(AwsError::new(expired, "The security token included in the request is expired"))
            }
            Some(_) => Ok(()),
        }
        .map_err(|error| error.with_status(service.refusal_status()))
    }

    /// Who holds a key.
    fn arn(&self, key: &str) -> String {
        self.0.get(key).map_or_else(|| settings::user_arn(key), |session| session.arn.clone())
    }

    /// Does one call of a caller whose signature is good; `None` for one that needs no signature.
    pub(super) fn perform(
        &mut self,
        form: &Form,
        caller: Option<&Caller>,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<String, AwsError> {
        match (form.get("Action"), caller) {
            ("GetCallerIdentity", Some(caller)) => Ok(self.identity(caller)),
            ("AssumeRole", Some(caller)) => self.assume(form, &caller.access_key, settings, now),
            (WEB_IDENTITY, _) => match form.get("WebIdentityToken") {
                "expired" => Err(AwsError::new(
                    "ExpiredTokenException",
                    "Token expired: current date/time must be before the expiration date/time",
                )),
                "" | "invalid" => Err(AwsError::new(
                    "InvalidIdentityToken",
                    "Couldn't retrieve verification key from your identity provider",
                )),
                _ => self.assume(form, super::auth::SANDBOX_KEY, settings, now),
            },
            (other, _) => {
                let text = format!("Could not find operation {other} for version 2011-06-15");
                Err(AwsError::new("InvalidAction", text))
            }
        }
    }

    fn identity(&self, caller: &Caller) -> String {
        let user = format!("AIDASANDBOX{:012X}", state::digest(&caller.access_key) >> 16);
        let arn = escaped(&self.arn(&caller.access_key));
        result("GetCallerIdentity", &format!("<Arn>{arn}</Arn><UserId>{user}</UserId><Account>{ACCOUNT}</Account>"))
    }

    fn assume(&mut self, form: &Form, key: &str, settings: &Settings, now: Timestamp) -> Result<String, AwsError> {
        let invalid = |text: &str| AwsError::new("ValidationError", text);
        let (role, session) = (form.get("RoleArn"), form.get("RoleSessionName"));
        let own = format!("arn:aws:iam::{ACCOUNT}:role/");
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte));
        if !(2..=64).contains(&session.len()) || !plain(session) {
            return Err(invalid(
                "1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint",
            ));
        }
        let (shortest, longest, usual) = DURATION_SECONDS;
        let seconds = match form.get("DurationSeconds") {
            "" => usual,
            text => text.parse().ok().filter(|seconds| (shortest..=longest).contains(seconds)).ok_or_else(|| {
                invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
            })?,
        };
        let denied = settings.deny.iter().any(|rule| {
            rule.action == "sts:AssumeRole"
                && role.starts_with(&rule.secret_prefix)
                && rule.access_key.as_ref().is_none_or(|denied| denied == key)
        });
        let Some(name) = role.strip_prefix(&own).filter(|name| !name.is_empty() && !denied) else {
            let text = format!(
                "User: {} is not authorized to perform: sts:{} on resource: {role}",
                self.arn(key),
                form.get("Action"),
            );
            return Err(AwsError::new("AccessDenied", text).with_status(403));
        };
        let (number, name) = (self.0.len() + 1, name.rsplit('/').next().unwrap_or(name));
        let id = format!("{KEY_PREFIX}{number:09}");
        let made = Session {
            arn: format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}"),
            base_key: self.base_of(key),
            token: format!("session-token-{number}-{:016x}", state::digest(&id)),
            ends: now.plus(Duration::from_secs(seconds)),
        };
        let body = format!(
            "<AssumedRoleUser><AssumedRoleId>AROASANDBOX{number:010}:{session}</AssumedRoleId><Arn>{}</Arn>\
             </AssumedRoleUser><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>secret-of-{id}\
             </SecretAccessKey><SessionToken>{}</SessionToken><Expiration>{}</Expiration></Credentials>",
            escaped(&made.arn),
            made.token,
            made.ends,
        );
        self.0.insert(id, made);
        Ok(result(form.get("Action"), &body))
    }
}

/// The action that is not signed.
pub(super) const WEB_IDENTITY: &str = "AssumeRoleWithWebIdentity";

/// The fields of a request.
pub(super) struct Form(BTreeMap<String, String>);

impl Form {
    pub(super) fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let url = reqwest::Url::parse(&format!("http://sts/?{text}"));
        Self(url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default())
    }

    /// A field; empty when it is missing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

fn result(action: &str, body: &str) -> String {
    format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{body}</{action}Result><ResponseMetadata><RequestId>\
         00000000-0000-4000-8000-000000000000</RequestId></ResponseMetadata></{action}Response>"
    )
}

/// A refusal's body.
pub(super) fn error_body(error: &AwsError, request_id: &str) -> String {
    let kind = if error.status >= 500 { "Receiver" } else { "Sender" };
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{kind}</Type><Code>{}</Code><Message>{}</Message></Error>\
         <RequestId>{request_id}</RequestId></ErrorResponse>",
        escaped(&error.code),
        escaped(&error.message),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
