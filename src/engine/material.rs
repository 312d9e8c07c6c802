//! The files that a target is opened with - CA certificates, AWS profiles and keys - as they were then.
//! The SDK reads them once. Where they changed, a reload opens the target anew.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::stores::aws::{Credentials, Target};

/// Largest file that is looked at; profiles and certificates are much smaller.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A digest of a target's files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Material([u8; 32]);

impl Material {
    /// Of the files as they are now. Reads them, so not in asynchronous code.
    pub(super) fn of(target: &Target) -> Self {
        Self::with(target, |variable| std::env::var_os(variable))
    }

    fn with(target: &Target, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut sum = Sha256::new();
        for file in files(target, variable) {
            let text = contents(&file);
            sum.update((text.len() as u64).to_le_bytes());
            sum.update(text);
        }
        Self(sum.finalize().into())
    }
}

fn files(target: &Target, variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = target.ca_file.iter().cloned().collect();
    match target.credentials {
        Credentials::Sandbox => {}
        Credentials::Chain => {
            let home = variable("HOME").map(PathBuf::from);
            for (name, usual) in [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")] {
                let in_home = || home.as_ref().map(|home| home.join(".aws").join(usual));
                files.extend(variable(name).map(PathBuf::from).or_else(in_home));
            }
        }
    }
    files
}

/// Nothing for what is no ordinary file: reading a pipe may never end.
fn contents(file: &Path) -> zeroize::Zeroizing<Vec<u8>> {
    let ordinary = fs::metadata(file).is_ok_and(|about| about.is_file() && about.len() <= FILE_BYTES_MAX);
    zeroize::Zeroizing::new(if ordinary { fs::read(file).unwrap_or_default() } else { Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn new_keys_and_new_certificates_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join(".aws");
        fs::create_dir(&home).unwrap();
        let ca = folder.path().join("ca.pem");
        let text = format!(
            "deployment = \"test\"\n[aws]\nregion = \"us-east-1\"\nca_file = {:?}\n[vendors.k]\nkind = \"keycard\"\n\
             zone = \"z\"\nclient_id = {{ env = \"A\" }}\nclient_secret = {{ env = \"B\" }}\n[[credential]]\n\
             name = \"app\"\nvendor = \"k\"\ntype = \"password\"\napplication = \"app\"\nrotate = \"30d\"\n\
             overlap = \"24h\"\n",
            ca.display().to_string()
        );
        let loaded =
            config::load_text(&[("x.toml", &text)]).unwrap_or_else(|report| panic!("{}", report.render(false)));
        let target = loaded.declaration.targets.values().next().unwrap().clone();
        let now = || Material::with(&target, |name| (name == "HOME").then(|| folder.path().as_os_str().to_owned()));
        let mut before = now();
        for (file, text, seen) in [
            (ca.clone(), "a certificate", true),
            (home.join("credentials"), "[default]", true),
            (home.join("credentials"), "[default]", false),
            (home.join("credentials"), "[default]\naws_access_key_id = other", true),
            (home.join("config"), "[default]\nregion = x", true),
            (folder.path().join("other"), "x", false),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(now() != before, seen, "{} {text}", file.display());
            before = now();
        }
    }
}
