//! What is sent: one request, the secrets in it, and what sending it twice would do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use reqwest::{Method, Url};
use zeroize::Zeroizing;

use super::hidden::Hidden;
use crate::model::fault::Class;
use crate::model::secret::SecretValue;

/// The field of an OAuth form that holds a secret.
const FORM_SECRET: &str = "client_secret";

/// What a request does to the other side, which decides how often it may be sent and what a lost
/// answer means.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Effect {
    /// Changes nothing: repeated on trouble, and a lost answer leaves nothing in doubt.
    Nothing,
    /// Changes something, and twice is as good as once (a delete by id): repeated on trouble, in
    /// doubt when the last answer is lost.
    Idempotent,
    /// Must not happen twice (a create): sent once, in doubt when the answer is lost.
    Once,
}

impl Effect {
    /// What an answer that never came leaves behind.
    pub(super) fn lost(self) -> Class {
        match self {
            Self::Nothing => Class::Retry { after: None },
            Self::Idempotent | Self::Once => Class::InDoubt,
        }
    }
}

/// What goes into a request's body.
pub(super) enum Body {
    None,
    Json(serde_json::Value),
    Form(Vec<(&'static str, String)>),
}

/// One request, ready to be sent.
pub struct Request {
    pub(super) doing: String,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) effect: Effect,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) body: Body,
    pub(super) hidden: Hidden,
}

impl Request {
    /// A request. `doing` says what is being tried and for whom (lower case, no full stop, no
    /// secret); it opens every fault.
    pub fn new(doing: impl Into<String>, method: Method, url: Url, effect: Effect) -> Self {
        let (headers, authorization, body) = (Vec::new(), None, Body::None);
        let hidden = Hidden::default();
        Self { doing: doing.into(), method, url, effect, headers, authorization, body, hidden }
    }

    /// With one more query parameter; escaped here.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// With a header of our own making (no secrets, no text from outside).
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With an `Authorization` header made by [`basic`] or [`bearer`]; replaces an earlier one.
    #[must_use]
    pub fn authorization(mut self, value: HeaderValue) -> Self {
        self.hidden.add_authorization(&value);
        self.authorization = Some(value);
        self
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: serde_json::Value) -> Self {
        self.body = Body::Json(body);
        self
    }

    /// With a form as body (`application/x-www-form-urlencoded`).
    #[must_use]
    pub fn form(mut self, pairs: Vec<(&'static str, String)>) -> Self {
        for (_, value) in pairs.iter().filter(|(name, _)| *name == FORM_SECRET) {
            self.hidden.add(value);
        }
        self.body = Body::Form(pairs);
        self
    }

    /// With a secret in its body that no answer may get printed.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "what is sent must be known, so that it is not shown")]
    pub fn hiding(mut self, secret: &SecretValue) -> Self {
        self.hidden.add(secret.expose());
        self
    }

    /// What is being tried.
    pub fn doing(&self) -> &str {
        &self.doing
    }

    /// What it does to the other side.
    pub fn effect(&self) -> Effect {
        self.effect
    }
}

/// The `Authorization` header of RFC 7617 for an id without colon. Both go in as they are: the
/// form encoding that RFC 6749 section 2.3.1 asks for is not what vendors' own clients send.
#[expect(clippy::disallowed_methods, reason = "the pair goes into the request's header")]
pub fn basic(id: &SecretValue, secret: &SecretValue) -> HeaderValue {
    let pair = Zeroizing::new(format!("{}:{}", id.expose(), secret.expose()));
    let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair)));
    let mut value = HeaderValue::from_str(&text).expect("base64 is valid in a header");
    value.set_sensitive(true);
    value
}

/// The `Authorization` header of RFC 6750; `None` when the token has characters that no header may
/// hold.
#[expect(clippy::disallowed_methods, reason = "the token goes into the request's header")]
pub fn bearer(token: &SecretValue) -> Option<HeaderValue> {
    let text = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value =
        token.expose().bytes().all(|byte| byte.is_ascii_graphic()).then(|| HeaderValue::from_str(&text))?.ok()?;
    value.set_sensitive(true);
    Some(value)
}
