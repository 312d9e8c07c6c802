//! That the judge sees: each thing that must not be is done once, as if a process had done it, and
//! the judge must call it by its name. A judge who cannot fail proves nothing.

use std::sync::Arc;

use bytes::Bytes;
use keyferry::sandbox::keycard::Keycard;
use serde_json::json;

use crate::declare::{Draft, Kind, One};
use crate::events::Event;
use crate::judge::holder;
use crate::net::Call;
use crate::process::Cadence;
use crate::services::{SecretKey, text};
use crate::time::HOUR;
use crate::world::{Ask, Plan, World};

/// A world of one credential at Keycard that is replaced every six hours.
pub fn plain() -> Plan {
    let draft = Draft {
        targets: vec!["east".into()],
        vendors: vec![("keycard-1".into(), "keycard")],
        credentials: vec![One {
            name: "app".into(),
            kind: Kind::Named,
            vendor: "keycard-1".into(),
            target: "east".into(),
            application: "app".into(),
            zone: "production".into(),
            every_h: 6,
            overlap_h: 2,
            retire_when: None,
            retired: false,
            fed_by: None,
            premade: false,
        }],
        by_name: false,
    };
    Plan { draft, events: vec![], cadence: Cadence { list: HOUR, compare: 6 * HOUR } }
}

/// Runs `act` in a world of this plan, in its runtime.
pub fn within<T>(plan: Plan, hours: u32, act: impl FnOnce(&mut World) -> T) -> T {
    fastrand::seed(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::planned(plan, &Ask { seed: 1, keep: None, told: true });
        world.happen(Event::Start(0));
        world.wait_until(hours * HOUR).await;
        act(&mut world)
    })
}

fn key() -> SecretKey {
    ("east".into(), "app".into())
}

/// The credential that this label's version holds.
fn held_by(world: &World, label: &str) -> String {
    let services = &world.net.services;
    let secret = services.secret(&key()).unwrap();
    let version = holder(&secret, label).unwrap_or_else(|| panic!("no {label}"));
    services.whose("keycard-1", text(version.content.as_ref()).unwrap()).unwrap()
}

/// What a process did just now, to the judge.
fn judged(world: &World, aws: bool, what: &str) {
    let at = if aws { "east" } else { "keycard-1" };
    let call = Call { process: 1, at, aws, what, body: &Bytes::new(), write: true };
    world.net.judge.lock().unwrap().after(&world.net.services, &call);
}

fn end(world: &World, id: &str) {
    assert!(world.net.services.vendor::<Keycard>("keycard-1").unwrap().end_credential(id));
    judged(world, false, "DELETE /x");
}

fn stage(world: &World, body: serde_json::Value) {
    assert!(world.net.services.person("east", "UpdateSecretVersionStage", &body), "{body}");
    judged(world, true, "UpdateSecretVersionStage");
}

