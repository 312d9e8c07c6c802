//! Versions, tokens and labels.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Bench, id};

fn moved(stage: &str, from: Option<u32>, to: Option<u32>) -> Value {
    let mut body = json!({ "SecretId": "s", "VersionStage": stage });
    from.into_iter().for_each(|version| body["RemoveFromVersionId"] = json!(id(version)));
    to.into_iter().for_each(|version| body["MoveToVersionId"] = json!(id(version)));
    body
}

#[test]
fn a_put_takes_exactly_the_labels_it_asks_for() {
    for (stages, labels) in [
        (&[][..], "1:AWSPREVIOUS 2:AWSCURRENT"),
        (&["AWSPENDING"], "1:AWSCURRENT 2:AWSPENDING"),
        (&["AWSPENDING", "mine"], "1:AWSCURRENT 2:AWSPENDING+mine"),
        (&["AWSCURRENT", "mine"], "1:AWSPREVIOUS 2:AWSCURRENT+mine"),
        (&["mine"], "1:AWSCURRENT 2:mine"),
    ] {
        let mut bench = Bench::with_secret();
        let answer = bench.put(2, stages);
        assert_eq!(bench.labels(), labels);
        assert_eq!(answer["VersionId"], json!(id(2)));
    }
}

#[test]
fn the_first_version_becomes_current_whatever_stages_it_asks_for() {
    let mut bench = Bench::new();
    let created = bench.ok("CreateSecret", json!({ "Name": "s", "ClientRequestToken": id(9) }));
    assert_eq!(created.get("VersionId"), None);
    let error = bench.call("GetSecretValue", json!({ "SecretId": "s" })).unwrap_err();
    assert!(error.ends_with("for staging label: AWSCURRENT"), "{error}");
    assert_eq!(bench.ok("DescribeSecret", json!({ "SecretId": "s" })).get("VersionIdsToStages"), None);
    bench.put(1, &["AWSPENDING"]);
    assert_eq!(bench.labels(), "1:AWSCURRENT+AWSPENDING");
}

#[test]
fn previous_follows_current_and_pending_and_own_labels_stay() {
    let mut bench = Bench::with_secret();
    bench.put(2, &["AWSPENDING", "mine"]);
    bench.ok("UpdateSecretVersionStage", moved("AWSCURRENT", Some(1), Some(2)));
    assert_eq!(bench.labels(), "1:AWSPREVIOUS 2:AWSCURRENT+AWSPENDING+mine");
    let current = bench.ok("GetSecretValue", json!({ "SecretId": "s" }));
    assert_eq!((&current["SecretString"], &current["VersionId"]), (&json!("value 2"), &json!(id(2))));
    let batch = bench.ok("BatchGetSecretValue", json!({ "SecretIdList": ["s"] }));
    assert_eq!(batch["SecretValues"][0]["SecretString"], "value 2");

    bench.put(3, &["AWSPENDING"]);
    assert_eq!(bench.labels(), "1:AWSPREVIOUS 2:AWSCURRENT+mine 3:AWSPENDING");
    bench.put(4, &[]);
    assert_eq!(bench.labels(), "2:AWSPREVIOUS+mine 3:AWSPENDING 4:AWSCURRENT", "one current, one previous");
    bench.ok("UpdateSecretVersionStage", moved("AWSCURRENT", Some(4), Some(2)));
    assert_eq!(bench.labels(), "2:AWSCURRENT+mine 3:AWSPENDING 4:AWSPREVIOUS", "back again");
}

