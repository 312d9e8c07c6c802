//! One step as calls. The only place where a value passes from a vendor to the store, inside one
//! function; it lives nowhere else.

use std::time::Duration;

use uuid::Uuid;

use crate::engine::reconcile::{Run, Seen};
use crate::engine::{Former, place};
use crate::model::attempt::{Attempt, Cause, Mark, Note};
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::label::{
    Label, Lease, TAG_AT, TAG_ATTEMPT, TAG_CREDENTIAL, TAG_DEPLOYMENT, TAG_MOVED, TAG_NOTE, TAG_PLACE, TAG_RETIRING,
    TAG_UNPROVED, Tracked,
};
use crate::model::name::{Arn, VendorId, VersionId};
use crate::model::observed::{self, Claim};
use crate::model::payload::Outputs;
use crate::model::place::At;
use crate::model::secret::SecretValue;
use crate::model::time::Timestamp;
use crate::rotation::decide::FRESH_MAX;
use crate::rotation::own::{self, Answer, Next, Own};
use crate::rotation::tags::{Bootstrap, Ending, Noted, Retiring};
use crate::rotation::view::{Dwelling, Fit, Hand};
use crate::rotation::{Reason, Step};
use crate::stores::aws::{Fence, Owner, Published, Removable, Unpublished};
use crate::vendors::{Ended, Grounds, Minted, Verdict};

/// Wait before a candidate that the vendor refused is tried again.
const VERIFY_PAUSE: Duration = Duration::from_secs(5);
/// A bootstrap's put is signed with the date in the tag, and a signature lives for five minutes:
/// no proof is sought after this.
const FIRST_PROOF_MAX: Duration = Duration::from_secs(240);
/// How long AWS accepts a signature.
pub(super) const SIGNATURE_MAX: Duration = Duration::from_secs(300);
/// First and longest wait between sends of a put.
const RESEND_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A claim whose answer was lost is sent again this often: same bytes, same id, so AWS answers
/// what it did the first time.
const CLAIM_SENDS_MAX: usize = 3;

