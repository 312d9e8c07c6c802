//! Where admin secrets come from. Read again at every ask: a replaced file, variable or secret is
//! picked up without a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::env::VarError;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::files::{self, Content, Refused};
use crate::model::fault::{Class, Fault};
use crate::model::name::{TargetName, VendorName};
use crate::model::option::{Options, Reference};
use crate::model::secret::{Keyring, Read, SecretValue};
use crate::stores::aws::Store;

/// Longest wait for a file.
const READ_MAX: Duration = Duration::from_secs(5);
/// Longest admin secret, in bytes.
const SECRET_BYTES_MAX: u64 = 65_536;

/// The references of one vendor instance.
pub struct References {
    vendor: VendorName,
    references: BTreeMap<&'static str, Reference>,
    stores: BTreeMap<TargetName, Store>,
}

impl References {
    /// The references among `options` of the vendor of this name.
    pub fn new(vendor: &VendorName, options: &Options, stores: &BTreeMap<TargetName, Store>) -> Self {
        let references = options.references().map(|(name, reference)| (name, reference.clone())).collect();
        Self { vendor: vendor.clone(), references, stores: stores.clone() }
    }

    async fn find(&self, option: &'static str) -> Result<SecretValue, Fault> {
        let doing = format!("reading the admin secret `{option}` of [vendors.{}]", self.vendor);
        match self.references.get(option) {
            Some(reference) => refer(reference, &self.stores, option, &doing).await,
            None => Err(Fault::new(Class::Denied, doing, "the declaration does not say where it is")),
        }
    }
}

/// Reads what `option` refers to, without the line end that editors and shells put after it, whatever it is
/// read from; `doing` opens every fault.
pub(super) async fn refer(
    reference: &Reference,
    stores: &BTreeMap<TargetName, Store>,
    option: &str,
    doing: &str,
) -> Result<SecretValue, Fault> {
    let value = raw(reference, stores, option, doing).await?.without_line_end();
    if !value.is_empty() {
        return Ok(value);
    }
    let what = match reference {
        Reference::Env(name) => format!("environment variable `{name}` is empty"),
        Reference::File(path) => format!("`{}` is empty", path.display()),
        Reference::SystemdCredential(name) => format!("systemd credential `{name}` is empty"),
        Reference::AwsSecret { name, key: Some(key), .. } => format!("member `{key}` of AWS secret {name} is empty"),
        Reference::AwsSecret { name, key: None, .. } => format!("AWS secret {name} is empty"),
        Reference::Sandbox => "it is empty".to_owned(),
    };
    let hint = format!("put the secret there, or declare another place for `{option}`");
    Err(Fault::new(Class::Denied, doing, what).with_hint(hint))
}

async fn raw(
    reference: &Reference,
    stores: &BTreeMap<TargetName, Store>,
    option: &str,
    doing: &str,
) -> Result<SecretValue, Fault> {
    let missing = |answer: String, hint: String| Fault::new(Class::Denied, doing, answer).with_hint(hint);
    match reference {
        // The sandbox's services know one administrator, whose id and secret are this word.
        Reference::Sandbox => Ok(SecretValue::new("sandbox")),
        Reference::Env(name) => {
            let hint = format!("set {name} where keyferry starts, or declare `{option}` as a file or an AWS secret");
            match std::env::var(name) {
                Ok(value) => Ok(SecretValue::new(value)),
                Err(VarError::NotPresent) => Err(missing(format!("environment variable `{name}` is not set"), hint)),
                Err(VarError::NotUnicode(_)) => {
                    Err(missing(format!("environment variable `{name}` is not UTF-8"), hint))
                }
            }
        }
        Reference::File(path) => read(path).await.map_err(|Refused { answer, remedy }| {
            let standard = || format!("put the secret there, readable for keyferry's user, or correct `{option}`");
            missing(answer, remedy.unwrap_or_else(standard))
        }),
        Reference::SystemdCredential(name) => {
            let hint = format!("start keyferry as a systemd service with `LoadCredential={name}:/path/of/the/secret`");
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
                .ok_or_else(|| missing("$CREDENTIALS_DIRECTORY is not set".into(), hint.clone()))?;
            read(&PathBuf::from(folder).join(name))
                .await
                .map_err(|Refused { answer, remedy }| missing(answer, remedy.unwrap_or(hint)))
        }
        Reference::AwsSecret { target, name, key } => {
            let store = match target {
                Some(target) => stores.get(target),
                None => stores.values().next(),
            };
            let undeclared = || Fault::new(Class::Denied, doing, "its AWS target is not declared");
            let store = store.ok_or_else(undeclared)?;
            store.aws_current_of(name.as_str(), key.as_deref()).await.map_err(|fault| passed_on(doing, fault))
        }
    }
}

