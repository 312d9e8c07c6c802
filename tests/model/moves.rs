//! Everything that can happen next: time, people, calls that were under way, and each process.

use std::fmt;

use keyferry::model::attempt::Cause;
use keyferry::model::time::Timestamp;
use keyferry::rotation::own::{self, Next, Own};
use rustc_hash::FxHashMap;

use crate::config::{Config, Start, Vendor};
use crate::effects::Reply;
use crate::lens::{Answer, Ask, Lens};
use crate::weaken::Weakening;
use crate::world::{
    Act, Aws, Budget, CREDS, Cred, Flying, Hand, Interner, Mark, NONE, OwnNext, Place, Process, REPLICAS, ROWS, SlotV,
    State, Version, claim_code, slot_code, start,
};

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
    Lands(Flying),
    Crash(Process, bool),
    Forget(Hand),
    Sees { process: usize, aws: Glance, place: Glance, request: Option<Cause>, answer: Answer },
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
    decisions: FxHashMap<(u32, u32, Ask), Result<Answer, u32>>,
    complaints: Vec<String>,
    aged_aws: FxHashMap<u32, u32>,
    aged_places: FxHashMap<u32, u32>,
    torn: FxHashMap<(u32, u32), u32>,
}

/// A listing that was not answered.
const SILENT: u32 = u32::MAX;

/// Collects successors.
pub struct Out {
    /// So far.
    pub next: Vec<Successor>,
    /// What must never happen, with the move that would have done it.
    pub broken: Option<(Move, String)>,
}

impl Out {
    fn push(&mut self, what: Move, to: Result<State, String>, heals: bool) {
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

    fn tick(&mut self, state: &State) -> State {
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
            // A login changes nothing: as well begin anew.
            Process::Doing(Act::Verify { .. }) => Process::Idle(Hand::Empty),
            Process::Doing(Act::Mint { .. } | Act::MintFirst { .. }) if !self.config.late_create => {
                Process::Idle(Hand::Empty)
            }
            Process::Doing(Act::MintFirst { row }) if boot_fenced => Process::Proving { row, cred: NONE, late: true },
            Process::Doing(Act::Apply { .. } | Act::Restore { .. }) if !self.config.late_apply => {
                Process::Idle(Hand::Empty)
            }
            Process::Proving { row, cred, .. } if boot_fenced => Process::Proving { row, cred, late: true },
            Process::Owning { row, cred, doubt, first: true, next, .. } if boot_fenced => {
                Process::Owning { row, cred, doubt, first: true, late: true, next }
            }
            other => other,
        }
    }

    fn people(&mut self, state: &State, out: &mut Out) {
        let aws = self.aws.get(state.aws);
        if aws.paused {
            let to = self.tagged(state, |aws| aws.paused = false);
            out.push(Move::Resume, to, true);
        } else if state.budget.pauses > 0 && aws.exists {
            let mut from = *state;
            from.budget.pauses -= 1;
            let to = self.tagged(&from, |aws| aws.paused = true);
            out.push(Move::Pause, to, false);
        }
        if self.rolled_back(&aws) || self.strange(&aws) {
            let to = self.tagged(state, |aws| aws.accepted = Some((aws.current, 0)));
            out.push(Move::Accept, to, true);
        }
        if state.budget.rollbacks > 0 && aws.previous != NONE {
            let mut from = *state;
            from.budget.rollbacks -= 1;
            let to = self.labelled(&from, |aws| {
                std::mem::swap(&mut aws.current, &mut aws.previous);
                aws.moved = 0;
            });
            out.push(Move::RollBack, to, false);
        }
        if state.budget.strangers > 0 {
            self.stranger(state, out);
        }
        self.clear(state, &aws, out);
        if self.config.prunes {
            self.prune(state, out);
        }
        if state.budget.unlabels > 0 && aws.previous != NONE {
            let mut from = *state;
            from.budget.unlabels -= 1;
            let to = self.labelled(&from, |aws| aws.previous = NONE);
            out.push(Move::Unlabel, to, false);
        }
    }

