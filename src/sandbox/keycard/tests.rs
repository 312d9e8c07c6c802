//! The service over loopback, and its state in tables.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::model::time::Sleep;
use crate::sandbox::faults::Broken;
use crate::sandbox::faults::Rule;
use crate::sandbox::line;
use crate::sandbox::spoil::HUGE_BODY_BYTES;

/// A clock that moves only when told to. Sleeping moves it.
pub(in crate::sandbox) struct HandClock(AtomicI64);

impl HandClock {
    pub(in crate::sandbox) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_790_000_000_000)))
    }

    pub(in crate::sandbox) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs())
    }

    fn sleep(&self, span: Duration) -> Sleep<'_> {
        self.0.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
        Box::pin(tokio::task::yield_now())
    }
}

/// A running service with the sandbox's seed, and a client that holds a management token.
pub(in crate::sandbox) struct Stage {
    pub(in crate::sandbox) clock: Arc<HandClock>,
    pub(in crate::sandbox) keycard: Arc<Keycard>,
    pub(in crate::sandbox) base: String,
    pub(in crate::sandbox) http: Client,
    bearer: String,
    zone: String,
    application: String,
}

impl Stage {
    pub(in crate::sandbox) async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let clock = HandClock::new();
        let faults = Arc::new(Mutex::new(Faults::new(7)));
        let keycard = Arc::new(Keycard::new(clock.clone(), faults, 7, &base));
        keycard.seed_sandbox();
        let zone = keycard.seed_zone("production");
        let application = keycard.seed_application("production", "google-mcp-server");
        tokio::spawn(line::serve(listener, desk::router(Arc::clone(&keycard)), std::future::pending()));
        let http = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut stage = Self { clock, keycard, base, http, bearer: String::new(), zone, application };
        stage.renew().await;
        stage
    }

    async fn renew(&mut self) {
        let (status, body) = self.token(Some(("sandbox", "sandbox")), &[("grant_type", "client_credentials")]).await;
        assert_eq!(status, 200, "{body}");
        self.bearer = body["access_token"].as_str().unwrap().into();
    }

    /// `POST /service-account-token`.
    async fn token(&self, basic: Option<(&str, &str)>, form: &[(&str, &str)]) -> (u16, Value) {
        let mut request = self.http.post(format!("{}/service-account-token", self.base)).form(form);
        if let Some((id, secret)) = basic {
            request = request.basic_auth(id, Some(secret));
        }
        receive(request).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let path = path.replace("{z}", &self.zone).replace("{a}", &self.application);
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.bearer)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        receive(self.request(Method::GET, path)).await
    }

    async fn create(&self, mut body: Value) -> (u16, Value) {
        if body["application_id"].is_null() {
            body["application_id"] = json!(self.application);
        }
        receive(self.request(Method::POST, "/zones/{z}/application-credentials").json(&body)).await
    }

    pub(in crate::sandbox) async fn delete(&self, id: &str) -> u16 {
        receive(self.request(Method::DELETE, &format!("/zones/{{z}}/application-credentials/{id}"))).await.0
    }

    /// Client credentials grant at the zone: the status and the `error` or an empty text.
    async fn login(&self, pair: &Value, form: &[(&str, &str)]) -> (u16, String) {
        let endpoint = self.keycard.token_endpoint("production").unwrap();
        let (id, secret) = (pair["identifier"].as_str().unwrap(), pair["password"].as_str().unwrap());
        let request = self.http.post(endpoint).basic_auth(id, Some(secret)).form(form);
        let (status, body) = receive(request).await;
        (status, body["error"].as_str().unwrap_or_default().into())
    }

    async fn login_status(&self, pair: &Value) -> u16 {
        self.login(pair, &[("grant_type", "client_credentials")]).await.0
    }

    fn set(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.keycard.settings();
        change(&mut settings);
        self.keycard.set_settings(settings);
    }

    pub(in crate::sandbox) fn fault(&self, operation: &str, times: u64, effect: Effect) {
        let rule = Rule { service: SERVICE.into(), operation: operation.into(), skip: 0, times, chance: 1.0, effect };
        self.keycard.desk.faults().add(rule);
    }
}

