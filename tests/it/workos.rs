//! What is special about WorkOS: no marks, five secrets an application, a second host that proves
//! them, and applications that no login can prove.

use std::time::Duration;

use keyferry::engine::reconcile::{AskVendor, Visit};
use keyferry::model::name::Name;
use keyferry::rotation::Step;
use keyferry::sandbox::faults::{Effect, Rule};
use keyferry::sandbox::workos::{Kind, SecretFact, Settings, settings::LastUsed};
use keyferry::serve::Row;

use crate::stage::{Stage, client_secret};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn shared(name: &str) -> String {
    client_secret(name).replace("ownership = \"exclusive\"\n", "")
}

fn best_effort(name: &str) -> String {
    format!("{}verify = \"best-effort\"\n", client_secret(name))
}

fn settle(stage: &Stage, change: impl FnOnce(&mut Settings)) {
    let mut settings = stage.workos().settings();
    change(&mut settings);
    stage.workos().set_settings(settings);
}

fn fault(stage: &Stage, operation: &str, effect: Effect) {
    let rule = Rule { service: "workos".into(), operation: operation.into(), skip: 0, times: 1, chance: 1.0, effect };
    stage.sandbox.add_fault(rule);
}

fn row(stage: &Stage, name: &str) -> Row {
    let status = stage.status(name);
    let row = Row::new(&Name::new(name).unwrap(), &status);
    assert!(!format!("{} {:?} {status:?}", row.message, row.hint).contains("kfcanary"));
    row
}

/// What `plan` would print of a credential.
async fn planned(stage: &Stage, name: &str) -> (String, Row) {
    let visit = Visit { vendor: AskVendor::Always, dry: true, request: None };
    let wanted = stage.engine.declaration().credentials.clone();
    let mut visited = stage.engine.visit_all(wanted, visit, |_, _| {}).await;
    let one = visited.remove(&Name::new(name).unwrap()).unwrap();
    let step = one.planned.as_ref().map_or("nothing", |decision| decision.step().map_or("wait", Step::word));
    (step.into(), Row::new(&Name::new(name).unwrap(), &one.status))
}

#[tokio::test]
async fn a_secret_is_made_proved_rotated_and_revoked_and_no_login_is_made_with_the_old_one() {
    let stage = Stage::with(&client_secret("app")).await;
    stage.pass().await;
    let shown = row(&stage, "app");
    assert_eq!((shown.state, shown.reason, shown.verified), ("ok", "healthy", true));
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0));
    // From here on, every use of a secret is keyferry's.
    stage.sandbox.consumer.unwatch("app");
    let uses = || stage.workos().secrets().iter().map(|one| one.use_count).collect::<Vec<_>>();
    assert_eq!(uses(), [2], "keyferry's proof and the consumer's login");
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    assert_eq!((stage.live_credentials(), row(&stage, "app").reason), (2, "in-overlap"));
    stage.live(2 * DAY, HOUR).await;
    assert_eq!((stage.live_credentials(), row(&stage, "app").reason), (1, "healthy"));
    assert_eq!(uses(), [2, 1], "the old one's last use says something about its consumers only");
    assert!(stage.workos().secrets()[0].deleted.is_some());
}

