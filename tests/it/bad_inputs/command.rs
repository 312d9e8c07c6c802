//! The binary itself: declarations, admin secrets and environments that are wrong; its exit codes,
//! and that every answer for a program is one JSON document.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use keyferry::clock::HostClock;
use keyferry::sandbox::stage::{Ports, Sandbox};

pub fn keyferry(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(arguments).env_clear().env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    command.envs(environment.iter().copied()).output().expect("the binary runs")
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// A declaration with one credential, for services at these addresses.
pub fn declaration(aws: &str, sts: &str, keycard: &str) -> String {
    format!(
        "deployment = \"test\"\n[aws]\nregion = \"us-east-1\"\nendpoint_url = \"http://{aws}\"\n\
         sts_endpoint_url = \"http://{sts}\"\ncredentials = \"sandbox\"\n[vendors.keycard]\nkind = \"keycard\"\nbase_url = \"http://{keycard}\"\n\
         zone = \"production\"\nclient_id = {{ sandbox = true }}\nclient_secret = {{ sandbox = true }}\n\
         [defaults]\nrotate = \"30d\"\n{}",
        crate::stage::credential("app"),
    )
}

/// The same, for a running sandbox.
pub fn declared_for(sandbox: &Sandbox) -> String {
    let keycard = sandbox.vendor_address("keycard").unwrap();
    declaration(&sandbox.aws_address().to_string(), &sandbox.sts_address().to_string(), &keycard.to_string())
}

/// An address where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

#[test]
fn a_declaration_or_command_line_that_is_wrong_is_told_and_ends_with_2() {
    let folder = Folder::new();
    let good = declaration(NOBODY, NOBODY, NOBODY);
    let edited = |name: &str, from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        folder.write(name, good.replace(from, to), 0o644)
    };
    let twice = format!("{good}{}", crate::stage::credential("other")) + "[credential.secret]\nname = \"test/app\"\n";
    let twice =
        twice.replace("application = \"app\"\n", "application = \"app\"\n[credential.secret]\nname = \"test/app\"\n");
    // (file, words that it says); each is refused by every verb.
    let rows: Vec<(String, &[&str])> = vec![
        ("/nowhere/keyferry.toml".into(), &["KF0001", "there is no file", "KEYFERRY_CONFIG"]),
        ("/".into(), &["KF0002", "not a regular file"]),
        (folder.write("empty", "", 0o644), &["KF0003", "nothing in it"]),
        (folder.write("bytes", b"deployment = \"\xff\"", 0o644), &["KF0004", "UTF-8"]),
        (folder.write("long", vec![b'#'; 9 << 20], 0o644), &["KF0005", "8 MiB"]),
        (folder.write("open", &good, 0o666), &["KF0006", "everybody may write", "chmod go-w"]),
        (folder.write("broken", "deployment = \"x\n", 0o644), &["KF0100", "broken:1:16"]),
        (edited("key", "region", "regoin"), &["regoin", "region"]),
        (edited("kind", "kind = \"keycard\"", "kind = \"keycrad\""), &["keycrad", "did you mean `keycard`"]),
        (edited("vendor", "vendor = \"keycard\"", "vendor = \"nobody\""), &["no vendor `nobody`", "`keycard`"]),
        (edited("type", "type = \"password\"", "type = \"pasword\""), &["pasword", "password"]),
        (edited("inline", "client_secret = { sandbox = true }", "client_secret = \"kfcanary\""), &["KF0107", "inline"]),
        (edited("zone", "zone = \"production\"\n", ""), &["zone"]),
        (folder.write("twice", twice, 0o644), &["two credentials", "test/app", "the first one"]),
    ];
    for (path, words) in rows {
        for verb in ["check", "plan", "once", "status", "run"] {
            let output = keyferry(&[verb, "--config", &path], &[]);
            let text = text(&output);
            assert_eq!(output.status.code(), Some(2), "{verb} {path}:\n{text}");
            assert!(words.iter().all(|word| text.contains(word)), "{verb} {path} does not say {words:?}:\n{text}");
            assert!(text.ends_with('\n') && !text.contains("kfcanary"), "{verb} {path}:\n{text}");
            let output = keyferry(&[verb, "--config", &path, "--output", "json"], &[]);
            let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
            assert!(document["problems"][0]["message"].is_string(), "{document}");
            assert_eq!(document["exit_code"], 2);
        }
    }
    let wrong: [(&[&str], &str); 6] = [
        (&["sandbox", "--once", "--speed", "600"], "--speed 600 is too fast for the daemon"),
        (&["nonsense"], "Usage"),
        (&["once", "--wait", "soon"], "30d"),
        (&["sandbox", "--speed", "0"], "3600"),
        (&["sandbox", "--once", "--serve-only"], "cannot be used with"),
        (&["rotate"], "NAME"),
    ];
    for (arguments, word) in wrong {
        let output = keyferry(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output).contains(word), "{arguments:?}: {}", text(&output));
        let output = keyferry(&[arguments, &["--output=json"]].concat(), &[]);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert!(document["error"].as_str().unwrap().contains(word), "{document}");
    }
    for (path, word) in [
        (
            folder.write("example", include_str!("../../../config/keyferry.toml"), 0o644).as_str(),
            " credentials, no problems",
        ),
        (folder.write("group", &good, 0o664).as_str(), "its group may write"),
    ] {
        let output = keyferry(&["check", "--config", path], &[]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert!(text(&output).contains(word), "{}", text(&output));
    }
}

