//! What only a scripted listener can show: keys, forms, odd answers, and what a login says. The
//! rest of the driver's promises is in the contract that every vendor keeps.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::http::responder::{Reply, Responder, Seen, json as answer, odd_answers, reply};
use super::http::{Client, Limits};
use super::*;
use crate::model::attempt::Attempt;
use crate::model::name::Arn;
use crate::model::option::{Options, Value as Setting};
use crate::model::secret::{Read, SecretValue};
use crate::model::time::{Sleep, Timestamp};

const LIST: &str = "GET /connect/applications/conn_app_1/client_secrets ";
const CREATE: &str = "POST /connect/applications/conn_app_1/client_secrets ";
const TOKEN: &str = "POST /oauth2/token ";
const INTROSPECTION: &str = "POST /oauth2/introspection ";
const RETRY: Class = Class::Retry { after: None };

/// An API key that another read may find replaced, and a clock that stands still.
struct Hands {
    reads: AtomicUsize,
    key: fn(usize) -> &'static str,
}

impl Keyring for Hands {
    fn read<'a>(&'a self, option: &'static str) -> Read<'a> {
        assert_eq!(option, "api_key");
        let key = (self.key)(self.reads.fetch_add(1, Ordering::SeqCst));
        Box::pin(std::future::ready(Ok(SecretValue::new(key))))
    }
}

impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        unreachable!("a driver never asks for the wall clock")
    }
    fn monotonic(&self) -> Duration {
        Duration::from_secs(1000)
    }
    fn sleep(&self, _: Duration) -> Sleep<'_> {
        unreachable!("a driver sleeps in real time")
    }
}

/// A scripted WorkOS, a driver that talks to it, and one declared credential.
struct Stage {
    workos: Arc<dyn Vendor>,
    responder: Responder,
    options: Options,
}

impl Stage {
    /// `script` answers what it cares about; the rest goes well.
    async fn new(script: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self::keyed(|_| "sk_CANARY", script).await
    }

    async fn keyed(
        key: fn(usize) -> &'static str,
        script: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let responder = Responder::start(move |base, seen| script(seen).unwrap_or_else(|| well(base, seen))).await;
        let workos = driver(&responder.base, key);
        Self { workos, responder, options: options(&[("application", "conn_app_1")]) }
    }

    fn place(&self) -> Place<'_> {
        Place { type_name: "client-secret", options: &self.options }
    }

    async fn create(&self) -> Result<Minted, Fault> {
        let arn = Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-a1b2c3").unwrap();
        let mark = Mark::new(&arn, Attempt::derive(&arn, &None, 1));
        quiet(self.workos.create(self.place(), &mark).await)
    }

    async fn list(&self) -> Result<Listing, Fault> {
        quiet(self.workos.list(self.place()).await)
    }

    async fn revoke(&self, grounds: Grounds) -> Result<Ended, Fault> {
        quiet(self.workos.revoke(self.place(), &VendorId::new("secret_1").unwrap(), grounds).await)
    }

    async fn verify(&self) -> Result<Verdict, Fault> {
        let outputs =
            Outputs::default().public("client_id", "client_1").secret("client_secret", SecretValue::new("CANARY+&=ü"));
        quiet(self.workos.verify(self.place(), &outputs).await)
    }
}

fn driver(base: &str, key: fn(usize) -> &'static str) -> Arc<dyn Vendor> {
    let hands = Arc::new(Hands { reads: AtomicUsize::new(0), key });
    let mut options = Options::default();
    options.set(&SPEC.fields[0], Setting::Text(base.into()));
    let moment = Duration::from_millis(1);
    let limits = Limits {
        total_timeout: Duration::from_secs(3),
        backoff_first: moment,
        backoff_max: moment,
        ..Limits::default()
    };
    connect(Instance {
        name: VendorName::new("main").unwrap(),
        options,
        keyring: Arc::clone(&hands) as Arc<dyn Keyring>,
        client: Client::loopback_only(limits),
        clock: hands,
    })
    .unwrap()
}

fn options(given: &[(&str, &str)]) -> Options {
    let mut options = Options::default();
    for (name, text) in given {
        let field = SPEC.types[0].fields.iter().find(|field| field.name == *name).unwrap();
        options.set(field, Setting::Text((*text).into()));
    }
    options
}

