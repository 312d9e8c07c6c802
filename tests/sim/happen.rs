//! How events happen to a world: what people, vendors and machines do.

use std::time::Duration;

use keyferry::sandbox::keycard::Keycard;
use keyferry::sandbox::workos::{Kind as Application, WorkOs};
use serde_json::{Value, json};

use crate::declare::{Kind, One};
use crate::events::{Event, Strip};
use crate::judge::{self, holder};
use crate::net::Trap;
use crate::process::Order;
use crate::services::SecretKey;
use crate::world::World;

/// The label whose holder people mean.
const PREVIOUS: &str = "AWSPREVIOUS";
const CURRENT: &str = "AWSCURRENT";

impl World {
    /// Makes it happen.
    pub fn happen(&mut self, event: Event) {
        match event {
            Event::Trouble(which, trouble, span) => {
                let names: Vec<String> = self.net.services.points.values().map(|point| point.name.clone()).collect();
                let name = names[which % names.len()].clone();
                self.net.note(&format!("{name}: {trouble:?}"));
                self.net.trouble(&name, Some(trouble));
                let net = std::sync::Arc::clone(&self.net);
                tokio::spawn(async move {
                    tokio::time::sleep(span).await;
                    net.note(&format!("{name}: no trouble"));
                    net.trouble(&name, None);
                });
            }
            Event::Start(slot) => self.start(slot),
            Event::Crash(slot, writes, applied) => self.crash(slot, Trap { writes, applied }),
            Event::Kill(slot) => self.kill(slot),
            Event::Stop(slot) => self.order(slot, Order::Stop),
            Event::Reload(slot) => {
                let declaration = self.declaration();
                self.order(slot, Order::Reload(declaration));
            }
            Event::Once => self.once(),
            Event::Rotate(which, leaked) => {
                let key = self.key(which);
                self.rotate(key, leaked);
            }
            Event::Suspend(span) => self.net.services.time.suspend(span),
            Event::Move(..) | Event::Retire(_) | Event::Reschedule(..) => self.edit(event),
            Event::StripTags(which) | Event::Delete(which) | Event::Restore(which) => self.at_console(which, event),
            Event::StripLabel(which, strip) => self.strip_label(which, strip),
            Event::MoveBack(which) => self.move_back(which),
            Event::Pause(which, _) | Event::Confirm(which) | Event::Accept(which) => self.tag(which, event),
            Event::Adopt(which) => {
                let one = self.one(which);
                let key = self.key(which);
                if one.premade {
                    self.adopt(key);
                }
            }
            Event::EndAtVendor(which, newest) => self.end_at_vendor(which, newest),
            Event::Recreate(which) => self.recreate(which),
            Event::Foreign(which) => self.add_foreign(which),
        }
    }

    fn one(&mut self, which: usize) -> One {
        self.draft.pick(which).clone()
    }

    fn key(&mut self, which: usize) -> SecretKey {
        let one = self.draft.pick(which);
        (one.target.clone(), one.name.clone())
    }

    fn people(&self, key: &SecretKey, disturbs: bool) {
        self.net.judge.lock().unwrap().people(&self.net.services, key, disturbs);
    }

    fn edit(&mut self, event: Event) {
        match event {
            Event::Move(which, zone) => {
                let one = self.draft.pick(which);
                match one.kind {
                    Kind::Named if zone => {
                        one.zone = if one.zone == "staging" { "production" } else { "staging" }.into()
                    }
                    Kind::InPlace => {}
                    Kind::Named | Kind::Exclusive | Kind::Shared | Kind::Token => {
                        one.application = match one.application.strip_suffix("-two") {
                            Some(before) => before.to_owned(),
                            None => format!("{}-two", one.application),
                        };
                    }
                }
            }
            Event::Retire(which) => {
                let name = self.draft.pick(which).name.clone();
                let feeds = self.draft.credentials.iter().any(|one| one.fed_by.as_ref() == Some(&name));
                if !feeds {
                    self.draft.pick(which).retired = true;
                }
            }
            Event::Reschedule(which, hours) => {
                let one = self.draft.pick(which);
                if one.every_h > 0 {
                    one.every_h = one.every_h.max(8) + hours;
                }
            }
            _ => unreachable!("no edit of the declaration"),
        }
        let declaration = self.draft.read();
        self.net.services.seed(&declaration);
        let mut judge = self.net.judge.lock().unwrap();
        judge.now = self.net.services.time.elapsed();
        judge.declare(&self.draft);
    }

    fn at_console(&mut self, which: usize, event: Event) {
        let key = self.key(which);
        let services = &self.net.services;
        let done = match event {
            Event::StripTags(_) => {
                let tags = services.secret(&key).and_then(|secret| secret.tags.clone()).unwrap_or_default();
                let ours: Vec<&String> = tags.keys().filter(|tag| tag.starts_with("keyferry:")).collect();
                !ours.is_empty()
                    && services.person(&key.0, "UntagResource", &json!({ "SecretId": key.1, "TagKeys": ours }))
            }
            Event::Delete(_) => {
                services.person(&key.0, "DeleteSecret", &json!({ "SecretId": key.1, "RecoveryWindowInDays": 30 }))
            }
            _ => services.person(&key.0, "RestoreSecret", &json!({ "SecretId": key.1 })),
        };
        if done {
            self.people(&key, true);
        }
    }

    fn stage(&self, key: &SecretKey, label: &str, from: Option<&str>, to: Option<&str>) -> bool {
        let mut body = json!({ "SecretId": key.1, "VersionStage": label });
        if let Some(from) = from {
            body["RemoveFromVersionId"] = Value::from(from);
        }
        if let Some(to) = to {
            body["MoveToVersionId"] = Value::from(to);
        }
        self.net.services.person(&key.0, "UpdateSecretVersionStage", &body)
    }

