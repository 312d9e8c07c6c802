//! `check`: the declaration only, offline.

use std::path::Path;

use serde_json::json;

use crate::cli::code;
use crate::cli::report::{Output, Printer};
use crate::config;

/// Loads the declaration and says so.
pub fn run(path: &Path, printer: &Printer) -> anyhow::Result<u8> {
    let loaded = config::load(path)?;
    let count = loaded.declaration.credentials.len();
    match printer.output() {
        Output::Text => {
            printer.warnings(&loaded.warnings);
            let plural = if count == 1 { "" } else { "s" };
            println!("{}: {count} credential{plural}, no problems", path.display());
        }
        Output::Json => {
            printer.json(&json!({ "credentials": count, "problems": [], "warnings": loaded.warnings.to_json() }));
        }
    }
    Ok(code::FINE)
}
