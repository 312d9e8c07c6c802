//! From a declared target to a connected [`Store`]: Region, credentials, timeouts, and whose
//! account it is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::StalledStreamProtectionConfig;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use super::call::Call;
use super::keys::Checked;
use super::pacing::{Counted, Pacer, Pacing};
use super::role::{Role, session_name};
use super::time::AwsTime;
use super::wire::{NoCertificates, Wire, is_loopback};
use super::{Inner, Store};
use crate::files::{self, Content};
use crate::model::fault::{Class, Fault};
use crate::model::name::TargetName;
use crate::model::time::Clock;
use crate::model::transport::Transport;

/// Longest bundle of CA certificates, in bytes.
const CA_BYTES_MAX: u64 = 16 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3_100);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Finding the Region may ask instance metadata, which is slow where there is none.
const CONFIGURE_TIMEOUT: Duration = Duration::from_secs(15);
/// Both print secrets at trace level: the first request bodies (`aws-sigv4`), the second answers
/// (`aws-smithy-runtime`).
const LEAKY_VARIABLES: [&str; 2] = ["LOG_SIGNABLE_BODY", "LOG_SENSITIVE_BODIES"];

/// One declared AWS target: an account and Region, and how to get there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its name in the declaration.
    pub name: TargetName,
    /// Its Region; `None` to take it from the environment, the profile or instance metadata.
    pub region: Option<String>,
    /// The account that it must be, 12 digits; checked by [`Store::identity`].
    pub account: Option<String>,
    /// The role to take on first.
    pub assume_role: Option<AssumeRole>,
    /// Where Secrets Manager is, instead of where the SDK's own rules find it (environment, profile,
    /// FIPS, dual-stack); plain `http` only on loopback.
    pub endpoint_url: Option<String>,
    /// Whether that is an emulator elsewhere, which may be spoken to in the clear: with keys that open nothing.
    pub allow_http: bool,
    /// Where the Security Token Service is, likewise: for the account's number and for `assume_role`.
    pub sts_endpoint_url: Option<String>,
    /// Where the caller's own credentials come from.
    pub credentials: Credentials,
    /// An HTTP proxy for its calls; `None` for what the environment says. Never used for this
    /// machine and its link.
    pub proxy: Option<String>,
    /// CA certificates (PEM) besides the system's own.
    pub ca_file: Option<PathBuf>,
    /// How fast it is asked.
    pub pacing: Pacing,
}

impl Target {
    /// Whether it lies on this machine, so that nothing asked of it can reach a real account.
    pub fn is_loopback(&self) -> bool {
        let url = self.endpoint_url.as_deref().and_then(|text| reqwest::Url::parse(text).ok());
        url.is_some_and(|url| url.host_str().is_some_and(is_loopback))
    }
}

/// A role to take on before anything else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AssumeRole {
    /// Its ARN.
    pub arn: String,
    /// What its trust policy may ask for.
    pub external_id: Option<String>,
}

impl AssumeRole {
    /// The account that its ARN names.
    fn account(&self) -> Option<String> {
        self.arn.split(':').nth(4).map(str::to_owned)
    }
}

/// Where the caller's credentials come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Credentials {
    /// The SDK's chain: environment, profile files, web identity, container, instance metadata.
    Chain,
    /// The sandbox's fixed key id `sandbox`; reads neither environment nor files.
    Sandbox,
}

/// Whom AWS sees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The account, 12 digits.
    pub account: String,
    /// The user's or session's ARN.
    pub arn: String,
}

/// Refuses to run where the SDK would print secrets into the log.
///
/// # Errors
/// Names the variable that is set.
pub fn refuse_leaky_environment() -> Result<(), Fault> {
    refuse_leaky(|variable| std::env::var_os(variable).is_some())
}

fn refuse_leaky(is_set: impl Fn(&str) -> bool) -> Result<(), Fault> {
    match LEAKY_VARIABLES.into_iter().find(|variable| is_set(variable)) {
        None => Ok(()),
        Some(variable) => {
            Err(Fault::new(Class::Rejected, "start", format!("{variable} is set, which prints secret values"))
                .with_hint(format!("unset {variable}")))
        }
    }
}

