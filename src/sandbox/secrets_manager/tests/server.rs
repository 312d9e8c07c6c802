//! The wire: signatures, errors, faults, the control port, over real connections.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::SecretsManager;
use super::id;
use crate::model::time::{Clock, Timestamp};
use crate::sandbox::world::World;
use crate::sandbox::world::manual::ManualClock;
use crate::sandbox::{control, line};

/// A running service, its control port and its two clocks.
struct Stage {
    service: Arc<SecretsManager>,
    address: String,
    sts: String,
    control: String,
    clock: Arc<ManualClock>,
    real: Arc<ManualClock>,
    client: reqwest::Client,
}

/// What came back.
struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn code(&self) -> String {
        self.json()["__type"].as_str().unwrap_or("ok").to_owned()
    }
}

impl Stage {
    async fn new() -> Self {
        let (clock, real) = (Arc::new(ManualClock::at(1_900_000_000)), Arc::new(ManualClock::at(1_800_000_000)));
        let world = Arc::new(World::new(3, clock.clone(), real.clone()));
        let service = Arc::new(SecretsManager::new(world));
        let (listener, other) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (address, control) = (listener.local_addr().unwrap().to_string(), other.local_addr().unwrap().to_string());
        let tokens = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sts = tokens.local_addr().unwrap().to_string();
        tokio::spawn(Arc::clone(&service).serve(listener, std::future::pending()));
        tokio::spawn(line::serve(tokens, Arc::clone(&service).sts_router(), std::future::pending()));
        tokio::spawn(line::serve(other, control::router(Arc::clone(&service)), std::future::pending()));
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { service, address, sts, control, clock, real, client }
    }

    fn headers(&self, key: &str, signed_for: &str, at: Timestamp) -> Vec<(&'static str, String)> {
        let (date, day) = (at.to_utc().format("%Y%m%dT%H%M%SZ"), at.to_utc().format("%Y%m%d"));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={key}/{day}/eu-central-1/{signed_for}/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={}",
            "0a".repeat(32)
        );
        vec![("authorization", authorization), ("x-amz-date", date.to_string())]
    }

    async fn send(&self, headers: Vec<(&str, String)>, body: String) -> Result<Answer, reqwest::Error> {
        self.send_to(&self.address, headers, body).await
    }

    /// Asks STS, signed with this key for this service.
    async fn ask_sts(&self, key: &str, signed_for: &str, token: &str, form: &str) -> Answer {
        let at = if key == "AKID" { self.real.wall() } else { self.clock.wall() };
        let mut headers = self.headers(key, signed_for, at);
        headers.push(("content-type", "application/x-www-form-urlencoded; charset=utf-8".into()));
        headers.push(("x-amz-security-token", token.into()));
        self.send_to(&self.sts, headers, format!("{form}&Version=2011-06-15")).await.unwrap()
    }

    async fn send_to(&self, to: &str, headers: Vec<(&str, String)>, body: String) -> Result<Answer, reqwest::Error> {
        let mut request = self.client.post(format!("http://{to}/")).body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }

    async fn try_call(&self, operation: &str, body: Value) -> Result<Answer, reqwest::Error> {
        let mut headers = self.headers("sandbox", "secretsmanager", self.clock.wall());
        headers.push(("content-type", "application/x-amz-json-1.1".into()));
        headers.push(("x-amz-target", format!("secretsmanager.{operation}")));
        self.send(headers, body.to_string()).await
    }

    async fn call(&self, operation: &str, body: Value) -> Answer {
        self.try_call(operation, body).await.unwrap()
    }

    async fn create(&self) -> Answer {
        self.call("CreateSecret", json!({ "Name": "s", "ClientRequestToken": id(1), "SecretString": "hunter2" })).await
    }

    async fn control(&self, method: &str, path: &str, body: Value) -> Answer {
        let method = method.parse().unwrap();
        let request = self.client.request(method, format!("http://{}{path}", self.control)).json(&body);
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    async fn fault(&self, operation: &str, effect: Value) {
        let rule = json!({ "service": "aws", "operation": operation, "times": 1, "effect": effect });
        assert_eq!(self.control("POST", "/faults", rule).await.status, 204);
    }
}

