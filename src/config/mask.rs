//! Keeps secrets that people wrote where they don't belong out of every message: the line with the
//! mistake is the very line that holds the secret.
//!
//! Two ways, because a broken file has no tree to trust:
//!
//! | file | what is overwritten |
//! |---|---|
//! | well-formed TOML | values under names that sound like a secret, all but references; comments beside such a name; values that the reader asked to hide |
//! | broken TOML | the same by lines: all after such a name, and all values under `[vendors…]` |

use std::ops::Range;

use toml::de::DeValue;

use super::notes::{Notes, Span};
use super::tree::{Item, Table};
use crate::model::option::{Field, Kind};
use crate::vendors;

/// Parts of names that people give to secrets. Misspelt ones stand here on purpose.
const SOUNDS: [&str; 12] = [
    "secret",
    "secert",
    "secrte",
    "passw",
    "pasw",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "private",
    "access_key",
    "bearer",
];

/// Whether a value under this name may be a secret.
pub(super) fn sounds_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SOUNDS.iter().any(|part| key.contains(part)) || is_secret_field(&key)
}

fn is_secret_field(key: &str) -> bool {
    let secret = |fields: &[Field]| fields.iter().any(|field| field.kind == Kind::Secret && field.name == key);
    vendors::ALL.iter().any(|spec| secret(spec.fields) || spec.types.iter().any(|kind| secret(kind.fields)))
}

/// Hides every value in `item` that is not a table itself.
pub(super) fn leaves(notes: &mut Notes<'_>, item: Item<'_>) {
    match item.as_table() {
        Some(table) => table.iter().for_each(|(_, _, inner)| leaves(notes, inner)),
        // An array as a whole: it may have comments in it.
        None => notes.mask(item.span),
    }
}

/// Whether a text may be an address with a user and a password in it.
fn has_login(text: &str) -> bool {
    text.find("//").is_some_and(|at| text[at..].contains('@'))
}

/// Hides every text in `item` that may be an address with a password.
pub(super) fn logins(notes: &mut Notes<'_>, item: Item<'_>) {
    match item.value {
        DeValue::String(text) if text.contains('@') => notes.mask(item.span),
        DeValue::Array(_) => item.items().into_iter().flatten().for_each(|inner| logins(notes, inner)),
        DeValue::Table(_) => {
            item.as_table().into_iter().flat_map(|table| table.iter()).for_each(|(.., inner)| logins(notes, inner));
        }
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

/// Hides what stands under names that sound like a secret. References (tables) and value templates
/// stay readable: they are what a person has to see to mend them.
pub(super) fn tree(notes: &mut Notes<'_>, table: Table<'_>) {
    for (key, _, item) in table.iter() {
        match item.value {
            DeValue::Table(_) => tree(notes, item.as_table().expect("it is a table")),
            DeValue::Array(_) => {
                let secret = sounds_secret(key);
                for inner in item.items().into_iter().flatten() {
                    match inner.as_table() {
                        Some(inner) => tree(notes, inner),
                        None if secret => leaves(notes, inner),
                        None => {}
                    }
                }
            }
            DeValue::String(text) if has_login(text) => notes.mask(item.span),
            DeValue::String(text) if text.contains('{') => {}
            DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_)
                if sounds_secret(key) =>
            {
                notes.mask(item.span);
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Datetime(_)
            | DeValue::Boolean(_) => {}
        }
    }
}

/// Hides comments in lines that sound like a secret: what was commented out may still be one.
pub(super) fn comments(notes: &mut Notes<'_>, source: u32, text: &str) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(at) = line.find('#').filter(|at| secret_name(line).is_some() || has_login(&line[*at..])) {
            notes.mask(Span::new(source, start + at..start + line.len()));
        }
        start += line.len();
    }
}

