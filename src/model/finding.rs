//! What a preflight found: statements about the outside that the protocol leans on, each with what
//! was seen of it.

use std::future::Future;
use std::pin::Pin;

/// One statement about AWS or a vendor that keyferry was built on and that nobody has promised in
/// writing, or that is too important to be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statement {
    /// A short, stable name.
    pub name: &'static str,
    /// The statement itself, as a sentence without a full stop.
    pub words: &'static str,
    /// Where it stands in the contract.
    pub section: &'static str,
    /// Why the protocol leans on it.
    pub because: &'static str,
    /// What it means for keyferry if it does not hold, and what to do.
    pub otherwise: &'static str,
}

/// What became of a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was tried and held.
    Held,
    /// It was tried and did not hold.
    NotHeld,
    /// It could not be told: a permission is missing, the service did not answer, or the trial was
    /// interrupted.
    Untold,
    /// There was nothing to try: the statement says nothing about this account or this caller.
    Untried,
}

impl Outcome {
    /// The word for people and machines.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NotHeld => "not held",
            Self::Untold => "could not be told",
            Self::Untried => "not tried",
        }
    }
}

/// What a trial saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sight {
    /// What it makes of the statement.
    pub outcome: Outcome,
    /// What was seen, in words; never a value.
    pub seen: String,
}

impl Sight {
    /// Held.
    pub fn held(seen: impl Into<String>) -> Self {
        Self { outcome: Outcome::Held, seen: seen.into() }
    }

    /// Not held.
    pub fn not_held(seen: impl Into<String>) -> Self {
        Self { outcome: Outcome::NotHeld, seen: seen.into() }
    }

    /// Nothing to try.
    pub fn untried(seen: impl Into<String>) -> Self {
        Self { outcome: Outcome::Untried, seen: seen.into() }
    }

    /// Held if `so`, and otherwise not.
    pub fn of(so: bool, seen: impl Into<String>) -> Self {
        if so { Self::held(seen) } else { Self::not_held(seen) }
    }
}

/// One statement with what was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The statement.
    pub statement: Statement,
    /// What became of it.
    pub outcome: Outcome,
    /// What was seen, in words; never a value.
    pub seen: String,
    /// What a person can do so that it can be told.
    pub hint: Option<String>,
}

/// A boxed wait for leave to make a call.
pub type Leave<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// Who looks on while a preflight runs: a terminal, a signal, a test.
pub trait Witness: Send + Sync {
    /// Asked before every single call and every wait. `false` ends the trials; what must be
    /// cleaned up is cleaned up all the same.
    fn may_go_on(&self) -> Leave<'_>;

    /// A statement is about to be tried, or something else takes a while.
    fn begins(&self, words: &str);

    /// A statement has been tried.
    fn found(&self, finding: &Finding);
}
