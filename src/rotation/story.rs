//! For tests: situations, told by what differs from a healthy secret.

use std::time::Duration;

use crate::model::attempt::{Attempt, Base, Cause};
use crate::model::capability::{Capabilities, Marking, Proof};
use crate::model::label::{Label, Lease, Tracked};
use crate::model::name::{Arn, VendorId};
use crate::model::observed::Claim;
use crate::model::policy::{Ownership, Policy, Rotate};
use crate::model::time::{Now, Timestamp};
use crate::rotation::decide::TagChange;
use crate::rotation::view::{
    Bootstrap, Company, Compared, Facts, Fit, Hand, Known, Marked, Owner, Role, Secret, Seen, Try, Version, View,
};
use crate::rotation::{Decision, Step, Violation, decide, guard};

pub(super) const NOW: Timestamp = Timestamp::from_seconds(2_000_000_000);
pub(super) const DAY: u64 = 24 * 60;

/// So many minutes ago.
pub(super) fn ago(minutes: u64) -> Timestamp {
    NOW.minus(Duration::from_secs(60 * minutes))
}

pub(super) fn arn() -> Arn {
    Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-a1b2c3").unwrap()
}

/// The attempt that made the healthy secret's current version.
pub(super) fn first() -> Attempt {
    Attempt::derive(&arn(), &None, 1)
}

/// The `number`-th attempt to replace it.
pub(super) fn attempt(number: u32) -> Attempt {
    Attempt::derive(&arn(), &Some(first().slot_id()), number)
}

pub(super) fn id(text: &str) -> VendorId {
    VendorId::new(text).unwrap()
}

pub(super) fn tracked(text: &str) -> Tracked {
    Tracked::of(&id(text))
}

/// A situation.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) view: View,
    pub(super) policy: Policy,
    pub(super) vendor_now: Timestamp,
}

/// Healthy: one version of ours, ten days old, its credential `old` alone at the vendor; rotation
/// only when asked.
pub(super) fn healthy() -> Told {
    let capabilities = Capabilities { marking: Marking::Named, live_max: None, last_used: true, proof: Proof::Login };
    let secret = Secret {
        arn: arn(),
        versions: Vec::new(),
        changed: ago(10 * DAY),
        obstacle: None,
        owner: Owner::Us,
        bootstrap: None,
        accepted: None,
        place: None,
        at: None,
        moved: None,
        dwellings: Vec::new(),
        paused_until: None,
        confirmed: None,
        retiring: None,
        compared: Some(Compared { at: NOW, missing: None }),
        claims: Vec::new(),
    };
    let told = Told {
        view: View {
            secret: Some(secret),
            facts: Facts {
                listing: found(Vec::new()),
                company: found(Company::Alone),
                provable: found(true),
                sources_moved: found(false),
                followers_wait: found(false),
            },
            compare: false,
            records: true,
            request: None,
            hand: Hand::Empty,
        },
        policy: Policy::standard(Rotate::Manual, Duration::from_secs(86_400), capabilities),
        vendor_now: NOW,
    };
    told.slot(first(), None, 1, 10 * DAY, &[Label::Current]).leased(first(), "old", 10 * DAY)
}

/// The same at a vendor that keeps no marks.
pub(super) fn unnamed() -> Told {
    let mut told = healthy();
    told.policy.capabilities.marking = Marking::Unnamed;
    told.policy.ownership = Ownership::Exclusive;
    for seen in told.listed() {
        seen.marked = Marked::No;
        seen.last_used = Some(NOW);
    }
    told
}

/// The same at an in-place vendor, whose record holds the current value.
pub(super) fn in_place() -> Told {
    let mut told = healthy();
    told.policy.capabilities.marking = Marking::InPlace;
    told.secret().versions[0].labels.retain(|label| *label == Label::Current);
    told.record(Marked::First(first()))
}

/// No version yet; a bootstrap tag of so many minutes ago.
pub(super) fn tagged(number: u32, minutes: u64) -> Told {
    let mut told = healthy();
    told.listed().clear();
    let secret = told.secret();
    secret.versions.clear();
    secret.changed = ago(minutes);
    secret.bootstrap = Some(Bootstrap { number, nonce: "mine".into(), at: ago(minutes), before: Vec::new() });
    told
}

