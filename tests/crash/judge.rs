//! Sees every call, right after it was applied and before anything else happens, and holds it
//! against the protocol's invariants. It reads the services' own state, and knows nothing of what
//! keyferry thinks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use keyferry::model::time::Timestamp;
use keyferry::sandbox::gate::Passed;
use keyferry::sandbox::keycard::{CredentialFact, Keycard};
use keyferry::sandbox::secrets_manager::SecretsManager;
use keyferry::sandbox::secrets_manager::state::{Content, Secret};
use keyferry::sandbox::simulator::Simulator;
use keyferry::sandbox::stage::Sandbox;
use serde_json::Value;

/// The name of the only secret.
pub const SECRET: &str = "app";
const AWS_LABELS: [&str; 3] = ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"];

/// The judge.
pub struct Judge {
    secrets_manager: Arc<SecretsManager>,
    vendor: Arc<dyn Simulator>,
    live_max: usize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    violations: Vec<String>,
    calls: Vec<String>,
    live: BTreeSet<String>,
    /// What each version held when it was first seen.
    contents: BTreeMap<String, String>,
    current: Option<String>,
    /// Vendor ids that some version's `kf-cred` names.
    leased: BTreeSet<String>,
    /// Those that any ever named.
    ever_leased: BTreeSet<String>,
}

/// A version, as the judge needs it.
struct Version {
    id: String,
    labels: BTreeSet<String>,
    text: String,
}

impl Version {
    fn has(&self, label: &str) -> bool {
        self.labels.contains(label)
    }

    /// The vendor id in the lease, if there is one.
    fn leased(&self) -> Option<&str> {
        self.labels.iter().find_map(|label| Some(label.strip_prefix("kf-cred:")?.split_once(':')?.1))
    }

    fn field(&self, name: &str) -> Option<String> {
        let value: Value = serde_json::from_str(&self.text).ok()?;
        Some(value.get(name)?.as_str()?.to_owned())
    }

    /// A claim or a tombstone: keyferry's own words, and no credential.
    fn is_ours(&self) -> bool {
        self.field("keyferry").is_some()
    }
}

impl Judge {
    /// A judge that watches the calls to these services from now on.
    pub fn at(sandbox: &Sandbox, replicas: usize) -> Arc<Self> {
        let judge = Arc::new(Self {
            secrets_manager: Arc::clone(&sandbox.secrets_manager),
            vendor: Arc::clone(sandbox.vendor("keycard").unwrap()),
            live_max: 4 + replicas - 1,
            seen: Mutex::default(),
        });
        let watching = Arc::clone(&judge);
        sandbox.world.gate.watch(Arc::new(move |call| watching.look(call)));
        judge
    }

    /// Notes a violation.
    pub fn blame(&self, what: String) {
        let mut seen = self.seen.lock().unwrap();
        let at = seen.calls.last().cloned().unwrap_or_default();
        seen.violations.push(format!("{what} (after {at})"));
    }

    /// Violations so far.
    pub fn violations(&self) -> Vec<String> {
        self.seen.lock().unwrap().violations.clone()
    }

    /// The calls so far, in order.
    pub fn calls(&self) -> Vec<String> {
        self.seen.lock().unwrap().calls.clone()
    }

    fn keycard(&self) -> &Keycard {
        let vendor: &dyn std::any::Any = &*self.vendor;
        vendor.downcast_ref().expect("the tests' vendor is Keycard")
    }

    fn versions(&self) -> Vec<Version> {
        let shown = |secret: &Secret| {
            let versions = secret.versions.iter().map(|version| Version {
                id: version.id.clone(),
                labels: version.stages.clone(),
                text: match version.content.as_deref() {
                    Some(Content::Text(text)) => text.clone(),
                    Some(Content::Bytes(_)) | None => String::new(),
                },
            });
            versions.collect()
        };
        let now = self.secrets_manager.world().now();
        self.secrets_manager
            .with_state(|state| state.present("us-east-1", SECRET, now).map(|secret| shown(secret)))
            .unwrap_or_default()
    }

