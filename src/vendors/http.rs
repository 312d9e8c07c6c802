//! The one HTTP client for all vendors: what may be sent where, how often, and what a lost answer
//! means. Knows no vendor; a driver builds a [`Request`], sends it over its [`Line`] and reads the
//! [`Answer`].
//!
//! | promise | how |
//! |---|---|
//! | secrets go nowhere else | no redirects; https unless the host is a loopback address, which no proxy ever sees |
//! | one effect, one request | reqwest's own resending is off; [`Effect`] says whether we may repeat |
//! | nothing is endless | time, answer size, tries, waits and calls in flight are all in [`Limits`] |
//! | nothing foreign is printed | faults hold a status, a checked word and a checked request id only |

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Certificate, ClientBuilder, Method, Url};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::model::fault::{Class, Fault};
use crate::model::secret::SecretValue;
use crate::model::transport::{Transport, Unanswered};
use crate::model::unreached::Unreached;

pub use answer::{Answer, checked_id, checked_word};
pub use around::{Sealed, lock, prepared};
pub use endpoint::Endpoint;

mod answer;
mod around;
mod endpoint;
#[cfg(test)]
pub(crate) mod responder;

const HINT_CERTIFICATES: &str =
    "install the system's CA certificates (package ca-certificates), or set SSL_CERT_FILE to a PEM bundle";

/// How long, how much, how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// To resolve, connect and shake hands.
    pub connect_timeout: Duration,
    /// From the first byte sent to the last one read.
    pub total_timeout: Duration,
    /// How long an unused connection is kept.
    pub pool_idle: Duration,
    /// Largest answer read, in bytes; reading stops there.
    pub body_bytes_max: usize,
    /// Most sends of one repeatable request.
    pub tries_max: u32,
    /// Upper end of the first random wait between tries; it doubles with each.
    pub backoff_first: Duration,
    /// Where the doubling ends.
    pub backoff_max: Duration,
    /// Longest `Retry-After` waited out here; a longer one is passed on with the fault.
    pub retry_after_max: Duration,
    /// Most calls at once per vendor instance.
    pub in_flight_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(20),
            pool_idle: Duration::from_secs(60),
            body_bytes_max: 1 << 20,
            tries_max: 4,
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            retry_after_max: Duration::from_secs(120),
            in_flight_max: 8,
        }
    }
}

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

