//! The rows through the built binary: one declaration in which every credential has a vendor or a target
//! of its own, each behind a relay that breaks one kind of call. `keyferry once` says which are in
//! trouble, publishes nothing that does not work, and when the wires are whole again, everything heals.

use std::process::{Output, Stdio};
use std::time::Duration;

use keyferry::sandbox::keycard::Keycard;
use keyferry::sandbox::secrets_manager::state::Content;
use serde_json::Value;
use tokio::process::Command;

use crate::bench::{CANARY, SPEED, Services};
use crate::certificate::{Authority, Certificate, acceptor};
use crate::clients::at_aws;
use crate::relay::{Fault, Relay, Wrong};
use crate::rows::{self, Becomes};
use crate::trust::{CERTIFICATES, Proxy, proxy};

/// The binary that `cargo test` built.
const BINARY: &str = env!("CARGO_BIN_EXE_keyferry");
const HOUR: Duration = Duration::from_secs(3_600);
/// Runs of `once`, an hour apart, within which everything heals.
const RUN_COUNT_MAX: usize = 8;
/// Of the rows between, which would say the same again, one in so many.
const SHARE: usize = 2;

/// The calls of a first creation at Keycard, and in which of a row's three ways each is judged.
const KEYCARD: [(&str, usize); 3] = [("/application-credentials?", 0), ("POST /zones/", 1), ("/oauth/2/token", 0)];
/// The same at AWS.
const AWS: [(&str, usize); 4] = [("ListSecrets", 0), ("CreateSecret", 1), ("DescribeSecret", 0), ("PutSecretValue", 1)];

/// One credential, with its own relay and what it breaks.
struct Tried {
    name: String,
    of: &'static str,
    what: String,
    relay: Relay,
    /// Whether the process can be fine all the same.
    becomes: Becomes,
    words: &'static [&'static str],
}

struct Fleet {
    services: Services,
    tried: Vec<Tried>,
    declaration: String,
    folder: tempfile::TempDir,
}

impl Fleet {
    async fn new() -> Self {
        let services = Services::start().await;
        let aws = services.sandbox.aws_address();
        let declaration = format!(
            "deployment = \"test\"\n[defaults]\nrotate = \"30d\"\n[defaults.secret]\nname = \"{{name}}\"\n\
             [aws.good]\nregion = \"us-east-1\"\nendpoint_url = \"http://{aws}\"\ncredentials = \"sandbox\"\n\
             [vendors.good]\nkind = \"keycard\"\nbase_url = \"http://{}\"\n{}",
            services.sandbox.vendor_address("keycard").unwrap(),
            crate::bench::declared("keycard").0,
        );
        let folder = tempfile::tempdir().unwrap();
        Self { services, tried: Vec::new(), declaration, folder }
    }

    /// Declares one credential more, at a vendor at `base` whose secrets are in the environment.
    fn add_at(&mut self, name: &str, base: &str) {
        self.declaration += &format!(
            "[vendors.{name}]\nkind = \"keycard\"\nbase_url = \"{base}\"\nzone = \"production\"\n\
             client_id = {{ env = \"WORD\" }}\nclient_secret = {{ env = \"WORD\" }}\n\
             [[credential]]\nname = \"{name}\"\naws = \"good\"\nvendor = \"{name}\"\ntype = \"password\"\napplication = \"{name}\"\n"
        );
        self.services.sandbox.keycard().seed_application("production", name);
    }

