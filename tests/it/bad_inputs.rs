//! What people and services do wrong: each row is what is wrong, and what keyferry says, in which
//! state it leaves the credential, with which exit code; and nothing is minted that can't be stored.

use std::process::{Command, Output};

use keyferry::sandbox::faults::{Broken, Effect, Rule};

use crate::stage::{Stage, credential};

fn rule(service: &str, operation: &str, effect: Effect) -> Rule {
    Rule { service: service.into(), operation: operation.into(), skip: 0, times: 0, chance: 1.0, effect }
}

fn refuse(status: u16, code: &str) -> Effect {
    Effect::Refuse { status, code: code.into() }
}

/// A first creation under one lasting fault: state, exit code, words of the message, live credentials.
async fn first_creation(rule: Rule) -> (String, u8, String, usize) {
    let stage = Stage::one().await;
    stage.sandbox.add_fault(rule);
    let wanted = stage.engine.sort().await.wanted;
    stage.engine.visit_all(wanted, Default::default(), |_, _| {}).await;
    let status = stage.status("app");
    let text = status.fault.as_ref().map(ToString::to_string).unwrap_or_else(|| status.reason.to_string());
    (status.word().into(), status.exit_code(), text, stage.live_credentials())
}

#[tokio::test]
async fn a_service_that_answers_badly_is_told_apart_and_nothing_is_lost() {
    let throttle = || Effect::Throttle { retry_after: Some("3600".into()) };
    // (service, call, answer) -> state, exit code, a word of the message, live credentials
    let rows: Vec<(&str, &str, Effect, &str, u8, &str, usize)> = vec![
        ("aws", "DescribeSecret", refuse(400, "AccessDeniedException"), "blocked", 3, "AccessDenied", 0),
        ("aws", "CreateSecret", refuse(400, "AccessDeniedException"), "blocked", 3, "AccessDenied", 0),
        ("aws", "CreateSecret", refuse(400, "LimitExceededException"), "blocked", 3, "LimitExceeded", 0),
        ("aws", "CreateSecret", throttle(), "retrying", 3, "Throttling", 0),
        ("aws", "PutSecretValue", refuse(400, "EncryptionFailure"), "blocked", 3, "Encryption", 0),
        ("aws", "PutSecretValue", refuse(400, "AccessDeniedException"), "blocked", 3, "AccessDenied", 0),
        ("aws", "PutSecretValue", refuse(400, "LimitExceededException"), "blocked", 3, "LimitExceeded", 0),
        ("keycard", "token", refuse(401, "invalid_client"), "blocked", 3, "keycard", 0),
        ("keycard", "list_credentials", refuse(403, "forbidden"), "blocked", 3, "403", 0),
        ("keycard", "list_credentials", refuse(404, "not_found"), "blocked", 3, "404", 0),
        ("keycard", "list_credentials", throttle(), "retrying", 3, "429", 0),
        ("keycard", "list_credentials", refuse(503, "unavailable"), "retrying", 3, "503", 0),
        ("keycard", "list_credentials", Effect::Body(Broken::Html), "retrying", 3, "502", 0),
        ("keycard", "list_credentials", Effect::Body(Broken::Empty), "retrying", 3, "", 0),
        ("keycard", "list_credentials", Effect::Body(Broken::Huge), "retrying", 3, "", 0),
        ("keycard", "create_credential", refuse(400, "bad_request"), "blocked", 3, "400", 0),
        ("keycard", "create_credential", refuse(403, "forbidden"), "blocked", 3, "403", 0),
        ("keycard", "create_credential", refuse(404, "not_found"), "blocked", 3, "404", 0),
        ("keycard", "zone_token", refuse(503, "unavailable"), "retrying", 3, "503", 0),
    ];
    for (service, operation, effect, state, code, word, live) in rows {
        let what = format!("{service} {operation} {effect:?}");
        let (seen_state, seen_code, text, seen_live) = first_creation(rule(service, operation, effect)).await;
        assert_eq!((seen_state.as_str(), seen_code, seen_live), (state, code, live), "{what}: {text}");
        assert!(text.contains(word), "{what}: {text}");
        assert!(!text.contains("kfcanary"), "{what}: {text}");
    }
}

#[tokio::test]
async fn an_unknown_application_blocks_before_anything_is_made() {
    let stage =
        Stage::with(&credential("app").replace("application = \"app\"", "application = \"app\"\nzone = \"nowhere\""))
            .await;
    let wanted = stage.engine.sort().await.wanted;
    stage.engine.visit_all(wanted, Default::default(), |_, _| {}).await;
    let status = stage.status("app");
    assert_eq!((status.word(), status.exit_code()), ("blocked", 3), "{status:?}");
    assert!(status.fault.unwrap().to_string().contains("nowhere"));
    assert_eq!(stage.writes(), 0, "not even an empty secret");
}

fn keyferry(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(arguments).env_clear();
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command.output().expect("the binary runs")
}

#[test]
fn the_command_line_says_what_is_wrong_and_ends_with_the_right_code() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = std::fs::read("config/keyferry.toml").unwrap();
    let empty = write("empty.toml", b"");
    let bytes = write("bytes.toml", b"deployment = \"\xff\"");
    let typo = write("typo.toml", b"deployment = \"x\"\n[aws]\nregoin = \"us-east-1\"\n");
    let open = write("open.toml", &good);
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let no_keys = write(
        "no_keys.toml",
        b"deployment = \"x\"\n[aws]\nregion = \"us-east-1\"\nendpoint_url = \"http://127.0.0.1:1\"\n",
    );
    let rows: [(&[&str], i32, &str); 10] = [
        (&["check", "--config", "/nowhere/keyferry.toml"], 2, "KEYFERRY_CONFIG"),
        (&["check", "--config", &empty], 2, "empty"),
        (&["check", "--config", &bytes], 2, "UTF-8"),
        (&["check", "--config", &typo], 2, "region"),
        (&["check", "--config", &open], 2, "chmod"),
        (&["check", "--config", "config/keyferry.toml"], 0, "no problems"),
        (&["check", "--config", "config/sandbox.toml"], 0, "4 credentials"),
        (&["status", "--config", &no_keys], 3, "credentials"),
        (&["nonsense"], 2, "Usage"),
        (&["sandbox", "--speed", "0"], 2, "3600"),
    ];
    for (arguments, code, word) in rows {
        let output = keyferry(arguments);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}:\n{text}");
        assert!(text.contains(word), "{arguments:?} does not say `{word}`:\n{text}");
    }
}