#[test]
fn without_aws_credentials_it_ends_within_seconds_and_names_what_was_tried() {
    let folder = Folder::new();
    let chain = declaration(NOBODY, NOBODY, NOBODY).replace("credentials = \"sandbox\"\n", "");
    let region = folder.write("region", chain.replace("region = \"us-east-1\"\n", ""), 0o644);
    let chain = folder.write("chain", chain, 0o644);
    let nobody = folder.write("nobody", declaration(NOBODY, NOBODY, NOBODY), 0o644);
    let tried: &[&str] = &[
        "no AWS credentials",
        "AWS_ACCESS_KEY_ID (not set)",
        "profile `p`",
        "switched off by AWS_EC2_METADATA_DISABLED",
    ];
    let rows: [(&str, &[&str]); 3] = [
        (&chain, tried),
        (&region, &["no Region", "AWS_REGION", "instance metadata"]),
        (&nobody, &["could not connect", "check the network"]),
    ];
    for (path, words) in rows {
        for verb in ["plan", "once", "status"] {
            let output = keyferry(&[verb, "--config", path], &[("AWS_PROFILE", "p")]);
            let text = text(&output);
            assert_eq!(output.status.code(), Some(3), "{verb} {path}:\n{text}");
            assert!(words.iter().all(|word| text.contains(word)), "{verb} {path} does not say {words:?}:\n{text}");
            let output = keyferry(&[verb, "--config", path, "--output", "json"], &[]);
            let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
            assert_eq!(document["exit_code"], 3, "{document}");
        }
    }
}

