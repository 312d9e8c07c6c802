//! Another declaration, or the same one with what could not be opened before.

use std::sync::Arc;
use std::time::Duration;

use super::{LEAVING_MAX, Last, UNOPENED_PAUSE, Work};
use crate::cli::run::disk::{Read, Trace};
use crate::cli::run::start::Start;
use crate::clock::since_start;
use crate::engine::Engine;

impl Work {
    /// Tries again to open what could not be opened.
    pub(super) fn reopen(&mut self, elapsed: Duration) {
        if self.engine.unopened().is_empty() || self.reopening.is_some() || elapsed < self.reopen_at {
            return;
        }
        let engine = Arc::clone(&self.engine);
        self.reopening = Some(tokio::spawn(async move {
            let declaration = Arc::clone(engine.declaration());
            Arc::new(engine.reopen(declaration).await)
        }));
    }

    pub(super) fn reopened(&mut self, next: Option<Arc<Engine>>) {
        self.reopen_at = self.clock.monotonic() + UNOPENED_PAUSE;
        let Some(next) = next else { return };
        let missing = |engine: &Engine| engine.unopened().targets.len() + engine.unopened().vendors.len();
        let same = Arc::ptr_eq(self.engine.declaration(), next.declaration());
        if same && missing(&next) < missing(&self.engine) {
            tracing::info!("what could not be opened before is open now");
            self.go_on_with(next);
        }
    }

    pub(super) fn reload(&mut self) {
        if self.rereading.is_some() {
            self.reread_again = true;
            return;
        }
        let now = since_start().as_micros();
        self.daemon.manager.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reading the declaration again"));
        let reread = self.daemon.files.reread.clone();
        self.rereading = Some(tokio::spawn(reread.read(Arc::clone(&self.engine))));
    }

    pub(super) fn reread(&mut self, read: Read) {
        if let Some(trace) = read.trace {
            self.daemon.files.trace = trace;
            // A look at the files of before says nothing of these.
            self.on_disk = None;
        }
        match read.next {
            Ok(next) => {
                self.daemon.health.declared(Ok(()));
                self.go_on_with(next);
            }
            Err(why) => {
                tracing::error!("the declaration on disk is not in force, the last good one is: {why}");
                self.daemon.health.declared(Err(why));
            }
        }
        self.status.clear();
        self.tell_status();
        if self.start.told {
            self.daemon.manager.tell("READY=1");
        }
        if std::mem::take(&mut self.reread_again) {
            self.reload();
        }
    }

    /// The declaration's files were looked at: are they still those that were read?
    pub(super) fn compare_disk(&mut self, now: Option<Trace>) {
        let Some(now) = now.filter(|_| self.rereading.is_none()) else { return };
        let differs = now != self.daemon.files.trace;
        self.daemon.health.differs(differs);
        if differs && self.daemon.files.on_change {
            tracing::info!("the declaration on disk changed");
            self.reload();
        }
    }

    /// Another declaration is in force. Visits under way finish under the one they began with.
    fn go_on_with(&mut self, next: Arc<Engine>) {
        let before = std::mem::replace(&mut self.engine, next);
        self.pool.forget_waiting();
        let until = self.clock.monotonic() + LEAVING_MAX;
        for credential in before.replaced_by(&self.engine) {
            let status = before.board().get(&credential.name);
            let begun = status.is_none_or(|one| one.fault.is_some() || one.reason.is_mid_attempt());
            if begun || self.pool.runs(&credential.name) {
                let last = Last { engine: Arc::clone(&before), credential: Arc::clone(&credential), until };
                self.last.insert(credential.name.clone(), last);
            }
            tracing::info!(credential = %credential.name, "declared no more: left as it is, nothing is revoked");
        }
        let (told, passed) = (self.start.told, self.start.passed);
        self.start = Start { told, passed, ..Start::new(&self.engine) };
        self.told.retain(|name, _| self.engine.declared(name).is_some());
        self.list_at.clear();
        self.listing.clear();
        self.unjudged.clear();
        self.look_at = Duration::ZERO;
        self.reopen_at = self.clock.monotonic() + UNOPENED_PAUSE;
        self.tell_unopened();
        self.daemon.engine.send_replace(Arc::clone(&self.engine));
        tracing::info!(
            credentials = self.engine.declaration().credentials.len(),
            under_way = self.pool.running().len(),
            "the declaration on disk is in force"
        );
    }
}
