//! Reading and signing.

use super::*;
use crate::model::observed::Obstacle;

#[tokio::test]
async fn signing_follows_aws_and_not_the_wall_clock() {
    let expired = "Signature expired: 20151123T120000Z is now earlier than 20261120T115500Z";
    let world = world([
        refuse(400, "InvalidSignatureException", expired),
        refuse(400, "ResourceNotFoundException", ""),
        refuse(400, "ResourceNotFoundException", ""),
        done("slot"),
    ])
    .await;
    assert_eq!(world.store.now(), None);
    assert_eq!(world.store.observe(&name()).await, Ok(None));
    assert_eq!(world.store.now(), Some(Timestamp::from_seconds(START)), "an error's date counts too");
    world.clock.pass(Duration::from_secs(1_000));
    assert_eq!(world.store.now(), Some(Timestamp::from_seconds(START + 1_000)));
    world.responder.date.store(START + 800, Ordering::SeqCst);
    assert_eq!(world.store.observe(&name()).await, Ok(None));
    assert_eq!(world.store.now(), Some(Timestamp::from_seconds(START + 800)), "AWS is right, also backwards");
    world.clock.pass(Duration::from_secs(10));
    send(&world.store, "slot").await.unwrap();
    let signed: Vec<String> = world.responder.requests().into_iter().map(|request| request.signed_at).collect();
    let wall = START - 11 * 365 * 86_400;
    assert_eq!(signed, [amz(wall), amz(START), amz(START + 1_000), amz(START + 810)]);
    assert_eq!(world.store.calls(), Calls { reads: 3, writes: 1 });
}

#[tokio::test]
async fn reads_are_tried_again_and_only_where_that_can_help() {
    for (reply, tries, class) in [
        (refuse(400, "ThrottlingException", ""), 6, Class::Retry { after: None }),
        (refuse(500, "InternalServiceError", ""), 3, Class::Retry { after: None }),
        (Reply::HangUp, 3, Class::Retry { after: None }),
        (Reply::Answer(200, "{".into(), ""), 3, Class::Retry { after: None }),
        (refuse(400, "AccessDeniedException", ""), 1, Class::Denied),
        (refuse(400, "InvalidRequestException", ""), 1, Class::Rejected),
    ] {
        let world = world(std::iter::repeat_n(reply.clone(), 8)).await;
        let fault = world.store.observe(&name()).await.unwrap_err();
        assert_eq!((fault.class, world.responder.requests().len()), (class, tries), "{reply:?}");
    }
}

#[tokio::test]
async fn a_secret_is_observed_with_all_its_versions() {
    let old = "00000000-0000-4000-8000-000000000002";
    let world = world([
        described(&json!({BASE: ["AWSCURRENT", "kf-closed"]})),
        listed(&json!([]), Some("page-2")),
        listed(
            &json!([{"VersionId": BASE, "VersionStages": ["kf-closed", "AWSCURRENT"], "CreatedDate": 1_795_000_000.5}]),
            Some("page-3"),
        ),
        listed(&json!([{"VersionId": old, "CreatedDate": 1_794_000_000}]), None),
    ])
    .await;
    let secret = world.store.observe(&name()).await.unwrap().unwrap();
    assert_eq!(secret.changed, Timestamp::from_millis(1_795_000_100_250));
    assert_eq!((secret.arn.as_str(), secret.obstacle.clone()), (ARN, None));
    assert_eq!((secret.kms_key_id.as_deref(), secret.tags["a"].as_str()), (Some("k"), "b"));
    let versions: Vec<_> = secret.versions.iter().map(|v| (v.id.as_str(), v.labels.clone())).collect();
    assert_eq!(versions, [(old, vec![]), (BASE, vec![Label::Current, Label::Closed])]);
    assert!(Published::of(&secret).is_some() && Unpublished::of(&secret).is_none());
    let bodies: Vec<Value> = world.responder.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies[0], json!({"SecretId": "app/key"}));
    assert_eq!(bodies[1], json!({"SecretId": ARN, "MaxResults": 100, "IncludeDeprecated": true}));
    assert_eq!(bodies[3]["NextToken"], "page-3");
}

