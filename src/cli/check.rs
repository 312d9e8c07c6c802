//! `check`: the declaration only, offline.

use serde_json::json;

use crate::cli::report::{Output, Printer, problems, say};
use crate::cli::{Source, code};
use crate::config;

/// Loads the declaration and says so.
pub fn run(source: &Source, printer: &Printer) -> anyhow::Result<u8> {
    let loaded = config::load(&source.config)?;
    let count = loaded.declaration.credentials.len();
    match printer.output() {
        Output::Text => {
            printer.warnings(&loaded.warnings);
            let plural = if count == 1 { "" } else { "s" };
            say(format_args!("{}: {count} credential{plural}, no problems", source.config.display()));
        }
        Output::Json => {
            printer.json(&json!({
                "credentials": count,
                "problems": problems(&loaded.warnings),
                "exit_code": code::FINE,
            }));
        }
    }
    Ok(code::FINE)
}
