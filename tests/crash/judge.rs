//! Sees every call, right after it was applied and before anything else happens, and holds it
//! against the protocol's invariants. It reads the services' own state, and knows nothing of what
//! keyferry thinks: every date is the one at which it saw something happen.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyferry::model::time::Timestamp;
use keyferry::sandbox::gate::Passed;
use keyferry::sandbox::secrets_manager::SecretsManager;
use keyferry::sandbox::secrets_manager::state::{Content, Secret};
use keyferry::sandbox::simulator::Simulator;
use keyferry::sandbox::stage::Sandbox;
use serde_json::Value;

use crate::kind::{Fact, Kind};
use crate::plot::Plot;

/// The name of every secret: of each target's only one.
pub const SECRET: &str = "app";
/// Where the first target is.
pub const REGION: &str = "us-east-1";
/// The tag that says that somebody tries to make the first value.
const BOOTSTRAP: &str = "keyferry:attempt";
/// The tag that says that the credential is retired.
const RETIRING: &str = "keyferry:retiring";
/// Tags that begin so say that something of ours may live in the place that the key ends with; the
/// one of the place that the second tag names is no trouble.
const DWELLING: &str = "keyferry:dwelling:";
const PLACE: &str = "keyferry:place";
const AWS_LABELS: [&str; 3] = ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"];
/// From the word that the current credential is about to end to its end: twice settle, less what a
/// call may be under way.
const FOREWARNED: Duration = Duration::from_secs(25 * 60);
/// A deletion is scheduled with a window of 30 days.
const RECOVERY: Duration = Duration::from_secs(29 * 86_400);

/// What a voyage promises of its credential.
#[derive(Clone, Copy)]
pub struct Promise {
    pub kind: Kind,
    /// The target's Region.
    pub region: &'static str,
    /// Processes that may work at once.
    pub replicas: usize,
    /// How long consumers may hold what was replaced or retired.
    pub overlap: Duration,
    /// A process may sleep before it sets a value in place, and set it when it is another's turn:
    /// that is healed, and not prevented.
    pub sets_late: bool,
}

/// A date that is far away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wait {
    /// The old value lives on for its overlap.
    Overlap,
    /// Consumers of a retired credential are given their time.
    Retiring,
    /// It is said that the credential is about to end.
    Forewarned,
}

/// The judge.
pub struct Judge {
    secrets_manager: Arc<SecretsManager>,
    vendor: Arc<dyn Simulator>,
    promise: Promise,
    /// What was at the vendor before keyferry: somebody else's.
    foreign: BTreeSet<String>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    violations: Vec<String>,
    calls: Vec<String>,
    live: BTreeSet<String>,
    /// Tags of keyferry's own that were there at some time: a judge that never saw the one that it
    /// waits to see gone has judged nothing.
    tags: BTreeSet<&'static str>,
    /// In place: the value that the record holds, and how often the vendor had proved a value when
    /// this one was set.
    set: Option<(String, u64)>,
    /// When a credential was seen to have ended.
    ended: BTreeMap<String, Timestamp>,
    /// What each version held when it was first seen.
    contents: BTreeMap<String, String>,
    current: Option<String>,
    /// Vendor ids that some version's `kf-cred` names.
    leased: BTreeSet<String>,
    /// Since when consumers are told that it is retired.
    retiring: Option<Timestamp>,
    /// The version that is said to be ending, and since when.
    ending: Option<(String, Timestamp)>,
    deleted: bool,
}

/// A version, as the judge needs it.
struct Version {
    id: String,
    labels: BTreeSet<String>,
    text: String,
    /// The credential that its value logs in as.
    whose: Option<String>,
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

/// How things stand.
struct Shown {
    now: Timestamp,
    versions: Vec<Version>,
    /// What keyferry made at the vendor.
    facts: Vec<Fact>,
    /// How many live that it did not make.
    foreign: usize,
    records: usize,
    /// The tag that says that the credential is retired.
    retiring: Option<String>,
    /// The tag that says that somebody tries to make the first value is there.
    bootstrap: bool,
    /// A tag that says that something may still live in a former place is there.
    former: bool,
    /// When the secret will be gone.
    gone: Option<Timestamp>,
}

impl Shown {
    fn live(&self) -> BTreeSet<String> {
        self.facts.iter().filter(|fact| fact.lives).map(|fact| fact.id.clone()).collect()
    }

