//! Trials of names, tokens and versions: the first writer wins, and what it wrote never changes.

use super::Trial;
use super::bench::{A, B, Bench, OTHER, PENDING, VALUE, refusal};
use crate::model::fault::Class;
use crate::model::finding::Sight;

const TAKEN: &str = "ResourceExistsException";

/// A name is taken by whoever creates it first.
pub(super) fn name_taken(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let again = refusal(bench.create(&bench.first_token()).await)?;
        let again = again.map_or("answered as the first time".to_owned(), |code| format!("refused ({code})"));
        match refusal(bench.create(&bench.token()).await)? {
            Some(code) => Ok(Sight::of(
                code == TAKEN,
                format!("a second create of the name was refused ({code}); the same create again was {again}"),
            )),
            None => Ok(Sight::not_held("a second create of the name, with another token, was accepted")),
        }
    })
}

/// A repeated put does nothing: its labels are not applied again.
pub(super) fn same_value(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let holder = bench.version(&[B]).await?;
        let id = bench.version(&[A]).await?;
        if let Some(code) = refusal(bench.put(&id, VALUE, &[B]).await)? {
            return Ok(Sight::not_held(format!("the same token with the same value was refused ({code})")));
        }
        let look = bench.quiet_look().await?;
        let untouched = look.has(&id, A) && !look.has(&id, B) && look.has(&holder, B);
        Ok(Sight::of(
            untouched,
            match untouched {
                true => "the same token with the same value was accepted, and its labels were not applied again",
                false => "the same token with the same value was accepted, and its labels were applied again",
            },
        ))
    })
}

/// Another value under a used token is refused.
pub(super) fn other_value(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let id = bench.version(&[A]).await?;
        Ok(match refusal(bench.put(&id, OTHER, &[A]).await)? {
            Some(code) => Sight::of(code == TAKEN, format!("another value under a used token was refused ({code})")),
            None => Sight::not_held("another value under a used token was accepted"),
        })
    })
}

/// What a version holds never changes.
pub(super) fn value_kept(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let id = bench.version(&[PENDING]).await?;
        // Whether it is refused is another statement.
        let _ = refusal(bench.put(&id, OTHER, &[PENDING]).await)?;
        let kept = bench.value(Some(&id), Some(PENDING)).await? == VALUE;
        bench.swap(PENDING, None, Some(&id)).await?;
        Ok(Sight::of(
            kept,
            match kept {
                true => "after a put of another value under its token a version holds what it held",
                false => "after a put of another value under its token a version holds the other value",
            },
        ))
    })
}

/// A secret that is scheduled for deletion takes no version and moves no label.
pub(super) fn scheduled(bench: &Bench) -> Trial<'_> {
    Box::pin(async move {
        let current = bench.current().await?;
        let arn = bench.secret()?.clone();
        bench.delete(&arn, false).await?;
        let seen = bench.look_until(|look| look.gone_at.is_some()).await?;
        if seen.is_none() {
            return Ok(Sight::not_held("a secret scheduled for deletion shows no date of its deletion"));
        }
        let put = refusal(bench.put(&bench.token(), VALUE, &[A]).await)?;
        let swap = match bench.swap("kf-preflight-late", Some(&current), None).await {
            // A secret that is going may be answered as one that is gone.
            Err(fault) if fault.class == Class::Gone => fault.code,
            result => refusal(result)?,
        };
        Ok(match (put, swap) {
            (Some(put), Some(swap)) => Sight::held(format!("a put was refused ({put}), and a label move ({swap})")),
            (None, _) => Sight::not_held("a secret scheduled for deletion took a version"),
            (_, None) => Sight::not_held("a secret scheduled for deletion moved a label"),
        })
    })
}
