//! What a call does to AWS or to the vendor, by their rules: versions are written once, labels
//! move only from where the caller says they are, the first version of a secret becomes current.

use crate::config::{Declared, Vendor};
use crate::moves::World;
use crate::names::{Code, claim_code, is_slot, row_of, slot_code};
use crate::weaken::Weakening;
use crate::world::{
    Act, Aws, CREDS, ClaimV, Cred, Hand, Mark, NONE, Place, Process, RetiringV, Sent, SlotV, State, TagV,
};

/// What the far side says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    Done,
    Refused,
    Gone,
}

impl World {
    /// Changes AWS; the state before may still be read for a while.
    pub fn set_aws(&mut self, state: &mut State, aws: Aws) {
        let number = self.aws.number(aws);
        if number != state.aws {
            state.aws_before = state.aws;
            state.aws = number;
        }
    }

    /// Changes the vendor; the state before may still be listed for a while.
    pub fn set_place(&mut self, state: &mut State, place: Place) {
        let number = self.places.number(place);
        if number != state.place {
            state.place_before = state.place;
            state.place = number;
        }
    }

    /// A person, or a step, changes labels.
    pub fn labelled(&mut self, state: &State, change: impl FnOnce(&mut Aws)) -> Result<State, String> {
        let mut to = *state;
        let mut aws = self.aws.get(state.aws);
        change(&mut aws);
        if self.config.labels_date {
            aws.changed = 0;
        }
        self.set_aws(&mut to, aws);
        Ok(self.normal(to))
    }

    /// A person changes tags.
    pub fn tagged(&mut self, state: &State, change: impl FnOnce(&mut Aws)) -> Result<State, String> {
        self.labelled(state, change)
    }

    /// Sends a call and applies it.
    pub fn perform(&mut self, state: &mut State, act: Act) -> Result<Reply, String> {
        match act {
            Act::Revoke { cred, sent, .. } => self.revoke(state, cred, sent),
            Act::Apply { code } => {
                let mut place = self.places.get(state.place);
                place.record = self.aws.get(state.aws).cred(code).expect("only slots are applied");
                place.applied |= 1 << place.record;
                self.set_place(state, place);
                Ok(Reply::Done)
            }
            Act::Restore { .. } => {
                let mut place = self.places.get(state.place);
                let aws = self.aws.get(state.aws);
                place.record = aws.cred(aws.current).expect("there is something current");
                place.applied |= 1 << place.record;
                self.set_place(state, place);
                Ok(Reply::Done)
            }
            Act::Close { row } => self.tombstone(state, row).map(|_| Reply::Done),
            _ => self.label(state, act),
        }
    }

