//! THE STAGE: the pretend world over real HTTP on loopback.
//!
//! Written from the services' own papers and never from our adapters: it shares no wire type with
//! `vendors` or `stores`, so that a misreading on one side shows.

pub mod faults;
