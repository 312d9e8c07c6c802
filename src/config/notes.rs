//! Where problems are gathered while a declaration is read: spans, the notebook itself, and the
//! search for what was probably meant.

use std::collections::HashSet;
use std::path::Path;

use super::diagnostic::{Code, Location, PROBLEM_COUNT_MAX, Problem, Severity};
use crate::files::{self, Content, Doubt};

/// Most names that are searched for what was probably meant: the search looks at every candidate.
const GUESS_COUNT_MAX: u32 = 500;
/// Longest text that is compared with candidates.
const GUESS_CHAR_COUNT_MAX: usize = 64;

/// Bytes of one source. Small, because every read value carries one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Span {
    pub source: u32,
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn new(source: u32, range: std::ops::Range<usize>) -> Self {
        let clamp = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { source, start: clamp(range.start), end: clamp(range.end) }
    }
}

impl From<Span> for Location {
    fn from(span: Span) -> Self {
        Self { source: span.source as usize, range: Some(span.start as usize..span.end as usize) }
    }
}

/// The notebook.
#[derive(Default)]
pub(super) struct Notes<'s> {
    /// Whether what is read lies on this machine's disk, where the files that it names may lie, too.
    pub on_disk: bool,
    /// The text of each source, by its number.
    pub texts: Vec<&'s str>,
    pub problems: Vec<Problem>,
    pub left_out: usize,
    /// How many of both say that something can't be used.
    error_count: usize,
    /// What must not be shown.
    pub masks: Vec<Span>,
    /// Keys that an unknown one probably was meant to be, with the table.
    pub guessed: HashSet<(Span, &'static str)>,
    /// Which problems say that a key of a table is missing.
    pub missing: Vec<(usize, Span, &'static str)>,
    seen: HashSet<(Location, Option<Location>, String)>,
    guesses: u32,
}

impl Notes<'_> {
    /// Notes a problem; the same one at the same places (a default that is wrong for many
    /// credentials) only once. Gives its number, if it was kept.
    pub fn push(&mut self, problem: Problem) -> Option<usize> {
        let other = problem.other.as_ref().map(|(at, _)| at.clone());
        if !self.seen.insert((problem.at.clone(), other, problem.message.clone())) {
            return None;
        }
        self.error_count += usize::from(problem.severity == Severity::Error);
        if self.problems.len() == PROBLEM_COUNT_MAX {
            self.left_out += 1;
            return None;
        }
        self.problems.push(problem);
        Some(self.problems.len() - 1)
    }

    /// How many problems were noted so far that are more than warnings.
    pub fn error_count(&self) -> usize {
        self.error_count
    }

    /// Notes what speaks against trusting a file.
    pub fn doubt(&mut self, doubt: &Doubt, at: impl Into<Location>, why: &str) {
        let severity = if doubt.forbids() { Severity::Error } else { Severity::Warning };
        let problem = Problem::error(Code::Unsafe, at, doubt.to_string());
        self.push(Problem { severity, ..problem.help(format!("{why}: {}", doubt.remedy())) });
    }

    /// Notes what speaks against a file that the declaration names, where it is on this machine. It is only
    /// looked at, never opened.
    pub fn doubts(&mut self, path: &Path, content: Content, at: Span) {
        // What is no regular file is told of when it is to be read.
        if !self.on_disk || !path.is_file() {
            return;
        }
        let why = match content {
            Content::Public => "whoever can write it decides whom keyferry trusts",
            Content::Secret => "whoever can read or write it can act as keyferry",
        };
        for doubt in files::doubts(path, content).unwrap_or_default() {
            self.doubt(&doubt, at, why);
        }
    }

    /// Takes back that a key is missing where it seems to be there, misspelt: that was noted, too.
    pub fn settle(&mut self) {
        let guessed = &self.guessed;
        let taken_back: HashSet<usize> = self
            .missing
            .drain(..)
            .filter(|(_, table, key)| guessed.contains(&(*table, *key)))
            .map(|(index, ..)| index)
            .collect();
        let mut index = 0;
        self.problems.retain(|_| {
            index += 1;
            !taken_back.contains(&(index - 1))
        });
    }

    /// Never shows these bytes.
    pub fn mask(&mut self, span: Span) {
        self.masks.push(span);
    }

    /// The candidate that `text` was probably meant to be.
    pub fn nearest<'c>(&mut self, text: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
        self.guesses += 1;
        if self.guesses > GUESS_COUNT_MAX || text.chars().count() > GUESS_CHAR_COUNT_MAX {
            return None;
        }
        let text = text.to_lowercase();
        let distance_max = 1 + text.chars().count() / 4;
        candidates
            .map(|candidate| (strsim::damerau_levenshtein(&text, &candidate.to_lowercase()), candidate))
            .filter(|(distance, candidate)| *distance <= distance_max && *distance < candidate.chars().count())
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, candidate)| candidate)
    }

    /// "did you mean …?" or, when nothing is near, what there is.
    pub fn did_you_mean<'c>(
        &mut self,
        text: &str,
        candidates: impl Iterator<Item = &'c str> + Clone,
        what: &str,
    ) -> String {
        match self.nearest(text, candidates.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("{what}: {}", listed(candidates)),
        }
    }
}

/// The candidates in back quotes, at most 30 of them.
pub(super) fn listed<'c>(candidates: impl Iterator<Item = &'c str>) -> String {
    let mut names: Vec<String> = candidates.map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        return "none".into();
    }
    if names.len() > 30 {
        let more = names.len() - 30;
        names.truncate(30);
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

/// A text for a message: at most 80 characters, control characters escaped.
pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

impl Problem {
    pub(super) fn error(code: Code, at: impl Into<Location>, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            at: at.into(),
            label: String::new(),
            other: None,
            help: None,
        }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn other(mut self, at: impl Into<Location>, label: impl Into<String>) -> Self {
        self.other = Some((at.into(), label.into()));
        self
    }

    /// As [`Problem::other`], where there may be no other setting to point at.
    pub(super) fn other_if(self, at: Option<Span>, label: impl Into<String>) -> Self {
        match at {
            Some(at) => self.other(at, label),
            None => self,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
