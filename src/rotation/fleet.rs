//! Which secrets of a listing need a further look, from the listing alone: what makes a pass over
//! an idle fleet cost one call per hundred secrets and none at any vendor.

use crate::model::capability::Marking;
use crate::model::label::{
    Label, TAG_ATTEMPT, TAG_BASE, TAG_CREDENTIAL, TAG_DEPLOYMENT, TAG_FORMER, TAG_PAUSE, TAG_PLACE,
};
use crate::model::name::{Deployment, Name};
use crate::model::observed::Summary;
use crate::model::policy::Policy;
use crate::model::time::Timestamp;
use crate::rotation::calendar;

/// What a listing says about one secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// Observe it now.
    Now,
    /// Nothing to do before this date.
    At(Timestamp),
    /// Nothing to do until a person asks.
    Never,
}

/// Judges one listed secret. A listing is up to five minutes old; that delays, and never decides.
pub fn look(summary: &Summary, deployment: &Deployment, name: &Name, policy: &Policy, now: Timestamp) -> Look {
    match quiet_until(summary, deployment, name, policy) {
        None => Look::Now,
        Some(Look::At(date)) if date <= now => Look::Now,
        Some(look) => look,
    }
}

/// `None` when anything in the listing asks for a closer look.
fn quiet_until(summary: &Summary, deployment: &Deployment, name: &Name, policy: &Policy) -> Option<Look> {
    let tag = |key: &str| summary.tags.get(key).map(String::as_str);
    let owned = tag(TAG_DEPLOYMENT) == Some(deployment.as_str()) && tag(TAG_CREDENTIAL) == Some(name.as_str());
    let asks = [TAG_ATTEMPT, TAG_BASE, TAG_PAUSE, TAG_FORMER].iter().any(|key| summary.tags.contains_key(*key));
    let moved = tag(TAG_PLACE).is_some_and(|place| place != policy.place);
    // In-place vendors keep no lease, so the listing does not show their age.
    if !owned || moved || asks || summary.obstacle.is_some() || policy.capabilities.marking == Marking::InPlace {
        return None;
    }
    let mut since = None;
    let mut overlap = false;
    for labels in summary.labels.values() {
        let mut current = false;
        let mut previous = false;
        let mut lease = None;
        for label in labels {
            match label {
                Label::Current => current = true,
                Label::Previous => previous = true,
                Label::Cred(found) => lease = Some(found.since),
                Label::Closed | Label::Foreign(_) => {}
                Label::Pending | Label::Open(_) => return None,
            }
        }
        match (current, previous, lease) {
            (true, _, Some(date)) => since = Some(date),
            (false, true, _) => overlap = true,
            (false, false, None) => {}
            (true, _, None) | (false, false, Some(_)) => return None,
        }
    }
    let since = since?;
    let retire = overlap.then(|| since.plus(policy.candidate_age_max).plus(policy.overlap));
    let due = calendar::due(policy, since).and_then(|due| calendar::opens(policy, due));
    Some(crate::rotation::reason::earlier(retire, due).map_or(Look::Never, Look::At))
}
