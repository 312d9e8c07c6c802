//! The daemon itself, as a process: reload, stop, what it tells the service manager and the pages,
//! two at once, a machine that slept, a vendor that hangs, and the brake on edits.

use std::time::Duration;

use keyferry::engine::reconcile::{AskVendor, Visit};
use keyferry::model::attempt::Cause;
use keyferry::rotation::Reason;
use keyferry::sandbox::chatbotkit::ChatBotKit;
use serde_json::json;

use crate::stage::Stage;
pub use house::until;
use house::{Daemon, Ear, House, credential};

mod bounds;
mod health;
mod house;
mod pages;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_what_is_good_and_keeps_the_last_good_one_otherwise() {
    let house = House::new(&["app", "more"]).await;
    house.declare(&credential("app", ""));
    let ear = Ear::new("reload");
    let daemon = house.daemon(&[("NOTIFY_SOCKET", &ear.address)]).await;
    ear.hears("READY=1").await;
    daemon.answers("readyz", 200, "ready").await;
    let refused = |facts: serde_json::Value| facts["declaration"]["refused"].as_str().map(ToOwned::to_owned);

    house.write(&house.head().replace("region", "regoin"));
    daemon.signal("HUP");
    daemon.answers("readyz", 503, "not in force").await;
    assert!(refused(daemon.facts().await).unwrap().contains("regoin"), "{}", daemon.facts().await);
    assert!(daemon.get("").await.1.contains("not in force"));
    assert_eq!(daemon.get("livez").await.0, 200);
    ear.hears("STATUS=1 ok; the declaration on disk is NOT in force").await;
    daemon.says("did you mean `region`?").await;
    assert_eq!(daemon.row("app").await.unwrap().0, "ok", "the last good one is looked after");

    std::fs::remove_file(house.path()).unwrap();
    daemon.signal("HUP");
    daemon.answers("readyz", 503, "there is no file").await;

    house.declare(&(credential("app", "") + &credential("more", "")));
    daemon.signal("HUP");
    daemon.shows("more", "ok", "healthy").await;
    daemon.answers("readyz", 200, "ready").await;
    assert_eq!(refused(daemon.facts().await), None);

    // Another service is for somebody else: with sped-up time it would see signatures of another day.
    house.write(&(house.head().replace("127.0.0.1", "192.0.2.1").replace("http:", "https:") + &credential("app", "")));
    daemon.signal("HUP");
    daemon.answers("readyz", 503, "not in force").await;

    let reloads = ear.heard().iter().filter(|line| line.starts_with("MONOTONIC_USEC=")).count();
    assert_eq!((ear.count("RELOADING=1"), reloads), (4, 4), "{:?}", ear.heard());
    until("each reload ends", || ear.count("READY=1") == 5).await;
    daemon.stop().await;
    until("it says that it stops", || ear.count("STOPPING=1") == 1).await;
    house.sandbox.consumer.round().await;
    assert_eq!((house.live(), house.sandbox.consumer.failure_count()), (2, 0));
}

#[tokio::test]
async fn more_takeovers_than_may_be_begin_only_by_name() {
    let names = ["a", "b", "c"];
    let all = names.map(|name| credential(name, "takeover = \"rotate\"\n")).concat();
    let edit = |most: u32| {
        move |text: String| text.replace("[defaults]\n", &format!("[limits]\nmax_replacements = {most}\n[defaults]\n"))
    };
    for (most, reason) in [(2, Reason::TooManyReplacements), (3, Reason::Healthy)] {
        let stage = Stage::edited(&all, edit(most)).await;
        for name in names {
            stage
                .person(
                    "CreateSecret",
                    json!({ "Name": name, "SecretString": "theirs", "ClientRequestToken": format!("{name:0>32}") }),
                )
                .await;
        }
        let dry = Visit { dry: true, vendor: AskVendor::Always, request: None };
        let declared = stage.engine.declaration().credentials.clone();
        let mut planned = stage.engine.visit_all(declared.clone(), dry, |_, _| {}).await;
        stage.engine.brake_planned(&mut planned);
        let held = planned.values().filter(|one| one.status.reason == Reason::TooManyReplacements).count();
        assert_eq!(held, if most == 2 { 3 } else { 0 }, "what `plan` shows");
        stage.pass().await;
        let found = names.map(|name| stage.status(name).reason);
        if most == 2 {
            assert_eq!(found, [reason; 3]);
            assert_eq!(stage.live_credentials(), 0, "nothing was made");
            let asked = Visit { request: Some(Cause::Asked), ..Visit::default() };
            stage.engine.visit_all(vec![declared[1].clone()], asked, |_, _| {}).await;
            stage.clock.advance(HOUR);
            stage.pass().await;
            assert_eq!(stage.status("a").reason, reason, "two are left, and still nobody asked for them");
            assert_eq!(stage.live_credentials(), 1, "only the one that was named");
        } else {
            assert!(!found.contains(&Reason::TooManyReplacements), "{found:?}");
            assert_eq!(stage.live_credentials(), 3);
        }
    }
}

