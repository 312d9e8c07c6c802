//! When a request is signed: by AWS's own last `Date` plus the monotonic time since, never by this
//! host's wall clock (only the very first call has nothing better).
//!
//! A signature lives about five minutes. That makes it a fence: a call signed with the moment at
//! which its precondition was checked can't be applied by a process that slept in between, because
//! AWS refuses the old signature. So nothing here may shift a fenced moment: the SDK's own
//! clock-skew correction (`aws_runtime::service_clock_skew`) is switched off for every call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use super::time::AwsTime;
use crate::model::time::Timestamp;

/// The moment a late call is measured against: when the candidate was verified, or when the
/// attempt tag of a first version was sent. The call is sent once and signed with this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fence {
    /// AWS's date of that moment.
    pub signed_at: Timestamp,
}

/// What was seen of one call besides its result, filled in by the SDK as it goes, for errors too.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    time: AwsTime,
    seen: Arc<Mutex<Seen>>,
}

/// The part of an answer's head that matters to us.
#[derive(Clone, Default, Debug)]
pub(super) struct Seen {
    /// When the request was handed to the connection, on the monotonic clock; `None` when it never was.
    pub(super) sent_at: Option<Duration>,
    /// The answer's `Date`, which need not be right.
    pub(super) date: Option<Timestamp>,
    /// AWS's id of the request.
    pub(super) request: Option<String>,
    /// `Retry-After`, in seconds.
    pub(super) retry_after: Option<Duration>,
}

impl Probe {
    pub(super) fn new(time: &AwsTime) -> Self {
        Self { time: time.clone(), seen: Arc::default() }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).sent_at = Some(self.time.monotonic());
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
