//! What a decision may ask for besides the AWS secret itself: a closed list of facts, each of which is
//! not asked for yet, could not be had, or was found at a date.
//!
//! ```text
//!  decide ──▶ need(fact) ──▶ the engine fetches that fact ──▶ decide …  ──▶ act, or wait
//! ```
//!
//! A fact that could not be had is known too: `decide` then goes on without it, as far as that is
//! safe, and never asks for it twice on one look.

use std::time::Duration;

use crate::model::time::Timestamp;
use crate::rotation::seen::Seen;

/// A listing older than this says nothing any more: a third of settle, within which every rule is
/// safe on whatever the vendor showed.
pub const LISTING_AGE_MAX: Duration = Duration::from_secs(300);

/// What can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fact {
    /// What the vendor lists, in the declared place and in every place that the secret has left.
    Listing,
    /// Which other declared credentials are made in the same place.
    Company,
    /// Whether a login at the vendor could prove what would be made.
    Proof,
    /// Whether a credential that feeds this one publishes something else by now.
    Sources,
    /// Whether those that this credential feeds hold what it publishes.
    Followers,
}

/// How far one fact is known.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Known<T> {
    /// Nobody asked yet.
    #[default]
    NotAsked,
    /// It was asked for and could not be had.
    Failed,
    /// It was found.
    Found {
        /// What.
        what: T,
        /// AWS's date at which it was asked for.
        at: Timestamp,
    },
}

impl<T> Known<T> {
    /// What was found, if it was.
    pub fn found(&self) -> Option<&T> {
        match self {
            Self::Found { what, .. } => Some(what),
            Self::NotAsked | Self::Failed => None,
        }
    }

    /// The same, to be changed.
    pub fn found_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Found { what, .. } => Some(what),
            Self::NotAsked | Self::Failed => None,
        }
    }

    /// Whether asking may still tell.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::NotAsked)
    }

    fn date(&self) -> Option<Timestamp> {
        match self {
            Self::Found { at, .. } => Some(*at),
            Self::NotAsked | Self::Failed => None,
        }
    }
}

/// Whether another declared credential is made in the same place, at a vendor that keeps no marks and
/// where the declaration says that none is. Names may differ where the place is one: an application
/// has ids, and a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Company {
    /// None is.
    Alone,
    /// At least one is.
    Others,
}

/// Every fact, as far as it is known.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Facts {
    /// See [`Fact::Listing`].
    pub listing: Known<Vec<Seen>>,
    /// See [`Fact::Company`].
    pub company: Known<Company>,
    /// See [`Fact::Proof`]: whether it could be proved.
    pub provable: Known<bool>,
    /// See [`Fact::Sources`]: whether one of them was rotated.
    pub sources_moved: Known<bool>,
    /// See [`Fact::Followers`]: whether one of them does not hold the current value yet.
    pub followers_wait: Known<bool>,
}

impl Facts {
    /// Whether this fact was not asked for yet.
    pub fn is_open(&self, fact: Fact) -> bool {
        match fact {
            Fact::Listing => self.listing.is_open(),
            Fact::Company => self.company.is_open(),
            Fact::Proof => self.provable.is_open(),
            Fact::Sources => self.sources_moved.is_open(),
            Fact::Followers => self.followers_wait.is_open(),
        }
    }

    /// Notes that this fact can't be had.
    pub fn fail(&mut self, fact: Fact) {
        match fact {
            Fact::Listing => self.listing = Known::Failed,
            Fact::Company => self.company = Known::Failed,
            Fact::Proof => self.provable = Known::Failed,
            Fact::Sources => self.sources_moved = Known::Failed,
            Fact::Followers => self.followers_wait = Known::Failed,
        }
    }

    /// The date by which everything is judged that was seen: that of the oldest part of it.
    pub(super) fn oldest(&self, looked: Timestamp) -> Timestamp {
        let dates = [self.listing.date(), self.sources_moved.date(), self.followers_wait.date()];
        dates.into_iter().flatten().fold(looked, Timestamp::min)
    }

    /// Forgets what is too old for a look that begins at `now`, so that it is asked for again.
    pub fn drop_old(&mut self, now: Timestamp) {
        if self.listing.date().is_some_and(|at| now.since(at) > LISTING_AGE_MAX) {
            self.listing = Known::NotAsked;
        }
    }
}
