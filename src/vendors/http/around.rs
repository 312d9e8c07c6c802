//! What every driver does around its calls: secrets sealed while they are read, and a create's
//! preparation in bounded time.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use super::Effect;
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
