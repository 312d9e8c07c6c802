//! Staging labels and tags: the written form of the rotation log.
//!
//! | label or tag | means | removed |
//! |---|---|---|
//! | `kf-open:<attempt>` on a claim | the attempt is unresolved | when no leftover can exist |
//! | `kf-cred:<t>.<p>:<vendor id>` on a slot | this credential is live and ours: the lease | only after the vendor confirmed the revoke |
//! | `kf-closed` on the newest tombstone | the slot is closed | moves on |
//! | AWSPENDING, AWSCURRENT, AWSPREVIOUS | as in AWS | by the steps |
//!
//! `t` is AWS's date of the claim's answer in whole seconds, base 36. `p` says where at the vendor the
//! credential was made: the first eight hex digits of what `keyferry:place` said then. Tags can be
//! taken off by other tools, labels stay; so what ended is never judged by the wrong place. Releases
//! before wrote `kf-cred:<t>:<vendor id>`, which is read as well. A vendor id that a label
//! can't hold (over 128 characters, or others than `[A-Za-z0-9_.:-]`) stands as `~<sha256 hex>` and
//! is found again in the vendor's listing.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::model::attempt::Attempt;
use crate::model::name::VendorId;
use crate::model::time::Timestamp;

/// Tag: whose secret this is. AWS's filters match prefixes, so compare the value exactly.
pub const TAG_DEPLOYMENT: &str = "keyferry:deployment";
/// Tag: which declared credential this secret belongs to.
pub const TAG_CREDENTIAL: &str = "keyferry:credential";
/// Tag: where at the vendor this secret's credentials are made, as a hash of what the declaration
/// says of it. A declaration that names another place must not look for the old credential there.
pub const TAG_PLACE: &str = "keyferry:place";
/// Tag: the same place in words (`model::place`), so that what lives there is found again after the
/// declaration has named another.
pub const TAG_AT: &str = "keyferry:at";
/// Tag: when the secret last moved (seconds since the epoch). Stays.
pub const TAG_MOVED: &str = "keyferry:moved";
/// Start of tags, one a place: a place that the secret moved to or from, in words. Anything of ours
/// may live there. What `keyferry:place` says of it ends the key, so that no write
/// for one takes another away.
pub const TAG_DWELLING: &str = "keyferry:dwelling:";
/// Tag: the running attempt while a secret has no version yet: `n:nonce:date`.
pub const TAG_ATTEMPT: &str = "keyferry:attempt";
/// Tag: the version that a person accepts as ours to go on from, `<version>` or `<version>@<seconds>`.
pub const TAG_BASE: &str = "keyferry:base";
/// Tag: the version that was published though no login could prove it (`verify = "best-effort"`).
/// Written before it is published; one that names an older version means nothing any more. With
/// `@<seconds>`, it was adopted then on a person's word.
pub const TAG_UNPROVED: &str = "keyferry:unproved";
/// Tag: no rotation until this date (seconds since the epoch, or RFC 3339); every replica obeys.
pub const TAG_PAUSE: &str = "keyferry:pause";
/// Tag: why; for people, never read for a decision.
pub const TAG_PAUSE_REASON: &str = "keyferry:pause-reason";
/// Tag: who; for people, never read for a decision.
pub const TAG_PAUSE_BY: &str = "keyferry:pause-by";
/// Tag: a consumer has taken this version over, `<version>@<seconds>`; evidence for
/// `retire_when = "confirmed"`. Counts only for the version that it names.
pub const TAG_CONFIRMED: &str = "keyferry:confirmed";
/// Tag: why a person asked for the rotation that made this version, `<version> <text>`; for people,
/// never read for a decision. Of the last one that anybody gave a reason for.
pub const TAG_NOTE: &str = "keyferry:rotate-reason";
/// Tag: since when the declaration says `state = "retired"`, `<seconds>`; once the end of the
/// current credential has begun, `<seconds>:<seconds of that>:<version>`.
pub const TAG_RETIRING: &str = "keyferry:retiring";
/// Tag: when what is published was last compared with the vendor's listing, `<seconds>`; where the
/// vendor did not list it, `<seconds>:<version>`.
pub const TAG_COMPARED: &str = "keyferry:compared";
/// Tag: this is a throw-away secret of a preflight, and of which run. Such a secret has none of the
/// tags above, so that no daemon takes it for one of its own.
pub const TAG_PREFLIGHT: &str = "keyferry:preflight";
/// Tag: a preflight was about to make a throw-away credential at the place of this declared one.
pub const TAG_PREFLIGHT_CREDENTIAL: &str = "keyferry:preflight-credential";

/// How a vendor's id stands in a `kf-cred` label.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Tracked {
    /// The id itself.
    Plain(VendorId),
    /// SHA-256 of the id, in lower-case hex.
    Hashed(String),
}

impl Tracked {
    /// The form in which `id` is tracked.
    pub fn of(id: &VendorId) -> Self {
        let text = id.as_str();
        let plain = text.len() <= 128 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c));
        if plain { Self::Plain(id.clone()) } else { Self::Hashed(hex(text)) }
    }

    /// The id itself, where the label holds it.
    pub fn id(&self) -> Option<&VendorId> {
        match self {
            Self::Plain(id) => Some(id),
            Self::Hashed(_) => None,
        }
    }

    /// Whether this is `id`.
    pub fn is(&self, id: &VendorId) -> bool {
        match self {
            Self::Plain(own) => own == id,
            Self::Hashed(digest) => *digest == hex(id.as_str()),
        }
    }
}

