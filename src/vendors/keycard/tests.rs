//! Every call and every answer of Keycard, against a scripted listener.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::http::responder::{Reply, Responder, Seen, json as answer, odd_answers, reply};
use super::http::{Client, Limits};
use super::*;
use crate::model::attempt::Attempt;
use crate::model::name::Arn;
use crate::model::option::{Options, Value as Setting};
use crate::model::secret::Read;
use crate::model::time::{Sleep, Timestamp};
use crate::vendors::Type;

const RETRY: Class = Class::Retry { after: None };
const CREATE: &str = "POST /zones/z1/application-credentials ";
const LIST: &str = "GET /zones/z1/applications/a1/application-credentials?";
const TOKEN: &str = "POST /service-account-token ";
const LOGIN: &str = "POST /oauth/2/token ";

/// Admin secrets, each read numbered, and a clock that a test sets.
struct Hands {
    reads: AtomicUsize,
    secret: fn(usize) -> String,
    clock_seconds: AtomicU64,
}

impl Keyring for Hands {
    fn read<'a>(&'a self, option: &'static str) -> Read<'a> {
        let count = self.reads.fetch_add(1, Ordering::SeqCst) / 2;
        let text = if option == "client_id" { "sa".into() } else { (self.secret)(count) };
        Box::pin(async move { Ok(SecretValue::new(text)) })
    }
}

impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        unreachable!("a driver never asks for the wall clock")
    }
    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.clock_seconds.load(Ordering::SeqCst))
    }
    fn sleep(&self, _: Duration) -> Sleep<'_> {
        unreachable!("a driver sleeps in real time")
    }
}

/// A scripted Keycard, a driver that talks to it, and one declared credential.
struct Stage {
    keycard: Arc<dyn Vendor>,
    responder: Responder,
    hands: Arc<Hands>,
    options: Options,
    mark: Mark,
    kind: &'static Type,
}

impl Stage {
    /// `script` answers what it cares about; the rest goes well.
    async fn new(script: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self::with_secret(script, |_| "CANARY-admin".into()).await
    }

    async fn with_secret(
        script: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
        secret: fn(usize) -> String,
    ) -> Self {
        let responder = Responder::start(move |base, seen| script(seen).unwrap_or_else(|| well(base, seen))).await;
        let hands = Arc::new(Hands { reads: AtomicUsize::new(0), secret, clock_seconds: AtomicU64::new(1000) });
        let mut options = Options::default();
        options.set(&SPEC.fields[0], Setting::Text(responder.base.clone()));
        let moment = Duration::from_millis(1);
        let total_timeout = Duration::from_secs(3);
        let limits = Limits { total_timeout, backoff_first: moment, backoff_max: moment, ..Limits::default() };
        let keycard = connect(Instance {
            name: VendorName::new("main").unwrap(),
            options,
            keyring: Arc::clone(&hands) as Arc<dyn Keyring>,
            client: Client::loopback_only(limits),
            clock: Arc::clone(&hands) as Arc<dyn Clock>,
        });
        let arn = Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-a1b2c3").unwrap();
        let mark = Mark::new(&arn, Attempt::derive(&arn, &None, 1));
        let stage = Self {
            keycard: keycard.unwrap(),
            responder,
            hands,
            options: Options::default(),
            mark,
            kind: &SPEC.types[0],
        };
        stage.option("zone", "prod").option("application", "app")
    }

    fn option(mut self, name: &str, text: &str) -> Self {
        let field = self.kind.fields.iter().find(|field| field.name == name).unwrap();
        self.options.set(field, Setting::Text(text.into()));
        self
    }

    /// Another type than `password`, with what it needs declared.
    fn typed(mut self, name: &str, options: &[(&str, &str)]) -> Self {
        self.kind = SPEC.types.iter().find(|kind| kind.name == name).unwrap();
        options.iter().fold(self, |stage, (name, text)| stage.option(name, text))
    }

    fn place(&self) -> Place<'_> {
        Place { type_name: self.kind.name, options: &self.options }
    }

    async fn create(&self) -> Result<Minted, Fault> {
        quiet(self.keycard.create(self.place(), &self.mark).await)
    }

    async fn list(&self) -> Result<Listing, Fault> {
        quiet(self.keycard.list(self.place()).await)
    }

    async fn check(&self) -> Result<(), Fault> {
        quiet(self.keycard.check(self.place()).await)
    }

    async fn revoke(&self, id: &str) -> Result<Ended, Fault> {
        quiet(self.keycard.revoke(self.place(), &VendorId::new(id).unwrap(), Grounds::Tracked).await)
    }

    async fn verify(&self, id: &str, secret: &str) -> Result<Verdict, Fault> {
        let outputs = Outputs::default().public("client_id", id).secret("client_secret", SecretValue::new(secret));
        quiet(self.keycard.verify(self.place(), &outputs).await)
    }
}

/// No fault shows a secret or the vendor's own sentences.
fn quiet<T>(outcome: Result<T, Fault>) -> Result<T, Fault> {
    if let Err(fault) = &outcome {
        assert!(!format!("{fault} {fault:?}").contains("CANARY"), "{fault:?}");
    }
    outcome
}

