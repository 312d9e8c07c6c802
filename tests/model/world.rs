//! The world: what AWS holds, what lives at the vendor, what every process is about to do.
//!
//! AWS's and the vendor's states are interned, so that a state of the world is a handful of
//! numbers, and stale reads are numbers too.

use std::hash::Hash;

use rustc_hash::FxHashMap;

use crate::config::{Age, Config, Start, Vendor};
use crate::names::{Code, is_slot, row_of, slot_code};

/// No version, no credential, nobody.
pub const NONE: u8 = u8::MAX;
/// Attempts that the world has room for.
pub const ROWS: usize = 8;
/// Credentials that the world has room for.
pub const CREDS: usize = 8;
/// Processes, at most.
pub const REPLICAS: usize = 3;

/// A claim in AWS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClaimV {
    /// Since its creation.
    pub age: Age,
    /// It has `kf-open`.
    pub open: bool,
    /// It was made because the value leaked.
    pub leak: bool,
    /// Credentials listed before (unnamed vendors).
    pub before: u8,
}

/// A slot in AWS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SlotV {
    /// Its credential; `NONE` for a tombstone.
    pub cred: u8,
    /// Since its creation.
    pub age: Age,
    /// `kf-cred`: since its claim.
    pub lease: Option<Age>,
    /// Where `kf-cred` says that it was made: the new place, or the old one.
    pub there: bool,
}

/// The bootstrap tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TagV {
    /// Which try.
    pub number: u8,
    /// Whose; `NONE` when nobody remembers having written it.
    pub nonce: u8,
    /// Since its date.
    pub age: Age,
    /// Credentials listed before the first try (unnamed vendors).
    pub before: u8,
}

/// The retiring tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RetiringV {
    /// Since when.
    pub since: Age,
    /// The version that is being ended, and since when.
    pub ending: Option<(Code, Age)>,
}

/// A state of the AWS secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Aws {
    /// There is such a secret.
    pub exists: bool,
    /// It carries our owner tags.
    pub owned: bool,
    /// By attempt.
    pub claims: [Option<ClaimV>; ROWS],
    /// By attempt.
    pub slots: [Option<SlotV>; ROWS],
    /// AWSCURRENT.
    pub current: Code,
    /// AWSPREVIOUS.
    pub previous: Code,
    /// AWSPENDING.
    pub pending: Code,
    /// Since LastChangedDate.
    pub changed: Age,
    /// Since AWSCURRENT really moved (nobody sees this one).
    pub moved: Age,
    /// The bootstrap tag.
    pub tag: Option<TagV>,
    /// `keyferry:base`, and since when.
    pub accepted: Option<(Code, Age)>,
    /// `keyferry:pause`.
    pub paused: bool,
    /// `keyferry:confirmed`.
    pub confirmed: Code,
    /// `keyferry:retiring`.
    pub retiring: Option<RetiringV>,
    /// Credentials whose end was ever written down (nobody sees this one).
    pub doomed: u8,
    /// Scheduled for deletion.
    pub deleted: bool,
    /// `keyferry:place` and `keyferry:at` name the new place.
    pub there: bool,
    /// `keyferry:dwelling` of the old place and of the new one.
    pub dwellings: [bool; 2],
    /// `keyferry:moved`.
    pub last_move: Option<Age>,
}

impl Aws {
    /// Whether it has any version.
    pub fn empty(&self) -> bool {
        self.claims.iter().all(Option::is_none) && self.slots.iter().all(Option::is_none)
    }

    /// A version's slot.
    pub fn slot(&self, code: Code) -> Option<SlotV> {
        if code == NONE || !is_slot(code) { None } else { self.slots[usize::from(row_of(code))] }
    }

    /// A version's credential.
    pub fn cred(&self, code: Code) -> Option<u8> {
        self.slot(code).map(|slot| slot.cred).filter(|cred| *cred != NONE)
    }

    /// Whether AWSCURRENT, AWSPENDING or AWSPREVIOUS refers to this credential.
    pub fn refers(&self, cred: u8) -> bool {
        [self.current, self.previous, self.pending].into_iter().any(|code| self.cred(code) == Some(cred))
    }

    /// Whether the end of a version's credential is written down.
    pub fn ending(&self, code: Code) -> bool {
        self.retiring.is_some_and(|tag| tag.ending.is_some_and(|(one, _)| one == code))
    }

    /// Whether a version is listed.
    pub fn listed(&self, code: Code) -> bool {
        let row = usize::from(row_of(code));
        if is_slot(code) { self.slots[row].is_some() } else { self.claims[row].is_some() }
    }

