//! Where at a vendor a secret's credentials are made, in words that a tag can hold: enough to find
//! and end there what a former declaration made.
//!
//! ```text
//! keycard/keycard/named password zone=production application=google-mcp-server
//! └ home                └ type   └ options
//! ```
//!
//! Two places with one home are reached through one vendor instance, and their credentials are told
//! from others in the same way: a secret can move between them. What a value can't have in a tag
//! stands as `@` and two hex digits for each byte.

use std::fmt::Write as _;

/// Ends a place's text where nobody else made credentials.
const EXCLUSIVE: &str = " exclusive";
/// Longest text of a tag's value that keyferry writes.
const TAG_CHAR_COUNT_MAX: usize = 255;

/// Who else makes credentials in the same place at an unnamed vendor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Ownership {
    /// Others may: leftovers are reported, never revoked.
    #[default]
    Shared,
    /// Nobody: what appeared in our attempt's window and was never used is ours.
    Exclusive,
}

/// A place at a vendor.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct At {
    home: String,
    type_name: String,
    options: Vec<(String, String)>,
    ownership: Ownership,
}

impl At {
    /// The place that these options of a credential type name; `None` where its text does not fit
    /// into a tag. `home` is what two places must have in common for a secret to move between them.
    pub fn new<'a>(
        home: &[&str],
        type_name: &str,
        options: impl Iterator<Item = (&'a str, &'a str)>,
        ownership: Ownership,
    ) -> Option<Self> {
        let home = home.iter().map(|part| escaped(part)).collect::<Vec<_>>().join("/");
        let options = options.map(|(name, value)| (name.into(), value.into())).collect();
        let at = Self { home, type_name: type_name.into(), options, ownership };
        (at.to_tag().len() <= TAG_CHAR_COUNT_MAX).then_some(at)
    }

    /// As it stands in a tag.
    pub fn to_tag(&self) -> String {
        let mut text = format!("{} {}", self.home, escaped(&self.type_name));
        for (name, value) in &self.options {
            text.push_str(&format!(" {}={}", escaped(name), escaped(value)));
        }
        if self.ownership == Ownership::Exclusive {
            text.push_str(EXCLUSIVE);
        }
        text
    }

    /// Reads a tag; `None` for anything that [`At::to_tag`] did not write.
    pub fn parse(text: &str) -> Option<Self> {
        let (words, ownership) = match text.strip_suffix(EXCLUSIVE) {
            Some(words) => (words, Ownership::Exclusive),
            None => (text, Ownership::Shared),
        };
        let mut words = words.split(' ');
        let home = words.next().filter(|home| !home.is_empty())?.to_owned();
        let type_name = plain(words.next()?)?;
        let option = |word: &str| word.split_once('=').and_then(|(name, value)| Some((plain(name)?, plain(value)?)));
        let options = words.map(option).collect::<Option<_>>()?;
        let at = Self { home, type_name, options, ownership };
        (at.to_tag() == text).then_some(at)
    }

    /// Whether a secret can move between the two.
    pub fn is_near(&self, other: &Self) -> bool {
        self.home == other.home
    }

    /// Whether others made credentials there as well, by the declaration of that time.
    pub fn ownership(&self) -> Ownership {
        self.ownership
    }

    /// The credential type made there.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// The options that say where it is.
    pub fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b':' => out.push(char::from(byte)),
            other => write!(out, "@{other:02x}").expect("a text takes what is written to it"),
        }
    }
    out
}

fn plain(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'@' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back_from_a_tag_that_aws_takes() {
        for (options, text) in [
            (
                vec![("zone", "production"), ("application", "app")],
                "main/keycard/named password zone=production application=app",
            ),
            (
                vec![("zone", "a b=c@ü/%"), ("application", "")],
                "main/keycard/named password zone=a@20b@3dc@40@c3@bc@2f@25 application=",
            ),
            (vec![], "main/keycard/named password"),
        ] {
            let home = ["main", "keycard", "named"];
            let at = At::new(&home, "password", options.iter().copied(), Ownership::Shared).unwrap();
            assert_eq!(at.to_tag(), text);
            let alone = At::new(&home, "password", options.iter().copied(), Ownership::Exclusive).unwrap();
            assert_eq!(alone.to_tag(), format!("{text} exclusive"));
            assert_eq!(At::parse(&alone.to_tag()), Some(alone));
            assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || " :_@/+=.-".contains(c)));
            assert_eq!(At::parse(text).as_ref(), Some(&at));
            assert!(at.options().eq(options.iter().copied()));
        }
        assert_eq!(At::new(&["m"], "t", [("zone", "x".repeat(250).as_str())].into_iter(), Ownership::Shared), None);
        for strange in [
            "",
            " ",
            "home",
            "home type zone",
            "home type a=@zz",
            "home type a=@4",
            "home type  a=b",
            "home type a=@61",
        ] {
            assert_eq!(At::parse(strange), None, "{strange}");
        }
    }
}
