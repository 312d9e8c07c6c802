//! Trials of labels: what moves them, what may be in them, how many there may be.

use std::collections::BTreeSet;

use super::bench::{A, B, Bench, CURRENT, PENDING, PREVIOUS, VALUE, refusal, unseen};
use super::calls::Labels;
use super::{Trial, moved};
use crate::model::attempt::Attempt;
use crate::model::fault::{Class, Fault};
use crate::model::finding::{Outcome, Sight};
use crate::model::label::{Label, Lease, PlaceKey, Tracked};
use crate::model::name::{VendorId, VersionId};

/// Most labels of one secret (Secrets Manager quotas).
const LABEL_COUNT_MAX: usize = 20;
/// What a lost compare-and-swap is answered with, as `classify` reads it.
const SWAP_CODE: &str = "InvalidParameterException";

/// A secret's first version becomes AWSCURRENT whatever labels are asked for.
pub(super) fn first_version(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let id = bench.token();
        bench.put(&id, VALUE, &[PENDING]).await?;
        let look = bench.look_until(|look| look.has(&id, PENDING)).await?.ok_or_else(|| unseen("the first version"))?;
        if look.has(&id, CURRENT) {
            return Ok(Sight::held("the first version, put with AWSPENDING alone, holds AWSCURRENT as well"));
        }
        // The other trials stand on a current version.
        bench.swap(CURRENT, Some(&id), None).await?;
        Ok(Sight::not_held("the first version holds AWSPENDING alone, and nothing was current"))
    })
}

/// A put with labels publishes nothing.
pub(super) fn put_beside(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let current = bench.current().await?;
        let id = bench.version(&[A]).await?;
        let look = bench.quiet_look().await?;
        if look.has(&current, CURRENT) && !look.has(&id, CURRENT) {
            return Ok(Sight::held("a version put with a label of ours holds that label alone; AWSCURRENT stayed"));
        }
        Ok(Sight::not_held("AWSCURRENT moved to a version that was put with a label of ours alone"))
    })
}

/// The labels that the protocol writes.
pub(super) fn forms(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let attempt = Attempt::parse(bench.token().as_str()).ok_or_else(|| unseen("an attempt id"))?;
        let since = bench.now();
        let cred = |text: &str| -> Result<String, Fault> {
            let id = VendorId::new(text)
                .map_err(|invalid| Fault::new(Class::Bug, "make a label", format!("not an id: {invalid}")))?;
            Ok(Label::Cred(Lease { since, tracked: Tracked::of(&id), made_in: Some(PlaceKey::of("preflight")) })
                .to_string())
        };
        // All characters that a tracked id may have, at its longest; and one that is hashed.
        let plain = cred(&format!("{:x<128}", "Az09_.:-"))?;
        let hashed = cred("an id with / and blanks")?;
        let labels = [Label::Open(attempt).to_string(), Label::Closed.to_string(), plain, hashed];
        let texts: Vec<&str> = labels.iter().map(String::as_str).collect();
        let id = bench.token();
        if let Some(code) = refusal(bench.put(&id, VALUE, &texts).await)? {
            return Ok(Sight::not_held(format!("a put with {} was refused ({code})", labels.join(", "))));
        }
        let seen = bench.look_until(|look| look.labels.contains_key(id.as_str())).await?;
        let seen = seen.ok_or_else(|| unseen("a version that was just put"))?;
        let same = labels.iter().all(|label| seen.has(&id, label));
        let longest = labels.iter().map(String::len).max().unwrap_or_default();
        for label in &texts {
            bench.swap(label, None, Some(&id)).await?;
        }
        Ok(Sight::of(
            same,
            match same {
                true => format!("kf-open, kf-closed and kf-cred of up to {longest} characters came back as written"),
                false => "labels did not come back as written".to_owned(),
            },
        ))
    })
}

/// Twenty labels of a secret over all its versions.
pub(super) fn count(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let there: usize = bench.look().await?.labels.values().map(BTreeSet::len).sum();
        let more: Vec<String> =
            (0..LABEL_COUNT_MAX.saturating_sub(there)).map(|number| format!("kf-preflight-{number}")).collect();
        let id = bench.token();
        let texts: Vec<&str> = more.iter().map(String::as_str).collect();
        if let Some(code) = refusal(bench.put(&id, VALUE, &texts).await)? {
            return Ok(Sight::not_held(format!(
                "{} labels beside the {there} there were refused ({code})",
                more.len()
            )));
        }
        let one_more = refusal(bench.swap("kf-preflight-one-more", Some(&id), None).await)?;
        Ok(Sight::held(match one_more {
            Some(code) => format!("{LABEL_COUNT_MAX} labels fit, one more is refused ({code})"),
            None => format!("{LABEL_COUNT_MAX} labels fit, and one more, too"),
        }))
    })
}

/// A promotion that names the wrong version is refused and changes nothing.
pub(super) fn swap_wrong(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let (to, wrong) = (bench.version(&[A]).await?, bench.version(&[B]).await?);
        let current = bench.current().await?;
        let code = bench.refused_swap(CURRENT, Some(&to), Some(&wrong)).await?;
        let look = bench.quiet_look().await?;
        Ok(judged(code, look.has(&current, CURRENT), "moving AWSCURRENT from a version that does not hold it"))
    })
}

