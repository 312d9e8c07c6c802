//! The whole of keyferry against the sandbox's services, over real HTTP on loopback, with a clock
//! that only moves when somebody sleeps: no test waits, and each is the same on every run.

mod adopt;
mod bad_inputs;
mod chatbotkit;
mod daemon;
mod ending;
mod examples;
mod faults;
mod keycard;
mod order;
mod preflight;
mod ring;
mod sandbox;
mod sign_in;
mod stage;
mod vendor_contract;
mod verbs;
mod voyage;
mod workos;
