//! One step as calls. The only place where a value passes from a vendor to the store, inside one
//! function; it lives nowhere else.

use std::time::Duration;

use uuid::Uuid;

use crate::engine::look::Look;
use crate::engine::place;
use crate::engine::reconcile::Run;
use crate::model::attempt::{Attempt, Cause, Mark, Note};
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::label::{
    Label, TAG_AT, TAG_ATTEMPT, TAG_COMPARED, TAG_CREDENTIAL, TAG_DEPLOYMENT, TAG_MOVED, TAG_NOTE, TAG_PLACE,
    TAG_RETIRING, TAG_UNPROVED, Tracked,
};
use crate::model::name::{Arn, VendorId, VersionId};
use crate::model::observed::{self, Claim};
use crate::model::payload::Outputs;
use crate::model::place::At;
use crate::model::secret::SecretValue;
use crate::model::time::Timestamp;
use crate::rotation::decide::{FRESH_MAX, Site, TagChange};
use crate::rotation::own;
use crate::rotation::tags::{Bootstrap, Compared, Ending, Noted, Retiring};
use crate::rotation::view::{Dwelling, Hand};
use crate::rotation::{Reason, Step};
use crate::stores::aws::{Fence, Owner, Published, Removable};
use crate::vendors::{Ended, Grounds, Minted, Verdict};

/// Wait before a candidate that the vendor refused is tried again.
const VERIFY_PAUSE: Duration = Duration::from_secs(5);
/// A bootstrap's put is signed with the date in the tag, and a signature lives for five minutes:
/// no proof is sought after this.
const FIRST_PROOF_MAX: Duration = Duration::from_secs(240);
/// First and longest wait between sends of a put.
pub(super) const RESEND_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A claim whose answer was lost is sent again this often: same bytes, same id, so AWS answers
/// what it did the first time.
const CLAIM_SENDS_MAX: usize = 3;

