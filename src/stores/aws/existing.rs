//! Secrets by the beginning of their names, whoever made them: what a draft of a declaration is made
//! from. Names, tags and dates only.

use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType};

use super::Store;
use super::call::Call;
use super::observe::{summary, tags};
use crate::model::fault::Fault;
use crate::model::name::SecretName;
use crate::model::observed::Summary;
use crate::model::time::Timestamp;

/// One secret that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Existing {
    /// One that a declaration could name.
    Named {
        /// What a listing shows of it.
        summary: Summary,
        /// When it was made.
        created: Option<Timestamp>,
        /// Its KMS key; `None` for the account's default key.
        kms_key_id: Option<String>,
    },
    /// One whose name no declaration can have, as AWS's own services make them.
    Strange {
        /// Its name.
        name: String,
    },
}

impl Store {
    /// Every secret whose name begins with `prefix`, those scheduled for deletion too, in the order of
    /// their names; up to five minutes old.
    ///
    /// # Errors
    /// Any incomplete listing is a fault, never a short list.
    pub async fn existing(&self, prefix: &str) -> Result<Vec<Existing>, Fault> {
        let call = Call::read("secretsmanager:ListSecrets", format!("list the secrets that begin with {prefix}"));
        let filter = Filter::builder().key(FilterNameStringType::Name).values(prefix).build();
        let mut found: Vec<(String, Existing)> = Vec::new();
        self.list(&call, vec![filter], |entry, seen| {
            let Some(text) = entry.name().filter(|name| name.starts_with(prefix)).map(str::to_owned) else {
                return Ok(());
            };
            let one = match SecretName::new(&text) {
                Err(_) => Existing::Strange { name: text.clone() },
                Ok(name) => Existing::Named {
                    summary: summary(name, &entry, tags(entry.tags()))
                        .ok_or_else(|| call.strange(seen, "a secret without ARN or date"))?,
                    created: super::observe::timestamp(entry.created_date()),
                    kms_key_id: entry.kms_key_id().map(Into::into),
                },
            };
            found.push((text, one));
            Ok(())
        })
        .await?;
        // A page border can move under a walk and show a secret twice.
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found.dedup_by(|one, other| one.0 == other.0);
        Ok(found.into_iter().map(|(_, one)| one).collect())
    }
}
