//! Reading: what AWS shows of the fleet and of one secret. Values are read only by version *and*
//! label, and only claims and candidates; the one exception is [`Store::aws_current_of`].

#![expect(clippy::disallowed_methods, reason = "claims and admin secrets arrive as secret values and are read here")]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, SecretListEntry, SecretVersionsListEntry, Tag};
use aws_smithy_types::DateTime;

use super::call::{Call, is_strange};
use super::proof::Returnable;
use super::signing::Seen;
use super::{Store, claim};
use crate::model::attempt::Attempt;
use crate::model::fault::{Class, Fault};
use crate::model::label::{Label, TAG_ATTEMPT, TAG_DEPLOYMENT};
use crate::model::name::{Arn, Deployment, SecretName, VersionId};
use crate::model::observed::{Claim, Obstacle, Secret, Summary, Version};
use crate::model::secret::SecretValue;
use crate::model::time::Timestamp;

const PAGE_SIZE: i32 = 100;
/// 100,000 secrets; an endless token ends here.
const FLEET_PAGES_MAX: usize = 1_000;
/// AWS prunes past about 100 versions, so one or two pages are normal.
const VERSION_PAGES_MAX: usize = 50;
/// How often describe and list may disagree before it is reported.
const TORN_READS_MAX: u32 = 4;

impl Store {
    /// Every secret with this deployment's owner tag, those scheduled for deletion too, up to five
    /// minutes old: one `ListSecrets` for each 100.
    ///
    /// # Errors
    /// Any incomplete listing is a fault, never a short list.
    pub async fn fleet(&self, deployment: &Deployment) -> Result<Vec<Summary>, Fault> {
        let call = Call::read("secretsmanager:ListSecrets", format!("list the secrets of deployment {deployment}"));
        let filter = |key, value: &str| Filter::builder().key(key).values(value).build();
        let filters = vec![
            filter(FilterNameStringType::TagKey, TAG_DEPLOYMENT),
            filter(FilterNameStringType::TagValue, deployment.as_str()),
        ];
        let mut fleet = Vec::new();
        self.list(&call, filters, |entry, seen| {
            let tags = tags(entry.tags());
            // The filters match prefixes, and key and value of different tags.
            if tags.get(TAG_DEPLOYMENT).is_some_and(|owner| owner == deployment.as_str())
                // A name that no declaration can have is nobody's here, whatever its tags say.
                && let Some(name) = entry.name().and_then(|name| SecretName::new(name).ok())
            {
                fleet.push(
                    summary(name, &entry, tags).ok_or_else(|| call.strange(seen, "a secret without ARN or date"))?,
                );
            }
            Ok(())
        })
        .await?;
        Ok(fleet)
    }

    /// Gives every secret that the filters let through to `each`, those scheduled for deletion too.
    pub(super) async fn list(
        &self,
        call: &Call,
        filters: Vec<Filter>,
        mut each: impl FnMut(SecretListEntry, &Seen) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut token: Option<String> = None;
        // A page may be empty and still carry a token (API reference, ListSecrets).
        for _ in 0..FLEET_PAGES_MAX {
            let request = self
                .0
                .client
                .list_secrets()
                .set_filters(Some(filters.clone()))
                .include_planned_deletion(true)
                .max_results(PAGE_SIZE)
                .set_next_token(token.clone());
            let page = self.read(call, |probe| request.clone().customize().interceptor(probe).send()).await;
            let (page, seen) = page.map_err(may_not_list)?;
            for entry in page.secret_list.unwrap_or_default() {
                each(entry, &seen)?;
            }
            match more(page.next_token) {
                None => return Ok(()),
                Some(next) if token.as_ref() == Some(&next) => return Err(endless(call)),
                Some(next) => token = Some(next),
            }
        }
        Err(endless(call))
    }

