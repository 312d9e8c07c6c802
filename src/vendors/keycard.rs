//! Keycard: application credentials of all five types (`types.rs` says what each can do).
//!
//! What the driver builds on:
//!
//! - A password's secret is in the create's answer and nowhere else. There is no rotate call and no
//!   idempotency key, so a create is sent once; only a 401, which says that nothing was looked at,
//!   lets it go out again with a fresh token.
//! - Where the caller chooses `identifier`, which is the client id, our mark goes there.
//! - Management calls carry a bearer token fetched with a service account's id and secret.
//! - A pair is proved at its zone's own token endpoint. Of the answers there only `invalid_client`
//!   is about the pair; `invalid_target`, `access_denied` and their like come after the login.
//! - The other types hold no secret: each is proved by being shown as declared. A change of what
//!   one says is a new credential before the old one goes, never a PATCH (`types.rs` says why).
//!
//! What proves that a call had its effect; any other answer is a fault, and in doubt where the call
//! changes something:
//!
//! | call | answer that proves it | everything else means |
//! |---|---|---|
//! | service account's token | 200 with a token that is not empty | no token; 4xx with an OAuth error: the pair is refused |
//! | a list | 200 with `items` and `page_info`, to a page that says it is the last; no cursor twice | no list, never a short one |
//! | list credentials | the same, each entry of this application with its id and date; a `Date` header; entries of other applications alone: another list | no listing |
//! | read zone, application, provider | 200 with the id asked for; an error of Keycard with 400, 404 or 422: no such id | not known |
//! | read credential | 200 with the id asked for; 404 as an error of Keycard, with the zone seen: not there | says nothing |
//! | create | 200 or 201 with id, our application and name, and a secret where the type has one | in doubt, unless refused with 4xx |
//! | delete | 204 without a body | in doubt, unless refused with 4xx |
//! | | 404 as an error of Keycard, and the zone is there | that zone has no such credential |
//! | log in | 200 with a token, or an OAuth error that comes after the login: good; `invalid_client`: bad | says nothing about the pair |

#![expect(clippy::disallowed_methods, reason = "a vendor driver checks the pair it logs in with")]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use reqwest::Method;
use reqwest::header::HeaderValue;

use self::types::{Content, Wanted};
use super::http::{self, Effect, Endpoint, Line, Request, Shared};
use super::{Call, Ended, Grounds, Instance, Minted, Place, Spec, Vendor, Verdict};
use crate::model::attempt::Mark;
use crate::model::fault::{Class, Fault};
use crate::model::name::{VendorId, VendorName};
use crate::model::observed::{Listed, Listing, Tie};
use crate::model::option::{Field, Kind};
use crate::model::payload::Outputs;
use crate::model::secret::{Keyring, SecretValue};
use crate::model::time::Clock;

mod api;
mod names;
mod types;
mod wire;

const BASE_URL: &str = "https://api.keycard.ai";

const ZONE: Field = Field {
    name: "zone",
    kind: Kind::Text { char_count_max: 255 },
    required: false,
    doc: "The zone's slug or id; a default for the credentials of this vendor.",
};

/// Keycard, as data.
pub const SPEC: Spec = Spec {
    kind: "keycard",
    title: "Keycard",
    fields: &[
        Field {
            name: "base_url",
            kind: Kind::Url,
            required: false,
            doc: "Address of the management API; https://api.keycard.ai if left out.",
        },
        ZONE,
        Field {
            name: "client_id",
            kind: Kind::Secret,
            required: true,
            doc: "Client id of a service account of the organization.",
        },
        Field {
            name: "client_secret",
            kind: Kind::Secret,
            required: true,
            doc: "Client secret of the same service account.",
        },
    ],
    types: types::TYPES,
    letters: types::letters,
    judge: super::no_objection,
    connect,
};

