//! Strict tables and typed reads, which note what does not fit.

use super::diagnostic::{Code, Problem};
use super::duration;
use super::mask;
use super::notes::{Notes, shortened};
use super::tree::{Item, Length, Table, Text};

impl Notes<'_> {
    /// Refuses keys that are not among `known`. Their values are not shown where they may be a
    /// misplaced secret: under a name that sounds like one, or anywhere in `guarded` tables.
    /// `elsewhere`: keys that would be valid at another place, and which.
    pub fn unknown_keys(
        &mut self,
        table: Table<'_>,
        known: impl Iterator<Item = &'static str> + Clone,
        guarded: bool,
        elsewhere: Option<(&[&str], &str)>,
    ) {
        for (key, at, item) in table.iter() {
            if known.clone().any(|name| name == key) {
                continue;
            }
            if guarded || mask::sounds_secret(key) {
                mask::leaves(self, item);
            }
            if let Some((_, place)) = elsewhere.filter(|(keys, _)| keys.contains(&key)) {
                let problem =
                    Problem::error(Code::UnknownKey, at, format!("`{}` does not belong here", shortened(key)));
                let help = "a TOML key belongs to the last `[…]` above it";
                self.push(problem.label(format!("belongs into {place}")).help(help));
                continue;
            }
            let unset = known.clone().filter(|name| !table.has(name));
            let near = match self.nearest(key, unset) {
                Some(near) => {
                    self.guessed.insert((table.span, near));
                    Some(near)
                }
                None => self.nearest(key, known.clone()),
            };
            let problem = Problem::error(Code::UnknownKey, at, format!("unknown key `{}`", shortened(key)));
            self.push(match near {
                Some(near) => {
                    problem.label(format!("did you mean `{near}`?")).help(format!("write `{near}`, or remove it"))
                }
                None => problem
                    .label("nothing reads this")
                    .help(format!("valid keys here: {}", super::notes::listed(known.clone()))),
            });
        }
    }

    pub fn wrong_type(&mut self, key: &str, item: Item<'_>, expected: &str, example: &str) {
        let message = format!("`{}` must be {expected}, but this is {}", shortened(key), item.type_name());
        let problem = Problem::error(Code::WrongType, item.span, message).label(format!("expected {expected}"));
        self.push(if example.is_empty() { problem } else { problem.help(format!("for example `{example}`")) });
    }

    pub fn missing(&mut self, table: Table<'_>, key: &'static str, of: &str, help: impl Into<String>) {
        let problem = Problem::error(Code::MissingKey, table.span, format!("{of} has no `{key}`"));
        if let Some(number) = self.push(problem.label(format!("`{key}` is missing")).help(help)) {
            self.missing.push((number, table.span, key));
        }
    }

    pub fn text<'t>(&mut self, table: Table<'t>, key: &str, example: &str) -> Option<Text<'t>> {
        let item = table.get(key)?;
        let text = item.as_text();
        if text.is_none() {
            mask::logins(self, item);
            self.wrong_type(key, item, "a string", example);
        }
        text
    }

    pub fn flag(&mut self, table: Table<'_>, key: &str) -> Option<bool> {
        let item = table.get(key)?;
        let flag = item.value.as_bool();
        if flag.is_none() {
            self.wrong_type(key, item, "`true` or `false`", &format!("{key} = true"));
        }
        flag
    }

    pub fn table<'t>(&mut self, table: Table<'t>, key: &str, example: &str) -> Option<Table<'t>> {
        let item = table.get(key)?;
        let inner = item.as_table();
        if inner.is_none() {
            self.wrong_type(key, item, "a table", example);
        }
        inner
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, table: Table<'_>, key: &str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(table, key, &format!("{key} = \"{}\"", words[0].0))?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.text) {
            return Some(*value);
        }
        let help = self.did_you_mean(text.text, words.iter().map(|(word, _)| *word), "one of");
        let message = format!("`{key}` can't be `{}`", shortened(text.text));
        self.push(Problem::error(Code::BadValue, text.span, message).help(help));
        None
    }

    pub fn duration(&mut self, table: Table<'_>, key: &str, example: &str) -> Option<Length> {
        let text = self.text(table, key, example)?;
        self.duration_of(key, text)
    }

    pub fn duration_of(&mut self, key: &str, text: Text<'_>) -> Option<Length> {
        match duration::parse(text.text) {
            Ok(length) => Some(Length { length, span: Some(text.span) }),
            Err(problem) => {
                let at = text.part(self, problem.range);
                let message = format!("`{key}` is not a duration: {}", problem.message);
                self.push(Problem::error(Code::Duration, at, message).help(problem.help));
                None
            }
        }
    }
}
