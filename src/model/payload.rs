//! What is stored in AWS: the shape of the value, how a fresh credential is rendered into it, and
//! how a candidate is read back to log in with it.
//!
//! A value is rendered once per attempt; every resend is byte-identical, because AWS takes the
//! same bytes under the same version id for the same call.

#![expect(clippy::disallowed_methods, reason = "this file renders the stored JSON, so it looks inside secret values")]

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::model::secret::SecretValue;

mod outputs;
mod template;

pub use outputs::{Output, Outputs};
pub use template::{Blurred, Letters, Malformed, Template};

use outputs::expose;
use template::Part;

/// Most bytes of a stored value (Secrets Manager quotas).
pub const VALUE_BYTES_MAX: usize = 65_536;

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