#[tokio::test]
async fn a_lost_answer_leaves_a_secret_that_is_swept_where_it_can_only_be_ours() {
    for when in ["first", "rotation"] {
        for last_used in [LastUsed::Exact, LastUsed::Hour, LastUsed::Frozen, LastUsed::DelayedS(600)] {
            let stage = Stage::with(&client_secret("app")).await;
            settle(&stage, |settings| settings.last_used = last_used);
            if when == "rotation" {
                stage.pass().await;
                stage.clock.advance(30 * DAY);
            }
            fault(&stage, "create_client_secret", Effect::DropAfter);
            stage.patient_pass().await;
            let lost = stage.live_credentials();
            stage.live(3 * DAY, HOUR).await;
            let made = stage.workos().secrets().len();
            assert_eq!((stage.live_credentials(), stage.failures()), (1, 0), "{when} {last_used:?} {lost} {made}");
            assert_eq!(row(&stage, "app").foreign, 0);
        }
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_a_secret_that_is_reported_where_others_make_some_too() {
    for when in ["first", "rotation"] {
        let stage = Stage::with(&shared("app")).await;
        if when == "rotation" {
            stage.pass().await;
            stage.clock.advance(30 * DAY);
        }
        fault(&stage, "create_client_secret", Effect::DropAfter);
        stage.patient_pass().await;
        stage.live(3 * DAY, HOUR).await;
        assert_eq!((stage.live_credentials(), stage.failures()), (2, 0), "{when}: nobody may say that it is ours");
        let (step, shown) = planned(&stage, "app").await;
        assert_eq!((step.as_str(), shown.state, shown.foreign), ("wait", "ok", 1), "{when}: {}", shown.message);
    }
}

#[tokio::test]
async fn a_colleague_s_secret_is_never_touched_and_always_reported() {
    for declared in [client_secret("app"), shared("app")] {
        let stage = Stage::with(&declared).await;
        let (before, _) = stage.workos().seed_secret("app").unwrap();
        stage.pass().await;
        stage.clock.advance(DAY);
        let (after, _) = stage.workos().seed_secret("app").unwrap();
        for _ in 0..3 {
            stage.clock.advance(31 * DAY);
            stage.pass().await;
            stage.live(2 * DAY, HOUR).await;
            let shown = planned(&stage, "app").await.1;
            assert_eq!((shown.state, shown.foreign), ("ok", 2));
        }
        let live: Vec<String> = stage.sandbox.vendors().flat_map(|vendor| vendor.live()).collect();
        assert!(live.contains(&before) && live.contains(&after) && live.len() == 3, "{live:?}");
        assert_eq!(stage.failures(), 0);
    }
}

#[tokio::test]
async fn two_deployments_in_one_application_report_each_other_and_touch_nothing() {
    let mut stage = Stage::with(&shared("app")).await;
    stage.pass().await;
    let ours = stage.sandbox.vendors().flat_map(|vendor| vendor.live()).collect::<Vec<_>>();
    let theirs = shared("app").replace("name = \"app\"\nvendor", "name = \"other\"\nvendor");
    stage.redeclare(&theirs).await;
    stage.pass().await;
    assert_eq!(row(&stage, "other").foreign, 1);
    stage.clock.advance(31 * DAY);
    stage.pass().await;
    stage.live(2 * DAY, HOUR).await;
    let live = stage.sandbox.vendors().flat_map(|vendor| vendor.live()).collect::<Vec<_>>();
    assert!(live.contains(&ours[0]) && live.len() == 2, "{live:?} {ours:?}");
}

#[tokio::test]
async fn a_sixth_secret_is_not_even_asked_for() {
    let stage = Stage::with(&client_secret("app")).await;
    let theirs: Vec<String> = (0..5).map(|_| stage.workos().seed_secret("app").unwrap().0).collect();
    let (step, shown) = planned(&stage, "app").await;
    assert_eq!((step.as_str(), shown.state, shown.reason), ("wait", "blocked", "no-room"));
    assert!(shown.message.contains("5 of at most 5: 0 of this secret, 5 that are not keyferry's"), "{}", shown.message);
    assert!(shown.hint.is_some());
    stage.pass().await;
    assert_eq!((stage.writes(), stage.live_credentials()), (0, 5), "not even an empty secret");
    assert!(stage.workos().end_secret(&theirs[0]));
    stage.pass().await;
    assert_eq!((row(&stage, "app").state, stage.live_credentials()), ("ok", 5), "as soon as there is room");
    // The next one has none again: five live, one of them ours.
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    let shown = row(&stage, "app");
    assert_eq!((shown.state, shown.reason), ("blocked", "no-room"));
    assert!(shown.message.contains("1 of this secret, 4 that are not"), "{}", shown.message);
    assert_eq!(stage.failures(), 0);
}

#[tokio::test]
async fn a_colleague_who_takes_the_last_place_meanwhile_is_seen_in_any_refusal() {
    for status in [422, 409, 400, 403] {
        let stage = Stage::with(&client_secret("app")).await;
        for _ in 0..4 {
            stage.workos().seed_secret("app").unwrap();
        }
        settle(&stage, |settings| (settings.colleague_adds, settings.full_status) = (1, status));
        stage.patient_pass().await;
        let shown = row(&stage, "app");
        assert_eq!((shown.state, stage.live_credentials()), ("blocked", 5), "{status}");
        for word in ["5 client secrets live there, and no more than 5 may", "application `app`"] {
            assert!(shown.message.contains(word), "{status}: {}", shown.message);
        }
        assert!(shown.hint.is_some_and(|hint| hint.contains("nothing was made")));
    }
}

#[tokio::test]
async fn names_that_say_nothing_are_refused_before_anything_is_made() {
    for (spoil, words) in [
        (0, &["ambiguous: 2 applications have this name", "declare it by its id: conn_app_"][..]),
        (1, &["there is none with this id, client id or name", "check the spelling"]),
        (2, &["belongs to another organization than `org_other`", "organization_id"]),
    ] {
        let mut declared = client_secret("app");
        match spoil {
            0 => {}
            1 => declared = declared.replace("application = \"app\"", "application = \"not-at-keycard\""),
            _ => declared.push_str("organization_id = \"org_other\"\n"),
        }
        let stage = Stage::with(&client_secret("app")).await;
        if spoil == 0 {
            stage.workos().add_application("app", Kind::M2m, "org_1");
        }
        let mut stage = stage;
        if spoil == 1 {
            stage.redeclare(&declared).await;
        } else if spoil == 2 {
            let id = stage.workos().add_application("other", Kind::M2m, "org_1").0;
            stage.redeclare(&declared.replace("application = \"app\"", &format!("application = \"{id}\""))).await;
        }
        stage.patient_pass().await;
        let shown = row(&stage, "app");
        assert_eq!(shown.state, "blocked", "{}", shown.message);
        let text = format!("{} {}", shown.message, shown.hint.unwrap_or_default());
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert_eq!((stage.writes(), stage.live_credentials()), (0, 0));
    }
}

#[tokio::test]
async fn an_application_is_found_by_id_client_id_and_name_on_any_page() {
    let stage = Stage::with(&client_secret("app")).await;
    let (id, client_id) = stage.workos().add_application("somewhere", Kind::M2m, "org_1");
    for number in 0..250 {
        stage.workos().add_application(&format!("neighbour-{number}"), Kind::M2m, "org_1");
    }
    settle(&stage, |settings| settings.future = true);
    let mut stage = stage;
    for (at, text) in ["somewhere", &id, &client_id].into_iter().enumerate() {
        let declared = client_secret(&format!("app-{at}"));
        stage
            .redeclare(&declared.replace(&format!("application = \"app-{at}\""), &format!("application = \"{text}\"")))
            .await;
        stage.pass().await;
        assert_eq!(row(&stage, &format!("app-{at}")).state, "ok", "{text}");
    }
    assert!(stage.workos().secrets().iter().all(|one| one.application == "somewhere"));
}

/// Two declarations may name one application in two ways: by its name, its id, its client id.
#[tokio::test]
async fn two_names_of_one_application_are_seen_through_before_anything_is_made_or_swept() {
    for at in [0, 1] {
        let mut stage = Stage::with(&client_secret("app")).await;
        let ids = stage.workos().add_application("somewhere", Kind::M2m, "org_1");
        let made_in = |declared: String, text: &str| {
            let (before, after) = declared.split_once("application = \"").unwrap();
            let (_, rest) = after.split_once('"').unwrap();
            format!("{before}application = \"{text}\"{rest}")
        };
        let one = made_in(client_secret("app"), "somewhere");
        let twin = made_in(client_secret("twin"), [&ids.0, &ids.1][at]);
        stage.redeclare_unseeded(&one).await;
        stage.pass().await;
        assert_eq!(row(&stage, "app").state, "ok");
        stage.redeclare_unseeded(&format!("{one}{twin}")).await;
        for name in ["app", "twin"] {
            let other = if name == "app" { "twin" } else { "app" };
            let (step, shown) = planned(&stage, name).await;
            assert_eq!((step.as_str(), shown.state, shown.reason), ("wait", "blocked", "not-alone"), "{name}");
            assert!(shown.message.contains(&format!("(`{other}`)")), "{}", shown.message);
            assert!(shown.hint.is_some_and(|hint| hint.contains("`ownership = \"shared\"` in both")));
        }
        stage.pass().await;
        stage.clock.advance(31 * DAY);
        stage.pass().await;
        let puts = ["CreateSecret", "PutSecretValue"].map(|call| stage.sandbox.world.total("aws", call));
        assert_eq!((puts, stage.live_credentials()), ([1, 1], 1), "neither makes anything");
        assert_eq!(row(&stage, "app").reason, "not-alone", "a look at AWS alone does not forget it");

        // Only one of them claims to be alone: that one is stopped, the other goes on.
        let twin = twin.replace("ownership = \"exclusive\"\n", "");
        stage.redeclare_unseeded(&format!("{one}{twin}")).await;
        stage.pass().await;
        assert_eq!((row(&stage, "app").reason, row(&stage, "twin").state), ("not-alone", "ok"));
        assert_eq!(stage.live_credentials(), 2);

        // Both shared: each sees the other's secret as a stranger's, and touches nothing of it.
        let one = made_in(shared("app"), "somewhere");
        stage.redeclare_unseeded(&format!("{one}{twin}")).await;
        stage.pass().await;
        stage.live(2 * DAY, HOUR).await;
        assert_eq!((row(&stage, "app").state, row(&stage, "twin").state), ("ok", "ok"));
        assert_eq!((stage.live_credentials(), stage.failures()), (2, 0));
    }
}

#[tokio::test]
async fn while_another_s_application_can_not_be_told_rotations_go_on_and_nothing_is_swept() {
    let twin = client_secret("twin");
    let mut stage = Stage::with(&format!("{}{twin}", client_secret("app"))).await;
    stage.pass().await;
    stage.workos().add_application("twin", Kind::M2m, "org_1");
    stage.restart().await;
    stage.clock.advance(30 * DAY);
    fault(&stage, "create_client_secret", Effect::DropAfter);
    stage.patient_pass().await;
    stage.live(2 * DAY, HOUR).await;
    assert_eq!((row(&stage, "app").state, row(&stage, "twin").state), ("ok", "blocked"));
    let in_app = |stage: &Stage| {
        let live = |one: &SecretFact| one.deleted.is_none() && one.application == "app";
        stage.workos().secrets().iter().filter(|one| live(one)).count()
    };
    assert_eq!(in_app(&stage), 2, "what was lost stays: it might be the other's");
    stage.redeclare(&client_secret("app")).await;
    stage.live(2 * DAY, HOUR).await;
    assert_eq!((in_app(&stage), stage.failures()), (1, 0), "now it can be told");
}

#[tokio::test]
async fn a_missing_authkit_domain_blocks_before_anything_is_made() {
    let stage = Stage::with(&client_secret("app")).await;
    settle(&stage, |settings| settings.authkit_gone = true);
    stage.patient_pass().await;
    let shown = row(&stage, "app");
    assert_eq!((shown.state, stage.writes(), stage.live_credentials()), ("blocked", 0, 0), "{}", shown.message);
    assert!(shown.message.contains("404") && shown.hint.unwrap().contains("check `authkit_domain`"));
    settle(&stage, |settings| settings.authkit_gone = false);
    stage.pass().await;
    assert_eq!(row(&stage, "app").state, "ok");
}

#[tokio::test]
async fn introspection_proves_an_application_that_signs_people_in() {
    let stage = Stage::with(&client_secret("oauth-app")).await;
    stage.pass().await;
    let shown = row(&stage, "oauth-app");
    assert_eq!((shown.state, shown.verified), ("ok", true), "{}", shown.message);
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    stage.live(2 * DAY, HOUR).await;
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0));
    let asked: u64 = stage
        .sandbox
        .vendor("workos")
        .unwrap()
        .call_counts()
        .iter()
        .filter(|one| one.operation == "introspection" && one.status == Some(401))
        .map(|one| one.count)
        .sum();
    assert_eq!(asked, 2, "a made-up secret is sent once a day at most, so at each of the two");
}