impl Store {
    /// Opens a target. Sends nothing to Secrets Manager; finding the Region may read profile files
    /// and ask instance metadata.
    ///
    /// # Errors
    /// `Rejected` for a target that can't be: no Region, plain `http` beyond loopback, an
    /// unreadable CA file; `Retry` when looking for the Region takes too long.
    pub async fn connect(target: &Target, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        Self::connect_over(None, target, clock).await
    }

    /// The same; its requests go where `over` takes them, if anywhere, and not to the network.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_over(
        over: Option<&Arc<dyn Transport>>,
        target: &Target,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Fault> {
        refuse_leaky_environment()?;
        let opening = Opening { target, over };
        opening.check_endpoints()?;
        let wire = opening.wire()?;
        let time = AwsTime::new(clock, target.is_loopback());
        let base = opening.base(&time, &wire).await?;
        let Some(region) = base.region().map(ToString::to_string) else {
            return Err(opening.fault(Class::Rejected, "no Region").with_hint(
                "looked at the declaration, AWS_REGION, AWS_DEFAULT_REGION, the profile, instance metadata",
            ));
        };
        if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(opening
                .fault(Class::Rejected, format!("the Region {region:?} has a character that no Region has"))
                .with_hint(
                    "correct it where it is set: the declaration, AWS_REGION, AWS_DEFAULT_REGION or the profile",
                ));
        }
        let base = opening.with_role(base);
        let mut secrets = aws_sdk_secretsmanager::config::Builder::from(&base)
            .retry_config(RetryConfig::disabled())
            .disable_clock_skew_correction(true);
        // What is declared for one service is for that one alone, and goes before everything else.
        if let Some(url) = &target.endpoint_url {
            secrets = secrets.endpoint_url(url);
        }
        let counted = Counted {
            account: target.account.clone().or_else(|| target.assume_role.as_ref().and_then(AssumeRole::account)),
            region: region.clone(),
            endpoint: target.endpoint_url.clone(),
        };
        Ok(Self(Arc::new(Inner {
            target: target.name.clone(),
            account: target.account.clone(),
            region,
            has_sts: opening.has_sts(),
            client: aws_sdk_secretsmanager::Client::from_conf(secrets.build()),
            sts: opening.sts(&base),
            time,
            pacer: Pacer::new(target.pacing, counted),
        })))
    }

    /// Asks AWS who we are, and whether this is the declared account.
    ///
    /// # Errors
    /// `Denied` when AWS does not know us or when it is another account.
    pub async fn identity(&self) -> Result<Identity, Fault> {
        let call = Call::read("sts:GetCallerIdentity", format!("ask AWS who we are for target {}", self.0.target));
        if !self.0.has_sts {
            return Err(call.fault(Class::Rejected, NO_STS).with_hint(HINT_STS));
        }
        let sts = &self.0.sts;
        let (answer, seen) =
            self.read(&call, |probe| sts.get_caller_identity().customize().interceptor(probe).send()).await?;
        let (Some(account), Some(arn)) = (answer.account, answer.arn) else {
            return Err(call.lost(&seen, "an answer without account or ARN"));
        };
        if let Some(declared) = self.0.account.as_ref().filter(|declared| **declared != account) {
            return Err(call
                .fault(Class::Denied, format!("this is account {account}, not the declared {declared}"))
                .with_hint(format!(
                    "AWS knows us as {arn}: use other credentials, or declare the account or role that is meant"
                )));
        }
        Ok(Identity { account, arn })
    }
}

/// The making of a connection.
struct Opening<'a> {
    target: &'a Target,
    over: Option<&'a Arc<dyn Transport>>,
}

