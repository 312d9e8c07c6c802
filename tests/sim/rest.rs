//! What is judged when the faults have been over for long: everything must be at rest, and what is
//! not must have been said.
//!
//! | name of a violation | what keyferry left |
//! |---|---|
//! | `not-at-rest` | a credential that is not fine, though nobody but faults had touched it |
//! | `silent-dead` | a consumer reads a dead value, and the status says that all is well |
//! | `out-of-step` | the record at the vendor does not hold what consumers read |
//! | `forgotten` | a live credential of ours that no lease tracks, and nothing said |
//! | `outlived` | a replaced credential that lives beyond its bound, and nothing said |
//! | `overdue` | a credential that should have been replaced long ago, and nothing said |

use std::collections::BTreeMap;
use std::time::Duration;

use keyferry::engine::snapshot::Status;
use keyferry::model::name::Name;
use keyferry::rotation::Turn;
use keyferry::sandbox::chatbotkit::ChatBotKit;

use crate::declare::{Kind, One};
use crate::judge::{Judge, holder, leased};
use crate::services::{CredentialKey, SecretKey, Services, text};
use crate::time::{HOUR, shown};

/// How long after its bound a thing may still be there: a sweep has its own pace.
const SLACK: Duration = Duration::from_secs(3 * 3_600);

impl Judge {
    /// Judges what is left; `statuses` is what the daemon says.
    pub fn at_rest(&mut self, services: &Services, statuses: &BTreeMap<Name, Status>) {
        self.now = services.time.elapsed();
        let keys: Vec<SecretKey> =
            self.secrets.iter().filter(|(_, one)| one.one.is_some()).map(|(key, _)| key.clone()).collect();
        for key in &keys {
            let status = Name::new(&key.1).ok().and_then(|name| statuses.get(&name));
            let loud = status.is_none_or(is_loud);
            self.one_at_rest(services, key, status, loud);
        }
        let live: Vec<CredentialKey> = self
            .credentials
            .iter()
            .filter(|(_, one)| one.ours && one.died.is_none())
            .map(|(key, _)| key.clone())
            .collect();
        for key in live {
            self.credential_at_rest(&key, statuses);
        }
    }

    /// Judges in between what has a bound whatever goes on slowly: `up` is since when a daemon has run.
    pub fn in_between(&mut self, services: &Services, statuses: &BTreeMap<Name, Status>, up: Duration) {
        self.now = services.time.elapsed();
        let live = self.credentials.iter().filter(|(_, one)| one.ours && one.died.is_none());
        let ends = |secret: &SecretKey, current: bool| !current || self.secrets[secret].retired.is_some();
        let live: Vec<(CredentialKey, SecretKey)> = live
            .filter_map(|(key, one)| {
                Some((key.clone(), one.secret.clone().filter(|secret| ends(secret, one.current))?))
            })
            .collect();
        for (key, secret) in live {
            let known = &self.secrets[&secret];
            let Some(one) = known.one.clone().filter(|_| !self.is_disturbed(&secret)) else { continue };
            let status = Name::new(&secret.1).ok().and_then(|name| statuses.get(&name));
            let works = [self.works_since(&one.vendor), self.works_since(&one.target), Some(up)];
            let Some(works) = works.into_iter().collect::<Option<Vec<_>>>() else { continue };
            // What a person typed last, too, counts anew.
            let credential = &self.credentials[&key];
            let latest = works
                .into_iter()
                .chain([credential.born])
                .chain(credential.ceased)
                .chain(known.retired)
                .chain(known.people)
                .max();
            let bound = Duration::from_secs((one.overlap_h + 2 + evidence_h(&one)) * 3_600) + SLACK;
            let late = latest.filter(|since| self.now.saturating_sub(*since) > bound);
            if let Some(since) = late.filter(|_| status.is_some_and(|status| !is_loud(status))) {
                let whose = format!("{} at {} {}", key.1, key.0, credential.place);
                self.violate("outlived", format!("{whose}: nothing has been in its way since {}", shown(since)));
            }
        }
    }

    /// Whether somebody interfered with it, or with what it waits for: a source does not end what its
    /// followers still use.
    fn is_disturbed(&self, key: &SecretKey) -> bool {
        self.secrets[key].disturbed || self.is_tied_to_disturbed(key)
    }

    fn is_tied_to_disturbed(&self, key: &SecretKey) -> bool {
        let Some(one) = &self.secrets[key].one else { return false };
        let tied = |other: &One| other.fed_by.as_ref() == Some(&one.name) || one.fed_by.as_ref() == Some(&other.name);
        self.secrets.values().any(|other| other.disturbed && other.one.as_ref().is_some_and(tied))
    }

