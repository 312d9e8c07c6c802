//! When a request is signed: by AWS's own last `Date` plus the monotonic time since, never by this
//! host's wall clock (only the very first call has nothing better).
//!
//! A signature lives about five minutes. That makes it a fence: a call signed with the moment at
//! which its precondition was checked can't be applied by a process that slept in between, because
//! AWS refuses the old signature. So nothing here may shift a fenced moment: the SDK's own
//! clock-skew correction (`aws_runtime::service_clock_skew`) is switched off for every call.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::model::time::{Clock, Timestamp};

/// An answer that took longer than this tells the time of a moment long past: the process slept
/// while it lay in the socket, and a clock set by it would hide just that.
const ANSWER_SPAN_MAX: Duration = Duration::from_secs(10);

/// The moment a late call is measured against: when the candidate was verified, or when the
/// attempt tag of a first version was sent. The call is sent once and signed with this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fence {
    /// AWS's date of that moment.
    pub signed_at: Timestamp,
}

/// AWS's clock as far as this process has heard of it; clones share what was heard.
#[derive(Clone)]
pub(super) struct AwsTime(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    heard: Mutex<Option<Heard>>,
}

#[derive(Clone, Copy)]
struct Heard {
    date: Timestamp,
    at: Duration,
}

impl AwsTime {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared { clock, heard: Mutex::new(None) }))
    }

    /// AWS's last `Date` plus the time since; `None` until an answer carried one.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let heard = (*self.0.heard.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(heard.date.plus(self.0.clock.monotonic().saturating_sub(heard.at)))
    }

    /// Sets the clock by an answer to what was sent at `sent`, unless that is too long ago; one
    /// that stands already goes on then.
    fn hear(&self, date: Timestamp, sent: Option<Duration>) {
        let at = self.0.clock.monotonic();
        let late = sent.is_some_and(|sent| at.saturating_sub(sent) > ANSWER_SPAN_MAX);
        if late && self.now().is_some() {
            return;
        }
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Heard { date, at });
    }
}

impl TimeSource for AwsTime {
    fn now(&self) -> SystemTime {
        system_time(Self::now(self).unwrap_or_else(|| self.0.clock.wall()))
    }
}

impl fmt::Debug for AwsTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "AwsTime({:?})", Self::now(self))
    }
}

/// As the SDK wants it; a moment before 1970 is 1970.
pub(super) fn system_time(moment: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + moment.since(Timestamp::default())
}

/// What was seen of one call besides its result, filled in by the SDK as it goes, for errors too.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    time: AwsTime,
    seen: Arc<Mutex<Seen>>,
    /// When the request was handed to the connection, on the monotonic clock.
    sent: Arc<Mutex<Option<Duration>>>,
}

/// The part of an answer's head that matters to us.
#[derive(Clone, Default, Debug)]
pub(super) struct Seen {
    /// Whether the request was handed to the connection.
    pub(super) sent: bool,
    /// The answer's `Date`.
    pub(super) date: Option<Timestamp>,
    /// AWS's id of the request.
    pub(super) request: Option<String>,
    /// `Retry-After`, in seconds.
    pub(super) retry_after: Option<Duration>,
}

impl Probe {
    pub(super) fn new(time: &AwsTime) -> Self {
        Self { time: time.clone(), seen: Arc::default(), sent: Arc::default() }
    }

    pub(super) fn seen(&self) -> Seen {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Seen { sent: self.sent_at().is_some(), ..seen }
    }

    fn sent_at(&self) -> Option<Duration> {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for Probe {
    fn name(&self) -> &'static str {
        "keyferry::Probe"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let now = self.time.0.clock.monotonic();
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        // An `Age` means that a cache answered, with an old date (RFC 9111, section 5.1).
        let fresh = headers.get("age").is_none();
        let date = headers.get("date").filter(|_| fresh).and_then(Timestamp::parse_http_date);
        if let Some(date) = date {
            self.time.hear(date, self.sent_at());
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.date = date;
        seen.request = headers.get("x-amzn-requestid").filter(|id| is_request_id(id)).map(str::to_owned);
        seen.retry_after =
            headers.get("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        Ok(())
    }
}

/// The other side's text goes into messages only in this form.
fn is_request_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
