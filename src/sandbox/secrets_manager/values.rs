//! Storing values and moving labels: the rules a rotation stands on.
//!
//! Three of them carry its safety. A version id is first-writer-wins; a version's content never
//! changes; a label that a version holds is moved only by a caller who names that version.
//! Two are traps that are kept on purpose: a put without stages publishes at once, and the first
//! version of a secret becomes AWSCURRENT whatever stages were asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::checks::{self, STAGE_COUNT_MAX, required};
use super::errors::{self, AwsError};
use super::settings::{KeyUse, Opposite, Settings};
use super::state::{Call, Content, Secret, State, Touched, Version, not_here};
use super::wire::Request;
use crate::model::time::Timestamp;

/// Past this many, versions without labels are pruned (user guide, "Quotas": about 100).
const VERSION_COUNT_KEPT: usize = 100;
/// But not before they are this old.
const VERSION_AGE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Puts are refused past this many. AWS publishes no figure beyond "about 100", but calls a put every
/// ten minutes sustainable, and that makes 144 versions that are too young to prune.
const VERSION_COUNT_MAX: usize = 150;

const CURRENT: &str = "AWSCURRENT";
const PENDING: &str = "AWSPENDING";
const PREVIOUS: &str = "AWSPREVIOUS";

impl State {
    pub(super) fn create_secret(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let name = required("name", &request.name)?;
        checks::new_name(name)?;
        let token = checks::token(request.client_request_token.as_ref())?;
        let description = described(request)?;
        let kms_key = chosen_key(request)?.unwrap_or_default();
        let content = request.content()?;
        let tags = request.tags.as_deref().map(checks::tags).transpose()?;
        let resource = format!("{}{name}", super::state::arn_start(&call.region));
        self.settings.authorize(call, "CreateSecret", name, &resource)?;
        if tags.as_ref().is_some_and(|tags| !tags.is_empty()) {
            self.settings.authorize(call, "TagResource", name, &resource)?;
        }
        if request.add_replica_regions.as_ref().is_some_and(|regions| !regions.is_empty()) {
            return Err(not_here("AddReplicaRegions"));
        }
        let odd_code = self.settings.does(Opposite::NameTakenCode);
        let slot = self.slot(&call.region, name);
        if let Some(secret) = slot.present(call.now) {
            return repeated_create(secret, token, content.as_ref()).map_err(|error| odd(error, odd_code));
        }
        if slot.is_kept(call.now) {
            return Err(errors::name_scheduled());
        }
        if content.is_some() {
            self.settings.use_key(kms_key.as_deref(), KeyUse::Encrypt)?;
        }
        let mut secret = Secret {
            arn: self.new_arn(&call.region, name),
            name: name.to_owned(),
            description,
            kms_key,
            kind: request.kind.clone(),
            rotation_enabled: None,
            owning_service: None,
            primary_region: None,
            tags: tags.filter(|tags| !tags.is_empty()).map(BTreeMap::from_iter),
            policy: None,
            created: call.now,
            changed: call.now,
            accessed: None,
            deleted: None,
            versions: Vec::new(),
        };
        let mut answer = json!({ "ARN": secret.arn, "Name": secret.name });
        if let Some(content) = content {
            secret.add(token, content, &[CURRENT.to_owned()].into(), call.now, &self.settings)?;
            answer["VersionId"] = json!(token);
        }
        self.slot(&call.region, name).replace(call.now, Some(Arc::new(secret)));
        Ok(answer)
    }

