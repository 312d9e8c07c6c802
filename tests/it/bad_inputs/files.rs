//! Files that others may write or own, on a real disk, by the binary: the declaration, what it includes,
//! admin secrets and CA certificates; and outputs that nobody can read or write.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use keyferry::clock::HostClock;

use super::command::{Folder, declaration, declared_for, keyferry, sandbox, served, text, words};

const NOBODY: &str = "127.0.0.1:1";

fn mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn one_rule_for_every_file_that_keyferry_relies_on() {
    let folder = Folder::new();
    let good = declaration(NOBODY, NOBODY, NOBODY);
    let at = |name: &str| folder.at(name);
    fs::create_dir(at("open")).unwrap();
    fs::create_dir(at("sticky")).unwrap();
    fs::create_dir(at("deep")).unwrap();
    let secret = folder.write("open/secret", "sandbox\n", 0o600);
    let team = crate::stage::credential("team");
    folder.write("open/team.toml", &team, 0o644);
    folder.write("sticky/team.toml", &team, 0o644);
    folder.write("deep/team.toml", &team, 0o644);
    symlink(at("open/team.toml"), at("deep/link.toml")).unwrap();
    fs::remove_file(at("deep/team.toml")).unwrap();
    mode(at("open"), 0o777);
    mode(at("sticky"), 0o1777);
    let with = |name: &str, from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        folder.write(name, good.replacen(from, to, 1), 0o644)
    };
    let include = |name: &str, pattern: &str| with(name, "[aws]", &format!("include = [\"{pattern}\"]\n[aws]"));
    let admin = |name: &str, secret: &str| {
        with(name, "client_secret = { sandbox = true }", &format!("client_secret = {{ file = \"{secret}\" }}"))
    };
    let ca = |name: &str, file: &str| with(name, "region =", &format!("ca_file = \"{file}\"\nregion ="));
    let loose = folder.write("loose", "sandbox", 0o666);
    let seen = folder.write("seen", "sandbox", 0o644);
    let kept = folder.write("kept", "sandbox", 0o400);
    let foreign = folder.write("foreign", "sandbox", 0o600);
    // Only root can give a file away.
    let root = chown(&foreign, Some(12_345), None).is_ok();
    let in_open = folder.write("open/keyferry.toml", &good, 0o644);
    let mut rows: Vec<(String, i32, Vec<&str>)> = vec![
        (include("one.toml", "open/*.toml"), 2, vec!["KF0006", "everybody may write", "/open`", "0777", "chmod go-w"]),
        (include("two.toml", "sticky/*.toml"), 0, vec!["no problems"]),
        // Whoever may write where a link leads decides as well.
        (include("three.toml", "deep/*.toml"), 2, vec!["KF0006", "everybody may write", "/open`"]),
        (in_open, 2, vec!["KF0006", "/open`"]),
        (admin("four.toml", &loose), 2, vec!["KF0006", "everybody may write", "/loose`", "0666", "chmod go-w"]),
        (admin("five.toml", &secret), 2, vec!["KF0006", "/open`"]),
        (
            admin("six.toml", &seen),
            0,
            vec!["warning[KF0006]", "everybody may read the secret in", "/seen`", "chmod o-r"],
        ),
        (admin("seven.toml", &kept), 0, vec!["no problems"]),
        (admin("eight.toml", "/nowhere/secret"), 0, vec!["no problems"]),
        (ca("nine.toml", &loose), 2, vec!["KF0006", "/loose`", "whom keyferry trusts"]),
        (ca("ten.toml", &seen), 0, vec!["no problems"]),
    ];
    if root {
        rows.push((
            admin("eleven.toml", &foreign),
            2,
            vec!["KF0006", "belongs to user 12345", "/foreign`", "chown root"],
        ));
        rows.push((ca("twelve.toml", &foreign), 2, vec!["KF0006", "belongs to user 12345"]));
        let given = include("thirteen.toml", "sticky/*.toml");
        chown(&given, Some(12_345), None).unwrap();
        rows.push((given, 2, vec!["KF0006", "thirteen.toml` belongs to user 12345"]));
    }
    for (path, code, says) in rows {
        let output = keyferry(&["check", "--config", &path], &[]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{path}:\n{text}");
        assert!(says.iter().all(|word| text.contains(word)), "{path} does not say {says:?}:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_secret_is_the_same_with_a_line_end_from_every_source_and_never_from_a_file_of_others() {
    let sandbox = sandbox().await;
    let folder = Folder::new();
    let at = |name: &str| folder.at(name);
    let good = declared_for(&sandbox);
    for (name, value) in
        [("admin", "sandbox\n"), ("admin-json", "{\"k\":\"sandbox\\r\\n\",\"none\":\"\\n\"}"), ("blank", "\n")]
    {
        let body = serde_json::json!({ "Name": name, "SecretString": value, "ClientRequestToken": "0".repeat(32) });
        crate::stage::person(sandbox.aws_address(), &HostClock::real(), "CreateSecret", body).await;
    }
    folder.write("unix", "sandbox\n", 0o600);
    folder.write("windows", "sandbox\r\n", 0o600);
    folder.write("loose", "sandbox", 0o606);
    let fine = |reference: String| (reference, 0, vec![]);
    let rows: Vec<(String, i32, Vec<&str>)> = vec![
        fine("{ env = \"KF_LINE\" }".into()),
        fine("{ env = \"KF_BOTH\" }".into()),
        fine(format!("{{ file = \"{}\" }}", at("unix"))),
        fine(format!("{{ file = \"{}\" }}", at("windows"))),
        fine("{ systemd_credential = \"unix\" }".into()),
        fine("{ aws_secret = { name = \"admin\" } }".into()),
        fine("{ aws_secret = { name = \"admin-json\", key = \"k\" } }".into()),
        ("{ env = \"KF_BLANK\" }".into(), 3, vec!["`KF_BLANK` is empty"]),
        ("{ aws_secret = { name = \"admin-json\", key = \"none\" } }".into(), 3, vec!["member `none`", "is empty"]),
        ("{ aws_secret = { name = \"blank\" } }".into(), 3, vec!["AWS secret blank is empty"]),
        ("{ systemd_credential = \"loose\" }".into(), 3, vec!["everybody may write", "/loose`", "chmod go-w"]),
    ];
    for (reference, code, says) in rows {
        let declared = good.replace("client_secret = { sandbox = true }", &format!("client_secret = {reference}"));
        let path = folder.write("keyferry.toml", declared, 0o600);
        let environment = [
            ("KF_LINE", "sandbox\n"),
            ("KF_BOTH", "sandbox\r\n"),
            ("KF_BLANK", "\n"),
            ("CREDENTIALS_DIRECTORY", at("").as_str()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let output = served(words(&format!("plan --config {path}")), environment.to_vec()).await;
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{reference}:\n{text}");
        assert!(says.iter().all(|word| text.contains(word)), "{reference} does not say {says:?}:\n{text}");
    }
}

/// What could not be written was not said.
#[test]
fn an_output_that_is_full_is_no_success() {
    let folder = Folder::new();
    let path = folder.write("keyferry.toml", declaration(NOBODY, NOBODY, NOBODY), 0o644);
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    for arguments in [
        &["check"][..],
        &["check", "--output", "json"],
        &["iam"],
        &["iam", "--output", "json"],
        &["plan"],
        &["status"],
        &["status", "--problems"],
        &["once", "--output", "json"],
        &["explain", "app"],
        &["history", "app"],
        &["--help"],
        &["--version"],
        &["help", "once"],
    ] {
        let run = |out: Stdio| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
            command.args(arguments).env_clear().env("KEYFERRY_CONFIG", &path).env("AWS_EC2_METADATA_DISABLED", "true");
            command.stdout(out).stderr(Stdio::null()).status().unwrap().code()
        };
        let (said, lost) = (run(Stdio::null()), run(full()));
        let expected = if said == Some(0) { Some(74) } else { said };
        assert_eq!(lost, expected, "{arguments:?}");
        // Who reads no further has what he wanted.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(Stdio::from(writer)), said, "{arguments:?} to a closed pipe");
    }
}
