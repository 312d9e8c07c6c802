//! One call to AWS, and how its failures are worded; what they mean is `classify`'s business.

use std::error::Error;

use super::signing::Seen;
use crate::model::fault::{Class, Fault};

/// What losing the answer means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// Nothing: ask again.
    Read,
    /// That nobody knows whether it was applied.
    Write,
}

/// One call, for its messages.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// As in an IAM action: `secretsmanager:PutSecretValue`.
    pub(super) action: &'static str,
    pub(super) effect: Effect,
    /// What is being tried, for whom.
    pub(super) doing: String,
    /// Whether it is signed with the moment of a look, so that AWS refusing the signature for its
    /// age means: look again. A put of a value is not among them, whatever its signature: there
    /// `Taken` says that another value is in the slot, and what was made for it gets revoked.
    pub(super) looked: bool,
}

impl Call {
    pub(super) fn read(action: &'static str, doing: impl Into<String>) -> Self {
        Self { action, effect: Effect::Read, doing: doing.into(), looked: false }
    }

    pub(super) fn write(action: &'static str, doing: impl Into<String>) -> Self {
        Self { action, effect: Effect::Write, doing: doing.into(), looked: false }
    }

    /// A write that was decided on a look and is signed with its moment.
    pub(super) fn after_look(action: &'static str, doing: impl Into<String>) -> Self {
        Self { looked: true, ..Self::write(action, doing) }
    }

    pub(super) fn fault(&self, class: Class, answer: impl Into<String>) -> Fault {
        Fault::new(class, self.doing.clone(), answer)
    }

    /// The SDK panicked. Before sending that is a mistake of the set-up which will not heal.
    pub(super) fn panicked(&self, seen: &Seen) -> Fault {
        let answer = "the AWS SDK could not handle something that it was given";
        match seen.sent_at {
            None => self.fault(Class::Rejected, answer),
            Some(_) => self.lost(seen, answer),
        }
        .with_hint("look for odd characters in the AWS settings: access keys, Region, endpoint URLs, profile files")
    }

    /// An answer that AWS would not give, named by its operation and what is odd in it.
    pub(super) fn strange(&self, seen: &Seen, odd: &str) -> Fault {
        let operation = self.action.rsplit(':').next().unwrap_or(self.action);
        self.lost(seen, format!("the answer of {operation} has {odd}{STRANGE}"))
            .with_hint("is it an emulator, or a proxy, that answers at `endpoint_url`?")
    }

    /// The answer does not say whether it was done.
    pub(super) fn lost(&self, seen: &Seen, answer: impl Into<String>) -> Fault {
        let class = match self.effect {
            Effect::Read => Class::Retry { after: seen.retry_after },
            Effect::Write => Class::InDoubt,
        };
        self.fault(class, answer).with_request(seen.request.clone())
    }
}

/// Whether the answer was one that AWS would not give.
pub(super) fn is_strange(fault: &Fault) -> bool {
    fault.answer.ends_with(STRANGE)
}

/// Whether AWS refused the call over a quota of requests, which waiting heals.
pub(super) fn is_throttled(fault: &Fault) -> bool {
    matches!(fault.class, Class::Retry { .. }) && fault.answer == THROTTLING
}

/// Codes of refusals over a quota of requests (AWS SDK reference guide, retry behaviour).
const THROTTLED: &[&str] = &[
    "BandwidthLimitExceeded",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Whether this code is a refusal over a quota.
pub(super) fn throttles(code: &str) -> bool {
    THROTTLED.contains(&code)
}

/// The end of what is said of an answer that AWS would not give.
const STRANGE: &str = ", which AWS's own never has";
/// The answer over a quota of requests.
pub(super) const THROTTLING: &str = "throttled";

/// An error and all that caused it.
pub(super) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The other side's text goes into messages only in this form.
pub(super) fn is_code(text: &str) -> bool {
    (1..=80).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
