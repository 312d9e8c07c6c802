//! `iam`: the smallest IAM policy for what this declaration names, per target, as JSON to be pasted.
//! Offline: what only AWS knows (an account or a Region that is not declared) stays a `*`.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::report::{Printer, Wrong};
use crate::cli::{Source, code};
use crate::config::{self, Declaration, Discovery};
use crate::model::capability::Marking;
use crate::model::credential::Credential;
use crate::model::name::{Name, TargetName};
use crate::model::option::Reference;
use crate::model::policy::Wanted;
use crate::model::source;
use crate::stores::aws::Target;

/// Characters, blanks apart, that AWS takes in one managed policy (IAM quotas).
const POLICY_CHAR_COUNT_MAX: usize = 6_144;

/// What the policy is to allow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
enum Purpose {
    /// The daemon, `once` and `rotate`. Reads AWSCURRENT only of what feeds others, or is kept in one
    /// record at the vendor.
    Rotate,
    /// `status`, `explain` and `history`.
    Status,
    /// `pause`, `resume` and `confirm`.
    Steer,
    /// `verify`: reads AWSCURRENT.
    Verify,
    /// `rollback`: reads AWSPREVIOUS.
    Rollback,
    /// `adopt` and `init`: reads AWSCURRENT of secrets that are there already, for one login each.
    Adopt,
}

/// Options of `iam`.
#[derive(clap::Args)]
pub struct Arguments {
    /// What it is to allow; several with commas.
    #[arg(long = "for", value_name = "VERB", value_enum, value_delimiter = ',', default_value = "rotate")]
    purposes: Vec<Purpose>,
    /// For this target; needed when several are declared.
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
}

/// Prints the policy.
pub fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let loaded = config::load(&source.config)?;
    let declaration = &loaded.declaration;
    let names: Vec<String> = declaration.targets.keys().map(|name| format!("`{name}`")).collect();
    let chosen = match &arguments.target {
        Some(name) => declaration.targets.iter().find(|(target, _)| target.as_str() == name),
        None if declaration.targets.len() == 1 => declaration.targets.iter().next(),
        None => {
            return Err(Wrong::new("several targets are declared, and a policy is for one account")
                .with_hint(format!("say which, with --target: {}", names.join(", ")))
                .into());
        }
    };
    let Some((name, target)) = chosen else {
        return Err(Wrong::new("no such target is declared")
            .with_hint(format!("declared targets: {}", names.join(", ")))
            .into());
    };
    let purposes: BTreeSet<Purpose> = arguments.purposes.iter().copied().collect();
    let policy = policy(declaration, name, target, &purposes);
    let length = policy.to_string().chars().filter(|c| !c.is_whitespace()).count();
    if length > POLICY_CHAR_COUNT_MAX {
        tracing::warn!(
            "the policy has {length} characters, and AWS takes {POLICY_CHAR_COUNT_MAX} in one managed policy: split \
             it, or put a common beginning of the names and a `*` in their place"
        );
    }
    printer.json(&policy);
    Ok(code::FINE)
}

