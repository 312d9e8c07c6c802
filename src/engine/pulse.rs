//! Signs of life: what is under way, and how often it was heard of. Whoever watches decides how
//! long silence may last; nothing here reads a clock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Everything that is under way, with the number of signs of life so far.
#[derive(Default)]
pub struct Pulses(Mutex<BTreeMap<String, u64>>);

impl Pulses {
    /// A sign of life.
    pub fn beat(&self, who: &str) {
        let mut all = self.lock();
        match all.get_mut(who) {
            Some(count) => *count += 1,
            None => drop(all.insert(who.to_owned(), 1)),
        }
    }

    /// It is not under way any more.
    pub fn end(&self, who: &str) {
        self.lock().remove(who);
    }

    /// All that is under way.
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
