//! What credentials rely on: targets, vendors and defaults, as far as they could be read.

use std::collections::BTreeMap;

use super::VendorInstance;
use super::delivery::{NameTemplate, Tags};
use super::notes::{Notes, Span};
use super::retirement::Retirement;
use super::schedule::Rotation;
use super::targets::Targets;
use super::tree::{Length, Table};
use crate::model::name::Deployment;
use crate::model::policy::Verify;

/// A setting that may be left out.
pub(super) enum Given<T> {
    No,
    /// It is there, and what is wrong with it was noted.
    Wrong,
    Yes(T),
}

/// All that credentials rely on.
pub(super) struct Frame<'t> {
    pub deployment: Deployment,
    pub targets: Targets,
    /// Also those that are wrong, `None` where not even the kind is known: what refers to one of
    /// these needs no second complaint.
    pub vendors: BTreeMap<String, Option<Vendor>>,
    pub defaults: Defaults<'t>,
}

pub(super) struct Vendor {
    /// With the options that are good, if not all of them are.
    pub instance: VendorInstance,
    /// Nothing is wrong with it.
    pub good: bool,
    /// Fields that are wrong or missing.
    pub wrong: Vec<&'static str>,
    /// Its address is on this very machine.
    pub loopback: bool,
    pub at: Span,
}

/// `[defaults]`; `None` stands for one that is wrong.
pub(super) struct Defaults<'t> {
    pub rotate: Given<Rotation>,
    pub overlap: Option<Length>,
    pub refresh_within: Option<Length>,
    pub retire_when: Option<Retirement>,
    pub secret_name: Option<NameTemplate<'t>>,
    pub verify: Option<Verify>,
    pub kms_key_id: Option<String>,
    pub tags: Option<Tags<'t>>,
}

/// `consumers.refresh_within` of a table, or else the default. `None` when it is wrong.
pub(super) fn refresh_within(notes: &mut Notes<'_>, table: Table<'_>, default: Option<Length>) -> Option<Length> {
    if !table.has("consumers") {
        return default;
    }
    let consumers = notes.table(table, "consumers", "consumers = { refresh_within = \"1h\" }")?;
    notes.unknown_keys(consumers, ["refresh_within"].into_iter(), false, None);
    if !consumers.has("refresh_within") {
        return default;
    }
    notes.duration(consumers, "refresh_within", "refresh_within = \"1h\"")
}
