//! How the pretend ChatBotKit behaves where the real one's behaviour varies, is unknown or lags.
//!
//! Faults of single calls are not here: see [`crate::sandbox::faults`].

use serde::{Deserialize, Serialize};

/// Everything that can be set while the service runs. Spans are in seconds of the sandbox's clock.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a new secret or token is absent from lists, and 404 by id or alias.
    pub read_lag_s: u64,
    /// How long a new API token is still answered 401.
    pub login_lag_s: u64,
    /// How long a deleted API token is still accepted: the deployment caches credentials.
    pub revoke_lag_s: u64,
    /// List calls per account in a sliding minute; the real number belongs to the plan.
    pub lists_per_minute: Option<usize>,
    /// Lists begin with 200 and end in an error object: the service ran out of its own time.
    pub lists_break: bool,
    /// Every page shows the first items again: a list without end.
    pub cursor_stuck: bool,
    /// The older path family, `/partner/user/…`, is answered in place of `/user/…`.
    pub partner_paths: bool,
    /// Values that are sent are not stored, and the answer is 200 all the same.
    pub values_dropped: bool,
    /// So many of the next API tokens never work; counts down.
    pub duds: u64,
    /// The control port may read stored values.
    pub values_shown: bool,
}
