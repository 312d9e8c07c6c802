//! A sample consumer: an application that holds a credential the way applications do.
//!
//! It reads AWSCURRENT, keeps the value for a while as AWS's caching clients do, and logs in at the
//! vendor with what it kept. It knows nothing of keyferry. Its tally is the judge of every
//! rotation: a login refused with a value it was still entitled to hold is a failure, and so is a
//! secret whose AWSCURRENT went away. Trouble on the way (throttling, lost connections, 5xx) is
//! retried as an SDK would and is never a failure of the value.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use reqwest::Response;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::model::time::{Clock, Timestamp};

/// Sends per call, the first included.
const TRY_COUNT_MAX: u32 = 4;
/// Between two sends, on the sandbox's clock.
const TRY_PAUSE: Duration = Duration::from_secs(1);
/// Real time: the connection's own limit, whatever the sandbox's speed.
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);

const BODY_BYTES_MAX: u64 = 1 << 20;

/// What it calls itself, so that its calls can be told from everybody else's.
pub const USER_AGENT: &str = "sample-consumer";

/// How the consumer behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where Secrets Manager is reached, `http://127.0.0.1:7701`.
    pub secrets_endpoint: String,
    /// The region in the signature's scope.
    pub region: String,
    /// Access key id to sign as; the sandbox's is `sandbox`.
    pub access_key: String,
    /// Between two rounds, on the sandbox's clock.
    pub every: Duration,
    /// How long a read value is kept and used.
    pub refresh: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            secrets_endpoint: "http://127.0.0.1:7701".into(),
            region: "eu-central-1".into(),
            access_key: "sandbox".into(),
            every: Duration::from_secs(30),
            refresh: Duration::from_secs(300),
        }
    }
}

/// How one logs in with a value, and which pieces of it that takes. A piece is named by its key in
/// the stored JSON; the empty name stands for a value that is one plain text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Login {
    /// The OAuth client credentials grant with HTTP Basic.
    ClientCredentials {
        /// The vendor's token endpoint.
        token_endpoint: String,
        /// The client id's piece.
        id: String,
        /// The client secret's piece.
        secret: String,
    },
    /// A call with a bearer token, which the vendor answers with 401 when the token is dead.
    Bearer {
        /// What to `GET`.
        url: String,
        /// The token's piece.
        token: String,
    },
}

impl Login {
    /// The pieces it takes.
    pub fn pieces(&self) -> Vec<&str> {
        match self {
            Self::ClientCredentials { id, secret, .. } => vec![id, secret],
            Self::Bearer { token, .. } => vec![token],
        }
    }

    /// The same with other names for its pieces; `None` where one has none.
    pub fn renamed(&self, name: impl Fn(&str) -> Option<String>) -> Option<Self> {
        Some(match self {
            Self::ClientCredentials { token_endpoint, id, secret } => {
                Self::ClientCredentials { token_endpoint: token_endpoint.clone(), id: name(id)?, secret: name(secret)? }
            }
            Self::Bearer { url, token } => Self::Bearer { url: url.clone(), token: name(token)? },
        })
    }
}

/// One secret to live on, and where its value logs in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watch {
    /// Name or ARN of the secret.
    pub secret: String,
    /// How its value is used.
    pub login: Login,
}

impl Watch {
    /// An OAuth client with the default keys `client_id` and `client_secret`.
    pub fn new(secret: impl Into<String>, token_endpoint: impl Into<String>) -> Self {
        let token_endpoint = token_endpoint.into();
        let login = Login::ClientCredentials { token_endpoint, id: "client_id".into(), secret: "client_secret".into() };
        Self { secret: secret.into(), login }
    }
}

/// What happened with one secret so far.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Tally {
    /// The watched secret.
    pub secret: String,
    /// Values read from Secrets Manager.
    pub reads: u64,
    /// Logins that were granted, or refused for a reason other than the pair.
    pub logins: u64,
    /// Logins refused with a value that was still good to hold, and disappearances of AWSCURRENT.
    pub failures: u64,
    /// Rounds spent on a secret that has not appeared yet.
    pub waiting: u64,
    /// Rounds that came to nothing through no fault of the value.
    pub troubles: u64,
    /// The first failure, with the sandbox's date.
    pub first_failure: Option<FirstFailure>,
    /// The latest trouble, in words.
    pub last_trouble: Option<String>,
}

