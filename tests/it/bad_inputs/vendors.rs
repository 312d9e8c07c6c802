//! What is wrong at a vendor, or with what is declared of one: what a person sees of `app`, and with
//! which exit code. Nothing is written to AWS and nothing made, until the cause is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use keyferry::sandbox::chatbotkit::ChatBotKit;
use keyferry::sandbox::workos::{Kind, Settings};
use serde_json::{Value, json};

use super::command::{Folder, keyferry, text};
use super::shown;
use crate::stage::{Stage, client_secret, credential};

const HOUR: Duration = Duration::from_secs(3_600);

/// What somebody does at the vendor, before keyferry looks and to put it right.
type Deed = fn(&Stage) -> Vec<(String, Value)>;

/// One row.
struct Case {
    what: &'static str,
    declared: String,
    /// Before; gives calls to make at ChatBotKit.
    wrong: Deed,
    /// How it is put right; `None` where only another declaration does.
    right: Option<Deed>,
    state: &'static str,
    words: &'static [&'static str],
}

fn nothing(_: &Stage) -> Vec<(String, Value)> {
    Vec::new()
}

fn call(path: &str, body: Value) -> (String, Value) {
    (path.into(), body)
}

fn kept(lines: &str) -> String {
    format!("[[credential]]\nname = \"app\"\nvendor = \"chatbotkit\"\ntype = \"secret\"\nalias = \"app\"\n{lines}")
}

fn typed(kind: &str, lines: &str) -> String {
    credential("app").replace("password", kind) + lines
}

fn from_file(content: &str) -> String {
    // A file for each row, for as long as the process lives.
    let folder = Box::leak(Box::new(Folder::new()));
    let path = folder.write("value", content, 0o600);
    kept(&format!("usage = \"bearer\"\nvalue = {{ file = \"{path}\" }}\n"))
}

fn cases() -> Vec<Case> {
    let case = |what, declared, wrong, right, words| Case { what, declared, wrong, right, state: "blocked", words };
    let none = "application = \"not-at-keycard\"\n";
    let here = "application = \"app\"\n";
    vec![
        case(
            "a sixth secret",
            client_secret("app"),
            |stage| {
                for _ in 0..5 {
                    stage.workos().seed_secret("app").unwrap();
                }
                nothing(stage)
            },
            Some(|stage| {
                let first = stage.workos().secrets()[0].id.clone();
                assert!(stage.workos().end_secret(&first));
                nothing(stage)
            }),
            &["5 of at most 5", "5 that are not keyferry's", "keyferry orphans"],
        ),
        case(
            "an AuthKit domain that is not there",
            client_secret("app"),
            |stage| {
                stage.workos().set_settings(Settings { authkit_gone: true, ..stage.workos().settings() });
                nothing(stage)
            },
            Some(|stage| {
                stage.workos().set_settings(Settings { authkit_gone: false, ..stage.workos().settings() });
                nothing(stage)
            }),
            &["404", "check `authkit_domain`"],
        ),
        case(
            "a name that two applications have, at WorkOS",
            client_secret("app"),
            |stage| {
                stage.workos().add_application("app", Kind::M2m, "org_1");
                nothing(stage)
            },
            None,
            &["ambiguous: 2 applications have this name", "declare it by its id: conn_app_"],
        ),
        case(
            "the slug of one application that is the id of another, at Keycard",
            credential("app").replace(here, "application = \"THE_ID\"\n"),
            nothing,
            None,
            &["ambiguous: it is the slug of one and the id of another", "declare it by its id"],
        ),
        case(
            "no record with the alias, and two that had it",
            kept("value = { generate = {} }\n"),
            |_| {
                let had = |number: u8| {
                    let meta = json!({ "managedBy": "keyferry", "keyferryAlias": "app" });
                    call("secret/create", json!({ "name": format!("{number}"), "kind": "shared", "meta": meta }))
                };
                vec![had(1), had(2)]
            },
            None,
            &["no record has the alias, and more than one had it", "delete the others"],
        ),
        case(
            "a provider that does not exist",
            typed("token", "provider = \"not-seeded\"\n"),
            nothing,
            Some(|stage| {
                stage.sandbox.keycard().seed_provider("production", "not-seeded");
                nothing(stage)
            }),
            &["resolving provider `not-seeded`", "there is none with this slug or id", "check the spelling"],
        ),
        case(
            "an application that does not exist, at Keycard",
            credential("app").replace(here, none),
            nothing,
            None,
            &["there is none with this slug or id", "check the spelling"],
        ),
        case(
            "an application that does not exist, at WorkOS",
            client_secret("app").replace(here, none),
            nothing,
            None,
            &["there is none with this id, client id or name", "check the spelling"],
        ),
        case(
            "a child account that does not exist",
            "[[credential]]\nname = \"app\"\nvendor = \"chatbotkit\"\ntype = \"user-token\"\nuser = \"not-seeded\"\n"
                .into(),
            nothing,
            Some(|stage| {
                stage.sandbox.find::<ChatBotKit>().unwrap().seed_user("not-seeded");
                nothing(stage)
            }),
            &["not-seeded"],
        ),
        case(
            "a blueprint that does not exist",
            kept("blueprint = \"@shop\"\nvalue = { generate = {} }\n"),
            |_| vec![call("blueprint/@shop/delete", json!({}))],
            Some(|stage| {
                stage.sandbox.find::<ChatBotKit>().unwrap().seed_blueprint("@shop");
                nothing(stage)
            }),
            &["there is no such blueprint", "correct `blueprint`"],
        ),
        case(
            "an ability that uses another secret",
            kept("ability = { skillset = \"sales\", id = \"lookup\" }\nvalue = { generate = {} }\n"),
            |_| {
                let theirs = json!({ "alias": "theirs", "kind": "shared", "value": "x" });
                let link = json!({ "linkedSecretId": "@theirs" });
                vec![call("secret/create", theirs), call("skillset/sales/ability/lookup/update", link)]
            },
            Some(|_| vec![call("skillset/sales/ability/lookup/update", json!({ "linkedSecretId": null }))]),
            &["it uses another secret; it was not touched", "unlink it in ChatBotKit"],
        ),
        case("a source that is empty", from_file(""), nothing, None, &["value` is empty", "put the secret there"]),
        case(
            "a source that is too long",
            from_file(&"x".repeat(33_000)),
            nothing,
            None,
            &["`value` has 33000 bytes, and at most 32768 can be kept", "nothing was written"],
        ),
        case(
            "a source with a newline, for a header",
            from_file("kfcanary\nkfcanary"),
            nothing,
            None,
            &["`value` has a line break, and goes into a header", "one line end at the end of a file is left out"],
        ),
        case(
            "somebody else's record with the alias",
            kept("value = { generate = {} }\n"),
            |_| vec![call("secret/create", json!({ "alias": "app", "kind": "shared", "value": "theirs" }))],
            Some(|_| vec![call("secret/@app/delete", json!({}))]),
            &["a record has this alias that keyferry did not make; it was not touched", "another alias"],
        ),
    ]
}

