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

use crate::engine::perform::{SIGNATURE_MAX, answered};
use crate::engine::place;
use crate::engine::reconcile::{Run, Seen};
use crate::model::attempt::{Attempt, Mark};
use crate::model::capability::Marking;
use crate::model::fault::{Class, Fault};
use crate::model::label::Label;
use crate::model::name::{Arn, VersionId};
use crate::model::observed;
use crate::model::secret::SecretValue;
use crate::model::time::Timestamp;
use crate::rotation::decide::FRESH_MAX;
use crate::rotation::own::{self, Answer, Next, Own};
use crate::rotation::view::Hand;
use crate::stores::aws::{Fence, Unpublished};
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

    /// Puts a fresh value into the slot of a claim that was just won.
    pub(super) async fn supply_into(
        &self,
        secret: &observed::Secret,
        attempt: Attempt,
        since: Timestamp,
    ) -> Result<Hand, Fault> {
        let published = self.published(secret)?;
        let value = match self.fresh(since).await {
            Ok(value) => value,
            Err(fault) => {
                // Nothing was stored: close the attempt, so that the next one need not wait.
                let closed = self.store.put_tombstone(&published, attempt).await;
                tracing::debug!(credential = %self.credential.name, closed = closed.is_ok(), "no value could be had");
                return Err(fault);
            }
        };
        let mut own = Own { since: self.store_now()?, in_doubt: false, can_close: true };
        let (mut answer, mut told, mut sends) = (Answer::NotSent, None, 0);
        loop {
            match own::next(&mut own, answer, self.store_now()?, self.engine.must_finish(&self.credential.name)) {
                Next::Put => {
                    self.pause_before_send(sends, told.as_ref()).await;
                    sends += 1;
                    (answer, told) = answered(self.store.put_slot(&published, attempt, None, &value).await.map(|_| ()));
                }
                Next::Close => {
                    let closed = self.store.put_tombstone(&published, attempt).await;
                    answer = if closed.is_ok() { Answer::Closed } else { Answer::NotClosed };
                }
                // Nothing is at the vendor: there is nothing to end.
                Next::Revoke => return told.map_or(Ok(Hand::Empty), Err),
                Next::Leave if answer == Answer::Stored => return Ok(Hand::Empty),
                Next::Leave => return told.map_or(Ok(Hand::Empty), Err),
            }
        }
    }

    /// Puts a secret's first version, which AWS makes current at once; it stays AWSPENDING, too,
    /// until the vendor has it.
    pub(super) async fn supply_first(
        &self,
        secret: &observed::Secret,
        attempt: Attempt,
        since: Timestamp,
    ) -> Result<Hand, Fault> {
        let Some(unpublished) = Unpublished::of(secret) else {
            return Err(self.fault("writing the first version", "the secret has a version already"));
        };
        let value = self.fresh(since).await?;
        let mut own = Own { since: self.store_now()?, in_doubt: false, can_close: false };
        let (mut answer, mut told, mut sends) = (Answer::NotSent, None, 0);
        loop {
            match own::next(&mut own, answer, self.store_now()?, self.engine.must_finish(&self.credential.name)) {
                Next::Put => {
                    self.pause_before_send(sends, told.as_ref()).await;
                    sends += 1;
                    let fence = Fence { signed_at: since };
                    let put = self.store.put_first(&unpublished, attempt, None, &value, fence).await;
                    (answer, told) = answered(put.map(|_| ()));
                    // The signature is the fence: past its life nothing sent from here can land.
                    if answer == Answer::Throttled && self.store_now()?.since(since) > SIGNATURE_MAX {
                        answer = Answer::Refused;
                    }
                }
                Next::Leave if answer == Answer::Stored => return Ok(Hand::Empty),
                Next::Revoke | Next::Close | Next::Leave => return told.map_or(Ok(Hand::Empty), Err),
            }
        }
    }

    async fn fresh(&self, since: Timestamp) -> Result<SecretValue, Fault> {
        let value = self.supply().await.and_then(|outputs| self.render(&outputs))?;
        // Asked again right before the send: the process may have slept since the decision.
        if self.store_now()?.since(since) >= FRESH_MAX {
            return Err(self.fault("supplying a value", "the claim is over a minute old: left to be closed"));
        }
        Ok(value)
    }

    /// Sets a stored candidate at the vendor and proves it.
    pub(super) async fn apply(&self, seen: &Seen, arn: &Arn, version: &VersionId, hand: &Hand) -> Result<Hand, Fault> {
        let outputs = self.candidate(arn, version).await?;
        let mark = Mark::new(arn, self.attempt_of(seen, version)?);
        let earlier = self.refused_before(version, hand).await;
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
    pub(super) async fn restore(&self, seen: &Seen, arn: &Arn, version: &VersionId) -> Result<Hand, Fault> {
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

    fn is_current(&self, seen: &Seen, version: &VersionId) -> bool {
        let current = seen.view.secret.as_ref().and_then(|secret| secret.with(&Label::Current));
        current.is_some_and(|current| current.id == *version)
    }

    fn attempt_of(&self, seen: &Seen, version: &VersionId) -> Result<Attempt, Fault> {
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