/// When and why a consumer first failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FirstFailure {
    /// Sandbox date, RFC 3339.
    pub at: String,
    /// In our words, without any part of the value.
    pub reason: String,
}

/// The consumer. Shared between [`run`] and whoever shows the tally.
pub struct Consumer {
    clock: Arc<dyn Clock>,
    http: reqwest::Client,
    options: Options,
    watched: Mutex<BTreeMap<String, Watched>>,
}

struct Watched {
    watch: Watch,
    tally: Tally,
    kept: Option<Kept>,
}

/// A value in the consumer's cache. Not printable.
#[derive(Clone)]
struct Kept {
    /// In the order of [`Login::pieces`].
    pieces: Vec<String>,
    read_at: Duration,
}

enum Read {
    Value(String),
    /// No such secret, no AWSCURRENT, or scheduled for deletion.
    Absent(String),
    Trouble(String),
}

enum Outcome {
    Good,
    /// With the vendor's word for it.
    Refused(&'static str),
    Trouble(String),
}

impl Consumer {
    /// A consumer that watches nothing yet.
    ///
    /// # Panics
    /// If the HTTP client's TLS cannot be set up, which depends on the build only.
    pub fn new(clock: Arc<dyn Clock>, options: Options) -> Self {
        // Plain http on loopback: neither proxies, redirects nor CA certificates have a say.
        let builder =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).tls_certs_only([]);
        let http = builder
            .user_agent(USER_AGENT)
            .timeout(HTTP_TIMEOUT)
            .build()
            .expect("a client without options of its own is buildable");
        Self { clock, http, options, watched: Mutex::default() }
    }

    /// Watches one more secret from the next round on; one already watched keeps its tally.
    pub fn watch(&self, watch: Watch) {
        let tally = Tally { secret: watch.secret.clone(), ..Tally::default() };
        let key = watch.secret.clone();
        self.lock().entry(key).or_insert(Watched { watch, tally, kept: None });
    }

    /// Stops watching a secret, as when it is to be retired; its tally goes too.
    pub fn unwatch(&self, secret: &str) {
        self.lock().remove(secret);
    }

    /// Forgets every value it holds, as an application that was told to read anew.
    pub fn read_anew(&self) {
        self.lock().values_mut().for_each(|watched| watched.kept = None);
    }

    /// Every secret's tally, by name.
    pub fn tally(&self) -> Vec<Tally> {
        self.lock().values().map(|watched| watched.tally.clone()).collect()
    }

    /// Failures over all secrets.
    pub fn failure_count(&self) -> u64 {
        self.lock().values().map(|watched| watched.tally.failures).sum()
    }

    /// One round: every secret once, in order of names.
    pub async fn round(&self) {
        let watches: Vec<Watch> = self.lock().values().map(|watched| watched.watch.clone()).collect();
        for watch in watches {
            self.visit(&watch).await;
        }
    }

    async fn visit(&self, watch: &Watch) {
        let mut trouble = String::new();
        for number in 0..TRY_COUNT_MAX {
            if number > 0 {
                self.clock.sleep(TRY_PAUSE).await;
            }
            // Asked before every try: after a long pause the value may be past its time, and to
            // fail with that one would be the consumer's own fault.
            let kept = match self.kept(&watch.secret) {
                Some(kept) => kept,
                None => match self.read(watch).await {
                    Ok(Some(kept)) => kept,
                    Ok(None) => return,
                    Err(reason) => {
                        trouble = reason;
                        continue;
                    }
                },
            };
            match self.log_in(watch, &kept).await {
                Outcome::Good => return self.note(watch, |tally| tally.logins += 1),
                Outcome::Refused(word) => {
                    self.forget(&watch.secret);
                    return self.fail(watch, format!("the vendor refused the value: {word}"));
                }
                Outcome::Trouble(reason) => trouble = reason,
            }
        }
        self.note(watch, |tally| {
            tally.troubles += 1;
            tally.last_trouble = Some(trouble);
        });
    }

