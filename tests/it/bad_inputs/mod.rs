//! What people and services do wrong: each row is what is wrong, and what keyferry says, in which
//! state it leaves the credential, with which exit code; nothing is minted that can't be stored,
//! nothing is lost, nothing that is not keyferry's is touched, and no message holds a secret.

pub mod command;
mod files;
mod people;
mod services;
mod terminal;
mod vendors;

use crate::stage::Stage;

/// What the table, the log and the exit code would show of `app`.
struct Shown {
    state: &'static str,
    code: u8,
    reason: &'static str,
    /// The message, and the hint after it.
    text: String,
    hinted: bool,
}

fn shown(stage: &Stage) -> Shown {
    let status = stage.status("app");
    let row = keyferry::serve::Row::new(&keyferry::model::name::Name::new("app").unwrap(), &status);
    let text = format!("{}\n  hint: {}", row.message, row.hint.as_deref().unwrap_or("-"));
    let everything = format!("{text} {status:?}");
    // Every secret that the sandbox makes holds this word.
    assert!(!everything.contains("kfcanary"), "{everything}");
    Shown { state: row.state, code: status.exit_code(), reason: row.reason, text, hinted: row.hint.is_some() }
}