async fn receive(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

const PASSWORD: fn() -> Value = || json!({ "type": "password" });

#[tokio::test]
async fn the_management_token_takes_both_forms_and_expires_in_sandbox_time() {
    let stage = Stage::open().await;
    let grant = ("grant_type", "client_credentials");
    let in_body = |id, secret| [grant, ("client_id", id), ("client_secret", secret)];
    for (basic, form, status, error) in [
        (Some(("sandbox", "sandbox")), vec![grant], 200, Value::Null),
        (None, in_body("sandbox", "sandbox").to_vec(), 200, Value::Null),
        (Some(("sandbox", "wrong")), vec![grant], 401, json!("invalid_client")),
        (None, in_body("sandbox", "wrong").to_vec(), 401, json!("invalid_client")),
        (None, vec![grant], 401, json!("invalid_client")),
        (Some(("sandbox", "sandbox")), vec![], 400, json!("invalid_request")),
        (Some(("sandbox", "sandbox")), vec![("grant_type", "password")], 400, json!("unsupported_grant_type")),
        (Some(("sandbox", "sandbox")), in_body("sandbox", "sandbox").to_vec(), 400, json!("invalid_request")),
    ] {
        let (got, body) = stage.token(basic, &form).await;
        assert_eq!((got, &body["error"]), (status, &error), "{basic:?} {form:?}");
        assert_eq!(body["access_token"].is_string(), status == 200);
    }
    stage.clock.advance(3599);
    assert_eq!(stage.get("/zones").await.0, 200);
    stage.clock.advance(1);
    let (status, body) = stage.get("/zones").await;
    assert_eq!(status, 401);
    for field in ["status", "code", "message", "request_id", "timestamp", "details", "path"] {
        assert!(!body[field].is_null(), "{field} in {body}");
    }
    let anonymous = stage.http.get(format!("{}/zones", stage.base));
    assert_eq!(receive(anonymous).await.0, 401);
}

#[tokio::test]
async fn every_type_is_created_with_its_fields_and_a_password_is_seen_once() {
    let stage = Stage::open().await;
    let provider = stage.keycard.seed_provider("production", "github-actions");
    for (body, identifier, extra) in [
        (json!({"type": "token", "provider_id": provider}), Some("*"), "provider_id"),
        (json!({"type": "token", "provider_id": provider, "subject": "repo:a"}), Some("repo:a"), "subject"),
        (json!({"type": "password", "identifier": "kf-1"}), Some("kf-1"), "password"),
        (json!({"type": "password"}), None, "password"),
        (json!({"type": "public-key", "jwks_uri": "https://a.example/jwks"}), None, "jwks_uri"),
        (json!({"type": "url", "identifier": "https://a.example/c"}), Some("https://a.example/c"), "identifier"),
        (json!({"type": "public", "identifier": "pub"}), Some("pub"), "identifier"),
    ] {
        let (status, created) = stage.create(body.clone()).await;
        assert_eq!(status, 200, "{created}");
        assert_eq!(created["type"], body["type"]);
        for field in
            ["id", "organization_id", "zone_id", "slug", "application_id", "created_at", "updated_at", "identifier"]
        {
            assert!(created[field].is_string(), "{field} in {created}");
        }
        assert!(!created[extra].is_null(), "{extra} in {created}");
        match identifier {
            Some(wanted) => assert_eq!(created["identifier"], wanted),
            None => assert_eq!(created["identifier"].as_str().unwrap().len(), 21),
        }
        let path = format!("/zones/{{z}}/application-credentials/{}", created["id"].as_str().unwrap());
        let (status, mut read) = stage.get(&path).await;
        assert_eq!((status, &read["password"]), (200, &Value::Null));
        if let Some(password) = created["password"].as_str() {
            assert_eq!((password.len(), password.contains(CANARY)), (64, true));
            read["password"] = json!(password);
        }
        assert_eq!(read, created);
    }
    let (_, listed) = stage.get("/zones/{z}/application-credentials").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 7);
    let facts = serde_json::to_string(&stage.keycard.credentials()).unwrap();
    assert!(!listed.to_string().contains(CANARY) && !facts.contains(CANARY));
}

