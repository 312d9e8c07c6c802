//! What the pretend ChatBotKit knows: accounts, tokens, secrets and what points at them. No HTTP,
//! no clock, dice from a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::settings::Settings;
use super::words::{Ability, Account, Entity, Refusal, Secret, Token};
use crate::model::time::Timestamp;

/// Text inside every generated token, so that a leak test has something to search for. It is the
/// one place where a token here is not hex.
pub const CANARY: &str = "kfcanary";

const HEX: &[u8] = b"0123456789abcdef";
const LOWER_AND_DIGITS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// List calls are counted over this.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// The moments of one call: when it comes, and whether a lagging copy answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) now: Timestamp,
    pub(super) stale: bool,
}

/// Everything that is written to.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    pub(super) secrets: Vec<Secret>,
    pub(super) tokens: Vec<Token>,
    pub(super) blueprints: Vec<Entity>,
    pub(super) skillsets: Vec<Entity>,
    pub(super) abilities: Vec<Ability>,
}

/// The whole service.
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) accounts: Vec<Account>,
    pub(super) records: Records,
    /// As it was before the last change.
    pub(super) before: Records,
    lists: BTreeMap<String, Vec<Timestamp>>,
    dice: Rng,
    sequence: u64,
}

impl State {
    /// An empty service; every id and token follows from `seed` and the order of calls.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            settings: Settings::default(),
            accounts: Vec::new(),
            records: Records::default(),
            before: Records::default(),
            lists: BTreeMap::new(),
            dice: Rng::with_seed(seed ^ 0xc4a7),
            sequence: 0,
        }
    }

    /// What a read is answered from.
    pub(super) fn view(&self, at: At) -> &Records {
        if at.stale { &self.before } else { &self.records }
    }

    /// What a write changes; the state before it may still be read for a while.
    pub(super) fn change(&mut self) -> &mut Records {
        self.before = self.records.clone();
        &mut self.records
    }

    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// A cuid: 25 characters, the first a `c`.
    pub(super) fn cuid(&mut self) -> String {
        let rest: String =
            (0..24).map(|_| char::from(*self.dice.choice(LOWER_AND_DIGITS).expect("not empty"))).collect();
        format!("c{rest}")
    }

    /// A fresh API token: `sk-` and 64 characters.
    pub(super) fn token_text(&mut self) -> String {
        let rest: String = (CANARY.len()..64).map(|_| char::from(*self.dice.choice(HEX).expect("not empty"))).collect();
        format!("sk-{CANARY}{rest}")
    }

    /// Makes an account, or finds the one with this id.
    pub(super) fn seed_account(&mut self, id: &str, parent: Option<&str>, now: Timestamp) {
        if self.accounts.iter().all(|account| account.id != id) {
            let email = format!("{id}@example.com");
            self.accounts.push(Account { id: id.into(), parent: parent.map(Into::into), email, created: now });
        }
    }

    /// Makes sure that `text` logs in as `owner`.
    pub(super) fn seed_token(&mut self, owner: &str, text: &str, now: Timestamp) {
        if self.records.tokens.iter().any(|token| token.digest == digest(text)) {
            return;
        }
        let (sequence, id) = (self.next_sequence(), self.cuid());
        self.records.tokens.push(Token {
            sequence,
            id,
            owner: owner.into(),
            digest: digest(text),
            dud: false,
            name: "console".into(),
            description: String::new(),
            meta: Value::Null,
            created: now,
            updated: now,
            deleted: None,
        });
        self.before = self.records.clone();
    }

    /// The account that a bearer token acts as. Deleted ones are remembered for
    /// [`Settings::revoke_lag_s`].
    pub(super) fn account_of(&self, token: &str, now: Timestamp) -> Result<&Account, Refusal> {
        let digest = digest(token);
        let alive = |one: &&Token| {
            let young =
                now.since(one.created) < Duration::from_secs(self.settings.login_lag_s) && one.name != "console";
            let dead =
                one.deleted.is_some_and(|date| now.since(date) >= Duration::from_secs(self.settings.revoke_lag_s));
            one.digest == digest && !one.dud && !young && !dead
        };
        let token = self.records.tokens.iter().find(alive).ok_or(Refusal::NotAuthenticated)?;
        self.account(&token.owner).ok_or(Refusal::NotAuthenticated)
    }

    pub(super) fn account(&self, id: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == id)
    }

    /// A child account by its raw id, as its parent sees it.
    pub(super) fn child(&self, parent: &str, id: &str) -> Result<&Account, Refusal> {
        let child = self.account(id).ok_or(Refusal::NotFound)?;
        if child.parent.as_deref() == Some(parent) { Ok(child) } else { Err(Refusal::NotAuthorized) }
    }

    /// Counts a list call; a child's counts for its parent.
    pub(super) fn count_list(&mut self, account: &str, now: Timestamp) -> Result<(), Refusal> {
        let Some(most) = self.settings.lists_per_minute else { return Ok(()) };
        let payer = self.account(account).and_then(|account| account.parent.clone()).unwrap_or(account.into());
        let calls = self.lists.entry(payer).or_default();
        calls.retain(|date| now.since(*date) < RATE_WINDOW);
        if calls.len() >= most {
            return Err(Refusal::LimitsReached);
        }
        calls.push(now);
        Ok(())
    }

    /// Whether something of this age is shown yet.
    pub(super) fn shows(&self, created: Timestamp, now: Timestamp) -> bool {
        now.since(created) >= Duration::from_secs(self.settings.read_lag_s)
    }
}

pub(super) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The next moment of a record's last change: strictly later, even when nothing changed.
pub(super) fn later(updated: Timestamp, now: Timestamp) -> Timestamp {
    now.max(updated.plus(Duration::from_millis(1)))
}
