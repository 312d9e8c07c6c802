//! The declaration as written: which files belong to it, and whether they may be trusted and read.
//!
//! What the texts mean is not decided here. `check` wants no more than these files: nothing that
//! the declaration refers to (admin secrets, CA files) is opened.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::diagnostic::{Code, Location, Problem};
use super::notes::{Notes, listed, shortened};
use super::tree::{Table, Text};
use crate::files::{self, Content};

/// Longest declaration file, in bytes.
const BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Most files that `include` may bring in.
const INCLUDED_COUNT_MAX: usize = 1_000;

/// Patterns don't match hidden files (an editor's lock), nor what lies in hidden folders (the dated copies
/// behind the links of a mounted ConfigMap); who means one writes its dot.
const NOTHING_HIDDEN: glob::MatchOptions =
    glob::MatchOptions { case_sensitive: true, require_literal_separator: false, require_literal_leading_dot: true };

/// The keys of a declaration.
pub(super) const KEYS: [&str; 8] =
    ["deployment", "include", "aws", "vendors", "defaults", "limits", "discovery", "credential"];

/// Where keys of the declaration itself stand: after a `[…]` they would belong to that table.
pub(super) const TOP: (&[&str], &str) = (&KEYS, "the top of the file, above the first `[…]`");

/// Whether any line begins as one of a declaration's does. A file in which none does was named by mistake,
/// and may be the very file that an admin secret is in.
fn looks_like_a_declaration(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').lines().any(|line| {
        let line = line.trim_start_matches(['[', ' ', '\t', '"', '\'']);
        let end = line.find(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c)).unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        let rest = rest.trim_start_matches(['"', '\'']).trim_start();
        KEYS.contains(&word) && (rest.is_empty() || rest.starts_with(['=', '.', ']', '"', '\'', '#']))
    })
}

/// One file as it was read; an empty text where it could not be.
pub(super) struct File {
    pub path: String,
    pub text: String,
}

/// Where files come from: the disk, or texts at hand.
pub(super) enum Shelf<'a> {
    Disk,
    Given(&'a [(&'a str, &'a str)]),
}

impl Shelf<'_> {
    /// Reads a file as the next source, and notes what speaks against it.
    pub fn read(&self, path: &Path, source: usize, notes: &mut Notes<'_>) -> File {
        let shown = path.display().to_string();
        let text = match self {
            Self::Disk => read_bytes(path, source, notes).and_then(|bytes| to_text(bytes, source, notes)),
            Self::Given(files) => {
                files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
            }
        };
        if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
            let help = if source == 0 {
                "write at least `deployment = \"…\"`; config/keyferry.toml in the sources is a commented example"
            } else {
                "write `[[credential]]` tables, or remove the file"
            };
            notes.push(Problem::error(Code::Empty, whole(source), format!("`{shown}` has nothing in it")).help(help));
        }
        let mut text = text.unwrap_or_default();
        if !text.trim().is_empty() && !looks_like_a_declaration(&text) {
            let message =
                format!("`{}` is not a keyferry declaration, so keyferry shows nothing of it", shortened(&shown));
            let help =
                format!("a declaration has at least one of the keys {}; check the path", listed(KEYS.into_iter()));
            notes.push(Problem::error(Code::Alien, whole(source), message).help(help));
            text.clear();
        }
        File { path: shown, text }
    }

    fn matching(&self, pattern: &Path, notes: &mut Notes<'_>, at: Text<'_>) -> Option<Vec<PathBuf>> {
        let malformed = |problem: glob::PatternError| {
            Problem::error(Code::Include, at.span, format!("this is not a file pattern: {}", problem.msg))
                .help("`*` stands for any text within a name, `**` for any folders, `[ab]` for one of these characters")
        };
        let text = pattern.to_string_lossy();
        match self {
            Self::Disk => match glob::glob_with(&text, NOTHING_HIDDEN) {
                Ok(found) => {
                    let (mut paths, mut failed) = (Vec::new(), None);
                    for entry in found.take(INCLUDED_COUNT_MAX + 1) {
                        match entry {
                            Ok(path) if path.is_dir() => {}
                            Ok(path) => paths.push(path),
                            Err(problem) => failed = Some(problem.to_string()),
                        }
                    }
                    if let Some(problem) = failed {
                        notes.push(
                            Problem::error(Code::Unreadable, at.span, format!("can't look for files: {problem}"))
                                .help("let keyferry's user read these folders"),
                        );
                        return None;
                    }
                    Some(paths)
                }
                Err(problem) => {
                    notes.push(malformed(problem));
                    None
                }
            },
            Self::Given(files) => match glob::Pattern::new(&text) {
                Ok(pattern) => Some(
                    files
                        .iter()
                        .map(|(name, _)| PathBuf::from(name))
                        .filter(|n| pattern.matches_path_with(n, NOTHING_HIDDEN))
                        .collect(),
                ),
                Err(problem) => {
                    notes.push(malformed(problem));
                    None
                }
            },
        }
    }

    /// The file itself, whatever links and `./` lead to it.
    fn file_itself(&self, path: &Path) -> PathBuf {
        let found = if matches!(self, Self::Disk) { fs::canonicalize(path).ok() } else { None };
        found.unwrap_or_else(|| path.to_owned())
    }

    /// The files that `include` names, in the order of their paths, each once, without `own`.
    pub fn included(&self, root: Table<'_>, own: &Path, notes: &mut Notes<'_>) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let Some(item) = root.get("include") else { return paths };
        let Some(items) = item.items() else {
            notes.wrong_type("include", item, "an array of strings", "include = [\"teams/*.toml\"]");
            return paths;
        };
        let folder = own.parent().unwrap_or(Path::new(""));
        let mut known = HashSet::from([self.file_itself(own)]);
        for item in items {
            let Some(pattern) = item.as_text() else {
                notes.wrong_type("include", item, "an array of strings", "include = [\"teams/*.toml\"]");
                continue;
            };
            // The folder is no pattern, whatever characters are in its name.
            let escaped = PathBuf::from(glob::Pattern::escape(&folder.to_string_lossy()));
            let Some(found) = self.matching(&escaped.join(pattern.text), notes, pattern) else { continue };
            let own = self.file_itself(own);
            let found: Vec<PathBuf> = found.into_iter().filter(|path| self.file_itself(path) != own).collect();
            if found.is_empty() {
                let place = folder.join(pattern.text);
                notes.push(
                    Problem::error(Code::Include, pattern.span, "no file matches this pattern")
                        .label(format!("looked for `{}`", place.display()))
                        .help("patterns are relative to the folder of the declaration; remove it if nothing is meant"),
                );
            }
            paths.extend(found);
        }
        paths.sort();
        // One file that is found by several names is one file.
        paths.retain(|path| known.insert(self.file_itself(path)));
        if paths.len() > INCLUDED_COUNT_MAX {
            let message = format!("`include` brings in more than {INCLUDED_COUNT_MAX} files");
            notes.push(Problem::error(Code::Include, item.span, message).help("put more credentials into one file"));
            paths.truncate(INCLUDED_COUNT_MAX);
        }
        paths
    }
}