/// No fault shows a secret or the vendor's own sentences.
fn quiet<T>(outcome: Result<T, Fault>) -> Result<T, Fault> {
    if let Err(fault) = &outcome {
        assert!(!format!("{fault} {fault:?}").contains("CANARY"), "{fault:?}");
    }
    outcome
}

fn application(kind: &str) -> Value {
    json!({"object": "connect_application", "id": "conn_app_1", "client_id": "client_1", "name": "app",
        "application_type": kind, "organization_id": "org_1", "of_the_future": [1]})
}

fn well(base: &str, seen: &Seen) -> Reply {
    let secret = json!({"object": "connect_application_secret", "id": "secret_1", "secret_hint": "c1", "of_the_future": {},
        "created_at": "2026-11-20T10:00:00.000Z", "updated_at": "2026-11-20T10:00:00.000Z", "last_used_at": null});
    if seen.line.starts_with(CREATE) {
        let mut made = secret;
        made["secret"] = json!("CANARY-made");
        return answer(201, &made);
    }
    if seen.line.starts_with(LIST) {
        return answer(200, &json!([secret]));
    }
    if seen.line.starts_with("GET /connect/applications/conn_app_1 ") {
        return answer(200, &application("m2m"));
    }
    if seen.line.starts_with("GET /.well-known/openid-configuration ") {
        return answer(
            200,
            &json!({"issuer": base, "token_endpoint": format!("{base}/oauth2/token"),
            "introspection_endpoint": format!("{base}/oauth2/introspection")}),
        );
    }
    if seen.line.starts_with(TOKEN) {
        return answer(200, &json!({"access_token": "CANARY", "expires_in": 300, "token_type": "bearer"}));
    }
    if seen.line.starts_with("DELETE /connect/client_secrets/secret_1 ") {
        return reply(204, "", "");
    }
    answer(404, &json!({"message": "CANARY not found", "code": "entity_not_found"}))
}

fn denied(status: u16, error: &str, why: &str) -> Reply {
    answer(status, &json!({"error": error, "error_description": why}))
}

#[tokio::test]
async fn a_create_sends_an_empty_object_once_and_keeps_both_ids() {
    let stage = Stage::new(|_| None).await;
    let minted = stage.create().await.unwrap();
    let shown = |name: &str| minted.outputs.get(name).unwrap().expose().to_owned();
    assert_eq!((minted.id.as_str(), shown("client_secret")), ("secret_1", "CANARY-made".into()));
    assert_eq!(
        [shown("client_id"), shown("application_id"), shown("secret_id")],
        ["client_1", "conn_app_1", "secret_1"]
    );
    assert_eq!(shown("token_endpoint"), format!("{}/oauth2/token", stage.responder.base));
    let seen = stage.responder.seen();
    let create = seen.iter().find(|seen| seen.line.starts_with(CREATE)).unwrap();
    assert_eq!((create.body.as_str(), create.header("authorization")), ("{}", Some("Bearer sk_CANARY")));
    assert_eq!(create.header("idempotency-key"), None, "it would promise what is not kept");
    assert_eq!(stage.responder.count("GET /connect/applications/conn_app_1 "), 1, "resolved once");
}

#[tokio::test]
async fn a_replaced_key_is_picked_up_after_a_401_and_only_then() {
    let refuses_old = |seen: &Seen| {
        (seen.header("authorization") == Some("Bearer sk_old"))
            .then(|| answer(401, &json!({"message": "Unauthorized"})))
    };
    let stage = Stage::keyed(|read| if read == 0 { "sk_old" } else { "sk_CANARY" }, refuses_old).await;
    stage.create().await.unwrap();
    let sent =
        stage.responder.seen().iter().filter(|seen| seen.header("authorization") == Some("Bearer sk_old")).count();
    assert_eq!(sent, 1);
    let stage = Stage::keyed(|_| "sk_old", refuses_old).await;
    let fault = stage.list().await.unwrap_err();
    assert_eq!(fault.class, Class::Denied);
    assert!(fault.hint.unwrap().contains("check `api_key` of [vendors.main]"));
    assert_eq!(stage.responder.seen().len(), 1, "the same key is not tried twice");
    let stage = Stage::keyed(|_| "sk CANARY\n", |_| None).await;
    assert_eq!(stage.list().await.unwrap_err().class, Class::Denied);
    assert!(stage.responder.seen().is_empty());
}

