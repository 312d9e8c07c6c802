//! What the control port sees and sets: everything but values, and the fields that AWS itself sets.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::state::{Secret, State, Version};
use crate::model::time::Timestamp;

/// Fields of a secret that no call of a customer sets; what is left out stays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forced {
    /// Its Region.
    pub region: String,
    /// Its name.
    pub name: String,
    /// As if the service rotated it.
    pub rotation_enabled: Option<bool>,
    /// As if an AWS service managed it.
    pub owning_service: Option<String>,
    /// As if it were a managed external secret.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// As if it were a replica, if this is another Region.
    pub primary_region: Option<String>,
    /// A version id with AWSPENDING and no value yet, as the service's own rotation makes one first.
    pub pending_without_value: Option<String>,
}

impl State {
    /// Whether the secret is there.
    pub fn has(&self, forced: &Forced, now: Timestamp) -> bool {
        self.present(&forced.region, &forced.name, now).is_some()
    }

    /// Sets the fields of a secret; nothing if it is not there. `LastChangedDate` stays.
    pub fn force(&mut self, forced: &Forced, now: Timestamp) {
        let Some(secret) = self.present(&forced.region, &forced.name, now) else { return };
        let mut secret = Secret::clone(secret);
        secret.rotation_enabled = forced.rotation_enabled.or(secret.rotation_enabled);
        secret.owning_service = forced.owning_service.clone().or(secret.owning_service);
        secret.kind = forced.kind.clone().or(secret.kind);
        secret.primary_region = forced.primary_region.clone().or(secret.primary_region);
        if let Some(id) = &forced.pending_without_value {
            let pending = "AWSPENDING".to_owned();
            for version in &mut secret.versions {
                version.stages.remove(&pending);
            }
            secret.versions.push(Version {
                id: id.clone(),
                content: None,
                stages: BTreeSet::from([pending]),
                created: now,
                accessed: None,
                kms_key: secret.kms_key.clone(),
            });
        }
        self.slot(&forced.region, &forced.name).replace(now, Some(Arc::new(secret)));
    }

    /// All secrets by Region, without a single value.
    pub fn overview(&self, now: Timestamp) -> Value {
        let regions = self.regions.iter().map(|(region, slots)| {
            let secrets = slots.values().filter_map(|slot| slot.present(now)).map(|secret| shown(secret));
            (region.clone(), Value::Array(secrets.collect()))
        });
        Value::Object(regions.collect::<Map<_, _>>())
    }

    /// The secret of this name, with its values: for whoever judges what was done to it.
    pub fn present(&self, region: &str, name: &str, now: Timestamp) -> Option<&Arc<Secret>> {
        self.regions.get(region)?.get(name)?.present(now)
    }
}

fn shown(secret: &Secret) -> Value {
    let date = |time: Timestamp| time.to_string();
    let versions: Vec<Value> = secret
        .versions
        .iter()
        .map(|version| {
            json!({
                "id": version.id,
                "stages": version.stages,
                "created": date(version.created),
                "has_value": version.content.is_some(),
                "kms_key": version.kms_key,
            })
        })
        .collect();
    json!({
        "name": secret.name,
        "arn": secret.arn,
        "tags": secret.tags,
        "created": date(secret.created),
        "changed": date(secret.changed),
        "gone_at": secret.deleted.map(date),
        "versions": versions,
    })
}