/// A whole file.
pub(super) fn whole(source: usize) -> Location {
    Location { source, range: None }
}

fn read_bytes(path: &Path, source: usize, notes: &mut Notes<'_>) -> Option<Vec<u8>> {
    let shown = path.display();
    let unreadable = |problem: &std::io::Error| {
        use std::io::ErrorKind;
        if problem.kind() == ErrorKind::NotFound {
            return Problem::error(Code::Missing, whole(source), format!("there is no file `{shown}`"))
                .help("name the declaration with `--config FILE` or in KEYFERRY_CONFIG");
        }
        let help = match problem.kind() {
            ErrorKind::PermissionDenied => "let keyferry's user read the file and enter its folders",
            _ => "name another file with `--config FILE` or in KEYFERRY_CONFIG",
        };
        Problem::error(Code::Unreadable, whole(source), format!("can't read `{shown}`: {problem}")).help(help)
    };
    // Looked at before it is opened: opening a pipe would wait for a writer.
    match fs::metadata(path) {
        Ok(about) if !about.is_file() => {
            let message = format!("`{shown}` is not a regular file");
            let help = "name the declaration with `--config FILE` or in KEYFERRY_CONFIG";
            notes.push(Problem::error(Code::Unreadable, whole(source), message).help(help));
            return None;
        }
        Ok(_) => {}
        Err(problem) => {
            notes.push(unreadable(&problem));
            return None;
        }
    }
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes));
    if let Err(problem) = read {
        notes.push(unreadable(&problem));
        return None;
    }
    for doubt in files::doubts(path, Content::Public).unwrap_or_default() {
        // A folder is told of once, whichever files lie in it.
        let at = if doubt.path == path { whole(source) } else { whole(0) };
        notes.doubt(&doubt, at, "whoever can write it decides what is rotated and where it goes");
    }
    if bytes.len() as u64 > BYTES_MAX {
        let message = format!("`{shown}` is longer than {} MiB", BYTES_MAX / 1024 / 1024);
        notes.push(
            Problem::error(Code::TooLong, whole(source), message)
                .help("is it the right file? if it is, spread the credentials over several files with `include`"),
        );
        return None;
    }
    Some(bytes)
}

fn to_text(bytes: Vec<u8>, source: usize, notes: &mut Notes<'_>) -> Option<String> {
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(problem) => {
            let offset = problem.utf8_error().valid_up_to();
            let line = problem.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
            let message = format!("the file is not UTF-8: byte {offset} (counted from 0), in line {line}, is no text");
            let help = if problem.as_bytes().starts_with(&[0xff, 0xfe]) || problem.as_bytes().starts_with(&[0xfe, 0xff])
            {
                "it looks like UTF-16: save it as UTF-8"
            } else {
                "save it as UTF-8"
            };
            notes.push(Problem::error(Code::NotUtf8, whole(source), message).help(help));
            None
        }
    }
}