impl Opening<'_> {
    fn fault(&self, class: Class, answer: impl fmt::Display) -> Fault {
        Fault::new(class, format!("connect to target {}", self.target.name), answer.to_string())
    }

    /// Whether STS may be asked: the sandbox's keys are nothing that the real one should see.
    fn has_sts(&self) -> bool {
        match self.target.credentials {
            Credentials::Chain => true,
            Credentials::Sandbox => self.target.sts_endpoint_url.is_some(),
        }
    }

    fn check_endpoints(&self) -> Result<(), Fault> {
        if self.target.credentials == Credentials::Sandbox && self.target.endpoint_url.is_none() {
            return Err(self.fault(Class::Rejected, "sandbox credentials without an endpoint"));
        }
        if self.target.assume_role.is_some() && !self.has_sts() {
            return Err(self.fault(Class::Rejected, NO_STS).with_hint(HINT_STS));
        }
        let emulator = self.target.allow_http && self.target.credentials == Credentials::Sandbox;
        let declared =
            [("endpoint_url", &self.target.endpoint_url), ("sts_endpoint_url", &self.target.sts_endpoint_url)];
        for (key, url) in declared {
            let Some(text) = url else { continue };
            check_endpoint(text, emulator)
                .map_err(|answer| self.fault(Class::Rejected, format!("`{key}`: {answer}")))?;
        }
        Ok(())
    }

    fn wire(&self) -> Result<Wire, Fault> {
        let pem = match &self.target.ca_file {
            None => None,
            Some(path) => {
                let read = files::read_trusted(path, Content::Public, CA_BYTES_MAX);
                Some(read.map_err(|files::Refused { answer, remedy }| {
                    let fault = self.fault(Class::Rejected, format!("can't use the CA file: {answer}"));
                    remedy.map_or(fault.clone(), |remedy| fault.with_hint(remedy))
                })?)
            }
        };
        let proxy = match &self.target.proxy {
            None => None,
            // The text is not repeated: it may hold a password.
            Some(url) => {
                Some(reqwest::Proxy::all(url).map_err(|_| self.fault(Class::Rejected, "the proxy is not a URL"))?)
            }
        };
        let wire = Wire::new(pem.as_ref().map(|pem| pem.as_slice()), proxy).map_err(|NoCertificates| {
            self.fault(Class::Rejected, "the CA file holds no PEM certificate")
                .with_hint("it must have lines of `-----BEGIN CERTIFICATE-----`")
        })?;
        let wire = wire.over(self.over.cloned());
        // The sandbox, and whatever else is reached in the clear on this machine, needs no certificates.
        if self.target.endpoint_url.as_ref().is_some_and(|url| !url.starts_with("https:")) {
            return Ok(wire);
        }
        wire.prepare(CONNECT_TIMEOUT).map_err(|_| {
            self.fault(Class::Rejected, "no TLS connection can be made: no usable CA certificates")
                .with_hint("install CA certificates, or name a bundle by SSL_CERT_FILE or the target's CA file")
        })?;
        Ok(wire)
    }

    async fn base(&self, time: &AwsTime, wire: &Wire) -> Result<SdkConfig, Fault> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let config = match self.target.credentials {
            Credentials::Sandbox => {
                let keys = aws_credential_types::Credentials::new("sandbox", "sandbox", None, None, "sandbox");
                SdkConfig::builder()
                    .behavior_version(BehaviorVersion::v2026_01_12())
                    .region(Region::new(self.target.region.clone().unwrap_or_else(|| "us-east-1".into())))
                    .credentials_provider(SharedCredentialsProvider::new(keys))
                    .identity_cache(aws_config::identity::IdentityCache::lazy().build())
                    .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
                    .time_source(time.clone())
                    .http_client(wire.clone())
                    .timeout_config(timeouts)
                    .build()
            }
            Credentials::Chain => {
                let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
                    .time_source(time.clone())
                    .http_client(wire.clone())
                    .timeout_config(timeouts)
                    .identity_cache(
                        aws_config::identity::IdentityCache::lazy().load_timeout(ATTEMPT_TIMEOUT / 2).build(),
                    );
                if let Some(region) = &self.target.region {
                    loader = loader.region(Region::new(region.clone()));
                }
                tokio::time::timeout(CONFIGURE_TIMEOUT, loader.load()).await.map_err(|_| {
                    self.fault(Class::Retry { after: None }, "looking for Region and profile took over 15 s")
                        .with_hint("declare the Region; set AWS_EC2_METADATA_DISABLED=true where there is no metadata")
                })?
            }
        };
        let keys = config.credentials_provider().map(|keys| SharedCredentialsProvider::new(Checked(keys)));
        let mut config = config.into_builder().stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_credentials_provider(keys);
        Ok(config.build())
    }

    /// Signs as `base` does. Nothing is retried here either: what asks for it tries again.
    fn sts(&self, base: &SdkConfig) -> aws_sdk_sts::Client {
        let mut sts = aws_sdk_sts::config::Builder::from(base)
            .retry_config(RetryConfig::disabled())
            .disable_clock_skew_correction(true);
        if let Some(url) = &self.target.sts_endpoint_url {
            sts = sts.endpoint_url(url);
        }
        aws_sdk_sts::Client::from_conf(sts.build())
    }

    /// With the declared role taken on, if there is one.
    fn with_role(&self, base: SdkConfig) -> SdkConfig {
        let Some(role) = &self.target.assume_role else { return base };
        let provider = Role {
            sts: self.sts(&base),
            arn: role.arn.clone(),
            external_id: role.external_id.clone(),
            session: session_name(),
        };
        base.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
    }
}

