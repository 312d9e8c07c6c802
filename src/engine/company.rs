//! Which declared credentials are made in one place at a vendor, where the declaration may name one
//! place in several ways: as text they differ, and only the vendor can tell.

use std::sync::PoisonError;

use crate::engine::reconcile::Run;
use crate::engine::{Engine, place};
use crate::model::capability::Marking;
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::name::Name;
use crate::model::policy::Ownership;
use crate::rotation::view::Company;

impl Engine {
    /// The vendor's own id of where a credential is made; `None` where the declared text is all there
    /// is.
    ///
    /// # Errors
    /// As classified.
    pub async fn whereabouts(&self, credential: &Credential) -> Result<Option<String>, Fault> {
        self.vendor(credential)?.whereabouts(place(credential)).await
    }

    /// The others that were found in the place of this one, which it is said to have alone. Known for
    /// the life of a declaration, so that a look at the fleet does not forget it.
    pub(super) fn crowd(&self, name: &Name) -> Vec<Name> {
        self.crowds.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned().unwrap_or_default()
    }

    fn kind_of(&self, credential: &Credential) -> Option<&'static str> {
        self.declaration.vendors.get(&credential.vendor).map(|vendor| vendor.spec.kind)
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
        let (mut others, mut untold) = (Vec::new(), false);
        let kind = self.engine.kind_of(self.credential);
        for other in &self.engine.declaration().credentials {
            if other.name == self.credential.name || self.engine.kind_of(other) != kind {
                continue;
            }
            match self.engine.whereabouts(other).await {
                Ok(Some(at)) if at == own => others.push(other.name.clone()),
                Ok(Some(_) | None) => {}
                // Nothing is made where nothing is.
                Err(fault) if fault.class == Class::Gone => {}
                Err(fault) => {
                    tracing::warn!(credential = %self.credential.name, other = %other.name,
                        "whether both are made in one place can't be told, so nothing is swept: {fault}");
                    untold = true;
                }
            }
        }
        let company = match (others.is_empty(), untold) {
            (false, _) => Some(Company::Others),
            (true, true) => None,
            (true, false) => Some(Company::Alone),
        };
        let mut crowds = self.engine.crowds.lock().unwrap_or_else(PoisonError::into_inner);
        match company {
            Some(Company::Others) => drop(crowds.insert(self.credential.name.clone(), others)),
            Some(Company::Alone) => drop(crowds.remove(&self.credential.name)),
            None => {}
        }
        Ok(company)
    }
}
