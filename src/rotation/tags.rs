//! What the tags of a secret say: one type a tag, and how each is written.

use crate::model::attempt::Note;
use crate::model::label::TAG_DWELLING;
use crate::model::name::VersionId;
use crate::model::place::At;
use crate::model::time::Timestamp;

/// The end of a pause that names none that can be read: who wrote it wanted quiet.
pub const FOR_EVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// The bootstrap tag: an attempt to make the secret's first version.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Bootstrap {
    /// Which try.
    pub number: u32,
    /// Who tries.
    pub nonce: String,
    /// AWS's date shortly before the tag was sent.
    pub at: Timestamp,
    /// Short hashes of what the vendor listed before the first try, where it keeps no marks.
    pub before: Vec<String>,
}

impl Bootstrap {
    /// As it stands in the tag: `n:nonce:date`, with `:hash.hash` where the vendor keeps no marks.
    pub fn to_tag(&self) -> String {
        let mut text = format!("{}:{}:{}", self.number, self.nonce, self.at.seconds());
        if !self.before.is_empty() {
            text.push(':');
            text.push_str(&self.before.join("."));
        }
        text
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ':');
        let number = parts.next()?.parse().ok()?;
        let nonce = parts.next()?.into();
        let at = Timestamp::from_seconds(parts.next()?.parse().ok()?);
        let before = parts.next().map(|list| list.split('.').map(Into::into).collect()).unwrap_or_default();
        Some(Self { number, nonce, at, before })
    }
}

/// A place that the secret moved to or from: anything of ours may live there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Dwelling {
    /// Which, and what was made there, as `keyferry:place` says it.
    pub place: String,
    /// The place in words.
    pub at: At,
}

impl Dwelling {
    /// The tag's key: each place has its own.
    pub fn key(&self) -> String {
        format!("{TAG_DWELLING}{}", self.place)
    }

    pub(super) fn parse(key: &str, text: &str) -> Option<Self> {
        let place = key.strip_prefix(TAG_DWELLING)?.to_owned();
        Some(Self { place, at: At::parse(text)? })
    }
}

/// A version that a person accepted as ours to go on from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Accepted {
    /// Which.
    pub version: VersionId,
    /// When, if the tag says so; the secret's last change counts as well.
    pub at: Option<Timestamp>,
}

impl Accepted {
    /// `<version>` or `<version>@<seconds>`; anything else names nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (version, at) = match text.split_once('@') {
            Some((version, at)) => (version, Some(Timestamp::from_seconds(at.parse().ok()?))),
            None => (text, None),
        };
        Some(Self { version: VersionId::new(version).ok()?, at })
    }
}

/// Why a person asked for the rotation that made a version.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Noted {
    /// The version.
    pub version: VersionId,
    /// Why.
    pub note: Note,
}

impl Noted {
    /// As it stands in the tag: `<version> <text>`.
    pub fn to_tag(&self) -> String {
        format!("{} {}", self.version, self.note)
    }

    /// Anything else says nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let (version, note) = text.split_once(' ')?;
        Some(Self { version: VersionId::new(version).ok()?, note: Note::new(note)? })
    }
}

/// Why a version is published that nothing proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unproved {
    /// keyferry published it, and no login could tell (`verify = "best-effort"`).
    Published,
    /// It was adopted on a person's word.
    Adopted,
}

impl Unproved {
    /// What the tag says of `version`: as it stands there, published; with `@<seconds>`, adopted then.
    pub fn of(tag: &str, version: &VersionId) -> Option<Self> {
        match tag.strip_prefix(version.as_str())? {
            "" => Some(Self::Published),
            rest if rest.starts_with('@') => Some(Self::Adopted),
            _ => None,
        }
    }
}

/// How far the retirement of the whole credential is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Retiring {
    /// AWS's date at which a keyferry first saw `state = "retired"`: consumers' time counts from here.
    pub since: Timestamp,
    /// Set before the current credential is revoked, so that nobody takes it for live afterwards.
    pub ending: Option<Ending>,
}

/// Which credential is being ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ending {
    /// AWS's date just before this was written.
    pub at: Timestamp,
    /// The version that was current then.
    pub version: VersionId,
}

impl Retiring {
    /// As it stands in the tag: `<seconds>`, or `<seconds>:<seconds>:<version>`.
    pub fn to_tag(&self) -> String {
        match &self.ending {
            None => self.since.seconds().to_string(),
            Some(ending) => format!("{}:{}:{}", self.since.seconds(), ending.at.seconds(), ending.version),
        }
    }

    /// What can't be read counts as not there: the wait begins anew.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let seconds = |text: &str| text.parse().ok().map(Timestamp::from_seconds);
        let Some((since, ending)) = text.split_once(':') else {
            return Some(Self { since: seconds(text)?, ending: None });
        };
        let (at, version) = ending.split_once(':')?;
        let ending = Ending { at: seconds(at)?, version: VersionId::new(version).ok()? };
        Some(Self { since: seconds(since)?, ending: Some(ending) })
    }

    /// Whether this version's credential is the one being ended.
    pub fn ends(&self, version: &VersionId) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.version == *version)
    }
}

/// When what is published was last compared with the vendor's listing.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Compared {
    /// AWS's date of it.
    pub at: Timestamp,
    /// The version whose credential the vendor did not list, if it did not.
    pub missing: Option<VersionId>,
}

impl Compared {
    /// As it stands in the tag: `<seconds>`, or `<seconds>:<version>`.
    pub fn to_tag(&self) -> String {
        match &self.missing {
            None => self.at.seconds().to_string(),
            Some(version) => format!("{}:{version}", self.at.seconds()),
        }
    }

    /// What can't be read counts as not there: it is compared anew.
    pub fn parse(text: &str) -> Option<Self> {
        let (at, missing) = match text.split_once(':') {
            None => (text, None),
            Some((at, version)) => (at, Some(VersionId::new(version).ok()?)),
        };
        Some(Self { at: Timestamp::from_seconds(at.parse().ok()?), missing })
    }
}

/// A date as it stands in a tag: seconds since the epoch, or RFC 3339.
pub fn date(text: &str) -> Option<Timestamp> {
    text.parse().ok().map(Timestamp::from_seconds).or_else(|| Timestamp::parse_rfc3339(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retiring_tag_is_read_back_as_written_and_nothing_else_is() {
        let version = VersionId::new(&"0".repeat(32)).unwrap();
        let since = Timestamp::from_seconds(1_795_000_000);
        let ending = Some(Ending { at: Timestamp::from_seconds(1_795_100_000), version: version.clone() });
        for tag in [Retiring { since, ending: None }, Retiring { since, ending }] {
            assert_eq!(Retiring::parse(&tag.to_tag()), Some(tag));
        }
        for text in ["", "soon", "1795000000:", "1795000000:1795100000", "1795000000:x:y", "::"] {
            assert_eq!(Retiring::parse(text), None, "{text}");
        }
        assert_eq!(Accepted::parse("x@y"), None);
        let noted = Noted { version, note: Note::new(&"x".repeat(Note::CHAR_COUNT_MAX)).unwrap() };
        assert!(noted.to_tag().len() <= 255);
        assert_eq!(Noted::parse(&noted.to_tag()), Some(noted));
        assert_eq!((Note::new("why?"), Note::new(" "), Noted::parse("x y")), (None, None, None));
    }
}
