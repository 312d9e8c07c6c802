//! Keycard.

use super::Spec;

/// Keycard, as data.
pub const SPEC: Spec = Spec { kind: "keycard", title: "Keycard", fields: &[], types: &[], connect: |_| todo!() };
