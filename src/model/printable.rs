//! What may go to a terminal. Texts come from tags, vendors, file names and declarations, and whoever wrote
//! them must not be able to move the cursor, hide words or turn them round. Every printer sends its texts
//! through here.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with every character written out, as `\u{202e}`, that a terminal obeys or that nobody sees.
/// Line ends stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |shown, letter| {
        let _ = write!(shown, "\\u{{{:x}}}", u32::from(letter));
    })
}

/// As [`printable`], for a JSON document: in the escapes that JSON has.
pub fn printable_json(document: &str) -> Cow<'_, str> {
    escaped(document, |shown, letter| {
        for unit in letter.encode_utf16(&mut [0; 2]) {
            let _ = write!(shown, "\\u{unit:04x}");
        }
    })
}

/// As [`printable`], with the colours that keyferry itself put in: an escape sequence that ends in `m` and
/// has digits and semicolons before. What came from elsewhere was made printable before it was coloured.
pub fn printable_in_colour(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        shown.push_str(&printable(&rest[..at]));
        let sequence = &rest[at + 2..];
        let end = sequence.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(sequence.len());
        let length = if sequence[end..].starts_with('m') { 2 + end + 1 } else { 0 };
        if length == 0 {
            shown.push_str("\\u{1b}[");
        }
        shown.push_str(&rest[at..at + length]);
        rest = &rest[at + length.max(2)..];
    }
    shown.push_str(&printable(rest));
    shown
}

fn escaped(text: &str, escape: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.chars().any(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match is_unseen(letter) {
            true => escape(&mut shown, letter),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

/// Control characters but the line end, those that turn the direction of writing, those without any width,
/// and other line ends (Unicode Standard Annex 9 and Technical Report 36).
pub fn is_unseen(letter: char) -> bool {
    (letter.is_control() && letter != '\n')
        || matches!(
            letter,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_nobody_sees_is_written_out() {
        for (text, shown) in [
            ("plain: Grüße, 東京, 🙂\nsecond line", "plain: Grüße, 東京, 🙂\nsecond line"),
            ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
            ("a\u{9b}31mb\r\t\u{7f}", "a\\u{9b}31mb\\u{d}\\u{9}\\u{7f}"),
            ("safe\u{202e}cod.exe", "safe\\u{202e}cod.exe"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_json("\"a\u{202e}\u{e0041}\u{7f}\""), "\"a\\u202e\\udb40\\udc41\\u007f\"");
        let back: String = serde_json::from_str(&printable_json("\"a\u{202e}\u{e0041}\"")).unwrap();
        assert_eq!(back, "a\u{202e}\u{e0041}", "a program gets what there is");
    }

    #[test]
    fn our_own_colours_are_let_through_and_nothing_else() {
        for (text, shown) in [
            ("\u{1b}[32mok\u{1b}[0m", "\u{1b}[32mok\u{1b}[0m"),
            ("\u{1b}[38;5;10mok\u{1b}[39m", "\u{1b}[38;5;10mok\u{1b}[39m"),
            ("\u{1b}[2Jx\u{1b}]0;title\u{7}", "\\u{1b}[2Jx\\u{1b}]0;title\\u{7}"),
            ("\u{1b}[", "\\u{1b}["),
            ("\u{1b}[3", "\\u{1b}[3"),
        ] {
            assert_eq!(printable_in_colour(text), shown);
        }
    }
}
