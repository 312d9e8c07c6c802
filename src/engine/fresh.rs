//! A fresh value, from the moment at which it exists until it is stored, ended, or left for others to
//! finish. It lives in this process's memory alone, so nothing here may return before that.

use std::time::Duration;

use crate::engine::perform::RESEND_PAUSE;
use crate::engine::place;
use crate::engine::reconcile::Run;
use crate::model::attempt::Attempt;
use crate::model::fault::{Class, Fault};
use crate::model::label::{Lease, PlaceKey, Tracked};
use crate::model::name::VendorId;
use crate::model::observed;
use crate::model::payload::Outputs;
use crate::model::secret::SecretValue;
use crate::model::time::Timestamp;
use crate::rotation::decide::FRESH_MAX;
use crate::rotation::own::{self, Answer, Next, Own};
use crate::rotation::view::Hand;
use crate::stores::aws::{Fence, Published, Unpublished};
use crate::vendors::{Ended, Grounds};

/// How long AWS accepts a signature.
const SIGNATURE_MAX: Duration = Duration::from_secs(300);

/// Where a fresh value is to be stored.
enum Room {
    /// As a candidate, beside what is published.
    Candidate(Published),
    /// As the secret's first version, which AWS publishes with its put.
    First(Unpublished),
}

/// A fresh value, and what it belongs to.
struct Fresh {
    /// The vendor's id; `None` where the vendor does not have it yet.
    id: Option<VendorId>,
    /// Rendered once: every send of it is the same bytes. Or why it can't be stored.
    value: Result<SecretValue, Fault>,
}

