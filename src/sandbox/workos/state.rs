//! What the pretend WorkOS knows, as a state machine: no HTTP, no clock, dice from a seed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use sha2::{Digest, Sha256};

use super::settings::{LastUsed, Settings};
use crate::model::time::Timestamp;

/// Text inside every generated secret and token, so that a leak test has something to search for.
pub const CANARY: &str = "kfcanary";

/// Issued tokens and uses of one secret that are remembered.
const TOKEN_COUNT_MAX: usize = 1_000;
const USE_COUNT_MAX: usize = 100;

/// What an API key may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyState {
    /// Everything in its environment.
    Active,
    /// Nothing: it was revoked.
    Revoked,
    /// Nothing here: it lacks the permission.
    Restricted,
}

/// The two kinds of application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Machine to machine: logs in with its secret.
    M2m,
    /// Signs people in.
    Oauth,
}

/// The moments of one call: when it comes, and up to when it is told the truth. They differ only
/// where a replica answers from an older state.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) now: Timestamp,
    pub(super) seen: Timestamp,
}

/// Why an API call was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    Unauthorized,
    Forbidden,
    NotFound { what: &'static str, id: String },
    Unprocessable(String),
    Full,
    Malformed,
}

/// Why an endpoint of the AuthKit domain did not grant: `error` and `error_description`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Denial {
    pub(super) status: u16,
    pub(super) error: &'static str,
    pub(super) why: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct Application {
    pub(super) id: String,
    pub(super) client_id: String,
    pub(super) environment: String,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) organization_id: String,
    pub(super) dynamic: bool,
    pub(super) created: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct Secret {
    pub(super) id: String,
    pub(super) application_id: String,
    pub(super) hint: (String, String),
    /// As shown: rises from one to the next.
    pub(super) created: Timestamp,
    /// As it was.
    made: Timestamp,
    pub(super) deleted: Option<Timestamp>,
    pub(super) uses: VecDeque<Timestamp>,
    pub(super) use_count: u64,
    digest: [u8; 32],
    dud: bool,
}

/// The whole service.
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) applications: Vec<Application>,
    pub(super) secrets: Vec<Secret>,
    keys: BTreeMap<String, (String, KeyState)>,
    tokens: VecDeque<(String, serde_json::Value, Timestamp)>,
    dice: Rng,
    last_change: Timestamp,
}

/// The environment that the sandbox's key belongs to, and whose AuthKit domain this is.
pub(super) const ENVIRONMENT: &str = "sandbox";

impl State {
    /// Nothing yet; every id and secret follows from `seed` and the order of calls.
    pub(super) fn new(seed: u64, now: Timestamp) -> Self {
        Self {
            settings: Settings::default(),
            applications: Vec::new(),
            secrets: Vec::new(),
            keys: BTreeMap::new(),
            tokens: VecDeque::new(),
            dice: Rng::with_seed(seed),
            last_change: now,
        }
    }

    pub(super) fn seed_key(&mut self, key: &str, environment: &str, state: KeyState) {
        self.keys.insert(key.into(), (environment.into(), state));
    }

    /// An application with these properties; another with the same name may be there.
    pub(super) fn add_application(&mut self, name: &str, kind: Kind, organization_id: &str, now: Timestamp) -> usize {
        let application = Application {
            id: self.id("conn_app_"),
            client_id: self.id("client_"),
            environment: ENVIRONMENT.into(),
            name: name.into(),
            kind,
            organization_id: organization_id.into(),
            dynamic: false,
            created: self.rising(now),
        };
        self.applications.push(application);
        self.applications.len() - 1
    }

    /// The environment of an API key.
    pub(super) fn environment(&self, key: Option<&str>) -> Result<String, Refusal> {
        match key.and_then(|key| self.keys.get(key)) {
            Some((environment, KeyState::Active)) => Ok(environment.clone()),
            Some((_, KeyState::Restricted)) => Err(Refusal::Forbidden),
            Some((_, KeyState::Revoked)) | None => Err(Refusal::Unauthorized),
        }
    }

