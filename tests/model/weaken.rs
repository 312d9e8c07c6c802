//! Rules broken on purpose. A check that finds nothing wrong with a broken protocol checks nothing.

/// A rule that is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weakening {
    /// Nothing is too young to act on.
    NoSettle,
    /// AWSCURRENT is moved from wherever it is.
    PromoteFromAnywhere,
    /// Signatures never expire: calls decided or sent long ago still land.
    NoFence,
    /// The credential of AWSPREVIOUS is revoked where its label should be taken off.
    RevokeBeforePreviousIsOff,
    /// Every candidate counts as proved.
    NoVerify,
    /// The lease ends before the vendor confirmed the revoke.
    LeaseEndsFirst,
    /// A version may be written twice.
    TokenOverwrites,
    /// Claims whose slot is empty are not seen.
    OpenClaimsHidden,
    /// Claims on other bases than the current one are not seen.
    OpenClaimsOfOtherBasesHidden,
    /// An open attempt counts as closed once it is old enough, without a tombstone.
    NoTombstone,
    /// Slots are stored without their lease.
    NoLease,
    /// The holder of a fresh credential revokes it while its put is in doubt.
    OwnRevokesInDoubt,
    /// Reads may be as old as they like. The same as a date that is read long after the view.
    StaleForEver,
    /// A leaked credential is revoked at once also when its AWSPREVIOUS was already gone.
    RetiredByOthers,
    /// The first credential is put under a fresh signature, however late.
    BootstrapNotFenced,
    /// The first version's claim is put as a version.
    BootstrapClaim,
}
