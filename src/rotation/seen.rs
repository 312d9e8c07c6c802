//! What a vendor listed, in the words the rules speak: which credential carries which attempt's mark,
//! and how each fits the declaration.

use crate::model::attempt::{Attempt, attempt_of_mark, mark_prefix};
use crate::model::name::{Arn, VendorId};
use crate::model::observed::Listing;
use crate::model::policy::Ownership;
use crate::model::time::Timestamp;
use crate::rotation::view::ATTEMPT_GAP_MAX;

/// Whose a listed credential is, by its mark alone.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Marked {
    /// It carries the mark of an attempt of this secret.
    Ours(Attempt),
    /// It carries the mark of an attempt to make this secret's first version.
    First(Attempt),
    /// It carries no mark of this secret.
    No,
}

/// A credential that the vendor listed; of an in-place vendor its one record, marked with the
/// attempt whose value was set last (setting a value sets the mark in the same call).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Seen {
    /// The vendor's id.
    pub id: VendorId,
    /// Its mark.
    pub marked: Marked,
    /// The vendor's date of its creation.
    pub created: Timestamp,
    /// When it was last used, where the vendor says.
    pub last_used: Option<Timestamp>,
    /// Whether it is what is declared, where it is declared.
    pub fit: Fit,
}

/// How a listed credential fits the declaration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fit {
    /// It lives in the declared place, and is what is declared as far as the vendor shows it.
    Declared,
    /// It lives there, and is something else.
    Differs,
    /// It lives in a former place.
    Away {
        /// Whether others made credentials there as well.
        ownership: Ownership,
    },
}

/// Reads the marks of a vendor's listing; a secret that does not exist has no marks.
pub fn seen(listing: &Listing, arn: Option<&Arn>) -> Vec<Seen> {
    let prefix = arn.map(mark_prefix);
    let firsts: Vec<Attempt> = arn
        .map(|arn| (1..=ATTEMPT_GAP_MAX).map(|number| Attempt::derive(arn, &None, number)).collect())
        .unwrap_or_default();
    let marked =
        |mark: &Option<String>| match prefix.as_ref().and_then(|prefix| attempt_of_mark(prefix, mark.as_deref()?)) {
            Some(attempt) if firsts.contains(&attempt) => Marked::First(attempt),
            Some(attempt) => Marked::Ours(attempt),
            None => Marked::No,
        };
    listing
        .credentials
        .iter()
        .map(|one| Seen {
            id: one.id.clone(),
            marked: marked(&one.mark),
            created: one.created,
            last_used: one.last_used,
            fit: if one.fits { Fit::Declared } else { Fit::Differs },
        })
        .collect()
}

/// Adds what lives in a former place and was not listed elsewhere.
pub fn add_away(seen: &mut Vec<Seen>, former: &Listing, ownership: Ownership, arn: Option<&Arn>) {
    let mut away = self::seen(former, arn);
    away.retain(|one| seen.iter().all(|here| here.id != one.id));
    seen.extend(away.into_iter().map(|one| Seen { fit: Fit::Away { ownership }, ..one }));
}
