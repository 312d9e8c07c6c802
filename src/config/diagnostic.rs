//! Problems of a declaration, and how a person or a program gets to see them.
//!
//! A problem says what is wrong, where, which other setting disagrees, and what to do. Texts that
//! may hold a secret are overwritten with `*` (see `mask`) before a [`Report`] exists, so neither
//! the rendered text, nor the JSON, nor `Debug` can show them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use crate::model::printable::{is_unseen, printable};

/// Most problems that are kept; the others are only counted.
pub(super) const PROBLEM_COUNT_MAX: usize = 1_000;
/// Most problems that are printed as text; the JSON form has all that were kept.
const PRINTED_COUNT_MAX: usize = 100;
/// Two spans at most so many lines apart are shown in one piece of source.
const LINE_DISTANCE_MAX: usize = 12;
/// Most characters of an offending text in the JSON form.
const TEXT_CHAR_COUNT_MAX: usize = 200;
/// Most characters of a sentence: whatever it quotes was shortened before, so this is for what libraries say.
const SENTENCE_CHAR_COUNT_MAX: usize = 2_000;
/// Most bytes of source that are shown for one place, and how far into its line that place may be.
const SHOWN_BYTES_MAX: usize = 800;
const INTO_LINE_BYTES_MAX: usize = 400;

/// What kind of problem it is. The text of a code never changes its meaning and is never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// `KF0001`: there is no such file.
    Missing,
    /// `KF0002`: the file can't be read.
    Unreadable,
    /// `KF0003`: nothing is in it.
    Empty,
    /// `KF0004`: it is not UTF-8.
    NotUtf8,
    /// `KF0005`: it is longer than any declaration.
    TooLong,
    /// `KF0006`: others may write it.
    Unsafe,
    /// `KF0007`: a pattern of `include` is malformed or matches no file.
    Include,
    /// `KF0008`: nothing in it is a declaration's: it is another file, and nothing of it is shown.
    Alien,
    /// `KF0100`: not TOML.
    Syntax,
    /// `KF0101`: a key that nothing reads.
    UnknownKey,
    /// `KF0102`: a value of the wrong type.
    WrongType,
    /// `KF0103`: a key that must be there is not.
    MissingKey,
    /// `KF0104`: a value outside of what is allowed.
    BadValue,
    /// `KF0105`: a name that nothing in the declaration has.
    UnknownName,
    /// `KF0106`: two things under one name.
    Duplicate,
    /// `KF0107`: a secret, or what may be one, where a reference to it belongs.
    InlineSecret,
    /// `KF0108`: allowed with loopback addresses only.
    LoopbackOnly,
    /// `KF0109`: not a duration.
    Duration,
    /// `KF0110`: not a usable cron pattern.
    Cron,
    /// `KF0111`: not a usable window or freeze.
    Calendar,
    /// `KF0112`: two settings that can't both hold.
    Disagreement,
    /// `KF0113`: below a floor that keeps a rotation safe.
    Floor,
    /// `KF0114`: a tag that AWS or keyferry would refuse.
    Tag,
    /// `KF0115`: a template that can't be filled in.
    Template,
    /// `KF0116`: a stored value that could not be proved after a crash.
    Shape,
    /// `KF0117`: the vendor can't do what the setting needs.
    NotOffered,
    /// `KF0118`: not allowed in an included file.
    NotHere,
    /// `KF0200`: nothing is declared.
    NothingDeclared,
}

impl Code {
    /// The code as printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "KF0001",
            Self::Unreadable => "KF0002",
            Self::Empty => "KF0003",
            Self::NotUtf8 => "KF0004",
            Self::TooLong => "KF0005",
            Self::Unsafe => "KF0006",
            Self::Include => "KF0007",
            Self::Alien => "KF0008",
            Self::Syntax => "KF0100",
            Self::UnknownKey => "KF0101",
            Self::WrongType => "KF0102",
            Self::MissingKey => "KF0103",
            Self::BadValue => "KF0104",
            Self::UnknownName => "KF0105",
            Self::Duplicate => "KF0106",
            Self::InlineSecret => "KF0107",
            Self::LoopbackOnly => "KF0108",
            Self::Duration => "KF0109",
            Self::Cron => "KF0110",
            Self::Calendar => "KF0111",
            Self::Disagreement => "KF0112",
            Self::Floor => "KF0113",
            Self::Tag => "KF0114",
            Self::Template => "KF0115",
            Self::Shape => "KF0116",
            Self::NotOffered => "KF0117",
            Self::NotHere => "KF0118",
            Self::NothingDeclared => "KF0200",
        }
    }

    /// Whether such a problem can be the mere consequence of a syntax error elsewhere in the file.
    pub(super) const fn may_follow_from_syntax(self) -> bool {
        matches!(
            self,
            Self::MissingKey
                | Self::UnknownName
                | Self::Duplicate
                | Self::Disagreement
                | Self::Floor
                | Self::LoopbackOnly
                | Self::Shape
                | Self::NothingDeclared
        )
    }
}

