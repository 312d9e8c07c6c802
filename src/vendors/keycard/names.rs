//! Declared names to ids: a zone, an application and a provider by slug or id, and what a zone says about
//! itself. What was found is kept for the life of the process; a 404 from elsewhere makes the
//! driver forget it.

use std::collections::HashSet;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::super::http::{Effect, Endpoint, Request, lock};
use super::types::{Content, Wanted};
use super::{Keycard, Spot, Zone, wire};
use crate::model::fault::{Class, Fault};
use crate::model::name::Invalid;

/// What a zone holds that is declared by slug or id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Collection {
    Applications,
    Providers,
}

impl Keycard {
    pub(super) async fn zone(&self, spot: &Spot<'_>) -> Result<Zone, Fault> {
        if let Some(zone) = lock(&self.zones).get(spot.zone) {
            return Ok(zone.clone());
        }
        let doing = format!("resolving zone `{}` at keycard `{}`", spot.zone, self.name);
        let id = self.find(&doing, &["zones"], "slug", spot.zone).await?;
        let protocol = self.described(&doing, &id).await?.protocols.oauth2;
        let address = |what: &str, text: &str| {
            trusted(&self.base, text).map_err(|invalid| {
                let answer = format!("the zone's {what} is not accepted: expected {invalid}");
                Fault::new(Class::Rejected, &doing, answer)
            })
        };
        address("issuer", &protocol.issuer)?;
        let token_endpoint = address("token endpoint", &protocol.token_endpoint)?;
        let zone = Zone { id, issuer: protocol.issuer, token_endpoint };
        lock(&self.zones).insert(spot.zone.to_owned(), zone.clone());
        Ok(zone)
    }

    /// The zone of this id, as it stands now.
    pub(super) async fn described(&self, doing: &str, id: &str) -> Result<wire::Zone, Fault> {
        let url = self.url(doing, &["zones", id])?;
        let (request, answer) = self.call(Request::new(doing, Method::GET, url, Effect::Nothing)).await?;
        let found: Option<wire::Zone> = answer.proof(&[200]);
        found.filter(|zone| zone.id == id).ok_or_else(|| self.fault(&request, &answer))
    }

    pub(super) async fn application(&self, spot: &Spot<'_>, zone: &Zone) -> Result<String, Fault> {
        self.named(spot, zone, Collection::Applications, spot.application).await
    }

    /// What is declared, its provider resolved.
    pub(super) async fn content(&self, spot: &Spot<'_>, zone: &Zone) -> Result<Content, Fault> {
        let lacking = |what: &str| {
            let doing = format!("reading a credential's options {}", spot.at);
            Fault::new(Class::Rejected, doing, format!("no `{what}`"))
        };
        Ok(match spot.wanted {
            Wanted::Password { .. } => Content::Password,
            Wanted::Public => Content::Public,
            Wanted::PublicKey { jwks_uri } => {
                Content::PublicKey { jwks_uri: jwks_uri.ok_or_else(|| lacking("jwks_uri"))?.into() }
            }
            Wanted::Url { url } => Content::Url { url: url.ok_or_else(|| lacking("url"))?.into() },
            Wanted::Token { provider, subject } => {
                let provider = provider.ok_or_else(|| lacking("provider"))?;
                let provider_id = self.named(spot, zone, Collection::Providers, provider).await;
                // Not the place is missing, but something that the declaration names beside it.
                let provider_id = provider_id.map_err(|fault| match fault.class {
                    Class::Gone => Fault { class: Class::Rejected, ..fault },
                    _ => fault,
                })?;
                Content::Token { provider_id, subject: subject.map(Into::into) }
            }
        })
    }

