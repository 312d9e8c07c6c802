//! How facts, errors and hints are printed, and which exit code they make.

use std::fmt::{self, Display};
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Error;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::cli::code;
use crate::cli::table::{Entry, Style, few};
use crate::config::Report;
use crate::engine::snapshot::{Board, Status};
use crate::model::fault::{Class, Fault};
use crate::model::printable::{printable, printable_in_colour, printable_json};
use crate::rotation::Turn;

/// How facts are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For machines: stable shapes.
    Json,
}

/// What is wrong with what was asked for, and what to write instead.
#[derive(Debug)]
pub struct Wrong {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Wrong {
    /// Without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: code::USAGE }
    }

    /// Nothing is wrong with what was asked for: this is the exit code of what went wrong.
    #[must_use]
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// With what to write instead.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}

/// Prints in one form. A closed pipe (`| head`) is no reason to fail; that anything else could not be
/// written is remembered for the exit code.
pub struct Printer {
    output: Output,
    colour: bool,
}

impl Printer {
    /// A printer to standard output; in colour only on a terminal that wants it.
    pub fn new(output: Output) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { output, colour: wanted && std::io::stdout().is_terminal() }
    }

    /// The form.
    pub fn output(&self) -> Output {
        self.output
    }

    /// How tables look.
    pub fn style(&self) -> Style {
        Style { colour: self.colour }
    }

    /// Prints one JSON document.
    pub fn json(&self, value: &Value) {
        say(printable_json(&format!("{value:#}")));
    }

    /// Tells a declaration's warnings: to standard error, or where that is for machines, to the log.
    pub fn warnings(&self, warnings: &Report) {
        match self.output {
            _ if warnings.is_empty() => {}
            Output::Text => self.complain_of(warnings),
            Output::Json => {
                for problem in problems(warnings) {
                    tracing::warn!(%problem, "the declaration");
                }
            }
        }
    }

    /// Prints an error with its hint; gives its exit code.
    pub fn error(&self, error: &Error) -> u8 {
        if let Some(report) = error.downcast_ref::<Report>() {
            match self.output {
                Output::Text => self.complain_of(report),
                Output::Json => {
                    let mut document = report.to_json();
                    document["exit_code"] = code::USAGE.into();
                    self.json(&document);
                }
            }
            return code::USAGE;
        }
        let fault = error.downcast_ref::<Fault>();
        let wrong = error.downcast_ref::<Wrong>();
        let hint = fault.and_then(|fault| fault.hint.clone()).or_else(|| wrong.and_then(|wrong| wrong.hint.clone()));
        // Only what is wrong with the command or the declaration says so; whoever starts a service again
        // must not give up because a port was busy.
        let outside = error.chain().any(|cause| cause.is::<std::io::Error>());
        let worst = match wrong {
            Some(wrong) => wrong.code,
            None if fault.is_some_and(|fault| fault.class == Class::Bug) => code::BUG,
            None if fault.is_some() || outside => code::FAILING,
            None => code::USAGE,
        };
        match self.output {
            Output::Text => {
                self.complain(format_args!("error: {error:#}"));
                if let Some(hint) = &hint {
                    self.complain(format_args!("  hint: {hint}"));
                }
            }
            Output::Json => self.json(&json!({ "error": format!("{error:#}"), "hint": hint, "exit_code": worst })),
        }
        worst
    }

    /// Progress on standard error: on a terminal, for people.
    pub fn progress(&self, count: usize, doing: &'static str) -> ProgressBar {
        let visible = count > 0 && self.output == Output::Text && std::io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(count as u64), target);
        let style = ProgressStyle::with_template("{spinner} {prefix} {pos}/{len} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(doing);
        bar
    }

