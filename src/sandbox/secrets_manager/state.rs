//! The secrets of the account, Region by Region, and how a call finds one.
//!
//! A pure state machine: time comes in with the call, randomness from the seed. The rules of each
//! operation are in `values`, `reads`, `list`, `lifecycle`; this file holds what they share. A
//! change works on a copy that replaces the secret only when every rule was met, so a refused call
//! changes nothing, and the replaced copies are what stale reads are answered from.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::checks;
use super::errors::{self, AwsError};
use super::operation::Operation;
use super::settings::{ACCOUNT, Opposite, Settings};
use super::wire::Request;
use crate::model::time::Timestamp;

/// How old an answer may be (API reference, ListSecrets: "eventually consistent", up to five minutes).
pub const STALE_MAX: Duration = Duration::from_secs(5 * 60);

/// Who calls, where and when.
#[derive(Clone, Debug)]
pub struct Call {
    /// The Region called.
    pub region: String,
    /// The caller's access key id.
    pub access_key: String,
    /// The service's time.
    pub now: Timestamp,
    /// Whether a read is to be answered from an older state.
    pub stale: bool,
}

/// What a version holds. No `Debug`: it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// `SecretString`.
    Text(String),
    /// `SecretBinary`.
    Bytes(Vec<u8>),
}

/// One version. Its content never changes; its labels do.
#[derive(Clone)]
pub struct Version {
    /// The token of the call that made it.
    pub id: String,
    /// None for an id that the service's own rotation has made before there is a value.
    pub content: Option<Arc<Content>>,
    /// Its labels, in order.
    pub stages: BTreeSet<String>,
    /// When it was made.
    pub created: Timestamp,
    /// The day of the last read.
    pub accessed: Option<Timestamp>,
    /// The key it is encrypted with; none for the default key.
    pub kms_key: Option<String>,
}

/// One secret.
#[derive(Clone)]
pub struct Secret {
    /// With the random suffix.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// None for the account's default key.
    pub kms_key: Option<String>,
    /// The partner type of a managed external secret.
    pub kind: Option<String>,
    /// Whether the service rotates it.
    pub rotation_enabled: Option<bool>,
    /// The AWS service that manages it.
    pub owning_service: Option<String>,
    /// The Region it is a replica of, or its own.
    pub primary_region: Option<String>,
    /// None if it was never tagged: the answers tell that from "all tags removed".
    pub tags: Option<BTreeMap<String, String>>,
    /// Resource policy.
    pub policy: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed.
    pub changed: Timestamp,
    /// The day of the last read.
    pub accessed: Option<Timestamp>,
    /// When it will be gone, if a deletion is scheduled.
    pub deleted: Option<Timestamp>,
    /// In the order in which they were made.
    pub versions: Vec<Version>,
}

/// What a change moved, for `LastChangedDate`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touched {
    /// Nothing at all.
    Nothing,
    /// Only labels or tags.
    Labels,
    /// Something, but the date is to stay as it is.
    Undated,
    /// A value, the description, the key, …
    Contents,
}

/// Everything the service knows.
pub struct State {
    /// How it behaves.
    pub settings: Settings,
    seed: u64,
    pub(super) dice: fastrand::Rng,
    pub(super) regions: BTreeMap<String, BTreeMap<String, Slot>>,
}

/// A name in a Region: the secret that has it now, and what was there before.
#[derive(Default)]
pub(super) struct Slot {
    present: Option<Arc<Secret>>,
    past: VecDeque<(Timestamp, Option<Arc<Secret>>)>,
    made_count: u64,
    taken_until: Timestamp,
}

impl State {
    /// No secrets; ARN suffixes, passwords and stale moments come from `seed`.
    pub fn new(seed: u64) -> Self {
        let dice = fastrand::Rng::with_seed(seed);
        Self { settings: Settings::default(), seed, dice, regions: BTreeMap::new() }
    }

    /// Does one call.
    ///
    /// # Errors
    /// The service's refusal; nothing has changed then.
    pub fn perform(&mut self, call: &Call, operation: Operation, request: &Request) -> Result<Value, AwsError> {
        match operation {
            Operation::BatchGetSecretValue => self.batch_get_secret_value(call, request),
            Operation::CreateSecret => self.create_secret(call, request),
            Operation::DeleteResourcePolicy => self.delete_resource_policy(call, request),
            Operation::DeleteSecret => self.delete_secret(call, request),
            Operation::DescribeSecret => self.describe_secret(call, request),
            Operation::GetRandomPassword => self.get_random_password(call, request),
            Operation::GetResourcePolicy => self.get_resource_policy(call, request),
            Operation::GetSecretValue => self.get_secret_value(call, request),
            Operation::ListSecretVersionIds => self.list_secret_version_ids(call, request),
            Operation::ListSecrets => self.list_secrets(call, request),
            Operation::PutResourcePolicy => self.put_resource_policy(call, request),
            Operation::PutSecretValue => self.put_secret_value(call, request),
            Operation::RestoreSecret => self.restore_secret(call, request),
            Operation::TagResource => self.tag_resource(call, request),
            Operation::UntagResource => self.untag_resource(call, request),
            Operation::UpdateSecret => self.update_secret(call, request),
            Operation::UpdateSecretVersionStage => self.update_secret_version_stage(call, request),
            Operation::ValidateResourcePolicy => self.validate_resource_policy(call, request),
            Operation::CancelRotateSecret
            | Operation::RemoveRegionsFromReplication
            | Operation::ReplicateSecretToRegions
            | Operation::RotateSecret
            | Operation::StopReplicationToReplica => Err(not_here(operation.name())),
        }
    }