/// Why STS is not asked.
const NO_STS: &str = "it is not declared where the sandbox's STS is";
const HINT_STS: &str =
    "add `sts_endpoint_url` beside `endpoint_url`; `keyferry sandbox` serves STS at http://127.0.0.1:7709";

/// Whether requests may be sent to this URL; the text is never repeated, since it may hold a
/// password. `in_clear`: plain http may be spoken beyond this machine, too.
fn check_endpoint(text: &str, in_clear: bool) -> Result<(), &'static str> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the endpoint has a character that no URL has");
    }
    let url = reqwest::Url::parse(text).map_err(|_| "the endpoint is not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the endpoint has a user name in it, which AWS does not know");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the endpoint has a query or a fragment (`?` or `#`)");
    }
    let clear = url.scheme() == "http" && (in_clear || url.host_str().is_some_and(is_loopback));
    match url.scheme() == "https" || clear {
        true => Ok(()),
        false => Err("the endpoint is neither https nor http on loopback: values would travel in the clear"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Target {
        Target {
            name: TargetName::new("t").unwrap(),
            region: None,
            account: None,
            assume_role: None,
            endpoint_url: None,
            allow_http: false,
            sts_endpoint_url: None,
            credentials: Credentials::Sandbox,
            proxy: None,
            ca_file: None,
            pacing: Pacing::default(),
        }
    }

    #[test]
    fn a_leaky_environment_is_refused_by_name() {
        assert_eq!(refuse_leaky(|_| false), Ok(()));
        for variable in LEAKY_VARIABLES {
            let fault = refuse_leaky(|asked| asked == variable).unwrap_err();
            assert!(fault.answer.contains(variable) && fault.class == Class::Rejected);
        }
    }

    #[test]
    fn values_never_travel_in_the_clear() {
        for (endpoint, fine) in [
            (Some("http://127.0.0.1:4566"), true),
            (Some("http://[::1]:4566"), true),
            (Some("http://localhost:4566"), true),
            (Some("https://secretsmanager.eu-central-1.amazonaws.com"), true),
            (Some("http://secretsmanager.eu-central-1.amazonaws.com"), false),
            (Some("http://localhost.example.com"), false),
            (Some("ftp://127.0.0.1"), false),
            (Some("nonsense"), false),
            (None, false),
        ] {
            let target = Target { endpoint_url: endpoint.map(Into::into), ..plain() };
            assert_eq!(Opening { target: &target, over: None }.check_endpoints().is_ok(), fine, "{endpoint:?}");
            let plain = endpoint.is_some_and(|url| url.starts_with("http:"));
            assert!(!fine || target.is_loopback() == plain, "{endpoint:?}");
        }
    }
}