#[tokio::test]
async fn what_nothing_can_prove_is_not_made_where_proof_is_required() {
    let mut stage = Stage::with(&client_secret("oauth-app")).await;
    settle(&stage, |settings| settings.introspection_blind = true);
    let (step, shown) = planned(&stage, "oauth-app").await;
    assert_eq!((step.as_str(), shown.state, shown.reason), ("wait", "blocked", "unprovable"));
    assert!(shown.hint.is_some_and(|hint| hint.contains("verify = \"best-effort\"")));
    stage.pass().await;
    assert_eq!((stage.writes(), stage.live_credentials()), (0, 0), "nothing was made");

    // A published one goes on; only the next one is not made.
    settle(&stage, |settings| settings.introspection_blind = false);
    stage.restart().await;
    stage.pass().await;
    assert!(row(&stage, "oauth-app").verified);
    settle(&stage, |settings| settings.introspection_blind = true);
    stage.clock.advance(30 * DAY);
    stage.restart().await;
    stage.pass().await;
    assert_eq!((row(&stage, "oauth-app").reason, stage.live_credentials()), ("unprovable", 1));

    // Blind from one moment to the next: the candidate is given up and revoked, nothing published.
    settle(&stage, |settings| settings.introspection_blind = false);
    stage.restart().await;
    planned(&stage, "oauth-app").await;
    settle(&stage, |settings| settings.introspection_blind = true);
    stage.pass().await;
    stage.live(2 * DAY, HOUR).await;
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0));
}

