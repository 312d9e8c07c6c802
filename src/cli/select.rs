//! Which credentials a verb is about: by name, by vendor, by tag, or all of them; never all of
//! them because nothing was said.

use std::sync::Arc;

use crate::cli::report::Wrong;
use crate::config::Declaration;
use crate::model::credential::Credential;

/// A name is guessed at up to this length.
const GUESS_CHAR_COUNT_MAX: usize = 128;
/// Most names that a message lists.
const NAMES_SHOWN_MAX: usize = 12;

/// Which credentials.
#[derive(clap::Args)]
pub struct Selection {
    /// Declared names.
    #[arg(value_name = "NAME", conflicts_with_all = ["all", "vendor", "tags"])]
    pub names: Vec<String>,
    /// Every declared credential.
    #[arg(long, conflicts_with_all = ["vendor", "tags"])]
    pub all: bool,
    /// Those made at this vendor, by its name in the declaration.
    #[arg(long, value_name = "VENDOR")]
    pub vendor: Option<String>,
    /// Those whose declared AWS tags hold this one; may be given several times.
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    pub tags: Vec<(String, String)>,
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("write KEY=VALUE".into()),
    }
}

impl Selection {
    /// Whether it was given by more than names: then its size may surprise.
    pub fn by_rule(&self) -> bool {
        self.names.is_empty()
    }

    /// For verbs that change something: says so when nothing was said. `undone` says what was not
    /// done: "nothing was paused".
    ///
    /// # Errors
    /// When nothing was said.
    pub fn require(&self, undone: &str) -> Result<(), Wrong> {
        if self.names.is_empty() && !self.all && self.vendor.is_none() && self.tags.is_empty() {
            return Err(Wrong::new(format!(
                "no credential is named: say NAME…, --vendor VENDOR, --tag KEY=VALUE, or --all; {undone}"
            )));
        }
        Ok(())
    }

    /// What was selected, in the order of the declaration; everything when nothing was said.
    ///
    /// # Errors
    /// When a name is not declared, with the nearest one; when nothing fits.
    pub fn pick(&self, declaration: &Declaration, undone: &str) -> Result<Vec<Arc<Credential>>, Wrong> {
        if !self.names.is_empty() {
            return by_names(&self.names, declaration, undone);
        }
        if let Some(vendor) = &self.vendor
            && declaration.vendors.keys().all(|name| name.as_str() != vendor)
        {
            let there = declaration.vendors.keys().map(|name| name.as_str());
            return Err(Wrong::new(format!("no vendor `{vendor}` is declared; {undone}")).with_hint(nearest(
                vendor,
                there,
                "declared vendors",
            )));
        }
        let fits = |one: &Arc<Credential>| {
            self.vendor.as_ref().is_none_or(|vendor| one.vendor.as_str() == vendor)
                && self.tags.iter().all(|(key, value)| one.destination.tags.get(key) == Some(value))
        };
        let picked: Vec<_> = declaration.credentials.iter().filter(|one| fits(one)).cloned().collect();
        if picked.is_empty() {
            let mut keys: Vec<&str> = declaration
                .credentials
                .iter()
                .flat_map(|one| one.destination.tags.keys().map(String::as_str))
                .collect();
            keys.sort_unstable();
            keys.dedup();
            let wrong = Wrong::new(format!("no declared credential fits; {undone}"));
            return Err(match self.tags.iter().find(|(key, _)| !keys.contains(&key.as_str())) {
                Some((key, _)) => wrong.with_hint(nearest(key, keys.iter().copied(), "declared tags")),
                None => wrong,
            });
        }
        Ok(picked)
    }
}

/// The credentials of these names, each once, in the order they were named.
fn by_names(names: &[String], declaration: &Declaration, undone: &str) -> Result<Vec<Arc<Credential>>, Wrong> {
    let mut picked: Vec<Arc<Credential>> = Vec::new();
    for name in names {
        let credential = by_name(name, declaration, undone)?;
        if picked.iter().all(|one| one.name != credential.name) {
            picked.push(credential);
        }
    }
    Ok(picked)
}

/// The credential of this name.
///
/// # Errors
/// When there is none, with the nearest name.
pub fn by_name(name: &str, declaration: &Declaration, undone: &str) -> Result<Arc<Credential>, Wrong> {
    let declared = &declaration.credentials;
    declared.iter().find(|one| one.name.as_str() == name).cloned().ok_or_else(|| {
        let there = declared.iter().map(|one| one.name.as_str());
        Wrong::new(format!("no credential `{name}` is declared; {undone}")).with_hint(nearest(
            name,
            there,
            "declared credentials",
        ))
    })
}

/// "did you mean …?", or what there is.
fn nearest<'a>(text: &str, there: impl Iterator<Item = &'a str> + Clone, what: &str) -> String {
    let lower = text.to_lowercase();
    let length = text.chars().count();
    let near = there
        .clone()
        .filter(|_| length <= GUESS_CHAR_COUNT_MAX)
        .map(|one| (strsim::damerau_levenshtein(&lower, &one.to_lowercase()), one))
        .filter(|(distance, one)| {
            *distance <= 1 + length / 4 && *distance < one.chars().count() || one.starts_with(lower.as_str())
        })
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, near)) = near {
        return format!("did you mean `{near}`?");
    }
    let all: Vec<String> = there.map(|one| format!("`{one}`")).collect();
    match all.len() {
        0 => format!("{what}: none"),
        count if count > NAMES_SHOWN_MAX => {
            format!("{what}: {} and {} more", all[..NAMES_SHOWN_MAX].join(", "), count - NAMES_SHOWN_MAX)
        }
        _ => format!("{what}: {}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_guessed_and_otherwise_all_are_told() {
        let there = ["google-mcp", "linear-mcp", "support-bot"];
        for (text, said) in [
            ("google-mpc", "did you mean `google-mcp`?"),
            ("Google-MCP", "did you mean `google-mcp`?"),
            ("support", "did you mean `support-bot`?"),
            ("x", "declared credentials: `google-mcp`, `linear-mcp`, `support-bot`"),
        ] {
            assert_eq!(nearest(text, there.into_iter(), "declared credentials"), said, "{text}");
        }
        let many: Vec<String> = (0..20).map(|number| format!("number-{number}")).collect();
        let said = nearest("zzz", many.iter().map(String::as_str), "declared credentials");
        assert!(said.ends_with("`number-11` and 8 more"), "{said}");
    }
}
