//! A deterministic simulation of the engine that ships: the real engine, pool, pass, brake, pacing,
//! drivers and store code over the sandbox's services, without sockets and in paused time. One seed
//! is one world of about a week: a declaration, days in which services, processes, machines and
//! people do what they do, then quiet; and a judge who knows only the services and the declaration.
//!
//! | file | |
//! |---|---|
//! | `time` | one clock for everything, and machines that sleep |
//! | `declare` | a declaration drawn from the seed |
//! | `services` | the services in memory, and what is true in them |
//! | `net` | the network: time, loss, silence, lies |
//! | `process` | daemons and the verbs that people type |
//! | `events`, `happen` | what happens, and how |
//! | `judge`, `rest` | what must never be, and what must not be left |
//! | `blind` | that the judge sees |
//! | `found` | what was found, each as a short world |
//! | `world` | one seed from beginning to judgement |
//! | `trace` | a failing seed, told and shortened |
//!
//! `cargo test --test sim` runs some seeds; `KEYFERRY_SIM=1000` any number, `KEYFERRY_SIM_FROM=n`
//! from another one on; `KEYFERRY_SIM_SEED=n cargo test --test sim replay -- --nocapture` tells one.
//!
//! What is not in it: the loop of `cli::run` with its service manager and signals, the HTTP client
//! and TLS below the requests (sockets know no paused time), and the scheduler.

#![expect(
    clippy::disallowed_methods,
    reason = "tokio's paused clock is this world's time, and shortening a trace has a limit in real time"
)]

mod blind;
mod declare;
mod events;
mod found;
mod happen;
mod judge;
mod net;
mod process;

mod rest;
mod services;
mod time;
mod trace;
mod world;
