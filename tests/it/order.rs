//! What goes first where not all can begin at once, and what does not begin because it is too much.

use std::time::Duration;

use keyferry::engine::pool::Pool;
use keyferry::engine::reconcile::Visit;
use keyferry::model::attempt::Cause;
use keyferry::model::name::Name;
use keyferry::rotation::Reason;
use keyferry::rotation::fleet::Urgency;
use keyferry::sandbox::faults::{Effect, Rule};

use crate::stage::{Stage, credential};

const HOUR: Duration = Duration::from_secs(3_600);

/// More than may be visited at once in one lane.
const COUNT: usize = 12;

async fn many() -> Stage {
    let all = (0..COUNT).map(|number| credential(&format!("app-{number:02}")));
    Stage::with(&all.collect::<String>()).await
}

fn name(number: usize) -> Name {
    Name::new(&format!("app-{number:02}")).unwrap()
}

#[tokio::test]
async fn an_urgent_wake_up_overtakes_a_routine_one_of_the_same_name() {
    let stage = many().await;
    let all = stage.engine.declaration().credentials.clone();
    let look = Visit { dry: true, ..Visit::default() };
    let mut pool = Pool::default();
    for credential in &all {
        pool.ask(&stage.engine, credential, look, Urgency::Routine);
    }
    for (number, urgency) in [(10, Urgency::Begun), (11, Urgency::Leaked), (0, Urgency::Routine)] {
        pool.ask(&stage.engine, &all[number], look, urgency);
    }
    pool.begin();
    let running = |pool: &Pool| pool.running().iter().map(ToString::to_string).collect::<Vec<_>>();
    let first: Vec<String> = (0..6).chain([10, 11]).map(|number| name(number).to_string()).collect();
    assert_eq!(running(&pool), first);
    // One that runs is urgent again after that, and delays nobody meanwhile.
    pool.ask(&stage.engine, &all[11], look, Urgency::Leaked);
    let mut landed = Vec::new();
    while let Some(one) = pool.landed().await {
        landed.push(one.credential.name.to_string());
        pool.begin();
    }
    let times = |number: usize| landed.iter().filter(|one| **one == name(number).to_string()).count();
    assert_eq!((landed.len(), times(10), times(11)), (COUNT + 1, 1, 2), "{landed:?}");
}

#[tokio::test]
async fn a_person_who_rotates_many_gets_what_may_be_an_emergency_first() {
    let mut stage = many().await;
    stage.pass().await;
    // The process that began to replace a leaked value dies at the vendor.
    let (service, operation) = ("keycard".into(), "create_credential".into());
    let effect = Effect::Refuse { status: 503, code: "unavailable".into() };
    stage.sandbox.add_fault(Rule { service, operation, skip: 0, times: 0, chance: 1.0, effect });
    let last = stage.engine.declared(&name(11)).unwrap().clone();
    let leaked = Visit { request: Some(Cause::Leaked), ..Visit::default() };
    stage.engine.visit_all(vec![last], leaked, |_, _| {}).await;
    stage.restart().await;
    let all = stage.engine.declaration().credentials.clone();
    let asked = Visit { request: Some(Cause::Asked), dry: true, ..Visit::default() };
    let urgency = |stage: &Stage, number| stage.engine.urgency(&name(number), asked.request);
    assert_eq!(urgency(&stage, 11), Urgency::Asked, "nothing is known yet");
    let few = all[9..].to_vec();
    stage.engine.visit_all(few, asked, |_, _| {}).await;
    assert_eq!(urgency(&stage, 11), Urgency::Leaked, "its claim says so");
    stage.restart().await;
    let listed = stage.sandbox.world.total("aws", "ListSecrets");
    stage
        .engine
        .visit_all(all, Visit { vendor: keyferry::engine::reconcile::AskVendor::Never, ..asked }, |_, _| {})
        .await;
    assert_eq!(stage.sandbox.world.total("aws", "ListSecrets") - listed, 1, "one listing tells the order");
    assert_eq!((urgency(&stage, 0), urgency(&stage, 11)), (Urgency::Asked, Urgency::Leaked));
}

#[tokio::test]
async fn more_moves_than_may_be_begin_under_neither_discovery() {
    let declared = |application: &str| {
        let all = ["a", "b", "c"].map(|name| {
            credential(name)
                .replace(&format!("application = \"{name}\""), &format!("application = \"{application}{name}\""))
        });
        all.concat()
    };
    for discovery in ["list", "declared"] {
        for (most, held) in [(2, true), (3, false)] {
            let head = format!("discovery = \"{discovery}\"\nlimits = {{ max_replacements = {most} }}\n");
            let mut stage = Stage::with(&declared("at-")).await;
            stage.declare_head(&head).await;
            stage.pass().await;
            stage.clock.advance(HOUR);
            stage.redeclare(&declared("moved-to-")).await;
            stage.declare_head(&head).await;
            for _ in 0..2 {
                let writes = stage.writes();
                stage.pass().await;
                let reasons = ["a", "b", "c"].map(|name| stage.status(name).reason);
                let all = reasons.iter().filter(|reason| **reason == Reason::TooManyReplacements).count();
                assert_eq!(all, if held { 3 } else { 0 }, "{discovery}, at most {most}: {reasons:?}");
                assert!(!held || stage.writes() == writes, "{discovery}: something began");
            }
            assert_eq!(stage.live_credentials(), if held { 3 } else { 6 }, "{discovery}, at most {most}");
        }
    }
}