    /// The secret that `secret_id` means, checked against the deny list for `action`.
    pub(super) fn find(&self, call: &Call, secret_id: &str, action: &str) -> Result<Arc<Secret>, AwsError> {
        let (name, found) = self.resolve(call, secret_id, None)?;
        let resource = found.as_ref().map_or(secret_id, |secret| secret.arn.as_str());
        self.settings.authorize(call, action, &name, resource)?;
        found.ok_or_else(errors::no_secret)
    }

    /// The same for a read, which a fault may have answered from the past.
    pub(super) fn read(&mut self, call: &Call, secret_id: &str, action: &str) -> Result<Arc<Secret>, AwsError> {
        if !call.stale {
            return self.find(call, secret_id, action);
        }
        let (name, _) = self.resolve(call, secret_id, None)?;
        self.settings.authorize(call, action, &name, secret_id)?;
        let moment = self.stale_moment(call, Some(&name));
        self.resolve(call, secret_id, moment)?.1.ok_or_else(errors::no_secret)
    }

    /// Changes a secret: `edit` works on a copy that takes its place only if all went well.
    pub(super) fn change(
        &mut self,
        call: &Call,
        secret: &Arc<Secret>,
        edit: impl FnOnce(&mut Secret) -> Result<Touched, AwsError>,
    ) -> Result<Arc<Secret>, AwsError> {
        let mut copy = Secret::clone(secret);
        let moves_date = match edit(&mut copy)? {
            Touched::Nothing => return Ok(Arc::clone(secret)),
            Touched::Labels => self.settings.labels_move_last_changed,
            Touched::Undated => false,
            Touched::Contents => true,
        };
        if moves_date {
            copy.changed = call.now;
        }
        let copy = Arc::new(copy);
        self.slot(&call.region, &copy.name).replace(call.now, Some(Arc::clone(&copy)));
        Ok(copy)
    }

    /// Notes a read: day precision, and no change that a stale read could come before.
    pub(super) fn note_access(&mut self, call: &Call, name: &str, version: &str) {
        let day = Timestamp::from_seconds(call.now.seconds().div_euclid(86_400) * 86_400);
        let Some(secret) = self.slot(&call.region, name).present.as_mut() else { return };
        let known = secret.version(version).is_none_or(|version| version.accessed == Some(day));
        if known && secret.accessed == Some(day) {
            return;
        }
        let secret = Arc::make_mut(secret);
        secret.accessed = Some(day);
        if let Some(version) = secret.versions.iter_mut().find(|known| known.id == version) {
            version.accessed = Some(day);
        }
    }

    /// The moment in the past that a stale read is answered from: within the last five minutes, and
    /// before a change (of `name`, or of any secret) if there was one. None if there was none.
    pub(super) fn stale_moment(&mut self, call: &Call, name: Option<&str>) -> Option<Timestamp> {
        let oldest = call.now.minus(STALE_MAX);
        let slots = self.regions.get(&call.region)?;
        let changes: Vec<Timestamp> = slots
            .iter()
            .filter(|(known, _)| name.is_none_or(|name| name == known.as_str()))
            .flat_map(|(_, slot)| slot.past.iter().map(|(until, _)| *until))
            .filter(|until| *until > oldest)
            .collect();
        let change = changes.get(self.dice.usize(..changes.len().max(1)))?;
        Some(change.minus(Duration::from_millis(1)))
    }

    /// The secrets of a Region, as of a moment in the past or now.
    pub(super) fn secrets(&self, call: &Call, moment: Option<Timestamp>) -> Vec<Arc<Secret>> {
        let slots = self.regions.get(&call.region).into_iter().flat_map(BTreeMap::values);
        slots.filter_map(|slot| slot.at(call.now, moment)).cloned().collect()
    }

    pub(super) fn slot(&mut self, region: &str, name: &str) -> &mut Slot {
        self.regions.entry(region.to_owned()).or_default().entry(name.to_owned()).or_default()
    }

    /// A new secret's ARN: same seed, same Region, same name, same attempt - same suffix, whatever
    /// else happened before.
    pub(super) fn new_arn(&mut self, region: &str, name: &str) -> String {
        let seed = self.seed;
        let slot = self.slot(region, name);
        slot.made_count += 1;
        let mut dice = fastrand::Rng::with_seed(seed ^ digest(&format!("{region} {name} {}", slot.made_count)));
        let suffix: String = (0..6).map(|_| dice.alphanumeric()).collect();
        format!("{}{name}-{suffix}", arn_start(region))
    }

