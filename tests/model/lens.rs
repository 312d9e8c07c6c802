//! Between the world's numbers and the words of `rotation`: builds the `View` that a process sees,
//! asks the shipping `decide` and `guard`, and turns the step back into numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use keyferry::model::attempt::{Attempt, Cause};
use keyferry::model::label::{Label, Lease, PlaceKey, Tracked};
use keyferry::model::name::{Deployment, Name, SecretName, VendorId, VersionId};
use keyferry::model::observed::{self, Claim, Obstacle};
use keyferry::model::place::At;
use keyferry::model::policy::Policy;
use keyferry::model::time::{Now, Timestamp};
use keyferry::rotation::decide::{Site, TagChange};
use keyferry::rotation::tags::{Ending, Retiring};
use keyferry::rotation::view::{
    Accepted, Bootstrap, Company, Compared, Dwelling, Fact, Facts, Fit, Hand as RealHand, Known, Marked, Owner, Role,
    Secret, Seen, Try, Version, View, open_claims, short,
};
use keyferry::rotation::{Decision, Reason, Step, decide, guard};

use crate::config::{Age, Config, Declared, EVIDENCE_MAX, Evidence, Said, Vendor, at, site};
use crate::names::{Code, Names, claim_code, is_slot, row_of, slot_code};
use crate::weaken::Weakening;
use crate::world::{Act, Aws, Hand, Mark, NONE, Place, RetiringV, Sent, SlotV};

/// The moment at which every decision is made.
const NOW: Timestamp = Timestamp::from_seconds(2_000_000_000);
/// The vendor's clock is a little off.
const VENDOR_AHEAD: Duration = Duration::from_secs(90);

/// What a decision was made from, besides AWS and the vendor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ask {
    /// What a person asked for.
    pub request: Option<Cause>,
    /// What the process remembers.
    pub hand: Hand,
    /// Whether the claims' texts could be read.
    pub read: bool,
    /// What the declaration says.
    pub said: Said,
    /// Whether the vendor is compared with: in any case, or only where the decision needs it.
    pub compare: bool,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The step.
    pub act: Act,
    /// Why.
    pub reason: Reason,
}

/// Translates for one configuration.
pub struct Lens {
    /// All ids.
    pub names: Names,
    config: Config,
    policies: [Policy; 3],
}

impl Lens {
    /// For a configuration.
    pub fn new(config: &Config) -> Self {
        let policies = [Said::Here, Said::There, Said::Retired].map(|said| config.policy(said));
        Self { names: Names::new(config), config: config.clone(), policies }
    }

    fn policy(&self, said: Said) -> &Policy {
        match said {
            Said::Here => &self.policies[0],
            Said::There => &self.policies[1],
            Said::Retired => &self.policies[2],
        }
    }

    /// Asks the shipping `decide`, and `guard` whether it agrees.
    pub fn decide(&self, aws: &Aws, place: Option<&Place>, ask: Ask) -> Result<Answer, String> {
        let mut view = self.view(aws, ask);
        let policy = self.policy(ask.said);
        let (decision, now) = self.settle(&mut view, aws, place, ask, policy);
        if self.config.weak.is_none()
            && let Some(step) = decision.step()
            && let Err(violation) = guard(&view, step, policy, now)
        {
            return Err(format!("guard refuses {step:?}: {violation}"));
        }
        let mut act = self.act(decision.step(), ask.said);
        let mut decision = decision;
        if act == Act::Beyond {
            // No room for another try: as if the last one were a moment ago.
            let patience = Duration::from_secs(1 << 40);
            let policy = Policy { backoff_first: patience, backoff_max: patience, ..policy.clone() };
            let (patient, _) = self.settle(&mut view, aws, place, ask, &policy);
            if patient.step().is_some() {
                act = self.act(patient.step(), ask.said);
                decision = patient;
            }
        }
        let act = self.config.weak.map_or(act, |weakening| weakening.twist(act, aws));
        if ask.hand == Hand::Empty && aws.paused && !matches!(act, Act::Wait | Act::Beyond) {
            return Err(format!("\"{act}\" although paused (invariant 13)"));
        }
        self.judge(aws, act, decision.reason(), ask.request)?;
        self.judge_evidence(aws, place, act, ask.request)?;
        self.judge_retired(aws, act, ask.said)?;
        Ok(Answer { act, reason: decision.reason() })
    }