    /// Whether somebody else's version is current and nobody accepted that.
    fn strange(&self, aws: &Aws) -> bool {
        self.config.strangers > 0
            && aws.current == slot_code(self.lens.names.stranger())
            && aws.accepted.is_none_or(|(code, _)| code != aws.current)
    }

    /// A person puts a value of their own, as people do: it is published at once.
    fn stranger(&mut self, state: &State, out: &mut Out) {
        let row = self.lens.names.stranger();
        let mut aws = self.aws.get(state.aws);
        let mut place = self.places.get(state.place);
        let cred = place.made();
        if aws.current == NONE || usize::from(cred) >= CREDS {
            return;
        }
        let mut to = *state;
        to.budget.strangers -= 1;
        place.creds[usize::from(cred)] = Some(Cred { row, live: true, age: 0, dud: false, used: true, foreign: true });
        aws.slots[usize::from(row)] = Some(SlotV { cred, age: 0, lease: None });
        aws.previous = aws.current;
        aws.current = slot_code(row);
        aws.moved = 0;
        aws.changed = 0;
        self.set_place(&mut to, place);
        self.set_aws(&mut to, aws);
        let to = self.settle(to);
        out.push(Move::Stranger, to, false);
    }

    /// More leftovers than keyferry ends unasked: a person ends one.
    fn clear(&mut self, state: &State, aws: &Aws, out: &mut Out) {
        let place = self.places.get(state.place);
        let held = |cred: u8| {
            state.processes.iter().any(|process| match process {
                Process::Owning { cred: own, .. } | Process::Proving { cred: own, .. } => *own == cred,
                Process::Idle(_) | Process::Doing(_) | Process::Absent => false,
            })
        };
        let leftover = |cred: &u8| {
            let one = place.cred(*cred);
            !aws.slots.iter().flatten().any(|slot| slot.cred == *cred) && one.age > 0 && !one.foreign && !held(*cred)
        };
        let leftovers: Vec<u8> = place.live().filter(leftover).collect();
        if self.config.vendor != Vendor::InPlace && leftovers.len() > 3 {
            let mut to = *state;
            let act = Act::Revoke { cred: leftovers[0], tracked: false };
            let to = self.perform(&mut to, act).and_then(|_| self.settle(to));
            out.push(Move::Clears(leftovers[0]), to, true);
        }
    }

    /// AWS forgets the oldest version without a label, once it is a day old. It keeps a hundred, so
    /// the newest attempts stay.
    fn prune(&mut self, state: &State, out: &mut Out) {
        let oldest = self.config.scale.oldest();
        let mut aws = self.aws.get(state.aws);
        let newest = (0..ROWS).rev().find(|row| aws.claims[*row].is_some()).unwrap_or(0);
        for row in 0..newest {
            let (claim, slot) = (claim_code(row as u8), slot_code(row as u8));
            let forgotten = match (aws.claims[row], aws.slots[row]) {
                (Some(one), _) if !one.open && one.age == oldest => {
                    aws.claims[row] = None;
                    claim
                }
                (_, Some(one)) if !aws.labelled(slot) && one.age == oldest => {
                    aws.slots[row] = None;
                    slot
                }
                _ => continue,
            };
            let mut to = *state;
            self.set_aws(&mut to, aws);
            let to = self.settle(to);
            return out.push(Move::Prune(forgotten), to, false);
        }
    }

    /// Whether a successor of the current version is AWSPREVIOUS and nobody accepted that.
    fn rolled_back(&self, aws: &Aws) -> bool {
        aws.previous != NONE
            && aws.accepted.is_none_or(|(code, _)| code != aws.current)
            && self.lens.base(aws.previous) == aws.current
    }

