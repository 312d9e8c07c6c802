//! Trials, in a throw-away secret of the user's own account, of what the contract only assumes and
//! the protocol leans on.
//!
//! | file | what is in it |
//! |---|---|
//! | `list` | every trial with its statement, in the order in which they run |
//! | `tokens`, `labels`, `dates`, `reach` | the trials |
//! | `bench` | leave to go on, waiting, how a call is sent and noted |
//! | `calls` | the calls themselves |
//!
//! The store's own types forbid on purpose what is done here: a put of another value under a used
//! token, a label move that names the wrong version, a deletion at once. None of it can reach
//! another secret: every call names the full ARN of a secret that this run created, and whose tag
//! says so.

mod bench;
mod calls;
mod dates;
mod labels;
mod list;
mod reach;
mod tokens;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use self::bench::{Patience, unseen};
use self::calls::Look;
use crate::model::fault::{Class, Fault};
use crate::model::finding::{Finding, Outcome, Sight, Statement};
use crate::model::label::{TAG_CREDENTIAL, TAG_DEPLOYMENT, TAG_PREFLIGHT, TAG_PREFLIGHT_CREDENTIAL};
use crate::model::name::Arn;
use crate::model::time::Timestamp;

pub use self::bench::Bench;
pub use self::list::{LAST, MAIN};

/// How long the name of a secret that was deleted at once may stay taken.
const LINGER_MAX: Duration = Duration::from_secs(120);
const LINGER_PAUSE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// How long a create whose answer was lost is looked for.
const FIND_MAX: Duration = Duration::from_secs(10);
const FIND_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// What our tag's value begins with.
const TAG_VALUE: &str = "scratch of run ";

/// A trial under way.
pub(super) type Trial<'a> = Pin<Box<dyn Future<Output = Result<Sight, Fault>> + Send + 'a>>;

/// One statement and how it is tried.
pub struct Experiment {
    /// The statement.
    pub statement: Statement,
    run: fn(&Bench) -> Trial<'_>,
}

/// What bears the scratch secret's name before a preflight.
pub enum Found {
    /// Nothing.
    Nothing,
    /// What an earlier preflight left behind.
    Ours {
        /// Its ARN.
        arn: Arn,
        /// The declared credential at whose place it was about to make a throw-away one.
        credential: Option<String>,
        /// When it will be gone, if its deletion is scheduled.
        gone_at: Option<Timestamp>,
    },
    /// Something else: not to be touched.
    Theirs {
        /// How one sees.
        why: String,
    },
}

/// How the scratch secret was done away with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deleted {
    /// At once, without a recovery window.
    AtOnce,
    /// It will be gone in seven days: deleting at once is denied.
    InSevenDays,
}

impl Bench {
    /// Names the KMS key that the scratch secret is made with.
    #[must_use]
    pub fn with_key(mut self, kms_key_id: Option<String>) -> Self {
        self.kms_key_id = kms_key_id;
        self
    }

    /// What bears the name now. Changes nothing.
    ///
    /// # Errors
    /// When AWS does not say.
    pub async fn find(&self) -> Result<Found, Fault> {
        let Some(look) = self.describe(self.name.as_str()).await? else { return Ok(Found::Nothing) };
        Ok(found(&look))
    }

    /// Creates the scratch secret, waiting where the name of a deleted one is still taken.
    ///
    /// # Errors
    /// `Taken` when somebody else has the name; otherwise as classified.
    pub async fn begin(&self) -> Result<(), Fault> {
        let mut patience = Patience::new(LINGER_MAX, LINGER_PAUSE);
        loop {
            let fault = match self.create(&self.first_token()).await {
                Ok(arn) => {
                    self.arn.get_or_init(|| arn);
                    return Ok(());
                }
                Err(fault) => fault,
            };
            match fault.class {
                // Our own create, whose answer was lost.
                Class::Taken if self.adopt().await? => return Ok(()),
                Class::Rejected if fault.answer.contains("deletion") => {
                    self.witness().begins("waiting until the name of the deleted scratch secret is free");
                    if !patience.wait(self).await? {
                        return Err(fault);
                    }
                }
                Class::Retry { .. }
                | Class::Denied
                | Class::Rejected
                | Class::Gone
                | Class::Taken
                | Class::InDoubt
                | Class::Bug => return Err(fault),
            }
        }
    }

    /// Tries one statement.
    pub async fn try_out(&self, experiment: &Experiment) -> Finding {
        self.witness().begins(experiment.statement.words);
        let result = match self.leave().await {
            Ok(()) => (experiment.run)(self).await,
            Err(fault) => Err(fault),
        };
        let finding = finding(experiment.statement, result);
        self.witness().found(&finding);
        finding
    }

