//! What is held and what a person can do about it: for `resume`, `rollback` and `explain`.

use serde_json::{Value, json};

use crate::engine::person::Glance;
use crate::model::credential::Credential;
use crate::model::label::{Label, Tracked};
use crate::model::time::{Timestamp, human};
use crate::rotation::Reason;
use crate::rotation::person;
use crate::rotation::view::{Accepted, Secret, Version};

/// What is held, what accepting would mean, and the ways on, a line each.
pub fn told(reason: Reason, glance: &Glance, credential: &Credential) -> String {
    let mut lines = vec![format!("held: {reason}")];
    let secret = glance.view.secret.as_ref();
    let current = secret.and_then(|secret| secret.with(&Label::Current));
    let other = secret.and_then(|secret| secret.with(&Label::Previous));
    if let Some(current) = current {
        lines.push(format!("  current:   {}", shown(current)));
    }
    if let Some(other) = other {
        let word = if reason == Reason::RolledBack { "newer:    " } else { "previous: " };
        lines.push(format!("  {word} {}", shown(other)));
    }
    let name = &credential.name;
    match (meaning(reason, credential), current) {
        (Some(meaning), Some(current)) => {
            lines.push(format!("  accepting the current version means: {meaning}"));
            lines.push(format!("  to accept: keyferry resume {name} --accept {}", current.id));
            match person::back(secret, None, &credential.policy) {
                Ok(back) if back.forward => {
                    lines.push(format!("  otherwise: keyferry rollback {name}   (forward again, to {})", back.to));
                }
                Ok(back) => lines.push(format!("  otherwise: keyferry rollback {name}   (back to {})", back.to)),
                Err(_) => {}
            }
        }
        (None, _) | (_, None) => {
            if let Some(hint) = reason.hint() {
                lines.push(format!("  what to do: {}", hint.replace("<name>", name.as_str())));
            }
        }
    }
    lines.join("\n")
}

/// The same for machines.
pub fn facts(reason: Reason, glance: &Glance, credential: &Credential) -> Value {
    let secret = glance.view.secret.as_ref();
    let id = |label: &Label| secret.and_then(|secret| secret.with(label)).map(|version| version.id.to_string());
    json!({
        "reason": reason.code(),
        "sentence": reason.sentence(),
        "current": id(&Label::Current),
        "previous": id(&Label::Previous),
        "acceptable": meaning(reason, credential).is_some(),
    })
}

/// What accepting the current version would do; `None` where it would not help.
fn meaning(reason: Reason, credential: &Credential) -> Option<String> {
    let overlap = human(credential.policy.overlap);
    match reason {
        Reason::RolledBack => Some(format!(
            "consumers keep what is current now; the newer credential is ended after the overlap ({overlap}); the \
             calendar counts from the age of the current one"
        )),
        Reason::ForeignCurrent => Some(format!(
            "a value that keyferry neither made nor tried counts as good, and is replaced when its age is due; \
             keyferry's own older credential is ended after the overlap ({overlap}), the accepted one never"
        )),
        _ => None,
    }
}

/// The current version as if it had just been accepted.
pub fn accepted(secret: &Secret, now: Timestamp) -> Option<Accepted> {
    let version = secret.with(&Label::Current)?.id.clone();
    Some(Accepted { version, at: Some(now) })
}

/// A version in a few words.
pub fn shown(version: &Version) -> String {
    let made = version.created;
    match version.lease().map(|lease| &lease.tracked) {
        Some(Tracked::Plain(id)) => format!("{} of {made}, credential `{id}`", version.id),
        Some(Tracked::Hashed(_)) => format!("{} of {made}, a credential of keyferry's", version.id),
        None => format!("{} of {made}, not published by keyferry or no longer alive", version.id),
    }
}
