//! Why something is not adopted, in words, and what to do instead.

use std::fmt;

use crate::model::label::Label;
use crate::model::name::VersionId;
use crate::model::time::Timestamp;
use crate::rotation::adopt::Holder;
use crate::rotation::{Reason, Turn};

/// Why something is not adopted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There is no AWS secret of that name.
    NoSecret,
    /// Its tags say that it is another's.
    OthersSecret {
        /// What its tags say.
        deployment: String,
        /// What its tags say.
        credential: String,
    },
    /// The secret must not be touched.
    Parked(Reason),
    /// The declaration retires the credential.
    Retired,
    /// The secret moves to another place at the vendor.
    Moving,
    /// An attempt to make a credential is under way.
    UnderWay,
    /// No version is current.
    NothingCurrent,
    /// AWSCURRENT is on a claim or a tombstone.
    Note,
    /// The current version is tracked as another credential.
    TrackedAs {
        /// The version.
        version: VersionId,
        /// The label that tracks it.
        lease: Label,
        /// Whether keyferry manages the secret.
        ours: bool,
    },
    /// Another version of the secret tracks the credential.
    TrackedBy {
        /// Which.
        version: VersionId,
    },
    /// Another secret tracks it.
    Held(Holder),
    /// The vendor does not list it in the declared place.
    NotListed {
        /// How many it lists there.
        there: usize,
        /// Whether a record that is not as declared is not listed.
        in_place: bool,
    },
    /// It is not what is declared.
    Differs,
    /// It carries a mark of another keyferry's.
    Marked,
    /// It is younger than the value.
    MadeAfter {
        /// The vendor's date of it.
        made: Timestamp,
        /// AWS's date of the value.
        stored: Timestamp,
    },
    /// The value names another credential.
    NamesAnother,
    /// The vendor refuses a login with the value.
    LoginRefused {
        /// What it said.
        answer: String,
    },
    /// The value has another shape than is declared.
    Shape {
        /// Whether it only has more keys.
        wider: bool,
    },
    /// Nothing proves that the value is the credential's secret.
    Unproved {
        /// What is not known.
        why: Vec<String>,
    },
    /// keyferry stored the version and ended its credential, and no login tells that it lives.
    Ended {
        /// What is not known.
        why: Vec<String>,
    },
}

impl Refused {
    /// Whether a person's word would do.
    pub fn asks_a_person(&self) -> bool {
        match self {
            Self::Shape { .. } | Self::Unproved { .. } => true,
            Self::Parked(reason) => reason.turn() == Turn::Person,
            Self::NoSecret
            | Self::OthersSecret { .. }
            | Self::Retired
            | Self::Moving
            | Self::UnderWay
            | Self::NothingCurrent
            | Self::Note
            | Self::TrackedAs { .. }
            | Self::TrackedBy { .. }
            | Self::Held(_)
            | Self::NotListed { .. }
            | Self::Differs
            | Self::Marked
            | Self::MadeAfter { .. }
            | Self::NamesAnother
            | Self::LoginRefused { .. }
            | Self::Ended { .. } => false,
        }
    }

