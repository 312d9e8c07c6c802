//! THE BRAIN: what to do next, as a pure function of what was observed. No I/O, no async, no
//! clock, no randomness; names only `model`.
//!
//! ```text
//!   observe ──▶ view ──▶ decide(view, policy, now) ──▶ act: one step │ wait, until when │ need a fact
//!      ▲                    ▲                                 │                              │
//!      │                    └──────────── fetch it ◀──────────│──────────────────────────────┘
//!      └───────────────────── perform ◀───────────────────────┘
//! ```
//!
//! There is no recovery code: every start, tick and error goes back to *observe*. The log of a
//! rotation lives in the AWS secret itself as claims, slots, labels and tags, so a crash at any
//! point is a state like any other.
//!
//! | file | decides |
//! |---|---|
//! | `adopt` | whether what somebody else made may be taken under management as it is |
//! | `view` | turns what was observed into what the rules speak of |
//! | `facts` | what a decision may ask for besides the secret |
//! | `tags` | reads what the secret's tags say |
//! | `seen` | the same of what the vendor listed |
//! | `decide` | the one next step of one secret |
//! | `bootstrap` | the same while the secret has no version yet |
//! | `sweep` | which leftovers at the vendor are provably ours |
//! | `census` | what each credential listed in one place is: owned, orphan or foreign |
//! | `danger` | whether consumers may be reading a value that does not work |
//! | `own` | what the process that holds a fresh credential does with it |
//! | `calendar` | when a credential is due |
//! | `brake` | how much one edit may replace unasked |
//! | `person` | whether what a person asks for may be done to a secret |
//! | `guard` | once more, and not from the same rules, whether a step may be taken |
//! | `fleet` | which secrets of a listing need no further look |
//! | `leaked` | when nothing older than a leaked rotation's value works any more |
//! | `reason` | the closed list of reasons, and whose turn each one makes it |

pub mod adopt;
pub mod bootstrap;
pub mod brake;
pub mod calendar;
pub mod census;
pub mod danger;
pub mod decide;
pub mod facts;
pub mod fleet;
pub mod guard;
pub mod leaked;
pub mod own;
pub mod person;
pub mod reason;
pub mod seen;
#[cfg(test)]
mod story;
pub mod sweep;
pub mod tags;
pub mod view;

pub use decide::{Decision, Step, decide};
pub use guard::{Violation, guard};
pub use reason::{Reason, Turn};
pub use view::View;
