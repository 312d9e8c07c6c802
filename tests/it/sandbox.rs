//! `keyferry sandbox` itself: the whole show as a process, on any free ports.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::bad_inputs::command::Folder;
use crate::daemon::until;
use crate::stage::credential;

/// The process; killed when dropped, and its daemon with it.
struct Show(Child);

impl Drop for Show {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_with_includes_is_run_on_any_ports_and_told_as_it_is_at_the_end() {
    let folder = Folder::new();
    let head = "include = [\"more.toml\"]\ndeployment = \"test\"\n[aws]\nregion = \"us-east-1\"\n\
                endpoint_url = \"http://127.0.0.1:7701\"\n\
                sts_endpoint_url = \"http://127.0.0.1:7709\"\ncredentials = \"sandbox\"\n[vendors.keycard]\n\
                kind = \"keycard\"\nbase_url = \"http://127.0.0.1:7702\"\nzone = \"production\"\n\
                client_id = { sandbox = true }\nclient_secret = { sandbox = true }\n[defaults]\nrotate = \"30d\"\n";
    folder.write("more.toml", credential("more"), 0o600);
    let path = folder.write("main.toml", format!("{head}{}", credential("app")), 0o600);
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(["sandbox", "--config", &path, "--aws-port=0", "--sts-port=0", "--control-port=0", "--status-port=0"]);
    for vendor in ["keycard=0", "workos=0", "chatbotkit=0"] {
        command.args(["--vendor-port", vendor]);
    }
    command
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut show = Show(command.spawn().unwrap());
    let (mut lines, said) = (BufReader::new(show.0.stdout.take().unwrap()), Arc::new(Mutex::new(String::new())));
    let heard = Arc::clone(&said);
    let reader = std::thread::spawn(move || {
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
            heard.lock().unwrap().push_str(&std::mem::take(&mut line));
        }
        let _ = lines.read_to_string(&mut line);
    });
    let text = || said.lock().unwrap().clone();
    until("its page has an address", || text().contains("status page")).await;
    let address = text().split("status page").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let facts = Arc::new(Mutex::new(String::new()));
    let asked = Arc::clone(&facts);
    let asking = tokio::spawn(async move {
        loop {
            if let Ok(answer) = reqwest::get(format!("{address}status.json")).await {
                *asked.lock().unwrap() = answer.text().await.unwrap_or_default();
            }
            tokio::task::yield_now().await;
        }
    });
    until("both are current", || facts.lock().unwrap().matches("\"reason\":\"healthy\"").count() == 2).await;
    asking.abort();
    let id = show.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let mut code = None;
    until("it ended", || {
        code = show.0.try_wait().unwrap();
        code.is_some()
    })
    .await;
    reader.join().unwrap();
    let table = text();
    assert_eq!(code.and_then(|code| code.code()), Some(0), "{table}");
    let row = |name: &str| table.lines().any(|line| line.starts_with(name) && line.contains(" ok "));
    assert!(row("app") && row("more") && table.contains(", 0 failures"), "{table}");
}
