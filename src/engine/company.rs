//! Which declared credentials are made in one place at a vendor, where the declaration may name one
//! place in several ways: as text they differ, and only the vendor can tell.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::VendorInstance;
use crate::engine::here::Here;
use crate::engine::reconcile::Run;
use crate::engine::{Engine, place};
use crate::model::capability::Marking;
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::name::{Name, VendorName};
use crate::model::policy::Ownership;
use crate::rotation::view::Company;
use crate::vendors::http::Endpoint;

/// How long a look waits for what the other credentials of its own vendor instance, and those of
/// other instances, say of their places: no instance may delay what another one does.
const OWN_WAIT_MAX: Duration = Duration::from_secs(30);
const OTHERS_WAIT_MAX: Duration = Duration::from_secs(5);
/// An instance that did not answer is not asked again for so long.
const SILENCE_REMEMBERED: Duration = Duration::from_secs(300);

/// What is known of places, for the life of a declaration.
#[derive(Default)]
pub(super) struct Neighbours {
    /// By credential that is said to be alone in its place, the others that are made there, too.
    crowds: BTreeMap<Name, Vec<Name>>,
    /// By vendor instance that did not answer, why, and until when it is not asked again.
    silent: BTreeMap<VendorName, (Fault, Duration)>,
}

impl Engine {
    /// The vendor's own id of where a credential is made; `None` where the declared text is all there
    /// is. An instance that did not answer lately is not asked again so soon.
    ///
    /// # Errors
    /// As classified.
    pub async fn whereabouts(&self, credential: &Credential) -> Result<Option<String>, Fault> {
        let now = self.clock.monotonic();
        let silent = self.neighbours().silent.get(&credential.vendor).cloned();
        match silent.filter(|(_, until)| now < *until) {
            Some((fault, _)) => Err(fault),
            None => {
                let at = self.vendor(credential)?.whereabouts(place(credential)).await;
                self.heard(&credential.vendor, at.as_ref().err().filter(|fault| fault.heals_by_itself()));
                at
            }
        }
    }

    /// The same, waiting no longer than this.
    async fn whereabouts_within(&self, credential: &Credential, most: Duration) -> Result<Option<String>, Fault> {
        tokio::time::timeout(most, self.whereabouts(credential)).await.unwrap_or_else(|_| {
            let doing = format!("looking up where `{}` is made", credential.name);
            let answer = format!("[vendors.{}] did not answer within {} s", credential.vendor, most.as_secs());
            let fault = Fault::new(Class::Retry { after: None }, doing, answer);
            self.heard(&credential.vendor, Some(&fault));
            Err(fault)
        })
    }

    fn heard(&self, vendor: &VendorName, silence: Option<&Fault>) {
        let until = self.clock.monotonic() + SILENCE_REMEMBERED;
        let mut neighbours = self.neighbours();
        match silence {
            Some(fault) => drop(neighbours.silent.insert(vendor.clone(), (fault.clone(), until))),
            None => drop(neighbours.silent.remove(vendor)),
        }
    }

    fn neighbours(&self) -> MutexGuard<'_, Neighbours> {
        self.neighbours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The others that were found in the place of this one, which it is said to have alone. Known for
    /// the life of a declaration, so that a look at the fleet does not forget it.
    pub(super) fn crowd(&self, name: &Name) -> Vec<Name> {
        self.neighbours().crowds.get(name).cloned().unwrap_or_default()
    }

    /// Whether both can be made in one place, as far as the declaration tells: by one kind of vendor
    /// at one address. Two admin secrets may still be of two accounts; only the vendor can tell.
    fn may_share_a_place(&self, one: &Credential, other: &Credential) -> bool {
        let vendor = |of: &Credential| self.declaration.vendors.get(&of.vendor);
        let (Some(own), Some(others)) = (vendor(one), vendor(other)) else { return false };
        let address = |of: &VendorInstance| of.options.text("base_url").map(Endpoint::parse);
        let told_apart = match (address(own), address(others)) {
            (Some(Ok(own)), Some(Ok(others))) if own.is_loopback() && others.is_loopback() => {
                own.url().port_or_known_default() != others.url().port_or_known_default()
            }
            (Some(Ok(own)), Some(Ok(others))) => own.url().origin() != others.url().origin(),
            (_, _) => false,
        };
        own.spec.kind == others.spec.kind && one.type_name == other.type_name && !told_apart
    }
}

impl Run<'_> {
    /// Who else is made where this one is; `None` where not all of them could be told.
    pub(super) async fn company(&self) -> Result<Option<Company>, Fault> {
        let policy = &self.credential.policy;
        if policy.capabilities.marking != Marking::Unnamed || policy.ownership != Ownership::Exclusive {
            return Ok(None);
        }
        // Where one text means one place, `check` has refused a second one.
        let Some(own) = self.engine.whereabouts(self.credential).await? else { return Ok(Some(Company::Alone)) };
        let (others, untold) = self.company_at(&own).await;
        let company = match (others.is_empty(), untold) {
            (false, _) => Some(Company::Others),
            (true, true) => None,
            (true, false) => Some(Company::Alone),
        };
        let crowds = &mut self.engine.neighbours().crowds;
        match company {
            Some(Company::Others) => drop(crowds.insert(self.credential.name.clone(), others)),
            Some(Company::Alone) => drop(crowds.remove(&self.credential.name)),
            None => {}
        }
        Ok(company)
    }

    /// The others that are made there, and whether some could not be told. All are asked at once.
    async fn company_at(&self, own: &str) -> (Vec<Name>, bool) {
        let engine = self.engine;
        let mut asked = Here::default();
        let mut count = 0;
        for other in &engine.declaration().credentials {
            if other.name == self.credential.name || !engine.may_share_a_place(self.credential, other) {
                continue;
            }
            let most = if other.vendor == self.credential.vendor { OWN_WAIT_MAX } else { OTHERS_WAIT_MAX };
            asked.add(async move { (&other.name, engine.whereabouts_within(other, most).await) });
            count += 1;
        }
        let (mut others, mut untold) = (Vec::new(), false);
        for _ in 0..count {
            let (other, at) = asked.next().await;
            match at {
                Ok(at) if at.as_deref() == Some(own) => others.push(other.clone()),
                Ok(_) => {}
                // Nothing is made where nothing is.
                Err(fault) if fault.class == Class::Gone => {}
                Err(fault) => {
                    tracing::warn!(credential = %self.credential.name, %other,
                        "keyferry cannot tell whether both are made in one place, so it cleans up nothing: {fault}");
                    untold = true;
                }
            }
        }
        others.sort();
        (others, untold)
    }
}
