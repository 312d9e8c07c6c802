//! What the trials stand on: the scratch secret, leave to go on, waiting, and how a call is sent
//! and noted.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use uuid::Uuid;

use super::super::Store;
use super::super::call::Call;
use super::super::classify::{LATE, SKEW};
use super::super::signing::Probe;
use crate::model::fault::{Class, Fault};
use crate::model::finding::Witness;
use crate::model::name::{Arn, SecretName, VersionId};
use crate::model::time::{Clock, Timestamp};

/// How often a write is sent that was throttled or whose answer was lost.
const SENDS_MAX: u32 = 4;
/// First wait before it is sent again; doubles.
const RESEND_PAUSE: Duration = Duration::from_secs(1);
/// Longest sleep without asking whether to go on.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// How long what was written may take to be seen; far below the protocol's settle.
pub(super) const SEEN_MAX: Duration = Duration::from_secs(60);
/// First and longest wait between two looks for it.
pub(super) const LOOK_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Version ids of a run come from its id and a number.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f7c_5d0a_1b52_5a0e_9d3c_20b8_8e41_77a6);

/// A scratch secret and the way to it.
pub struct Bench {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    witness: Arc<dyn Witness>,
    pub(super) name: SecretName,
    pub(super) kms_key_id: Option<String>,
    /// This run, in the secret's tag: what carries it was made by us.
    pub(super) run: Uuid,
    pub(super) arn: OnceLock<Arn>,
    cleaning: AtomicBool,
    tokens: AtomicU32,
    pub(super) noted: Mutex<Noted>,
}

/// What is noted on the way, for statements that need no call of their own.
#[derive(Default)]
pub(super) struct Noted {
    /// Codes of refused label moves.
    pub(super) swap_codes: Vec<String>,
    /// Codes of throttled calls.
    pub(super) throttled: BTreeSet<String>,
    /// AWS's first date, and when it was heard.
    first: Option<(Timestamp, Duration)>,
    /// How far AWS's dates went from the monotonic clock at most, in milliseconds.
    pub(super) drift_ms: i64,
    pub(super) dated: u32,
    pub(super) undated: u32,
}

/// Stops the trials.
pub(super) fn interrupted() -> Fault {
    Fault::new(Class::Retry { after: None }, "trying it", "interrupted before it could be told")
}

/// What AWS made of a call that it should refuse: the code it refused it with, or `None` when it
/// was accepted.
///
/// # Errors
/// When it was not judged at all: denied, throttled, lost, or the secret is not there.
pub(super) fn refusal<T>(result: Result<T, Fault>) -> Result<Option<String>, Fault> {
    match result {
        Ok(_) => Ok(None),
        Err(fault) => match (&fault.class, &fault.code) {
            (Class::Rejected | Class::Taken, Some(code)) => Ok(Some(code.clone())),
            _ => Err(fault),
        },
    }
}

impl Bench {
    /// A bench for the scratch secret `name`; sends nothing.
    pub fn new(store: &Store, clock: Arc<dyn Clock>, witness: Arc<dyn Witness>, name: SecretName) -> Self {
        Self {
            store: store.clone(),
            clock,
            witness,
            name,
            kms_key_id: None,
            run: Uuid::new_v4(),
            arn: OnceLock::new(),
            cleaning: AtomicBool::new(false),
            tokens: AtomicU32::new(0),
            noted: Mutex::default(),
        }
    }

    /// Whether what follows must not be interrupted.
    pub fn set_cleaning(&self, cleaning: bool) {
        self.cleaning.store(cleaning, Ordering::SeqCst);
    }

    /// Who looks on.
    pub fn witness(&self) -> &dyn Witness {
        &*self.witness
    }

    /// The scratch secret, once it is there.
    pub fn arn(&self) -> Option<&Arn> {
        self.arn.get()
    }

    pub(super) fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to go on, asked for before every call and every wait.
    ///
    /// # Errors
    /// When the trials are to end.
    pub async fn leave(&self) -> Result<(), Fault> {
        let go_on = self.witness.may_go_on().await;
        if go_on || self.cleaning.load(Ordering::SeqCst) { Ok(()) } else { Err(interrupted()) }
    }

    /// Lets time pass, in pieces.
    ///
    /// # Errors
    /// When the trials are to end.
    pub async fn pause(&self, span: Duration) -> Result<(), Fault> {
        let mut left = span;
        while !left.is_zero() {
            self.leave().await?;
            let piece = left.min(SLEEP_MAX);
            self.clock.sleep(piece).await;
            left -= piece;
        }
        Ok(())
    }

    /// A version id that nobody has used.
    pub(super) fn token(&self) -> VersionId {
        let number = self.tokens.fetch_add(1, Ordering::SeqCst);
        let id = Uuid::new_v5(&NAMESPACE, format!("{}\n{number}", self.run).as_bytes());
        VersionId::new(&id.to_string()).expect("a UUID is a valid version id")
    }