    /// Fetches every fact that `decide` asks for, as the engine does.
    fn settle(&self, view: &mut View, aws: &Aws, place: Option<&Place>, ask: Ask, policy: &Policy) -> (Decision, Now) {
        fn found<T>(what: T) -> Known<T> {
            Known::Found { what, at: NOW }
        }
        loop {
            let listed = view.listing().is_some();
            let now = Now { store: NOW, vendor: listed.then(|| NOW.plus(VENDOR_AHEAD)) };
            match decide(view, policy, now) {
                Decision::Need(Fact::Listing) => {
                    let listing = place.map(|place| self.listing(place, aws, ask.said));
                    view.facts.listing = listing.map_or(Known::Failed, found);
                }
                Decision::Need(Fact::Company) => view.facts.company = found(Company::Alone),
                Decision::Need(Fact::Proof) => view.facts.provable = found(true),
                Decision::Need(Fact::Sources) => view.facts.sources_moved = found(false),
                Decision::Need(Fact::Followers) => view.facts.followers_wait = found(false),
                decision => return (decision, now),
            }
        }
    }

    /// What no decision may be, judged by what really happened: the overlap is over, or nothing is
    /// owed to a value that leaked.
    fn judge(&self, aws: &Aws, act: Act, reason: Reason, request: Option<Cause>) -> Result<(), String> {
        let made_by = (aws.current != NONE).then(|| usize::from(row_of(aws.current)));
        let leaked = made_by.and_then(|row| aws.claims[row]).is_some_and(|claim| claim.leak && claim.open);
        let owed = reason != Reason::Leaked && request != Some(Cause::Leaked) && !leaked;
        // What may be dead already has no overlap to be owed.
        let owed = owed && !(self.config.declared != Declared::Present && aws.retiring.is_some());
        let short_overlap =
            self.config.overlap_judged && owed && self.config.scale.of(aws.moved) < self.config.scale.overlap();
        let retired = match act {
            Act::Detach { mark: Mark::Previous, code } => Some(code),
            Act::Revoke { cred, tracked: true, .. } => {
                let base = self.base(aws.current);
                (base != NONE && aws.cred(base) == Some(cred)).then_some(base)
            }
            _ => None,
        };
        match retired {
            Some(code) if short_overlap => {
                Err(format!("the overlap of {} is cut short by \"{act}\"", crate::tell::Version(code)))
            }
            _ => Ok(()),
        }
    }

    /// What ends while evidence is asked for: the vendor shows no use, or the very version that is
    /// current is confirmed, or the longest wait is over.
    fn judge_evidence(&self, aws: &Aws, place: Option<&Place>, act: Act, request: Option<Cause>) -> Result<(), String> {
        let made_by = (aws.current != NONE).then(|| usize::from(row_of(aws.current)));
        let leak = |row: usize| aws.claims[row].is_some_and(|claim| claim.leak && claim.open);
        let leaked = request == Some(Cause::Leaked) || made_by.is_some_and(leak);
        let asked = (0..aws.claims.len()).any(|row| leak(row) && self.names.rows[row].base == aws.current);
        let moved = self.config.scale.of(aws.moved);
        let replaced = match act {
            Act::Detach { mark: Mark::Previous, code } => aws.cred(code),
            Act::Revoke { cred, tracked: true, .. } => {
                Some(cred).filter(|_| aws.cred(self.base(aws.current)) == Some(cred))
            }
            _ => None,
        };
        let Some(cred) = replaced.filter(|_| !leaked && !asked && moved < EVIDENCE_MAX) else { return Ok(()) };
        let shown = match self.config.evidence {
            Evidence::Nothing => true,
            Evidence::Confirmed => aws.confirmed == aws.current,
            // An hour until the latest promotion, and another for consumers to refresh.
            Evidence::Unused => place.is_some_and(|place| {
                let one = place.cred(cred);
                !one.live || !one.used || self.config.scale.of(one.idle) + 120 >= moved
            }),
        };
        if shown { Ok(()) } else { Err(format!("\"{act}\" without the evidence that is asked for")) }
    }

