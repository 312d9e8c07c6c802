//! Edge: who issues credentials. One file a vendor; this file has the contract they all keep and
//! the list of them.
//!
//! A driver does single calls and says what came back; it decides nothing about rotation. A new
//! vendor is one file and two lines here: the `mod` and the entry in [`ALL`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::model::attempt::Mark;
use crate::model::capability::{Capabilities, Proof};
use crate::model::fault::{Class, Fault};
use crate::model::name::{VendorId, VendorName};
use crate::model::observed::{Listed, Listing, Tie};
use crate::model::option::{Field, Options};
use crate::model::payload::{Letters, Outputs};
use crate::model::secret::Keyring;
use crate::model::time::Clock;

pub mod chatbotkit;
pub mod http;
pub mod keycard;
pub mod workos;

/// Every vendor keyferry knows.
pub const ALL: &[&Spec] = &[&keycard::SPEC, &workos::SPEC, &chatbotkit::SPEC];

/// The vendor whose `kind` this is.
pub fn find(kind: &str) -> Option<&'static Spec> {
    ALL.iter().copied().find(|spec| spec.kind == kind)
}

/// What a vendor is, as data.
pub struct Spec {
    /// The word in `kind = "…"`.
    pub kind: &'static str,
    /// For people: its own name.
    pub title: &'static str,
    /// Options of `[vendors.<name>]`.
    pub fields: &'static [Field],
    /// The credential types it can make.
    pub types: &'static [Type],
    /// Which characters an output of a type can have, as far as the vendor says so.
    pub letters: fn(&Type, &str) -> Letters,
    /// What its options say together that none of them says alone.
    pub judge: fn(&Type, &Options) -> Vec<Objection>,
    /// Opens an instance; makes no call.
    pub connect: fn(Instance) -> Result<Arc<dyn Vendor>, Fault>,
}

/// Why the vendor would not take a credential's options, or would not do what they seem to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Objection {
    /// The option it is about.
    pub field: &'static str,
    /// What is wrong, lower case, no full stop; no value is quoted.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// For vendors whose options can be judged one by one.
pub fn no_objection(_: &Type, _: &Options) -> Vec<Objection> {
    Vec::new()
}

/// One credential type of a vendor.
pub struct Type {
    /// The word in `type = "…"`.
    pub name: &'static str,
    /// Its options in `[[credential]]`. A field that the vendor's own table has too (a zone) takes
    /// its default from there.
    pub fields: &'static [Field],
    /// What it can do.
    pub capabilities: Capabilities,
    /// Names of its outputs that a stored value may hold.
    pub outputs: &'static [&'static str],
    /// Which of its options say where at the vendor a credential lives: another value there is
    /// another place, and what lives in the old one is not found in the new.
    pub place: &'static [&'static str],
    /// Which of its options say what such a credential is, besides where: a change of one makes
    /// another credential of it.
    pub content: &'static [&'static str],
    /// Those that a stored value must hold, so that a candidate can be proved after a crash. They
    /// also make the default value, except where there is no secret in any output: there all do.
    pub proof_outputs: &'static [&'static str],
}

/// A declared vendor, ready to be opened.
pub struct Instance {
    /// Its name in the declaration.
    pub name: VendorName,
    /// Its options.
    pub options: Options,
    /// Where its admin secrets come from.
    pub keyring: Arc<dyn Keyring>,
    /// The one HTTP client.
    pub client: http::Client,
    /// For its monotonic time: when a fetched token must be renewed.
    pub clock: Arc<dyn Clock>,
}

impl Instance {
    /// The checked address in its option `base_url`, or `standard`, ready to be called.
    ///
    /// # Errors
    /// `Rejected` for what is no address that secrets may be sent to.
    pub fn base(&self, kind: &str, standard: &str) -> Result<http::Endpoint, Fault> {
        let text = self.options.text("base_url").unwrap_or(standard);
        let base = http::Endpoint::parse(text).map_err(|invalid| {
            let doing = format!("reading `base_url` of {kind} `{}`", self.name);
            Fault::new(Class::Rejected, doing, format!("expected {invalid}"))
        })?;
        self.client.prepare(&base)?;
        Ok(base)
    }
}

/// Where one credential is made: its type and options.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The credential type's name.
    pub type_name: &'static str,
    /// The credential's options, with the vendor's defaults filled in.
    pub options: &'a Options,
}

/// A credential that was just created: the only moment its secret is known.
pub struct Minted {
    /// The vendor's id.
    pub id: VendorId,
    /// Its pieces, the secret ones included.
    pub outputs: Outputs,
}

/// What a login with a candidate showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The vendor accepted it.
    Good,
    /// The vendor said: bad credential.
    Bad {
        /// What it said, in checked words.
        answer: String,
    },
    /// Nothing that the vendor offers tells: this is neither a good nor a bad word about it.
    CannotTell {
        /// Why not, in our words.
        answer: String,
    },
}