/// A daemon whose call that creates the successor of `app` is under way, and the version that is
/// current meanwhile.
async fn mid_attempt(house: &House, late: Duration) -> (Daemon, String) {
    house.declare(&credential("app", ""));
    let (code, text) = house.verb("once").await;
    assert_eq!(code, 0, "{text}");
    let first = house.holder("app", "AWSCURRENT").unwrap();
    house.leap(31 * DAY);
    house.delay("keycard", "create_credential", 0, late);
    let daemon = house.daemon(&[]).await;
    house.struck().await;
    (daemon, first)
}

/// State and reason of a credential.
type Shown = Option<(&'static str, &'static str)>;

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_during_an_attempt_lets_it_finish_and_revokes_nothing() {
    // (what becomes of the declaration, how it is shown then; nothing where it is not)
    let renamed = credential("app", "").replace("name = \"app\"", "name = \"other\"");
    let secret = |line: &str| format!("[credential.secret]\n{line}\n");
    let rows: Vec<(&str, String, &str, Shown)> = vec![
        ("removed", credential("more", ""), "app", None),
        ("renamed", renamed + &secret("name = \"test/app\""), "other", Some(("blocked", "other-owner"))),
        ("written elsewhere", credential("app", &secret("name = \"test/else\"")), "app", Some(("ok", "healthy"))),
        (
            "in another shape",
            credential("app", &secret("value = { ID = \"{client_id}\", KEY = \"{client_secret}\" }")),
            "app",
            Some(("ok", "in-overlap")),
        ),
        (
            "at another place",
            credential("app", "").replace("application = \"app\"", "application = \"more\""),
            "app",
            Some(("ok", "in-overlap")),
        ),
        ("by hand from now on", credential("app", "rotate = \"manual\"\n"), "app", Some(("ok", "in-overlap"))),
        ("retired", credential("app", "state = \"retired\"\n"), "app", Some(("ok", "retiring"))),
    ];
    let mut cases = tokio::task::JoinSet::new();
    for (what, credentials, name, shown) in rows {
        cases.spawn(async move {
            let house = House::new(&["app", "more", "else"]).await;
            let (daemon, first) = mid_attempt(&house, Duration::from_millis(1_500)).await;
            house.declare(&credentials);
            daemon.signal("HUP");
            daemon.says("the declaration on disk is in force").await;
            assert_eq!(house.holder("app", "AWSCURRENT").as_ref(), Some(&first), "{what}: the call still hangs");
            until(what, || house.holder("app", "AWSCURRENT").is_some_and(|now| now != first)).await;
            until(what, || house.holder("app", "AWSPENDING").is_none()).await;
            match shown {
                Some((state, reason)) => daemon.shows(name, state, reason).await,
                None => {
                    daemon.says("what was under way is finished; nothing was revoked").await;
                    assert_eq!(daemon.row("app").await, None, "{what}");
                }
            }
            assert_eq!(house.holder("app", "AWSPREVIOUS"), Some(first), "{what}: nothing is retired");
            assert_eq!(house.leases("app"), 2, "{what}: nothing is revoked");
            let revoked = house.sandbox.keycard().credentials().iter().filter(|one| one.deleted.is_some()).count();
            assert_eq!(revoked, 0, "{what}");
            daemon.stop().await;
            house.sandbox.consumer.round().await;
            assert_eq!(house.sandbox.consumer.failure_count(), 0, "{what}");
        });
    }
    while let Some(done) = cases.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_at_any_call_it_ends_well_and_the_next_one_goes_on() {
    // (service, call, how many of it go well first): every call of a rotation, in its order.
    let rows = [
        ("aws", "ListSecrets", 0),
        ("aws", "DescribeSecret", 0),
        ("keycard", "list_credentials", 0),
        ("aws", "PutSecretValue", 0),
        ("keycard", "create_credential", 0),
        ("aws", "PutSecretValue", 1),
        ("aws", "GetSecretValue", 0),
        ("keycard", "zone_token", 0),
        ("aws", "UpdateSecretVersionStage", 0),
        ("aws", "UpdateSecretVersionStage", 1),
        ("aws", "UpdateSecretVersionStage", 2),
    ];
    let mut cases = tokio::task::JoinSet::new();
    for (service, call, skip) in rows {
        cases.spawn(async move {
            let what = format!("{call} number {}", skip + 1);
            let house = House::new(&["app"]).await;
            house.declare(&credential("app", ""));
            assert_eq!(house.verb("once").await.0, 0);
            house.leap(31 * DAY);
            house.delay(service, call, skip, Duration::from_millis(700));
            let daemon = house.daemon(&[]).await;
            house.struck().await;
            daemon.signal("TERM");
            daemon.says("INFO stopped").await;
            daemon.stop().await;
            // Whatever was left, the next runs bring to its end: settle, backoff, overlap and all.
            goes_on(&house, &what).await;
        });
    }
    while let Some(done) = cases.join_next().await {
        done.unwrap();
    }
}

/// Everything that was begun comes to its end, nothing was lost, and nobody noticed.
async fn goes_on(house: &House, what: &str) {
    assert_eq!(house.live(), house.leases("app"), "{what}: made, and not stored");
    house.sandbox.consumer.round().await;
    for _ in 0..3 {
        house.leap(9 * HOUR);
        let (code, text) = house.verb("once").await;
        assert!(code == 0, "{what}: {code}\n{text}");
        house.sandbox.consumer.round().await;
    }
    assert_eq!(house.sandbox.consumer.failure_count(), 0, "{what}");
    assert_eq!(house.live(), house.leases("app"), "{what}: a leftover");
    assert!(house.live() <= 2 && house.holder("app", "AWSPENDING").is_none(), "{what}");
    assert!(house.holder("app", "AWSCURRENT").is_some(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_at_any_call_of_a_first_creation_or_an_end_it_ends_well_too() {
    // (days since the first value, in which `once` ran meanwhile; service, call, how many go well first)
    let rows: [(&[u32], &str, &str, u64); 12] = [
        (&[], "keycard", "list_credentials", 0),
        (&[], "aws", "CreateSecret", 0),
        (&[], "keycard", "create_credential", 0),
        (&[], "keycard", "zone_token", 0),
        (&[], "aws", "PutSecretValue", 0),
        (&[], "aws", "UpdateSecretVersionStage", 0),
        (&[], "aws", "UntagResource", 0),
        // The overlap is over: the label comes off.
        (&[31, 33], "aws", "UpdateSecretVersionStage", 0),
        // And a while later the credential is ended, and its lease.
        (&[31, 33, 34], "aws", "ListSecretVersionIds", 0),
        (&[31, 33, 34], "keycard", "list_credentials", 0),
        (&[31, 33, 34], "keycard", "delete_credential", 0),
        (&[31, 33, 34], "aws", "UpdateSecretVersionStage", 0),
    ];
    let mut cases = tokio::task::JoinSet::new();
    for (days, service, call, skip) in rows {
        cases.spawn(async move {
            let what = format!("{call} number {} after days {days:?}", skip + 1);
            let house = House::new(&["app"]).await;
            house.declare(&credential("app", ""));
            let mut day = 0;
            for next in days {
                assert_eq!(house.verb("once").await.0, 0, "{what}");
                house.leap(DAY * (next - day));
                day = *next;
            }
            house.delay(service, call, skip, Duration::from_millis(700));
            let daemon = house.daemon(&[]).await;
            house.struck().await;
            daemon.signal("TERM");
            daemon.says("INFO stopped").await;
            daemon.stop().await;
            goes_on(&house, &what).await;
        });
    }
    while let Some(done) = cases.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_while_a_record_is_changed_in_place_it_ends_well_too() {
    // Every call of a rotation after the look, in its order.
    let rows = [
        ("chatbotkit", "fetch_secret", 0),
        ("aws", "PutSecretValue", 0),
        ("aws", "PutSecretValue", 1),
        ("aws", "GetSecretValue", 0),
        ("chatbotkit", "update_secret", 0),
        ("aws", "UpdateSecretVersionStage", 0),
        ("aws", "UpdateSecretVersionStage", 1),
        ("aws", "UpdateSecretVersionStage", 2),
    ];
    let mut cases = tokio::task::JoinSet::new();
    for (service, call, skip) in rows {
        cases.spawn(async move {
            let what = format!("{call} number {}", skip + 1);
            let house = House::new(&[]).await;
            house.declare(&format!(
                "[vendors.chatbotkit]\nkind = \"chatbotkit\"\nbase_url = \"http://{}\"\ntoken = {{ sandbox = true }}\n\
                 [[credential]]\nname = \"crm\"\nvendor = \"chatbotkit\"\ntype = \"secret\"\nalias = \"crm\"\n\
                 value = {{ generate = {{ length = 40 }} }}\n",
                house.sandbox.vendor_address("chatbotkit").unwrap()
            ));
            assert_eq!(house.verb("once").await.0, 0);
            let held = || house.sandbox.find::<ChatBotKit>().unwrap().holds("crm").unwrap().0;
            let (first, value) = (house.holder("crm", "AWSCURRENT"), held());
            house.leap(31 * DAY);
            house.delay(service, call, skip, Duration::from_millis(700));
            let daemon = house.daemon(&[]).await;
            house.struck().await;
            daemon.signal("TERM");
            daemon.says("INFO stopped").await;
            daemon.stop().await;
            for _ in 0..2 {
                house.leap(HOUR);
                let (code, text) = house.verb("once").await;
                assert_eq!(code, 0, "{what}: {text}");
            }
            assert_eq!(house.holder("crm", "AWSPENDING"), None, "{what}");
            assert_ne!((house.holder("crm", "AWSCURRENT"), held()), (first, value), "{what}: it was rotated");
            assert_eq!(house.value("crm").await, held(), "{what}: AWS and the record differ");
        });
    }
    while let Some(done) = cases.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_stops_a_rotation_loses_no_credential_and_is_told() {
    let rows = [
        ("rotate app more", "keycard", "create_credential", 3),
        ("rotate app", "aws", "PutSecretValue", 3),
        ("rotate app --leaked", "keycard", "create_credential", 3),
        ("once", "keycard", "create_credential", 3),
    ];
    for (verb, service, call, code) in rows {
        let house = House::new(&["app", "more"]).await;
        house.declare(&(credential("app", "") + &credential("more", "")));
        assert_eq!(house.verb("once").await.0, 0);
        house.leap(31 * DAY);
        house.delay(service, call, 0, Duration::from_millis(700));
        let (ended, text) = house.stopped(verb).await;
        assert!(ended == code && text.contains("told to stop: finishing"), "{verb}: {ended}\n{text}");
        assert!(verb == "once" || text.contains("NOT rotated"), "{verb}: {text}");
        assert_eq!(house.live(), house.leases("app") + house.leases("more"), "{verb}: made, and not stored");
        for _ in 0..3 {
            house.leap(9 * HOUR);
            let (code, text) = house.verb("once").await;
            assert_eq!(code, 0, "{verb}: {text}");
            house.sandbox.consumer.round().await;
        }
        assert_eq!(house.sandbox.consumer.failure_count(), 0, "{verb}");
        assert_eq!(house.live(), house.leases("app") + house.leases("more"), "{verb}: a leftover");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_twice_it_ends_at_once() {
    let house = House::new(&["app"]).await;
    let (mut daemon, _) = mid_attempt(&house, Duration::from_secs(600)).await;
    daemon.signal("INT");
    daemon.says("stopping: finishing what only this process can finish under_way=\"app\"").await;
    daemon.answers("readyz", 503, "told to stop").await;
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await.code(), Some(0));
    daemon.says("the next start goes on from there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_vendor_does_not_answer_the_watchdog_is_fed_and_livez_says_alive() {
    let house = House::new(&["app"]).await;
    house.declare(&credential("app", ""));
    house.delay("keycard", "create_credential", 0, Duration::from_secs(9));
    let ear = Ear::new("watchdog");
    let environment = [("NOTIFY_SOCKET", ear.address.as_str()), ("WATCHDOG_USEC", "4000000")];
    let daemon = house.daemon(&environment).await;
    house.struck().await;
    // For longer than the service manager's patience.
    let fed = ear.count("WATCHDOG=1");
    while daemon.row("app").await.is_none_or(|row| row.0 != "ok") {
        assert_eq!(daemon.get("livez").await.0, 200, "a vendor that is mute is no reason to kill a daemon");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(ear.count("WATCHDOG=1") >= fed + 6, "{:?}", ear.heard());
    daemon.answers("readyz", 200, "ready").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_does_not_answer_keeps_nobody_from_starting_and_is_told() {
    let house = House::new(&["app"]).await;
    house.declare(&credential("app", ""));
    house.refuse("aws", "ListSecrets", 24);
    let ear = Ear::new("target");
    let daemon = house.daemon(&[("NOTIFY_SOCKET", &ear.address)]).await;
    ear.hears("READY=1").await;
    daemon.answers("readyz", 503, "target `default`: list the secrets").await;
    ear.hears("STATUS=1 retrying; no answer from target default").await;
    assert_eq!((daemon.get("livez").await.0, house.live()), (200, 0));
    daemon.shows("app", "ok", "healthy").await;
    daemon.answers("readyz", 200, "ready").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_by_mistake_share_the_work() {
    let house = House::new(&["app", "more"]).await;
    house.declare(&(credential("app", "") + &credential("more", "")));
    let (one, other) = tokio::join!(house.daemon(&[]), house.daemon(&[]));
    for daemon in [&one, &other] {
        daemon.shows("app", "ok", "healthy").await;
        daemon.shows("more", "ok", "healthy").await;
    }
    let first = ["app", "more"].map(|name| house.holder(name, "AWSCURRENT"));
    assert_eq!(house.live(), 2);
    // A third one, at the first one's address, does not even start.
    let (code, text) = house.verb(&format!("run --listen {}", one.host())).await;
    assert!(code == 3 && text.contains("nothing was started") && text.contains("running here already"), "{text}");
    house.leap(31 * DAY);
    for daemon in [&one, &other] {
        // Both list at the same moment.
        daemon.signal("HUP");
    }
    for daemon in [&one, &other] {
        daemon.shows("app", "ok", "in-overlap").await;
        daemon.shows("more", "ok", "in-overlap").await;
    }
    house.sandbox.consumer.round().await;
    let second = ["app", "more"].map(|name| house.holder(name, "AWSCURRENT"));
    assert!(first.iter().zip(&second).all(|(before, after)| before != after), "both were rotated");
    assert_eq!((house.live(), house.leases("app"), house.leases("more")), (4, 2, 2), "and each once");
    assert_eq!(house.sandbox.consumer.failure_count(), 0);
    tokio::join!(one.stop(), other.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_rotates_nothing_that_is_not_due_and_a_sleep_delays_what_is() {
    let house = House::new(&["app"]).await;
    house.declare(&credential("app", ""));
    assert_eq!(house.verb("once").await.0, 0);
    let writes = || house.sandbox.world.total("aws", "PutSecretValue");
    let before = writes();
    house.leap(10 * DAY);
    let daemon = house.daemon(&[]).await;
    daemon.answers("readyz", 200, "ready").await;
    daemon.shows("app", "ok", "healthy").await;
    assert_eq!(writes(), before, "it is not due for twenty days");
    // The machine sleeps past the date. The next listing tells AWS's date, and with it what is due.
    house.leap(21 * DAY);
    daemon.shows("app", "ok", "in-overlap").await;
    assert_eq!((writes(), house.leases("app")), (before + 2, 2), "once, however much was missed");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_hangs_delays_nobody_else() {
    let house = House::new(&["app"]).await;
    // Listens, and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!(
        "[vendors.nobody]\nkind = \"keycard\"\nbase_url = \"http://{}\"\nzone = \"production\"\n\
         client_id = {{ sandbox = true }}\nclient_secret = {{ sandbox = true }}\n",
        silent.local_addr().unwrap()
    );
    let at_nobody = |number: usize| {
        let name = format!("a{number:02}");
        credential(&name, "").replace("vendor = \"keycard\"", "vendor = \"nobody\"")
    };
    let many: String = (0..40).map(at_nobody).collect();
    // Each vendor is asked once at the start, before all others, with the first of its credentials;
    // the second one shows how it goes on.
    let works =
        |name: &str| credential(name, "").replace(&format!("application = \"{name}\""), "application = \"app\"");
    house.declare(&(nobody + &many + &works("y") + &works("z")));
    let daemon = house.daemon(&[]).await;
    daemon.shows("z", "ok", "healthy").await;
    let facts = daemon.facts().await;
    let others = facts["credentials"].as_array().unwrap().iter();
    let others = others.filter(|row| row["name"].as_str().unwrap().starts_with('a')).count();
    assert_eq!(others, 0, "none of the others came to an end before it: {facts}");
    let mut daemon = daemon;
    daemon.signal("TERM");
    daemon.says("stopping").await;
    daemon.signal("TERM");
    assert_eq!(daemon.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_would_replace_more_than_it_may_asks_first() {
    let house = House::new(&["a", "b", "c"]).await;
    let all = |rotate: &str| ["a", "b", "c"].map(|name| credential(name, rotate)).concat();
    let limited = |most: u32, rotate: &str| {
        house.write(&format!("{}[limits]\nmax_replacements = {most}\n{}", house.head(), all(rotate)));
    };
    limited(2, "");
    assert_eq!(house.verb("once").await.0, 0);
    house.leap(10 * DAY);
    let daemon = house.daemon(&[]).await;
    daemon.answers("readyz", 200, "ready").await;
    let before = ["a", "b", "c"].map(|name| house.holder(name, "AWSCURRENT"));
    limited(2, "rotate = \"7d\"\n");
    daemon.signal("HUP");
    for name in ["a", "b", "c"] {
        daemon.shows(name, "held", "too-many-replacements").await;
    }
    let page = daemon.get("").await.1;
    assert!(page.contains("what to do: nothing was replaced: undo the edit; or `keyferry rotate a`"), "{page}");
    // One by hand is one by hand: the others still wait.
    let (code, text) = house.verb("rotate b").await;
    assert!(code == 0 && text.contains("b: rotated"), "{text}");
    daemon.shows("b", "ok", "in-overlap").await;
    daemon.shows("a", "held", "too-many-replacements").await;
    assert_eq!(before[0], house.holder("a", "AWSCURRENT"), "nothing was replaced unasked");
    // An edit of something else changes nothing about that.
    limited(1, "rotate = \"7d\"\n");
    daemon.signal("HUP");
    until("it is read", || daemon.log().matches("the declaration on disk is in force").count() == 2).await;
    daemon.shows("a", "held", "too-many-replacements").await;
    daemon.shows("c", "held", "too-many-replacements").await;
    limited(3, "rotate = \"7d\"\n");
    daemon.signal("HUP");
    daemon.shows("a", "ok", "in-overlap").await;
    daemon.shows("c", "ok", "in-overlap").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_for_everybody_are_refused_unless_asked_for() {
    let house = House::new(&["app"]).await;
    house.declare(&credential("app", ""));
    for address in ["0.0.0.0:0", "192.0.2.1:80"] {
        let (code, text) = house.verb(&format!("run --listen {address}")).await;
        assert!(code == 2 && text.contains("--listen-anywhere") && text.contains("nothing was started"), "{text}");
    }
    assert_eq!(house.verb("run --listen-anywhere").await.0, 2);
    assert_eq!(house.live(), 0);
}