#[tokio::test]
async fn every_answer_has_the_services_date_and_a_request_id() {
    let stage = Stage::new().await;
    let good = stage.create().await;
    assert_eq!((good.status, good.code().as_str()), (200, "ok"));
    assert_eq!(good.headers["content-type"], "application/x-amz-json-1.1");
    let bad = stage.call("DescribeSecret", json!({ "SecretId": "nobody" })).await;
    assert_eq!(bad.status, 400);
    let expected = json!({
        "__type": "ResourceNotFoundException", "Message": "Secrets Manager can't find the specified secret.",
    });
    assert_eq!(bad.json(), expected);
    for answer in [&good, &bad] {
        let date = Timestamp::parse_http_date(answer.headers["date"].to_str().unwrap());
        assert_eq!(date, Some(stage.clock.wall()));
    }
    assert_ne!(good.headers["x-amzn-requestid"], bad.headers["x-amzn-requestid"]);
}

#[tokio::test]
async fn the_sandbox_key_lives_in_sandbox_time_and_others_in_real_time() {
    let stage = Stage::new().await;
    let (fast, real) = (stage.clock.wall(), stage.real.wall());
    for (key, at, expected) in [
        ("sandbox", fast, 200),
        ("sandbox", fast.plus(Duration::from_secs(301)), 400),
        ("sandbox", real, 400),
        ("AKID", real, 200),
        ("AKID", real.minus(Duration::from_secs(301)), 400),
        ("AKID", fast, 400),
    ] {
        let mut headers = stage.headers(key, "secretsmanager", at);
        headers.push(("content-type", "application/x-amz-json-1.1".into()));
        headers.push(("x-amz-target", "secretsmanager.ListSecrets".into()));
        let answer = stage.send(headers, "{}".into()).await.unwrap();
        assert_eq!(answer.status, expected, "{key} {at}");
        if expected == 400 {
            assert_eq!(answer.code(), "InvalidSignatureException");
        }
    }
    let answer = stage.send(vec![("x-amz-target", "secretsmanager.ListSecrets".into())], "{}".into()).await.unwrap();
    assert_eq!(answer.code(), "MissingAuthenticationTokenException");
    assert_eq!(stage.call("NoSuchCall", json!({})).await.code(), "UnknownOperationException");
}

#[tokio::test]
async fn the_token_service_says_who_a_key_is() {
    let stage = Stage::new().await;
    let ask =
        async |signed_for: &str, action: &str| stage.ask_sts("AKID", signed_for, "", &format!("Action={action}")).await;
    let good = ask("sts", "GetCallerIdentity").await;
    assert_eq!((good.status, &good.headers["content-type"]), (200, &"text/xml".parse().unwrap()));
    assert!(good.text.contains("<Arn>arn:aws:iam::111122223333:user/AKID</Arn>"), "{}", good.text);
    assert!(good.text.contains("<Account>111122223333</Account>"), "{}", good.text);
    for (signed_for, action, status, code) in
        [("secretsmanager", "GetCallerIdentity", 403, "SignatureDoesNotMatch"), ("sts", "Other", 400, "InvalidAction")]
    {
        let bad = ask(signed_for, action).await;
        assert_eq!(bad.status, status);
        assert!(bad.text.contains(&format!("<Code>{code}</Code>")), "{}", bad.text);
    }
}

#[tokio::test]
async fn the_secrets_manager_knows_no_call_of_the_token_service() {
    let stage = Stage::new().await;
    let mut headers = stage.headers("sandbox", "secretsmanager", stage.clock.wall());
    headers.push(("content-type", "application/x-www-form-urlencoded; charset=utf-8".into()));
    let answer = stage.send(headers, "Action=GetCallerIdentity&Version=2011-06-15".into()).await.unwrap();
    assert_eq!(answer.code(), "UnknownOperationException");
}

