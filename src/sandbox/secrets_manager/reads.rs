//! Reading one secret, or twenty: values, metadata, versions.
//!
//! A field without a value is left out of an answer, as the service does it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::checks::{self, required};
use super::errors::{self, AwsError};
use super::list::{Cursor, Paging};
use super::settings::{KeyUse, Opposite};
use super::state::{Call, Content, Secret, State, Version, date};
use super::wire::Request;

const CURRENT: &str = "AWSCURRENT";

impl State {
    pub(super) fn get_secret_value(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let secret_id = required("secretId", &request.secret_id)?;
        let (id, stage) = (request.version_id.as_deref(), request.version_stage.as_deref());
        id.map_or(Ok(()), |id| checks::version_id("VersionId", id))?;
        stage.map_or(Ok(()), checks::stage)?;
        self.value(call, secret_id, id, stage)
    }

    pub(super) fn batch_get_secret_value(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        self.settings.authorize(call, "BatchGetSecretValue", "", "*")?;
        let (secret_ids, next) = match (&request.secret_id_list, &request.filters) {
            (Some(_), Some(_)) | (None, None) => {
                return Err(errors::invalid_parameter("Either SecretIdList or Filters must be provided, not both."));
            }
            (Some(ids), None) => {
                checks::hidden_size("secretIdList", ids.len(), 1, 20)?;
                if request.max_results.is_some() || request.next_token.is_some() {
                    return Err(errors::invalid_parameter("MaxResults and NextToken can only be used with Filters."));
                }
                (ids.clone(), None)
            }
            (None, Some(_)) => {
                let page = self.listed(call, request, 20)?;
                (page.items.iter().map(|secret| secret.arn.clone()).collect(), page.next)
            }
        };
        let (mut values, mut failures) = (Vec::new(), Vec::new());
        for secret_id in &secret_ids {
            match self.value(call, secret_id, None, None) {
                Ok(value) => values.push(value),
                Err(error) => {
                    failures.push(json!({ "SecretId": secret_id, "ErrorCode": error.code, "Message": error.message }))
                }
            }
        }
        let mut answer = json!({ "SecretValues": values, "Errors": failures });
        set(&mut answer, "NextToken", next);
        Ok(answer)
    }

    pub(super) fn describe_secret(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let secret_id = required("secretId", &request.secret_id)?;
        let secret = self.read(call, secret_id, "DescribeSecret")?;
        Ok(described(&secret, "VersionIdsToStages"))
    }

    pub(super) fn list_secret_version_ids(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let secret_id = required("secretId", &request.secret_id)?;
        let secret = self.read(call, secret_id, "ListSecretVersionIds")?;
        let deprecated = request.include_deprecated.unwrap_or(false);
        let hides = self.settings.does(Opposite::DeprecatedUnlisted);
        let paging = Paging::read(request, &format!("{} {deprecated}", secret.arn), 100, &self.settings)?;
        let entries = secret
            .versions
            .iter()
            .enumerate()
            .filter(|(_, version)| (deprecated && !hides) || !version.stages.is_empty())
            // The place breaks ties between versions of one millisecond; pruning may shift it, but only with the date.
            .map(|(place, version)| (Cursor(version.created.millis(), format!("{place:04}")), listed(version)))
            .collect();
        let page = paging.cut(entries, false);
        let mut answer = json!({ "ARN": secret.arn, "Name": secret.name, "Versions": page.items });
        set(&mut answer, "NextToken", page.next);
        Ok(answer)
    }

    fn value(
        &mut self,
        call: &Call,
        secret_id: &str,
        id: Option<&str>,
        stage: Option<&str>,
    ) -> Result<Value, AwsError> {
        let secret = self.read(call, secret_id, "GetSecretValue")?;
        self.settings.authorize_reading(call, id, stage, &secret.arn)?;
        secret.live()?;
        let (version, content) = selected(&secret, id, stage)?;
        self.settings.use_key(version.kms_key.as_deref(), KeyUse::Decrypt)?;
        let mut answer = json!({
            "ARN": secret.arn,
            "Name": secret.name,
            "VersionId": version.id,
            "CreatedDate": date(version.created),
        });
        match content {
            Content::Text(text) => answer["SecretString"] = json!(text),
            Content::Bytes(bytes) => answer["SecretBinary"] = json!(STANDARD.encode(bytes)),
        }
        set(&mut answer, "VersionStages", stages(version));
        self.note_access(call, &secret.name, &version.id);
        Ok(answer)
    }
}

/// The version that both selectors mean, AWSCURRENT's if there are none.
fn selected<'a>(
    secret: &'a Secret,
    id: Option<&str>,
    stage: Option<&str>,
) -> Result<(&'a Version, &'a Content), AwsError> {
    let wanted_stage = stage.unwrap_or(CURRENT);
    let version = match id {
        Some(id) => secret.version(id).ok_or_else(|| errors::no_value_of(id))?,
        None => secret.holder(wanted_stage).ok_or_else(|| errors::no_value_at(wanted_stage))?,
    };
    if id.is_some() && stage.is_some_and(|stage| !version.stages.contains(stage)) {
        return Err(errors::invalid_request(
            "You provided a VersionStage that is not associated to the provided VersionId.",
        ));
    }
    let content = version.content.as_deref().ok_or_else(|| match id {
        Some(id) => errors::no_value_of(id),
        None => errors::no_value_at(wanted_stage),
    })?;
    Ok((version, content))
}

/// A secret's metadata; the field with the labels has another name in a list.
pub(super) fn described(secret: &Secret, stages_field: &str) -> Value {
    let mut answer = json!({
        "ARN": secret.arn,
        "Name": secret.name,
        "CreatedDate": date(secret.created),
        "LastChangedDate": date(secret.changed),
    });
    set(&mut answer, "Type", secret.kind.clone());
    set(&mut answer, "Description", secret.description.clone());
    set(&mut answer, "KmsKeyId", secret.kms_key.clone());
    set(&mut answer, "RotationEnabled", secret.rotation_enabled);
    set(&mut answer, "OwningService", secret.owning_service.clone());
    set(&mut answer, "PrimaryRegion", secret.primary_region.clone());
    set(&mut answer, "LastAccessedDate", secret.accessed.map(date));
    set(&mut answer, "DeletedDate", secret.deleted.map(date));
    let tags = secret.tags.as_ref().map(|tags| {
        let entries = tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value }));
        entries.collect::<Vec<Value>>()
    });
    set(&mut answer, "Tags", tags);
    let labelled: Map<String, Value> =
        secret.versions.iter().filter_map(|version| Some((version.id.clone(), stages(version)?))).collect();
    set(&mut answer, stages_field, Some(labelled).filter(|labelled| !labelled.is_empty()));
    answer
}

/// Sets a field that has a value.
pub(super) fn set(answer: &mut Value, field: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        answer[field] = value.into();
    }
}

fn stages(version: &Version) -> Option<Value> {
    (!version.stages.is_empty()).then(|| json!(version.stages))
}

fn listed(version: &Version) -> Value {
    let key = version.kms_key.as_deref().unwrap_or("DefaultEncryptionKey");
    let mut entry = json!({ "VersionId": version.id, "CreatedDate": date(version.created), "KmsKeyIds": [key] });
    set(&mut entry, "VersionStages", stages(version));
    set(&mut entry, "LastAccessedDate", version.accessed.map(date));
    entry
}
