//! The TOML tree with places.
//!
//! Lowered by hand and not by serde: serde stops at the first error and loses the places inside
//! of tables whose type depends on a word in them.

use toml::de::{DeTable, DeValue};

use super::notes::{Notes, Span};

/// Any value, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Item<'t> {
    pub value: &'t DeValue<'t>,
    pub span: Span,
}

/// A table, and where its header (or the whole of it, in braces) stands.
#[derive(Clone, Copy)]
pub(super) struct Table<'t> {
    pub entries: &'t DeTable<'t>,
    pub span: Span,
}

/// A text, and where it stands, quotes included.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    pub text: &'t str,
    pub span: Span,
}

/// A duration, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    pub length: std::time::Duration,
    /// `None` for a default that nobody wrote.
    pub span: Option<Span>,
}

impl<'t> Table<'t> {
    pub fn get(&self, key: &str) -> Option<Item<'t>> {
        let value = self.entries.get(key)?;
        Some(Item { value: value.get_ref(), span: Span::new(self.span.source, value.span()) })
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Keys, where each stands, and their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'t str, Span, Item<'t>)> + use<'t> {
        let source = self.span.source;
        self.entries.iter().map(move |(key, value)| {
            let item = Item { value: value.get_ref(), span: Span::new(source, value.span()) };
            (key.get_ref().as_ref(), Span::new(source, key.span()), item)
        })
    }

    pub fn key_span(&self, key: &str) -> Option<Span> {
        self.entries.get_key_value(key).map(|(key, _)| Span::new(self.span.source, key.span()))
    }
}

impl<'t> Item<'t> {
    pub fn as_table(&self) -> Option<Table<'t>> {
        self.value.as_table().map(|entries| Table { entries, span: self.span })
    }

    pub fn as_text(&self) -> Option<Text<'t>> {
        self.value.as_str().map(|text| Text { text, span: self.span })
    }

    pub fn items(&self) -> Option<impl Iterator<Item = Item<'t>> + use<'t>> {
        let source = self.span.source;
        let array = self.value.as_array()?;
        Some(array.iter().map(move |item| Item { value: item.get_ref(), span: Span::new(source, item.span()) }))
    }

    /// The type, with its article.
    pub fn type_name(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }
}

impl Text<'_> {
    /// Where bytes `range` of the text stand; the whole text where escapes make that unclear.
    pub fn part(&self, notes: &Notes<'_>, range: std::ops::Range<usize>) -> Span {
        let (start, end) = (self.span.start as usize, self.span.end as usize);
        let raw = notes.texts.get(self.span.source as usize).and_then(|source| source.get(start..end));
        match raw {
            Some(raw) if raw.len() == self.text.len() + 2 && raw.get(1..raw.len() - 1) == Some(self.text) => {
                Span::new(self.span.source, start + 1 + range.start..start + 1 + range.end)
            }
            _ => self.span,
        }
    }
}
