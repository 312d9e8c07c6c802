//! Sizes, counts, characters, KMS keys and the deny list.

use serde_json::{Value, json};

use super::super::inspect::Forced;
use super::super::settings::{Deny, KeyState};
use super::{Bench, id};

const VALIDATION: &str = "ValidationException";
const PARAMETER: &str = "InvalidParameterException";

#[test]
fn arguments_have_limits() {
    let put = |field: &str, value: Value| {
        let mut body = json!({ "SecretId": "s", "ClientRequestToken": id(2) });
        body[field] = value;
        ("PutSecretValue", body)
    };
    let create = |field: &str, value: Value| {
        let mut body = json!({ "Name": "n", "ClientRequestToken": id(2), "SecretString": "x" });
        body[field] = value;
        ("CreateSecret", body)
    };
    let tags =
        |count: usize| json!((0..count).map(|n| json!({ "Key": format!("k{n}"), "Value": "" })).collect::<Vec<_>>());
    let tag = |key: &str, value: &str| json!([{ "Key": key, "Value": value }]);
    let text = |length: usize| json!("a".repeat(length));
    let stages = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("l{n}")).collect();
        (
            "PutSecretValue",
            json!({ "SecretId": "s", "ClientRequestToken": id(2), "SecretString": "x", "VersionStages": names }),
        )
    };
    for ((operation, body), expected) in [
        (put("SecretString", text(65_536)), Ok(())),
        (put("SecretString", text(65_537)), Err(VALIDATION)),
        (put("SecretString", json!("")), Err(VALIDATION)),
        (put("SecretString", json!("ä".repeat(32_769))), Err(VALIDATION)),
        (put("SecretString", json!(7)), Err("SerializationException")),
        (put("SecretBinary", json!("not base64!")), Err("SerializationException")),
        (put("Other", json!(1)), Err("InvalidRequestException")),
        (create("Name", text(512)), Ok(())),
        (create("Name", text(513)), Err(VALIDATION)),
        (create("Name", json!("")), Err(VALIDATION)),
        (create("Name", json!("Valid/_+=.@-Name-a1b2c3-")), Ok(())),
        (create("Name", json!("no spaces")), Err(VALIDATION)),
        (create("Name", json!("no!")), Err(VALIDATION)),
        (create("Name", Value::Null), Err(VALIDATION)),
        (create("SecretBinary", json!("eA==")), Err(PARAMETER)),
        (create("Description", text(2_049)), Err(VALIDATION)),
        (create("ClientRequestToken", text(31)), Err(PARAMETER)),
        (create("ClientRequestToken", text(64)), Ok(())),
        (create("ClientRequestToken", text(65)), Err(PARAMETER)),
        (create("Tags", tags(50)), Ok(())),
        (create("Tags", tags(51)), Err(PARAMETER)),
        (create("Tags", tag(&"k".repeat(129), "")), Err(VALIDATION)),
        (create("Tags", tag("k", &"v".repeat(257))), Err(VALIDATION)),
        (create("Tags", tag("aws:x", "")), Err(PARAMETER)),
        (create("KmsKeyId", json!("alias/mine")), Ok(())),
        (create("KmsKeyId", json!("what is this")), Err(PARAMETER)),
        (create("AddReplicaRegions", json!([{ "Region": "us-east-1" }])), Err("InvalidRequestException")),
        (create("Unknown", json!({ "ignored": true })), Ok(())),
        (stages(0), Err(VALIDATION)),
        (stages(19), Ok(())),
        (stages(20), Err("LimitExceededException")),
        (stages(21), Err(VALIDATION)),
        (("DescribeSecret", json!({ "SecretId": text(2_049) })), Err(VALIDATION)),
        (("DescribeSecret", json!({ "SecretId": "a b" })), Err(VALIDATION)),
        (("DescribeSecret", json!({ "SecretId": "nobody" })), Err("ResourceNotFoundException")),
        (("ListSecrets", json!({ "MaxResults": 101 })), Err(VALIDATION)),
        (("ListSecrets", json!({ "MaxResults": 0 })), Err(VALIDATION)),
        (("RotateSecret", json!({ "SecretId": "s" })), Err("InvalidRequestException")),
        (("ReplicateSecretToRegions", json!({ "SecretId": "s" })), Err("InvalidRequestException")),
    ] {
        let mut bench = Bench::with_secret();
        let shown: String = body.to_string().chars().take(90).collect();
        match expected {
            Ok(()) => drop(bench.ok(operation, body)),
            Err(code) => assert_eq!(bench.refused(operation, body), code, "{operation} {shown}"),
        }
    }
}

#[test]
fn a_refusal_never_repeats_a_value() {
    let mut bench = Bench::with_secret();
    for value in [json!("hunter2".repeat(10_000)), json!(["hunter2"])] {
        let body = json!({ "SecretId": "s", "ClientRequestToken": id(2), "SecretString": value });
        let error = bench.call("PutSecretValue", body).unwrap_err();
        assert!(!error.contains("hunter2"), "{}", &error[..100]);
    }
}