#[tokio::test]
async fn a_session_ends_and_its_role_can_be_denied() {
    let stage = Stage::new().await;
    let role = "RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fkeyferry";
    let assume =
        async |more: &str| stage.ask_sts("sandbox", "sts", "", &format!("Action=AssumeRole&{role}{more}")).await;
    let made = assume("&RoleSessionName=replica-1&DurationSeconds=900").await;
    let field = |name: &str| {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let rest = made.text.split_once(&open).unwrap().1;
        rest.split_once(&close).unwrap().0.to_owned()
    };
    let (key, token) = (field("AccessKeyId"), field("SessionToken"));
    let list = async |token: &str| {
        let mut headers = stage.headers(&key, "secretsmanager", stage.clock.wall());
        headers.push(("content-type", "application/x-amz-json-1.1".into()));
        headers.push(("x-amz-target", "secretsmanager.ListSecrets".into()));
        headers.push(("x-amz-security-token", token.into()));
        stage.send(headers, "{}".into()).await.unwrap().code()
    };
    assert_eq!((list(&token).await, list("another").await), ("ok".into(), "UnrecognizedClientException".into()));
    let who = stage.ask_sts(&key, "sts", &token, "Action=GetCallerIdentity").await;
    let arn = "<Arn>arn:aws:sts::111122223333:assumed-role/keyferry/replica-1</Arn>";
    assert!(who.text.contains(arn), "{}", who.text);
    stage.clock.sleep(Duration::from_secs(900)).await;
    assert_eq!(list(&token).await, "ExpiredTokenException");
    let who = stage.ask_sts(&key, "sts", &token, "Action=GetCallerIdentity").await;
    assert!(who.status == 403 && who.text.contains("<Code>ExpiredToken</Code>"), "{}", who.text);

    for (more, code) in [
        ("", "ValidationError"),
        ("&RoleSessionName=a%20b", "ValidationError"),
        ("&RoleSessionName=fine&DurationSeconds=899", "ValidationError"),
    ] {
        let answer = assume(more).await;
        assert!(answer.text.contains(&format!("<Code>{code}</Code>")), "{more} {}", answer.text);
    }
    let deny =
        json!({ "deny": [{ "action": "sts:AssumeRole", "secret_prefix": "arn:aws:iam::111122223333:role/key" }] });
    stage.control("POST", "/secrets-manager/settings", deny).await;
    let denied = assume("&RoleSessionName=fine").await;
    assert!(denied.status == 403 && denied.text.contains("<Code>AccessDenied</Code>"), "{}", denied.text);
    let web = async |token: &str| {
        let form = format!("Action=AssumeRoleWithWebIdentity&{role}x&RoleSessionName=pod&WebIdentityToken={token}");
        let headers = vec![("content-type", "application/x-www-form-urlencoded".into())];
        stage.send_to(&stage.sts, headers, form).await.unwrap()
    };
    for (token, expected) in
        [("a.b.c", "denied"), ("expired", "ExpiredTokenException"), ("invalid", "InvalidIdentityToken")]
    {
        let answer = web(token).await;
        let code = if expected == "denied" { "AccessDenied" } else { expected };
        assert!(answer.text.contains(code), "{token} {}", answer.text);
    }
}

