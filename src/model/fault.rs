//! What went wrong at an edge, and its class, decided there, where it is known.

use std::fmt;
use std::time::Duration;

/// What a fault means for the one who called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Surely not applied, and may pass by itself: throttled, refused connection, 5xx on a read.
    /// With the wait, if one was told.
    Retry {
        /// How long the other side asked us to wait.
        after: Option<Duration>,
    },
    /// Surely not applied: the other side knows us and says no, or does not know us.
    Denied,
    /// Surely not applied: the request itself is refused and would be again.
    Rejected,
    /// What the call named is not there.
    Gone,
    /// Surely not applied: somebody else was first (a version id, a label or a name is taken).
    Taken,
    /// Sent, and whether it was applied is unknown. A create is never blindly sent again.
    InDoubt,
    /// Our own mistake, seen in time: the one secret is left alone.
    Bug,
}

/// What in AWS keeps everybody from a secret, where an answer says so by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hindrance {
    /// The KMS key neither encrypts nor decrypts: it is disabled, pending deletion or gone.
    KeyUnusable,
    /// The KMS key is not for this caller.
    KeyDenied,
    /// The secret is scheduled for deletion, so nobody can read it.
    ScheduledForDeletion,
}

/// One failed call: what was being tried, what came back, and its class. Never holds a secret nor
/// a raw body of the other side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The class, decided by the edge.
    pub class: Class,
    /// What was being tried, for whom: lower case, no full stop.
    pub doing: String,
    /// What came back, in our words or as a checked code.
    pub answer: String,
    /// The other side's own error code or HTTP status, when there was one.
    pub code: Option<String>,
    /// The other side's id of the request, for its support.
    pub request: Option<String>,
    /// What a person can do about it; apart from the sentence.
    pub hint: Option<String>,
    /// What keeps everybody from the secret, if that is what the answer says.
    pub hindrance: Option<Hindrance>,
}

impl Fault {
    /// A fault with neither code, request id nor hint.
    pub fn new(class: Class, doing: impl Into<String>, answer: impl Into<String>) -> Self {
        Self {
            class,
            doing: doing.into(),
            answer: answer.into(),
            code: None,
            request: None,
            hint: None,
            hindrance: None,
        }
    }

    /// With the other side's own code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// With the other side's id of the request.
    #[must_use]
    pub fn with_request(mut self, request: Option<String>) -> Self {
        self.request = request;
        self
    }

    /// With what a person can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With what keeps everybody from the secret.
    #[must_use]
    pub fn with_hindrance(mut self, hindrance: Hindrance) -> Self {
        self.hindrance = Some(hindrance);
        self
    }

    /// Whether the call surely had no effect.
    pub fn surely_not_applied(&self) -> bool {
        !matches!(self.class, Class::InDoubt | Class::Bug)
    }

    /// Whether waiting alone can heal it.
    pub fn heals_by_itself(&self) -> bool {
        matches!(self.class, Class::Retry { .. } | Class::InDoubt | Class::Taken)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.doing, self.answer)?;
        if let Some(code) = &self.code {
            write!(out, " ({code})")?;
        }
        if let Some(request) = &self.request {
            write!(out, " [request {request}]")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