#[tokio::test]
async fn what_the_service_refuses() {
    let stage = Stage::open().await;
    let (_, taken) = stage.create(json!({"type": "password", "identifier": "kf-1"})).await;
    for (body, status, code) in [
        (json!({"type": "password", "identifier": "kf-1"}), 409, "conflict"),
        (json!({"type": "public", "identifier": "kf-1"}), 409, "conflict"),
        (json!({"type": "password", "identifier": 7}), 400, "bad_request"),
        (json!({"type": "password", "identifier": "<b>"}), 400, "bad_request"),
        (json!({"type": "url"}), 400, "bad_request"),
        (json!({"type": "url", "identifier": "no url"}), 400, "bad_request"),
        (json!({"type": "public-key"}), 400, "bad_request"),
        (json!({"type": "password", "application_id": "nobody"}), 404, "not_found"),
        (json!({"type": "token", "provider_id": "nobody"}), 404, "not_found"),
        (json!({}), 400, "bad_request"),
    ] {
        let (got, answer) = stage.create(body.clone()).await;
        assert_eq!((got, answer["code"].as_str().unwrap()), (status, code), "{body}");
    }
    let (_, unknown_type) = stage.create(json!({"type": "certificate"})).await;
    assert!(unknown_type["message"].as_str().unwrap().contains("provider_id"));
    let post = || stage.request(Method::POST, "/zones/{z}/application-credentials");
    assert_eq!(receive(post().body("{}")).await.0, 415);
    assert_eq!(receive(post().header("content-type", "application/json").body("{")).await.0, 500);
    assert_eq!(receive(post().json(&json!([]))).await.0, 400);
    for path in [
        "/zones/nobody",
        "/zones/nobody/applications",
        "/zones/{z}/applications/nobody",
        "/zones/{z}/applications/nobody/application-credentials",
        "/zones/{z}/application-credentials/nobody",
        "/zones/{z}/providers/nobody",
        "/organizations/nobody",
        "/elsewhere",
    ] {
        assert_eq!(stage.get(path).await.0, 404, "{path}");
    }
    stage.set(|settings| settings.duplicates_refused = false);
    let (status, twin) = stage.create(json!({"type": "password", "identifier": "kf-1"})).await;
    assert_eq!(status, 200);
    assert_eq!((stage.login_status(&taken).await, stage.login_status(&twin).await), (200, 200));
}

#[tokio::test]
async fn a_patch_changes_what_the_type_lets_change() {
    let stage = Stage::open().await;
    let provider = stage.keycard.seed_provider("production", "github-actions");
    for (create, patch, status, field, value) in [
        (json!({"type": "password", "identifier": "a"}), json!({"identifier": "b"}), 200, "identifier", json!("a")),
        (json!({"type": "public", "identifier": "c"}), json!({"identifier": "d"}), 200, "identifier", json!("d")),
        (json!({"type": "public", "identifier": "e"}), json!({"identifier": "a"}), 409, "code", json!("conflict")),
        (
            json!({"type": "url", "identifier": "https://a.example/"}),
            json!({"type": "url", "identifier": "https://b.example/"}),
            200,
            "identifier",
            json!("https://b.example/"),
        ),
        (
            json!({"type": "token", "provider_id": provider, "subject": "s"}),
            json!({"subject": null}),
            200,
            "identifier",
            json!("*"),
        ),
        (json!({"type": "password"}), json!({"type": "public"}), 400, "code", json!("bad_request")),
    ] {
        let (_, created) = stage.create(create).await;
        let path = format!("/zones/{{z}}/application-credentials/{}", created["id"].as_str().unwrap());
        let (got, answer) = receive(stage.request(Method::PATCH, &path).json(&patch)).await;
        assert_eq!((got, &answer[field]), (status, &value), "{patch}");
        assert_eq!(answer["password"], Value::Null);
    }
}

