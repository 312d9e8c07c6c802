//! What a process does: it looks and decides, and does what it decided, and any of it may fail, be
//! lost on the way, or come late.

use keyferry::model::attempt::Cause;
use keyferry::model::time::Timestamp;
use keyferry::rotation::Reason;
use keyferry::rotation::own::{self, Next, Own};

use crate::config::{Declared, Evidence, Said, Vendor};
use crate::effects::Reply;
use crate::lens::{Answer, Ask};
use crate::moves::{Glance, How, Move, Out, SILENT, World};
use crate::names::slot_code;
use crate::weaken::Weakening;
use crate::world::{Act, Flying, Hand, Mark, NONE, OwnNext, Place, Process, Sent, State};

impl World {
    pub fn process(&mut self, state: &State, process: usize, out: &mut Out) {
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
            Process::Proving { .. } => self.proving(state, process, out),
            Process::Owning { next: OwnNext::Put, .. } => self.putting(state, process, out),
            Process::Owning { next: OwnNext::Close, .. } => self.closing(state, process, out),
            Process::Owning { next: OwnNext::Revoke, cred, .. } => {
                let mut to = *state;
                let done = self.perform(&mut to, Act::Revoke { cred, tracked: false, sent: Sent::Both });
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
            | Act::TakeOver { .. }
            | Act::Tag { .. }
            | Act::Untag
            | Act::MarkRetiring
            | Act::MarkEnding { .. }
            | Act::UnmarkRetiring
            | Act::DeleteSecret
            | Act::Move { .. }
            | Act::Arrive { .. }
            | Act::Claim { .. }
            | Act::Promote { .. }
            | Act::Detach { .. }
            | Act::Close { .. }
            | Act::Revoke { .. } => true,
        }
    }

    pub fn launch(&self, state: &State, call: Flying) -> Option<State> {
        let room = state.flying[..self.config.late_calls].iter().position(|flying| *flying == Flying::Nothing)?;
        if state.flying.contains(&call) {
            return None;
        }
        let mut to = *state;
        to.flying[room] = call;
        Some(to)
    }

    /// A process observes and decides.
    pub fn look(&mut self, state: &State, process: usize, hand: Hand, out: &mut Out) {
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
        let reads: &[bool] = if self.config.unread { &[true, false] } else { &[true] };
        let said = self.config.declared.said();
        let asks: Vec<Ask> = requests
            .iter()
            .flat_map(|request| reads.iter().map(|read| (*request, *read)))
            .flat_map(|(request, read)| said.iter().map(move |said| (request, read, *said)))
            .flat_map(|(request, read, said)| [false, true].map(|compare| Ask { request, hand, read, said, compare }))
            .collect();
        let mut acts: Vec<Act> = Vec::new();
        for &(aws, aws_glance) in &seen {
            for &(place, place_glance) in &places {
                for &ask in &asks {
                    let Ask { request, read, said, .. } = ask;
                    // Nobody retires the fresh value.
                    let fresh = self.aws.get(aws).current != slot_code(0);
                    if said == Said::Retired && fresh && self.config.declared == Declared::PresentAgain {
                        continue;
                    }
                    let answer = match self.decide(aws, place, ask) {
                        Ok(answer) => answer,
                        Err(complaint) => {
                            let answer = Answer { act: Act::Wait, reason: Reason::Healthy };
                            let what = Move::Sees { process, aws: aws_glance, place: place_glance, ask, answer };
                            out.push(what, Err(complaint), false);
                            return;
                        }
                    };
                    if matches!(answer.act, Act::Wait | Act::Beyond) || acts.contains(&answer.act) {
                        continue;
                    }
                    acts.push(answer.act);
                    let to = self.with(state, process, Process::Doing(answer.act));
                    let heals = aws == state.aws
                        && place == state.place
                        && request.is_none()
                        && read
                        && said == self.config.declared.at_last();
                    let what = Move::Sees { process, aws: aws_glance, place: place_glance, ask, answer };
                    out.push(what, Ok(to), heals);
                }
            }
        }
    }

    /// Somebody logs in with a credential.
    pub fn logged_in(&self, place: &mut Place, cred: u8) {
        let looked_at = self.config.evidence == Evidence::Unused;
        place.set(cred, |one| {
            one.used = true;
            one.idle = if looked_at { 0 } else { one.idle };
        });
    }

