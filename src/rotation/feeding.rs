//! What `rotation` has to know of credentials that feed one another. Compared by the engine, which may
//! read values; judged here, where nothing may.

/// Credentials whose values are made of one another's, as far as it was looked at. The standard is
/// that nothing waits for anything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Feeding {
    /// AWSCURRENT is not made of what its sources publish now: one of them was rotated.
    pub source_moved: bool,
    /// One that this credential feeds does not publish a value made of AWSCURRENT yet.
    pub followers_wait: bool,
}
