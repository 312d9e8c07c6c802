//! Writing. Every write is sent once; a resend is the caller's decision and carries the same bytes
//! under the same id. What a write may be done to is proved by types: see `proof`.

#![expect(clippy::disallowed_methods, reason = "a put carries the value, so it looks inside")]

use aws_sdk_secretsmanager::config::Config;
use aws_sdk_secretsmanager::types::Tag;
use aws_smithy_async::time::StaticTimeSource;
use aws_smithy_types::retry::RetryConfig;
use uuid::Uuid;

use super::Store;
use super::call::Call;
use super::claim::{self, TOMBSTONE, TooLong};
use super::proof::{Adoptable, Published, Removable, Returnable, Stages, Unpublished};
use super::signing::Fence;
use super::time::system_time;
use crate::model::attempt::Attempt;
use crate::model::credential::Destination;
use crate::model::fault::{Class, Fault};
use crate::model::label::{Label, Lease, TAG_AT, TAG_ATTEMPT, TAG_CREDENTIAL, TAG_DEPLOYMENT, TAG_PLACE};
use crate::model::name::{Arn, Deployment, Name, VersionId};
use crate::model::observed::Claim;
use crate::model::secret::SecretValue;
use crate::model::time::Timestamp;

const PUT: &str = "secretsmanager:PutSecretValue";
/// How long a deleted secret can be restored: the longest that AWS offers.
const RECOVERY_DAYS: i64 = 30;
/// Namespace of the tokens of creates, so that a repeated create is the same create.
const CREATE_NAMESPACE: Uuid = Uuid::from_u128(0x2d0a_5b7e_94c1_5f0e_b6a3_71c8_0c2f_4e19);

/// Whose secret is made.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Whose.
    pub deployment: &'a Deployment,
    /// Which declared credential.
    pub credential: &'a Name,
    /// Where at the vendor it is made, as a hash.
    pub place: &'a str,
    /// The same in words, where a tag can hold them.
    pub at: Option<&'a str>,
}

/// A secret that was just made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Created {
    /// Its ARN.
    pub arn: Arn,
    /// AWS's date of the answer.
    pub at: Timestamp,
}

impl Store {
    /// Makes an empty secret with its owner's tags and the attempt's. A repeat with the same
    /// arguments is the same create to AWS.
    ///
    /// # Errors
    /// `Taken` when the name exists: look whose it is.
    pub async fn create_secret(&self, wanted: &Destination, owner: Owner<'_>, attempt: &str) -> Result<Created, Fault> {
        let name = &wanted.name;
        let call = Call::write("secretsmanager:CreateSecret", format!("create secret {name}"));
        let mut own = vec![
            (TAG_DEPLOYMENT, owner.deployment.as_str()),
            (TAG_CREDENTIAL, owner.credential.as_str()),
            (TAG_PLACE, owner.place),
            (TAG_ATTEMPT, attempt),
        ];
        own.extend(owner.at.map(|at| (TAG_AT, at)));
        check_tags(&call, &own)?;
        let theirs = wanted.tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        // Ours last and theirs without our keys: one key must not stand there twice.
        let theirs = theirs.filter(|(key, _)| own.iter().all(|(ours, _)| ours != key));
        let token = Uuid::new_v5(&CREATE_NAMESPACE, format!("{name}\n{attempt}").as_bytes());
        let request = self
            .0
            .client
            .create_secret()
            .name(name.as_str())
            .client_request_token(token.to_string())
            .set_description(wanted.description.clone())
            .set_kms_key_id(wanted.kms_key_id.clone())
            .set_tags(Some(theirs.chain(own.iter().copied()).map(|(key, value)| tag(key, value)).collect()));
        let (answer, at, seen) = self.write(&call, |probe| request.customize().interceptor(probe).send()).await?;
        let arn = answer.arn().filter(|_| answer.name() == Some(name.as_str())).and_then(|arn| Arn::new(arn).ok());
        arn.map(|arn| Created { arn, at }).ok_or_else(|| call.lost(&seen, "an answer without the secret's ARN"))
    }

