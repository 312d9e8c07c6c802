//! When to rotate, how long two generations live side by side, and how long to wait before
//! anything destructive.

use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use croner::Cron;

use crate::model::capability::Capabilities;
use crate::model::place::At;
pub use crate::model::place::Ownership;
use crate::model::time::Timestamp;

/// When a credential is due.
#[derive(Clone, Debug)]
pub enum Rotate {
    /// Only when a person asks.
    Manual,
    /// So long after it was made.
    Every(Duration),
    /// At the first such moment after it was made: five-field cron in a time zone.
    Cron {
        /// The compiled pattern, shared by equal ones.
        pattern: Arc<Cron>,
        /// As written, for messages.
        text: Arc<str>,
        /// The zone its fields are in.
        zone: Tz,
    },
}

/// A time of day between which a rotation may begin, in minutes after midnight of a zone; `from`
/// after `to` spans midnight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// First minute in which one may begin.
    pub from_minute: u16,
    /// First minute in which none may begin any more.
    pub to_minute: u16,
    /// Weekdays on which it opens, Monday first.
    pub days: [bool; 7],
    /// The zone.
    pub zone: Tz,
}

/// A span in which no rotation begins by the calendar. Like a window, it holds back what is due,
/// and nothing that a person asks for: `rotate`, with or without `--leaked`, begins at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Freeze {
    /// First moment of it.
    pub from: Timestamp,
    /// First moment after it.
    pub to: Timestamp,
}

/// What to do with an AWS secret of that name that exists and is not ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Takeover {
    /// Touch nothing and say so.
    #[default]
    Refuse,
    /// Mint, publish over it, report the old one as foreign.
    Rotate,
}

/// What must be known, besides that the overlap is over, before a replaced credential ends. Evidence
/// never shortens the overlap; where it does not come, `max` after the latest moment of the
/// promotion is the end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum RetireWhen {
    /// Nothing else.
    #[default]
    OverlapOver,
    /// The vendor shows no use of it since consumers must have had the new one.
    Unused {
        /// Longest wait.
        max: Duration,
    },
    /// A consumer said that it has the new one (`keyferry:confirmed`).
    Confirmed {
        /// Longest wait.
        max: Duration,
    },
}

/// Whether the declaration wants the credential.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Wanted {
    /// It is kept and rotated.
    #[default]
    Present,
    /// `state = "retired"`: consumers are given the overlap, then it is revoked and its secret
    /// scheduled for deletion.
    Retired,
}

/// What to do where no login can tell whether a credential works.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Verify {
    /// Publish nothing, and make nothing that could not be published.
    #[default]
    Required,
    /// Publish it, and say that it is unverified. One that the vendor refuses is never published.
    BestEffort,
}

/// Everything that `rotation::decide` needs to know about one credential besides what it sees.
#[derive(Clone, Debug)]
pub struct Policy {
    /// When it is due.
    pub rotate: Rotate,
    /// A due date is put off by a share of this that depends on the name only.
    pub jitter: Duration,
    /// When a rotation may begin; any time if empty.
    pub windows: Vec<Window>,
    /// When none may.
    pub freezes: Vec<Freeze>,
    /// How long the previous credential outlives the promotion.
    pub overlap: Duration,
    /// How long a consumer may hold a value before it looks again (`consumers.refresh_within`).
    pub refresh: Duration,
    /// What the end of the previous credential waits for besides.
    pub retire_when: RetireWhen,
    /// Whether it is wanted.
    pub wanted: Wanted,
    /// Nothing younger than this is acted on destructively: longer than AWS's staleness (5 min)
    /// and than any signature lives (5 min), together.
    pub settle: Duration,
    /// How long after its claim a candidate may still be verified and promoted.
    pub candidate_age_max: Duration,
    /// Wait after the first failed attempt; doubles with each.
    pub backoff_first: Duration,
    /// Longest wait between attempts.
    pub backoff_max: Duration,
    /// Most credentials of one secret alive at once.
    pub live_max: usize,
    /// What the vendor can do.
    pub capabilities: Capabilities,
    /// Who else makes credentials there (unnamed vendors only).
    pub ownership: Ownership,
    /// What to do where no login can tell whether a credential works.
    pub verify: Verify,
    /// Whether keyferry creates the AWS secret itself.
    pub create_secret: bool,
    /// What to do with one that is not ours.
    pub takeover: Takeover,
    /// Whether a value that was adopted may be in another shape than is declared; the next rotation
    /// changes it.
    pub allow_shape_change: bool,
    /// Where at the vendor its credentials are made: a hash, compared with the secret's tag.
    pub place: String,
    /// The same in words; `None` where a tag can't hold them, and then no move is possible.
    pub at: Option<At>,
    /// Seed for jitter: a hash of deployment and name.
    pub seed: u64,
}

impl Policy {
    /// Protocol times that no declaration changes: settle 15 min, candidates at most 1 h old,
    /// backoff from 1 min to 8 h, 4 alive at once. Consumers refresh hourly, as AWS's caches do.
    pub fn standard(rotate: Rotate, overlap: Duration, capabilities: Capabilities) -> Self {
        Self {
            rotate,
            jitter: Duration::ZERO,
            windows: Vec::new(),
            freezes: Vec::new(),
            overlap,
            refresh: Duration::from_secs(3_600),
            retire_when: RetireWhen::OverlapOver,
            wanted: Wanted::Present,
            settle: Duration::from_secs(15 * 60),
            candidate_age_max: Duration::from_secs(3_600),
            backoff_first: Duration::from_secs(60),
            backoff_max: Duration::from_secs(8 * 3_600),
            live_max: 4,
            capabilities,
            ownership: Ownership::Shared,
            verify: Verify::Required,
            create_secret: true,
            takeover: Takeover::Refuse,
            allow_shape_change: false,
            place: String::new(),
            at: None,
            seed: 0,
        }
    }
}
