//! WorkOS Connect: client secrets of applications.
//!
//! What the driver builds on:
//!
//! - The secret is in the create's answer and nowhere else. The create takes no input, is not
//!   idempotent and so is sent once; there is no rotate call.
//! - A secret carries nothing of ours, not even a name: what keyferry made is known by its id alone.
//! - An application holds five secrets at most. What the vendor says to a sixth is not documented,
//!   so any refusal while five live is taken for that.
//! - The delete names a secret and no application: it is sent only for an id that our own lease
//!   names, or that was seen among the secrets of the declared application.
//! - A machine's application proves a secret by logging in at the customer's AuthKit domain. One
//!   that signs people in has no login of its own; there, introspection is asked with the secret and
//!   with a made-up one, and only where the two answers differ does the first say anything.
//!
//! What proves that a call had its effect; any other answer is a fault, and in doubt where the call
//! changes something:
//!
//! | call | answer that proves it | everything else means |
//! |---|---|---|
//! | list secrets | 200, an array; each entry a client secret with its id and date; a `Date` header | no listing, never a short one |
//! | create | 200 or 201 with the id and a secret that is not empty | in doubt, unless refused with 4xx |
//! | delete | 204 without a body | in doubt, unless refused with 4xx |
//! | | 404 as an error of WorkOS that names no other id | WorkOS knows no such secret; only with the application seen |
//! | get application | 200 with the id or client id asked for; an error of WorkOS with 400, 404 or 422: no such id | not known |
//! | list applications | 200 with `data` and `list_metadata.after`, to a page whose `after` is null; no cursor twice | no list |
//! | discovery | 200 with the issuer and endpoints at the domain itself | not known |
//! | token | 200 with a token that is not empty: good; 4xx `invalid_client` about a known client: bad | says nothing about the secret |
//! | introspection | 200 with `active`: let in; 4xx `invalid_client` about a known client: refused | says nothing about the secret |

#![expect(clippy::disallowed_methods, reason = "a vendor driver sends the secrets that it proves")]

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU8;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::json;

use super::http::{self, Answer, Effect, Endpoint, Line, Request, Shared, lock};
use super::{Call, Ended, Grounds, Instance, Minted, Place, Spec, Type, Vendor, Verdict};
use crate::model::attempt::Mark;
use crate::model::capability::{Capabilities, Marking, Proof};
use crate::model::fault::{Class, Fault};
use crate::model::name::{VendorId, VendorName};
use crate::model::observed::{Listed, Listing, Tie};
use crate::model::option::{Field, Kind};
use crate::model::payload::{Letters, Outputs};
use crate::model::secret::Keyring;
use crate::model::time::Clock;

mod api;
mod names;
mod proof;
mod wire;

const BASE_URL: &str = "https://api.workos.com";
/// Client secrets of one application, everybody's counted ("Connect", Credentials).
const LIVE_MAX: NonZeroU8 = NonZeroU8::new(5).expect("five is not zero");
/// Ids made by this process that are remembered until they are deleted or forgotten.
const MADE_COUNT_MAX: usize = 256;

const AUTHKIT_DOMAIN: Field = Field {
    name: "authkit_domain",
    kind: Kind::Url,
    required: false,
    doc: "Address of the AuthKit domain, as the WorkOS dashboard shows it; secrets are proved there.",
};

const ORGANIZATION_ID: Field = Field {
    name: "organization_id",
    kind: Kind::Text { char_count_max: 255 },
    required: false,
    doc: "The application must belong to this organization.",
};