/// What goes into a request's body.
enum Body {
    None,
    Json(serde_json::Value),
    Form(Vec<(&'static str, String)>),
}

/// One request, ready to be sent.
pub struct Request {
    doing: String,
    method: Method,
    url: Url,
    effect: Effect,
    headers: Vec<(&'static str, String)>,
    authorization: Option<HeaderValue>,
    body: Body,
}

impl Request {
    /// A request. `doing` says what is being tried and for whom (lower case, no full stop, no
    /// secret); it opens every fault.
    pub fn new(doing: impl Into<String>, method: Method, url: Url, effect: Effect) -> Self {
        let (headers, authorization, body) = (Vec::new(), None, Body::None);
        Self { doing: doing.into(), method, url, effect, headers, authorization, body }
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
        self.body = Body::Form(pairs);
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

/// Shared client; cloning is free and shares the connections.
#[derive(Clone)]
pub struct Client {
    // Made when something needs it: reading the system's CA certificates costs milliseconds and
    // megabytes, and on a bare machine there may be none.
    outside: Arc<OnceLock<reqwest::Client>>,
    certificates: Arc<[Certificate]>,
    // Plain http to this machine only. Apart, because a proxy from the environment must never see it.
    loopback: reqwest::Client,
    limits: Limits,
    /// Where requests go instead of the network.
    over: Option<Arc<dyn Transport>>,
}

impl Client {
    /// Opens the client: certificates of the system (or of `SSL_CERT_FILE`) and those in the PEM
    /// file `ca_file`, proxy from the environment. The system's certificates are read when the first
    /// https address is prepared or called.
    ///
    /// # Errors
    /// `Rejected` when `ca_file` can't be read.
    pub fn open(ca_file: Option<&Path>) -> Result<Self, Fault> {
        Self::with_limits(ca_file, Limits::default())
    }

    /// As [`Client::open`], with other limits.
    ///
    /// # Errors
    /// As there.
    pub fn with_limits(ca_file: Option<&Path>, limits: Limits) -> Result<Self, Fault> {
        let certificates = certificates(ca_file)?.into();
        let loopback = built(common(limits).no_proxy().tls_certs_only([]))?;
        Ok(Self { outside: Arc::default(), certificates, loopback, limits, over: None })
    }

    /// The same client, whose requests go where `over` takes them, and not to the network.
    #[must_use]
    pub fn over(mut self, over: Option<Arc<dyn Transport>>) -> Self {
        self.over = over;
        self
    }

    /// Where its requests go instead of the network.
    pub fn transport(&self) -> Option<&Arc<dyn Transport>> {
        self.over.as_ref()
    }

    /// Makes everything ready for calls to `base`, so that missing CA certificates show at the start
    /// and not at the first call.
    ///
    /// # Errors
    /// `Rejected` when `base` is https and there are no CA certificates.
    pub fn prepare(&self, base: &Endpoint) -> Result<(), Fault> {
        self.to(&base.url()).map(drop)
    }

    /// The client for calls to this address.
    fn to(&self, url: &Url) -> Result<&reqwest::Client, Fault> {
        if url.scheme() == "http" {
            return Ok(&self.loopback);
        }
        if let Some(outside) = self.outside.get() {
            return Ok(outside);
        }
        let outside = built(common(self.limits).tls_certs_merge(self.certificates.iter().cloned()))?;
        Ok(self.outside.get_or_init(|| outside))
    }

    /// For tests: without the system's certificates, whose loading takes longer than a test.
    #[cfg(test)]
    pub(crate) fn loopback_only(limits: Limits) -> Self {
        let loopback = common(limits).no_proxy().tls_certs_only([]).build().expect("no certificates are needed");
        Self { outside: Arc::new(loopback.clone().into()), certificates: Arc::default(), loopback, limits, over: None }
    }

    /// A way of its own through this client, for one vendor instance: its calls are paced together.
    pub fn line(&self) -> Line {
        Line { client: self.clone(), permits: Semaphore::new(self.limits.in_flight_max) }
    }

    async fn send(&self, request: &Request) -> Result<Answer, Fault> {
        let mut call = self
            .to(&request.url)?
            .request(request.method.clone(), request.url.clone())
            .header(ACCEPT, "application/json");
        for (name, value) in &request.headers {
            call = call.header(*name, value);
        }
        if let Some(value) = &request.authorization {
            call = call.header(AUTHORIZATION, value.clone());
        }
        call = match &request.body {
            Body::None => call,
            Body::Json(body) => call.json(body),
            Body::Form(pairs) => call.form(pairs),
        };
        if let Some(over) = &self.over {
            return self.hand_over(over.as_ref(), request, call).await;
        }
        match call.send().await {
            Ok(response) => Ok(Answer::read(response, self.limits.body_bytes_max).await),
            Err(error) => Err(self.unanswered(request, &error)),
        }
    }

    /// The same without a socket, under the same time limit.
    async fn hand_over(
        &self,
        over: &dyn Transport,
        request: &Request,
        call: reqwest::RequestBuilder,
    ) -> Result<Answer, Fault> {
        let built = call.build().map_err(|error| self.unanswered(request, &error))?;
        let mut whole = http::Request::new(built.body().and_then(|body| body.as_bytes()).unwrap_or_default().to_vec());
        *whole.method_mut() = built.method().clone();
        *whole.uri_mut() = built.url().as_str().parse().expect("a URL that was parsed is a URI");
        *whole.headers_mut() = built.headers().clone();
        let (class, answer) =
            match tokio::time::timeout(self.limits.total_timeout, over.exchange(whole.map(Into::into))).await {
                Ok(Ok(response)) => return Ok(Answer::read(response.into(), self.limits.body_bytes_max).await),
                Ok(Err(Unanswered::Unsent)) => (Class::Retry { after: None }, Unanswered::Unsent.to_string()),
                Ok(Err(Unanswered::Lost)) => (lost(request.effect), Unanswered::Lost.to_string()),
                Err(_) => (lost(request.effect), self.no_answer()),
            };
        Err(Fault::new(class, &request.doing, answer))
    }

    fn no_answer(&self) -> String {
        format!("no answer within {} ms", self.limits.total_timeout.as_millis())
    }

    /// No answer at all: the class depends on whether a byte of the request can have left.
    fn unanswered(&self, request: &Request, error: &reqwest::Error) -> Fault {
        let class = match request.effect {
            _ if error.is_builder() => Class::Rejected,
            _ if error.is_connect() => Class::Retry { after: None },
            effect => lost(effect),
        };
        let (answer, hint) = self.transport_failure(error);
        let fault = Fault::new(class, &request.doing, answer);
        match hint {
            Some(hint) => fault.with_hint(hint),
            None => fault,
        }
    }

    fn transport_failure(&self, error: &reqwest::Error) -> (String, Option<&'static str>) {
        if error.is_builder() {
            return ("the request could not be built".into(), None);
        }
        if let Some(cause) = Unreached::of(error) {
            return (cause.answer.into(), cause.hint);
        }
        if error.is_timeout() {
            let text = if error.is_connect() {
                format!("no connection within {} ms", self.limits.connect_timeout.as_millis())
            } else {
                self.no_answer()
            };
            return (text, None);
        }
        let text = if error.is_connect() { "no connection" } else { "the connection ended before an answer" };
        (text.into(), None)
    }
}

/// One vendor instance's way through the shared client.
pub struct Line {
    client: Client,
    permits: Semaphore,
}

impl Line {
    /// Sends `request`: once, or as often as its [`Effect`] and the limits allow, with full jitter
    /// between the tries and no shorter than `Retry-After` asks. Any HTTP answer that stands at the
    /// end is `Ok`, whatever its status.
    ///
    /// # Errors
    /// No answer: `Retry` when nothing can have been applied, `InDoubt` when it can.
    pub async fn send(&self, request: &Request) -> Result<Answer, Fault> {
        let limits = self.client.limits;
        let mut tries = 1;
        loop {
            let outcome = {
                let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
                self.client.send(request).await
            };
            let told = match &outcome {
                Ok(answer) if !answer.is_passing_trouble() => return outcome,
                Ok(answer) => answer.retry_after(),
                Err(fault) if fault.heals_by_itself() => None,
                Err(_) => return outcome,
            };
            let long = told.is_some_and(|wait| wait > limits.retry_after_max);
            if request.effect == Effect::Once || tries >= limits.tries_max || long {
                return outcome;
            }
            let ceiling = limits.backoff_first.saturating_mul(1 << (tries - 1).min(16)).min(limits.backoff_max);
            let jitter = ceiling.mul_f64(fastrand::f64());
            tokio::time::sleep(jitter.max(told.unwrap_or_default())).await;
            tries += 1;
        }
    }
}

/// What an answer that never came leaves behind.
fn lost(effect: Effect) -> Class {
    match effect {
        Effect::Nothing => Class::Retry { after: None },
        Effect::Idempotent | Effect::Once => Class::InDoubt,
    }
}

fn common(limits: Limits) -> ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("keyferry/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(limits.connect_timeout)
        .timeout(limits.total_timeout)
        .pool_idle_timeout(limits.pool_idle)
}

fn certificates(ca_file: Option<&Path>) -> Result<Vec<Certificate>, Fault> {
    let Some(path) = ca_file else { return Ok(Vec::new()) };
    let refuse = |answer: String| {
        Fault::new(Class::Rejected, format!("reading CA certificates from {}", path.display()), answer)
    };
    let pem = std::fs::read(path).map_err(|error| refuse(error.kind().to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|_| refuse("not a PEM bundle".into()))?;
    if found.is_empty() { Err(refuse("no certificate in it".into())) } else { Ok(found) }
}

fn built(builder: ClientBuilder) -> Result<reqwest::Client, Fault> {
    builder.build().map_err(|error| {
        Fault::new(Class::Rejected, "setting up TLS for the vendors", build_failure(&error))
            .with_hint(HINT_CERTIFICATES)
    })
}

fn build_failure(error: &reqwest::Error) -> &'static str {
    let text = causes(error).last().map(ToString::to_string).unwrap_or_default();
    if text.contains("No CA certificates") { "no CA certificates were found on this system" } else { "it failed" }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests;