#[tokio::test]
async fn a_torn_read_is_read_again_and_then_reported() {
    let version =
        |labels: Value| listed(&json!([{"VersionId": BASE, "VersionStages": labels, "CreatedDate": 1}]), None);
    let current = json!({BASE: ["AWSCURRENT"]});
    let torn = || [described(&current), version(json!(["AWSPENDING"]))];
    let world = world(torn().into_iter().chain([described(&current), version(json!(["AWSCURRENT"]))])).await;
    assert!(world.store.observe(&name()).await.unwrap().is_some());
    assert_eq!(world.store.calls().reads, 4);
    for _ in 0..4 {
        torn().into_iter().for_each(|reply| world.responder.then(reply));
    }
    let fault = world.store.observe(&name()).await.unwrap_err();
    assert_eq!(fault.class, Class::Retry { after: None });
    assert_eq!(world.store.calls().reads, 4 + 8);
}

#[tokio::test]
async fn a_secret_in_somebody_elses_hands_is_no_proof_for_a_write() {
    for (more, expected) in [
        (json!({"DeletedDate": 1_795_000_000}), Obstacle::ScheduledForDeletion(Timestamp::from_seconds(1_795_000_000))),
        (json!({"RotationEnabled": true}), Obstacle::NativeRotation),
        (json!({"Type": "DatadogApiKey", "RotationEnabled": true}), Obstacle::PartnerType("DatadogApiKey".into())),
        (json!({"OwningService": "rds", "RotationEnabled": true}), Obstacle::ManagedBy("rds".into())),
        (json!({"PrimaryRegion": "eu-west-1"}), Obstacle::Replica { primary: "eu-west-1".into() }),
    ] {
        let mut body =
            json!({"ARN": ARN, "Name": "app/key", "CreatedDate": 1, "VersionIdsToStages": {BASE: ["AWSCURRENT"]}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = refuse(400, "InvalidRequestException", "marked for deletion");
        let world = world([ok(body), refused]).await;
        let secret = world.store.observe(&name()).await.unwrap().unwrap();
        assert_eq!(secret.obstacle, Some(expected));
        assert!(Published::of(&secret).is_none() && Unpublished::of(&secret).is_none());
    }
    let own = json!({"ARN": ARN, "Name": "app/key", "CreatedDate": 1, "PrimaryRegion": "us-east-1"});
    let world = world([ok(own), listed(&json!([]), None)]).await;
    let secret = world.store.observe(&name()).await.unwrap().unwrap();
    assert!(Unpublished::of(&secret).is_some() && Published::of(&secret).is_none());
}

#[tokio::test]
async fn the_fleet_is_listed_to_the_last_page_and_compared_exactly() {
    let entry = |name: &str, owner: &str| {
        json!({"ARN": format!("arn:aws:secretsmanager:us-east-1:111122223333:secret:{name}-AbCdEf"), "Name": name,
            "Tags": [{"Key": "keyferry:deployment", "Value": owner}, {"Key": "keyferry:credential", "Value": "c"}],
            "CreatedDate": 5, "SecretVersionsToStages": {BASE: ["AWSCURRENT"], "gone-but-still-listed-by-some-emulator": []}})
    };
    let prod = Deployment::new("prod").unwrap();
    let world = world([
        ok(json!({"SecretList": [entry("one", "prod"), entry("two", "prod-2")], "NextToken": "a"})),
        ok(json!({"SecretList": [], "NextToken": "b"})),
        ok(json!({"SecretList": [entry("three", "prod")]})),
    ])
    .await;
    let fleet = world.store.fleet(&prod).await.unwrap();
    let names: Vec<&str> = fleet.iter().map(|summary| summary.name.as_str()).collect();
    assert_eq!(names, ["one", "three"]);
    assert_eq!(fleet[0].labels, BTreeMap::from([(base(), vec![Label::Current])]));
    let bodies: Vec<Value> = world.responder.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(
        bodies[0],
        json!({"MaxResults": 100, "IncludePlannedDeletion": true, "Filters": [
            {"Key": "tag-key", "Values": ["keyferry:deployment"]}, {"Key": "tag-value", "Values": ["prod"]}]})
    );
    assert_eq!((bodies[1]["NextToken"].as_str(), bodies[2]["NextToken"].as_str()), (Some("a"), Some("b")));
    let same = || ok(json!({"SecretList": [], "NextToken": "same"}));
    [same(), same(), same()].into_iter().for_each(|reply| world.responder.then(reply));
    assert_eq!(world.store.fleet(&prod).await.unwrap_err().answer, "a listing without end");
}

#[tokio::test]
async fn an_answer_that_aws_would_not_give_is_named() {
    let labels = json!({BASE: ["AWSCURRENT"]});
    let version = || json!([{"VersionId": BASE, "VersionStages": ["AWSCURRENT"], "CreatedDate": 1}]);
    let with_arn = |arn: Value| ok(json!({"ARN": arn, "Name": "app/key", "Versions": version()}));
    let fresh = || {
        ok(json!({"ARN": ARN, "Name": "app/key", "VersionIdsToStages": labels, "CreatedDate": 5,
        "Tags": [{"Key": "keyferry:attempt", "Value": "1:nonce:5"}]}))
    };
    let nothing = || ok(json!({"ARN": ARN, "Name": "app/key", "VersionId": BASE}));
    let described_as = |key: &str, value: Value| {
        let mut body = json!({"ARN": ARN, "Name": "app/key", "CreatedDate": 5});
        body[key] = value;
        ok(body)
    };
    for (script, says) in [
        (
            vec![described(&labels), with_arn(json!("app/key"))],
            "the answer of ListSecretVersionIds has no ARN of a secret",
        ),
        (vec![described(&labels), with_arn(Value::Null)], "the answer of ListSecretVersionIds has no ARN of a secret"),
        (vec![described_as("ARN", json!("app/key"))], "the answer of DescribeSecret has no ARN of a secret"),
        (vec![described_as("Name", json!("other"))], "the answer of DescribeSecret has the name of another secret"),
        (vec![described_as("CreatedDate", Value::Null)], "neither a date of change nor of creation"),
        // A secret that was just made, with a version that nobody put there.
        (
            vec![fresh(), listed(&version(), None), nothing(), nothing(), nothing()],
            "the answer of GetSecretValue has a version without a value",
        ),
    ] {
        let world = world(script).await;
        let fault = world.store.observe(&name()).await.unwrap_err();
        assert!(fault.answer.contains(says) && fault.hint.is_some(), "{fault} instead of {says}");
    }
    // An empty token ends a listing, and whoever may not read the fresh version is not told anything.
    let denied = refuse(400, "AccessDeniedException", "");
    let world = world([fresh(), listed(&version(), Some("")), denied]).await;
    assert!(world.store.observe(&name()).await.unwrap().is_some());
    world.responder.then(ok(json!({"SecretList": [], "NextToken": ""})));
    assert_eq!(world.store.fleet(&Deployment::new("prod").unwrap()).await, Ok(Vec::new()));
}

#[tokio::test]
async fn replicas_are_observed() {
    let mut body = json!({"ARN": ARN, "Name": "app/key", "CreatedDate": 5});
    body["ReplicationStatus"] = json!([{"Region": "eu-west-1", "Status": "InSync"}, {"Region": "us-west-2"}]);
    let world = world([ok(body), listed(&json!([]), None)]).await;
    let secret = world.store.observe(&name()).await.unwrap().unwrap();
    assert_eq!((secret.replicas, secret.obstacle), (vec!["eu-west-1".to_owned(), "us-west-2".into()], None));
}

#[tokio::test]
async fn values_are_read_by_version_and_label_only() {
    let slot = attempt().slot_id();
    let value =
        |id: &str, text: &str| ok(json!({"ARN": ARN, "Name": "app/key", "VersionId": id, "SecretString": text}));
    let world = world([value(slot.as_str(), "v1"), value(BASE, "v2")]).await;
    assert_eq!(world.store.pending(&arn(), &slot).await, Ok(SecretValue::new("v1")));
    let body = json!({"SecretId": ARN, "VersionId": slot.as_str(), "VersionStage": "AWSPENDING"});
    assert_eq!(world.responder.last().body, body);
    assert!(world.store.pending(&arn(), &slot).await.is_err(), "the value of another version");

    let claim_id = attempt().claim_id();
    let claim =
        Claim { attempt: attempt(), base: Some(base()), number: 1, cause: Cause::Due, before: vec![], note: None };
    let text = super::super::claim::render(&claim, "r", "f").unwrap();
    world.responder.then(value(claim_id.as_str(), &text));
    assert_eq!(world.store.claim(&arn(), &claim_id, attempt()).await, Ok(claim));
    assert_eq!(world.responder.last().body["VersionStage"], format!("kf-open:{}", attempt()));
    world.responder.then(value(claim_id.as_str(), r#"{"password":"p1"}"#));
    let fault = world.store.claim(&arn(), &claim_id, attempt()).await.unwrap_err();
    assert!(fault.class == Class::Rejected && !format!("{fault:?}").contains("p1"));
}

#[tokio::test]
async fn admin_secrets_are_read_whole_or_by_member() {
    let object = r#"{"token":"t1","n":1}"#;
    for (key, text, expected) in [
        (None, "plain", Ok("plain")),
        (Some("token"), object, Ok("t1")),
        (Some("none"), object, Err(Class::Gone)),
        (Some("n"), object, Err(Class::Rejected)),
        (Some("token"), "plain", Err(Class::Rejected)),
    ] {
        let world = world([ok(json!({"ARN": ARN, "VersionId": BASE, "SecretString": text}))]).await;
        let result = world.store.aws_current_of("app/admin", key).await;
        assert_eq!(world.responder.last().body, json!({"SecretId": "app/admin", "VersionStage": "AWSCURRENT"}));
        match expected {
            Ok(value) => assert_eq!(result, Ok(SecretValue::new(value))),
            Err(class) => {
                let fault = result.unwrap_err();
                assert!(fault.class == class && !format!("{fault:?}").contains("t1"), "{fault}");
            }
        }
    }
}

#[tokio::test]
async fn what_the_sdk_would_panic_on_is_refused_with_a_sentence() {
    for region in ["eu-central-1\n", "eu central-1", "eu-central-1/x", "éu-central-1", ""] {
        let target = Target { region: Some(region.into()), ..target("http://127.0.0.1:1") };
        let fault = Store::connect(&target, Arc::new(Manual::default())).await.err().unwrap();
        assert_eq!(fault.class, Class::Rejected, "{region:?} {fault}");
    }
    for (url, told) in [
        ("http://user:pw@127.0.0.1:1", "name"),
        ("http://127.0.0.1:1/path?query=1", "query"),
        ("http://127.0.0.1:1/#part", "query"),
        ("http://127.0.0.1:1\n", "character"),
        ("https://exämple.com", "character"),
    ] {
        let fault = Store::connect(&target(url), Arc::new(Manual::default())).await.err().unwrap();
        assert!(fault.class == Class::Rejected && fault.answer.contains(told), "{url:?} {fault}");
        assert!(!format!("{fault:?}").contains("pw"), "{fault:?}");
    }
}

#[tokio::test]
async fn another_account_is_refused() {
    let answer = |account: &str| {
        let body = format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::{account}:user/u</Arn><UserId>AIDA</UserId><Account>{account}</Account>\
             </GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
             </GetCallerIdentityResponse>"
        );
        Reply::Answer(200, body, "")
    };
    let world = world([answer("111122223333"), answer("999999999999")]).await;
    assert_eq!(world.store.identity().await.unwrap().account, "111122223333");
    assert!(world.responder.last().body.as_str().unwrap().contains("Action=GetCallerIdentity"));
    let fault = world.store.identity().await.unwrap_err();
    assert!(fault.class == Class::Denied && fault.hint.is_some(), "{fault}");
}