/// WorkOS Connect, as data.
pub const SPEC: Spec = Spec {
    kind: "workos",
    title: "WorkOS",
    fields: &[
        Field {
            name: "base_url",
            kind: Kind::Url,
            required: false,
            doc: "Address of the API; https://api.workos.com if left out.",
        },
        Field {
            name: "api_key",
            kind: Kind::Secret,
            required: true,
            doc: "API key of the environment that the applications belong to.",
        },
        AUTHKIT_DOMAIN,
        ORGANIZATION_ID,
    ],
    types: &[Type {
        name: "client-secret",
        fields: &[
            Field {
                name: "application",
                kind: Kind::Text { char_count_max: 255 },
                required: true,
                doc: "The application's id or client id, or its name where only one has it.",
            },
            AUTHKIT_DOMAIN,
            ORGANIZATION_ID,
        ],
        capabilities: Capabilities {
            marking: Marking::Unnamed,
            live_max: Some(LIVE_MAX),
            last_used: true,
            proof: Proof::LoginAt("authkit_domain"),
        },
        outputs: &["client_id", "client_secret", "secret_id", "application_id", "token_endpoint", "issuer"],
        place: &["application"],
        content: &[],
        proof_outputs: &["client_id", "client_secret"],
    }],
    letters,
    judge: super::no_objection,
    connect,
};

/// Ids have a prefix and letters and digits; of a secret nothing is promised.
fn letters(_: &Type, output: &str) -> Letters {
    match output {
        "client_id" | "secret_id" | "application_id" => Letters::Id,
        "token_endpoint" | "issuer" => Letters::Url,
        _ => Letters::Any,
    }
}

fn connect(instance: Instance) -> Result<Arc<dyn Vendor>, Fault> {
    let base = instance.base(SPEC.kind, BASE_URL)?;
    Ok(Arc::new(WorkOs {
        name: instance.name,
        base,
        keyring: instance.keyring,
        line: Line::new(instance.client),
        clock: instance.clock,
        key: Shared::default(),
        odd: Mutex::default(),
        applications: Mutex::default(),
        domains: Mutex::default(),
        probes: Mutex::default(),
        made: Mutex::default(),
    }))
}

struct WorkOs {
    name: VendorName,
    base: Endpoint,
    keyring: Arc<dyn Keyring>,
    line: Line,
    clock: Arc<dyn Clock>,
    key: Shared<HeaderValue>,
    // What is odd about the key that was read last.
    odd: Mutex<Option<&'static str>>,
    // What a declared application resolved to, until a 404 puts it in doubt.
    applications: Mutex<HashMap<(String, String), Application>>,
    // What an AuthKit domain says about itself.
    domains: Mutex<HashMap<String, proof::Domain>>,
    // What introspection says to a made-up secret, by domain and client id.
    probes: Mutex<HashMap<(String, String), proof::Probe>>,
    // Secrets that this process made, with their application: seen there, however late it lists them.
    made: Mutex<HashMap<VendorId, String>>,
}

/// An application with both its ids.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Application {
    id: String,
    client_id: String,
    /// Whether it is a machine's, which logs in with its secret.
    machine: bool,
}

/// A place's options, read, with the words that name it in every sentence.
struct Spot<'a> {
    application: &'a str,
    organization_id: Option<&'a str>,
    domain: Option<String>,
    at: String,
}

impl Vendor for WorkOs {
    fn check<'a>(&'a self, place: Place<'a>) -> Call<'a, ()> {
        self.whole("checking a place", async move {
            let spot = self.spot(place)?;
            self.forget(&spot);
            let application = self.application(&spot).await?;
            self.secrets(&spot, &application).await?;
            if let Some(domain) = &spot.domain {
                lock(&self.domains).remove(domain);
                self.domain(&spot, domain).await?;
            }
            Ok(())
        })
    }

    fn whereabouts<'a>(&'a self, place: Place<'a>) -> Call<'a, Option<String>> {
        self.whole("looking up a place", async move {
            let spot = self.spot(place)?;
            Ok(Some(self.application(&spot).await?.id))
        })
    }

    fn list<'a>(&'a self, place: Place<'a>) -> Call<'a, Listing> {
        self.whole("listing what is", async move {
            let spot = self.spot(place)?;
            let listing = async {
                let application = self.application(&spot).await?;
                self.secrets(&spot, &application).await
            };
            self.forget_if_gone(&spot, listing.await)
        })
    }

    fn provable<'a>(&'a self, place: Place<'a>) -> Call<'a, Proof> {
        self.whole("asking what can be proved", async move {
            let spot = self.spot(place)?;
            self.proof(&spot).await
        })
    }

