//! One exchange: over the network, or over what a simulation puts in its place. Which failure
//! leaves what behind is decided here.

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::{Certificate, ClientBuilder, Url};

use super::answer::Answer;
use super::endpoint::Endpoint;
use super::limits::Limits;
use super::request::{Body, Request};
use crate::model::fault::{Class, Fault};
use crate::model::transport::{Transport, Unanswered};
use crate::model::unreached::Unreached;

const HINT_CERTIFICATES: &str =
    "install the system's CA certificates (package ca-certificates), or set SSL_CERT_FILE to a PEM bundle";

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

    /// Its limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// One exchange: sent at most once.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, Fault> {
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
                Ok(Err(Unanswered::Lost)) => (request.effect.lost(), Unanswered::Lost.to_string()),
                Err(_) => (request.effect.lost(), self.no_answer()),
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
            effect => effect.lost(),
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
