//! What each check sees, in the order in which `decide` asks, for people who want to know why one
//! credential is or isn't being rotated now. It decides nothing; a test compares it with what does.

use crate::model::label::Label;
use crate::model::observed::Obstacle;
use crate::model::policy::{Policy, Rotate, Takeover, Wanted};
use crate::model::time::{Now, Timestamp, human};
use crate::rotation::decide::case::{Case, published};
use crate::rotation::decide::{held, moving, over, parked};
use crate::rotation::view::{Company, FOR_EVER, Owner, Secret, Seen, Version, View};
use crate::rotation::{Reason, calendar, person, sweep};

/// One check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What is asked, in a word or two.
    pub what: &'static str,
    /// What was seen.
    pub found: String,
    /// Whether a rotation waits for it now, and under which reason.
    pub stops: Option<Reason>,
}

/// Every check that can be made on what was seen, in order.
pub fn checks(view: &View, policy: &Policy, now: Now) -> Vec<Check> {
    let Some(secret) = &view.secret else {
        let (found, stops) = if policy.create_secret {
            ("there is none of that name; keyferry makes it", Reason::SecretMissing)
        } else {
            ("there is none of that name, and `create = false`", Reason::SecretAbsent)
        };
        return vec![Check { what: "secret", found: found.into(), stops: Some(stops) }];
    };
    let mut told = vec![
        owner(secret, policy),
        obstacle(secret, policy),
        place(secret, view, policy, now.store),
        pause(secret, now.store),
    ];
    let Some(current) = secret.with(&Label::Current) else {
        let (found, stops) = if secret.versions.is_empty() {
            ("the secret has no value yet".to_owned(), Reason::SecretEmpty)
        } else {
            ("the secret has versions, but none is current".to_owned(), Reason::NoCurrent)
        };
        told.push(Check { what: "current", found, stops: Some(stops) });
        return told;
    };
    told.extend(retirement(secret, policy));
    let case = Case { secret, current, view, policy, now };
    told.push(fine("current", format!("{} of {}", current.id, current.created)));
    told.push(match held(secret, current, policy) {
        Some(reason) => stopped("held", reason.sentence(), reason),
        None => fine("held", "no, nothing waits for a person's word"),
    });
    told.extend(case.checks());
    told
}

fn live(count: usize) -> String {
    if count == 1 { "1 credential lives there".into() } else { format!("{count} credentials live there") }
}

fn fine(what: &'static str, found: impl Into<String>) -> Check {
    Check { what, found: found.into(), stops: None }
}

fn stopped(what: &'static str, found: impl Into<String>, reason: Reason) -> Check {
    Check { what, found: found.into(), stops: Some(reason) }
}

fn owner(secret: &Secret, policy: &Policy) -> Check {
    match &secret.owner {
        Owner::Us => fine("owner", "ours, by its tags"),
        Owner::Stripped => fine(
            "owner",
            "ours, by its claims and versions; its owner tags are missing, so a listing of the fleet does not show it",
        ),
        Owner::Nobody if secret.versions.is_empty() && !policy.create_secret => {
            fine("owner", "nobody's, and empty: made for keyferry to fill")
        }
        Owner::Nobody => match policy.takeover {
            Takeover::Rotate => fine("owner", "nobody's yet; `takeover = \"rotate\"` lets keyferry have it"),
            Takeover::Refuse => stopped("owner", "nobody's, so not keyferry's to write", Reason::NotOurs),
        },
        Owner::Other { deployment, credential } => stopped(
            "owner",
            format!("another's: deployment `{}`, credential `{}`", shown(deployment), shown(credential)),
            Reason::OtherOwner,
        ),
    }
}

/// A tag may hold anything.
fn shown(text: &str) -> String {
    text.chars().take(128).flat_map(char::escape_debug).collect()
}

fn obstacle(secret: &Secret, policy: &Policy) -> Check {
    let found = match &secret.obstacle {
        None => return fine("in the way", "nothing"),
        Some(Obstacle::ScheduledForDeletion(date)) => format!("scheduled for deletion since {date}"),
        Some(Obstacle::NativeRotation) => "Secrets Manager rotates it itself".into(),
        Some(Obstacle::PartnerType(partner)) => format!("managed for the partner `{}`", shown(partner)),
        Some(Obstacle::ManagedBy(service)) => format!("managed by the service `{}`", shown(service)),
        Some(Obstacle::Replica { primary }) => format!("a replica; the primary is in {}", shown(primary)),
    };
    // What stands in the way is asked first, whoever owns it.
    let stops = parked(&person::unpaused(secret), policy, Timestamp::default()).map(|decision| decision.reason());
    Check { what: "in the way", found, stops }
}

fn place(secret: &Secret, view: &View, policy: &Policy, now: Timestamp) -> Check {
    let Some(place) = &secret.place else { return fine("place", "not written down on the secret") };
    let other = "the declaration names another than its credentials live in";
    match moving::moved(secret, view, policy, now).map(|decision| decision.reason()) {
        None if *place == policy.place && secret.formers().next().is_some() => {
            fine("place", "as declared; what was made elsewhere is still to end")
        }
        None => fine("place", "as declared"),
        Some(Reason::OtherPlace) => stopped("place", other, Reason::OtherPlace),
        Some(_) => fine("place", format!("{other}: it moves there, with overlap")),
    }
}

