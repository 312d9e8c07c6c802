//! AWS Secrets Manager: the only place where claims, slots, leases and labels become calls.
//!
//! | file | what is in it |
//! |---|---|
//! | `connect` | from a declared target to a [`Store`]: Region, credentials, timeouts, identity |
//! | `observe` | reading: the fleet, one secret, claims, candidates |
//! | `existing` | secrets by the beginning of their names, whoever made them |
//! | `write` | writing |
//! | `proof` | what a write may be done to: [`Published`], [`Unpublished`], [`Returnable`], [`Adoptable`], [`Removable`] |
//! | `keys` | what an access key may look like |
//! | `caught` | a panic inside the SDK is one failed call |
//! | `claim` | what claims and tombstones look like |
//! | `signing` | when requests are signed; [`Fence`] |
//! | `time` | which dates of AWS's are believed |
//! | `call` | one call, and how its failures are worded |
//! | `classify` | from answers to faults |
//! | `signin` | why there were no credentials to sign with |
//! | `role` | the declared role |
//! | `pacing` | how fast |
//! | `pipes` | files that the SDK could never finish reading |
//! | `wire` | how requests travel |
//! | `preflight` | trials in a scratch secret of what the contract only assumes |
//!
//! The SDK retries nothing here. A read is sent again by us a few times; a write is sent once per
//! call, and resending it, byte-identical, is the caller's decision: so that "in doubt" is known
//! for every single send.
//!
//! What a write relies on travels with it. Where AWS itself compares, nothing more is needed;
//! everywhere else the call is signed with the date of the look ([`Fence`]), and AWS refuses it
//! five minutes later, however long this process slept in between. Such a refusal is `Taken`: look
//! again. That tells it apart from a clock that is wrong, which is `Retry`.
//!
//! | write | relies on | what refuses it when that has changed |
//! |---|---|---|
//! | [`Store::create_secret`] | no secret of that name | AWS: the name is taken |
//! | [`Store::put_claim`] | nobody has begun this attempt | AWS: the version id is derived from the attempt, so a second claim is another content under the same id |
//! | [`Store::put_slot`] | the attempt is open | AWS: likewise; a tombstone is there |
//! | [`Store::put_tombstone`] | the slot is empty | AWS: likewise; a value is there |
//! | [`Store::put_first`] | no version at all, and a fresh proof | the fence; it stays `Retry`, since `Taken` of a put means that another value is stored |
//! | [`Store::promote`] | AWSCURRENT on `from`, and a fresh proof | AWS compares `from`; the fence |
//! | [`Store::roll_back`] | the same | AWS compares `from`; the fence |
//! | [`Store::lease`] | no version has that label | AWS compares; the fence |
//! | [`Store::detach`] | the label on `from`, *and* where the other labels are: a lease ends only while nothing refers to its version | AWS compares `from`; the fence for the rest |
//! | [`Store::tag`], [`Store::untag`] | everything that was seen: tags know no compare | the fence |
//! | [`Store::delete_secret`] | everything that was seen | the fence |

mod call;
mod caught;
mod claim;
mod classify;
mod connect;
mod existing;
mod keys;
mod observe;
mod pacing;
mod pipes;
pub mod preflight;
mod proof;
mod role;
mod signin;
mod signing;
#[cfg(test)]
mod tests;
mod time;
mod wire;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use self::call::{Call, is_throttled};
use self::caught::{Panicked, caught};
use self::classify::{classify, refuses_signature};
use self::pacing::Pacer;
use self::signing::{Probe, Seen};
use self::time::{AwsTime, Unbelievable};
use crate::model::fault::{Class, Fault};
use crate::model::name::TargetName;
use crate::model::time::Timestamp;

pub use self::connect::{AssumeRole, Credentials, Identity, Target, refuse_leaky_environment};
pub use self::existing::Existing;
pub use self::pacing::{Calls, Pacing};
pub use self::pipes::refuse_pipes;
pub use self::proof::{Adoptable, Published, Removable, Returnable, Unpublished};
pub use self::signing::Fence;
pub use self::write::{Created, Owner};

/// What became of a request that was handed to the SDK.
type Sent<T, E> = Result<Result<T, SdkError<E, HttpResponse>>, Panicked>;

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
    /// Whether STS may be asked.
    has_sts: bool,
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
        for sent in 1.. {
            let probe = Probe::new(&self.0.time);
            let result = {
                let _permit = pacer.turn(call).await;
                caught(send(probe.clone())).await
            };
            let seen = probe.seen();
            let fault = match self.heard(call, &seen, result) {
                Ok(answer) => return Ok((answer, seen)),
                Err(fault) => fault,
            };
            let Class::Retry { after } = fault.class else { return Err(fault) };
            let pause = after.unwrap_or_else(|| pacer.jittered(call, wait));
            let tries_max = match is_throttled(&fault) {
                true => pacer.pacing.throttled_tries_max,
                false => pacer.pacing.read_tries_max,
            };
            if sent >= tries_max || pause > READ_WAIT_MAX {
                return Err(fault);
            }
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(READ_WAIT_MAX);
        }
        unreachable!("the last try returns")
    }

    /// Sends a write, exactly once, and gives AWS's date of the answer with it.
    async fn write<T, E, F>(&self, call: &Call, send: impl FnOnce(Probe) -> F) -> Result<(T, Timestamp, Seen), Fault>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let probe = Probe::new(&self.0.time);
        let result = {
            let _permit = self.0.pacer.turn(call).await;
            caught(send(probe.clone())).await
        };
        let seen = probe.seen();
        let answer = self.heard(call, &seen, result)?;
        match seen.date {
            Some(date) => Ok((answer, date, seen)),
            // Every age counts from AWS's date of an answer; without one it can't be trusted.
            None => Err(call.lost(&seen, "an answer without a date")),
        }
    }

    /// Sets AWS's clock by the answer and says what became of the call. An answer whose date can't
    /// be right is not used: every age would be wrong with it.
    fn heard<T, E>(&self, call: &Call, seen: &Seen, sent: Sent<T, E>) -> Result<T, Fault>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let time = &self.0.time;
        match sent.map_err(|Panicked| call.panicked(seen))? {
            Ok(answer) => match time.hear(seen.date, seen.sent_at, false) {
                Ok(()) => Ok(answer),
                Err(odd) => Err(call.lost(seen, odd.to_string()).with_hint(Unbelievable::HINT)),
            },
            Err(error) => {
                if let Err(odd) = time.hear(seen.date, seen.sent_at, refuses_signature(&error)) {
                    tracing::debug!(target = %self.0.target, "{odd}");
                }
                let fault = classify(call, seen, &error);
                if is_throttled(&fault) {
                    self.0.pacer.throttled(call);
                }
                Err(fault)
            }
        }
    }

    /// The fence of what a person decides at this moment: AWS's time, or this host's until AWS's
    /// is known.
    pub fn fence_now(&self) -> Fence {
        Fence { signed_at: self.0.time.now_or_wall() }
    }
}