/// Why the caller may end a credential. It decides what a driver may send where the call that ends
/// one names no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grounds {
    /// Our own lease, or our own create's answer, names this very id: it is ours wherever the vendor
    /// keeps it, so only the vendor's own word on the id tells whether it is gone.
    Tracked,
    /// It is ours, or was named by a person, as one of those that the place lists: nothing is sent
    /// for an id that is not listed there.
    Listed,
}

/// Who said what about a credential that was to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The vendor confirmed it, with the answer that it documents for this call.
    Confirmed,
    /// The vendor itself answered, for this very id, that it knows no such credential, and the place
    /// that was asked is there. Where ids belong to a place (Keycard's zone, ChatBotKit's child
    /// account), this is about that place alone: compare [`Vendor::whereabouts`].
    UnknownToVendor,
    /// The driver did not see it in the place, and sent nothing.
    NotListed,
}

/// A boxed call.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// One vendor instance. Every call is a single effect; reads and revokes may be retried inside,
/// a create is sent at most once.
pub trait Vendor: Send + Sync {
    /// Resolves names (zone, application, …) and proves that the admin secret works, without
    /// changing anything.
    ///
    /// # Errors
    /// `Denied` for a refused admin secret, `Gone` for a name the vendor doesn't know, `Rejected`
    /// for an ambiguous one.
    fn check<'a>(&'a self, place: Place<'a>) -> Call<'a, ()>;

    /// The vendor's own id of where such a credential lives, where the declaration may write one place
    /// in several ways; `None` where it can't.
    ///
    /// # Errors
    /// As for [`Vendor::check`].
    fn whereabouts<'a>(&'a self, _place: Place<'a>) -> Call<'a, Option<String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Lists everything in the place, to the last page, with the vendor's own date.
    ///
    /// # Errors
    /// Any incomplete listing is a fault, never a short listing.
    fn list<'a>(&'a self, place: Place<'a>) -> Call<'a, Listing>;

    /// Whether a login there can tell a good credential from a bad one, as far as that can be known
    /// before there is one: `Impossible` where [`Vendor::verify`] could only say `CannotTell`.
    ///
    /// # Errors
    /// As for [`Vendor::check`].
    fn provable<'a>(&'a self, _place: Place<'a>) -> Call<'a, Proof> {
        Box::pin(std::future::ready(Ok(Proof::Login)))
    }

    /// Creates one credential, with our mark where the vendor keeps one.
    ///
    /// # Errors
    /// Anything but a clear refusal is `InDoubt`.
    fn create<'a>(&'a self, place: Place<'a>, mark: &'a Mark) -> Call<'a, Minted>;

    /// Logs in with a credential's pieces.
    ///
    /// # Errors
    /// Whatever says nothing about the credential itself: 429, 5xx, DNS, timeouts, wrong requests.
    fn verify<'a>(&'a self, place: Place<'a>, outputs: &'a Outputs) -> Call<'a, Verdict>;

    /// Whether these pieces belong to `listed`, as far as they name it; makes no call. A login tells
    /// that they work, not always which credential they are.
    fn tie(&self, _place: Place<'_>, _listed: &Listed, _outputs: &Outputs) -> Tie {
        Tie::Untold
    }

    /// In-place types: whether the vendor could keep these pieces at all; makes no call. Asked before
    /// anything is written anywhere.
    ///
    /// # Errors
    /// `Rejected`, and says why, without the value.
    fn accepts(&self, _place: Place<'_>, _outputs: &Outputs) -> Result<(), Fault> {
        Ok(())
    }

    /// In-place types: makes the place's one record hold these pieces and our mark, whatever it held
    /// before, and proves it as far as the vendor allows. Twice is as good as once.
    ///
    /// # Errors
    /// As classified; `Rejected` for a record that is not ours.
    fn set<'a>(&'a self, _place: Place<'a>, _mark: &'a Mark, _outputs: &'a Outputs) -> Call<'a, Verdict> {
        let answer = "this vendor mints its credentials and keeps no value of ours";
        Box::pin(std::future::ready(Err(Fault::new(Class::Rejected, "setting a value at the vendor", answer))))
    }

    /// Ends one credential, and tells who said so. Any other answer than those that the vendor
    /// documents for this call (a page of something in front of it, another status, another id) ends
    /// nothing and says nothing: it is a fault.
    ///
    /// # Errors
    /// `InDoubt` for an answer that confirms nothing; `Gone` when the place (zone, application,
    /// account) is not there, which says nothing about the credential; otherwise as classified.
    fn revoke<'a>(&'a self, place: Place<'a>, id: &'a VendorId, grounds: Grounds) -> Call<'a, Ended>;
}