#[tokio::test]
async fn the_zone_checks_the_client_first_then_the_resource_then_policy() {
    let stage = Stage::open().await;
    stage.keycard.seed_resource("production", "open", ResourceKind::Open);
    stage.keycard.seed_resource("production", "vault", ResourceKind::Vault);
    stage.keycard.seed_resource("production", "denied", ResourceKind::Denied);
    let (_, good) = stage.create(PASSWORD()).await;
    let mut bad = good.clone();
    bad["password"] = json!("x");
    let grant = ("grant_type", "client_credentials");
    for (pair, form, expected) in [
        (&good, vec![grant], (200, "")),
        (&good, vec![grant, ("resource", "open")], (200, "")),
        (&good, vec![grant, ("resource", "vault")], (200, "")),
        (&good, vec![grant, ("resource", "nowhere")], (400, "invalid_target")),
        (&good, vec![grant, ("resource", "denied")], (403, "access_denied")),
        (&good, vec![], (400, "invalid_request")),
        (&good, vec![("grant_type", "magic")], (400, "unsupported_grant_type")),
        (&bad, vec![grant, ("resource", "nowhere")], (401, "invalid_client")),
        (&bad, vec![("grant_type", "magic")], (401, "invalid_client")),
    ] {
        let (status, error) = stage.login(pair, &form).await;
        assert_eq!((status, error.as_str()), expected, "{form:?}");
    }
    let endpoint = stage.keycard.token_endpoint("production").unwrap();
    let text = |field: &str| good[field].as_str().unwrap();
    let form = [grant, ("client_id", text("identifier")), ("client_secret", text("password")), ("resource", "vault")];
    let (status, body) = receive(stage.http.post(endpoint).form(&form)).await;
    let token = body["access_token"].as_str().unwrap();
    assert_eq!((status, token.len(), token.contains(CANARY)), (200, 64, true), "a vault hands out what it holds");
    assert_eq!(stage.keycard.credentials()[0].login_count, 8, "accepted pairs, whatever came of the grant");
}

#[tokio::test]
async fn lags_are_as_long_as_set() {
    let stage = Stage::open().await;
    stage.set(|settings| (settings.read_lag_s, settings.login_lag_s, settings.revoke_lag_s) = (5, 10, 20));
    let (_, pair) = stage.create(json!({"type": "password", "identifier": "kf-1"})).await;
    let id = pair["id"].as_str().unwrap();
    let listed = async || stage.get("/zones/{z}/application-credentials").await.1["items"].as_array().unwrap().len();
    assert_eq!((listed().await, stage.delete(id).await, stage.login_status(&pair).await), (0, 404, 401));
    let (again, _) = stage.create(json!({"type": "password", "identifier": "kf-1"})).await;
    assert_eq!(again, 409, "a write knows what reads do not show yet");
    stage.clock.advance(5);
    assert_eq!((listed().await, stage.login_status(&pair).await), (1, 401));
    stage.clock.advance(5);
    assert_eq!(stage.login_status(&pair).await, 200);
    assert_eq!((stage.delete(id).await, listed().await, stage.delete(id).await), (204, 0, 404));
    stage.clock.advance(19);
    assert_eq!(stage.login_status(&pair).await, 200);
    stage.clock.advance(1);
    assert_eq!(stage.login_status(&pair).await, 401);

    stage.set(|settings| *settings = Settings { duds: 1, ..Settings::default() });
    let (_, dud) = stage.create(PASSWORD()).await;
    let (_, good) = stage.create(PASSWORD()).await;
    assert_eq!((stage.login_status(&dud).await, stage.login_status(&good).await), (401, 200));
}