    /// Sets tags; others stay. Tags know no compare, so the call is signed with the fence's moment
    /// and sent once.
    ///
    /// # Errors
    /// `Taken` when it came too late; `Rejected` before sending for a tag that AWS would not take.
    pub async fn tag(&self, arn: &Arn, tags: &[(&str, &str)], fence: Fence) -> Result<Timestamp, Fault> {
        let keys: Vec<&str> = tags.iter().map(|(key, _)| *key).collect();
        let call = Call::after_look("secretsmanager:TagResource", format!("tag secret {arn} with {}", keys.join(", ")));
        check_tags(&call, tags)?;
        let tags = tags.iter().map(|(key, value)| tag(key, value)).collect();
        let request = self.0.client.tag_resource().secret_id(arn.as_str()).set_tags(Some(tags));
        let send = |probe| request.customize().interceptor(probe).config_override(fenced(fence)).send();
        self.write(&call, send).await.map(|(_, at, _)| at)
    }

    /// Removes tags, as [`Store::tag`] sets them; a key that is not there is no error.
    ///
    /// # Errors
    /// `Taken` when it came too late.
    pub async fn untag(&self, arn: &Arn, keys: &[&str], fence: Fence) -> Result<Timestamp, Fault> {
        let doing = format!("take the tags {} off secret {arn}", keys.join(", "));
        let call = Call::after_look("secretsmanager:UntagResource", doing);
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let request = self.0.client.untag_resource().secret_id(arn.as_str()).set_tag_keys(Some(keys));
        let send = |probe| request.customize().interceptor(probe).config_override(fenced(fence)).send();
        self.write(&call, send).await.map(|(_, at, _)| at)
    }

    /// Puts a claim and gives AWS's date of the answer, from which its credential's age counts.
    /// `claim.before` is there for vendors that keep no mark of ours; leave it empty for others.
    ///
    /// # Errors
    /// `Taken` when another replica claimed this attempt; `Rejected`, before sending, when more
    /// ids were listed than a claim can hold.
    pub async fn put_claim(
        &self,
        secret: &Published,
        claim: &Claim,
        replica: &str,
        fingerprint: &str,
    ) -> Result<Timestamp, Fault> {
        let call = Call::write(PUT, format!("claim attempt {} in secret {}", claim.attempt, secret.arn()));
        let text = claim::render(claim, replica, fingerprint).map_err(|TooLong { ids }| {
            call.fault(Class::Rejected, format!("the {ids} credentials listed at the vendor do not fit in a claim"))
                .with_hint("revoke what nobody needs there, or make the credential in a place of its own")
        })?;
        let put = Put {
            arn: secret.arn(),
            id: claim.attempt.claim_id(),
            stages: Stages::claim(claim.attempt),
            value: &text,
            fence: None,
        };
        self.put(&call, put).await
    }

    /// Puts a fresh credential into its attempt's slot, as candidate; `lease` is `None` for vendors
    /// where one record is changed in place. A resend must carry the same bytes.
    ///
    /// # Errors
    /// `Taken` when something else is in the slot.
    pub async fn put_slot(
        &self,
        secret: &Published,
        attempt: Attempt,
        lease: Option<&Lease>,
        value: &SecretValue,
    ) -> Result<Timestamp, Fault> {
        let call = Call::write(PUT, format!("store the credential of attempt {attempt} in secret {}", secret.arn()));
        let put = Put {
            arn: secret.arn(),
            id: attempt.slot_id(),
            stages: Stages::slot(lease),
            value: value.expose(),
            fence: None,
        };
        self.put(&call, put).await
    }

