//! The calls of the trials: lower than what the store's own types allow, and always on the one
//! scratch secret, named by its full ARN.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType};
use aws_smithy_types::DateTime;

use super::super::call::Call;
use super::super::signing::Fence;
use super::super::write::{fenced, tag};
use super::bench::{Bench, CURRENT, LOOK_PAUSE, Patience, SEEN_MAX, VALUE, refusal, unseen};
use crate::model::fault::{Class, Fault};
use crate::model::label::TAG_PREFLIGHT;
use crate::model::name::{Arn, VersionId};
use crate::model::time::Timestamp;

/// Before something is said not to have changed.
const QUIET: Duration = Duration::from_secs(2);
/// Pages of versions or secrets that are read at most.
const PAGES_MAX: usize = 20;

/// Labels by version.
pub(super) type Labels = BTreeMap<String, BTreeSet<String>>;

/// What `DescribeSecret` showed.
#[derive(Clone, Default)]
pub(super) struct Look {
    pub(super) labels: BTreeMap<String, BTreeSet<String>>,
    pub(super) changed: Timestamp,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) arn: String,
    pub(super) gone_at: Option<Timestamp>,
    pub(super) managed: bool,
}

impl Look {
    pub(super) fn has(&self, version: &VersionId, label: &str) -> bool {
        self.labels.get(version.as_str()).is_some_and(|labels| labels.contains(label))
    }

    /// Who holds a label.
    pub(super) fn holder(&self, label: &str) -> Option<&str> {
        self.labels.iter().find(|(_, labels)| labels.contains(label)).map(|(version, _)| version.as_str())
    }
}

impl Bench {
    /// Creates the scratch secret without a version under this token.
    pub(super) async fn create(&self, token: &VersionId) -> Result<Arn, Fault> {
        let name = &self.name;
        let call = Call::write("secretsmanager:CreateSecret", format!("create scratch secret {name}"));
        let request = self
            .store
            .0
            .client
            .create_secret()
            .name(name.as_str())
            .client_request_token(token.as_str())
            .description("Throw-away secret of `keyferry preflight`; holds nothing, safe to delete.")
            .set_kms_key_id(self.kms_key_id.clone())
            .tags(tag(TAG_PREFLIGHT, &self.tag_value()));
        let (answer, _) =
            self.write(&call, true, |probe| request.clone().customize().interceptor(probe).send()).await?;
        answer
            .arn()
            .and_then(|arn| Arn::new(arn).ok())
            .ok_or_else(|| call.fault(Class::InDoubt, "an answer without the secret's ARN"))
    }

    pub(super) fn tag_value(&self) -> String {
        format!("scratch of run {}", self.run)
    }

    pub(super) async fn set_tag(&self, key: &str, value: &str, fence: Option<Fence>) -> Result<Timestamp, Fault> {
        let arn = self.secret()?;
        let call = Call::write("secretsmanager:TagResource", format!("tag scratch secret {}", self.name));
        let request = self.store.0.client.tag_resource().secret_id(arn.as_str()).tags(tag(key, value));
        let (_, at) = self
            .write(&call, true, |probe| {
                let request = request.clone().customize().interceptor(probe);
                match fence {
                    Some(fence) => request.config_override(fenced(fence)),
                    None => request,
                }
                .send()
            })
            .await?;
        Ok(at)
    }

    pub(super) async fn remove_tag(&self, key: &str) -> Result<(), Fault> {
        let arn = self.secret()?;
        let call = Call::write("secretsmanager:UntagResource", format!("untag scratch secret {}", self.name));
        let request = self.store.0.client.untag_resource().secret_id(arn.as_str()).tag_keys(key);
        self.write(&call, true, |probe| request.clone().customize().interceptor(probe).send()).await.map(|_| ())
    }

    /// Puts a version; a repeat is byte-identical.
    pub(super) async fn put(&self, id: &VersionId, value: &str, labels: &[&str]) -> Result<Timestamp, Fault> {
        let arn = self.secret()?;
        let call = Call::write("secretsmanager:PutSecretValue", format!("put a version into {}", self.name));
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let request = self
            .store
            .0
            .client
            .put_secret_value()
            .secret_id(arn.as_str())
            .client_request_token(id.as_str())
            .set_version_stages(Some(labels))
            .secret_string(value);
        self.write(&call, true, |probe| request.clone().customize().interceptor(probe).send()).await.map(|(_, at)| at)
    }