/// Hides in a file that is not TOML, line by line.
pub(super) fn lines(notes: &mut Notes<'_>, source: u32, text: &str) {
    let (mut in_vendors, mut in_secret, mut in_quotes, mut start) = (false, false, false, 0);
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        let quotes = line.matches("\"\"\"").count() + line.matches("'''").count();
        if trimmed.starts_with('[') && !in_secret {
            in_vendors = trimmed.contains("vendors");
        }
        let from = if let Some((_, end)) = secret_name(line) {
            in_secret = true;
            Some(end)
        } else if has_login(line) {
            in_secret = false;
            Some(line.find('=').map_or(0, |at| at + 1))
        } else if let Some((key, value)) = line.split_once('=')
            && !in_quotes
            && !key.trim().is_empty()
            && !value.trim_matches(['=', ' ', '\r', '\n']).is_empty()
            && key.trim().chars().all(|c| c.is_ascii_alphanumeric() || "._-\"'".contains(c))
        {
            // The first line that can be told to be another setting ends a secret over many lines.
            in_secret = false;
            (in_vendors && key.trim() != "kind").then_some(key.len() + 1)
        } else if in_secret || (in_vendors && !trimmed.starts_with('[')) {
            Some(0)
        } else {
            None
        };
        if let Some(from) = from {
            notes.mask(Span::new(source, start + from..start + line.len()));
        }
        in_quotes ^= quotes % 2 == 1;
        start += line.len();
    }
}

/// The first name in a line that sounds like a secret: the name, and where it ends.
fn secret_name(line: &str) -> Option<(&str, usize)> {
    let mut start = None;
    for (at, character) in line.char_indices().chain([(line.len(), ' ')]) {
        let in_name = character.is_ascii_alphanumeric() || "_-".contains(character);
        match (start, in_name) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                let name = &line[from..at];
                start = None;
                // `[credential.secret]` is a section, and `systemd_credential` and the like are references.
                let section = line.trim_start().starts_with('[');
                if sounds_secret(name) && !section && name != "aws_secret" {
                    return Some((name, at));
                }
            }
            _ => {}
        }
    }
    None
}

/// `text` with everything in `ranges` overwritten, byte for byte, so that places stay the same.
/// Line breaks stay, and so do quotes, brackets and `=`: they are not the secret.
pub(super) fn overwrite(text: String, ranges: &[Range<usize>]) -> String {
    if ranges.is_empty() {
        return text;
    }
    let mut bytes = text.into_bytes();
    for range in ranges {
        let end = range.end.min(bytes.len());
        for byte in &mut bytes[range.start.min(end)..end] {
            if !b" \r\n\t\"'=".contains(byte) {
                *byte = b'*';
            }
        }
    }
    // Ranges begin and end at whole characters, so what remains is what was there, or stars.
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_shows_no_value_that_may_be_a_secret() {
        let cases = [
            "client_secret = \"CANARY",
            "client_secret = CANARY",
            "client_secret CANARY",
            "[vendors.keycard]\nzone = CANARY\n",
            "[vendors.keycard]\nCANARY\n",
            "x = { y = 1, client_secret = \"CANARY\" \n",
            "api_key = \"\"\"\nCANARY\nCANARY = 1\n\"\"\"\n",
            "private_key = -----\nCANARY==\n",
            "password = [\n  \"CANARY\",\n",
            "vendors.k.client_secret=\"CANARY\n",
            "proxy = \"http://user:CANARY@proxy\n",
            "[aws]\nproxy = http://user:CANARY@proxy:3128\n",
            "x = 1 # http://user:CANARY@proxy\ny = \"\n",
        ];
        for text in cases {
            let mut notes = Notes::default();
            lines(&mut notes, 0, text);
            let ranges: Vec<_> = notes.masks.iter().map(|span| span.start as usize..span.end as usize).collect();
            let shown = overwrite(text.into(), &ranges);
            assert_eq!(shown.len(), text.len());
            assert!(!shown.contains("CANARY"), "{shown}");
        }
    }

    #[test]
    fn what_is_no_secret_stays_readable() {
        let text = "deployment = \"x\"\n[credential.secret]\nname = \"y\"\n[defaults]\nrotate = \"30d\n";
        let mut notes = Notes::default();
        lines(&mut notes, 0, text);
        assert_eq!(notes.masks, []);
    }
}