    fn process(&mut self, state: &State, process: usize, out: &mut Out) {
        let at = state.processes[process];
        if at == Process::Absent {
            return;
        }
        if let Process::Idle(hand) = at {
            if hand != Hand::Empty {
                let to = self.with(state, process, Process::Idle(Hand::Empty));
                out.push(Move::Forget(hand), Ok(to), true);
            }
            return self.look(state, process, hand, out);
        }
        let crashed = self.with(state, process, Process::Idle(Hand::Empty));
        out.push(Move::Crash(at, false), Ok(crashed), false);
        match at {
            Process::Absent | Process::Idle(_) => unreachable!("handled above"),
            Process::Doing(act) => {
                if self.flies(act)
                    && let Some(to) = self.launch(&crashed, Flying::Call(act))
                {
                    let to = self.normal(to);
                    out.push(Move::Crash(at, true), Ok(to), false);
                }
                self.doing(state, process, act, out);
            }
            Process::Proving { row, cred, late } => self.proving(state, process, (row, cred, late), out),
            Process::Owning { next: OwnNext::Put, .. } => self.putting(state, process, out),
            Process::Owning { next: OwnNext::Close, .. } => self.closing(state, process, out),
            Process::Owning { next: OwnNext::Revoke, cred, .. } => {
                let mut to = *state;
                let done = self.perform(&mut to, Act::Revoke { cred, tracked: false });
                let to = done.map(|_| self.with(&to, process, Process::Idle(Hand::Empty)));
                let to = to.and_then(|to| self.settle(to));
                out.push(Move::Drops { process }, to, true);
            }
        }
    }

    /// Whether a call may still be under way when its process is gone.
    fn flies(&self, act: Act) -> bool {
        match act {
            Act::Wait | Act::Beyond | Act::Mint { .. } | Act::MintFirst { .. } | Act::Verify { .. } => false,
            Act::Apply { .. } | Act::Restore { .. } => self.config.late_apply,
            Act::CreateSecret { .. }
            | Act::TakeOver
            | Act::Tag { .. }
            | Act::Untag
            | Act::Claim { .. }
            | Act::Promote { .. }
            | Act::Detach { .. }
            | Act::Close { .. }
            | Act::Revoke { .. } => true,
        }
    }

    fn launch(&self, state: &State, call: Flying) -> Option<State> {
        let room = state.flying[..self.config.late_calls].iter().position(|flying| *flying == Flying::Nothing)?;
        if state.flying.contains(&call) {
            return None;
        }
        let mut to = *state;
        to.flying[room] = call;
        Some(to)
    }

    /// A process observes and decides.
    fn look(&mut self, state: &State, process: usize, hand: Hand, out: &mut Out) {
        let mut seen: Vec<(u32, Glance)> = vec![(state.aws, Glance::Now)];
        let mut add = |number, glance| {
            if !seen.iter().any(|(known, _)| *known == number) {
                seen.push((number, glance));
            }
        };
        add(state.aws_before, Glance::Before);
        if self.config.deep {
            add(state.aws_tick, Glance::AtTick);
        }
        if self.config.torn {
            for (one, other) in [(state.aws, state.aws_before), (state.aws_before, state.aws)] {
                let (labels, rest) = (self.aws.get(one), self.aws.get(other));
                let numbers = &mut self.aws;
                let torn = *self.torn.entry((one, other)).or_insert_with(|| numbers.number(labels.torn(&rest)));
                add(torn, Glance::Torn);
            }
        }
        let mut places = vec![(state.place, Glance::Now)];
        if state.place_before != state.place {
            places.push((state.place_before, Glance::Before));
        }
        if self.config.silent {
            places.push((SILENT, Glance::Silent));
        }
        let mut requests = vec![None, Some(Cause::Asked)];
        if state.budget.leaks > 0 {
            requests.push(Some(Cause::Leaked));
        }
        let mut acts: Vec<Act> = Vec::new();
        for &(aws, aws_glance) in &seen {
            for &(place, place_glance) in &places {
                for &request in &requests {
                    let answer = match self.decide(aws, place, Ask { request, hand }) {
                        Ok(answer) => answer,
                        Err(complaint) => {
                            let answer = Answer { act: Act::Wait, reason: keyferry::rotation::Reason::Healthy };
                            let what = Move::Sees { process, aws: aws_glance, place: place_glance, request, answer };
                            out.push(what, Err(complaint), false);
                            return;
                        }
                    };
                    if matches!(answer.act, Act::Wait | Act::Beyond) || acts.contains(&answer.act) {
                        continue;
                    }
                    acts.push(answer.act);
                    let to = self.with(state, process, Process::Doing(answer.act));
                    let heals = aws == state.aws && place == state.place && request.is_none();
                    let what = Move::Sees { process, aws: aws_glance, place: place_glance, request, answer };
                    out.push(what, Ok(to), heals);
                }
            }
        }
    }

