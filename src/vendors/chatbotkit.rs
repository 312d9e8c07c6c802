//! ChatBotKit: secrets, which store a value of ours in place, and API tokens of child accounts.
//!
//! What the driver builds on (ChatBotKit contract):
//!
//! - A secret is one record. ChatBotKit never gives its value back, so the AWS secret holds it, and
//!   what can be proved of a set value is that *some* value is stored and that the record carries
//!   our mark. A rotation is one update: no versions, no overlap, no undo.
//! - An update without `alias` erases the alias, a create without `kind` throws the value away, and
//!   an update is judged by the kind that is stored. The record is found by `@alias`, or else by
//!   the alias in our part of `meta`.
//! - A child account's token is shown once and has a name and `meta` of our choice: our mark goes
//!   there. Its own account's tokens no API token can touch.
//!
//! What proves that a call had its effect; any other answer is a fault, and in doubt where the call
//! changes something:
//!
//! | call | answer that proves it | everything else means |
//! |---|---|---|
//! | a list | 200 with `items`, and a cursor where they are not empty, to a page with less than was asked for | no list, never a short one |
//! | fetch | 200 with the id or alias asked for; 404 `NOT_FOUND` as an error of ChatBotKit: not there | not known |
//! | create a record | 200 with an id, then the proof below | in doubt; 409: looked up again |
//! | update a record | 200 with the same id, then the proof below | in doubt |
//! | proof of a record | a fetch that shows our mark and all that is declared, and `authenticated` from verify | tried again; shown otherwise: not as set |
//! | create a token | 200 with an id and a token that fits into a header | in doubt, unless refused with 4xx |
//! | delete a token | 200 with the same id | in doubt, unless refused with 4xx |
//! | | 404 `NOT_FOUND`, and the account is there | that account has no such token |
//! | log in | 404 `NOT_FOUND` for a record that nobody has: good; 401 `NOT_AUTHENTICATED`: bad | says nothing about the token |
//!
//! | file | |
//! |---|---|
//! | `api` | single calls: the token they carry, pages, faults with a hint |
//! | `secrets` | type `secret` |
//! | `tokens` | type `user-token` |
//! | `judge` | what options say together, and which values fit |
//! | `wire` | what the API sends, as far as we read it |

#![expect(clippy::disallowed_methods, reason = "a vendor driver sends the values it is given")]

use std::sync::{Arc, Mutex};

use reqwest::header::HeaderValue;

use super::http::{Endpoint, Line, Shared};
use super::{Call, Ended, Grounds, Instance, Minted, Place, Spec, Type, Vendor, Verdict};
use crate::model::attempt::Mark;
use crate::model::capability::{Capabilities, Marking, Proof};
use crate::model::fault::{Class, Fault};
use crate::model::name::{VendorId, VendorName};
use crate::model::observed::{Listed, Listing, Tie};
use crate::model::option::{Field, Kind};
use crate::model::payload::{Letters, Outputs};
use crate::model::secret::Keyring;

mod api;
mod judge;
mod secrets;
mod tokens;
mod wire;

const BASE_URL: &str = "https://api.chatbotkit.com";
/// The one host whose paths have no `/api` in front (contract, section 1).
const HOSTED: &str = "api.chatbotkit.com";

const TOKEN: &str = "user-token";
const SECRET: &str = "secret";

const USAGES: &[&str] = &["plain", "basic", "bearer", "jwt", "oauth", "template", "reference"];

const fn text(name: &'static str, required: bool, char_count_max: usize, doc: &'static str) -> Field {
    Field { name, kind: Kind::Text { char_count_max }, required, doc }
}