impl fmt::Display for Tracked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(id) => fmt::Display::fmt(id, out),
            Self::Hashed(digest) => write!(out, "~{digest}"),
        }
    }
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A live credential of ours, as its slot's label says it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Lease {
    /// AWS's date of the claim's answer, whole seconds: the credential's age counts from here.
    pub since: Timestamp,
    /// The vendor's id.
    pub tracked: Tracked,
    /// Where at the vendor it was made; `None` in a label that does not say so.
    pub made_in: Option<PlaceKey>,
}

/// A place at a vendor, as a label says it: the first eight hex digits of the value of
/// `keyferry:place`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PlaceKey(u32);

impl PlaceKey {
    /// Digits of it in a label.
    const DIGITS: usize = 8;

    /// The key of the place that `keyferry:place` calls so; a text of another form is hashed first.
    pub fn of(place: &str) -> Self {
        Self::parse(place.get(..Self::DIGITS).unwrap_or_default())
            .or_else(|| Self::parse(&hex(place)[..Self::DIGITS]))
            .expect("a SHA-256 digest begins with hex digits")
    }

    /// Reads exactly eight lower-case hex digits.
    fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == Self::DIGITS && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        u32::from_str_radix(text, 16).ok().filter(|_| plain).map(Self)
    }
}

impl fmt::Display for PlaceKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:08x}", self.0)
    }
}

/// A staging label, read.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Label {
    /// What readers get by default.
    Current,
    /// The value before.
    Previous,
    /// A candidate.
    Pending,
    /// An unresolved attempt, on its claim.
    Open(Attempt),
    /// A live credential, on its slot.
    Cred(Lease),
    /// The newest tombstone.
    Closed,
    /// Not ours.
    Foreign(String),
}

impl Label {
    /// Reads a label; one that we would not write ourselves is foreign.
    pub fn parse(text: &str) -> Self {
        Self::parse_ours(text).filter(|label| label.to_string() == text).unwrap_or_else(|| Self::Foreign(text.into()))
    }

    fn parse_ours(text: &str) -> Option<Self> {
        match text {
            "AWSCURRENT" => return Some(Self::Current),
            "AWSPREVIOUS" => return Some(Self::Previous),
            "AWSPENDING" => return Some(Self::Pending),
            "kf-closed" => return Some(Self::Closed),
            _ => {}
        }
        if let Some(attempt) = text.strip_prefix("kf-open:") {
            return Attempt::parse(attempt).map(Self::Open);
        }
        let (since, id) = text.strip_prefix("kf-cred:")?.split_once(':')?;
        let (since, made_in) = match since.split_once('.') {
            Some((since, place)) => (since, Some(PlaceKey::parse(place)?)),
            None => (since, None),
        };
        let since = Timestamp::from_seconds(i64::from_str_radix(since, 36).ok()?);
        let tracked = match id.strip_prefix('~') {
            Some(digest) => Tracked::Hashed(digest.into()),
            None => Tracked::Plain(VendorId::new(id).ok()?),
        };
        Some(Self::Cred(Lease { since, tracked, made_in }))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => out.write_str("AWSCURRENT"),
            Self::Previous => out.write_str("AWSPREVIOUS"),
            Self::Pending => out.write_str("AWSPENDING"),
            Self::Closed => out.write_str("kf-closed"),
            Self::Open(attempt) => write!(out, "kf-open:{attempt}"),
            Self::Cred(lease) => {
                write!(out, "kf-cred:{}", base36(lease.since.seconds()))?;
                if let Some(place) = &lease.made_in {
                    write!(out, ".{place}")?;
                }
                write!(out, ":{}", lease.tracked)
            }
            Self::Foreign(text) => out.write_str(text),
        }
    }
}

fn base36(number: i64) -> String {
    let mut rest = number.max(0);
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(rest % 36).expect("a remainder of 36 is small");
        digits.push(char::from_digit(digit, 36).expect("a remainder of 36 is a digit"));
        rest /= 36;
        if rest == 0 {
            return digits.iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_back_as_written_or_is_foreign() {
        let lease = |id: &str| {
            let tracked = Tracked::of(&VendorId::new(id).unwrap());
            let made_in = id.starts_with('a').then(|| PlaceKey::of("0123456789abcdef"));
            Label::Cred(Lease { since: Timestamp::from_seconds(1_795_000_000), tracked, made_in })
        };
        let attempt = Attempt::parse("fbb22bfd-a33b-526d-9168-43ed2e9adb56").unwrap();
        let strange = "x/../".repeat(60);
        for label in [Label::Current, Label::Closed, Label::Open(attempt), lease("a:b_c.d-e"), lease(&strange)] {
            assert_eq!(Label::parse(&label.to_string()), label);
            assert!(label.to_string().len() <= 256);
        }
        for foreign in [
            "awscurrent",
            "kf-open:x",
            "kf-cred:zz",
            "kf-cred:!:x",
            "kf-cred:1.:x",
            "kf-cred:1.0123456:x",
            "kf-cred:1.0123456G:x",
            "kf-cred:1.01234567.1:x",
            "kf-cred:00a:x",
            "kf-open:FBB22BFD-a33b-526d-9168-43ed2e9adb56",
        ] {
            assert_eq!(Label::parse(foreign), Label::Foreign(foreign.into()), "{foreign}");
        }
        assert_eq!(lease("a:b").to_string(), "kf-cred:toorls.01234567:a:b".replace("toorls", &base36(1_795_000_000)));
        assert_eq!(PlaceKey::of("01234567"), PlaceKey::of("0123456789abcdef"));
        assert_ne!(PlaceKey::of("app"), PlaceKey::of("other"));
        let Label::Cred(Lease { tracked, .. }) = lease(&strange) else { unreachable!() };
        assert!(tracked.is(&VendorId::new(&strange).unwrap()));
        assert!(!tracked.is(&VendorId::new("other").unwrap()));
    }
}
