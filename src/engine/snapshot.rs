//! What is known of each credential: for `status`, the status page and the closing table. Facts
//! only, never values; lost with the process and rebuilt by the next pass.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::fault::{Class, Fault};
use crate::model::label::{TAG_PAUSE, TAG_PAUSE_BY, TAG_PAUSE_REASON};
use crate::model::name::{Name, TargetName, VendorId, VersionId};
use crate::model::time::Timestamp;
use crate::rotation::reason::{PREVIOUS_KEPT, earlier};
use crate::rotation::tags::{Unproved, date};
use crate::rotation::{Reason, Turn};

/// What the last look at one credential showed.
#[derive(Clone, PartialEq, Debug)]
pub struct Status {
    /// Why it is as it is.
    pub reason: Reason,
    /// What went wrong on the way, if anything.
    pub fault: Option<Fault>,
    /// AWS's date of the look.
    pub looked: Timestamp,
    /// AWS's date of the next one; `None` when only an outside change can make a difference.
    pub look_again: Option<Timestamp>,
    /// AWS's date at which what is published is compared with the vendor's listing next; `None` where
    /// that tells nothing.
    pub compare_at: Option<Timestamp>,
    /// What is published.
    pub published: Option<Published>,
    /// Whether a consumer may be reading a dead value: the vendor no longer lists what AWSCURRENT
    /// holds.
    pub dead: bool,
    /// Credentials in the same place that are not this secret's.
    pub foreign: usize,
    /// The pause in the secret's tags, over or not.
    pub paused: Option<Paused>,
    /// Whether something took our owner tags off the secret; it is still known by its versions.
    pub stripped: bool,
    /// What the reason's sentence leaves open: numbers.
    pub detail: Option<String>,
}

/// A pause, as a person wrote it into the secret's tags.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paused {
    /// Until when; `None` until somebody resumes.
    pub until: Option<Timestamp>,
    /// Why, where it was told.
    pub reason: Option<String>,
    /// Who, where it was told.
    pub by: Option<String>,
}

impl Paused {
    /// The pause in these tags, over or not.
    pub fn of(tags: &BTreeMap<String, String>) -> Option<Self> {
        let told = |key: &str| tags.get(key).filter(|text| !text.is_empty()).cloned();
        Some(Self { until: date(tags.get(TAG_PAUSE)?), reason: told(TAG_PAUSE_REASON), by: told(TAG_PAUSE_BY) })
    }
}

impl fmt::Display for Paused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            Some(by) => write!(out, "paused by {by}")?,
            None => out.write_str("paused by a person")?,
        }
        match self.until {
            Some(until) => write!(out, " until {until}")?,
            None => out.write_str(" until resumed")?,
        }
        match &self.reason {
            Some(reason) => write!(out, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// The published generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// The AWS version that is current.
    pub version: VersionId,
    /// The vendor's id, where the lease shows it.
    pub id: Option<VendorId>,
    /// AWS's date from which its age counts.
    pub since: Timestamp,
    /// Whether keyferry published or adopted it, after a login with it.
    pub verified: bool,
    /// Whether nothing proves it, and why it is published all the same.
    pub unproved: Option<Unproved>,
    /// How many credentials of this secret live.
    pub live: usize,
}

impl Status {
    /// Nobody could look, for this reason.
    pub fn unseen(fault: Fault, looked: Timestamp) -> Self {
        Self {
            reason: Reason::NotSeen,
            fault: Some(fault),
            looked,
            look_again: None,
            compare_at: None,
            published: None,
            dead: false,
            foreign: 0,
            paused: None,
            stripped: false,
            detail: None,
        }
    }

    /// When it is looked at next: for the next thing to do, or to compare.
    pub fn next_look(&self) -> Option<Timestamp> {
        earlier(self.look_again, self.compare_at)
    }

    /// Whether it shows the same published credential.
    pub fn publishes_as(&self, published: &Option<Published>) -> bool {
        let which = |published: &Option<Published>| published.as_ref().map(|one| (one.since, one.version.clone()));
        which(&self.published) == which(published)
    }

    /// Why it is as it is, for people: the reason as a sentence, with what it leaves open; of a pause,
    /// who asked for it, until when and why; and whether what is published was proved.
    pub fn sentence(&self) -> String {
        if let Some(paused) = self.paused.as_ref().filter(|_| self.reason == Reason::Paused) {
            return paused.to_string();
        }
        let unproved = self.published.as_ref().and_then(|published| published.unproved);
        let mut sentence = match self.reason {
            Reason::Healthy if unproved.is_some() => "current and not due".to_owned(),
            Reason::HealthyManual if unproved.is_some() => "current; rotates only when asked".to_owned(),
            Reason::InOverlap if self.published.as_ref().is_some_and(|one| one.live <= 1) => PREVIOUS_KEPT.to_owned(),
            reason => reason.message(self.look_again),
        };
        if let Some(detail) = &self.detail {
            sentence.push_str(&format!(" ({detail})"));
        }
        if let Some(unproved) = unproved.filter(|_| self.turn() == Turn::Nobody) {
            sentence.push_str(match unproved {
                Unproved::Published => "; published unverified: no login at the vendor can tell whether it works",
                Unproved::Adopted => "; adopted unproved: nothing shows that its value is this credential's secret",
            });
        }
        sentence
    }

    /// Whose turn it is. A fault that heals by itself is keyferry's; any other waits for its cause.
    pub fn turn(&self) -> Turn {
        match (&self.fault, self.reason.turn()) {
            (_, turn @ (Turn::Person | Turn::Paused)) => turn,
            // A dead value is replaced at once; where nothing begins for now, a person can look into it.
            (None, Turn::Nobody) if self.dead => Turn::Person,
            (Some(fault), _) if !fault.heals_by_itself() => Turn::Cause,
            (Some(_), _) => Turn::Keyferry,
            (None, turn) => turn,
        }
    }

    /// The word for whose turn it is: `ok`, `working`, `retrying`, `blocked`, `held`, `paused`.
    pub fn word(&self) -> &'static str {
        match (self.turn(), &self.fault) {
            (Turn::Nobody, _) => "ok",
            (Turn::Keyferry, Some(_)) => "retrying",
            (Turn::Keyferry, None) => "working",
            (Turn::Cause, _) => "blocked",
            (Turn::Person, _) => "held",
            (Turn::Paused, _) => "paused",
        }
    }

    /// The exit code of a run that ends like this.
    pub fn exit_code(&self) -> u8 {
        if self.fault.as_ref().is_some_and(|fault| fault.class == Class::Bug) {
            return 70;
        }
        let dead = self.dead || self.reason == Reason::DeadCurrent;
        match (dead, self.turn(), &self.fault) {
            (true, _, _) => 6,
            (_, Turn::Person, _) => 4,
            (_, Turn::Cause, _) | (_, _, Some(_)) => 3,
            (_, Turn::Nobody | Turn::Keyferry | Turn::Paused, None) => 0,
        }
    }
}

