//! One credential: observe, ask `rotation` for a step, perform it, and again, until only time or
//! somebody else can help. Every start, tick and error comes back to *observe*; there is no other
//! recovery.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::engine::Engine;
use crate::engine::snapshot::{Paused, Published, Status};
use crate::model::attempt::{Cause, Note};
use crate::model::capability::Marking;
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::label::{Label, Lease, TAG_UNPROVED};
use crate::model::name::{Name, VendorId, VersionId};
use crate::model::observed::{self, Claim, Listing};
use crate::model::policy::{Policy, Wanted};
use crate::model::time::{Now, Timestamp};
use crate::rotation::decide::FRESH_MAX;
use crate::rotation::guard::guard;
use crate::rotation::leaked::{Outlook, outlook};
use crate::rotation::reason::earlier;
use crate::rotation::tags::Unproved;
use crate::rotation::view::{self, Hand, Marked, View};
use crate::rotation::{Decision, Reason, Step, adopt, decide, own, sweep};
use crate::stores::aws::{Fence, Store};
use crate::vendors::Vendor;

/// Most steps of one visit: a rotation takes seven; more means that something undoes them.
const STEP_COUNT_MAX: usize = 40;
/// Calls that failed in a way that heals by itself are tried again in the same visit this often.
const RETRY_COUNT_MAX: u32 = 3;
/// Wait before such a retry, and before looking again after another replica was faster.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Looks at what AWS does not show yet of what this visit wrote.
const LAG_COUNT_MAX: u32 = 5;
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
    /// Leftovers that this visit ended; a vendor may go on listing them for a while.
    pub(super) ended: Vec<VendorId>,
    /// Why a claim could not be read.
    pub(super) unread: Option<Fault>,
    /// How many strangers the last listing of this visit showed.
    strangers: Option<usize>,
    /// What AWS showed before the vendor failed to answer.
    pub(super) glimpse: Option<(Seen, Decision)>,
}

/// What one look at AWS and the vendor gave.
pub(super) struct Seen {
    pub(super) secret: Option<observed::Secret>,
    pub(super) view: View,
    pub(super) listing: Option<Listing>,
    /// The dates by which it is judged: those at which the look began.
    pub(super) now: Now,
}

impl Seen {
    /// For a write that knows no compare: it may be sent only soon after the look.
    pub(super) fn fence(&self) -> Fence {
        Fence { signed_at: self.now.store }
    }
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
            ended: Vec::new(),
            unread: None,
            strangers: None,
            glimpse: None,
        }
    }
}

