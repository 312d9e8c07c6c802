//! Which secrets of a listing need a further look, from the listing alone: what makes a pass over
//! an idle fleet cost one call per hundred secrets and none at any vendor.

use std::time::Duration;

use crate::model::attempt::Cause;
use crate::model::capability::Marking;
use crate::model::label::{
    Label, TAG_ATTEMPT, TAG_BASE, TAG_COMPARED, TAG_CONFIRMED, TAG_CREDENTIAL, TAG_DEPLOYMENT, TAG_DWELLING, TAG_PAUSE,
    TAG_PLACE, TAG_RETIRING,
};
use crate::model::name::{Deployment, Name};
use crate::model::observed::Summary;
use crate::model::policy::{Policy, RetireWhen, Wanted};
use crate::model::time::Timestamp;
use crate::rotation::calendar;
use crate::rotation::decide::{LOOK_EVERY, LOOK_FOR, compare_due};
use crate::rotation::reason::earlier;
use crate::rotation::tags::{Accepted, Compared};

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
    match quiet_until(summary, deployment, name, policy, now) {
        None => Look::Now,
        Some(Look::At(date)) if date <= now => Look::Now,
        Some(look) => look,
    }
}

/// Whether the listing shows something under way: a claim, a candidate, a first try, or a credential
/// that is being retired.
pub fn begun(summary: &Summary) -> bool {
    let mut labels = summary.labels.values().flatten();
    labels.any(|label| matches!(label, Label::Open(_) | Label::Pending))
        || [TAG_ATTEMPT, TAG_RETIRING].iter().any(|key| summary.tags.contains_key(*key))
}

/// Whether the declaration names another place at the vendor than the secret's credentials live in.
pub fn moved(summary: &Summary, policy: &Policy) -> bool {
    summary.tags.get(TAG_PLACE).is_some_and(|place| *place != policy.place)
}

/// Whether something of ours may live that was not made as credentials are made now.
fn moving(summary: &Summary) -> bool {
    let here = summary.tags.get(TAG_PLACE).map(String::as_str);
    summary.tags.keys().filter_map(|key| key.strip_prefix(TAG_DWELLING)).any(|place| Some(place) != here)
}

/// `None` when anything in the listing asks for a closer look.
fn quiet_until(
    summary: &Summary,
    deployment: &Deployment,
    name: &Name,
    policy: &Policy,
    now: Timestamp,
) -> Option<Look> {
    let tag = |key: &str| summary.tags.get(key).map(String::as_str);
    let owned = tag(TAG_DEPLOYMENT) == Some(deployment.as_str()) && tag(TAG_CREDENTIAL) == Some(name.as_str());
    let asks = [TAG_ATTEMPT, TAG_BASE, TAG_PAUSE, TAG_RETIRING].iter().any(|key| summary.tags.contains_key(*key));
    if policy.wanted == Wanted::Retired {
        return None;
    }
    // In-place vendors keep no lease, so the listing does not show their age.
    if !owned
        || moved(summary, policy)
        || moving(summary)
        || asks
        || summary.obstacle.is_some()
        || policy.capabilities.marking == Marking::InPlace
    {
        return None;
    }
    let mut since = None;
    let mut overlap = false;
    let (mut current_id, mut before) = (None, None);
    for (id, labels) in &summary.labels {
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
            (true, _, Some(date)) => (since, current_id) = (Some(date), Some(id)),
            (false, true, lease) => (overlap, before) = (true, lease),
            (false, false, None) => {}
            (true, _, None) | (false, false, Some(_)) => return None,
        }
    }
    let since = since?;
    // Made after what is current, or in the same second: somebody may have gone back to the version before.
    if before.is_some_and(|before| before >= since) {
        return None;
    }
    let confirmed = tag(TAG_CONFIRMED).and_then(Accepted::parse).is_some_and(|one| current_id == Some(&one.version));
    let retire = overlap.then(|| retires(policy, since, confirmed, now));
    let due = calendar::due(policy, since).and_then(|due| calendar::opens(policy, due));
    let compared = tag(TAG_COMPARED).and_then(Compared::parse);
    if compared.as_ref().and_then(|one| one.missing.as_ref()).is_some_and(|missing| Some(missing) == current_id) {
        return None;
    }
    if compare_due(compared.as_ref(), since, policy).is_some_and(|due| due <= now) {
        return None;
    }
    Some(earlier(retire, due).map_or(Look::Never, Look::At))
}

/// When what is current is compared with the vendor's listing next, as far as a listing of secrets tells.
pub fn compares(summary: &Summary, policy: &Policy) -> Option<Timestamp> {
    let current = summary.labels.values().find(|labels| labels.contains(&Label::Current))?;
    let lease = current.iter().find_map(|label| match label {
        Label::Cred(lease) => Some(lease),
        _ => None,
    })?;
    let compared = summary.tags.get(TAG_COMPARED).and_then(|text| Compared::parse(text));
    compare_due(compared.as_ref(), lease.since, policy)
}

/// When AWSPREVIOUS may come off, as far as a listing of secrets tells. Use at the vendor it does
/// not show: that is looked for again and again, but not in every pass.
fn retires(policy: &Policy, since: Timestamp, confirmed: bool, now: Timestamp) -> Timestamp {
    let published = since.plus(policy.candidate_age_max);
    let overlap = published.plus(policy.overlap);
    match policy.retire_when {
        RetireWhen::Confirmed { max } if !confirmed => overlap.max(published.plus(max)),
        RetireWhen::OverlapOver | RetireWhen::Confirmed { .. } => overlap,
        RetireWhen::Unused { max } => {
            // At the declared maximum at the latest: use counts no more then.
            let over = overlap.max(published.plus(max));
            let (every, waited) = (LOOK_EVERY.as_secs(), now.since(overlap).as_secs());
            let turn = waited / every;
            let next = if waited % every < LOOK_FOR.as_secs() { turn } else { turn + 1 };
            overlap.plus(Duration::from_secs(next * every)).min(over)
        }
    }
}

