//! The judge: it knows the services and the declaration, and nothing of how keyferry works. After
//! every write of every process it looks at what was done; at the end, at what was left.
//!
//! | name of a violation | what keyferry did |
//! |---|---|
//! | `lease-ended-alive` | took `kf-cred` off a credential that lives |
//! | `ended-while-referenced` | ended a credential that AWSCURRENT, AWSPENDING or AWSPREVIOUS held |
//! | `ended-before-overlap` | ended one before its consumers had their overlap, and nobody said leaked or retired |
//! | `foreign-credential-ended` | ended a credential that it did not make |
//! | `foreign-secret-touched` | changed a secret that is not declared |
//! | `secret-deleted` | scheduled a secret for deletion that is wanted |
//! | `published-dead` | made a dead credential current, though nobody else had ended it |
//! | `published-no-value` | made a claim or a tombstone current |
//! | `current-lost` | left a secret without AWSCURRENT |
//!
//! Those of the end stand in `rest.rs`, those of a process in `process.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keyferry::sandbox::secrets_manager::state::{Secret, Version};

use crate::declare::{Draft, One};
use crate::net::{Call, Trouble};
use crate::services::{CredentialKey, SecretKey, Services, text};
use crate::time::{HOUR, MINUTE, shown};

/// How long before a write a person's edit may have been made that the process cannot have seen:
/// a look may be a minute old, a read five minutes stale.
const UNSEEN: Duration = Duration::from_secs(7 * 60);

/// Something that must not happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub name: &'static str,
    pub text: String,
}

/// One credential at a vendor.
#[derive(Clone, Debug)]
pub struct Credential {
    pub ours: bool,
    pub place: String,
    pub born: Duration,
    pub died: Option<Death>,
    /// Whether AWSCURRENT refers to it.
    pub current: bool,
    /// When AWSCURRENT left it last.
    pub ceased: Option<Duration>,
    /// The secret in which it was seen.
    pub secret: Option<SecretKey>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Death {
    pub at: Duration,
    pub by_us: bool,
}

/// What is remembered of one secret.
#[derive(Default)]
pub struct Known {
    pub seen: Option<Arc<Secret>>,
    /// The declared credential; `None` for a foreign secret.
    pub one: Option<One>,
    /// The last edit of a person.
    pub people: Option<Duration>,
    /// A person or the vendor did what only a person can put right, or what may take long.
    pub disturbed: bool,
    /// Credentials of it that a person called leaked.
    pub leaked: BTreeSet<CredentialKey>,
    pub retired: Option<Duration>,
    /// Every version ever seen that holds a credential.
    pub owners: BTreeMap<String, CredentialKey>,
}

#[derive(Default)]
pub struct Judge {
    pub violations: Vec<Violation>,
    pub credentials: BTreeMap<CredentialKey, Credential>,
    pub secrets: BTreeMap<SecretKey, Known>,
    /// By instance and place, the secrets whose credentials were ever made there.
    pub places: BTreeMap<(String, String), BTreeSet<SecretKey>>,
    /// What trouble each service is in, and when its last one ended.
    troubles: BTreeMap<String, (Option<Trouble>, Duration)>,
    pub now: Duration,
}

impl Judge {
    /// What is meant from now on.
    pub fn declare(&mut self, draft: &Draft) {
        for one in &draft.credentials {
            let key = (one.target.clone(), one.name.clone());
            let place = place(one);
            self.places.entry((one.vendor.clone(), place)).or_default().insert(key.clone());
            let known = self.secrets.entry(key).or_default();
            if one.retired && known.retired.is_none() {
                known.retired = Some(self.now);
            }
            known.one = Some(one.clone());
        }
    }

    /// Notes that a violation happened; each name once a world, the first counts.
    pub fn violate(&mut self, name: &'static str, text: String) {
        let text = format!("{} {name}: {text}", shown(self.now));
        self.violations.push(Violation { name, text });
    }

    /// A service's trouble began or ended.
    pub fn troubled(&mut self, name: &str, trouble: Option<Trouble>) {
        let before = self.troubles.get(name).and_then(|(before, _)| *before);
        let since = match (before.or(trouble), self.troubles.get(name)) {
            // What was mild all the time does not count as an interruption.
            (Some(kind), Some((_, since))) if kind.is_mild() && trouble.is_none_or(Trouble::is_mild) => *since,
            (Some(kind), None) if kind.is_mild() => Duration::ZERO,
            _ => self.now,
        };
        self.troubles.insert(name.into(), (trouble, since));
    }

    /// Since when everything has got done at a service, if slowly; `None` where it does not.
    pub fn works_since(&self, name: &str) -> Option<Duration> {
        match self.troubles.get(name) {
            None => Some(Duration::ZERO),
            Some((Some(trouble), _)) if !trouble.is_mild() => None,
            Some((_, since)) => Some(*since),
        }
    }