#[test]
fn a_held_label_moves_only_for_a_caller_who_names_its_holder() {
    const LOST: &str = "InvalidParameterException";
    for (stage, from, to, expected) in [
        ("AWSCURRENT", Some(1), Some(2), Ok("1:AWSPREVIOUS 2:AWSCURRENT+AWSPENDING")),
        ("AWSCURRENT", None, Some(2), Err(LOST)),
        ("AWSCURRENT", Some(2), Some(2), Err(LOST)),
        ("AWSCURRENT", Some(7), Some(2), Err(LOST)),
        ("AWSCURRENT", Some(1), None, Err(LOST)),
        ("AWSCURRENT", Some(1), Some(7), Err("ResourceNotFoundException")),
        ("AWSCURRENT", None, None, Err(LOST)),
        ("AWSCURRENT", None, Some(1), Ok("1:AWSCURRENT 2:AWSPENDING")),
        ("AWSPENDING", Some(2), None, Ok("1:AWSCURRENT")),
        ("AWSPENDING", Some(1), None, Err(LOST)),
        ("AWSPENDING", None, Some(1), Err(LOST)),
        ("new", None, Some(1), Ok("1:AWSCURRENT+new 2:AWSPENDING")),
        ("new", Some(2), Some(1), Err(LOST)),
        ("new", Some(2), None, Err(LOST)),
    ] {
        let mut bench = Bench::with_secret();
        bench.put(2, &["AWSPENDING"]);
        let body = moved(stage, from, to);
        match expected {
            Ok(labels) => {
                bench.ok("UpdateSecretVersionStage", body.clone());
                assert_eq!(bench.labels(), labels, "{body}");
            }
            Err(code) => assert_eq!(bench.refused("UpdateSecretVersionStage", body.clone()), code, "{body}"),
        }
    }
    let mut bench = Bench::with_secret();
    let error = bench.call("UpdateSecretVersionStage", moved("AWSCURRENT", Some(1), None)).unwrap_err();
    assert!(error.contains("It can't be completely removed."), "{error}");
}

#[test]
fn a_token_is_good_for_one_value_and_repeating_it_changes_nothing() {
    let put = |value: &str, stages: &[&str]| json!({ "SecretId": "s", "ClientRequestToken": id(2), "SecretString": value, "VersionStages": stages });
    let mut bench = Bench::with_secret();
    bench.ok("PutSecretValue", put("two", &["AWSPENDING"]));
    bench.ok("PutSecretValue", put("two", &["AWSCURRENT", "other"]));
    assert_eq!(bench.labels(), "1:AWSCURRENT 2:AWSPENDING", "the labels were not applied again");
    assert_eq!(bench.refused("PutSecretValue", put("three", &["AWSPENDING"])), "ResourceExistsException");
    let binary = json!({ "SecretId": "s", "ClientRequestToken": id(2), "SecretBinary": "dHdv" });
    assert_eq!(bench.refused("PutSecretValue", binary), "ResourceExistsException", "other kind, same bytes");
    assert_eq!(
        bench.refused("UpdateSecret", json!({ "SecretId": "s", "ClientRequestToken": id(2), "SecretString": "two" })),
        "ResourceExistsException"
    );

    let create =
        |value: &str, token: u32| json!({ "Name": "s", "ClientRequestToken": id(token), "SecretString": value });
    let arn = bench.ok("DescribeSecret", json!({ "SecretId": "s" }))["ARN"].clone();
    assert_eq!(bench.ok("CreateSecret", create("one", 1))["ARN"], arn);
    assert_eq!(bench.refused("CreateSecret", create("two", 1)), "ResourceExistsException");
    assert_eq!(bench.refused("CreateSecret", create("one", 3)), "ResourceExistsException");
    for (operation, name) in [("CreateSecret", "Name"), ("PutSecretValue", "SecretId"), ("UpdateSecret", "SecretId")] {
        let body = json!({ name: "s", "SecretString": "x" });
        assert_eq!(bench.refused(operation, body), "InvalidRequestException", "{operation} without a token");
    }
}

#[test]
fn update_secret_with_a_value_publishes_it() {
    let mut bench = Bench::with_secret();
    let body = json!({ "SecretId": "s", "ClientRequestToken": id(2), "SecretString": "two", "Description": "d" });
    assert_eq!(bench.ok("UpdateSecret", body)["VersionId"], json!(id(2)));
    assert_eq!(bench.labels(), "1:AWSPREVIOUS 2:AWSCURRENT");
    assert_eq!(bench.ok("UpdateSecret", json!({ "SecretId": "s", "Description": "e" })).get("VersionId"), None);
}