fn policy(declaration: &Declaration, name: &TargetName, target: &Target, purposes: &BTreeSet<Purpose>) -> Value {
    let has = |purpose| purposes.contains(&purpose);
    let credentials: Vec<&Credential> =
        declaration.credentials.iter().map(AsRef::as_ref).filter(|one| one.destination.target == *name).collect();
    let arns: BTreeSet<String> =
        credentials.iter().map(|one| secret_arn(target, one.destination.name.as_str())).collect();
    let mut statements = Vec::new();
    let lists = has(Purpose::Rotate) || has(Purpose::Status) || has(Purpose::Adopt);
    if declaration.discovery == Discovery::List && lists {
        statements.push(json!({
            "Sid": "Fleet", "Effect": "Allow", "Action": ["secretsmanager:ListSecrets"], "Resource": ["*"],
        }));
    }
    let mut actions: BTreeSet<&str> = BTreeSet::from(["DescribeSecret", "ListSecretVersionIds"]);
    if has(Purpose::Rotate) {
        actions.extend(["PutSecretValue", "TagResource", "UntagResource", "UpdateSecretVersionStage"]);
    }
    if has(Purpose::Steer) {
        actions.extend(["TagResource", "UntagResource"]);
    }
    if has(Purpose::Adopt) {
        actions.extend(["TagResource", "UpdateSecretVersionStage"]);
    }
    if has(Purpose::Rollback) {
        actions.insert("UpdateSecretVersionStage");
    }
    statements.push(statement("Secrets", &actions, &arns));
    let made: BTreeSet<String> = credentials
        .iter()
        .filter(|one| one.policy.create_secret)
        .map(|one| secret_arn(target, one.destination.name.as_str()))
        .collect();
    if has(Purpose::Rotate) && !made.is_empty() {
        statements.push(statement("Create", &BTreeSet::from(["CreateSecret"]), &made));
    }
    let mut stages: BTreeSet<&str> = BTreeSet::new();
    // The claims of open attempts say why they were made; nothing in them is secret.
    let claims = lists || has(Purpose::Rollback);
    stages.extend(claims.then_some("kf-open:*"));
    stages.extend(has(Purpose::Rotate).then_some("AWSPENDING"));
    stages.extend((has(Purpose::Verify) || has(Purpose::Adopt)).then_some("AWSCURRENT"));
    stages.extend(has(Purpose::Rollback).then_some("AWSPREVIOUS"));
    if !stages.is_empty() {
        let mut read = statement("Values", &BTreeSet::from(["GetSecretValue"]), &arns);
        read["Condition"] = json!({ "StringLike": { "secretsmanager:VersionStage": stages } });
        statements.push(read);
    }
    let fed = fed_or_kept(declaration, name, target);
    if has(Purpose::Rotate) && !fed.is_empty() {
        let mut read = statement("PublishedValues", &BTreeSet::from(["GetSecretValue"]), &fed);
        read["Condition"] = json!({ "StringEquals": { "secretsmanager:VersionStage": "AWSCURRENT" } });
        statements.push(read);
    }
    let retired: BTreeSet<String> = credentials
        .iter()
        .filter(|one| one.policy.wanted == Wanted::Retired && one.policy.create_secret)
        .map(|one| secret_arn(target, one.destination.name.as_str()))
        .collect();
    if has(Purpose::Rotate) && !retired.is_empty() {
        statements.push(statement("Retired", &BTreeSet::from(["DeleteSecret"]), &retired));
    }
    let admin = admin_secrets(declaration, name, target);
    if (has(Purpose::Rotate) || has(Purpose::Adopt)) && !admin.is_empty() {
        let mut read = statement("AdminSecrets", &BTreeSet::from(["GetSecretValue"]), &admin);
        read["Condition"] = json!({ "StringEquals": { "secretsmanager:VersionStage": "AWSCURRENT" } });
        statements.push(read);
    }
    statements.extend(keys(&credentials, target, has(Purpose::Rotate)));
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn statement(sid: &str, actions: &BTreeSet<&str>, resources: &BTreeSet<String>) -> Value {
    let actions: Vec<String> = actions.iter().map(|action| format!("secretsmanager:{action}")).collect();
    json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources })
}