    pub(super) fn put_secret_value(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let secret_id = required("secretId", &request.secret_id)?;
        let token = checks::token(request.client_request_token.as_ref())?;
        let mut stages = asked_stages(request)?;
        if self.settings.does(Opposite::LabelsWithoutColons) && stages.iter().any(|stage| stage.contains(':')) {
            return Err(errors::validation("A staging label must not have a colon."));
        }
        if self.settings.does(Opposite::PutsPublish) {
            stages.insert(CURRENT.to_owned());
        }
        let content = request.content()?;
        let secret = self.find(call, secret_id, "PutSecretValue")?;
        secret.writable(call, &self.settings)?;
        let Some(content) = content else {
            return Err(errors::invalid_request("You must provide either SecretString or SecretBinary."));
        };
        let settings = self.settings.clone();
        let secret = self.change(call, &secret, |secret| secret.put(token, content, &stages, call.now, &settings))?;
        let stages = secret.version(token).map(|version| version.stages.clone()).unwrap_or_default();
        Ok(json!({ "ARN": secret.arn, "Name": secret.name, "VersionId": token, "VersionStages": stages }))
    }

    pub(super) fn update_secret(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let secret_id = required("secretId", &request.secret_id)?;
        let content = request.content()?;
        let token = match (&content, &request.client_request_token) {
            (None, None) => None,
            (_, token) => Some(checks::token(token.as_ref())?),
        };
        let description = described(request)?;
        let kms_key = chosen_key(request)?;
        let secret = self.find(call, secret_id, "UpdateSecret")?;
        secret.writable(call, &self.settings)?;
        let settings = self.settings.clone();
        let stores = content.is_some();
        let secret = self.change(call, &secret, |secret| {
            if let Some(description) = description {
                secret.description = Some(description);
            }
            if let Some(kind) = &request.kind {
                secret.kind = Some(kind.clone());
            }
            if let Some(key) = kms_key {
                secret.re_encrypt(key, &settings)?;
            }
            if let (Some(content), Some(token)) = (content, token) {
                // Documented as an error even when the value is the same (API reference, UpdateSecret).
                if secret.version(token).is_some() {
                    return Err(errors::token_taken(token, &secret.arn));
                }
                secret.put(token, content, &[CURRENT.to_owned()].into(), call.now, &settings)?;
            }
            Ok(Touched::Contents)
        })?;
        let mut answer = json!({ "ARN": secret.arn, "Name": secret.name });
        if let (true, Some(token)) = (stores, token) {
            answer["VersionId"] = json!(token);
        }
        Ok(answer)
    }

    pub(super) fn update_secret_version_stage(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let secret_id = required("secretId", &request.secret_id)?;
        let stage = required("versionStage", &request.version_stage)?;
        checks::stage(stage)?;
        let to = request.move_to_version_id.as_deref();
        let from = request.remove_from_version_id.as_deref();
        for (field, id) in [("MoveToVersionId", to), ("RemoveFromVersionId", from)] {
            id.map_or(Ok(()), |id| checks::version_id(field, id))?;
        }
        let secret = self.find(call, secret_id, "UpdateSecretVersionStage")?;
        secret.writable(call, &self.settings)?;
        let settings = self.settings.clone();
        let odd_code = settings.does(Opposite::SwapCode);
        let moved = self.change(call, &secret, |secret| secret.move_stage(stage, from, to, &settings));
        let secret = moved.map_err(|error| odd(error, odd_code))?;
        Ok(json!({ "ARN": secret.arn, "Name": secret.name }))
    }
}

impl Secret {
    /// Stores a version under `token`, unless that very version is there already.
    fn put(
        &mut self,
        token: &str,
        content: Content,
        stages: &BTreeSet<String>,
        now: Timestamp,
        settings: &Settings,
    ) -> Result<Touched, AwsError> {
        if let Some(known) = self.version(token).and_then(|version| version.content.as_deref()) {
            // The labels asked for are not applied again: "succeeds, but does nothing".
            let same = *known == content;
            if !same && !settings.does(Opposite::TokensOverwrite) {
                let odd_code = settings.does(Opposite::TokenTakenCode);
                return Err(odd(errors::token_taken(token, &self.arn), odd_code));
            }
            if same && !settings.does(Opposite::RepeatedLabels) {
                return Ok(Touched::Nothing);
            }
            return self.add(token, content, stages, now, settings).map(|()| Touched::Contents);
        }
        settings.use_key(self.kms_key.as_deref(), KeyUse::Encrypt)?;
        let mut stages = stages.clone();
        if self.holder(CURRENT).is_none() && !settings.does(Opposite::FirstVersionUnpublished) {
            stages.insert(CURRENT.to_owned());
        }
        self.add(token, content, &stages, now, settings)?;
        let published = stages.contains(CURRENT);
        Ok(if published || !settings.does(Opposite::PutsKeepDate) { Touched::Contents } else { Touched::Undated })
    }

