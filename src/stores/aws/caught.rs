//! A panic inside the SDK is one failed call and never the end of the process. Its signer panics on
//! keys, Regions and dates that make no HTTP header; what we know of that is refused before, and
//! this is for what we do not know.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

/// The future panicked and is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Panicked;

/// Runs `work` to its end or its panic.
pub(super) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    poll_fn(|context| {
        // Nothing of it is polled again after a panic, and what it shares with others is behind
        // locks that forgive poison.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => std::task::Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        let late = async {
            tokio::task::yield_now().await;
            assert_eq!(1 + 1, 3, "inside the SDK");
        };
        assert_eq!(caught(late).await, Err(Panicked));
    }
}
