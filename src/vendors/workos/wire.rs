//! What the WorkOS API and an AuthKit domain send, as far as we read it. Unknown fields are ignored.

use serde::Deserialize;
use serde_json::Value;

use super::super::http::{Answer, Sealed};
use crate::model::name::VendorId;
use crate::model::observed::Listed;
use crate::model::time::Timestamp;

/// Answer of a create: the only one that holds `secret`.
#[derive(Deserialize)]
pub(super) struct Created {
    pub id: String,
    pub secret: Option<Sealed>,
}

#[derive(Deserialize)]
struct Secret {
    object: Option<String>,
    id: String,
    created_at: String,
    // Documented as always there, and as optional, on two pages.
    last_used_at: Option<String>,
}

/// Reads an entry of a list of client secrets.
pub(super) fn listed(entry: &Value) -> Result<Listed, ()> {
    let secret = Secret::deserialize(entry).map_err(drop)?;
    if secret.object.is_some_and(|object| object != "connect_application_secret") {
        return Err(());
    }
    let date = |text: &str| Timestamp::parse_rfc3339(text).ok_or(());
    Ok(Listed {
        id: VendorId::new(&secret.id).map_err(drop)?,
        mark: None,
        created: date(&secret.created_at)?,
        last_used: secret.last_used_at.as_deref().map(date).transpose()?,
        fits: true,
    })
}

/// An error: all documented shapes have a message, in one it is several, and one names what it is
/// about.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "message")]
    _message: Sentences,
    entity_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Sentences {
    One(#[expect(dead_code, reason = "that it is there matters, not what it says")] String),
    Several(#[expect(dead_code, reason = "that they are there matters, not what they say")] Vec<String>),
}

/// Whether an answer is an error of the vendor, and not a page of something in front of it.
pub(super) fn is_refusal(answer: &Answer) -> bool {
    answer.json::<Refusal>().is_some()
}

/// Whether an answer with status 404 is the vendor's own word about this id, and not a page of
/// something in front of it nor about something else.
pub(super) fn is_absence(answer: &Answer, id: &VendorId) -> bool {
    let refusal: Option<Refusal> = answer.json();
    refusal.is_some_and(|refusal| refusal.entity_id.is_none_or(|about| about == id.as_str()))
}

/// An application, alone or in a list.
#[derive(Deserialize)]
pub(super) struct Application {
    pub id: String,
    pub client_id: String,
    pub name: String,
    pub application_type: Option<String>,
    pub organization_id: Option<String>,
    #[serde(default)]
    pub uses_pkce: bool,
}

/// One page of applications. Both are always there, `after` being `null` at the end.
#[derive(Deserialize)]
pub(super) struct Page {
    pub data: Vec<Value>,
    pub list_metadata: Metadata,
}

#[derive(Deserialize)]
pub(super) struct Metadata {
    pub after: Value,
}

/// `/.well-known/openid-configuration`.
#[derive(Deserialize)]
pub(super) struct Discovery {
    pub issuer: String,
    pub token_endpoint: String,
    pub introspection_endpoint: Option<String>,
}

/// Success of the token endpoint: that there is a token matters, it must not be kept.
#[derive(Deserialize)]
pub(super) struct Granted {
    access_token: Sealed,
}

impl Granted {
    pub(super) fn is_granted(&self) -> bool {
        !self.access_token.0.is_empty()
    }
}

/// Success of the introspection endpoint.
#[derive(Deserialize)]
pub(super) struct Introspected {
    #[serde(rename = "active")]
    pub _active: bool,
}

/// What an OAuth error says besides its code. Compared, never shown.
#[derive(Deserialize)]
pub(super) struct Denied {
    #[serde(default)]
    pub error_description: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_read_with_or_without_a_last_use_or_not_at_all() {
        let entry = |id: &str, created: &str, used: Value| {
            listed(&json!({"id": id, "created_at": created, "last_used_at": used, "more": 1}))
        };
        let date = "2026-11-20T10:00:00.000Z";
        assert!(entry("secret_1", date, Value::Null).is_ok_and(|one| one.last_used.is_none()));
        assert!(entry("a/../b", date, json!(date)).is_ok_and(|one| one.last_used == Some(one.created)));
        assert!(listed(&json!({"id": "x", "created_at": date})).is_ok_and(|one| one.last_used.is_none()));
        for (id, created, used) in [
            ("", date, Value::Null),
            ("a\r\nb", date, Value::Null),
            ("x", "yesterday", Value::Null),
            ("x", date, json!("yesterday")),
            ("x", date, json!(5)),
        ] {
            assert!(entry(id, created, used.clone()).is_err(), "{id:?} {created} {used}");
        }
        for strange in [json!(null), json!([]), json!({"id": "x"}), json!("x")] {
            assert!(listed(&strange).is_err(), "{strange}");
        }
    }
}
