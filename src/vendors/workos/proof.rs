//! What a login at the AuthKit domain says about a secret: good, bad, or that nothing tells.
//!
//! ```text
//!   a machine's application    token endpoint: a token, or `invalid_client`
//!   any other                  introspection with the secret, and with a made-up one
//!                                accepted + refused  = good
//!                                refused             = bad
//!                                accepted + accepted = nothing tells
//!   no AuthKit domain          nothing tells
//! ```
//!
//! A made-up secret is sent rarely, because repeated failures may look like an attack; and a secret
//! that is being retired is never sent at all, because that would count as its use.

use std::time::Duration;

use reqwest::Method;

use super::super::http::{Answer, Effect, Endpoint, Request};
use super::{Spot, Verdict, WorkOs, lock, wire};
use crate::model::capability::Proof;
use crate::model::fault::{Class, Fault};
use crate::model::name::Invalid;
use crate::model::payload::Outputs;
use crate::model::secret::SecretValue;

/// How long what introspection said to a made-up secret is believed.
const PROBE_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Length of a made-up secret: that of the vendor's own example.
const MADE_UP_LENGTH: usize = 64;
/// A token that nobody ever issued.
const MADE_UP_TOKEN: &str = "keyferry-asks-about-the-client-not-about-this-token";

/// What an AuthKit domain says about itself.
#[derive(Clone)]
pub(super) struct Domain {
    pub issuer: String,
    pub token_endpoint: Endpoint,
    introspection_endpoint: Option<Endpoint>,
}

/// What introspection said to a made-up secret, and when.
#[derive(Clone, Copy)]
pub(super) struct Probe {
    refused: bool,
    at: Duration,
}

/// What introspection said.
enum Told {
    Accepted,
    Refused,
}

impl WorkOs {
    /// Whether a login will tell a good secret from a bad one here.
    pub(super) async fn proof(&self, spot: &Spot<'_>) -> Result<Proof, Fault> {
        let Some(domain) = &spot.domain else { return Ok(Proof::Impossible) };
        let application = self.application(spot).await?;
        let known = self.domain(spot, domain).await?;
        if application.machine {
            return Ok(Proof::Login);
        }
        let tells = match &known.introspection_endpoint {
            Some(endpoint) => self.refuses_nonsense(spot, domain, endpoint, &application.client_id).await?,
            None => false,
        };
        Ok(if tells { Proof::Login } else { Proof::Impossible })
    }

    pub(super) async fn log_in(&self, spot: &Spot<'_>, outputs: &Outputs) -> Result<Verdict, Fault> {
        let doing = format!("logging in with a candidate {}", spot.at);
        let piece = |name: &str| {
            let found = outputs.get(name).filter(|value| !value.is_empty());
            found.ok_or_else(|| Fault::new(Class::Rejected, &doing, format!("the stored value has no `{name}`")))
        };
        let (client_id, secret) = (piece("client_id")?, piece("client_secret")?);
        let Some(domain) = &spot.domain else {
            return Ok(Verdict::CannotTell { answer: "no `authkit_domain` is declared to log in at".into() });
        };
        let application = self.application(spot).await?;
        let known = self.domain(spot, domain).await?;
        if application.machine
            && let Some(verdict) = self.grant(spot, &doing, &known, &client_id, &secret).await?
        {
            return Ok(verdict);
        }
        let Some(endpoint) = &known.introspection_endpoint else {
            return Ok(Verdict::CannotTell { answer: "the AuthKit domain has no introspection endpoint".into() });
        };
        match self.introspect(spot, &doing, endpoint, client_id.expose(), &secret).await? {
            Told::Refused => Ok(Verdict::Bad { answer: "invalid_client".into() }),
            Told::Accepted if self.refuses_nonsense(spot, domain, endpoint, client_id.expose()).await? => {
                Ok(Verdict::Good)
            }
            Told::Accepted => {
                Ok(Verdict::CannotTell { answer: "introspection answers a made-up secret in the same way".into() })
            }
        }
    }

    /// A machine's login; `None` where the vendor says that the application is no machine's.
    async fn grant(
        &self,
        spot: &Spot<'_>,
        doing: &str,
        domain: &Domain,
        client_id: &SecretValue,
        secret: &SecretValue,
    ) -> Result<Option<Verdict>, Fault> {
        let form = vec![
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", client_id.expose().to_owned()),
            ("client_secret", secret.expose().to_owned()),
        ];
        let request = Request::new(doing, Method::POST, domain.token_endpoint.url(), Effect::Nothing).form(form);
        let answer = self.line.send(&request).await?;
        if answer.proof::<wire::Granted>(&[200]).is_some_and(|granted| granted.is_granted()) {
            return Ok(Some(Verdict::Good));
        }
        match said(&answer).as_deref() {
            Some("invalid_client") if !is_stranger(&answer) => {
                Ok(Some(Verdict::Bad { answer: "invalid_client".into() }))
            }
            Some("unauthorized_client") => Ok(None),
            _ => Err(self.unclear(spot, &request, &answer)),
        }
    }

