//! A text with outputs in it: written out with what a vendor gave, and read back into it.
//!
//! Reading back must give the very same outputs, so it is refused where nothing tells which of several ways
//! to read a text is the right one: a wrongly split pair would be tested, or set at a vendor.

use std::fmt;
use std::sync::Arc;

use super::outputs::{Output, Outputs, expose};
use crate::model::secret::SecretValue;

/// What is proposed to stand between two outputs, the most usual first.
const SEPARATORS: [char; 4] = [':', ' ', '|', '/'];

/// Which characters an output can have, as far as its vendor says so: what tells where one output ends
/// and the next begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Letters {
    /// Nothing is known.
    Any,
    /// An id: letters, digits, `.`, `_` and `-`.
    Id,
    /// A URL (RFC 3986).
    Url,
    /// These and no others.
    Of(Arc<str>),
}

impl Letters {
    /// Whether an output can have this character.
    pub fn has(&self, letter: char) -> bool {
        match self {
            Self::Any => true,
            Self::Id => letter.is_ascii_alphanumeric() || "._-".contains(letter),
            Self::Url => letter.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(letter),
            Self::Of(letters) => letters.contains(letter),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Text(String),
    Output(String, Letters),
}

/// In how many ways a text can be read.
enum Reading<T> {
    None,
    One(T),
    Several,
}

/// Two outputs of which nothing tells where the first one ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blurred {
    /// The one before.
    pub left: String,
    /// The one after.
    pub right: String,
    /// What stands between them.
    pub between: String,
    /// A character that would tell them apart; `None` where no character can.
    pub separator: Option<char>,
}

/// A text with `{output}` places in it; `{{` and `}}` stand for braces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template(pub(super) Vec<Part>);

/// Why a template is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// A `{` or `}` without its partner.
    Unbalanced,
    /// `{name}` names no output of this credential type.
    Unknown(String),
    /// Two places without a text between them: could not be read back.
    Adjacent,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unbalanced => out.write_str("a brace without its partner (write `{{` or `}}` for a brace)"),
            Self::Unknown(name) => write!(out, "`{{{name}}}` is not an output of this credential type"),
            Self::Adjacent => out.write_str("two outputs need a text between them, or they can't be told apart again"),
        }
    }
}