fn connect(instance: Instance) -> Result<Arc<dyn Vendor>, Fault> {
    let base = instance.base(SPEC.kind, BASE_URL)?;
    Ok(Arc::new(Keycard {
        name: instance.name,
        base,
        keyring: instance.keyring,
        line: Line::new(instance.client),
        clock: instance.clock,
        token: Shared::default(),
        odd: Mutex::default(),
        zones: Mutex::default(),
        named: Mutex::default(),
    }))
}

struct Keycard {
    name: VendorName,
    base: Endpoint,
    keyring: Arc<dyn Keyring>,
    line: Line,
    clock: Arc<dyn Clock>,
    token: Shared<api::Token>,
    // Which of the admin secrets that were read last is odd, and why.
    odd: Mutex<Option<(&'static str, &'static str)>>,
    // Both caches hold what a declared name resolved to, until a 404 puts it in doubt.
    zones: Mutex<HashMap<String, Zone>>,
    named: Mutex<HashMap<(String, names::Collection, String), String>>,
}

#[derive(Clone)]
struct Zone {
    id: String,
    issuer: String,
    token_endpoint: Endpoint,
}

/// A place's options, read, with the words that name it in every sentence.
struct Spot<'a> {
    zone: &'a str,
    application: &'a str,
    wanted: Wanted<'a>,
    at: String,
}

impl Vendor for Keycard {
    fn check<'a>(&'a self, place: Place<'a>) -> Call<'a, ()> {
        self.whole("checking a place", async move {
            let spot = self.spot(place)?;
            self.forget(&spot);
            let zone = self.zone(&spot).await?;
            self.application(&spot, &zone).await?;
            self.content(&spot, &zone).await.map(drop)
        })
    }

    fn whereabouts<'a>(&'a self, place: Place<'a>) -> Call<'a, Option<String>> {
        self.whole("looking up a place", async move {
            let spot = self.spot(place)?;
            let zone = self.zone(&spot).await?;
            let application = self.application(&spot, &zone).await?;
            Ok(Some(format!("{}/{application}", zone.id)))
        })
    }

    fn list<'a>(&'a self, place: Place<'a>) -> Call<'a, Listing> {
        self.whole("listing what is", async move {
            let spot = self.spot(place)?;
            let listing = self.credentials(&spot).await;
            self.forget_if_gone(&spot, listing)
        })
    }

    fn create<'a>(&'a self, place: Place<'a>, mark: &'a Mark) -> Call<'a, Minted> {
        self.whole("creating a credential", async move {
            let spot = self.spot(place)?;
            let minted = self.mint(&spot, mark).await;
            self.forget_if_gone(&spot, minted)
        })
    }

    fn verify<'a>(&'a self, place: Place<'a>, outputs: &'a Outputs) -> Call<'a, Verdict> {
        self.whole("logging in with a candidate", async move {
            let spot = self.spot(place)?;
            match spot.wanted {
                Wanted::Password { resource } => self.log_in(&spot, resource, outputs).await,
                Wanted::PublicKey { .. } | Wanted::Public | Wanted::Token { .. } | Wanted::Url { .. } => {
                    let shown = self.shown(&spot, outputs).await;
                    self.forget_if_gone(&spot, shown)
                }
            }
        })
    }

    fn tie(&self, _: Place<'_>, listed: &Listed, outputs: &Outputs) -> Tie {
        let by_name = || outputs.holds("client_id", listed.mark.as_deref()?);
        match outputs.holds("credential_id", listed.id.as_str()).or_else(by_name) {
            Some(true) => Tie::This,
            Some(false) => Tie::Another,
            None => Tie::Untold,
        }
    }

    fn revoke<'a>(&'a self, place: Place<'a>, id: &'a VendorId, _: Grounds) -> Call<'a, Ended> {
        self.whole("ending a credential", async move {
            let spot = self.spot(place)?;
            // Not asked for the application: a credential may outlive our reading of it.
            let deleted = self.delete(&spot, id).await;
            self.forget_if_gone(&spot, deleted)
        })
    }
}

