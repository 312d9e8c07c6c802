//! One look at a credential: what AWS and, where it is needed, the vendor show, and what
//! `rotation` decides on it.

use crate::engine::place;
use crate::engine::reconcile::{AskVendor, Run, Seen};
use crate::model::attempt::Attempt;
use crate::model::fault::{Class, Fault};
use crate::model::name::VersionId;
use crate::model::observed::{self, Claim};
use crate::model::time::Now;
use crate::rotation::decide::needs_listing;
use crate::rotation::view::{self, Feeding, Hand, View};
use crate::rotation::{Decision, decide};

impl Run<'_> {
    /// Observes and decides. The vendor is asked only where the decision needs it.
    pub(super) async fn look(&mut self, hand: Hand) -> Result<(Seen, Decision), Fault> {
        let began = self.engine.clock.monotonic();
        let secret = self.store.observe(&self.credential.destination.name).await?;
        // The date at which the look began: a process that was stopped since must not judge what it
        // saw by a later one.
        let elapsed = self.engine.clock.monotonic().saturating_sub(began);
        let mut now = Now { store: self.store_now()?.minus(elapsed), vendor: None };
        let claims = match &secret {
            Some(secret) => self.claims(secret).await?,
            None => Vec::new(),
        };
        let viewed = secret
            .as_ref()
            .map(|secret| view::Secret::new(secret, &self.credential.deployment, &self.credential.name, claims));
        let mut view = View { secret: viewed, listing: None, request: self.request, hand, feeding: Feeding::default() };
        let policy = &self.credential.policy;
        let mut decision = decide(&view, policy, now);
        if self.visit.vendor != AskVendor::Never {
            view.feeding = self.feeding(&view, &decision).await;
            if view.feeding != Feeding::default() {
                decision = decide(&view, policy, now);
            }
        }
        let asks = match self.visit.vendor {
            AskVendor::Always => true,
            AskVendor::AsNeeded => needs_listing(&view, &decision, policy),
            AskVendor::Never => false,
        };
        let mut listing = None;
        if asks {
            let seen = Seen { secret: secret.clone(), view: view.clone(), listing: None, now };
            self.glimpse = Some((seen, decision));
            let mut listed = self.vendor.list(place(self.credential)).await?;
            self.glimpse = None;
            listed.credentials.retain(|one| !self.ended.contains(&one.id));
            let arn = view.secret.as_ref().map(|secret| secret.arn.clone());
            view.listing = Some(view::seen(&listed, arn.as_ref()));
            now.vendor = Some(listed.at);
            decision = decide(&view, policy, now);
            listing = Some(listed);
        }
        Ok((Seen { secret, view, listing, now }, decision))
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
