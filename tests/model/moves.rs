//! Everything that can happen next: time passes, and calls that were under way land. What people
//! do is in `people`, what processes do in `process`.

use keyferry::rotation::Turn;
use rustc_hash::FxHashMap;

use crate::config::{Config, Declared, Said, Start, Vendor};
use crate::lens::{Answer, Ask, Lens};
use crate::names::Code;
use crate::weaken::Weakening;
use crate::world::{Act, Aws, Budget, Flying, Hand, Interner, NONE, Place, Process, REPLICAS, State, start};

/// How a step or a call went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    Well,
    ReplyLost,
    Refused,
    Dud,
    NotYet,
    FalselyGone,
    UnderWay,
    Never,
    Throttled,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    Tick,
    Accept,
    RollBack,
    Unlabel,
    Stranger,
    Clears(u8),
    Prune(u8),
    Pause,
    Resume,
    Uses(u8),
    Confirms(Code),
    Restore,
    Lands(Flying),
    Crash(Process, bool),
    Forget(Hand),
    Sees { process: usize, aws: Glance, place: Glance, ask: Ask, answer: Answer },
    Does { process: usize, act: Act, how: How },
    Proves { process: usize, how: How },
    Puts { process: usize, how: How, stopping: bool },
    Closes { process: usize, how: How },
    Drops { process: usize },
}

/// How old the state is that a process was shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Glance {
    Now,
    Before,
    AtTick,
    Torn,
    Silent,
}

/// A successor.
pub struct Successor {
    /// What happened.
    pub what: Move,
    /// The world after it.
    pub to: State,
    /// Whether it may be counted on once faults stop.
    pub heals: bool,
}

/// What a run knows.
pub struct World {
    /// What is explored.
    pub config: Config,
    /// Ids and decisions.
    pub lens: Lens,
    /// AWS's states.
    pub aws: Interner<Aws>,
    /// The vendor's states.
    pub places: Interner<Place>,
    pub decisions: FxHashMap<(u32, u32, Ask), Result<Answer, u32>>,
    pub complaints: Vec<String>,
    aged_aws: FxHashMap<u32, u32>,
    aged_places: FxHashMap<u32, u32>,
    pub torn: FxHashMap<(u32, u32), u32>,
}

/// A listing that was not answered.
pub const SILENT: u32 = u32::MAX;

/// Collects successors.
pub struct Out {
    /// So far.
    pub next: Vec<Successor>,
    /// What must never happen, with the move that would have done it.
    pub broken: Option<(Move, String)>,
}

impl Out {
    /// Takes what came of a move.
    pub fn push(&mut self, what: Move, to: Result<State, String>, heals: bool) {
        match to {
            Ok(to) => self.next.push(Successor { what, to, heals }),
            Err(complaint) => {
                self.broken.get_or_insert((what, complaint));
            }
        }
    }
}

impl World {
    /// A world at its beginning.
    pub fn new(config: &Config) -> (Self, State) {
        let mut world = Self {
            config: config.clone(),
            lens: Lens::new(config),
            aws: Interner::new(),
            places: Interner::new(),
            decisions: FxHashMap::default(),
            complaints: Vec::new(),
            aged_aws: FxHashMap::default(),
            aged_places: FxHashMap::default(),
            torn: FxHashMap::default(),
        };
        let (aws, place) = start(config);
        let aws = world.aws.number(aws);
        let place = world.places.number(place);
        let mut processes = [Process::Absent; REPLICAS];
        processes[..config.replicas].fill(Process::Idle(Hand::Empty));
        let budget = Budget {
            rollbacks: config.rollbacks,
            unlabels: config.unlabels,
            strangers: config.strangers,
            leaks: config.leaks,
            duds: config.duds,
            pauses: config.pauses,
        };
        let state = State {
            aws,
            aws_before: aws,
            aws_tick: aws,
            place,
            place_before: place,
            processes,
            flying: [Flying::Nothing; 2],
            budget,
        };
        (world, state)
    }

    /// Everything that can happen next.
    pub fn next(&mut self, state: &State, out: &mut Out) {
        let to = self.tick(state);
        if to != *state {
            out.push(Move::Tick, Ok(to), true);
        }
        self.people(state, out);
        for (index, flying) in state.flying.into_iter().enumerate() {
            if flying != Flying::Nothing {
                let mut to = *state;
                to.flying[index] = Flying::Nothing;
                let landed = match flying {
                    Flying::Nothing => unreachable!("only calls land"),
                    Flying::Put { row, cred } => self.put(&mut to, row, cred).map(|_| ()),
                    Flying::Call(act) => self.perform(&mut to, act).map(|_| ()),
                };
                let to = landed.and_then(|()| self.settle(to));
                out.push(Move::Lands(flying), to, false);
            }
        }
        for process in 0..self.config.replicas {
            self.process(state, process, out);
        }
    }