    /// Whether a service is in no trouble and has not been for a while.
    pub fn is_calm(&self, name: &str) -> bool {
        match self.troubles.get(name) {
            None => true,
            Some((Some(_), _)) => false,
            Some((None, since)) => since.is_zero() || self.now.saturating_sub(*since) > HOUR,
        }
    }

    /// A process wrote something.
    pub fn after(&mut self, services: &Services, call: &Call<'_>) {
        self.now = services.time.elapsed();
        if call.aws { self.look_at_target(services, call.at, true) } else { self.look_at_vendor(services, call, true) }
    }

    /// A person, Terraform or the vendor changed something.
    pub fn people(&mut self, services: &Services, key: &SecretKey, disturbs: bool) {
        self.now = services.time.elapsed();
        let known = self.secrets.entry(key.clone()).or_default();
        known.people = Some(self.now);
        known.disturbed |= disturbs;
        self.look_at_target(services, &key.0, false);
        let vendor = self.secrets.get(key).and_then(|known| known.one.as_ref()).map(|one| one.vendor.clone());
        if let Some(vendor) = vendor {
            self.look_at_instance(services, &vendor, false, false);
        }
    }

    /// What is there before anything began is somebody else's.
    pub fn first_look(&mut self, services: &Services) {
        for vendor in services.simulators.keys() {
            self.look_at_instance(services, vendor, false, false);
        }
    }

    fn look_at_target(&mut self, services: &Services, target: &str, by_us: bool) {
        let keys: Vec<SecretKey> = self.secrets.keys().filter(|key| key.0 == target).cloned().collect();
        for key in keys {
            let found = services.secret(&key);
            let before = self.secrets.get(&key).and_then(|known| known.seen.clone());
            let same = match (&before, &found) {
                (Some(before), Some(found)) => Arc::ptr_eq(before, found),
                (None, None) => true,
                _ => false,
            };
            if !same {
                self.changed(services, &key, before.as_deref(), found.as_deref(), by_us);
                self.secrets.get_mut(&key).expect("it was there").seen = found;
            }
        }
    }

    fn changed(
        &mut self,
        services: &Services,
        key: &SecretKey,
        before: Option<&Secret>,
        after: Option<&Secret>,
        by_us: bool,
    ) {
        let known = self.secrets.get_mut(key).expect("it was there");
        let Some(one) = known.one.clone() else {
            if by_us {
                self.violate("foreign-secret-touched", format!("secret {} of target {}", key.1, key.0));
            }
            return;
        };
        for version in after.iter().flat_map(|secret| &secret.versions) {
            if known.owners.contains_key(&version.id) {
                continue;
            }
            let whose = text(version.content.as_ref()).and_then(|text| services.whose(&one.vendor, text));
            if let Some(id) = whose {
                known.owners.insert(version.id.clone(), (one.vendor.clone(), id));
            }
        }
        let owners = known.owners.clone();
        let retired = known.retired.is_some();
        let holder = |secret: Option<&Secret>| secret.and_then(|secret| holder(secret, "AWSCURRENT").cloned());
        let (was, is) = (holder(before), holder(after));
        if by_us {
            self.leases(before, after, key);
            let moved = is.as_ref().filter(|is| was.as_ref().is_none_or(|was| was.id != is.id));
            if let Some(version) = moved {
                self.published(version, owners.get(&version.id), key, &one);
            }
            let deleted = |secret: Option<&Secret>| secret.is_some_and(|secret| secret.deleted.is_some());
            if was.is_some() && is.is_none() && after.is_some() {
                self.violate("current-lost", format!("secret {}", key.1));
            }
            if !retired && deleted(after) && !deleted(before) {
                self.violate("secret-deleted", format!("secret {}", key.1));
            }
        }
        let current = is.and_then(|version| owners.get(&version.id));
        for owned in owners.values() {
            let Some(credential) = self.credentials.get_mut(owned) else { continue };
            credential.secret = Some(key.clone());
            let is_current = Some(owned) == current;
            if credential.current && !is_current {
                credential.ceased = Some(self.now);
            }
            credential.current = is_current;
        }
    }

    /// No lease ends while its credential lives.
    fn leases(&mut self, before: Option<&Secret>, after: Option<&Secret>, key: &SecretKey) {
        let leased = |secret: Option<&Secret>| -> BTreeSet<String> {
            let all = secret.iter().flat_map(|secret| &secret.versions).flat_map(|version| &version.stages);
            all.filter_map(|label| leased(label)).map(str::to_owned).collect()
        };
        let after = leased(after);
        for id in leased(before).difference(&after) {
            let alive = self.credentials.iter().find(|((_, one), credential)| one == id && credential.died.is_none());
            if let Some(((vendor, _), credential)) = alive {
                let text = format!("{id} lives at {vendor} {}, and {} ended its lease", credential.place, key.1);
                self.violate("lease-ended-alive", text);
            }
        }
    }

