//! What a claim and a tombstone look like in AWS. A format is a promise: an older and a newer
//! keyferry may work on one secret, so the wire form has its own types and a version number.

use serde::{Deserialize, Serialize};

use crate::model::attempt::{Attempt, Cause, Note};
use crate::model::name::{VendorId, VersionId};
use crate::model::observed::Claim;

/// What a tombstone says, always the same bytes.
pub(super) const TOMBSTONE: &str = r#"{"keyferry":"tombstone, not a credential"}"#;

/// Keeps a claim clear of the 65,536 bytes of a secret value (Secrets Manager quotas).
pub(super) const CLAIM_BYTES_MAX: usize = 60_000;

const WHAT: &str = "claim, not a credential";
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Wire {
    keyferry: String,
    v: u32,
    attempt: String,
    base: String,
    n: u32,
    replica: String,
    fingerprint: String,
    cause: String,
    before: Vec<String>,
    /// A person's words. Left out where there are none, and unknown to older keyferrys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Why a claim can't be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLong {
    /// How many ids were listed before.
    pub(super) ids: usize,
}

/// Renders a claim; equal arguments give equal bytes. A list of ids that does not fit is refused
/// rather than cut: with a part of it missing, a credential made long before would look like this
/// attempt's leftover.
pub(super) fn render(claim: &Claim, replica: &str, fingerprint: &str) -> Result<String, TooLong> {
    let wire = Wire {
        keyferry: WHAT.into(),
        v: FORMAT,
        attempt: claim.attempt.to_string(),
        base: claim.base.as_ref().map_or("none", VersionId::as_str).into(),
        n: claim.number,
        replica: replica.into(),
        fingerprint: fingerprint.into(),
        cause: claim.cause.as_str().into(),
        before: claim.before.iter().map(|id| id.as_str().into()).collect(),
        note: claim.note.as_ref().map(|note| note.as_str().into()),
    };
    let text = serde_json::to_string(&wire).expect("strings and numbers are always JSON");
    if text.len() <= CLAIM_BYTES_MAX { Ok(text) } else { Err(TooLong { ids: claim.before.len() }) }
}

/// Reads the claim of `attempt`; `None` when the text is not one that we would have written.
/// Unknown members are ignored, unknown formats are not guessed at.
pub(super) fn parse(text: &str, attempt: Attempt) -> Option<Claim> {
    let wire: Wire = serde_json::from_str(text).ok()?;
    if wire.keyferry != WHAT || wire.v != FORMAT || Attempt::parse(&wire.attempt) != Some(attempt) {
        return None;
    }
    let base = if wire.base == "none" { None } else { Some(VersionId::new(&wire.base).ok()?) };
    let before = wire.before.iter().map(|id| VendorId::new(id).ok()).collect::<Option<Vec<_>>>()?;
    // Words that we would not have written are left out, and the claim still counts.
    let note = wire.note.as_deref().and_then(Note::new);
    Some(Claim { attempt, base, number: wire.n, cause: Cause::parse(&wire.cause)?, before, note })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(before: Vec<VendorId>) -> Claim {
        let attempt = Attempt::parse("ab4d138e-dd83-5aa0-9514-cada3c688459").unwrap();
        Claim { attempt, base: Some(attempt.slot_id()), number: 3, cause: Cause::Leaked, before, note: None }
    }

    #[test]
    fn a_claim_is_read_back_as_written_and_nothing_else_is_a_claim() {
        let ours = claim(vec![VendorId::new("a \"b\"").unwrap(), VendorId::new("c").unwrap()]);
        let text = render(&ours, "replica-1", "0123456789abcdef").unwrap();
        assert_eq!(text, render(&ours, "replica-1", "0123456789abcdef").unwrap());
        assert_ne!(text, render(&ours, "replica-2", "0123456789abcdef").unwrap());
        assert_eq!(parse(&text, ours.attempt), Some(ours.clone()));
        let first = Claim { base: None, ..ours.clone() };
        assert_eq!(parse(&render(&first, "r", "f").unwrap(), ours.attempt), Some(first));
        assert!(!text.contains("note"), "as it was written before there were any: {text}");
        let noted = Claim { note: Note::new("INC-4711: see @wiki"), ..ours.clone() };
        let told = render(&noted, "r", "f").unwrap();
        assert_eq!(parse(&told, ours.attempt), Some(noted));
        assert_eq!(parse(&told.replace("@wiki", "\\u0007"), ours.attempt), Some(ours.clone()));
        let other = Attempt::parse("fbb22bfd-a33b-526d-9168-43ed2e9adb56").unwrap();
        assert_eq!(parse(&text, other), None, "a claim of another attempt");
        for (from, to) in [("\"v\":1", "\"v\":2"), (WHAT, "x"), ("leaked", "bored"), ("c\"]", "\\u0001\"]")] {
            assert_eq!(parse(&text.replacen(from, to, 1), ours.attempt), None, "{to}");
        }
        assert_eq!(parse(TOMBSTONE, ours.attempt), None);
    }

    #[test]
    fn a_list_that_does_not_fit_is_refused_not_cut() {
        let ids = |count: u32| (0..count).map(|n| VendorId::new(&format!("client_{n:032}")).unwrap()).collect();
        assert!(render(&claim(ids(1_300)), "r", "f").is_ok());
        assert_eq!(render(&claim(ids(1_500)), "r", "f"), Err(TooLong { ids: 1_500 }));
    }
}