    /// Writes down, before it is done, that a throw-away credential is made at the place of a
    /// declared one: a run that is killed must be cleaned up after.
    ///
    /// # Errors
    /// As classified.
    pub async fn note_credential(&self, name: &str) -> Result<(), Fault> {
        self.set_tag(TAG_PREFLIGHT_CREDENTIAL, name, None).await?;
        let seen = self.look_until(|look| look.tags.get(TAG_PREFLIGHT_CREDENTIAL).is_some_and(|it| it == name)).await?;
        seen.map(|_| ()).ok_or_else(|| unseen("a tag that was just set"))
    }

    /// Takes back what [`Bench::note_credential`] wrote: nothing is left at the vendor.
    ///
    /// # Errors
    /// As classified.
    pub async fn forget_credential(&self) -> Result<(), Fault> {
        self.remove_tag(TAG_PREFLIGHT_CREDENTIAL).await
    }

    /// Does away with this run's scratch secret; `None` when there is none.
    ///
    /// # Errors
    /// When it is still there.
    pub async fn end(&self) -> Result<Option<Deleted>, Fault> {
        if self.arn.get().is_none() {
            let mut patience = Patience::new(FIND_MAX, FIND_PAUSE);
            while !self.adopt().await? {
                if !patience.wait(self).await? {
                    return Ok(None);
                }
            }
        }
        let arn = self.secret()?.clone();
        self.discard(&arn).await.map(Some)
    }

    /// Does away with a scratch secret of an earlier run. A scratch secret holds nothing, so it is
    /// deleted at once where that is allowed; keyferry does that to no other secret.
    ///
    /// # Errors
    /// When it is still there.
    pub async fn discard(&self, arn: &Arn) -> Result<Deleted, Fault> {
        match self.delete(arn, true).await {
            Ok(()) => return Ok(Deleted::AtOnce),
            Err(fault) if fault.class == Class::Gone => return Ok(Deleted::AtOnce),
            Err(fault) if fault.class == Class::Denied => {}
            Err(fault) => return Err(fault),
        }
        match self.delete(arn, false).await {
            Ok(()) => Ok(Deleted::InSevenDays),
            // The trials scheduled it already.
            Err(_) if matches!(self.find().await?, Found::Ours { gone_at: Some(_), .. }) => Ok(Deleted::InSevenDays),
            Err(fault) => Err(fault),
        }
    }

    /// Takes the secret of this name for ours if this very run made it.
    async fn adopt(&self) -> Result<bool, Fault> {
        let Some(look) = self.describe(self.name.as_str()).await? else { return Ok(false) };
        let ours = look.tags.get(TAG_PREFLIGHT).is_some_and(|value| *value == self.tag_value());
        match Arn::new(&look.arn) {
            Ok(arn) if ours => {
                self.arn.get_or_init(|| arn);
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// Ours only if our tag says so, nobody's owner tag is there, and no AWS service has its hand on it.
fn found(look: &Look) -> Found {
    let theirs = |why: &str| Found::Theirs { why: why.to_owned() };
    let Some(value) = look.tags.get(TAG_PREFLIGHT) else {
        return theirs("it does not have the tag of a scratch secret");
    };
    if !value.starts_with(TAG_VALUE) {
        return theirs("its tag is not one that a preflight wrote");
    }
    if look.tags.contains_key(TAG_DEPLOYMENT) || look.tags.contains_key(TAG_CREDENTIAL) {
        return theirs("it is tagged as the secret of a declared credential");
    }
    if look.managed {
        return theirs("AWS rotates or manages it");
    }
    match Arn::new(&look.arn) {
        Ok(arn) => {
            Found::Ours { arn, credential: look.tags.get(TAG_PREFLIGHT_CREDENTIAL).cloned(), gone_at: look.gone_at }
        }
        Err(_) => theirs("AWS does not give its ARN"),
    }
}

/// What a trial's end makes of its statement.
pub fn finding(statement: Statement, result: Result<Sight, Fault>) -> Finding {
    match result {
        Ok(Sight { outcome, seen }) => Finding { statement, outcome, seen, hint: None },
        Err(fault) => {
            let hint = fault.hint.clone();
            Finding { statement, outcome: Outcome::Untold, seen: fault.to_string(), hint }
        }
    }
}

/// The finding of a statement whose turn did not come.
pub fn not_reached(statement: Statement, why: &str) -> Finding {
    Finding { statement, outcome: Outcome::Untold, seen: format!("not reached: {why}"), hint: None }
}

/// What was looked for, or that it did not come to be seen.
fn moved<T>(seen: Option<T>) -> Result<T, Fault> {
    seen.ok_or_else(|| unseen("a label move that was accepted"))
}