/// What lives at the vendors, whoever made it.
fn live(stage: &Stage) -> BTreeSet<String> {
    stage.sandbox.vendors().flat_map(|vendor| vendor.live()).collect()
}

async fn send(stage: &Stage, calls: Vec<(String, Value)>) {
    let base = format!("http://{}/api/v1", stage.sandbox.vendor_address("chatbotkit").unwrap());
    for (path, body) in calls {
        let call = reqwest::Client::new().post(format!("{base}/{path}")).bearer_auth("sandbox").json(&body);
        let answer = call.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }
}

#[tokio::test]
async fn what_is_wrong_at_a_vendor_is_told_before_anything_is_written_and_heals_with_its_cause() {
    for case in cases() {
        // What `redeclare_unseeded` declares is not there unless a row makes it.
        let mut stage = Stage::with("").await;
        let unseeded = case.declared.contains("not-");
        if case.declared.contains("THE_ID") {
            let id = stage.sandbox.keycard().seed_application("production", "one");
            stage.sandbox.keycard().seed_application("production", &id);
            stage.redeclare_unseeded(&case.declared.replace("THE_ID", &id)).await;
        } else if unseeded {
            if case.declared.contains("application = \"app\"") {
                stage.sandbox.keycard().seed_application("production", "app");
            }
            stage.redeclare_unseeded(&case.declared).await;
        } else {
            stage.redeclare(&case.declared).await;
        }
        send(&stage, (case.wrong)(&stage)).await;
        let before = live(&stage);
        for _ in 0..2 {
            stage.patient_pass().await;
            let shown = shown(&stage);
            assert_eq!((shown.state, shown.code), (case.state, 3), "{}: {}", case.what, shown.text);
            for word in case.words {
                assert!(shown.text.contains(word), "{} does not say `{word}`: {}", case.what, shown.text);
            }
            assert!(shown.hinted, "{}: {}", case.what, shown.text);
            assert_eq!((stage.writes(), live(&stage)), (0, before.clone()), "{}", case.what);
            stage.clock.advance(HOUR);
        }
        if let Some(right) = case.right {
            send(&stage, right(&stage)).await;
            stage.clock.advance(HOUR);
            stage.patient_pass().await;
            stage.patient_pass().await;
            let shown = shown(&stage);
            assert_eq!((shown.state, shown.code), ("ok", 0), "{}: {}", case.what, shown.text);
            assert_eq!(stage.failures(), 0, "{}", case.what);
        }
    }
}

