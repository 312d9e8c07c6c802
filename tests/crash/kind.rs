//! The kinds of vendor, by how keyferry tells there what is its own: one table of what differs
//! between them, for the world and the judge.

use std::any::Any;

use keyferry::sandbox::chatbotkit::ChatBotKit;
use keyferry::sandbox::keycard::Keycard;
use keyferry::sandbox::simulator::{CallCount, Simulator};
use keyferry::sandbox::workos::WorkOs;
use serde_json::Value;

/// A kind of vendor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It keeps our mark: Keycard's passwords.
    Named,
    /// It keeps none, and leftovers are told by elimination: WorkOS's client secrets.
    Unnamed,
    /// It keeps a value of ours in one record: ChatBotKit's secrets.
    InPlace,
}

/// What the table says of a kind.
pub struct Vendor {
    /// The vendor's `kind`, and its name in the declaration.
    pub name: &'static str,
    /// Lines of its table in the declaration, the address apart.
    pub access: &'static str,
    /// The declared credential.
    pub credential: &'static str,
    /// The sandbox's word for the call that proves a value, and which of a rotation it is: in place,
    /// the record is looked at in the same way before.
    pub proves: (&'static str, u64),
    /// The line of `credential` that says where it is made, and another that may take its place.
    pub moves: Option<(&'static str, &'static str)>,
}

const NAMED: Vendor = Vendor {
    name: "keycard",
    access: "zone = \"production\"\nclient_id = { sandbox = true }\nclient_secret = { sandbox = true }\n",
    credential: "type = \"password\"\napplication = \"app\"\n",
    proves: ("zone_token", 1),
    moves: Some(("application = \"app\"", "application = \"app-two\"")),
};

const UNNAMED: Vendor = Vendor {
    name: "workos",
    access: "api_key = { sandbox = true }\n",
    credential: "type = \"client-secret\"\napplication = \"app\"\nownership = \"exclusive\"\n",
    proves: ("token", 1),
    moves: Some(("application = \"app\"", "application = \"app-two\"")),
};

const IN_PLACE: Vendor = Vendor {
    name: "chatbotkit",
    access: "token = { sandbox = true }\n",
    credential: "type = \"secret\"\nalias = \"app\"\nusage = \"bearer\"\nvalue = { generate = { length = 48 } }\n",
    proves: ("verify_secret", 2),
    // The record stays where it is: `check` and the status say so.
    moves: None,
};

/// A credential that the vendor ever had. In place, it is the value that the record holds.
pub struct Fact {
    pub id: String,
    pub lives: bool,
    /// How often somebody logged in with it; in place, how often the vendor proved whatever the record
    /// held.
    pub uses: u64,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Named, Self::Unnamed, Self::InPlace];

    /// Its row of the table.
    pub const fn vendor(self) -> &'static Vendor {
        match self {
            Self::Named => &NAMED,
            Self::Unnamed => &UNNAMED,
            Self::InPlace => &IN_PLACE,
        }
    }

    /// Somebody else makes a credential beside keyferry's.
    pub fn add_foreign(self, at: &dyn Simulator) {
        match self {
            Self::Named => _ = find::<Keycard>(at).seed_credential("production", "app", None).unwrap(),
            Self::Unnamed => _ = find::<WorkOs>(at).seed_secret("app").unwrap(),
            // The record is keyferry's alone.
            Self::InPlace => {}
        }
    }

    /// What the vendor has and had.
    pub fn facts(self, at: &dyn Simulator) -> Vec<Fact> {
        match self {
            Self::Named => {
                let all = find::<Keycard>(at).credentials().into_iter();
                all.map(|one| Fact { id: one.id, lives: one.deleted.is_none(), uses: one.login_count }).collect()
            }
            Self::Unnamed => {
                let all = find::<WorkOs>(at).secrets().into_iter();
                all.map(|one| Fact { id: one.id, lives: one.deleted.is_none(), uses: one.use_count }).collect()
            }
            Self::InPlace => {
                let held = find::<ChatBotKit>(at).holds("app").and_then(|(value, _)| value);
                let proved = |call: &&CallCount| call.operation == self.vendor().proves.0 && call.status == Some(200);
                let uses = find::<ChatBotKit>(at).call_counts().iter().filter(proved).map(|call| call.count).sum();
                held.into_iter().map(|id| Fact { id, lives: true, uses }).collect()
            }
        }
    }

    /// How many records there are in place; one at most, whatever was lost on the way.
    pub fn records(self, at: &dyn Simulator) -> usize {
        match self {
            Self::Named | Self::Unnamed => 0,
            Self::InPlace => find::<ChatBotKit>(at).secrets().len(),
        }
    }

    /// The credential that this stored value logs in as.
    pub fn whose(self, at: &dyn Simulator, value: &Value) -> Option<String> {
        match self {
            Self::Named => {
                let id = value["client_id"].as_str()?;
                let all = find::<Keycard>(at).credentials().into_iter().filter(|fact| fact.identifier == id);
                all.max_by_key(|fact| fact.created).map(|fact| fact.id)
            }
            Self::Unnamed => find::<WorkOs>(at).whose(value["client_secret"].as_str()?),
            Self::InPlace => Some(value["value"].as_str()?.to_owned()),
        }
    }
}

fn find<S: Simulator>(at: &dyn Simulator) -> &S {
    let at: &dyn Any = at;
    at.downcast_ref().expect("the kind's vendor is the one that the world has")
}
