//! keyferry keeps AWS Secrets Manager holding working vendor credentials.
//!
//! The map of the house; a test compares it with the folders.
//!
//! | room | what it is for |
//! |---|---|
//! | `model` | the words: names, times, attempts, labels, values, faults; names nothing |
//! | `rotation` | the brain: what to do next, as a pure function of what was observed |
//! | `config` | the paper: the declaration as written, then as meant; all problems at once |
//! | `vendors` | edge: who issues credentials; one file a vendor |
//! | `stores` | edge: AWS Secrets Manager; where claims, slots and labels become calls |
//! | `clock` | edge: the only place that reads the time |
//! | `files` | edge: whether a file may be trusted, and its bytes |
//! | `engine` | the hands: observe, ask, do; one credential, one step, the whole fleet |
//! | `schedule` | wake-ups: says only *look at this name* |
//! | `serve` | health and the status page, over HTTP |
//! | `telemetry` | the log |
//! | `sandbox` | the stage: the pretend world over real HTTP on loopback |
//! | `cli` | the face: one file a verb |

pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod files;
pub mod model;
pub mod rotation;
pub mod sandbox;
pub mod schedule;
pub mod serve;
pub mod stores;
pub mod telemetry;
pub mod vendors;