    fn kept(&self, secret: &str) -> Option<Kept> {
        let kept = self.lock().get(secret)?.kept.clone()?;
        let age = self.clock.monotonic().saturating_sub(kept.read_at);
        (age < self.options.refresh).then_some(kept)
    }

    fn forget(&self, secret: &str) {
        if let Some(watched) = self.lock().get_mut(secret) {
            watched.kept = None;
        }
    }

    /// Reads and keeps the value. `Ok(None)` when there is none, which is noted here.
    async fn read(&self, watch: &Watch) -> Result<Option<Kept>, String> {
        // The age counts from before the call: what comes back may be as old as that.
        let read_at = self.clock.monotonic();
        let text = match self.get_secret_value(&watch.secret).await {
            Read::Value(text) => text,
            Read::Trouble(reason) => return Err(reason),
            Read::Absent(reason) => {
                if self.has_read(&watch.secret) {
                    self.fail(watch, format!("AWSCURRENT is no longer there: {reason}"));
                } else {
                    self.note(watch, |tally| tally.waiting += 1);
                }
                return Ok(None);
            }
        };
        self.note(watch, |tally| tally.reads += 1);
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        let piece = |key: &str| match key {
            "" => Some(text.clone()),
            key => value[key].as_str().map(str::to_owned),
        };
        let names = watch.login.pieces();
        let Some(pieces) = names.iter().map(|name| piece(name)).collect() else {
            self.fail(watch, format!("the value does not hold all of {}", names.join(", ")));
            return Ok(None);
        };
        let kept = Kept { pieces, read_at };
        if let Some(watched) = self.lock().get_mut(&watch.secret) {
            watched.kept = Some(kept.clone());
        }
        Ok(Some(kept))
    }

    /// `GetSecretValue` without a stage, as applications call it: AWSCURRENT.
    async fn get_secret_value(&self, secret: &str) -> Read {
        let endpoint = &self.options.secrets_endpoint;
        let now = self.clock.wall();
        let request = self
            .http
            .post(format!("{}/", endpoint.trim_end_matches('/')))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", "secretsmanager.GetSecretValue")
            .header("x-amz-date", amz_date(now))
            .header("authorization", self.authorization(now))
            .body(json!({ "SecretId": secret }).to_string());
        let (status, body) = match receive(request.send().await).await {
            Ok(answer) => answer,
            Err(reason) => return Read::Trouble(format!("GetSecretValue: {reason}")),
        };
        if status == 200 {
            return match body["SecretString"].as_str() {
                Some(text) => Read::Value(text.into()),
                None => Read::Trouble("GetSecretValue: 200 without SecretString".into()),
            };
        }
        // Some of AWS's protocols prefix the shape's namespace.
        let code = body["__type"].as_str().unwrap_or_default().rsplit('#').next().unwrap_or_default();
        match code {
            "ResourceNotFoundException" | "InvalidRequestException" => Read::Absent(code.into()),
            _ => Read::Trouble(format!("GetSecretValue: {status} {}", plain(code))),
        }
    }

