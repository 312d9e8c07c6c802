//! What one run of the check explores: which vendor, how many replicas, which faults, how fine the
//! clock, and which rule is weakened on purpose.

use std::time::Duration;

use keyferry::model::capability::{Capabilities, Marking, Proof};
use keyferry::model::place::At;
use keyferry::model::policy::{Ownership, Policy, RetireWhen, Rotate, Takeover, Wanted};

use crate::weaken::Weakening;

/// An abstract age: an index into the scale's list of ages.
pub type Age = u8;

const DAY: u32 = 24 * 60;
/// The longest wait for evidence, in minutes.
pub const EVIDENCE_MAX: u32 = 7 * DAY;

/// How finely time is told apart. What just happened has age 0; a tick moves every age up by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// One tick makes everything old: settle, an hour and the overlap pass at once.
    Coarse,
    /// Ticks of 40 minutes and an overlap of an hour: past settle (twice, too), past a candidate's
    /// longest age, past the overlap.
    Medium,
    /// Ticks of 20 minutes: twice settle and both ends of every hour as well.
    Fine,
    /// Ticks of days: the overlap, and then the longest wait for evidence.
    Days,
}

impl Scale {
    /// The ages in minutes, youngest first. The last one stands for every greater one, and is
    /// beyond whatever any rule asks for.
    pub fn minutes(self) -> &'static [u32] {
        match self {
            Self::Coarse => &[0, 2880],
            Self::Medium => &[0, 40, 80, 120, 160],
            Self::Days => &[0, 2 * DAY, 10 * DAY],
            Self::Fine => &[0, 20, 40, 60, 80, 100, 120, 140],
        }
    }

    /// The overlap in minutes.
    pub fn overlap(self) -> u32 {
        match self {
            Self::Coarse | Self::Days => DAY,
            Self::Medium | Self::Fine => 60,
        }
    }

    /// The oldest age.
    pub fn oldest(self) -> Age {
        Age::try_from(self.minutes().len() - 1).expect("a scale is short")
    }

    /// An age in minutes.
    pub fn of(self, age: Age) -> u32 {
        self.minutes()[usize::from(age)]
    }

    /// `age` after a tick.
    pub fn after(self, age: Age) -> Age {
        self.oldest().min(age + 1)
    }
}

/// How the vendor tells our credentials apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vendor {
    /// By a mark of ours.
    Named,
    /// By elimination.
    Unnamed,
    /// One record whose value we supply.
    InPlace,
}

/// Where the story begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// A secret with one version of ours, long published.
    Established,
    /// No secret.
    Missing,
    /// Somebody's secret that the declaration takes over.
    Takeover,
}

/// What the end of a replaced credential waits for besides the overlap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// Nothing.
    Nothing,
    /// That the vendor shows no use.
    Unused,
    /// That a consumer confirmed the new one.
    Confirmed,
}

/// What the declarations say that processes go by. Where there are several, every look may be made
/// with any of them, as it is while a declaration is rolled out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Declared {
    /// Wanted, always.
    Present,
    /// Wanted or retired, and retired at last.
    Retired,
    /// Retired or wanted, and wanted at last; nobody retires the fresh value.
    PresentAgain,
    /// Made in the old place or in the new one, and in the new one at last.
    Moved,
    /// The same, and in the old one at last.
    MovedBack,
}

/// What one declaration says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Said {
    /// Wanted, in the old place.
    Here,
    /// Wanted, in the new place.
    There,
    /// Retired.
    Retired,
}

impl Declared {
    /// The declarations that a look may be made with; what they come to is the first one.
    pub fn said(self) -> &'static [Said] {
        match self {
            Self::Present => &[Said::Here],
            Self::Retired => &[Said::Retired, Said::Here],
            Self::PresentAgain => &[Said::Here, Said::Retired],
            Self::Moved => &[Said::There, Said::Here],
            Self::MovedBack => &[Said::Here, Said::There],
        }
    }

    /// What they come to.
    pub fn at_last(self) -> Said {
        self.said()[0]
    }

    /// Whether there are two places.
    pub fn moves(self) -> bool {
        self.said().contains(&Said::There)
    }
}

/// A place at the vendor, as declarations and tags name it.
pub fn at(there: bool, ownership: Ownership) -> At {
    let options = [("application", site(there))];
    At::new(&["main", "keycard", "named"], "password", options.into_iter(), ownership).expect("it is short")
}

/// The same as `keyferry:place` has it.
pub fn site(there: bool) -> &'static str {
    if there { "new" } else { "old" }
}

