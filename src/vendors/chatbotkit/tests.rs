//! Calls and answers of ChatBotKit, against a scripted listener.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::http::responder::{Reply, Responder, Seen, json as answer, odd_answers, reply};
use super::super::http::{Client, Limits};
use super::*;
use crate::model::attempt::Attempt;
use crate::model::name::Arn;
use crate::model::option::{Object, Options, Piece, Value as Setting};
use crate::model::secret::{Read, SecretValue};
use crate::model::source::{Rule, Source};
use crate::model::time::{Clock, Sleep, Timestamp};

const RETRY: Class = Class::Retry { after: None };
const SECRET_ID: &str = "csecret0000000000000000000";

/// The admin token, each read numbered; no clock is asked.
struct Hands(AtomicUsize, fn(usize) -> String);

impl Keyring for Hands {
    fn read<'a>(&'a self, _: &'static str) -> Read<'a> {
        let text = (self.1)(self.0.fetch_add(1, Ordering::SeqCst));
        Box::pin(async move { Ok(SecretValue::new(text)) })
    }
}

impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        unreachable!("a driver never asks for the wall clock")
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _: Duration) -> Sleep<'_> {
        unreachable!("a driver sleeps in real time")
    }
}

struct Stage {
    vendor: Arc<dyn Vendor>,
    responder: Responder,
    mark: Mark,
}

fn arn() -> Arn {
    Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-a1b2c3").unwrap()
}

fn instance(options: Options, keyring: Arc<Hands>) -> Instance {
    let moment = Duration::from_millis(1);
    let total_timeout = Duration::from_secs(3);
    let limits = Limits { total_timeout, backoff_first: moment, backoff_max: moment, ..Limits::default() };
    Instance {
        name: VendorName::new("main").unwrap(),
        options,
        keyring: Arc::clone(&keyring) as Arc<dyn Keyring>,
        client: Client::loopback_only(limits),
        clock: keyring,
    }
}

impl Stage {
    async fn new(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::with_token(script, |_| "CANARY-admin".into()).await
    }

    async fn with_token(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static, token: fn(usize) -> String) -> Self {
        let responder = Responder::start(move |_, seen| script(seen)).await;
        let mut options = Options::default();
        options.set(&SPEC.fields[0], Setting::Text(responder.base.clone()));
        let vendor = connect(instance(options, Arc::new(Hands(AtomicUsize::new(0), token)))).unwrap();
        Self { vendor, responder, mark: Mark::new(&arn(), Attempt::derive(&arn(), &None, 1)) }
    }

    /// The body of the one request whose line starts so.
    fn body(&self, start: &str) -> Value {
        let seen = self.responder.seen();
        let found = seen.iter().find(|seen| seen.line.starts_with(start)).expect("it was sent");
        serde_json::from_str(&found.body).unwrap()
    }
}

fn quiet<T>(result: Result<T, Fault>) -> Result<T, Fault> {
    if let Err(fault) = &result {
        let shown = format!("{fault} {fault:?}");
        assert!(!shown.contains("CANARY") && !shown.contains("kfcanary"), "{shown}");
    }
    result
}

fn options(type_name: &str, texts: &[(&str, &str)]) -> Options {
    let kind = SPEC.types.iter().find(|kind| kind.name == type_name).unwrap();
    let mut options = Options::default();
    for (name, text) in texts {
        let field = kind.fields.iter().find(|field| field.name == *name).unwrap();
        options.set(field, Setting::Text((*text).into()));
    }
    options
}

fn user() -> Options {
    options(TOKEN, &[("user", "child/1")])
}

/// A bearer secret whose value comes from a rule.
fn bearer() -> Options {
    let mut options = options(SECRET, &[("alias", "crm"), ("usage", "bearer")]);
    let field = SPEC.types[0].fields.iter().find(|field| field.name == "value").unwrap();
    let source = Source::Generate(Rule::new(48, "abcdefghij").unwrap());
    options.set(field, Setting::Source(Piece { output: "value", source }));
    options
}

fn value() -> Outputs {
    Outputs::default().public("alias", "crm").secret("value", SecretValue::new("kfcanary-value"))
}

fn place<'a>(type_name: &'static str, options: &'a Options) -> Place<'a> {
    Place { type_name, options }
}