    fn with(&self, label: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.has(label))
    }

    fn leased(&self) -> BTreeSet<String> {
        self.versions.iter().filter_map(Version::leased).map(Into::into).collect()
    }

    /// The version that the tag says is ending.
    fn ending(&self) -> Option<String> {
        self.retiring.as_ref()?.splitn(3, ':').nth(2).map(Into::into)
    }
}

/// Has each of `judges` see every call from now on.
pub fn watch(sandbox: &Sandbox, judges: Vec<Arc<Judge>>) {
    sandbox.world.gate.watch(Arc::new(move |call| judges.iter().for_each(|judge| judge.look(call))));
}

impl Judge {
    /// A judge of one promise. It sees nothing before [`watch`].
    pub fn of(sandbox: &Sandbox, promise: Promise) -> Arc<Self> {
        let vendor = Arc::clone(sandbox.vendor(promise.kind.vendor().name).unwrap());
        let foreign = promise.kind.facts(&*vendor).into_iter().map(|fact| fact.id).collect();
        let secrets_manager = Arc::clone(&sandbox.secrets_manager);
        Arc::new(Self { secrets_manager, vendor, promise, foreign, seen: Mutex::default() })
    }

    /// Notes a violation.
    pub fn blame(&self, what: String) {
        self.seen.lock().unwrap().blame([what]);
    }

    /// Violations so far.
    pub fn violations(&self) -> Vec<String> {
        self.seen.lock().unwrap().violations.clone()
    }

    /// The calls so far, in order.
    pub fn calls(&self) -> Vec<String> {
        self.seen.lock().unwrap().calls.clone()
    }

    fn shown(&self) -> Shown {
        let now = self.secrets_manager.world().now();
        let kind = self.promise.kind;
        let version = |secret: &Secret| {
            let versions = secret.versions.iter().map(|version| {
                let text = match version.content.as_deref() {
                    Some(Content::Text(text)) => text.clone(),
                    Some(Content::Bytes(_)) | None => String::new(),
                };
                let value = serde_json::from_str(&text).unwrap_or_default();
                let whose = kind.whose(&*self.vendor, &value);
                Version { id: version.id.clone(), labels: version.stages.clone(), text, whose }
            });
            versions.collect()
        };
        let (versions, retiring, bootstrap, former, gone) = self
            .secrets_manager
            .with_state(|state| {
                let secret = state.present(self.promise.region, SECRET, now)?;
                let tags = secret.tags.clone().unwrap_or_default();
                let former = |key: &String| {
                    key.strip_prefix(DWELLING).is_some_and(|at| tags.get(PLACE).is_none_or(|place| place != at))
                };
                let former = tags.keys().any(former);
                let (retiring, bootstrap) = (tags.get(RETIRING).cloned(), tags.contains_key(BOOTSTRAP));
                Some((version(secret), retiring, bootstrap, former, secret.deleted))
            })
            .unwrap_or_default();
        let (theirs, facts) =
            kind.facts(&*self.vendor).into_iter().partition::<Vec<_>, _>(|fact| self.foreign.contains(&fact.id));
        let foreign = theirs.iter().filter(|fact| fact.lives).count();
        let records = kind.records(&*self.vendor);
        Shown { now, versions, facts, foreign, records, retiring, bootstrap, former, gone }
    }

    /// The state after one call, and how it differs from the one before.
    fn look(&self, call: &Passed) {
        let shown = self.shown();
        let mut seen = self.seen.lock().unwrap();
        seen.calls.push(format!("{} {}", call.service, call.call));
        seen.note_tags(&shown);
        seen.note_set(&shown);
        seen.note_retirement(&shown);
        let mut wrong = seen.contents(&shown);
        wrong.extend(seen.leases(&shown));
        wrong.extend(seen.deletion(&shown, self.promise.overlap));
        wrong.extend(match self.promise.kind {
            Kind::Named | Kind::Unnamed => seen.credentials(&shown, self.promise),
            Kind::InPlace => seen.record(&shown, self.promise),
        });
        if shown.foreign != self.foreign.len() {
            wrong.push("somebody else's credential was revoked".into());
        }
        seen.remember(&shown);
        seen.blame(wrong);
    }