/// ChatBotKit, as data.
pub const SPEC: Spec = Spec {
    kind: "chatbotkit",
    title: "ChatBotKit",
    fields: &[
        Field {
            name: "base_url",
            kind: Kind::Url,
            required: false,
            doc: "Address of the service without a path; https://api.chatbotkit.com if left out.",
        },
        Field {
            name: "token",
            kind: Kind::Secret,
            required: true,
            doc: "An API token of the account. A person has to replace it: no API can.",
        },
        text("run_as", false, 128, "Id of a child account to act for."),
        Field {
            name: "child_path",
            kind: Kind::OneOf(&["user", "partner"]),
            required: false,
            doc: "Where the API keeps child accounts: `user`, or `partner` at older deployments.",
        },
    ],
    types: &[
        Type {
            name: SECRET,
            fields: &[
                text("alias", true, 128, "The record's alias in the account, by which it is found again."),
                Field {
                    name: "usage",
                    kind: Kind::OneOf(USAGES),
                    required: false,
                    doc: "What ChatBotKit does with the value: its secret type; `plain` if left out.",
                },
                Field {
                    name: "kind",
                    kind: Kind::OneOf(&["shared", "personal"]),
                    required: false,
                    doc: "One value for the account (`shared`, the standard), or one per contact, which only they set.",
                },
                Field {
                    name: "visibility",
                    kind: Kind::OneOf(&["private", "protected", "public"]),
                    required: false,
                    doc: "Who may use it; `private` if left out.",
                },
                text("title", false, 191, "The record's name; its alias if left out. Instructions may refer to it."),
                text("description", false, 4_096, "The record's description."),
                text("blueprint", false, 128, "The blueprint it belongs to, by id or @alias."),
                Field {
                    name: "value",
                    kind: Kind::Source { output: "value" },
                    required: false,
                    doc: "Where the value comes from: a rule, a file, another secret or credential.",
                },
                Field {
                    name: "config",
                    kind: Kind::Object {
                        sources: &[("clientId", "client_id"), ("clientSecret", "client_secret")],
                        keys: &[],
                    },
                    required: false,
                    doc: "The record's configuration, in ChatBotKit's words: tokenUrl, scope, schema, template, ….",
                },
                Field {
                    name: "meta",
                    kind: Kind::Object { sources: &[], keys: &[] },
                    required: false,
                    doc: "More entries of the record's meta; those that others wrote stay.",
                },
                Field {
                    name: "ability",
                    kind: Kind::Object { sources: &[], keys: &["skillset", "id"] },
                    required: false,
                    doc: "The ability of a skillset that uses this secret: { skillset = \"…\", id = \"…\" }.",
                },
            ],
            capabilities: Capabilities {
                marking: Marking::InPlace,
                live_max: None,
                last_used: false,
                proof: Proof::Impossible,
            },
            outputs: &["value", "client_id", "client_secret", "alias"],
            place: &["alias"],
            content: &[],
            proof_outputs: &["alias"],
        },
        Type {
            name: TOKEN,
            fields: &[text("user", true, 128, "Id of the child account that the token is for.")],
            capabilities: Capabilities {
                marking: Marking::Named,
                live_max: None,
                last_used: false,
                proof: Proof::Login,
            },
            outputs: &["token", "token_id", "user"],
            place: &["user"],
            content: &[],
            proof_outputs: &["token"],
        },
    ],
    letters,
    judge: judge::judge,
    connect,
};

/// A token is `sk-` and 64 hex digits, ids are letters and digits; what keyferry supplies is known where it
/// is supplied.
fn letters(_: &Type, output: &str) -> Letters {
    match output {
        "token" | "token_id" | "user" => Letters::Id,
        _ => Letters::Any,
    }
}

fn connect(instance: Instance) -> Result<Arc<dyn Vendor>, Fault> {
    let base = instance.base(SPEC.kind, BASE_URL)?;
    let url = base.url();
    if !matches!(url.path(), "" | "/") {
        let doing = format!("reading `base_url` of chatbotkit `{}`", instance.name);
        let fault = Fault::new(Class::Rejected, doing, "it has a path");
        return Err(fault.with_hint("end it after the host: the API's own path is added"));
    }
    Ok(Arc::new(ChatBotKit {
        hosted: url.host_str() == Some(HOSTED),
        base,
        run_as: instance.options.text("run_as").map(Into::into),
        partner: instance.options.text("child_path") == Some("partner"),
        keyring: instance.keyring,
        line: Line::new(instance.client),
        token: Shared::default(),
        odd: Mutex::default(),
        name: instance.name,
    }))
}