fn list_of(items: &[Value]) -> Value {
    json!({"items": items, "page_info": {"has_next_page": false, "has_previous_page": false, "end_cursor": null}})
}

fn entry(id: &str, owner: &str) -> Value {
    json!({"id": id, "application_id": owner, "identifier": format!("kf-{id}"), "type": "password",
           "created_at": "2026-11-20T10:00:00Z", "slug": "s", "more": {"ignored": true}})
}

fn created(seen: &Seen) -> Value {
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    json!({"id": "c1", "identifier": body["identifier"], "application_id": "a1", "type": "password",
           "password": "CANARY-secret", "created_at": "2026-11-20T10:00:00Z"})
}

fn nothing(status: u16, code: &str) -> Reply {
    answer(status, &json!({"status": status, "code": code, "message": "CANARY sentence", "request_id": "r1"}))
}

/// Keycard on a good day: zone `prod` (z1), application `app` (a1).
fn well(base: &str, seen: &Seen) -> Reply {
    let starts = |start: &str| seen.line.starts_with(start);
    if starts(TOKEN) {
        return answer(200, &json!({"access_token": "CANARY-token", "token_type": "Bearer", "expires_in": 3600}));
    } else if starts(LOGIN) {
        return answer(200, &json!({"access_token": "CANARY-vault", "token_type": "Bearer", "expires_in": 60}));
    } else if starts("GET /zones?") {
        return answer(200, &list_of(&[json!({"id": "z1", "slug": "prod"}), json!({"id": "z2", "slug": "test"})]));
    } else if starts("GET /zones/z1 ") {
        let oauth2 = json!({"issuer": base, "token_endpoint": format!("{base}/oauth/2/token")});
        return answer(200, &json!({"id": "z1", "slug": "prod", "protocols": {"oauth2": oauth2}}));
    } else if starts("GET /zones/z1/applications?") {
        return answer(200, &list_of(&[json!({"id": "a1", "slug": "app"}), json!({"id": "a2", "slug": "web"})]));
    } else if starts("GET /zones/z1/applications/a1 ") {
        return answer(200, &json!({"id": "a1", "slug": "app"}));
    } else if starts("GET /zones/z1/providers?") {
        return answer(200, &list_of(&[json!({"id": "p1", "slug": "ci"})]));
    } else if starts(LIST) {
        return answer(200, &list_of(&[entry("c1", "a1"), entry("c9", "a2")]));
    } else if starts(CREATE) {
        return answer(200, &created(seen));
    } else if starts("DELETE /zones/z1/application-credentials/c1 ") {
        return reply(204, "", "");
    }
    nothing(404, "not_found")
}

/// A stage where requests that start so are answered by `reply`.
async fn stage_where(start: &'static str, reply: Reply) -> Stage {
    Stage::new(move |seen| seen.line.starts_with(start).then(|| reply.clone())).await
}

fn on(
    start: &'static str,
    body: impl Fn(&Seen) -> Value + Send + Sync,
) -> impl Fn(&Seen) -> Option<Reply> + Send + Sync {
    move |seen| seen.line.starts_with(start).then(|| answer(200, &body(seen)))
}

#[tokio::test]
async fn a_credential_is_created_listed_proved_and_revoked() {
    let stage = Stage::new(|_| None).await.option("resource", "urn:a b");
    stage.check().await.unwrap();
    let minted = stage.create().await.unwrap();
    assert_eq!(minted.id.as_str(), "c1");
    let output = |name: &str| minted.outputs.get(name).map(|value| value.expose().to_owned());
    let base = &stage.responder.base;
    for (name, value) in [
        ("client_id", stage.mark.as_str()),
        ("client_secret", "CANARY-secret"),
        ("token_endpoint", &format!("{base}/oauth/2/token")),
        ("issuer", base),
        ("zone_id", "z1"),
        ("application_id", "a1"),
        ("credential_id", "c1"),
    ] {
        assert_eq!(output(name).as_deref(), Some(value), "{name}");
    }
    assert!(minted.outputs.names().eq([
        "application_id",
        "client_id",
        "client_secret",
        "credential_id",
        "issuer",
        "token_endpoint",
        "zone_id"
    ]));
    assert!(!format!("{:?}", minted.outputs).contains("CANARY"));
    let listing = stage.list().await.unwrap();
    assert_eq!(listing.at, Timestamp::parse_rfc3339("2026-11-21T07:00:00Z").unwrap());
    let listed: Vec<_> = listing.credentials.iter().map(|one| (one.id.as_str(), one.mark.as_deref())).collect();
    assert_eq!(listed, [("c1", Some("kf-c1"))]);
    assert_eq!(stage.verify("kf-1", "x").await, Ok(Verdict::Good));
    stage.revoke("c1").await.unwrap();

    let seen = stage.responder.seen();
    let of = |start: &str| seen.iter().find(|seen| seen.line.starts_with(start)).unwrap();
    assert_eq!(stage.responder.count(TOKEN), 1, "one token serves all");
    assert_eq!(of(TOKEN).body, "grant_type=client_credentials");
    assert_eq!(of(TOKEN).header("authorization"), Some("Basic c2E6Q0FOQVJZLWFkbWlu"));
    assert_eq!(of(CREATE).header("authorization"), Some("Bearer CANARY-token"));
    assert_eq!(of(CREATE).header("content-type"), Some("application/json"));
    assert!(of(CREATE).header("x-client-request-id").is_some());
    let body: Value = serde_json::from_str(&of(CREATE).body).unwrap();
    assert_eq!(body, json!({"application_id": "a1", "type": "password", "identifier": stage.mark.as_str()}));
    assert_eq!(of(LOGIN).body, "grant_type=client_credentials&resource=urn%3Aa+b");
    assert_eq!(of(LOGIN).header("authorization"), Some("Basic a2YtMTp4"));
    assert!(of("GET /zones?").line.starts_with("GET /zones?slug=prod&limit=100 "));
    let filter = "GET /zones/z1/applications?filter%5Bslug%5D=app&limit=100 ";
    assert!(of("GET /zones/z1/applications?").line.starts_with(filter));
}