    /// The date that is waited for, where nothing is under way.
    pub fn waits(&self) -> Option<Wait> {
        let shown = self.shown();
        let wait = match (&shown.retiring, shown.ending()) {
            (Some(_), Some(_)) => Wait::Forewarned,
            (Some(_), None) => Wait::Retiring,
            (None, _) => shown.with("AWSPREVIOUS").map(|_| Wait::Overlap)?,
        };
        shown.with("AWSPENDING").is_none().then_some(wait)
    }

    /// Since when consumers are told that the credential is retired.
    pub fn retiring(&self) -> Option<Timestamp> {
        self.seen.lock().unwrap().retiring
    }

    /// What is not yet as it must be at rest.
    pub fn at_rest(&self, retired: bool) -> Vec<String> {
        let shown = self.shown();
        let live = shown.live();
        let mut wrong = Vec::new();
        let current = shown.with("AWSCURRENT");
        let whose = current.and_then(|version| version.whose.clone());
        match (current, retired, self.promise.kind) {
            (None, ..) => wrong.push("at rest, nothing is current".to_owned()),
            (Some(_), true, _) if shown.gone.is_none() => wrong.push("the secret is not scheduled for deletion".into()),
            (Some(_), true, Kind::Named | Kind::Unnamed) => {
                if !live.is_empty() {
                    wrong.push(format!("retired, and {} credentials live", live.len()));
                }
            }
            (Some(_), _, Kind::InPlace) => {
                // Retired, the record stays as it is: whoever owns it deletes it.
                if live.first() != whose.as_ref() {
                    wrong.push("at rest, ChatBotKit does not hold the current value".into());
                }
            }
            (Some(version), false, Kind::Named | Kind::Unnamed) => {
                if live.len() != 1 || whose.as_ref() != live.first() {
                    wrong.push(format!(
                        "at rest, {} credentials live besides or instead of the current one",
                        live.len()
                    ));
                }
                if version.leased().map(str::to_owned) != whose {
                    wrong.push("at rest, the current version has no lease of its own".into());
                }
            }
        }
        if shown.former {
            wrong.push("at rest, the tag of a former place is still there".into());
        }
        for version in &shown.versions {
            for label in &version.labels {
                let fine = matches!(label.as_str(), "AWSCURRENT" | "kf-closed")
                    || label.starts_with("kf-cred:") && version.has("AWSCURRENT") && !retired;
                if !fine {
                    wrong.push(format!("at rest, there is still a label {label}"));
                }
            }
        }
        wrong
    }

    /// Whether the tag of a first attempt is still there. It goes when a pass after settle finds
    /// nothing left of it, which `once` doesn't wait for.
    pub fn bootstraps(&self) -> bool {
        self.shown().bootstrap
    }

    /// Blames a voyage in which a tag was never seen that such a plot can't do without: it was renamed,
    /// and what is said of its going means nothing.
    pub fn saw_the_tags_of(&self, plot: Plot) {
        let wanted = match plot {
            Plot::Rotation | Plot::Leaked => None,
            Plot::First => (self.promise.kind != Kind::InPlace).then_some(BOOTSTRAP),
            Plot::Retirement => Some(RETIRING),
            Plot::Move => Some(DWELLING),
        };
        let unseen = wanted.filter(|tag| !self.seen.lock().unwrap().tags.contains(tag));
        if let Some(tag) = unseen {
            self.blame(format!("the tag {tag} was never seen, so that it is gone says nothing"));
        }
    }

    /// What must be so whenever a process came to its own end: in place, nothing is left half way.
    pub fn settled(&self) {
        let shown = self.shown();
        let whose = shown.with("AWSCURRENT").and_then(|version| version.whose.clone());
        if self.promise.kind == Kind::InPlace && shown.live().first() != whose.as_ref() {
            self.blame("a process ended, and ChatBotKit does not hold the current value".into());
        }
    }

    /// The vendor's id of the current credential.
    pub fn current(&self) -> Option<String> {
        self.shown().with("AWSCURRENT")?.whose.clone()
    }

