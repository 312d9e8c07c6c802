//! Filters, order, pages.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Bench, id};

fn bench() -> Bench {
    let mut bench = Bench::new();
    for (name, description, tags) in [
        ("prod/alpha", "Database password", json!([{ "Key": "keyferry:deployment", "Value": "prod" }])),
        ("prod/beta", "API key for billing", json!([{ "Key": "keyferry:deployment", "Value": "prod-west" }])),
        ("Prod/gamma", "", json!([{ "Key": "team", "Value": "billing" }])),
        ("dev/prod", "nothing", Value::Null),
    ] {
        bench.advance(Duration::from_secs(1));
        let body = json!({
            "Name": name, "Description": description, "Tags": tags, "ClientRequestToken": id(1), "SecretString": name,
        });
        bench.ok("CreateSecret", body);
    }
    bench
}

fn names(answer: &Value) -> Vec<&str> {
    answer["SecretList"].as_array().unwrap().iter().map(|entry| entry["Name"].as_str().unwrap()).collect()
}

#[test]
fn filters_match_prefixes_words_and_their_opposites() {
    let mut bench = bench();
    for (filters, expected) in [
        (json!([["name", ["prod"]]]), vec!["prod/alpha", "prod/beta"]),
        (json!([["name", ["Prod"]]]), vec!["Prod/gamma"]),
        (json!([["name", ["!prod"]]]), vec!["Prod/gamma", "dev/prod"]),
        (json!([["name", ["prod", "dev"]]]), vec!["prod/alpha", "prod/beta", "dev/prod"]),
        (json!([["name", ["prod", "!prod/b"]]]), vec!["prod/alpha"]),
        (json!([["tag-key", ["keyferry:dep"]]]), vec!["prod/alpha", "prod/beta"]),
        (json!([["tag-key", ["Keyferry"]]]), vec![]),
        (json!([["tag-value", ["prod-"]]]), vec!["prod/beta"]),
        (json!([["tag-key", ["keyferry"]], ["tag-value", ["prod"]], ["name", ["prod/a"]]]), vec!["prod/alpha"]),
        (json!([["tag-key", ["!keyferry"]]]), vec!["Prod/gamma", "dev/prod"]),
        (json!([["description", ["pass"]]]), vec!["prod/alpha"]),
        (json!([["description", ["KEY billing"]]]), vec!["prod/beta"]),
        (json!([["description", ["assword"]]]), vec![]),
        (json!([["all", ["BILLING"]]]), vec!["prod/beta", "Prod/gamma"]),
        (json!([["primary-region", ["eu"]]]), vec![]),
    ] {
        let shape = |filter: &Value| json!({ "Key": filter[0], "Values": filter[1] });
        let body: Vec<Value> = filters.as_array().unwrap().iter().map(shape).collect();
        let answer = bench.ok("ListSecrets", json!({ "Filters": body }));
        assert_eq!(names(&answer), expected, "{filters}");
    }
}

#[test]
fn filters_have_limits() {
    let mut bench = bench();
    let one = |key: &str, values: Value| json!({ "Key": key, "Values": values });
    let many = |count: usize| json!(vec!["x"; count]);
    for filters in [
        json!([one("owner", json!(["x"]))]),
        json!([one("name", json!([]))]),
        json!([one("name", many(11))]),
        json!([one("name", json!(["a*b"]))]),
        json!([one("name", json!(["x".repeat(513)]))]),
        json!(vec![one("name", json!(["x"])); 11]),
    ] {
        assert_eq!(bench.refused("ListSecrets", json!({ "Filters": filters })), "ValidationException");
    }
    assert_eq!(bench.refused("ListSecrets", json!({ "Filters": [{ "Values": ["x"] }] })), "InvalidParameterException");
    assert_eq!(bench.refused("ListSecrets", json!({ "SortBy": "owner" })), "ValidationException");
}