    /// The calls that change labels, tags and claims.
    fn label(&mut self, state: &mut State, act: Act) -> Result<Reply, String> {
        let mut aws = self.aws.get(state.aws);
        let before = aws;
        let put = matches!(act, Act::Claim { .. } | Act::DeleteSecret);
        if aws.deleted {
            return Ok(Reply::Refused);
        }
        let done = match act {
            Act::CreateSecret { before, there } => {
                let free = !aws.exists;
                if free {
                    (aws.exists, aws.there) = (true, there);
                    aws.tag = Some(TagV { number: 1, nonce: self.nonce(state), age: 0, before });
                }
                free
            }
            Act::TakeOver { there } => {
                (aws.owned, aws.there) = (true, there);
                true
            }
            Act::Tag { number, before } => {
                aws.tag = Some(TagV { number, nonce: self.nonce(state), age: 0, before });
                if self.config.weak == Some(Weakening::BootstrapClaim) && aws.empty() {
                    aws.claims[0] = Some(ClaimV { age: 0, open: true, leak: false, before });
                    aws.current = claim_code(0);
                }
                aws.exists
            }
            Act::Untag => {
                aws.tag = None;
                true
            }
            Act::MarkRetiring => {
                aws.retiring = Some(RetiringV { since: 0, ending: None });
                true
            }
            Act::MarkEnding { code, since } => {
                aws.retiring = Some(RetiringV { since, ending: Some((code, 0)) });
                aws.doomed |= aws.cred(code).map_or(0, |cred| 1 << cred);
                true
            }
            Act::UnmarkRetiring => {
                aws.retiring = None;
                true
            }
            Act::DeleteSecret => {
                aws.deleted = true;
                true
            }
            Act::Move { from, there } => {
                (aws.there, aws.last_move) = (there, Some(0));
                (aws.dwellings[usize::from(from)], aws.dwellings[usize::from(there)]) = (true, true);
                true
            }
            Act::Arrive { left } => {
                aws.dwellings[usize::from(left)] = false;
                true
            }
            Act::Claim { row, leak, before } => {
                let slot = &mut aws.claims[usize::from(row)];
                let free = slot.is_none();
                if free {
                    *slot = Some(ClaimV { age: 0, open: true, leak, before });
                }
                free
            }
            Act::Promote { code, from } => {
                let compared = aws.current == from || self.config.weak == Some(Weakening::PromoteFromAnywhere);
                let moves = compared && aws.current != code;
                if moves {
                    if aws.current != from {
                        return Err(format!("{act}: it was elsewhere (invariant 7)"));
                    }
                    let age = aws.slot(code).map_or(0, |slot| slot.lease.unwrap_or(slot.age));
                    if self.config.scale.of(age) > 60 {
                        return Err(format!("{act}: the candidate is over an hour old"));
                    }
                    let applied = self.places.get(state.place).applied;
                    let value = aws.cred(code).unwrap_or(0);
                    if self.config.vendor == Vendor::InPlace && applied & (1 << value) == 0 {
                        return Err(format!("{act}: the record never held that value (invariant 1)"));
                    }
                    aws.previous = aws.current;
                    aws.current = code;
                    aws.moved = 0;
                }
                moves
            }
            Act::Detach { mark: Mark::Open, code } if self.forgets_leak(&aws, row_of(code)) => {
                return Err(format!("{act}: nothing else says that the current value leaked"));
            }
            Act::Detach { mark, code } => detach(&mut aws, mark, code, &self.places.get(state.place))?,
            Act::Wait
            | Act::Beyond
            | Act::Mint { .. }
            | Act::MintFirst { .. }
            | Act::Verify { .. }
            | Act::Apply { .. }
            | Act::Restore { .. }
            | Act::Close { .. }
            | Act::Revoke { .. } => unreachable!("no label is changed by: {act}"),
        };
        if !done {
            return Ok(Reply::Refused);
        }
        if aws != before && (put || self.config.labels_date) {
            aws.changed = 0;
        }
        self.set_aws(state, aws);
        Ok(Reply::Done)
    }

    /// Whether a claim is the only thing that says that the current value leaked. Where claims can't
    /// be read, or people move labels back, nothing is promised about that.
    fn forgets_leak(&self, aws: &Aws, row: u8) -> bool {
        let wanted = self.config.declared == Declared::Present;
        let promised = wanted && !self.config.unread && self.config.rollbacks == 0 && self.config.strangers == 0;
        let says = |row: usize| {
            let of_current = self.lens.names.rows.get(row).is_some_and(|names| names.base == aws.current);
            of_current && aws.claims[row].is_some_and(|claim| claim.open && claim.leak)
        };
        promised
            && says(usize::from(row))
            && !(0..aws.claims.len()).any(|other| other != usize::from(row) && says(other))
    }

    /// A nonce that nobody else remembers.
    fn nonce(&self, state: &State) -> u8 {
        let taken = |nonce: u8| state.processes.contains(&Process::Idle(Hand::Tagged(nonce)));
        (0..).find(|nonce| !taken(*nonce)).expect("more numbers than processes")
    }

    /// Creates a credential; nothing where the run has no room.
    pub fn create(&mut self, state: &mut State, row: u8, there: bool, dud: bool) -> Result<Option<u8>, String> {
        let mut place = self.places.get(state.place);
        // Numbers that AWS forgot may come again, long after.
        let counts = |cred: &Cred| cred.row == row && (cred.live || !self.config.prunes);
        let made_before = place.creds.iter().flatten().any(counts);
        let aws = self.aws.get(state.aws);
        let first = self.lens.names.row(row).base == NONE;
        if !first && aws.claims[usize::from(row)].is_none() {
            return Err(format!("a credential of attempt {row} is made without a claim (invariant 6)"));
        }
        if !first && made_before {
            return Err(format!("a second credential of attempt {row} is made (invariant 6)"));
        }
        let cred = place.made();
        if usize::from(cred) >= CREDS {
            return Ok(None);
        }
        place.creds[usize::from(cred)] =
            Some(Cred { row, live: true, age: 0, dud, used: false, foreign: false, there, idle: 0 });
        if self.config.vendor == Vendor::InPlace {
            let number = self.places.number(place);
            // Nothing is sent anywhere: a value is made up.
            state.place = number;
            state.place_before = number;
        } else {
            self.set_place(state, place);
        }
        Ok(Some(cred))
    }