fn error(status: u16, code: &str) -> Reply {
    answer(status, &json!({ "message": "CANARY in a message", "code": code }))
}

fn html(status: u16) -> Reply {
    reply(status, "Content-Type: text/html\r\n", "<html>CANARY</html>")
}

fn record(mark: &str) -> Value {
    json!({
        "id": SECRET_ID, "alias": "crm", "name": "crm", "description": "", "blueprintId": null, "kind": "shared",
        "type": "bearer", "config": null, "visibility": "private",
        "meta": { "managedBy": "keyferry", "keyferryAlias": "crm", "keyferryMark": mark },
        "createdAt": 1_790_000_000_000_i64, "updatedAt": 1_790_000_000_000_i64,
    })
}

#[test]
fn the_hosted_service_has_no_api_in_front_and_a_path_is_refused() {
    for (base, url) in [
        ("https://api.chatbotkit.com", "https://api.chatbotkit.com/v1/secret/list"),
        ("https://cbk.example.com", "https://cbk.example.com/api/v1/secret/list"),
    ] {
        let driver = ChatBotKit {
            name: VendorName::new("main").unwrap(),
            hosted: Endpoint::parse(base).unwrap().url().host_str() == Some(HOSTED),
            base: Endpoint::parse(base).unwrap(),
            run_as: None,
            partner: false,
            keyring: Arc::new(Hands(AtomicUsize::new(0), |_| String::new())),
            line: Line::new(Client::loopback_only(Limits::default())),
            token: Shared::default(),
            odd: Mutex::default(),
        };
        assert_eq!(driver.url("x", &["secret", "list"]).unwrap().as_str(), url);
    }
    let mut options = Options::default();
    options.set(&SPEC.fields[0], Setting::Text("http://127.0.0.1:1/v1".into()));
    let refused = connect(instance(options, Arc::new(Hands(AtomicUsize::new(0), |_| String::new())))).err().unwrap();
    assert!(refused.answer.contains("it has a path"), "{refused}");
}

#[tokio::test]
async fn what_an_answer_to_a_tokens_create_means() {
    let good = || answer(200, &json!({ "id": "ct1", "token": "sk-kfcanary", "createdAt": 1 }));
    let rows: Vec<(Reply, Option<Class>, usize)> = vec![
        (good(), None, 1),
        (error(400, "BAD_REQUEST"), Some(Class::Rejected), 1),
        (error(401, "NOT_AUTHENTICATED"), Some(Class::Denied), 1),
        (error(402, "NO_SUBSCRIPTION"), Some(Class::Rejected), 1),
        (error(403, "NOT_AUTHORIZED"), Some(Class::Denied), 1),
        (error(404, "NOT_FOUND"), Some(Class::Gone), 1),
        (html(404), Some(Class::Rejected), 1),
        (error(429, "LIMITS_REACHED"), Some(RETRY), 1),
        (error(500, "GENERIC_ERROR"), Some(Class::InDoubt), 1),
        (html(502), Some(Class::InDoubt), 1),
        (answer(200, &json!({})), Some(Class::InDoubt), 1),
        (answer(200, &json!({ "id": "", "token": "sk-kfcanary" })), Some(Class::InDoubt), 1),
        (answer(200, &json!({ "id": "ct1", "token": "" })), Some(Class::InDoubt), 1),
        (answer(200, &json!({ "id": "ct1", "token": "sk\nkfcanary" })), Some(Class::InDoubt), 1),
        (html(200), Some(Class::InDoubt), 1),
        (Reply::Endless, Some(Class::InDoubt), 1),
    ];
    for (script, class, sends) in rows {
        let told = format!("{script:?}");
        let stage = Stage::new(move |_| script.clone()).await;
        let options = user();
        let minted = quiet(stage.vendor.create(place(TOKEN, &options), &stage.mark).await);
        assert_eq!(minted.as_ref().err().map(|fault| fault.class), class, "{told}");
        let path = "POST /api/v1/user/child%2F1/token/create ";
        assert_eq!(stage.responder.count(path), sends, "a create is sent once: {told}");
        if let Ok(minted) = minted {
            assert_eq!(minted.id.as_str(), "ct1");
            assert_eq!(minted.outputs.get("token"), Some(SecretValue::new("sk-kfcanary")));
            let body = stage.body(path);
            assert_eq!(body["name"], stage.mark.as_str());
            assert_eq!(body["meta"]["keyferryMark"], stage.mark.as_str());
        }
    }
}