#[test]
fn a_key_that_is_not_in_order_stops_writing_and_reading() {
    for (state, write, read) in [
        (KeyState::Enabled, None, None),
        (KeyState::Disabled, Some("EncryptionFailure"), Some("DecryptionFailure")),
        (KeyState::PendingDeletion, Some("EncryptionFailure"), Some("DecryptionFailure")),
        (KeyState::Denied, Some("AccessDeniedException"), Some("AccessDeniedException")),
    ] {
        let mut bench = Bench::new();
        let body = json!({ "Name": "s", "ClientRequestToken": id(1), "SecretString": "x", "KmsKeyId": "alias/mine" });
        bench.ok("CreateSecret", body);
        bench.state.settings.kms.insert("alias/mine".into(), state);
        let put = json!({ "SecretId": "s", "ClientRequestToken": id(2), "SecretString": "y" });
        let code =
            |outcome: Result<Value, String>| outcome.err().map(|text| text.split(':').next().unwrap().to_owned());
        assert_eq!(code(bench.call("PutSecretValue", put)).as_deref(), write, "{state:?}");
        assert_eq!(code(bench.call("GetSecretValue", json!({ "SecretId": "s" }))).as_deref(), read, "{state:?}");
        bench.ok("DescribeSecret", json!({ "SecretId": "s" }));
        bench.ok("UpdateSecretVersionStage", json!({ "SecretId": "s", "VersionStage": "l", "MoveToVersionId": id(1) }));
    }
}

#[test]
fn a_new_key_takes_the_labelled_versions_along() {
    let mut bench = Bench::with_secret();
    bench.put(2, &["mine"]);
    bench.ok("UpdateSecret", json!({ "SecretId": "s", "KmsKeyId": "alias/mine" }));
    let list = bench.ok("ListSecretVersionIds", json!({ "SecretId": "s" }));
    let keys: Vec<&Value> = list["Versions"].as_array().unwrap().iter().map(|entry| &entry["KmsKeyIds"][0]).collect();
    assert_eq!(keys, ["alias/mine", "DefaultEncryptionKey"]);
    bench.ok("UpdateSecret", json!({ "SecretId": "s", "KmsKeyId": "" }));
    assert_eq!(bench.ok("DescribeSecret", json!({ "SecretId": "s" })).get("KmsKeyId"), None);
}

#[test]
fn the_deny_list_speaks_as_iam_does() {
    let mut bench = Bench::with_secret();
    let deny = |action: &str, prefix: &str, key: Option<&str>| Deny {
        action: action.into(),
        secret_prefix: prefix.into(),
        access_key: key.map(str::to_owned),
    };
    for (rule, is_denied) in [
        (deny("secretsmanager:GetSecretValue", "s", None), true),
        (deny("GetSecretValue", "", Some("AKID")), true),
        (deny("*", "s", None), true),
        (deny("GetSecretValue", "", Some("OTHER")), false),
        (deny("GetSecretValue", "t", None), false),
        (deny("DescribeSecret", "", None), false),
    ] {
        bench.state.settings.deny = vec![rule.clone()];
        let outcome = bench.call("GetSecretValue", json!({ "SecretId": "s" }));
        assert_eq!(outcome.is_err(), is_denied, "{rule:?}");
    }
    bench.state.settings.deny = vec![deny("PutSecretValue", "", None)];
    let body = json!({ "SecretId": "s", "ClientRequestToken": id(2), "SecretString": "x" });
    let error = bench.call("PutSecretValue", body).unwrap_err();
    let start = "AccessDeniedException: User: arn:aws:iam::111122223333:user/AKID is not authorized to perform: \
                 secretsmanager:PutSecretValue on resource: arn:aws:secretsmanager:eu-central-1:111122223333:secret:s-";
    assert!(error.starts_with(start), "{error}");
    bench.state.settings.deny = vec![deny("TagResource", "", None)];
    let body = |tags: Value| json!({ "Name": "t", "ClientRequestToken": id(1), "Tags": tags });
    assert_eq!(bench.refused("CreateSecret", body(json!([{ "Key": "a", "Value": "b" }]))), "AccessDeniedException");
    bench.ok("CreateSecret", body(json!([])));
}

#[test]
fn what_others_manage_is_shown_and_not_written() {
    let mut bench = Bench::with_secret();
    let forced = |owner: Option<&str>, region: Option<&str>| Forced {
        region: "eu-central-1".into(),
        name: "s".into(),
        rotation_enabled: Some(true),
        kind: Some("DatadogApiKey".into()),
        owning_service: owner.map(str::to_owned),
        primary_region: region.map(str::to_owned),
        pending_without_value: Some(id(5)),
    };
    bench.state.force(&forced(None, None), bench.call.now);
    let shown = bench.ok("DescribeSecret", json!({ "SecretId": "s" }));
    assert_eq!((&shown["RotationEnabled"], &shown["Type"]), (&json!(true), &json!("DatadogApiKey")));
    assert_eq!(bench.labels(), "1:AWSCURRENT 5:AWSPENDING");
    let pending = json!({ "SecretId": "s", "VersionStage": "AWSPENDING" });
    assert_eq!(bench.refused("GetSecretValue", pending), "ResourceNotFoundException", "an id without a value");
    bench.put(5, &["AWSPENDING"]);
    for forced in [forced(Some("rds"), None), forced(None, Some("us-east-1"))] {
        let mut bench = Bench::with_secret();
        bench.state.force(&forced, bench.call.now);
        let body = json!({ "SecretId": "s", "ClientRequestToken": id(2), "SecretString": "x" });
        assert_eq!(bench.refused("PutSecretValue", body), "InvalidRequestException");
    }
}
