//! Whether consumers may be reading a value that does not work, told beside whatever parks or holds the
//! secret: that nothing may be done about it makes it worse, not better.

use crate::model::capability::Marking;
use crate::model::label::Label;
use crate::model::policy::{Policy, Wanted};
use crate::model::time::Now;
use crate::rotation::decide::missing;
use crate::rotation::reason::{Reason, Turn};
use crate::rotation::view::{Marked, Secret, View};

/// Whether consumers may be reading a dead value; `None` where what was seen does not tell. `reason` is
/// what the decision on the same view gave.
pub fn consumers_may_fail(view: &View, policy: &Policy, reason: Reason, now: Now) -> Option<bool> {
    let secret = view.secret.as_ref()?;
    let current = secret.with(&Label::Current)?;
    // What the declaration retires is dead on purpose.
    if secret.ending(&current.id) && policy.wanted == Wanted::Retired {
        return Some(false);
    }
    match policy.capabilities.marking {
        Marking::InPlace => record_differs(secret, view, reason.turn()),
        Marking::Named | Marking::Unnamed => match view.listing() {
            Some(_) => Some(missing(view, policy, now).is_some()),
            None => secret.compared.as_ref().map(|one| one.missing.as_ref() == Some(&current.id)).filter(|dead| *dead),
        },
    }
}

/// In place: whether the vendor's record holds another value than AWSCURRENT, by its mark. Where it was
/// not asked, and nothing goes on by itself, a candidate may have been set there already.
fn record_differs(secret: &Secret, view: &View, turn: Turn) -> Option<bool> {
    let current = secret.with(&Label::Current)?.slot().map(|of| of.attempt);
    let Some(listing) = view.listing() else {
        let stands = matches!(turn, Turn::Cause | Turn::Person | Turn::Paused);
        return secret.candidate().filter(|_| stands).map(|_| true);
    };
    let Some(record) = listing.first() else { return Some(true) };
    match record.marked {
        Marked::Ours(attempt) | Marked::First(attempt) => Some(current.is_some_and(|current| current != attempt)),
        Marked::No => Some(false),
    }
}
