//! The declaration on disk: reading it again, and whether it still is the one in force.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::cli::Source;
use crate::cli::report::{Output, Printer};
use crate::config::{self, Report, Severity};
use crate::engine::Engine;

/// What the declaration's files looked like: their bytes, and which others lie beside them, where
/// `include` may find them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Trace {
    files: Vec<PathBuf>,
    digest: [u8; 32],
}

impl Trace {
    /// Of the files that a declaration was read from.
    pub(super) fn of(read: &Report) -> Self {
        Self::again(read.sources.iter().map(|source| PathBuf::from(source.path())).collect())
    }

    /// Of the same files as they are now.
    pub(super) fn now(&self) -> Self {
        Self::again(self.files.clone())
    }

    fn again(files: Vec<PathBuf>) -> Self {
        let mut sum = Sha256::new();
        let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        for folder in folders {
            let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let entries = std::fs::read_dir(here).into_iter().flatten().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            names.retain(|name| Path::new(name).extension().is_some_and(|ending| ending == "toml"));
            names.sort();
            names.iter().for_each(|name| digest(&mut sum, name.as_encoded_bytes()));
        }
        for file in &files {
            // A file that can't be read is another one than before.
            let length = read_into(&mut sum, file).unwrap_or(u64::MAX);
            sum.update(length.to_le_bytes());
        }
        Self { files, digest: sum.finalize().into() }
    }
}

fn digest(sum: &mut Sha256, bytes: &[u8]) {
    sum.update(bytes.len().to_le_bytes());
    sum.update(bytes);
}

/// Reads a file piece by piece: a declaration of thousands of credentials is megabytes, once a minute.
fn read_into(sum: &mut Sha256, path: &Path) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    let mut piece = [0; 8_192];
    let mut length = 0;
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(length),
            count => {
                sum.update(&piece[..count]);
                length += count as u64;
            }
        }
    }
}

/// How the declaration is read again.
#[derive(Clone)]
pub(super) struct Reread {
    pub(super) config: PathBuf,
    pub(super) speed: Option<f64>,
    pub(super) output: Output,
}

/// What reading it again gave: an engine for it, or one line why it can't be in force.
pub(super) struct Read {
    pub(super) next: Result<Arc<Engine>, String>,
    /// What was read, so that the same is not read again and again.
    pub(super) trace: Option<Trace>,
}

impl Reread {
    /// Opens what is on disk now, next to `engine`.
    pub(super) async fn read(self, engine: Arc<Engine>) -> Read {
        let printer = Printer::new(self.output);
        let config = self.config.clone();
        // Many files may take a while, and the work goes on.
        let loaded = tokio::task::spawn_blocking(move || {
            let loaded = config::load(&config);
            let trace = Trace::of(match &loaded {
                Ok(loaded) => &loaded.warnings,
                Err(report) => report,
            });
            (loaded, trace)
        });
        let Ok((loaded, trace)) = loaded.await else {
            return Read { next: Err("reading it failed, which is a bug of keyferry".into()), trace: None };
        };
        let next = match loaded {
            Ok(loaded) => {
                printer.warnings(&loaded.warnings);
                self.open(engine, loaded.declaration).await
            }
            Err(report) => {
                printer.warnings(&report);
                Err(summary(&report))
            }
        };
        Read { next, trace: Some(trace) }
    }

    async fn open(self, engine: Arc<Engine>, declaration: config::Declaration) -> Result<Arc<Engine>, String> {
        let source = Source { config: self.config, speed: self.speed };
        crate::cli::clock(&source, &declaration).map_err(|error| error.to_string())?;
        let next = engine.reopen(Arc::new(declaration)).await;
        // What was open and is not any more is an edit that went wrong: the last good one stays.
        let (targets, vendors) = (&next.unopened().targets, &next.unopened().vendors);
        let target = targets.iter().find(|(name, _)| engine.stores().contains_key(*name)).map(|(_, fault)| fault);
        let vendor = vendors.iter().find(|(name, _)| engine.has_vendor(name)).map(|(_, fault)| fault);
        match target.or(vendor) {
            Some(fault) => Err(fault.to_string()),
            None => Ok(Arc::new(next)),
        }
    }
}

/// The first problem, and how many more there are.
pub(super) fn summary(report: &Report) -> String {
    let errors = || report.problems.iter().filter(|problem| problem.severity == Severity::Error);
    let Some(first) = errors().next() else { return "it has problems".into() };
    let path = report.sources.get(first.at.source).map_or("", |source| source.path());
    let place =
        report.line_column(&first.at).map_or(path.to_owned(), |(line, column)| format!("{path}:{line}:{column}"));
    match errors().count() + report.left_out - 1 {
        0 => format!("{place}: {}", first.message),
        more => format!("{place}: {} (and {more} more)", first.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_a_new_file_and_a_swapped_link_are_seen_and_a_touch_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
        for version in ["one", "two"] {
            std::fs::create_dir(at(version)).unwrap();
            write(&format!("{version}/keyferry.toml"), version);
        }
        std::os::unix::fs::symlink("one", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/keyferry.toml", at("keyferry.toml")).unwrap();
        write("more.toml", "1");
        let mut before = Trace::again(vec![at("keyferry.toml"), at("more.toml")]);
        let swap = || {
            std::os::unix::fs::symlink("two", at("next")).unwrap();
            std::fs::rename(at("next"), at("..data")).unwrap();
        };
        let rows: [(&str, &dyn Fn(), bool); 6] = [
            ("written again as it was", &|| write("more.toml", "1"), false),
            ("edited", &|| write("more.toml", "2"), true),
            ("a file that no declaration reads", &|| write("notes.txt", "x"), false),
            ("one more", &|| write("other.toml", "x"), true),
            ("the link was swapped", &swap, true),
            ("gone", &|| std::fs::remove_file(at("more.toml")).unwrap(), true),
        ];
        for (what, happens, seen) in rows {
            happens();
            let now = before.now();
            assert_eq!(now != before, seen, "{what}");
            before = now;
        }
    }
}
