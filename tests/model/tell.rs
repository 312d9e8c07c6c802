//! Moves and steps in words, for traces.

use std::fmt;

use crate::config::{Said, site};
use crate::moves::Move;
use crate::names::{Code, is_slot, row_of};
use crate::world::{Act, Flying, NONE};

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
            Self::Uses(cred) => write!(out, "a consumer logs in with cred-{cred}"),
            Self::Confirms(code) => write!(out, "a consumer confirms {}", Version(*code)),
            Self::Restore => write!(out, "a person restores the secret"),
            Self::Resume => write!(out, "a person resumes"),
            Self::Lands(Flying::Put { row, cred }) => write!(out, "the put of cred-{cred} into slot {row} lands late"),
            Self::Lands(Flying::Call(act)) => write!(out, "late: {act}"),
            Self::Lands(Flying::Nothing) => write!(out, "nothing lands"),
            Self::Crash(at, false) => write!(out, "a process dies or fails: {at:?}"),
            Self::Crash(at, true) => write!(out, "a process dies, its call is under way: {at:?}"),
            Self::Forget(hand) => write!(out, "a process forgets {hand:?}"),
            Self::Sees { process, aws, place, ask, answer } => {
                write!(out, "r{process} sees AWS {aws:?}, vendor {place:?}")?;
                if let Some(request) = ask.request {
                    write!(out, ", {request:?}")?;
                }
                match ask.said {
                    Said::Here => {}
                    Said::There => write!(out, ", declared in the new place")?,
                    Said::Retired => write!(out, ", retired")?,
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

impl fmt::Display for Act {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Wait => write!(out, "wait"),
            Self::Beyond => write!(out, "do what this run has no room for"),
            Self::CreateSecret { .. } => write!(out, "create the secret, tagged with try 1"),
            Self::TakeOver { .. } => write!(out, "write the owner tags"),
            Self::Tag { number, .. } => write!(out, "tag the secret with try {number}"),
            Self::Untag => write!(out, "take the bootstrap tag off"),
            Self::MarkRetiring => write!(out, "tag the secret as retiring"),
            Self::MarkEnding { code, .. } => write!(out, "write down that {}'s credential ends", Version(code)),
            Self::UnmarkRetiring => write!(out, "take the retiring tag off"),
            Self::DeleteSecret => write!(out, "schedule the secret for deletion"),
            Self::Claim { row, leak, .. } => {
                write!(out, "put the claim of attempt {row}{}", if leak { " (leaked)" } else { "" })
            }
            Self::Mint { row, .. } => write!(out, "create the credential of attempt {row}"),
            Self::Move { from, there } => {
                write!(out, "write that it moves from the {} place to the {} one", site(from), site(there))
            }
            Self::Arrive { left } => write!(out, "take the tag of the {} place off", site(left)),
            Self::MintFirst { row, .. } => write!(out, "create the first credential, attempt {row}"),
            Self::Verify { code } => write!(out, "log in with {}", Version(code)),
            Self::Apply { code } => write!(out, "set the record to {}'s value", Version(code)),
            Self::Restore { code } => write!(out, "set the record back from {}'s value", Version(code)),
            Self::Promote { code, from } => {
                write!(out, "move AWSCURRENT from {} to {}", Version(from), Version(code))
            }
            Self::Detach { mark, code } => write!(out, "take {mark:?} off {}", Version(code)),
            Self::Close { row } => write!(out, "put a tombstone into slot {row}"),
            Self::Revoke { cred, tracked, .. } => {
                write!(out, "revoke cred-{cred}{}", if tracked { "" } else { " (a leftover)" })
            }
        }
    }
}

/// A version, for people.
pub struct Version(pub Code);

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            NONE => write!(out, "nothing"),
            code if is_slot(code) => write!(out, "slot {}", row_of(code)),
            code => write!(out, "claim {}", row_of(code)),
        }
    }
}
