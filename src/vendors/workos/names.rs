//! A declared application to both its ids: by its id or client id, or by a name that only one has.
//! What was found is kept for the life of the process; a 404 makes the driver forget it.

use std::collections::HashSet;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::super::http::{self, Effect, Request, lock};
use super::{Application, Spot, WorkOs, wire};
use crate::model::fault::{Class, Fault};

/// Entries asked for per page (the documented maximum), and most pages.
const PAGE_LIMIT: &str = "100";
const PAGE_COUNT_MAX: usize = 1000;
/// Ids that a message about an ambiguous name shows.
const IDS_SHOWN_MAX: usize = 3;

impl WorkOs {
    pub(super) async fn application(&self, spot: &Spot<'_>) -> Result<Application, Fault> {
        let key = key(spot);
        if let Some(application) = lock(&self.applications).get(&key) {
            return Ok(application.clone());
        }
        let doing = format!("resolving application `{}` at workos `{}`", spot.application, self.name);
        let found = match self.by_id(&doing, spot.application).await? {
            Some(found) => found,
            None => self.by_name(&doing, spot).await?,
        };
        if let Some(wanted) = spot.organization_id
            && found.organization_id.as_deref() != Some(wanted)
        {
            let answer = format!("it belongs to another organization than `{wanted}`");
            return Err(Fault::new(Class::Rejected, doing, answer)
                .with_hint("correct `application` or `organization_id`; nothing there was touched"));
        }
        if http::checked_id(&found.id).is_none() {
            return Err(Fault::new(Class::Rejected, doing, "its id is not one that can be used"));
        }
        if found.uses_pkce {
            tracing::warn!(vendor = %self.name, application = spot.application,
                "this application uses PKCE: if it is a public client, it has no use for a secret");
        }
        let machine = found.application_type.as_deref() == Some("m2m");
        let application = Application { id: found.id, client_id: found.client_id, machine };
        lock(&self.applications).insert(key, application.clone());
        Ok(application)
    }

    async fn by_id(&self, doing: &str, text: &str) -> Result<Option<wire::Application>, Fault> {
        // What can't be a path's segment can still be a name.
        let Ok(url) = self.base.at(&["connect", "applications", text]) else { return Ok(None) };
        let (request, answer) = self.call(Request::new(doing, Method::GET, url, Effect::Nothing)).await?;
        if matches!(answer.status(), 400 | 404 | 422) && wire::is_refusal(&answer) {
            return Ok(None);
        }
        let found: Option<wire::Application> = answer.proof(&[200]);
        let found = found.ok_or_else(|| self.fault(&request, &answer))?;
        Ok(Some(found).filter(|one| one.id == text || one.client_id == text))
    }

    /// The one application of this name. The service has no filter for it, so all are looked at.
    async fn by_name(&self, doing: &str, spot: &Spot<'_>) -> Result<wire::Application, Fault> {
        let list = self.url(doing, &["connect", "applications"])?;
        // The default order is about to change, and with it the sense of the cursors.
        let first = || {
            let request = Request::new(doing, Method::GET, list.clone(), Effect::Nothing);
            let request = request.query("limit", PAGE_LIMIT).query("order", "desc");
            match spot.organization_id {
                Some(id) => request.query("organization_id", id),
                None => request,
            }
        };
        let incomplete = |why: &str| Fault::new(Class::Retry { after: None }, doing, why);
        let mut found: Vec<wire::Application> = Vec::new();
        let mut cursors = HashSet::new();
        let mut request_next = first();
        for _ in 0..PAGE_COUNT_MAX {
            let (request, answer) = self.call(request_next).await?;
            let page: Option<wire::Page> = answer.proof(&[200]);
            let page = page.ok_or_else(|| self.fault(&request, &answer))?;
            // An entry that can't be read is not one that has this name in a way we know.
            let named = page.data.iter().filter_map(|entry| wire::Application::deserialize(entry).ok());
            for one in named.filter(|one| one.name == spot.application) {
                if found.iter().all(|known| known.id != one.id) {
                    found.push(one);
                }
            }
            match page.list_metadata.after {
                Value::Null => return self.only(doing, found),
                Value::String(cursor) if !cursor.is_empty() => {
                    request_next = first().query("after", &cursor);
                    if !cursors.insert(cursor) {
                        return Err(incomplete("the list goes round in circles: a cursor came twice"));
                    }
                }
                _ => return Err(incomplete("the list does not say where it goes on")),
            }
        }
        Err(incomplete(&format!("the list did not end after {PAGE_COUNT_MAX} pages")))
    }

    fn only(&self, doing: &str, mut found: Vec<wire::Application>) -> Result<wire::Application, Fault> {
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => {
                Err(Fault::new(Class::Gone, doing, "there is none with this id, client id or name").with_hint(format!(
                    "check the spelling, and that `api_key` of [vendors.{}] belongs to the same environment",
                    self.name
                )))
            }
            count => {
                let ids: Vec<String> =
                    found.iter().filter_map(|one| http::checked_id(&one.id)).take(IDS_SHOWN_MAX).collect();
                Err(Fault::new(Class::Rejected, doing, format!("ambiguous: {count} applications have this name"))
                    .with_hint(format!("declare it by its id: {}", ids.join(", "))))
            }
        }
    }

    pub(super) fn forget(&self, spot: &Spot<'_>) {
        lock(&self.applications).remove(&key(spot));
    }

    pub(super) fn forget_if_gone<T>(&self, spot: &Spot<'_>, outcome: Result<T, Fault>) -> Result<T, Fault> {
        if outcome.as_ref().is_err_and(|fault| fault.class == Class::Gone) {
            self.forget(spot);
        }
        outcome
    }
}

fn key(spot: &Spot<'_>) -> (String, String) {
    (spot.application.to_owned(), spot.organization_id.unwrap_or_default().to_owned())
}