impl Run<'_> {
    /// Performs `step`; gives what this process now holds in its hand.
    pub(super) async fn perform(&self, look: &Look, step: &Step) -> Result<Hand, Fault> {
        let begins = matches!(step, Step::CreateSecret { .. } | Step::Claim { .. })
            || matches!(step, Step::Tag(TagChange::Attempt { .. }));
        if self.in_place() && begins {
            // A value that can't be had or used is told before anything is written.
            self.prepare().await?;
        }
        if let Step::CreateSecret { before } = step {
            return self.create_secret(before).await;
        }
        let Some(secret) = &look.secret else {
            return Err(self.fault("taking a step", "the secret is not there any more"));
        };
        let arn = &secret.arn;
        // From here on this process may hold a value that nobody else can store or end.
        let _hold = matches!(step, Step::Mint { .. }).then(|| self.engine.hold(&self.credential.name));
        match step {
            Step::CreateSecret { .. } => Ok(Hand::Empty),
            Step::Tag(change) => self.change_tags(arn, change, look.fence()).await,
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
            Step::Mint { attempt, since, first } => self.mint(secret, *attempt, *since, *first).await,
            Step::Prove { version } if self.in_place() => self.apply(look, arn, version).await,
            Step::Prove { version } => self.verify(arn, version, &look.view.hand).await,
            Step::Restore { version } => self.restore(look, arn, version).await,
            Step::Promote { version, from, proved } => self.promote(look, arn, version, from.as_ref(), *proved).await,
            Step::Detach { label, version } => {
                if let Label::Open(attempt) = label {
                    self.keep_note(secret, *attempt, look.fence()).await?;
                }
                self.detach(look, arn, label, version).await
            }
            Step::Close { attempt } => {
                let published = self.published(secret)?;
                self.store.put_tombstone(&published, *attempt).await.map(|_| Hand::Empty)
            }
            Step::Revoke { id, tracked, sites, home } => self.revoke(id, *tracked, sites, *home).await,
            Step::DeleteSecret => self.store.delete_secret(arn, look.fence()).await.map(|_| Hand::Empty),
        }
    }

    /// One change of tags, signed with the date of the look that it was decided on.
    async fn change_tags(&self, arn: &Arn, change: &TagChange, fence: Fence) -> Result<Hand, Fault> {
        let now = self.store_now()?;
        let set = |tags: Vec<(String, String)>| async move {
            let pairs: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            self.store.tag(arn, &pairs, fence).await.map(|_| Hand::Empty)
        };
        let one = |key: &str, value: String| vec![(key.to_owned(), value)];
        match change {
            TagChange::TakeOver => set(owner_tags(self.credential)).await,
            TagChange::Move { from } => set(self.tags_of_move(from, now)).await,
            TagChange::Attempt { number, before } => {
                let bootstrap = self.bootstrap(*number, before)?;
                let mut tags = owner_tags(self.credential);
                tags.extend(one(TAG_ATTEMPT, bootstrap.to_tag()));
                tagged(set(tags).await.map(drop), bootstrap)
            }
            TagChange::Retiring => set(one(TAG_RETIRING, Retiring { since: now, ending: None }.to_tag())).await,
            TagChange::Ending { version, since } => {
                let ending = Some(Ending { at: now, version: version.clone() });
                set(one(TAG_RETIRING, Retiring { since: *since, ending }.to_tag())).await
            }
            TagChange::Compared { missing } => {
                let compared = Compared { at: now, missing: missing.clone() };
                set(one(TAG_COMPARED, compared.to_tag())).await
            }
            TagChange::Arrive { left } => {
                self.store.untag(arn, &[left.key().as_str()], fence).await.map(|_| Hand::Empty)
            }
            TagChange::AttemptDone => self.store.untag(arn, &[TAG_ATTEMPT], fence).await.map(|_| Hand::Empty),
            TagChange::NotRetiring => self.store.untag(arn, &[TAG_RETIRING], fence).await.map(|_| Hand::Empty),
        }
    }

    fn tags_of_move(&self, from: &Dwelling, now: Timestamp) -> Vec<(String, String)> {
        let policy = &self.credential.policy;
        let to = policy.at.clone().map(|at| Dwelling { place: policy.place.clone(), at });
        let mut tags = owner_tags(self.credential);
        tags.push((TAG_MOVED.to_owned(), now.seconds().to_string()));
        tags.extend([Some(from), to.as_ref()].into_iter().flatten().map(|one| (one.key(), one.at.to_tag())));
        tags
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

    /// Moves AWSCURRENT, unless this process has slept since the proof: then it is proved again.
    async fn promote(
        &self,
        look: &Look,
        arn: &Arn,
        version: &VersionId,
        from: Option<&VersionId>,
        proved: Timestamp,
    ) -> Result<Hand, Fault> {
        if self.store_now()?.since(proved) >= FRESH_MAX {
            return Ok(Hand::Empty);
        }
        let fence = Fence { signed_at: proved };
        if matches!(look.view.hand, Hand::Untold { .. }) {
            self.say_unproved(arn, version, fence).await?;
        }
        self.store.promote(arn, version, from, fence).await.map(|_| Hand::Empty)
    }

    pub(super) async fn create(&self, arn: &Arn, attempt: Attempt, since: Timestamp) -> Result<Minted, Fault> {
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
    pub(super) async fn prove_first(
        &self,
        arn: &Arn,
        attempt: Attempt,
        minted: &Minted,
        since: Timestamp,
    ) -> Result<(), Fault> {
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

    async fn detach(&self, look: &Look, arn: &Arn, label: &Label, version: &VersionId) -> Result<Hand, Fault> {
        let removable =
            Removable::of(label).ok_or_else(|| self.fault("taking a label off", "it is not ours to take off"))?;
        self.store.detach(arn, &removable, version, look.fence()).await?;
        Ok(match removable {
            Removable::Previous => Hand::Retired { version: version.clone() },
            Removable::Pending | Removable::Open(_) | Removable::Cred(_) | Removable::Closed => Hand::Empty,
        })
    }

    /// Asks the vendor to end a credential, in each place in turn where it may be.
    async fn revoke(&self, id: &VendorId, tracked: bool, sites: &[Site], home: bool) -> Result<Hand, Fault> {
        let lease = Tracked::of(id);
        let grounds = if tracked { Grounds::Tracked } else { Grounds::Listed };
        let mut elsewhere = None;
        for site in sites {
            match self.end_at(site, id, grounds).await {
                Ok(Ended::Confirmed) if tracked => return Ok(Hand::Ended { tracked: lease }),
                Ok(Ended::Confirmed) => return Ok(Hand::Empty),
                // The vendor's own word, where it was made.
                Ok(Ended::UnknownToVendor) if tracked && home => return Ok(Hand::Unknown { tracked: lease }),
                Ok(Ended::UnknownToVendor | Ended::NotListed) => {}
                Err(fault) => elsewhere = Some(fault),
            }
        }
        match elsewhere {
            Some(fault) => Err(fault),
            None if tracked => Err(self
                .fault("ending a credential", "the vendor does not list it here, and nothing tells where it was made")
                .with_hint(
                    "tags of the secret (`keyferry:place`, `keyferry:at`, `keyferry:dwelling:…`) were taken off by \
                     another tool: it may still work at the vendor, and keyferry goes on tracking it. Revoke it at \
                     the vendor; then take its `kf-cred` label off",
                )),
            None => Ok(Hand::Empty),
        }
    }

    async fn end_at(&self, site: &Site, id: &VendorId, grounds: Grounds) -> Result<Ended, Fault> {
        match site {
            Site::Declared => self.vendor.revoke(place(self.credential), id, grounds).await,
            Site::Former(one) => self.vendor.revoke(self.former(one)?.place(), id, grounds).await,
        }
    }
}

/// The tags that say whose the secret is, and where its credentials are made.
pub(super) fn owner_tags(credential: &Credential) -> Vec<(String, String)> {
    let policy = &credential.policy;
    let mut tags = vec![
        (TAG_DEPLOYMENT.to_owned(), credential.deployment.to_string()),
        (TAG_CREDENTIAL.to_owned(), credential.name.to_string()),
        (TAG_PLACE.to_owned(), policy.place.clone()),
    ];
    tags.extend(policy.at.as_ref().map(|at| (TAG_AT.to_owned(), at.to_tag())));
    tags
}

/// Whoever reads back its own nonce goes on; a lost reply changes nothing about that.
fn tagged(sent: Result<(), Fault>, bootstrap: Bootstrap) -> Result<Hand, Fault> {
    match sent {
        Ok(()) => Ok(Hand::Tagged { nonce: bootstrap.nonce }),
        Err(fault) if fault.class == Class::InDoubt => Ok(Hand::Tagged { nonce: bootstrap.nonce }),
        Err(fault) => Err(fault),
    }
}