    async fn named(&self, spot: &Spot<'_>, zone: &Zone, collection: Collection, text: &str) -> Result<String, Fault> {
        let key = (zone.id.clone(), collection, text.to_owned());
        if let Some(id) = lock(&self.named).get(&key) {
            return Ok(id.clone());
        }
        let (path, noun) = match collection {
            Collection::Applications => ("applications", "application"),
            Collection::Providers => ("providers", "provider"),
        };
        let doing = format!("resolving {noun} `{text}` at keycard `{}`, zone `{}`", self.name, spot.zone);
        let id = self.find(&doing, &["zones", &zone.id, path], "filter[slug]", text).await?;
        lock(&self.named).insert(key, id.clone());
        Ok(id)
    }

    /// The id of the one object in a collection whose slug or id is `text`: by the list's slug
    /// filter (looked at again here, a server may ignore it) and by asking for it as an id.
    async fn find(&self, doing: &str, collection: &[&str], filter: &str, text: &str) -> Result<String, Fault> {
        let mut found = HashSet::new();
        let mut consider = |entry: &Value| {
            let named = wire::Named::deserialize(entry).ok().filter(|named| named.slug == text || named.id == text);
            found.extend(named.map(|named| named.id));
        };
        let list = self.url(doing, collection)?;
        let request = || Request::new(doing, Method::GET, list.clone(), Effect::Nothing).query(filter, text);
        self.walk(request, &mut consider).await?;
        let one = self.url(doing, &[collection, &[text]].concat())?;
        let (request, answer) = self.call(Request::new(doing, Method::GET, one, Effect::Nothing)).await?;
        let nothing = matches!(answer.status(), 400 | 404 | 422) && wire::is_refusal(&answer);
        if !nothing {
            // Asked for as an id; that a server takes a slug there as well does no harm.
            let entry: Option<Value> = answer.proof(&[200]);
            let entry = entry.filter(|entry| wire::Named::deserialize(entry).is_ok());
            consider(&entry.ok_or_else(|| self.fault(&request, &answer))?);
        }
        let mut ids = found.into_iter();
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => {
                let fault =
                    Fault::new(Class::Rejected, doing, "ambiguous: it is the slug of one and the id of another");
                Err(fault.with_hint("declare it by its id, and rename the other one at Keycard"))
            }
            (None, _) => Err(Fault::new(Class::Gone, doing, "there is none with this slug or id")
                .with_hint("check the spelling, and that the service account belongs to the same organization")),
        }
    }

    pub(super) fn forget(&self, spot: &Spot<'_>) {
        let zone = lock(&self.zones).remove(spot.zone);
        if let Some(zone) = zone {
            let mut named = lock(&self.named);
            named.remove(&(zone.id.clone(), Collection::Applications, spot.application.to_owned()));
            if let Wanted::Token { provider: Some(provider), .. } = spot.wanted {
                named.remove(&(zone.id, Collection::Providers, provider.to_owned()));
            }
        }
    }

    pub(super) fn forget_if_gone<T>(&self, spot: &Spot<'_>, outcome: Result<T, Fault>) -> Result<T, Fault> {
        if outcome.as_ref().is_err_and(|fault| fault.class == Class::Gone) {
            self.forget(spot);
        }
        outcome
    }
}

/// Checks an address that a zone names. A vendor out there has no business sending our secrets to
/// this machine.
fn trusted(base: &Endpoint, text: &str) -> Result<Endpoint, Invalid> {
    let endpoint = Endpoint::parse(text)?;
    let inward = endpoint.is_loopback() && !base.is_loopback();
    if inward { Err(Invalid("an address outside this machine")) } else { Ok(endpoint) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_far_away_can_not_point_at_this_machine() {
        let (far, near) = ("https://api.keycard.ai", "http://127.0.0.1:7702");
        for (base, text, good) in [
            (far, "https://z1.keycard.cloud/oauth/2/token", true),
            (near, "https://z1.keycard.cloud/oauth/2/token", true),
            (near, "http://127.0.0.1:1/t", true),
            (far, "http://127.0.0.1:1/t", false),
            (far, "https://localhost/t", false),
            (far, "http://z1.keycard.cloud/t", false),
        ] {
            let base = Endpoint::parse(base).unwrap();
            assert_eq!(trusted(&base, text).is_ok(), good, "{base} {text}");
        }
    }
}
