//! An HTTP answer, read to a limit, and what it means when it is not the one hoped for.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::hidden::Hidden;
use super::request::{Effect, Request};
use crate::model::fault::{Class, Fault};
use crate::model::time::Timestamp;

/// A longer `Retry-After` is nonsense (a date in another century): ask again after this.
const RETRY_AFTER_TOLD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How much of the body arrived.
enum Content {
    Whole(Zeroizing<Vec<u8>>),
    TooLarge { bytes_max: usize },
    BrokeOff,
    RepeatsASecret,
}

/// One answer. Its body may hold a secret: it is wiped when dropped and never printed.
pub struct Answer {
    status: u16,
    date: Option<Timestamp>,
    retry_after: Option<Duration>,
    request: Option<String>,
    html: bool,
    content: Content,
    hidden: Hidden,
}

impl Answer {
    /// Reads an answer, at most `bytes_max` of its body.
    pub(super) async fn read(mut response: Response, bytes_max: usize) -> Self {
        let headers = response.headers();
        let date = text(headers, DATE.as_str()).and_then(Timestamp::parse_http_date);
        let retry_after = text(headers, RETRY_AFTER.as_str()).and_then(|value| wait_of(value, date));
        let request = ["x-request-id", "request-id"].iter().find_map(|name| checked_id(text(headers, name)?));
        let html = text(headers, CONTENT_TYPE.as_str()).is_some_and(|value| value.starts_with("text/html"));
        let status = response.status().as_u16();
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
        let content = loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() > bytes_max => break Content::TooLarge { bytes_max },
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break Content::Whole(bytes),
                Err(_) => break Content::BrokeOff,
            }
        };
        Self { status, date, retry_after, request, html, content, hidden: Hidden::default() }
    }

    /// The same answer, from which nothing is shown that repeats a secret that was sent. A body that
    /// does so outside of the fields that are there for one is not used at all.
    pub(super) fn hiding(mut self, hidden: &Hidden) -> Self {
        self.hidden = hidden.clone();
        self.request = self.request.filter(|id| hidden.permits(id));
        if self.json::<serde_json::Value>().is_some_and(|body| hidden.is_repeated_in(&body)) {
            self.content = Content::RepeatsASecret;
        }
        self
    }

    /// A checked id of the other side that may be shown.
    pub fn shown_id(&self, text: &str) -> Option<String> {
        checked_id(text).filter(|id| self.hidden.permits(id))
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is 2xx. That is no proof of anything yet: see [`Answer::proof`].
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The other side's own date of the answer.
    pub fn date(&self) -> Option<Timestamp> {
        self.date
    }

    /// How long it asks us to wait, at most a day.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The body as JSON; `None` when it is anything else (empty, HTML, cut off, too large, nested
    /// over 128 levels, other fields or types than `T` has).
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        match &self.content {
            Content::Whole(bytes) => serde_json::from_slice(bytes).ok(),
            Content::TooLarge { .. } | Content::BrokeOff | Content::RepeatsASecret => None,
        }
    }

    /// Whether the whole answer has no body.
    pub fn is_empty(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    /// The body of an answer that proves its effect: one of the documented `statuses`, the fields
    /// that `T` needs, and no error told beside them. 202 only says that it was asked for, 203 and
    /// 206 come from something in between.
    pub fn proof<T: DeserializeOwned>(&self, statuses: &[u16]) -> Option<T> {
        (statuses.contains(&self.status) && !self.tells_an_error()).then(|| self.json())?
    }

    /// Whether the body is an object with an error in it, whatever the status says.
    fn tells_an_error(&self) -> bool {
        self.json::<serde_json::Value>().is_some_and(|body| body.get("error").is_some_and(|error| !error.is_null()))
    }

    /// The fault that this answer is where it neither does nor refuses what was asked in the
    /// vendor's own words: an undocumented status, a page of something in front of the vendor, a
    /// body that is about something else. `wanted` says what would have been an answer.
    pub fn unproved(&self, request: &Request, wanted: &str) -> Fault {
        let class = self.unclear(request.effect());
        let said = format!("answered {} with {}, which proves nothing; {wanted}", self.status, self.content_in_words());
        Fault::new(class, request.doing(), said).with_request(self.request.clone())
    }

    /// The error code in a JSON error body: `error` (RFC 6749 section 5.2) or `code`, if it is a
    /// plain word.
    pub fn error_word(&self) -> Option<String> {
        self.field(&["error", "code"], checked_word)
    }

    /// Whether the same request may do better soon: 408, 429, 5xx, or a body that broke off.
    pub(super) fn is_passing_trouble(&self) -> bool {
        let cut = self.is_success() && matches!(self.content, Content::BrokeOff);
        cut || matches!(self.status, 408 | 429 | 500..=599)
    }

    /// The fault that this answer is: for a status other than 2xx, or for a 2xx whose content was
    /// not what `request` needs.
    pub fn fault(&self, request: &Request) -> Fault {
        let said = if self.is_success() && !matches!(self.status, 200 | 201 | 204) {
            format!("answered {}, which is not documented for this call", self.status)
        } else if self.is_success() {
            format!("answered {} with {}", self.status, self.content_in_words())
        } else if (300..400).contains(&self.status) {
            format!("answered {}, a redirect, which is never followed", self.status)
        } else {
            format!("answered {}", self.status)
        };
        let request_id = self.request.clone().or_else(|| self.field(&["request_id", "requestId"], checked_id));
        let fault = Fault::new(self.class(request.effect()), request.doing(), said).with_request(request_id);
        match self.error_word() {
            Some(word) if !self.is_success() => fault.with_code(word),
            _ => fault,
        }
    }

    fn unclear(&self, effect: Effect) -> Class {
        match effect {
            Effect::Nothing => Class::Retry { after: self.retry_after },
            Effect::Idempotent | Effect::Once => Class::InDoubt,
        }
    }

    fn class(&self, effect: Effect) -> Class {
        let unclear = self.unclear(effect);
        match self.status {
            // Sent to us before anything was looked at; and a throttle says so by its meaning.
            429 => Class::Retry { after: self.retry_after },
            401 | 403 | 407 => Class::Denied,
            // Something in front of the vendor has its own 404.
            404 if self.json::<serde_json::Map<String, serde_json::Value>>().is_some() => Class::Gone,
            400 | 402 | 405 | 406 | 409 | 411..=417 | 422 | 431 => Class::Rejected,
            300..=399 if effect == Effect::Nothing => Class::Rejected,
            // 2xx with other content, a page with status 404, 408, 5xx and whatever has no agreed meaning.
            _ => unclear,
        }
    }

    fn content_in_words(&self) -> String {
        match &self.content {
            Content::TooLarge { bytes_max } => format!("a body over {bytes_max} bytes"),
            Content::BrokeOff => "a body that broke off".into(),
            Content::RepeatsASecret => "a body that repeats a secret that was sent".into(),
            Content::Whole(bytes) if bytes.is_empty() => "an empty body".into(),
            Content::Whole(_) if self.html => "an HTML page".into(),
            Content::Whole(_) if self.tells_an_error() => "an error in its body".into(),
            Content::Whole(_) => "a body that is not the expected JSON".into(),
        }
    }

    fn field(&self, names: &[&str], check: fn(&str) -> Option<String>) -> Option<String> {
        let body: serde_json::Value = self.json()?;
        let found = names.iter().find_map(|name| check(body.get(name)?.as_str()?))?;
        self.hidden.permits(&found).then_some(found)
    }
}

