//! What a person asked for, as calls: a look at everything there is to see, and the few writes
//! that no rule makes. Whether they may be made, `rotation::person` says.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Discovery;
use crate::engine::reconcile::{AskVendor, Memory, Run, Visit};
use crate::engine::{Engine, place};
use crate::model::attempt::Note;
use crate::model::credential::Credential;
use crate::model::fault::{Class, Fault};
use crate::model::label::{Label, TAG_BASE, TAG_CONFIRMED, TAG_NOTE, TAG_PAUSE, TAG_PAUSE_BY, TAG_PAUSE_REASON};
use crate::model::name::{Arn, Name, VersionId};
use crate::model::observed::{self, Listing};
use crate::model::policy::Verify;
use crate::model::time::{Now, Timestamp};
use crate::rotation::Decision;
use crate::rotation::census::{Counted, Undeclared};
use crate::rotation::person::Back;
use crate::rotation::tags::Noted;
use crate::rotation::view::{Hand, View};
use crate::stores::aws::{Fence, Returnable};
use crate::vendors::{Ended, Grounds, Verdict};

/// Stands in the pause tag of a pause that ends when somebody resumes; anything that is no date
/// would do.
const UNTIL_RESUMED: &str = "until-resumed";

/// What one look showed.
pub struct Glance {
    /// The secret; `None` when there is none of that name.
    pub secret: Option<observed::Secret>,
    /// The same, in the words of the rules.
    pub view: View,
    /// What the vendor listed, where it was asked and answered.
    pub listing: Option<Listing>,
    /// The dates by which it is judged.
    pub now: Now,
    /// What keyferry would do next.
    pub decision: Decision,
    /// What could not be seen, and why: a claim, the vendor's listing.
    pub unseen: Vec<Fault>,
}

impl Glance {
    /// The secret's ARN.
    ///
    /// # Errors
    /// `Gone` when there is no secret.
    pub fn arn(&self) -> Result<&Arn, Fault> {
        let gone = || Fault::new(Class::Gone, "writing to the secret", "there is none of that name");
        self.secret.as_ref().map(|secret| &secret.arn).ok_or_else(gone)
    }
}

impl Glance {
    /// Why people asked for rotations, by the version that was or is to be made for it: what open
    /// claims say, and of those that are resolved the last one's.
    pub fn notes(&self) -> BTreeMap<VersionId, Note> {
        let tag = self.secret.as_ref().and_then(|secret| secret.tags.get(TAG_NOTE));
        let kept = tag.and_then(|text| Noted::parse(text)).map(|noted| (noted.version, noted.note));
        let claims = self.view.secret.iter().flat_map(|secret| &secret.claims);
        kept.into_iter().chain(claims.filter_map(|one| Some((one.attempt.slot_id(), one.note.clone()?)))).collect()
    }
}

/// A pause to be written.
pub struct Pause<'a> {
    /// Until when; `None` until somebody resumes.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: &'a str,
    /// Who.
    pub by: &'a str,
}

impl Engine {
    /// One look, that decides and changes nothing. That the vendor does not answer is told, and
    /// everything else still is.
    ///
    /// # Errors
    /// When AWS does not answer, or refuses.
    pub async fn glance(&self, credential: &Credential, vendor: AskVendor) -> Result<Glance, Fault> {
        let store = self.store(credential).await?;
        let mut memory = Memory::default();
        let visit = Visit { vendor, dry: true, request: None };
        let mut run = Run::new(self, credential, (store, self.vendor(credential)?.as_ref()), &mut memory, visit);
        let (seen, decision) = run.look(Hand::Empty).await?;
        let unseen = run.unread.take().into_iter().collect();
        Ok(Glance { secret: seen.secret, view: seen.view, listing: seen.listing, now: seen.now, decision, unseen })
    }

    /// Writes a pause into the secret's tags; one that is there is replaced.
    ///
    /// # Errors
    /// As classified.
    pub async fn pause(&self, credential: &Credential, arn: &Arn, pause: &Pause<'_>) -> Result<(), Fault> {
        let until = pause.until.map_or(UNTIL_RESUMED.into(), |until| until.seconds().to_string());
        let tags = [(TAG_PAUSE, until.as_str()), (TAG_PAUSE_REASON, pause.reason), (TAG_PAUSE_BY, pause.by)];
        let store = self.store(credential).await?;
        store.tag(arn, &tags, store.fence_now()).await.map(drop)
    }

    /// Takes a pause off.
    ///
    /// # Errors
    /// As classified.
    pub async fn unpause(&self, credential: &Credential, arn: &Arn) -> Result<(), Fault> {
        let tags = [TAG_PAUSE, TAG_PAUSE_REASON, TAG_PAUSE_BY];
        let store = self.store(credential).await?;
        store.untag(arn, &tags, store.fence_now()).await.map(drop)
    }

    /// Writes down that a person accepts `version` as the one to go on from.
    ///
    /// # Errors
    /// As classified.
    pub async fn accept(&self, credential: &Credential, arn: &Arn, version: &VersionId) -> Result<(), Fault> {
        self.tag_version(credential, arn, TAG_BASE, version).await
    }

    /// Writes down that consumers have `version`.
    ///
    /// # Errors
    /// As classified.
    pub async fn confirm(&self, credential: &Credential, arn: &Arn, version: &VersionId) -> Result<(), Fault> {
        self.tag_version(credential, arn, TAG_CONFIRMED, version).await
    }

