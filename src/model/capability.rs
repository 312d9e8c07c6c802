//! What a vendor can and cannot do, as data. A vendor that needs a rule which is not here lacks a
//! word: add the word first.

use std::num::NonZeroU8;

/// How a credential of ours is told from others at the vendor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Marking {
    /// The caller chooses a name that the vendor keeps: our mark goes into it (Keycard's
    /// `identifier`).
    Named,
    /// The vendor keeps nothing of ours (WorkOS): told apart by elimination, and only where the
    /// declaration says that nobody else makes credentials there.
    Unnamed,
    /// One record whose value we supply (a ChatBotKit secret): nothing is minted nor revoked.
    InPlace,
}

/// What can be proved of a credential at the vendor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Proof {
    /// A login tells good from bad.
    Login,
    /// The same, but only where this option says where to log in.
    LoginAt(&'static str),
    /// There is no secret in it: that the vendor shows it as declared is all there is to prove, and
    /// nothing in it ages, so it is made anew only when its declaration changes.
    Existence,
    /// Nothing that the vendor offers tells.
    Impossible,
}

/// The capabilities of one credential type of one vendor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Capabilities {
    /// Named, unnamed or in place.
    pub marking: Marking,
    /// How many may live at once at the vendor, everybody's counted; `None` when no limit is known.
    pub live_max: Option<NonZeroU8>,
    /// Whether the vendor shows when a credential was last used.
    pub last_used: bool,
    /// What can be proved of it.
    pub proof: Proof,
}