impl Run<'_> {
    /// Makes a fresh value for an attempt and stores it.
    pub(super) async fn mint(
        &self,
        secret: &observed::Secret,
        attempt: Attempt,
        since: Timestamp,
        first: bool,
    ) -> Result<Hand, Fault> {
        let room = if first {
            let unpublished = Unpublished::of(secret);
            let full = || self.fault("writing the first version", "the secret has a version already");
            Room::First(unpublished.ok_or_else(full)?)
        } else {
            Room::Candidate(self.published(secret)?)
        };
        let fresh = if self.in_place() {
            self.supplied(since).await
        } else {
            self.created(secret, attempt, since, first).await
        };
        match fresh {
            Ok(fresh) => self.keep(&room, attempt, since, fresh).await,
            Err(fault) => {
                if self.in_place() || fault.surely_not_applied() {
                    self.close_early(&room, attempt).await;
                }
                Err(fault)
            }
        }
    }

    /// Creates the credential at the vendor and, where it will be published with its put, proves it.
    async fn created(
        &self,
        secret: &observed::Secret,
        attempt: Attempt,
        since: Timestamp,
        first: bool,
    ) -> Result<Fresh, Fault> {
        let minted = self.create(&secret.arn, attempt, since).await?;
        let value = match self.render(&minted.outputs) {
            Ok(value) if first => self.prove_first(&secret.arn, attempt, &minted, since).await.map(|()| value),
            value => value,
        };
        Ok(Fresh { id: Some(minted.id), value })
    }

    /// Makes up, or reads, a value for an in-place vendor, which gets it once it is stored.
    async fn supplied(&self, since: Timestamp) -> Result<Fresh, Fault> {
        let outputs: Outputs = self.supply().await?;
        let value = self.render(&outputs)?;
        // Asked again right before the send: the process may have slept since the decision.
        if self.store_now()?.since(since) >= FRESH_MAX {
            return Err(self.fault("supplying a value", "the claim is over a minute old: left to be closed"));
        }
        Ok(Fresh { id: None, value: Ok(value) })
    }

    /// Nothing was made: closes the attempt, so that the next one need not wait.
    async fn close_early(&self, room: &Room, attempt: Attempt) {
        if let Room::Candidate(published) = room {
            let closed = self.store.put_tombstone(published, attempt).await;
            tracing::debug!(credential = %self.credential.name, closed = closed.is_ok(), "nothing was made");
        }
    }

    /// Stores a fresh value, or ends it, or leaves it, as `own` says.
    async fn keep(&self, room: &Room, attempt: Attempt, since: Timestamp, fresh: Fresh) -> Result<Hand, Fault> {
        let made_in = Some(PlaceKey::of(&self.credential.policy.place));
        let lease = fresh.id.as_ref().map(|id| Lease { since, tracked: Tracked::of(id), made_in });
        let can_close = matches!(room, Room::Candidate(_));
        let mut own = Own { since: self.store_now()?, in_doubt: false, can_close };
        let mut answer = if fresh.value.is_ok() { Answer::NotSent } else { Answer::Refused };
        let mut told = fresh.value.as_ref().err().cloned();
        let mut sends = 0;
        loop {
            match own::next(&mut own, answer, self.store_now()?, self.engine.must_finish(&self.credential.name)) {
                Next::Put => {
                    let Ok(value) = &fresh.value else { return Err(self.fault("storing", "there is no value")) };
                    self.pause_before_send(sends, told.as_ref()).await;
                    sends += 1;
                    (answer, told) = self.put(room, attempt, since, lease.as_ref(), value).await?;
                }
                Next::Close => {
                    let closed = match room {
                        Room::Candidate(published) => self.store.put_tombstone(published, attempt).await.is_ok(),
                        Room::First(_) => false,
                    };
                    answer = if closed { Answer::Closed } else { Answer::NotClosed };
                }
                Next::Revoke => {
                    let ended = match &fresh.id {
                        Some(id) => Some(self.end_own(id).await),
                        // Nothing is at the vendor.
                        None => None,
                    };
                    return told.map_or(Ok(Hand::Empty), |fault| Err(undone(fault, ended)));
                }
                Next::Leave if answer == Answer::Stored => return Ok(Hand::Empty),
                Next::Leave => return told.map_or(Ok(Hand::Empty), Err),
            }
        }
    }

    /// Sends the put once.
    async fn put(
        &self,
        room: &Room,
        attempt: Attempt,
        since: Timestamp,
        lease: Option<&Lease>,
        value: &SecretValue,
    ) -> Result<(Answer, Option<Fault>), Fault> {
        match room {
            Room::Candidate(published) => Ok(answered(self.store.put_slot(published, attempt, lease, value).await)),
            Room::First(unpublished) => {
                let fence = Fence { signed_at: since };
                let put = self.store.put_first(unpublished, attempt, lease, value, fence).await;
                let (answer, told) = answered(put);
                // The signature is the fence: past its life nothing sent from here can land.
                let expired = answer == Answer::Throttled && self.store_now()?.since(since) > SIGNATURE_MAX;
                Ok((if expired { Answer::Refused } else { answer }, told))
            }
        }
    }

    /// Ends what this process made and nothing can refer to; whether the vendor confirmed it. If it did
    /// not, the sweep does it.
    async fn end_own(&self, id: &VendorId) -> bool {
        match self.vendor.revoke(place(self.credential), id, Grounds::Tracked).await {
            Ok(Ended::Confirmed) => true,
            Ok(Ended::UnknownToVendor | Ended::NotListed) => false,
            Err(fault) => {
                tracing::warn!(credential = %self.credential.name, "{fault}; the sweep will end it");
                false
            }
        }
    }

    async fn pause_before_send(&self, sends: u32, told: Option<&Fault>) {
        if sends == 0 {
            return;
        }
        let asked = match told.map(|fault| fault.class) {
            Some(Class::Retry { after }) => after,
            _ => None,
        };
        let (first, longest) = RESEND_PAUSE;
        let own = first.saturating_mul(1 << sends.min(6)).min(longest);
        self.engine.clock.sleep(asked.map_or(own, |asked| asked.clamp(own, longest))).await;
    }
}

/// Why a fresh value could not be used, and what became of it.
fn undone(fault: Fault, ended: Option<bool>) -> Fault {
    let end = match ended {
        None => return fault,
        Some(true) => "was revoked again",
        Some(false) => "could not be revoked yet and will be",
    };
    Fault { doing: format!("{} (the credential just made for it {end})", fault.doing), ..fault }
}

fn answered<T>(put: Result<T, Fault>) -> (Answer, Option<Fault>) {
    match put {
        Ok(_) => (Answer::Stored, None),
        Err(fault) => {
            let answer = match fault.class {
                Class::Taken => Answer::Taken,
                Class::Retry { .. } => Answer::Throttled,
                Class::InDoubt => Answer::InDoubt,
                Class::Denied | Class::Rejected | Class::Gone | Class::Bug => Answer::Refused,
            };
            (answer, Some(fault))
        }
    }
}
