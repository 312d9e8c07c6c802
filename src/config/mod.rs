//! The paper: the declaration of credentials that should exist, from TOML as written to
//! `model::credential::Credential` as meant.
//!
//! ```text
//! file         which files, and may they be trusted    ─┐
//! tree, reads  TOML with places, and typed reads of it  │  everything that is wrong goes into
//! check        the whole: each table is lowered         ├─ notes, and leaves as one Report
//! frame        what credentials rely on                 │  (diagnostic), with what may be a
//! credential   one of them; options, delivery, timing … │  secret overwritten
//! mask         what must not be shown                  ─┘
//! ```
//!
//! Offline and pure but for reading the files: no call, no clock, no admin secret is opened. What
//! a vendor's options are comes from its `Spec` as data; nothing here knows any vendor.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

use crate::model::credential::Credential;
use crate::model::name::{Deployment, TargetName, VendorName};
use crate::model::option::Options;
use crate::vendors::Spec;

mod calendar;
mod check;
mod credential;
mod delivery;
pub mod diagnostic;
pub mod duration;
mod feeding;
mod file;
mod fingerprint;
mod frame;
mod mask;
mod notes;
mod options;
mod own_secret;
mod proof;
mod reads;
mod reference;
mod retirement;
mod schedule;
mod source;
mod target;
mod targets;
#[cfg(test)]
mod tests;
mod texts;
mod timing;
mod tree;
mod zones;

pub use diagnostic::{Problem, Report, Severity};
pub use target::{AssumeRole, Credentials, Target};

use diagnostic::{Code, Source};
use file::{File, Shelf};
use notes::{Notes, Span};
use tree::Table;

/// A checked declaration.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Whose secrets these are.
    pub deployment: Deployment,
    /// Where secrets lie; at least one.
    pub targets: BTreeMap<TargetName, Target>,
    /// Who issues credentials.
    pub vendors: BTreeMap<VendorName, VendorInstance>,
    /// What should exist, sorted by name.
    pub credentials: Vec<Arc<Credential>>,
    /// How much may change at once.
    pub limits: Limits,
    /// How existing secrets are found.
    pub discovery: Discovery,
}

/// One vendor, as declared under a name.
#[derive(Clone)]
pub struct VendorInstance {
    /// Its name in the declaration.
    pub name: VendorName,
    /// What kind of vendor it is.
    pub spec: &'static Spec,
    /// Its options, checked against the kind's fields.
    pub options: Options,
}

impl fmt::Debug for VendorInstance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("VendorInstance")
            .field("name", &self.name)
            .field("kind", &self.spec.kind)
            .field("options", &self.options)
            .finish()
    }
}

/// How much may change at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// An edit of the declaration that would replace more credentials than this asks first.
    pub max_replacements: u32,
}

/// How existing secrets are found in AWS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Discovery {
    /// By listing those with our owner tag; also shows what is declared no more.
    #[default]
    List,
    /// By the declared names, for roles that may not list.
    Declared,
}

/// A declaration that can be used, and what should be said about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The declaration.
    pub declaration: Declaration,
    /// Warnings; empty when there are none.
    pub warnings: Report,
}

/// Reads and checks the declaration at `path` and the files it includes.
///
/// # Errors
/// Everything that is wrong with it, at once; warnings included.
pub fn load(path: &Path) -> Result<Loaded, Report> {
    load_from(&Shelf::Disk, path)
}

/// The declaration at `path` as one text: without its `include`, and with what that brings in after
/// it. Means the same, which the caller checks.
///
/// # Errors
/// As for [`load`].
pub fn load_as_one(path: &Path) -> Result<String, Report> {
    load_from(&Shelf::Disk, path)?;
    let mut notes = Notes::default();
    let main = Shelf::Disk.read(path, 0, &mut notes);
    let (tree, _) = parse(&mut notes, 0, &main.text);
    let root = Table { entries: &tree, span: Span::new(0, 0..main.text.len()) };
    let mut one = main.text.clone();
    let included = Shelf::Disk.included(root, path, &mut notes);
    if let Some(include) = root.get("include") {
        one.replace_range(include.span.start as usize..include.span.end as usize, "[]");
    }
    for (at, path) in included.iter().enumerate() {
        one.push('\n');
        one.push_str(&Shelf::Disk.read(path, at + 1, &mut notes).text);
    }
    Ok(one)
}

/// Checks a declaration at hand. The first of `files`, by path and text, is the declaration; the
/// others are what its `include` may match.
///
/// # Errors
/// As for [`load`], without what can be wrong with files on a disk.
pub fn load_text(files: &[(&str, &str)]) -> Result<Loaded, Report> {
    let path = files.first().map_or("", |(path, _)| path);
    load_from(&Shelf::Given(files), Path::new(path))
}