/// `state = "retired"`, now or until a moment ago.
fn retirement(secret: &Secret, policy: &Policy) -> Option<Check> {
    Some(match (policy.wanted, &secret.retiring) {
        (Wanted::Present, None) => return None,
        (Wanted::Present, Some(_)) => fine("state", "wanted again after a retirement that had begun"),
        (Wanted::Retired, None) => stopped("state", "retired: consumers are given their time first", Reason::Retiring),
        (Wanted::Retired, Some(tag)) => {
            stopped("state", format!("retired: consumers read on until {}", over(tag, policy)), Reason::Retiring)
        }
    })
}

fn pause(secret: &Secret, now: Timestamp) -> Check {
    match secret.paused_until {
        None => fine("pause", "none"),
        Some(until) if until == FOR_EVER => stopped("pause", "until somebody resumes", Reason::Paused),
        Some(until) if until > now => stopped("pause", format!("until {until}"), Reason::Paused),
        Some(until) => fine("pause", format!("over since {until}")),
    }
}

impl Case<'_> {
    fn checks(&self) -> Vec<Check> {
        let mut told = vec![self.told_candidate(), self.told_attempts()];
        let crowded = self.view.facts.company.found() == Some(&Company::Others);
        told.extend(crowded.then(|| stopped("company", Reason::NotAlone.sentence(), Reason::NotAlone)));
        told.extend(self.told_older());
        told.push(self.told_vendor());
        told.push(self.told_backoff());
        told.push(self.told_due());
        told.push(self.told_window());
        told
    }

    fn told_candidate(&self) -> Check {
        match self.secret.with(&Label::Pending) {
            None => fine("candidate", "none"),
            Some(pending) if pending.id == self.current.id => fine("candidate", "promoted; only its label is left"),
            Some(pending) if pending.slot().is_none() => {
                stopped("candidate", format!("{} was not stored by keyferry", pending.id), Reason::ForeignPending)
            }
            Some(pending) => stopped(
                "candidate",
                format!("{} of {} waits for its login", pending.id, published(pending)),
                Reason::CandidateUnproved,
            ),
        }
    }

    fn told_attempts(&self) -> Check {
        let unfinished = self.secret.versions.iter().filter_map(|version| {
            let attempt = version.claim()?.attempt;
            self.secret.slot_of(attempt).is_none().then_some(version)
        });
        if let Some(claim) = unfinished.min_by_key(|version| version.created) {
            let until = claim.created.plus(self.policy.settle);
            let found = format!("one was begun at {} and is not finished; given up after {until}", claim.created);
            return stopped("attempts", found, Reason::AttemptOpen);
        }
        match self.opened().count() {
            0 => fine("attempts", "none is open"),
            count => stopped(
                "attempts",
                format!("{count} finished, and not yet known to have left nothing at the vendor"),
                Reason::Settling,
            ),
        }
    }

    fn told_older(&self) -> Vec<Check> {
        let mut told = Vec::new();
        let waits = held(self.secret, self.current, self.policy).is_some();
        match self.secret.with(&Label::Previous).filter(|previous| previous.id != self.current.id) {
            None => told.push(fine("previous", "none is in use")),
            Some(previous) if waits => {
                told.push(fine("previous", format!("{} is kept until a person has decided", previous.id)));
            }
            Some(previous) => {
                let (end, overlap) = (self.previous_end(previous), human(self.policy.overlap));
                let most = if end.waits_for.is_some() { " at the most" } else { "" };
                let how = if self.in_place() { "is kept in AWS" } else { "works" };
                let found = format!("{} {how} until {}{most} (overlap {overlap})", previous.id, end.at);
                told.push(stopped("previous", found, end.waits_for.unwrap_or(Reason::InOverlap)));
            }
        }
        let dead = |version: &&Version| version.lease().is_some() && !version.referenced();
        for version in self.secret.versions.iter().filter(dead) {
            told.push(fine("older", format!("{} is out of use, and revoked after {}", version.id, self.ends(version))));
        }
        told
    }

    fn told_vendor(&self) -> Check {
        let leased = self.secret.versions.iter().filter(|version| version.lease().is_some()).count();
        // In place there is no lease: the record's own mark tells.
        let marked = |listing: &[Seen]| listing.iter().filter(|seen| sweep::ours(seen)).count();
        let leased = self.view.listing().filter(|_| self.in_place()).map_or(leased, marked);
        match self.view.listing() {
            None if self.in_place() => fine("vendor", "not seen"),
            None => fine("vendor", format!("not seen; by the secret's labels {leased} of its credentials live")),
            Some(listing) if !self.room(listing) => stopped(
                "vendor",
                format!("{}, {leased} of them this secret's: no room", live(listing.len())),
                Reason::NoRoom,
            ),
            Some(listing) => fine("vendor", format!("{}, {leased} of them this secret's", live(listing.len()))),
        }
    }

    fn told_backoff(&self) -> Check {
        let (number, last) = self.next_number();
        let over = last.map(|last| last.plus(calendar::backoff(self.policy, number - 1)));
        match over {
            None => fine("backoff", "no attempt to replace this version was begun yet"),
            Some(over) if self.now.store < over => stopped(
                "backoff",
                format!("attempt {} was the last; another may begin at {over}", number - 1),
                Reason::BackingOff,
            ),
            Some(over) => fine("backoff", format!("attempt {} was the last; over since {over}", number - 1)),
        }
    }

    fn told_due(&self) -> Check {
        let since = published(self.current);
        let rule = match &self.policy.rotate {
            Rotate::Manual => return fine("due", "never by itself: rotation is manual"),
            Rotate::Every(every) => format!("{} after {since}", human(*every)),
            Rotate::Cron { text, zone, .. } => format!("the first `{text}` ({zone}) after {since}"),
        };
        let jitter = match self.policy.jitter {
            none if none.is_zero() => String::new(),
            jitter => format!(" and its share of the jitter of {}", human(jitter)),
        };
        match calendar::due(self.policy, since) {
            None => fine("due", format!("never: no date fits {rule}")),
            Some(due) if due <= self.now.store => fine("due", format!("yes, since {due}: {rule}{jitter}")),
            Some(due) => fine("due", format!("at {due}: {rule}{jitter}")),
        }
    }

    fn told_window(&self) -> Check {
        if self.policy.windows.is_empty() && self.policy.freezes.is_empty() {
            return fine("window", "none declared: any time");
        }
        let due = calendar::due(self.policy, published(self.current));
        let from = due.map_or(self.now.store, |due| due.max(self.now.store));
        let found = match calendar::opens(self.policy, from) {
            Some(opens) if opens == self.now.store => "open now".to_owned(),
            Some(opens) => format!("one may begin at {opens}"),
            None => "closed for more than a year: see `window` and `freeze`".into(),
        };
        let due_now = due.is_some_and(|due| due <= self.now.store);
        let stops = (due_now && calendar::opens(self.policy, self.now.store) != Some(self.now.store))
            .then_some(Reason::WindowClosed);
        Check { what: "window", found, stops }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::policy::Freeze;
    use crate::rotation::Step;
    use crate::rotation::story::*;

    fn due(mut told: Told) -> Told {
        told.policy.rotate = Rotate::Every(Duration::from_secs(86_400));
        told
    }

    #[test]
    fn the_first_check_that_stops_is_why_nothing_is_done() {
        let freeze = |told: &mut Told| {
            told.policy.freezes = vec![Freeze { from: ago(60), to: NOW.plus(Duration::from_secs(60)) }]
        };
        let paused = |told: &mut Told| told.secret().paused_until = Some(FOR_EVER);
        let rows: Vec<(Told, Option<&str>)> = vec![
            (due(healthy()).with(paused), Some("pause")),
            (due(healthy()).with(|told| told.secret().owner = Owner::Nobody), Some("owner")),
            (due(healthy()).with(|told| told.secret().obstacle = Some(Obstacle::NativeRotation)), Some("in the way")),
            (due(healthy()).with(|told| told.secret().place = Some("elsewhere".into())), Some("place")),
            (due(healthy()).with(|told| told.secret().versions[0].labels = vec![Label::Current]), Some("held")),
            (due(healthy()).claimed(1, 5), Some("attempts")),
            (healthy().promoted(60).resolved(1), Some("previous")),
            (due(healthy()).with(freeze), Some("window")),
            (due(healthy()).with(|told| told.company(found(Company::Others))), Some("company")),
            (due(healthy()).claimed(8, 30).tombstone(8, 14).resolved(8), Some("backoff")),
            (healthy(), None),
        ];
        for (told, expected) in rows {
            let now = Now { store: NOW, vendor: Some(NOW) };
            let decision = told.decide();
            assert_eq!(decision.step(), None, "{expected:?}");
            let checks = checks(&told.view, &told.policy, now);
            let first = checks.iter().find(|check| check.stops.is_some());
            assert_eq!(first.map(|check| check.what), expected, "{checks:#?}");
            if let Some(reason) = first.and_then(|check| check.stops) {
                assert_eq!(reason, decision.reason(), "{checks:#?}");
            }
        }
    }

    #[test]
    fn what_is_due_now_is_stopped_by_nothing() {
        let told = due(healthy());
        let checks = checks(&told.view, &told.policy, Now { store: NOW, vendor: Some(NOW) });
        assert!(checks.iter().all(|check| check.stops.is_none()), "{checks:#?}");
        assert!(matches!(told.decide().step(), Some(Step::Claim { .. })));
        let due = checks.iter().find(|check| check.what == "due").unwrap();
        assert!(due.found.starts_with("yes, since"), "{}", due.found);
    }
}
