//! keyferry keeps AWS Secrets Manager holding working vendor credentials.
//!
//! The map of the house; a test compares it with the folders.
//!
//! | room | what it is for |
//! |---|---|
//! | `model` | the words: names, times, attempts, labels, values, faults; names nothing |
//! | `vendors` | edge: who issues credentials; one file a vendor |

pub mod model;
pub mod vendors;