    /// How many claims were ever made because a value leaked.
    pub fn leak_count(&self) -> usize {
        self.claims().into_iter().filter(|claim| claim["cause"] == "leaked").count()
    }

    /// How many claims were ever made.
    pub fn claim_count(&self) -> usize {
        self.claims().len()
    }

    fn claims(&self) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        let texts = seen.contents.values().filter_map(|text| serde_json::from_str::<Value>(text).ok());
        texts.filter(|text| text["cause"].is_string()).collect()
    }

    /// Holds against `bounds` how long after `began` a credential ended; in place, when its value was
    /// replaced.
    pub fn lived(&self, id: &str, began: Timestamp, bounds: RangeInclusive<Duration>) {
        let ended = self.seen.lock().unwrap().ended.get(id).copied();
        let took = ended.map_or(Duration::MAX, |at| at.since(began));
        if !bounds.contains(&took) {
            self.blame(format!("the old credential ended after {took:?}, which is not within {bounds:?}"));
        }
    }
}

impl Seen {
    fn blame(&mut self, wrong: impl IntoIterator<Item = String>) {
        let at = self.calls.last().cloned().unwrap_or_default();
        self.violations.extend(wrong.into_iter().map(|what| format!("{what} (after {at})")));
    }

    fn note_tags(&mut self, shown: &Shown) {
        let there = [(DWELLING, shown.former), (BOOTSTRAP, shown.bootstrap), (RETIRING, shown.retiring.is_some())];
        self.tags.extend(there.into_iter().filter(|(_, there)| *there).map(|(tag, _)| tag));
    }

    /// In place: a value was set, by whomever.
    fn note_set(&mut self, shown: &Shown) {
        let held = shown.facts.iter().find(|fact| fact.lives);
        if let Some(fact) = held.filter(|fact| self.set.as_ref().is_none_or(|(value, _)| *value != fact.id)) {
            self.set = Some((fact.id.clone(), fact.uses));
        }
    }

    /// When it was first said that the credential is retired, and that it is about to end.
    fn note_retirement(&mut self, shown: &Shown) {
        match &shown.retiring {
            None => (self.retiring, self.ending) = (None, None),
            Some(_) => _ = self.retiring.get_or_insert(shown.now),
        }
        if let Some(version) = shown.ending() {
            self.ending.get_or_insert((version, shown.now));
        }
    }

    /// Whether consumers of a retired credential have had their time.
    fn time_given(&self, now: Timestamp, overlap: Duration) -> bool {
        self.retiring.is_some_and(|since| now >= since.plus(overlap))
    }

    /// Whether the current credential may end, or be dead.
    fn may_end(&self, version: &Version, now: Timestamp, overlap: Duration) -> bool {
        let warned = |(id, since): &(String, Timestamp)| *id == version.id && now >= since.plus(FOREWARNED);
        self.time_given(now, overlap) && self.ending.as_ref().is_some_and(warned)
    }

    /// What AWS holds, whatever the vendor.
    fn contents(&mut self, shown: &Shown) -> Vec<String> {
        let mut wrong = Vec::new();
        for version in &shown.versions {
            let first = self.contents.entry(version.id.clone()).or_insert_with(|| version.text.clone());
            if *first != version.text {
                wrong.push("the content of a version changed".into());
            }
            if version.is_ours() && (version.has("AWSCURRENT") || version.has("AWSPENDING")) {
                wrong.push("AWSCURRENT or AWSPENDING is on a claim or a tombstone".into());
            }
        }
        match shown.with("AWSCURRENT") {
            Some(version) if version.whose.is_none() => {
                wrong.push("AWSCURRENT holds no credential of the vendor".into());
            }
            None if self.current.is_some() => wrong.push("AWSCURRENT went away".into()),
            Some(_) | None => {}
        }
        wrong
    }

    fn leases(&self, shown: &Shown) -> Option<String> {
        let (live, leased) = (shown.live(), shown.leased());
        let early = self.leased.difference(&leased).find(|id| live.contains(*id))?;
        Some(format!("the lease of {early} was taken off while it lived"))
    }

