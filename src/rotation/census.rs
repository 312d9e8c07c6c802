//! What each credential that a vendor lists in one place is: *owned* (some secret tracks it),
//! *orphan* (provably ours and untracked), or *foreign* (everything else). And which of them a
//! person may end by naming it.

use std::fmt;

use crate::model::capability::Marking;
use crate::model::label::{Label, Tracked};
use crate::model::name::{Name, SecretName, VendorId, VersionId};
use crate::model::observed::Listing;
use crate::model::policy::Policy;
use crate::model::time::{Now, Timestamp};
use crate::rotation::sweep::{self, Fate};
use crate::rotation::view::{self, Marked, Secret, Version};

/// How every mark of every keyferry begins.
const MARK: &str = "kf-";

/// A declared credential of this place.
pub struct Resident<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Its secret; `None` when there is none yet.
    pub secret: Option<&'a Secret>,
    /// Its rules.
    pub policy: &'a Policy,
    /// AWS's date of the look, and the vendor's.
    pub now: Now,
}

/// A lease on a secret of this deployment that no declaration names.
pub struct Undeclared {
    /// Which secret.
    pub secret: SecretName,
    /// What it tracks.
    pub tracked: Tracked,
}

/// Who a listed credential belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// A declared credential's secret tracks it.
    Owned {
        /// Whose.
        credential: Name,
        /// In which version.
        version: VersionId,
        /// AWSCURRENT, AWSPENDING or AWSPREVIOUS; `None` when it is out of use and about to end.
        stage: Option<Label>,
    },
    /// A secret of this deployment that no declaration names tracks it.
    Undeclared {
        /// Which.
        secret: SecretName,
    },
    /// Ours and untracked.
    Orphan {
        /// Of which declared credential.
        credential: Name,
        /// AWS's date from which it is swept; `None` while its maker may still store it.
        swept_from: Option<Timestamp>,
    },
    /// Not provably ours.
    Foreign {
        /// Whether it carries a mark of some other secret's, and so may be another deployment's.
        marked: bool,
    },
}

/// One listed credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counted {
    /// The vendor's id.
    pub id: VendorId,
    /// The vendor's date of its creation.
    pub created: Timestamp,
    /// When it was last used, where the vendor says.
    pub last_used: Option<Timestamp>,
    /// Who it belongs to.
    pub standing: Standing,
}

/// Counts everything that is listed in one place. `residents` must be all declared credentials of
/// that place: what another of them tracks is not foreign.
pub fn census(listing: &Listing, residents: &[Resident<'_>], undeclared: &[Undeclared]) -> Vec<Counted> {
    let views: Vec<Vec<view::Seen>> =
        residents.iter().map(|one| view::seen(listing, one.secret.map(|secret| &secret.arn))).collect();
    let standing = |at: usize| {
        let listed = &listing.credentials[at];
        let pairs = || residents.iter().zip(&views).filter_map(|(one, seen)| Some((one, one.secret?, &seen[at])));
        let owned = pairs().find_map(|(one, secret, seen)| owned(one, secret, seen));
        let orphan = || pairs().find_map(|(one, secret, seen)| orphan(one, secret, seen));
        let kept = || undeclared.iter().find(|lease| lease.tracked.is(&listed.id));
        owned
            .or_else(|| kept().map(|lease| Standing::Undeclared { secret: lease.secret.clone() }))
            .or_else(orphan)
            .unwrap_or_else(|| Standing::Foreign {
                marked: listed.mark.as_deref().is_some_and(|mark| mark.starts_with(MARK)),
            })
    };
    let count = |(at, listed): (usize, &crate::model::observed::Listed)| Counted {
        id: listed.id.clone(),
        created: listed.created,
        last_used: listed.last_used,
        standing: standing(at),
    };
    listing.credentials.iter().enumerate().map(count).collect()
}

fn owned(resident: &Resident<'_>, secret: &Secret, seen: &view::Seen) -> Option<Standing> {
    let stage = |version: &Version| {
        [Label::Current, Label::Pending, Label::Previous].into_iter().find(|label| version.has(label))
    };
    let by = |version: &Version| Standing::Owned {
        credential: resident.name.clone(),
        version: version.id.clone(),
        stage: stage(version),
    };
    let tracks = |version: &&Version| version.lease().is_some_and(|lease| lease.tracked.is(&seen.id));
    if let Some(version) = secret.versions.iter().find(tracks) {
        return Some(by(version));
    }
    // One record whose value consumers use: found by its mark, or adopted, and tracked by no lease.
    let known = seen.marked != Marked::No || secret.adopted_record();
    let record = resident.policy.capabilities.marking == Marking::InPlace && known;
    secret.with(&Label::Current).filter(|_| record).map(by)
}

fn orphan(resident: &Resident<'_>, secret: &Secret, seen: &view::Seen) -> Option<Standing> {
    let swept_from = match sweep::fate(seen, secret, resident.policy, resident.now) {
        Fate::NotOurs => return None,
        Fate::Open => None,
        Fate::SweptFrom(date) => Some(date),
    };
    Some(Standing::Orphan { credential: resident.name.clone(), swept_from })
}

/// Why a credential is not ended although a person named it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// The place does not list it.
    NotListed,
    /// A secret tracks it.
    Tracked {
        /// Which, in words.
        by: String,
        /// Whether consumers may be reading it.
        used: bool,
    },
    /// Its maker may still store it.
    Open,
    /// A version that consumers may read was not published by keyferry, so it may hold this very
    /// credential.
    PerhapsUsed {
        /// Of which declared credential.
        credential: Name,
        /// Which version.
        version: VersionId,
    },
}

