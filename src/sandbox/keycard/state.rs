//! What the pretend Keycard knows, as a state machine: no HTTP, no clock, dice from a seed.
//!
//! One organization, as a service account sees it. Secrets are kept as digests, as the vendor says
//! it does; a password leaves only in the answer to its own creation.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use sha2::{Digest, Sha256};

use super::settings::Settings;
use super::words::{At, Change, Credential, Denial, Draft, Entity, Grant, Kind, Refusal, Resource, ResourceKind};
use crate::model::time::Timestamp;

/// Text inside every generated secret and token, so that a leak test has something to search for.
pub const CANARY: &str = "kfcanary";

/// Deleted credentials that are remembered, for inspection and for [`Settings::revoke_lag_s`].
const DELETED_COUNT_MAX: usize = 20_000;

const LOWER_AND_DIGITS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// The whole service.
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) organization: Entity,
    pub(super) zones: Vec<Entity>,
    pub(super) applications: Vec<Entity>,
    pub(super) providers: Vec<Entity>,
    pub(super) credentials: Vec<Credential>,
    resources: Vec<Resource>,
    accounts: BTreeMap<String, [u8; 32]>,
    bearers: BTreeMap<String, Timestamp>,
    dice: Rng,
    sequence: u64,
    last_change: Timestamp,
}

impl State {
    /// An empty organization; every id and secret follows from `seed` and the order of calls.
    pub(super) fn new(seed: u64, now: Timestamp) -> Self {
        let mut dice = Rng::with_seed(seed);
        let id = text(&mut dice, 26, LOWER_AND_DIGITS);
        let organization = Entity {
            sequence: 0,
            zone_id: text(&mut dice, 26, LOWER_AND_DIGITS),
            id,
            slug: "sandbox".into(),
            identifier: "sandbox".into(),
            name: "Sandbox".into(),
            created: now,
        };
        Self {
            settings: Settings::default(),
            organization,
            zones: Vec::new(),
            applications: Vec::new(),
            providers: Vec::new(),
            credentials: Vec::new(),
            resources: Vec::new(),
            accounts: BTreeMap::new(),
            bearers: BTreeMap::new(),
            dice,
            sequence: 0,
            last_change: now,
        }
    }

    // --- what is there before anybody calls; each is there once, however often it is asked for

    pub(super) fn seed_account(&mut self, client_id: &str, secret: &str) {
        self.accounts.insert(client_id.into(), digest(secret));
    }

    pub(super) fn seed_zone(&mut self, slug: &str, now: Timestamp) -> String {
        if let Some(zone) = self.zones.iter().find(|zone| zone.slug == slug) {
            return zone.id.clone();
        }
        let mut zone = self.entity(slug, "", now);
        zone.zone_id.clone_from(&zone.id);
        self.zones.push(zone.clone());
        zone.id
    }

    pub(super) fn seed_application(&mut self, zone_slug: &str, slug: &str, now: Timestamp) -> String {
        let zone_id = self.seed_zone(zone_slug, now);
        if let Some(id) = find(&self.applications, &zone_id, slug) {
            return id;
        }
        let application = self.entity(slug, &zone_id, now);
        self.applications.push(application.clone());
        application.id
    }

    pub(super) fn seed_provider(&mut self, zone_slug: &str, slug: &str, now: Timestamp) -> String {
        let zone_id = self.seed_zone(zone_slug, now);
        if let Some(id) = find(&self.providers, &zone_id, slug) {
            return id;
        }
        let provider = self.entity(slug, &zone_id, now);
        self.providers.push(provider.clone());
        provider.id
    }

    pub(super) fn seed_resource(&mut self, zone_slug: &str, identifier: &str, kind: ResourceKind, now: Timestamp) {
        let zone_id = self.seed_zone(zone_slug, now);
        self.resources.retain(|resource| resource.zone_id != zone_id || resource.identifier != identifier);
        let planted = self.secret();
        self.resources.push(Resource { zone_id, identifier: identifier.into(), kind, planted });
    }

    // --- management