    /// What ends because it is retired, by a declaration that says so and after its consumers'
    /// time.
    fn judge_retired(&self, aws: &Aws, act: Act, said: Said) -> Result<(), String> {
        let ends = match act {
            Act::Revoke { cred, tracked: true, .. } => aws.cred(aws.current) == Some(cred),
            Act::MarkEnding { .. } => true,
            Act::DeleteSecret => {
                if aws.slots.iter().flatten().any(|slot| slot.lease.is_some()) {
                    return Err("the secret is deleted while it tracks a live credential (invariant 4)".into());
                }
                true
            }
            _ => false,
        };
        let over = |tag: RetiringV| self.config.scale.of(tag.since) > self.config.scale.overlap();
        if !ends || (said == Said::Retired && aws.retiring.is_some_and(over)) {
            return Ok(());
        }
        Err(format!("\"{act}\" before the overlap of what is retired is over"))
    }

    /// The version that another was made to replace.
    pub fn base(&self, code: Code) -> Code {
        if code == NONE { NONE } else { self.names.row(row_of(code)).base }
    }

    fn date(&self, age: Age) -> Timestamp {
        // Without settle everything is older than settle at once.
        let at_once = u64::from(self.config.weak == Some(Weakening::NoSettle));
        NOW.minus(Duration::from_secs(60 * u64::from(self.config.scale.of(age)) + at_once))
    }

    /// The age of a date that was made from one.
    fn age(&self, date: Timestamp) -> Age {
        let ages = 0..=self.config.scale.oldest();
        ages.clone().find(|age| self.date(*age) == date).unwrap_or(*ages.end())
    }

    fn id(&self, code: Code) -> VersionId {
        self.names.id(code).expect("a version")
    }

    /// The view that `decide` gets.
    pub fn view(&self, aws: &Aws, ask: Ask) -> View {
        let mut view = View {
            secret: aws.exists.then(|| self.secret(aws)),
            facts: Facts::default(),
            compare: ask.compare,
            records: true,
            request: ask.request,
            hand: self.hand(ask.hand),
        };
        if !ask.read
            && let Some(secret) = &mut view.secret
        {
            secret.claims.clear();
        }
        if let Some(weakening) = self.config.weak {
            weakening.blind(&mut view, self.config.policy(ask.said).settle, NOW);
        }
        view
    }