    pub fn tick(&mut self, state: &State) -> State {
        let scale = self.config.scale;
        let (aws, place) = (state.aws, state.place);
        let aged = self.aws.get(aws);
        let numbers = &mut self.aws;
        let aws = *self.aged_aws.entry(aws).or_insert_with(|| numbers.number(aged.aged(|age| scale.after(age))));
        let aged = self.places.get(place);
        let numbers = &mut self.places;
        let place = *self.aged_places.entry(place).or_insert_with(|| numbers.number(aged.aged(|age| scale.after(age))));
        let mut to = State { aws, aws_before: aws, aws_tick: aws, place, place_before: place, ..*state };
        let weak = self.config.weak;
        if weak == Some(Weakening::StaleForEver) {
            let before = self.aws.get(state.aws_before).aged(|age| scale.after(age));
            to.aws_before = self.aws.number(before);
        }
        if weak != Some(Weakening::NoFence) {
            to.flying = [Flying::Nothing; 2];
        }
        for process in &mut to.processes {
            *process = self.slept(*process);
        }
        self.normal(to)
    }

    /// A process after a sleep: what it may no longer do, it finds out when it wakes.
    fn slept(&self, process: Process) -> Process {
        let fenced = self.config.weak != Some(Weakening::NoFence);
        let boot_fenced = fenced && self.config.weak != Some(Weakening::BootstrapNotFenced);
        match process {
            Process::Idle(Hand::Claimed(_) | Hand::Proved(_) | Hand::Tagged(_)) if fenced => Process::Idle(Hand::Empty),
            Process::Idle(Hand::Refused(code, _)) => Process::Idle(Hand::Refused(code, true)),
            Process::Doing(Act::Promote { .. }) if fenced => Process::Idle(Hand::Empty),
            // Signed with the date of the look.
            Process::Doing(
                Act::MarkRetiring
                | Act::MarkEnding { .. }
                | Act::UnmarkRetiring
                | Act::DeleteSecret
                | Act::Move { .. }
                | Act::Arrive { .. },
            ) if self.config.weak != Some(Weakening::MarksNotFenced) => Process::Idle(Hand::Empty),
            // A login changes nothing: as well begin anew.
            Process::Doing(Act::Verify { .. }) => Process::Idle(Hand::Empty),
            Process::Doing(Act::Mint { .. } | Act::MintFirst { .. }) if !self.config.late_create => {
                Process::Idle(Hand::Empty)
            }
            Process::Doing(Act::MintFirst { row, there }) if boot_fenced => {
                Process::Proving { row, cred: NONE, late: true, there }
            }
            Process::Doing(Act::Apply { .. } | Act::Restore { .. }) if !self.config.late_apply => {
                Process::Idle(Hand::Empty)
            }
            Process::Proving { row, cred, there, .. } if boot_fenced => {
                Process::Proving { row, cred, late: true, there }
            }
            Process::Owning { row, cred, doubt, first: true, next, .. } if boot_fenced => {
                Process::Owning { row, cred, doubt, first: true, late: true, next }
            }
            other => other,
        }
    }

    /// The state with a process elsewhere.
    pub fn with(&mut self, state: &State, process: usize, to: Process) -> State {
        let mut state = *state;
        state.processes[process] = to;
        self.normal(state)
    }

    /// Checks what holds in every state.
    pub fn settle(&mut self, state: State) -> Result<State, String> {
        let state = self.normal(state);
        let aws = self.aws.get(state.aws);
        let place = self.places.get(state.place);
        if aws.current != NONE {
            let Some(cred) = aws.cred(aws.current) else {
                return Err("AWSCURRENT is on a claim or a tombstone (invariant 8)".into());
            };
            let one = place.cred(cred);
            // Written down beforehand, and still there: whoever wants it alive publishes a fresh one.
            let retired = aws.deleted || aws.ending(aws.current);
            if (!one.live && !retired) || one.dud {
                return Err(format!("AWSCURRENT holds cred-{cred}, which does not work (invariant 1)"));
            }
        }
        if aws.pending != NONE && aws.cred(aws.pending).is_none() {
            return Err("AWSPENDING is on a claim or a tombstone (invariant 8)".into());
        }
        // Several first tries may run side by side: a tag is no lock.
        let races = self.config.replicas - 1 + if self.config.start == Start::Missing { 2 } else { 0 };
        let live = place.live().count();
        // Nor does it bound the tries of one that keeps reading an old tag.
        let bounded =
            self.config.vendor != Vendor::InPlace && !(self.config.start == Start::Missing && self.config.deep);
        if bounded && live > 4 + races {
            return Err(format!("{live} credentials live (invariant 3)"));
        }
        Ok(state)
    }