/// When a credential is looked at again that was looked at now: as decided, and after a fault when it is
/// time for the next try. A date that is past already asks for nothing sooner than that.
pub(super) fn next_look(
    looked: Timestamp,
    decided: Option<Timestamp>,
    fault: Option<&Fault>,
    pause: Duration,
) -> Option<Timestamp> {
    match fault {
        None => decided,
        Some(Fault { class: Class::Retry { after: Some(told) }, .. }) => Some(looked.plus(pause.max(*told))),
        Some(_) => earlier(decided.filter(|date| *date > looked), Some(looked.plus(pause))),
    }
}

/// Every credential's last known status, and the targets that could not be listed.
#[derive(Default)]
pub struct Board(Mutex<Known>);

#[derive(Default)]
struct Known {
    statuses: BTreeMap<Name, Status>,
    unreachable: BTreeMap<TargetName, Fault>,
}

impl Board {
    /// Notes a look.
    pub fn set(&self, name: &Name, status: Status) {
        self.lock().statuses.insert(name.clone(), status);
    }

    /// Notes whether a target could be listed, and why not.
    pub fn set_reached(&self, target: &TargetName, fault: Option<Fault>) {
        let mut known = self.lock();
        match fault {
            Some(fault) => known.unreachable.insert(target.clone(), fault),
            None => known.unreachable.remove(target),
        };
    }

    /// A board that begins with what this one knows of some credentials and targets.
    pub fn kept(&self, credential: impl Fn(&Name) -> bool, target: impl Fn(&TargetName) -> bool) -> Self {
        let known = self.lock();
        let statuses = known.statuses.iter().filter(|(name, _)| credential(name));
        let unreachable = known.unreachable.iter().filter(|(name, _)| target(name));
        Self(Mutex::new(Known {
            statuses: statuses.map(|(name, status)| (name.clone(), status.clone())).collect(),
            unreachable: unreachable.map(|(name, fault)| (name.clone(), fault.clone())).collect(),
        }))
    }

    /// Everything, in the order of the names.
    pub fn all(&self) -> BTreeMap<Name, Status> {
        self.lock().statuses.clone()
    }

    /// Looks at everything where it lies: a copy of a large fleet costs megabytes.
    pub fn with<T>(&self, look: impl FnOnce(&BTreeMap<Name, Status>) -> T) -> T {
        look(&self.lock().statuses)
    }

    /// Targets that could not be listed in the last pass, and why.
    pub fn unreachable(&self) -> BTreeMap<TargetName, Fault> {
        self.lock().unreachable.clone()
    }

    /// One credential's.
    pub fn get(&self, name: &Name) -> Option<Status> {
        self.lock().statuses.get(name).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_that_is_past_does_not_defeat_the_back_off() {
        let at = Timestamp::from_seconds;
        let fault = |after: Option<u64>| {
            let class = Class::Retry { after: after.map(Duration::from_secs) };
            Fault::new(class, "a test", "nothing")
        };
        // (what was decided, the fault, the next look), looked at 100 and with a pause of 30
        let rows = [
            (Some(90), None, Some(90)),
            (None, None, None),
            (None, Some(fault(None)), Some(130)),
            (Some(110), Some(fault(None)), Some(110)),
            (Some(500), Some(fault(None)), Some(130)),
            (Some(100), Some(fault(None)), Some(130)),
            (Some(90), Some(fault(None)), Some(130)),
            (Some(90), Some(fault(Some(10))), Some(130)),
            (Some(110), Some(fault(Some(60))), Some(160)),
        ];
        for (decided, fault, expected) in rows {
            let next = next_look(at(100), decided.map(at), fault.as_ref(), Duration::from_secs(30));
            assert_eq!(next, expected.map(at), "{decided:?} {fault:?}");
        }
    }
}
