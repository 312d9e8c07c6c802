//! Trials of what is seen when, and by whom: staleness, permissions, throttling.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Trial;
use super::bench::{A, Bench, CURRENT, PENDING, Patience, SEEN_MAX, VALUE};
use super::calls::Labels;
use crate::model::fault::{Class, Fault};
use crate::model::finding::Sight;
use crate::model::name::VersionId;

/// Writes whose way into the answers is timed.
const SAMPLES: usize = 3;
/// Listings are timed less often: each may take minutes.
const LISTED_SAMPLES: usize = 2;
/// `ListSecrets` may be five minutes old (API reference); a little more, for the polling.
const LISTED_MAX: Duration = Duration::from_secs(330);
const LISTED_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));

/// How long until `DescribeSecret` shows a put.
pub(super) fn described(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let mut millis = Vec::new();
        for _ in 0..SAMPLES {
            let id = bench.token();
            bench.put(&id, VALUE, &[A]).await?;
            let began = bench.clock.monotonic();
            if bench.look_until(|look| look.has(&id, A)).await?.is_none() {
                return Ok(late("DescribeSecret", SEEN_MAX));
            }
            millis.push(bench.clock.monotonic().saturating_sub(began).as_millis());
        }
        Ok(timed("DescribeSecret", &millis))
    })
}

/// How long until `ListSecretVersionIds` shows a put.
pub(super) fn versions(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let mut millis = Vec::new();
        for _ in 0..SAMPLES {
            let id = bench.token();
            bench.put(&id, VALUE, &[A]).await?;
            let began = bench.clock.monotonic();
            if !bench.versions_until(|versions| shows(versions, &id)).await? {
                return Ok(late("ListSecretVersionIds", SEEN_MAX));
            }
            millis.push(bench.clock.monotonic().saturating_sub(began).as_millis());
        }
        Ok(timed("ListSecretVersionIds", &millis))
    })
}

/// How long until `ListSecrets`, filtered by tag, shows a put.
pub(super) fn listed(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let mut millis = Vec::new();
        for _ in 0..LISTED_SAMPLES {
            let id = bench.token();
            bench.put(&id, VALUE, &[A]).await?;
            let began = bench.clock.monotonic();
            let mut patience = Patience::new(LISTED_MAX, LISTED_PAUSE);
            while !bench.listed().await?.is_some_and(|labels| shows(&labels, &id)) {
                if !patience.wait(bench).await? {
                    return Ok(late("ListSecrets", LISTED_MAX));
                }
            }
            millis.push(bench.clock.monotonic().saturating_sub(began).as_millis());
        }
        Ok(timed("ListSecrets", &millis))
    })
}

fn shows(labels: &Labels, id: &VersionId) -> bool {
    labels.get(id.as_str()).is_some_and(|labels: &BTreeSet<String>| labels.contains(A))
}

fn timed(what: &str, millis: &[u128]) -> Sight {
    let texts: Vec<String> = millis.iter().map(ToString::to_string).collect();
    Sight::held(format!("{} writes were seen by {what} after {} ms", millis.len(), texts.join(", ")))
}

fn late(what: &str, most: Duration) -> Sight {
    Sight::not_held(format!("a write was not seen by {what} within {} s", most.as_secs()))
}

/// A candidate can be read by id and label.
pub(super) fn candidate(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let id = bench.version(&[PENDING]).await?;
        let read = bench.value(Some(&id), Some(PENDING)).await;
        bench.swap(PENDING, None, Some(&id)).await?;
        Ok(Sight::of(read? == VALUE, "the candidate was read by its id and AWSPENDING"))
    })
}

/// Where the README's policy is in force, AWSCURRENT can't be read, by whatever name.
pub(super) fn current(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let id = bench.current().await?;
        match bench.value(None, Some(CURRENT)).await {
            Ok(_) => {
                return Ok(Sight::untried(
                    "this caller may read AWSCURRENT, so the README's condition on secretsmanager:VersionStage is \
                     not in force; keyferry does not need that right",
                ));
            }
            Err(fault) if fault.class == Class::Denied => {}
            Err(fault) => return Err(fault),
        }
        // Refused for its label, or refused anything?
        let candidate = bench.version(&[PENDING]).await?;
        let read = bench.value(Some(&candidate), Some(PENDING)).await;
        bench.swap(PENDING, None, Some(&candidate)).await?;
        read?;
        let ways: [(&str, Option<&VersionId>, Option<&str>); 2] =
            [("by its version id alone", Some(&id), None), ("by naming nothing", None, None)];
        for (how, version, label) in ways {
            match bench.value(version, label).await {
                Ok(_) => return Ok(Sight::not_held(format!("AWSCURRENT is denied by its label, but was read {how}"))),
                Err(fault) if fault.class == Class::Denied => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(Sight::held(
            "secretsmanager:VersionStage is in force: AWSCURRENT is denied by label, by id and by default, AWSPENDING is \
             allowed",
        ))
    })
}

/// The code of throttling, where it was met by itself.
pub(super) fn throttling(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        bench.leave().await?;
        let codes: Vec<String> = bench.noted().throttled.iter().cloned().collect();
        Ok(match codes.as_slice() {
            [] => Sight::untried("nothing was throttled, and it is never provoked"),
            [code] if code == "ThrottlingException" => Sight::held("throttled calls were answered ThrottlingException"),
            codes => Sight::not_held(format!("throttled calls were answered {}", codes.join(", "))),
        })
    })
}

/// Describing needs no right to the KMS key.
pub(super) fn without_key(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        if bench.kms_key_id.is_none() {
            return Ok(Sight::untried("no key was named (--kms-key)"));
        }
        let used = bench.put(&bench.token(), VALUE, &[A]).await;
        bench.look().await?;
        match used {
            Ok(_) => Ok(Sight::untried("this caller may use the key; try it as one that may not")),
            Err(Fault { class: Class::Denied, answer, .. }) if answer.contains("KMS") => {
                Ok(Sight::held("the secret was described by a caller that may not use its key"))
            }
            Err(fault) => Err(fault),
        }
    })
}