    /// Signature Version 4 in form only: scope and signed headers are right, the signature itself
    /// is arbitrary. The sandbox's Secrets Manager holds no key to check it with.
    fn authorization(&self, now: Timestamp) -> String {
        let (key, region) = (&self.options.access_key, &self.options.region);
        let signature: String = Sha256::digest(amz_date(now)).iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "AWS4-HMAC-SHA256 Credential={key}/{}/{region}/secretsmanager/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={signature}",
            now.to_utc().format("%Y%m%d"),
        )
    }

    async fn log_in(&self, watch: &Watch, kept: &Kept) -> Outcome {
        match (&watch.login, kept.pieces.as_slice()) {
            (Login::ClientCredentials { token_endpoint, .. }, [id, secret]) => {
                self.grant(token_endpoint, id, secret).await
            }
            (Login::Bearer { url, .. }, [token]) => self.bear(url, token).await,
            (Login::ClientCredentials { .. } | Login::Bearer { .. }, _) => Outcome::Trouble("login: pieces".into()),
        }
    }

    async fn grant(&self, token_endpoint: &str, id: &str, secret: &str) -> Outcome {
        let pair = BASE64_STANDARD.encode(format!("{id}:{secret}"));
        let request = self
            .http
            .post(token_endpoint)
            .header("authorization", format!("Basic {pair}"))
            .header("accept", "application/json")
            .form(&[("grant_type", "client_credentials")]);
        let (status, body) = match receive(request.send().await).await {
            Ok(answer) => answer,
            Err(reason) => return Outcome::Trouble(format!("login: {reason}")),
        };
        // The error code decides, not the status (RFC 6749, section 5.2): codes that come after
        // client authentication say that the pair is good.
        match body["error"].as_str() {
            None if status == 200 && body["access_token"].is_string() => Outcome::Good,
            Some("invalid_client") => Outcome::Refused("invalid_client"),
            Some("invalid_target" | "access_denied" | "unauthorized_client" | "invalid_scope") => Outcome::Good,
            Some(code) => Outcome::Trouble(format!("login: {status} {}", plain(code))),
            None => Outcome::Trouble(format!("login: {status} without an OAuth answer")),
        }
    }

    async fn bear(&self, url: &str, token: &str) -> Outcome {
        let request = self.http.get(url).bearer_auth(token).header("accept", "application/json");
        match receive(request.send().await).await {
            Ok((200, _)) => Outcome::Good,
            Ok((401, _)) => Outcome::Refused("401"),
            Ok((status, _)) => Outcome::Trouble(format!("login: {status}")),
            Err(reason) => Outcome::Trouble(format!("login: {reason}")),
        }
    }

    fn has_read(&self, secret: &str) -> bool {
        self.lock().get(secret).is_some_and(|watched| watched.tally.reads > 0)
    }

    fn note(&self, watch: &Watch, change: impl FnOnce(&mut Tally)) {
        if let Some(watched) = self.lock().get_mut(&watch.secret) {
            change(&mut watched.tally);
        }
    }

    fn fail(&self, watch: &Watch, reason: String) {
        let at = self.clock.wall().to_string();
        self.note(watch, |tally| {
            tally.failures += 1;
            tally.first_failure.get_or_insert(FirstFailure { at, reason });
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Watched>> {
        self.watched.lock().expect("no holder of this lock panics")
    }
}

/// Rounds without end, until `shutdown` resolves. A round that is under way is given up then.
pub async fn run(consumer: Arc<Consumer>, shutdown: impl Future<Output = ()>) {
    let rounds = async {
        loop {
            consumer.round().await;
            consumer.clock.sleep(consumer.options.every).await;
        }
    };
    tokio::select! {
        () = shutdown => {}
        () = rounds => {}
    }
}

/// Status and JSON of an answer; trouble when there is none, when it asks to come back, or when it
/// is no JSON.
async fn receive(sent: Result<Response, reqwest::Error>) -> Result<(u16, Value), String> {
    let answer = sent.map_err(|error| if error.is_timeout() { "timed out" } else { "connection lost" })?;
    let status = answer.status().as_u16();
    if status == 429 || status >= 500 {
        return Err(format!("status {status}"));
    }
    if answer.content_length().is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(format!("status {status}, far too long"));
    }
    let body = answer.bytes().await.map_err(|_| "answer cut off")?;
    let body = serde_json::from_slice(&body).map_err(|_| format!("status {status}, no JSON"))?;
    Ok((status, body))
}

/// An error code for a person's eyes: letters and underscores only, in case it is none.
fn plain(code: &str) -> String {
    code.chars().filter(|letter| letter.is_ascii_alphabetic() || *letter == '_').take(60).collect()
}

fn amz_date(now: Timestamp) -> String {
    now.to_utc().format("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests;
