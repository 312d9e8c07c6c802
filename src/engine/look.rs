//! One look at a credential: what AWS and, where it is needed, the vendor show, and what
//! `rotation` decides on it.

use crate::engine::feeding::ends_previous;
use crate::engine::reconcile::{AskVendor, Run, Seen};
use crate::engine::{Former, place};
use crate::model::attempt::Attempt;
use crate::model::capability::Proof;
use crate::model::fault::{Class, Fault};
use crate::model::name::VersionId;
use crate::model::observed::{self, Claim, Listing};
use crate::model::time::Now;
use crate::rotation::decide::{needs_listing, needs_proof};
use crate::rotation::view::{self, Company, Dwelling, Feeding, Hand, View};
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
        let mut view = View {
            secret: viewed,
            listing: None,
            unprovable: false,
            company: Company::Untold,
            request: self.request,
            hand,
            feeding: Feeding::default(),
        };
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
            listed.credentials.retain(|one| !self.ended.contains(&one.id));
            let arn = view.secret.as_ref().map(|secret| secret.arn.clone());
            let mut all = view::seen(&listed, arn.as_ref());
            for former in self.formers(view.secret.as_ref())? {
                let away = self.away(&former).await?;
                view::add_away(&mut all, &away, former.ownership, arn.as_ref());
                listed.credentials.extend(away.credentials);
            }
            view.company = self.company().await?;
            view.listing = Some(all);
            self.glimpse = None;
            now.vendor = Some(listed.at);
            decision = decide(&view, policy, now);
            if self.visit.vendor != AskVendor::Never && view.feeding == Feeding::default() && ends_previous(&decision) {
                // Only the listing told that the previous one may end.
                view.feeding = self.feeding(&view, &decision).await;
                decision = decide(&view, policy, now);
            }
            if needs_proof(&decision, policy) {
                // What nobody could prove is not made in the first place.
                let seen = Seen { secret: secret.clone(), view: view.clone(), listing: Some(listed.clone()), now };
                self.glimpse = Some((seen, decision));
                view.unprovable = self.vendor.provable(place(self.credential)).await? == Proof::Impossible;
                self.glimpse = None;
                decision = decide(&view, policy, now);
            }
            listing = Some(listed);
        }
        let asked = view.request.is_some();
        let decision = self.engine.with_brake(|brake| brake.apply(&self.credential.name, asked, decision));
        Ok((Seen { secret, view, listing, now }, decision))
    }

    /// The places that the secret was made in before, but for the declared one.
    pub(super) fn formers(&self, secret: Option<&view::Secret>) -> Result<Vec<Former>, Fault> {
        let wanted = self.credential.policy.at.as_ref();
        let others = secret.into_iter().flat_map(view::Secret::formers).filter(|one| wanted != Some(&one.at));
        let former = |one: &Dwelling| {
            let unread = || {
                let what = format!("this keyferry can't read what the tag `{}` says", one.key());
                self.fault("listing where it was made before", &what)
            };
            self.engine.former(self.credential, &one.at).ok_or_else(unread)
        };
        others.map(former).collect()
    }

    /// What lives in a place that the secret has left. A zone or an application that was ended there
    /// took its credentials with it.
    async fn away(&self, former: &Former) -> Result<Listing, Fault> {
        match self.vendor.list(former.place()).await {
            Ok(mut listed) => {
                listed.credentials.retain(|one| !self.ended.contains(&one.id));
                Ok(listed)
            }
            Err(fault) if fault.class == Class::Gone => Ok(Listing { at: self.store_now()?, credentials: Vec::new() }),
            Err(fault) => Err(fault),
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
