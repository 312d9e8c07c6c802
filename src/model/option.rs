//! Typed option tables: each vendor declares the options it knows as data, the declaration fills
//! them, and the same data gives error messages, the JSON Schema and the reference page.

pub use crate::model::source::Reference;
use crate::model::source::Source;

/// What an option's value may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A text of 1 to `char_count_max` characters without control characters.
    Text {
        /// Longest text, in characters.
        char_count_max: usize,
    },
    /// A URL with a host; https, or http where the host is a loopback address.
    Url,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A reference to an admin secret; never the secret itself.
    Secret,
    /// Where a value that is kept at the vendor comes from: it becomes the output of this name.
    Source {
        /// The output.
        output: &'static str,
    },
    /// A table whose shape is the vendor's own.
    Object {
        /// Keys whose values come from a source, and the outputs that they become.
        sources: &'static [(&'static str, &'static str)],
        /// The only keys there may be; any if empty.
        keys: &'static [&'static str],
    },
}

/// One option that a vendor knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// The key in the declaration.
    pub name: &'static str,
    /// What the value may be.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
    /// For people: one sentence.
    pub doc: &'static str,
}

/// A checked option value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// For `Text`, `Url` and `OneOf`.
    Text(String),
    /// For `Bool`.
    Bool(bool),
    /// For `Secret`.
    Secret(Reference),
    /// For `Source`.
    Source(Piece),
    /// For `Object`.
    Object(Object),
}

/// A value that comes from a source, and the output that it becomes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The output.
    pub output: &'static str,
    /// Where it comes from.
    pub source: Source,
}

/// A checked table of the vendor's own shape, sorted by key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Object {
    /// What stands in the declaration.
    pub fixed: serde_json::Map<String, serde_json::Value>,
    /// What comes from a source, by key.
    pub pieces: Vec<(String, Piece)>,
}

impl Object {
    /// What stands in the declaration under a key.
    pub fn fixed(&self, key: &str) -> Option<&serde_json::Value> {
        self.fixed.get(key)
    }
}

/// The options of one vendor instance or one credential, checked against the vendor's fields.
///
/// Sorted by name and in one piece: every credential of a large fleet has such a handful.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options(Vec<(&'static str, Value)>);

impl Options {
    /// Sets an option that was checked against `field`.
    pub fn set(&mut self, field: &Field, value: Value) {
        match self.place(field.name) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (field.name, value));
            }
        }
    }

    /// The text of an option, if it is there.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            Value::Bool(_) | Value::Secret(_) | Value::Source(_) | Value::Object(_) => None,
        }
    }

    /// A switch; `false` when it is not there.
    pub fn bool(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Bool(true)))
    }

    /// The admin secret references, by option name.
    pub fn references(&self) -> impl Iterator<Item = (&'static str, &Reference)> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Secret(reference) => Some((*name, reference)),
            Value::Text(_) | Value::Bool(_) | Value::Source(_) | Value::Object(_) => None,
        })
    }

    /// A table of the vendor's own shape, if it is there.
    pub fn object(&self, name: &str) -> Option<&Object> {
        match self.get(name)? {
            Value::Object(object) => Some(object),
            Value::Text(_) | Value::Bool(_) | Value::Secret(_) | Value::Source(_) => None,
        }
    }

    /// Everything that comes from a source.
    pub fn pieces(&self) -> Vec<&Piece> {
        self.0
            .iter()
            .flat_map(|(_, value)| match value {
                Value::Source(piece) => vec![piece],
                Value::Object(object) => object.pieces.iter().map(|(_, piece)| piece).collect(),
                Value::Text(_) | Value::Bool(_) | Value::Secret(_) => Vec::new(),
            })
            .collect()
    }

    /// Every option, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// An option, if it is there.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.place(name).ok().map(|at| &self.0[at].1)
    }

    /// Where an option stands, or would stand.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (*known).cmp(name))
    }
}