    /// Whether a version has a label.
    pub fn labelled(&self, code: Code) -> bool {
        let holds = code != NONE && [self.current, self.previous, self.pending].contains(&code);
        holds || self.slot(code).is_some_and(|slot| slot.lease.is_some()) || self.newest_tombstone() == Some(code)
    }

    /// The tombstone that has `kf-closed`.
    pub fn newest_tombstone(&self) -> Option<Code> {
        (0..ROWS as u8)
            .filter_map(|row| self.slots[usize::from(row)].filter(|slot| slot.cred == NONE).map(|slot| (row, slot.age)))
            .min_by_key(|(row, age)| (*age, NONE - row))
            .map(|(row, _)| slot_code(row))
    }

    /// The same after some time.
    pub fn aged(mut self, age: impl Fn(Age) -> Age) -> Self {
        for claim in self.claims.iter_mut().flatten() {
            claim.age = age(claim.age);
        }
        for slot in self.slots.iter_mut().flatten() {
            slot.age = age(slot.age);
            slot.lease = slot.lease.map(&age);
        }
        self.changed = age(self.changed);
        self.moved = age(self.moved);
        self.last_move = self.last_move.map(&age);
        self.tag = self.tag.map(|tag| TagV { age: age(tag.age), ..tag });
        self.accepted = self.accepted.map(|(code, since)| (code, age(since)));
        self.retiring = self
            .retiring
            .map(|tag| RetiringV { since: age(tag.since), ending: tag.ending.map(|(code, since)| (code, age(since))) });
        self
    }

    /// Labels and versions of `self`, dates and tags of `other`: what two calls in turn may show.
    pub fn torn(mut self, other: &Self) -> Self {
        self.changed = other.changed;
        self.tag = other.tag;
        self.accepted = other.accepted;
        self.paused = other.paused;
        self.confirmed = other.confirmed;
        self.retiring = other.retiring;
        self.there = other.there;
        self.dwellings = other.dwellings;
        self.last_move = other.last_move;
        self
    }
}

/// A credential at the vendor; for an in-place vendor a value that was made up for its record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cred {
    /// The attempt that made it.
    pub row: u8,
    /// It exists there.
    pub live: bool,
    /// Since its creation.
    pub age: Age,
    /// It does not work.
    pub dud: bool,
    /// Somebody logged in with it.
    pub used: bool,
    /// Nothing of ours made it.
    pub foreign: bool,
    /// It was made in the new place.
    pub there: bool,
    /// Since its last use, where that is looked at.
    pub idle: Age,
}

/// A state of the vendor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    /// In the order of their creation.
    pub creds: [Option<Cred>; CREDS],
    /// In place: the value that the record holds.
    pub record: u8,
    /// In place: the values that it ever held (nobody sees this one).
    pub applied: u8,
}

impl Place {
    /// A credential.
    pub fn cred(&self, cred: u8) -> Cred {
        self.creds[usize::from(cred)].expect("a credential that was made")
    }

    /// Changes a credential.
    pub fn set(&mut self, cred: u8, change: impl FnOnce(&mut Cred)) {
        change(self.creds[usize::from(cred)].as_mut().expect("a credential that was made"));
    }

    /// How many were ever made.
    pub fn made(&self) -> u8 {
        self.creds.iter().flatten().count() as u8
    }

    /// Those that live.
    pub fn live(&self) -> impl Iterator<Item = u8> + '_ {
        (0..CREDS as u8).filter(|cred| self.creds[usize::from(*cred)].is_some_and(|cred| cred.live))
    }

    /// The same after some time.
    pub fn aged(mut self, age: impl Fn(Age) -> Age) -> Self {
        for cred in self.creds.iter_mut().flatten() {
            cred.age = age(cred.age);
            cred.idle = age(cred.idle);
        }
        self
    }
}

/// What a process remembers: `rotation::view::Hand` in numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hand {
    Empty,
    /// A claim (its row), a moment ago.
    Claimed(u8),
    /// A bootstrap tag with this nonce.
    Tagged(u8),
    Proved(Code),
    /// Since just now, or since over two minutes.
    Refused(Code, bool),
    Retired(Code),
    /// A credential's lease.
    Ended(u8),
    Unknown(u8),
    Restored(Code),
}

/// Which label a step takes off.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mark {
    Pending,
    Previous,
    Lease,
    Open,
}

