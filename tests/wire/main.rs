//! Faults on the wire, as rows: connections cut at byte ranges, answers that are broken in every way
//! that HTTP allows and some that it does not, TLS that must not be trusted, proxies that refuse.
//!
//! | file | |
//! |---|---|
//! | `rows` | what goes wrong between two that speak HTTP, and what each kind of call comes to |
//! | `clients` | each of them at a vendor's driver and at the store, in this process |
//! | `trust` | certificates, proxies and names that can't be resolved, at both |
//! | `binary` | a share of all of them through `keyferry once`, many in one declaration |
//! | `relay`, `certificate`, `bench` | what breaks the wire, and what stands at its ends |
//!
//! Whatever a row does, no fault shows a byte of a secret or of the other side's text, a create goes
//! out once, and what a fault says was surely not done was not done.

#[expect(dead_code, reason = "the properties need more of it")]
mod bench;
mod binary;
mod certificate;
mod clients;
#[expect(dead_code, reason = "the properties need more of it")]
mod relay;
mod rows;
mod trust;
