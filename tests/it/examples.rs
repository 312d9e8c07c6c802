//! The declarations in `config/`: each is accepted as it stands, and each comes up in the sandbox with
//! nothing changed but where the services are and where admin secrets and sources come from.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use keyferry::config;
use keyferry::sandbox;
use keyferry::serve::Row;
use keyferry::vendors;
use serde_json::{Value, json};

use crate::bad_inputs::command::{served, text, words};
use crate::stage::Stage;

/// What stands in the files and environment variables that examples name as sources, by name: what
/// `usage` asks for.
const SOURCES: [(&str, &str); 2] = [
    ("legacy-key", "kfcanary-legacy"),
    ("partner-signing-key", "-----BEGIN PRIVATE KEY-----\nkfcanary\n-----END PRIVATE KEY-----"),
];
/// The same for AWS secrets: name, key, value.
const SECRETS: [(&str, &str, &str); 2] =
    [("shop/api-key", "key", "kfcanary-shop"), ("warehouse/login", "basic", "user:kfcanary")];

/// Every example: its path and text.
fn examples() -> BTreeMap<String, String> {
    let folder = std::fs::read_dir("config").unwrap().map(|entry| entry.unwrap().path());
    folder.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect()
}

/// The example with the services of a stage, whose own declaration is `head`: every other address
/// goes, admin secrets are the sandbox's, sources are files of `folder`.
fn moved(example: &str, head: &str, folder: &Path) -> String {
    let quoted = |line: &str| line.split('"').nth(1).unwrap_or_default().to_owned();
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let lines: Vec<&str> = head.lines().collect();
    let aws = lines.iter().find(|line| line.starts_with("endpoint_url")).map(|line| quoted(line)).unwrap();
    let sts = lines.iter().find(|line| line.starts_with("sts_endpoint_url")).map(|line| quoted(line)).unwrap();
    let vendors: BTreeMap<String, String> = lines
        .windows(2)
        .filter(|pair| pair[0].starts_with("kind") && pair[1].starts_with("base_url"))
        .map(|pair| (quoted(pair[0]), quoted(pair[1])))
        .collect();
    let (mut moved, mut section) = (String::new(), String::new());
    for line in example.lines() {
        if line.starts_with('[') {
            section = line.to_owned();
        }
        match (key(line).as_str(), section.starts_with("[vendors.")) {
            ("endpoint_url" | "sts_endpoint_url" | "account" | "assume_role" | "credentials", _)
                if section.starts_with("[aws") => {}
            ("base_url" | "authkit_domain", _) => {}
            ("kind", true) => writeln!(moved, "{line}\nbase_url = \"{}\"", vendors[&quoted(line)]).unwrap(),
            ("region", false) => {
                writeln!(moved, "region = \"us-east-1\"\nendpoint_url = \"{aws}\"").unwrap();
                writeln!(moved, "sts_endpoint_url = \"{sts}\"\ncredentials = \"sandbox\"").unwrap();
            }
            (admin, true) if line.contains("= { ") => writeln!(moved, "{admin} = {{ sandbox = true }}").unwrap(),
            ("value", false) if line.contains("{ file =") || line.contains("{ systemd_credential =") => {
                let name = quoted(line);
                let name = name.rsplit('/').next().unwrap();
                let (_, content) = SOURCES.iter().find(|(known, _)| *known == name).expect("a source in the list");
                std::fs::write(folder.join(name), content).unwrap();
                writeln!(moved, "value = {{ file = \"{}\" }}", folder.join(name).display()).unwrap();
            }
            (_, _) => writeln!(moved, "{line}").unwrap(),
        }
    }
    moved
}

#[tokio::test]
async fn every_example_is_accepted_as_it_stands() {
    for path in examples().keys() {
        let output = served(words(&format!("check --config {path}")), Vec::new()).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert!(text(&output).contains(", no problems"), "{path}: {}", text(&output));
    }
}

#[tokio::test]
async fn every_example_comes_up_and_consumers_can_log_in_with_what_it_publishes() {
    for (path, example) in examples() {
        let folder = tempfile::tempdir().unwrap();
        let stage = Stage::edited("", |head| moved(&example, &head, folder.path())).await;
        for (number, (name, key, value)) in SECRETS.iter().enumerate() {
            let token = format!("{number:032}");
            let value = json!({ *key: value }).to_string();
            let body = json!({ "Name": name, "SecretString": value, "ClientRequestToken": token });
            stage.person("CreateSecret", body).await;
        }
        stage.pass().await;
        stage.pass().await;
        for credential in &stage.engine.declaration().credentials {
            let row = Row::new(&credential.name, &stage.status(credential.name.as_str()));
            assert_eq!((row.state, row.verified), ("ok", true), "{path} {}: {}", credential.name, row.message);
        }
        assert_eq!(stage.failures(), 0, "{path}");
    }
}

/// The example fleet that a newcomer runs first has one of every kind.
#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_brings_up_its_whole_fleet_with_every_kind_in_it_and_no_failure() {
    let declared = config::load_text(&[("sandbox.toml", &examples()["config/sandbox.toml"])]).unwrap().declaration;
    for spec in vendors::ALL {
        for of in spec.types {
            let shown = declared
                .credentials
                .iter()
                .any(|one| declared.vendors[&one.vendor].spec.kind == spec.kind && one.type_name == of.name);
            assert!(shown, "config/sandbox.toml has no example of a {} of {}", of.name, spec.kind);
        }
    }
    let ports: String = sandbox::ALL.iter().fold(String::new(), |mut ports, spec| {
        write!(ports, " --vendor-port {}=0", spec.kind).unwrap();
        ports
    });
    let line =
        format!("sandbox --once --output json --aws-port 0 --sts-port 0 --control-port 0 --status-port 0{ports}");
    let output = served(words(&line), Vec::new()).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let rows = document["credentials"].as_array().unwrap();
    assert_eq!(rows.len(), declared.credentials.len());
    assert!(rows.iter().all(|row| row["state"] == "ok"), "{document}");
    assert_eq!(document["consumer"]["failures"], 0);
    assert!(document["consumer"]["logins"].as_u64().unwrap() > 0);
}
