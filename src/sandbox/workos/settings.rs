//! How the pretend WorkOS behaves where the real one's behaviour is unknown, varies or lags.
//!
//! Faults of single calls are not here: see [`crate::sandbox::faults`].

use serde::{Deserialize, Serialize};

/// How exact `last_used_at` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastUsed {
    /// The moment of the last use.
    #[default]
    Exact,
    /// The same, this many seconds late.
    DelayedS(i64),
    /// Rounded down to the hour.
    Hour,
    /// Rounded down to the day.
    Day,
    /// Always `null`.
    Frozen,
}

/// Which characters of a secret its `secret_hint` shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// The last four.
    #[default]
    Last4,
    /// The first six.
    First6,
    /// The last four behind dots.
    Masked,
}

/// In which order secrets are listed; the vendor says nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As they were made.
    #[default]
    OldestFirst,
    /// The other way round.
    NewestFirst,
    /// Another one each time.
    Shuffled,
}

/// Everything that can be set while the service runs. Spans are in seconds of the sandbox's clock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Secrets that an application may have; 0 for any number.
    pub live_max: usize,
    /// HTTP status of a create beyond that.
    pub full_status: u16,
    /// How long a new secret is absent from lists.
    pub read_lag_s: u64,
    /// How long a new secret is refused at the AuthKit domain.
    pub login_lag_s: u64,
    /// How long a deleted one is still accepted there.
    pub revoke_lag_s: u64,
    /// How exact `last_used_at` is.
    pub last_used: LastUsed,
    /// Whether introspection counts as use.
    pub introspection_counts: bool,
    /// Form of `secret_hint`.
    pub hint: Hint,
    /// Order of a list of secrets.
    pub order: Order,
    /// HTTP status of a token request with a wrong secret.
    pub wrong_secret_status: u16,
    /// Introspection with a wrong client is answered as with a right one: `{"active": false}`.
    pub introspection_blind: bool,
    /// 404 without an error code.
    pub plain_404: bool,
    /// 429 with a bare word for a body.
    pub bare_429: bool,
    /// HTTP status of a delete: 204, or 200, or 202 with a text.
    pub delete_status: u16,
    /// An application's last secret can't be deleted.
    pub last_secret_stays: bool,
    /// So many of the next creates find that a colleague made a secret just before; counts down.
    pub colleague_adds: u64,
    /// So many of the next creates find that a colleague deleted the oldest secret just before.
    pub colleague_deletes: u64,
    /// Objects have fields of the future, and lists of applications an application of another type.
    pub future: bool,
    /// So many of the next secrets never work; counts down.
    pub duds: u64,
    /// So many of the next create answers lack the secret; counts down.
    pub silent_creates: u64,
    /// There is nothing at the AuthKit domain: 404 with a page.
    pub authkit_gone: bool,
    /// Every list of applications names the same next page.
    pub cursor_stuck: bool,
    /// Lifetime of an access token.
    pub token_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            live_max: 5,
            full_status: 422,
            read_lag_s: 0,
            login_lag_s: 0,
            revoke_lag_s: 0,
            last_used: LastUsed::default(),
            introspection_counts: false,
            hint: Hint::default(),
            order: Order::default(),
            wrong_secret_status: 401,
            introspection_blind: false,
            plain_404: false,
            bare_429: false,
            delete_status: 204,
            last_secret_stays: false,
            colleague_adds: 0,
            colleague_deletes: 0,
            future: false,
            duds: 0,
            silent_creates: 0,
            authkit_gone: false,
            cursor_stuck: false,
            token_s: 3600,
        }
    }
}
