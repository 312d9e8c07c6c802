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
//! | `sandbox` | the stage: the pretend world over real HTTP on loopback |

pub mod config;
pub mod model;
pub mod rotation;
pub mod sandbox;
pub mod stores;
pub mod vendors;
