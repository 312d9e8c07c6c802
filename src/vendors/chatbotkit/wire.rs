//! What ChatBotKit sends, as far as we read it. Unknown fields are ignored; what may be null may
//! also be missing (contract, section 2.3).

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::http::Sealed;
use crate::model::name::VendorId;
use crate::model::observed::Listed;
use crate::model::time::Timestamp;

/// Keys of our part of a record's meta.
pub(super) const META_MANAGER: &str = "managedBy";
pub(super) const META_ALIAS: &str = "keyferryAlias";
pub(super) const META_MARK: &str = "keyferryMark";
/// What stands under the first of them.
pub(super) const MANAGER: &str = "keyferry";

/// An error.
#[derive(Deserialize)]
pub(super) struct Error {
    #[serde(rename = "message")]
    _message: String,
    pub code: Option<String>,
}

/// Any list. An error object that comes with status 200 has no items.
#[derive(Deserialize)]
pub(super) struct Page {
    pub items: Vec<Value>,
    cursor: Option<String>,
}

impl Page {
    /// A page that holds something has a cursor, the last one, too.
    pub(super) fn is_whole(&self) -> bool {
        self.items.is_empty() || self.cursor.is_some()
    }
}

/// Answer of a create, an update, a delete.
#[derive(Deserialize)]
pub(super) struct Done {
    pub id: String,
}

/// Answer of a token's create: the only one that holds `token`.
#[derive(Deserialize)]
pub(super) struct Created {
    pub id: String,
    pub token: Sealed,
}

/// Answer of `verify`.
#[derive(Deserialize)]
pub(super) struct Verified {
    pub id: String,
    pub status: Status,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Authenticated,
    Unauthenticated,
}

/// An ability's link.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ability {
    pub linked_secret_id: Option<String>,
}

/// A blueprint.
#[derive(Deserialize)]
pub(super) struct Blueprint {
    pub id: String,
}

/// A secret as fetch and list show it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub id: String,
    pub alias: Option<String>,
    pub name: Option<String>,
    pub description: Option<String>,
    pub kind: String,
    #[serde(rename = "type")]
    pub usage: String,
    pub visibility: Option<String>,
    pub blueprint_id: Option<String>,
    pub config: Option<Map<String, Value>>,
    pub meta: Option<Map<String, Value>>,
    pub created_at: i64,
}

impl Record {
    fn meta(&self, key: &str) -> Option<&str> {
        self.meta.as_ref()?.get(key)?.as_str()
    }

    /// Whether keyferry made it.
    pub(super) fn is_managed(&self) -> bool {
        self.meta(META_MANAGER) == Some(MANAGER)
    }

    /// Our mark.
    pub(super) fn mark(&self) -> Option<&str> {
        self.meta(META_MARK)
    }

    /// The alias that it had when keyferry set it.
    pub(super) fn own_alias(&self) -> Option<&str> {
        self.meta(META_ALIAS)
    }

    /// As the rules see it.
    pub(super) fn listed(&self) -> Option<Listed> {
        Some(Listed {
            id: VendorId::new(&self.id).ok()?,
            mark: self.mark().map(Into::into),
            created: Timestamp::from_millis(self.created_at),
            last_used: None,
            fits: true,
        })
    }
}

/// A token in a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Token {
    id: String,
    name: Option<String>,
    meta: Option<Value>,
    created_at: i64,
}

impl Token {
    /// As the rules see it; our mark stands in `meta`, and in the name for people.
    pub(super) fn listed(self) -> Option<Listed> {
        let mark = self.meta.as_ref().and_then(|meta| meta.get(META_MARK)?.as_str()).map(str::to_owned);
        Some(Listed {
            id: VendorId::new(&self.id).ok()?,
            mark: mark.or(self.name),
            created: Timestamp::from_millis(self.created_at),
            last_used: None,
            fits: true,
        })
    }
}
