//! What is sent, and what each answer means, against a scripted listener.

use super::responder::{Reply, Responder, json, reply};
use std::time::Duration;

use reqwest::Method;

use super::*;
use crate::model::fault::{Class, Fault};
use crate::model::secret::SecretValue;

const RETRY: Class = Class::Retry { after: None };

/// Short enough to wait for, long enough for a busy machine.
fn limits() -> Limits {
    let moment = Duration::from_millis(1);
    Limits {
        connect_timeout: Duration::from_millis(250),
        total_timeout: Duration::from_millis(500),
        body_bytes_max: 64 * 1024,
        backoff_first: moment,
        backoff_max: moment,
        ..Limits::default()
    }
}

fn line() -> Line {
    Line::new(Client::loopback_only(limits()))
}

fn request(base: &str, effect: Effect) -> Request {
    let url = Endpoint::parse(base).unwrap().at(&["x"]).unwrap();
    Request::new("trying x", Method::POST, url, effect)
        .authorization(bearer(&SecretValue::new("CANARY-token")).unwrap())
}

/// The class of what `reply` means for a request of this effect, and how often it was sent.
async fn outcome(reply: Reply, effect: Effect) -> (Class, usize, Fault) {
    let responder = Responder::start(move |_, _| reply.clone()).await;
    let request = request(&responder.base, effect);
    let fault = match line().send(&request).await {
        Ok(answer) if answer.json::<Vec<u8>>().is_some() && answer.is_success() => panic!("expected trouble"),
        Ok(answer) => answer.fault(&request),
        Err(fault) => fault,
    };
    assert!(!format!("{fault} {fault:?}").contains("CANARY"), "{fault:?}");
    (fault.class, responder.seen().len(), fault)
}

#[tokio::test]
async fn every_answer_has_its_class_and_number_of_sends() {
    use Class::{Denied, Gone, InDoubt, Rejected};
    let html = || reply(502, "Content-Type: text/html\r\n", "<html>CANARY bad gateway</html>");
    let words = serde_json::json!({"code": "Bad CANARY", "message": "CANARY", "request_id": "r-1"});
    let cut = || Reply::Bytes(b"HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n[1".to_vec());
    let redirect = || reply(307, "Location: http://127.0.0.1:1/\r\n", "");
    let told = |seconds| Class::Retry { after: Some(Duration::from_secs(seconds)) };
    let deep = "[".repeat(10_000);
    // answer; class for nothing, idempotent, once; sends of the repeatable ones
    let table = [
        (json(400, &words), Rejected, Rejected, Rejected, 1),
        (json(401, &words), Denied, Denied, Denied, 1),
        (json(403, &words), Denied, Denied, Denied, 1),
        (json(404, &words), Gone, Gone, Gone, 1),
        (json(409, &words), Rejected, Rejected, Rejected, 1),
        (json(415, &words), Rejected, Rejected, Rejected, 1),
        (json(422, &words), Rejected, Rejected, Rejected, 1),
        (json(408, &words), RETRY, InDoubt, InDoubt, 4),
        (json(425, &words), RETRY, InDoubt, InDoubt, 1),
        (json(499, &words), RETRY, InDoubt, InDoubt, 1),
        (json(429, &words), RETRY, RETRY, RETRY, 4),
        (reply(429, "Retry-After: 0\r\n", ""), told(0), told(0), told(0), 4),
        (reply(429, "Retry-After: 121\r\n", ""), told(121), told(121), told(121), 1),
        (reply(503, "Retry-After: 999999999999\r\n", ""), told(86_400), InDoubt, InDoubt, 1),
        (json(500, &words), RETRY, InDoubt, InDoubt, 4),
        (html(), RETRY, InDoubt, InDoubt, 4),
        (redirect(), Rejected, InDoubt, InDoubt, 1),
        (reply(200, "", ""), RETRY, InDoubt, InDoubt, 1),
        (reply(200, "Content-Type: text/html\r\n", "<html>CANARY"), RETRY, InDoubt, InDoubt, 1),
        (reply(200, "", "{\"CANARY\":1}"), RETRY, InDoubt, InDoubt, 1),
        (reply(200, "", &deep), RETRY, InDoubt, InDoubt, 1),
        (cut(), RETRY, InDoubt, InDoubt, 4),
        (Reply::Endless, RETRY, InDoubt, InDoubt, 1),
        (Reply::Bytes(Vec::new()), RETRY, InDoubt, InDoubt, 4),
        (Reply::Bytes(b"CANARY no HTTP\r\n\r\n".to_vec()), RETRY, InDoubt, InDoubt, 4),
        (Reply::Bytes(b"HTTP/1.1 2".to_vec()), RETRY, InDoubt, InDoubt, 4),
    ];
    for (answer, nothing, idempotent, once, sends) in table {
        let shown = format!("{answer:?}").chars().take(80).collect::<String>();
        for (effect, class, sends) in
            [(Effect::Nothing, nothing, sends), (Effect::Idempotent, idempotent, sends), (Effect::Once, once, 1)]
        {
            let (got, sent, fault) = outcome(answer.clone(), effect).await;
            assert_eq!((got, sent), (class, sends), "{effect:?} {shown} {fault}");
        }
    }
}

