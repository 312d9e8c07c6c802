//! How the pretend Keycard behaves where the real one's behaviour varies, is unknown or lags.
//!
//! Faults of single calls are not here: see [`crate::sandbox::faults`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which form of list envelope is answered. The vendor switches it per tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListShape {
    /// Pages, with both `page_info` and `pagination.after_cursor`.
    #[default]
    Cursors,
    /// Pages, walked by `page_info.end_cursor`; no `pagination`.
    PageInfo,
    /// One page without bounds, `page_info` only; `limit` and cursors are ignored.
    Legacy,
    /// As `Legacy`, with `"pagination": null`.
    LegacyNull,
}

/// Everything that can be set while the service runs. Spans are in seconds of the sandbox's clock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Form of every list answer.
    pub list_shape: ListShape,
    /// Items on one page at most, whatever `limit` asks for (1 to 100).
    pub page_count_max: usize,
    /// Every page names the same next cursor, and cursors are not followed: a list without end.
    pub cursor_stuck: bool,
    /// Lifetime of a management access token.
    pub bearer_s: u64,
    /// Lifetime of an access token of a zone.
    pub zone_token_s: u64,
    /// Whether a second credential with a client id already in use in the zone is answered 409.
    /// What the real service does is not documented.
    pub duplicates_refused: bool,
    /// How long a new credential is absent from lists, and 404 by id (reads, updates, deletes).
    pub read_lag_s: u64,
    /// How long a new pair is answered `invalid_client` at the zone's token endpoint.
    pub login_lag_s: u64,
    /// How long a deleted pair is still accepted there.
    pub revoke_lag_s: u64,
    /// So many of the next password credentials never work; counts down.
    pub duds: u64,
    /// Credential lists hold one more item, of a type no published schema knows.
    pub unknown_type_listed: bool,
    /// All zones share one name, and so do all applications.
    pub names_alike: bool,
    /// Sent with every answer of status 400 and above (`x-should-retry`, `retry-after-ms`, …).
    pub error_headers: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            list_shape: ListShape::default(),
            page_count_max: 100,
            cursor_stuck: false,
            bearer_s: 3600,
            zone_token_s: 3600,
            duplicates_refused: true,
            read_lag_s: 0,
            login_lag_s: 0,
            revoke_lag_s: 0,
            duds: 0,
            unknown_type_listed: false,
            names_alike: false,
            error_headers: BTreeMap::new(),
        }
    }
}