impl Told {
    pub(super) fn secret(&mut self) -> &mut Secret {
        self.view.secret.as_mut().unwrap()
    }

    /// What the vendor lists.
    pub(super) fn listed(&mut self) -> &mut Vec<Seen> {
        if self.view.facts.listing.found().is_none() {
            self.view.facts.listing = found(Vec::new());
        }
        self.view.facts.listing.found_mut().unwrap()
    }

    /// The vendor was asked and did not answer.
    pub(super) fn silent(&mut self) {
        self.view.facts.listing = Known::Failed;
    }

    pub(super) fn company(&mut self, company: Known<Company>) {
        self.view.facts.company = company;
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(super) fn changed(self, minutes: u64) -> Self {
        self.with(|told| told.secret().changed = ago(minutes))
    }

    pub(super) fn hand(self, hand: Hand) -> Self {
        self.with(|told| told.view.hand = hand)
    }

    pub(super) fn asked(self, cause: Cause) -> Self {
        self.with(|told| told.view.request = Some(cause))
    }

    /// Attempt `number` on the healthy version was claimed so many minutes ago.
    pub(super) fn claimed(self, number: u32, minutes: u64) -> Self {
        self.claimed_for(number, minutes, Cause::Asked)
    }

    pub(super) fn claimed_for(mut self, number: u32, minutes: u64, cause: Cause) -> Self {
        let base = Some(first().slot_id());
        let of = Try { attempt: attempt(number), origin: Some((base.clone(), number)) };
        let labels = vec![Label::Open(attempt(number))];
        let version = Version { id: attempt(number).claim_id(), role: Role::Claim(of), labels, created: ago(minutes) };
        let claim = Claim { attempt: attempt(number), base, number, cause, before: vec![id("old")], note: None };
        self.secret().versions.push(version);
        self.secret().claims.push(claim);
        self.changed(minutes)
    }

    /// Its `kf-open` is off.
    pub(super) fn resolved(mut self, number: u32) -> Self {
        for version in &mut self.secret().versions {
            version.labels.retain(|label| *label != Label::Open(attempt(number)));
        }
        self.secret().claims.retain(|claim| claim.attempt != attempt(number));
        self
    }

    pub(super) fn slot(mut self, of: Attempt, base: Base, number: u32, minutes: u64, labels: &[Label]) -> Self {
        let role = Role::Slot(Try { attempt: of, origin: Some((base, number)) });
        let version = Version { id: of.slot_id(), role, labels: labels.to_vec(), created: ago(minutes) };
        self.secret().versions.push(version);
        self
    }

    /// A credential lives at the vendor, and a slot tracks it.
    pub(super) fn leased(self, of: Attempt, vendor_id: &str, minutes: u64) -> Self {
        let lease = Label::Cred(Lease { since: ago(minutes), tracked: tracked(vendor_id), made_in: None });
        let marked = if of == first() { Marked::First(of) } else { Marked::Ours(of) };
        self.with(|told| {
            let slot = told.secret().versions.iter_mut().find(|version| version.id == of.slot_id()).unwrap();
            slot.labels.push(lease);
        })
        .lives(vendor_id, marked, minutes)
    }

    /// A credential lives at the vendor.
    pub(super) fn lives(mut self, vendor_id: &str, marked: Marked, minutes: u64) -> Self {
        let marked = if self.policy.capabilities.marking == Marking::Unnamed { Marked::No } else { marked };
        let seen = Seen { id: id(vendor_id), marked, created: ago(minutes), last_used: None, fit: Fit::Declared };
        self.listed().push(seen);
        self
    }

    pub(super) fn dead(self, vendor_id: &str) -> Self {
        self.with(|told| told.listed().retain(|seen| seen.id != id(vendor_id)))
    }

    /// In place: the one record.
    pub(super) fn record(mut self, marked: Marked) -> Self {
        let record = Seen { id: id("record"), marked, created: ago(10 * DAY), last_used: None, fit: Fit::Declared };
        *self.listed() = vec![record];
        self
    }

    /// The slot of attempt `number` holds the credential `new`, so many minutes after... its claim,
    /// which was so long ago.
    pub(super) fn stored(self, number: u32, minutes: u64, labels: &[Label]) -> Self {
        let in_place = self.policy.capabilities.marking == Marking::InPlace;
        let told = self.slot(attempt(number), Some(first().slot_id()), number, minutes, labels);
        if in_place { told } else { told.leased(attempt(number), "new", minutes) }
    }

    pub(super) fn tombstone(self, number: u32, minutes: u64) -> Self {
        self.slot(attempt(number), Some(first().slot_id()), number, minutes, &[Label::Closed]).changed(minutes)
    }

    /// The healthy version holds this instead of AWSCURRENT.
    pub(super) fn old_is(mut self, labels: &[Label]) -> Self {
        let old = &mut self.secret().versions[0].labels;
        old.retain(|label| *label != Label::Current);
        old.extend(labels.iter().cloned());
        self
    }

    /// Attempt 1 was promoted; its claim was so many minutes ago.
    pub(super) fn promoted(self, minutes: u64) -> Self {
        self.claimed(1, minutes).stored(1, minutes, &[Label::Current]).old_is(&[Label::Previous])
    }

    pub(super) fn guard(&self, step: &Step) -> Result<(), Violation> {
        guard(&self.view, step, &self.policy, Now { store: NOW, vendor: Some(self.vendor_now) })
    }

    pub(super) fn decide(&self) -> Decision {
        let now = Now { store: NOW, vendor: Some(self.vendor_now) };
        let decision = decide(&self.view, &self.policy, now);
        if let Some(step) = decision.step() {
            assert_eq!(guard(&self.view, step, &self.policy, now), Ok(()), "{decision:?}");
        }
        decision
    }
}

/// Found a moment ago.
pub(super) fn found<T>(what: T) -> Known<T> {
    Known::Found { what, at: NOW }
}

/// The same view, its facts found at that date.
pub(super) fn found_at(mut view: View, date: Timestamp) -> View {
    fn redate<T>(known: &mut Known<T>, date: Timestamp) {
        if let Known::Found { at, .. } = known {
            *at = date;
        }
    }
    redate(&mut view.facts.listing, date);
    redate(&mut view.facts.sources_moved, date);
    redate(&mut view.facts.followers_wait, date);
    view
}

/// A decision in a few words.
pub(super) fn told(decision: &Decision) -> String {
    match decision {
        Decision::Wait { .. } => "wait".into(),
        Decision::Need(fact) => format!("need {fact:?}"),
        Decision::Act { step, .. } => told_step(step),
    }
}

fn told_step(step: &Step) -> String {
    match step {
        Step::CreateSecret { .. } => "create secret".into(),
        Step::Tag(TagChange::TakeOver) => "take over".into(),
        Step::Tag(TagChange::Move { .. }) => "move".into(),
        Step::Tag(TagChange::Arrive { .. }) => "arrive".into(),
        Step::Tag(TagChange::Attempt { number, .. }) => format!("tag {number}"),
        Step::Claim { number, .. } => format!("claim {number}"),
        Step::Mint { first: false, .. } => "mint".into(),
        Step::Mint { first: true, .. } => "mint first".into(),
        Step::Prove { .. } => "prove".into(),
        Step::Restore { .. } => "restore".into(),
        Step::Promote { .. } => "promote".into(),
        Step::Detach { label: Label::Open(_), .. } => "detach kf-open".into(),
        Step::Detach { label: Label::Cred(lease), .. } => format!("detach kf-cred {}", lease.tracked),
        Step::Detach { label, .. } => format!("detach {label}"),
        Step::Close { .. } => "close".into(),
        Step::Revoke { id, tracked: true, .. } => format!("revoke {id}"),
        Step::Revoke { id, tracked: false, .. } => format!("revoke leftover {id}"),
        Step::Tag(TagChange::AttemptDone) => "untag".into(),
        Step::Tag(TagChange::Retiring) => "mark retiring".into(),
        Step::Tag(TagChange::Ending { .. }) => "mark ending".into(),
        Step::Tag(TagChange::NotRetiring) => "unmark retiring".into(),
        Step::Tag(TagChange::Compared { missing }) => format!("compared, {} missing", usize::from(missing.is_some())),
        Step::DeleteSecret => "delete secret".into(),
    }
}