#[tokio::test]
async fn a_stalled_answer_ends_with_the_time_limit() {
    for bytes in ["", "HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n[1"] {
        let (class, sends, fault) = outcome(Reply::Stall(bytes.as_bytes().to_vec()), Effect::Once).await;
        assert_eq!((class, sends), (Class::InDoubt, 1), "{fault}");
    }
    let (_, _, fault) = outcome(Reply::Stall(Vec::new()), Effect::Once).await;
    assert_eq!(fault.to_string(), "trying x: no answer within 500 ms");
}

#[tokio::test]
async fn what_never_left_is_not_in_doubt() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let fault = line().send(&request(&closed, Effect::Once)).await.err().unwrap();
    assert_eq!((fault.class, fault.to_string().as_str()), (RETRY, "trying x: connection refused"));
    // Plain bytes where TLS is expected: the request itself is not sent before the handshake.
    let responder = Responder::start(|_, _| unreachable!("no request can be read")).await;
    let wrong = responder.base.replace("http:", "https:");
    let fault = line().send(&request(&wrong, Effect::Once)).await.err().unwrap();
    assert_eq!((fault.class, fault.to_string().as_str()), (RETRY, "trying x: no connection within 250 ms"));
}

#[tokio::test]
async fn trouble_that_passes_is_waited_out_and_an_error_is_told_in_checked_words() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let responder = Responder::start(move |_, _| match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => Reply::Bytes(Vec::new()),
        1 => reply(429, "Retry-After: Sat, 21 Nov 2026 06:59:59 GMT\r\n", ""),
        2 => reply(503, "", "<html>"),
        _ => json(403, &serde_json::json!({"error": "access_denied", "requestId": "req:7"})),
    })
    .await;
    let request = request(&responder.base, Effect::Idempotent);
    let answer = line().send(&request).await.unwrap();
    assert_eq!(answer.fault(&request).to_string(), "trying x: answered 403 (access_denied) [request req:7]");
    assert_eq!(answer.date(), crate::model::time::Timestamp::parse_rfc3339("2026-11-21T07:00:00Z"));
    let seen = responder.seen();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0].header("user-agent"), Some(concat!("keyferry/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(seen[0].header("accept"), Some("application/json"));
}

#[test]
fn authorization_headers_are_exact_and_unprintable() {
    let value = basic(&SecretValue::new("kf-1"), &SecretValue::new("p%+ü:x"));
    assert_eq!(value.to_str().unwrap(), "Basic a2YtMTpwJSvDvDp4");
    assert_eq!(format!("{value:?}"), "Sensitive");
    for bad in ["a b", "a\r\nX: y", "ü", "a\u{7f}"] {
        assert!(bearer(&SecretValue::new(bad)).is_none(), "{bad:?}");
    }
}

#[test]
fn a_bad_certificate_file_is_refused_when_the_client_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    for (path, answer) in [
        (folder.path().join("missing"), "entity not found"),
        (write("empty", ""), "no certificate in it"),
        (write("broken", broken), "not a PEM bundle"),
    ] {
        let fault = Client::open(Some(&path)).err().unwrap();
        assert_eq!((fault.class, fault.answer.as_str()), (Class::Rejected, answer));
    }
}

#[tokio::test]
async fn one_instance_has_so_many_calls_in_flight_and_no_more() {
    for in_flight_max in [1, 2] {
        let responder = Responder::start(|_, _| Reply::Stall(Vec::new())).await;
        let request = request(&responder.base, Effect::Once);
        let line = Line::new(Client::loopback_only(Limits { in_flight_max, ..limits() }));
        tokio::select! {
            _ = line.send(&request) => {}
            _ = line.send(&request) => {}
        }
        assert_eq!(responder.seen().len(), in_flight_max);
    }
}