    /// Declares one credential more, with a vendor or a target behind `relay`.
    fn add(
        &mut self,
        what: String,
        service: &str,
        relay: Relay,
        fault: Fault,
        becomes: Becomes,
        words: &'static [&'static str],
    ) {
        let name = format!("row-{}", self.tried.len());
        let (mut target, mut vendor) = ("good", "good");
        let base = relay.base();
        if service == "aws" {
            target = &name;
            self.declaration += &format!(
                "[aws.{name}]\nregion = \"us-east-1\"\nendpoint_url = \"{base}\"\ncredentials = \"sandbox\"\n"
            );
        } else {
            vendor = &name;
            let access = crate::bench::declared("keycard").0;
            self.declaration += &format!("[vendors.{name}]\nkind = \"keycard\"\nbase_url = \"{base}\"\n{access}");
        }
        self.declaration += &format!(
            "[[credential]]\nname = \"{name}\"\naws = \"{target}\"\nvendor = \"{vendor}\"\ntype = \"password\"\napplication = \"{name}\"\n"
        );
        self.services.sandbox.keycard().seed_application("production", &name);
        let of = fault.of;
        relay.breaks(Some(fault));
        self.tried.push(Tried { name, of, what, relay, becomes, words });
    }

    /// Runs `keyferry once` with the services' clock, and gives its facts.
    async fn once(&self) -> (i32, Value) {
        self.once_with(&["--sandbox-speed", &SPEED.to_string()], &[]).await
    }

    /// The same with other words and in an environment.
    async fn once_with(&self, words: &[&str], environment: &[(&str, String)]) -> (i32, Value) {
        let path = self.folder.path().join("keyferry.toml");
        std::fs::write(&path, &self.declaration).unwrap();
        let mut command = Command::new(BINARY);
        command.env_clear().envs(environment.iter().cloned());
        command.args(["once", "--output", "json"]).args(words).arg("--config").arg(path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let Output { status, stdout, stderr } = command.spawn().unwrap().wait_with_output().await.unwrap();
        let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        let all = format!("{out}{err}");
        assert!(!all.contains(CANARY), "a secret is in the output: {all}");
        assert!(!all.contains("Sign in") && !all.contains("panicked"), "{all}");
        let facts = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{all}"));
        (status.code().expect("nobody killed it"), facts)
    }

    /// What `once` said of one credential: its state, and all the words.
    fn said(facts: &Value, name: &str) -> (String, String) {
        let rows = facts["credentials"].as_array().unwrap_or_else(|| panic!("{facts}"));
        let row = rows.iter().find(|row| row["name"] == name).cloned().unwrap_or_default();
        (row["state"].as_str().unwrap_or("unseen").to_owned(), format!("{row} {}", facts["unreachable"][name]))
    }

    /// What is published and does not work, or was never tried.
    fn published_wrong(&self) -> Vec<String> {
        let facts = self.services.sandbox.find::<Keycard>().unwrap().credentials();
        let sandbox = &self.services.sandbox;
        let now = sandbox.world.now();
        let current = sandbox.secrets_manager.with_state(|state| {
            let of = |tried: &Tried| {
                let secret = state.present("us-east-1", &tried.name, now)?;
                let version = secret.versions.iter().find(|version| version.stages.contains("AWSCURRENT"))?;
                match version.content.as_deref()? {
                    Content::Text(text) => Some((tried.name.clone(), text.clone())),
                    Content::Bytes(_) => None,
                }
            };
            self.tried.iter().filter_map(of).collect::<Vec<_>>()
        });
        let wrong = |(name, text): (String, String)| {
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            let works = facts
                .iter()
                .any(|fact| value["client_id"] == *fact.identifier && fact.deleted.is_none() && fact.login_count > 0);
            (!works).then_some(name)
        };
        current.into_iter().filter_map(wrong).collect()
    }

    fn live(&self) -> usize {
        let facts = self.services.sandbox.find::<Keycard>().unwrap().credentials();
        facts.iter().filter(|fact| fact.deleted.is_none()).count()
    }
}

