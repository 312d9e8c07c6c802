//! The same voyage in bad weather: each fault alone, at each call; then none, and everything must
//! come to rest with one live credential, no label of an attempt, and no failure of the consumer.

use std::time::Duration;

use keyferry::sandbox::faults::{Broken, Effect, Rule};

use crate::stage::{Stage, client_secret, credential};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn effects() -> Vec<Effect> {
    vec![
        Effect::Throttle { retry_after: Some("1".into()) },
        Effect::Refuse { status: 500, code: "InternalServiceError".into() },
        Effect::DropBefore,
        Effect::DropAfter,
        Effect::FailAfter,
        Effect::Body(Broken::Empty),
        Effect::Body(Broken::Html),
        Effect::Body(Broken::Truncated),
        Effect::Body(Broken::WrongType),
        Effect::Stale,
    ]
}

type Calls = &'static [(&'static str, &'static str)];

/// Calls of a first creation and a rotation; each fails at its first and second time.
const AWS_READS: Calls = &[("aws", "DescribeSecret"), ("aws", "ListSecretVersionIds"), ("aws", "GetSecretValue")];
const AWS_WRITES: Calls = &[
    ("aws", "CreateSecret"),
    ("aws", "PutSecretValue"),
    ("aws", "UpdateSecretVersionStage"),
    ("aws", "UntagResource"),
];
const KEYCARD: Calls = &[
    ("keycard", "token"),
    ("keycard", "list_credentials"),
    ("keycard", "create_credential"),
    ("keycard", "zone_token"),
    ("keycard", "delete_credential"),
];
const WORKOS: Calls = &[
    ("workos", "get_application"),
    ("workos", "list_applications"),
    ("workos", "list_client_secrets"),
    ("workos", "discovery"),
    ("workos", "create_client_secret"),
    ("workos", "token"),
    ("workos", "delete_client_secret"),
];

/// A vendor whose replicas disagree about a pair that just logged in fails anybody's logins: nothing
/// that a client does could hide it.
fn is_fair(effect: &Effect, call: (&str, &str)) -> bool {
    *effect != Effect::Stale || ![("keycard", "zone_token"), ("workos", "token")].contains(&call)
}

/// Every effect at the first two times that each of these calls is made.
async fn one_fault_at_a_time(declared: fn(&str) -> String, calls: Calls) {
    for (service, operation) in calls.iter().copied() {
        for effect in effects().into_iter().filter(|effect| is_fair(effect, (service, operation))) {
            for skip in 0..2 {
                let rule = Rule {
                    service: service.into(),
                    operation: operation.into(),
                    skip,
                    times: 1,
                    chance: 1.0,
                    effect: effect.clone(),
                };
                let what = format!("{rule:?}");
                let struck = sail(&what, declared, vec![rule]).await;
                assert!(struck == 1 || skip > 0, "{what}: the call was never made, so nothing was tested");
            }
        }
    }
}

#[tokio::test]
async fn one_fault_in_aws_reads_never_costs_a_login_nor_leaves_a_credential() {
    one_fault_at_a_time(credential, AWS_READS).await;
}

#[tokio::test]
async fn one_fault_in_aws_writes_never_costs_a_login_nor_leaves_a_credential() {
    one_fault_at_a_time(credential, AWS_WRITES).await;
}

#[tokio::test]
async fn one_fault_at_keycard_never_costs_a_login_nor_leaves_a_credential() {
    one_fault_at_a_time(credential, KEYCARD).await;
}

#[tokio::test]
async fn one_fault_at_workos_never_costs_a_login_nor_leaves_a_credential() {
    one_fault_at_a_time(client_secret, WORKOS).await;
}

/// No marks, so leftovers of a put that failed are told by elimination.
#[tokio::test]
async fn one_fault_in_aws_writes_never_leaves_a_credential_without_a_mark() {
    one_fault_at_a_time(client_secret, AWS_WRITES).await;
}

#[tokio::test]
async fn storms_by_seed_end_in_calm() {
    for seed in 0..12_u32 {
        let chance = 0.1 + f64::from(seed % 4) * 0.1;
        let (declared, vendor) = match seed % 3 {
            0 => (client_secret as fn(&str) -> String, WORKOS),
            _ => (credential as fn(&str) -> String, KEYCARD),
        };
        let calls = AWS_READS.iter().chain(AWS_WRITES).chain(vendor).copied();
        let storm = calls.flat_map(|(service, operation)| {
            let fair = effects().into_iter().filter(move |effect| is_fair(effect, (service, operation)));
            fair.map(move |effect| Rule {
                service: service.into(),
                operation: operation.into(),
                skip: u64::from(seed),
                times: 0,
                chance: chance / 10.0,
                effect,
            })
        });
        let struck = sail(&format!("storm {seed}"), declared, storm.collect()).await;
        assert!(struck > 5, "storm {seed} was a calm: {struck}");
    }
}

/// A first creation, a rotation and a revocation under `rules`, then fair weather until everything
/// rests. Gives how often the weather struck.
async fn sail(what: &str, declared: fn(&str) -> String, rules: Vec<Rule>) -> u64 {
    let mut stage = Stage::with(&declared("app")).await;
    for rule in rules {
        stage.sandbox.add_fault(rule);
    }
    for half_hours in [1, 1, 1, 48 * 30, 1, 1, 1, 16, 16, 16, 4, 1, 1] {
        patient_pass(&stage).await;
        stage.clock.advance(HOUR / 2 * half_hours);
    }
    patient_pass(&stage).await;
    let struck = {
        let mut faults = stage.sandbox.world.faults.lock().unwrap();
        faults.clear();
        faults.struck()
    };
    stage.restart().await;
    stage.live(3 * DAY, 6 * HOUR).await;
    assert_eq!(stage.failures(), 0, "{what}: {:?}", stage.sandbox.consumer.tally());
    assert_eq!(stage.live_credentials(), 1, "{what}: {:?}", stage.status("app"));
    let status = stage.status("app");
    assert!(status.fault.is_none() && status.exit_code() == 0, "{what}: {status:?}");
    struck
}

/// A pass that may fail to list the fleet.
async fn patient_pass(stage: &Stage) {
    let wanted = stage.engine.sort().await.wanted;
    stage.engine.visit_all(wanted, keyferry::engine::reconcile::Visit::default(), |_, _| {}).await;
    stage.sandbox.consumer.round().await;
}