#[tokio::test]
async fn a_whole_call_ends_in_time_whatever_it_waits_for() {
    let moment = Duration::from_millis(200);
    let short = Limits { call_max: moment, total_timeout: Duration::from_secs(60), ..limits() };
    let throttled = || reply(429, "Retry-After: 60\r\n", "");
    let drip = || Reply::Stall(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n[1".to_vec());
    let over = "no answer before the time for the whole call was over";
    for (reply, effect, class, said) in [
        (Reply::Stall(Vec::new()), Effect::Nothing, RETRY, over),
        (Reply::Stall(Vec::new()), Effect::Once, Class::InDoubt, over),
        (drip(), Effect::Idempotent, Class::InDoubt, over),
        (throttled(), Effect::Nothing, Class::Retry { after: Some(Duration::from_secs(60)) }, "answered 429"),
    ] {
        let responder = Responder::start(move |_, _| reply.clone()).await;
        let request = request(&responder.base, effect);
        let line = Line::new(Client::loopback_only(short));
        let send = async { line.send(&request).await.map(|answer| answer.fault(&request)) };
        let fault = tokio::time::timeout(Duration::from_secs(20), line.whole("listing".into(), send)).await;
        let fault = fault.expect("it has a bound").unwrap_or_else(|fault| fault);
        assert_eq!((fault.class, fault.answer.as_str()), (class, said));
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_something_else_than_an_answer_ends_in_time_too() {
    let line = Line::new(Client::loopback_only(Limits::default()));
    let waits = || std::future::pending::<Result<(), Fault>>();
    let fault = line.whole("listing at x".into(), waits()).await.unwrap_err();
    assert_eq!(
        (fault.class, fault.to_string().as_str()),
        (RETRY, "listing at x: it took over 120 s, all tries and waits together")
    );
    let fault = line.token("fetching a token", waits()).await.unwrap_err();
    assert_eq!((fault.class, fault.answer.contains("over 25 s")), (RETRY, true));
    // A place that is never free: nothing was sent.
    let line = Line::new(Client::loopback_only(Limits { in_flight_max: 0, ..Limits::default() }));
    let request = request("http://127.0.0.1:1", Effect::Once);
    let fault = line.whole("x".into(), async { line.send(&request).await.map(drop) }).await.unwrap_err();
    assert_eq!((fault.class, fault.answer.starts_with("not sent: ")), (RETRY, true), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn one_fetch_serves_everybody_who_waits_and_so_does_its_failure() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    for good in [true, false] {
        let (shared, fetches) = (Arc::new(Shared::default()), Arc::new(AtomicUsize::new(0)));
        let get = || {
            let (shared, fetches) = (Arc::clone(&shared), Arc::clone(&fetches));
            async move {
                let fetch = async {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_secs(25)).await;
                    if good { Ok(7) } else { Err(Fault::new(RETRY, "fetching", "no answer")) }
                };
                shared.get(|_| true, fetch).await.is_ok()
            }
        };
        let mut waiters = tokio::task::JoinSet::new();
        (0..10).for_each(|_| drop(waiters.spawn(get())));
        let all = tokio::time::timeout(Duration::from_secs(26), waiters.join_all()).await;
        assert_eq!(all.expect("one after another would take longer"), [good; 10]);
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        // Who comes later asks again, but only after a failure.
        assert_eq!(get().await, good);
        assert_eq!(fetches.load(Ordering::SeqCst), if good { 1 } else { 2 });
    }
}

#[tokio::test]
async fn no_word_of_an_answer_repeats_a_secret_that_was_sent() {
    const TOKEN: &str = "kfcanary-admin-0123456789";
    const SECRET: &str = "kfcanary-login-9876543210";
    for word in [TOKEN, SECRET, "kfcanary-admin", "x-kfcanary-login-9876543210", "x-kfcanary-admin-0123456789-y"] {
        let body = serde_json::json!({"error": word, "code": word, "request_id": word, "message": word});
        for answer in [
            reply(403, &format!("X-Request-Id: {word}\r\n"), &body.to_string()),
            reply(400, "", &serde_json::json!({"code": word.replace('-', "_"), "requestId": word}).to_string()),
            reply(200, &format!("Request-Id: {word}\r\n"), &serde_json::json!([{"id": word}]).to_string()),
        ] {
            let responder = Responder::start(move |_, _| answer.clone()).await;
            let url = Endpoint::parse(&responder.base).unwrap().url();
            let request = |doing: &str, value| {
                Request::new(doing, Method::GET, url.clone(), Effect::Nothing).authorization(value)
            };
            let calls = [
                request("listing", bearer(&SecretValue::new(TOKEN)).unwrap()),
                request("logging in", basic(&SecretValue::new("app"), &SecretValue::new(SECRET))),
                // What was sent a moment ago counts as well.
                request("listing again", bearer(&SecretValue::new("kfcanary-renewed-555")).unwrap()),
            ];
            let line = line();
            for request in &calls {
                let answer = line.send(request).await.unwrap();
                let fault = answer.fault(request);
                if request.doing() == "listing" && word.contains("login") {
                    continue;
                }
                let shown = format!("{fault} {fault:?} {:?}", answer.shown_id(word));
                assert!(!shown.contains("kfcanary-"), "{shown}");
                assert!(
                    word.len() < TOKEN.len() || answer.json::<serde_json::Value>().is_none_or(|body| body.is_object())
                );
            }
        }
    }
}