    fn decide(&mut self, aws: u32, place: u32, ask: Ask) -> Result<Answer, String> {
        let key = (aws, place, ask);
        if !self.decisions.contains_key(&key) {
            let place = (place != SILENT).then(|| self.places.get(place));
            let mut answer = self.lens.decide(&self.aws.get(aws), place.as_ref(), ask);
            if let (Some(weakening), Ok(answer)) = (self.config.weak, &mut answer) {
                answer.act = weakening.twist(answer.act, &self.aws.get(aws));
            }
            let answer = answer.map_err(|complaint| {
                self.complaints.push(complaint);
                self.complaints.len() as u32 - 1
            });
            self.decisions.insert(key, answer);
        }
        self.decisions[&key].map_err(|index| self.complaints[index as usize].clone())
    }

    /// How many decisions were asked for.
    pub fn decisions(&self) -> usize {
        self.decisions.len()
    }

    fn doing(&mut self, state: &State, process: usize, act: Act, out: &mut Out) {
        match act {
            Act::Mint { row } => return self.minting(state, process, row, false, out),
            Act::MintFirst { row } => return self.minting(state, process, row, true, out),
            Act::Verify { code } => return self.verifying(state, process, code, out),
            Act::Apply { code } => {
                let mut to = *state;
                let done = self.perform(&mut to, act);
                for (how, hand) in [
                    (How::Well, Hand::Proved(code)),
                    (How::ReplyLost, Hand::Empty),
                    (How::NotYet, Hand::Refused(code, false)),
                    (How::NotYet, Hand::Refused(code, true)),
                ] {
                    let to = done.clone().map(|_| self.with(&to, process, Process::Idle(hand)));
                    out.push(Move::Does { process, act, how }, to.and_then(|to| self.settle(to)), how == How::Well);
                }
                return;
            }
            _ => {}
        }
        let mut to = *state;
        let reply = match self.perform(&mut to, act) {
            Ok(reply) => reply,
            Err(complaint) => return out.push(Move::Does { process, act, how: How::Well }, Err(complaint), false),
        };
        let hand = match (reply, act) {
            (Reply::Refused, Act::Detach { mark: Mark::Previous, code })
                if self.config.weak == Some(Weakening::RetiredByOthers) =>
            {
                Hand::Retired(code)
            }
            (Reply::Refused, _) => Hand::Empty,
            (Reply::Done, Act::Claim { row, .. }) => Hand::Claimed(row),
            (Reply::Done, Act::CreateSecret { .. } | Act::Tag { .. }) => {
                Hand::Tagged(self.aws.get(to.aws).tag.expect("just written").nonce)
            }
            (Reply::Done, Act::Detach { mark: Mark::Previous, code }) => Hand::Retired(code),
            (Reply::Done, Act::Revoke { cred, tracked: true }) => Hand::Ended(cred),
            (Reply::Gone, Act::Revoke { cred, tracked: true }) => Hand::Unknown(cred),
            (Reply::Done, Act::Restore { code }) => Hand::Restored(code),
            (Reply::Done | Reply::Gone, _) => Hand::Empty,
        };
        let mut budgeted = to;
        if matches!(act, Act::Claim { leak: true, .. }) && reply == Reply::Done {
            budgeted.budget.leaks = budgeted.budget.leaks.saturating_sub(1);
        }
        let after = self.with(&budgeted, process, Process::Idle(hand));
        let how = if reply == Reply::Refused { How::Refused } else { How::Well };
        let after = self.settle(after);
        out.push(Move::Does { process, act, how }, after, true);
        if hand != Hand::Empty {
            let lost = self.with(&budgeted, process, Process::Idle(Hand::Empty));
            let lost = self.settle(lost);
            out.push(Move::Does { process, act, how: How::ReplyLost }, lost, false);
        }
        // A vendor that has not heard of its own young credential everywhere.
        if let Act::Revoke { cred, tracked: true } = act
            && self.places.get(state.place).cred(cred).age == 0
        {
            let to = self.with(state, process, Process::Idle(Hand::Unknown(cred)));
            out.push(Move::Does { process, act, how: How::FalselyGone }, Ok(to), false);
        }
    }