#[tokio::test]
async fn every_answer_to_a_create_has_its_class_and_it_is_sent_once() {
    let told = Class::Retry { after: Some(Duration::from_secs(3)) };
    let table = [
        (nothing(400, "bad_request"), Class::Rejected),
        (nothing(403, "forbidden"), Class::Denied),
        (nothing(404, "not_found"), Class::Gone),
        (nothing(408, "timeout"), Class::InDoubt),
        (nothing(409, "conflict"), Class::InDoubt),
        (nothing(415, "x"), Class::Rejected),
        (nothing(422, "x"), Class::Rejected),
        (nothing(429, "x"), RETRY),
        (reply(429, "Retry-After: 3\r\n", "<html>"), told),
        (nothing(500, "internal"), Class::InDoubt),
        (reply(502, "Content-Type: text/html\r\n", "<html>CANARY"), Class::InDoubt),
        (reply(503, "Retry-After: 3\r\n", ""), Class::InDoubt),
        (reply(302, "Location: /elsewhere\r\n", ""), Class::InDoubt),
        (reply(200, "", ""), Class::InDoubt),
        (reply(204, "", ""), Class::InDoubt),
        (reply(200, "Content-Type: text/html\r\n", "<html>CANARY"), Class::InDoubt),
        (answer(200, &json!([])), Class::InDoubt),
        (Reply::Bytes(Vec::new()), Class::InDoubt),
        (Reply::Endless, Class::InDoubt),
    ];
    for (reply, class) in table {
        let shown = format!("{reply:?}").chars().take(80).collect::<String>();
        let stage = stage_where(CREATE, reply).await;
        let fault = stage.create().await.err().unwrap();
        assert_eq!(fault.class, class, "{shown} {fault}");
        assert_eq!(stage.responder.count(CREATE), 1, "{shown}");
    }
}

#[tokio::test]
async fn a_created_credential_that_is_not_quite_ours_is_in_doubt() {
    for (pointer, value) in [
        ("/id", json!(null)),
        ("/id", json!("")),
        ("/id", json!("a\r\nb")),
        ("/id", json!(7)),
        ("/identifier", json!("chosen-by-the-vendor")),
        ("/identifier", json!(null)),
        ("/password", json!("")),
        ("/password", json!(null)),
        ("/password", json!(["CANARY"])),
        ("/application_id", json!("a2")),
    ] {
        let changed = value.clone();
        let stage = Stage::new(on(CREATE, move |seen| {
            let mut body = created(seen);
            *body.pointer_mut(pointer).unwrap() = changed.clone();
            body
        }))
        .await;
        let fault = stage.create().await.err().unwrap();
        assert_eq!(fault.class, Class::InDoubt, "{pointer} {value} {fault}");
        assert_eq!(stage.responder.count(CREATE), 1);
    }
}

