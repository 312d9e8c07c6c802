//! One credential: observe, ask `rotation` for a step, perform it, and again, until only time or
//! somebody else can help. Every start, tick and error comes back to *observe*; there is no other
//! recovery.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::engine::Engine;
use crate::engine::look::Look;
use crate::engine::snapshot::{Paused, Published, Status, next_look};
use crate::model::attempt::{Cause, Note};
use crate::model::capability::Marking;
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::label::{Label, TAG_UNPROVED};
use crate::model::name::{Name, VendorId, VersionId};
use crate::model::observed::{self, Claim};
use crate::model::policy::Policy;
use crate::model::time::Timestamp;
use crate::rotation::decide::{FRESH_MAX, TagChange, next_compare};
use crate::rotation::guard::guard;
use crate::rotation::leaked::{Outlook, outlook};
use crate::rotation::tags::Unproved;
use crate::rotation::view::{self, Hand, Known, Marked, View};
use crate::rotation::{Decision, Reason, Step, adopt, danger, own, sweep};
use crate::stores::aws::Store;
use crate::vendors::Vendor;

/// Most steps of one visit: a rotation takes seven; more means that something undoes them.
const STEP_COUNT_MAX: usize = 40;
/// Calls that failed in a way that heals by itself are tried again in the same visit this often.
const RETRY_COUNT_MAX: u32 = 3;
/// Wait before such a retry, and before looking again after another replica was faster.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Looks at what AWS does not show yet of what this visit wrote.
const LAG_COUNT_MAX: u32 = 5;
/// Steps given up because the look they followed had become too old, before the visit ends.
const LATE_COUNT_MAX: u32 = 3;
/// Wait after a visit that came to nothing at all.
const FAILED_PAUSE: Duration = Duration::from_secs(60);
/// Longest wait between visits to a credential that keeps failing.
const VISIT_PAUSE_MAX: Duration = Duration::from_secs(900);

/// What this process remembers of one credential between visits. Nothing here decides: losing it
/// costs a few calls.
#[derive(Default)]
pub struct Memory {
    /// Claims never change, so each is read once.
    pub(super) claims: HashMap<VersionId, Claim>,
    /// Visits in a row that ended with a fault.
    failed: u32,
    /// The current version that was seen in step with these versions of its sources. A version's
    /// value never changes, so none of them is read again.
    pub(super) in_step: Option<(VersionId, Vec<VersionId>)>,
}

impl Memory {
    /// The most urgent cause that open claims name.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.claims.values().map(|claim| claim.cause).max()
    }
}

/// When the vendor is asked for its listing; the later asks for more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum AskVendor {
    /// Not at all: a look with AWS alone, without vendor keys.
    Never,
    /// Where the decision needs it.
    #[default]
    AsNeeded,
    /// In any case: to see drift.
    Always,
}

/// What a visit is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Visit {
    /// What a person asked for.
    pub request: Option<Cause>,
    /// When the vendor is asked.
    pub vendor: AskVendor,
    /// Only say what would be done.
    pub dry: bool,
}

impl Visit {
    /// One visit that does for both.
    pub fn and(self, other: Self) -> Self {
        Self {
            request: self.request.max(other.request),
            vendor: self.vendor.max(other.vendor),
            dry: self.dry && other.dry,
        }
    }
}

/// What a visit found, and what it did.
pub struct Visited {
    /// How things stand now.
    pub status: Status,
    /// The first step that a dry visit would take.
    pub planned: Option<Decision>,
    /// Steps taken.
    pub steps: Vec<(Step, Reason)>,
    /// How the rotation of a leaked value stands, where one was asked for and something was seen.
    pub leaked: Option<Outlook>,
}

impl Engine {
    /// Visits one credential. Never fails: what went wrong is part of the status, and noted on the
    /// board. Ends within a bound, whoever does not answer.
    pub async fn reconcile(&self, credential: &Arc<Credential>, visit: Visit) -> Visited {
        let name = &credential.name;
        let visited = match self.watched(name.as_str(), Some(name), self.visit_max, self.visit(credential, visit)).await
        {
            Ok(visited) => visited,
            Err(cut) => self.failed(credential, cut.fault(&format!("visiting `{name}`"))),
        };
        if !visit.dry {
            self.board.set(name, visited.status.clone());
        }
        visited
    }

