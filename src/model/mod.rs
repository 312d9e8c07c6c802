//! THE WORDS: the nouns every other room speaks in. No I/O, no clock, no decisions; names nothing
//! but itself.
//!
//! | file | words |
//! |---|---|
//! | `name` | credential, vendor, target, deployment, secret and version names, checked once |
//! | `time` | points in time, whose clock they are from, the clock as a trait |
//! | `attempt` | attempt, claim, slot and mark ids, all derived, none random |
//! | `label` | staging labels and tags of the rotation log |
//! | `secret` | values that must never be printed |
//! | `payload` | what is stored in AWS: the shape of the value and how to read it back |
//! | `source` | where a value comes from that keyferry supplies itself |
//! | `option` | typed option tables that vendors declare and the declaration fills |
//! | `capability` | what a vendor can and cannot do, as data |
//! | `credential` | one declared credential, as meant |
//! | `place` | where at a vendor credentials are made, as a tag holds it |
//! | `policy` | when to rotate, how long to overlap, how long to wait |
//! | `observed` | what the store and a vendor showed: ids, labels, dates, never values |
//! | `fault` | what went wrong at an edge, and its class |
//! | `finding` | what a preflight found |
//! | `printable` | what of a text may go to a terminal |
//! | `unreached` | why the other side was not reached |
//! | `transport` | another way for a request to leave this process than a socket |

pub mod attempt;
pub mod capability;
pub mod credential;
pub mod fault;
pub mod finding;
pub mod label;
pub mod name;
pub mod observed;
pub mod option;
pub mod payload;
pub mod place;
pub mod policy;
pub mod printable;
pub mod secret;
pub mod source;
pub mod time;
pub mod transport;
pub mod unreached;
