//! Edge: where credentials are delivered. One folder a store; there is one so far.
//!
//! A store does single calls and says what came back; it decides nothing about rotation. How
//! claims, slots, leases and tombstones become versions, labels and tags is known here and
//! nowhere else.

pub mod aws;
