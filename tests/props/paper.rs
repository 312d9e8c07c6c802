//! The declaration: whatever stands in the file, there is a declaration or a report, soon, and the
//! report can be printed.

use keyferry::config::{self, Loaded};
use keyferry::model::printable::printable;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{holds, text};

/// Both shipped examples, which have every table and nearly every key.
const EXAMPLES: [&str; 2] = [include_str!("../../config/keyferry.toml"), include_str!("../../config/sandbox.toml")];
/// However long the file is, a report shows lines of it, shortened; and it shows so many problems at most.
const REPORT_BYTES_MAX: usize = 256 * 1024;

/// A small declaration that is good, with these lines for its one credential.
fn around(lines: &str) -> String {
    format!(
        "deployment = \"test\"\n[aws]\nregion = \"us-east-1\"\n\
         [vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = {{ env = \"A\" }}\nclient_secret = {{ env = \"B\" }}\n\
         [[credential]]\nname = \"app\"\nvendor = \"keycard\"\ntype = \"password\"\napplication = \"app\"\n{lines}"
    )
}

/// Reads it, and gives what a person would be shown.
fn read(text: &str) -> (Option<Loaded>, String) {
    let (loaded, report) = match config::load_text(&[("keyferry.toml", text)]) {
        Ok(loaded) => {
            let warnings = loaded.warnings.clone();
            (Some(loaded), warnings)
        }
        Err(report) => (None, report),
    };
    // As every printer does.
    let shown = printable(&report.render(false)).into_owned();
    assert!(!report.to_json().to_string().is_empty());
    (loaded, shown)
}

fn can_be_printed(shown: &str) {
    let strange = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!shown.contains(strange), "{shown:?}");
    assert!(shown.len() <= REPORT_BYTES_MAX, "a report of {} bytes", shown.len());
}

/// An edit of a file: some lines go, one comes twice, and something else comes in.
#[derive(Clone, Debug)]
struct Edit {
    example: usize,
    at: prop::sample::Index,
    cut: usize,
    put: String,
    swap: (prop::sample::Index, prop::sample::Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let key = proptest::prop_oneof![
        "[a-z_]{1,12} = (\"[^\"]{0,12}\"|-?[0-9]{1,20}|true|\\[\\]|\\{\\}|[0-9]{4}-[0-9]{2}-[0-9]{2})\n",
        "\\[\\[?[a-z.]{1,12}\\]?\\]\n",
        text(),
        Just("include = [\"**/*\"]\n".to_owned()),
        Just(format!("x = {}1{}\n", "[".repeat(3000), "]".repeat(3000))),
        Just(format!("\"{}\" = 1\n", "k".repeat(60_000))),
    ];
    let anywhere = || any::<prop::sample::Index>();
    (0..2_usize, anywhere(), 0..40_usize, key, (anywhere(), anywhere()))
        .prop_map(|(example, at, cut, put, swap)| Edit { example, at, cut, put, swap })
}

impl Edit {
    fn apply(&self) -> String {
        let mut characters: Vec<char> = EXAMPLES[self.example].chars().collect();
        let at = self.at.index(characters.len());
        let end = (at + self.cut).min(characters.len());
        characters.splice(at..end, self.put.chars());
        let text: String = characters.into_iter().collect();
        let mut lines: Vec<&str> = text.split('\n').collect();
        let (one, other) = (self.swap.0.index(lines.len()), self.swap.1.index(lines.len()));
        lines.swap(one, other);
        lines.join("\n")
    }
}

#[test]
fn an_edited_declaration_is_read_or_told_about() {
    holds(120, [], edit(), |edit| can_be_printed(&read(&edit.apply()).1));
}

#[test]
fn any_text_is_a_declaration_or_a_report() {
    let kept =
        ["\u{202e}x = 1".to_owned(), "\"\\u001b[31m\" = 1".into(), "x = \"\u{1b}[2J\"".into(), "\u{feff}".into()];
    holds(300, kept, vec(text(), 0..4).prop_map(|parts| parts.join("\n")), |text| {
        let (_, shown) = read(&text);
        can_be_printed(&shown);
    });
}

/// As a duration is written, the longest unit first.
fn duration() -> impl Strategy<Value = (u64, String)> {
    (0..20_u64, 0..7_u64, 0..24_u64, 0..60_u64, 0..60_u64, any::<bool>()).prop_map(|(w, d, h, m, s, spaced)| {
        let parts = [(w, "w", 604_800), (d, "d", 86_400), (h, "h", 3_600), (m, "m", 60), (s, "s", 1)];
        let written = parts.iter().filter(|(count, ..)| *count > 0).map(|(count, unit, _)| format!("{count}{unit}"));
        let seconds = parts.iter().map(|(count, _, length)| count * length).sum();
        (seconds, written.collect::<Vec<_>>().join(if spaced { " " } else { "" }))
    })
}

#[test]
fn a_duration_means_what_is_written() {
    // An interval has its least and its longest; between them it is what was meant.
    holds(200, [], duration(), |(seconds, written)| {
        let (loaded, shown) = read(&around(&format!("rotate = {{ every = \"{written}\" }}\noverlap = \"2h\"\n")));
        let Some(loaded) = loaded else {
            assert!(!(86_400..=30 * 604_800 / 2).contains(&seconds), "{written}: {shown}");
            return;
        };
        let policy = &loaded.declaration.credentials[0].policy;
        let told = format!("{:?}", policy.rotate);
        assert!(told.contains(&format!("{:?}", std::time::Duration::from_secs(seconds))), "{written}: {told}");
    });
}

#[test]
fn what_is_no_duration_is_told_about() {
    let strange = proptest::prop_oneof![text(), "[0-9]{0,25}[a-zA-Zµ.,-]{0,3}[0-9 ]{0,3}[dhms]?"];
    holds(300, [], strange, |text: String| {
        let quoted = toml_string(&text);
        can_be_printed(&read(&around(&format!("overlap = {quoted}\nrotate = \"30d\"\n"))).1);
    });
}

#[test]
fn any_cron_pattern_is_taken_or_told_about() {
    let field = "(\\*|[0-9]{1,3})(-[0-9]{1,3})?(/[0-9]{1,3})?(,[0-9]{1,2}|[L#W+?]){0,2}";
    let pattern = vec(proptest::prop_oneof![4 => field, 1 => "[A-Za-z]{1,4}", 1 => "@[a-z]{1,9}"], 0..7);
    let strange = proptest::prop_oneof![2 => pattern.prop_map(|fields| fields.join(" ")), 1 => text()];
    let kept = ["* * * * *".to_owned(), "0 0 30 2 *".into(), "*/90 * * * *".into(), "0 0 29 2 +MON".into()];
    holds(150, kept, strange, |pattern: String| {
        let quoted = toml_string(&pattern);
        let text = around(&format!("rotate = {{ cron = {quoted}, timezone = \"Europe/Berlin\" }}\noverlap = \"2h\"\n"));
        can_be_printed(&read(&text).1);
    });
}

/// A string of TOML that holds this text.
fn toml_string(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}