/// Sends a create over a bare socket and reads to the end: nothing but a reset or an end may come.
async fn raw_create(stage: &Stage) -> Vec<u8> {
    let mut socket = TcpStream::connect(&stage.address).await.unwrap();
    let body = json!({ "Name": "s", "ClientRequestToken": id(1), "SecretString": "x" }).to_string();
    let mut text = format!("POST / HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n", stage.address, body.len());
    let mut headers = stage.headers("sandbox", "secretsmanager", stage.clock.wall());
    headers.push(("content-type", "application/x-amz-json-1.1".into()));
    headers.push(("x-amz-target", "secretsmanager.CreateSecret".into()));
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    socket.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    match socket.read_to_end(&mut seen).await {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    seen
}

#[tokio::test]
async fn a_dropped_call_leaves_the_client_with_nothing() {
    for (effect, is_applied) in [("drop_before", false), ("drop_after", true)] {
        let stage = Stage::new().await;
        stage.fault("CreateSecret", json!(effect)).await;
        assert_eq!(raw_create(&stage).await, b"", "{effect}");
        let there = stage.call("DescribeSecret", json!({ "SecretId": "s" })).await;
        assert_eq!(there.status == 200, is_applied, "{effect}");
        let repeated = stage.create().await;
        assert_eq!(repeated.code(), if is_applied { "ResourceExistsException" } else { "ok" }, "other value: {effect}");
        stage.fault("ListSecrets", json!(effect)).await;
        assert!(stage.try_call("ListSecrets", json!({})).await.is_err(), "an HTTP client sees an error");
    }
}

#[tokio::test]
async fn faults_do_what_they_say() {
    let stage = Stage::new().await;
    stage.create().await;
    let put =
        |n: u32| json!({ "SecretId": "s", "ClientRequestToken": id(n), "SecretString": "x", "VersionStages": ["l"] });
    for (number, effect, status, code, is_applied) in [
        (2, json!({ "throttle": { "retry_after": "3" } }), 400, "ThrottlingException", false),
        (
            3,
            json!({ "refuse": { "status": 403, "code": "AccessDeniedException" } }),
            403,
            "AccessDeniedException",
            false,
        ),
        (4, json!("fail_after"), 500, "InternalServiceError", true),
        (5, json!({ "delay": { "ms": 2500 } }), 200, "ok", true),
        (6, json!("stale"), 200, "ok", true),
    ] {
        stage.fault("PutSecretValue", effect.clone()).await;
        let answer = stage.call("PutSecretValue", put(number)).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{effect}");
        assert_eq!(answer.headers.get("retry-after").is_some(), number == 2);
        let read = stage.call("GetSecretValue", json!({ "SecretId": "s", "VersionId": id(number) })).await;
        assert_eq!(read.status == 200, is_applied, "{effect}");
    }
    assert_eq!(stage.real.wall(), Timestamp::from_millis(1_800_000_002_500), "the delay is in real time");
    for (broken, check) in [
        ("empty", (|answer| answer.text.is_empty()) as fn(&Answer) -> bool),
        ("html", |answer| answer.status == 502 && answer.text.starts_with("<html>")),
        ("truncated", |answer| answer.status == 200 && serde_json::from_str::<Value>(&answer.text).is_err()),
        ("huge", |answer| answer.text.len() == 64 * 1024 * 1024),
        ("wrong_type", |answer| answer.json().is_array()),
        ("redirect", |answer| answer.status == 307 && answer.headers.contains_key("location")),
    ] {
        stage.fault("DescribeSecret", json!({ "body": broken })).await;
        assert!(check(&stage.call("DescribeSecret", json!({ "SecretId": "s" })).await), "{broken}");
    }
    stage.fault("DescribeSecret", json!("stale")).await;
    assert_eq!(stage.call("DescribeSecret", json!({ "SecretId": "s" })).await.code(), "ResourceNotFoundException");
}

#[tokio::test]
async fn the_control_port_shows_and_sets_all_but_values() {
    let stage = Stage::new().await;
    stage.create().await;
    stage.call("PutSecretValue", json!({ "SecretId": "s" })).await;
    stage.call("GetSecretValue", json!({ "SecretId": "s" })).await;
    let journal = stage.control("GET", "/journal", json!({})).await.json();
    assert_eq!(journal["totals"], json!({ "aws CreateSecret": 1, "aws GetSecretValue": 1, "aws PutSecretValue": 1 }));
    let expected = json!({
        "service": "aws", "operation": "PutSecretValue", "region": "eu-central-1",
        "outcome": "InvalidRequestException", "count": 1,
    });
    assert_eq!(journal["calls"][1], expected);
    assert_eq!(stage.service.world().total("aws", "CreateSecret"), 1);
    stage.control("DELETE", "/journal", json!({})).await;
    assert_eq!(stage.service.world().total("aws", "CreateSecret"), 0);

    let secrets = stage.control("GET", "/secrets", json!({})).await;
    assert_eq!(secrets.json()["eu-central-1"][0]["versions"][0]["stages"], json!(["AWSCURRENT"]));
    assert!(!secrets.text.contains("hunter2"));

    let forced =
        json!({ "region": "eu-central-1", "name": "s", "rotation_enabled": true, "type": "GitLabAccessToken" });
    let patch = json!({ "quotas": true, "kms": { "alias/aws/secretsmanager": "disabled" }, "secrets": [forced] });
    let settings = stage.control("POST", "/secrets-manager/settings", patch).await.json();
    assert_eq!((&settings["quotas"], &settings["labels_move_last_changed"]), (&json!(true), &json!(true)));
    assert_eq!(stage.call("DescribeSecret", json!({ "SecretId": "s" })).await.json()["RotationEnabled"], true);
    assert_eq!(stage.call("GetSecretValue", json!({ "SecretId": "s" })).await.code(), "DecryptionFailure");
    for _ in 0..50 {
        stage.call("RestoreSecret", json!({ "SecretId": "s" })).await;
    }
    assert_eq!(stage.call("RestoreSecret", json!({ "SecretId": "s" })).await.code(), "ThrottlingException");
    stage.real.advance(Duration::from_millis(20));
    assert_eq!(stage.call("RestoreSecret", json!({ "SecretId": "s" })).await.code(), "ok");

    for (patch, status) in [
        (json!({ "quota": true }), 422),
        (json!({ "quotas": false, "secrets": [{ "region": "eu-central-1", "name": "nobody" }] }), 404),
    ] {
        assert_eq!(stage.control("POST", "/secrets-manager/settings", patch).await.status, status);
    }
    assert!(stage.service.with_state(|state| state.settings.quotas), "a refused patch changes nothing");
    let now = stage.control("GET", "/now", json!({})).await.json();
    assert_eq!(now["services"]["epoch_ms"], 1_900_000_000_000_u64);

    stage.fault("ListSecrets", json!("drop_before")).await;
    stage.control("DELETE", "/faults", json!({})).await;
    assert_eq!(stage.call("ListSecrets", json!({})).await.status, 200);
}