    /// By application id, then by client id.
    pub(super) fn application(&self, environment: &str, id: &str) -> Result<&Application, Refusal> {
        let mine = || self.applications.iter().filter(|one| one.environment == environment);
        let found = mine().find(|one| one.id == id).or_else(|| mine().find(|one| one.client_id == id));
        found.ok_or_else(|| Refusal::NotFound { what: "Application", id: id.into() })
    }

    /// The secrets of an application that this call gets to see, oldest first.
    pub(super) fn visible(&self, application_id: &str, at: At) -> Vec<&Secret> {
        let lag = Duration::from_secs(self.settings.read_lag_s);
        let seen = |one: &&Secret| {
            one.application_id == application_id
                && one.made.plus(lag) <= at.seen
                && one.deleted.is_none_or(|deleted| at.seen < deleted)
        };
        self.secrets.iter().filter(seen).collect()
    }

    /// A new secret; its value is given here and never again.
    pub(super) fn create(
        &mut self,
        environment: &str,
        id: &str,
        now: Timestamp,
    ) -> Result<(Secret, Option<String>), Refusal> {
        let application_id = self.application(environment, id)?.id.clone();
        if self.settings.colleague_adds > 0 {
            self.settings.colleague_adds -= 1;
            self.make(&application_id, now);
        }
        if self.settings.colleague_deletes > 0 {
            self.settings.colleague_deletes -= 1;
            let oldest = self.secrets.iter_mut().find(|one| one.lives() && one.application_id == application_id);
            if let Some(oldest) = oldest {
                oldest.deleted = Some(now);
            }
        }
        let live = self.secrets.iter().filter(|one| one.lives() && one.application_id == application_id).count();
        if self.settings.live_max > 0 && live >= self.settings.live_max {
            return Err(Refusal::Full);
        }
        let (secret, value) = self.make(&application_id, now);
        let silent = self.settings.silent_creates > 0;
        self.settings.silent_creates = self.settings.silent_creates.saturating_sub(1);
        Ok((secret, (!silent).then_some(value)))
    }

    /// Makes a secret, whatever the limit.
    pub(super) fn make(&mut self, application_id: &str, now: Timestamp) -> (Secret, String) {
        let part: String = (0..20).map(|_| self.dice.alphanumeric().to_ascii_lowercase()).collect();
        let tail: String = (0..22).map(|_| self.dice.alphanumeric().to_ascii_lowercase()).collect();
        let value = format!("{part}{CANARY}{tail}");
        let dud = self.settings.duds > 0;
        self.settings.duds = self.settings.duds.saturating_sub(1);
        let created = self.rising(now);
        let secret = Secret {
            id: self.id("secret_"),
            application_id: application_id.into(),
            hint: (value[..6].into(), value[value.len() - 4..].into()),
            created,
            made: now,
            deleted: None,
            uses: VecDeque::new(),
            use_count: 0,
            digest: digest(&value),
            dud,
        };
        self.last_change = now;
        self.secrets.push(secret.clone());
        (secret, value)
    }

    /// Deletes for good.
    pub(super) fn delete(&mut self, environment: &str, id: &str, now: Timestamp) -> Result<(), Refusal> {
        let missing = || Refusal::NotFound { what: "Client secret", id: id.into() };
        let position = self.secrets.iter().position(|one| one.id == id && one.lives()).ok_or_else(missing)?;
        let owner = self.secrets[position].application_id.clone();
        let mine = self.applications.iter().any(|one| one.id == owner && one.environment == environment);
        if !mine {
            return Err(missing());
        }
        let live = self.secrets.iter().filter(|one| one.lives() && one.application_id == owner).count();
        if self.settings.last_secret_stays && live == 1 {
            return Err(Refusal::Unprocessable("The last client secret can't be deleted.".into()));
        }
        self.secrets[position].deleted = Some(now);
        self.last_change = now;
        Ok(())
    }

    // --- the AuthKit domain