    /// A fresh version with these labels, seen with them.
    pub(super) async fn version(&self, labels: &[&str]) -> Result<VersionId, Fault> {
        let id = self.token();
        self.put(&id, VALUE, labels).await?;
        self.look_until(|look| labels.iter().all(|label| look.has(&id, label)))
            .await?
            .ok_or_else(|| unseen("a version that was just put"))?;
        Ok(id)
    }

    /// Moves, attaches (no `from`) or detaches (no `to`) a label. Never sent again in doubt: a
    /// second send would be refused for another reason than the first.
    pub(super) async fn swap(
        &self,
        label: &str,
        to: Option<&VersionId>,
        from: Option<&VersionId>,
    ) -> Result<Timestamp, Fault> {
        let arn = self.secret()?;
        let doing = format!("move label {label} in scratch secret {}", self.name);
        let call = Call::write("secretsmanager:UpdateSecretVersionStage", doing);
        let request = self
            .store
            .0
            .client
            .update_secret_version_stage()
            .secret_id(arn.as_str())
            .version_stage(label)
            .set_move_to_version_id(to.map(ToString::to_string))
            .set_remove_from_version_id(from.map(ToString::to_string));
        self.write(&call, false, |probe| request.clone().customize().interceptor(probe).send()).await.map(|(_, at)| at)
    }

    /// A swap that should be refused; its code is noted.
    pub(super) async fn refused_swap(
        &self,
        label: &str,
        to: Option<&VersionId>,
        from: Option<&VersionId>,
    ) -> Result<Option<String>, Fault> {
        let code = refusal(self.swap(label, to, from).await)?;
        self.noted().swap_codes.extend(code.clone());
        Ok(code)
    }

