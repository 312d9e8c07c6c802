//! The person's verbs: what each says and does, by the binary as a person would type it, and
//! through the engine where time has to pass.

use std::time::Duration;

use keyferry::engine::person::Glance;
use keyferry::engine::reconcile::{AskVendor, Visit};
use keyferry::model::attempt::{Cause, Note};
use keyferry::model::credential::Credential;
use keyferry::model::fault::Class;
use keyferry::model::label::Label;
use keyferry::rotation::person::{self, Refusal};
use keyferry::sandbox::faults::{Effect, Rule};
use keyferry::sandbox::secrets_manager::settings::Deny;
use keyferry::sandbox::stage::Sandbox;
use keyferry::vendors::Verdict;
use serde_json::{Value, json};

use crate::bad_inputs::command::{Folder, declared_for, sandbox, served, text, words};
use crate::stage::{Stage, credential};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// A sandbox, and a declaration of `app` and `other` in a file.
async fn two() -> (Sandbox, Folder, String) {
    let sandbox = sandbox().await;
    sandbox.keycard().seed_application("production", "other");
    let declared = declared_for(&sandbox) + &credential("other") + "[credential.secret]\ntags = { Team = \"blue\" }\n";
    let folder = Folder::new();
    let path = folder.write("two.toml", declared, 0o600);
    (sandbox, folder, path)
}

/// Types it; what it says, and its exit code.
pub async fn typed(line: &str, path: &str) -> (String, i32) {
    let output = served(words(&format!("{line} --config {path}")), Vec::new()).await;
    let text = text(&output);
    assert!(!text.contains("kfcanary") && !text.contains('\u{1b}') && text.ends_with('\n'), "{line}:\n{text}");
    assert!(text.lines().all(|line| !line.ends_with(' ')), "{line}: blanks at the end of a line:\n{text}");
    (text, output.status.code().unwrap())
}

pub async fn says(rows: &[(&str, i32, &[&str])], path: &str) {
    for (line, code, words) in rows {
        let (text, ended) = typed(line, path).await;
        assert_eq!(ended, *code, "{line}:\n{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{line} does not say {words:?}:\n{text}");
    }
}

/// The same line for a program: one document, nothing beside it, and the same exit code in it.
async fn document(line: &str, path: &str) -> Value {
    let output = served(words(&format!("{line} --output json --config {path}")), Vec::new()).await;
    let text = text(&output);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{line}: {text}"));
    assert_eq!(document["exit_code"].as_i64(), output.status.code().map(Into::into), "{line}: {document}");
    assert!(output.stderr.is_empty(), "{line}: {text}");
    document
}

const NOWHERE: &str = "00000000-0000-4000-8000-000000000009";