#[tokio::test]
async fn a_list_is_a_bare_array_with_a_date_or_it_is_not_used() {
    let stage = Stage::new(|_| None).await;
    assert_eq!(stage.list().await.unwrap().credentials.len(), 1);
    for body in [
        json!({"object": "list", "data": [], "list_metadata": {"before": null, "after": null}}),
        json!([{"id": "secret_1"}]),
        json!([{"id": "a\r\nb", "created_at": "2026-11-20T10:00:00.000Z"}]),
        json!(null),
        json!("CANARY"),
    ] {
        let stage = Stage::new(move |seen| seen.line.starts_with(LIST).then(|| answer(200, &body))).await;
        assert_eq!(stage.list().await.unwrap_err().class, RETRY);
    }
    let dateless = |seen: &Seen| {
        let bytes = b"HTTP/1.1 200 X\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]".to_vec();
        seen.line.starts_with(LIST).then_some(Reply::Bytes(bytes))
    };
    let stage = Stage::new(dateless).await;
    assert!(stage.list().await.unwrap_err().answer.contains("no Date header"));
}

#[tokio::test]
async fn a_machine_s_login_is_judged_by_the_error_word_and_not_by_the_status() {
    let bad = Some(Verdict::Bad { answer: "invalid_client".into() });
    let rows: Vec<(Reply, Option<Verdict>, Class)> = vec![
        (
            answer(200, &json!({"access_token": "CANARY", "token_type": "Bearer", "more": 1})),
            Some(Verdict::Good),
            RETRY,
        ),
        (denied(401, "invalid_client", "Invalid client ID or secret."), bad.clone(), RETRY),
        (denied(400, "invalid_client", "CANARY"), bad, RETRY),
        (denied(401, "invalid_client", "Application not found."), None, Class::Rejected),
        (denied(400, "invalid_scope", ""), None, Class::Rejected),
        (denied(400, "CANARY", ""), None, RETRY),
        (answer(200, &json!({"token_type": "bearer"})), None, RETRY),
        (reply(404, "Content-Type: text/html\r\n", "<html>CANARY"), None, Class::Rejected),
        (reply(302, "Location: https://elsewhere.example\r\n", ""), None, Class::Rejected),
        (denied(429, "invalid_client", ""), None, RETRY),
        (denied(503, "invalid_client", ""), None, RETRY),
        (reply(403, "", "CANARY"), None, RETRY),
    ];
    for (said, verdict, class) in rows {
        let what = format!("{said:?}");
        let stage = Stage::new(move |seen| seen.line.starts_with(TOKEN).then(|| said.clone())).await;
        match (stage.verify().await, verdict) {
            (Ok(given), Some(verdict)) => assert_eq!(given, verdict, "{what}"),
            (Err(fault), None) => assert_eq!(fault.class, class, "{what}: {fault}"),
            (outcome, verdict) => panic!("{what}: {outcome:?}, not {verdict:?}"),
        }
        let seen = stage.responder.seen();
        let login = seen.iter().find(|seen| seen.line.starts_with(TOKEN)).unwrap();
        let form = "grant_type=client_credentials&client_id=client_1&client_secret=CANARY%2B%26%3D%C3%BC";
        assert_eq!((login.body.as_str(), login.header("authorization")), (form, None));
    }
}

