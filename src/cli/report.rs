//! How facts, errors and hints are printed, and which exit code they make.

use std::io::{IsTerminal, Write};

use anyhow::Error;
use clap::ValueEnum;
use comfy_table::{Cell, Color, ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::cli::code;
use crate::config::Report;
use crate::engine::snapshot::{Board, Status};
use crate::model::fault::Fault;
use crate::serve::Row;

/// How facts are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For machines: stable shapes.
    Json,
}

/// Prints in one form.
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

    /// Prints one JSON document.
    pub fn json(&self, value: &Value) {
        // A closed pipe (`| head`) is no reason to fail.
        let _ = writeln!(std::io::stdout(), "{value:#}");
    }

    /// Prints a declaration's warnings to standard error.
    pub fn warnings(&self, warnings: &Report) {
        if !warnings.is_empty() && self.output == Output::Text {
            eprint!("{}", warnings.render(std::io::stderr().is_terminal() && self.colour));
        }
    }

    /// Prints an error with its hint; gives its exit code.
    pub fn error(&self, error: &Error) -> u8 {
        if let Some(report) = error.downcast_ref::<Report>() {
            match self.output {
                Output::Text => eprint!("{}", report.render(std::io::stderr().is_terminal() && self.colour)),
                Output::Json => self.json(&json!({ "problems": report.to_json() })),
            }
            return code::USAGE;
        }
        let fault = error.downcast_ref::<Fault>();
        let hint = fault.and_then(|fault| fault.hint.clone());
        match self.output {
            Output::Text => {
                eprintln!("error: {error:#}");
                if let Some(hint) = &hint {
                    eprintln!("  hint: {hint}");
                }
            }
            Output::Json => self.json(&json!({ "error": format!("{error:#}"), "hint": hint })),
        }
        if fault.is_some() { code::FAILING } else { code::USAGE }
    }

    /// Progress on standard error: on a terminal, for people.
    pub fn progress(&self, count: usize, doing: &'static str) -> ProgressBar {
        let visible = self.output == Output::Text && std::io::stderr().is_terminal();
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
        let mut rows: Vec<(u8, Row)> = all
            .iter()
            .map(|(name, status)| (status.exit_code(), Row::new(name, status)))
            .filter(|(code, _)| !problems_only || *code != code::FINE)
            .collect();
        // Problems first; otherwise the order of the names.
        rows.sort_by_key(|(code, _)| std::cmp::Reverse(*code));
        let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        match self.output {
            Output::Json => {
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
            Output::Text if !unreachable.is_empty() => {
                for (target, fault) in &unreachable {
                    println!("target {target}: {fault}");
                    if let Some(hint) = &fault.hint {
                        println!("  hint: {hint}");
                    }
                }
                self.table(&rows);
            }
            Output::Text if rows.is_empty() => {
                let what = if problems_only { "no problems" } else { "no credentials declared" };
                println!("{what}");
            }
            Output::Text => self.table(&rows),
        }
        worst
    }

    fn table(&self, rows: &[Row]) {
        let mut table = self.empty_table(&["CREDENTIAL", "STATE", "WHY", "CURRENT", "VERIFIED", "LIVE", "NEXT"]);
        for row in rows {
            table.add_row([
                Cell::new(&row.name),
                self.state(row.state),
                Cell::new(&row.message),
                Cell::new(row.since.as_deref().map_or("-".into(), |since| format!("since {since}"))),
                Cell::new(if row.verified { "yes" } else { "no" }),
                Cell::new(row.live),
                Cell::new(row.next.as_deref().unwrap_or("-")),
            ]);
        }
        println!("{table}");
        for row in rows.iter().filter(|row| row.state != "ok") {
            if let Some(hint) = &row.hint {
                println!("{}: hint: {hint}", row.name);
            }
        }
        for row in rows.iter().filter(|row| row.foreign > 0) {
            println!("{}: {} credential(s) in the same place are not keyferry's; never touched", row.name, row.foreign);
        }
    }

    /// A table with these headings and no lines.
    pub fn empty_table(&self, headings: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(comfy_table::TableStyle::new()).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(headings.to_vec());
        table
    }

    /// A state, in its colour.
    pub fn state(&self, word: &str) -> Cell {
        let colour = match word {
            "ok" => Color::Green,
            "working" => Color::Blue,
            "retrying" | "paused" => Color::Yellow,
            _ => Color::Red,
        };
        let cell = Cell::new(word);
        if self.colour { cell.fg(colour) } else { cell }
    }
}