    /// What can be done instead; `<name>` and `<id>` stand for what was asked for.
    pub fn hint(&self) -> Option<String> {
        let fixed = match self {
            Self::NoSecret => {
                "name the secret that is there, in `[credential.secret]`; or `keyferry once` makes one, with a \
                 credential of its own"
            }
            Self::OthersSecret { .. } => return Reason::OtherOwner.hint().map(Into::into),
            Self::Parked(reason) => return reason.hint().map(Into::into),
            Self::Retired => "declare it with `state = \"present\"` first",
            Self::Moving => "wait until the move is over: `keyferry explain <name>` says what it waits for",
            Self::UnderWay => "wait until it is over: `keyferry explain <name>` says what it waits for",
            Self::NothingCurrent => "put the credential's value into it first, as AWSCURRENT",
            Self::Note => "move AWSCURRENT to the version that holds the credential",
            Self::TrackedAs { ours: true, .. } => "it is managed already: `keyferry history <name>` shows its versions",
            Self::TrackedAs { version, lease, ours: false } => {
                return Some(format!(
                    "if that is wrong: `aws secretsmanager update-secret-version-stage --secret-id … --version-stage \
                     {lease} --remove-from-version-id {version}`, and adopt again"
                ));
            }
            Self::TrackedBy { .. } => {
                "it can't be tracked twice: `keyferry rotate <name>` publishes a fresh credential, or \
                 `keyferry rollback <name>` goes back to that version while it lives"
            }
            Self::Held(_) => {
                "one credential in two secrets would be ended for both at the first rotation: declare one that is fed \
                 by the other, or let `keyferry once` make another credential"
            }
            Self::NotListed { in_place: false, .. } => {
                "`keyferry orphans <name>` lists what is there, with ids; look also whether what is declared of the \
                 place is right"
            }
            Self::NotListed { in_place: true, .. } => {
                "the id is the record's own; one that is not as declared, or that nobody handed over to keyferry, is \
                 not listed: `keyferry orphans <name>` says why"
            }
            Self::Differs => "declare its type and options as they are there; they can be changed once it is adopted",
            Self::Marked => {
                "another keyferry would go on to rotate and end it: let `keyferry once` make another credential, and \
                 retire that one where it is declared"
            }
            Self::MadeAfter { .. } | Self::NamesAnother => {
                "`keyferry orphans <name>` shows the ids and when each was made"
            }
            Self::LoginRefused { .. } => {
                "nothing that does not work is adopted: consumers of this secret may be reading a dead value, or it \
                 belongs to another place than is declared"
            }
            Self::Shape { .. } => {
                "declare `value` as it is stored and change it later; or, where its readers can take the declared shape \
                 from the next rotation on: `--allow-shape-change`, or `allow_shape_change = true` in the declaration"
            }
            Self::Unproved { .. } => {
                "if you know it, `--unproved` takes your word: it is marked as unproved, and after the next rotation \
                 and its overlap `<id>` is ended"
            }
            Self::Ended { .. } => "`keyferry rotate <name>` publishes a fresh credential",
        };
        Some(fixed.into())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret => out.write_str("there is no AWS secret of that name"),
            Self::OthersSecret { deployment, credential } => {
                let (deployment, credential) = (shown(deployment), shown(credential));
                write!(out, "by its tags, the secret is deployment `{deployment}`'s, credential `{credential}`")
            }
            Self::Parked(reason) => out.write_str(reason.sentence()),
            Self::Retired => out.write_str("it is declared retired, or was a moment ago"),
            Self::Moving => out.write_str("the secret is on its way to another place at the vendor"),
            Self::UnderWay => out.write_str("an attempt to make a credential is under way in this secret"),
            Self::NothingCurrent => out.write_str("no version of the secret is current"),
            Self::Note => out.write_str("AWSCURRENT is on keyferry's own note (a claim or a tombstone)"),
            Self::TrackedAs { version, lease, .. } => {
                write!(out, "version {version}, which is current, is labelled as another credential (`{lease}`)")
            }
            Self::TrackedBy { version } => write!(out, "version {version}, which is not current, tracks it already"),
            Self::Held(Holder { secret, credential: Some(credential) }) => {
                write!(out, "AWS secret {secret} (`{credential}`) tracks it already")
            }
            Self::Held(Holder { secret, credential: None }) => {
                write!(out, "AWS secret {secret}, which is this deployment's and not declared any more, tracks it")
            }
            Self::NotListed { there: 0, .. } => out.write_str("the vendor lists no credential in the declared place"),
            Self::NotListed { there, .. } => {
                write!(out, "the vendor does not list it in the declared place, but {there} other")?;
                out.write_str(if *there == 1 { "" } else { "s" })
            }
            Self::Differs => out.write_str("the vendor shows that it is not what is declared"),
            Self::Marked => out.write_str("it carries a keyferry mark of another secret"),
            Self::MadeAfter { made, stored } => {
                write!(out, "it was made {made}, after the value was stored ({stored}), so that can't be its secret")
            }
            Self::NamesAnother => out.write_str("the stored value names another credential"),
            Self::LoginRefused { answer } => {
                write!(out, "the vendor refuses a login with the value that is current: {answer}")
            }
            Self::Shape { wider: true } => out.write_str("the stored value has more in it than is declared"),
            Self::Shape { wider: false } => out.write_str("the stored value has another shape than is declared"),
            Self::Unproved { why } => {
                write!(out, "nothing proves that the stored value is this credential's secret: {}", why.join("; "))
            }
            Self::Ended { why } => write!(
                out,
                "keyferry stored this version and ended its credential, and nothing proves that it lives: {}",
                why.join("; ")
            ),
        }
    }
}

/// A tag may hold anything.
fn shown(text: &str) -> String {
    text.chars().take(128).flat_map(char::escape_debug).collect()
}