#[tokio::test]
async fn with_best_effort_it_is_published_and_every_process_says_that_nobody_proved_it() {
    let mut stage = Stage::with(&best_effort("oauth-app")).await;
    settle(&stage, |settings| settings.introspection_blind = true);
    for round in 0..2 {
        stage.pass().await;
        stage.live(2 * DAY, HOUR).await;
        let shown = row(&stage, "oauth-app");
        assert_eq!((shown.state, shown.verified, shown.reason), ("ok", false, "healthy"), "{round}");
        assert!(shown.message.contains("published unverified") && !shown.message.contains("current, verified"));
        stage.restart().await;
        let sorted = stage.engine.sort().await;
        assert!(sorted.wanted.is_empty());
        assert!(!row(&stage, "oauth-app").verified, "{round}: a fresh process says so too");
        stage.clock.advance(31 * DAY);
    }
    // As soon as it can be proved again, it is, and says so.
    settle(&stage, |settings| settings.introspection_blind = false);
    stage.restart().await;
    stage.pass().await;
    assert!(row(&stage, "oauth-app").verified);
    assert_eq!(stage.failures(), 0);
}

#[tokio::test]
async fn with_best_effort_a_secret_that_the_vendor_refuses_is_still_never_published() {
    for name in ["app", "oauth-app"] {
        let stage = Stage::with(&best_effort(name)).await;
        stage.pass().await;
        settle(&stage, |settings| settings.duds = 1);
        stage.clock.advance(30 * DAY);
        stage.live(3 * DAY, HOUR).await;
        assert_eq!((stage.live_credentials(), stage.failures()), (1, 0), "{name}");
        assert!(row(&stage, name).verified, "{name}");
    }
}