#[test]
fn pages_follow_the_order_and_their_tokens_fit_no_other_list() {
    let mut bench = bench();
    for (sort, order, expected) in [
        (None, None, ["prod/alpha", "prod/beta", "Prod/gamma", "dev/prod"]),
        (None, Some("desc"), ["dev/prod", "Prod/gamma", "prod/beta", "prod/alpha"]),
        (Some("name"), None, ["Prod/gamma", "dev/prod", "prod/alpha", "prod/beta"]),
    ] {
        for empty_pages in [false, true] {
            bench.state.settings.empty_pages = empty_pages;
            let (mut seen, mut token, mut pages) = (Vec::new(), Value::Null, 0);
            loop {
                let body = json!({ "MaxResults": 3, "NextToken": token, "SortBy": sort, "SortOrder": order });
                let answer = bench.ok("ListSecrets", body);
                seen.extend(names(&answer).into_iter().map(str::to_owned));
                pages += 1;
                token = answer.get("NextToken").cloned().unwrap_or(Value::Null);
                if token.is_null() {
                    break;
                }
                for other in
                    [json!({ "NextToken": token, "IncludePlannedDeletion": true }), json!({ "NextToken": "x" })]
                {
                    assert_eq!(bench.refused("ListSecrets", other), "InvalidNextTokenException");
                }
            }
            assert_eq!(seen, expected);
            assert_eq!(pages, if empty_pages { 3 } else { 2 });
        }
    }
    bench.state.settings.empty_pages = false;
    assert_eq!(bench.ok("ListSecrets", json!({ "MaxResults": 4 })).get("NextToken"), None, "no empty last page");
}

#[test]
fn a_list_shows_what_a_check_without_reads_needs() {
    let mut bench = Bench::with_secret();
    assert_eq!(Bench::new().ok("ListSecrets", json!({})), json!({ "SecretList": [] }));
    bench.put(2, &["AWSPENDING"]);
    let entry = bench.ok("ListSecrets", json!({}))["SecretList"][0].clone();
    assert_eq!(entry["SecretVersionsToStages"], json!({ id(1): ["AWSCURRENT"], id(2): ["AWSPENDING"] }));
    assert_eq!(entry.get("LastAccessedDate"), None);
    bench.ok("GetSecretValue", json!({ "SecretId": "s" }));
    let day = bench.ok("ListSecrets", json!({}))["SecretList"][0]["LastAccessedDate"].as_f64().unwrap();
    assert_eq!(day % 86_400.0, 0.0, "day precision");
}

#[test]
fn a_batch_reads_current_values_by_ids_or_filters() {
    let mut bench = bench();
    for body in [
        json!({}),
        json!({ "SecretIdList": ["dev/prod"], "Filters": [] }),
        json!({ "SecretIdList": ["dev/prod"], "MaxResults": 2 }),
    ] {
        assert_eq!(bench.refused("BatchGetSecretValue", body), "InvalidParameterException");
    }
    for body in [
        json!({ "SecretIdList": vec!["x"; 21] }),
        json!({ "SecretIdList": [] }),
        json!({ "Filters": [], "MaxResults": 21 }),
    ] {
        assert_eq!(bench.refused("BatchGetSecretValue", body), "ValidationException");
    }
    let filters = json!([{ "Key": "name", "Values": ["prod"] }]);
    let first = bench.ok("BatchGetSecretValue", json!({ "Filters": filters, "MaxResults": 1 }));
    let body = json!({ "Filters": filters, "MaxResults": 1, "NextToken": first["NextToken"] });
    let second = bench.ok("BatchGetSecretValue", body);
    assert_eq!(first["SecretValues"][0]["SecretString"], "prod/alpha");
    assert_eq!(second["SecretValues"][0]["SecretString"], "prod/beta");
    assert_eq!(second.get("NextToken"), None);
}

#[test]
fn versions_come_in_pages_too() {
    let mut bench = Bench::with_secret();
    for version in 2..=5 {
        bench.put(version, &[&format!("l{version}")]);
    }
    let first = bench.ok("ListSecretVersionIds", json!({ "SecretId": "s", "MaxResults": 3 }));
    let token = &first["NextToken"];
    let second = bench.ok("ListSecretVersionIds", json!({ "SecretId": "s", "MaxResults": 3, "NextToken": token }));
    assert_eq!((first["Versions"].as_array().unwrap().len(), second["Versions"].as_array().unwrap().len()), (3, 2));
    assert_eq!(second.get("NextToken"), None);
    let body = json!({ "SecretId": "s", "IncludeDeprecated": true, "NextToken": token });
    assert_eq!(bench.refused("ListSecretVersionIds", body), "InvalidNextTokenException");
}