    async fn visit(&self, credential: &Arc<Credential>, visit: Visit) -> Visited {
        let memory = {
            let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(memories.entry(credential.name.clone()).or_default())
        };
        // One visit at a time for one credential; equal wake-ups queue up behind it and find
        // nothing to do.
        let mut memory = memory.lock().await;
        match (self.store(credential).await, self.vendor(credential)) {
            (Ok(store), Ok(vendor)) => {
                Run::new(self, credential, (store, vendor.as_ref()), &mut memory, visit).visit().await
            }
            (Err(fault), _) | (_, Err(fault)) => self.failed(credential, fault),
        }
    }

    /// A visit that came to nothing. What was known before stands beside its fault, and it is tried
    /// again.
    pub(super) fn failed(&self, credential: &Credential, fault: Fault) -> Visited {
        let looked = self.store_of(credential).and_then(Store::now).unwrap_or_default();
        let look_again = (looked != Timestamp::default()).then(|| looked.plus(FAILED_PAUSE));
        let status = match self.board.get(&credential.name) {
            Some(before) => Status { fault: Some(fault), look_again, ..before },
            None => Status { look_again, ..Status::unseen(fault, looked) },
        };
        Visited { status, planned: None, steps: Vec::new(), leaked: None }
    }
}

/// One visit to one credential.
pub(super) struct Run<'a> {
    pub(super) engine: &'a Engine,
    pub(super) credential: &'a Credential,
    pub(super) store: &'a Store,
    pub(super) vendor: &'a dyn Vendor,
    pub(super) memory: &'a mut Memory,
    pub(super) visit: Visit,
    /// What a person asked for, until a claim for it is won.
    pub(super) request: Option<Cause>,
    steps: Vec<(Step, Reason)>,
    /// What the vendor was asked to end in this visit. A listing may lag behind that.
    revoked: Vec<VendorId>,
    /// Why a claim, or a fact that was needed, could not be had.
    pub(super) unread: Option<Fault>,
    /// How many strangers the last listing of this visit showed.
    strangers: Option<usize>,
}

/// What became of a step that was decided on.
enum Taken {
    /// It was taken; the process holds this now.
    Done(Hand),
    /// Nothing was done, because the look it followed had become too old.
    Late,
}

/// How often this visit may still look again without having done anything.
struct Patience {
    retries: u32,
    lags: u32,
    lates: u32,
}

impl<'a> Run<'a> {
    /// Nothing seen and nothing done yet.
    pub(super) fn new(
        engine: &'a Engine,
        credential: &'a Credential,
        (store, vendor): (&'a Store, &'a dyn Vendor),
        memory: &'a mut Memory,
        visit: Visit,
    ) -> Self {
        Self {
            engine,
            credential,
            store,
            vendor,
            memory,
            visit,
            request: visit.request,
            steps: Vec::new(),
            revoked: Vec::new(),
            unread: None,
            strangers: None,
        }
    }
}