#[test]
fn the_judge_calls_each_violation_by_its_name() {
    type Act = fn(&mut World);
    // What is done seven hours after the start, when there are a current and a previous version.
    let rows: [(&str, Act); 8] = [
        ("ended-while-referenced", |world| end(world, &held_by(world, "AWSCURRENT"))),
        ("ended-before-overlap", |world| end(world, &held_by(world, "AWSPREVIOUS"))),
        ("foreign-credential-ended", |world| {
            let keycard = world.net.services.vendor::<Keycard>("keycard-1").unwrap();
            let before = keycard.credentials().len();
            keycard.seed_credential("production", "app", None).unwrap();
            world.net.judge.lock().unwrap().first_look(&world.net.services);
            let id = keycard.credentials()[before].id.clone();
            end(world, &id);
        }),
        ("lease-ended-alive", |world| {
            let secret = world.net.services.secret(&key()).unwrap();
            let current = holder(&secret, "AWSCURRENT").unwrap();
            let lease = current.stages.iter().find(|label| label.starts_with("kf-cred:")).unwrap();
            stage(world, json!({ "SecretId": "app", "VersionStage": lease, "RemoveFromVersionId": current.id }));
        }),
        ("published-dead", |world| {
            let secret = world.net.services.secret(&key()).unwrap();
            let [current, previous] = ["AWSCURRENT", "AWSPREVIOUS"].map(|label| holder(&secret, label).unwrap());
            end(world, &held_by(world, "AWSPREVIOUS"));
            let (from, to) = (&current.id, &previous.id);
            stage(
                world,
                json!({ "SecretId": "app", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": from, "MoveToVersionId": to }),
            );
        }),
        ("published-no-value", |world| {
            let secret = world.net.services.secret(&key()).unwrap();
            let current = holder(&secret, "AWSCURRENT").unwrap();
            let is_claim = |text: &str| text.contains("not a credential");
            let claim = secret.versions.iter().find(|one| text(one.content.as_ref()).is_some_and(is_claim)).unwrap();
            let (from, to) = (&current.id, &claim.id);
            stage(
                world,
                json!({ "SecretId": "app", "VersionStage": "AWSCURRENT", "RemoveFromVersionId": from, "MoveToVersionId": to }),
            );
        }),
        ("secret-deleted", |world| {
            assert!(world.net.services.person("east", "DeleteSecret", &json!({ "SecretId": "app" })));
            judged(world, true, "DeleteSecret");
        }),
        ("foreign-secret-touched", |world| {
            let foreign = ("east".to_owned(), "theirs".to_owned());
            let services = &world.net.services;
            let made = json!({ "Name": "theirs", "SecretString": "x", "ClientRequestToken": "0".repeat(32) });
            assert!(services.person("east", "CreateSecret", &made));
            world.net.judge.lock().unwrap().people(services, &foreign, false);
            let tag = json!({ "SecretId": "theirs", "Tags": [{ "Key": "a", "Value": "b" }] });
            assert!(services.person("east", "TagResource", &tag));
            judged(world, true, "TagResource");
        }),
    ];
    for (name, act) in rows {
        let seen = within(plain(), 7, |world| {
            assert_eq!(world.net.judge.lock().unwrap().violations, [], "before anything was done");
            act(world);
            let judge = world.net.judge.lock().unwrap();
            judge.violations.iter().map(|one| one.name).collect::<Vec<_>>()
        });
        assert!(seen.contains(&name), "{name}: {seen:?}");
    }
}

#[test]
fn the_judge_of_rest_calls_each_violation_by_its_name() {
    type Act = fn(&mut World);
    let rows: [(&str, Act); 4] = [
        ("silent-dead", |world| {
            let id = held_by(world, "AWSCURRENT");
            assert!(world.net.services.vendor::<Keycard>("keycard-1").unwrap().end_credential(&id));
            world.net.judge.lock().unwrap().people(&world.net.services, &key(), true);
        }),
        ("forgotten", |world| {
            let secret = world.net.services.secret(&key()).unwrap();
            let previous = holder(&secret, "AWSPREVIOUS").unwrap();
            let lease = previous.stages.iter().find(|label| label.starts_with("kf-cred:")).unwrap();
            stage(world, json!({ "SecretId": "app", "VersionStage": lease, "RemoveFromVersionId": previous.id }));
        }),
        ("overdue", |world| world.net.services.time.suspend(12 * HOUR)),
        ("outlived", |world| {
            world.net.services.time.suspend(12 * HOUR);
            let judge = &world.net.judge;
            judge.lock().unwrap().people(&world.net.services, &key(), false);
        }),
    ];
    for (name, act) in rows {
        let seen = within(plain(), 7, |world| {
            let engine = Arc::clone(world.slots[&0].engine.lock().unwrap().as_ref().unwrap());
            act(world);
            // The statuses of before: nobody has looked since.
            world.net.judge.lock().unwrap().at_rest(&world.net.services, &engine.board().all());
            let judge = world.net.judge.lock().unwrap();
            judge.violations.iter().map(|one| one.name).collect::<Vec<_>>()
        });
        assert!(seen.contains(&name), "{name}: {seen:?}");
    }
}