#[test]
fn a_version_without_labels_is_out_of_sight_but_readable() {
    let mut bench = Bench::with_secret();
    bench.put(2, &["mine"]);
    bench.put(3, &["mine"]);
    assert_eq!(bench.labels(), "1:AWSCURRENT 3:mine");
    let mut count = |body: Value| bench.ok("ListSecretVersionIds", body)["Versions"].as_array().unwrap().len();
    assert_eq!(count(json!({ "SecretId": "s" })), 2);
    assert_eq!(count(json!({ "SecretId": "s", "IncludeDeprecated": true })), 3);
    let read = bench.ok("GetSecretValue", json!({ "SecretId": "s", "VersionId": id(2) }));
    assert_eq!(read["SecretString"], "value 2");
    assert_eq!(read.get("VersionStages"), None);
}

#[test]
fn both_selectors_must_mean_the_same_version() {
    let mut bench = Bench::with_secret();
    bench.put(2, &["AWSPENDING"]);
    for (version, stage, expected) in [
        (Some(2), Some("AWSPENDING"), Ok("value 2")),
        (Some(2), None, Ok("value 2")),
        (None, Some("AWSPENDING"), Ok("value 2")),
        (None, None, Ok("one")),
        (Some(2), Some("AWSCURRENT"), Err("InvalidRequestException")),
        (Some(7), None, Err("ResourceNotFoundException")),
        (None, Some("nobody"), Err("ResourceNotFoundException")),
    ] {
        let body = json!({ "SecretId": "s", "VersionId": version.map(id), "VersionStage": stage });
        match expected {
            Ok(value) => assert_eq!(bench.ok("GetSecretValue", body)["SecretString"], value),
            Err(code) => assert_eq!(bench.refused("GetSecretValue", body), code),
        }
    }
}

#[test]
fn unlabelled_versions_are_pruned_past_a_hundred_but_not_on_their_first_day() {
    let mut bench = Bench::with_secret();
    for version in 2..=150 {
        bench.put(version, &["mine"]);
    }
    let one_more = json!({ "SecretId": "s", "ClientRequestToken": id(151), "SecretString": "x" });
    assert_eq!(bench.refused("PutSecretValue", one_more.clone()), "LimitExceededException");
    bench.advance(Duration::from_secs(25 * 60 * 60));
    bench.ok("PutSecretValue", one_more);
    let all = json!({ "SecretId": "s", "IncludeDeprecated": true, "MaxResults": 100 });
    let page = bench.ok("ListSecretVersionIds", all);
    assert_eq!(page["Versions"].as_array().unwrap().len(), 100);
    assert_eq!(page.get("NextToken"), None);
    assert_eq!(bench.labels(), "1:AWSPREVIOUS 150:mine 151:AWSCURRENT", "labelled ones stay, however old");
}

#[test]
fn last_changed_moves_with_labels_and_tags_only_if_told_so() {
    for (labels_move_it, expected) in [(true, [true, true, true, false]), (false, [true, false, false, false])] {
        let mut bench = Bench::with_secret();
        bench.state.settings.labels_move_last_changed = labels_move_it;
        let mut changed = |operation: &str, body: Value| {
            let before = bench.ok("DescribeSecret", json!({ "SecretId": "s" }))["LastChangedDate"].clone();
            bench.advance(Duration::from_secs(60));
            bench.ok(operation, body);
            bench.ok("DescribeSecret", json!({ "SecretId": "s" }))["LastChangedDate"] != before
        };
        let seen = [
            changed("PutSecretValue", json!({ "SecretId": "s", "ClientRequestToken": id(2), "SecretString": "x" })),
            changed("UpdateSecretVersionStage", moved("AWSCURRENT", Some(2), Some(1))),
            changed("TagResource", json!({ "SecretId": "s", "Tags": [{ "Key": "a", "Value": "b" }] })),
            changed("GetSecretValue", json!({ "SecretId": "s" })),
        ];
        assert_eq!(seen, expected);
    }
}