    fn minting(&mut self, state: &State, process: usize, row: u8, first: bool, out: &mut Out) {
        let act = if first { Act::MintFirst { row } } else { Act::Mint { row } };
        let in_place = self.config.vendor == Vendor::InPlace;
        let refused = if first { Process::Idle(Hand::Empty) } else { Process::Doing(Act::Close { row }) };
        if !in_place {
            let to = self.with(state, process, refused);
            out.push(Move::Does { process, act, how: How::Refused }, Ok(to), false);
        }
        for dud in [false, true] {
            if dud && state.budget.duds == 0 {
                continue;
            }
            let mut to = *state;
            to.budget.duds -= u8::from(dud);
            let cred = match self.create(&mut to, row, dud) {
                Ok(Some(cred)) => cred,
                Ok(None) => {
                    let to = self.with(state, process, Process::Idle(Hand::Empty));
                    out.push(Move::Does { process, act, how: How::Refused }, Ok(to), true);
                    continue;
                }
                Err(complaint) => {
                    out.push(Move::Does { process, act, how: How::Well }, Err(complaint), false);
                    continue;
                }
            };
            let holding = if first && !in_place {
                Process::Proving { row, cred, late: false }
            } else {
                self.owning(row, cred, first)
            };
            let how = if dud { How::Dud } else { How::Well };
            let well = self.with(&to, process, holding);
            let well = self.settle(well);
            out.push(Move::Does { process, act, how }, well, !dud);
            if !in_place {
                let lost = self.with(&to, process, Process::Idle(Hand::Empty));
                let lost = self.settle(lost);
                out.push(Move::Does { process, act, how: How::ReplyLost }, lost, false);
            }
        }
    }

    fn owning(&self, row: u8, cred: u8, first: bool) -> Process {
        Process::Owning { row, cred, doubt: false, first, late: false, next: OwnNext::Put }
    }

    fn verifying(&mut self, state: &State, process: usize, code: u8, out: &mut Out) {
        let act = Act::Verify { code };
        let aws = self.aws.get(state.aws);
        let Some(cred) = aws.cred(code) else { return };
        let mut place = self.places.get(state.place);
        let one = place.cred(cred);
        if one.live && (!one.dud || self.config.weak == Some(Weakening::NoVerify)) {
            let mut to = *state;
            place.set(cred, |cred| cred.used = true);
            self.set_place(&mut to, place);
            let to = self.with(&to, process, Process::Idle(Hand::Proved(code)));
            out.push(Move::Does { process, act, how: How::Well }, Ok(to), true);
        }
        for long in [false, true] {
            let to = self.with(state, process, Process::Idle(Hand::Refused(code, long)));
            out.push(Move::Does { process, act, how: How::NotYet }, Ok(to), one.dud);
        }
    }

