//! One credential: observe, ask `rotation` for a step, perform it, and again, until only time or
//! somebody else can help. Every start, tick and error comes back to *observe*; there is no other
//! recovery.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::snapshot::{Published, Status};
use crate::engine::{Engine, place};
use crate::model::attempt::Cause;
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::label::{Label, Lease};
use crate::model::name::VersionId;
use crate::model::observed::{self, Claim, Listing};
use crate::model::time::{Now, Timestamp};
use crate::rotation::decide::needs_listing;
use crate::rotation::guard::guard;
use crate::rotation::reason::earlier;
use crate::rotation::view::{self, Hand, Marked, View};
use crate::rotation::{Decision, Reason, Step, decide, sweep};
use crate::stores::aws::Store;
use crate::vendors::Vendor;

/// Most steps of one visit: a rotation takes seven; more means that something undoes them.
const STEP_COUNT_MAX: usize = 40;
/// Calls that failed in a way that heals by itself are tried again in the same visit this often.
const RETRY_COUNT_MAX: u32 = 3;
/// Wait before such a retry, and before looking again after another replica was faster.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Longest wait between visits to a credential that keeps failing.
const VISIT_PAUSE_MAX: Duration = Duration::from_secs(900);

/// What this process remembers of one credential between visits. Nothing here decides: losing it
/// costs a few calls.
#[derive(Default)]
pub struct Memory {
    /// Claims never change, so each is read once.
    claims: HashMap<VersionId, Claim>,
    /// Visits in a row that ended with a fault.
    failed: u32,
}

/// When the vendor is asked for its listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AskVendor {
    /// Where the decision needs it.
    #[default]
    AsNeeded,
    /// In any case: to see drift.
    Always,
    /// Not at all: a look with AWS alone, without vendor keys.
    Never,
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

/// What a visit found, and what it did.
pub struct Visited {
    /// How things stand now.
    pub status: Status,
    /// The first step that a dry visit would take.
    pub planned: Option<Decision>,
    /// Steps taken.
    pub steps: Vec<(Step, Reason)>,
}

impl Engine {
    /// Visits one credential. Never fails: what went wrong is part of the status, and noted on the
    /// board.
    pub async fn reconcile(&self, credential: &Arc<Credential>, visit: Visit) -> Visited {
        let memory = {
            let mut memories = self.memories.lock().expect("no holder panics");
            Arc::clone(memories.entry(credential.name.clone()).or_default())
        };
        // One visit at a time for one credential; equal wake-ups queue up behind it and find
        // nothing to do.
        let mut memory = memory.lock().await;
        let visited = match (self.store(credential).await, self.vendor(credential)) {
            (Ok(store), Ok(vendor)) => {
                let mut run = Run {
                    engine: self,
                    credential,
                    store,
                    vendor: vendor.as_ref(),
                    memory: &mut memory,
                    visit,
                    steps: Vec::new(),
                    glimpse: None,
                };
                run.visit().await
            }
            (Err(fault), _) | (_, Err(fault)) => {
                Visited { status: Status::unseen(fault, Timestamp::default()), planned: None, steps: Vec::new() }
            }
        };
        if !visit.dry {
            self.board.set(&credential.name, visited.status.clone());
        }
        visited
    }
}

/// One visit to one credential.
pub(super) struct Run<'a> {
    pub(super) engine: &'a Engine,
    pub(super) credential: &'a Credential,
    pub(super) store: &'a Store,
    pub(super) vendor: &'a dyn Vendor,
    memory: &'a mut Memory,
    visit: Visit,
    steps: Vec<(Step, Reason)>,
    /// What AWS showed before the vendor failed to answer.
    glimpse: Option<(Seen, Decision)>,
}

/// What one look at AWS and the vendor gave.
pub(super) struct Seen {
    pub(super) secret: Option<observed::Secret>,
    pub(super) view: View,
    listing: Option<Listing>,
}

