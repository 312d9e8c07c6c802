//! Drafts: that they parse, that `check` names exactly what is left to fill in, and that they are
//! accepted once that is filled in.

use std::collections::BTreeMap;

use super::*;
use crate::config;
use crate::model::name::Arn;

fn existing(name: &str, tags: &[(&str, &str)], obstacle: Option<Obstacle>) -> Existing {
    let arn = format!("arn:aws:secretsmanager:eu-central-1:111122223333:secret:{name}-a1b2c3");
    Existing::Named {
        summary: Summary {
            arn: Arn::new(&arn).unwrap(),
            name: SecretName::new(name).unwrap(),
            labels: BTreeMap::new(),
            tags: tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            changed: Timestamp::default(),
            obstacle,
        },
        created: Some(Timestamp::from_seconds(1_795_000_000)),
        kms_key_id: None,
    }
}

fn drafted(existing: &[Existing]) -> (Draft, String) {
    let declared = SecretName::new("app/declared").unwrap();
    let draft = Draft::of(existing, "app/", &[&declared]);
    let heading =
        Heading { prefix: "app/", account: "111122223333", region: "eu-central-1", endpoint: None, sts_endpoint: None };
    let text = draft.text(&heading);
    assert!(text.lines().all(|line| !line.ends_with(' ') && line.len() < 160), "{text}");
    (draft, text)
}

/// What `check` says of a draft, a line each.
fn problems(text: &str) -> Vec<String> {
    let Err(report) = config::load_text(&[("draft.toml", text)]) else { return Vec::new() };
    let problems = report.to_json()["problems"].as_array().unwrap().clone();
    problems.iter().map(|problem| problem["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn check_names_what_is_left_to_fill_in_and_accepts_the_rest() {
    let keycard = existing("app/keycard/Google MCP".replace(' ', "-").as_str(), &[], None);
    let workos = existing("app/payroll", &[("Issuer", "WorkOS Connect"), ("ManagedBy", "terraform")], None);
    let (draft, text) =
        drafted(&[keycard, workos, existing("app/unknown", &[("a", "keycard"), ("b", "workos")], None)]);
    assert_eq!(
        draft.stanzas.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
        ["keycard-google-mcp", "payroll", "unknown"]
    );
    let said = problems(&text);
    let expected =
        ["`TODO` can't be the name of a deployment", "`zone`", "`application`", "`application`", "no vendor `TODO`"];
    for word in expected {
        assert!(said.iter().any(|line| line.contains(word)), "{word}: {said:#?}\n{text}");
    }
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    let filled = text
        .replacen("deployment = \"TODO\"", "deployment = \"prod\"", 1)
        .replacen("# zone = \"…\"", "zone = \"production\"", 1)
        .replace("# application = \"…\"", "application = \"x\"")
        .replacen("# authkit_domain = \"…\"", "authkit_domain = \"https://a.example.com\"", 1)
        .replace("vendor = \"TODO\"", "vendor = \"workos\"")
        .replace("type = \"TODO\"", "type = \"client-secret\"\napplication = \"y\"");
    assert_eq!(problems(&filled), Vec::<String>::new(), "{filled}");
    let loaded = config::load_text(&[("draft.toml", &filled)]).unwrap();
    let secrets: Vec<&str> = loaded.declaration.credentials.iter().map(|one| one.destination.name.as_str()).collect();
    assert_eq!(secrets, ["app/keycard/Google-MCP", "app/payroll", "app/unknown"]);
    for word in [
        "made 2026-11-18T",
        "keyferry adopt payroll ID",
        "guessed from its name",
        "guessed from its tags",
        "have it let go first.\n[[credential]]\nname = \"payroll\"",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn what_others_manage_is_left_out_with_the_reason() {
    let ours = [(TAG_DEPLOYMENT, "west"), (TAG_CREDENTIAL, "x\n[aws]")];
    let all = [
        existing("app/rds", &[], Some(Obstacle::ManagedBy("rds".into()))),
        existing("app/partner", &[], Some(Obstacle::PartnerType("X".into()))),
        existing("app/rotated", &[], Some(Obstacle::NativeRotation)),
        existing("app/deleted", &[], Some(Obstacle::ScheduledForDeletion(Timestamp::default()))),
        existing("app/replica", &[], Some(Obstacle::Replica { primary: "eu-west-1".into() })),
        existing("app/ours", &ours, None),
        existing("app/trial", &[(TAG_PREFLIGHT, "1")], None),
        existing("app/declared", &[], None),
        Existing::Strange { name: "app/rds!cluster".into() },
        existing("app/free", &[], None),
    ];
    let (draft, text) = drafted(&all);
    assert_eq!((draft.stanzas.len(), draft.left_out.len()), (1, 9));
    for word in
        ["the service `rds`", "partner `X`", "rotates it itself", "for deletion", "a replica", "declared already"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(text.contains("deployment `west`, credential `x\\n[aws]`"), "a tag is never more than a comment: {text}");
    assert_eq!(problems(&text).len(), 2, "{text}");
}

#[test]
fn names_are_valid_and_each_is_there_once() {
    let mut taken = BTreeSet::new();
    let mut name = |secret: &str| free_name(secret, "app/", &mut taken);
    let names = ["app/A B", "app/a-b", "app/", "other", "app/___", "app/=x=", &format!("app/{}", "y".repeat(400))]
        .map(&mut name);
    let plain = ["a-b", "a-b-2", "app", "other", "secret", "x"];
    assert_eq!(names[..6], plain);
    assert!(names.iter().all(|name| Name::new(name).is_ok()));
}