    /// The name that `secret_id` means, and the secret if there is one at that moment.
    fn resolve(
        &self,
        call: &Call,
        secret_id: &str,
        moment: Option<Timestamp>,
    ) -> Result<(String, Option<Arc<Secret>>), AwsError> {
        checks::length("secretId", secret_id, 1, 2_048)?;
        let slots = self.regions.get(&call.region);
        let at = |name: &str| slots.and_then(|slots| slots.get(name)).and_then(|slot| slot.at(call.now, moment));
        if !secret_id.starts_with("arn:") {
            checks::name_characters(secret_id)?;
            return Ok((secret_id.to_owned(), at(secret_id).cloned()));
        }
        let parts: Vec<&str> = secret_id.splitn(7, ':').collect();
        let ["arn", _, "secretsmanager", region, account, "secret", rest] = parts[..] else {
            return Err(errors::validation("Invalid ARN. Must be the ARN of a secret."));
        };
        checks::name_characters(rest)?;
        if account != ACCOUNT {
            let text = format!(
                "User: {} is not authorized to perform this on resource: {secret_id} because no resource-based \
                 policy allows it",
                super::settings::user_arn(&call.access_key),
            );
            return Err(AwsError::new("AccessDeniedException", text));
        }
        if region != call.region {
            return Ok((rest.to_owned(), None));
        }
        // An ARN that ends in a hyphen and six characters is taken for a complete one. A partial ARN
        // of a name that itself ends so is therefore not found (user guide, "Finding a secret from a partial ARN").
        match split_suffix(rest) {
            Some(name) => Ok((name.to_owned(), at(name).filter(|secret| secret.arn == secret_id).cloned())),
            None => Ok((rest.to_owned(), at(rest).cloned())),
        }
    }
}

impl Slot {
    /// The secret at `moment` (none for the present), unless its deletion date has passed by `now`.
    fn at(&self, now: Timestamp, moment: Option<Timestamp>) -> Option<&Arc<Secret>> {
        let then = moment.and_then(|moment| self.past.iter().find(|(until, _)| *until > moment));
        let secret = match then {
            Some((_, secret)) => secret.as_ref(),
            None => self.present.as_ref(),
        };
        secret.filter(|secret| secret.deleted.is_none_or(|date| date > now))
    }

    pub(super) fn present(&self, now: Timestamp) -> Option<&Arc<Secret>> {
        self.at(now, None)
    }

    pub(super) fn replace(&mut self, now: Timestamp, secret: Option<Arc<Secret>>) {
        let before = std::mem::replace(&mut self.present, secret);
        self.past.push_back((now, before));
        let oldest = now.minus(STALE_MAX);
        while self.past.front().is_some_and(|(until, _)| *until < oldest) {
            self.past.pop_front();
        }
    }

    pub(super) fn keep_taken(&mut self, until: Timestamp) {
        self.taken_until = until;
    }

    pub(super) fn is_kept(&self, now: Timestamp) -> bool {
        self.taken_until > now
    }
}

impl Secret {
    /// The version of this id.
    pub fn version(&self, id: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// The version that holds `stage`.
    pub fn holder(&self, stage: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.stages.contains(stage))
    }

    /// Refuses a secret that is scheduled for deletion.
    pub(super) fn live(&self) -> Result<(), AwsError> {
        if self.deleted.is_some() { Err(errors::scheduled()) } else { Ok(()) }
    }

    /// Refuses a secret whose value is not the caller's to write.
    pub(super) fn writable(&self, call: &Call, settings: &Settings) -> Result<(), AwsError> {
        if !settings.does(Opposite::ScheduledWrites) {
            self.live()?;
        }
        if self.owning_service.is_some() {
            return Err(errors::invalid_request(
                "The secret is managed by another service, and you must use that service to update it.",
            ));
        }
        if self.primary_region.as_ref().is_some_and(|region| *region != call.region) {
            return Err(errors::invalid_request(
                "Operation not permitted on a replica secret. Call must be made in primary secret's region.",
            ));
        }
        Ok(())
    }
}

/// A date as the JSON 1.1 protocol has it: seconds since the epoch, with a fraction.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of any real date fit in 53 bits")]
pub(super) fn date(time: Timestamp) -> Value {
    json!(time.millis() as f64 / 1000.0)
}

pub(super) fn not_here(what: &str) -> AwsError {
    errors::invalid_request(format!("The sandbox does not do {what}; set what it would show over the control port."))
}

pub(super) fn arn_start(region: &str) -> String {
    format!("arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:")
}

/// A number for a text that is the same on every machine and in every build (FNV-1a, 64 bits).
pub(super) fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn split_suffix(text: &str) -> Option<&str> {
    let (name, suffix) = text.rsplit_once('-')?;
    (!name.is_empty() && suffix.len() == 6 && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(name)
}
