//! The life of a secret around its values: tags, scheduled deletion, restoring, passwords.

use std::time::Duration;

use serde_json::{Value, json};

use super::checks::{self, required};
use super::errors::{self, AwsError};
use super::settings::{Opposite, not_authorized};
use super::state::{Call, State, Touched, arn_start, date};
use super::wire::Request;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl State {
    pub(super) fn tag_resource(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let secret_id = required("secretId", &request.secret_id)?;
        let tags = checks::tags(required("tags", &request.tags)?)?;
        let secret = self.find(call, secret_id, "TagResource")?;
        secret.live()?;
        self.change(call, &secret, |secret| {
            let own = secret.tags.get_or_insert_default();
            own.extend(tags);
            checks::tag_count(own.len())?;
            Ok(Touched::Labels)
        })?;
        Ok(json!({}))
    }

    pub(super) fn untag_resource(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let secret_id = required("secretId", &request.secret_id)?;
        let keys = required("tagKeys", &request.tag_keys)?;
        keys.iter().try_for_each(|key| checks::tag_key(key))?;
        let secret = self.find(call, secret_id, "UntagResource")?;
        secret.live()?;
        self.change(call, &secret, |secret| {
            let Some(own) = secret.tags.as_mut() else { return Ok(Touched::Nothing) };
            let before = own.len();
            own.retain(|key, _| !keys.contains(key));
            Ok(if own.len() == before { Touched::Nothing } else { Touched::Labels })
        })?;
        Ok(json!({}))
    }

    pub(super) fn delete_secret(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let secret_id = required("secretId", &request.secret_id)?;
        let is_forced = request.force_delete_without_recovery.unwrap_or(false);
        if is_forced && request.recovery_window_in_days.is_some() {
            return Err(errors::invalid_parameter(
                "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
            ));
        }
        let days = match request.recovery_window_in_days {
            None => 30,
            Some(days @ 7..=30) => u32::try_from(days).expect("7 to 30"),
            Some(_) => {
                return Err(errors::invalid_parameter(
                    "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).",
                ));
            }
        };
        let found = self.find(call, secret_id, "DeleteSecret");
        if is_forced && self.settings.does(Opposite::ForcedDeletionDenied) {
            return Err(not_authorized(call, "DeleteSecret", secret_id));
        }
        if is_forced {
            return match found {
                Ok(secret) => Ok(self.force_delete(call, &secret.name, &secret.arn)),
                Err(error) if error == errors::no_secret() => Ok(force_deleted(call, secret_id)),
                Err(error) => Err(error),
            };
        }
        let secret = found?;
        secret.writable(call, &self.settings)?;
        let gone = call.now.plus(DAY * days);
        let secret = self.change(call, &secret, |secret| {
            secret.deleted = Some(gone);
            Ok(Touched::Contents)
        })?;
        Ok(json!({ "ARN": secret.arn, "Name": secret.name, "DeletionDate": date(gone) }))
    }

    pub(super) fn restore_secret(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        let secret_id = required("secretId", &request.secret_id)?;
        let secret = self.find(call, secret_id, "RestoreSecret")?;
        let secret = self.change(call, &secret, |secret| {
            Ok(if secret.deleted.take().is_some() { Touched::Contents } else { Touched::Nothing })
        })?;
        Ok(json!({ "ARN": secret.arn, "Name": secret.name }))
    }

    pub(super) fn get_random_password(&mut self, call: &Call, request: &Request) -> Result<Value, AwsError> {
        self.settings.authorize(call, "GetRandomPassword", "", "*")?;
        let length = checks::number("passwordLength", request.password_length.unwrap_or(32), 1, 4_096)?;
        let excluded = request.exclude_characters.as_deref().unwrap_or_default();
        checks::hidden_size("excludeCharacters", excluded.len(), 0, 4_096)?;
        let wanted = |flag: Option<bool>| !flag.unwrap_or(false);
        let kinds = [
            (wanted(request.exclude_lowercase), "abcdefghijklmnopqrstuvwxyz"),
            (wanted(request.exclude_uppercase), "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
            (wanted(request.exclude_numbers), "0123456789"),
            (wanted(request.exclude_punctuation), r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##),
            (request.include_space.unwrap_or(false), " "),
        ];
        let kinds: Vec<Vec<char>> = kinds
            .into_iter()
            .filter(|(is_wanted, _)| *is_wanted)
            .map(|(_, kind)| kind.chars().filter(|c| !excluded.contains(*c)).collect())
            .filter(|kind: &Vec<char>| !kind.is_empty())
            .collect();
        let each = request.require_each_included_type.unwrap_or(true);
        if kinds.is_empty() || (each && length < kinds.len()) {
            return Err(errors::invalid_parameter("No password of that length and those characters is possible."));
        }
        let all = kinds.concat();
        let draw = |dice: &mut fastrand::Rng, from: &[char]| from[dice.usize(..from.len())];
        let mut password: Vec<char> =
            if each { kinds.iter().map(|kind| draw(&mut self.dice, kind)).collect() } else { Vec::new() };
        while password.len() < length {
            password.push(draw(&mut self.dice, &all));
        }
        self.dice.shuffle(&mut password);
        Ok(json!({ "RandomPassword": password.into_iter().collect::<String>() }))
    }

    /// Gone at once; the name comes free a little later, as the service's own deletion is asynchronous.
    fn force_delete(&mut self, call: &Call, name: &str, arn: &str) -> Value {
        let until = call.now.plus(Duration::from_millis(self.settings.force_delete_lingers_ms));
        let slot = self.slot(&call.region, name);
        slot.replace(call.now, None);
        slot.keep_taken(until);
        json!({ "ARN": arn, "Name": name, "DeletionDate": date(call.now) })
    }
}

/// The answer to a forced deletion of a secret that isn't there, which is no error.
fn force_deleted(call: &Call, secret_id: &str) -> Value {
    let start = arn_start(&call.region);
    let name = secret_id.strip_prefix(&start).unwrap_or(secret_id);
    json!({ "ARN": format!("{start}{name}"), "Name": name, "DeletionDate": date(call.now) })
}