/// The binary in the background of a runtime that serves its services.
pub async fn served(arguments: Vec<String>, environment: Vec<(String, String)>) -> Output {
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let environment: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        keyferry(&arguments, &environment)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

pub fn words(line: &str) -> Vec<String> {
    line.split(' ').map(Into::into).collect()
}

pub async fn sandbox() -> Sandbox {
    let clock = Arc::new(HostClock::real());
    let sandbox = Sandbox::start(Ports::default(), 1, clock.clone(), clock).await.unwrap();
    sandbox.keycard().seed_application("production", "app");
    sandbox
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_secret_that_is_not_there_is_told_with_its_place_and_mints_nothing() {
    let sandbox = sandbox().await;
    let folder = Folder::new();
    let at = |name: &str| folder.0.path().join(name).to_str().unwrap().to_owned();
    let file = |path: &str| format!("{{ file = \"{path}\" }}");
    let fifo = at("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // (reference, words)
    let rows: Vec<(String, &[&str])> = vec![
        ("{ env = \"KF_NOT_SET\" }".into(), &["`KF_NOT_SET` is not set", "set KF_NOT_SET where keyferry starts"]),
        ("{ env = \"KF_EMPTY\" }".into(), &["`KF_EMPTY` is empty"]),
        ("{ env = \"KF_WRONG\" }".into(), &["401", "check `client_id` and `client_secret`"]),
        (file("/nowhere/secret"), &["no file `/nowhere/secret`", "readable for keyferry's user"]),
        (file(&fifo), &["fifo` is not a regular file"]),
        (file("/tmp"), &["`/tmp` is not a regular file"]),
        (file(&folder.write("nothing", "\n", 0o600)), &["is empty"]),
        (file(&folder.write("bytes", b"\xff\xfe", 0o600)), &["is not UTF-8 text"]),
        (file(&folder.write("long", vec![b'x'; 70_000], 0o600)), &["longer than 65536 bytes"]),
        ("{ systemd_credential = \"absent\" }".into(), &["no file", "LoadCredential=absent:"]),
        ("{ aws_secret = { name = \"admin\", key = \"k\" } }".into(), &["AWS secret admin", "not found", "create it"]),
    ];
    let good = declared_for(&sandbox);
    for (reference, says) in rows {
        let declared = good.replace("client_secret = { sandbox = true }", &format!("client_secret = {reference}"));
        let path = folder.write("keyferry.toml", declared, 0o600);
        for verb in ["plan", "once"] {
            let environment = [
                ("KF_EMPTY", String::new()),
                ("KF_WRONG", "kfcanary-wrong".into()),
                ("CREDENTIALS_DIRECTORY", folder.0.path().to_str().unwrap().into()),
            ];
            let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let output = served(words(&format!("{verb} --config {path}")), environment).await;
            let text = text(&output);
            assert_eq!(output.status.code(), Some(3), "{verb} {reference}:\n{text}");
            assert!(says.iter().all(|word| text.contains(word)), "{verb} {reference} does not say {says:?}:\n{text}");
            assert!(text.contains("blocked") && text.contains("keycard") && !text.contains("kfcanary"), "{text}");
        }
    }
    assert!(sandbox.keycard().credentials().is_empty());
    assert_eq!(sandbox.world.total("aws", "CreateSecret"), 0, "not even an empty secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verbs_agree_with_each_other_and_print_one_document() {
    let sandbox = sandbox().await;
    let folder = Folder::new();
    let good = declared_for(&sandbox);
    let other = good.replace("[aws]\n", "[aws]\naccount = \"999988887777\"\n");
    let path = folder.write("good.toml", good, 0o600);
    let other = folder.write("other.toml", other, 0o600);
    // In this order; (verb, declaration, exit code, words).
    let rows: [(&str, &str, i32, &[&str]); 12] = [
        ("plan", &other, 3, &["this is account 111122223333, not the declared 999988887777", "1 can't be told"]),
        ("once", &other, 3, &["this is account 111122223333, not the declared 999988887777", "nothing was changed"]),
        ("status", &other, 3, &["this is account 111122223333"]),
        ("rotate app", &other, 3, &["NOT rotated: ask AWS who we are", "this is account 111122223333"]),
        ("plan", &path, 0, &["create-secret", "1 of 1 credentials have something to do; nothing was changed"]),
        ("plan --exit-code", &path, 5, &["create-secret"]),
        ("once", &path, 0, &["current, verified and not due"]),
        ("status", &path, 0, &["current, verified and not due"]),
        ("status --problems", &path, 0, &["no problems"]),
        ("rotate app", &path, 0, &["app: rotated"]),
        ("rotate app", &path, 3, &["app: NOT rotated: the new value is current; the previous one still works"]),
        ("rotate app nobody", &path, 2, &["no credential `nobody` is declared; nothing was rotated"]),
    ];
    for (verb, path, code, says) in rows {
        let output = served(words(&format!("{verb} --config {path}")), Vec::new()).await;
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{verb} {path}:\n{text}");
        assert!(says.iter().all(|word| text.contains(word)), "{verb} {path} does not say {says:?}:\n{text}");
        let clean = text.lines().all(|line| !line.ends_with(' ')) && !text.contains('\u{1b}') && text.ends_with('\n');
        assert!(clean, "{verb}: blanks, colours or half a line where nobody looks:\n{text}");
    }
    for verb in ["check", "plan", "once", "status", "status --problems", "rotate app", "rotate nobody"] {
        for path in [path.as_str(), other.as_str(), "/nowhere"] {
            let output = served(words(&format!("{verb} --output json --config {path}")), Vec::new()).await;
            let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
            assert_eq!(
                document["exit_code"].as_i64(),
                output.status.code().map(Into::into),
                "{verb} {path}: {document}"
            );
            assert!(output.stderr.is_empty(), "{verb} {path}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let live = sandbox.keycard().credentials().iter().filter(|one| one.deleted.is_none()).count();
    assert_eq!(live, 2, "one current, one in its overlap");
}
