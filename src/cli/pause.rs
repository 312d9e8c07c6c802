//! `pause`: no rotation, no creation, no revocation, until a date or until somebody resumes. Kept as
//! tags of the AWS secret, so that every replica obeys, also one that is started later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use serde_json::json;

use crate::cli::outcome::{self, Outcome};
use crate::cli::report::{Printer, Wrong};
use crate::cli::select::Selection;
use crate::cli::{Source, once};
use crate::engine::Engine;
use crate::engine::person::Pause;
use crate::engine::reconcile::AskVendor;
use crate::engine::snapshot::Paused;
use crate::model::credential::Credential;
use crate::model::name::TargetName;
use crate::model::time::{Timestamp, human};
use crate::rotation::person::{Refusal, touchable};

/// Most characters of a tag's value.
const REASON_CHAR_COUNT_MAX: usize = 255;

/// Options of `pause`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Selection,
    #[command(flatten)]
    end: End,
    /// Why, for whoever finds it paused.
    #[arg(long, value_name = "TEXT", value_parser = |text: &str| tag_text(text, REASON_CHAR_COUNT_MAX))]
    reason: Option<String>,
}

/// When it ends.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct End {
    /// For this long (`4h`).
    #[arg(long = "for", value_name = "SPAN", value_parser = once::span)]
    span: Option<Duration>,
    /// Until this date (`2026-12-01`, or `2026-12-01T06:00:00Z`).
    #[arg(long, value_name = "DATE", value_parser = date)]
    until: Option<Timestamp>,
    /// Until somebody resumes.
    #[arg(long)]
    until_resumed: bool,
}

/// Tags hold fewer characters than people write; what does not fit is refused and not changed.
///
/// # Errors
/// Says what does not fit, and where.
pub(super) fn tag_text(text: &str, char_count_max: usize) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".into());
    }
    let length = text.chars().count();
    if length > char_count_max {
        return Err(format!("{length} characters; there is room for {char_count_max} in an AWS tag"));
    }
    match text.chars().enumerate().find(|(_, c)| !c.is_ascii_alphanumeric() && !" :_@/+=.-".contains(*c)) {
        None => Ok(text.to_owned()),
        Some((at, c)) => Err(format!(
            "character {} (`{}`) can't stand in an AWS tag: letters, digits, blanks and `:_@/+=.-` can",
            at + 1,
            c.escape_debug()
        )),
    }
}

fn date(text: &str) -> Result<Timestamp, String> {
    let midnight = || {
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(Timestamp::from_utc(day.and_hms_opt(0, 0, 0)?.and_utc()))
    };
    Timestamp::parse_rfc3339(text)
        .or_else(midnight)
        .ok_or_else(|| "write `2026-12-01` (its first moment, UTC) or `2026-12-01T06:00:00Z`".into())
}

/// Pauses each, and says of each whether it was.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    if arguments.end.span.is_some_and(|span| span.is_zero()) {
        return Err(Wrong::new("a pause of no time; nothing was paused").with_hint("write `--for 4h`").into());
    }
    arguments.which.require("nothing was paused")?;
    let engine = super::open(source, printer).await?;
    let wanted = arguments.which.pick(engine.declaration(), "nothing was paused")?;
    let mut by: BTreeMap<TargetName, String> = BTreeMap::new();
    for (target, store) in engine.stores() {
        if wanted.iter().any(|one| one.destination.target == *target) {
            let who = store.identity().await?.arn;
            // AWS's own date: this machine's clock may be wrong, and replicas go by AWS's.
            if let (Some(until), Some(now)) = (arguments.end.until, store.now())
                && until <= now
            {
                return Err(Wrong::new(format!("{until} is past: AWS says it is {now}; nothing was paused"))
                    .with_hint("give a later date, or `--for 4h`")
                    .into());
            }
            by.insert(target.clone(), as_tag(&who));
        }
    }
    let (span, until) = (arguments.end.span, arguments.end.until);
    let reason: Arc<str> = arguments.reason.as_deref().unwrap_or_default().into();
    let outcomes = outcome::each(&wanted, printer, "pausing", |credential| {
        let engine = Arc::clone(&engine);
        let by = by.get(&credential.destination.target).cloned().unwrap_or_default();
        let reason = Arc::clone(&reason);
        async move { pause(&engine, &credential, (span, until), &reason, &by).await }
    })
    .await;
    Ok(outcome::print(&outcomes, "paused", printer))
}

async fn pause(
    engine: &Engine,
    credential: &Credential,
    (span, until): (Option<Duration>, Option<Timestamp>),
    reason: &str,
    by: &str,
) -> Outcome {
    let name = &credential.name;
    let glance = match engine.glance(credential, AskVendor::Never).await {
        Ok(glance) => glance,
        Err(fault) => return Outcome::failed(name, "NOT paused", &fault),
    };
    let (secret, arn) = match (touchable(glance.view.secret.as_ref(), &credential.policy), glance.arn()) {
        (Ok(_), Ok(arn)) => (&glance.secret, arn),
        (Err(refusal @ Refusal::NoSecret), _) => {
            let hint = "a pause stands in the secret's tags; to keep it from being made, take its declaration out";
            return Outcome::refused(name, "NOT paused", &refusal).with_hint(hint);
        }
        (Err(refusal), _) => return Outcome::refused(name, "NOT paused", &refusal),
        (Ok(_), Err(fault)) => return Outcome::failed(name, "NOT paused", &fault),
    };
    let now = glance.now.store;
    let until = span.map(|span| now.plus(span)).or(until);
    if let Err(fault) = engine.pause(credential, arn, &Pause { until, reason, by }).await {
        return Outcome::failed(name, "NOT paused", &fault);
    }
    let before = secret.as_ref().and_then(|secret| Paused::of(&secret.tags));
    let before = before.filter(|before| before.until.is_none_or(|until| until > now));
    let before = before.map_or(String::new(), |before| format!(" (before, it was {before})"));
    let text = match until {
        Some(until) => format!("paused until {until} (for {}){before}", human(until.since(now))),
        None => format!("paused until somebody resumes it{before}"),
    };
    Outcome::done(name, text).fact("until", json!(until.map(|until| until.to_string()))).fact("by", json!(by))
}

/// As it may stand in a tag.
fn as_tag(text: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || " :_@/+=.-".contains(c) { c } else { '_' };
    text.chars().take(REASON_CHAR_COUNT_MAX).map(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tag_cannot_hold_is_refused_with_its_place() {
        let reason = |text: &str| tag_text(text, REASON_CHAR_COUNT_MAX);
        assert_eq!(reason(" incident 4711: see http://wiki/x "), Ok("incident 4711: see http://wiki/x".into()));
        for (text, word) in [
            ("", "empty"),
            ("why?", "character 4 (`?`)"),
            ("größe", "character 3 (`ö`)"),
            ("a\nb", "character 2 (`\\n`)"),
            (&"x".repeat(256), "256 characters"),
        ] {
            let said = reason(text).unwrap_err();
            assert!(said.contains(word), "{text:?}: {said}");
        }
    }

    #[test]
    fn dates_are_read_as_people_write_them() {
        let at = |text: &str| date(text).map(|date| date.to_string());
        assert_eq!(at("2026-12-01"), Ok("2026-12-01T00:00:00Z".into()));
        assert_eq!(at("2026-12-01T06:00:00+02:00"), Ok("2026-12-01T04:00:00Z".into()));
        for text in ["tomorrow", "2026-13-01", "1. 12. 2026", ""] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
