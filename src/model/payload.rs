//! What is stored in AWS: the shape of the value, how a fresh credential is rendered into it, and
//! how a candidate is read back to log in with it.
//!
//! A value is rendered once per attempt; every resend is byte-identical, because AWS takes the
//! same bytes under the same version id for the same call.

#![expect(clippy::disallowed_methods, reason = "this file renders the stored JSON, so it looks inside secret values")]

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::model::secret::SecretValue;

/// Most bytes of a stored value (Secrets Manager quotas).
pub const VALUE_BYTES_MAX: usize = 65_536;

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

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Output(String),
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
    /// Parses a text whose places must be among `known`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, Malformed> {
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
                    if !known.contains(&name.as_str()) {
                        return Err(Malformed::Unknown(name));
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    } else if matches!(parts.last(), Some(Part::Output(_))) {
                        return Err(Malformed::Adjacent);
                    }
                    parts.push(Part::Output(name));
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
                Part::Output(name) => text.push_str(expose(outputs.0.get(name)?)),
            }
        }
        Some(text)
    }

    /// Reads the places of a rendered text back; `None` when it was not rendered from this template.
    fn recover(&self, text: &str, into: &mut Outputs) -> Option<()> {
        let mut rest = text;
        let mut parts = self.0.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Text(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Part::Output(name) => {
                    let end = match parts.peek() {
                        Some(Part::Text(literal)) => rest.find(literal.as_str())?,
                        Some(Part::Output(_)) | None => rest.len(),
                    };
                    into.0.insert(name.clone(), Output::Secret(SecretValue::new(&rest[..end])));
                    rest = &rest[end..];
                }
            }
        }
        rest.is_empty().then_some(())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Output(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }
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
        Self::Object(names.iter().map(|name| ((*name).into(), Template(vec![Part::Output((*name).into())]))).collect())
    }

    /// By output, the key of the JSON object under which it stands alone; the empty key for a value
    /// that is one output and nothing else.
    pub fn keys(&self) -> BTreeMap<String, String> {
        let alone = |key: &str, template: &Template| match template.0.as_slice() {
            [Part::Output(name)] => Some((name.clone(), key.to_owned())),
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

    /// The value to store. `None` when an output is missing or the value would be empty or longer
    /// than AWS allows.
    pub fn render(&self, outputs: &Outputs) -> Option<SecretValue> {
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
                (self.render(&outputs).as_ref() == Some(stored)).then_some(Fit::Same(outputs))
            }
            Self::Object(fields) => {
                let object: Map<String, Value> = serde_json::from_str(stored.expose()).ok()?;
                for (key, template) in fields {
                    let text = object.get(key)?.as_str()?;
                    template.recover(text, &mut outputs)?;
                }
                // An output that stands in two places must be the same in both.
                let again = |(key, template): &(String, Template)| {
                    template.render(&outputs).as_deref() == object.get(key).and_then(Value::as_str)
                };
                if !fields.iter().all(again) {
                    return None;
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

    const KNOWN: [&str; 2] = ["client_id", "client_secret"];

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
        for shape in [Shape::of_outputs(&KNOWN), Shape::Plain(url), both] {
            let stored = shape.render(&outputs()).unwrap();
            let back = shape.recover(&stored).unwrap();
            assert_eq!(shape.render(&back).unwrap(), stored);
            assert_eq!(back.get("client_secret"), outputs().get("client_secret"));
            assert_eq!(shape.recover(&SecretValue::new("{}")), None);
        }
        assert_eq!(
            Shape::of_outputs(&KNOWN).render(&outputs()).unwrap().expose(),
            r#"{"client_id":"id-1","client_secret":"s\"1"}"#
        );
    }

    #[test]
    fn a_value_of_somebody_elses_is_of_the_shape_or_wider_or_of_another() {
        let shape = Shape::of_outputs(&KNOWN);
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
        let printed = format!("{:?} {:?}", outputs(), Shape::of_outputs(&KNOWN).render(&outputs()));
        assert!(!printed.contains("s\"1") && !printed.contains("s\\\"1"), "{printed}");
    }
}