    /// The first credential is proved before it is stored.
    fn proving(&mut self, state: &State, process: usize, at: (u8, u8, bool), out: &mut Out) {
        let (row, cred, late) = at;
        if cred == NONE {
            // It slept before the create, which is sent all the same; its put is refused.
            let mut to = *state;
            match self.create(&mut to, row, false) {
                Ok(Some(cred)) => {
                    let next = OwnNext::Put;
                    let owning = Process::Owning { row, cred, doubt: false, first: true, late: true, next };
                    let to = self.with(&to, process, owning);
                    let to = self.settle(to);
                    out.push(Move::Does { process, act: Act::MintFirst { row }, how: How::Well }, to, true);
                }
                Ok(None) => {
                    let to = self.with(state, process, Process::Idle(Hand::Empty));
                    out.push(Move::Does { process, act: Act::MintFirst { row }, how: How::Refused }, Ok(to), true);
                }
                Err(complaint) => {
                    out.push(Move::Does { process, act: Act::MintFirst { row }, how: How::Well }, Err(complaint), true);
                }
            }
            return;
        }
        let mut place = self.places.get(state.place);
        let one = place.cred(cred);
        if one.live && !one.dud {
            let mut to = *state;
            place.set(cred, |cred| cred.used = true);
            self.set_place(&mut to, place);
            let next = OwnNext::Put;
            let to = self.with(&to, process, Process::Owning { row, cred, doubt: false, first: true, late, next });
            out.push(Move::Proves { process, how: How::Well }, Ok(to), true);
        }
        // Nothing was sent to AWS, so it may be ended here and now.
        let next = OwnNext::Revoke;
        let to = self.with(state, process, Process::Owning { row, cred, doubt: false, first: true, late, next });
        out.push(Move::Proves { process, how: How::Refused }, Ok(to), true);
    }

    fn putting(&mut self, state: &State, process: usize, out: &mut Out) {
        let Process::Owning { row, cred, late, .. } = state.processes[process] else { return };
        let mut applied = *state;
        let reply = if late { Ok(Reply::Refused) } else { self.put(&mut applied, row, cred) };
        let reply = match reply {
            Ok(reply) => reply,
            Err(complaint) => {
                let what = Move::Puts { process, how: How::Well, stopping: false };
                return out.push(what, Err(complaint), false);
            }
        };
        let (answer, how) = match (reply, late) {
            (Reply::Done, _) => (own::Answer::Stored, How::Well),
            (Reply::Refused | Reply::Gone, true) => (own::Answer::Refused, How::Refused),
            (Reply::Refused | Reply::Gone, false) => (own::Answer::Taken, How::Refused),
        };
        self.answered(&applied, process, (answer, how), false, true, out);
        for stopping in [false, true] {
            if !late {
                self.answered(state, process, (own::Answer::Throttled, How::Throttled), stopping, false, out);
                self.answered(state, process, (own::Answer::InDoubt, How::Never), stopping, false, out);
                if reply == Reply::Done {
                    self.answered(&applied, process, (own::Answer::InDoubt, How::ReplyLost), stopping, false, out);
                }
                if let Some(under_way) = self.launch(state, Flying::Put { row, cred }) {
                    self.answered(&under_way, process, (own::Answer::InDoubt, How::UnderWay), stopping, false, out);
                }
            }
            self.answered(state, process, (own::Answer::Refused, How::Refused), stopping, false, out);
        }
    }

    /// What the holder of a fresh credential does after an answer, by the shipping rule.
    fn answered(
        &mut self,
        state: &State,
        process: usize,
        answer: (own::Answer, How),
        stopping: bool,
        heals: bool,
        out: &mut Out,
    ) {
        let Process::Owning { row, cred, doubt, first, late, .. } = state.processes[process] else { return };
        let since = Timestamp::from_seconds(0);
        for waited in [0, 600] {
            let mut own = Own { since, in_doubt: doubt, can_close: !first };
            let mut next = own::next(&mut own, answer.0, Timestamp::from_seconds(waited), stopping);
            if self.config.weak == Some(Weakening::OwnRevokesInDoubt) && matches!(next, Next::Close | Next::Leave) {
                next = if own.in_doubt { Next::Revoke } else { next };
            }
            let owning = |next| Process::Owning { row, cred, doubt: own.in_doubt, first, late, next };
            let then = match next {
                Next::Put => owning(OwnNext::Put),
                Next::Close => owning(OwnNext::Close),
                Next::Revoke => owning(OwnNext::Revoke),
                Next::Leave => Process::Idle(Hand::Empty),
            };
            let to = self.with(state, process, then);
            let to = self.settle(to);
            let stopping = stopping || waited > 0;
            out.push(Move::Puts { process, how: answer.1, stopping }, to, heals && !stopping);
        }
    }