fn partition(target: &Target) -> &'static str {
    match target.region.as_deref() {
        Some(region) if region.starts_with("cn-") => "aws-cn",
        Some(region) if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

fn arn(target: &Target, service: &str, rest: &str) -> String {
    let (region, account) = (target.region.as_deref().unwrap_or("*"), target.account.as_deref().unwrap_or("*"));
    format!("arn:{}:{service}:{region}:{account}:{rest}", partition(target))
}

/// AWS ends the ARN of a secret with a hyphen and six random characters.
fn secret_arn(target: &Target, name: &str) -> String {
    arn(target, "secretsmanager", &format!("secret:{name}-??????"))
}

/// Secrets of this target whose AWSCURRENT keyferry reads: what feeds another credential, and what is
/// kept in one record at the vendor, which is compared with its sources and set again when it differs.
fn fed_or_kept(declaration: &Declaration, name: &TargetName, target: &Target) -> BTreeSet<String> {
    let pieces = declaration.credentials.iter().flat_map(|one| one.options.pieces());
    let feeds: BTreeSet<&Name> = pieces
        .filter_map(|piece| match &piece.source {
            source::Source::Credential { name, .. } => Some(name),
            source::Source::Generate(_) | source::Source::Read(_) => None,
        })
        .collect();
    let read = declaration.credentials.iter().filter(|one| {
        let kept = one.policy.capabilities.marking == Marking::InPlace;
        one.destination.target == *name && (kept || feeds.contains(&one.name))
    });
    read.map(|one| secret_arn(target, one.destination.name.as_str())).collect()
}

/// AWS secrets of this target that hold vendors' admin secrets, or values for credentials.
fn admin_secrets(declaration: &Declaration, name: &TargetName, target: &Target) -> BTreeSet<String> {
    let first = declaration.targets.keys().next();
    let references = declaration.vendors.values().flat_map(|vendor| vendor.options.references());
    let references = references.map(|(_, reference)| reference);
    let values = declaration.credentials.iter().flat_map(|one| one.options.pieces());
    let values = values.filter_map(|piece| match &piece.source {
        source::Source::Read(reference) => Some(reference),
        source::Source::Generate(_) | source::Source::Credential { .. } => None,
    });
    let here = |reference: &Reference| match reference {
        Reference::AwsSecret { target: named, name: secret, .. } if named.as_ref().or(first) == Some(name) => {
            Some(secret_arn(target, secret.as_str()))
        }
        _ => None,
    };
    references.chain(values).filter_map(here).collect()
}

/// Customer-managed keys. The account's default key needs no statement.
fn keys(credentials: &[&Credential], target: &Target, writes: bool) -> Vec<Value> {
    let mut actions = vec!["kms:Decrypt"];
    if writes {
        actions.push("kms:GenerateDataKey");
    }
    let mut by_arn: BTreeSet<String> = BTreeSet::new();
    let mut by_alias: BTreeSet<&str> = BTreeSet::new();
    for key in credentials.iter().filter_map(|one| one.destination.kms_key_id.as_deref()) {
        let alias = key.split(':').next_back().filter(|last| last.starts_with("alias/"));
        match alias {
            Some(alias) => drop(by_alias.insert(alias)),
            None if key.starts_with("arn:") => drop(by_arn.insert(key.to_owned())),
            None => drop(by_arn.insert(arn(target, "kms", &format!("key/{key}")))),
        }
    }
    let via = format!("secretsmanager.{}.amazonaws.com", target.region.as_deref().unwrap_or("*"));
    let mut statements = Vec::new();
    if !by_arn.is_empty() {
        statements.push(json!({
            "Sid": "Keys", "Effect": "Allow", "Action": actions, "Resource": by_arn,
            "Condition": { "StringLike": { "kms:ViaService": via } },
        }));
    }
    if !by_alias.is_empty() {
        // A policy can't name a key by its alias, but can ask for one.
        statements.push(json!({
            "Sid": "KeysByAlias", "Effect": "Allow", "Action": actions, "Resource": [arn(target, "kms", "key/*")],
            "Condition": {
                "StringLike": { "kms:ViaService": via },
                "ForAnyValue:StringEquals": BTreeMap::from([("kms:ResourceAliases", by_alias)]),
            },
        }));
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(declared: &str, purposes: &[Purpose]) -> String {
        let loaded =
            config::load_text(&[("test.toml", declared)]).unwrap_or_else(|report| panic!("{}", report.render(false)));
        let (name, target) = loaded.declaration.targets.iter().next().unwrap();
        policy(&loaded.declaration, name, target, &purposes.iter().copied().collect()).to_string()
    }

    #[test]
    fn a_policy_allows_what_its_verbs_do_and_names_what_is_declared() {
        const DECLARED: &str = r#"
            deployment = "test"
            [aws]
            region = "eu-central-1"
            account = "111122223333"
            [vendors.keycard]
            kind = "keycard"
            zone = "production"
            client_id = { env = "A" }
            client_secret = { aws_secret = { name = "admin/keycard", key = "secret" } }
            [defaults]
            rotate = "30d"
            [defaults.secret]
            kms_key_id = "alias/keyferry"
            [[credential]]
            name = "app"
            vendor = "keycard"
            type = "password"
            application = "app"
        "#;
        let rotate = printed(DECLARED, &[Purpose::Rotate]);
        for word in [
            "arn:aws:secretsmanager:eu-central-1:111122223333:secret:test/keycard/app-??????",
            "secret:admin/keycard-??????",
            "secretsmanager:ListSecrets",
            "secretsmanager:CreateSecret",
            r#"["AWSPENDING","kf-open:*"]"#,
            r#""kms:ResourceAliases":["alias/keyferry"]"#,
            "kms:GenerateDataKey",
        ] {
            assert!(rotate.contains(word), "{word}: {rotate}");
        }
        assert!(!rotate.contains("PublishedValues") && !rotate.contains("DeleteSecret"), "{rotate}");
        let status = printed(DECLARED, &[Purpose::Status]);
        for word in ["Put", "Tag", "Create", "UpdateSecret", "AWSCURRENT", "AWSPENDING", "GenerateDataKey", "admin"] {
            assert!(!status.contains(word), "{word}: {status}");
        }
        let both = printed(DECLARED, &[Purpose::Verify, Purpose::Rollback]);
        assert!(both.contains(r#"["AWSCURRENT","AWSPREVIOUS","kf-open:*"]"#), "{both}");
        assert!(both.contains("UpdateSecretVersionStage") && !both.contains("PutSecretValue"), "{both}");
        let adopt = printed(DECLARED, &[Purpose::Adopt]);
        for word in [
            "secretsmanager:ListSecrets",
            "UpdateSecretVersionStage",
            "TagResource",
            r#"["AWSCURRENT","kf-open:*"]"#,
            "secret:admin/keycard-??????",
            "kms:Decrypt",
        ] {
            assert!(adopt.contains(word), "{word}: {adopt}");
        }
        for word in ["PutSecretValue", "CreateSecret", "UntagResource", "AWSPENDING", "GenerateDataKey", "DeleteSecret"]
        {
            assert!(!adopt.contains(word), "{word}: {adopt}");
        }
        assert!(!rotate.contains(r#"["AWSCURRENT"#), "rotating does not read what consumers read: {rotate}");
        let declared = format!(
            "discovery = \"declared\"\n{}",
            DECLARED.replace("alias/keyferry", "1234abcd-12ab-34cd-56ef-1234567890ab")
        );
        let declared = printed(&declared.replace("account = \"111122223333\"", ""), &[Purpose::Rotate]);
        assert!(
            declared.contains("arn:aws:kms:eu-central-1:*:key/1234abcd") && !declared.contains("ListSecrets"),
            "{declared}"
        );
    }

    #[test]
    fn published_values_are_read_and_secrets_deleted_only_where_it_is_declared() {
        const DECLARED: &str = r#"
            deployment = "test"
            [aws]
            region = "eu-central-1"
            [vendors.keycard]
            kind = "keycard"
            zone = "production"
            client_id = { env = "A" }
            client_secret = { env = "B" }
            [vendors.chatbotkit]
            kind = "chatbotkit"
            token = { env = "C" }
            [defaults.secret]
            name = "{name}"
            [[credential]]
            name = "feeds"
            vendor = "keycard"
            type = "password"
            application = "app"
            rotate = "30d"
            [[credential]]
            name = "alone"
            vendor = "keycard"
            type = "password"
            application = "alone"
            rotate = "30d"
            state = "retired"
            [[credential]]
            name = "fed"
            vendor = "chatbotkit"
            type = "secret"
            alias = "fed"
            value = { credential = "feeds", output = "client_secret" }
            rotate = "manual"
            [[credential]]
            name = "read"
            vendor = "chatbotkit"
            type = "secret"
            alias = "read"
            rotate = "30d"
            value = { aws_secret = { name = "by-hand" } }
        "#;
        let resources = |sid: &str, purpose| {
            let policy: Value = serde_json::from_str(&printed(DECLARED, &[purpose])).unwrap();
            let all = policy["Statement"].as_array().unwrap().clone();
            let one = all.iter().find(|one| one["Sid"] == sid)?;
            let secrets = one["Resource"].as_array()?.iter().filter_map(Value::as_str);
            Some(
                secrets
                    .map(|arn| arn.rsplit(':').next().unwrap_or_default().replace("-??????", ""))
                    .collect::<Vec<_>>(),
            )
        };
        let rows = [
            ("PublishedValues", Some(vec!["fed", "feeds", "read"])),
            ("AdminSecrets", Some(vec!["by-hand"])),
            ("Retired", Some(vec!["alone"])),
        ];
        for (sid, expected) in rows {
            let expected = expected.map(|names| names.into_iter().map(String::from).collect::<Vec<_>>());
            assert_eq!(resources(sid, Purpose::Rotate), expected, "{sid}");
            assert_eq!(resources(sid, Purpose::Status), None, "{sid}");
        }
    }
}
