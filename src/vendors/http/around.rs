//! What every driver does around its calls: secrets sealed while they are read, an admin token that
//! is fetched once for everybody, and a create's preparation in bounded time.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use super::request::Effect;
use crate::model::fault::{Class, Fault};
use crate::model::secret::SecretValue;

/// Longest preparation of a create: one that comes late could outlive its claim.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(30);

/// A secret text of an answer, sealed while it is read.
#[derive(Deserialize)]
#[serde(from = "String")]
pub struct Sealed(pub SecretValue);

impl From<String> for Sealed {
    fn from(text: String) -> Self {
        Self(SecretValue::new(text))
    }
}

/// Something that everybody needs and one fetches: an admin secret, ready for the header.
pub struct Shared<T> {
    kept: tokio::sync::Mutex<Kept<T>>,
    /// Fetches that have ended, well or not.
    round_count: AtomicU64,
}

struct Kept<T> {
    value: Option<T>,
    /// Why the last fetch failed, if it did.
    failure: Option<Fault>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { kept: tokio::sync::Mutex::new(Kept { value: None, failure: None }), round_count: AtomicU64::new(0) }
    }
}

impl<T: Clone> Shared<T> {
    /// The value, fetched where there is none that is `usable`. A fetch that ended while we waited
    /// for it is ours as well, its failure included: what does not answer is asked once, and not once
    /// for each who waits.
    ///
    /// # Errors
    /// Those of `fetch`.
    pub async fn get(
        &self,
        usable: impl Fn(&T) -> bool,
        fetch: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let before = self.round_count.load(Ordering::SeqCst);
        let mut kept = self.kept.lock().await;
        let waited = self.round_count.load(Ordering::SeqCst) > before;
        match (&kept.value, &kept.failure) {
            (_, Some(failure)) if waited => return Err(failure.clone()),
            (Some(value), _) if waited || usable(value) => return Ok(value.clone()),
            _ => {}
        }
        let fetched = Box::pin(fetch).await;
        self.round_count.fetch_add(1, Ordering::SeqCst);
        kept.failure = fetched.as_ref().err().cloned();
        if let Ok(value) = &fetched {
            kept.value = Some(value.clone());
        }
        fetched
    }
}

/// Runs what a create needs first, in bounded time; nothing was sent when it takes too long.
///
/// # Errors
/// Those of `work`; `Retry` when it takes too long before a create.
pub async fn prepared<T>(
    doing: &str,
    effect: Effect,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match effect {
        Effect::Nothing | Effect::Idempotent => work.await,
        Effect::Once => tokio::time::timeout(PREPARE_TIMEOUT, work).await.unwrap_or_else(|_| {
            let answer = format!("not sent: its preparation took over {} s", PREPARE_TIMEOUT.as_secs());
            Err(Fault::new(Class::Retry { after: None }, doing, answer))
        }),
    }
}

/// What a driver remembers. A panic of another holder lost at most that: it is asked for anew.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
