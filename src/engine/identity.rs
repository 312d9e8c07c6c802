//! Whether AWS has said that a target is the declared account. Many visits want to know it at once: it
//! is asked once for all of them, and whoever waited has that answer, a failure too. Asked one after
//! another, a service that does not answer would hold up the last of them for as long as all together.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use crate::model::fault::Fault;

/// What is known of one target.
#[derive(Default)]
pub(super) struct Identity {
    told: OnceCell<()>,
    /// How often it could not be told, and why the last time.
    failed: Mutex<(u64, Option<Fault>)>,
}

impl Identity {
    /// Asks, unless it is known, or somebody else asked meanwhile.
    pub(super) async fn ask<F>(&self, ask: impl FnOnce() -> F) -> Result<(), Fault>
    where
        F: Future<Output = Result<(), Fault>>,
    {
        let before = self.failed().0;
        let told = self.told.get_or_try_init(|| async {
            let meanwhile = self.failed().clone();
            if let (count, Some(fault)) = meanwhile
                && count != before
            {
                return Err(fault);
            }
            ask().await.inspect_err(|fault| {
                let mut failed = self.failed();
                *failed = (failed.0 + 1, Some(fault.clone()));
            })
        });
        told.await.copied()
    }

    fn failed(&self) -> MutexGuard<'_, (u64, Option<Fault>)> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use crate::model::fault::Class;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_an_answer_has_it_and_does_not_ask_again() {
        let identity = Identity::default();
        let asked = Cell::new(0);
        let ask = |answers: bool| {
            let asked = &asked;
            identity.ask(move || async move {
                asked.set(asked.get() + 1);
                tokio::time::sleep(Duration::from_secs(30)).await;
                let mute = || Fault::new(Class::Retry { after: None }, "a test", "no answer");
                if answers { Ok(()) } else { Err(mute()) }
            })
        };
        // (whether it answers, how often it was asked after three more wanted to know)
        for (answers, count) in [(false, 1), (false, 2), (true, 3), (false, 3)] {
            let told = tokio::join!(ask(answers), ask(answers), ask(answers));
            let good = answers || count == 3;
            assert_eq!([told.0.is_ok(), told.1.is_ok(), told.2.is_ok()], [good; 3], "{count}");
            assert_eq!(asked.get(), count);
        }
    }
}