impl Run<'_> {
    async fn visit(&mut self) -> Visited {
        let mut hand = Hand::Empty;
        let mut request = self.visit.request;
        let mut retries = 0;
        let mut last: Option<(Seen, Decision)> = None;
        // What stopped a step; stands until another step succeeds.
        let mut trouble = None;
        // What the vendor was asked to end in this visit. A listing may lag behind that.
        let mut revoked = Vec::new();
        let fault = loop {
            if self.steps.len() > STEP_COUNT_MAX {
                break Some(self.fault("going on", "more steps than any rotation takes: something undoes them"));
            }
            let step = match self.look(hand.clone(), request).await {
                Err(fault) => {
                    last = self.glimpse.take().or(last);
                    Err(fault)
                }
                Ok((seen, decision)) => {
                    let again = matches!(&decision.step, Step::Revoke { id, .. } if revoked.contains(id));
                    let ends = self.visit.dry || again || decision.step == Step::Wait || self.must_stop(&decision.step);
                    let seen = last.insert((seen, decision));
                    if again {
                        seen.1.look_again = self.store.now().map(|now| now.plus(self.credential.policy.settle));
                    }
                    if ends {
                        break trouble;
                    }
                    let done = self.take(&seen.0, &seen.1, hand.clone()).await;
                    if let (Ok(_), Step::Revoke { id, .. }) = (&done, &seen.1.step) {
                        revoked.push(id.clone());
                    }
                    done
                }
            };
            match step {
                Ok(after) => {
                    trouble = None;
                    retries = 0;
                    if matches!(after, Hand::Claimed { .. }) {
                        request = None;
                    }
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
                    trouble = Some(fault);
                    self.engine.clock.sleep(told).await;
                }
                Err(fault) => break Some(fault),
            }
        };
        self.close(last, fault)
    }

    /// A process that is asked to end begins nothing new, but finishes what only it can finish.
    fn must_stop(&self, step: &Step) -> bool {
        let only_ours = matches!(step, Step::Mint { .. } | Step::MintFirst { .. });
        self.engine.stopping() && !only_ours
    }

    /// Observes and decides. The vendor is asked only where the decision needs it.
    async fn look(&mut self, hand: Hand, request: Option<Cause>) -> Result<(Seen, Decision), Fault> {
        let secret = self.store.observe(&self.credential.destination.name).await?;
        let mut claims = Vec::new();
        for (version, attempt) in secret.iter().flat_map(view::open_claims) {
            claims.push(self.claim(secret.as_ref().expect("it has claims"), version, attempt).await?);
        }
        let viewed = secret
            .as_ref()
            .map(|secret| view::Secret::new(secret, &self.credential.deployment, &self.credential.name, claims));
        let mut view = View { secret: viewed, listing: None, request, hand };
        let policy = &self.credential.policy;
        let mut decision = decide(&view, policy, self.now(None)?);
        let asks = match self.visit.vendor {
            AskVendor::Always => true,
            AskVendor::AsNeeded => needs_listing(&view, &decision),
            AskVendor::Never => false,
        };
        let mut listing = None;
        if asks {
            let seen = Seen { secret: secret.clone(), view: view.clone(), listing: None };
            self.glimpse = Some((seen, decision));
            let listed = self.vendor.list(place(self.credential)).await?;
            self.glimpse = None;
            let arn = view.secret.as_ref().map(|secret| secret.arn.clone());
            view.listing = Some(view::seen(&listed, arn.as_ref()));
            decision = decide(&view, policy, self.now(Some(listed.at))?);
            listing = Some(listed);
        }
        Ok((Seen { secret, view, listing }, decision))
    }

    async fn claim(
        &mut self,
        secret: &observed::Secret,
        version: VersionId,
        attempt: crate::model::attempt::Attempt,
    ) -> Result<Claim, Fault> {
        if let Some(claim) = self.memory.claims.get(&version) {
            return Ok(claim.clone());
        }
        let claim = self.store.claim(&secret.arn, &version, attempt).await?;
        self.memory.claims.insert(version, claim.clone());
        Ok(claim)
    }

    fn now(&self, vendor: Option<Timestamp>) -> Result<Now, Fault> {
        Ok(Now { store: self.store_now()?, vendor })
    }

    /// AWS's date: its last `Date` header plus the monotonic time since.
    pub(super) fn store_now(&self) -> Result<Timestamp, Fault> {
        self.store.now().ok_or_else(|| self.fault("telling the time", "AWS has not answered with a date yet"))
    }

    /// Performs a decision, and then those that need no new look because this very process holds
    /// what they need: claim then mint, prove then promote.
    async fn take(&mut self, seen: &Seen, decision: &Decision, hand: Hand) -> Result<Hand, Fault> {
        let mut decision = decision.clone();
        let mut view = View { hand, ..seen.view.clone() };
        loop {
            // The vendor's date when it was listed: time that passed since only makes things older.
            let now = self.now(seen.listing.as_ref().map(|listing| listing.at))?;
            if let Err(violation) = guard(&view, &decision.step, &self.credential.policy, now) {
                tracing::error!(credential = %self.credential.name, step = ?decision.step, "{violation}");
                return Err(self.fault("checking a step before taking it", &format!("refused: {violation}")));
            }
            tracing::info!(credential = %self.credential.name, step = decision.step.word(), reason = decision.reason.code());
            self.steps.push((decision.step.clone(), decision.reason));
            let hand = self.perform(seen, &decision.step, &view.hand).await?;
            match hand {
                Hand::Claimed { .. } | Hand::Proved { .. } | Hand::Ended { .. } => {
                    view.hand = hand;
                    decision = decide(&view, &self.credential.policy, now);
                    let goes_on = matches!(
                        (&view.hand, &decision.step),
                        (Hand::Claimed { .. }, Step::Mint { .. })
                            | (Hand::Proved { .. }, Step::Promote { .. })
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
            return Visited { status, planned: None, steps };
        };
        let secret = seen.view.secret.as_ref();
        let current = secret.and_then(|secret| secret.with(&Label::Current));
        let lease = current.and_then(view::Version::lease);
        let published = current.map(|current| Published {
            version: current.id.clone(),
            id: lease.and_then(|lease| match &lease.tracked {
                crate::model::label::Tracked::Plain(id) => Some(id.clone()),
                crate::model::label::Tracked::Hashed(_) => None,
            }),
            since: lease.map_or(current.created, |lease| lease.since),
            verified: lease.is_some() && current.slot().is_some(),
            live: secret.map_or(0, |secret| secret.versions.iter().filter(|one| one.lease().is_some()).count()),
        });
        // Without a listing, what the last one showed of the same credential stands.
        let before = self.engine.board.get(&self.credential.name).filter(|before| before.publishes_as(&published));
        let (dead_before, foreign_before) = before.map_or((false, 0), |before| (before.dead, before.foreign));
        let (dead, foreign) = match &seen.listing {
            None => (dead_before, foreign_before),
            Some(listing) => {
                // A vendor may take a while to list what it just made.
                let grown = |lease: &&Lease| looked.since(lease.since) > self.credential.policy.settle;
                let listed = |lease: &Lease| listing.credentials.iter().any(|one| lease.tracked.is(&one.id));
                let strange = seen.view.listing.iter().flatten().filter(|one| foreign(one, secret)).count();
                (lease.filter(grown).is_some_and(|lease| !listed(lease)), strange)
            }
        };
        let status = Status {
            reason: decision.reason,
            looked,
            look_again: match fault {
                Some(_) => earlier(decision.look_again, Some(looked.plus(self.visit_pause()))),
                None => decision.look_again,
            },
            published,
            dead,
            foreign,
            fault,
        };
        let planned = self.visit.dry.then_some(decision);
        Visited { status, planned, steps }
    }

    fn visit_pause(&self) -> Duration {
        let doubled = Duration::from_secs(10).saturating_mul(1 << self.memory.failed.min(10));
        doubled.min(VISIT_PAUSE_MAX)
    }
}

fn foreign(seen: &view::Seen, secret: Option<&view::Secret>) -> bool {
    seen.marked == Marked::No && !sweep::ours(seen) && !secret.is_some_and(|secret| secret.tracks(&seen.id))
}