    /// Puts the first version of all, which AWS publishes at once: only after its value was
    /// verified. Sent once, signed with the fence's moment.
    ///
    /// # Errors
    /// `Taken` when something else is in the slot; `Retry` when it came too late.
    pub async fn put_first(
        &self,
        secret: &Unpublished,
        attempt: Attempt,
        lease: Option<&Lease>,
        value: &SecretValue,
        fence: Fence,
    ) -> Result<Timestamp, Fault> {
        let call = Call::write(PUT, format!("publish the first credential of secret {}", secret.arn()));
        let put = Put {
            arn: secret.arn(),
            id: attempt.slot_id(),
            stages: Stages::slot(lease),
            value: value.expose(),
            fence: Some(fence),
        };
        self.put(&call, put).await
    }

    /// Closes an attempt's slot.
    ///
    /// # Errors
    /// `Taken` when a credential is in it: it was stored after all, adopt it.
    pub async fn put_tombstone(&self, secret: &Published, attempt: Attempt) -> Result<Timestamp, Fault> {
        let call = Call::write(PUT, format!("close attempt {attempt} in secret {}", secret.arn()));
        let put = Put {
            arn: secret.arn(),
            id: attempt.slot_id(),
            stages: Stages::tombstone(),
            value: TOMBSTONE,
            fence: None,
        };
        self.put(&call, put).await
    }

    /// Schedules a secret for deletion, with a recovery window of 30 days. There is no way here to
    /// delete one at once. Sent once, signed with the fence's moment.
    ///
    /// # Errors
    /// `Taken` when the secret's state does not allow it: somebody scheduled it already, or made
    /// it a replica; or when it came too late. Look again.
    pub async fn delete_secret(&self, arn: &Arn, fence: Fence) -> Result<Timestamp, Fault> {
        let call = Call::after_look("secretsmanager:DeleteSecret", format!("schedule secret {arn} for deletion"));
        let request = self.0.client.delete_secret().secret_id(arn.as_str()).recovery_window_in_days(RECOVERY_DAYS);
        let send = |probe| request.customize().interceptor(probe).config_override(fenced(fence)).send();
        let (answer, at, seen) = self.write(&call, send).await.map_err(|fault| match fault.code.as_deref() {
            Some("InvalidRequestException") if fault.class == Class::Rejected => Fault { class: Class::Taken, ..fault },
            _ => fault,
        })?;
        if answer.arn() == Some(arn.as_str()) {
            Ok(at)
        } else {
            Err(call.lost(&seen, "an answer about another secret"))
        }
    }

    async fn put(&self, call: &Call, put: Put<'_>) -> Result<Timestamp, Fault> {
        let request = self
            .0
            .client
            .put_secret_value()
            .secret_id(put.arn.as_str())
            .client_request_token(put.id.as_str())
            .set_version_stages(Some(put.stages.into_texts()))
            .secret_string(put.value);
        let (answer, at, seen) = self
            .write(call, |probe| {
                let request = request.customize().interceptor(probe);
                match put.fence {
                    Some(fence) => request.config_override(fenced(fence)),
                    None => request,
                }
                .send()
            })
            .await?;
        if answer.arn() == Some(put.arn.as_str()) && answer.version_id() == Some(put.id.as_str()) {
            Ok(at)
        } else {
            Err(call.lost(&seen, "an answer about another version"))
        }
    }

    /// Moves AWSCURRENT to `to`, provided that it is on `from` (`None`: on no version at all). Sent
    /// once, signed with the fence's moment.
    ///
    /// # Errors
    /// `Taken` when AWSCURRENT is elsewhere, or when it came too late.
    pub async fn promote(
        &self,
        arn: &Arn,
        to: &VersionId,
        from: Option<&VersionId>,
        fence: Fence,
    ) -> Result<Timestamp, Fault> {
        let doing = format!("make {to} the current version of secret {arn}");
        let call = Call::after_look("secretsmanager:UpdateSecretVersionStage", doing);
        self.move_label(&call, arn, &Label::Current, Some(to), from, fence).await
    }