impl Run<'_> {
    async fn visit(&mut self) -> Visited {
        let mut hand = Hand::Empty;
        let mut patience = Patience { retries: RETRY_COUNT_MAX, lags: LAG_COUNT_MAX, lates: LATE_COUNT_MAX };
        let mut last: Option<(Look, Decision)> = None;
        // What stopped a step; stands until another step succeeds.
        let mut trouble = None;
        let fault = loop {
            if self.steps.len() > STEP_COUNT_MAX {
                break Some(self.fault("going on", "more steps than any rotation takes: something undoes them"));
            }
            let taken = match self.look(hand.clone()).await {
                Err(fault) => Err(fault),
                Ok((look, decision)) => {
                    self.count_strangers(&look.view);
                    let (look, decision) = last.insert((look, decision));
                    if let Some(step) = self.next_step(decision) {
                        self.take(look, &step, decision.reason()).await
                    } else if self.lags(decision, &mut patience) {
                        self.engine.clock.sleep(RETRY_PAUSE).await;
                        continue;
                    } else {
                        let stuck = decision.reason() == Reason::VendorSilent;
                        match stuck.then(|| self.unread.take()).flatten() {
                            // Nothing can go on without it: tried again, as any call that failed.
                            Some(fault) => Err(fault),
                            None => break trouble,
                        }
                    }
                }
            };
            if taken.is_err() && matches!(hand, Hand::Claimed { .. } | Hand::Tagged { .. }) {
                // A won claim or tag is good for one create, whatever became of it.
                hand = Hand::Empty;
            }
            match taken {
                Ok(Taken::Done(after)) => {
                    trouble = None;
                    patience.retries = RETRY_COUNT_MAX;
                    hand = after;
                }
                Ok(Taken::Late) if patience.lates > 0 => patience.lates -= 1,
                Ok(Taken::Late) => break Some(self.too_late()),
                Err(fault) => match self.pause_after(&fault, &mut patience) {
                    Some(pause) => {
                        tracing::debug!(credential = %self.credential.name, "{fault}; trying again");
                        // Another replica was faster: nothing is wrong, look again.
                        trouble = Some(fault).filter(|fault| fault.class != Class::Taken);
                        self.engine.clock.sleep(pause).await;
                    }
                    None => break Some(fault),
                },
            }
        };
        let fault = fault.or(self.unread.take());
        self.close(last, fault)
    }

    /// The step that is taken now; `None` where there is none, or it is not this visit's.
    fn next_step(&self, decision: &Decision) -> Option<Step> {
        let step = decision.step().filter(|step| !self.visit.dry && !self.must_stop(step))?;
        (!self.asked_already(step)).then(|| step.clone())
    }

    /// Whether the vendor was asked to end that credential in this very visit.
    fn asked_already(&self, step: &Step) -> bool {
        matches!(step, Step::Revoke { id, .. } if self.revoked.contains(id))
    }

    /// Whether AWS may not show yet what this visit wrote.
    fn lags(&self, decision: &Decision, patience: &mut Patience) -> bool {
        let compares = |step: &Step| matches!(step, Step::Tag(TagChange::Compared { .. }));
        let wrote = self.steps.iter().any(|(step, _)| !compares(step));
        let may_lag = wrote && decision.reason() == Reason::AttemptOpen;
        let lags = may_lag && decision.step().is_none() && patience.lags > 0 && !self.engine.stopping();
        patience.lags -= u32::from(lags);
        lags
    }

    /// How long to wait before looking again after a call that failed; `None` where this visit ends.
    fn pause_after(&self, fault: &Fault, patience: &mut Patience) -> Option<Duration> {
        if !fault.heals_by_itself() || patience.retries == 0 || self.visit.dry {
            return None;
        }
        patience.retries -= 1;
        match fault.class {
            Class::Retry { after: Some(after) } => Some(after).filter(|after| *after <= RETRY_PAUSE * 10),
            _ => Some(RETRY_PAUSE),
        }
    }

    fn too_late(&self) -> Fault {
        let answer = "each time, the look it would have followed was over a minute old; nothing was done";
        Fault { class: Class::Retry { after: None }, ..self.fault("taking a step", answer) }
    }

    fn count_strangers(&mut self, view: &View) {
        let (secret, marking) = (view.secret.as_ref(), self.credential.policy.capabilities.marking);
        let count = |all: &[_]| all.iter().filter(|one| foreign(one, secret, marking)).count();
        self.strangers = view.listing().map(count).or(self.strangers);
    }

    /// Who is about to leave a credential begins nothing new, but finishes what only it can finish.
    fn must_stop(&self, step: &Step) -> bool {
        !own::takes(step, self.engine.leaving())
    }

    /// AWS's date: its last `Date` header plus the monotonic time since. It is asked for before and
    /// after whatever is sent, so asking is this visit's sign of life.
    pub(super) fn store_now(&self) -> Result<Timestamp, Fault> {
        self.engine.pulses.beat(self.credential.name.as_str());
        self.store.now().ok_or_else(|| self.fault("telling the time", "AWS has not answered with a date yet"))
    }

    /// Takes a step, and then those that need no new look at AWS because this very process holds what
    /// they need: claim then mint, prove then promote, revoke then end the lease.
    async fn take(&mut self, look: &mut Look, step: &Step, reason: Reason) -> Result<Taken, Fault> {
        let (mut step, mut reason) = (step.clone(), reason);
        loop {
            if let Err(violation) = guard(&look.view, &step, &self.credential.policy, look.now) {
                tracing::error!(credential = %self.credential.name, ?step, "{violation}");
                let fault = self.fault("checking a step before taking it", &format!("refused: {violation}"));
                let hint = "this is a bug of keyferry: this one secret is left alone; please report it";
                return Err(Fault { class: Class::Bug, ..fault }.with_hint(hint));
            }
            // What follows a look must follow it soon: somebody may have paused it, or taken the
            // candidate back, while this process slept.
            if step.irrevocable() && self.store_now()?.since(look.now.store) > FRESH_MAX {
                return Ok(if self.goes_on_from(&look.view.hand) {
                    Taken::Done(look.view.hand.clone())
                } else {
                    Taken::Late
                });
            }
            let because = self.because().map(tracing::field::display);
            tracing::info!(credential = %self.credential.name, step = step.word(), reason = reason.code(), because);
            self.steps.push((step.clone(), reason));
            let hand = self.perform(look, &step).await?;
            self.taken(look, &step);
            if !self.goes_on_from(&hand) {
                return Ok(Taken::Done(hand));
            }
            look.view.hand = hand;
            let decision = self.ask(look).await;
            match decision.step().filter(|next| goes_on(&look.view.hand, next)) {
                Some(next) => (step, reason) = (next.clone(), decision.reason()),
                None => return Ok(Taken::Done(look.view.hand.clone())),
            }
        }
    }

    /// Whether what this process holds may be gone on with on the same look.
    fn goes_on_from(&self, hand: &Hand) -> bool {
        matches!(hand, Hand::Claimed { .. } | Hand::Proved { .. } | Hand::Untold { .. } | Hand::Ended { .. })
    }

    /// What a step that was taken changes for the rest of the visit.
    fn taken(&mut self, look: &mut Look, step: &Step) {
        match step {
            // A first value is as fresh as any: what was asked for is done with it.
            Step::Claim { .. } | Step::Mint { first: true, .. } => self.request = None,
            Step::Revoke { id, .. } => {
                self.revoked.push(id.clone());
                // What the vendor listed before says nothing any more.
                look.view.facts.listing = Known::NotAsked;
            }
            _ => {}
        }
        look.view.request = self.request;
    }

    /// What a person said of why, where this visit or an open claim knows.
    fn because(&self) -> Option<&Note> {
        let asked = self.engine.note.get().filter(|_| self.visit.request.is_some());
        asked.or_else(|| self.memory.claims.values().find_map(|claim| claim.note.as_ref()))
    }

    pub(super) fn fault(&self, doing: &str, answer: &str) -> Fault {
        Fault::new(Class::Rejected, format!("{doing} for `{}`", self.credential.name), answer)
    }

    fn close(&mut self, last: Option<(Look, Decision)>, fault: Option<Fault>) -> Visited {
        let looked = self.store.now().unwrap_or_default();
        self.memory.failed = if fault.is_some() { self.memory.failed.saturating_add(1) } else { 0 };
        let steps = std::mem::take(&mut self.steps);
        let Some((seen, decision)) = last else {
            let fault = fault.unwrap_or_else(|| self.fault("looking", "nothing was seen"));
            let mut status = Status::unseen(fault, looked);
            status.look_again = Some(looked.plus(self.visit_pause()));
            return Visited { status, planned: None, steps, leaked: None };
        };
        let settle = self.credential.policy.settle;
        let secret = seen.view.secret.as_ref();
        let current = secret.and_then(|secret| secret.with(&Label::Current));
        let lease = current.and_then(view::Version::lease);
        let published = current.map(|current| Published {
            version: current.id.clone(),
            id: lease.and_then(|lease| lease.tracked.id().cloned()),
            since: lease.map_or(current.created, |lease| lease.since),
            verified: (lease.is_some() || self.in_place() && current.slot().is_some())
                && untold(&seen.secret, &current.id).is_none(),
            unproved: untold(&seen.secret, &current.id),
            live: match self.in_place() {
                // One record, whatever versions there are.
                true => usize::from(secret.is_some_and(|secret| secret.keeps_record())),
                false => secret.map_or(0, |secret| secret.versions.iter().filter(|one| one.lease().is_some()).count()),
            },
        });
        // Without a listing, what the last one showed of the same credential stands.
        let before = self.engine.board.get(&self.credential.name).filter(|before| before.publishes_as(&published));
        let (dead_before, foreign_before) = before.map_or((false, 0), |before| (before.dead, before.foreign));
        let dead = danger::consumers_may_fail(&seen.view, &self.credential.policy, decision.reason(), seen.now);
        let dead = dead.unwrap_or(dead_before);
        let foreign = self.strangers.unwrap_or(foreign_before);
        // The listing lags behind what the vendor was asked to end.
        let lags = decision.step().is_some_and(|step| self.asked_already(step));
        let decided = if lags { Some(looked.plus(settle)) } else { decision.until() };
        let status = Status {
            reason: decision.reason(),
            looked,
            look_again: next_look(looked, decided, fault.as_ref(), self.visit_pause()),
            compare_at: self.compare_at(&seen.view, looked),
            published,
            dead,
            foreign,
            stripped: secret.is_some_and(|secret| secret.owner == view::Owner::Stripped),
            paused: seen.secret.as_ref().and_then(|secret| Paused::of(&secret.tags)),
            detail: self
                .crowded(&decision)
                .or_else(|| room(&decision, &seen, secret, &self.credential.policy))
                .or_else(|| adoptable(&decision, &seen, &self.credential.name)),
            fault,
        };
        let planned = self.visit.dry.then_some(decision);
        let asked = self.visit.request == Some(Cause::Leaked);
        let leaked = asked.then(|| outlook(&seen.view, &self.credential.policy, seen.now));
        Visited { status, planned, steps, leaked }
    }

    /// When to compare next. Where it is due and was not written down, because the vendor did not
    /// answer or a write would delay something, a while later.
    fn compare_at(&self, view: &View, looked: Timestamp) -> Option<Timestamp> {
        let next = next_compare(view, &self.credential.policy)?;
        Some(if next > looked { next } else { looked.plus(self.credential.policy.settle) })
    }

    /// Who is made in the same place, where that is what stops it.
    fn crowded(&self, decision: &Decision) -> Option<String> {
        let others = self.engine.crowd(&self.credential.name);
        (decision.reason() == Reason::NotAlone && !others.is_empty()).then(|| same_place(&others))
    }

    fn visit_pause(&self) -> Duration {
        let doubled = Duration::from_secs(10).saturating_mul(1 << self.memory.failed.min(10));
        doubled.min(VISIT_PAUSE_MAX)
    }
}