/// What AWS said of a secret that a call needs first, as a fault of that call. That it is not there
/// must not look like a credential that is not there, nor like a call in doubt.
fn passed_on(doing: &str, fault: Fault) -> Fault {
    let class = match fault.class {
        Class::Retry { after } => Class::Retry { after },
        Class::InDoubt => Class::Retry { after: None },
        Class::Denied | Class::Rejected | Class::Gone | Class::Taken => Class::Denied,
        Class::Bug => Class::Bug,
    };
    let hint = fault.hint.clone().or_else(|| {
        (fault.class == Class::Gone)
            .then(|| "create it, or correct its name, key or target in the declaration".to_owned())
    });
    Fault { class, doing: doing.into(), answer: format!("{}: {}", fault.doing, fault.answer), hint, ..fault }
}

impl Keyring for References {
    fn read<'a>(&'a self, option: &'static str) -> Read<'a> {
        Box::pin(self.find(option))
    }
}

/// Reads a small file, waiting for it no longer than a bound.
async fn read(path: &Path) -> Result<SecretValue, Refused> {
    read_within(READ_MAX, path, read_now).await
}

/// Reads in a thread of its own: a mount that hangs must not hold a thread that others need, nor the
/// end of the process. While a read of a file hangs, that file is not read again.
async fn read_within(
    most: Duration,
    path: &Path,
    work: impl FnOnce(&Path) -> Result<SecretValue, Refused> + Send + 'static,
) -> Result<SecretValue, Refused> {
    static HANGING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let hanging = || HANGING.lock().unwrap_or_else(PoisonError::into_inner);
    let refused = |answer: String| Err(Refused { answer, remedy: None });
    let shown = path.display();
    if hanging().contains(path) {
        return refused(format!("an earlier read of `{shown}` still hangs"));
    }
    let (owned, (answer, answered)) = (path.to_owned(), tokio::sync::oneshot::channel());
    let thread = std::thread::Builder::new().name("keyferry-file".into()).spawn(move || {
        let read = work(&owned);
        // Sent first: whoever notes it as hanging looks once more for the answer after that.
        let _ = answer.send(read);
        HANGING.lock().unwrap_or_else(PoisonError::into_inner).remove(&owned);
    });
    if let Err(error) = thread {
        return refused(format!("no thread could be started to read `{shown}`: {}", error.kind()));
    }
    let mut answered = answered;
    match tokio::time::timeout(most, &mut answered).await {
        Ok(read) => read.unwrap_or_else(|_| refused(format!("the read of `{shown}` ended without a result"))),
        Err(_) => {
            hanging().insert(path.to_owned());
            match answered.try_recv() {
                // It ended just now, perhaps before it was noted as hanging.
                Ok(read) => {
                    hanging().remove(path);
                    read
                }
                Err(_) => refused(format!("`{shown}` could not be read within {} s", most.as_secs())),
            }
        }
    }
}

/// The text of a file that may be trusted.
fn read_now(path: &Path) -> Result<SecretValue, Refused> {
    let bytes = files::read_trusted(path, Content::Secret, SECRET_BYTES_MAX)?;
    let shown = path.display();
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| Refused { answer: format!("`{shown}` is not UTF-8 text"), remedy: None })?;
    Ok(SecretValue::new(text))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_read_that_hangs_has_a_bound_and_is_not_begun_twice() {
        let (let_go, held) = mpsc::channel::<()>();
        let path = Path::new("/mnt/hung/secret");
        let hung = read_within(Duration::from_millis(20), path, move |_| {
            let _ = held.recv();
            Ok(SecretValue::new("late"))
        });
        assert!(hung.await.err().unwrap().answer.contains("could not be read within"));
        let again = read_within(Duration::from_secs(5), path, |_| unreachable!("it hangs")).await;
        assert_eq!(again.err().unwrap().answer, "an earlier read of `/mnt/hung/secret` still hangs");
        let other = read_within(Duration::from_secs(5), Path::new("/etc/other"), |_| Ok(SecretValue::new("x"))).await;
        assert!(other.is_ok(), "another file is read meanwhile");
        drop(let_go);
        while read_within(Duration::from_secs(5), path, |_| Ok(SecretValue::new("y"))).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