    fn secret(&self, aws: &Aws) -> Secret {
        let rows = 0..self.names.rows.len() as u8;
        let mut versions = Vec::new();
        let mut claims = Vec::new();
        for row in rows {
            let names = self.names.row(row);
            let base = self.names.id(names.base);
            let claim = aws.claims[usize::from(row)];
            // As `Secret::new` finds them: by their base where that is still listed, by their own
            // `kf-open` otherwise.
            let origin = (names.base == NONE || aws.listed(names.base)).then(|| (base.clone(), names.number));
            let found = !names.stranger && (origin.is_some() || claim.is_some_and(|claim| claim.open));
            let of = Try { attempt: names.attempt, origin };
            if let Some(claim) = claim {
                let labels = if claim.open { vec![Label::Open(names.attempt)] } else { Vec::new() };
                let role = if found { Role::Claim(of.clone()) } else { Role::Other };
                versions.push(Version { id: self.id(claim_code(row)), role, labels, created: self.date(claim.age) });
                if claim.open {
                    let cause = if claim.leak { Cause::Leaked } else { Cause::Asked };
                    let before = (0..8).filter(|cred| claim.before & (1 << cred) != 0);
                    let before = before.map(|cred| self.names.creds[cred].clone()).collect();
                    claims.push(Claim {
                        attempt: names.attempt,
                        base,
                        number: names.number,
                        cause,
                        before,
                        note: None,
                    });
                }
            }
            if let Some(slot) = aws.slots[usize::from(row)] {
                let role = if found { Role::Slot(of) } else { Role::Other };
                let labels = self.labels(aws, slot_code(row), slot);
                versions.push(Version { id: self.id(slot_code(row)), role, labels, created: self.date(slot.age) });
            }
        }
        Secret {
            arn: self.names.arn.clone(),
            versions,
            changed: self.date(aws.changed),
            obstacle: aws.deleted.then_some(Obstacle::ScheduledForDeletion(NOW)),
            owner: if aws.owned { Owner::Us } else { Owner::Nobody },
            bootstrap: aws.tag.map(|tag| Bootstrap {
                number: u32::from(tag.number),
                nonce: tag.nonce.to_string(),
                at: self.date(tag.age),
                before: (0..8).filter(|cred| tag.before & (1 << cred) != 0).map(|cred| self.short(cred)).collect(),
            }),
            // A tag without a date counts from LastChangedDate; where that does not move with
            // tags, the date has to be in the tag.
            accepted: aws.accepted.map(|(code, age)| Accepted {
                version: self.id(code),
                at: (!self.config.labels_date && !self.config.undated).then(|| self.date(age)),
            }),
            place: self.config.declared.moves().then(|| site(aws.there).into()),
            at: self.config.declared.moves().then(|| self.at(aws.there)),
            moved: aws.last_move.map(|age| self.date(age)),
            dwellings: [false, true]
                .into_iter()
                .filter(|there| aws.dwellings[usize::from(*there)])
                .map(|there| Dwelling { place: site(there).into(), at: self.at(there) })
                .collect(),
            paused_until: aws.paused.then(|| NOW.plus(Duration::from_secs(86_400))),
            confirmed: (aws.confirmed != NONE)
                .then(|| Accepted { version: self.id(aws.confirmed), at: Some(self.date(0)) }),
            retiring: aws.retiring.map(|tag| Retiring {
                since: self.date(tag.since),
                ending: tag.ending.map(|(code, age)| Ending { at: self.date(age), version: self.id(code) }),
            }),
            // When it was compared is no part of the state: the date moves nothing else.
            compared: Some(Compared { at: NOW, missing: None }),
            claims,
        }
    }

    /// Compares the roles told here with those that `Secret::new` tells; false where there is no
    /// secret.
    pub fn agrees_with_engine(&self, aws: &Aws) -> bool {
        if !aws.exists {
            return false;
        }
        let ours = self.secret(aws);
        let version = |version: &Version| observed::Version {
            id: version.id.clone(),
            labels: version.labels.clone(),
            created: version.created,
        };
        let seen = observed::Secret {
            arn: ours.arn.clone(),
            name: SecretName::new("app").expect("a name"),
            versions: ours.versions.iter().map(version).collect(),
            tags: BTreeMap::new(),
            changed: ours.changed,
            obstacle: None,
            replicas: Vec::new(),
            kms_key_id: None,
            description: None,
        };
        let deployment = Deployment::new("prod").expect("a deployment");
        let engines = Secret::new(&seen, &deployment, &Name::new("app").expect("a name"), ours.claims.clone());
        assert_eq!(ours.versions, engines.versions);
        assert_eq!(open_claims(&seen).len(), ours.claims.len());
        true
    }

    fn at(&self, there: bool) -> At {
        at(there, self.policies[0].ownership)
    }

    fn labels(&self, aws: &Aws, code: Code, slot: SlotV) -> Vec<Label> {
        let holders = [(aws.current, Label::Current), (aws.previous, Label::Previous), (aws.pending, Label::Pending)];
        let mut labels: Vec<Label> =
            holders.into_iter().filter(|(holder, _)| *holder == code).map(|(_, label)| label).collect();
        labels.extend(slot.lease.map(|age| Label::Cred(self.lease(age, slot))));
        labels.extend((aws.newest_tombstone() == Some(code)).then_some(Label::Closed));
        labels
    }

