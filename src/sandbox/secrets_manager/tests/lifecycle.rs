//! Deletion, restoring, names and ARNs, tags, policies, passwords.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Bench, id};

const DAY: u64 = 24 * 60 * 60;

fn create() -> Value {
    json!({ "Name": "s", "ClientRequestToken": id(1), "SecretString": "one" })
}

#[test]
fn a_deletion_is_scheduled_and_can_be_taken_back() {
    for (body, expected) in [
        (json!({}), Ok(30)),
        (json!({ "RecoveryWindowInDays": 7 }), Ok(7)),
        (json!({ "RecoveryWindowInDays": 6 }), Err("InvalidParameterException")),
        (json!({ "RecoveryWindowInDays": 31 }), Err("InvalidParameterException")),
        (json!({ "RecoveryWindowInDays": 7, "ForceDeleteWithoutRecovery": true }), Err("InvalidParameterException")),
    ] {
        let mut bench = Bench::with_secret();
        let mut request = body.clone();
        request["SecretId"] = json!("s");
        match expected {
            Err(code) => assert_eq!(bench.refused("DeleteSecret", request), code, "{body}"),
            Ok(days) => {
                let answer = bench.ok("DeleteSecret", request);
                let seconds = bench.call.now.plus(Duration::from_secs(days * DAY)).seconds();
                assert_eq!(answer["DeletionDate"].as_f64().unwrap() as i64, seconds);
            }
        }
    }
}

#[test]
fn while_scheduled_most_calls_are_refused_and_the_name_stays_taken() {
    let mut bench = Bench::with_secret();
    bench.ok("DeleteSecret", json!({ "SecretId": "s" }));
    let tag = json!([{ "Key": "a", "Value": "b" }]);
    for (operation, body) in [
        ("GetSecretValue", json!({})),
        ("PutSecretValue", json!({ "ClientRequestToken": id(2), "SecretString": "x" })),
        ("UpdateSecret", json!({ "Description": "x" })),
        ("UpdateSecretVersionStage", json!({ "VersionStage": "x", "MoveToVersionId": id(1) })),
        ("TagResource", json!({ "Tags": tag })),
        ("UntagResource", json!({ "TagKeys": ["a"] })),
        ("DeleteSecret", json!({})),
        ("GetResourcePolicy", json!({})),
    ] {
        let mut request = body;
        request["SecretId"] = json!("s");
        let error = bench.call(operation, request).unwrap_err();
        assert!(error.starts_with("InvalidRequestException") && error.contains("marked for deletion"), "{operation}");
    }
    let error = bench.call("CreateSecret", create()).unwrap_err();
    assert!(error.contains("already scheduled for deletion"), "{error}");
    let shown = bench.ok("DescribeSecret", json!({ "SecretId": "s" }));
    assert!(shown["DeletedDate"].is_number());
    bench.ok("ListSecretVersionIds", json!({ "SecretId": "s" }));
    for (planned, count) in [(false, 0), (true, 1)] {
        let list = bench.ok("ListSecrets", json!({ "IncludePlannedDeletion": planned }));
        assert_eq!(list["SecretList"].as_array().unwrap().len(), count);
    }
    let batch = bench.ok("BatchGetSecretValue", json!({ "SecretIdList": ["s", "nobody"] }));
    let codes: Vec<&Value> = batch["Errors"].as_array().unwrap().iter().map(|error| &error["ErrorCode"]).collect();
    assert_eq!(codes, ["InvalidRequestException", "ResourceNotFoundException"]);

    bench.ok("RestoreSecret", json!({ "SecretId": "s" }));
    assert_eq!(bench.ok("GetSecretValue", json!({ "SecretId": "s" }))["SecretString"], "one");
    bench.ok("DeleteSecret", json!({ "SecretId": "s", "RecoveryWindowInDays": 7 }));
    bench.advance(Duration::from_secs(7 * DAY));
    assert_eq!(bench.refused("RestoreSecret", json!({ "SecretId": "s" })), "ResourceNotFoundException");
    bench.ok("CreateSecret", create());
}