/// What is told offline, by every verb, with exit code 2.
#[test]
fn what_is_wrong_in_a_declaration_of_a_vendor_is_told_offline() {
    let head = "deployment = \"test\"\n[aws]\nregion = \"us-east-1\"\n\
        [vendors.keycard]\nkind = \"keycard\"\nzone = \"z\"\nclient_id = { env = \"A\" }\nclient_secret = { env = \"B\" }\n\
        [vendors.chatbotkit]\nkind = \"chatbotkit\"\ntoken = { env = \"C\" }\n\
        [vendors.workos]\nkind = \"workos\"\napi_key = { env = \"D\" }\n[defaults]\nrotate = \"30d\"\n";
    let kept = |name: &str, source: &str| {
        format!(
            "[[credential]]\nname = \"{name}\"\nvendor = \"chatbotkit\"\ntype = \"secret\"\nalias = \"{name}\"\n\
             value = {{ credential = \"{source}\", output = \"value\" }}\n"
        )
    };
    let domain = "authkit_domain = \"https://d.authkit.app\"\n";
    let named = "[credential.secret]\nname = \"one\"\n";
    let twin = client_secret("app").replace("name = \"app\"\nvendor", "name = \"twin\"\nvendor");
    let rows: [(&str, String, &[&str]); 6] = [
        (
            "an application without an AuthKit domain",
            client_secret("app"),
            &["without `authkit_domain`", "best-effort"],
        ),
        ("a credential that feeds itself", kept("a", "a"), &["`a` feeds itself"]),
        ("two that feed one another", kept("a", "b") + &kept("b", "a"), &["feed one another", "break the circle"]),
        (
            "two with one application to themselves",
            format!("{}{domain}{named}{twin}{domain}[credential.secret]\nname = \"two\"\n", client_secret("app")),
            &["`ownership = \"exclusive\"`, but two credentials are made here", "write `shared` in both"],
        ),
        (
            "a value for a personal secret",
            kept("a", "b").replace("credential = \"b\", output = \"value\"", "generate = {}") + "kind = \"personal\"\n",
            &["a personal secret can't have a value"],
        ),
        ("a type that there is not", typed("pasword", ""), &["pasword", "password"]),
    ];
    let folder = Folder::new();
    for (what, declared, words) in rows {
        let path = folder.write("keyferry.toml", format!("{head}{declared}"), 0o600);
        for verb in ["check", "plan", "once"] {
            let output = keyferry(&[verb, "--config", &path], &[]);
            assert_eq!(output.status.code(), Some(2), "{what}: {}", text(&output));
            assert!(words.iter().all(|word| text(&output).contains(word)), "{what}: {}", text(&output));
        }
    }
}

/// An edit that makes another type of a credential: what can't change in place says so, and both the
/// old value and its credential stay.
#[tokio::test]
async fn a_declaration_that_changes_type_in_place_is_refused_and_leaves_all_as_it_was() {
    for (to, moves) in [
        (typed("public", ""), true),
        (typed("token", "provider = \"ci\"\n"), false),
        (client_secret("app"), false),
        (kept("value = { generate = {} }\n"), false),
    ] {
        let mut stage = Stage::one().await;
        stage.pass().await;
        stage.clock.advance(24 * HOUR);
        let (before, writes) = (live(&stage), stage.writes());
        stage.redeclare(&to).await;
        stage.patient_pass().await;
        let shown = shown(&stage);
        if moves {
            assert_eq!((shown.state, shown.code), ("ok", 0), "{to}: {}", shown.text);
            assert_eq!(live(&stage).len(), 2, "{to}: made before the old one goes");
            continue;
        }
        assert_eq!((shown.state, shown.code, shown.reason), ("blocked", 3, "other-place"), "{to}: {}", shown.text);
        assert!(shown.text.contains("declare a new credential with a secret of its own"), "{}", shown.text);
        assert_eq!((live(&stage), stage.writes()), (before, writes), "{to}");
        stage.redeclare(&credential("app")).await;
        stage.pass().await;
        assert_eq!(super::shown(&stage).state, "ok");
    }
}