    fn short(&self, cred: usize) -> String {
        short(&self.names.creds[cred])
    }

    fn lease(&self, age: Age, slot: SlotV) -> Lease {
        let place = if self.config.declared.moves() { site(slot.there) } else { &self.policies[0].place };
        let made_in = Some(PlaceKey::of(place));
        Lease { since: self.date(age), tracked: self.tracked(slot.cred), made_in }
    }

    fn tracked(&self, cred: u8) -> Tracked {
        Tracked::of(&self.names.creds[usize::from(cred)])
    }

    /// What lives in the declared place, and in the former one that a tag tells of.
    fn listing(&self, place: &Place, aws: &Aws, said: Said) -> Vec<Seen> {
        if self.config.vendor == Vendor::InPlace {
            return self.record(place).into_iter().collect();
        }
        let seen = |cred: u8| {
            let one = place.cred(cred);
            let former = aws.there != one.there && aws.dwellings[usize::from(one.there)];
            let fit = match one.there == (said == Said::There) {
                true => Fit::Declared,
                false if former => Fit::Away { ownership: self.policies[0].ownership },
                false => return None,
            };
            let row = self.names.row(one.row);
            let created = self.date(one.age).plus(VENDOR_AHEAD);
            let marked = match self.config.vendor {
                _ if one.foreign => Marked::No,
                Vendor::Named if row.base == NONE => Marked::First(row.attempt),
                Vendor::Named => Marked::Ours(row.attempt),
                Vendor::Unnamed | Vendor::InPlace => Marked::No,
            };
            let idle = if self.config.evidence == Evidence::Unused { one.idle } else { one.age };
            let last_used = one.used.then(|| self.date(idle).plus(VENDOR_AHEAD));
            Some(Seen { id: self.names.creds[usize::from(cred)].clone(), marked, created, last_used, fit })
        };
        place.live().filter_map(seen).collect()
    }

    /// In place: one record, marked with the attempt whose value was set last.
    fn record(&self, place: &Place) -> Option<Seen> {
        let value = place.creds.get(usize::from(place.record)).copied().flatten()?;
        let row = self.names.row(value.row);
        let marked = match (value.foreign, row.base) {
            (true, _) => Marked::No,
            (false, NONE) => Marked::First(row.attempt),
            (false, _) => Marked::Ours(row.attempt),
        };
        let id = VendorId::new("record").expect("an id");
        Some(Seen { id, marked, created: self.date(self.config.scale.oldest()), last_used: None, fit: Fit::Declared })
    }

    fn hand(&self, hand: Hand) -> RealHand {
        match hand {
            Hand::Empty => RealHand::Empty,
            Hand::Claimed(row) => RealHand::Claimed { attempt: self.names.row(row).attempt, at: NOW },
            Hand::Tagged(nonce) => RealHand::Tagged { nonce: nonce.to_string() },
            Hand::Proved(code) => RealHand::Proved { version: self.id(code), at: NOW },
            Hand::Refused(code, long) => {
                let since = if long { NOW.minus(Duration::from_secs(130)) } else { NOW };
                RealHand::Refused { version: self.id(code), since }
            }
            Hand::Retired(code) => RealHand::Retired { version: self.id(code) },
            Hand::Ended(cred) => RealHand::Ended { tracked: self.tracked(cred) },
            Hand::Unknown(cred) => RealHand::Unknown { tracked: self.tracked(cred) },
            Hand::Restored(code) => RealHand::Restored { version: self.id(code) },
        }
    }

    fn code(&self, id: &VersionId) -> Code {
        self.names.code(id).expect("a step names versions that were seen")
    }

    fn row(&self, attempt: Attempt) -> Option<u8> {
        self.names.find(attempt)
    }

