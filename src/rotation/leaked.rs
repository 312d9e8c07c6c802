//! What a person who rotates a leaked value is told: when nothing older works any more, which waits
//! were skipped for it, and which hold for a leaked value too.
//!
//! Told from one observation, as everything here: before the claim, it says when the rotation may
//! begin; after the promotion, when the last older credential may be revoked. It decides nothing.

use std::fmt;

use crate::model::label::Label;
use crate::model::policy::{Policy, RetireWhen};
use crate::model::time::{Now, Timestamp};
use crate::rotation::decide;
use crate::rotation::view::{Hand, View};
use crate::rotation::{Reason, calendar};

/// A wait of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Wait {
    /// Two generations side by side, for consumers to change over. Skipped.
    Overlap,
    /// `retire_when`. Skipped.
    Evidence,
    /// The declared window, or a freeze. Skipped.
    Calendar,
    /// Nothing is revoked that changed so recently that a late call, or a read that is behind, might
    /// still bring it back. Kept.
    Settle,
    /// An earlier attempt is not resolved. Kept.
    Attempt,
    /// The wait after a failed attempt. Kept.
    Backoff,
}

impl fmt::Display for Wait {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Overlap => "the overlap for consumers",
            Self::Evidence => "`retire_when`",
            Self::Calendar => "windows and freezes",
            Self::Settle => "the time for the last change to settle",
            Self::Attempt => "an earlier attempt that is not resolved",
            Self::Backoff => "the wait after a failed attempt",
        })
    }
}

/// How a leaked rotation stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outlook {
    /// Whether the value that leaked is still the current one: nothing was published yet.
    pub exposed: bool,
    /// Older credentials that still live, the leaked one included while it is current.
    pub live: usize,
    /// AWS's date from which, at the earliest, nothing older works; not after the date of the look
    /// where nothing older works already. `None` where something has to happen first that no date
    /// brings: `because` says what.
    pub safe_at: Option<Timestamp>,
    /// What is waited for, or stands in the way; the same word as in the status.
    pub because: Reason,
    /// Waits that were skipped, and when each would have been over.
    pub skipped: Vec<(Wait, Timestamp)>,
    /// Waits that are kept, and when each is over.
    pub kept: Vec<(Wait, Timestamp)>,
}