    /// A management token for a service account's pair.
    pub(super) fn grant_bearer(&mut self, client_id: &str, secret: &str, now: Timestamp) -> Result<Grant, Denial> {
        if self.accounts.get(client_id) != Some(&digest(secret)) {
            return Err(Denial::InvalidClient);
        }
        let lifetime_s = self.settings.bearer_s;
        let claims = serde_json::json!({
            "sub": client_id,
            "https://api.keycard.sh/organization_id": self.organization.id,
            "iat": now.seconds(),
            "exp": now.seconds() + i64::try_from(lifetime_s).unwrap_or(i64::MAX / 2),
        });
        let token = self.token(&claims);
        self.bearers.retain(|_, expires| *expires > now);
        self.bearers.insert(token.clone(), now.plus(Duration::from_secs(lifetime_s)));
        Ok(Grant { token, lifetime_s })
    }

    /// Whether a management token is known and not expired.
    pub(super) fn knows_bearer(&self, token: &str, now: Timestamp) -> bool {
        self.bearers.get(token).is_some_and(|expires| *expires > now)
    }

    /// Ends every management token before its time.
    pub(super) fn end_bearers(&mut self) {
        self.bearers.clear();
    }

    pub(super) fn zone(&self, id: &str) -> Result<&Entity, Refusal> {
        self.zones.iter().find(|zone| zone.id == id).ok_or(Refusal::NotFound("zone"))
    }

    pub(super) fn application(&self, zone_id: &str, id: &str) -> Result<&Entity, Refusal> {
        self.zone(zone_id)?;
        let found = self.applications.iter().find(|one| one.zone_id == zone_id && one.id == id);
        found.ok_or(Refusal::NotFound("application"))
    }

    pub(super) fn provider(&self, zone_id: &str, id: &str) -> Result<&Entity, Refusal> {
        self.zone(zone_id)?;
        let found = self.providers.iter().find(|one| one.zone_id == zone_id && one.id == id);
        found.ok_or(Refusal::NotFound("provider"))
    }

    /// The credentials of a zone that this call gets to see, oldest first.
    pub(super) fn visible<'a>(&'a self, zone_id: &'a str, at: At) -> impl Iterator<Item = &'a Credential> {
        self.credentials.iter().filter(move |one| one.zone_id == zone_id && self.is_visible(one, at))
    }

    pub(super) fn credential(&self, zone_id: &str, id: &str, at: At) -> Result<&Credential, Refusal> {
        self.position(zone_id, id, at).map(|position| &self.credentials[position])
    }

    /// Creates a credential; the second part is the password, given here and never again.
    pub(super) fn create(
        &mut self,
        zone_id: &str,
        application_id: &str,
        draft: Draft,
        at: At,
    ) -> Result<(&Credential, Option<String>), Refusal> {
        self.application(zone_id, application_id)?;
        let mut password = None;
        let (kind, identifier) = match draft {
            Draft::Token { provider_id, subject } => {
                self.provider(zone_id, &provider_id)?;
                let identifier = subject.clone().unwrap_or_else(|| "*".into());
                (Kind::Token { provider_id, subject }, identifier)
            }
            Draft::Password { identifier } => {
                let secret = self.secret();
                let kind = Kind::Password { digest: digest(&secret), dud: false };
                password = Some(secret);
                (kind, self.client_id(identifier))
            }
            Draft::PublicKey { identifier, jwks_uri } => (Kind::PublicKey { jwks_uri }, self.client_id(identifier)),
            Draft::Url { identifier } => (Kind::Url, identifier),
            Draft::Public { identifier } => (Kind::Public, self.client_id(identifier)),
        };
        if kind.is_client() {
            self.refuse_duplicate(zone_id, &identifier, None)?;
        }
        let kind = self.perhaps_dud(kind);
        self.sequence += 1;
        self.last_change = at.now;
        let slug = format!("{}-{}", kind.name(), text(&mut self.dice, 10, LOWER_AND_DIGITS));
        let credential = Credential {
            sequence: self.sequence,
            id: self.id(),
            zone_id: zone_id.into(),
            application_id: application_id.into(),
            slug,
            identifier,
            kind,
            created: at.now,
            updated: at.now,
            deleted: None,
            last_login: None,
            login_count: 0,
        };
        self.credentials.push(credential);
        Ok((self.credentials.last().expect("pushed on the line above"), password))
    }

