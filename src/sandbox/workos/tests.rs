//! The service over loopback: what its paper says, and its switches.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::settings::{Hint, LastUsed, Order};
use super::*;
use crate::model::time::{Sleep, Timestamp};
use crate::sandbox::line;

/// A clock that moves only when told to.
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst).unsigned_abs())
    }
    fn sleep(&self, _: Duration) -> Sleep<'_> {
        Box::pin(std::future::ready(()))
    }
}

struct Stage {
    clock: Arc<HandClock>,
    workos: Arc<WorkOs>,
    base: String,
    http: Client,
    id: String,
    client_id: String,
}

impl Stage {
    async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let clock = Arc::new(HandClock(AtomicI64::new(1_790_000_000_000)));
        let faults = Arc::new(Mutex::new(Faults::new(7)));
        let workos = Arc::new(WorkOs::new(clock.clone(), faults, 7, &base));
        workos.seed_sandbox();
        let (id, client_id) = workos.add_application("app", Kind::M2m, "org_1");
        tokio::spawn(line::serve(listener, Arc::clone(&workos).router(), std::future::pending()));
        let http = Client::builder().no_proxy().build().unwrap();
        Self { clock, workos, base, http, id, client_id }
    }

    async fn call(&self, method: Method, path: &str) -> (u16, Value) {
        self.as_key("sandbox", method, path).await
    }

    async fn as_key(&self, key: &str, method: Method, path: &str) -> (u16, Value) {
        let path = path.replace("{id}", &self.id);
        let request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(key);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["x-request-id"].len(), 36, "on every answer");
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    async fn create(&self) -> Value {
        let (status, made) = self.call(Method::POST, "/connect/applications/{id}/client_secrets").await;
        assert_eq!(status, 201, "{made}");
        made
    }

    async fn list(&self) -> Vec<Value> {
        let (status, list) = self.call(Method::GET, "/connect/applications/{id}/client_secrets").await;
        assert_eq!(status, 200, "{list}");
        list.as_array().unwrap().clone()
    }

    async fn form(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let answer = self.http.post(format!("{}{path}", self.base)).form(form).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// Status and error of a machine's login.
    async fn login(&self, secret: &Value) -> (u16, Value) {
        let secret = secret.as_str().unwrap();
        let form = [("grant_type", "client_credentials"), ("client_id", &*self.client_id), ("client_secret", secret)];
        let (status, body) = self.form("/oauth2/token", &form).await;
        (status, body["error"].clone())
    }

    fn set(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.workos.settings();
        change(&mut settings);
        self.workos.set_settings(settings);
    }

    fn advance(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn secrets_are_a_bare_array_shown_once_and_five_at_most() {
    let stage = Stage::open().await;
    assert!(stage.list().await.is_empty());
    let made = stage.create().await;
    assert!(made["secret"].as_str().unwrap().contains(CANARY));
    let listed = stage.list().await;
    for field in ["object", "id", "secret_hint", "last_used_at", "created_at", "updated_at"] {
        assert!(listed[0].get(field).is_some(), "{field}");
    }
    assert_eq!((listed[0].get("secret"), &listed[0]["last_used_at"]), (None, &Value::Null));
    for _ in 0..4 {
        stage.create().await;
    }
    let dates: Vec<Value> = stage.list().await.iter().map(|one| one["created_at"].clone()).collect();
    assert!(dates.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()), "{dates:?}");
    let path = "/connect/applications/{id}/client_secrets";
    assert_eq!(stage.call(Method::POST, path).await.0, 422);
    let id = made["id"].as_str().unwrap();
    assert_eq!(stage.call(Method::DELETE, &format!("/connect/client_secrets/{id}")).await.0, 204);
    let (status, gone) = stage.call(Method::DELETE, &format!("/connect/client_secrets/{id}")).await;
    assert_eq!((status, &gone["code"]), (404, &json!("entity_not_found")));
    let key = stage.http.post(format!("{}{}", stage.base, path.replace("{id}", &stage.client_id)));
    let answer = key.bearer_auth("sandbox").header("idempotency-key", "k").body("{\"more\":1}").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), stage.workos.idempotency_keys()), (201, vec!["k".to_owned()]));
}