    /// The token under which this run creates its secret, however often it is sent.
    pub(super) fn first_token(&self) -> VersionId {
        let id = Uuid::new_v5(&NAMESPACE, format!("{}\nsecret", self.run).as_bytes());
        VersionId::new(&id.to_string()).expect("a UUID is a valid version id")
    }

    /// AWS's date as far as it is known.
    pub(super) fn now(&self) -> Timestamp {
        self.store.now().unwrap_or_default()
    }

    pub(super) fn secret(&self) -> Result<&Arn, Fault> {
        self.arn.get().ok_or_else(|| Fault::new(Class::Gone, "trying it", "there is no scratch secret"))
    }

    fn note(&self, date: Option<Timestamp>) {
        let at = self.clock.monotonic();
        let mut noted = self.noted();
        let Some(date) = date else {
            noted.undated += 1;
            return;
        };
        noted.dated += 1;
        let (first, heard) = *noted.first.get_or_insert((date, at));
        let elapsed = i64::try_from(at.saturating_sub(heard).as_millis()).unwrap_or(i64::MAX);
        let drift = (date.millis() - first.millis()).saturating_sub(elapsed);
        if drift.abs() > noted.drift_ms.abs() {
            noted.drift_ms = drift;
        }
    }

    fn note_throttling(&self, fault: &Fault) {
        if let (Class::Retry { .. }, "throttled", Some(code)) = (&fault.class, fault.answer.as_str(), &fault.code) {
            self.noted().throttled.insert(code.clone());
        }
    }

    /// A read, noted.
    pub(super) async fn read<T, E, F>(&self, call: &Call, send: impl Fn(Probe) -> F) -> Result<T, Fault>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        self.leave().await?;
        match self.store.read(call, send).await {
            Ok((answer, seen)) => {
                self.note(seen.date);
                Ok(answer)
            }
            Err(fault) => {
                self.note_throttling(&fault);
                Err(fault)
            }
        }
    }

    /// A write, noted; sent again after a throttling, and after a lost answer if it is `repeatable`.
    pub(super) async fn write<T, E, F>(
        &self,
        call: &Call,
        repeatable: bool,
        send: impl Fn(Probe) -> F,
    ) -> Result<(T, Timestamp), Fault>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let mut wait = RESEND_PAUSE;
        for sends_left in (0..SENDS_MAX).rev() {
            self.leave().await?;
            let fault = match self.store.write(call, &send).await {
                Ok((answer, at, _)) => {
                    self.note(Some(at));
                    return Ok((answer, at));
                }
                Err(fault) => fault,
            };
            self.note_throttling(&fault);
            let again = match fault.class {
                Class::Retry { .. } => !is_skewed(&fault),
                Class::InDoubt => repeatable,
                Class::Denied | Class::Rejected | Class::Gone | Class::Taken | Class::Bug => false,
            };
            if !again || sends_left == 0 {
                return Err(fault);
            }
            self.pause(wait).await?;
            wait *= 2;
        }
        unreachable!("the last send returns")
    }
}

/// What every version holds that need not be told from others.
pub(super) const VALUE: &str = r#"{"keyferry":"preflight, not a credential"}"#;
/// Another value.
pub(super) const OTHER: &str = r#"{"keyferry":"preflight, not a credential either"}"#;

/// Own labels, moved from trial to trial.
pub(super) const A: &str = "kf-preflight-a";
/// A second one.
pub(super) const B: &str = "kf-preflight-b";

/// The candidate's label.
pub(super) const PENDING: &str = "AWSPENDING";
/// The published version's.
pub(super) const CURRENT: &str = "AWSCURRENT";
/// The one before.
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";

/// What never showed, so that nothing can be told.
pub(super) fn unseen(what: &str) -> Fault {
    let answer = format!("{what} was not seen within {} s", SEEN_MAX.as_secs());
    Fault::new(Class::Retry { after: None }, "look at the scratch secret", answer)
}

/// Whether AWS refused a signature for its date.
pub(super) fn is_skewed(fault: &Fault) -> bool {
    [LATE, SKEW].contains(&fault.answer.as_str())
}

/// Waits that grow, up to an end.
pub(super) struct Patience {
    left: Duration,
    next: Duration,
    longest: Duration,
}

impl Patience {
    pub(super) fn new(all: Duration, (first, longest): (Duration, Duration)) -> Self {
        Self { left: all, next: first, longest }
    }

    /// Waits a little; `false` when the time is over.
    pub(super) async fn wait(&mut self, bench: &Bench) -> Result<bool, Fault> {
        if self.left.is_zero() {
            return Ok(false);
        }
        let span = self.next.min(self.left);
        bench.pause(span).await?;
        self.left -= span;
        self.next = (self.next * 2).min(self.longest);
        Ok(true)
    }
}