#[tokio::test]
async fn a_slow_domain_and_a_slow_list_cost_nothing() {
    let stage = Stage::with(&client_secret("app")).await;
    settle(&stage, |settings| {
        (settings.login_lag_s, settings.revoke_lag_s, settings.read_lag_s) = (40, 30, 20);
        settings.delete_status = 202;
        settings.order = keyferry::sandbox::workos::settings::Order::Shuffled;
    });
    stage.pass().await;
    stage.clock.advance(30 * DAY);
    stage.pass().await;
    stage.live(3 * DAY, HOUR).await;
    assert_eq!((stage.live_credentials(), row(&stage, "app").state, stage.failures()), (1, "ok", 0));
}

#[tokio::test]
async fn an_answer_without_the_secret_is_a_lost_answer() {
    let stage = Stage::with(&client_secret("app")).await;
    settle(&stage, |settings| settings.silent_creates = 1);
    stage.patient_pass().await;
    let shown = row(&stage, "app");
    assert!(shown.message.contains("lacks its id or its value"), "{}", shown.message);
    stage.live(DAY, 10 * MINUTE).await;
    assert_eq!((stage.live_credentials(), stage.failures()), (1, 0));
}

#[tokio::test]
async fn a_secret_of_another_application_is_not_deleted_whatever_asks_for_it() {
    use keyferry::vendors::Place;
    let stage = Stage::with(&format!("{}{}", client_secret("app"), client_secret("other"))).await;
    stage.pass().await;
    let theirs = stage.workos().secrets().into_iter().find(|one| one.application == "other").unwrap();
    let credential = stage.engine.declaration().credentials[0].clone();
    assert_eq!(credential.name.as_str(), "app");
    let place = Place { type_name: credential.type_name, options: &credential.options };
    let vendor = crate::vendor_contract::open(&stage, "workos");
    let id = keyferry::model::name::VendorId::new(&theirs.id).unwrap();
    let ended = vendor.revoke(place, &id, keyferry::vendors::Grounds::Listed).await.unwrap();
    assert_eq!(ended, keyferry::vendors::Ended::NotListed);
    assert_eq!(stage.live_credentials(), 2);
}

/// Another instance that takes connections and never answers.
#[tokio::test]
async fn an_instance_at_another_address_that_never_answers_delays_nobody() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = format!("http://{}", listener.local_addr().unwrap());
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&connections);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            held.push(stream);
        }
    });
    let twin = client_secret("twin").replace("vendor = \"workos\"", "vendor = \"mute\"");
    let instance =
        format!("[vendors.mute]\nkind = \"workos\"\nbase_url = \"{mute}\"\napi_key = {{ sandbox = true }}\n");
    let declared = format!("{}{twin}", client_secret("app"));
    let stage = Stage::edited(&declared, |text| text.replace("[defaults]\n", &format!("{instance}[defaults]\n"))).await;
    let app = stage.engine.declaration().credentials.iter().filter(|one| one.name.as_str() == "app").cloned().collect();
    let visit = Visit { vendor: AskVendor::Always, dry: false, request: None };
    let visited = stage.engine.visit_all(app, visit, |_, _| {});
    tokio::time::timeout(Duration::from_secs(15), visited).await.expect("nobody waits for the mute one");
    assert_eq!(row(&stage, "app").state, "ok");
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 0, "it can not name the same place");
}