/// A step in numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Act {
    Wait,
    /// Beyond what the run has room for: as good as waiting.
    Beyond,
    CreateSecret {
        before: u8,
        there: bool,
    },
    TakeOver {
        there: bool,
    },
    Tag {
        number: u8,
        before: u8,
    },
    Untag,
    MarkRetiring,
    MarkEnding {
        code: Code,
        since: Age,
    },
    UnmarkRetiring,
    DeleteSecret,
    Claim {
        row: u8,
        leak: bool,
        before: u8,
    },
    /// Write that credentials are made in the new place, or the old one, and where before.
    Move {
        from: bool,
        there: bool,
    },
    /// Take the dwelling tag of a former place off.
    Arrive {
        left: bool,
    },
    Mint {
        row: u8,
        there: bool,
    },
    MintFirst {
        row: u8,
        there: bool,
    },
    Verify {
        code: Code,
    },
    Apply {
        code: Code,
    },
    Restore {
        code: Code,
    },
    Promote {
        code: Code,
        from: Code,
    },
    Detach {
        mark: Mark,
        code: Code,
    },
    Close {
        row: u8,
    },
    Revoke {
        cred: u8,
        tracked: bool,
        sent: Sent,
    },
}

/// Which places are asked to end a credential.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Sent {
    Old,
    New,
    Both,
}

impl Sent {
    /// To the new place, or the old one.
    pub fn to(there: bool) -> Self {
        if there { Self::New } else { Self::Old }
    }

    /// Whether a credential that was made in the new place, or the old one, is asked for.
    pub fn reaches(self, there: bool) -> bool {
        self == Self::Both || self == Self::to(there)
    }
}

/// What the holder of a fresh credential does next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum OwnNext {
    Put,
    Close,
    Revoke,
}

/// Where a process is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Process {
    /// Between two looks.
    Idle(Hand),
    /// Decided, and the call is not sent yet.
    Doing(Act),
    /// Made a first credential that it proves before it stores it.
    Proving { row: u8, cred: u8, late: bool, there: bool },
    /// Holds a credential whose secret nobody else has. `late`: the signature of its put expired.
    Owning { row: u8, cred: u8, doubt: bool, first: bool, late: bool, next: OwnNext },
    /// There is no such process.
    Absent,
}

/// A call under way that no process waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Flying {
    Nothing,
    Put { row: u8, cred: u8 },
    Call(Act),
}

/// What people and fate may still do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Budget {
    pub rollbacks: u8,
    pub unlabels: u8,
    pub strangers: u8,
    pub leaks: u8,
    pub duds: u8,
    pub pauses: u8,
}

/// A state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// AWS now.
    pub aws: u32,
    /// AWS before the last write.
    pub aws_before: u32,
    /// AWS at the last tick.
    pub aws_tick: u32,
    /// The vendor now.
    pub place: u32,
    /// The vendor before the last change.
    pub place_before: u32,
    /// The processes.
    pub processes: [Process; REPLICAS],
    /// Calls under way.
    pub flying: [Flying; 2],
    /// What may still go wrong.
    pub budget: Budget,
}

/// Gives equal things equal numbers.
pub struct Interner<T> {
    things: Vec<T>,
    numbers: FxHashMap<T, u32>,
}

impl<T: Copy + Eq + Hash> Interner<T> {
    /// With nothing in it.
    pub fn new() -> Self {
        Self { things: Vec::new(), numbers: FxHashMap::default() }
    }

    /// The thing's number.
    pub fn number(&mut self, thing: T) -> u32 {
        *self.numbers.entry(thing).or_insert_with(|| {
            self.things.push(thing);
            u32::try_from(self.things.len() - 1).expect("fewer than 2^32 things")
        })
    }

    /// The thing with this number.
    pub fn get(&self, number: u32) -> T {
        self.things[number as usize]
    }
}

/// The beginning.
pub fn start(config: &Config) -> (Aws, Place) {
    let oldest = config.scale.oldest();
    let mut aws = Aws {
        exists: config.start != Start::Missing,
        owned: config.start != Start::Takeover,
        claims: [None; ROWS],
        slots: [None; ROWS],
        current: NONE,
        previous: NONE,
        pending: NONE,
        changed: oldest,
        moved: oldest,
        tag: None,
        accepted: None,
        paused: false,
        confirmed: NONE,
        retiring: None,
        doomed: 0,
        deleted: false,
        there: false,
        dwellings: [false; 2],
        last_move: None,
    };
    let mut place = Place { creds: [None; CREDS], record: NONE, applied: 0 };
    if config.start != Start::Missing {
        let foreign = config.start == Start::Takeover;
        let lease = (!foreign && config.vendor != Vendor::InPlace).then_some(oldest);
        aws.slots[0] = Some(SlotV { cred: 0, age: oldest, lease, there: false });
        aws.current = slot_code(0);
        let there = false;
        place.creds[0] =
            Some(Cred { row: 0, live: true, age: oldest, dud: false, used: true, foreign, there, idle: oldest });
        if config.vendor == Vendor::InPlace {
            place.record = 0;
            place.applied = 1;
        }
    }
    (aws, place)
}