#[tokio::test]
async fn what_a_login_says_about_a_token() {
    let outputs = Outputs::default().secret("token", SecretValue::new("sk-kfcanary"));
    for (script, verdict) in [
        (error(404, "NOT_FOUND"), Some(true)),
        (error(401, "NOT_AUTHENTICATED"), Some(false)),
        (html(401), None),
        (html(404), None),
        (error(403, "NOT_AUTHORIZED"), None),
        (error(429, "LIMITS_REACHED"), None),
        (html(503), None),
        (answer(200, &json!({})), None),
    ] {
        let told = format!("{script:?}");
        let stage = Stage::new(move |_| script.clone()).await;
        let options = user();
        let said = quiet(stage.vendor.verify(place(TOKEN, &options), &outputs).await);
        match (said, verdict) {
            (Ok(Verdict::Good), Some(true)) | (Ok(Verdict::Bad { .. }), Some(false)) => {}
            (Err(fault), None) => assert!(fault.heals_by_itself(), "{told}: {fault}"),
            (said, _) => panic!("{told}: {said:?}"),
        }
        let seen = stage.responder.seen();
        assert_eq!(seen[0].header("authorization"), Some("Bearer sk-kfcanary"), "with the token, not the admin's");
    }
}

#[tokio::test]
async fn a_list_ends_with_a_short_page_and_nothing_else_is_an_end() {
    let item = |number: usize| json!({ "id": format!("ct{number:03}"), "name": "x", "createdAt": 1 });
    let page = move |from: usize, to: usize| (from..to).map(item).collect::<Vec<_>>();
    let rows: Vec<(Vec<Value>, Option<usize>)> = vec![
        (vec![json!({ "items": [] })], Some(0)),
        (vec![json!({ "items": page(0, 3), "cursor": "ct002" })], Some(3)),
        (vec![json!({ "items": page(0, 100), "cursor": "ct099" }), json!({ "items": [] })], Some(100)),
        (
            vec![json!({ "items": page(0, 100), "cursor": "x" }), json!({ "items": page(99, 103), "cursor": "x" })],
            Some(103),
        ),
        (vec![json!({ "items": page(0, 100), "cursor": "ct099" })], None),
        (vec![json!({ "message": "Timeout", "code": "TIMEOUT" })], None),
        (vec![json!({ "items": [{ "id": "a\nb", "createdAt": 1 }] })], None),
        (vec![json!({ "items": [{ "id": "a" }] })], None),
    ];
    for (pages, expected) in rows {
        let told = format!("{} pages, {expected:?}", pages.len());
        let stage = Stage::new(move |seen| {
            let index = usize::from(seen.line.contains("cursor=ct099")).min(pages.len() - 1);
            answer(200, &pages[index])
        })
        .await;
        let options = user();
        let listed = quiet(stage.vendor.list(place(TOKEN, &options)).await);
        assert_eq!(listed.as_ref().ok().map(|listing| listing.credentials.len()), expected, "{told}");
        if let Err(fault) = listed {
            assert!(fault.heals_by_itself(), "an incomplete list is never a short one: {fault}");
        }
    }
}

