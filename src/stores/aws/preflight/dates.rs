//! Trials of dates: what moves `LastChangedDate`, how long a signature lives, whether AWS's clock
//! goes as ours.

use std::time::Duration;

use super::super::signing::Fence;
use super::Trial;
use super::bench::{A, B, Bench, VALUE, is_skewed, unseen};
use crate::model::fault::{Class, Fault};
use crate::model::finding::Sight;
use crate::model::time::{Timestamp, human};

/// Between a write and the one whose date is looked for, so that the dates can be told apart:
/// AWS's `Date` has whole seconds.
const APART: Duration = Duration::from_secs(3);
/// A tag that means nothing.
const TAG: &str = "keyferry:preflight-trial";
/// How old a signature is that must surely be refused.
const OLD: Duration = Duration::from_secs(600);
/// The longest life of a signature that the protocol counts on, with some room.
const SIGNATURE_MAX: Duration = Duration::from_secs(330);
/// The shortest with which a promotion, signed with the moment of its proof, is still taken.
const SIGNATURE_MIN: Duration = Duration::from_secs(60);
/// How exactly the border is looked for.
const BORDER: Duration = Duration::from_secs(15);
/// How far AWS's dates may go from the monotonic clock: the header has whole seconds.
const DRIFT_MAX_MS: i64 = 2_000;

/// `LastChangedDate` moves when a version is put that does not become current.
pub(super) fn changed_by_put(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        bench.version(&[A]).await?;
        bench.pause(APART).await?;
        let at = bench.put(&bench.token(), VALUE, &[A]).await?;
        moved_by(bench, at, "a put without AWSCURRENT").await
    })
}

/// `LastChangedDate` moves when a label does.
pub(super) fn changed_by_label(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let from = bench.version(&[A]).await?;
        let to = bench.version(&[B]).await?;
        bench.pause(APART).await?;
        bench.swap(A, Some(&to), Some(&from)).await?;
        let at = bench.swap(A, None, Some(&to)).await?;
        moved_by(bench, at, "a label move").await
    })
}

/// `LastChangedDate` moves when a tag is set.
pub(super) fn changed_by_tag(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        bench.version(&[A]).await?;
        bench.pause(APART).await?;
        let at = bench.set_tag(TAG, "tag", None).await?;
        moved_by(bench, at, "a tag").await
    })
}

async fn moved_by(bench: &Bench, at: Timestamp, what: &str) -> Result<Sight, Fault> {
    let since = at.minus(Duration::from_secs(1));
    let look = bench.look_until(|look| look.changed >= since).await?;
    Ok(match look {
        Some(_) => Sight::held(format!("{what} moved LastChangedDate")),
        None => Sight::not_held(format!("{what} did not move LastChangedDate")),
    })
}

/// A write signed long ago is refused.
pub(super) fn signature(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        if !accepted(bench, Duration::ZERO).await? {
            let answer = "a write signed this moment was refused for its date";
            return Err(Fault::new(Class::Retry { after: None }, "tag the scratch secret", answer)
                .with_hint("look at this host's clock, and at what stands between it and AWS"));
        }
        if accepted(bench, OLD).await? {
            return Ok(Sight::not_held(format!("a write signed {} ago was applied", human(OLD))));
        }
        let (mut taken, mut refused) = (Duration::ZERO, OLD);
        while refused - taken > BORDER {
            let middle = (taken + refused) / 2;
            if accepted(bench, middle).await? { taken = middle } else { refused = middle }
        }
        let seen = format!(
            "a write signed {} ago was refused; the border is between {} and {}",
            human(OLD),
            human(taken),
            human(refused)
        );
        Ok(Sight::of(refused <= SIGNATURE_MAX && taken >= SIGNATURE_MIN, seen))
    })
}

/// Whether AWS takes a write with a signature of that age.
async fn accepted(bench: &Bench, age: Duration) -> Result<bool, Fault> {
    let now = bench.store.now().ok_or_else(|| unseen("AWS's date"))?;
    let fence = Fence { signed_at: now.minus(age) };
    match bench.set_tag(TAG, "signature", Some(fence)).await {
        Ok(_) => Ok(true),
        Err(fault) if is_skewed(&fault) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Every answer carries a date, and the dates go as our monotonic clock does.
pub(super) fn date_header(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        bench.leave().await?;
        let (dated, undated, drift_ms) = {
            let noted = bench.noted();
            (noted.dated, noted.undated, noted.drift_ms)
        };
        if dated + undated == 0 {
            return Err(Fault::new(Class::Retry { after: None }, "look at AWS's dates", "there was no answer"));
        }
        if undated > 0 {
            return Ok(Sight::not_held(format!("{undated} of {} answers had no Date header", dated + undated)));
        }
        let seen = format!(
            "{dated} answers with a Date, at most {drift_ms} ms off the monotonic clock (it has whole seconds)"
        );
        Ok(Sight::of(drift_ms.abs() <= DRIFT_MAX_MS, seen))
    })
}
