//! AWS Secrets Manager: the only place where claims, slots, leases and labels become calls.
//!
//! | file | what is in it |
//! |---|---|
//! | `connect` | from a declared target to a [`Store`]: Region, credentials, timeouts, identity |
//! | `observe` | reading: the fleet, one secret, claims, candidates |
//! | `existing` | secrets by the beginning of their names, whoever made them |
//! | `write` | writing |
//! | `proof` | what a write may be done to: [`Published`], [`Unpublished`], [`Returnable`], [`Adoptable`], [`Removable`] |
//! | `claim` | what claims and tombstones look like |
//! | `signing` | when requests are signed; [`Fence`] |
//! | `classify` | from answers to faults |
//! | `pacing` | how fast |
//! | `wire` | how requests travel |
//! | `preflight` | trials in a scratch secret of what the contract only assumes |
//!
//! The SDK retries nothing here. A read is sent again by us a few times; a write is sent once per
//! call, and resending it, byte-identical, is the caller's decision: so that "in doubt" is known
//! for every single send.

mod claim;
mod classify;
mod connect;
mod existing;
mod observe;
mod pacing;
pub mod preflight;
mod proof;
mod signing;
#[cfg(test)]
mod tests;
mod wire;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use self::classify::{Call, classify};
use self::pacing::Pacer;
use self::signing::{AwsTime, Probe, Seen};
use crate::model::fault::{Class, Fault};
use crate::model::name::TargetName;
use crate::model::time::Timestamp;

pub use self::connect::{AssumeRole, Credentials, Identity, Target, refuse_leaky_environment};
pub use self::existing::Existing;
pub use self::pacing::{Calls, Pacing};
pub use self::proof::{Adoptable, Published, Removable, Returnable, Unpublished};
pub use self::signing::Fence;
pub use self::write::{Created, Owner};

/// A told wait longer than this is the caller's to wait.
const READ_WAIT_MAX: Duration = Duration::from_secs(2);

/// One connected target; cloning is free, clones share connections, pace and what is known of
/// AWS's clock.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    target: TargetName,
    account: Option<String>,
    region: String,
    client: aws_sdk_secretsmanager::Client,
    sts: aws_sdk_sts::Client,
    time: AwsTime,
    pacer: Pacer,
}

impl Store {
    /// AWS's last `Date` plus the monotonic time since; `None` until an answer carried one.
    pub fn now(&self) -> Option<Timestamp> {
        self.0.time.now()
    }

    /// The Region it is connected to.
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// The account that it is declared to be.
    pub fn declared_account(&self) -> Option<&str> {
        self.0.account.as_deref()
    }

    /// How many requests were sent so far.
    pub fn calls(&self) -> Calls {
        self.0.pacer.calls()
    }

    /// Sends a read, a few times if it must be. After the first answer AWS's date is known, so a
    /// first signature by a wrong wall clock heals here.
    async fn read<T, E, F>(&self, call: &Call, send: impl Fn(Probe) -> F) -> Result<(T, Seen), Fault>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let pacer = &self.0.pacer;
        let mut wait = pacer.pacing.read_wait;
        let mut tries_left = pacer.pacing.read_tries_max.max(1);
        loop {
            let probe = Probe::new(&self.0.time);
            let result = {
                let _permit = pacer.read().await;
                send(probe.clone()).await
            };
            let seen = probe.seen();
            let fault = match result {
                Ok(answer) => return Ok((answer, seen)),
                Err(error) => classify(call, &seen, &error),
            };
            tries_left -= 1;
            let Class::Retry { after } = fault.class else { return Err(fault) };
            let pause = after.unwrap_or(wait);
            if tries_left == 0 || pause > READ_WAIT_MAX {
                return Err(fault);
            }
            tokio::time::sleep(pause).await;
            wait *= 2;
        }
    }

    /// Sends a write, exactly once, and gives AWS's date of the answer with it.
    async fn write<T, E, F>(&self, call: &Call, send: impl FnOnce(Probe) -> F) -> Result<(T, Timestamp, Seen), Fault>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let probe = Probe::new(&self.0.time);
        let result = {
            let _permit = self.0.pacer.write().await;
            send(probe.clone()).await
        };
        let seen = probe.seen();
        match result {
            Err(error) => Err(classify(call, &seen, &error)),
            Ok(answer) => match seen.date {
                Some(date) => Ok((answer, date, seen)),
                // Every age counts from AWS's date of an answer; without one it can't be trusted.
                None => Err(call.lost(&seen, "an answer without a date")),
            },
        }
    }
}