    /// One secret with all its versions, deprecated ones too; `None` when there is none of that
    /// name. Read again when describe and list show different labels.
    ///
    /// # Errors
    /// `Retry` when the two do not come to agree.
    pub async fn observe(&self, name: &SecretName) -> Result<Option<Secret>, Fault> {
        let call = Call::read("secretsmanager:DescribeSecret", format!("observe secret {name}"));
        let mut wait = self.0.pacer.pacing.read_wait;
        for round in 0..TORN_READS_MAX {
            if round > 0 {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            let Some((described, seen)) = self.describe(&call, name).await? else { return Ok(None) };
            let secret = secret(name, &described).map_err(|odd| call.strange(&seen, odd))?;
            let Some(listed) = self.versions(name, &secret).await? else { continue };
            let labels = labels_of(described.version_ids_to_stages.unwrap_or_default());
            let shown = labels_of(listed.iter().map(|version| (version.id.to_string(), texts(&version.labels))));
            let unlisted = secret.obstacle.is_some() && listed.is_empty();
            if unlisted || labels == shown {
                let secret = Secret { versions: listed, ..secret };
                self.check_first(&secret).await?;
                return Ok(Some(secret));
            }
        }
        Err(call.fault(Class::Retry { after: None }, "its description and its list of versions do not agree"))
    }

    /// A secret that was just made has no version at AWS. Some emulators give it one without a value,
    /// which would look like one that somebody wrote by hand.
    async fn check_first(&self, secret: &Secret) -> Result<(), Fault> {
        let [only] = secret.versions.as_slice() else { return Ok(()) };
        if only.labels != [Label::Current] || !secret.tags.contains_key(TAG_ATTEMPT) || secret.obstacle.is_some() {
            return Ok(());
        }
        match self.current(&secret.arn, &only.id).await {
            // Whoever rotates need not be allowed to read it.
            Err(fault) if is_strange(&fault) => Err(fault),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn describe(&self, call: &Call, name: &SecretName) -> Result<Option<(DescribeSecretOutput, Seen)>, Fault> {
        let request = self.0.client.describe_secret().secret_id(name.as_str());
        match self.read(call, |probe| request.clone().customize().interceptor(probe).send()).await {
            Ok(answer) => Ok(Some(answer)),
            Err(fault) if fault.class == Class::Gone => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// All versions; `None` when they do not belong to the secret just described.
    async fn versions(&self, name: &SecretName, secret: &Secret) -> Result<Option<Vec<Version>>, Fault> {
        let call = Call::read("secretsmanager:ListSecretVersionIds", format!("list the versions of secret {name}"));
        let mut versions: BTreeMap<VersionId, Version> = BTreeMap::new();
        let mut token: Option<String> = None;
        for _ in 0..VERSION_PAGES_MAX {
            let request = self
                .0
                .client
                .list_secret_version_ids()
                .secret_id(secret.arn.as_str())
                .include_deprecated(true)
                .max_results(PAGE_SIZE)
                .set_next_token(token.clone());
            let result = self.read(&call, |probe| request.clone().customize().interceptor(probe).send()).await;
            let (page, seen) = match result {
                Ok(answer) => answer,
                Err(fault) if fault.class == Class::Gone => return Ok(None),
                // A secret that must not be touched may refuse this; its description is enough.
                Err(fault) if fault.class == Class::Rejected && secret.obstacle.is_some() => {
                    return Ok(Some(Vec::new()));
                }
                Err(fault) => return Err(fault),
            };
            match page.arn() {
                Some(arn) if arn == secret.arn.as_str() => {}
                // The secret was deleted and made again in between.
                Some(arn) if Arn::new(arn).is_ok() => return Ok(None),
                _ => return Err(call.strange(&seen, "no ARN of a secret")),
            }
            for entry in page.versions() {
                let version = version(entry).ok_or_else(|| call.strange(&seen, "a version without id or date"))?;
                let again = versions.insert(version.id.clone(), version.clone());
                if again.is_some_and(|before| before != version) {
                    return Ok(None);
                }
            }
            match more(page.next_token) {
                None => {
                    let mut versions: Vec<Version> = versions.into_values().collect();
                    versions.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
                    return Ok(Some(versions));
                }
                Some(next) if token.as_ref() == Some(&next) => return Err(endless(&call)),
                Some(next) => token = Some(next),
            }
        }
        Err(endless(&call))
    }

    /// What the claim of `attempt` says.
    ///
    /// # Errors
    /// `Gone` when the version does not have that label (any more), `Rejected` when it is not a
    /// claim that we would have written.
    pub async fn claim(&self, arn: &Arn, version: &VersionId, attempt: Attempt) -> Result<Claim, Fault> {
        let call = Call::read("secretsmanager:GetSecretValue", format!("read the claim of attempt {attempt} in {arn}"));
        let value = self.value(&call, arn, version, &Label::Open(attempt)).await?;
        claim::parse(value.expose(), attempt)
            .ok_or_else(|| call.fault(Class::Rejected, "the version is not a claim of this attempt"))
    }

    /// The candidate's value.
    ///
    /// # Errors
    /// `Gone` when the version does not have AWSPENDING (any more), or no value yet.
    pub async fn pending(&self, arn: &Arn, version: &VersionId) -> Result<SecretValue, Fault> {
        let call = Call::read("secretsmanager:GetSecretValue", format!("read the candidate {version} of secret {arn}"));
        self.value(&call, arn, version, &Label::Pending).await
    }

    /// The published value, while this version is current.
    ///
    /// # Errors
    /// `Gone` when the version does not have AWSCURRENT (any more); `Denied` where the role may not
    /// read published values.
    pub async fn published(&self, arn: &Arn, version: &VersionId) -> Result<SecretValue, Fault> {
        let call =
            Call::read("secretsmanager:GetSecretValue", format!("read the current version {version} of secret {arn}"));
        self.value(&call, arn, version, &Label::Current).await
    }

    /// The current value, for a login check that a person asked for. Needs a permission that
    /// rotating does not.
    ///
    /// # Errors
    /// `Gone` when the version does not have AWSCURRENT (any more).
    pub async fn current(&self, arn: &Arn, version: &VersionId) -> Result<SecretValue, Fault> {
        let call = Call::read("secretsmanager:GetSecretValue", format!("read the current value of secret {arn}"));
        self.value(&call, arn, version, &Label::Current).await.map_err(|fault| needs(fault, &Label::Current))
    }

    /// The value before, for the login check ahead of going back to it. Needs a permission that
    /// rotating does not.
    ///
    /// # Errors
    /// `Gone` when the version does not have AWSPREVIOUS (any more).
    pub async fn previous(&self, of: &Returnable) -> Result<SecretValue, Fault> {
        let call =
            Call::read("secretsmanager:GetSecretValue", format!("read the previous value of secret {}", of.arn()));
        let value = self.value(&call, of.arn(), of.version(), &Label::Previous).await;
        value.map_err(|fault| needs(fault, &Label::Previous))
    }

    async fn value(&self, call: &Call, arn: &Arn, version: &VersionId, label: &Label) -> Result<SecretValue, Fault> {
        let request = self
            .0
            .client
            .get_secret_value()
            .secret_id(arn.as_str())
            .version_id(version.as_str())
            .version_stage(label.to_string());
        let (answer, seen) = self.read(call, |probe| request.clone().customize().interceptor(probe).send()).await?;
        if answer.arn() != Some(arn.as_str()) || answer.version_id() != Some(version.as_str()) {
            return Err(call.lost(&seen, "the value of another version"));
        }
        text(call, &seen, answer)
    }

    /// The current value of a secret that feeds another, and which version it is.
    ///
    /// # Errors
    /// `Gone` when there is no such secret, or no current value.
    pub async fn current_by_name(&self, secret: &SecretName) -> Result<(VersionId, SecretValue), Fault> {
        let call = Call::read("secretsmanager:GetSecretValue", format!("read secret {secret} in {}", self.0.region));
        let stage = Label::Current.to_string();
        let request = self.0.client.get_secret_value().secret_id(secret.as_str()).version_stage(stage);
        let (answer, seen) = self.read(&call, |probe| request.clone().customize().interceptor(probe).send()).await?;
        let version = answer.version_id().and_then(|id| VersionId::new(id).ok());
        let version = version.ok_or_else(|| call.lost(&seen, "a value without its version's id"))?;
        text(&call, &seen, answer).map(|value| (version, value))
    }

    /// The current value of any secret, for admin secrets that are kept in AWS only; with `key`,
    /// that member of the JSON object it holds. `secret` is a name or an ARN.
    ///
    /// # Errors
    /// `Gone` when there is no such secret, no current value, or no such member.
    pub async fn aws_current_of(&self, secret: &str, key: Option<&str>) -> Result<SecretValue, Fault> {
        let call =
            Call::read("secretsmanager:GetSecretValue", format!("read AWS secret {secret} in {}", self.0.region));
        let request = self.0.client.get_secret_value().secret_id(secret).version_stage(Label::Current.to_string());
        let (answer, seen) = self.read(&call, |probe| request.clone().customize().interceptor(probe).send()).await?;
        let value = text(&call, &seen, answer)?;
        let Some(key) = key else { return Ok(value) };
        let object: BTreeMap<String, serde_json::Value> = serde_json::from_str(value.expose())
            .map_err(|_| call.fault(Class::Rejected, "its value is not a JSON object, so it has no members"))?;
        match object.get(key) {
            Some(serde_json::Value::String(member)) => Ok(SecretValue::new(member.as_str())),
            Some(_) => Err(call.fault(Class::Rejected, format!("its member `{key}` is not a string"))),
            None => Err(call.fault(Class::Gone, format!("its value has no member `{key}`"))),
        }
    }
}

/// Which permission is missing: the one for rotating does not reach this stage.
fn needs(fault: Fault, stage: &Label) -> Fault {
    let missing = fault.class == Class::Denied && fault.code.as_deref().is_some_and(|code| code.contains("Access"));
    if !missing || fault.answer.contains("KMS") {
        return fault;
    }
    fault.with_hint(format!(
        "allow secretsmanager:GetSecretValue on this secret with the stage `{stage}` to this principal: rotating does \
         not need it, this does (`keyferry plan` says which principal)"
    ))
}

/// There is another way for roles that may not list.
fn may_not_list(fault: Fault) -> Fault {
    match (fault.class, &fault.hint) {
        (Class::Denied, Some(hint)) if hint.contains("secretsmanager:ListSecrets") => {
            let hint = format!("{hint}; a role that may not list can do with `discovery = \"declared\"`");
            fault.with_hint(hint)
        }
        _ => fault,
    }
}

fn endless(call: &Call) -> Fault {
    call.fault(Class::Retry { after: None }, "a listing without end")
}

/// The token of the next page; an empty one, as emulators send it, ends a listing.
fn more(token: Option<String>) -> Option<String> {
    token.filter(|token| !token.is_empty())
}

fn text(call: &Call, seen: &Seen, answer: GetSecretValueOutput) -> Result<SecretValue, Fault> {
    match (answer.secret_string, answer.secret_binary) {
        (Some(text), _) => Ok(SecretValue::new(text)),
        (None, Some(_)) => Err(call.fault(Class::Rejected, "its value is binary, and not a text")),
        // A version never is without one at AWS.
        (None, None) => Err(call.strange(seen, "a version without a value")),
    }
}

pub(super) fn timestamp(date: Option<&DateTime>) -> Option<Timestamp> {
    Some(Timestamp::from_millis(date?.to_millis().ok()?))
}

pub(super) fn tags(tags: &[Tag]) -> BTreeMap<String, String> {
    tags.iter().filter_map(|tag| Some((tag.key.clone()?, tag.value.clone().unwrap_or_default()))).collect()
}

fn texts(labels: &[Label]) -> Vec<String> {
    labels.iter().map(ToString::to_string).collect()
}

/// Labels by version, for comparing; versions without labels are left out.
fn labels_of(pairs: impl IntoIterator<Item = (String, Vec<String>)>) -> BTreeMap<String, BTreeSet<String>> {
    pairs
        .into_iter()
        .filter(|(_, labels)| !labels.is_empty())
        .map(|(id, labels)| (id, labels.into_iter().collect()))
        .collect()
}

fn labels(texts: &[String]) -> Vec<Label> {
    let mut labels: Vec<Label> = texts.iter().map(|text| Label::parse(text)).collect();
    labels.sort_by_key(ToString::to_string);
    labels
}

fn version(entry: &SecretVersionsListEntry) -> Option<Version> {
    Some(Version {
        id: VersionId::new(entry.version_id()?).ok()?,
        labels: labels(entry.version_stages()),
        created: timestamp(entry.created_date())?,
    })
}

/// A description without its versions, or what in it AWS would not say.
fn secret(name: &SecretName, described: &DescribeSecretOutput) -> Result<Secret, &'static str> {
    if described.name() != Some(name.as_str()) {
        return Err("the name of another secret");
    }
    let arn = described.arn().and_then(|arn| Arn::new(arn).ok()).ok_or("no ARN of a secret")?;
    let changed = described.last_changed_date().or(described.created_date());
    let obstacle = obstacle(&Signs {
        arn: &arn,
        deleted: timestamp(described.deleted_date()),
        primary_region: described.primary_region(),
        owning_service: described.owning_service(),
        partner_type: described.r#type(),
        rotation_enabled: described.rotation_enabled(),
    });
    let replicas = described.replication_status().iter().filter_map(|replica| replica.region());
    Ok(Secret {
        name: name.clone(),
        versions: Vec::new(),
        tags: tags(described.tags()),
        changed: timestamp(changed).ok_or("neither a date of change nor of creation")?,
        obstacle,
        replicas: replicas.map(Into::into).collect(),
        kms_key_id: described.kms_key_id().map(Into::into),
        description: described.description().map(Into::into),
        arn,
    })
}

pub(super) fn summary(name: SecretName, entry: &SecretListEntry, tags: BTreeMap<String, String>) -> Option<Summary> {
    let arn = Arn::new(entry.arn()?).ok()?;
    let obstacle = obstacle(&Signs {
        arn: &arn,
        deleted: timestamp(entry.deleted_date()),
        primary_region: entry.primary_region(),
        owning_service: entry.owning_service(),
        partner_type: entry.r#type(),
        rotation_enabled: entry.rotation_enabled(),
    });
    let none = HashMap::new();
    let stages = entry.secret_versions_to_stages().unwrap_or(&none);
    let pairs = stages.iter().filter(|(_, labels)| !labels.is_empty());
    Some(Summary {
        name,
        labels: pairs.map(|(id, texts)| Some((VersionId::new(id).ok()?, labels(texts)))).collect::<Option<_>>()?,
        tags,
        changed: timestamp(entry.last_changed_date().or(entry.created_date()))?,
        obstacle,
        arn,
    })
}

/// What describe and list say alike about a secret that must not be touched.
struct Signs<'a> {
    arn: &'a Arn,
    deleted: Option<Timestamp>,
    primary_region: Option<&'a str>,
    owning_service: Option<&'a str>,
    partner_type: Option<&'a str>,
    rotation_enabled: Option<bool>,
}

fn obstacle(signs: &Signs<'_>) -> Option<Obstacle> {
    let own_region = signs.arn.as_str().split(':').nth(3);
    let filled = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(date) = signs.deleted {
        return Some(Obstacle::ScheduledForDeletion(date));
    }
    if let Some(primary) = filled(signs.primary_region).filter(|primary| Some(primary.as_str()) != own_region) {
        return Some(Obstacle::Replica { primary });
    }
    if let Some(service) = filled(signs.owning_service) {
        return Some(Obstacle::ManagedBy(service));
    }
    if let Some(partner) = filled(signs.partner_type) {
        return Some(Obstacle::PartnerType(partner));
    }
    (signs.rotation_enabled == Some(true)).then_some(Obstacle::NativeRotation)
}