struct ChatBotKit {
    name: VendorName,
    base: Endpoint,
    hosted: bool,
    run_as: Option<String>,
    partner: bool,
    keyring: Arc<dyn Keyring>,
    line: Line,
    // Read again when it is refused.
    token: Shared<HeaderValue>,
    // What is odd about the token that was read last.
    odd: Mutex<Option<&'static str>>,
}

impl Vendor for ChatBotKit {
    fn check<'a>(&'a self, place: Place<'a>) -> Call<'a, ()> {
        self.whole("checking a place", async move {
            match place.type_name {
                TOKEN => self.check_user(self.user(place)?).await,
                _ => self.check_record(&self.spot(place)?).await,
            }
        })
    }

    fn list<'a>(&'a self, place: Place<'a>) -> Call<'a, Listing> {
        self.whole("listing what is", async move {
            match place.type_name {
                TOKEN => self.tokens(self.user(place)?).await,
                _ => self.record(&self.spot(place)?).await,
            }
        })
    }

    fn create<'a>(&'a self, place: Place<'a>, mark: &'a Mark) -> Call<'a, Minted> {
        self.whole("creating a credential", async move {
            match place.type_name {
                TOKEN => self.mint(self.user(place)?, mark).await,
                _ => Err(self.not_minted("creating")),
            }
        })
    }

    fn verify<'a>(&'a self, place: Place<'a>, outputs: &'a Outputs) -> Call<'a, Verdict> {
        self.whole("logging in with a candidate", async move {
            match place.type_name {
                TOKEN => self.log_in(self.user(place)?, outputs).await,
                _ => Err(self.not_minted("logging in with")),
            }
        })
    }

    fn accepts(&self, place: Place<'_>, outputs: &Outputs) -> Result<(), Fault> {
        let doing = format!("looking at the value for chatbotkit `{}`", self.name);
        judge::accepts(&doing, place.options, outputs)
    }

    fn set<'a>(&'a self, place: Place<'a>, mark: &'a Mark, outputs: &'a Outputs) -> Call<'a, Verdict> {
        self.whole("setting a value", async move {
            let spot = self.spot(place)?;
            self.put(&spot, mark, outputs).await
        })
    }

    fn tie(&self, _: Place<'_>, listed: &Listed, outputs: &Outputs) -> Tie {
        match outputs.holds("token_id", listed.id.as_str()) {
            Some(true) => Tie::This,
            Some(false) => Tie::Another,
            None => Tie::Untold,
        }
    }

    fn revoke<'a>(&'a self, place: Place<'a>, id: &'a VendorId, _: Grounds) -> Call<'a, Ended> {
        self.whole("ending a credential", async move {
            match place.type_name {
                TOKEN => self.delete(self.user(place)?, id).await,
                _ => Err(self.not_minted("revoking")),
            }
        })
    }
}

impl ChatBotKit {
    /// One whole call, in bounded time.
    fn whole<'a, T: 'a>(
        &'a self,
        verb: &'static str,
        work: impl Future<Output = Result<T, Fault>> + Send + 'a,
    ) -> Call<'a, T> {
        Box::pin(async move { self.line.whole(format!("{verb} at chatbotkit `{}`", self.name), Box::pin(work)).await })
    }

    /// Rotation never asks for this; a record is deleted by a person.
    fn not_minted(&self, doing: &str) -> Fault {
        let doing = format!("{doing} a secret of chatbotkit `{}`", self.name);
        Fault::new(Class::Rejected, doing, "its value is set in place")
    }

    fn missing(&self, what: &str) -> Fault {
        let doing = format!("reading a credential's options for chatbotkit `{}`", self.name);
        Fault::new(Class::Rejected, doing, format!("no {what}"))
    }
}

#[cfg(test)]
mod tests;