#[tokio::test]
async fn lists_come_in_every_shape_and_can_be_walked() {
    let stage = Stage::open().await;
    for _ in 0..5 {
        stage.create(PASSWORD()).await;
    }
    for (shape, pages) in [
        (ListShape::Cursors, vec![2, 2, 1]),
        (ListShape::PageInfo, vec![2, 2, 1]),
        (ListShape::Legacy, vec![5]),
        (ListShape::LegacyNull, vec![5]),
    ] {
        stage.set(|settings| settings.list_shape = shape);
        for list in ["/zones/{z}/application-credentials", "/zones/{z}/applications/{a}/application-credentials"] {
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let (status, page) = stage.get(&format!("{list}?limit=2{after}")).await;
                assert_eq!(status, 200, "{page}");
                seen.push(page["items"].as_array().unwrap().len());
                let info = &page["page_info"];
                let next = match shape {
                    ListShape::Cursors => &page["pagination"]["after_cursor"],
                    ListShape::PageInfo | ListShape::Legacy | ListShape::LegacyNull => &info["end_cursor"],
                };
                let has_pagination = page.as_object().unwrap().contains_key("pagination");
                assert_eq!(has_pagination, matches!(shape, ListShape::Cursors | ListShape::LegacyNull));
                assert_eq!(info["has_previous_page"], json!(!after.is_empty()));
                if info["has_next_page"] == json!(false) {
                    break;
                }
                after = format!("&after={}", next.as_str().unwrap());
            }
            assert_eq!(seen, pages, "{shape:?} {list}");
        }
    }
    stage.set(|settings| settings.list_shape = ListShape::Cursors);
    for query in ["limit=0", "limit=101", "limit=x", "after=nonsense"] {
        assert_eq!(stage.get(&format!("/zones/{{z}}/application-credentials?{query}")).await.0, 400, "{query}");
    }
    let list = "/zones/{z}/application-credentials?limit=2";
    let (_, first) = stage.get(list).await;
    let cursor = first["pagination"]["after_cursor"].as_str().unwrap();
    stage.delete(first["items"][1]["id"].as_str().unwrap()).await;
    let (_, second) = stage.get(&format!("{list}&after={cursor}&expand%5B%5D=total_count")).await;
    assert_eq!(second["items"].as_array().unwrap().len(), 2, "a deleted item's cursor still leads on");
    assert_eq!(second["pagination"]["total_count"], 4);
    let back = second["pagination"]["before_cursor"].as_str().unwrap();
    let (_, before) = stage.get(&format!("{list}&before={back}")).await;
    assert_eq!(before["items"][0], first["items"][0]);
    stage.set(|settings| settings.cursor_stuck = true);
    let (_, one) = stage.get(list).await;
    let stuck = one["pagination"]["after_cursor"].as_str().unwrap();
    let (_, two) = stage.get(&format!("{list}&after={stuck}")).await;
    assert_eq!(one, two);
}