    fn create<'a>(&'a self, place: Place<'a>, _: &'a Mark) -> Call<'a, Minted> {
        self.whole("creating a credential", async move {
            let spot = self.spot(place)?;
            let minted = self.mint(&spot).await;
            self.forget_if_gone(&spot, minted)
        })
    }

    fn verify<'a>(&'a self, place: Place<'a>, outputs: &'a Outputs) -> Call<'a, Verdict> {
        self.whole("logging in with a candidate", async move {
            let spot = self.spot(place)?;
            self.log_in(&spot, outputs).await
        })
    }

    fn tie(&self, _: Place<'_>, listed: &Listed, outputs: &Outputs) -> Tie {
        match outputs.holds("secret_id", listed.id.as_str()) {
            Some(true) => Tie::This,
            Some(false) => Tie::Another,
            None => Tie::Untold,
        }
    }

    fn revoke<'a>(&'a self, place: Place<'a>, id: &'a VendorId, grounds: Grounds) -> Call<'a, Ended> {
        self.whole("ending a credential", async move {
            let spot = self.spot(place)?;
            self.delete(&spot, id, grounds).await
        })
    }
}

impl WorkOs {
    /// One whole call, in bounded time.
    fn whole<'a, T: 'a>(
        &'a self,
        verb: &'static str,
        work: impl Future<Output = Result<T, Fault>> + Send + 'a,
    ) -> Call<'a, T> {
        Box::pin(async move { self.line.whole(format!("{verb} at workos `{}`", self.name), Box::pin(work)).await })
    }

    fn spot<'a>(&self, place: Place<'a>) -> Result<Spot<'a>, Fault> {
        let missing = |what: &str| {
            let doing = format!("reading a credential's options for workos `{}`", self.name);
            Fault::new(Class::Rejected, doing, format!("no {what}"))
        };
        if place.type_name != "client-secret" {
            return Err(missing("credential type of that name"));
        }
        let application = place.options.text("application").ok_or_else(|| missing("`application`"))?;
        // On this machine, one address serves both.
        let own = self.base.is_loopback().then(|| self.base.to_string());
        let domain = place.options.text("authkit_domain").map(str::to_owned).or(own);
        let at = format!("at workos `{}`, application `{application}`", self.name);
        Ok(Spot { application, organization_id: place.options.text("organization_id"), domain, at })
    }

    async fn secrets(&self, spot: &Spot<'_>, application: &Application) -> Result<Listing, Fault> {
        let doing = format!("listing client secrets {}", spot.at);
        let url = self.url(&doing, &["connect", "applications", &application.id, "client_secrets"])?;
        let (request, answer) = self.call(Request::new(&doing, Method::GET, url, Effect::Nothing)).await?;
        let entries: Option<Vec<serde_json::Value>> = answer.proof(&[200]);
        let entries = entries.ok_or_else(|| self.fault(&request, &answer))?;
        let unusable = |why: String| Fault::new(Class::Retry { after: None }, &doing, why);
        let mut credentials = Vec::with_capacity(entries.len());
        let mut known = HashSet::new();
        for entry in &entries {
            let listed = wire::listed(entry).map_err(|()| {
                unusable("one of the listed client secrets can't be read, so the list is not used".into())
            })?;
            if known.insert(listed.id.clone()) {
                credentials.push(listed);
            }
        }
        let at = answer
            .date()
            .ok_or_else(|| unusable("the answer has no Date header, without which its age is unknown".into()))?;
        Ok(Listing { at, credentials })
    }

    async fn mint(&self, spot: &Spot<'_>) -> Result<Minted, Fault> {
        let doing = format!("creating a client secret {}", spot.at);
        let resolve = async {
            let application = self.application(spot).await?;
            let domain = match &spot.domain {
                Some(domain) => Some(self.domain(spot, domain).await?),
                None => None,
            };
            Ok((application, domain))
        };
        let (application, domain) = http::prepared(&doing, Effect::Once, resolve).await?;
        let url = self.url(&doing, &["connect", "applications", &application.id, "client_secrets"])?;
        let request = Request::new(doing, Method::POST, url, Effect::Once).json(json!({}));
        let (request, answer) = self.call(request).await?;
        if !answer.is_success() {
            return Err(self.refused(spot, &application, &request, &answer).await);
        }
        let created: wire::Created = answer.proof(&[200, 201]).ok_or_else(|| self.fault(&request, &answer))?;
        let id = VendorId::new(&created.id).ok();
        let (Some(id), Some(http::Sealed(secret))) = (id, created.secret.filter(|sealed| !sealed.0.is_empty())) else {
            let id = answer.shown_id(&created.id).map_or(String::new(), |id| format!("; its id is {id}"));
            let said = "answered with a client secret that lacks its id or its value";
            return Err(Fault::new(Class::InDoubt, request.doing(), format!("{said}{id}")));
        };
        let mut made = lock(&self.made);
        if made.len() >= MADE_COUNT_MAX {
            made.clear();
        }
        made.insert(id.clone(), application.id.clone());
        let mut outputs = Outputs::default()
            .public("client_id", application.client_id)
            .secret("client_secret", secret)
            .public("secret_id", id.as_str())
            .public("application_id", application.id);
        if let Some(domain) = domain {
            outputs =
                outputs.public("token_endpoint", domain.token_endpoint.to_string()).public("issuer", domain.issuer);
        }
        Ok(Minted { id, outputs })
    }

    /// Why a create was refused. Any refusal of the request itself while the application is full
    /// is taken for that: the vendor documents none.
    async fn refused(&self, spot: &Spot<'_>, application: &Application, request: &Request, answer: &Answer) -> Fault {
        let fault = self.fault(request, answer);
        let of_the_request = matches!(answer.status(), 400 | 402 | 403 | 405 | 406 | 409 | 411..=417 | 422 | 431);
        if !of_the_request {
            return fault;
        }
        let Ok(listing) = self.secrets(spot, application).await else { return fault };
        let count = listing.credentials.len();
        if count < usize::from(LIVE_MAX.get()) {
            return fault;
        }
        let full = format!("{}; {count} client secrets live there, and no more than {LIVE_MAX} may", fault.answer);
        Fault { class: Class::Rejected, answer: full, ..fault }
            .with_hint("delete client secrets of this application that nobody uses; nothing was made")
    }

    /// The delete is by the secret's id alone. On the grounds that our own lease names the id, it is
    /// sent wherever the secret lives by now; otherwise only for one that was seen in the declared
    /// application. That WorkOS knows no such secret counts only after the same key has shown the
    /// application: a key of another environment knows none of ours.
    async fn delete(&self, spot: &Spot<'_>, id: &VendorId, grounds: Grounds) -> Result<Ended, Fault> {
        let doing = format!("deleting client secret {id} {}", spot.at);
        let application = self.application(spot).await;
        let tracked = grounds == Grounds::Tracked;
        let shown = match &application {
            Ok(application) if lock(&self.made).get(id) == Some(&application.id) => Ok(true),
            Ok(application) => self
                .forget_if_gone(spot, self.secrets(spot, application).await)
                .map(|listing| listing.credentials.iter().any(|one| one.id == *id)),
            Err(fault) => Err(fault.clone()),
        };
        match &shown {
            Ok(true) => {}
            Ok(false) if tracked => {}
            Ok(false) => return Ok(Ended::NotListed),
            // The application was ended or renamed: the secret may live on, and only WorkOS can tell.
            Err(fault) if tracked && fault.class == Class::Gone => {}
            Err(fault) => return Err(fault.clone()),
        }
        let url = self.url(&doing, &["connect", "client_secrets", id.as_str()])?;
        let (request, answer) = self.call(Request::new(doing, Method::DELETE, url, Effect::Idempotent)).await?;
        let ended = match answer.status() {
            204 if answer.is_empty() => Ended::Confirmed,
            404 if wire::is_absence(&answer, id) => match shown {
                Ok(_) => Ended::UnknownToVendor,
                Err(fault) => return Err(fault),
            },
            200..=299 | 404 | 410 => return Err(answer.unproved(&request, "only 204 without a body confirms a delete")),
            _ => return Err(self.fault(&request, &answer)),
        };
        lock(&self.made).remove(id);
        Ok(ended)
    }
}

#[cfg(test)]
mod tests;
