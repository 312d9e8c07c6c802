//! One look at a credential: what AWS shows and, fact by fact, what `rotation` asks for besides, until
//! it says what to do.

use crate::engine::reconcile::{AskVendor, Run};
use crate::engine::{Former, place};
use crate::model::attempt::Attempt;
use crate::model::capability::Proof;
use crate::model::fault::{Class, Fault};
use crate::model::name::VersionId;
use crate::model::observed::{self, Claim, Listing};
use crate::model::time::Now;
use crate::rotation::decide::FRESH_MAX;
use crate::rotation::view::{self, Dwelling, Fact, Facts, Hand, Known, View};
use crate::rotation::{Decision, decide};
use crate::stores::aws::Fence;

/// Looks at AWS for one decision. More are needed only where fetching facts takes over a minute.
const LOOK_COUNT_MAX: usize = 4;

/// What one look at AWS and the vendor gave.
pub(super) struct Look {
    /// The secret as AWS shows it; `None` when there is none of that name.
    pub(super) secret: Option<observed::Secret>,
    /// The same, in the words of the rules, and every fact that was fetched.
    pub(super) view: View,
    /// What the vendor listed, where it was asked and answered.
    pub(super) listing: Option<Listing>,
    /// AWS's date at which the look at the secret began, and the vendor's date of its listing.
    pub(super) now: Now,
}

impl Look {
    /// For a write that knows no compare: it may be sent only soon after the look.
    pub(super) fn fence(&self) -> Fence {
        Fence { signed_at: self.now.store }
    }
}