#[tokio::test]
async fn lists_are_filtered_searched_and_sorted() {
    let stage = Stage::open().await;
    let worker = stage.keycard.seed_application("production", "billing-worker");
    stage.keycard.seed_zone("staging");
    stage.create(PASSWORD()).await;
    let (_, other) = stage.create(json!({"type": "password", "application_id": worker})).await;
    let (of_worker, slug) = (format!("applicationId={worker}"), format!("slug={}", other["slug"].as_str().unwrap()));
    let by_id = format!("filter%5Bid%5D={worker}&filter%5Bid%5D=nobody&limit=1");
    let by_id_and_cursor = format!("{by_id}&after={}", "aXRlbTox");
    for (list, query, expected) in [
        ("/organizations", "", Some(1)),
        ("/zones", "", Some(2)),
        ("/zones", "slug=production", Some(1)),
        ("/zones", "slug=nowhere", Some(0)),
        ("/zones/{z}/applications", "", Some(4)),
        ("/zones/{z}/applications", "filter%5Bslug%5D=billing-worker&filter%5Bslug%5D=support-bot", Some(2)),
        ("/zones/{z}/applications", "identifier=support-bot", Some(1)),
        ("/zones/{z}/applications", "query%5Bname%5D=MCP", Some(2)),
        ("/zones/{z}/applications", "query%5B%5D=worker", Some(1)),
        ("/zones/{z}/applications", &by_id, Some(1)),
        ("/zones/{z}/applications", &by_id_and_cursor, None),
        ("/zones/{z}/applications", "sort=size", None),
        ("/zones/{z}/providers", "filter%5Btype%5D=external", Some(1)),
        ("/zones/{z}/providers", "type=keycard-vault", Some(0)),
        ("/zones/{z}/application-credentials", &of_worker, Some(1)),
        ("/zones/{z}/application-credentials", &slug, Some(1)),
        ("/zones/{z}/application-credentials", "application_id=ignored", Some(2)),
    ] {
        let (status, page) = stage.get(&format!("{list}?{query}")).await;
        let count = page["items"].as_array().map(Vec::len);
        assert_eq!((status == 200, count), (expected.is_some(), expected), "{list}?{query}: {page}");
    }
    let (_, sorted) = stage.get("/zones/{z}/applications?sort=-name&limit=2").await;
    assert_eq!(
        (&sorted["items"][0]["name"], &sorted["items"][1]["name"]),
        (&json!("Support Bot"), &json!("Linear Mcp Server"))
    );
    assert_eq!(stage.get("/organizations").await.1["page_info"]["has_prev_page"], false);
    stage.set(|settings| (settings.unknown_type_listed, settings.names_alike) = (true, true));
    let (_, page) = stage.get("/zones/{z}/applications/{a}/application-credentials").await;
    assert_eq!(page["items"][1]["type"], "federation-rule");
    let (_, page) = stage.get("/zones/{z}/applications?query%5Bname%5D=application").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_zone_tells_where_its_issuer_is_and_the_issuer_agrees() {
    let stage = Stage::open().await;
    let (_, zone) = stage.get("/zones/{z}").await;
    let oauth2 = &zone["protocols"]["oauth2"];
    assert_eq!(oauth2["token_endpoint"], stage.keycard.token_endpoint("production").unwrap());
    let (openid, issuer) = (&zone["protocols"]["openid"]["provider_configuration"], &oauth2["issuer"]);
    for address in [&oauth2["authorization_server_metadata"], openid] {
        let (status, document) = receive(stage.http.get(address.as_str().unwrap())).await;
        assert_eq!((status, &document["issuer"]), (200, issuer));
        assert_eq!(document["token_endpoint"], oauth2["token_endpoint"]);
        let (status, keys) = receive(stage.http.get(document["jwks_uri"].as_str().unwrap())).await;
        assert_eq!((status, &keys["keys"][0]["kty"]), (200, &json!("RSA")));
    }
}

#[tokio::test]
async fn dates_are_the_sandbox_s_and_never_the_host_s() {
    let stage = Stage::open().await;
    stage.clock.advance(86_400);
    stage.set(|settings| settings.bearer_s = 1_000_000);
    let answer = stage.http.get(format!("{}/nowhere", stage.base)).send().await.unwrap();
    let dates: Vec<_> = answer.headers().get_all("date").iter().collect();
    assert_eq!(dates.len(), 1);
    let date = Timestamp::parse_http_date(dates[0].to_str().unwrap());
    assert_eq!(date, Some(stage.clock.wall()));
}

#[tokio::test]
async fn faults_do_what_they_say_and_are_written_down() {
    let stage = Stage::open().await;
    let count = || stage.keycard.credentials().len();
    let (refused, wait) =
        (Effect::Refuse { status: 403, code: "forbidden".into() }, Some("Wed, 21 Oct 2026 07:28:00 GMT".into()));
    for (effect, status, created, body) in [
        (Effect::Throttle { retry_after: wait }, 429, 0, "too_many_requests"),
        (refused, 403, 0, "forbidden"),
        (Effect::FailAfter, 500, 1, "internal_server_error"),
        (Effect::Delay { ms: 1 }, 200, 1, "\"password\":"),
        (Effect::Stale, 200, 1, "\"password\":"),
        (Effect::Body(Broken::Html), 502, 1, "<html>"),
        (Effect::Body(Broken::Truncated), 200, 1, "{"),
        (Effect::Body(Broken::WrongType), 200, 1, r#""id":{"wrong":42}"#),
        (Effect::Body(Broken::Redirect), 307, 1, ""),
    ] {
        let before = count();
        stage.fault("create_credential", 1, effect.clone());
        let create = stage.request(Method::POST, "/zones/{z}/application-credentials");
        let body_sent = json!({"type": "password", "application_id": stage.application});
        let answer = create.json(&body_sent).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{effect:?}");
        assert_eq!(answer.headers().contains_key("retry-after"), status == 429);
        let text = answer.text().await.unwrap();
        assert!(text.contains(body), "{effect:?}: {text}");
        assert_eq!(serde_json::from_str::<Value>(&text).is_ok(), !["<html>", "{", ""].contains(&body), "{effect:?}");
        assert_eq!(count() - before, created, "{effect:?}");
        stage.keycard.desk.faults().clear();
    }
    stage.set(|settings| drop(settings.error_headers.insert("x-should-retry".into(), "false".into())));
    stage.fault("list_zones", 1, Effect::Body(Broken::Huge));
    let huge = stage.request(Method::GET, "/zones").send().await.unwrap();
    assert_eq!(huge.content_length(), Some(HUGE_BODY_BYTES as u64));
    drop(huge);
    stage.fault("zone_token", 1, Effect::Refuse { status: 400, code: "invalid_scope".into() });
    let (_, pair) = stage.create(PASSWORD()).await;
    assert_eq!(stage.login(&pair, &[]).await, (400, "invalid_scope".into()));
    let answer = stage.request(Method::GET, "/nowhere").send().await.unwrap();
    assert_eq!(answer.headers()["x-should-retry"], "false");
    assert!(stage.keycard.recent_calls().contains(&("create_credential", Some(502))));
    let created = CallCount { operation: "create_credential", status: Some(200), count: 5 };
    assert!(stage.keycard.call_counts().contains(&created), "{:?}", stage.keycard.call_counts());
}

#[tokio::test]
async fn a_stale_read_misses_the_latest_change() {
    let stage = Stage::open().await;
    let (_, old) = stage.create(PASSWORD()).await;
    stage.clock.advance(60);
    let (_, new) = stage.create(PASSWORD()).await;
    stage.fault("list_credentials", 1, Effect::Stale);
    let list = "/zones/{z}/application-credentials";
    assert_eq!(stage.get(list).await.1["items"].as_array().unwrap().len(), 1);
    assert_eq!(stage.get(list).await.1["items"].as_array().unwrap().len(), 2);
    stage.fault("zone_token", 1, Effect::Stale);
    assert_eq!(stage.login_status(&new).await, 401);
    stage.clock.advance(60);
    stage.delete(old["id"].as_str().unwrap()).await;
    stage.fault("list_credentials", 1, Effect::Stale);
    assert_eq!(stage.get(list).await.1["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_dropped_call_gets_not_one_byte_and_is_applied_or_not_as_told() {
    let stage = Stage::open().await;
    for (effect, created) in [(Effect::DropBefore, 0), (Effect::DropAfter, 1)] {
        let before = stage.keycard.credentials().len();
        stage.fault("create_credential", 1, effect.clone());
        let body = json!({"type": "password", "application_id": stage.application}).to_string();
        let text = format!(
            "POST /zones/{}/application-credentials HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            stage.zone,
            stage.bearer,
            body.len()
        );
        let address = stage.base.strip_prefix("http://").unwrap();
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        socket.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // An end or a reset, either way without an answer.
        let _ = socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{effect:?}: {}", String::from_utf8_lossy(&answer));
        assert_eq!(stage.keycard.credentials().len() - before, created, "{effect:?}");
        assert_eq!(stage.keycard.recent_calls().last(), Some(&("create_credential", None)));
        stage.keycard.desk.faults().clear();
    }
}

#[tokio::test]
async fn it_stops_when_told_though_a_client_keeps_its_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let keycard = Arc::new(Keycard::new(HandClock::new(), Arc::new(Mutex::new(Faults::new(1))), 1, &base));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(line::serve(listener, desk::router(keycard), async { drop(stopped.await) }));
    let http = Client::builder().no_proxy().build().unwrap();
    assert_eq!(receive(http.get(format!("{base}/zones"))).await.0, 401);
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), serving).await.expect("ends by itself").unwrap().unwrap();
}

#[tokio::test]
async fn one_seed_gives_one_run_and_seeding_twice_changes_nothing() {
    let secrets = |seed| {
        let keycard = Keycard::new(HandClock::new(), Arc::new(Mutex::new(Faults::new(1))), seed, "http://x/");
        keycard.seed_sandbox();
        keycard.seed_sandbox();
        let pair = keycard.seed_credential("production", "support-bot", None).unwrap();
        assert_eq!(keycard.seed_credential("production", "support-bot", Some(&pair.0)), None);
        (keycard.seed_zone("production"), pair)
    };
    assert_eq!(secrets(1), secrets(1));
    assert_ne!(secrets(1), secrets(2));
}

/// `cargo test --lib keycard -- --ignored`, with `KEYFERRY_PYTHON` naming a Python that has the
/// packages `keycardai-api` and `keycardai-oauth`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Python with the vendor's own packages"]
async fn the_vendor_s_own_clients_find_their_way() {
    let stage = Stage::open().await;
    let python = std::env::var("KEYFERRY_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/keycard.py");
    let base = stage.base.clone();
    let run = move || std::process::Command::new(python).args([script, &base]).status().unwrap();
    assert!(tokio::task::spawn_blocking(run).await.unwrap().success());
}