    /// The application that a client id of this environment names.
    pub(super) fn client(&self, client_id: &str) -> Option<&Application> {
        self.applications.iter().find(|one| one.environment == ENVIRONMENT && one.client_id == client_id)
    }

    /// Which secret of the application this value is, if it is accepted.
    pub(super) fn accepted(&self, application_id: &str, value: &str, at: At) -> Option<usize> {
        let (given, lag) = (digest(value), Duration::from_secs);
        let settings = &self.settings;
        self.secrets.iter().position(|one| {
            one.application_id == application_id
                && one.digest == given
                && !one.dud
                && one.made.plus(lag(settings.login_lag_s)) <= at.seen
                && one.deleted.is_none_or(|deleted| at.seen < deleted.plus(lag(settings.revoke_lag_s)))
        })
    }

    /// The secret that has this value, whatever became of it.
    pub(super) fn whose(&self, value: &str) -> Option<&Secret> {
        let given = digest(value);
        self.secrets.iter().find(|one| one.digest == given)
    }

    /// Notes a use; `updated_at` stays.
    pub(super) fn used(&mut self, position: usize, now: Timestamp) {
        let secret = &mut self.secrets[position];
        secret.use_count += 1;
        secret.uses.push_back(now);
        if secret.uses.len() > USE_COUNT_MAX {
            secret.uses.pop_front();
        }
    }

    /// `last_used_at`, as the settings have it.
    pub(super) fn last_used(&self, secret: &Secret, now: Timestamp) -> Option<Timestamp> {
        let last = secret.uses.back().copied();
        let rounded = |unit: i64| last.map(|at| Timestamp::from_millis(at.millis().div_euclid(unit) * unit));
        match self.settings.last_used {
            LastUsed::Exact => last,
            LastUsed::DelayedS(seconds) => {
                secret.uses.iter().rev().find(|at| at.millis() + seconds * 1000 <= now.millis()).copied()
            }
            LastUsed::Hour => rounded(3_600_000),
            LastUsed::Day => rounded(86_400_000),
            LastUsed::Frozen => None,
        }
    }

    /// An access token with these claims.
    pub(super) fn token(&mut self, mut claims: serde_json::Value, now: Timestamp) -> String {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
        let expires = now.plus(Duration::from_secs(self.settings.token_s));
        claims["iat"] = now.seconds().into();
        claims["exp"] = expires.seconds().into();
        claims["jti"] = self.id("").into();
        let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT","kid":"sandbox"}"#);
        let payload = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        let token = format!("{header}.{payload}.{CANARY}{}", self.id(""));
        self.tokens.push_back((token.clone(), claims, expires));
        if self.tokens.len() > TOKEN_COUNT_MAX {
            self.tokens.pop_front();
        }
        token
    }

    /// The claims of a token that was issued here and is not expired.
    pub(super) fn claims(&self, token: &str, now: Timestamp) -> Option<&serde_json::Value> {
        self.tokens.iter().find(|(known, _, expires)| known == token && *expires > now).map(|(_, claims, _)| claims)
    }

    /// The last moment before the latest change: what a lagging replica still answers from.
    pub(super) fn before_last_change(&self) -> Timestamp {
        self.last_change.minus(Duration::from_millis(1))
    }

    /// For shuffled lists.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        self.dice.shuffle(items);
    }

    /// A fresh id in the form of the vendor's.
    pub(super) fn id(&mut self, prefix: &str) -> String {
        const LETTERS: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let text: String = (0..26).map(|_| char::from(LETTERS[self.dice.usize(..LETTERS.len())])).collect();
        format!("{prefix}{text}")
    }

    /// Dates of creation rise, so that their order can be told.
    fn rising(&self, now: Timestamp) -> Timestamp {
        let last = self.secrets.iter().map(|one| one.created).chain(self.applications.iter().map(|one| one.created));
        last.max().map_or(now, |last| now.max(last.plus(Duration::from_millis(1))))
    }
}

impl Secret {
    pub(super) fn lives(&self) -> bool {
        self.deleted.is_none()
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}