impl Run<'_> {
    /// Observes, and decides. Where the facts took so long that an irrevocable step would follow an old
    /// look, AWS is looked at again, and the facts stand.
    pub(super) async fn look(&mut self, hand: Hand) -> Result<(Look, Decision), Fault> {
        self.unread = None;
        let (mut facts, mut listing) = (Facts::default(), None);
        for _ in 0..LOOK_COUNT_MAX {
            let mut look = self.observe(hand.clone(), facts, listing).await?;
            let decision = self.ask(&mut look).await;
            if self.visit.dry || !self.is_late(&look, &decision)? {
                return Ok((look, decision));
            }
            facts = look.view.facts;
            facts.drop_old(self.store_now()?);
            listing = look.listing.filter(|_| facts.listing.found().is_some());
        }
        let answer = "looking at AWS and the vendor takes longer than a minute each time, so nothing was done on it";
        let fault = self.fault("looking at the secret", answer);
        Err(Fault { class: Class::Retry { after: None }, ..fault })
    }

    /// Whether a step that can't be undone would follow a look that is over a minute old.
    pub(super) fn is_late(&self, look: &Look, decision: &Decision) -> Result<bool, Fault> {
        let irrevocable = decision.step().is_some_and(crate::rotation::Step::irrevocable);
        Ok(irrevocable && self.store_now()?.since(look.now.store) > FRESH_MAX)
    }

    /// Looks at the secret, and at the claims that are open.
    async fn observe(&mut self, hand: Hand, facts: Facts, listing: Option<Listing>) -> Result<Look, Fault> {
        let began = self.engine.clock.monotonic();
        let secret = self.store.observe(&self.credential.destination.name).await?;
        // The date at which the look began: a process that was stopped since must not judge what it
        // saw by a later one.
        let elapsed = self.engine.clock.monotonic().saturating_sub(began);
        let now = Now { store: self.store_now()?.minus(elapsed), vendor: listing.as_ref().map(|listed| listed.at) };
        let claims = match &secret {
            Some(secret) => self.claims(secret).await?,
            None => Vec::new(),
        };
        let viewed = secret
            .as_ref()
            .map(|secret| view::Secret::new(secret, &self.credential.deployment, &self.credential.name, claims));
        let view = View {
            secret: viewed,
            facts: self.known_unasked(facts, now),
            compare: self.visit.vendor == AskVendor::Always,
            records: !self.visit.dry,
            request: self.request,
            hand,
        };
        Ok(Look { secret, view, listing, now })
    }

    /// What is known without asking anybody: who has no sources has none that moved. And what a look
    /// with AWS alone can't know.
    fn known_unasked(&self, mut facts: Facts, now: Now) -> Facts {
        let no = || Known::Found { what: false, at: now.store };
        let asks = self.visit.vendor != AskVendor::Never;
        if facts.sources_moved.is_open() && !(asks && self.has_sources()) {
            facts.sources_moved = no();
        }
        if facts.followers_wait.is_open() && !(asks && self.has_followers()) {
            facts.followers_wait = no();
        }
        if !asks {
            [Fact::Listing, Fact::Company, Fact::Proof].into_iter().for_each(|fact| facts.fail(fact));
        }
        facts
    }

    /// Asks `rotation` what to do, and fetches every fact that it needs for that.
    pub(super) async fn ask(&mut self, look: &mut Look) -> Decision {
        loop {
            let fact = match decide(&look.view, &self.credential.policy, look.now) {
                Decision::Need(fact) => fact,
                decision => {
                    let asked = look.view.request.is_some();
                    return self.engine.with_brake(|brake| brake.apply(&self.credential.name, asked, decision));
                }
            };
            if let Err(fault) = self.fetch(fact, look).await {
                tracing::debug!(credential = %self.credential.name, ?fact, "{fault}");
                look.view.facts.fail(fact);
                self.unread = Some(fault);
            }
        }
    }

    /// Fetches one fact.
    async fn fetch(&mut self, fact: Fact, look: &mut Look) -> Result<(), Fault> {
        let at = self.store_now()?;
        let found = |what| Known::Found { what, at };
        match fact {
            Fact::Listing => {
                let (listing, seen) = self.list(look.view.secret.as_ref()).await?;
                look.now.vendor = Some(listing.at);
                look.listing = Some(listing);
                look.view.facts.listing = Known::Found { what: seen, at };
            }
            Fact::Company => {
                look.view.facts.company = self.company().await?.map_or(Known::Failed, |what| Known::Found { what, at });
            }
            Fact::Proof => {
                let proof = self.vendor.provable(place(self.credential)).await?;
                look.view.facts.provable = found(proof != Proof::Impossible);
            }
            Fact::Sources => look.view.facts.sources_moved = found(self.sources_moved(&look.view).await?),
            Fact::Followers => look.view.facts.followers_wait = found(self.followers_wait(&look.view).await?),
        }
        Ok(())
    }

    /// What the vendor lists in the declared place and in every one that the secret has left.
    async fn list(&self, secret: Option<&view::Secret>) -> Result<(Listing, Vec<view::Seen>), Fault> {
        let mut listed = self.vendor.list(place(self.credential)).await?;
        let arn = secret.map(|secret| &secret.arn);
        let mut all = view::seen(&listed, arn);
        for former in self.formers(secret)? {
            let away = self.away(&former).await?;
            view::add_away(&mut all, &away, former.ownership, arn);
            listed.credentials.extend(away.credentials);
        }
        Ok((listed, all))
    }

    /// The places that the secret was made in before, but for the declared one.
    pub(super) fn formers(&self, secret: Option<&view::Secret>) -> Result<Vec<Former>, Fault> {
        let wanted = self.credential.policy.at.as_ref();
        let others = secret.into_iter().flat_map(view::Secret::formers).filter(|one| wanted != Some(&one.at));
        others.map(|one| self.former(one)).collect()
    }

    /// A place that the secret has left, for the vendor's driver.
    pub(super) fn former(&self, one: &Dwelling) -> Result<Former, Fault> {
        self.engine.former(self.credential, &one.at).ok_or_else(|| {
            let what = format!("this keyferry can't read what the tag `{}` says", one.key());
            self.fault("listing where it was made before", &what)
        })
    }

    /// What lives in a place that the secret has left. A zone or an application that was ended there
    /// took its credentials with it.
    async fn away(&self, former: &Former) -> Result<Listing, Fault> {
        match self.vendor.list(former.place()).await {
            Err(fault) if fault.class == Class::Gone => Ok(Listing { at: self.store_now()?, credentials: Vec::new() }),
            listed => listed,
        }
    }

    /// What the open claims say. One that can't be read - denied, or written by a newer keyferry -
    /// is left out: `rotation` is safe without it, and the fault is told.
    async fn claims(&mut self, secret: &observed::Secret) -> Result<Vec<Claim>, Fault> {
        let open = view::open_claims(secret);
        self.memory.claims.retain(|version, _| open.iter().any(|(one, _)| one == version));
        let mut claims = Vec::new();
        for (version, attempt) in open {
            match self.claim(secret, version, attempt).await {
                Ok(claim) => claims.push(claim),
                // Another replica resolved the attempt meanwhile.
                Err(fault) if fault.class == Class::Gone => {}
                Err(fault) if fault.heals_by_itself() => return Err(fault),
                Err(fault) => self.unread = Some(fault),
            }
        }
        Ok(claims)
    }

    async fn claim(&mut self, secret: &observed::Secret, version: VersionId, attempt: Attempt) -> Result<Claim, Fault> {
        if let Some(claim) = self.memory.claims.get(&version) {
            return Ok(claim.clone());
        }
        let claim = self.store.claim(&secret.arn, &version, attempt).await?;
        self.memory.claims.insert(version, claim.clone());
        Ok(claim)
    }
}
