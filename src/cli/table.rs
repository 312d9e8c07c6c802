//! How a fleet looks on a terminal: a table narrow enough for 80 columns, and below it a paragraph
//! for each thing that is wrong, once, however many credentials it stops.

use std::collections::BTreeMap;

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, TableStyle};

use crate::engine::snapshot::Status;
use crate::model::fault::Fault;
use crate::model::finding::{Finding, Outcome};
use crate::model::name::{Name, TargetName};
use crate::model::printable::printable;
use crate::model::time::{Timestamp, human};
use crate::rotation::Reason;
use crate::serve::Row;

/// Most names before a paragraph says how many more there are.
const NAMES_SHOWN_MAX: usize = 6;

/// One credential to be shown.
pub struct Entry<'a> {
    /// What is known of it.
    pub status: &'a Status,
    /// The same, as printed for machines.
    pub row: Row,
}

impl<'a> Entry<'a> {
    /// What there is to show of `name`.
    pub fn new(name: &Name, status: &'a Status) -> Self {
        Self { status, row: Row::new(name, status) }
    }

    /// Few words: the whole sentence stands below the table.
    fn why(&self) -> String {
        match &self.status.fault {
            Some(Fault { answer, code: Some(code), .. }) => format!("{answer} ({code})"),
            Some(Fault { answer, code: None, .. }) => answer.clone(),
            // Who, until when and why stand below.
            None if self.status.reason == Reason::Paused => self.status.reason.sentence().into(),
            None => self.row.message.clone(),
        }
    }

    fn age(&self) -> String {
        let since = self.status.published.as_ref().map(|published| published.since);
        since.map_or("-".into(), |since| human(self.status.looked.since(since)))
    }

    fn next(&self) -> String {
        match self.status.look_again {
            None => "-".into(),
            Some(_) if self.status.looked == Timestamp::default() => "-".into(),
            Some(date) if date <= self.status.looked => "now".into(),
            Some(date) => format!("in {}", human(date.since(self.status.looked))),
        }
    }

    /// How many live, where anybody could look.
    fn live(&self) -> String {
        let unseen = self.status.fault.is_some() && self.status.published.is_none();
        if unseen { "-".into() } else { self.row.live.to_string() }
    }

    /// The hint, with `NAME` for the credential's name where a reason's hint has it.
    fn hint_for_any(&self) -> Option<String> {
        let general = self.status.reason.hint().filter(|_| self.status.fault.is_none() && !self.status.dead);
        let version = self.row.version.as_deref().unwrap_or("<version id>");
        general.map(|hint| hint.replace("<name>", "NAME").replace("<version id>", version)).or(self.row.hint.clone())
    }

    /// What consumers have, while this is not mended.
    pub fn so_far(&self) -> &'static str {
        match (&self.status.published, self.status.reason) {
            _ if self.status.dead => "consumers may be reading a value that no longer works",
            (Some(_), _) => "nothing that consumers read was changed; what is published stays current",
            (None, Reason::NotSeen) => "nothing was changed",
            (None, _) => "nothing is published by keyferry",
        }
    }
}

/// Whether there is colour.
#[derive(Clone, Copy)]
pub struct Style {
    /// Whether there is.
    pub colour: bool,
}