/// A label that a version holds does not move without its name.
pub(super) fn swap_absent(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let (holder, to) = (bench.version(&[A]).await?, bench.version(&[B]).await?);
        let code = bench.refused_swap(A, Some(&to), None).await?;
        let look = bench.quiet_look().await?;
        Ok(judged(code, look.has(&holder, A), "moving a held label without RemoveFromVersionId"))
    })
}

/// Taking a label off a version that does not hold it is refused.
pub(super) fn detach(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let (old, new) = promoted(bench, &[A]).await?;
        let look = bench.quiet_look().await?;
        if !look.has(&old, PREVIOUS) {
            // That it comes there by itself is another statement.
            let holder = look.holder(PREVIOUS).and_then(|holder| VersionId::new(holder).ok());
            bench.swap(PREVIOUS, Some(&old), holder.as_ref()).await?;
        }
        let code = bench.refused_swap(PREVIOUS, None, Some(&new)).await?;
        let look = bench.quiet_look().await?;
        let wrong = judged(code, look.holder(PREVIOUS).is_some(), "taking AWSPREVIOUS off a version without it");
        if wrong.outcome != Outcome::Held || !look.has(&old, PREVIOUS) {
            return Ok(wrong);
        }
        bench.swap(PREVIOUS, None, Some(&old)).await?;
        let again = bench.refused_swap(PREVIOUS, None, Some(&old)).await?;
        Ok(match again {
            Some(code) => Sight::held(format!("{}; so is taking it off twice ({code})", wrong.seen)),
            None => Sight::not_held(format!("{}, but taking it off twice was accepted", wrong.seen)),
        })
    })
}

/// The code of those refusals, of which `classify` makes *taken*.
pub(super) fn swap_code(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        bench.leave().await?;
        let codes = bench.noted().swap_codes.clone();
        if codes.is_empty() {
            let fault = Fault::new(Class::Retry { after: None }, "look at refused label moves", "there were none");
            return Err(fault);
        }
        let other = codes.iter().find(|code| *code != SWAP_CODE);
        Ok(match other {
            None => Sight::held(format!("{} refused label moves, all with {SWAP_CODE}", codes.len())),
            Some(code) => Sight::not_held(format!("a refused label move was answered {code}, not {SWAP_CODE}")),
        })
    })
}

/// AWSPREVIOUS comes to the version that AWSCURRENT leaves.
pub(super) fn previous_follows(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let (old, _) = promoted(bench, &[A]).await?;
        let look = bench.look_until(|look| look.has(&old, PREVIOUS)).await?;
        Ok(match look {
            Some(_) => Sight::held("after a promotion the version before holds AWSPREVIOUS"),
            None => Sight::not_held("after a promotion the version before does not hold AWSPREVIOUS"),
        })
    })
}

/// AWSPENDING and our own labels stay on a version that is promoted.
pub(super) fn pending_stays(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let (_, new) = promoted(bench, &[PENDING, B]).await?;
        let look = bench.quiet_look().await?;
        let (pending, own) = (look.has(&new, PENDING), look.has(&new, B));
        if pending {
            bench.swap(PENDING, None, Some(&new)).await?;
        }
        Ok(Sight::of(
            pending && own,
            match (pending, own) {
                (true, true) => "AWSPENDING and a label of ours stayed on the promoted version",
                (false, true) => "AWSPENDING left the version when it was promoted",
                (_, false) => "a label of ours left the version when it was promoted",
            },
        ))
    })
}

/// A version whose last label is taken off is still listed, and only there.
pub(super) fn deprecated(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let id = bench.version(&[A]).await?;
        bench.swap(A, None, Some(&id)).await?;
        let unlabelled = bench.look_until(|look| !look.labels.contains_key(id.as_str())).await?;
        if unlabelled.is_none() {
            return Ok(Sight::not_held("DescribeSecret goes on to show a version without labels"));
        }
        let bare = |versions: &Labels| versions.get(id.as_str()).is_some_and(BTreeSet::is_empty);
        if !bench.versions_until(bare).await? {
            return Ok(Sight::not_held("a version without labels is not listed with IncludeDeprecated"));
        }
        // Nothing leans on this one: told, not judged.
        let read = match bench.value(Some(&id), None).await {
            Ok(_) => "is readable by its id".to_owned(),
            Err(fault) if fault.class == Class::Denied => "may not be read by this caller, as it should be".to_owned(),
            Err(fault) => format!("was not read: {}", fault.answer),
        };
        Ok(Sight::held(format!("listed with IncludeDeprecated and not described; its value {read}")))
    })
}

/// A fresh version with these labels, promoted: the one before, and itself.
async fn promoted(bench: &Bench, labels: &[&str]) -> Result<(VersionId, VersionId), Fault> {
    let old = bench.current().await?;
    let new = bench.version(labels).await?;
    bench.swap(CURRENT, Some(&new), Some(&old)).await?;
    moved(bench.look_until(|look| look.has(&new, CURRENT)).await?)?;
    Ok((old, new))
}

/// Refused, and nothing changed.
fn judged(code: Option<String>, unchanged: bool, what: &str) -> Sight {
    match (code, unchanged) {
        (Some(code), true) => Sight::held(format!("{what} was refused ({code}) and changed nothing")),
        (Some(code), false) => Sight::not_held(format!("{what} was refused ({code}), but the label was gone")),
        (None, _) => Sight::not_held(format!("{what} was accepted")),
    }
}