    /// Changes what the credential's type lets be changed, and ignores the rest.
    pub(super) fn change(&mut self, zone_id: &str, id: &str, change: Change, at: At) -> Result<&Credential, Refusal> {
        let position = self.position(zone_id, id, at)?;
        let mut changed = self.credentials[position].clone();
        match &mut changed.kind {
            Kind::Token { subject, .. } => {
                if let Some(wanted) = change.subject {
                    changed.identifier = wanted.clone().unwrap_or_else(|| "*".into());
                    *subject = wanted;
                }
            }
            Kind::Url => changed.identifier = change.identifier.unwrap_or(changed.identifier),
            Kind::Public => {
                if let Some(wanted) = change.identifier {
                    self.refuse_duplicate(zone_id, &wanted, Some(id))?;
                    changed.identifier = wanted;
                }
            }
            Kind::Password { .. } | Kind::PublicKey { .. } => {}
        }
        let before = &self.credentials[position];
        if (&changed.kind, &changed.identifier) != (&before.kind, &before.identifier) {
            changed.updated = at.now;
            self.last_change = at.now;
            self.credentials[position] = changed;
        }
        Ok(&self.credentials[position])
    }

    /// Deletes for good.
    pub(super) fn delete(&mut self, zone_id: &str, id: &str, at: At) -> Result<(), Refusal> {
        let position = self.position(zone_id, id, at)?;
        self.credentials[position].deleted = Some(at.now);
        self.last_change = at.now;
        let deleted_count = self.credentials.iter().filter(|one| one.deleted.is_some()).count();
        if deleted_count > DELETED_COUNT_MAX
            && let Some(oldest) = self.credentials.iter().position(|one| one.deleted.is_some())
        {
            self.credentials.remove(oldest);
        }
        Ok(())
    }

    /// An application ends, and its credentials with it.
    pub(super) fn end_application(&mut self, zone_slug: &str, slug: &str, now: Timestamp) {
        let Some(zone_id) = self.zones.iter().find(|zone| zone.slug == zone_slug).map(|zone| zone.id.clone()) else {
            return;
        };
        let Some(id) = find(&self.applications, &zone_id, slug) else { return };
        self.applications.retain(|one| one.id != id);
        for one in self.credentials.iter_mut().filter(|one| one.application_id == id) {
            one.deleted = one.deleted.or(Some(now));
        }
        self.last_change = now;
    }

    // --- the zone's token endpoint

    /// Client credentials grant. The order of checks is the service's: the client first, then the
    /// request, then whether the resource exists, then policy.
    pub(super) fn grant_zone_token(
        &mut self,
        zone_id: &str,
        pair: Option<(&str, &str)>,
        grant_type: &str,
        resources: &[String],
        at: At,
        issuer: &str,
    ) -> Result<Grant, Denial> {
        let (client_id, secret) = pair.ok_or(Denial::InvalidClient)?;
        let position = self.login(zone_id, client_id, secret, at).ok_or(Denial::InvalidClient)?;
        match grant_type {
            "client_credentials" => {}
            "" => return Err(Denial::InvalidRequest("grant_type is required")),
            _ => return Err(Denial::UnsupportedGrantType),
        }
        let mut planted = None;
        for wanted in resources {
            let known = self.resources.iter().find(|one| one.zone_id == zone_id && one.identifier == *wanted);
            match known.ok_or(Denial::InvalidTarget)? {
                Resource { kind: ResourceKind::Open, .. } => {}
                Resource { kind: ResourceKind::Vault, planted: value, .. } => planted = Some(value.clone()),
                Resource { kind: ResourceKind::Denied, .. } => return Err(Denial::AccessDenied),
            }
        }
        let lifetime_s = self.settings.zone_token_s;
        let claims = serde_json::json!({
            "iss": issuer,
            "sub": self.credentials[position].application_id,
            "aud": resources.first(),
            "client_id": client_id,
            "keycard_app_id": self.credentials[position].application_id,
            "iat": at.now.seconds(),
            "exp": at.now.seconds() + i64::try_from(lifetime_s).unwrap_or(i64::MAX / 2),
            "jti": self.id(),
        });
        let token = planted.unwrap_or_else(|| self.token(&claims));
        Ok(Grant { token, lifetime_s })
    }