/// Every second row at a call of Keycard's, and the others at one of AWS's; all of them would say the
/// same as in `clients`, at several times the price.
async fn fleet() -> Fleet {
    let mut fleet = Fleet::new().await;
    // What only time ends, or floods, is for `clients`.
    let rows = rows::all().into_iter().filter(|row| !matches!(row.wrong, Wrong::Silence | Wrong::Endless(..)));
    for (at, row) in rows.enumerate().filter(|(at, _)| at % SHARE == 0) {
        let (service, (of, way)) = match at / SHARE % 2 {
            0 => ("keycard", KEYCARD[at / SHARE / 2 % KEYCARD.len()]),
            _ => ("aws", AWS[at / SHARE / 2 % AWS.len()]),
        };
        let becomes = if service == "aws" { at_aws(&row)[way] } else { row.becomes[way] };
        let relay = fleet.services.relay(service, None).await;
        let what = format!("{service}, {of}, {}", row.what);
        fleet.add(what, service, relay, Fault { of, wrong: row.wrong }, becomes, row.words);
    }
    fleet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_says_what_broke_publishes_nothing_wrong_and_heals() {
    let fleet = fleet().await;
    let (code, facts) = fleet.once().await;
    let mut wrong = Vec::new();
    for tried in &fleet.tried {
        let (state, text) = Fleet::said(&facts, &tried.name);
        let states: &[&str] = match tried.becomes {
            Becomes::Good => &["ok", "working"],
            // A write in doubt is looked for, and found.
            Becomes::InDoubt if tried.what.starts_with("aws") => &["ok", "working", "retrying"],
            Becomes::Retry | Becomes::InDoubt => &["retrying", "working", "unseen"],
            Becomes::Denied | Becomes::Rejected | Becomes::Gone => &["blocked", "retrying"],
        };
        if tried.relay.count(tried.of) == 0 && !tried.what.ends_with("when it connects") {
            wrong.push(format!("{}: no such call was made, so nothing was tried", tried.what));
        }
        let said = |word: &&str| word.split('|').any(|one| text.contains(one));
        if !states.contains(&state.as_str()) || state == "retrying" && !tried.words.iter().all(said) {
            wrong.push(format!("{}: {state}: {text}", tried.what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((code, fleet.published_wrong()), (3, Vec::new()));
    println!("{} rows in one process", fleet.tried.len());

    fleet.tried.iter().for_each(|tried| tried.relay.breaks(None));
    let mut last = String::new();
    for _ in 0..RUN_COUNT_MAX {
        fleet.services.pass(HOUR).await;
        let (code, facts) = fleet.once().await;
        assert_eq!(fleet.published_wrong(), Vec::<String>::new());
        if code == 0 && fleet.live() == fleet.tried.len() {
            return;
        }
        last = format!("{code}, {} live of {}: {facts}", fleet.live(), fleet.tried.len());
    }
    panic!("it does not heal: {last}");
}

/// An authority of one's own, and a proxy, by the environment, as a unit's file gives them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_trusts_whom_it_is_told_to_and_goes_through_the_proxy() {
    let mut fleet = Fleet::new().await;
    let rows = CERTIFICATES.map(|(kind, words)| (format!("is-{kind:?}").to_lowercase(), kind, words));
    let mut relays = Vec::new();
    for (name, kind, _) in &rows {
        let relay = fleet.services.relay("keycard", Some(acceptor(*kind))).await;
        fleet.add_at(name, relay.base());
        relays.push(relay);
    }
    // The name is never resolved here: the proxy is asked for it, and wants to know who asks.
    fleet.add_at("far", "https://nobody.invalid");
    let proxy = proxy(Proxy::Says(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")).await;
    let environment = [
        ("WORD", "sandbox".to_owned()),
        ("SSL_CERT_FILE", Authority::of_tests().ca_file.display().to_string()),
        ("HTTPS_PROXY", format!("http://user:{CANARY}@{proxy}")),
        ("NO_PROXY", "localhost".to_owned()),
    ];
    let (code, facts) = fleet.once_with(&[], &environment).await;
    let mut wrong = Vec::new();
    for (name, kind, words) in rows {
        let (state, text) = Fleet::said(&facts, &name);
        let wanted = if kind == Certificate::Good { "ok" } else { "retrying" };
        let said = |word: &&str| word.split('|').any(|one| text.contains(one));
        if state != wanted || state == "retrying" && !words.iter().all(said) {
            wrong.push(format!("{kind:?}: {state}: {text}"));
        }
    }
    let (state, text) = Fleet::said(&facts, "far");
    if state != "retrying" || !text.contains("the proxy wants a user and a password") {
        wrong.push(format!("by the proxy: {state}: {text}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((code, fleet.live()), (3, 1));
}