/// How the leaked rotation of what `view` shows stands. `view.request` is still `Leaked` where no
/// claim was won for it, as it is when it was refused; after that, the claim says it.
pub fn outlook(view: &View, policy: &Policy, now: Now) -> Outlook {
    let asked = decide::leak_asked(view, policy, now);
    let decision = decide::decide(&View { hand: Hand::Empty, ..view.clone() }, policy, now);
    let mut outlook = Outlook {
        exposed: asked,
        live: 0,
        safe_at: None,
        because: decision.reason(),
        skipped: Vec::new(),
        kept: Vec::new(),
    };
    let Some((secret, current)) = view.secret.as_ref().and_then(|one| Some((one, one.with(&Label::Current)?))) else {
        return outlook;
    };
    let older = secret.versions.iter().filter(|version| version.id != current.id);
    let older_live = older.filter(|version| version.lease().is_some()).count();
    outlook.live = older_live + usize::from(asked);
    let published = current.lease().map_or(current.created, |lease| lease.since).plus(policy.candidate_age_max);
    // As a routine rotation that begins now, or began with the current version, would wait.
    let start = if asked { now.store.plus(policy.candidate_age_max) } else { published };
    outlook.skipped.push((Wait::Overlap, start.plus(policy.overlap)));
    match policy.retire_when {
        RetireWhen::OverlapOver => {}
        RetireWhen::Unused { max } | RetireWhen::Confirmed { max } => {
            outlook.skipped.push((Wait::Evidence, start.plus(max)));
        }
    }
    if let Some(opens) = calendar::opens(policy, now.store).filter(|opens| *opens > now.store) {
        outlook.skipped.push((Wait::Calendar, opens));
    }
    let acts = decision.step().is_some();
    outlook.safe_at = if acts || (!asked && older_live == 0) { Some(now.store) } else { decision.until() };
    let kept = match decision.reason() {
        Reason::BackingOff => Some(Wait::Backoff),
        Reason::AttemptOpen | Reason::Settling => Some(Wait::Attempt),
        _ if !asked && older_live > 0 => Some(Wait::Settle),
        _ => None,
    };
    if kept == Some(Wait::Settle) {
        outlook.because = Reason::LeakedEnding;
    }
    let until = outlook.safe_at.filter(|_| !acts);
    outlook.kept.extend(kept.zip(until));
    if !asked && let Some(last) = decide::last_end(view, policy, now) {
        outlook.safe_at = outlook.safe_at.max(Some(last));
    }
    outlook
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::attempt::Cause;
    use crate::model::policy::Freeze;
    use crate::rotation::story::{NOW, Told, ago, attempt, healthy};

    const HOUR: Duration = Duration::from_secs(3_600);
    const TICK: Duration = Duration::from_secs(1);

    fn of(told: &Told) -> Outlook {
        outlook(&told.view, &told.policy, Now { store: NOW, vendor: Some(NOW) })
    }

    #[test]
    fn the_time_to_safe_is_told_with_what_was_skipped_and_what_was_not() {
        let asked = |told: Told| told.asked(Cause::Leaked);
        let rotated = |minutes| {
            let told = healthy().claimed_for(1, minutes, Cause::Leaked).stored(1, minutes, &[Label::Current]);
            told.old_is(&[]).with(|told| told.secret().versions[0].labels.retain(|label| *label != Label::Current))
        };
        let gone = |told: &mut Told| told.secret().versions[0].labels.clear();
        let frozen = |told: &mut Told| told.policy.freezes = vec![Freeze { from: ago(1), to: NOW.plus(HOUR) }];
        let over = |at: Timestamp| vec![(Wait::Overlap, at.plus(HOUR * 25))];
        let failed = healthy().claimed(1, 0).tombstone(1, 0).resolved(1);
        let paused = |told: &mut Told| told.secret().paused_until = Some(NOW.plus(HOUR));
        let backoff = of(&asked(failed.clone())).safe_at;
        assert!(backoff.is_some_and(|until| until > NOW && until < NOW.plus(HOUR)));
        let settle = NOW.plus(HOUR / 4 - HOUR / 12);
        let rows = [
            ("it may begin", asked(healthy()), (true, 1, Some(NOW), Reason::Leaked), vec![]),
            (
                "it must wait",
                asked(failed),
                (true, 1, backoff, Reason::BackingOff),
                vec![(Wait::Backoff, backoff.unwrap())],
            ),
            ("it is paused", asked(healthy().with(paused)), (true, 1, Some(NOW.plus(HOUR)), Reason::Paused), vec![]),
            ("it was done", rotated(5).with(gone).dead("old"), (false, 0, Some(NOW), Reason::AttemptResolved), vec![]),
            (
                "another process took the label off",
                rotated(5),
                (false, 1, Some(settle.plus(TICK)), Reason::LeakedEnding),
                vec![(Wait::Settle, settle.plus(TICK))],
            ),
        ];
        for (situation, told, (exposed, live, safe_at, because), kept) in rows {
            let outlook = of(&told);
            let found = (outlook.exposed, outlook.live, outlook.safe_at, outlook.because);
            assert_eq!(found, (exposed, live, safe_at, because), "{situation}");
            assert_eq!(outlook.kept, kept, "{situation}");
            let begun = if exposed { NOW } else { ago(5) };
            assert_eq!(outlook.skipped, over(begun), "{situation}");
        }
        let skipped = of(&asked(healthy().with(frozen))).skipped;
        assert_eq!(skipped.last(), Some(&(Wait::Calendar, NOW.plus(HOUR))));
        let failed = healthy().claimed_for(1, 40, Cause::Leaked).tombstone(1, 16);
        assert!(of(&failed).exposed, "{}: the claim says so", attempt(1));
    }
}