    async fn introspect(
        &self,
        spot: &Spot<'_>,
        doing: &str,
        endpoint: &Endpoint,
        client_id: &str,
        secret: &SecretValue,
    ) -> Result<Told, Fault> {
        let form = vec![
            ("client_id", client_id.to_owned()),
            ("client_secret", secret.expose().to_owned()),
            ("token", MADE_UP_TOKEN.to_owned()),
        ];
        let request = Request::new(doing, Method::POST, endpoint.url(), Effect::Nothing).form(form);
        let answer = self.line.send(&request).await?;
        if answer.proof::<wire::Introspected>(&[200]).is_some() {
            return Ok(Told::Accepted);
        }
        match said(&answer).as_deref() {
            Some("invalid_client") if !is_stranger(&answer) => Ok(Told::Refused),
            _ => Err(self.unclear(spot, &request, &answer)),
        }
    }

    /// Whether introspection refuses a made-up secret of this client.
    async fn refuses_nonsense(
        &self,
        spot: &Spot<'_>,
        domain: &str,
        endpoint: &Endpoint,
        client_id: &str,
    ) -> Result<bool, Fault> {
        let key = (domain.to_owned(), client_id.to_owned());
        let now = self.clock.monotonic();
        let known = lock(&self.probes).get(&key).copied();
        if let Some(probe) = known.filter(|probe| now.saturating_sub(probe.at) < PROBE_LIFE) {
            return Ok(probe.refused);
        }
        let doing = format!("asking whether introspection tells a made-up secret {}", spot.at);
        let made_up: String = (0..MADE_UP_LENGTH).map(|_| fastrand::digit(16)).collect();
        let told = self.introspect(spot, &doing, endpoint, client_id, &SecretValue::new(made_up)).await?;
        let probe = Probe { refused: matches!(told, Told::Refused), at: now };
        lock(&self.probes).insert(key, probe);
        Ok(probe.refused)
    }

    /// An answer of the AuthKit domain that says nothing about the secret.
    fn unclear(&self, spot: &Spot<'_>, request: &Request, answer: &Answer) -> Fault {
        let mut fault = answer.fault(request);
        if is_stranger(answer) {
            fault.class = Class::Rejected;
            return fault.with_hint(
                "the AuthKit domain does not know this client: check that `authkit_domain` and `api_key` belong to the \
                 same environment",
            );
        }
        if said(answer).as_deref() == Some("invalid_scope") {
            fault.class = Class::Rejected;
            return fault.with_hint("check the scopes of the application at WorkOS; none was asked for");
        }
        if matches!(answer.status(), 300..=399 | 404 | 405 | 410) {
            fault.class = Class::Rejected;
            return fault.with_hint(hint_domain(spot));
        }
        fault.class = Class::Retry { after: answer.retry_after() };
        fault.with_hint("this says nothing about the credential; it is tried again")
    }

    /// What the domain says about itself, kept for the life of the process.
    pub(super) async fn domain(&self, spot: &Spot<'_>, text: &str) -> Result<Domain, Fault> {
        if let Some(domain) = lock(&self.domains).get(text) {
            return Ok(domain.clone());
        }
        let doing = format!("looking at AuthKit domain {text} {}", spot.at);
        let unusable = |invalid: Invalid, what: &str| {
            Fault::new(Class::Rejected, &doing, format!("{what} is not accepted: expected {invalid}"))
                .with_hint(hint_domain(spot))
        };
        let address = Endpoint::parse(text).map_err(|invalid| unusable(invalid, "`authkit_domain`"))?;
        let url = address.at(&[".well-known", "openid-configuration"]).expect("fixed segments are valid");
        let request = Request::new(&doing, Method::GET, url, Effect::Nothing);
        let answer = self.line.send(&request).await?;
        let found: Option<wire::Discovery> = answer.proof(&[200]);
        let Some(found) = found else {
            let mut fault = answer.fault(&request);
            if matches!(fault.class, Class::Gone | Class::Denied) || answer.status() == 404 {
                fault.class = Class::Rejected;
            }
            return Err(fault.with_hint(hint_domain(spot)));
        };
        let endpoint = |what: &str, text: &str| {
            trusted(&address, text).map_err(|invalid| unusable(invalid, &format!("its {what}")))
        };
        let domain = Domain {
            token_endpoint: endpoint("token endpoint", &found.token_endpoint)?,
            introspection_endpoint: match &found.introspection_endpoint {
                Some(text) => Some(endpoint("introspection endpoint", text)?),
                None => None,
            },
            issuer: found.issuer,
        };
        lock(&self.domains).insert(text.to_owned(), domain.clone());
        Ok(domain)
    }
}

/// The word of an OAuth error; none where the status says to come back.
fn said(answer: &Answer) -> Option<String> {
    let decided = (400..500).contains(&answer.status()) && !matches!(answer.status(), 408 | 425 | 429);
    answer.error_word().filter(|_| decided)
}

/// Whether the domain says that it does not know the client at all: then it says nothing about the
/// secret.
fn is_stranger(answer: &Answer) -> bool {
    answer.json::<wire::Denied>().is_some_and(|denied| denied.error_description == "Application not found.")
}

fn hint_domain(spot: &Spot<'_>) -> String {
    let domain = spot.domain.as_deref().unwrap_or_default();
    format!("check `authkit_domain` ({domain}): the WorkOS dashboard shows the right one under Domains")
}

/// Checks an address that a domain names. One out there has no business sending our secrets to
/// this machine, nor to another host than its own.
fn trusted(domain: &Endpoint, text: &str) -> Result<Endpoint, Invalid> {
    let endpoint = Endpoint::parse(text)?;
    let (own, other) = (domain.url(), endpoint.url());
    let same = own.host_str() == other.host_str() && own.port_or_known_default() == other.port_or_known_default();
    if same { Ok(endpoint) } else { Err(Invalid("an address at the AuthKit domain itself")) }
}
