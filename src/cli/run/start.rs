//! What has to be heard of before the daemon calls itself started, and its first pass over.

use std::collections::BTreeSet;

use crate::engine::Engine;
use crate::model::name::{Name, TargetName, VendorName};

/// What is still waited for.
pub(super) struct Start {
    /// The service manager was told that it is ready.
    pub(super) told: bool,
    /// Everything that was wanted at the start was looked at.
    pub(super) passed: bool,
    /// Targets that were not listed yet, with whatever result.
    pub(super) targets: BTreeSet<TargetName>,
    /// Vendors of which none of the credentials was chosen yet.
    pub(super) vendors: BTreeSet<VendorName>,
    /// Credentials that are looked at to ask a vendor.
    pub(super) asked: BTreeSet<Name>,
    /// Credentials of the first listing that were not looked at yet.
    pub(super) wanted: BTreeSet<Name>,
}

impl Start {
    /// Nothing was heard of yet.
    pub(super) fn new(engine: &Engine) -> Self {
        let declared = engine.declaration();
        Self {
            told: false,
            passed: false,
            targets: declared.targets.keys().cloned().collect(),
            vendors: declared.credentials.iter().map(|one| one.vendor.clone()).collect(),
            asked: BTreeSet::new(),
            wanted: BTreeSet::new(),
        }
    }

    /// Whether something that was asked has not answered yet.
    pub(super) fn waits(&self) -> bool {
        !self.targets.is_empty() || !self.asked.is_empty()
    }

    /// A credential was looked at, or can't be for now.
    pub(super) fn heard(&mut self, name: &Name) {
        self.asked.remove(name);
        self.wanted.remove(name);
    }
}
