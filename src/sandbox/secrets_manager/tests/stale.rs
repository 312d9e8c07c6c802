//! Answers from the past.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Bench, id};

#[test]
fn a_stale_read_knows_nothing_of_some_change_of_the_last_five_minutes() {
    let mut bench = Bench::with_secret();
    bench.advance(Duration::from_secs(200));
    bench.put(2, &["AWSPENDING"]);
    bench.advance(Duration::from_secs(200));
    bench.put(3, &["mine"]);

    bench.call.stale = true;
    let seen: Vec<String> = (0..20).map(|_| bench.labels()).collect();
    for labels in ["1:AWSCURRENT", "1:AWSCURRENT 2:AWSPENDING"] {
        assert!(seen.iter().any(|seen| seen == labels), "{labels} in {seen:?}");
    }
    assert!(!seen.iter().any(|seen| seen.contains("3:")), "stale means before some change: {seen:?}");
    let body = json!({ "SecretId": "s", "VersionId": id(3) });
    assert_eq!(bench.refused("GetSecretValue", body.clone()), "ResourceNotFoundException");
    assert!(!bench.ok("ListSecrets", json!({})).to_string().contains(&id(3)));
    assert!(!bench.ok("ListSecretVersionIds", json!({ "SecretId": "s" })).to_string().contains(&id(3)));

    bench.advance(Duration::from_secs(301));
    bench.ok("GetSecretValue", body);
    assert_eq!(bench.labels(), "1:AWSCURRENT 2:AWSPENDING 3:mine", "five minutes later all is known");
}

#[test]
fn a_stale_read_may_miss_a_secret_or_still_see_it() {
    let mut bench = Bench::with_secret();
    bench.call.stale = true;
    assert_eq!(bench.refused("DescribeSecret", json!({ "SecretId": "s" })), "ResourceNotFoundException");
    assert_eq!(bench.ok("ListSecrets", json!({}))["SecretList"], Value::Array(vec![]));

    bench.call.stale = false;
    bench.advance(Duration::from_secs(600));
    bench.ok("DeleteSecret", json!({ "SecretId": "s", "ForceDeleteWithoutRecovery": true }));
    bench.call.stale = true;
    assert_eq!(bench.ok("GetSecretValue", json!({ "SecretId": "s" }))["SecretString"], "one");
}