    /// A secret is scheduled for deletion when its consumers have had their time, and nothing in it
    /// or lost by it lives; and never without a way back.
    fn deletion(&self, shown: &Shown, overlap: Duration) -> Vec<String> {
        let Some(gone) = shown.gone.filter(|_| !self.deleted) else { return Vec::new() };
        let rules = [
            (self.time_given(shown.now, overlap), "the secret was deleted before its consumers had their time"),
            (shown.leased().is_empty(), "the secret was deleted while it tracks a credential"),
            (gone >= shown.now.plus(RECOVERY), "the secret was deleted without 30 days to restore it"),
        ];
        rules.into_iter().filter(|(kept, _)| !kept).map(|(_, what)| what.into()).collect()
    }

    /// Where every rotation makes a credential of its own.
    fn credentials(&self, shown: &Shown, promise: Promise) -> Vec<String> {
        let mut wrong = Vec::new();
        let live = shown.live();
        if live.len() > 4 + promise.replicas - 1 {
            wrong.push(format!("{} credentials live at once", live.len()));
        }
        let may_end = |version: &Version| self.may_end(version, shown.now, promise.overlap);
        for ended in self.live.difference(&live) {
            for version in shown.versions.iter().filter(|version| version.whose.as_ref() == Some(ended)) {
                let retired = |label: &&str| *label == "AWSCURRENT" && may_end(version);
                for label in AWS_LABELS.into_iter().filter(|label| version.has(label) && !retired(label)) {
                    wrong.push(format!("a credential was revoked while {label} referred to it"));
                }
            }
        }
        if let Some(version) = shown.with("AWSCURRENT") {
            match shown.facts.iter().find(|fact| version.whose.as_ref() == Some(&fact.id)) {
                Some(fact) if !fact.lives && !may_end(version) => {
                    wrong.push("AWSCURRENT holds a dead credential".into());
                }
                Some(fact) if fact.uses == 0 => wrong.push("AWSCURRENT was published without a login with it".into()),
                Some(_) | None => {}
            }
        }
        wrong
    }

    /// In place, the old value ends when the new one is set, and nothing can make that and the
    /// promotion one. What is promised: the vendor holds nothing that AWS does not, and wherever it
    /// differs from what is current, AWSPENDING says so.
    fn record(&self, shown: &Shown, promise: Promise) -> Vec<String> {
        let mut wrong = Vec::new();
        if shown.records > 1 || (shown.facts.is_empty() && !self.live.is_empty()) {
            wrong.push(format!("{} records where there is to be one with a value", shown.records));
        }
        let is = |label: &str, value: &String| {
            shown.with(label).is_some_and(|version| version.whose.as_ref() == Some(value))
        };
        let current = shown.with("AWSCURRENT");
        let in_step = current.is_none_or(|version| shown.live().first() == version.whose.as_ref());
        for held in shown.live().iter().filter(|held| !is("AWSCURRENT", held) && !is("AWSPENDING", held)) {
            let stored = shown.versions.iter().any(|version| version.whose.as_ref() == Some(held));
            if !promise.sets_late || !stored {
                wrong.push("ChatBotKit holds a value that is neither current nor a candidate".into());
            }
        }
        if !in_step && shown.with("AWSPENDING").is_none() && !promise.sets_late {
            wrong.push("ChatBotKit does not hold the current value, and nothing says that it will".into());
        }
        let moved = current.filter(|version| self.current.as_ref().is_some_and(|before| *before != version.id));
        if moved.is_some() && !in_step {
            wrong.push("a value was promoted that ChatBotKit does not hold".into());
        }
        let proofs = shown.facts.first().map_or(0, |fact| fact.uses);
        if moved.is_some() && self.set.as_ref().is_some_and(|(_, before)| proofs <= *before) {
            wrong.push("a value was promoted that ChatBotKit did not prove since it was set".into());
        }
        if !shown.leased().is_empty() {
            wrong.push("there is a lease where nothing is made".into());
        }
        wrong
    }

    fn remember(&mut self, shown: &Shown) {
        let live = shown.live();
        for ended in self.live.difference(&live) {
            self.ended.entry(ended.clone()).or_insert(shown.now);
        }
        self.live = live;
        self.current = shown.with("AWSCURRENT").map(|version| version.id.clone());
        self.leased = shown.leased();
        self.deleted = shown.gone.is_some();
    }
}
