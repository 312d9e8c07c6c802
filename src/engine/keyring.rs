//! Where admin secrets come from. Read again at every ask: a replaced file, variable or secret is
//! picked up without a restart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::fault::{Class, Fault};
use crate::model::name::TargetName;
use crate::model::option::{Options, Reference};
use crate::model::secret::{Keyring, Read, SecretValue};
use crate::stores::aws::Store;

/// Longest admin secret, in bytes.
const SECRET_BYTES_MAX: u64 = 65_536;

/// The references of one vendor instance.
pub struct References {
    references: BTreeMap<&'static str, Reference>,
    stores: BTreeMap<TargetName, Store>,
}

impl References {
    /// The references among `options`.
    pub fn new(options: &Options, stores: &BTreeMap<TargetName, Store>) -> Self {
        let references = options.references().map(|(name, reference)| (name, reference.clone())).collect();
        Self { references, stores: stores.clone() }
    }

    async fn find(&self, option: &'static str) -> Result<SecretValue, Fault> {
        let Some(reference) = self.references.get(option) else {
            return Err(missing(option, "the declaration does not say where it is"));
        };
        match reference {
            // The sandbox's services know one administrator, whose id and secret are this word.
            Reference::Sandbox => Ok(SecretValue::new("sandbox")),
            Reference::Env(name) => match std::env::var(name) {
                Ok(value) if !value.is_empty() => Ok(SecretValue::new(value)),
                Ok(_) => Err(missing(option, &format!("environment variable `{name}` is empty"))),
                Err(_) => Err(missing(option, &format!("environment variable `{name}` is not set"))),
            },
            Reference::File(path) => read(option, path),
            Reference::SystemdCredential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(folder) => read(option, &PathBuf::from(folder).join(name)),
                None => Err(missing(option, "$CREDENTIALS_DIRECTORY is not set")
                    .with_hint(format!("start keyferry as a systemd service with `LoadCredential={name}:…`"))),
            },
            Reference::AwsSecret { target, name, key } => {
                let store = match target {
                    Some(target) => self.stores.get(target),
                    None => self.stores.values().next(),
                };
                let store = store.ok_or_else(|| missing(option, "its AWS target is not declared"))?;
                store.aws_current_of(name.as_str(), key.as_deref()).await
            }
        }
    }
}

impl Keyring for References {
    fn read<'a>(&'a self, option: &'static str) -> Read<'a> {
        Box::pin(self.find(option))
    }
}

fn read(option: &str, path: &Path) -> Result<SecretValue, Fault> {
    let shown = path.display();
    let length = std::fs::metadata(path).map_err(|error| missing(option, &format!("`{shown}`: {error}")))?.len();
    if length > SECRET_BYTES_MAX {
        return Err(missing(option, &format!("`{shown}` is longer than {SECRET_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| missing(option, &format!("`{shown}`: {error}")))?;
    let text = zeroize::Zeroizing::new(text);
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() { Err(missing(option, &format!("`{shown}` is empty"))) } else { Ok(SecretValue::new(value)) }
}

fn missing(option: &str, answer: &str) -> Fault {
    Fault::new(Class::Denied, format!("reading the admin secret `{option}`"), answer)
}
