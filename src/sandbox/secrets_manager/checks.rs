//! The limits on arguments (Secrets Manager API reference, request parameters; "Quotas").

use super::errors::{self, AwsError};
use super::wire::Tag;

/// The most labels that all versions of a secret may hold together.
pub const STAGE_COUNT_MAX: usize = 20;
/// The most tags of a secret.
pub const TAG_COUNT_MAX: usize = 50;

/// `value`, which the model requires.
///
/// # Errors
/// `ValidationException` when it is missing.
pub fn required<'a, T: ?Sized, O: std::ops::Deref<Target = T>>(
    field: &str,
    value: &'a Option<O>,
) -> Result<&'a T, AwsError> {
    value.as_deref().ok_or_else(|| constraint(field, Some("null"), "Member must not be null"))
}

/// Checks the length in characters.
///
/// # Errors
/// `ValidationException`, with the value cut short in its message as AWS does.
pub fn length(field: &str, value: &str, min: usize, max: usize) -> Result<(), AwsError> {
    let shown: String = value.chars().take(100).collect();
    bounds(field, Some(&format!("'{shown}'")), value.chars().count(), min, max, "length")
}

/// Checks a size without showing what has it.
///
/// # Errors
/// `ValidationException`.
pub fn hidden_size(field: &str, size: usize, min: usize, max: usize) -> Result<(), AwsError> {
    bounds(field, None, size, min, max, "length")
}

/// Checks a number.
///
/// # Errors
/// `ValidationException`.
pub fn number(field: &str, value: i64, min: usize, max: usize) -> Result<usize, AwsError> {
    let shown = format!("'{value}'");
    let size = usize::try_from(value).unwrap_or(0);
    bounds(field, Some(&shown), size, min, max, "value")?;
    Ok(size)
}

/// Checks a label.
///
/// # Errors
/// `ValidationException`.
pub fn stage(value: &str) -> Result<(), AwsError> {
    length("versionStage", value, 1, 256)
}

/// Checks a version id that selects something.
///
/// # Errors
/// `InvalidParameterException`.
pub fn version_id(field: &str, value: &str) -> Result<(), AwsError> {
    if (32..=64).contains(&value.chars().count()) {
        return Ok(());
    }
    Err(errors::invalid_parameter(format!("{field} must be 32-64 characters long.")))
}

/// The token that a call which stores a value must carry.
///
/// # Errors
/// Missing: `InvalidRequestException`. Too short or long: `InvalidParameterException`.
pub fn token(value: Option<&String>) -> Result<&str, AwsError> {
    let token = value.ok_or_else(errors::no_token)?;
    version_id("ClientRequestToken", token)?;
    Ok(token)
}

/// Checks a new secret's name. The service's message also offers `!`, its model does not; names made
/// by AWS's own services have it, so look-ups take it and creations don't.
///
/// # Errors
/// `ValidationException`.
pub fn new_name(name: &str) -> Result<(), AwsError> {
    length("name", name, 1, 512)?;
    if name.contains('!') { Err(bad_name()) } else { name_characters(name) }
}

/// Checks a `SecretId` that is not an ARN.
///
/// # Errors
/// `ValidationException`.
pub fn name_characters(name: &str) -> Result<(), AwsError> {
    let fine = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-/_+=.@!".contains(&byte));
    if fine { Ok(()) } else { Err(bad_name()) }
}

/// Checks tags as they come in; the count together with those that are there is the caller's to check.
///
/// # Errors
/// `ValidationException` for sizes, `InvalidParameterException` for the reserved prefix and duplicates.
pub fn tags(tags: &[Tag]) -> Result<Vec<(String, String)>, AwsError> {
    let mut checked: Vec<(String, String)> = Vec::new();
    for tag in tags {
        let key = required("tags.member.key", &tag.key)?;
        let value = tag.value.as_deref().unwrap_or_default();
        tag_key(key)?;
        length("tags.member.value", value, 0, 256)?;
        if checked.iter().any(|(known, _)| known == key) {
            return Err(errors::invalid_parameter(format!("Duplicate tag keys are not allowed: {key}")));
        }
        checked.push((key.into(), value.into()));
    }
    tag_count(checked.len())?;
    Ok(checked)
}

/// Checks a tag's key.
///
/// # Errors
/// As [`tags`].
pub fn tag_key(key: &str) -> Result<(), AwsError> {
    length("tags.member.key", key, 1, 128)?;
    if key.to_ascii_lowercase().starts_with("aws:") {
        return Err(errors::invalid_parameter("Tag keys that start with aws: are reserved for system use."));
    }
    Ok(())
}

/// Checks how many tags a secret would have.
///
/// # Errors
/// `InvalidParameterException`.
pub fn tag_count(count: usize) -> Result<(), AwsError> {
    if count <= TAG_COUNT_MAX {
        return Ok(());
    }
    Err(errors::invalid_parameter(format!("A secret can have at most {TAG_COUNT_MAX} tags.")))
}

/// Checks a KMS key's name: an alias, an ARN or a key id. The empty text means the default key.
///
/// # Errors
/// `InvalidParameterException`.
pub fn kms_key(key: &str) -> Result<(), AwsError> {
    length("kmsKeyId", key, 0, 2_048)?;
    let id = key.strip_prefix("mrk-").unwrap_or(key);
    let looks_like_id = id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if key.is_empty() || key.starts_with("alias/") || key.starts_with("arn:aws") || looks_like_id {
        return Ok(());
    }
    Err(errors::invalid_parameter("KmsKeyId is not an alias, an ARN or a key id."))
}

/// A broken constraint of the model, in the words of AWS's front layer.
pub fn constraint(field: &str, shown: Option<&str>, rule: &str) -> AwsError {
    let shown = shown.map(|text| format!(" {text}")).unwrap_or_default();
    errors::validation(format!(
        "1 validation error detected: Value{shown} at '{field}' failed to satisfy constraint: {rule}"
    ))
}

fn bounds(field: &str, shown: Option<&str>, size: usize, min: usize, max: usize, what: &str) -> Result<(), AwsError> {
    if size < min {
        let rule = format!("Member must have {what} greater than or equal to {min}");
        return Err(constraint(field, shown, &rule));
    }
    if size > max {
        let rule = format!("Member must have {what} less than or equal to {max}");
        return Err(constraint(field, shown, &rule));
    }
    Ok(())
}

fn bad_name() -> AwsError {
    errors::validation(
        "Invalid name. Must be a valid name containing alphanumeric characters, \
         or any of the following: -/_+=.@!",
    )
}