impl Keycard {
    /// One whole call, in bounded time.
    fn whole<'a, T: 'a>(
        &'a self,
        verb: &'static str,
        work: impl Future<Output = Result<T, Fault>> + Send + 'a,
    ) -> Call<'a, T> {
        Box::pin(async move { self.line.whole(format!("{verb} at keycard `{}`", self.name), Box::pin(work)).await })
    }

    fn spot<'a>(&self, place: Place<'a>) -> Result<Spot<'a>, Fault> {
        let missing = |what: &str| {
            let doing = format!("reading a credential's options for keycard `{}`", self.name);
            Fault::new(Class::Rejected, doing, format!("no {what}"))
        };
        let wanted = Wanted::of(place.type_name, place.options);
        let wanted = wanted.ok_or_else(|| missing("credential type of that name"))?;
        let zone = place.options.text("zone").ok_or_else(|| missing("`zone`"))?;
        let application = place.options.text("application").ok_or_else(|| missing("`application`"))?;
        let at = format!("at keycard `{}`, zone `{zone}`, application `{application}`", self.name);
        Ok(Spot { zone, application, wanted, at })
    }

    async fn credentials(&self, spot: &Spot<'_>) -> Result<Listing, Fault> {
        let doing = format!("listing credentials {}", spot.at);
        let zone = self.zone(spot).await?;
        let application = self.application(spot, &zone).await?;
        let url = self.url(&doing, &["zones", &zone.id, "applications", &application, "application-credentials"])?;
        // A former place is listed for what lives there, not for what is declared.
        let content = if spot.is_complete() { Some(self.content(spot, &zone).await?) } else { None };
        let mut credentials = Vec::new();
        let mut known = HashSet::new();
        let (mut unreadable, mut others) = (0_usize, 0_usize);
        let request = || Request::new(&doing, Method::GET, url.clone(), Effect::Nothing);
        let at = self
            .walk(request, |entry| match wire::listed(entry, &application, content.as_ref()) {
                // A page border can move under a walk and show an entry twice.
                Ok(Some(listed)) if known.insert(listed.id.clone()) => credentials.push(listed),
                Ok(Some(_)) => {}
                Ok(None) => others += 1,
                Err(()) => unreadable += 1,
            })
            .await?;
        if unreadable > 0 {
            let answer = format!("{unreadable} of the listed credentials can't be read, so the list is not used");
            return Err(Fault::new(Class::Retry { after: None }, doing, answer));
        }
        if credentials.is_empty() && others > 0 {
            let answer = "everything in the list is of other applications, so it is not the list that was asked for";
            return Err(Fault::new(Class::Retry { after: None }, doing, answer));
        }
        let Some(at) = at else {
            let answer = "the answer has no Date header, without which its age is unknown";
            return Err(Fault::new(Class::Retry { after: None }, doing, answer));
        };
        Ok(Listing { at, credentials })
    }

    async fn mint(&self, spot: &Spot<'_>, mark: &Mark) -> Result<Minted, Fault> {
        let doing = format!("creating a credential {}", spot.at);
        let resolve = async {
            let zone = self.zone(spot).await?;
            let application = self.application(spot, &zone).await?;
            let content = self.content(spot, &zone).await?;
            Ok((zone, application, content))
        };
        let (zone, application, content) = http::prepared(&doing, Effect::Once, resolve).await?;
        let doing = format!("creating a {} credential {}", content.type_name(), spot.at);
        let url = self.url(&doing, &["zones", &zone.id, "application-credentials"])?;
        let body = content.body(&application, mark.as_str());
        let request = Request::new(doing, Method::POST, url, Effect::Once).json(body);
        let (request, answer) = self.call(request).await?;
        if !answer.is_success() {
            return Err(self.refused(&request, &answer, &content));
        }
        let created: wire::Created = answer.proof(&[200, 201]).ok_or_else(|| self.fault(&request, &answer))?;
        let good = created.application_id == application && content.is_named(&created.identifier, mark.as_str());
        match (VendorId::new(&created.id).ok(), minted(&content, &created)) {
            (Some(id), Some(outputs)) if good => {
                let outputs = outputs
                    .public("token_endpoint", zone.token_endpoint.to_string())
                    .public("issuer", zone.issuer)
                    .public("zone_id", zone.id)
                    .public("application_id", application)
                    .public("credential_id", id.as_str());
                Ok(Minted { id, outputs })
            }
            _ => {
                let id = answer.shown_id(&created.id).map_or(String::new(), |id| format!("; its id is {id}"));
                let said = "answered with a credential that lacks its id, its secret, its name or our application";
                Err(Fault::new(Class::InDoubt, request.doing(), format!("{said}{id}")))
            }
        }
    }

    /// What a refused create means.
    fn refused(&self, request: &Request, answer: &http::Answer, content: &Content) -> Fault {
        let mut fault = self.fault(request, answer);
        if answer.status() != 409 {
            return fault;
        }
        if content.is_marked() {
            // The mark belongs to this attempt alone, so whatever has it came from it.
            fault.class = Class::InDoubt;
            fault.answer.push_str(": a credential with our mark may exist from an earlier send");
            return fault;
        }
        fault.class = Class::Rejected;
        fault.answer.push_str(": there is one like it already");
        fault.with_hint("end the one that is there at Keycard if nobody needs it: keyferry makes its own")
    }

    /// Whether the vendor shows the credential that `outputs` tell of, as it is declared. No more
    /// can be proved of a credential that holds no secret.
    async fn shown(&self, spot: &Spot<'_>, outputs: &Outputs) -> Result<Verdict, Fault> {
        let doing = format!("looking at a candidate {}", spot.at);
        let zone = self.zone(spot).await?;
        let application = self.application(spot, &zone).await?;
        let content = self.content(spot, &zone).await?;
        let piece = |name: &str| outputs.get(name).map(|value| value.expose().to_owned());
        let mut found = None;
        if let Some(id) = piece("credential_id") {
            let url = self.url(&doing, &["zones", &zone.id, "application-credentials", &id])?;
            let (request, answer) = self.call(Request::new(&doing, Method::GET, url, Effect::Nothing)).await?;
            if answer.status() == 404 && wire::is_refusal(&answer) {
                // Of the credential, and not of its zone.
                self.described(&doing, &zone.id).await?;
            } else {
                let shown: Option<wire::Credential> = answer.proof(&[200]);
                found = Some(shown.filter(|shown| shown.id == id).ok_or_else(|| self.fault(&request, &answer))?);
            }
        } else if let Some(client_id) = piece("client_id") {
            let url =
                self.url(&doing, &["zones", &zone.id, "applications", &application, "application-credentials"])?;
            let request = || Request::new(&doing, Method::GET, url.clone(), Effect::Nothing);
            self.walk(request, |entry| found = found.take().or_else(|| wire::identified(entry, &client_id))).await?;
        } else {
            let said = "the stored value has neither `credential_id` nor `client_id`";
            return Err(Fault::new(Class::Rejected, doing, said));
        }
        let Some(found) = found.filter(|found| found.application_id == application) else {
            return Ok(Verdict::Bad { answer: "it is not there".into() });
        };
        Ok(match content.differs(&found) {
            None => Verdict::Good,
            Some(what) => Verdict::Bad { answer: format!("its {what} is not as declared") },
        })
    }

    async fn log_in(&self, spot: &Spot<'_>, resource: Option<&str>, outputs: &Outputs) -> Result<Verdict, Fault> {
        let doing = format!("logging in with a candidate {}", spot.at);
        let zone = self.zone(spot).await?;
        let piece = |name: &str| {
            let found = outputs.get(name).filter(|value| !value.is_empty());
            found.ok_or_else(|| Fault::new(Class::Rejected, &doing, format!("the stored value has no `{name}`")))
        };
        let header = login(&doing, &piece("client_id")?, &piece("client_secret")?)?;
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        form.extend(resource.map(|resource| ("resource", resource.to_owned())));
        let request = Request::new(doing, Method::POST, zone.token_endpoint.url(), Effect::Nothing).form(form);
        let request = request.authorization(header);
        let answer = self.line.send(&request).await?;
        if answer.status() == 404 {
            self.forget(spot);
        }
        if answer.proof::<wire::Granted>(&[200]).is_some_and(|granted| granted.is_granted()) {
            return Ok(Verdict::Good);
        }
        judge(answer.status(), answer.error_word()).ok_or_else(|| {
            let mut fault = answer.fault(&request);
            fault.class = Class::Retry { after: answer.retry_after() };
            fault.with_hint("this says nothing about the credential; it is tried again")
        })
    }

    /// The path names the zone, so what Keycard says of the id is about that zone alone; and its 404
    /// does not tell a missing credential from a missing zone, so the zone is asked for.
    async fn delete(&self, spot: &Spot<'_>, id: &VendorId) -> Result<Ended, Fault> {
        let doing = format!("deleting credential {id} {}", spot.at);
        let zone = self.zone(spot).await?;
        let url = self.url(&doing, &["zones", &zone.id, "application-credentials", id.as_str()])?;
        let (request, answer) = self.call(Request::new(doing, Method::DELETE, url, Effect::Idempotent)).await?;
        match answer.status() {
            204 if answer.is_empty() => Ok(Ended::Confirmed),
            404 if wire::is_refusal(&answer) => {
                self.described(request.doing(), &zone.id).await?;
                Ok(Ended::UnknownToVendor)
            }
            200..=299 | 404 | 410 => Err(answer.unproved(&request, "only 204 without a body confirms a delete")),
            _ => Err(self.fault(&request, &answer)),
        }
    }
}