    fn add(
        &mut self,
        token: &str,
        content: Content,
        stages: &BTreeSet<String>,
        now: Timestamp,
        settings: &Settings,
    ) -> Result<(), AwsError> {
        let content = Some(Arc::new(content));
        match self.versions.iter_mut().find(|version| version.id == token) {
            // An id without a value, made by the service's rotation: the value arrives now.
            Some(version) => version.content = content,
            None => self.versions.push(Version {
                id: token.to_owned(),
                content,
                stages: BTreeSet::new(),
                created: now,
                accessed: None,
                kms_key: self.kms_key.clone(),
            }),
        }
        for stage in stages {
            self.attach(stage, token, settings);
        }
        self.check_stage_count(settings)?;
        self.prune(now);
        if self.versions.len() > VERSION_COUNT_MAX {
            return Err(errors::limit("The secret has reached the maximum number of versions."));
        }
        Ok(())
    }

    fn move_stage(
        &mut self,
        stage: &str,
        from: Option<&str>,
        to: Option<&str>,
        settings: &Settings,
    ) -> Result<Touched, AwsError> {
        let ignores_from = from.is_some()
            && settings.does(if to.is_some() { Opposite::SwapsIgnoreFrom } else { Opposite::DetachesIgnoreFrom });
        let needs_from = !settings.does(Opposite::SwapsNeedNoFrom);
        let holder = self.holder(stage).map(|version| version.id.clone());
        match (from, to) {
            (None, None) => {
                return Err(errors::invalid_parameter(
                    "You must provide MoveToVersionId, RemoveFromVersionId, or both.",
                ));
            }
            (Some(_), None) if stage == CURRENT => {
                return Err(errors::invalid_parameter(
                    "You can only move staging label AWSCURRENT to a different secret version. \
                     It can't be completely removed.",
                ));
            }
            (_, Some(to)) if self.version(to).is_none() => return Err(errors::no_value_of(to)),
            (Some(from), _) if holder.as_deref() != Some(from) && !ignores_from => {
                return Err(lost_swap(stage, holder.as_deref()));
            }
            (None, Some(to)) if needs_from && holder.as_ref().is_some_and(|holder| holder != to) => {
                return Err(lost_swap(stage, holder.as_deref()));
            }
            (_, Some(to)) if holder.as_deref() == Some(to) => return Ok(Touched::Nothing),
            (_, Some(to)) => self.attach(stage, to, settings),
            (Some(_), None) => self.detach(stage),
        }
        self.check_stage_count(settings)?;
        Ok(Touched::Labels)
    }

    /// Puts `stage` on the version `id`, away from whichever holds it. When AWSCURRENT leaves a
    /// version, AWSPREVIOUS comes to it; AWSPENDING and all others stay where they are.
    fn attach(&mut self, stage: &str, id: &str, settings: &Settings) {
        let left = self.holder(stage).map(|version| version.id.clone()).filter(|left| left != id);
        self.detach(stage);
        if let Some(left) = left.filter(|_| stage == CURRENT && !settings.does(Opposite::PreviousStays)) {
            self.attach(PREVIOUS, &left, settings);
        }
        if stage == CURRENT && settings.does(Opposite::PendingGoes) {
            self.detach(PENDING);
        }
        if let Some(version) = self.versions.iter_mut().find(|version| version.id == id) {
            version.stages.insert(stage.to_owned());
        }
    }