/// Whether the declaration can be used in spite of a problem.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Severity {
    /// It can't.
    Error,
    /// It can, but hardly as it was meant.
    Warning,
}

/// A place in one of the sources.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Location {
    /// Index into [`Report::sources`].
    pub source: usize,
    /// Bytes of its text; `None` for the file as a whole.
    pub range: Option<Range<usize>>,
}

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Its kind.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: one sentence, lower case, no full stop.
    pub message: String,
    /// Where.
    pub at: Location,
    /// A few words for the underlined text; may be empty.
    pub label: String,
    /// The other setting, where two disagree, and a few words about it.
    pub other: Option<(Location, String)>,
    /// What to do.
    pub help: Option<String>,
}

/// A text in which problems were found.
#[derive(Clone)]
pub struct Source {
    path: String,
    text: String,
    /// Byte offset of each line's first byte.
    line_starts: Vec<usize>,
}

impl fmt::Debug for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Source({:?}, {} bytes)", self.path, self.text.len())
    }
}

impl Problem {
    /// The same in words that a terminal can be given.
    pub(super) fn printable(mut self) -> Self {
        let clean = |text: &mut String| {
            if let Some((end, _)) = text.char_indices().nth(SENTENCE_CHAR_COUNT_MAX) {
                text.truncate(end);
                text.push('…');
            }
            if let Cow::Owned(shown) = printable(text) {
                *text = shown;
            }
        };
        clean(&mut self.message);
        clean(&mut self.label);
        if let Some(help) = &mut self.help {
            clean(help);
        }
        if let Some((_, label)) = &mut self.other {
            clean(label);
        }
        self
    }
}

/// The text with a stand-in of the same length for each character that a terminal obeys or that nobody
/// sees: places stay the same. Tabs and line ends stay.
fn stand_ins(text: String) -> String {
    let stays = |letter: char| !is_unseen(letter) || letter == '\t' || letter == '\r';
    if text.chars().all(stays) {
        return text;
    }
    let stand_in = |letter: char| match letter.len_utf8() {
        _ if stays(letter) => letter,
        1 => '?',
        2 => '·',
        3 => '\u{fffd}',
        _ => '\u{1f5c6}',
    };
    text.chars().map(stand_in).collect()
}

impl Source {
    /// Wraps a text of which everything secret is already overwritten.
    pub(super) fn new(path: &str, text: String) -> Self {
        let (path, text) = (printable(path).into_owned(), stand_ins(text));
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(breaks).collect();
        Self { path, text, line_starts }
    }

    /// Its path, as it was given or found.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Line and column of a byte, both from 1; the column counts characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let line = self.line_index(offset);
        let start = self.line_starts[line];
        let before = self.text.as_bytes().get(start..offset.min(self.text.len())).unwrap_or_default();
        (line + 1, String::from_utf8_lossy(before).chars().count() + 1)
    }

    fn line_index(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// The whole lines that `range` touches, with the index of the first one and its first byte.
    fn lines(&self, range: &Range<usize>) -> (usize, usize, &str) {
        let first = self.line_index(range.start);
        let last = self.line_index(range.end.max(range.start + 1) - 1);
        let start = self.line_starts[first];
        let end = self.line_starts.get(last + 1).map_or(self.text.len(), |next| next - 1);
        let text = self.text.get(start..end.max(start)).unwrap_or_default();
        (first, start, text.strip_suffix('\r').unwrap_or(text))
    }
}

/// Everything that was found, with the sources it was found in.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order of the files and lines.
    pub problems: Vec<Problem>,
    /// The files that were read, the declaration itself first.
    pub sources: Vec<Source>,
    /// How many more problems there were than a report keeps (1,000).
    pub left_out: usize,
}

