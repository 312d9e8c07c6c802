//! The services of a world: a Secrets Manager for each target and a simulator for each vendor
//! instance, reached by address and without a socket; and what is true in them, which nobody but the
//! judge knows.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use keyferry::config::Declaration;
use keyferry::model::time::Clock;
use keyferry::sandbox::chatbotkit::ChatBotKit;
use keyferry::sandbox::faults::Faults;
use keyferry::sandbox::keycard::Keycard;
use keyferry::sandbox::secrets_manager::SecretsManager;
use keyferry::sandbox::secrets_manager::operation::Operation;
use keyferry::sandbox::secrets_manager::state::{Call, Content, Secret};
use keyferry::sandbox::secrets_manager::wire::Request;
use keyferry::sandbox::simulator::{Seed, Setting, Simulator};
use keyferry::sandbox::workos::WorkOs;
use keyferry::sandbox::world::World;
use serde_json::Value;

use crate::declare::Draft;
use crate::time::WorldTime;

pub const REGION: &str = "us-east-1";

/// A credential at a vendor: instance and id.
pub type CredentialKey = (String, String);

/// A secret: target and name.
pub type SecretKey = (String, String);

/// One address.
pub struct Point {
    /// The target's or vendor instance's name.
    pub name: String,
    pub router: Router,
    pub faults: Arc<Mutex<Faults>>,
    /// Whether this is a Secrets Manager.
    pub aws: bool,
}

/// All of them.
pub struct Services {
    pub time: WorldTime,
    pub points: BTreeMap<String, Point>,
    pub managers: BTreeMap<String, Arc<SecretsManager>>,
    pub simulators: BTreeMap<String, Arc<dyn Simulator>>,
}

/// One credential as its vendor knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    pub place: String,
    pub live: bool,
}

impl Services {
    pub fn start(draft: &Draft, seed: u64, time: &WorldTime) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(time.clone());
        let mut services = Self {
            time: time.clone(),
            points: BTreeMap::new(),
            managers: BTreeMap::new(),
            simulators: BTreeMap::new(),
        };
        for (number, name) in draft.targets.iter().enumerate() {
            let seed = seed.wrapping_mul(31).wrapping_add(number as u64);
            let world = Arc::new(World::new(seed, Arc::clone(&clock), Arc::clone(&clock)));
            let faults = Arc::clone(&world.faults);
            let manager = Arc::new(SecretsManager::new(world));
            let point = Point { name: name.clone(), router: Arc::clone(&manager).router(), faults, aws: true };
            services.points.insert(draft.target_authority(name), point);
            services.managers.insert(name.clone(), manager);
        }
        for (number, (name, kind)) in draft.vendors.iter().enumerate() {
            let spec = keyferry::sandbox::ALL.iter().find(|spec| spec.kind == *kind).expect("it is in the list");
            let faults = Arc::new(Mutex::new(Faults::new(seed ^ number as u64)));
            let address = draft.vendor_authority(name);
            let simulator = (spec.start)(Setting {
                clock: Arc::clone(&clock),
                faults: Arc::clone(&faults),
                seed: seed.wrapping_mul(37).wrapping_add(number as u64),
                base_url: format!("http://{address}"),
            });
            let router = Arc::clone(&simulator).router();
            services.points.insert(address, Point { name: name.clone(), router, faults, aws: false });
            services.simulators.insert(name.clone(), simulator);
        }
        services
    }

    /// Makes what the declared credentials need at their vendors.
    pub fn seed(&self, declaration: &Declaration) {
        for one in &declaration.credentials {
            let vendor = declaration.vendors[&one.vendor].spec.kind;
            let seed = Seed { vendor: vendor.into(), type_name: one.type_name.into(), options: one.options.clone() };
            self.simulators[one.vendor.as_str()].seed(&seed);
        }
    }

    /// The vendor instance of this name, as what it is.
    pub fn vendor<S: Simulator>(&self, name: &str) -> Option<&S> {
        (&**self.simulators.get(name)? as &dyn Any).downcast_ref()
    }

    /// Every credential at one vendor instance.
    pub fn facts(&self, name: &str) -> BTreeMap<String, Fact> {
        if let Some(keycard) = self.vendor::<Keycard>(name) {
            let all = keycard.credentials().into_iter();
            return all
                .map(|one| {
                    let place = format!("{}/{}", one.zone, one.application);
                    (one.id, Fact { place, live: one.deleted.is_none() })
                })
                .collect();
        }
        if let Some(workos) = self.vendor::<WorkOs>(name) {
            let all = workos.secrets().into_iter();
            let fact = |place: String, live: bool| Fact { place, live };
            return all.map(|one| (one.id, fact(one.application, one.deleted.is_none()))).collect();
        }
        let tokens = self.vendor::<ChatBotKit>(name).map(ChatBotKit::tokens).unwrap_or_default();
        tokens.into_iter().map(|(id, place, _)| (id, Fact { place, live: true })).collect()
    }

    /// The credential that a stored value is, at this vendor instance.
    pub fn whose(&self, vendor: &str, value: &str) -> Option<String> {
        let json: Value = serde_json::from_str(value).ok()?;
        if let Some(workos) = self.vendor::<WorkOs>(vendor) {
            return workos.whose(json["client_secret"].as_str()?);
        }
        if let Some(keycard) = self.vendor::<Keycard>(vendor) {
            let client = json["client_id"].as_str()?;
            return keycard.credentials().into_iter().find(|one| one.identifier == client).map(|one| one.id);
        }
        json["token_id"].as_str().map(str::to_owned)
    }

    /// The secret of this name.
    pub fn secret(&self, key: &SecretKey) -> Option<Arc<Secret>> {
        let now = self.time.now();
        self.managers.get(&key.0)?.with_state(|state| state.present(REGION, &key.1, now).cloned())
    }

    /// What a person does at AWS's console; whether AWS let them.
    pub fn person(&self, target: &str, operation: &str, body: &Value) -> bool {
        let operation = Operation::named(operation).expect("a known operation");
        let Ok(request) = Request::read(body.to_string().as_bytes()) else { return false };
        let now = self.time.now();
        let call = Call { region: REGION.into(), access_key: "sandbox".into(), now, stale: false };
        self.managers[target].with_state(|state| state.perform(&call, operation, &request)).is_ok()
    }
}

/// A version's text; `None` for one without.
pub fn text(content: Option<&Arc<Content>>) -> Option<&str> {
    match content?.as_ref() {
        Content::Text(text) => Some(text),
        Content::Bytes(_) => None,
    }
}
