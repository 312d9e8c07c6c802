//! The steps of vendors that keep a value of ours in one record.
//!
//! ```text
//! prepare   the value can be had, fits, and the vendor has what the declaration names
//!   claim   (or, for the first version, the bootstrap tag)
//!   supply  the value goes into the slot as AWSPENDING; nothing was sent to the vendor yet
//!   apply   the stored value is read back, set at the vendor and proved, then promoted at once
//! restore   AWSCURRENT's value is set again: a candidate was given up, or the record differs
//! ```
//!
//! The stored value is the only one that is ever set, so a crash anywhere leaves nothing but a
//! candidate to set again. A secret's first version becomes current with its put, before the vendor
//! has it: whoever checks the value against AWS then knows it before ChatBotKit begins to use it.

use crate::engine::look::Look;
use crate::engine::place;
use crate::engine::reconcile::Run;
use crate::model::attempt::{Attempt, Mark};
use crate::model::capability::Marking;
use crate::model::fault::{Class, Fault};
use crate::model::label::Label;
use crate::model::name::{Arn, VersionId};
use crate::rotation::view::Hand;
use crate::vendors::Verdict;

impl Run<'_> {
    pub(super) fn in_place(&self) -> bool {
        self.credential.policy.capabilities.marking == Marking::InPlace
    }

    /// Asks for everything that a rotation will need, and keeps nothing of it.
    pub(super) async fn prepare(&self) -> Result<(), Fault> {
        self.supply().await.and_then(|outputs| self.render(&outputs))?;
        self.vendor.check(place(self.credential)).await
    }

    /// Sets a stored candidate at the vendor and proves it.
    pub(super) async fn apply(&self, seen: &Look, arn: &Arn, version: &VersionId) -> Result<Hand, Fault> {
        let outputs = self.candidate(arn, version).await?;
        let mark = Mark::new(arn, self.attempt_of(seen, version)?);
        let earlier = self.refused_before(version, &seen.view.hand).await;
        let at = self.store_now()?;
        match self.vendor.set(place(self.credential), &mark, &outputs).await? {
            Verdict::Good => Ok(Hand::Proved { version: version.clone(), at }),
            // Published with its first put: there is nothing to go back to.
            Verdict::Bad { answer } | Verdict::CannotTell { answer } if self.is_current(seen, version) => {
                Err(self.unproved(&answer))
            }
            Verdict::CannotTell { answer } => {
                tracing::warn!(credential = %self.credential.name, answer, "nothing tells whether the value is in use");
                Ok(Hand::Untold { version: version.clone(), at })
            }
            Verdict::Bad { answer } => {
                tracing::debug!(credential = %self.credential.name, answer, "the value could not be proved");
                Ok(Hand::Refused { version: version.clone(), since: earlier.unwrap_or(at) })
            }
        }
    }

    /// Sets AWSCURRENT's value at the vendor again, after `version`'s was set there.
    pub(super) async fn restore(&self, seen: &Look, arn: &Arn, version: &VersionId) -> Result<Hand, Fault> {
        let current = seen.view.secret.as_ref().and_then(|secret| secret.with(&Label::Current));
        let current = current.map(|current| current.id.clone());
        let current = current.ok_or_else(|| self.fault("setting a value back", "nothing is current"))?;
        let value = self.store.published(arn, &current).await.map_err(|fault| match fault.class {
            // Somebody published another one meanwhile: look again.
            Class::Gone => Fault { class: Class::Taken, ..fault },
            Class::Denied => fault.with_hint(
                "the vendor may hold a value that is not published: allow secretsmanager:GetSecretValue on this \
                 secret with the stage AWSCURRENT, so that keyferry can set the published one again",
            ),
            _ => fault,
        })?;
        let outputs = self.credential.destination.shape.recover(&value).ok_or_else(|| {
            self.fault("reading the current value", "it is stored in another shape than is declared now").with_hint(
                "declare its shape as it was until the next rotation, or set the value at the vendor by hand",
            )
        })?;
        let mark = Mark::new(arn, self.attempt_of(seen, &current).unwrap_or_else(|_| adopted(arn, &current)));
        match self.vendor.set(place(self.credential), &mark, &outputs).await? {
            Verdict::Good => Ok(Hand::Restored { version: version.clone() }),
            Verdict::Bad { answer } | Verdict::CannotTell { answer } => Err(self.unproved(&answer)),
        }
    }

    fn is_current(&self, seen: &Look, version: &VersionId) -> bool {
        let current = seen.view.secret.as_ref().and_then(|secret| secret.with(&Label::Current));
        current.is_some_and(|current| current.id == *version)
    }

    fn attempt_of(&self, seen: &Look, version: &VersionId) -> Result<Attempt, Fault> {
        let versions = seen.view.secret.iter().flat_map(|secret| &secret.versions);
        let slot = versions.filter(|one| one.id == *version).find_map(|one| one.slot());
        slot.map(|of| of.attempt).ok_or_else(|| {
            self.fault("setting a value at the vendor", "the version was not stored by keyferry, so it has no mark")
        })
    }

    fn unproved(&self, answer: &str) -> Fault {
        let doing = format!("proving the value of `{}` at the vendor", self.credential.name);
        Fault::new(Class::Retry { after: None }, doing, answer)
    }
}

/// What a value that was adopted is marked with when it is set again: an attempt's number of its own,
/// before the first to replace it.
fn adopted(arn: &Arn, version: &VersionId) -> Attempt {
    Attempt::derive(arn, &Some(version.clone()), 0)
}