impl Template {
    /// Parses a text whose places must be among `known`, each with the characters it can have.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str, known: &[(&str, Letters)]) -> Result<Self, Malformed> {
        let mut parts: Vec<Part> = Vec::new();
        let mut literal = String::new();
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '{' | '}' if rest.next_if_eq(&character).is_some() => literal.push(character),
                '{' => {
                    let mut name = String::new();
                    loop {
                        match rest.next() {
                            Some('}') => break,
                            Some(letter) if letter != '{' => name.push(letter),
                            _ => return Err(Malformed::Unbalanced),
                        }
                    }
                    let Some((_, letters)) = known.iter().find(|(known, _)| *known == name) else {
                        return Err(Malformed::Unknown(name));
                    };
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    } else if matches!(parts.last(), Some(Part::Output(..))) {
                        return Err(Malformed::Adjacent);
                    }
                    parts.push(Part::Output(name, letters.clone()));
                }
                '}' => return Err(Malformed::Unbalanced),
                other => literal.push(other),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    pub(super) fn render(&self, outputs: &Outputs) -> Option<String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Output(name, _) => text.push_str(expose(outputs.0.get(name)?)),
            }
        }
        Some(text)
    }

    /// Reads the places of a rendered text back. `None` when it was not rendered from this template, and
    /// when nothing tells which of several ways to read it is the right one.
    pub(super) fn recover(&self, text: &str, into: &mut Outputs) -> Option<()> {
        let parts = self.with(into);
        let found = match read(&parts, text, false) {
            Reading::One(found) => found,
            // What the vendor says of its outputs is asked only where it is needed.
            Reading::Several => match read(&parts, text, true) {
                Reading::One(found) => found,
                Reading::None | Reading::Several => return None,
            },
            Reading::None => return None,
        };
        for (part, piece) in parts.iter().zip(found) {
            let Part::Output(name, _) = part else { continue };
            let piece = SecretValue::new(piece);
            if into.get(name).is_some_and(|other| other != piece) {
                return None;
            }
            into.0.insert(name.clone(), Output::Secret(piece));
        }
        Some(())
    }

    /// The parts, with a text instead of each output that is known already.
    fn with(&self, known: &Outputs) -> Vec<Part> {
        let part = |part: &Part| match part {
            Part::Output(name, _) if known.0.contains_key(name) => {
                Part::Text(known.0.get(name).map_or(String::new(), |output| expose(output).to_owned()))
            }
            Part::Output(..) | Part::Text(_) => part.clone(),
        };
        self.0.iter().map(part).collect()
    }

    /// The first two outputs that can't be told apart in every case, where those in `alone` are known
    /// from elsewhere. A text between two outputs ends the left one if it has a character that the left
    /// one can't have, and then everything to its left is told, too; or else the same from the right.
    pub(super) fn blurred(&self, alone: &[&str]) -> Option<Blurred> {
        let mut gaps: Vec<(&str, &Letters, String, &str, &Letters)> = Vec::new();
        let (mut left, mut between) = (None, String::new());
        for part in &self.0 {
            match part {
                Part::Text(text) => between.push_str(text),
                Part::Output(name, _) if alone.contains(&name.as_str()) => {}
                Part::Output(name, letters) => {
                    if let Some((before, its)) = left.replace((name.as_str(), letters)) {
                        gaps.push((before, its, std::mem::take(&mut between), name, letters));
                    }
                    between.clear();
                }
            }
        }
        let ends = |between: &str, letters: &Letters| between.chars().any(|letter| !letters.has(letter));
        let from_left = gaps.iter().take_while(|(_, left, between, ..)| ends(between, left)).count();
        let rest = gaps.get(from_left..)?;
        let from_right = rest.iter().rev().take_while(|(_, _, between, _, right)| ends(between, right)).count();
        let (left, its, between, right, other) = rest[..rest.len() - from_right].first()?;
        let separator = SEPARATORS.into_iter().find(|letter| !its.has(*letter) || !other.has(*letter));
        Some(Blurred { left: (*left).into(), right: (*right).into(), between: between.clone(), separator })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Output(name, _) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }
}

/// Reads a text as these parts, one piece each; `strictly` only where each piece has the characters that
/// its output can have.
///
/// Forward, every place is found where a part can begin; backward from the end, every place that also
/// leads there. The text can be read in one way only if there is one such place for each part.
fn read<'t>(parts: &[Part], text: &'t str, strictly: bool) -> Reading<Vec<&'t str>> {
    let fits = |letters: &Letters, letter: char| !strictly || letters.has(letter);
    let mut starts = vec![vec![false; text.len() + 1]];
    starts[0][0] = true;
    for (at, part) in parts.iter().enumerate() {
        let mut ends = vec![false; text.len() + 1];
        match part {
            Part::Text(literal) => {
                for (start, _) in starts[at].iter().enumerate().filter(|(_, can)| **can) {
                    if text[start..].starts_with(literal.as_str()) {
                        ends[start + literal.len()] = true;
                    }
                }
            }
            Part::Output(_, letters) => {
                let mut open = false;
                for (place, letter) in text.char_indices() {
                    open |= starts[at][place];
                    ends[place] = open;
                    open &= fits(letters, letter);
                }
                ends[text.len()] = open || starts[at][text.len()];
            }
        }
        starts.push(ends);
    }
    let mut end = text.len();
    if starts.last().is_none_or(|ends| !ends[end]) {
        return Reading::None;
    }
    let mut pieces = Vec::with_capacity(parts.len());
    for (part, starts) in parts.iter().zip(&starts).rev() {
        let start = match part {
            Part::Text(literal) => end - literal.len(),
            Part::Output(_, letters) => {
                let letters = text[..end].char_indices().rev().take_while(|(_, letter)| fits(letters, *letter));
                let mut found = std::iter::once(end).chain(letters.map(|(place, _)| place)).filter(|at| starts[*at]);
                match (found.next(), found.next()) {
                    (Some(only), None) => only,
                    (None, _) => return Reading::None,
                    (Some(_), Some(_)) => return Reading::Several,
                }
            }
        };
        pieces.push(&text[start..end]);
        end = start;
    }
    pieces.reverse();
    Reading::One(pieces)
}