    fn closing(&mut self, state: &State, process: usize, out: &mut Out) {
        let Process::Owning { row, .. } = state.processes[process] else { return };
        let mut applied = *state;
        match self.tombstone(&mut applied, row) {
            Err(complaint) => out.push(Move::Closes { process, how: How::Well }, Err(complaint), false),
            Ok(Reply::Done) => {
                self.answered(&applied, process, (own::Answer::Closed, How::Well), false, true, out);
                self.answered(&applied, process, (own::Answer::NotClosed, How::ReplyLost), false, false, out);
            }
            Ok(Reply::Refused | Reply::Gone) => {
                self.answered(state, process, (own::Answer::NotClosed, How::Refused), false, true, out);
            }
        }
    }

    /// The state with a process elsewhere.
    fn with(&mut self, state: &State, process: usize, to: Process) -> State {
        let mut state = *state;
        state.processes[process] = to;
        self.normal(state)
    }

    /// Checks what holds in every state.
    fn settle(&mut self, state: State) -> Result<State, String> {
        let state = self.normal(state);
        let aws = self.aws.get(state.aws);
        let place = self.places.get(state.place);
        if aws.current != NONE {
            let Some(cred) = aws.cred(aws.current) else {
                return Err("AWSCURRENT is on a claim or a tombstone (invariant 8)".into());
            };
            let one = place.cred(cred);
            if !one.live || one.dud {
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

    /// Whether everything has come to rest: nothing under way, nothing unresolved, and nothing
    /// lives but what is current.
    pub fn clean(&self, state: &State) -> bool {
        let aws = self.aws.get(state.aws);
        let place = self.places.get(state.place);
        let idle = |process: &Process| matches!(process, Process::Idle(Hand::Empty) | Process::Absent);
        let rest = state.processes.iter().all(idle) && state.flying.iter().all(|call| *call == Flying::Nothing);
        let log = aws.pending == NONE && aws.claims.iter().flatten().all(|claim| !claim.open) && !aws.paused;
        if !rest || !log {
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

impl fmt::Display for Move {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick => write!(out, "time passes"),
            Self::Accept => write!(out, "a person accepts the current version (keyferry:base)"),
            Self::RollBack => write!(out, "a person swaps AWSCURRENT and AWSPREVIOUS"),
            Self::Stranger => write!(out, "a person puts a value of their own"),
            Self::Clears(cred) => write!(out, "a person ends one of too many leftovers, cred-{cred}"),
            Self::Prune(code) => write!(out, "AWS forgets {}", Version(*code)),
            Self::Unlabel => write!(out, "a person takes AWSPREVIOUS off"),
            Self::Pause => write!(out, "a person pauses"),
            Self::Resume => write!(out, "a person resumes"),
            Self::Lands(Flying::Put { row, cred }) => write!(out, "the put of cred-{cred} into slot {row} lands late"),
            Self::Lands(Flying::Call(act)) => write!(out, "late: {act}"),
            Self::Lands(Flying::Nothing) => write!(out, "nothing lands"),
            Self::Crash(at, false) => write!(out, "a process dies or fails: {at:?}"),
            Self::Crash(at, true) => write!(out, "a process dies, its call is under way: {at:?}"),
            Self::Forget(hand) => write!(out, "a process forgets {hand:?}"),
            Self::Sees { process, aws, place, request, answer } => {
                write!(out, "r{process} sees AWS {aws:?}, vendor {place:?}")?;
                if let Some(request) = request {
                    write!(out, ", {request:?}")?;
                }
                write!(out, " => {} ({})", answer.act, answer.reason.code())
            }
            Self::Does { process, act, how } => write!(out, "r{process} does: {act} [{how:?}]"),
            Self::Proves { process, how } => write!(out, "r{process} proves its first credential [{how:?}]"),
            Self::Puts { process, how, stopping } => {
                write!(out, "r{process} puts its credential [{how:?}]{}", if *stopping { ", gives up" } else { "" })
            }
            Self::Closes { process, how } => write!(out, "r{process} closes its own slot [{how:?}]"),
            Self::Drops { process } => write!(out, "r{process} revokes its own credential"),
        }
    }
}