#[tokio::test]
async fn a_key_sees_its_own_environment_and_only_if_it_may() {
    let stage = Stage::open().await;
    stage.workos.seed_key("sk_elsewhere", "elsewhere", KeyState::Active);
    stage.workos.seed_key("sk_revoked", ENVIRONMENT, KeyState::Revoked);
    stage.workos.seed_key("sk_restricted", ENVIRONMENT, KeyState::Restricted);
    let id = stage.create().await["id"].as_str().unwrap().to_owned();
    for (key, status) in [("sk_elsewhere", 404), ("sk_revoked", 401), ("sk_unknown", 401), ("sk_restricted", 403)] {
        assert_eq!(stage.as_key(key, Method::GET, "/connect/applications/{id}").await.0, status, "{key}");
        assert_eq!(
            stage.as_key(key, Method::DELETE, &format!("/connect/client_secrets/{id}")).await.0,
            status,
            "{key}"
        );
    }
    assert_eq!(stage.list().await.len(), 1);
}

#[tokio::test]
async fn applications_come_in_pages_whose_sense_the_order_decides() {
    let stage = Stage::open().await;
    let walk = async |order: &str, cursor: &str| {
        let (mut names, mut next) = (Vec::new(), String::new());
        loop {
            let (status, page) =
                stage.call(Method::GET, &format!("/connect/applications?limit=2&order={order}{next}")).await;
            assert_eq!((status, &page["object"]), (200, &json!("list")));
            names.extend(page["data"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()));
            match &page["list_metadata"][cursor] {
                Value::Null => return names,
                id => next = format!("&{cursor}={}", id.as_str().unwrap()),
            }
        }
    };
    assert_eq!(walk("asc", "after").await, ["payroll-export", "customer-portal", "app"]);
    assert_eq!(walk("desc", "after").await, ["app", "customer-portal", "payroll-export"]);
    assert_eq!(walk("normal", "before").await, ["app", "customer-portal", "payroll-export"]);
    for (query, status) in [("limit=0", 422), ("limit=101", 422), ("order=odd", 422), ("after=nobody&order=asc", 422)] {
        assert_eq!(stage.call(Method::GET, &format!("/connect/applications?{query}")).await.0, status, "{query}");
    }
    for (query, count) in [("organization_id=org_1", 1), ("registration_types=dynamic", 0), ("", 3)] {
        let page = stage.call(Method::GET, &format!("/connect/applications?{query}")).await.1;
        assert_eq!(page["data"].as_array().unwrap().len(), count, "{query}");
    }
    let client_id = stage.client_id.replace('_', "%5F");
    let (_, found) = stage.call(Method::GET, &format!("/connect/applications/{client_id}")).await;
    assert_eq!((&found["id"], &found["application_type"]), (&json!(stage.id), &json!("m2m")));
}

#[tokio::test]
async fn the_token_endpoint_asks_in_the_vendor_s_order_and_counts_only_what_it_granted() {
    let stage = Stage::open().await;
    let secret = stage.create().await["secret"].clone();
    let text = secret.as_str().unwrap();
    let portal = stage.workos.add_application("portal", Kind::Oauth, "org_1").1;
    let portal_secret = stage.workos.seed_secret("portal").unwrap().1;
    let id = &*stage.client_id;
    let machine = ("grant_type", "client_credentials");
    type Row<'a> = (&'a [(&'a str, &'a str)], u16, &'a str);
    let rows: [Row<'_>; 8] = [
        (&[machine], 401, "invalid_client"),
        (&[machine, ("client_id", "client_x"), ("client_secret", "x")], 401, "invalid_client"),
        (&[("client_id", id), ("client_secret", "x")], 400, "invalid_request"),
        (&[("grant_type", "password"), ("client_id", id), ("client_secret", "x")], 400, "unsupported_grant_type"),
        (&[machine, ("client_id", id), ("client_secret", "x")], 401, "invalid_client"),
        (&[machine, ("client_id", &portal), ("client_secret", &portal_secret)], 400, "unauthorized_client"),
        (&[("grant_type", "refresh_token"), ("client_id", id), ("client_secret", text)], 400, "invalid_grant"),
        (&[machine, ("client_id", id), ("client_secret", text), ("scope", "x")], 400, "invalid_scope"),
    ];
    for (form, status, error) in rows {
        let (given, body) = stage.form("/oauth2/token", form).await;
        assert_eq!((given, &body["error"]), (status, &json!(error)), "{form:?}");
    }
    assert_eq!(stage.list().await[0]["last_used_at"], Value::Null);
    let basic = stage.http.post(format!("{}/oauth2/token", stage.base)).basic_auth(id, Some(text));
    let granted = basic.form(&[machine]).send().await.unwrap();
    assert_eq!(granted.status().as_u16(), 200);
    assert_eq!(granted.headers()["cache-control"], "no-store");
    let token = granted.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    let listed = stage.list().await;
    assert!(listed[0]["last_used_at"].is_string() && listed[0]["updated_at"] == listed[0]["created_at"]);
    let ask = [("client_id", id), ("client_secret", text), ("token", &*token)];
    let (_, claims) = stage.form("/oauth2/introspection", &ask).await;
    assert_eq!((&claims["active"], &claims["sub"], &claims["org_id"]), (&json!(true), &json!(id), &json!("org_1")));
    let as_json = stage.http.post(format!("{}/oauth2/token", stage.base));
    let body = json!({"grant_type": "client_credentials", "client_id": id, "client_secret": text});
    assert_eq!(as_json.json(&body).send().await.unwrap().status().as_u16(), 200);
    let openid = stage.call(Method::GET, "/.well-known/openid-configuration").await.1;
    let oauth = stage.call(Method::GET, "/.well-known/oauth-authorization-server").await.1;
    let machines = |document: &Value| document["grant_types_supported"].as_array().unwrap().contains(&json!(machine.1));
    assert!(machines(&openid) && !machines(&oauth) && openid.get("revocation_endpoint").is_none());
    assert_eq!(openid["token_endpoint"], format!("{}/oauth2/token", stage.base));
    assert_eq!(stage.call(Method::GET, "/oauth2/jwks").await.1["keys"][0]["kty"], "RSA");
}