    /// What secrets of this deployment track that no declaration names; nothing where the fleet
    /// may not be listed (`discovery = "declared"`).
    ///
    /// # Errors
    /// When a target can't be listed.
    pub async fn undeclared(&self) -> Result<Vec<Undeclared>, Fault> {
        let leases = self.leases().await?.into_iter().filter(|(credential, _)| credential.is_none());
        Ok(leases.map(|(_, lease)| lease).collect())
    }

    /// What all secrets of this deployment track, each with the credential that is declared there;
    /// nothing where the fleet may not be listed. Up to five minutes old.
    ///
    /// # Errors
    /// When a target can't be listed.
    pub(super) async fn leases(&self) -> Result<Vec<(Option<Name>, Undeclared)>, Fault> {
        let mut found = Vec::new();
        if self.declaration().discovery == Discovery::Declared {
            return Ok(found);
        }
        if let Some(fault) = self.unopened().targets.values().next() {
            // What is tracked there can't be told, so nothing may count as untracked.
            return Err(fault.clone());
        }
        for (target, store) in self.stores() {
            self.identify(target, store).await?;
            for summary in store.fleet(&self.declaration().deployment).await? {
                let all = &self.declaration().credentials;
                let here =
                    |one: &&Arc<Credential>| one.destination.target == *target && one.destination.name == summary.name;
                let declared = all.iter().find(here).map(|one| one.name.clone());
                found.extend(summary.labels.values().flatten().filter_map(|label| match label {
                    Label::Cred(lease) => {
                        let (secret, tracked) = (summary.name.clone(), lease.tracked.clone());
                        Some((declared.clone(), Undeclared { secret, tracked }))
                    }
                    _ => None,
                }));
            }
        }
        Ok(found)
    }

    /// Lists everything in the place of `credential` at its vendor.
    ///
    /// # Errors
    /// As classified.
    pub async fn list(&self, credential: &Credential) -> Result<Listing, Fault> {
        self.vendor(credential)?.list(place(credential)).await
    }

    /// Ends a credential at the vendor because a person named it. Whether it may be ended,
    /// `rotation::census` says.
    ///
    /// # Errors
    /// As [`crate::vendors::Vendor::revoke`].
    pub async fn revoke(&self, credential: &Credential, counted: &Counted) -> Result<Ended, Fault> {
        self.vendor(credential)?.revoke(place(credential), &counted.id, Grounds::Listed).await
    }

    async fn tag_version(
        &self,
        credential: &Credential,
        arn: &Arn,
        key: &str,
        version: &VersionId,
    ) -> Result<(), Fault> {
        let store = self.store(credential).await?;
        let now = store.now().ok_or_else(|| Fault::new(Class::Bug, "telling the time", "AWS has not answered yet"))?;
        let text = format!("{version}@{}", now.seconds());
        store.tag(arn, &[(key, text.as_str())], Fence { signed_at: now }).await.map(drop)
    }

    /// Logs in with the value that is current.
    ///
    /// # Errors
    /// Whatever says nothing about the credential: AWS does not let it be read, it was stored in
    /// another shape, the vendor does not answer.
    pub async fn verify_current(
        &self,
        credential: &Credential,
        arn: &Arn,
        version: &VersionId,
    ) -> Result<Verdict, Fault> {
        let value = self.store(credential).await?.current(arn, version).await?;
        self.log_in(credential, &value).await
    }

    /// Goes back to the version before: logs in with it, and moves AWSCURRENT from the version
    /// that was seen current. The vendor's refusal is an answer; then nothing was moved.
    ///
    /// # Errors
    /// As classified; `Taken` when AWSCURRENT is not there any more.
    pub async fn roll_back(
        &self,
        credential: &Credential,
        secret: &observed::Secret,
        back: &Back,
    ) -> Result<Verdict, Fault> {
        let store = self.store(credential).await?;
        let doing = || format!("going back for `{}`", credential.name);
        let to = Returnable::of(secret, &back.to)
            .ok_or_else(|| Fault::new(Class::Bug, doing(), "that version is no live credential of ours"))?;
        let value = store.previous(&to).await?;
        let signed_at = store.now().ok_or_else(|| Fault::new(Class::Bug, doing(), "AWS has not answered yet"))?;
        let verdict = self.log_in(credential, &value).await?;
        let accepted = match verdict {
            Verdict::Good => true,
            Verdict::Bad { .. } => false,
            // It was published on the same terms.
            Verdict::CannotTell { .. } => credential.policy.verify == Verify::BestEffort,
        };
        if accepted {
            if back.accepted {
                store.untag(&secret.arn, &[TAG_BASE], Fence { signed_at }).await?;
            }
            store.roll_back(&to, &back.from, Fence { signed_at }).await?;
        }
        Ok(verdict)
    }

    async fn log_in(
        &self,
        credential: &Credential,
        value: &crate::model::secret::SecretValue,
    ) -> Result<Verdict, Fault> {
        let outputs = credential.destination.shape.recover(value).ok_or_else(|| {
            let doing = format!("reading the stored value for `{}`", credential.name);
            Fault::new(
                Class::Rejected,
                doing,
                "it has another shape than is declared now, so nobody can log in with it",
            )
            .with_hint(
                "it was stored by hand or under an earlier declaration; the next rotation has the declared shape",
            )
        })?;
        self.vendor(credential)?.verify(place(credential), &outputs).await
    }
}