impl Style {
    /// The fleet at a glance.
    pub fn fleet(self, entries: &[Entry<'_>]) -> String {
        let mut table = self.empty(["CREDENTIAL", "STATE", "AGE", "LIVE", "NEXT", "WHY"]);
        for entry in entries {
            let row = &entry.row;
            table.add_row([
                Cell::new(&row.name),
                self.state(row.state),
                Cell::new(entry.age()),
                Cell::new(entry.live()),
                Cell::new(entry.next()),
                Cell::new(printable(&entry.why())),
            ]);
        }
        rendered(table)
    }

    /// What would be done: the word of a step beside each credential.
    pub fn plan(self, entries: &[(&'static str, Entry<'_>)]) -> String {
        let mut table = self.empty(["CREDENTIAL", "STATE", "WOULD", "NEXT", "BECAUSE"]);
        for (step, entry) in entries {
            table.add_row([
                Cell::new(&entry.row.name),
                self.state(entry.row.state),
                Cell::new(step),
                Cell::new(entry.next()),
                Cell::new(printable(&entry.why())),
            ]);
        }
        rendered(table)
    }

    /// What a preflight found, one line a statement.
    pub fn findings(self, findings: &[Finding]) -> String {
        let mut table = self.empty(["STATEMENT", "OUTCOME", "SEEN"]);
        for finding in findings {
            let colour = match finding.outcome {
                Outcome::Held => Color::Green,
                Outcome::NotHeld => Color::Red,
                Outcome::Untold => Color::Yellow,
                Outcome::Untried => Color::Reset,
            };
            let outcome = Cell::new(finding.outcome.word());
            let outcome = if self.colour { outcome.fg(colour) } else { outcome };
            table.add_row([Cell::new(finding.statement.name), outcome, Cell::new(printable(&finding.seen))]);
        }
        rendered(table)
    }

    /// A paragraph for each problem and each remark: what, where, why, what stands, what to do.
    pub fn details<'a>(
        self,
        entries: impl IntoIterator<Item = &'a Entry<'a>>,
        unreachable: &BTreeMap<TargetName, Fault>,
    ) -> Vec<String> {
        let mut paragraphs = Vec::new();
        for (target, fault) in unreachable {
            let hint = fault.hint.as_deref();
            // Some faults name the target themselves.
            let text = fault.to_string();
            let title =
                if text.contains(&format!("target {target}")) { text } else { format!("target {target}: {text}") };
            paragraphs.push(paragraph(&title, "nothing was changed", hint));
        }
        // The same words for several credentials are said once; the first one's request id stands
        // for the others'.
        let mut groups: Vec<(String, Vec<&Entry<'a>>)> = Vec::new();
        let mut foreign = Vec::new();
        let mut stripped: Vec<&Entry<'a>> = Vec::new();
        for entry in entries {
            if entry.row.foreign > 0 {
                foreign.push(format!("{} ({})", entry.row.name, entry.row.foreign));
            }
            if entry.status.stripped {
                stripped.push(entry);
            }
            let told = entry.status.fault.as_ref().is_some_and(|fault| unreachable.values().any(|one| one == fault));
            let needed = entry.status.exit_code() != 0 || (entry.row.state != "ok" && entry.row.hint.is_some());
            if told || !needed {
                continue;
            }
            let key = key(entry);
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, same)) => same.push(entry),
                None => groups.push((key, vec![entry])),
            }
        }
        for (_, same) in groups {
            let row = &same[0].row;
            let title = format!("{} ({}): {}", names(&same), row.state, row.message);
            let hint = if same.len() > 1 { same[0].hint_for_any() } else { row.hint.clone() };
            paragraphs.push(paragraph(&title, same[0].so_far(), hint.as_deref()));
        }
        if !stripped.is_empty() {
            paragraphs.push(format!(
                "{}: keyferry's owner tags were taken off the AWS secret; it goes on, by its own versions, but a pause \
                 or an acceptance would be lost in the same way\n  hint: in Terraform's AWS provider, \
                 `ignore_tags {{ key_prefixes = [\"keyferry:\"] }}`",
                names(&stripped)
            ));
        }
        if !foreign.is_empty() {
            paragraphs.push(format!(
                "credentials at the vendor, in the same place, that are not keyferry's and are never touched: {}",
                foreign.join(", ")
            ));
        }
        paragraphs
    }

    /// A table with these headings and no lines.
    fn empty<const N: usize>(self, headings: [&str; N]) -> Table {
        let mut table = Table::new();
        table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(headings);
        table
    }

    /// A state, in its colour.
    fn state(self, word: &str) -> Cell {
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

/// Only the name and the last column may be broken over lines.
fn rendered(mut table: Table) -> String {
    let last = table.column_count().saturating_sub(1);
    for (at, column) in table.column_iter_mut().enumerate() {
        if at != 0 && at != last {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        column.set_padding((u16::from(at != 0), 1));
    }
    // Cells are filled up with blanks; nobody wants them at the end of a line.
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

fn key(entry: &Entry<'_>) -> String {
    let message = match &entry.status.fault {
        Some(fault) => Fault { request: None, ..fault.clone() }.to_string(),
        None => entry.row.message.clone(),
    };
    format!("{}\n{message}\n{}\n{:?}", entry.row.state, entry.so_far(), entry.hint_for_any())
}

fn names(same: &[&Entry<'_>]) -> String {
    few(&same.iter().map(|entry| entry.row.name.as_str()).collect::<Vec<_>>())
}

/// Names, and how many more there are.
pub fn few(all: &[&str]) -> String {
    let shown = &all[..all.len().min(NAMES_SHOWN_MAX)];
    match all.len().saturating_sub(NAMES_SHOWN_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn paragraph(title: &str, so_far: &str, hint: Option<&str>) -> String {
    let hint = hint.map_or(String::new(), |hint| format!("\n  hint: {hint}"));
    format!("{title}\n  so far: {so_far}{hint}")
}