#[test]
fn a_forced_deletion_is_at_once_never_an_error_and_blocks_the_name_for_a_while() {
    let mut bench = Bench::with_secret();
    let arn = bench.ok("DescribeSecret", json!({ "SecretId": "s" }))["ARN"].clone();
    let force = json!({ "SecretId": "s", "ForceDeleteWithoutRecovery": true });
    bench.ok("DeleteSecret", json!({ "SecretId": "s" }));
    bench.ok("DeleteSecret", force.clone());
    bench.ok("DeleteSecret", force);
    assert_eq!(bench.refused("DeleteSecret", json!({ "SecretId": "s" })), "ResourceNotFoundException");
    assert_eq!(bench.refused("CreateSecret", create()), "InvalidRequestException");
    bench.advance(Duration::from_secs(5));
    assert_ne!(bench.ok("CreateSecret", create())["ARN"], arn, "a recreated name has another ARN");
}

#[test]
fn a_secret_is_found_by_name_and_arn_and_a_partial_arn_can_mislead() {
    let mut bench = Bench::new();
    for name in ["plain", "ends-a1b2c3"] {
        bench.ok("CreateSecret", json!({ "Name": name, "ClientRequestToken": id(1), "SecretString": name }));
    }
    let arn = |bench: &mut Bench, name: &str| {
        bench.ok("DescribeSecret", json!({ "SecretId": name }))["ARN"].as_str().unwrap().to_owned()
    };
    let (plain, ends) = (arn(&mut bench, "plain"), arn(&mut bench, "ends-a1b2c3"));
    let partial = |arn: &str| arn[..arn.len() - 7].to_owned();
    for (secret_id, expected) in [
        ("plain".to_owned(), Ok("plain")),
        (plain.clone(), Ok("plain")),
        (partial(&plain), Ok("plain")),
        (format!("{}-zzzzzz", partial(&plain)), Err("ResourceNotFoundException")),
        (plain.replace("eu-central-1", "us-east-1"), Err("ResourceNotFoundException")),
        (plain.replace("111122223333", "999999999999"), Err("AccessDeniedException")),
        ("arn:aws:s3:::bucket".to_owned(), Err("ValidationException")),
        ("ends-a1b2c3".to_owned(), Ok("ends-a1b2c3")),
        (ends.clone(), Ok("ends-a1b2c3")),
        (partial(&ends), Err("ResourceNotFoundException")),
    ] {
        let body = json!({ "SecretId": secret_id });
        match expected {
            Ok(value) => assert_eq!(bench.ok("GetSecretValue", body)["SecretString"], value),
            Err(code) => assert_eq!(bench.refused("GetSecretValue", body), code, "{secret_id}"),
        }
    }
    bench.call.region = "us-east-1".into();
    assert_eq!(bench.refused("DescribeSecret", json!({ "SecretId": "plain" })), "ResourceNotFoundException");
}

#[test]
fn arns_come_from_the_seed_alone() {
    let arn = |others: u32| {
        let mut bench = Bench::new();
        for n in 0..others {
            bench.ok("CreateSecret", json!({ "Name": format!("o{n}"), "ClientRequestToken": id(1) }));
        }
        bench.ok("CreateSecret", create())["ARN"].clone()
    };
    assert_eq!(arn(0), arn(3));
}