    /// The state after one call, and how it differs from the one before.
    fn look(&self, call: &Passed) {
        let facts = self.keycard().credentials();
        let live: BTreeSet<String> = self.vendor.live().into_iter().collect();
        let versions = self.versions();
        let mut seen = self.seen.lock().unwrap();
        seen.calls.push(format!("{} {}", call.service, call.call));
        let mut wrong = Vec::new();
        if live.len() > self.live_max {
            wrong.push(format!("{} credentials live at once", live.len()));
        }
        for ended in seen.live.difference(&live) {
            let refers = |version: &&Version| identifies(&facts, version).is_some_and(|fact| fact.id == *ended);
            for version in versions.iter().filter(refers) {
                for label in AWS_LABELS.into_iter().filter(|label| version.has(label)) {
                    wrong.push(format!("a credential was revoked while {label} referred to it"));
                }
            }
        }
        for version in &versions {
            let first = seen.contents.entry(version.id.clone()).or_insert_with(|| version.text.clone());
            if *first != version.text {
                wrong.push("the content of a version changed".into());
            }
            let referenced = version.has("AWSCURRENT") || version.has("AWSPENDING");
            if referenced && version.is_ours() {
                wrong.push("AWSCURRENT or AWSPENDING is on a claim or a tombstone".into());
            }
        }
        let current = versions.iter().find(|version| version.has("AWSCURRENT"));
        match current.map(|version| identifies(&facts, version)) {
            Some(Some(fact)) if !live.contains(&fact.id) => wrong.push("AWSCURRENT holds a dead credential".into()),
            Some(Some(fact)) if fact.login_count == 0 => {
                wrong.push("AWSCURRENT was published without a login with it".into());
            }
            Some(None) => wrong.push("AWSCURRENT holds no credential of the vendor".into()),
            None if seen.current.is_some() => wrong.push("AWSCURRENT went away".into()),
            Some(Some(_)) | None => {}
        }
        seen.current = current.map(|version| version.id.clone());
        let leased: BTreeSet<String> = versions.iter().filter_map(Version::leased).map(Into::into).collect();
        if let Some(early) = seen.leased.difference(&leased).find(|id| live.contains(*id)) {
            wrong.push(format!("the lease of {early} was taken off while it lived"));
        }
        seen.ever_leased.extend(leased.iter().cloned());
        seen.leased = leased;
        seen.live = live;
        let at = seen.calls.last().cloned().unwrap_or_default();
        seen.violations.extend(wrong.into_iter().map(|what| format!("{what} (after {at})")));
    }

    /// Whether the old value lives on for its overlap, and nothing is under way.
    pub fn in_overlap(&self) -> bool {
        let versions = self.versions();
        let any = |label: &str| versions.iter().any(|version| version.has(label));
        any("AWSPREVIOUS") && !any("AWSPENDING")
    }

    /// What must be so once everything rests.
    pub fn rest(&self) {
        for what in self.at_rest() {
            self.blame(what);
        }
    }

    /// What is not yet as it must be at rest.
    pub fn at_rest(&self) -> Vec<String> {
        let versions = self.versions();
        let facts = self.keycard().credentials();
        let live = self.vendor.live();
        let mut wrong = Vec::new();
        match versions.iter().find(|version| version.has("AWSCURRENT")) {
            None => wrong.push("at rest, nothing is current".to_owned()),
            Some(version) => {
                let current = identifies(&facts, version).map(|fact| fact.id.clone());
                if live.len() != 1 || current.as_ref() != live.first() {
                    wrong.push(format!(
                        "at rest, {} credentials live besides or instead of the current one",
                        live.len()
                    ));
                }
                if version.leased().map(str::to_owned) != current {
                    wrong.push("at rest, the current version has no lease of its own".into());
                }
            }
        }
        for version in &versions {
            for label in &version.labels {
                let fine = matches!(label.as_str(), "AWSCURRENT" | "kf-closed")
                    || label.starts_with("kf-cred:") && version.has("AWSCURRENT");
                if !fine {
                    wrong.push(format!("at rest, there is still a label {label}"));
                }
            }
        }
        wrong
    }

    /// The vendor's id of the current credential.
    pub fn current(&self) -> Option<String> {
        let facts = self.keycard().credentials();
        let version = self.versions().into_iter().find(|version| version.has("AWSCURRENT"))?;
        identifies(&facts, &version).map(|fact| fact.id.clone())
    }

    /// How many credentials any version's `kf-cred` ever named.
    pub fn lease_count(&self) -> usize {
        self.seen.lock().unwrap().ever_leased.len()
    }

    /// When a credential was revoked.
    pub fn revoked(&self, id: &str) -> Option<Timestamp> {
        self.keycard().credentials().into_iter().find(|fact| fact.id == id)?.deleted
    }
}

/// The credential whose client id a version holds.
fn identifies<'a>(facts: &'a [CredentialFact], version: &Version) -> Option<&'a CredentialFact> {
    let id = version.field("client_id")?;
    facts.iter().filter(|fact| fact.identifier == id).max_by_key(|fact| fact.created)
}