#[tokio::test]
async fn an_answer_cut_anywhere_is_in_doubt_and_never_sent_again() {
    const CUTS: usize = 30;
    for cut in 0..CUTS {
        let stage = Stage::new(move |seen| {
            let whole = seen.line.starts_with(CREATE).then(|| answer(200, &created(seen)))?;
            let Reply::Bytes(bytes) = whole else { unreachable!("an answer is bytes") };
            Some(Reply::Bytes(bytes[..bytes.len() * cut / CUTS].to_vec()))
        })
        .await;
        let fault = stage.create().await.err().unwrap();
        assert_eq!(fault.class, Class::InDoubt, "cut at {cut}: {fault}");
        assert_eq!(stage.responder.count(CREATE), 1, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    // First 401 on each call, then as it comes.
    for (start, refusals, good) in [(CREATE, 1, true), (CREATE, 2, false), (LIST, 1, true), (LIST, 2, false)] {
        let count = AtomicUsize::new(0);
        let stage = Stage::new(move |seen| {
            let refused = seen.line.starts_with(start) && count.fetch_add(1, Ordering::SeqCst) < refusals;
            refused.then(|| nothing(401, "unauthorized"))
        })
        .await;
        let outcome = if start == CREATE { stage.create().await.map(drop) } else { stage.list().await.map(drop) };
        assert_eq!(outcome.as_ref().err().map(|fault| fault.class), (!good).then_some(Class::Denied));
        assert_eq!((stage.responder.count(TOKEN), stage.responder.count(start)), (2, 2));
        assert_eq!(stage.hands.reads.load(Ordering::SeqCst), 4, "admin secrets are read again");
    }
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    // life told, seconds that pass, fetches; `check` makes five calls and `revoke` one
    for (life, passes, fetches) in [
        (json!(3600), 3539, 1),
        (json!(3600), 3540, 2),
        (json!(null), 3539, 1),
        (json!(null), 3540, 2),
        (json!(20), 9, 1),
        (json!(20), 10, 2),
        (json!(1e300), 86_339, 1),
        (json!(1e300), 86_340, 2),
        (json!(-5), 0, 6),
    ] {
        let told = life.clone();
        let stage = Stage::new(on(TOKEN, move |_| json!({"access_token": "t", "expires_in": told.clone()}))).await;
        stage.check().await.unwrap();
        stage.hands.clock_seconds.fetch_add(passes, Ordering::SeqCst);
        stage.revoke("c1").await.unwrap();
        assert_eq!(stage.responder.count(TOKEN), fetches, "{life} {passes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_takes_too_long_to_prepare_is_not_sent() {
    let endless = || std::future::pending::<Result<(), Fault>>();
    let fault = http::prepared("creating x", Effect::Once, endless()).await.err().unwrap();
    assert_eq!((fault.class, fault.answer.as_str()), (RETRY, "not sent: its preparation took over 30 s"));
    let patient = tokio::time::timeout(Duration::from_secs(3600), http::prepared("x", Effect::Nothing, endless()));
    assert!(patient.await.is_err(), "a read has no such limit");
}

#[tokio::test]
async fn a_refused_admin_secret_is_read_again_and_then_denied() {
    let refuse = |seen: &Seen| {
        let bad = seen.line.starts_with(TOKEN) && seen.header("authorization") != Some("Basic c2E6bmV3");
        bad.then(|| answer(401, &json!({"error": "invalid_client", "error_description": "CANARY"})))
    };
    let stage = Stage::with_secret(refuse, |_| "CANARY-wrong".into()).await;
    let fault = stage.create().await.err().unwrap();
    assert_eq!(fault.class, Class::Denied);
    assert_eq!(fault.to_string(), "fetching a management token at keycard `main`: answered 401 (invalid_client)");
    assert!(fault.hint.unwrap().contains("`client_secret` of [vendors.main]"));
    assert_eq!(stage.responder.seen().len(), 1, "the same secret is not tried twice");
    let stage = Stage::with_secret(refuse, |count| if count == 0 { "old".into() } else { "new".into() }).await;
    stage.check().await.unwrap();
    assert_eq!(stage.responder.count(TOKEN), 2);
    for (reply, class) in [
        (nothing(404, "not_found"), Class::Rejected),
        (reply(302, "Location: http://127.0.0.1:1/\r\n", ""), Class::Rejected),
        (answer(400, &json!({"error": "invalid_client"})), Class::Denied),
        (answer(400, &json!({"error": "invalid_request"})), Class::Rejected),
        (nothing(503, "x"), RETRY),
        (reply(200, "", "<html>"), RETRY),
        (answer(200, &json!({"access_token": "a\r\nb"})), RETRY),
        (answer(200, &json!({"token": "t"})), RETRY),
        (Reply::Endless, RETRY),
    ] {
        let stage = stage_where(TOKEN, reply).await;
        let fault = stage.create().await.err().unwrap();
        assert_eq!((fault.class, stage.responder.count(CREATE)), (class, 0), "{fault}");
    }
}

#[tokio::test]
async fn names_are_resolved_by_slug_or_id_and_refused_when_ambiguous_or_unknown() {
    for (zone, application, class) in [
        ("prod", "app", None),
        ("z1", "a1", None),
        ("nowhere", "app", Some(Class::Gone)),
        ("prod", "nothing", Some(Class::Gone)),
        ("..", "app", Some(Class::Rejected)),
        ("../z1", "app", Some(Class::Gone)),
        ("prod", "a1/../a1", Some(Class::Gone)),
    ] {
        let stage = Stage::new(|_| None).await.option("zone", zone).option("application", application);
        let outcome = stage.check().await;
        assert_eq!(outcome.as_ref().err().map(|fault| fault.class), class, "{zone} {application} {outcome:?}");
    }
    let twins = json!({"id": "app", "slug": "other"});
    let stage = stage_where("GET /zones/z1/applications/app ", answer(200, &twins)).await;
    let fault = stage.check().await.err().unwrap();
    assert_eq!(fault.class, Class::Rejected);
    assert_eq!(
        fault.to_string(),
        "resolving application `app` at keycard `main`, zone `prod`: \
         ambiguous: it is the slug of one and the id of another"
    );
    let stage = stage_where("GET /zones?", nothing(403, "forbidden")).await;
    let fault = stage.check().await.err().unwrap();
    assert_eq!(fault.class, Class::Denied);
    let text = "resolving zone `prod` at keycard `main`: answered 403 (forbidden) [request r1]";
    assert_eq!(fault.to_string(), text);
    assert!(fault.hint.unwrap().starts_with("ask an organization administrator"));
}

#[tokio::test]
async fn a_zone_must_name_a_token_endpoint_that_may_have_our_secrets() {
    for endpoint in ["http://evil.example/token", "ftp://127.0.0.1/", "", "https://a@b.example/", "//x"] {
        let oauth2 = json!({"issuer": "https://x.example", "token_endpoint": endpoint});
        let zone = json!({"id": "z1", "slug": "prod", "protocols": {"oauth2": oauth2}});
        let stage = stage_where("GET /zones/z1 ", answer(200, &zone)).await;
        assert_eq!(stage.check().await.err().unwrap().class, Class::Rejected, "{endpoint}");
    }
    let oauth2 = json!({"issuer": "https://x.example", "token_endpoint": "https://x.example/t"});
    let other = json!({"id": "z9", "slug": "prod", "protocols": {"oauth2": oauth2}});
    for body in [json!({"id": "z1", "slug": "prod", "protocols": {}}), other] {
        let stage = stage_where("GET /zones/z1 ", answer(200, &body)).await;
        assert_eq!(stage.check().await.err().unwrap().class, RETRY, "{body}");
    }
}

#[tokio::test]
async fn what_was_resolved_is_kept_until_a_404() {
    let gone = AtomicUsize::new(0);
    let stage = Stage::new(move |seen| {
        let lost = seen.line.starts_with(LIST) && gone.fetch_add(1, Ordering::SeqCst) == 1;
        lost.then(|| nothing(404, "not_found"))
    })
    .await;
    let resolves = || stage.responder.count("GET /zones?");
    stage.list().await.unwrap();
    assert_eq!(resolves(), 1);
    assert_eq!(stage.list().await.err().unwrap().class, Class::Gone);
    assert_eq!(resolves(), 1, "kept");
    stage.list().await.unwrap();
    assert_eq!(resolves(), 2, "resolved anew after the 404");
}

/// Pages as a script: the answer to no cursor, then to each `after`.
async fn pages(first: Value, rest: &'static [(&'static str, Value)]) -> Stage {
    Stage::new(on(LIST, move |seen| {
        let after = seen.line.split_once("after=").map(|(_, rest)| rest.split(['&', ' ']).next().unwrap());
        match after {
            None => first.clone(),
            Some(after) => rest.iter().find(|(cursor, _)| *cursor == after).unwrap().1.clone(),
        }
    }))
    .await
}

fn page(ids: &[&str], info: Value, pagination: Option<Value>) -> Value {
    let items: Vec<Value> = ids.iter().map(|id| entry(id, "a1")).collect();
    let mut page = json!({"items": items, "page_info": info});
    if let Some(pagination) = pagination {
        page["pagination"] = pagination;
    }
    page
}

fn leak(pages: Vec<(&'static str, Value)>) -> &'static [(&'static str, Value)] {
    Vec::leak(pages)
}

#[tokio::test]
async fn a_list_is_walked_in_both_shapes_and_is_never_short() {
    let ids =
        |listing: Listing| -> Vec<String> { listing.credentials.iter().map(|listed| listed.id.to_string()).collect() };
    let more = |cursor: &str| json!({"has_next_page": true, "end_cursor": cursor});
    let end = || json!({"has_next_page": false, "end_cursor": null});
    let after = |cursor: Value| Some(json!({"after_cursor": cursor}));
    let old = pages(page(&["x"], more("c 1"), None), leak(vec![("c+1", page(&["y", "x"], end(), None))])).await;
    assert_eq!(ids(old.list().await.unwrap()), ["x", "y"]);
    let new = pages(
        page(&["x"], end(), after(json!("p2"))),
        leak(vec![("p2", page(&[], end(), after(json!("p3")))), ("p3", page(&["z"], end(), after(json!(null))))]),
    )
    .await;
    assert_eq!(ids(new.list().await.unwrap()), ["x", "z"]);
    let round = pages(page(&["x"], more("a"), None), leak(vec![("a", page(&["y"], more("a"), None))])).await;
    let fault = round.list().await.err().unwrap();
    assert!(fault.answer.contains("a cursor came twice"), "{fault}");
    for body in [
        page(&["x"], json!({"has_next_page": true, "end_cursor": null}), None),
        json!({"items": []}),
        json!({"items": null, "page_info": {"has_next_page": false}}),
        json!([]),
        list_of(&[json!({"application_id": "a1", "created_at": "2026-11-20T10:00:00Z"})]),
        list_of(&[entry("c1", "a1"), entry("a\r\nb", "a1")]),
        list_of(&[json!(null)]),
    ] {
        let stage = stage_where(LIST, answer(200, &body)).await;
        assert_eq!(stage.list().await.err().unwrap().class, RETRY, "{body}");
    }
    for reply in [
        Reply::Endless,
        Reply::Bytes(b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n{}".to_vec()),
        reply(200, "", "<html>"),
        reply(502, "", "<html>"),
    ] {
        assert_eq!(stage_where(LIST, reply).await.list().await.err().unwrap().class, RETRY);
    }
    let undated = list_of(&[]).to_string();
    let bytes = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{undated}", undated.len()).into_bytes();
    let fault = stage_where(LIST, Reply::Bytes(bytes)).await.list().await.err().unwrap();
    assert!(fault.answer.contains("no Date header"), "{fault}");
}

#[tokio::test]
async fn an_endless_list_is_given_up() {
    let count = AtomicUsize::new(0);
    let stage = Stage::new(on(LIST, move |_| {
        let cursor = count.fetch_add(1, Ordering::SeqCst).to_string();
        page(&[], json!({"has_next_page": true, "end_cursor": cursor}), None)
    }))
    .await;
    let fault = stage.list().await.err().unwrap();
    assert!(fault.answer.ends_with("did not end after 1000 pages"), "{fault}");
}

#[tokio::test]
async fn no_odd_answer_to_any_call_is_taken_for_one() {
    for start in [TOKEN, "GET /zones?", "GET /zones/z1 ", "GET /zones/z1/applications?", LIST, CREATE, LOGIN] {
        for (status, body, reply) in odd_answers() {
            let stage = stage_where(start, reply).await;
            let fault = match start {
                CREATE => stage.create().await.err(),
                LOGIN => stage.verify("kf-1", "CANARY-x").await.err(),
                _ => stage.list().await.err(),
            };
            let fault = fault.unwrap_or_else(|| panic!("{start}: {status} {body}"));
            assert!(fault.heals_by_itself() || status >= 400, "{start}: {status} {body}: {fault}");
            assert!(start != CREATE || status >= 400 || fault.class == Class::InDoubt, "{status} {body}: {fault}");
            let page = !body.starts_with('{');
            assert!(fault.class != Class::Gone || !page, "{start}: {status} {body}: a page is no word on the place");
        }
    }
    // The list of another application is no empty list.
    let fault = stage_where(LIST, answer(200, &list_of(&[entry("c9", "a2")]))).await.list().await.unwrap_err();
    assert!(fault.heals_by_itself() && fault.answer.contains("other applications"), "{fault}");
}

#[tokio::test]
async fn a_place_is_the_same_by_slug_and_by_id() {
    for (zone, application) in [("prod", "app"), ("z1", "app"), ("prod", "a1"), ("z1", "a1")] {
        let stage = Stage::new(|_| None).await.option("zone", zone).option("application", application);
        assert_eq!(stage.keycard.whereabouts(stage.place()).await, Ok(Some("z1/a1".into())), "{zone} {application}");
    }
}

#[tokio::test]
async fn a_login_says_good_bad_or_nothing() {
    let bad = || Some(Verdict::Bad { answer: "invalid_client".into() });
    let good = || Some(Verdict::Good);
    let error = |status, word: &str| answer(status, &json!({"error": word, "error_description": "CANARY"}));
    let table = [
        (answer(200, &json!({"access_token": "CANARY-vault"})), good()),
        (error(401, "invalid_client"), bad()),
        (error(400, "invalid_client"), bad()),
        (error(400, "invalid_target"), good()),
        (error(403, "access_denied"), good()),
        (error(403, "insufficient_authorization"), good()),
        (error(400, "unauthorized_client"), good()),
        (error(400, "invalid_scope"), good()),
        (error(400, "invalid_request"), None),
        (error(400, "invalid_grant"), None),
        (error(400, "unsupported_grant_type"), None),
        (error(401, "Invalid Client"), None),
        (error(500, "invalid_client"), None),
        (error(500, "access_denied"), None),
        (error(429, "access_denied"), None),
        (error(200, "access_denied"), None),
        (error(302, "access_denied"), None),
        (nothing(401, "unauthorized"), None),
        (reply(401, "", ""), None),
        (reply(403, "Content-Type: text/html\r\n", "<html>access_denied"), None),
        (reply(200, "", "<html>"), None),
        (reply(200, "", "{\"access_token\": \"CANARY"), None),
        (answer(200, &json!({"access_token": null})), None),
        (nothing(404, "not_found"), None),
        (nothing(503, "x"), None),
        (Reply::Bytes(Vec::new()), None),
        (Reply::Endless, None),
    ];
    for (reply, verdict) in table {
        let shown = format!("{reply:?}").chars().take(90).collect::<String>();
        let outcome = stage_where(LOGIN, reply).await.verify("kf-1", "CANARY-x").await;
        match (outcome, verdict) {
            (Ok(seen), Some(verdict)) => assert_eq!(seen, verdict, "{shown}"),
            (Err(fault), None) => assert!(matches!(fault.class, Class::Retry { .. }), "{shown} {fault}"),
            (outcome, _) => panic!("{shown} {outcome:?}"),
        }
    }
    let stage = Stage::new(|_| None).await;
    for (id, secret) in [("a:b", "x"), ("", "x"), ("a", "")] {
        assert_eq!(stage.verify(id, secret).await.err().unwrap().class, Class::Rejected);
    }
    assert_eq!(stage.responder.count(LOGIN), 0);
}

#[tokio::test]
async fn a_revoke_is_confirmed_repeated_or_unknown_and_a_hostile_id_stays_one_segment() {
    const DELETE: &str = "DELETE ";
    for (reply, expected, sends) in [
        (reply(204, "", ""), Ok(Ended::Confirmed), 1),
        (nothing(404, "not_found"), Ok(Ended::UnknownToVendor), 1),
        (nothing(403, "forbidden"), Err(Class::Denied), 1),
        (nothing(401, "unauthorized"), Err(Class::Denied), 2),
        (nothing(409, "conflict"), Err(Class::Rejected), 1),
        (nothing(429, "x"), Err(RETRY), 4),
        (nothing(500, "x"), Err(Class::InDoubt), 4),
        (Reply::Bytes(Vec::new()), Err(Class::InDoubt), 4),
        (self::reply(302, "Location: /zones/z1\r\n", ""), Err(Class::InDoubt), 1),
    ] {
        let shown = format!("{reply:?}").chars().take(80).collect::<String>();
        let stage = stage_where(DELETE, reply).await;
        let outcome = stage.revoke("c1").await;
        assert_eq!(outcome.map_err(|fault| fault.class), expected, "{shown}");
        assert_eq!(stage.responder.count(DELETE), sends, "{shown}");
    }
    for (status, body, reply) in odd_answers() {
        if status == 404 && body.contains("another") && body.contains("Not found.") {
            // The documented error; it names nothing, so what else is in it does not count.
            continue;
        }
        let fault = stage_where(DELETE, reply).await.revoke("c1").await.expect_err(&format!("{status} {body}"));
        assert_eq!(fault.class, Class::InDoubt, "{status} {body}: {fault}");
        assert!(fault.answer.contains("proves nothing"), "{fault}");
    }
    // The zone was ended meanwhile: its 404 looks the same, and says nothing of the credential.
    let ended = Arc::new(AtomicUsize::new(0));
    let known = Arc::clone(&ended);
    let stage = Stage::new(move |seen| match &seen.line {
        line if line.starts_with(DELETE) => {
            known.store(1, Ordering::SeqCst);
            Some(nothing(404, "not_found"))
        }
        line if line.starts_with("GET /zones/z1 ") && known.load(Ordering::SeqCst) == 1 => {
            Some(nothing(404, "not_found"))
        }
        _ => None,
    })
    .await;
    assert_eq!(stage.revoke("c1").await.map_err(|fault| fault.class), Err(Class::Gone));
    for (id, segment) in [
        ("../../z2", "..%2F..%2Fz2"),
        ("a b?c#d%2f", "a%20b%3Fc%23d%252f"),
        ("ü", "%C3%BC"),
        ("x HTTP/1.1", "x%20HTTP%2F1.1"),
    ] {
        let stage = stage_where(DELETE, reply(204, "", "")).await;
        stage.revoke(id).await.unwrap();
        let line = format!("DELETE /zones/z1/application-credentials/{segment} HTTP/1.1");
        assert_eq!(stage.responder.seen().last().unwrap().line, line);
    }
    for id in [".", ".."] {
        let stage = Stage::new(|_| None).await;
        assert_eq!(stage.revoke(id).await.err().unwrap().class, Class::Rejected);
        assert_eq!(stage.responder.count(DELETE), 0);
    }
}

#[test]
fn the_spec_is_consistent_and_a_bad_base_url_is_refused() {
    for kind in SPEC.types {
        assert!(kind.proof_outputs.iter().all(|name| kind.outputs.contains(name)));
    }
    for bad in ["http://api.keycard.ai", "https://a:b@api.keycard.ai", "x"] {
        let mut options = Options::default();
        options.set(&SPEC.fields[0], Setting::Text(bad.into()));
        let hands = Arc::new(Hands { reads: 0.into(), secret: |_| String::new(), clock_seconds: 0.into() });
        let name = VendorName::new("main").unwrap();
        let client = Client::loopback_only(Limits::default());
        let outcome = connect(Instance { name, options, keyring: hands.clone(), client, clock: hands });
        assert_eq!(outcome.err().unwrap().class, Class::Rejected, "{bad}");
    }
}

type Secretless = (&'static str, Vec<(&'static str, &'static str)>, Value, Value);

/// Each type that holds no secret: what is declared, the rest of a create's body, and the rest of
/// what is shown; `MARK` stands for our mark.
fn secretless() -> [Secretless; 5] {
    let jwks = "https://keys.example/jwks";
    let token = |subject: Value| json!({"provider_id": "p1", "subject": subject});
    let shown_token = |identifier: &str| json!({"provider_id": "p1", "identifier": identifier});
    [
        (
            "public-key",
            vec![("jwks_uri", jwks)],
            json!({"identifier": "MARK", "jwks_uri": jwks}),
            json!({"identifier": "MARK", "jwks_uri": jwks}),
        ),
        ("public", vec![], json!({"identifier": "MARK"}), json!({"identifier": "MARK"})),
        ("token", vec![("provider", "ci"), ("subject", "repo:x")], token(json!("repo:x")), shown_token("repo:x")),
        ("token", vec![("provider", "ci")], json!({"provider_id": "p1"}), shown_token("*")),
        (
            "url",
            vec![("url", "https://app.example")],
            json!({"identifier": "https://app.example"}),
            json!({"identifier": "https://app.example/"}),
        ),
    ]
}

/// The whole object that the vendor shows.
fn shown(kind: &str, rest: &Value, mark: &str) -> Value {
    let mut object = json!({"id": "c1", "application_id": "a1", "type": kind, "created_at": "2026-11-20T10:00:00Z"});
    for (name, value) in rest.as_object().unwrap() {
        object[name] = if value == "MARK" { json!(mark) } else { value.clone() };
    }
    object
}

#[tokio::test]
async fn what_holds_no_secret_is_made_listed_and_proved_by_what_the_vendor_shows() {
    const GET: &str = "GET /zones/z1/application-credentials/c1 ";
    let arn = Arn::new("arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-a1b2c3").unwrap();
    let mark = Mark::new(&arn, Attempt::derive(&arn, &None, 1));
    for (kind, options, body, rest) in secretless() {
        let object = shown(kind, &rest, mark.as_str());
        let served = object.clone();
        let stage = Stage::new(move |seen| {
            let starts = |start: &str| seen.line.starts_with(start);
            if starts(LIST) {
                let mut other = served.clone();
                (other["id"], other["type"]) = (json!("c2"), json!("password"));
                return Some(answer(200, &list_of(&[served.clone(), other])));
            }
            (starts(CREATE) || starts(GET)).then(|| answer(200, &served))
        });
        let stage = stage.await.typed(kind, &options);
        stage.check().await.unwrap();
        let minted = stage.create().await.unwrap();
        let sent = stage.responder.seen().into_iter().find(|seen| seen.line.starts_with(CREATE)).unwrap();
        let mut expected = shown(kind, &body, mark.as_str());
        for name in ["id", "created_at"] {
            expected.as_object_mut().unwrap().remove(name);
        }
        assert_eq!(serde_json::from_str::<Value>(&sent.body).unwrap(), expected, "{kind}");
        let outputs: Vec<_> = minted.outputs.names().collect();
        let mut declared = stage.kind.outputs.to_vec();
        declared.sort_unstable();
        assert_eq!(outputs, declared, "{kind}");
        let listing = stage.list().await.unwrap();
        let fits: Vec<_> = listing.credentials.iter().map(|one| (one.id.as_str(), one.fits)).collect();
        assert_eq!(fits, [("c1", true), ("c2", false)], "{kind}");
        let verdict = quiet(stage.keycard.verify(stage.place(), &minted.outputs).await);
        assert_eq!(verdict, Ok(Verdict::Good), "{kind}");
        let by_name = Outputs::default().public("client_id", object["identifier"].as_str().unwrap());
        assert_eq!(quiet(stage.keycard.verify(stage.place(), &by_name).await), Ok(Verdict::Good), "{kind}");
        assert_eq!(stage.responder.count(LOGIN), 0, "there is nothing to log in with");
    }
}

#[tokio::test]
async fn what_is_not_as_declared_or_not_there_is_not_proved() {
    const GET: &str = "GET /zones/z1/application-credentials/c1 ";
    let token = [("provider", "ci"), ("subject", "repo:x")];
    let good = json!({"provider_id": "p1", "identifier": "repo:x"});
    let with = |name: &str, value: &str| {
        let mut object = shown("token", &good, "");
        object[name] = json!(value);
        answer(200, &object)
    };
    for (reply, expected) in [
        (with("type", "token"), Ok(None)),
        (with("type", "url"), Ok(Some("its type is not as declared"))),
        (with("provider_id", "p2"), Ok(Some("its provider is not as declared"))),
        (with("identifier", "*"), Ok(Some("its subject is not as declared"))),
        (with("application_id", "a2"), Ok(Some("it is not there"))),
        (nothing(404, "not_found"), Ok(Some("it is not there"))),
        (nothing(403, "forbidden"), Err(Class::Denied)),
        (answer(200, &json!({"id": "c1"})), Err(RETRY)),
    ] {
        let stage = stage_where(GET, reply).await.typed("token", &token);
        let outputs = Outputs::default().public("credential_id", "c1");
        let verdict = quiet(stage.keycard.verify(stage.place(), &outputs).await);
        let told = verdict.map_err(|fault| fault.class).map(|verdict| match verdict {
            Verdict::Good => None,
            Verdict::Bad { answer } | Verdict::CannotTell { answer } => Some(answer),
        });
        assert_eq!(told, expected.map(|told| told.map(Into::into)));
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_stops_everything_before_a_create() {
    let stage = Stage::new(|_| None).await.typed("token", &[("provider", "nobody")]);
    for fault in [stage.check().await.err(), stage.list().await.err(), stage.create().await.err()] {
        let fault = fault.unwrap();
        assert_eq!(fault.class, Class::Rejected);
        let told = "resolving provider `nobody` at keycard `main`, zone `prod`: there is none with this slug or id";
        assert_eq!(fault.to_string(), told);
    }
    assert_eq!(stage.responder.count(CREATE), 0);
}

#[tokio::test]
async fn a_double_is_in_doubt_where_our_mark_is_in_it_and_refused_where_not() {
    for (kind, options, _, _) in secretless() {
        let stage = stage_where(CREATE, nothing(409, "conflict")).await.typed(kind, &options);
        let expected = if matches!(kind, "token" | "url") { Class::Rejected } else { Class::InDoubt };
        assert_eq!(stage.create().await.err().unwrap().class, expected, "{kind}");
    }
}
