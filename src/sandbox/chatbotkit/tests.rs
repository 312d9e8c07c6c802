//! The service over loopback: what it refuses and in which words, and the traps of its updates.

use serde_json::{Value, json};

use super::*;
use crate::sandbox::keycard::tests::HandClock;
use crate::sandbox::line;

struct Stage {
    chatbotkit: Arc<ChatBotKit>,
    base: String,
    http: reqwest::Client,
}

impl Stage {
    async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let chatbotkit = Arc::new(ChatBotKit::new(HandClock::new(), Arc::new(Mutex::new(Faults::new(7))), 7, &base));
        chatbotkit.seed_sandbox();
        tokio::spawn(line::serve(listener, desk::router(Arc::clone(&chatbotkit)), std::future::pending()));
        Self { chatbotkit, base, http: reqwest::Client::new() }
    }

    async fn send(&self, token: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/api/v1/{path}", self.base);
        let call = match body {
            Some(body) => self.http.post(url).json(&body),
            None => self.http.get(url),
        };
        let answer = call.header("authorization", format!("Token {token}")).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.send("sandbox", path, None).await;
        assert_eq!(status, 200, "{path} {answer}");
        answer
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send("sandbox", path, Some(body)).await;
        assert_eq!(status, 200, "{path} {answer}");
        answer
    }

    async fn secret(&self, body: Value) -> String {
        self.post("secret/create", body).await["id"].as_str().unwrap().into()
    }

    fn settings(&self, settings: Settings) {
        self.chatbotkit.set_settings(settings);
    }
}

/// Token, path, body; status, code, message.
type Row<'a> = (&'a str, &'a str, Option<Value>, u16, &'a str, &'a str);

#[tokio::test]
async fn each_refusal_has_its_status_code_and_words() {
    let stage = Stage::open().await;
    let id = stage.secret(json!({ "alias": "taken", "kind": "shared", "value": "v" })).await;
    let update = format!("secret/{id}/update");
    let delete = format!("secret/{id}/delete");
    let rows: Vec<Row<'_>> = vec![
        ("nobody", "secret/list", None, 401, "NOT_AUTHENTICATED", "Not authenticated"),
        ("stranger", &update, Some(json!({})), 403, "NOT_AUTHORIZED", "Not authorized"),
        ("sandbox", "secret/nothing/fetch", None, 404, "NOT_FOUND", "Not found"),
        ("sandbox", &update, None, 405, "METHOD_NOT_ALLOWED", "not allowed"),
        ("sandbox", "secret/list", Some(json!({})), 405, "METHOD_NOT_ALLOWED", "not allowed"),
        ("sandbox", &update, Some(json!([])), 400, "BAD_REQUEST", "must be of type object"),
        ("sandbox", &update, Some(json!({ "foo": 1 })), 400, "BAD_REQUEST", "\"foo\" is not allowed"),
        ("sandbox", &update, Some(json!({ "type": "x" })), 400, "BAD_REQUEST", "must be one of [plain, basic, bearer"),
        ("sandbox", &update, Some(json!({ "kind": null })), 400, "BAD_REQUEST", "must be one of [shared, personal]"),
        ("sandbox", &update, Some(json!({ "value": 1 })), 400, "BAD_REQUEST", "\"value\" must be a string"),
        ("sandbox", &update, Some(json!({ "config": "x" })), 400, "BAD_REQUEST", "must be of type object"),
        ("sandbox", &update, Some(json!({ "meta": { "_x": 1 } })), 400, "BAD_REQUEST", "\"meta._x\" is not allowed"),
        ("sandbox", &update, Some(json!({ "alias": "A b" })), 400, "BAD_REQUEST", "only lowercase letters"),
        ("sandbox", &update, Some(json!({ "blueprintId": "@no" })), 400, "BAD_REQUEST", "Blueprint not found"),
        ("sandbox", "secret/create", Some(json!({ "alias": "taken" })), 409, "CONFLICT", "Unique constraint"),
        (
            "sandbox",
            "secret/nothing/update",
            Some(json!({ "kind": "personal", "value": "v" })),
            409,
            "CONFLICT",
            "Personal secrets cannot have a value",
        ),
        ("sandbox", "token/list", None, 403, "NOT_AUTHORIZED", "Not authorized"),
        ("sandbox", "user/stranger/token/list", None, 403, "NOT_AUTHORIZED", "Not authorized"),
        ("sandbox", "user/nobody/token/list", None, 404, "NOT_FOUND", "Not found"),
        ("sandbox", &delete, Some(json!({})), 200, "", ""),
        ("sandbox", &delete, Some(json!({})), 404, "NOT_FOUND", "Not found"),
    ];
    for (token, path, body, status, code, message) in rows {
        let told = format!("{token} {path} {body:?}");
        let (got, answer) = stage.send(token, path, body).await;
        assert_eq!((got, answer["code"].as_str().unwrap_or_default()), (status, code), "{told}");
        assert!(answer["message"].as_str().unwrap_or_default().contains(message), "{told}: {answer}");
    }
    let (status, body) = stage.send("sandbox", "no/such/path", None).await;
    assert_eq!((status, body), (404, Value::Null), "an HTML page");
}

