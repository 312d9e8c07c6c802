//! The signature of a request: its form, its scope and its date (IAM User Guide, "Signature Version 4").
//!
//! The signature's bytes are **not** verified: the sandbox takes any access key and so knows no
//! secret key to compute them with. What a wrong client gets wrong is the service, the Region and
//! above all the time, and those are checked as AWS does.

use std::time::Duration;

use chrono::NaiveDateTime;
use http::HeaderMap;

use super::errors::AwsError;
use crate::model::time::Timestamp;

/// The access key that signs in the sandbox's own (sped-up) time.
pub const SANDBOX_KEY: &str = "sandbox";

/// How long a signature lives.
pub const SKEW_MAX: Duration = Duration::from_secs(5 * 60);

/// Which service a request is signed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signed {
    /// Secrets Manager: JSON errors, status 400.
    SecretsManager,
    /// The Security Token Service: XML errors, status 403.
    Sts,
}

/// Who asks, and of which Region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The access key id.
    pub access_key: String,
    /// The Region of the credential scope.
    pub region: String,
}

/// The caller, from the `Authorization` header; `now_for` gives the time by which an access key is
/// judged, `skew_max` how far from it the signature may be.
///
/// # Errors
/// AWS's refusals of a missing, malformed, wrongly scoped or wrongly dated signature.
pub fn check(
    headers: &HeaderMap,
    service: Signed,
    skew_max: Duration,
    now_for: impl FnOnce(&str) -> Timestamp,
) -> Result<Caller, AwsError> {
    let refused = |code: &str, message: String| Err(AwsError::new(code, message).with_status(service.refusal_status()));
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(authorization) = header("authorization") else {
        return refused(service.missing_code(), "Request is missing Authentication Token".into());
    };
    let parsed = match parse(authorization) {
        Ok(parsed) => parsed,
        Err(problem) => return refused(service.incomplete_code(), problem),
    };
    for wanted in ["host", "x-amz-date"] {
        let sent = wanted == "host" || headers.contains_key(wanted);
        if sent && !parsed.signed_headers.contains(&wanted) {
            let text = format!("'{wanted}' must be a 'SignedHeader' in the AWS Authorization.");
            return refused(service.wrong_code(), text);
        }
    }
    if parsed.service != service.name() {
        let text = format!("Credential should be scoped to correct service: '{}'.", service.name());
        return refused(service.wrong_code(), text);
    }
    let date_header = header("x-amz-date");
    let signed_at = match date_header {
        Some(text) => parse_basic(text),
        None => header("date").and_then(Timestamp::parse_http_date),
    };
    let Some(signed_at) = signed_at else {
        let text = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.";
        return refused(service.incomplete_code(), text.into());
    };
    if parsed.day != signed_at.to_utc().format("%Y%m%d").to_string() {
        let text = format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{}'.",
            parsed.day,
            signed_at.to_utc().format("%Y%m%d"),
        );
        return refused(service.wrong_code(), text);
    }
    let now = now_for(parsed.access_key);
    if let Some(text) = skewed(signed_at, now, skew_max) {
        return refused(service.wrong_code(), text);
    }
    Ok(Caller { access_key: parsed.access_key.into(), region: parsed.region.into() })
}

impl Signed {
    fn name(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
            Self::Sts => "sts",
        }
    }

    /// The HTTP status of its refusals.
    pub fn refusal_status(self) -> u16 {
        match self {
            Self::SecretsManager => 400,
            Self::Sts => 403,
        }
    }

    fn missing_code(self) -> &'static str {
        match self {
            Self::SecretsManager => "MissingAuthenticationTokenException",
            Self::Sts => "MissingAuthenticationToken",
        }
    }

    fn incomplete_code(self) -> &'static str {
        match self {
            Self::SecretsManager => "IncompleteSignatureException",
            Self::Sts => "IncompleteSignature",
        }
    }

    fn wrong_code(self) -> &'static str {
        match self {
            Self::SecretsManager => "InvalidSignatureException",
            Self::Sts => "SignatureDoesNotMatch",
        }
    }
}

struct Parsed<'a> {
    access_key: &'a str,
    day: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
}

