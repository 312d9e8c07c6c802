//! Files that the SDK reads by itself must be readable at once: it reads them in the middle of
//! asynchronous code, at the start and again whenever credentials expire, and a pipe without a writer
//! would hold that thread for ever.

use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::connect::{Credentials, Target};
use crate::model::fault::{Class, Fault};

/// Variables that name such files.
const VARIABLES: [&str; 4] = [
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Refuses a target whose credentials would be read from a pipe or a socket.
///
/// # Errors
/// Names the variable and the file.
pub fn refuse_pipes(target: &Target) -> Result<(), Fault> {
    match target.credentials {
        Credentials::Sandbox => Ok(()),
        Credentials::Chain => {
            refuse(&format!("opening target `{}`", target.name), |variable| std::env::var_os(variable))
        }
    }
}

fn refuse(doing: &str, value: impl Fn(&str) -> Option<OsString>) -> Result<(), Fault> {
    for variable in VARIABLES {
        let Some(path) = value(variable) else { continue };
        let Ok(about) = std::fs::metadata(Path::new(&path)) else { continue };
        if about.file_type().is_fifo() || about.file_type().is_socket() {
            let answer = format!("{variable} names `{}`, which is a pipe or a socket", path.display());
            return Err(Fault::new(Class::Rejected, doing, answer).with_hint(format!(
                "let {variable} name an ordinary file: the AWS SDK would wait for this one for ever"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_refused_and_named_and_anything_else_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, file) = (folder.path().join("pipe"), folder.path().join("file"));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        std::fs::write(&file, "").unwrap();
        let missing = folder.path().join("missing");
        for variable in VARIABLES {
            for (path, refused) in [(&pipe, true), (&file, false), (&missing, false), (&"/dev/null".into(), false)] {
                let found = refuse("a test", |asked| (asked == variable).then(|| path.clone().into_os_string()));
                assert_eq!(found.is_err(), refused, "{variable} {}", path.display());
                if let Err(fault) = found {
                    assert!(fault.answer.contains(variable) && fault.answer.contains("pipe"), "{fault}");
                }
            }
        }
    }
}
