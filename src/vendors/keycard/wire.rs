//! What Keycard's management API and its token endpoints send, as far as we read it. Unknown
//! fields are ignored; of a list's entries each is read on its own, so that one strange entry can
//! be told from a broken answer.

use serde::Deserialize;
use serde_json::Value;

use super::super::http::{Answer, Sealed};
use super::types::Content;
use crate::model::name::VendorId;
use crate::model::observed::Listed;
use crate::model::time::Timestamp;

/// Answer of `POST /service-account-token`.
#[derive(Deserialize)]
pub(super) struct Token {
    pub access_token: Sealed,
    pub expires_in: Option<f64>,
}

/// Success of a token endpoint, for a proof: that there is a token matters, the token must not be
/// kept (for some resources it is a third party's secret).
#[derive(Deserialize)]
pub(super) struct Granted {
    access_token: Sealed,
}

impl Granted {
    pub(super) fn is_granted(&self) -> bool {
        !self.access_token.0.is_empty()
    }
}

/// An error of the management API.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "message")]
    _message: String,
}

/// Whether an answer is the vendor's own refusal, and not a page of something in front of it.
pub(super) fn is_refusal(answer: &Answer) -> bool {
    answer.json::<Refusal>().is_some()
}

/// Any list.
#[derive(Deserialize)]
pub(super) struct Page {
    pub items: Vec<Value>,
    page_info: Option<PageInfo>,
    pagination: Option<Pagination>,
}

#[derive(Deserialize)]
struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Pagination {
    after_cursor: Option<String>,
}

/// What a page says about the one after it.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// This was the last.
    End,
    /// Goes on after this cursor.
    After(String),
    /// It says that there are more but not where, or says nothing at all.
    Unclear,
}

impl Page {
    /// Keycard answers in two shapes, by a switch of the tenant: with a `pagination` object, or
    /// with `page_info` alone.
    pub(super) fn next(&self) -> Next {
        let after = self.pagination.as_ref().and_then(|pagination| pagination.after_cursor.clone());
        let more = self.page_info.as_ref().filter(|info| info.has_next_page);
        match (after, more) {
            (Some(cursor), _) if !cursor.is_empty() => Next::After(cursor),
            (_, Some(info)) => match &info.end_cursor {
                Some(cursor) if !cursor.is_empty() => Next::After(cursor.clone()),
                Some(_) | None => Next::Unclear,
            },
            // Every documented shape has it; without it, nothing says that this is the last page.
            (_, None) if self.page_info.is_none() => Next::Unclear,
            (_, None) => Next::End,
        }
    }
}

/// A zone or an application in a list: enough to find it by slug or id.
#[derive(Deserialize)]
pub(super) struct Named {
    pub id: String,
    pub slug: String,
}

/// One zone.
#[derive(Deserialize)]
pub(super) struct Zone {
    pub id: String,
    pub protocols: Protocols,
}

#[derive(Deserialize)]
pub(super) struct Protocols {
    pub oauth2: OAuth2,
}

#[derive(Deserialize)]
pub(super) struct OAuth2 {
    pub issuer: String,
    pub token_endpoint: String,
}

/// One application credential of any type. There is no secret in it.
#[derive(Deserialize)]
pub(super) struct Credential {
    pub id: String,
    pub application_id: String,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub identifier: Option<String>,
    pub provider_id: Option<String>,
    pub jwks_uri: Option<String>,
    created_at: String,
}

/// Reads an entry of a credential list: `Ok(None)` for another application's, whatever else is in
/// it; `Err` for one that may be ours and can't be read.
pub(super) fn listed(entry: &Value, application_id: &str, content: Option<&Content>) -> Result<Option<Listed>, ()> {
    let owner = entry.get("application_id").and_then(Value::as_str);
    if owner.is_some_and(|owner| owner != application_id) {
        return Ok(None);
    }
    let credential = Credential::deserialize(entry).map_err(drop)?;
    debug_assert_eq!(credential.application_id, application_id, "others were left out above");
    Ok(Some(Listed {
        id: VendorId::new(&credential.id).map_err(drop)?,
        created: Timestamp::parse_rfc3339(&credential.created_at).ok_or(())?,
        last_used: None,
        fits: content.is_some_and(|content| content.differs(&credential).is_none()),
        mark: credential.identifier,
    }))
}

/// An entry of a credential list, if it has this identifier.
pub(super) fn identified(entry: &Value, identifier: &str) -> Option<Credential> {
    Credential::deserialize(entry).ok().filter(|one| one.identifier.as_deref() == Some(identifier))
}

/// Answer of a create: the only one that holds a `password`, where the type has one.
#[derive(Deserialize)]
pub(super) struct Created {
    pub id: String,
    pub identifier: String,
    pub password: Option<Sealed>,
    pub application_id: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_paging_shapes_are_followed_and_a_lack_of_both_is_not_an_end() {
        let after = |cursor: &str| Next::After(cursor.into());
        let info =
            |more: bool, end: Value| json!({"has_next_page": more, "has_previous_page": false, "end_cursor": end});
        for (rest, next) in [
            (json!({"page_info": info(false, json!(null))}), Next::End),
            (json!({"page_info": info(false, json!("e"))}), Next::End),
            (json!({"page_info": info(true, json!("e"))}), after("e")),
            (json!({"page_info": info(true, json!("e")), "pagination": null}), after("e")),
            (json!({"page_info": info(false, json!(null)), "pagination": {"after_cursor": "a"}}), after("a")),
            (json!({"page_info": info(true, json!("e")), "pagination": {"after_cursor": "a"}}), after("a")),
            (json!({"page_info": info(false, json!("e")), "pagination": {"after_cursor": null}}), Next::End),
            (json!({"pagination": {}}), Next::Unclear),
            (json!({"pagination": {"after_cursor": null}}), Next::Unclear),
            (json!({"pagination": {"after_cursor": "a"}}), after("a")),
            (json!({"page_info": info(true, json!(null))}), Next::Unclear),
            (json!({"page_info": info(true, json!(""))}), Next::Unclear),
            (json!({}), Next::Unclear),
        ] {
            let mut page = rest.clone();
            page["items"] = json!([]);
            assert_eq!(Page::deserialize(page).unwrap().next(), next, "{rest}");
        }
        assert!(Page::deserialize(json!({"items": {}, "page_info": info(false, json!(null))})).is_err());
    }

    #[test]
    fn an_entry_is_ours_anothers_or_unreadable() {
        let entry = |id: &str, owner: &str, created: &str| {
            let fields = json!({"id": id, "application_id": owner, "identifier": "m", "created_at": created});
            listed(&fields, "app", None).map(|listed| listed.map(|listed| listed.id.to_string()))
        };
        let date = "2026-11-21T07:00:00Z";
        assert_eq!(entry("x/../y", "app", date), Ok(Some("x/../y".into())));
        assert_eq!(entry("\r\n", "other", "never"), Ok(None));
        assert_eq!(entry("a\r\nb", "app", date), Err(()));
        assert_eq!(entry("", "app", date), Err(()));
        assert_eq!(entry("x", "app", "yesterday"), Err(()));
        for strange in [json!(null), json!([]), json!({"id": "x"}), json!({"application_id": "app"}), json!("x")] {
            assert!(listed(&strange, "app", None).is_err(), "{strange}");
        }
    }
}