impl fmt::Display for Kept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed => out.write_str("the vendor does not list it there"),
            Self::Tracked { by, used: true } => write!(out, "{by} holds it, and consumers may be using it"),
            Self::Tracked { by, used: false } => write!(out, "{by} tracks it, and ends it by itself when it is time"),
            Self::Open => out.write_str("it was made a moment ago, and whoever made it may still store it"),
            Self::PerhapsUsed { credential, version } => write!(
                out,
                "consumers of `{credential}` may read version {version}, which keyferry did not publish: it may hold \
                 this very credential"
            ),
        }
    }
}

/// The credential `id`, if a person may end it by naming it (invariant 16).
///
/// # Errors
/// Says why not.
pub fn may_revoke<'a>(counted: &'a [Counted], residents: &[Resident<'_>], id: &VendorId) -> Result<&'a Counted, Kept> {
    let found = counted.iter().find(|one| one.id == *id).ok_or(Kept::NotListed)?;
    match &found.standing {
        Standing::Owned { credential, version, stage } => {
            return Err(Kept::Tracked { by: format!("version {version} of `{credential}`"), used: stage.is_some() });
        }
        Standing::Undeclared { secret } => {
            let by = format!("AWS secret {secret}, which is this deployment's and not declared any more,");
            return Err(Kept::Tracked { by, used: true });
        }
        Standing::Orphan { swept_from: None, .. } => return Err(Kept::Open),
        Standing::Orphan { swept_from: Some(_), .. } | Standing::Foreign { .. } => {}
    }
    for resident in residents {
        let in_place = resident.policy.capabilities.marking == Marking::InPlace;
        let versions = resident.secret.iter().flat_map(|secret| &secret.versions);
        let unknown = |version: &&Version| version.referenced() && version.lease().is_none();
        if let Some(version) = versions.filter(|_| !in_place).find(unknown) {
            return Err(Kept::PerhapsUsed { credential: resident.name.clone(), version: version.id.clone() });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attempt::Mark;
    use crate::model::observed::Listed;
    use crate::rotation::story::*;

    fn listing(marks: &[(&str, Option<String>, u64)]) -> Listing {
        let listed = |(vendor_id, mark, minutes): &(&str, Option<String>, u64)| Listed {
            id: id(vendor_id),
            mark: mark.clone(),
            created: ago(*minutes),
            last_used: None,
            fits: true,
        };
        Listing { at: NOW, credentials: marks.iter().map(listed).collect() }
    }

    fn mark(of: crate::model::attempt::Attempt) -> Option<String> {
        Some(Mark::new(&arn(), of).as_str().into())
    }

    fn word(standing: &Standing) -> String {
        match standing {
            Standing::Owned { stage, .. } => {
                format!("owned {}", stage.as_ref().map_or("-".into(), ToString::to_string))
            }
            Standing::Undeclared { secret } => format!("undeclared {secret}"),
            Standing::Orphan { swept_from: None, .. } => "open".into(),
            Standing::Orphan { swept_from: Some(date), .. } => format!("orphan {}", human_minutes(*date)),
            Standing::Foreign { marked } => format!("foreign {marked}"),
        }
    }

    fn human_minutes(date: Timestamp) -> u64 {
        date.since(NOW).as_secs() / 60
    }

    #[test]
    fn everything_listed_is_owned_orphan_or_foreign() {
        let name = Name::new("app").unwrap();
        let rotated = healthy().promoted(60);
        let other = Some("kf-0123456789ab-00000000-0000-5000-8000-000000000000".to_owned());
        let listed = listing(&[
            ("new", mark(attempt(1)), 60),
            ("old", mark(first()), 10 * DAY),
            ("young", mark(attempt(2)), 10),
            ("left", mark(attempt(3)), 20),
            ("late", mark(attempt(3)), 90),
            ("hand", Some("console".into()), 9 * DAY),
            ("neighbour", other, 9 * DAY),
            ("retired", None, 9 * DAY),
        ]);
        let told = rotated.claimed(2, 10).claimed(3, 100).tombstone(3, 50);
        let now = Now { store: NOW, vendor: Some(NOW) };
        let resident = Resident { name: &name, secret: told.view.secret.as_ref(), policy: &told.policy, now };
        let undeclared =
            [Undeclared { secret: SecretName::new("gone").unwrap(), tracked: Tracked::of(&id("retired")) }];
        let residents = [resident];
        let counted = census(&listed, &residents, &undeclared);
        let words: Vec<String> = counted.iter().map(|one| word(&one.standing)).collect();
        let expected = [
            "owned AWSCURRENT",
            "owned AWSPREVIOUS",
            "open",
            "orphan 10",
            "orphan 0",
            "foreign false",
            "foreign true",
            "undeclared gone",
        ];
        assert_eq!(words, expected);
        let may = |vendor_id: &str| may_revoke(&counted, &residents, &id(vendor_id)).map(|one| one.id.clone());
        assert!(matches!(may("new"), Err(Kept::Tracked { used: true, .. })));
        assert!(matches!(may("old"), Err(Kept::Tracked { used: true, .. })));
        assert!(matches!(may("retired"), Err(Kept::Tracked { used: true, .. })));
        assert_eq!(may("young"), Err(Kept::Open));
        assert_eq!(may("nobody"), Err(Kept::NotListed));
        for fine in ["left", "late", "hand", "neighbour"] {
            assert_eq!(may(fine), Ok(id(fine)));
        }
    }

    #[test]
    fn nothing_is_ended_while_consumers_read_a_value_that_keyferry_did_not_publish() {
        let name = Name::new("app").unwrap();
        let listed = listing(&[("old", mark(first()), 10 * DAY), ("hand", None, 9 * DAY)]);
        let strange = |told: &mut Told| {
            let mut version = told.secret().versions[0].clone();
            version.id = VersionId::new(&"f".repeat(32)).unwrap();
            (version.role, version.labels) = (view::Role::Other, vec![Label::Current]);
            told.secret().versions[0].labels.retain(|label| *label != Label::Current);
            told.secret().versions.push(version);
        };
        let now = Now { store: NOW, vendor: Some(NOW) };
        for (told, kept) in [(healthy(), false), (healthy().with(strange), true)] {
            let residents = [Resident { name: &name, secret: told.view.secret.as_ref(), policy: &told.policy, now }];
            let counted = census(&listed, &residents, &[]);
            let said = may_revoke(&counted, &residents, &id("hand"));
            assert_eq!(matches!(said, Err(Kept::PerhapsUsed { .. })), kept, "{said:?}");
        }
    }
}
