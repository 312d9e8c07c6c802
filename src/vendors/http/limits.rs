//! The limits on everything that a vendor can make us wait for or take in.

use std::time::Duration;

/// How long, how much, how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// To resolve, connect and shake hands.
    pub connect_timeout: Duration,
    /// From the first byte sent to the last one read.
    pub total_timeout: Duration,
    /// One whole call of a driver: fetching a token, resolving names, all pages, all tries and all
    /// waits between them, those that `Retry-After` asks for included.
    pub call_max: Duration,
    /// Of it, for fetching one admin token, tries and waits included.
    pub token_max: Duration,
    /// How long an unused connection is kept.
    pub pool_idle: Duration,
    /// Largest answer read, in bytes; reading stops there.
    pub body_bytes_max: usize,
    /// Most sends of one repeatable request.
    pub tries_max: u32,
    /// Upper end of the first random wait between tries; it doubles with each.
    pub backoff_first: Duration,
    /// Where the doubling ends.
    pub backoff_max: Duration,
    /// Longest `Retry-After` waited out here; a longer one is passed on with the fault.
    pub retry_after_max: Duration,
    /// Most calls at once per vendor instance.
    pub in_flight_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(20),
            call_max: Duration::from_secs(120),
            token_max: Duration::from_secs(25),
            pool_idle: Duration::from_secs(60),
            body_bytes_max: 1 << 20,
            tries_max: 4,
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            retry_after_max: Duration::from_secs(120),
            in_flight_max: 8,
        }
    }
}