#[tokio::test]
async fn the_traps_of_a_write_are_all_there() {
    let stage = Stage::open().await;
    let status = |id: &str| format!("secret/{id}/verify");
    let lost = stage.secret(json!({ "value": "v" })).await;
    assert_eq!(stage.post(&status(&lost), json!({})).await["status"], "unauthenticated", "no kind, no value");

    let config = json!({ "clientId": "id", "clientSecret": "s", "#hidden": 1 });
    let body = json!({ "alias": "a", "kind": "shared", "value": "v", "meta": { "x": "1" }, "config": config });
    let id = stage.secret(body).await;
    let item = stage.get("secret/@a/fetch").await;
    assert_eq!(item["config"], json!({ "clientId": "id", "clientSecret": "********" }));
    assert!(item.get("value").is_none() && item["createdAt"].is_i64());
    let update = format!("secret/{id}/update");
    stage.post(&update, json!({ "alias": "a", "config": { "clientSecret": "********" } })).await;
    assert_eq!(stage.chatbotkit.holds("a").unwrap(), (Some("v".into()), Some("s".into())), "asterisks keep it");
    stage.post(&update, json!({ "alias": "a", "meta": { "$update": { "y": "2" } } })).await;
    assert_eq!(stage.get("secret/@a/fetch").await["meta"], json!({ "x": "1", "y": "2" }));
    let before = stage.get("secret/%40a/fetch").await["updatedAt"].as_i64().unwrap();
    stage.post(&update, json!({ "meta": { "z": "3" } })).await;
    let item = stage.get(&format!("secret/{id}/fetch")).await;
    assert_eq!((&item["alias"], &item["meta"]), (&Value::Null, &json!({ "z": "3" })), "erased, and replaced");
    assert!(item["updatedAt"].as_i64().unwrap() > before, "strictly later");

    stage.post(&update, json!({ "alias": "a", "kind": "personal" })).await;
    stage.post(&update, json!({ "alias": "a", "kind": "shared", "value": "new" })).await;
    assert_eq!(stage.chatbotkit.holds("a").unwrap().0, None, "judged by the kind that was stored");
    stage.post(&update, json!({ "alias": "a", "value": "new" })).await;
    assert_eq!(stage.chatbotkit.holds("a").unwrap().0.as_deref(), Some("new"));
    stage.post(&format!("secret/{id}/revoke"), json!({})).await;
    assert_eq!(stage.send("sandbox", &format!("secret/{id}/revoke"), Some(json!({}))).await.0, 404);

    stage.chatbotkit.seed_blueprint("@b");
    stage.chatbotkit.seed_ability("@s", "ability");
    stage.post(&update, json!({ "alias": "a", "blueprintId": "@b" })).await;
    stage.post("skillset/@s/ability/ability/update", json!({ "linkedSecretId": id })).await;
    let old_name = stage.send("sandbox", "skillset/@s/ability/ability/update", Some(json!({ "secretId": id }))).await;
    assert_eq!((old_name.0, &old_name.1["message"]), (400, &json!("\"secretId\" is not allowed")));
    stage.post("blueprint/@b/delete", json!({})).await;
    assert_eq!(stage.get("secret/@a/fetch").await["blueprintId"], Value::Null);
    stage.post(&format!("secret/{id}/delete"), json!({})).await;
    assert_eq!(stage.get("skillset/@s/ability/ability/fetch").await["linkedSecretId"], Value::Null);
}

