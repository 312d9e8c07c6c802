//! How the SDK's requests travel: through `reqwest`, so that a CA file, proxies and a cap on the
//! answer's size are ours to set, and so that "could not connect" is a type and not a text.
//!
//! Nothing is retried or redirected here. Loopback and link-local hosts (the sandbox, instance
//! metadata) are never asked for through a proxy.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use crate::model::transport::{Transport, Unanswered};

/// A page of 100 secrets with all tags, labels and descriptions at their limits is under 3 MiB.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Marks an error of a request of which surely no byte was sent.
#[derive(Debug)]
pub(super) struct Unsent(BoxError);

impl fmt::Display for Unsent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("could not connect")
    }
}

impl Error for Unsent {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

/// Marks a request that was not sent because it would travel in the clear.
#[derive(Debug)]
pub(super) struct InTheClear;

impl fmt::Display for InTheClear {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("plain http beyond this machine")
    }
}

impl Error for InTheClear {}

/// Marks an answer that was given up on because of its size.
#[derive(Debug)]
pub(super) struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an answer of more than 8 MiB")
    }
}

impl Error for TooLarge {}

/// The CA file holds something else than certificates, or nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoCertificates;

/// Makes connections; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    roots: Vec<reqwest::Certificate>,
    proxy: Option<reqwest::Proxy>,
    clients: Arc<Mutex<HashMap<Kind, reqwest::Client>>>,
    /// Where requests go instead of the network.
    over: Option<Arc<dyn Transport>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Kind {
    connect_timeout: Option<Duration>,
    direct: bool,
    /// For plain http only, and so without CA certificates: reading them costs milliseconds and
    /// megabytes.
    plain: bool,
}

impl Wire {
    /// With these CA certificates (PEM) besides the system's own, and this proxy instead of the
    /// environment's.
    ///
    /// # Errors
    /// When they are no certificates, or there is none among them.
    pub(super) fn new(ca_pem: Option<&[u8]>, proxy: Option<reqwest::Proxy>) -> Result<Self, NoCertificates> {
        let roots = match ca_pem {
            None => Vec::new(),
            Some(pem) => reqwest::Certificate::from_pem_bundle(pem).map_err(|_| NoCertificates)?,
        };
        if ca_pem.is_some() && roots.is_empty() {
            return Err(NoCertificates);
        }
        Ok(Self { roots, proxy, clients: Arc::default(), over: None })
    }

    /// The same, whose requests go where `over` takes them, and not to the network.
    pub(super) fn over(self, over: Option<Arc<dyn Transport>>) -> Self {
        Self { over, ..self }
    }

    /// Builds what the first request would build, so that missing CA certificates show at
    /// the start.
    ///
    /// # Errors
    /// When no client can be built.
    pub(super) fn prepare(&self, connect_timeout: Duration) -> Result<(), reqwest::Error> {
        self.client(Kind { connect_timeout: Some(connect_timeout), direct: false, plain: false }).map(drop)
    }

    fn client(&self, kind: Kind) -> Result<reqwest::Client, reqwest::Error> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&kind) {
            return Ok(client.clone());
        }
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .pool_idle_timeout(Duration::from_secs(60));
        builder =
            if kind.plain { builder.tls_certs_only([]) } else { builder.tls_certs_merge(self.roots.iter().cloned()) };
        if let Some(timeout) = kind.connect_timeout {
            builder = builder.connect_timeout(timeout);
        }
        if kind.direct {
            builder = builder.no_proxy();
        } else if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        let client = builder.build()?;
        clients.insert(kind, client.clone());
        Ok(client)
    }

    async fn exchange(&self, request: HttpRequest, timeout: Option<Duration>) -> Result<HttpResponse, ConnectorError> {
        let unsent = |error: BoxError| ConnectorError::io(Box::new(Unsent(error))).never_connected();
        let (parts, body) = request.try_into_http1x().map_err(|error| unsent(error.into()))?.into_parts();
        let body = body.bytes().ok_or_else(|| unsent("a request body that is not in memory".into()))?.to_vec();
        if let Some(over) = &self.over {
            return handed_over(over.as_ref(), http::Request::from_parts(parts, body.into())).await;
        }
        let request = reqwest::Request::try_from(http::Request::from_parts(parts, body))
            .map_err(|error| unsent(error.without_url().into()))?;
        let direct = request.url().host_str().is_some_and(is_near);
        // Whatever the environment says about endpoints (`AWS_ENDPOINT_URL`).
        let plain = request.url().scheme() != "https";
        if plain && !direct {
            return Err(unsent(InTheClear.into()));
        }
        let client =
            self.client(Kind { connect_timeout: timeout, direct, plain }).map_err(|error| unsent(error.into()))?;
        let mut response = client.execute(request).await.map_err(|error| {
            let error = error.without_url();
            if error.is_connect() { unsent(error.into()) } else { lost(error) }
        })?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| lost(error.without_url()))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(ConnectorError::other(TooLarge.into(), None));
            }
            body.extend_from_slice(&chunk);
        }
        let mut answer = http::Response::new(SdkBody::from(body));
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        answer
            .try_into()
            .map_err(|error: aws_smithy_runtime_api::http::HttpError| ConnectorError::other(error.into(), None))
    }
}