#[tokio::test]
async fn a_tokens_end_counts_only_in_the_vendors_words_and_a_refused_admin_token_is_read_again() {
    let id = VendorId::new("../x").unwrap();
    let account = || answer(200, &json!({ "id": "child/1" }));
    for (script, account, expected) in [
        (answer(200, &json!({ "id": "../x" })), account(), Ok(Ended::Confirmed)),
        (error(404, "NOT_FOUND"), account(), Ok(Ended::UnknownToVendor)),
        (error(404, "NOT_FOUND"), error(404, "NOT_FOUND"), Err(Class::Gone)),
        (html(404), account(), Err(Class::InDoubt)),
        (error(500, "GENERIC_ERROR"), account(), Err(Class::InDoubt)),
        (error(403, "NOT_AUTHORIZED"), account(), Err(Class::Denied)),
    ] {
        let shown = format!("{script:?}");
        let stage = Stage::new(move |seen| match seen.line.contains("/fetch ") {
            true => account.clone(),
            false => script.clone(),
        })
        .await;
        let options = user();
        let ended = quiet(stage.vendor.revoke(place(TOKEN, &options), &id, Grounds::Tracked).await);
        assert_eq!(ended.map_err(|fault| fault.class), expected, "{shown}");
        assert!(stage.responder.count("POST /api/v1/user/child%2F1/token/..%2Fx/delete ") >= 1);
    }
    for (status, body, reply) in odd_answers() {
        let stage = Stage::new(move |_| reply.clone()).await;
        let (options, id) = (user(), VendorId::new("c1").unwrap());
        let ended = quiet(stage.vendor.revoke(place(TOKEN, &options), &id, Grounds::Tracked).await);
        let fault = ended.expect_err(&format!("{status} {body}"));
        assert_eq!(fault.class, Class::InDoubt, "{status} {body}: {fault}");
    }
    let fresh = |seen: &Seen| match seen.header("authorization") {
        Some("Bearer CANARY-1") => answer(200, &json!({ "id": "../x" })),
        _ => error(401, "NOT_AUTHENTICATED"),
    };
    let stage = Stage::with_token(fresh, |count| format!("CANARY-{count}")).await;
    let options = user();
    let ended = stage.vendor.revoke(place(TOKEN, &options), &id, Grounds::Tracked).await;
    assert_eq!(ended, Ok(Ended::Confirmed), "it was replaced meanwhile");
    let stage = Stage::new(|_| error(401, "NOT_AUTHENTICATED")).await;
    let fault = quiet(stage.vendor.revoke(place(TOKEN, &options), &id, Grounds::Tracked).await).unwrap_err();
    assert_eq!((fault.class, stage.responder.count("POST")), (Class::Denied, 1), "the same one is not tried again");
    assert!(fault.hint.is_some_and(|hint| hint.contains("[vendors.main]")));
}

#[tokio::test]
async fn no_odd_answer_to_any_call_is_taken_for_one() {
    let mark = Mark::new(&arn(), Attempt::derive(&arn(), &None, 1));
    let shown = record(mark.as_str());
    let well = move |seen: &Seen| match seen.line.split(' ').nth(1).unwrap() {
        path if path.starts_with("/api/v1/secret/") && path.ends_with("/fetch") => answer(200, &shown),
        _ => answer(200, &json!({ "id": SECRET_ID, "status": "authenticated" })),
    };
    let update = format!("/api/v1/secret/{SECRET_ID}/update ");
    let verify = format!("/api/v1/secret/{SECRET_ID}/verify ");
    let fetch = format!("/api/v1/secret/{SECRET_ID}/fetch ");
    let calls =
        ["/token/list?", "/token/create ", "/user/child%2F1/fetch ", "/secret/@crm/fetch ", &update, &fetch, &verify];
    for call in calls.map(str::to_owned) {
        for (status, body, reply) in odd_answers() {
            let (well, odd) = (well.clone(), call.clone());
            let stage = Stage::new(move |seen| if seen.line.contains(&odd) { reply.clone() } else { well(seen) }).await;
            let (user, bearer) = (user(), bearer());
            let fault = match call.as_str() {
                "/token/list?" => quiet(stage.vendor.list(place(TOKEN, &user)).await).err(),
                "/token/create " => quiet(stage.vendor.create(place(TOKEN, &user), &mark).await).err(),
                "/user/child%2F1/fetch " => quiet(stage.vendor.check(place(TOKEN, &user)).await).err(),
                _ => quiet(stage.vendor.set(place(SECRET, &bearer), &mark, &value()).await).err(),
            };
            let fault = fault.unwrap_or_else(|| panic!("{call}: {status} {body}"));
            assert!(fault.heals_by_itself() || status >= 400, "{call}: {status} {body}: {fault}");
            assert!(fault.class != Class::Gone, "{call}: {status} {body}: these are not ChatBotKit's words");
        }
    }
}

