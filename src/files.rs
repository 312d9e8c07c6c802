//! Edge: whether a file may be trusted. One rule for the declaration, what it includes, admin secrets and
//! CA certificates: whoever can write them decides what is rotated, with which rights, and where it goes.
//!
//! | what | must |
//! |---|---|
//! | owner | be root or the user that keyferry runs as |
//! | the file, and each folder above it, by every name that leads to it | not be writable by everybody, unless the folder is sticky |
//! | on a file system that is mounted read-only | nothing |
//!
//! That its group may write a file is only mentioned: a group is often the owner's own (umask 0002).

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::model::printable::printable;

/// Why a file should not be trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Doubt {
    /// The file, or the folder above it.
    pub path: PathBuf,
    /// What is wrong.
    pub what: What,
}

/// What is wrong with a file or folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Everybody may write it.
    WritableByAll {
        /// Its mode.
        mode: u32,
    },
    /// Its group may write it.
    WritableByGroup {
        /// Its mode.
        mode: u32,
    },
    /// Another user owns it.
    Owner {
        /// Whose it is.
        uid: u32,
        /// Whose it may be, besides root's.
        own: u32,
    },
    /// Everybody may read it, and it holds a secret.
    ReadableByAll {
        /// Its mode.
        mode: u32,
    },
}

impl Doubt {
    /// Whether the file must not be used.
    pub fn forbids(&self) -> bool {
        match self.what {
            What::WritableByAll { .. } | What::Owner { .. } => true,
            What::WritableByGroup { .. } | What::ReadableByAll { .. } => false,
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        let path = printable(&self.path.to_string_lossy()).into_owned();
        match self.what {
            What::WritableByAll { .. } => format!("chmod go-w '{path}'"),
            What::WritableByGroup { .. } => format!("chmod g-w '{path}'"),
            What::Owner { own: 0, .. } => format!("chown root '{path}'"),
            What::Owner { own, .. } => format!("chown {own} '{path}', or chown root '{path}' and let keyferry read it"),
            What::ReadableByAll { .. } => format!("chmod o-r '{path}'"),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.to_string_lossy();
        let path = printable(&path);
        match self.what {
            What::WritableByAll { mode } => write!(out, "everybody may write `{path}` (mode {:04o})", mode & 0o7777),
            What::WritableByGroup { mode } => write!(out, "its group may write `{path}` (mode {:04o})", mode & 0o7777),
            What::Owner { uid, own: 0 } => write!(out, "`{path}` belongs to user {uid}, and keyferry runs as root"),
            What::Owner { uid, own } => {
                write!(out, "`{path}` belongs to user {uid}, neither to root nor to keyferry's user {own}")
            }
            What::ReadableByAll { mode } => {
                write!(out, "everybody may read the secret in `{path}` (mode {:04o})", mode & 0o7777)
            }
        }
    }
}

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Anybody may know it.
    Public,
    /// Nobody else should.
    Secret,
}

/// Looks at a file and the folders above it, without opening it; gives all that speaks against it.
///
/// # Errors
/// When one of them can't be looked at.
pub fn doubts(path: &Path, content: Content) -> io::Result<Vec<Doubt>> {
    let file = Seen::of(path)?;
    let own = rustix::process::geteuid().as_raw();
    let whats = judge(file, own).into_iter().chain(judge_content(file, content));
    let mut doubts: Vec<Doubt> = whats.map(|what| Doubt { path: path.to_owned(), what }).collect();
    for folder in folders(path)? {
        let Ok(seen) = Seen::of(&folder) else { continue };
        doubts.extend(judge_folder(seen).map(|what| Doubt { path: folder, what }));
    }
    Ok(doubts)
}

/// Reads a small regular file that may be trusted. Looked at before it is opened: opening a pipe would wait
/// for a writer.
///
/// # Errors
/// Says why not, with the file's name.
pub fn read_trusted(path: &Path, content: Content, byte_count_max: u64) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let shown = printable(&path.to_string_lossy()).into_owned();
    let failed = |error: io::Error| {
        let answer = match error.kind() {
            io::ErrorKind::NotFound => format!("there is no file `{shown}`"),
            io::ErrorKind::PermissionDenied => format!("no permission to read `{shown}`"),
            _ => format!("can't read `{shown}`: {error}"),
        };
        Refused { answer, remedy: None }
    };
    let refused = |answer: String| Refused { answer, remedy: None };
    let about = fs::metadata(path).map_err(failed)?;
    if !about.is_file() {
        return Err(refused(format!("`{shown}` is not a regular file")));
    }
    if let Some(doubt) = doubts(path, content).map_err(failed)?.iter().find(|doubt| doubt.forbids()) {
        return Err(Refused { answer: doubt.to_string(), remedy: Some(doubt.remedy()) });
    }
    let too_long = || refused(format!("`{shown}` is longer than {byte_count_max} bytes"));
    if about.len() > byte_count_max {
        return Err(too_long());
    }
    // With room for all of it: a buffer that grows leaves copies of a secret behind.
    let room = usize::try_from(about.len()).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    fs::File::open(path).map_err(failed)?.take(byte_count_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > byte_count_max { Err(too_long()) } else { Ok(bytes) }
}

/// Why a file was not read, and what to do where that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// What is wrong.
    pub answer: String,
    /// What to do.
    pub remedy: Option<String>,
}