/// How urgent a visit is; the smaller comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Urgency {
    /// A person said that the value leaked.
    Leaked,
    /// Something is under way in the secret. It may be a leaked rotation that a crash cut short:
    /// why an attempt was begun stands in the text of its claim, which a listing does not show.
    Begun,
    /// A person asked for it.
    Asked,
    /// The calendar, or cleaning up.
    Routine,
}

/// How urgent a visit for `cause` is, to a secret in which something is under way, or nothing.
pub fn urgency(cause: Option<Cause>, begun: bool) -> Urgency {
    match cause {
        Some(Cause::Leaked) => Urgency::Leaked,
        _ if begun => Urgency::Begun,
        Some(Cause::Asked) => Urgency::Asked,
        Some(Cause::Due) | None => Urgency::Routine,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::label::Lease;
    use crate::model::name::{SecretName, VersionId};
    use crate::rotation::story::{DAY, NOW, ago, arn, attempt, healthy, tracked};

    /// In overlap since a rotation that was claimed so many minutes ago.
    fn overlap(minutes: u64) -> Summary {
        let lease = |minutes, id| Label::Cred(Lease { since: ago(minutes), tracked: tracked(id), made_in: None });
        let version = |digit: &str| VersionId::new(&digit.repeat(32)).unwrap();
        let labels = BTreeMap::from([
            (version("a"), vec![Label::Previous, lease(10 * DAY, "old")]),
            (version("b"), vec![Label::Current, lease(minutes, "new")]),
        ]);
        let compared = NOW.seconds().to_string();
        let own = [(TAG_DEPLOYMENT, "prod"), (TAG_CREDENTIAL, "app"), (TAG_COMPARED, compared.as_str())];
        let tags = own.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let name = SecretName::new("app").unwrap();
        Summary { arn: arn(), name, labels, tags, changed: ago(minutes), obstacle: None }
    }

    fn with(mut summary: Summary, key: &str, value: &str) -> Summary {
        summary.tags.insert(key.to_owned(), value.to_owned());
        summary
    }

    #[test]
    fn a_secret_in_overlap_is_looked_at_when_its_end_may_have_come() {
        let week = Duration::from_secs(7 * 86_400);
        let (unused, confirmed) = (RetireWhen::Unused { max: week }, RetireWhen::Confirmed { max: week });
        let in_minutes = |minutes: u64| Look::At(NOW.plus(Duration::from_secs(60 * minutes)));
        let word = |digit: &str| format!("{}@7", digit.repeat(32));
        let end = DAY + 60;
        for (situation, summary, when, expected) in [
            ("in overlap", overlap(60), RetireWhen::OverlapOver, in_minutes(DAY)),
            ("overlap over", overlap(end), RetireWhen::OverlapOver, Look::Now),
            ("overlap over, unused?", overlap(end), unused, Look::Now),
            ("an hour later", overlap(end + 60), unused, in_minutes(5 * 60)),
            ("six hours later", overlap(end + 6 * 60), unused, Look::Now),
            // A daily timer misses every one of those hours, and ends it all the same.
            ("an hour before the maximum", overlap(7 * DAY), unused, in_minutes(60)),
            ("at the maximum", overlap(7 * DAY + 60), unused, Look::Now),
            ("long after the maximum", overlap(9 * DAY + 123), unused, Look::Now),
            ("overlap over, unconfirmed", overlap(end), confirmed, in_minutes(6 * DAY)),
            ("confirmed", with(overlap(end), TAG_CONFIRMED, &word("b")), confirmed, Look::Now),
            ("confirmed too early", with(overlap(60), TAG_CONFIRMED, &word("b")), confirmed, in_minutes(DAY)),
            (
                "another version confirmed",
                with(overlap(end), TAG_CONFIRMED, &word("a")),
                confirmed,
                in_minutes(6 * DAY),
            ),
            ("overdue", overlap(7 * DAY + 60), confirmed, Look::Now),
            (
                "compared six hours ago",
                with(overlap(7 * 60), TAG_COMPARED, &ago(360).seconds().to_string()),
                RetireWhen::OverlapOver,
                Look::Now,
            ),
            (
                "not listed at the vendor",
                with(overlap(60), TAG_COMPARED, &format!("{}:{}", NOW.seconds(), "b".repeat(32))),
                RetireWhen::OverlapOver,
                Look::Now,
            ),
            ("retiring, and wanted again", with(overlap(60), TAG_RETIRING, "1"), RetireWhen::OverlapOver, Look::Now),
        ] {
            let mut policy = healthy().policy;
            policy.retire_when = when;
            let (deployment, name) = (Deployment::new("prod").unwrap(), Name::new("app").unwrap());
            assert_eq!(look(&summary, &deployment, &name, &policy, NOW), expected, "{situation}");
        }
    }

    #[test]
    fn an_emergency_comes_first_and_what_may_be_one_next() {
        let mut claimed = overlap(5);
        claimed.labels.insert(attempt(1).claim_id(), vec![Label::Open(attempt(1))]);
        let order = [
            (Some(Cause::Leaked), &overlap(5)),
            (None, &claimed),
            (Some(Cause::Asked), &overlap(5)),
            (None, &overlap(5)),
        ]
        .map(|(cause, summary)| urgency(cause, begun(summary)));
        assert_eq!(order, [Urgency::Leaked, Urgency::Begun, Urgency::Asked, Urgency::Routine]);
        assert!(order.is_sorted());
    }
}