    /// Equal worlds get equal numbers: replicas and calls under way have no order, and a nonce that
    /// nobody remembers is nobody's.
    pub fn normal(&mut self, mut state: State) -> State {
        state.flying.sort_unstable_by(|one, other| other.cmp(one));
        state.processes[..self.config.replicas].sort_unstable();
        if self.config.start == Start::Missing {
            let remembered: Vec<u8> = state
                .processes
                .iter()
                .filter_map(|process| match process {
                    Process::Idle(Hand::Tagged(nonce)) => Some(*nonce),
                    _ => None,
                })
                .collect();
            for number in [&mut state.aws, &mut state.aws_before, &mut state.aws_tick] {
                let mut aws = self.aws.get(*number);
                if let Some(tag) = &mut aws.tag
                    && tag.nonce != NONE
                    && !remembered.contains(&tag.nonce)
                {
                    tag.nonce = NONE;
                    *number = self.aws.number(aws);
                }
            }
        }
        if !self.config.deep {
            state.aws_tick = state.aws;
        }
        state
    }

    /// Whether everything has come to rest: nothing is under way or unresolved, nothing lives but
    /// what is current, and `decide` says that it is nobody's turn.
    pub fn clean(&mut self, state: &State) -> bool {
        let ask =
            Ask { request: None, hand: Hand::Empty, read: true, said: self.config.declared.at_last(), compare: true };
        self.swept(state)
            && self.decide(state.aws, state.place, ask).is_ok_and(|answer| match answer.act {
                Act::Beyond => true,
                act => {
                    act == Act::Wait
                        && answer.reason.turn() == Turn::Nobody
                        && self.wanted_again(state)
                        && self.moved(state)
                }
            })
    }

    /// Where a retirement was called off: nothing says any more that it is under way, and what is
    /// current works.
    fn wanted_again(&self, state: &State) -> bool {
        let (aws, place) = (self.aws.get(state.aws), self.places.get(state.place));
        let works = aws.cred(aws.current).is_none_or(|cred| place.cred(cred).live);
        self.config.declared != Declared::PresentAgain || (aws.retiring.is_none() && works)
    }

    /// Where there are two places: what is current was made in the declared one, and no tag tells of
    /// another.
    fn moved(&self, state: &State) -> bool {
        let (aws, place) = (self.aws.get(state.aws), self.places.get(state.place));
        let there = self.config.declared.at_last() == Said::There;
        let lives = aws.cred(aws.current).is_none_or(|cred| place.cred(cred).there == there);
        !self.config.declared.moves() || (!aws.dwellings[usize::from(!there)] && aws.there == there && lives)
    }

    fn swept(&self, state: &State) -> bool {
        let aws = self.aws.get(state.aws);
        let place = self.places.get(state.place);
        let idle = |process: &Process| matches!(process, Process::Idle(Hand::Empty) | Process::Absent);
        let rest = state.processes.iter().all(idle) && state.flying.iter().all(|call| *call == Flying::Nothing);
        // Where there is no room for another try, one for a value that leaked stays remembered.
        let closed = |row: usize| {
            let remembers = aws.slots[row].is_some() && aws.claims[row].is_some_and(|claim| claim.leak);
            remembers && self.lens.names.row(row as u8).base == aws.current
        };
        let resolved = (0..aws.claims.len()).all(|row| aws.claims[row].is_none_or(|claim| !claim.open) || closed(row));
        let log = aws.pending == NONE && resolved && !aws.paused;
        let gone = aws.deleted || !aws.exists;
        if rest && gone && self.config.ends_retired() {
            let in_place = self.config.vendor == Vendor::InPlace;
            return in_place || place.live().all(|cred| place.cred(cred).foreign);
        }
        if !rest || !log || gone || self.config.ends_retired() {
            return false;
        }
        let current = aws.cred(aws.current);
        if self.config.vendor == Vendor::InPlace {
            return current == Some(place.record).filter(|record| *record != NONE);
        }
        // Where all tries of a bootstrap were used up, it is enough that nothing is left.
        let used_up = aws.tag.is_some_and(|tag| u32::from(tag.number) >= self.config.tries);
        let lives = place.live().all(|cred| Some(cred) == current || place.cred(cred).foreign);
        let leases = aws.slots.iter().flatten().all(|slot| slot.lease.is_none() || Some(slot.cred) == current);
        let previous = aws.previous == NONE || aws.slot(aws.previous).is_some_and(|slot| slot.lease.is_none());
        let tag = aws.tag.is_none() || aws.current == NONE;
        lives && leases && previous && tag && (current.is_some() || used_up)
    }
}