    fn act(&self, step: Option<&Step>, said: Said) -> Act {
        let Some(step) = step else { return Act::Wait };
        let there = said == Said::There;
        let firsts = self.names.rows.iter().filter(|row| row.base == NONE && !row.stranger).count() as u8;
        // Only where leftovers are told by elimination does it matter what was there before.
        let listed = |before: &[VendorId]| {
            let unnamed = self.config.vendor == Vendor::Unnamed;
            before
                .iter()
                .filter(|_| unnamed)
                .filter_map(|id| self.names.cred(id))
                .fold(0, |mask, cred| mask | 1 << cred)
        };
        let known = |before: &[String]| {
            (0..self.names.creds.len())
                .filter(|cred| before.contains(&self.short(*cred)))
                .fold(0, |mask, cred| mask | 1 << cred)
        };
        match step {
            Step::CreateSecret { before } => Act::CreateSecret { before: known(before), there },
            Step::Tag(change) => match change {
                TagChange::TakeOver => Act::TakeOver { there },
                TagChange::Move { from } => Act::Move { from: from.at == self.at(true), there },
                TagChange::Arrive { left } => Act::Arrive { left: left.at == self.at(true) },
                TagChange::Attempt { number, .. } if *number > u32::from(firsts) => Act::Beyond,
                TagChange::Attempt { number, before } => Act::Tag { number: *number as u8, before: known(before) },
                TagChange::AttemptDone => Act::Untag,
                TagChange::Retiring => Act::MarkRetiring,
                TagChange::Ending { version, since } => {
                    Act::MarkEnding { code: self.code(version), since: self.age(*since) }
                }
                TagChange::NotRetiring => Act::UnmarkRetiring,
                TagChange::Compared { .. } => Act::Wait,
            },
            Step::DeleteSecret => Act::DeleteSecret,
            Step::Claim { attempt, cause, before, .. } => match self.row(*attempt) {
                Some(row) => Act::Claim { row, leak: *cause == Cause::Leaked, before: listed(before) },
                None => Act::Beyond,
            },
            Step::Mint { attempt, first, .. } => match (self.row(*attempt), first) {
                (None, _) => Act::Beyond,
                (Some(row), false) => Act::Mint { row, there },
                (Some(row), true) => Act::MintFirst { row, there },
            },
            Step::Prove { version } if self.config.vendor == Vendor::InPlace => Act::Apply { code: self.code(version) },
            Step::Prove { version } => Act::Verify { code: self.code(version) },
            Step::Restore { version } => Act::Restore { code: self.code(version) },
            Step::Promote { version, from, .. } => {
                Act::Promote { code: self.code(version), from: from.as_ref().map_or(NONE, |from| self.code(from)) }
            }
            Step::Detach { label, version } => {
                let mark = match label {
                    Label::Pending => Mark::Pending,
                    Label::Previous => Mark::Previous,
                    Label::Open(_) => Mark::Open,
                    Label::Cred(_) => Mark::Lease,
                    Label::Current | Label::Closed | Label::Foreign(_) => panic!("no step takes {label} off"),
                };
                let code = self.code(version);
                assert!(mark == Mark::Open || is_slot(code), "{label} is never on a claim");
                Act::Detach { mark, code }
            }
            Step::Close { attempt } => self.row(*attempt).map_or(Act::Beyond, |row| Act::Close { row }),
            Step::Revoke { id, tracked, sites, home } => {
                let at = |site: &Site| match site {
                    Site::Declared => there,
                    Site::Former(one) => one.at == self.at(true),
                };
                let sent = match (sites.iter().any(at), sites.iter().all(at)) {
                    (true, false) => Sent::Both,
                    (new, _) => Sent::to(new),
                };
                let sure = *home || sent == Sent::Both || self.config.weak.is_some();
                assert!(sure, "the place is known, or every place is asked");
                let cred = self.names.cred(id).expect("a step names what was listed");
                Act::Revoke { cred, tracked: *tracked, sent }
            }
        }
    }
}