    /// Moves AWSCURRENT back to a version that lives, provided that it is on `from`: what a person
    /// asks for, and no rule ever. Sent once, signed with the fence's moment.
    ///
    /// # Errors
    /// `Taken` when AWSCURRENT is elsewhere, or when it came too late.
    pub async fn roll_back(&self, to: &Returnable, from: &VersionId, fence: Fence) -> Result<Timestamp, Fault> {
        let doing = format!("make {} the current version of secret {} again", to.version(), to.arn());
        let call = Call::after_look("secretsmanager:UpdateSecretVersionStage", doing);
        self.move_label(&call, to.arn(), &Label::Current, Some(to.version()), Some(from), fence).await
    }

    /// Puts a lease on a version that somebody else stored, provided that no version has it: what a
    /// person asks for, after its proof. Sent once, signed with the fence's moment.
    ///
    /// # Errors
    /// `Taken` when another version has that label, or when it came too late.
    pub async fn lease(&self, to: &Adoptable, lease: &Lease, fence: Fence) -> Result<Timestamp, Fault> {
        let label = Label::Cred(lease.clone());
        let call = Call::after_look(
            "secretsmanager:UpdateSecretVersionStage",
            format!("put {label} on version {} of secret {}", to.version(), to.arn()),
        );
        self.move_label(&call, to.arn(), &label, Some(to.version()), None, fence).await
    }

    /// Takes a label off a version, provided that it is there. Sent once, signed with the fence's
    /// moment: that nothing else refers to the version is not for AWS to compare.
    ///
    /// # Errors
    /// `Taken` when the label is not on that version, or when it came too late.
    pub async fn detach(
        &self,
        arn: &Arn,
        label: &Removable,
        from: &VersionId,
        fence: Fence,
    ) -> Result<Timestamp, Fault> {
        let label = label.label();
        let doing = format!("take {label} off version {from} of secret {arn}");
        let call = Call::after_look("secretsmanager:UpdateSecretVersionStage", doing);
        self.move_label(&call, arn, &label, None, Some(from), fence).await
    }

    async fn move_label(
        &self,
        call: &Call,
        arn: &Arn,
        label: &Label,
        to: Option<&VersionId>,
        from: Option<&VersionId>,
        fence: Fence,
    ) -> Result<Timestamp, Fault> {
        let request = self
            .0
            .client
            .update_secret_version_stage()
            .secret_id(arn.as_str())
            .version_stage(label.to_string())
            .set_move_to_version_id(to.map(ToString::to_string))
            .set_remove_from_version_id(from.map(ToString::to_string));
        let send = |probe| request.customize().interceptor(probe).config_override(fenced(fence)).send();
        let (answer, at, seen) = self.write(call, send).await?;
        if answer.arn() == Some(arn.as_str()) {
            Ok(at)
        } else {
            Err(call.lost(&seen, "an answer about another secret"))
        }
    }
}

/// One `PutSecretValue`.
struct Put<'a> {
    arn: &'a Arn,
    id: VersionId,
    stages: Stages,
    value: &'a str,
    fence: Option<Fence>,
}

/// Signed with that moment and sent once, whatever the client is set to otherwise.
pub(super) fn fenced(fence: Fence) -> aws_sdk_secretsmanager::config::Builder {
    Config::builder()
        .time_source(StaticTimeSource::new(system_time(fence.signed_at)))
        .retry_config(RetryConfig::disabled())
        .disable_clock_skew_correction(true)
}

pub(super) fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// Tags as AWS's filters can find them again: a smaller alphabet than tags could have.
fn check_tags(call: &Call, tags: &[(&str, &str)]) -> Result<(), Fault> {
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || " :_@/+=.-".contains(c));
    let fine =
        |key: &str, value: &str| (1..=127).contains(&key.len()) && value.len() <= 255 && plain(key) && plain(value);
    match tags.iter().find(|(key, value)| !fine(key, value)) {
        None => Ok(()),
        Some((key, _)) => {
            Err(call.fault(Class::Rejected, format!("the tag {key:?} is longer or stranger than AWS takes")))
        }
    }
}