/// A word of the other side that may be shown: `[a-z0-9_]{1,64}`, nothing else.
pub fn checked_word(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    ((1..=64).contains(&text.len()) && text.chars().all(plain)).then(|| text.to_owned())
}

/// An id of the other side that may be shown: `[A-Za-z0-9_.:-]{1,128}`, nothing else.
pub fn checked_id(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    ((1..=128).contains(&text.len()) && text.chars().all(plain)).then(|| text.to_owned())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date, which is read against the answer's
/// own date because this machine's clock decides nothing.
fn wait_of(value: &str, date: Option<Timestamp>) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        Timestamp::parse_http_date(value)?.since(date?)
    };
    Some(wait.min(RETRY_AFTER_TOLD_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_against_the_answers_own() {
        let date = Timestamp::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT");
        let day = 24 * 60 * 60;
        for (value, date, seconds) in [
            ("7", date, Some(7)),
            (" 0 ", None, Some(0)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", date, Some(10)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", date, Some(0)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", date, Some(day)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", None, None),
            ("99999999999999999999999", date, Some(day)),
            ("-1", date, None),
            ("1.5", date, None),
            ("soon", date, None),
            ("", date, None),
        ] {
            assert_eq!(wait_of(value, date), seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn only_plain_words_and_ids_of_the_other_side_are_shown() {
        assert_eq!(checked_word("invalid_client").as_deref(), Some("invalid_client"));
        for bad in ["", "Bad Request", "a\nb", "ü", &"x".repeat(65)] {
            assert_eq!(checked_word(bad), None, "{bad:?}");
        }
        assert_eq!(checked_id("req_01:A-b.c").as_deref(), Some("req_01:A-b.c"));
        for bad in ["", "a b", "<script>", "\u{1b}[31m", &"x".repeat(129)] {
            assert_eq!(checked_id(bad), None, "{bad:?}");
        }
    }
}
