//! Several futures at once in the task that waits for them. A listing of a large fleet is megabytes
//! for a moment; in tasks of their own, every thread's allocator would keep that much.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Futures under way.
pub struct Here<'a, T>(Vec<Pin<Box<dyn Future<Output = T> + Send + 'a>>>);

impl<T> Default for Here<'_, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, T> Here<'a, T> {
    /// One more; it begins with the next wait.
    pub fn add(&mut self, future: impl Future<Output = T> + Send + 'a) {
        self.0.push(Box::pin(future));
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives them up.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What the next one gives that ends; waits for ever when none is under way. May be dropped and
    /// called again.
    pub async fn next(&mut self) -> T {
        poll_fn(|context| {
            for at in 0..self.0.len() {
                if let Poll::Ready(done) = self.0[at].as_mut().poll(context) {
                    drop(self.0.swap_remove(at));
                    return Poll::Ready(done);
                }
            }
            Poll::Pending
        })
        .await
    }
}