/// (introspection to the secret, to a made-up one) -> what is said, and what could be known before.
#[tokio::test]
async fn introspection_says_something_only_where_it_tells_a_made_up_secret() {
    let active = || answer(200, &json!({"active": false}));
    let wrong = || denied(401, "invalid_client", "Invalid client ID or secret.");
    let strange = || denied(400, "invalid_client", "Application not found.");
    type Row = (Reply, Reply, Result<&'static str, Class>, Option<Proof>);
    let rows: Vec<Row> = vec![
        (active(), wrong(), Ok("good"), Some(Proof::Login)),
        (wrong(), wrong(), Ok("bad"), Some(Proof::Login)),
        (active(), active(), Ok("cannot tell"), Some(Proof::Impossible)),
        (strange(), strange(), Err(Class::Rejected), None),
        (active(), reply(503, "", ""), Err(RETRY), None),
    ];
    for (to_secret, to_nonsense, expected, provable) in rows {
        for grant in [false, true] {
            let (to_secret, to_nonsense) = (to_secret.clone(), to_nonsense.clone());
            let what = format!("{to_secret:?} {to_nonsense:?} {grant}");
            // One that says at its token endpoint that it is no machine's is asked in the same way.
            let stage = Stage::new(move |seen| {
                if seen.line.starts_with(INTROSPECTION) {
                    return Some(if seen.body.contains("CANARY") { to_secret.clone() } else { to_nonsense.clone() });
                }
                if seen.line.starts_with(TOKEN) {
                    return Some(denied(400, "unauthorized_client", ""));
                }
                let kind = if grant { "m2m" } else { "oauth" };
                seen.line.starts_with("GET /connect/applications/conn_app_1 ").then(|| answer(200, &application(kind)))
            })
            .await;
            let said = stage.verify().await;
            let word = match &said {
                Ok(Verdict::Good) => Ok("good"),
                Ok(Verdict::Bad { .. }) => Ok("bad"),
                Ok(Verdict::CannotTell { .. }) => Ok("cannot tell"),
                Err(fault) => Err(fault.class),
            };
            assert_eq!(word, expected, "{what}: {said:?}");
            if !grant {
                let told = stage.workos.provable(stage.place()).await;
                assert_eq!(told.ok(), provable, "{what}");
                let asked = stage.responder.seen();
                let asked = asked.iter().filter(|seen| seen.line.starts_with(INTROSPECTION));
                let made_up = asked.filter(|seen| !seen.body.contains("CANARY")).count();
                assert!(provable.is_none() || made_up <= 1, "{what}: {made_up} made-up secrets");
            }
        }
    }
}

#[tokio::test]
async fn without_a_domain_nothing_tells_and_nothing_is_sent() {
    let workos = driver("https://api.workos.com", |_| "sk_CANARY");
    let options = options(&[("application", "conn_app_1")]);
    let place = Place { type_name: "client-secret", options: &options };
    let outputs = Outputs::default().public("client_id", "c").secret("client_secret", SecretValue::new("s"));
    assert_eq!(workos.provable(place).await.unwrap(), Proof::Impossible);
    let verdict = workos.verify(place, &outputs).await.unwrap();
    assert!(matches!(verdict, Verdict::CannotTell { answer } if answer.contains("`authkit_domain`")));
}

#[tokio::test]
async fn a_domain_that_sends_secrets_elsewhere_is_not_followed() {
    for (token, introspection) in [
        ("https://elsewhere.example/oauth2/token", "{base}/oauth2/introspection"),
        ("{base}/oauth2/token", "http://127.0.0.1:1/oauth2/introspection"),
        ("nonsense", "{base}/oauth2/introspection"),
    ] {
        let responder = Responder::start(move |base, seen| {
            let filled = |text: &str| text.replace("{base}", base);
            match seen.line.starts_with("GET /.well-known/") {
                true => answer(
                    200,
                    &json!({"issuer": base, "token_endpoint": filled(token),
                    "introspection_endpoint": filled(introspection)}),
                ),
                false => well(base, seen),
            }
        })
        .await;
        let stage = Stage {
            workos: driver(&responder.base, |_| "sk_CANARY"),
            responder,
            options: options(&[("application", "conn_app_1")]),
        };
        let fault = stage.create().await.err().unwrap();
        assert_eq!(fault.class, Class::Rejected, "{fault}");
        assert!(fault.answer.contains("at the AuthKit domain itself") || fault.answer.contains("URL"), "{fault}");
        assert_eq!(stage.responder.count(CREATE), 0, "nothing was made");
    }
}

#[tokio::test]
async fn an_id_that_this_process_made_is_ended_though_no_list_shows_it_yet() {
    let stage = Stage::new(|seen| seen.line.starts_with(LIST).then(|| answer(200, &json!([])))).await;
    assert_eq!(stage.revoke(Grounds::Listed).await, Ok(Ended::NotListed), "not seen there");
    assert_eq!(stage.responder.count("DELETE "), 0, "nothing was sent");
    stage.create().await.unwrap();
    assert_eq!(stage.revoke(Grounds::Listed).await, Ok(Ended::Confirmed));
    assert_eq!(stage.responder.count("DELETE /connect/client_secrets/secret_1 "), 1);
}

#[tokio::test]
async fn only_the_documented_answer_to_a_delete_is_one() {
    let listed = || answer(200, &json!([{"id": "secret_1", "created_at": "2026-11-20T10:00:00.000Z"}]));
    for (status, body, reply) in odd_answers() {
        for grounds in [Grounds::Listed, Grounds::Tracked] {
            let (told, shown) = (reply.clone(), listed());
            let stage = Stage::new(move |seen| match &seen.line {
                line if line.starts_with(LIST) => Some(shown.clone()),
                line if line.starts_with("DELETE ") => Some(told.clone()),
                _ => None,
            })
            .await;
            let fault = stage.revoke(grounds).await.expect_err(&format!("{status} {body}"));
            assert_eq!(fault.class, Class::InDoubt, "{status} {body}: {fault}");
            assert!(fault.answer.contains("proves nothing"), "{fault}");
        }
    }
}

#[tokio::test]
async fn no_odd_answer_to_any_call_is_taken_for_one() {
    const READ: &str = "GET /connect/applications/conn_app_1 ";
    const PAGES: &str = "GET /connect/applications?";
    const DISCOVERY: &str = "GET /.well-known/";
    for start in [READ, PAGES, LIST, CREATE, DISCOVERY, TOKEN] {
        for (status, body, reply) in odd_answers() {
            if start == LIST && (status, body) == (200, "[]") {
                continue;
            }
            let nothing = answer(404, &json!({"message": "Not Found"}));
            let stage = Stage::new(move |seen| match &seen.line {
                line if line.starts_with(start) => Some(reply.clone()),
                line if start == PAGES && line.starts_with(READ) => Some(nothing.clone()),
                _ => None,
            })
            .await;
            let fault = match start {
                CREATE | DISCOVERY => stage.create().await.err(),
                TOKEN => stage.verify().await.err(),
                _ => stage.list().await.err(),
            };
            let fault = fault.unwrap_or_else(|| panic!("{start}: {status} {body}"));
            assert!(fault.heals_by_itself() || status >= 400, "{start}: {status} {body}: {fault}");
            assert!(start != CREATE || status >= 400 || fault.class == Class::InDoubt, "{status} {body}: {fault}");
            let page = !body.starts_with('{');
            assert!(fault.class != Class::Gone || !page, "{start}: {status} {body}: a page is no word on the place");
        }
    }
}

#[tokio::test]
async fn what_our_lease_names_is_ended_wherever_it_lives_and_gone_only_in_workos_own_words() {
    let absent = || answer(404, &json!({"message": "Not found.", "code": "entity_not_found", "entity_id": "secret_1"}));
    let plain = || answer(404, &json!({"message": "Not Found"}));
    let nothing = || answer(404, &json!({"message": "Not Found"}));
    let moved = |seen: &Seen| seen.line.starts_with(LIST).then(|| answer(200, &json!([])));
    // What the application's listing says, what the delete says, and what follows by each of the grounds.
    for (told, tracked) in [
        (reply(204, "", ""), Ok(Ended::Confirmed)),
        (absent(), Ok(Ended::UnknownToVendor)),
        (plain(), Ok(Ended::UnknownToVendor)),
        (answer(401, &json!({"message": "Unauthorized"})), Err(Class::Denied)),
        (answer(500, &json!({"message": "x"})), Err(Class::InDoubt)),
    ] {
        let shown = format!("{told:?}");
        let stage =
            Stage::new(move |seen| moved(seen).or_else(|| seen.line.starts_with("DELETE ").then(|| told.clone())))
                .await;
        assert_eq!(stage.revoke(Grounds::Listed).await, Ok(Ended::NotListed), "{shown}");
        assert_eq!(stage.responder.count("DELETE "), 0, "{shown}");
        assert_eq!(stage.revoke(Grounds::Tracked).await.map_err(|fault| fault.class), tracked, "{shown}");
    }
    // The application was ended, or renamed, or the key is of another environment.
    for (told, tracked) in [(reply(204, "", ""), Ok(Ended::Confirmed)), (absent(), Err(Class::Gone))] {
        let shown = format!("{told:?}");
        let stage = Stage::new(move |seen| match &seen.line {
            line if line.starts_with("DELETE ") => Some(told.clone()),
            line if line.starts_with("GET /connect/applications/") => Some(nothing()),
            _ => None,
        })
        .await;
        let listed = stage.revoke(Grounds::Listed).await.map_err(|fault| fault.class);
        assert_eq!(listed, Err(Class::Gone), "{shown}: the place is gone, which says nothing of the secret");
        assert_eq!(stage.revoke(Grounds::Tracked).await.map_err(|fault| fault.class), tracked, "{shown}");
    }
}