    pub fn decide(&mut self, aws: u32, place: u32, ask: Ask) -> Result<Answer, String> {
        let key = (aws, place, ask);
        if !self.decisions.contains_key(&key) {
            let place = (place != SILENT).then(|| self.places.get(place));
            let answer = self.lens.decide(&self.aws.get(aws), place.as_ref(), ask);
            let answer = answer.map_err(|complaint| {
                self.complaints.push(complaint);
                self.complaints.len() as u32 - 1
            });
            self.decisions.insert(key, answer);
        }
        self.decisions[&key].map_err(|index| self.complaints[index as usize].clone())
    }

    pub fn doing(&mut self, state: &State, process: usize, act: Act, out: &mut Out) {
        match act {
            Act::Mint { row, there } => return self.minting(state, process, (row, there), false, out),
            Act::MintFirst { row, there } => return self.minting(state, process, (row, there), true, out),
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
            (Reply::Refused, _) => Hand::Empty,
            (Reply::Done, Act::Claim { row, .. }) => Hand::Claimed(row),
            (Reply::Done, Act::CreateSecret { .. } | Act::Tag { .. }) => {
                Hand::Tagged(self.aws.get(to.aws).tag.expect("just written").nonce)
            }
            (Reply::Done, Act::Detach { mark: Mark::Previous, code }) => Hand::Retired(code),
            (Reply::Done, Act::Revoke { cred, tracked: true, .. }) => Hand::Ended(cred),
            (Reply::Gone, Act::Revoke { cred, tracked: true, .. }) => Hand::Unknown(cred),
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
        if let Act::Revoke { cred, tracked: true, .. } = act
            && self.places.get(state.place).cred(cred).age == 0
        {
            let to = self.with(state, process, Process::Idle(Hand::Unknown(cred)));
            out.push(Move::Does { process, act, how: How::FalselyGone }, Ok(to), false);
        }
    }

    fn minting(&mut self, state: &State, process: usize, made: (u8, bool), first: bool, out: &mut Out) {
        let (row, there) = made;
        let act = if first { Act::MintFirst { row, there } } else { Act::Mint { row, there } };
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
            let cred = match self.create(&mut to, row, there, dud) {
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
                Process::Proving { row, cred, late: false, there }
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

    pub fn owning(&self, row: u8, cred: u8, first: bool) -> Process {
        Process::Owning { row, cred, doubt: false, first, late: false, next: OwnNext::Put }
    }

    fn verifying(&mut self, state: &State, process: usize, code: u8, out: &mut Out) {
        let act = Act::Verify { code };
        let aws = self.aws.get(state.aws);
        let Some(cred) = aws.cred(code).filter(|_| !aws.deleted) else {
            let to = self.with(state, process, Process::Idle(Hand::Empty));
            return out.push(Move::Does { process, act, how: How::Refused }, Ok(to), true);
        };
        let mut place = self.places.get(state.place);
        let one = place.cred(cred);
        if one.live && (!one.dud || self.config.weak == Some(Weakening::NoVerify)) {
            let mut to = *state;
            self.logged_in(&mut place, cred);
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
    fn proving(&mut self, state: &State, process: usize, out: &mut Out) {
        let Process::Proving { row, cred, late, there } = state.processes[process] else { return };
        let act = Act::MintFirst { row, there };
        if cred == NONE {
            // It slept before the create, which is sent all the same; its put is refused.
            let mut to = *state;
            match self.create(&mut to, row, there, false) {
                Ok(Some(cred)) => {
                    let next = OwnNext::Put;
                    let owning = Process::Owning { row, cred, doubt: false, first: true, late: true, next };
                    let to = self.with(&to, process, owning);
                    let to = self.settle(to);
                    out.push(Move::Does { process, act, how: How::Well }, to, true);
                }
                Ok(None) => {
                    let to = self.with(state, process, Process::Idle(Hand::Empty));
                    out.push(Move::Does { process, act, how: How::Refused }, Ok(to), true);
                }
                Err(complaint) => {
                    out.push(Move::Does { process, act, how: How::Well }, Err(complaint), true);
                }
            }
            return;
        }
        let mut place = self.places.get(state.place);
        let one = place.cred(cred);
        if one.live && !one.dud {
            let mut to = *state;
            self.logged_in(&mut place, cred);
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
        let deleted = self.aws.get(state.aws).deleted;
        let (answer, how) = match (reply, late || deleted) {
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
}