impl Run<'_> {
    /// Performs `step`; gives what this process now holds in its hand.
    pub(super) async fn perform(&self, seen: &Seen, step: &Step, hand: &Hand) -> Result<Hand, Fault> {
        if self.in_place() && matches!(step, Step::CreateSecret { .. } | Step::Tag { .. } | Step::Claim { .. }) {
            // A value that can't be had or used is told before anything is written.
            self.prepare().await?;
        }
        if let Step::CreateSecret { before } = step {
            return self.create_secret(before).await;
        }
        let Some(secret) = &seen.secret else {
            return Err(self.fault("taking a step", "the secret is not there any more"));
        };
        let arn = &secret.arn;
        // From here on this process may hold a value that nobody else can store or end.
        let holds = matches!(step, Step::Mint { .. } | Step::MintFirst { .. });
        let _hold = holds.then(|| self.engine.hold(&self.credential.name));
        match step {
            Step::Wait | Step::CreateSecret { .. } => Ok(Hand::Empty),
            Step::TakeOver => {
                self.store.tag(arn, &as_pairs(&owner_tags(self.credential)), seen.fence()).await.map(|_| Hand::Empty)
            }
            Step::Move { from } => self.move_from(seen, arn, from.clone()).await,
            Step::Arrive { left } => {
                self.store.untag(arn, &[left.key().as_str()], seen.fence()).await.map(|_| Hand::Empty)
            }
            Step::Tag { number, before } => self.tag(seen, arn, *number, before).await,
            Step::Untag => self.store.untag(arn, &[TAG_ATTEMPT], seen.fence()).await.map(|_| Hand::Empty),
            Step::Claim { attempt, base, number, cause, before } => {
                let claim = Claim {
                    attempt: *attempt,
                    base: base.clone(),
                    number: *number,
                    cause: *cause,
                    before: before.clone(),
                    note: self.note(*cause),
                };
                self.claim_attempt(secret, &claim).await
            }
            Step::Mint { attempt, since } if self.in_place() => self.supply_into(secret, *attempt, *since).await,
            Step::MintFirst { attempt, since } if self.in_place() => self.supply_first(secret, *attempt, *since).await,
            Step::Mint { attempt, since } => self.mint(secret, *attempt, *since).await,
            Step::MintFirst { attempt, since } => self.mint_first(secret, *attempt, *since).await,
            Step::Verify { version } => self.verify(arn, version, hand).await,
            Step::Promote { version, from, proved } => {
                if self.store_now()?.since(*proved) >= FRESH_MAX {
                    // Slept since the proof: prove it again.
                    return Ok(Hand::Empty);
                }
                let fence = Fence { signed_at: *proved };
                if matches!(hand, Hand::Untold { .. }) {
                    self.say_unproved(arn, version, fence).await?;
                }
                self.store.promote(arn, version, from.as_ref(), fence).await.map(|_| Hand::Empty)
            }
            Step::Detach { label, version } => {
                if let Label::Open(attempt) = label {
                    self.keep_note(secret, *attempt, seen.fence()).await?;
                }
                self.detach(seen, arn, label, version).await
            }
            Step::Close { attempt } => {
                let published = self.published(secret)?;
                self.store.put_tombstone(&published, *attempt).await.map(|_| Hand::Empty)
            }
            Step::Apply { version } => self.apply(seen, arn, version, hand).await,
            Step::Restore { version } => self.restore(seen, arn, version).await,
            Step::Revoke { id, tracked } => self.revoke(seen, id, *tracked).await,
            Step::MarkRetiring => self.mark(seen, arn, Retiring { since: self.store_now()?, ending: None }).await,
            Step::MarkEnding { version, since } => {
                let ending = Ending { at: self.store_now()?, version: version.clone() };
                self.mark(seen, arn, Retiring { since: *since, ending: Some(ending) }).await
            }
            Step::UnmarkRetiring => self.store.untag(arn, &[TAG_RETIRING], seen.fence()).await.map(|_| Hand::Empty),
            Step::DeleteSecret => self.store.delete_secret(arn, seen.fence()).await.map(|_| Hand::Empty),
        }
    }

    async fn move_from(&self, seen: &Seen, arn: &Arn, from: Dwelling) -> Result<Hand, Fault> {
        let policy = &self.credential.policy;
        let to = policy.at.clone().map(|at| Dwelling { place: policy.place.clone(), at });
        let dwellings = [Some(from), to].into_iter().flatten();
        let dwellings: Vec<_> = dwellings.map(|one| (one.key(), one.at.to_tag())).collect();
        let mut own = owner_tags(self.credential);
        own.push((TAG_MOVED, self.store_now()?.seconds().to_string()));
        let mut tags = as_pairs(&own);
        tags.extend(dwellings.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        self.store.tag(arn, &tags, seen.fence()).await.map(|_| Hand::Empty)
    }

    /// The bootstrap tag of a new try, and its nonce.
    fn bootstrap(&self, number: u32, before: &[String]) -> Result<Bootstrap, Fault> {
        let nonce = Uuid::new_v4().simple().to_string();
        Ok(Bootstrap { number, nonce, at: self.store_now()?, before: before.to_vec() })
    }

    async fn create_secret(&self, before: &[String]) -> Result<Hand, Fault> {
        let bootstrap = self.bootstrap(1, before)?;
        let at = self.credential.policy.at.as_ref().map(At::to_tag);
        let owner = Owner {
            deployment: &self.credential.deployment,
            credential: &self.credential.name,
            place: &self.credential.policy.place,
            at: at.as_deref(),
        };
        let created = self.store.create_secret(&self.credential.destination, owner, &bootstrap.to_tag()).await;
        tagged(created.map(|_| ()), bootstrap)
    }

    async fn tag(&self, seen: &Seen, arn: &Arn, number: u32, before: &[String]) -> Result<Hand, Fault> {
        let bootstrap = self.bootstrap(number, before)?;
        let mut tags = owner_tags(self.credential);
        tags.push((TAG_ATTEMPT, bootstrap.to_tag()));
        tagged(self.store.tag(arn, &as_pairs(&tags), seen.fence()).await.map(|_| ()), bootstrap)
    }

    async fn mark(&self, seen: &Seen, arn: &Arn, retiring: Retiring) -> Result<Hand, Fault> {
        self.store.tag(arn, &[(TAG_RETIRING, &retiring.to_tag())], seen.fence()).await.map(|_| Hand::Empty)
    }

    pub(super) fn published(&self, secret: &observed::Secret) -> Result<Published, Fault> {
        Published::of(secret).ok_or_else(|| self.fault("writing a version", "the secret has no current version"))
    }

    /// Why the next attempt is asked for, in a person's words. One that is begun again because an
    /// earlier one for a leaked value failed has that one's.
    fn note(&self, cause: Cause) -> Option<Note> {
        if self.request.is_some() {
            return self.engine.note.get().cloned();
        }
        let mut claims = self.memory.claims.values().filter(|_| cause == Cause::Leaked);
        claims.find(|claim| claim.cause == Cause::Leaked).and_then(|claim| claim.note.clone())
    }

    /// Once its claim has lost `kf-open`, only who may read every version could read it: before that,
    /// what it says of why the current version was made moves to a tag. That this is denied keeps
    /// nothing from going on.
    async fn keep_note(&self, secret: &observed::Secret, attempt: Attempt, fence: Fence) -> Result<(), Fault> {
        let current = secret.versions.iter().find(|version| version.labels.contains(&Label::Current));
        if current.is_none_or(|version| version.id != attempt.slot_id()) {
            return Ok(());
        }
        let claim = self.memory.claims.get(&attempt.claim_id());
        let Some(note) = claim.and_then(|claim| claim.note.clone()) else { return Ok(()) };
        let tag = Noted { version: attempt.slot_id(), note }.to_tag();
        match self.store.tag(&secret.arn, &[(TAG_NOTE, tag.as_str())], fence).await {
            Err(fault) if fault.heals_by_itself() => Err(fault),
            Err(fault) => {
                tracing::warn!(credential = %self.credential.name, "{fault}; `history` won't tell why it was rotated");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    async fn claim_attempt(&self, secret: &observed::Secret, claim: &Claim) -> Result<Hand, Fault> {
        let published = self.published(secret)?;
        let mut sends = 0;
        loop {
            sends += 1;
            let put = self.store.put_claim(&published, claim, &self.engine.replica, &self.credential.fingerprint).await;
            match put {
                Ok(at) => return Ok(Hand::Claimed { attempt: claim.attempt, at }),
                Err(fault) if fault.class == Class::InDoubt && sends < CLAIM_SENDS_MAX => {
                    self.engine.clock.sleep(RESEND_PAUSE.0).await;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Creates the credential and stores it as a candidate. Once the vendor has answered, nothing
    /// here may return before the credential is stored, ended, or left for others to finish.
    async fn mint(&self, secret: &observed::Secret, attempt: Attempt, since: Timestamp) -> Result<Hand, Fault> {
        let published = self.published(secret)?;
        let minted = match self.create(&secret.arn, attempt, since).await {
            Ok(minted) => minted,
            Err(fault) if fault.surely_not_applied() => {
                // Nothing was created: close the attempt, so that the next one need not wait.
                let closed = self.store.put_tombstone(&published, attempt).await;
                tracing::debug!(credential = %self.credential.name, closed = closed.is_ok(), "the vendor refused");
                return Err(fault);
            }
            Err(fault) => return Err(fault),
        };
        let lease = Lease { since, tracked: Tracked::of(&minted.id) };
        let value = self.render(&minted.outputs);
        let mut own = Own { since: self.store_now()?, in_doubt: false, can_close: true };
        let mut answer = if value.is_ok() { Answer::NotSent } else { Answer::Refused };
        let mut told = value.as_ref().err().cloned();
        let mut sends = 0;
        loop {
            let now = self.store_now()?;
            match own::next(&mut own, answer, now, self.engine.must_finish(&self.credential.name)) {
                Next::Put => {
                    self.pause_before_send(sends, told.as_ref()).await;
                    sends += 1;
                    let Ok(value) = &value else { return Err(self.fault("storing a candidate", "it has no value")) };
                    let put = self.store.put_slot(&published, attempt, Some(&lease), value).await;
                    (answer, told) = answered(put.map(|_| ()));
                }
                Next::Close => {
                    let closed = self.store.put_tombstone(&published, attempt).await;
                    answer = if closed.is_ok() { Answer::Closed } else { Answer::NotClosed };
                }
                Next::Revoke => {
                    let ended = self.end_own(&minted.id).await;
                    return told.map_or(Ok(Hand::Empty), |fault| Err(undone(fault, ended)));
                }
                Next::Leave => {
                    return if answer == Answer::Stored { Ok(Hand::Empty) } else { told.map_or(Ok(Hand::Empty), Err) };
                }
            }
        }
    }

    /// Creates, proves and publishes a secret's first version, in this order: AWS makes the first
    /// version current at once, so it must work before it is stored.
    async fn mint_first(&self, secret: &observed::Secret, attempt: Attempt, since: Timestamp) -> Result<Hand, Fault> {
        let Some(unpublished) = Unpublished::of(secret) else {
            return Err(self.fault("writing the first version", "the secret has a version already"));
        };
        let minted = self.create(&secret.arn, attempt, since).await?;
        let lease = Lease { since, tracked: Tracked::of(&minted.id) };
        let proved = match self.render(&minted.outputs) {
            Ok(value) => self.prove_first(&secret.arn, attempt, &minted, since).await.map(|()| value),
            Err(fault) => Err(fault),
        };
        let mut own = Own { since: self.store_now()?, in_doubt: false, can_close: false };
        let mut answer = if proved.is_ok() { Answer::NotSent } else { Answer::Refused };
        let mut told = proved.as_ref().err().cloned();
        let mut sends = 0;
        loop {
            match own::next(&mut own, answer, self.store_now()?, self.engine.must_finish(&self.credential.name)) {
                Next::Put => {
                    self.pause_before_send(sends, told.as_ref()).await;
                    sends += 1;
                    let Ok(value) = &proved else { return Err(self.fault("publishing", "it has no value")) };
                    let fence = Fence { signed_at: since };
                    let put = self.store.put_first(&unpublished, attempt, Some(&lease), value, fence).await;
                    (answer, told) = answered(put.map(|_| ()));
                    // The signature is the fence: past its life nothing sent from here can land.
                    if answer == Answer::Throttled && self.store_now()?.since(since) > SIGNATURE_MAX {
                        answer = Answer::Refused;
                    }
                }
                Next::Revoke => {
                    let ended = self.end_own(&minted.id).await;
                    return told.map_or(Ok(Hand::Empty), |fault| Err(undone(fault, ended)));
                }
                Next::Close | Next::Leave => {
                    return if answer == Answer::Stored { Ok(Hand::Empty) } else { told.map_or(Ok(Hand::Empty), Err) };
                }
            }
        }
    }

    async fn create(&self, arn: &Arn, attempt: Attempt, since: Timestamp) -> Result<Minted, Fault> {
        // Asked again right before the send: the process may have slept since the decision.
        if self.store_now()?.since(since) >= FRESH_MAX {
            return Err(self.fault("creating a credential", "the claim is over a minute old: left to be closed"));
        }
        self.vendor.create(place(self.credential), &Mark::new(arn, attempt)).await
    }

    /// Rendered once: every send of it is the same bytes.
    pub(super) fn render(&self, outputs: &Outputs) -> Result<SecretValue, Fault> {
        let value = self.credential.destination.shape.render(outputs);
        value.ok_or_else(|| {
            self.fault("rendering the value to store", "the vendor's answer does not fit the declared shape")
        })
    }

    /// Logs in until the vendor accepts; a fresh credential may take a moment to reach all of it.
    async fn prove_first(&self, arn: &Arn, attempt: Attempt, minted: &Minted, since: Timestamp) -> Result<(), Fault> {
        loop {
            let fault = match self.vendor.verify(place(self.credential), &minted.outputs).await {
                Ok(Verdict::Good) => return Ok(()),
                Ok(Verdict::Bad { answer }) => {
                    self.fault("proving a fresh credential", &format!("the vendor refuses it: {answer}"))
                }
                Ok(Verdict::CannotTell { .. }) if own::may_publish_untold(&self.credential.policy) => {
                    return self.say_unproved(arn, &attempt.slot_id(), Fence { signed_at: since }).await;
                }
                Ok(Verdict::CannotTell { answer }) => {
                    let fault = self.fault("proving a fresh credential", &format!("no login can tell: {answer}"));
                    return Err(fault.with_hint(Reason::Unprovable.hint().unwrap_or_default()));
                }
                Err(fault) if fault.heals_by_itself() => fault,
                Err(fault) => return Err(fault),
            };
            if self.store_now()?.since(since) >= FIRST_PROOF_MAX || self.engine.must_finish(&self.credential.name) {
                return Err(fault);
            }
            self.engine.clock.sleep(VERIFY_PAUSE).await;
        }
    }

    /// Says in the secret's tags that this version is published unverified, before it is.
    async fn say_unproved(&self, arn: &Arn, version: &VersionId, fence: Fence) -> Result<(), Fault> {
        tracing::warn!(credential = %self.credential.name, "published unverified: no login can tell whether it works");
        self.store.tag(arn, &[(TAG_UNPROVED, version.as_str())], fence).await.map(|_| ())
    }

    /// Ends what this process made and nothing can refer to. If that fails, the sweep does it.
    async fn end_own(&self, id: &VendorId) -> bool {
        match self.vendor.revoke(place(self.credential), id, Grounds::Tracked).await {
            Ok(ended) => ended == Ended::Confirmed,
            Err(fault) => {
                tracing::warn!(credential = %self.credential.name, "{fault}; the sweep will end it");
                false
            }
        }
    }

    async fn verify(&self, arn: &Arn, version: &VersionId, hand: &Hand) -> Result<Hand, Fault> {
        let outputs = self.candidate(arn, version).await?;
        let earlier = self.refused_before(version, hand).await;
        let at = self.store_now()?;
        match self.vendor.verify(place(self.credential), &outputs).await? {
            Verdict::Good => Ok(Hand::Proved { version: version.clone(), at }),
            Verdict::CannotTell { answer } => {
                tracing::warn!(credential = %self.credential.name, answer, "no login can tell whether the candidate works");
                Ok(Hand::Untold { version: version.clone(), at })
            }
            Verdict::Bad { answer } => {
                tracing::debug!(credential = %self.credential.name, answer, "the vendor refuses the candidate");
                Ok(Hand::Refused { version: version.clone(), since: earlier.unwrap_or(at) })
            }
        }
    }

    /// The pieces of a stored candidate.
    pub(super) async fn candidate(&self, arn: &Arn, version: &VersionId) -> Result<Outputs, Fault> {
        let value = self.store.pending(arn, version).await.map_err(|fault| match fault.class {
            // Another replica took the label off meanwhile: look again.
            Class::Gone => Fault { class: Class::Taken, ..fault },
            _ => fault,
        })?;
        self.credential.destination.shape.recover(&value).ok_or_else(|| {
            self.fault("reading a candidate back", "it was stored in another shape than is declared now")
                .with_hint("it is given up an hour after its claim; the next one has the declared shape")
        })
    }

    /// When this process was first refused with a candidate; waits a moment if it was.
    pub(super) async fn refused_before(&self, version: &VersionId, hand: &Hand) -> Option<Timestamp> {
        let Hand::Refused { version: refused, since } = hand else { return None };
        if refused != version {
            return None;
        }
        self.engine.clock.sleep(VERIFY_PAUSE).await;
        Some(*since)
    }

    async fn detach(&self, seen: &Seen, arn: &Arn, label: &Label, version: &VersionId) -> Result<Hand, Fault> {
        let removable =
            Removable::of(label).ok_or_else(|| self.fault("taking a label off", "it is not ours to take off"))?;
        self.store.detach(arn, &removable, version, seen.fence()).await?;
        Ok(match removable {
            Removable::Previous => Hand::Retired { version: version.clone() },
            Removable::Pending | Removable::Open(_) | Removable::Cred(_) | Removable::Closed => Hand::Empty,
        })
    }

    async fn revoke(&self, seen: &Seen, id: &VendorId, tracked: bool) -> Result<Hand, Fault> {
        let lease = Tracked::of(id);
        let grounds = if tracked { Grounds::Tracked } else { Grounds::Listed };
        match self.end(seen, id, grounds).await? {
            Ended::Confirmed if tracked => Ok(Hand::Ended { tracked: lease }),
            Ended::UnknownToVendor | Ended::NotListed if tracked => Ok(Hand::Unknown { tracked: lease }),
            Ended::Confirmed | Ended::UnknownToVendor | Ended::NotListed => Ok(Hand::Empty),
        }
    }

    /// Ends a credential where it was seen; one that was seen nowhere is ended wherever it may be.
    async fn end(&self, seen: &Seen, id: &VendorId, grounds: Grounds) -> Result<Ended, Fault> {
        let fit = seen.view.listing.iter().flatten().find(|one| one.id == *id).map(|one| one.fit);
        let here = (!matches!(fit, Some(Fit::Away { .. }))).then(|| place(self.credential));
        let formers = match fit {
            Some(Fit::Declared | Fit::Differs) => Vec::new(),
            Some(Fit::Away { .. }) | None => self.formers(seen.view.secret.as_ref())?,
        };
        let mut ended = Err(self.fault("ending what lives elsewhere", "no tag says any more where"));
        for place in here.into_iter().chain(formers.iter().map(Former::place)) {
            ended = match self.vendor.revoke(place, id, grounds).await {
                // A place that was ended took its credentials with it.
                Err(fault) if fault.class == Class::Gone => Ok(Ended::NotListed),
                ended => ended,
            };
            if !matches!(ended, Ok(Ended::UnknownToVendor | Ended::NotListed)) {
                break;
            }
        }
        ended
    }

    pub(super) async fn pause_before_send(&self, sends: u32, told: Option<&Fault>) {
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

/// The tags that say whose the secret is, and where its credentials are made.
pub(super) fn owner_tags(credential: &Credential) -> Vec<(&'static str, String)> {
    let policy = &credential.policy;
    let mut tags = vec![
        (TAG_DEPLOYMENT, credential.deployment.to_string()),
        (TAG_CREDENTIAL, credential.name.to_string()),
        (TAG_PLACE, policy.place.clone()),
    ];
    tags.extend(policy.at.as_ref().map(|at| (TAG_AT, at.to_tag())));
    tags
}

pub(super) fn as_pairs<'a>(tags: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    tags.iter().map(|(key, value)| (*key, value.as_str())).collect()
}

/// Why a fresh credential could not be used, and what became of it.
fn undone(fault: Fault, ended: bool) -> Fault {
    let end = if ended { "was revoked again" } else { "could not be revoked yet and will be" };
    Fault { doing: format!("{} (the credential just made for it {end})", fault.doing), ..fault }
}

/// Whoever reads back its own nonce goes on; a lost reply changes nothing about that.
fn tagged(sent: Result<(), Fault>, bootstrap: Bootstrap) -> Result<Hand, Fault> {
    match sent {
        Ok(()) => Ok(Hand::Tagged { nonce: bootstrap.nonce }),
        Err(fault) if fault.class == Class::InDoubt => Ok(Hand::Tagged { nonce: bootstrap.nonce }),
        Err(fault) => Err(fault),
    }
}

pub(super) fn answered(put: Result<(), Fault>) -> (Answer, Option<Fault>) {
    match put {
        Ok(()) => (Answer::Stored, None),
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