    fn one_at_rest(&mut self, services: &Services, key: &SecretKey, status: Option<&Status>, loud: bool) {
        let known = &self.secrets[key];
        let one = known.one.clone().expect("it is declared");
        if known.retired.is_some() {
            return;
        }
        let said = status.map_or("nothing".into(), |status| {
            format!(
                "{} {:?} {}",
                status.word(),
                status.reason,
                status.fault.as_ref().map(ToString::to_string).unwrap_or_default()
            )
        });
        let current = known.seen.as_ref().and_then(|seen| holder(seen, "AWSCURRENT")).cloned();
        let owner = current.as_ref().and_then(|version| known.owners.get(&version.id));
        let credential = owner.and_then(|owner| self.credentials.get(owner));
        let alive = credential.is_some_and(|one| one.died.is_none());
        let disturbed = self.is_disturbed(key);
        let paused = status.is_some_and(|status| status.turn() == Turn::Paused);
        if !disturbed && !paused && (loud || current.is_none()) {
            self.violate("not-at-rest", format!("{}: {said}", key.1));
        }
        if one.kind == Kind::InPlace {
            let value = current.as_ref().and_then(|version| text(version.content.as_ref()));
            let value = value.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
            let held = services.vendor::<ChatBotKit>(&one.vendor).and_then(|vendor| vendor.holds(&one.application));
            let held = held.and_then(|(value, _)| value);
            if !loud && value.as_ref().and_then(|value| value["value"].as_str()) != held.as_deref() {
                self.violate("out-of-step", format!("{}: {said}", key.1));
            }
            return;
        }
        if current.is_some() && !alive && !loud {
            self.violate("silent-dead", format!("{}: {said}", key.1));
        }
        let bound = Duration::from_secs((one.every_h + 2 + evidence_h(&one)) * 3_600) + SLACK;
        let age = current.map(|version| services.time.now().since(version.created));
        if !loud && one.every_h > 0 && age.is_some_and(|age| age > bound) {
            self.violate("overdue", format!("{}: current for {age:?}, every {} h: {said}", key.1, one.every_h));
        }
    }

    fn credential_at_rest(&mut self, key: &CredentialKey, statuses: &BTreeMap<Name, Status>) {
        let credential = self.credentials[key].clone();
        // One that was stored belongs to that secret; one that never was, to those that are made there.
        let place = (key.0.clone(), credential.place.clone());
        let secrets: Vec<SecretKey> = match &credential.secret {
            Some(secret) => vec![secret.clone()],
            None => self.places.get(&place).into_iter().flatten().cloned().collect(),
        };
        let status = |secret: &SecretKey| Name::new(&secret.1).ok().and_then(|name| statuses.get(&name));
        if secrets.iter().any(|secret| status(secret).is_none_or(|status| is_loud(status) || status.foreign > 0)) {
            return;
        }
        let whose = format!("{} at {} {}", key.1, key.0, credential.place);
        let tracked = secrets.iter().any(|secret| {
            let seen = self.secrets[secret].seen.as_ref();
            let mut labels = seen.iter().flat_map(|seen| &seen.versions).flat_map(|version| &version.stages);
            labels.any(|label| leased(label) == Some(&key.1))
        });
        if !tracked {
            self.violate("forgotten", format!("{whose}, of {secrets:?}"));
            return;
        }
        let Some(one) = secrets.first().and_then(|secret| self.secrets[secret].one.clone()) else { return };
        let bound = Duration::from_secs((one.overlap_h + 2 + evidence_h(&one)) * 3_600) + SLACK;
        let waits = secrets.iter().any(|secret| self.is_tied_to_disturbed(secret));
        let since = if credential.current || waits { None } else { credential.ceased };
        if let Some(since) = since.filter(|since| self.now.saturating_sub(*since) > bound) {
            self.violate("outlived", format!("{whose}: not current since {}", shown(since)));
        }
    }
}

/// Longest wait for evidence, in hours.
pub fn evidence_h(one: &One) -> u64 {
    match one.retire_when {
        None => 0,
        Some(when) if when.contains("2d") => 48,
        Some(_) => 24,
    }
}

/// Whether the status asks for anybody's attention.
fn is_loud(status: &Status) -> bool {
    status.exit_code() != 0 || status.dead || status.stripped || !matches!(status.turn(), Turn::Nobody | Turn::Keyferry)
}

/// How long a world must be quiet before it is judged.
pub fn quiet(credentials: &[One]) -> Duration {
    let longest = credentials.iter().map(|one| one.overlap_h + evidence_h(one)).max().unwrap_or(0);
    Duration::from_secs(longest * 3_600) + 10 * HOUR
}