#[tokio::test]
async fn a_record_is_created_with_its_kind_and_updated_with_its_alias() {
    let options = bearer();
    let mark = Mark::new(&arn(), Attempt::derive(&arn(), &None, 1));
    let after = record(mark.as_str());
    let stage = Stage::new(move |seen| match seen.line.split(' ').nth(1).unwrap() {
        "/api/v1/secret/@crm/fetch" => error(404, "NOT_FOUND"),
        "/api/v1/secret/create" => answer(200, &json!({ "id": SECRET_ID })),
        path if path.starts_with("/api/v1/secret/list?") => answer(200, &json!({ "items": [] })),
        path if path.ends_with("/fetch") => answer(200, &after),
        _ => answer(200, &json!({ "id": SECRET_ID, "status": "authenticated" })),
    })
    .await;
    assert_eq!(quiet(stage.vendor.set(place(SECRET, &options), &mark, &value()).await).unwrap(), Verdict::Good);
    let body = stage.body("POST /api/v1/secret/create ");
    assert_eq!(
        (&body["kind"], &body["alias"], &body["value"]),
        (&json!("shared"), &json!("crm"), &json!("kfcanary-value"))
    );
    assert_eq!(body["meta"]["keyferryMark"], mark.as_str(), "a create knows no merging");

    let before = record(Mark::new(&arn(), Attempt::derive(&arn(), &None, 2)).as_str());
    let after = record(mark.as_str());
    let stage = Stage::new(move |seen| match seen.line.split(' ').nth(1).unwrap() {
        "/api/v1/secret/@crm/fetch" => answer(200, &before),
        path if path.ends_with("/fetch") => answer(200, &after),
        _ => answer(200, &json!({ "id": SECRET_ID, "status": "authenticated" })),
    })
    .await;
    assert_eq!(quiet(stage.vendor.set(place(SECRET, &options), &mark, &value()).await).unwrap(), Verdict::Good);
    let body = stage.body(&format!("POST /api/v1/secret/{SECRET_ID}/update "));
    assert_eq!((&body["alias"], &body["value"]), (&json!("crm"), &json!("kfcanary-value")));
    assert_eq!(body["meta"]["$update"]["keyferryMark"], mark.as_str(), "what others wrote stays");
    assert!(body.get("config").is_none() && body.get("description").is_none(), "what is not declared is not sent");
}

#[tokio::test]
async fn a_record_of_another_owner_is_refused_before_anything_is_sent() {
    let other = Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:other-a1b2c3").unwrap();
    let foreign = Mark::new(&other, Attempt::derive(&other, &None, 1));
    let mut by_hand = record("x");
    by_hand["meta"] = json!({ "owner": "ann" });
    for (shown, word) in [
        (record(foreign.as_str()), "another AWS secret"),
        (record("scribble"), "mark can't be read"),
        (by_hand, "keyferry did not make"),
    ] {
        let stage = Stage::new(move |_| answer(200, &shown)).await;
        let options = bearer();
        let fault = quiet(stage.vendor.set(place(SECRET, &options), &stage.mark, &value()).await).unwrap_err();
        assert_eq!(fault.class, Class::Rejected);
        assert!(fault.answer.contains(word), "{fault}");
        assert_eq!(stage.responder.count("POST"), 0);
    }
}

#[test]
fn a_configuration_that_the_server_registered_for_itself_is_kept() {
    let kind = SPEC.types[0].fields.iter().find(|field| field.name == "config").unwrap();
    let mut options = options(SECRET, &[("alias", "crm"), ("usage", "oauth")]);
    let fixed = json!({ "resourceUrl": "https://mcp.example.com" }).as_object().unwrap().clone();
    options.set(kind, Setting::Object(Object { fixed, pieces: Vec::new() }));
    assert!(judge::judge(&SPEC.types[0], &options).is_empty());
    let mut old = record("x");
    old["config"] = json!({ "clientId": "registered", "clientSecret": "********", "other": 1 });
    let old: wire::Record = serde_json::from_value(old).unwrap();
    let sent = secrets::sent_config(options.object("config").unwrap(), &Outputs::default(), Some(&old));
    let expected = json!({
        "resourceUrl": "https://mcp.example.com", "clientId": "registered", "clientSecret": "********",
    });
    assert_eq!(Value::Object(sent), expected, "eight asterisks keep the stored one");
}