#[tokio::test]
async fn switches_do_what_they_say() {
    let stage = Stage::open().await;
    stage.set(|settings| (settings.login_lag_s, settings.revoke_lag_s, settings.read_lag_s) = (10, 20, 5));
    let made = stage.create().await;
    assert!(stage.list().await.is_empty());
    assert_eq!(stage.login(&made["secret"]).await.0, 401);
    stage.advance(10);
    assert_eq!((stage.list().await.len(), stage.login(&made["secret"]).await.0), (1, 200));
    stage.set(|settings| settings.last_used = LastUsed::DelayedS(30));
    assert_eq!(stage.list().await[0]["last_used_at"], Value::Null);
    stage.advance(30);
    let exact = stage.list().await[0]["last_used_at"].clone();
    stage.set(|settings| settings.last_used = LastUsed::Hour);
    assert_ne!(stage.list().await[0]["last_used_at"], exact);
    stage.set(|settings| settings.last_used = LastUsed::Frozen);
    assert_eq!(stage.list().await[0]["last_used_at"], Value::Null);
    let value = made["secret"].as_str().unwrap();
    for (hint, shown) in [
        (Hint::Last4, value[value.len() - 4..].to_owned()),
        (Hint::First6, value[..6].to_owned()),
        (Hint::Masked, format!("…{}", &value[value.len() - 4..])),
    ] {
        stage.set(|settings| settings.hint = hint);
        assert_eq!(stage.list().await[0]["secret_hint"], shown);
    }
    stage.set(|settings| settings.last_secret_stays = true);
    let delete = format!("/connect/client_secrets/{}", made["id"].as_str().unwrap());
    assert_eq!(stage.call(Method::DELETE, &delete).await.0, 422);
    stage.set(|settings| (settings.last_secret_stays, settings.delete_status) = (false, 202));
    assert_eq!(stage.call(Method::DELETE, &delete).await.0, 202);
    assert_eq!(stage.login(&made["secret"]).await.0, 200, "accepted for a while");
    stage.advance(20);
    stage.set(|settings| settings.wrong_secret_status = 400);
    assert_eq!(stage.login(&made["secret"]).await, (400, json!("invalid_client")));
    stage.set(|settings| (settings.plain_404, settings.introspection_blind) = (true, true));
    assert_eq!(stage.call(Method::DELETE, &delete).await, (404, json!({"message": "Not Found"})));
    let ask = [("client_id", &*stage.client_id), ("client_secret", "x"), ("token", "x")];
    assert_eq!(stage.form("/oauth2/introspection", &ask).await, (200, json!({"active": false})));
    stage.set(|settings| (settings.duds, settings.silent_creates, settings.colleague_adds) = (1, 1, 1));
    assert_eq!(stage.create().await.get("secret"), None);
    assert_eq!(stage.workos.secrets().len(), 3, "a colleague's came just before");
    stage.set(|settings| (settings.order, settings.read_lag_s) = (Order::NewestFirst, 0));
    let listed = stage.list().await;
    assert!(listed[0]["created_at"].as_str() > listed[1]["created_at"].as_str());
    stage.set(|settings| settings.colleague_deletes = 1);
    stage.create().await;
    assert_eq!(stage.list().await.len(), 2);
    stage.set(|settings| settings.authkit_gone = true);
    assert_eq!(stage.call(Method::GET, "/.well-known/openid-configuration").await.0, 404);
}