fn load_from(shelf: &Shelf<'_>, path: &Path) -> Result<Loaded, Report> {
    let mut reading = Notes::default();
    let main = shelf.read(path, 0, &mut reading);
    // An unreadable declaration has no second problem; one that others may write is still looked at.
    if main.text.trim().is_empty() {
        return Err(report(reading.problems, reading.left_out, vec![main], &[]));
    }
    let mut notes = Notes::default();
    notes.on_disk = matches!(shelf, Shelf::Disk);
    notes.texts.push(&main.text);
    let (tree, broken) = parse(&mut notes, 0, &main.text);
    let root = Table { entries: &tree, span: Span::new(0, 0..main.text.len()) };
    let included: Vec<File> = shelf
        .included(root, path, &mut notes)
        .iter()
        .enumerate()
        .map(|(at, path)| shelf.read(path, at + 1, &mut reading))
        .collect();
    let mut all_broken = vec![broken];
    let mut trees = Vec::new();
    for (at, file) in (1_u32..).zip(&included) {
        notes.texts.push(&file.text);
        let (tree, broken) = parse(&mut notes, at, &file.text);
        all_broken.push(broken);
        trees.push(tree);
    }
    let tables: Vec<Table<'_>> =
        (1_u32..).zip(&trees).map(|(source, entries)| Table { entries, span: Span::new(source, 0..0) }).collect();
    let declaration = check::lower(&mut notes, root, &tables);
    notes.settle();
    let unreadable = reading.problems.iter().any(|problem| problem.severity == Severity::Error);
    if !notes.problems.is_empty() {
        for table in std::iter::once(root).chain(tables.iter().copied()) {
            mask::tree(&mut notes, table);
            let source = table.span.source;
            let text = notes.texts[source as usize];
            mask::comments(&mut notes, source, text);
        }
    }
    let Notes { mut problems, left_out, masks, .. } = notes;
    let some_unread = unreadable || all_broken.iter().any(|lines| !lines.is_empty());
    problems.retain(|problem| match problem.code {
        Code::Syntax => true,
        Code::NothingDeclared => !some_unread,
        _ => !is_consequence(
            problem,
            &all_broken,
            if problem.at.source == 0 { &main } else { &included[problem.at.source - 1] },
        ),
    });
    problems.extend(reading.problems);
    let sources = std::iter::once(main).chain(included).collect();
    let report = report(problems, left_out + reading.left_out, sources, &masks);
    match declaration {
        Some(declaration) if report.problems.iter().all(|problem| problem.severity == Severity::Warning) => {
            Ok(Loaded { declaration, warnings: report })
        }
        _ => Err(report),
    }
}

/// Parses one text, notes all syntax errors, and gives back the lines they stand in.
fn parse<'t>(notes: &mut Notes<'_>, source: u32, text: &'t str) -> (DeTable<'t>, Vec<usize>) {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let mut lines = Vec::new();
    for error in &errors {
        let range = error.span().unwrap_or(text.len()..text.len());
        lines.push(text.as_bytes()[..range.start.min(text.len())].iter().filter(|byte| **byte == b'\n').count());
        let problem = Problem::error(Code::Syntax, Span::new(source, range), error.message());
        notes.push(problem);
    }
    if !errors.is_empty() {
        mask::lines(notes, source, text);
    }
    (tree.into_inner(), lines)
}

/// Whether a problem may be there only because its file, or the main one, could not be understood
/// in full.
fn is_consequence(problem: &Problem, broken: &[Vec<usize>], file: &File) -> bool {
    let own = &broken[problem.at.source];
    let any = !own.is_empty() || !broken[0].is_empty();
    let in_broken_line = problem.at.range.as_ref().is_some_and(|range| {
        let line = || file.text.as_bytes()[..range.start].iter().filter(|byte| **byte == b'\n').count();
        !own.is_empty() && own.contains(&line())
    });
    (any && problem.code.may_follow_from_syntax()) || in_broken_line
}

fn report(problems: Vec<Problem>, left_out: usize, files: Vec<File>, masks: &[Span]) -> Report {
    let mut problems: Vec<Problem> = problems.into_iter().map(Problem::printable).collect();
    problems.sort_by_key(|problem| (problem.at.source, problem.at.range.as_ref().map(|range| range.start)));
    let sources = files
        .into_iter()
        .enumerate()
        .map(|(source, file)| {
            let own = masks.iter().filter(|span| span.source as usize == source);
            let ranges: Vec<_> = own.map(|span| span.start as usize..span.end as usize).collect();
            Source::new(&file.path, mask::overwrite(file.text, &ranges))
        })
        .collect();
    Report { problems, sources, left_out }
}
