//! Another way for a request to leave this process than a socket: into services that live in the
//! same process, in a simulation. Everything above it (signing, dates, sizes, waits, what a lost
//! answer means) is the code that ships; everything below it is a function.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unanswered {
    /// Surely no byte of the request arrived: nobody listens there.
    Unsent,
    /// The request may have been applied.
    Lost,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Unsent => "nobody listens there",
            Self::Lost => "the connection ended before an answer",
        })
    }
}

impl std::error::Error for Unanswered {}

/// A boxed exchange.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, Unanswered>> + Send + 'a>>;

/// Where requests go instead of the network. Time limits are the caller's: an exchange that is
/// dropped is a client that went away.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Hands over one request, whole, and gives its answer, whole.
    fn exchange(&self, request: http::Request<Bytes>) -> Exchange<'_>;
}
