//! Writing: exact bodies, sent once, and what is made of the answers.

use tokio::net::TcpListener;

use super::responder::Request;
use super::*;

/// Each write, its operation and its whole body; a create's token is derived and checked apart.
fn expected() -> [(&'static str, &'static str, Value); 11] {
    let (claim, slot) = (attempt().claim_id(), attempt().slot_id());
    let (claim, slot) = (claim.as_str(), slot.as_str());
    let cred = "kf-cred:tosuo0:client_1";
    let put = |id: &str, stages: Value, value: &str| json!({"SecretId": ARN, "ClientRequestToken": id, "VersionStages": stages, "SecretString": value});
    assert_eq!(Label::Cred(lease()).to_string(), cred);
    let claimed = format!(
        r#"{{"keyferry":"claim, not a credential","v":1,"attempt":"{0}","base":"{BASE}","n":1,"replica":"replica-1","fingerprint":"0123456789abcdef","cause":"due","before":["client_0"]}}"#,
        attempt()
    );
    let stage = |label: &str, more: Value| {
        let mut body = json!({"SecretId": ARN, "VersionStage": label});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    [
        ("claim", "PutSecretValue", put(claim, json!([format!("kf-open:{}", attempt())]), &claimed)),
        ("slot", "PutSecretValue", put(slot, json!(["AWSPENDING", cred]), "the value")),
        ("in place", "PutSecretValue", put(slot, json!(["AWSPENDING"]), "the value")),
        ("first", "PutSecretValue", put(slot, json!(["AWSPENDING", cred]), "the value")),
        (
            "tombstone",
            "PutSecretValue",
            put(slot, json!(["kf-closed"]), r#"{"keyferry":"tombstone, not a credential"}"#),
        ),
        (
            "promote",
            "UpdateSecretVersionStage",
            stage("AWSCURRENT", json!({"MoveToVersionId": slot, "RemoveFromVersionId": BASE})),
        ),
        ("promote first", "UpdateSecretVersionStage", stage("AWSCURRENT", json!({"MoveToVersionId": slot}))),
        ("detach", "UpdateSecretVersionStage", stage("AWSPREVIOUS", json!({"RemoveFromVersionId": BASE}))),
        (
            "tag",
            "TagResource",
            json!({"SecretId": ARN, "Tags": [{"Key": "keyferry:pause", "Value": "2026-12-01T00:00:00Z"}]}),
        ),
        ("untag", "UntagResource", json!({"SecretId": ARN, "TagKeys": ["keyferry:pause"]})),
        (
            "create",
            "CreateSecret",
            json!({"Name": "app/key", "ClientRequestToken": null,
                "Description": "made by keyferry", "KmsKeyId": "alias/app", "Tags": [
                    {"Key": "team", "Value": "core"}, {"Key": "keyferry:deployment", "Value": "prod"},
                    {"Key": "keyferry:credential", "Value": "app"},
                    {"Key": "keyferry:place", "Value": "0011223344556677"},
                    {"Key": "keyferry:attempt", "Value": "1:nonce:1795176000"}]}),
        ),
    ]
}

#[tokio::test]
async fn every_write_says_exactly_what_the_protocol_says() {
    let world = world(WRITES.map(done)).await;
    for (which, operation, mut body) in expected() {
        let at = send(&world.store, which).await;
        assert_eq!(at, Ok(Timestamp::from_seconds(START)), "{which}");
        let request = world.responder.last();
        assert_eq!(request.operation, operation);
        if which == "create" {
            // Derived, so a repeat is the same create; its literal is checked by repeating it.
            body["ClientRequestToken"] = request.body["ClientRequestToken"].clone();
            world.responder.then(done("create"));
            send(&world.store, "create").await.unwrap();
            assert_eq!(world.responder.last().body, request.body);
        }
        assert_eq!(request.body, body, "{which}");
    }
    assert_eq!(world.store.calls(), Calls { reads: 0, writes: 12 });
}

#[tokio::test]
async fn a_write_is_sent_once_and_an_unclear_answer_leaves_it_in_doubt() {
    let unclear = [
        Reply::HangUp,
        refuse(500, "InternalServiceError", ""),
        Reply::Answer(503, "<html>".into(), ""),
        Reply::Answer(502, "<html>".into(), "connection: close\r\n"),
        Reply::Answer(200, "{\"ARN\": \"arn".into(), ""),
        Reply::Answer(200, "[]".into(), ""),
        Reply::Answer(307, String::new(), "location: http://127.0.0.1:1/\r\n"),
    ];
    for reply in unclear {
        for which in WRITES {
            // These two have no answer's body that could be wrong.
            if matches!(which, "tag" | "untag") && matches!(reply, Reply::Answer(200, ..)) {
                continue;
            }
            let world = world([reply.clone()]).await;
            let fault = send(&world.store, which).await.unwrap_err();
            assert_eq!(fault.class, Class::InDoubt, "{which} {reply:?}: {fault}");
            assert_eq!(world.responder.requests().len(), 1, "{which} {reply:?}");
            assert!(!format!("{fault:?}").contains("the value"));
        }
    }
}

#[tokio::test]
async fn an_endless_answer_is_given_up_on() {
    let world = world([Reply::Endless]).await;
    let fault = send(&world.store, "slot").await.unwrap_err();
    assert_eq!((fault.class, fault.answer.as_str()), (Class::InDoubt, "an answer of more than 8 MiB"));
}

#[tokio::test]
async fn an_answer_about_something_else_leaves_a_write_in_doubt() {
    let other = ok(json!({"ARN": "arn:aws:secretsmanager:us-east-1:111122223333:secret:other-AbCdEf", "Name": "o",
        "VersionId": BASE}));
    for which in WRITES.into_iter().filter(|which| !matches!(*which, "tag" | "untag")) {
        for reply in [other.clone(), ok(json!({})), Reply::Answer(200, String::new(), "")] {
            let world = world([reply.clone()]).await;
            assert_eq!(send(&world.store, which).await.unwrap_err().class, Class::InDoubt, "{which} {reply:?}");
        }
    }
}

#[tokio::test]
async fn refusals_reach_the_caller_with_class_code_and_request() {
    for (which, code, class) in [
        ("claim", "ResourceExistsException", Class::Taken),
        ("promote", "InvalidParameterException", Class::Taken),
        ("detach", "InvalidParameterException", Class::Taken),
        ("slot", "ThrottlingException", Class::Retry { after: None }),
        ("slot", "EncryptionFailure", Class::Rejected),
        ("create", "ResourceExistsException", Class::Taken),
        ("tombstone", "ResourceNotFoundException", Class::Gone),
        ("claim", "com.amazonaws.secretsmanager#AccessDeniedException", Class::Denied),
    ] {
        let world = world([refuse(400, code, "text")]).await;
        let fault = send(&world.store, which).await.unwrap_err();
        assert_eq!(fault.class, class, "{which} {code}");
        assert_eq!(fault.code.as_deref(), code.rsplit('#').next());
        assert_eq!(fault.request.as_deref(), Some("req-1"));
        assert_eq!(world.responder.requests().len(), 1, "a write is never repeated here");
    }
    let throttled = json!({"__type": "ThrottlingException"}).to_string();
    let world = world([Reply::Answer(400, throttled, "retry-after: 9\r\n")]).await;
    let class = send(&world.store, "slot").await.unwrap_err().class;
    assert_eq!(class, Class::Retry { after: Some(Duration::from_secs(9)) });
}

#[tokio::test]
async fn what_never_left_is_surely_not_applied() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let store = Store::connect(&target(&format!("http://{port}")), Arc::new(Manual::default())).await.unwrap();
    let fault = send(&store, "slot").await.unwrap_err();
    assert_eq!(fault.class, Class::Retry { after: None }, "{fault}");
    assert_eq!(fault.answer, "could not connect: connection refused");
}

#[tokio::test]
async fn fenced_calls_are_signed_with_their_moment_and_no_other() {
    let world = world([]).await;
    let (mut fenced, mut free) = (Vec::new(), Vec::new());
    for which in WRITES.into_iter().chain(["delete"]) {
        world.clock.pass(Duration::from_secs(20));
        world.responder.then(done(which));
        send(&world.store, which).await.unwrap();
        let request = world.responder.last();
        if request.signed_at == amz(START - 60) {
            assert!(request.authorization.contains(&format!("sandbox/{}/us-east-1", &amz(START - 60)[..8])));
            fenced.push(which);
        } else {
            free.push(which);
        }
    }
    assert_eq!(fenced, ["first", "promote", "promote first", "detach", "tag", "untag", "delete"]);
    assert_eq!(free, ["claim", "slot", "in place", "tombstone", "create"], "AWS itself compares");
}

#[tokio::test]
async fn a_write_that_comes_too_late_is_refused_and_not_sent_again() {
    // A day ahead: were the SDK's clock-skew correction on, it would sign the second try anew.
    let late = "Signature expired: 20261120T115900Z is now earlier than 20261121T115500Z";
    let early = "Signature not yet current: 20261120T115900Z is still later than 20261119T115500Z";
    for (which, message, class) in [
        ("promote", late, Class::Taken),
        ("detach", late, Class::Taken),
        ("tag", late, Class::Taken),
        ("untag", late, Class::Taken),
        ("delete", late, Class::Taken),
        // `Taken` would say that another value is stored there, and its credential would be revoked.
        ("first", late, Class::Retry { after: None }),
        // Signed by the clock and not by a look: the clock is wrong.
        ("slot", late, Class::Retry { after: None }),
        ("tag", early, Class::Retry { after: None }),
    ] {
        let world = world([refuse(400, "InvalidSignatureException", message), done(which)]).await;
        world.responder.date.store(START + 86_400, Ordering::SeqCst);
        let fault = send(&world.store, which).await.unwrap_err();
        assert!(fault.surely_not_applied() && fault.class == class, "{which} {fault}");
        assert_eq!(world.responder.requests().len(), 1);
        assert_eq!(send(&world.store, which).await, Ok(Timestamp::from_seconds(START + 86_400)));
        let fenced = which != "slot";
        let moment = |request: Request| request.signed_at == amz(START - 60);
        let signed: Vec<bool> = world.responder.requests().into_iter().map(moment).collect();
        assert_eq!(signed, [fenced; 2], "{which}: the moment does not shift by what was learned");
    }
}

#[tokio::test]
async fn a_date_that_can_not_be_right_neither_sets_the_clock_nor_ends_the_process() {
    const YEAR_9999: i64 = 253_402_300_799;
    let world = world([]).await;
    for (date, believed) in [(YEAR_9999, false), (START, true), (YEAR_9999, false), (START + 3_600, false)] {
        world.responder.date.store(date, Ordering::SeqCst);
        for which in WRITES {
            world.responder.then(done(which));
            let sent = send(&world.store, which).await.map_err(|fault| fault.class);
            assert_eq!(sent, if believed { Ok(Timestamp::from_seconds(date)) } else { Err(Class::InDoubt) }, "{which}");
        }
        (0..3).for_each(|_| world.responder.then(described(&json!({}))));
        if !believed {
            let fault = world.store.observe(&name()).await.unwrap_err();
            assert_eq!(fault.class, Class::Retry { after: None });
            assert!(fault.answer.starts_with("the answer is dated ") && fault.hint.is_some(), "{fault}");
        } else {
            world.responder.then(listed(&json!([]), None));
        }
        world.clock.pass(Duration::from_secs(1));
    }
    assert_eq!(world.store.now(), Some(Timestamp::from_seconds(START + 3)));
}

#[tokio::test]
async fn an_answer_without_a_date_leaves_a_write_in_doubt() {
    // A cache's answer has an old date, which counts as none.
    let Reply::Answer(status, body, _) = done("claim") else { unreachable!() };
    let world = world([Reply::Answer(status, body, "age: 30\r\n")]).await;
    assert_eq!(send(&world.store, "claim").await.unwrap_err().class, Class::InDoubt);
    assert_eq!(world.store.now(), None);
}

#[tokio::test]
async fn strange_tags_and_long_claims_are_refused_before_sending() {
    let world = world([]).await;
    for tags in [[("a", "b|c")], [("", "b")], [("a", "line\nbreak")]] {
        assert_eq!(world.store.tag(&arn(), &tags, fence(START)).await.unwrap_err().class, Class::Rejected);
    }
    let before = (0..2_000).map(|n| VendorId::new(&format!("client_{n:032}")).unwrap()).collect();
    let claim = Claim { attempt: attempt(), base: None, number: 1, cause: Cause::Due, before, note: None };
    let fault = world.store.put_claim(&published(), &claim, "r", "f").await.unwrap_err();
    assert_eq!(fault.class, Class::Rejected);
    assert_eq!(world.store.calls(), Calls::default());
}

#[test]
fn only_labels_that_may_go_are_removable() {
    assert_eq!(Removable::of(&Label::Current), None);
    assert_eq!(Removable::of(&Label::Foreign("prod".into())), None);
    for label in [Label::Pending, Label::Previous, Label::Open(attempt()), Label::Cred(lease()), Label::Closed] {
        assert_eq!(Removable::of(&label).unwrap().label(), label);
    }
}

#[tokio::test]
async fn going_back_is_for_a_version_that_holds_a_live_credential_and_is_fenced() {
    let seen =
        |labels: Vec<Label>| secret(vec![Version { id: base(), labels, created: Timestamp::from_seconds(START) }]);
    let cred = || Label::Cred(lease());
    // A claim and a tombstone carry no lease; what is current need not go back; what has no label of
    // AWS's may be revoked at any moment.
    for labels in [
        vec![],
        vec![Label::Previous],
        vec![Label::Open(attempt())],
        vec![Label::Closed],
        vec![Label::Current, cred()],
        vec![cred()],
        vec![Label::Previous, Label::Closed, cred()],
    ] {
        assert_eq!(Returnable::of(&seen(labels.clone()), &base()), None, "{labels:?}");
    }
    let to = Returnable::of(&seen(vec![Label::Previous, cred()]), &base()).unwrap();
    assert_eq!(Returnable::of(&seen(vec![Label::Previous, cred()]), &attempt().slot_id()), None);
    let world = world([done("promote")]).await;
    let from = attempt().slot_id();
    world.store.roll_back(&to, &from, fence(START - 60)).await.unwrap();
    let request = world.responder.last();
    let body = json!({
        "SecretId": ARN, "VersionStage": "AWSCURRENT", "MoveToVersionId": BASE, "RemoveFromVersionId": from.as_str(),
    });
    assert_eq!((request.operation.as_str(), &request.body), ("UpdateSecretVersionStage", &body));
}