fn parse(authorization: &str) -> Result<Parsed<'_>, String> {
    let rest = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or("Authorization header must start with 'AWS4-HMAC-SHA256'.")?;
    let part = |name: &str| {
        rest.split(',')
            .filter_map(|part| part.trim().split_once('='))
            .find_map(|(key, value)| (key == name && !value.is_empty()).then_some(value))
            .ok_or_else(|| format!("Authorization header requires '{name}' parameter."))
    };
    let (credential, signed_headers, signature) = (part("Credential")?, part("SignedHeaders")?, part("Signature")?);
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("'Signature' must be 64 hexadecimal digits.".into());
    }
    let scope: Vec<&str> = credential.split('/').collect();
    let [access_key, day, region, service, "aws4_request"] = scope[..] else {
        return Err("Credential must have exactly 5 slash-delimited elements, \
                    e.g. keyid/date/region/service/term."
            .into());
    };
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !plain(access_key) || !plain(region) {
        return Err("Credential has an empty or malformed element.".into());
    }
    Ok(Parsed { access_key, day, region, service, signed_headers: signed_headers.split(';').collect() })
}

fn skewed(signed_at: Timestamp, now: Timestamp, skew_max: Duration) -> Option<String> {
    let text = |time: Timestamp| time.to_utc().format(BASIC).to_string();
    let (signed, present) = (text(signed_at), text(now));
    let minutes = skew_max.as_secs() / 60;
    let (oldest, newest) = (now.minus(skew_max), now.plus(skew_max));
    if signed_at < oldest {
        Some(format!("Signature expired: {signed} is now earlier than {} ({present} - {minutes} min.)", text(oldest)))
    } else if signed_at > newest {
        Some(format!(
            "Signature not yet current: {signed} is still later than {} ({present} + {minutes} min.)",
            text(newest)
        ))
    } else {
        None
    }
}

/// ISO 8601, basic form: `20260131T235959Z`.
const BASIC: &str = "%Y%m%dT%H%M%SZ";

fn parse_basic(text: &str) -> Option<Timestamp> {
    NaiveDateTime::parse_from_str(text, BASIC).ok().map(|date| Timestamp::from_utc(date.and_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "AWS4-HMAC-SHA256 Credential=AKID/20260131/eu-central-1/secretsmanager/aws4_request, \
                        SignedHeaders=host;x-amz-date, \
                        Signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn outcome(authorization: Option<&str>, date: Option<&str>) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        if let Some(text) = authorization {
            headers.insert("authorization", text.parse().unwrap());
        }
        if let Some(text) = date {
            headers.insert("x-amz-date", text.parse().unwrap());
        }
        let now = parse_basic("20260131T120000Z").unwrap();
        check(&headers, Signed::SecretsManager, SKEW_MAX, |_| now)
            .map(|caller| format!("{} {}", caller.access_key, caller.region))
            .map_err(|error| error.code)
    }

    #[test]
    fn a_signature_is_judged_by_form_scope_and_date() {
        let date = Some("20260131T120459Z");
        assert_eq!(outcome(Some(GOOD), date), Ok("AKID eu-central-1".into()));
        for (from, to, code) in [
            ("AWS4-HMAC-SHA256", "AWS4-ECDSA", "IncompleteSignatureException"),
            ("/aws4_request", "", "IncompleteSignatureException"),
            ("AKID", "", "IncompleteSignatureException"),
            ("Signature=0", "Signature=", "IncompleteSignatureException"),
            ("SignedHeaders=host;x-amz-date", "x=y", "IncompleteSignatureException"),
            ("host;x-amz-date", "host", "InvalidSignatureException"),
            ("host;x-amz-date", "x-amz-date", "InvalidSignatureException"),
            ("secretsmanager", "s3", "InvalidSignatureException"),
            ("20260131", "20260130", "InvalidSignatureException"),
        ] {
            assert_eq!(outcome(Some(&GOOD.replace(from, to)), date), Err(code.into()), "{from} -> {to}");
        }
        assert_eq!(outcome(None, date), Err("MissingAuthenticationTokenException".into()));
        assert_eq!(outcome(Some(GOOD), None), Err("IncompleteSignatureException".into()));
    }

    #[test]
    fn a_date_may_be_five_minutes_off_and_not_more() {
        let now = parse_basic("20260131T120000Z").unwrap();
        for (date, starts) in [
            ("20260131T115500Z", None),
            ("20260131T120500Z", None),
            ("20260131T115459Z", Some("Signature expired: 20260131T115459Z is now earlier than 20260131T115500Z")),
            ("20260131T120501Z", Some("Signature not yet current: 20260131T120501Z is still later than")),
        ] {
            let found = skewed(parse_basic(date).unwrap(), now, SKEW_MAX);
            assert_eq!(found.is_some(), starts.is_some(), "{date}");
            assert!(found.unwrap_or_default().starts_with(starts.unwrap_or_default()), "{date}");
        }
    }
}