async fn handed_over(over: &dyn Transport, request: http::Request<Bytes>) -> Result<HttpResponse, ConnectorError> {
    let answer = over.exchange(request).await.map_err(|why| match why {
        Unanswered::Unsent => ConnectorError::io(Box::new(Unsent(why.into()))).never_connected(),
        Unanswered::Lost => ConnectorError::io(why.into()),
    })?;
    if answer.body().len() > ANSWER_BYTES_MAX {
        return Err(ConnectorError::other(TooLarge.into(), None));
    }
    answer
        .map(SdkBody::from)
        .try_into()
        .map_err(|error: aws_smithy_runtime_api::http::HttpError| ConnectorError::other(error.into(), None))
}

fn lost(error: reqwest::Error) -> ConnectorError {
    if error.is_timeout() { ConnectorError::timeout(error.into()) } else { ConnectorError::io(error.into()) }
}

/// Instance metadata over IPv6, and the agent that gives pods of EKS their credentials.
const NEAR_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)];

/// Hosts that no proxy can know: this machine and its link.
pub(super) fn is_near(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    is_loopback(host)
        || match bare.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address.is_link_local(),
            Ok(IpAddr::V6(address)) => NEAR_V6.contains(&address),
            Err(_) => false,
        }
}

/// This machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl HttpClient for Wire {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Line {
            wire: self.clone(),
            connect_timeout: settings.connect_timeout(),
            read_timeout: settings.read_timeout(),
        })
    }
}

#[derive(Clone, Debug)]
struct Line {
    wire: Wire,
    connect_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
}

impl HttpConnector for Line {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let line = self.clone();
        HttpConnectorFuture::new(async move {
            let exchange = line.wire.exchange(request, line.connect_timeout);
            match line.read_timeout {
                None => exchange.await,
                Some(limit) => {
                    let limit = limit + line.connect_timeout.unwrap_or_default();
                    match tokio::time::timeout(limit, exchange).await {
                        Ok(result) => result,
                        Err(late) => Err(ConnectorError::timeout(late.into())),
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_hosts_are_told_from_far_ones() {
        for (host, loopback, near) in [
            ("127.0.0.1", true, true),
            ("[::1]", true, true),
            ("LOCALHOST", true, true),
            ("169.254.169.254", false, true),
            ("[fd00:ec2::254]", false, true),
            ("[fd00:ec2::23]", false, true),
            ("[FD00:0ec2:0:0:0:0:0:23]", false, true),
            ("[fd00:ec2::24]", false, false),
            ("[fe80::1]", false, false),
            ("localhost.example.com", false, false),
            ("10.0.0.1", false, false),
            ("sts.amazonaws.com", false, false),
        ] {
            assert_eq!((is_loopback(host), is_near(host)), (loopback, near), "{host}");
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_in_the_clear_whoever_asks() {
        let wire = Wire::new(None, None).unwrap();
        let request = HttpRequest::get("http://secretsmanager.invalid/").unwrap();
        let error = wire.exchange(request, None).await.unwrap_err();
        let unsent = error.into_source();
        assert!(unsent.source().unwrap().is::<InTheClear>(), "{unsent:?}");
    }
}
