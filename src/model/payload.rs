//! What is stored in AWS: the shape of the value, how a fresh credential is rendered into it, and
//! how a candidate is read back to log in with it.
//!
//! A value is rendered once per attempt; every resend is byte-identical, because AWS takes the
//! same bytes under the same version id for the same call.

#![expect(clippy::disallowed_methods, reason = "this file renders the stored JSON, so it looks inside secret values")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::secret::SecretValue;

/// Most bytes of a stored value (Secrets Manager quotas).
pub const VALUE_BYTES_MAX: usize = 65_536;

/// What is proposed to stand between two outputs, the most usual first.
const SEPARATORS: [char; 4] = [':', ' ', '|', '/'];

/// One named piece of a minted credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// May be shown.
    Public(String),
    /// Must not.
    Secret(SecretValue),
}

/// What a vendor gave for one credential, by output name (`client_id`, `client_secret`, …).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outputs(BTreeMap<String, Output>);

impl Outputs {
    /// Adds a piece that may be shown.
    #[must_use]
    pub fn public(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), Output::Public(value.into()));
        self
    }

    /// Adds a piece that must not be shown.
    #[must_use]
    pub fn secret(mut self, name: &str, value: SecretValue) -> Self {
        self.0.insert(name.into(), Output::Secret(value));
        self
    }

    /// One piece as a secret, whether it may be shown or not.
    pub fn get(&self, name: &str) -> Option<SecretValue> {
        self.0.get(name).map(|output| SecretValue::new(expose(output)))
    }

    /// Whether the piece of that name, where there is one, is this text.
    pub fn holds(&self, name: &str, text: &str) -> Option<bool> {
        self.0.get(name).map(|output| expose(output) == text)
    }

    /// The same with another text in place of every secret piece: what a login must refuse.
    #[must_use]
    pub fn with_secrets(&self, other: &SecretValue) -> Self {
        let other = |output: &Output| match output {
            Output::Public(text) => Output::Public(text.clone()),
            Output::Secret(_) => Output::Secret(other.clone()),
        };
        Self(self.0.iter().map(|(name, output)| (name.clone(), other(output))).collect())
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn expose(output: &Output) -> &str {
    match output {
        Output::Public(text) => text,
        Output::Secret(value) => value.expose(),
    }
}

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
enum Part {
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
pub struct Template(Vec<Part>);

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

    fn render(&self, outputs: &Outputs) -> Option<String> {
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
    fn recover(&self, text: &str, into: &mut Outputs) -> Option<()> {
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
    fn blurred(&self, alone: &[&str]) -> Option<Blurred> {
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

    fn names(&self) -> impl Iterator<Item = &str> {
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

/// How the stored value looks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shape {
    /// A JSON object of strings.
    Object(Vec<(String, Template)>),
    /// One plain text.
    Plain(Template),
}

impl Shape {
    /// A JSON object with each output under its own name.
    pub fn of_outputs(names: &[&str]) -> Self {
        Self::Object(
            names
                .iter()
                .map(|name| ((*name).into(), Template(vec![Part::Output((*name).into(), Letters::Any)])))
                .collect(),
        )
    }

    /// By output, the key of the JSON object under which it stands alone; the empty key for a value
    /// that is one output and nothing else.
    pub fn keys(&self) -> BTreeMap<String, String> {
        let alone = |key: &str, template: &Template| match template.0.as_slice() {
            [Part::Output(name, _)] => Some((name.clone(), key.to_owned())),
            _ => None,
        };
        match self {
            Self::Object(fields) => fields.iter().filter_map(|(key, template)| alone(key, template)).collect(),
            Self::Plain(template) => alone("", template).into_iter().collect(),
        }
    }

    /// The outputs that stand somewhere in the shape.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let templates: Vec<&Template> = match self {
            Self::Object(fields) => fields.iter().map(|(_, template)| template).collect(),
            Self::Plain(template) => vec![template],
        };
        templates.into_iter().flat_map(Template::names)
    }

    /// Two outputs that some value would not tell apart again; `None` where every value can be read back.
    pub fn blurred(&self) -> Option<Blurred> {
        let keys = self.keys();
        let alone: Vec<&str> = keys.keys().map(String::as_str).collect();
        match self {
            Self::Object(fields) => fields.iter().find_map(|(_, template)| template.blurred(&alone)),
            Self::Plain(template) => template.blurred(&[]),
        }
    }

    /// The value to store. `None` when an output is missing, the value would be empty or longer than AWS
    /// allows, or reading it back would not give these very outputs.
    pub fn render(&self, outputs: &Outputs) -> Option<SecretValue> {
        let value = self.text(outputs)?;
        let back = self.recover(&value)?;
        let same = back.0.iter().all(|(name, piece)| outputs.holds(name, expose(piece)) == Some(true));
        same.then_some(value)
    }

    fn text(&self, outputs: &Outputs) -> Option<SecretValue> {
        let text = match self {
            Self::Plain(template) => template.render(outputs)?,
            Self::Object(fields) => {
                let mut object = Map::new();
                for (key, template) in fields {
                    object.insert(key.clone(), Value::String(template.render(outputs)?));
                }
                Value::Object(object).to_string()
            }
        };
        (1..=VALUE_BYTES_MAX).contains(&text.len()).then(|| SecretValue::new(text))
    }

    /// Reads a stored value back into the outputs it was rendered from; `None` when it was not
    /// rendered from this shape. Of an object, blanks and the order of its keys don't matter.
    pub fn recover(&self, stored: &SecretValue) -> Option<Outputs> {
        match self.fit(stored) {
            Fit::Same(outputs) => Some(outputs),
            Fit::Wider(_) | Fit::Another => None,
        }
    }

    /// How a value that somebody else may have stored fits this shape.
    pub fn fit(&self, stored: &SecretValue) -> Fit {
        self.read(stored).unwrap_or(Fit::Another)
    }

    fn read(&self, stored: &SecretValue) -> Option<Fit> {
        let mut outputs = Outputs::default();
        match self {
            Self::Plain(template) => {
                template.recover(stored.expose(), &mut outputs)?;
                Some(Fit::Same(outputs))
            }
            Self::Object(fields) => {
                let object: Map<String, Value> = serde_json::from_str(stored.expose()).ok()?;
                // What stands alone is known, and so tells where its neighbours elsewhere end.
                let alone = |(_, template): &&(String, Template)| template.0.len() == 1;
                let others = fields.iter().filter(|field| !alone(field));
                for (key, template) in fields.iter().filter(alone).chain(others) {
                    let text = object.get(key)?.as_str()?;
                    template.recover(text, &mut outputs)?;
                }
                Some(if object.len() == fields.len() { Fit::Same(outputs) } else { Fit::Wider(outputs) })
            }
        }
    }
}

/// How a stored value fits a shape.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fit {
    /// It is of this shape.
    Same(Outputs),
    /// All that the shape has is in it, and more keys besides.
    Wider(Outputs),
    /// It is of another shape.
    Another,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [(&str, Letters); 2] = [("client_id", Letters::Id), ("client_secret", Letters::Any)];
    const NAMES: [&str; 2] = ["client_id", "client_secret"];

    fn outputs() -> Outputs {
        Outputs::default().public("client_id", "id-1").secret("client_secret", SecretValue::new("s\"1"))
    }

    #[test]
    fn a_value_is_read_back_as_rendered() {
        let url = Template::parse("https://{client_id}:{client_secret}@host/{{x}}", &KNOWN).unwrap();
        let both = Shape::Object(vec![
            ("URL".into(), url.clone()),
            ("ID".into(), Template::parse("{client_id}", &KNOWN).unwrap()),
        ]);
        for shape in [Shape::of_outputs(&NAMES), Shape::Plain(url), both] {
            let stored = shape.render(&outputs()).unwrap();
            let back = shape.recover(&stored).unwrap();
            assert_eq!(shape.render(&back).unwrap(), stored);
            assert_eq!(back.get("client_secret"), outputs().get("client_secret"));
            assert_eq!(shape.recover(&SecretValue::new("{}")), None);
        }
        assert_eq!(
            Shape::of_outputs(&NAMES).render(&outputs()).unwrap().expose(),
            r#"{"client_id":"id-1","client_secret":"s\"1"}"#
        );
    }

    #[test]
    fn a_value_of_somebody_elses_is_of_the_shape_or_wider_or_of_another() {
        let shape = Shape::of_outputs(&NAMES);
        let twice = Shape::Object(vec![
            ("A".into(), Template::parse("{client_id}", &KNOWN).unwrap()),
            ("B".into(), Template::parse("x-{client_id}", &KNOWN).unwrap()),
        ]);
        let word = |shape: &Shape, text: &str| match shape.fit(&SecretValue::new(text)) {
            Fit::Same(_) => "same",
            Fit::Wider(_) => "wider",
            Fit::Another => "another",
        };
        for (text, expected) in [
            (r#"{"client_id":"a","client_secret":"b"}"#, "same"),
            ("{ \"client_secret\": \"b\",\n  \"client_id\": \"a\" }\n", "same"),
            (r#"{"client_id":"a","client_secret":"b","note":1}"#, "wider"),
            (r#"{"client_id":"a"}"#, "another"),
            (r#"{"client_id":"a","client_secret":5}"#, "another"),
            ("b", "another"),
            ("", "another"),
        ] {
            assert_eq!(word(&shape, text), expected, "{text}");
        }
        assert_eq!(word(&twice, r#"{"A":"a","B":"x-a"}"#), "same");
        assert_eq!(word(&twice, r#"{"A":"a","B":"x-b"}"#), "another");
    }

    #[test]
    fn a_value_that_can_be_read_back_in_two_ways_is_never_rendered_nor_read() {
        // (template, id, secret, whether it is rendered, whether it can be read at all)
        for (text, id, secret, good, read) in [
            ("{client_secret}k{client_id}", "id-1", "abckdef", false, false),
            ("{client_secret}k{client_id}", "kid", "abc", false, false),
            ("{client_secret}k{client_id}", "id-1", "abc", true, true),
            // Not what the vendor promises of an id: read back, it would be another one.
            ("{client_id} -- {client_secret}", "a -- b", "c", false, true),
            ("x{client_secret}/{client_id}/y", "a/b", "c", false, true),
            ("{client_id}:{client_secret}", "a", "b:c", true, true),
            ("{client_secret}:{client_id}", "a", "b:c", true, true),
            ("{client_id}-{client_id}", "a-a", "", false, false),
        ] {
            let shape = Shape::Plain(Template::parse(text, &KNOWN).unwrap());
            let outputs = Outputs::default().public("client_id", id).secret("client_secret", SecretValue::new(secret));
            let stored = shape.render(&outputs);
            assert_eq!(stored.is_some(), good, "{text} of {id} and {secret}");
            let by_hand = text.replace("{client_id}", id).replace("{client_secret}", secret);
            assert_eq!(shape.recover(&SecretValue::new(by_hand)).is_some(), read, "{text} of {id} and {secret}");
        }
    }

    #[test]
    fn what_cannot_be_read_back_is_refused() {
        for (text, problem) in [
            ("{client_id}{client_secret}", Malformed::Adjacent),
            ("{client_id", Malformed::Unbalanced),
            ("client_id}", Malformed::Unbalanced),
            ("{nope}", Malformed::Unknown("nope".into())),
        ] {
            assert_eq!(Template::parse(text, &KNOWN), Err(problem));
        }
        let empty = Shape::Plain(Template::parse("", &KNOWN).unwrap());
        assert_eq!(empty.render(&outputs()), None, "AWS refuses the empty string");
    }

    #[test]
    fn nothing_secret_is_printed() {
        let printed = format!("{:?} {:?}", outputs(), Shape::of_outputs(&NAMES).render(&outputs()));
        assert!(!printed.contains("s\"1") && !printed.contains("s\\\"1"), "{printed}");
    }
}
