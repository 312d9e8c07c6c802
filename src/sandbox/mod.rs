//! THE STAGE: the pretend world over real HTTP on loopback.
//!
//! Written from the services' own papers and never from our adapters: it shares no wire type with
//! `vendors` or `stores`, so that a misreading on one side shows. A new vendor's simulator is one file
//! and two lines here: the `mod` and the entry in [`ALL`].

use self::simulator::Spec;

pub mod chatbotkit;
pub mod consumer;
pub mod control;
pub mod desk;
pub mod faults;
pub mod gate;
pub mod keycard;
pub mod line;
pub mod secrets_manager;
pub mod simulator;
pub mod spoil;
pub mod stage;
pub mod workos;
pub mod world;

/// Every vendor that the sandbox pretends to be.
pub const ALL: &[&Spec] = &[&keycard::SPEC, &workos::SPEC, &chatbotkit::SPEC];