    fn strip_label(&mut self, which: usize, strip: Strip) {
        let key = self.key(which);
        let Some(secret) = self.net.services.secret(&key) else { return };
        let labels = |holds: &str, start: &str| -> Vec<(String, String)> {
            let versions = secret.versions.iter().filter(|version| holds.is_empty() || version.stages.contains(holds));
            let labels =
                versions.flat_map(|version| version.stages.iter().map(|stage| (version.id.clone(), stage.clone())));
            labels.filter(|(_, stage)| stage.starts_with(start)).collect()
        };
        let found = match strip {
            Strip::LeaseOfPrevious => labels(PREVIOUS, "kf-cred:"),
            Strip::LeaseOfCurrent => labels(CURRENT, "kf-cred:"),
            Strip::Open => labels("", "kf-open:"),
            Strip::Previous => labels(PREVIOUS, PREVIOUS),
        };
        for (version, label) in found {
            if self.stage(&key, &label, Some(&version), None) {
                self.people(&key, true);
            }
        }
    }

    fn move_back(&mut self, which: usize) {
        let key = self.key(which);
        let Some(secret) = self.net.services.secret(&key) else { return };
        let (Some(current), Some(previous)) = (holder(&secret, CURRENT), holder(&secret, PREVIOUS)) else { return };
        if self.stage(&key, CURRENT, Some(&current.id), Some(&previous.id)) {
            self.people(&key, true);
        }
    }

    fn tag(&mut self, which: usize, event: Event) {
        let key = self.key(which);
        let now = self.net.services.time.now();
        let Some(secret) = self.net.services.secret(&key) else { return };
        let (tag, value) = match event {
            Event::Pause(_, hours) => {
                ("keyferry:pause", now.plus(Duration::from_secs(hours * 3_600)).seconds().to_string())
            }
            _ => {
                let tag = if matches!(event, Event::Accept(_)) { "keyferry:base" } else { "keyferry:confirmed" };
                match holder(&secret, CURRENT) {
                    Some(current) => (tag, format!("{}@{}", current.id, now.seconds())),
                    None => return,
                }
            }
        };
        let body = json!({ "SecretId": key.1, "Tags": [{ "Key": tag, "Value": value }] });
        // All are keyferry's own words: nothing is disturbed by them for good.
        if self.net.services.person(&key.0, "TagResource", &body) {
            self.people(&key, false);
            if let Event::Pause(_, hours) = event {
                // Until it is over, nothing is ended, and nothing is late.
                let mut judge = self.net.judge.lock().unwrap();
                let over = judge.now + Duration::from_secs(hours * 3_600);
                judge.secrets.get_mut(&key).expect("it was just looked at").people = Some(over);
            }
        }
    }

    fn end_at_vendor(&mut self, which: usize, newest: bool) {
        let (one, key) = (self.one(which), self.key(which));
        let place = judge::place(&one);
        let facts = self.net.services.facts(&one.vendor);
        let live: Vec<String> =
            facts.into_iter().filter(|(_, fact)| fact.live && fact.place == place).map(|(id, _)| id).collect();
        let Some(id) = (if newest { live.last() } else { live.first() }) else { return };
        if let Some(keycard) = self.net.services.vendor::<Keycard>(&one.vendor) {
            keycard.end_credential(id);
        } else if let Some(workos) = self.net.services.vendor::<WorkOs>(&one.vendor) {
            workos.end_secret(id);
        }
        self.people(&key, true);
    }

    fn recreate(&mut self, which: usize) {
        let (one, key) = (self.one(which), self.key(which));
        if let Some(keycard) = self.net.services.vendor::<Keycard>(&one.vendor) {
            keycard.end_application(&one.zone, &one.application);
            keycard.seed_application(&one.zone, &one.application);
        } else if let Some(workos) = self.net.services.vendor::<WorkOs>(&one.vendor) {
            workos.rename_application(&one.application, &format!("{}-old", one.application));
            workos.add_application(&one.application, Application::M2m, "org_01SANDBOX");
        }
        self.people(&key, true);
    }

    /// Makes the secret that somebody had before keyferry came.
    pub fn premake(&self, one: &One) {
        let services = &self.net.services;
        let pair = if let Some(keycard) = services.vendor::<Keycard>(&one.vendor) {
            keycard.seed_credential(&one.zone, &one.application, None)
        } else if let Some(workos) = services.vendor::<WorkOs>(&one.vendor) {
            let made = workos.seed_secret(&one.application);
            let client = |id: &str| workos.secrets().into_iter().find(|one| one.id == id).map(|one| one.client_id);
            made.and_then(|(id, value)| Some((client(&id)?, value)))
        } else {
            None
        };
        let Some((client, secret)) = pair else { return };
        let value = json!({ "client_id": client, "client_secret": secret }).to_string();
        let body = json!({ "Name": one.name, "SecretString": value, "ClientRequestToken": "0".repeat(32) });
        assert!(services.person(&one.target, "CreateSecret", &body), "the secret is new");
        self.people(&(one.target.clone(), one.name.clone()), true);
    }

    fn add_foreign(&mut self, which: usize) {
        let (one, key) = (self.one(which), self.key(which));
        if let Some(keycard) = self.net.services.vendor::<Keycard>(&one.vendor) {
            keycard.seed_credential(&one.zone, &one.application, None);
        } else if let Some(workos) = self.net.services.vendor::<WorkOs>(&one.vendor) {
            workos.seed_secret(&one.application);
        }
        // It is not ours, and the status says so.
        self.people(&key, true);
    }
}
