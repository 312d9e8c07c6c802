//! The one HTTP client for all vendors: what may be sent where, how often, and what a lost answer
//! means. Knows no vendor; a driver builds a [`Request`], sends it over its [`Line`] and reads the
//! [`Answer`].
//!
//! | promise | how |
//! |---|---|
//! | secrets go nowhere else | no redirects; https unless the host is a loopback address, which no proxy ever sees |
//! | one effect, one request | reqwest's own resending is off; [`Effect`] says whether we may repeat |
//! | nothing is endless | time, answer size, tries, waits and calls in flight are all in [`Limits`] |
//! | nothing foreign is printed | faults hold a status, a checked word and a checked request id only, and none that repeats a secret that was sent |
//!
//! | file | |
//! |---|---|
//! | `limits` | how long, how much, how often |
//! | `endpoint` | addresses that secrets may be sent to |
//! | `request` | what is sent, and what sending it twice would do |
//! | `answer` | what came back, and what it means |
//! | `hidden` | the secrets that were sent, which no answer may get printed |
//! | `client` | one exchange over the network, or over what stands in its place |
//! | `line` | one vendor instance's way: tries, waits, pacing, and the time of a whole call |
//! | `around` | what every driver does around its calls |

pub use answer::{Answer, checked_id, checked_word};
pub use around::{Sealed, Shared, lock, prepared};
pub use client::Client;
pub use endpoint::Endpoint;
pub use limits::Limits;
pub use line::Line;
pub use request::{Effect, Request, basic, bearer};

mod answer;
mod around;
mod client;
mod endpoint;
mod hidden;
mod limits;
mod line;
mod request;
#[cfg(test)]
pub(crate) mod responder;
#[cfg(test)]
mod tests;