#[test]
fn tags_merge_and_an_emptied_list_is_not_an_absent_one() {
    let mut bench = Bench::with_secret();
    let tags = |bench: &mut Bench| bench.ok("DescribeSecret", json!({ "SecretId": "s" })).get("Tags").cloned();
    assert_eq!(tags(&mut bench), None);
    bench.ok("UntagResource", json!({ "SecretId": "s", "TagKeys": ["absent"] }));
    assert_eq!(tags(&mut bench), None);
    bench.ok(
        "TagResource",
        json!({ "SecretId": "s", "Tags": [{ "Key": "a", "Value": "1" }, { "Key": "b", "Value": "2" }] }),
    );
    bench.ok(
        "TagResource",
        json!({ "SecretId": "s", "Tags": [{ "Key": "b", "Value": "3" }, { "Key": "B", "Value": "" }] }),
    );
    let expected = json!([
        { "Key": "B", "Value": "" }, { "Key": "a", "Value": "1" }, { "Key": "b", "Value": "3" },
    ]);
    assert_eq!(tags(&mut bench), Some(expected));
    bench.ok("UntagResource", json!({ "SecretId": "s", "TagKeys": ["a", "b", "B"] }));
    assert_eq!(tags(&mut bench), Some(json!([])));
    let many: Vec<Value> = (0..50).map(|n| json!({ "Key": format!("k{n}"), "Value": "" })).collect();
    bench.ok("TagResource", json!({ "SecretId": "s", "Tags": many }));
    let one_more = json!({ "SecretId": "s", "Tags": [{ "Key": "one more", "Value": "" }] });
    assert_eq!(bench.refused("TagResource", one_more), "InvalidParameterException");
}

#[test]
fn a_policy_is_checked_for_its_form() {
    let statement = |principal: Value| json!({ "Effect": "Allow", "Principal": principal, "Action": "secretsmanager:GetSecretValue", "Resource": "*" });
    let policy = |statement: Value| json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
    let account = policy(statement(json!({ "AWS": "arn:aws:iam::111122223333:root" })));
    let public = policy(statement(json!("*")));
    let mut bench = Bench::with_secret();
    for (text, block, expected) in [
        (account.as_str(), true, Ok(())),
        (public.as_str(), false, Ok(())),
        (public.as_str(), true, Err("PublicPolicyException")),
        ("{}", false, Err("MalformedPolicyDocumentException")),
        ("no json", false, Err("MalformedPolicyDocumentException")),
        (r#"{"Statement":[]}"#, false, Err("MalformedPolicyDocumentException")),
        (r#"{"Statement":{"Effect":"Maybe"}}"#, false, Err("MalformedPolicyDocumentException")),
        ("", false, Err("ValidationException")),
    ] {
        let body = json!({ "SecretId": "s", "ResourcePolicy": text, "BlockPublicPolicy": block });
        match expected {
            Ok(()) => {
                bench.ok("PutResourcePolicy", body);
                assert_eq!(bench.ok("GetResourcePolicy", json!({ "SecretId": "s" }))["ResourcePolicy"], text);
            }
            Err(code) => assert_eq!(bench.refused("PutResourcePolicy", body), code, "{text}"),
        }
    }
    for (text, passes) in [(account, true), (public, false)] {
        let answer = bench.ok("ValidateResourcePolicy", json!({ "ResourcePolicy": text }));
        assert_eq!(answer["PolicyValidationPassed"], passes);
    }
    bench.ok("DeleteResourcePolicy", json!({ "SecretId": "s" }));
    assert_eq!(bench.ok("GetResourcePolicy", json!({ "SecretId": "s" })).get("ResourcePolicy"), None);
}

#[test]
fn a_password_has_the_length_and_kinds_asked_for() {
    let mut bench = Bench::new();
    let mut password = |body: Value| bench.ok("GetRandomPassword", body)["RandomPassword"].as_str().unwrap().to_owned();
    assert_eq!(password(json!({})).len(), 32);
    let each = password(json!({ "PasswordLength": 4 }));
    for kind in [char::is_lowercase, char::is_uppercase, char::is_numeric] {
        assert_eq!(each.chars().filter(|c| kind(*c)).count(), 1, "{each}");
    }
    let digits = password(json!({
        "PasswordLength": 50, "ExcludeLowercase": true, "ExcludeUppercase": true, "ExcludePunctuation": true,
        "ExcludeCharacters": "01234",
    }));
    assert!(digits.chars().all(|c| ('5'..='9').contains(&c)), "{digits}");
    assert_eq!(bench.refused("GetRandomPassword", json!({ "PasswordLength": 3 })), "InvalidParameterException");
    assert_eq!(bench.refused("GetRandomPassword", json!({ "PasswordLength": 4097 })), "ValidationException");
}
