//! What people do to a secret by hand, and what AWS forgets by itself.

use crate::config::{Declared, Evidence, Vendor};
use crate::moves::{Move, Out, World};
use crate::names::{claim_code, slot_code};
use crate::world::{Act, Aws, CREDS, Cred, NONE, Process, ROWS, Sent, SlotV, State};

impl World {
    pub fn people(&mut self, state: &State, out: &mut Out) {
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
        // Wanted after all, or, by the status, not to be deleted yet.
        // (Another declaration may have had a credential made at that very moment.)
        let place = self.places.get(state.place);
        let lives = self.config.vendor != Vendor::InPlace && place.live().any(|cred| !place.cred(cred).foreign);
        if aws.deleted && (lives || self.config.declared == Declared::PresentAgain) {
            let mut to = *state;
            let mut restored = aws;
            (restored.deleted, restored.changed) = (false, 0);
            self.set_aws(&mut to, restored);
            let to = self.settle(to);
            out.push(Move::Restore, to, true);
        }
        self.evidence(state, &aws, out);
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

    /// A consumer logs in with the replaced credential, or confirms a version.
    fn evidence(&mut self, state: &State, aws: &Aws, out: &mut Out) {
        match self.config.evidence {
            Evidence::Nothing => {}
            Evidence::Unused => {
                let mut place = self.places.get(state.place);
                // What was never published, nobody has.
                let published =
                    |code: u8| (code == aws.previous || code == self.lens.base(aws.current)) && code != NONE;
                let slots = 0..aws.slots.len() as u8;
                let codes: Vec<u8> = slots.map(slot_code).filter(|code| published(*code)).collect();
                let replaced = |cred: u8| codes.iter().any(|code| aws.cred(*code) == Some(cred));
                for cred in place.live().collect::<Vec<_>>() {
                    if aws.cred(aws.current) == Some(cred) || !replaced(cred) {
                        continue;
                    }
                    let mut to = *state;
                    place.set(cred, |one| (one.used, one.idle) = (true, 0));
                    self.set_place(&mut to, place);
                    let to = self.settle(to);
                    out.push(Move::Uses(cred), to, false);
                }
            }
            Evidence::Confirmed => {
                for code in [aws.current, aws.previous] {
                    if code != NONE && aws.confirmed != code {
                        let to = self.tagged(state, |aws| aws.confirmed = code);
                        out.push(Move::Confirms(code), to, false);
                    }
                }
            }
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
        place.creds[usize::from(cred)] =
            Some(Cred { row, live: true, age: 0, dud: false, used: true, foreign: true, there: false, idle: 0 });
        aws.slots[usize::from(row)] = Some(SlotV { cred, age: 0, lease: None, there: false });
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
    pub fn clear(&mut self, state: &State, aws: &Aws, out: &mut Out) {
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
            let act = Act::Revoke { cred: leftovers[0], tracked: false, sent: Sent::Both };
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
    pub fn rolled_back(&self, aws: &Aws) -> bool {
        aws.previous != NONE
            && aws.accepted.is_none_or(|(code, _)| code != aws.current)
            && self.lens.base(aws.previous) == aws.current
    }
}