impl Spot<'_> {
    /// Whether it says all that makes a credential what it is, and not only where.
    fn is_complete(&self) -> bool {
        match self.wanted {
            Wanted::Password { .. } | Wanted::Public => true,
            Wanted::PublicKey { jwks_uri } => jwks_uri.is_some(),
            Wanted::Token { provider, .. } => provider.is_some(),
            Wanted::Url { url } => url.is_some(),
        }
    }
}

/// The pieces of a created credential that its answer tells; `None` when its secret is missing.
fn minted(content: &Content, created: &wire::Created) -> Option<Outputs> {
    let outputs = Outputs::default();
    Some(match content {
        Content::Password => {
            let secret = created.password.as_ref().map(|sealed| &sealed.0).filter(|secret| !secret.is_empty())?;
            outputs.public("client_id", &created.identifier).secret("client_secret", secret.clone())
        }
        Content::PublicKey { jwks_uri } => {
            outputs.public("client_id", &created.identifier).public("jwks_uri", jwks_uri)
        }
        Content::Public | Content::Url { .. } => outputs.public("client_id", &created.identifier),
        Content::Token { provider_id, .. } => {
            outputs.public("identifier", &created.identifier).public("provider_id", provider_id)
        }
    })
}

/// What the answer of a token endpoint says about the pair, by its `error` field (RFC 6749 section
/// 5.2): `invalid_client` is the only word about the pair itself, and some others can only be
/// said after the login. `None` where it says nothing.
fn judge(status: u16, word: Option<String>) -> Option<Verdict> {
    if !(400..500).contains(&status) || matches!(status, 408 | 429) {
        return None;
    }
    match word.as_deref()? {
        "invalid_client" => Some(Verdict::Bad { answer: "invalid_client".into() }),
        "invalid_target" | "access_denied" | "insufficient_authorization" | "unauthorized_client" | "invalid_scope" => {
            Some(Verdict::Good)
        }
        _ => None,
    }
}

fn login(doing: &str, id: &SecretValue, secret: &SecretValue) -> Result<HeaderValue, Fault> {
    if id.expose().contains(':') {
        return Err(Fault::new(Class::Rejected, doing, "the client id has a colon, which HTTP Basic can't carry"));
    }
    Ok(http::basic(id, secret))
}

#[cfg(test)]
mod tests;