    /// Prints the fleet as a table or as JSON; gives the worst exit code.
    pub fn fleet(&self, board: &Board, problems_only: bool, more: Value) -> u8 {
        let all = board.all();
        let unreachable = board.unreachable();
        let failing = if unreachable.is_empty() { code::FINE } else { code::FAILING };
        let worst = all.values().map(Status::exit_code).max().unwrap_or(code::FINE).max(failing);
        let mut entries: Vec<Entry> = all
            .iter()
            .map(|(name, status)| Entry::new(name, status))
            .filter(|entry| !problems_only || entry.status.exit_code() != code::FINE)
            .collect();
        // Problems first; otherwise the order of the names.
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.status.exit_code()));
        match self.output {
            Output::Json => {
                let rows: Vec<_> = entries.iter().map(|entry| &entry.row).collect();
                let next_due = all.values().filter_map(|status| status.look_again).min().map(|date| date.to_string());
                let targets: Map<String, Value> =
                    unreachable.iter().map(|(target, fault)| (target.to_string(), fault.to_string().into())).collect();
                let mut document =
                    json!({ "credentials": rows, "unreachable": targets, "next_due": next_due, "exit_code": worst });
                if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
                    document.extend(more);
                }
                self.json(&document);
            }
            Output::Text => {
                if entries.is_empty() {
                    say(match (problems_only, failing) {
                        (true, code::FINE) => "no problems",
                        (true, _) => "no problem of a credential is known",
                        (false, _) => "no credentials declared",
                    });
                } else {
                    say_table(self.style().fleet(&entries));
                }
                self.say_all(self.style().details(&entries, &unreachable));
                let paused: Vec<&str> =
                    all.iter().filter(|(_, one)| one.turn() == Turn::Paused).map(|(name, _)| name.as_str()).collect();
                if problems_only && !paused.is_empty() {
                    say(format_args!("\npaused, so that nothing happens to them: {}", few(&paused)));
                }
            }
        }
        worst
    }

    /// Prints paragraphs, with an empty line before each.
    pub fn say_all(&self, paragraphs: Vec<String>) {
        for paragraph in paragraphs {
            say(format_args!("\n{paragraph}"));
        }
    }

    fn complain(&self, text: impl Display) {
        write(std::io::stderr(), &printable(&text.to_string()));
    }

    /// Tells a declaration's problems to a person, in colour where there is some.
    fn complain_of(&self, report: &Report) {
        let colour = std::io::stderr().is_terminal() && self.colour;
        write(std::io::stderr(), &in_colour(colour, &report.render(colour)));
    }
}

/// Whether something could not be written.
static UNWRITTEN: AtomicBool = AtomicBool::new(false);

/// The exit code, where all that should have been printed was; another one in place of [`code::FINE`]
/// where it was not.
pub fn if_written(code: u8) -> u8 {
    let lost = UNWRITTEN.load(Ordering::Relaxed);
    if lost && code == code::FINE { code::UNWRITTEN } else { code }
}

/// Remembers that something could not be written, unless nobody wanted to read on.
pub fn note_written(written: std::io::Result<()>) {
    if written.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) {
        UNWRITTEN.store(true, Ordering::Relaxed);
    }
}

fn write(mut out: impl Write, text: &str) {
    note_written(writeln!(out, "{text}").and_then(|()| out.flush()));
}

fn in_colour(colour: bool, text: &str) -> String {
    if colour { printable_in_colour(text) } else { printable(text).into_owned() }
}

/// Prints one line, or several, to standard output.
pub fn say(text: impl Display) {
    write(std::io::stdout(), &printable(&text.to_string()));
}

/// Prints what [`Style`] made: its cells are printable, and it may be in colour.
pub fn say_table(table: impl Display) {
    write(std::io::stdout(), &in_colour(std::io::stdout().is_terminal(), &table.to_string()));
}

/// The problems of a report, for machines.
pub fn problems(report: &Report) -> Vec<Value> {
    let mut report = report.to_json();
    match report["problems"].take() {
        Value::Array(problems) => problems,
        _ => Vec::new(),
    }
}