    /// The credential that this pair logs in with, if it does; notes the login.
    fn login(&mut self, zone_id: &str, client_id: &str, secret: &str, at: At) -> Option<usize> {
        let (given, lag) = (digest(secret), |seconds| Duration::from_secs(seconds));
        let settings = &self.settings;
        let position = self.credentials.iter().position(|one| {
            one.zone_id == zone_id
                && one.identifier == client_id
                && one.kind == (Kind::Password { digest: given, dud: false })
                && one.created.plus(lag(settings.login_lag_s)) <= at.seen
                && one.deleted.is_none_or(|deleted| at.seen < deleted.plus(lag(settings.revoke_lag_s)))
        })?;
        self.credentials[position].last_login = Some(at.now);
        self.credentials[position].login_count += 1;
        Some(position)
    }

    /// The last moment before the latest change: what a lagging replica still answers from.
    pub(super) fn before_last_change(&self) -> Timestamp {
        self.last_change.minus(Duration::from_millis(1))
    }

    /// A fresh id, also for requests.
    pub(super) fn id(&mut self) -> String {
        text(&mut self.dice, 26, LOWER_AND_DIGITS)
    }

    fn is_visible(&self, credential: &Credential, at: At) -> bool {
        credential.created.plus(Duration::from_secs(self.settings.read_lag_s)) <= at.seen
            && credential.deleted.is_none_or(|deleted| at.seen < deleted)
    }

    fn position(&self, zone_id: &str, id: &str, at: At) -> Result<usize, Refusal> {
        self.zone(zone_id)?;
        let matches = |one: &Credential| one.zone_id == zone_id && one.id == id && self.is_visible(one, at);
        self.credentials.iter().position(matches).ok_or(Refusal::NotFound("application credential"))
    }

    /// Writes know the whole truth, whatever reads are told: a lagging credential counts as well.
    fn refuse_duplicate(&self, zone_id: &str, identifier: &str, except: Option<&str>) -> Result<(), Refusal> {
        let taken = self.credentials.iter().any(|one| {
            one.zone_id == zone_id
                && one.deleted.is_none()
                && one.kind.is_client()
                && one.identifier == identifier
                && Some(one.id.as_str()) != except
        });
        if taken && self.settings.duplicates_refused {
            return Err(Refusal::Conflict("an application credential with this identifier exists in the zone"));
        }
        Ok(())
    }

    fn perhaps_dud(&mut self, kind: Kind) -> Kind {
        match kind {
            Kind::Password { digest, .. } if self.settings.duds > 0 => {
                self.settings.duds -= 1;
                Kind::Password { digest, dud: true }
            }
            other
            @ (Kind::Token { .. } | Kind::Password { .. } | Kind::PublicKey { .. } | Kind::Url | Kind::Public) => other,
        }
    }

    fn entity(&mut self, slug: &str, zone_id: &str, now: Timestamp) -> Entity {
        self.sequence += 1;
        Entity {
            sequence: self.sequence,
            id: self.id(),
            zone_id: zone_id.into(),
            slug: slug.into(),
            identifier: slug.into(),
            name: title(slug),
            created: now,
        }
    }

    fn client_id(&mut self, wanted: Option<String>) -> String {
        wanted.unwrap_or_else(|| (0..21).map(|_| self.dice.alphanumeric()).collect())
    }

    fn secret(&mut self) -> String {
        let mut part = || -> String { (0..28).map(|_| self.dice.alphanumeric()).collect() };
        format!("{}{CANARY}{}", part(), part())
    }

    /// Three parts like a JWT, with readable claims; the last part is no signature. Nobody may
    /// verify it: the real tokens are signed with RS256.
    fn token(&mut self, claims: &serde_json::Value) -> String {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
        let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT","kid":"sandbox"}"#);
        let payload = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        format!("{header}.{payload}.{}", self.secret())
    }
}

fn find(among: &[Entity], zone_id: &str, slug: &str) -> Option<String> {
    among.iter().find(|one| one.zone_id == zone_id && one.slug == slug).map(|one| one.id.clone())
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn text(dice: &mut Rng, length: usize, alphabet: &[u8]) -> String {
    (0..length).map(|_| char::from(alphabet[dice.usize(..alphabet.len())])).collect()
}

/// `google-mcp-server` as a person would write it.
fn title(slug: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
    };
    slug.split('-').map(capital).collect::<Vec<_>>().join(" ")
}
