//! What the daemon tells the service manager and the log.

use std::collections::BTreeMap;

use super::{START_MAX, Work};
use crate::cli::code;
use crate::engine::reconcile::Visited;
use crate::model::name::Name;
use crate::model::time::Clock;
use crate::serve::Row;

impl Work {
    pub(super) fn tell_unopened(&self) {
        let unopened = self.engine.unopened();
        for fault in unopened.targets.values().chain(unopened.vendors.values()) {
            tracing::error!(hint = fault.hint, "{fault}; what lies there waits, everything else goes on");
        }
    }

    /// Whatever answered or did not: once everything was asked, the start is over.
    pub(super) fn tell_start(&mut self) {
        let waits = self.start.waits();
        let late = self.real.monotonic() >= START_MAX;
        if !self.start.told && (!waits || late) {
            self.start.told = true;
            self.daemon.manager.tell("READY=1");
            tracing::info!(all_asked = !waits, "started");
        }
        if !self.start.passed && !waits && self.start.wanted.is_empty() {
            self.start.passed = true;
            self.daemon.health.passed();
            self.tell_status();
        }
    }

    /// One line for the service manager, when it changed.
    pub(super) fn tell_status(&mut self) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        self.engine.board().with(|all| all.values().for_each(|one| *counts.entry(one.word()).or_default() += 1));
        let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
        let unreachable = self.engine.board().unreachable();
        let mut line = if counts.is_empty() { "looking at the fleet".to_owned() } else { counts.join(", ") };
        if !unreachable.is_empty() {
            let names: Vec<_> = unreachable.keys().map(ToString::to_string).collect();
            line.push_str(&format!("; no answer from target {}", names.join(", ")));
        }
        let in_force = self.daemon.health.in_force();
        if let Some(why) = in_force.refused {
            line.push_str(&format!("; the declaration on disk is NOT in force: {why}"));
        } else if in_force.differs {
            line.push_str("; the declaration on disk changed and is NOT in force: reload it");
        }
        if line != self.status {
            self.daemon.manager.status(&line);
            self.status = line;
        }
    }

    pub(super) fn tell(&mut self, name: &Name, visited: &Visited) {
        let row = Row::new(name, &visited.status);
        if visited.status.exit_code() == code::FINE {
            if self.told.remove(name).is_some() {
                tracing::info!(credential = %name, state = row.state, "{}", row.message);
            }
        } else if visited.status.fault.is_some() || self.told.get(name) != Some(&row.message) {
            // What waits for a person is said once; what fails, each time it is tried.
            tracing::warn!(credential = %name, state = row.state, hint = row.hint, "{}", row.message);
            self.told.insert(name.clone(), row.message);
        }
    }
}