impl Run<'_> {
    async fn visit(&mut self) -> Visited {
        let mut hand = Hand::Empty;
        let mut retries = 0;
        let mut lags = 0;
        let mut last: Option<(Seen, Decision)> = None;
        // What stopped a step; stands until another step succeeds.
        let mut trouble = None;
        // What the vendor was asked to end in this visit. A listing may lag behind that.
        let mut revoked = Vec::new();
        let fault = loop {
            if self.steps.len() > STEP_COUNT_MAX {
                break Some(self.fault("going on", "more steps than any rotation takes: something undoes them"));
            }
            let step = match self.look(hand.clone()).await {
                Err(fault) => {
                    last = self.glimpse.take().or(last);
                    Err(fault)
                }
                Ok((seen, decision)) => {
                    let again = matches!(&decision.step, Step::Revoke { id, .. } if revoked.contains(id));
                    let waits =
                        self.visit.dry || again || decision.step == Step::Wait || self.must_stop(&decision.step);
                    let may_lag = !self.steps.is_empty() && decision.reason == Reason::AttemptOpen;
                    let secret = seen.view.secret.as_ref();
                    let marking = self.credential.policy.capabilities.marking;
                    let count = |listing: &Vec<_>| listing.iter().filter(|one| foreign(one, secret, marking)).count();
                    self.strangers = seen.view.listing.as_ref().map(count).or(self.strangers);
                    let seen = last.insert((seen, decision));
                    if again {
                        seen.1.look_again = self.store.now().map(|now| now.plus(self.credential.policy.settle));
                    }
                    if waits && may_lag && lags < LAG_COUNT_MAX && !self.engine.stopping() {
                        // AWS may not show yet what this visit wrote.
                        lags += 1;
                        self.engine.clock.sleep(RETRY_PAUSE).await;
                        continue;
                    }
                    if waits {
                        break trouble;
                    }
                    let done = self.take(&seen.0, &seen.1, hand.clone()).await;
                    if let (Ok(_), Step::Revoke { id, .. }) = (&done, &seen.1.step) {
                        revoked.push(id.clone());
                    }
                    done
                }
            };
            if step.is_err() && matches!(hand, Hand::Claimed { .. } | Hand::Tagged { .. }) {
                // A won claim or tag is good for one create, whatever became of it.
                hand = Hand::Empty;
            }
            match step {
                Ok(after) => {
                    trouble = None;
                    retries = 0;
                    hand = after;
                }
                Err(fault) if fault.heals_by_itself() && retries < RETRY_COUNT_MAX && !self.visit.dry => {
                    retries += 1;
                    let told = match fault.class {
                        Class::Retry { after: Some(after) } if after > RETRY_PAUSE * 10 => break Some(fault),
                        Class::Retry { after: Some(after) } => after,
                        _ => RETRY_PAUSE,
                    };
                    tracing::debug!(credential = %self.credential.name, "{fault}; trying again");
                    // Another replica was faster: nothing is wrong, look again.
                    trouble = Some(fault).filter(|fault| fault.class != Class::Taken);
                    self.engine.clock.sleep(told).await;
                }
                Err(fault) => break Some(fault),
            }
        };
        let fault = fault.or(self.unread.take());
        self.close(last, fault)
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

    /// Performs a decision, and then those that need no new look because this very process holds
    /// what they need: claim then mint, prove then promote.
    async fn take(&mut self, seen: &Seen, decision: &Decision, hand: Hand) -> Result<Hand, Fault> {
        let mut decision = decision.clone();
        let mut view = View { hand, ..seen.view.clone() };
        loop {
            if let Err(violation) = guard(&view, &decision.step, &self.credential.policy, seen.now) {
                tracing::error!(credential = %self.credential.name, step = ?decision.step, "{violation}");
                let fault = self.fault("checking a step before taking it", &format!("refused: {violation}"));
                let hint = "this is a bug of keyferry: this one secret is left alone; please report it";
                return Err(Fault { class: Class::Bug, ..fault }.with_hint(hint));
            }
            // What follows a look must follow it soon: somebody may have paused it, or taken the
            // candidate back, while this process slept.
            if decision.step.irrevocable() && self.store_now()?.since(seen.now.store) > FRESH_MAX {
                return Ok(view.hand);
            }
            let (step, reason) = (decision.step.word(), decision.reason.code());
            let because = self.because().map(tracing::field::display);
            tracing::info!(credential = %self.credential.name, step, reason, because);
            self.steps.push((decision.step.clone(), decision.reason));
            let hand = self.perform(seen, &decision.step, &view.hand).await?;
            match &decision.step {
                // A first value is as fresh as any: what was asked for is done with it.
                Step::Claim { .. } | Step::MintFirst { .. } => self.request = None,
                Step::Revoke { id, tracked: false } => self.ended.push(id.clone()),
                _ => {}
            }
            match hand {
                Hand::Claimed { .. } | Hand::Proved { .. } | Hand::Untold { .. } | Hand::Ended { .. } => {
                    view.hand = hand;
                    decision = decide(&view, &self.credential.policy, seen.now);
                    let goes_on = matches!(
                        (&view.hand, &decision.step),
                        (Hand::Claimed { .. }, Step::Mint { .. })
                            | (Hand::Proved { .. } | Hand::Untold { .. }, Step::Promote { .. })
                            | (Hand::Ended { .. }, Step::Detach { .. })
                    );
                    if !goes_on {
                        return Ok(view.hand);
                    }
                }
                hand => return Ok(hand),
            }
        }
    }

    /// What a person said of why, where this visit or an open claim knows.
    fn because(&self) -> Option<&Note> {
        let asked = self.engine.note.get().filter(|_| self.visit.request.is_some());
        asked.or_else(|| self.memory.claims.values().find_map(|claim| claim.note.as_ref()))
    }

    pub(super) fn fault(&self, doing: &str, answer: &str) -> Fault {
        Fault::new(Class::Rejected, format!("{doing} for `{}`", self.credential.name), answer)
    }

    fn close(&mut self, last: Option<(Seen, Decision)>, fault: Option<Fault>) -> Visited {
        let looked = self.store.now().unwrap_or_default();
        self.memory.failed = if fault.is_some() { self.memory.failed.saturating_add(1) } else { 0 };
        let steps = std::mem::take(&mut self.steps);
        let Some((seen, decision)) = last else {
            let fault = fault.unwrap_or_else(|| self.fault("looking", "nothing was seen"));
            let mut status = Status::unseen(fault, looked);
            status.look_again = Some(looked.plus(self.visit_pause()));
            return Visited { status, planned: None, steps, leaked: None };
        };
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
        let (dead, foreign) = match &seen.listing {
            None => (dead_before, self.strangers.unwrap_or(foreign_before)),
            Some(listing) => {
                // A vendor may take a while to list what it just made.
                let grown = |lease: &&Lease| looked.since(lease.since) > self.credential.policy.settle;
                let listed = |lease: &Lease| listing.credentials.iter().any(|one| lease.tracked.is(&one.id));
                let marking = self.credential.policy.capabilities.marking;
                let strange = seen.view.listing.iter().flatten().filter(|one| foreign(one, secret, marking)).count();
                (lease.filter(grown).is_some_and(|lease| !listed(lease)), strange)
            }
        };
        // What the declaration retires is dead on purpose.
        let ending = secret.zip(current).is_some_and(|(secret, current)| secret.ending(&current.id));
        let dead = dead && !(ending && self.credential.policy.wanted == Wanted::Retired);
        let status = Status {
            reason: decision.reason,
            looked,
            look_again: match &fault {
                Some(Fault { class: Class::Retry { after: Some(told) }, .. }) => {
                    Some(looked.plus(self.visit_pause().max(*told)))
                }
                // A date that is past asks for nothing sooner than the next try.
                Some(_) => {
                    let date = decision.look_again.filter(|date| *date > looked);
                    earlier(date, Some(looked.plus(self.visit_pause())))
                }
                None => decision.look_again,
            },
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

    /// Who is made in the same place, where that is what stops it.
    fn crowded(&self, decision: &Decision) -> Option<String> {
        let others = self.engine.crowd(&self.credential.name);
        (decision.reason == Reason::NotAlone && !others.is_empty()).then(|| same_place(&others))
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
fn room(decision: &Decision, seen: &Seen, secret: Option<&view::Secret>, policy: &Policy) -> Option<String> {
    let listing = seen.view.listing.as_ref().filter(|_| decision.reason == Reason::NoRoom)?;
    let ours = listing.iter().filter(|one| !foreign(one, secret, policy.capabilities.marking)).count();
    let (count, others) = (listing.len(), listing.len() - ours);
    Some(match policy.capabilities.live_max {
        Some(max) => format!("{count} of at most {max}: {ours} of this secret, {others} that are not keyferry's"),
        None => format!("{ours} of this secret, and keyferry keeps no more than {}", policy.live_max),
    })
}

/// How to go on from a value that is there already, where the vendor lists but one credential that
/// it may be of.
fn adoptable(decision: &Decision, seen: &Seen, name: &Name) -> Option<String> {
    if !matches!(decision.reason, Reason::NotOurs | Reason::ForeignCurrent) {
        return None;
    }
    let id = adopt::only(seen.view.secret.as_ref()?, seen.listing.as_ref()?)?;
    Some(format!("`keyferry adopt {name} {id}` takes it as it is"))
}

/// Whether nothing proves a version.
fn untold(secret: &Option<observed::Secret>, version: &VersionId) -> Option<Unproved> {
    Unproved::of(secret.as_ref()?.tags.get(TAG_UNPROVED)?, version)
}

fn foreign(seen: &view::Seen, secret: Option<&view::Secret>, marking: Marking) -> bool {
    let in_place = marking == Marking::InPlace;
    let tracked = secret.is_some_and(|secret| secret.tracks(&seen.id) || in_place && secret.adopted_record());
    seen.marked == Marked::No && !sweep::ours(seen) && !tracked
}