#[tokio::test]
async fn a_list_has_a_cursor_on_its_last_page_and_none_when_it_is_empty() {
    let stage = Stage::open().await;
    assert_eq!(stage.get("secret/list").await, json!({ "items": [] }), "the key is absent");
    for number in 0..5 {
        stage
            .secret(json!({ "name": number.to_string(), "meta": { "even": number % 2 == 0, "n": { "m": "x" } } }))
            .await;
    }
    let names = |page: &Value| {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<String>()
    };
    let first = stage.get("secret/list?take=3").await;
    assert_eq!(names(&first), "432", "the newest first");
    let cursor = first["cursor"].as_str().unwrap();
    let second = stage.get(&format!("secret/list?take=3&cursor={cursor}")).await;
    assert_eq!((names(&second).as_str(), second["cursor"].is_string()), ("10", true));
    assert_eq!(names(&stage.get("secret/list?order=asc&take=0").await), "01234");
    assert_eq!(names(&stage.get("secret/list?meta.even=true&meta[n][m]=x").await), "420");
    assert_eq!(stage.get("secret/list?cursor=unknown").await, json!({ "items": [] }));
    stage.settings(Settings { lists_per_minute: Some(1), ..Settings::default() });
    stage.get("secret/list").await;
    let (status, limited) = stage.send("sandbox", "secret/list", None).await;
    assert_eq!((status, limited["code"].as_str()), (429, Some("LIMITS_REACHED")));
    stage.settings(Settings { lists_break: true, ..Settings::default() });
    assert_eq!(stage.get("secret/list").await.get("items"), None, "200, and an error");
}

#[tokio::test]
async fn a_childs_token_works_until_it_is_deleted_and_is_shown_once() {
    let stage = Stage::open().await;
    let made = stage.post("user/support-team/token/create", json!({ "name": "n", "meta": { "a": "b" } })).await;
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert!(token.starts_with("sk-") && token.len() == 67 && token.contains(CANARY));
    let listed = stage.get("user/support-team/token/list?meta.a=b").await;
    assert!(!listed.to_string().contains(token) && listed["items"][0]["id"] == *id);
    assert_eq!(stage.send(token, "secret/nothing/fetch", None).await.0, 404);
    assert_eq!(stage.send(token, "user/support-team/token/list", None).await.0, 403, "a child has no children");
    stage.post(&format!("user/support-team/token/{id}/delete"), json!({})).await;
    assert_eq!(stage.send(token, "secret/nothing/fetch", None).await.0, 401);
    stage.settings(Settings { partner_paths: true, ..Settings::default() });
    assert_eq!(stage.get("partner/user/support-team/token/list").await, json!({ "items": [] }));
    assert_eq!(stage.send("sandbox", "user/support-team/token/list", None).await.0, 404);
}

#[tokio::test]
async fn values_come_out_nowhere_but_at_the_door_that_a_test_opens() {
    let stage = Stage::open().await;
    stage.secret(json!({ "alias": "a", "kind": "shared", "value": "kfcanary-value" })).await;
    for path in ["secret/list", "secret/@a/fetch"] {
        assert!(!stage.get(path).await.to_string().contains("kfcanary"), "{path}");
    }
    assert!(!serde_json::to_string(&stage.chatbotkit.secrets()).unwrap().contains("kfcanary"));
    assert_eq!(values(Control(Arc::clone(&stage.chatbotkit))).await.err(), Some(StatusCode::FORBIDDEN));
    stage.settings(Settings { values_shown: true, ..Settings::default() });
    let shown = values(Control(Arc::clone(&stage.chatbotkit))).await.unwrap().0;
    assert_eq!(shown["a"]["value"], "kfcanary-value");
}