impl Report {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// For a person: each problem with its line underlined, with terminal colours if `colour`.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut printed: Vec<String> =
            self.problems.iter().take(PRINTED_COUNT_MAX).map(|problem| self.render_one(problem, &renderer)).collect();
        let more = self.problems.len().saturating_sub(PRINTED_COUNT_MAX) + self.left_out;
        if more > 0 {
            printed.push(format!("and {more} more problems"));
        }
        printed.join("\n\n")
    }

    /// For a program. The shape is a promise:
    ///
    /// ```json
    /// { "problems": [ {
    ///     "code": "KF0101", "severity": "error", "message": "…",
    ///     "file": "keyferry.toml", "line": 3, "column": 1, "text": "rotat", "label": "…",
    ///     "other": { "file": "…", "line": 1, "column": 1, "text": "…", "label": "…" },
    ///     "help": "…"
    ///   } ],
    ///   "left_out": 0 }
    /// ```
    ///
    /// Lines and columns count from 1, columns in characters. `line`, `column` and `text` are
    /// `null` where the whole file is meant; `other` and `help` where there is none.
    pub fn to_json(&self) -> Value {
        let problems: Vec<Value> = self
            .problems
            .iter()
            .map(|problem| {
                let mut object = self.location_to_json(&problem.at, &problem.label);
                object["code"] = problem.code.as_str().into();
                object["severity"] = match problem.severity {
                    Severity::Error => "error".into(),
                    Severity::Warning => "warning".into(),
                };
                object["message"] = problem.message.as_str().into();
                object["help"] = problem.help.clone().into();
                object["other"] =
                    problem.other.as_ref().map_or(Value::Null, |(at, label)| self.location_to_json(at, label));
                object
            })
            .collect();
        json!({ "problems": problems, "left_out": self.left_out })
    }

    /// Line and column of a problem, both from 1; `None` where the whole file is meant.
    pub fn line_column(&self, at: &Location) -> Option<(usize, usize)> {
        at.range.as_ref().map(|range| self.sources[at.source].line_column(range.start))
    }

    fn location_to_json(&self, at: &Location, label: &str) -> Value {
        let source = &self.sources[at.source];
        let (line, column) = self.line_column(at).unzip();
        let text = at.range.clone().map(|range| {
            source.text.get(range).unwrap_or_default().chars().take(TEXT_CHAR_COUNT_MAX).collect::<String>()
        });
        json!({ "file": source.path(), "line": line, "column": column, "text": text, "label": label })
    }

    fn render_one(&self, problem: &Problem, renderer: &Renderer) -> String {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(problem.message.as_str()).id(problem.code.as_str()));
        let mut together = None;
        if let (Some(range), Some((other, label))) = (&problem.at.range, &problem.other)
            && other.source == problem.at.source
            && let Some(second) = &other.range
        {
            let source = &self.sources[other.source];
            let whole = range.start.min(second.start)..range.end.max(second.end);
            let near = source.line_index(range.start).abs_diff(source.line_index(second.start)) <= LINE_DISTANCE_MAX;
            if near && source.lines(&whole).2.len() <= SHOWN_BYTES_MAX {
                together = Some((second.clone(), label.as_str()));
            }
        }
        group = self.add_snippet(group, &problem.at, AnnotationKind::Primary, &problem.label, together.clone());
        if let (None, Some((other, label))) = (&together, &problem.other) {
            group = self.add_snippet(group, other, AnnotationKind::Context, label, None);
        }
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }

    /// Shows only the lines that are meant: a renderer that gets whole files looks at each of them
    /// for each problem.
    fn add_snippet<'a>(
        &'a self,
        group: Group<'a>,
        at: &Location,
        kind: AnnotationKind,
        label: &'a str,
        second: Option<(Range<usize>, &'a str)>,
    ) -> Group<'a> {
        let source = &self.sources[at.source];
        let Some(range) = &at.range else {
            return group.element(Origin::path(source.path()));
        };
        let whole = match &second {
            Some((second, _)) => range.start.min(second.start)..range.end.max(second.end),
            None => range.clone(),
        };
        let (line, start, text) = source.lines(&whole);
        if range.start - start > INTO_LINE_BYTES_MAX {
            let (line, column) = source.line_column(range.start);
            return group.element(Origin::path(source.path()).line(line).char_column(column));
        }
        let text = &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)];
        let within = |range: &Range<usize>| {
            let end = (range.end - start).min(text.len());
            (range.start - start).min(end)..end
        };
        let mut snippet = Snippet::source(text).line_start(line + 1).path(source.path());
        snippet = snippet.annotation(kind.span(within(range)).label((!label.is_empty()).then_some(label)));
        if let Some((second, label)) = &second {
            snippet = snippet.annotation(AnnotationKind::Context.span(within(second)).label(*label));
        }
        group.element(snippet)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