/// Mode and owner of a file or folder, and whether it lies where nobody can write.
#[derive(Clone, Copy)]
struct Seen {
    mode: u32,
    uid: u32,
    is_read_only: bool,
}

impl Seen {
    fn of(path: &Path) -> io::Result<Self> {
        let about = fs::metadata(path)?;
        let mounted = rustix::fs::statvfs(path)?.f_flag;
        let is_read_only = mounted.contains(rustix::fs::StatVfsMountFlags::RDONLY);
        Ok(Self { mode: about.mode(), uid: about.uid(), is_read_only })
    }
}

fn judge(file: Seen, own: u32) -> Option<What> {
    match file {
        Seen { is_read_only: true, .. } => None,
        Seen { uid, .. } if uid != 0 && uid != own => Some(What::Owner { uid, own }),
        Seen { mode, .. } if mode & 0o002 != 0 => Some(What::WritableByAll { mode }),
        Seen { mode, .. } if mode & 0o020 != 0 => Some(What::WritableByGroup { mode }),
        Seen { .. } => None,
    }
}

/// Nobody needs to write a file to read the secret in it.
fn judge_content(Seen { mode, .. }: Seen, content: Content) -> Option<What> {
    (content == Content::Secret && mode & 0o004 != 0).then_some(What::ReadableByAll { mode })
}

/// In a sticky folder nobody can replace another one's file.
fn judge_folder(Seen { mode, is_read_only, .. }: Seen) -> Option<What> {
    (!is_read_only && mode & 0o002 != 0 && mode & 0o1000 == 0).then_some(What::WritableByAll { mode })
}

/// Every folder above a file, by the name that was given and by its own.
fn folders(path: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let given = std::path::absolute(path)?;
    let itself = fs::canonicalize(path)?;
    let above = |path: &Path| path.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>();
    Ok(above(&given).into_iter().chain(above(&itself)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_write_and_whose_it_is_decides() {
        let own = 1_000;
        for (mode, uid, expected) in [
            (0o100_600, own, ""),
            (0o100_444, 0, ""),
            (0o100_644, 0, ""),
            (0o100_660, own, "group"),
            (0o100_666, own, "all"),
            (0o100_602, 0, "all"),
            (0o100_600, 1_001, "owner"),
            (0o100_644, 65_534, "owner"),
        ] {
            let word = |is_read_only| match judge(Seen { mode, uid, is_read_only }, own) {
                None => "",
                Some(What::WritableByAll { .. }) => "all",
                Some(What::WritableByGroup { .. }) => "group",
                Some(What::Owner { .. }) => "owner",
                Some(What::ReadableByAll { .. }) => "readable",
            };
            assert_eq!(word(false), expected, "{mode:o} of {uid}");
            assert_eq!(word(true), "", "{mode:o} of {uid}, where nobody can write");
        }
        let users = Seen { mode: 0o100_600, uid: 1_000, is_read_only: false };
        assert!(judge(users, 0).is_some(), "root does not trust its users' files");
        for (mode, fine) in [(0o40_755, true), (0o40_775, true), (0o41_777, true), (0o40_777, false), (0o40_703, false)]
        {
            let folder = |is_read_only| judge_folder(Seen { mode, uid: 5, is_read_only });
            assert_eq!(folder(false).is_none(), fine, "{mode:o}");
            assert!(folder(true).is_none(), "{mode:o}");
        }
        let sealed = |mode| Seen { mode, uid: 0, is_read_only: true };
        assert!(judge_content(sealed(0o100_644), Content::Secret).is_some(), "a read-only file can still be read");
        assert!(judge_content(sealed(0o100_640), Content::Secret).is_none());
        assert!(judge_content(sealed(0o100_644), Content::Public).is_none());
    }
}