    /// Describes a secret by name or ARN; `None` when there is none.
    pub(super) async fn describe(&self, id: &str) -> Result<Option<Look>, Fault> {
        let call = Call::read("secretsmanager:DescribeSecret", format!("describe scratch secret {}", self.name));
        let request = self.store.0.client.describe_secret().secret_id(id);
        let answer = match self.read(&call, |probe| request.clone().customize().interceptor(probe).send()).await {
            Ok(answer) => answer,
            Err(fault) if fault.class == Class::Gone => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let tags = answer.tags().iter();
        Ok(Some(Look {
            labels: answer
                .version_ids_to_stages()
                .into_iter()
                .flatten()
                .map(|(version, labels)| (version.clone(), labels.iter().cloned().collect()))
                .collect(),
            changed: answer.last_changed_date().or(answer.created_date()).map(date).unwrap_or_default(),
            tags: tags.filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned()))).collect(),
            arn: answer.arn().unwrap_or_default().to_owned(),
            gone_at: answer.deleted_date().map(date),
            managed: answer.owning_service().is_some() || answer.rotation_enabled() == Some(true),
        }))
    }

    /// The scratch secret as it is shown now.
    pub(super) async fn look(&self) -> Result<Look, Fault> {
        let arn = self.secret()?.clone();
        self.describe(arn.as_str()).await?.ok_or_else(|| {
            Fault::new(Class::Gone, format!("describe scratch secret {}", self.name), "it is not there any more")
        })
    }

    /// Looks a moment later: for what should not have changed.
    pub(super) async fn quiet_look(&self) -> Result<Look, Fault> {
        self.pause(QUIET).await?;
        self.look().await
    }

    /// Looks until `enough`, or `None` when that takes too long.
    pub(super) async fn look_until(&self, enough: impl Fn(&Look) -> bool) -> Result<Option<Look>, Fault> {
        let mut patience = Patience::new(SEEN_MAX, LOOK_PAUSE);
        loop {
            match self.look().await {
                Ok(look) if enough(&look) => return Ok(Some(look)),
                Ok(_) => {}
                // Just made, and not everywhere yet.
                Err(fault) if fault.class == Class::Gone => {}
                Err(fault) => return Err(fault),
            }
            if !patience.wait(self).await? {
                return Ok(None);
            }
        }
    }

    /// The version that is current, and seen to be.
    pub(super) async fn current(&self) -> Result<VersionId, Fault> {
        let look = self.look_until(|look| look.holder(CURRENT).is_some()).await?;
        look.and_then(|look| VersionId::new(look.holder(CURRENT)?).ok()).ok_or_else(|| unseen("a current version"))
    }

    /// All versions with their labels, those without too.
    pub(super) async fn versions(&self) -> Result<Labels, Fault> {
        let arn = self.secret()?;
        let call = Call::read("secretsmanager:ListSecretVersionIds", format!("list the versions of {}", self.name));
        let mut versions = BTreeMap::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let request = self.store.0.client.list_secret_version_ids().secret_id(arn.as_str());
            let request = request.include_deprecated(true).max_results(100).set_next_token(token);
            let page = match self.read(&call, |probe| request.clone().customize().interceptor(probe).send()).await {
                Ok(page) => page,
                // Just made, and not everywhere yet.
                Err(fault) if fault.class == Class::Gone => break,
                Err(fault) => return Err(fault),
            };
            for entry in page.versions() {
                let labels = entry.version_stages().iter().cloned().collect();
                versions.insert(entry.version_id().unwrap_or_default().to_owned(), labels);
            }
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        Ok(versions)
    }

    /// Lists the versions until `enough`, or `false` when that takes too long.
    pub(super) async fn versions_until(&self, enough: impl Fn(&Labels) -> bool) -> Result<bool, Fault> {
        let mut patience = Patience::new(SEEN_MAX, LOOK_PAUSE);
        while !enough(&self.versions().await?) {
            if !patience.wait(self).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The scratch secret's labels as `ListSecrets` shows them; `None` while it is not listed.
    pub(super) async fn listed(&self) -> Result<Option<Labels>, Fault> {
        let arn = self.secret()?;
        let call = Call::read("secretsmanager:ListSecrets", "list scratch secrets");
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let filter = Filter::builder().key(FilterNameStringType::TagValue).values(self.tag_value()).build();
            let request = self.store.0.client.list_secrets().filters(filter).max_results(100).set_next_token(token);
            let page = self.read(&call, |probe| request.clone().customize().interceptor(probe).send()).await?;
            if let Some(entry) = page.secret_list().iter().find(|entry| entry.arn() == Some(arn.as_str())) {
                let labels = entry.secret_versions_to_stages().into_iter().flatten();
                return Ok(Some(
                    labels.map(|(version, labels)| (version.clone(), labels.iter().cloned().collect())).collect(),
                ));
            }
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        Ok(None)
    }

    /// A version's value, by id and label as given.
    pub(super) async fn value(&self, id: Option<&VersionId>, label: Option<&str>) -> Result<String, Fault> {
        let arn = self.secret()?;
        let call = Call::read("secretsmanager:GetSecretValue", format!("read a version of {}", self.name));
        let request = self
            .store
            .0
            .client
            .get_secret_value()
            .secret_id(arn.as_str())
            .set_version_id(id.map(ToString::to_string))
            .set_version_stage(label.map(Into::into));
        let answer = self.read(&call, |probe| request.clone().customize().interceptor(probe).send()).await?;
        Ok(answer.secret_string.unwrap_or_default())
    }

    /// Deletes the secret: at once, or in seven days.
    pub(super) async fn delete(&self, arn: &Arn, at_once: bool) -> Result<(), Fault> {
        let call = Call::write("secretsmanager:DeleteSecret", format!("delete scratch secret {}", self.name));
        let request = self.store.0.client.delete_secret().secret_id(arn.as_str());
        let request =
            if at_once { request.force_delete_without_recovery(true) } else { request.recovery_window_in_days(7) };
        self.write(&call, true, |probe| request.clone().customize().interceptor(probe).send()).await.map(|_| ())
    }
}

fn date(date: &DateTime) -> Timestamp {
    date.to_millis().map(Timestamp::from_millis).unwrap_or_default()
}
