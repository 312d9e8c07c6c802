//! What became of each credential that a verb was asked about, as lines or as JSON.

use std::future::Future;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::cli::code;
use crate::cli::report::{Output, Printer, say};
use crate::model::credential::Credential;
use crate::model::fault::Fault;
use crate::model::name::Name;
use crate::rotation::person::Refusal;

/// Credentials worked on at once.
const AT_ONCE_MAX: usize = 8;

/// One credential's.
pub struct Outcome {
    /// Which.
    pub name: Name,
    /// Whether what was asked for was done, or had been done before.
    pub done: bool,
    /// Its exit code.
    pub code: u8,
    /// One sentence, and lines below it where more must be said.
    pub message: String,
    /// What a person can do.
    pub hint: Option<String>,
    /// For machines only.
    pub facts: Map<String, Value>,
}

impl Outcome {
    /// It was done.
    pub fn done(name: &Name, message: impl Into<String>) -> Self {
        Self {
            name: name.clone(),
            done: true,
            code: code::FINE,
            message: message.into(),
            hint: None,
            facts: Map::new(),
        }
    }

    /// It was not done, though nothing failed.
    pub fn undone(name: &Name, code: u8, message: impl Into<String>) -> Self {
        Self { done: false, code, ..Self::done(name, message) }
    }

    /// It was refused: `word` says what was not done ("not paused").
    pub fn refused(name: &Name, word: &str, refusal: &Refusal) -> Self {
        let hint = refusal.hint().map(|hint| hint.replace("<name>", name.as_str()));
        Self { hint, ..Self::undone(name, code::FAILING, format!("{word}: {refusal}")) }.fact("refused", json!(true))
    }

    /// It failed.
    pub fn failed(name: &Name, word: &str, fault: &Fault) -> Self {
        let code = if fault.class == crate::model::fault::Class::Bug { code::BUG } else { code::FAILING };
        Self { hint: fault.hint.clone(), ..Self::undone(name, code, format!("{word}: {fault}")) }
    }

    /// With what a person can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With one fact more for machines.
    #[must_use]
    pub fn fact(mut self, key: &str, value: Value) -> Self {
        self.facts.insert(key.into(), value);
        self
    }
}

/// Does something about each of `wanted`, a few at a time; the outcomes are in their order.
pub async fn each<Fut>(
    wanted: &[Arc<Credential>],
    printer: &Printer,
    doing: &'static str,
    act: impl Fn(Arc<Credential>) -> Fut,
) -> Vec<Outcome>
where
    Fut: Future<Output = Outcome> + Send + 'static,
{
    let bar = printer.progress(wanted.len(), doing);
    let mut waiting = wanted.iter();
    let mut running = JoinSet::new();
    let mut outcomes = Vec::new();
    loop {
        while running.len() < AT_ONCE_MAX {
            let Some(credential) = waiting.next() else { break };
            running.spawn(act(Arc::clone(credential)));
        }
        match running.join_next().await {
            None => break,
            Some(Ok(outcome)) => {
                bar.inc(1);
                outcomes.push(outcome);
            }
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    bar.finish_and_clear();
    let place = |outcome: &Outcome| wanted.iter().position(|one| one.name == outcome.name);
    outcomes.sort_by_key(place);
    outcomes
}

/// Prints them; `done` is the key that says in JSON whether it was done. Gives the worst exit code.
pub fn print(outcomes: &[Outcome], done: &str, printer: &Printer) -> u8 {
    let worst = outcomes.iter().map(|one| one.code).max().unwrap_or(code::FINE);
    match printer.output() {
        Output::Json => {
            let rows: Vec<Value> = outcomes.iter().map(|one| row(one, done)).collect();
            printer.json(&json!({ "credentials": rows, "exit_code": worst }));
        }
        Output::Text => {
            for one in outcomes {
                say(format_args!("{}: {}", one.name, one.message));
                if let Some(hint) = &one.hint {
                    say(format_args!("  hint: {hint}"));
                }
            }
        }
    }
    worst
}

fn row(one: &Outcome, done: &str) -> Value {
    let mut row = json!({ "name": one.name.as_str(), "message": one.message, "hint": one.hint });
    row[done] = one.done.into();
    for (key, value) in &one.facts {
        row[key] = value.clone();
    }
    row
}