    fn detach(&mut self, stage: &str) {
        for version in &mut self.versions {
            version.stages.remove(stage);
        }
    }

    fn check_stage_count(&self, settings: &Settings) -> Result<(), AwsError> {
        let count: usize = self.versions.iter().map(|version| version.stages.len()).sum();
        let most = if settings.does(Opposite::FewLabels) { STAGE_COUNT_MAX / 2 } else { STAGE_COUNT_MAX };
        if count <= most {
            return Ok(());
        }
        Err(errors::limit(format!("A secret can have at most {most} staging labels over all its versions.")))
    }

    fn prune(&mut self, now: Timestamp) {
        let mut excess = self.versions.len().saturating_sub(VERSION_COUNT_KEPT);
        self.versions.retain(|version| {
            let prunable = version.stages.is_empty() && now.since(version.created) > VERSION_AGE_KEPT;
            let pruned = prunable && excess > 0;
            excess -= usize::from(pruned);
            !pruned
        });
    }

    /// Goes over to another key. Only the versions with AWS's own labels follow.
    fn re_encrypt(&mut self, key: Option<String>, settings: &Settings) -> Result<(), AwsError> {
        if key == self.kms_key {
            return Ok(());
        }
        settings.use_key(key.as_deref(), KeyUse::Encrypt)?;
        for version in &mut self.versions {
            if [CURRENT, PENDING, PREVIOUS].iter().any(|stage| version.stages.contains(*stage)) {
                settings.use_key(version.kms_key.as_deref(), KeyUse::Decrypt)?;
                version.kms_key.clone_from(&key);
            }
        }
        self.kms_key = key;
        Ok(())
    }
}

/// The refusal, under a code that nobody expects if it `is_odd`.
fn odd(error: AwsError, is_odd: bool) -> AwsError {
    if is_odd { errors::invalid_request(error.message) } else { error }
}

/// A create whose name is taken: fine if it is the repetition of the very call that made the secret.
fn repeated_create(secret: &Secret, token: &str, content: Option<&Content>) -> Result<Value, AwsError> {
    if secret.deleted.is_some() {
        return Err(errors::name_scheduled());
    }
    let known = secret.version(token).and_then(|version| version.content.as_deref());
    match (known, content) {
        (Some(known), Some(content)) if known == content => {
            Ok(json!({ "ARN": secret.arn, "Name": secret.name, "VersionId": token }))
        }
        (Some(_), Some(_)) => Err(errors::token_taken(token, &secret.arn)),
        (None | Some(_), _) => Err(errors::name_taken(&secret.name)),
    }
}

fn lost_swap(stage: &str, holder: Option<&str>) -> AwsError {
    errors::invalid_parameter(match holder {
        Some(holder) => format!(
            "Staging label {stage} is currently attached to version {holder}, \
             so you must explicitly reference that version in RemoveFromVersionId."
        ),
        None => format!("Staging label {stage} is not attached to the version in RemoveFromVersionId."),
    })
}

fn described(request: &Request) -> Result<Option<String>, AwsError> {
    let description = request.description.clone();
    description.as_deref().map_or(Ok(()), |text| checks::length("description", text, 0, 2_048))?;
    Ok(description)
}

/// The key asked for: the outer none if none was, the inner one for the default key.
fn chosen_key(request: &Request) -> Result<Option<Option<String>>, AwsError> {
    let Some(key) = &request.kms_key_id else { return Ok(None) };
    checks::kms_key(key)?;
    Ok(Some(Some(key.clone()).filter(|key| !key.is_empty())))
}

fn asked_stages(request: &Request) -> Result<BTreeSet<String>, AwsError> {
    let Some(stages) = &request.version_stages else { return Ok([CURRENT.to_owned()].into()) };
    checks::hidden_size("versionStages", stages.len(), 1, STAGE_COUNT_MAX)?;
    stages.iter().try_for_each(|stage| checks::stage(stage))?;
    Ok(stages.iter().cloned().collect())
}