/// The names of others that are made in the same place.
pub(super) fn same_place(others: &[Name]) -> String {
    let names: Vec<String> = others.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The numbers behind `NoRoom`: who has how many.
fn room(decision: &Decision, seen: &Look, secret: Option<&view::Secret>, policy: &Policy) -> Option<String> {
    let listing = seen.view.listing().filter(|_| decision.reason() == Reason::NoRoom)?;
    let ours = listing.iter().filter(|one| !foreign(one, secret, policy.capabilities.marking)).count();
    let (count, others) = (listing.len(), listing.len() - ours);
    Some(match policy.capabilities.live_max {
        Some(max) => format!("{count} of at most {max}: {ours} of this secret, {others} that are not keyferry's"),
        None => format!("{ours} of this secret, and keyferry keeps no more than {}", policy.live_max),
    })
}

/// How to go on from a value that is there already, where the vendor lists but one credential that
/// it may be of.
fn adoptable(decision: &Decision, seen: &Look, name: &Name) -> Option<String> {
    if !matches!(decision.reason(), Reason::NotOurs | Reason::ForeignCurrent) {
        return None;
    }
    let id = adopt::only(seen.view.secret.as_ref()?, seen.listing.as_ref()?)?;
    Some(format!("`keyferry adopt {name} {id}` takes it as it is"))
}

/// Whether nothing proves a version.
fn untold(secret: &Option<observed::Secret>, version: &VersionId) -> Option<Unproved> {
    Unproved::of(secret.as_ref()?.tags.get(TAG_UNPROVED)?, version)
}

/// Whether a step may follow at once what this process just did.
fn goes_on(hand: &Hand, next: &Step) -> bool {
    matches!(
        (hand, next),
        (Hand::Claimed { .. }, Step::Mint { .. })
            | (Hand::Proved { .. } | Hand::Untold { .. }, Step::Promote { .. })
            | (Hand::Ended { .. }, Step::Detach { .. })
    )
}

fn foreign(seen: &view::Seen, secret: Option<&view::Secret>, marking: Marking) -> bool {
    let in_place = marking == Marking::InPlace;
    let tracked = secret.is_some_and(|secret| secret.tracks(&seen.id) || in_place && secret.adopted_record());
    seen.marked == Marked::No && !sweep::ours(seen) && !tracked
}