    fn published(&mut self, version: &Version, owner: Option<&CredentialKey>, key: &SecretKey, one: &One) {
        let value = text(version.content.as_ref()).unwrap_or_default();
        if value.contains("\"keyferry\"") || value.starts_with("keyferry") {
            self.violate("published-no-value", format!("version {} of {}", version.id, key.1));
        }
        if one.kind == crate::declare::Kind::InPlace {
            return;
        }
        match owner.and_then(|owner| self.credentials.get(owner)) {
            None => self.violate("published-dead", format!("{}: the value is no credential of {}", key.1, one.vendor)),
            Some(Credential { died: Some(Death { by_us: true, .. }), .. }) => {
                self.violate("published-dead", format!("{}: its credential had been ended", key.1));
            }
            Some(_) => {}
        }
    }

    fn look_at_vendor(&mut self, services: &Services, call: &Call<'_>, by_us: bool) {
        let creates = call.what.starts_with("POST ") && !call.what.ends_with("/delete");
        self.look_at_instance(services, call.at, by_us, creates);
    }

    fn look_at_instance(&mut self, services: &Services, vendor: &str, by_us: bool, creates: bool) {
        let facts = services.facts(vendor);
        for (id, fact) in &facts {
            let key = (vendor.to_owned(), id.clone());
            self.credentials.entry(key).or_insert_with(|| Credential {
                ours: by_us && creates,
                place: fact.place.clone(),
                born: self.now,
                died: None,
                current: false,
                ceased: None,
                secret: None,
            });
        }
        let dead: Vec<CredentialKey> = self
            .credentials
            .iter()
            .filter(|((at, id), one)| {
                at == vendor && one.died.is_none() && !facts.get(id).is_some_and(|fact| fact.live)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in dead {
            if by_us {
                self.ended(&key);
            }
            let death = Death { at: self.now, by_us };
            self.credentials.get_mut(&key).expect("it was there").died = Some(death);
        }
    }

    /// A process ended this credential.
    fn ended(&mut self, key: &CredentialKey) {
        let credential = self.credentials[key].clone();
        let whose = format!("{} at {} {}", key.1, key.0, credential.place);
        if !credential.ours {
            self.violate("foreign-credential-ended", whose);
            return;
        }
        let Some((secret, known)) = credential.secret.as_ref().and_then(|one| Some((one, self.secrets.get(one)?)))
        else {
            return;
        };
        let Some(one) = &known.one else { return };
        let overlap = Duration::from_secs(one.overlap_h * 3_600);
        let since = |moment: Option<Duration>| moment.map_or(Duration::MAX, |moment| self.now.saturating_sub(moment));
        let retired = known.retired.is_some() && since(known.retired) + MINUTE >= overlap;
        let unseen = since(known.people) < UNSEEN;
        let labels: Vec<&str> = ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"]
            .into_iter()
            .filter(|label| {
                let holder = known.seen.as_ref().and_then(|seen| holder(seen, label));
                holder.is_some_and(|version| known.owners.get(&version.id) == Some(key))
            })
            .collect();
        let early = !known.leaked.contains(key)
            && !retired
            && since(known.people) > overlap
            && credential.ceased.is_some_and(|ceased| self.now.saturating_sub(ceased) < overlap);
        let referenced = !labels.is_empty() && !retired && !unseen;
        let secret = secret.1.clone();
        let (labels, ceased) = (labels.join(" and "), credential.ceased.map(shown).unwrap_or_default());
        if referenced {
            self.violate("ended-while-referenced", format!("{whose}, which {labels} of {secret} holds"));
        }
        if early {
            self.violate(
                "ended-before-overlap",
                format!("{whose} of {secret}: current until {ceased}, overlap {overlap:?}"),
            );
        }
    }
}

/// Where a credential is made, as the vendor's facts name it.
pub fn place(one: &One) -> String {
    match one.kind {
        crate::declare::Kind::Named => format!("{}/{}", one.zone, one.application),
        _ => one.application.clone(),
    }
}

/// The version that has this label.
pub fn holder<'a>(secret: &'a Secret, label: &str) -> Option<&'a Version> {
    secret.versions.iter().find(|version| version.stages.contains(label))
}

/// The vendor's id in a lease's label.
pub fn leased(label: &str) -> Option<&str> {
    label.strip_prefix("kf-cred:")?.split_once(':').map(|(_, id)| id)
}