    /// Puts a credential into its slot, with AWSPENDING and the lease.
    pub fn put(&mut self, state: &mut State, row: u8, cred: u8) -> Result<Reply, String> {
        let mut aws = self.aws.get(state.aws);
        if aws.deleted {
            return Ok(Reply::Refused);
        }
        let there = aws.slots[usize::from(row)];
        if there.is_some_and(|slot| slot.cred == cred) {
            return Ok(Reply::Done);
        }
        if there.is_some() && self.config.weak != Some(Weakening::TokenOverwrites) {
            return Ok(Reply::Refused);
        }
        let first = self.lens.names.row(row).base == NONE;
        let since = if first { 0 } else { aws.claims[usize::from(row)].map_or(0, |claim| claim.age) };
        let leased = self.config.vendor != Vendor::InPlace && self.config.weak != Some(Weakening::NoLease);
        let alone = aws.empty();
        aws.slots[usize::from(row)] = Some(SlotV {
            cred,
            age: 0,
            lease: leased.then_some(since),
            there: self.places.get(state.place).cred(cred).there,
        });
        aws.pending = slot_code(row);
        if alone {
            aws.current = slot_code(row);
            aws.moved = 0;
        }
        aws.changed = 0;
        self.set_aws(state, aws);
        Ok(Reply::Done)
    }

    /// Puts a tombstone into a slot. Every tombstone is the same text, so a second one is accepted.
    pub fn tombstone(&mut self, state: &mut State, row: u8) -> Result<Reply, String> {
        let mut aws = self.aws.get(state.aws);
        if aws.deleted {
            return Ok(Reply::Refused);
        }
        match aws.slots[usize::from(row)] {
            Some(slot) if slot.cred == NONE => return Ok(Reply::Done),
            Some(_) => return Ok(Reply::Refused),
            None => {}
        }
        if aws.empty() {
            return Err("a tombstone becomes the first version (invariant 8)".into());
        }
        aws.slots[usize::from(row)] = Some(SlotV { cred: NONE, age: 0, lease: None, there: false });
        aws.changed = 0;
        self.set_aws(state, aws);
        Ok(Reply::Done)
    }

    fn revoke(&mut self, state: &mut State, cred: u8, sent: Sent) -> Result<Reply, String> {
        let mut place = self.places.get(state.place);
        let one = place.cred(cred);
        if !one.live || !sent.reaches(one.there) {
            return Ok(Reply::Gone);
        }
        if one.foreign {
            return Err(format!("cred-{cred} is revoked, which is not ours (invariant 16)"));
        }
        let aws = self.aws.get(state.aws);
        let retired = aws.doomed & (1 << cred) != 0;
        if aws.refers(cred) && !retired {
            return Err(format!("cred-{cred} is revoked while a label refers to it (invariant 2)"));
        }
        // Of the dead nothing matters but that they are.
        let age = self.config.scale.oldest();
        place.set(cred, |cred| *cred = Cred { live: false, age, dud: false, used: false, idle: age, ..*cred });
        self.set_place(state, place);
        Ok(Reply::Done)
    }
}

fn detach(aws: &mut Aws, mark: Mark, code: Code, place: &Place) -> Result<bool, String> {
    let take = |holder: &mut Code| {
        let held = *holder == code;
        if held {
            *holder = NONE;
        }
        held
    };
    Ok(match mark {
        Mark::Pending => take(&mut aws.pending),
        Mark::Previous => take(&mut aws.previous),
        Mark::Open => {
            assert!(!is_slot(code), "kf-open is on claims");
            let claim = aws.claims[usize::from(row_of(code))].as_mut();
            claim.is_some_and(|claim| std::mem::replace(&mut claim.open, false))
        }
        Mark::Lease => {
            let Some(slot) = aws.slots[usize::from(row_of(code))].as_mut() else { return Ok(false) };
            if slot.lease.is_some() && place.cred(slot.cred).live {
                return Err(format!("the lease of cred-{} ends while it lives (invariant 10)", slot.cred));
            }
            slot.lease.take().is_some()
        }
    })
}