/// One configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// For people.
    pub name: &'static str,
    /// Processes at work.
    pub replicas: usize,
    /// The vendor.
    pub vendor: Vendor,
    /// The beginning.
    pub start: Start,
    /// Rotations, one after another.
    pub rotations: u32,
    /// Attempts on each base.
    pub tries: u32,
    /// The clock.
    pub scale: Scale,
    /// Reads may also show the state at the last tick, not only the one before the last write.
    pub deep: bool,
    /// A read may take the labels from one state and the dates and tags from another.
    pub torn: bool,
    /// The vendor may not answer a listing.
    pub silent: bool,
    /// The texts of the claims may not be readable.
    pub unread: bool,
    /// Calls that may be under way without a process.
    pub late_calls: usize,
    /// A create may be sent long after the decision to (the process slept).
    pub late_create: bool,
    /// An in-place vendor's record may be set long after the decision to.
    pub late_apply: bool,
    /// LastChangedDate moves with labels and tags, not with values only.
    pub labels_date: bool,
    /// A person accepts a version without saying when.
    pub undated: bool,
    /// A person may swap AWSCURRENT and AWSPREVIOUS so often.
    pub rollbacks: u8,
    /// A person may take AWSPREVIOUS off by hand so often.
    pub unlabels: u8,
    /// A person may put a value of their own so often.
    pub strangers: u8,
    /// AWS forgets versions without labels.
    pub prunes: bool,
    /// The vendor's ids don't fit into a label.
    pub hashed: bool,
    /// The end of the overlap is judged, too.
    pub overlap_judged: bool,
    /// So many rotations may be asked for because the value leaked.
    pub leaks: u8,
    /// So many credentials do not work.
    pub duds: u8,
    /// A person may pause so often.
    pub pauses: u8,
    /// What ends of replaced credentials wait for.
    pub evidence: Evidence,
    /// What the declarations say.
    pub declared: Declared,
    /// The rule that is broken on purpose.
    pub weak: Option<Weakening>,
    /// States after which a run ends unfinished.
    pub states_max: usize,
}

/// The configuration that the others vary.
pub const BASE: Config = Config {
    name: "",
    replicas: 1,
    vendor: Vendor::Named,
    start: Start::Established,
    rotations: 1,
    tries: 2,
    scale: Scale::Coarse,
    deep: false,
    torn: false,
    silent: false,
    unread: false,
    late_calls: 1,
    late_create: true,
    late_apply: false,
    labels_date: true,
    undated: false,
    rollbacks: 1,
    unlabels: 0,
    strangers: 0,
    prunes: false,
    hashed: false,
    overlap_judged: true,
    leaks: 0,
    duds: 0,
    pauses: 0,
    evidence: Evidence::Nothing,
    declared: Declared::Present,
    weak: None,
    states_max: 4_000_000,
};

impl Config {
    /// The policy that `decide` gets.
    pub fn policy(&self, said: Said) -> Policy {
        let marking = match self.vendor {
            Vendor::Named => Marking::Named,
            Vendor::Unnamed => Marking::Unnamed,
            Vendor::InPlace => Marking::InPlace,
        };
        let capabilities = Capabilities { marking, live_max: None, last_used: true, proof: Proof::Login };
        let mut policy =
            Policy::standard(Rotate::Manual, Duration::from_secs(60 * u64::from(self.scale.overlap())), capabilities);
        if self.vendor == Vendor::Unnamed {
            policy.ownership = Ownership::Exclusive;
        }
        if self.start == Start::Takeover {
            policy.takeover = Takeover::Rotate;
        }
        // A minute may pass between any two steps.
        policy.backoff_first = Duration::ZERO;
        let max = Duration::from_secs(60 * u64::from(EVIDENCE_MAX));
        policy.retire_when = match self.evidence {
            Evidence::Unused if self.weak != Some(Weakening::NoEvidence) => RetireWhen::Unused { max },
            Evidence::Confirmed if self.weak != Some(Weakening::NoEvidence) => RetireWhen::Confirmed { max },
            Evidence::Nothing | Evidence::Unused | Evidence::Confirmed => RetireWhen::OverlapOver,
        };
        match self.weak {
            Some(Weakening::NoSettle) => policy.settle = Duration::ZERO,
            Some(Weakening::RetiredAtOnce) => (policy.overlap, policy.refresh) = (Duration::ZERO, Duration::ZERO),
            _ => {}
        }
        if said == Said::Retired {
            policy.wanted = Wanted::Retired;
        }
        if self.declared.moves() {
            let there = said == Said::There;
            (policy.place, policy.at) = (site(there).into(), Some(at(there, policy.ownership)));
        }
        policy
    }

    /// Whether the declaration that processes come to retires the credential.
    pub fn ends_retired(&self) -> bool {
        self.declared.at_last() == Said::Retired
    }
}