#[tokio::test(flavor = "multi_thread")]
async fn before_there_is_a_secret_every_verb_says_so() {
    let (_sandbox, _folder, path) = two().await;
    let none = "there is no AWS secret of that name yet";
    says(
        &[
            ("pause app --for 4h", 3, &["app: NOT paused", none, "take its declaration out"]),
            ("resume app", 3, &["app: NOT resumed", none]),
            ("rollback app", 3, &["NOT rolled back, and nothing was moved", none]),
            ("verify app", 3, &["app: unknown", none]),
            ("confirm app", 3, &["NOT confirmed", none]),
            ("history app", 0, &["there is no AWS secret test/keycard/app yet"]),
            ("explain app", 0, &["x secret", "keyferry makes it", "next: create-secret"]),
            ("orphans app", 0, &["keycard password of app", "none", "0 owned, 0 orphan, 0 foreign"]),
            // A first value is what was asked for: no second one is made right after it.
            ("rotate app", 0, &["app: rotated; 1 live"]),
            ("rotate other --leaked", 0, &["other: rotated, and SAFE"]),
        ],
        &path,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_kept_told_and_taken_off() {
    let (_sandbox, _folder, path) = two().await;
    says(
        &[
            ("once", 0, &["current, verified and not due"]),
            ("pause app", 2, &["--for", "--until", "--until-resumed"]),
            ("pause app --for 4h --until-resumed", 2, &["cannot be used with"]),
            ("pause app --for soon", 2, &["30d"]),
            ("pause app --for 0s", 2, &["a pause of no time; nothing was paused"]),
            ("pause app --until 2020-01-01", 2, &["2020-01-01T00:00:00Z is past: AWS says it is", "--for 4h"]),
            ("pause app --until tomorrow", 2, &["2026-12-01T06:00:00Z"]),
            ("pause app --for 4h --reason why?", 2, &["character 4 (`?`) can't stand in an AWS tag"]),
            ("pause --for 4h", 2, &["no credential is named", "--all; nothing was paused"]),
            ("pause ap --for 4h", 2, &["no credential `ap` is declared; nothing was paused", "did you mean `app`?"]),
            ("pause app nobody --for 4h", 2, &["no credential `nobody`", "declared credentials: `app`, `other`"]),
            ("pause app --all --for 4h", 2, &["cannot be used with"]),
            ("pause --vendor keycrad --for 4h", 2, &["no vendor `keycrad`", "did you mean `keycard`?"]),
            ("pause --tag Team --for 4h", 2, &["KEY=VALUE"]),
            ("pause --tag Tema=blue --for 4h", 2, &["no declared credential fits", "did you mean `Team`?"]),
            ("pause --tag Team=red --for 4h", 2, &["no declared credential fits; nothing was paused"]),
            ("status", 0, &["app", "other"]),
            ("pause --tag Team=blue --for 90m", 0, &["other: paused until", "(for 1h 30m)"]),
            ("pause app --for 4h --reason JIRA-12", 0, &["app: paused until", "(for 4h)"]),
            (
                "pause app --until-resumed --reason again",
                0,
                &["until somebody resumes it (before, it was paused by arn:aws:", "JIRA-12"],
            ),
            (
                "status",
                0,
                &[
                    "paused by a person",
                    "app (paused): paused by arn:aws:",
                    "until resumed: again",
                    "keyferry resume app",
                ],
            ),
            ("explain app", 0, &["x pause", "until somebody resumes", "paused by arn:aws:"]),
            ("rotate app", 3, &["app: NOT rotated: paused by arn:aws:", "nothing remembers this request"]),
            ("rotate app --leaked", 3, &["app: NOT rotated: paused by arn:aws:"]),
            ("once", 0, &["paused"]),
            ("status --problems", 0, &["no problems", "paused, so that nothing happens to them: app, other"]),
            ("pause --all --until-resumed --reason both", 0, &[]),
            ("status", 0, &["app, other (paused)", "`keyferry resume NAME` ends it"]),
            ("resume", 2, &["nothing was changed", "--all"]),
            ("resume --all", 0, &["app: the pause is off (it was paused by arn:aws:", "other: the pause is off"]),
            ("resume app", 0, &["app: not paused, and nothing waits for a person: nothing was changed"]),
            ("rotate app", 0, &["app: rotated; 2 live"]),
        ],
        &path,
    )
    .await;
    let paused = document("pause app --for 4h", &path).await;
    assert_eq!(paused["credentials"][0]["paused"], true);
    assert!(paused["credentials"][0]["by"].as_str().unwrap().starts_with("arn:aws:"));
    assert_eq!(document("status app", &path).await["credentials"][0]["state"], "paused");
    assert_eq!(document("resume app", &path).await["credentials"][0]["resumed"], true);
    let wrong = document("pause ap --for 4h", &path).await;
    assert_eq!((wrong["hint"].as_str(), wrong["exit_code"].as_i64()), (Some("did you mean `app`?"), Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_held_until_it_is_accepted_or_undone() {
    let (_sandbox, _folder, path) = two().await;
    says(
        &[
            ("once", 0, &[]),
            ("verify", 0, &["app: good: the vendor accepts version", "other: good"]),
            (
                "rollback app",
                3,
                &["NOT rolled back, and nothing was moved", "no previous version", "keyferry rotate app"],
            ),
            ("rollback nobody", 2, &["no credential `nobody` is declared; nothing was moved"]),
            ("rollback app --to x", 2, &["not the id of a version"]),
            ("rotate app", 0, &["app: rotated"]),
            (&format!("rollback app --to {NOWHERE}"), 3, &["the secret has no version", "keyferry history app"]),
            ("confirm app", 0, &["confirmed: consumers have version"]),
            (&format!("confirm app --version {NOWHERE}"), 3, &["NOT confirmed", "has no version"]),
            ("confirm other", 0, &["no older one waits for it"]),
            ("rollback app", 0, &["app: rolled back", "after a login with it", "resume app --accept", "rollback app"]),
            ("status", 4, &["held", "resume app --accept", "rollback app"]),
            ("verify app", 0, &["app: good"]),
            ("rotate app", 4, &["NOT rotated: someone moved AWSCURRENT back", "nothing remembers this request"]),
            (
                "rotate app --leaked",
                4,
                &["NOT rotated: someone moved AWSCURRENT back", "NOT SAFE: the value that leaked still works"],
            ),
            (
                "explain app",
                4,
                &[
                    "x held",
                    "next: nothing, until a person decides",
                    "accepting the current version means",
                    "kept until a person has decided",
                ],
            ),
            ("resume app", 4, &["held: someone moved", "to accept: keyferry resume app --accept", "forward again, to"]),
            (&format!("resume app --accept {NOWHERE}"), 3, &["nothing was changed", "has no version"]),
            (&format!("resume --all --accept {NOWHERE}"), 2, &["--accept is for one NAME"]),
            ("rollback app", 0, &["app: forward again"]),
            ("status", 0, &["the previous one still works"]),
            ("rollback app", 0, &["app: rolled back"]),
        ],
        &path,
    )
    .await;
    let history = document("history app", &path).await;
    let held = |label: &str| {
        let versions = history["versions"].as_array().unwrap();
        let one = versions.iter().find(|one| one["labels"].as_array().unwrap().contains(&label.into()));
        one.unwrap()["version"].as_str().unwrap().to_owned()
    };
    let roles: Vec<&str> =
        history["versions"].as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["credential", "claim", "credential"]);
    let (current, newer) = (held("AWSCURRENT"), held("AWSPREVIOUS"));
    let shown = document("resume app", &path).await;
    assert_eq!(shown["credentials"][0]["held"]["reason"], "rolled-back");
    assert_eq!(shown["credentials"][0]["held"]["current"], current.as_str());
    says(
        &[
            (&format!("resume app --accept {newer}"), 3, &["that version is not current", &current]),
            (&format!("confirm app --version {newer}"), 3, &["that version is not current"]),
            (&format!("resume app --accept {current}"), 0, &["accepted", "the previous one still works"]),
            ("status", 0, &["the previous one still works"]),
            (&format!("resume app --accept {current}"), 0, &["nothing is held: there was nothing to accept"]),
            // What was accepted once is not accepted for ever.
            ("rollback app", 0, &["app: forward again"]),
            ("rollback app", 0, &["app: rolled back"]),
            ("status", 4, &["held", "resume app --accept"]),
        ],
        &path,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_value_is_said_to_be_safe_only_when_it_is() {
    let (sandbox, _folder, path) = two().await;
    says(&[("once", 0, &[])], &path).await;
    let (text, code) = typed("rotate app --leaked", &path).await;
    let live = || sandbox.keycard().credentials().iter().filter(|one| one.deleted.is_none()).count();
    let safe = text.contains("rotated, and SAFE");
    assert_eq!((safe, code == 0), (live() == 2, live() == 2), "{text}");
    assert!(safe || text.contains("NOT SAFE yet") && code == 3, "{text}");
    assert!(text.contains("skipped: the overlap"), "{text}");
    says(&[("rollback app", 3, &["NOT rolled back"]), ("verify app", 0, &["good"])], &path).await;
    let document = document("rotate other --leaked", &path).await;
    assert_eq!(document["credentials"][0]["rotated"], true, "{document}");
    assert_eq!(document["credentials"][0]["leak"]["safe"].as_bool(), Some(live() == 2 || document["exit_code"] == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_person_rotates_is_kept_and_told() {
    let (_sandbox, folder, path) = two().await;
    says(&[("once", 0, &[])], &path).await;
    let why = "INC-4711: key pasted into a ticket";
    let line = ["rotate", "app", "--config", &path, "--reason", why].map(Into::into).to_vec();
    let output = served(line, vec![("KEYFERRY_LOG".into(), "info".into())]).await;
    assert!(text(&output).contains("app: rotated"), "{}", text(&output));
    says(&[("explain app", 0, &[why]), ("history app", 0, &[&format!("asked for because: {why}")])], &path).await;
    assert_eq!(document("explain app", &path).await["because"], json!([why]));
    let told = document("history app", &path).await["versions"].as_array().unwrap().clone();
    assert_eq!(told.iter().filter(|one| one["because"] == why).count(), 2, "its claim and its slot: {told:?}");
    assert_eq!(document("explain other", &path).await["because"], json!([]));
    for (reason, word) in [("why?", "character 4 (`?`)"), ("", "it is empty"), (&"x".repeat(201), "201 characters")] {
        let line = ["rotate", "other", "--config", &path, "--reason", reason].map(Into::into).to_vec();
        let output = served(line, Vec::new()).await;
        assert_eq!((output.status.code(), text(&output).contains(word)), (Some(2), true), "{}", text(&output));
    }
    drop(folder);
}

#[tokio::test]
async fn a_crash_does_not_forget_why_and_neither_does_an_attempt_that_fails() {
    let mut stage = rotated().await;
    stage.clock.advance(2 * DAY);
    stage.live(HOUR, HOUR / 4).await;
    let why = Note::new("INC-4711").unwrap();
    stage.engine.because(why.clone());
    let (service, operation) = ("keycard".into(), "create_credential".into());
    stage.sandbox.add_fault(Rule { service, operation, skip: 0, times: 1, chance: 1.0, effect: Effect::DropAfter });
    let visit = Visit { request: Some(Cause::Leaked), ..Visit::default() };
    stage.engine.visit_all(vec![app(&stage)], visit, |_, _| {}).await;
    stage.restart().await;
    let open = glance(&stage).await;
    assert_eq!(open.notes().values().collect::<Vec<_>>(), [&why], "while it is open, its claim says so");
    stage.live(3 * HOUR, HOUR / 12).await;
    let seen = glance(&stage).await;
    assert_eq!(seen.notes().get(&current(&seen)), Some(&why), "{:?}", seen.secret.map(|secret| secret.tags));
    // What nobody asked for has nobody's reason.
    stage.live(31 * DAY, DAY / 4).await;
    let seen = glance(&stage).await;
    assert_eq!(seen.notes().get(&current(&seen)), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_record_that_holds_one_value_nobody_says_that_it_is_revoked_or_that_both_work() {
    let (sandbox, folder, path) = two().await;
    let chatbotkit = sandbox.vendor_address("chatbotkit").unwrap();
    let declared = format!(
        "{}[vendors.chatbotkit]\nkind = \"chatbotkit\"\nbase_url = \"http://{chatbotkit}\"\ntoken = {{ sandbox = true }}\n\
         [[credential]]\nname = \"crm\"\nvendor = \"chatbotkit\"\ntype = \"secret\"\nalias = \"crm\"\n\
         value = {{ generate = {{ length = 40 }} }}\n",
        std::fs::read_to_string(&path).unwrap()
    );
    let path = folder.write("crm.toml", declared, 0o600);
    says(
        &[
            ("once", 0, &["crm"]),
            ("history crm", 0, &["AWSCURRENT · the vendor's record holds it; consumers read it"]),
            ("rotate crm", 0, &["crm: rotated; 1 live, the new value is current; the one before is kept in AWS"]),
            ("status crm", 0, &["the one before is kept in AWS"]),
            ("explain crm", 0, &["the one before is kept in AWS", "is kept in AWS until", "1 of them this secret's"]),
            ("history crm", 0, &["AWSPREVIOUS · replaced: the vendor's record holds another value now"]),
        ],
        &path,
    )
    .await;
    assert!(!typed("history crm", &path).await.0.contains("revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_means_many_asks_first() {
    let (_sandbox, folder, path) = two().await;
    let limited = std::fs::read_to_string(&path).unwrap() + "[limits]\nmax_replacements = 1\n";
    let limited = folder.write("limited.toml", limited, 0o600);
    says(
        &[
            ("once", 0, &[]),
            ("rotate", 2, &["no credential is named", "nothing was rotated", "NAME"]),
            ("rotate --all", 2, &["2 credentials would be rotated, more than `limits.max_replacements` (1)", "--yes"]),
            ("rotate --vendor keycard --leaked", 2, &["nothing was rotated"]),
            ("rotate --tag Team=blue", 0, &["other: rotated"]),
            ("rotate --all --yes", 3, &["app: rotated", "other: NOT rotated"]),
        ],
        &limited,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_ended_by_its_id_only_when_nothing_tracks_it() {
    let (sandbox, folder, path) = two().await;
    says(&[("once", 0, &[])], &path).await;
    sandbox.keycard().seed_credential("production", "app", Some("by-a-person")).unwrap();
    let listed = document("orphans", &path).await;
    let place = &listed["places"][0];
    assert_eq!(place["declared"], json!(["app"]));
    let standing = |word: &str| {
        let all = place["credentials"].as_array().unwrap();
        all.iter().find(|one| one["standing"] == word).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let (foreign, current) = (standing("foreign"), standing("owned"));
    says(
        &[
            ("orphans", 0, &["2 owned, 0 orphan, 1 foreign; nothing was changed", "not keyferry's, and never touched"]),
            ("orphans revoke", 2, &["ID"]),
            ("orphans revoke nobody", 2, &["no place lists a credential `nobody`; nothing was revoked"]),
            (&format!("orphans revoke {foreign} --credential nobody"), 2, &["no credential `nobody`"]),
            (&format!("orphans revoke {foreign} --credential other"), 2, &["no place lists"]),
            (&format!("orphans revoke {foreign}"), 2, &["nothing was revoked", "--yes"]),
            (
                &format!("orphans revoke {current} --yes"),
                3,
                &["NOT revoked", "`app` holds it, and consumers may be using it"],
            ),
            (&format!("orphans revoke {foreign} --yes"), 0, &["revoked; the vendor confirmed it"]),
            (&format!("orphans revoke {foreign} --yes"), 2, &["no place lists"]),
            ("verify", 0, &["app: good", "other: good"]),
        ],
        &path,
    )
    .await;
    // What a secret tracks that is declared no more is not foreign.
    let only = std::fs::read_to_string(&path).unwrap().replace("name = \"app\"", "name = \"new\"");
    let only = folder.write("only.toml", only, 0o600);
    says(
        &[
            ("status", 0, &["not declared any more, so that nothing is done about them: test/keycard/app"]),
            (
                &format!("orphans revoke {current} --yes"),
                3,
                &["NOT revoked: AWS secret test/keycard/app, which is this deployment's"],
            ),
        ],
        &only,
    )
    .await;
}

fn deny(sandbox: &Sandbox, actions: &[&str]) {
    let deny = |action: &&str| Deny { action: (*action).into(), secret_prefix: String::new(), access_key: None };
    sandbox.secrets_manager.with_state(|state| state.settings.deny = actions.iter().map(deny).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_permission_each_verb_names_it() {
    let (sandbox, folder, path) = two().await;
    says(&[("once", 0, &[])], &path).await;
    deny(&sandbox, &["*"]);
    let describe: &[&str] = &["access denied", "allow secretsmanager:DescribeSecret"];
    let list: &[&str] =
        &["list the secrets of deployment test", "allow secretsmanager:ListSecrets", "`discovery = \"declared\"`"];
    says(
        &[
            ("status", 3, list),
            ("status --problems", 3, list),
            ("status app", 3, &["allow secretsmanager:DescribeSecret", "says nothing about the credential"]),
            ("explain app", 3, describe),
            ("history app", 3, describe),
            ("pause app --for 4h", 3, describe),
            ("resume app", 3, describe),
            ("rollback app", 3, describe),
            ("verify app", 3, describe),
            ("confirm app", 3, describe),
            ("orphans", 3, &["not seen", "allow secretsmanager:ListSecrets"]),
            ("rotate app", 3, describe),
        ],
        &path,
    )
    .await;
    for line in ["status", "explain app", "history app", "pause app --for 4h", "orphans", "verify", "rotate app"] {
        document(line, &path).await;
    }
    // A role that may list and nothing else still shows the fleet.
    deny(&sandbox, &["DescribeSecret", "ListSecretVersionIds", "GetSecretValue", "TagResource"]);
    says(
        &[
            ("status", 0, &["current, verified and not due"]),
            ("status --problems", 0, &["no problems"]),
            ("explain app", 3, describe),
        ],
        &path,
    )
    .await;
    // And one that may not list shows what is declared, and says what it does not see.
    deny(&sandbox, &["ListSecrets", "TagResource", "GetSecretValue"]);
    let declared = format!("discovery = \"declared\"\n{}", std::fs::read_to_string(&path).unwrap());
    let declared = folder.write("declared.toml", declared, 0o600);
    says(
        &[
            ("status", 0, &["current, verified and not due", "looked at by declared name only"]),
            ("explain app", 0, &["1 credential lives there"]),
            ("once", 0, &["current, verified and not due"]),
            ("orphans", 0, &["2 owned"]),
            ("pause app --for 4h", 3, &["NOT paused", "allow secretsmanager:TagResource"]),
            ("verify app", 3, &["app: unknown", "GetSecretValue on this secret with the stage `AWSCURRENT`"]),
        ],
        &declared,
    )
    .await;
    // Read-only AWS, and no vendor keys.
    deny(&sandbox, &["PutSecretValue", "TagResource", "UpdateSecretVersionStage", "CreateSecret"]);
    let keyless = std::fs::read_to_string(&path).unwrap();
    let keyless = keyless.replace("client_secret = { sandbox = true }", "client_secret = { env = \"KF_NOT_SET\" }");
    let keyless = folder.write("keyless.toml", keyless, 0o600);
    says(
        &[
            ("status", 0, &["current, verified and not due"]),
            ("status --problems", 0, &["no problems"]),
            ("history app", 0, &["AWSCURRENT"]),
            ("explain app", 0, &["- vendor", "not seen; by the secret's labels 1", "`KF_NOT_SET` is not set"]),
            ("orphans app", 3, &["not seen", "`KF_NOT_SET` is not set"]),
        ],
        &keyless,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_place_by_two_names_is_one_place_and_a_neighbour_s_credential_is_nobody_s_orphan() {
    let sandbox = sandbox().await;
    let workos: &keyferry::sandbox::workos::WorkOs = sandbox.find().unwrap();
    let (id, _) = workos.add_application("worker", keyferry::sandbox::workos::Kind::M2m, "org_1");
    let folder = Folder::new();
    let secret = |name: &str, application: &str| {
        format!(
            "[[credential]]\nname = \"{name}\"\nvendor = \"workos\"\ntype = \"client-secret\"\n\
             application = \"{application}\"\n"
        )
    };
    let declared = format!(
        "deployment = \"test\"\n[aws]\nregion = \"us-east-1\"\nendpoint_url = \"http://{}\"\n\
         sts_endpoint_url = \"http://{}\"\ncredentials = \"sandbox\"\n[vendors.workos]\nkind = \"workos\"\nbase_url = \"http://{}\"\n\
         api_key = {{ sandbox = true }}\n[defaults]\nrotate = \"30d\"\n{}{}",
        sandbox.aws_address(),
        sandbox.sts_address(),
        sandbox.vendor_address("workos").unwrap(),
        secret("by-name", "worker"),
        secret("by-id", &id),
    );
    let path = folder.write("names.toml", declared, 0o600);
    says(
        &[
            ("once", 0, &["current, verified and not due"]),
            ("orphans by-name", 0, &["workos client-secret of by-id, by-name", "2 owned, 0 orphan, 0 foreign"]),
        ],
        &path,
    )
    .await;
    let theirs = workos.secrets().last().unwrap().id.clone();
    says(&[(&format!("orphans revoke {theirs} --yes"), 3, &["consumers may be using it"])], &path).await;
}

/// `app` of a stage.
fn app(stage: &Stage) -> std::sync::Arc<Credential> {
    stage.engine.declaration().credentials[0].clone()
}

async fn glance(stage: &Stage) -> Glance {
    stage.engine.glance(&app(stage), AskVendor::Never).await.unwrap()
}

/// Goes back as the verb does.
async fn roll_back(stage: &Stage) -> Result<Verdict, Refusal> {
    let glance = glance(stage).await;
    let back = person::back(glance.view.secret.as_ref(), None, &app(stage).policy)?;
    Ok(stage.engine.roll_back(&app(stage), glance.secret.as_ref().unwrap(), &back).await.unwrap())
}

fn current(glance: &Glance) -> keyferry::model::name::VersionId {
    glance.view.secret.as_ref().unwrap().with(&Label::Current).unwrap().id.clone()
}

async fn rotated() -> Stage {
    let stage = Stage::one().await;
    stage.pass().await;
    stage.clock.advance(DAY);
    stage.pass().await;
    rotate(&stage).await;
    stage
}

async fn rotate(stage: &Stage) {
    let visit = Visit { request: Some(Cause::Asked), ..Visit::default() };
    stage.engine.visit_all(vec![app(stage)], visit, |_, _| {}).await;
}

#[tokio::test]
async fn what_was_rolled_back_is_kept_as_long_as_nobody_decides() {
    let stage = rotated().await;
    let newer = current(&glance(&stage).await);
    assert_eq!(roll_back(&stage).await, Ok(Verdict::Good));
    let older = current(&glance(&stage).await);
    assert_ne!(older, newer);
    stage.live(40 * DAY, 12 * HOUR).await;
    assert_eq!((stage.status("app").word(), stage.live_credentials(), stage.failures()), ("held", 2, 0));
    assert_eq!(current(&glance(&stage).await), older);
    let glance = glance(&stage).await;
    let credential = app(&stage);
    assert_eq!(person::accept(&glance.view, &older, &credential.policy, glance.now), Ok(()));
    stage.engine.accept(&credential, glance.arn().unwrap(), &older).await.unwrap();
    stage.live(5 * DAY, 6 * HOUR).await;
    assert_eq!((stage.status("app").word(), stage.failures()), ("ok", 0));
    // The newer one was ended; the accepted one was due, and has a successor.
    let versions = &self::glance(&stage).await.view.secret.unwrap().versions;
    assert!(versions.iter().any(|version| version.id == newer && version.lease().is_none()));
}

#[tokio::test]
async fn nobody_goes_back_to_what_does_not_work_or_is_gone() {
    let stage = rotated().await;
    let before = glance(&stage).await;
    let previous = before.view.secret.as_ref().unwrap().with(&Label::Previous).unwrap();
    let id = previous.lease().unwrap().tracked.id().unwrap().clone();
    let old = previous.id.clone();
    // Somebody ended it at the vendor: it is tried before anything is moved.
    stage.end_at_keycard(id.as_str()).await;
    let writes = stage.writes();
    assert!(matches!(roll_back(&stage).await, Ok(Verdict::Bad { .. })));
    assert_eq!((stage.writes(), current(&glance(&stage).await)), (writes, current(&before)));
    // And once it is revoked, there is nothing to go back to.
    stage.live(3 * DAY, 6 * HOUR).await;
    let after = glance(&stage).await;
    let back = |named| person::back(after.view.secret.as_ref(), named, &app(&stage).policy);
    assert_eq!(back(None), Err(Refusal::NoPrevious));
    assert_eq!(back(Some(&old)), Err(Refusal::Revoked));
    assert_eq!(stage.failures(), 0);
}

#[tokio::test]
async fn a_rollback_that_comes_second_moves_nothing() {
    let stage = rotated().await;
    let seen = glance(&stage).await;
    let back = person::back(seen.view.secret.as_ref(), None, &app(&stage).policy).unwrap();
    // Somebody else publishes by hand in between.
    let token = "00000000-0000-4000-8000-000000000001";
    stage
        .person("PutSecretValue", json!({ "SecretId": "app", "ClientRequestToken": token, "SecretString": "x" }))
        .await;
    let late = stage.engine.roll_back(&app(&stage), seen.secret.as_ref().unwrap(), &back).await;
    let class = late.unwrap_err().class;
    assert!(matches!(class, Class::Taken | Class::Gone), "{class:?}");
    assert_eq!(current(&glance(&stage).await).as_str(), token);
}

#[tokio::test]
async fn a_pause_survives_restarts_and_ends_by_itself() {
    let mut stage = Stage::one().await;
    stage.pass().await;
    let glance = glance(&stage).await;
    let until = glance.now.store.plus(40 * DAY);
    let pause = keyferry::engine::person::Pause { until: Some(until), reason: "JIRA-12", by: "arn:aws:iam::1:user/a" };
    stage.engine.pause(&app(&stage), glance.arn().unwrap(), &pause).await.unwrap();
    stage.restart().await;
    stage.live(35 * DAY, 12 * HOUR).await;
    let status = stage.status("app");
    assert_eq!((status.word(), stage.live_credentials()), ("paused", 1));
    assert_eq!(status.sentence(), format!("paused by arn:aws:iam::1:user/a until {until}: JIRA-12"));
    rotate(&stage).await;
    assert_eq!(stage.live_credentials(), 1, "not even when asked");
    stage.live(8 * DAY, 12 * HOUR).await;
    assert_eq!(stage.status("app").word(), "ok");
    assert_eq!(stage.failures(), 0);
    let versions = self::glance(&stage).await.view.secret.unwrap().versions;
    assert!(versions.len() > 1, "it was due in the pause, and rotated after it");
}

#[tokio::test]
async fn tags_that_a_tool_takes_off_are_warned_of_and_forgotten_by_nobody() {
    let stage = Stage::one().await;
    stage.pass().await;
    let keys = ["keyferry:deployment", "keyferry:credential", "keyferry:place"];
    stage.person("UntagResource", json!({ "SecretId": "app", "TagKeys": keys })).await;
    stage.clock.advance(HOUR);
    stage.pass().await;
    assert!(stage.status("app").stripped);
    stage.live(32 * DAY, 12 * HOUR).await;
    assert_eq!((stage.status("app").word(), stage.live_credentials(), stage.failures()), ("ok", 1, 0));
    assert!(stage.status("app").stripped, "and said for as long as it lasts");
}
