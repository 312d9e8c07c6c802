//! The declaration as meant: every table is lowered, whatever else is wrong, so that all problems
//! come out at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::credential::{self, Index};
use super::delivery::{self, NameTemplate, Tags};
use super::diagnostic::{Code, Problem, Severity};
use super::feeding;
use super::file::{KEYS, TOP, whole};
use super::frame::{Defaults, Frame, Given, Vendor, refresh_within};
use super::notes::{Notes, Span, shortened};
use super::options;
use super::own_secret;
use super::proof;
use super::retirement::{self, Retirement};
use super::schedule::{self, Patterns};
use super::targets::Targets;
use super::texts;
use super::tree::{Length, Table};
use super::{Declaration, Discovery, Limits, VendorInstance};
use crate::model::credential::Credential;
use crate::model::name::{Deployment, VendorName};
use crate::model::option::{Kind, Options, Reference};
use crate::model::policy::Verify;
use crate::vendors::{self, Spec};

const OVERLAP_STANDARD: Duration = Duration::from_secs(24 * 3_600);
/// AWS's own caching libraries refresh hourly.
const REFRESH_STANDARD: Duration = Duration::from_secs(3_600);
const REPLACEMENTS_STANDARD: u32 = 5;
const REPLACEMENTS_MAX: u32 = 10_000;

/// Lowers the declaration and what it includes. `None` when anything is wrong; that it is `Some`
/// does not mean that there is no problem noted.
pub(super) fn lower<'t>(notes: &mut Notes<'_>, root: Table<'t>, included: &[Table<'t>]) -> Option<Declaration> {
    notes.unknown_keys(root, KEYS.into_iter(), false, None);
    let deployment = deployment(notes, root);
    let targets = Targets::read(notes, root);
    let vendors = read_vendors(notes, root, &targets);
    let mut patterns = Patterns::default();
    let defaults = Defaults::read(notes, &mut patterns, root);
    let limits = limits(notes, root);
    let discovery = match root.has("discovery") {
        true => notes.word(root, "discovery", &[("list", Discovery::List), ("declared", Discovery::Declared)]),
        false => Some(Discovery::List),
    };
    // Credentials are checked under a stand-in when the deployment's own name is wrong.
    let stand_in = || Deployment::new("unnamed").expect("the name is valid");
    let mut frame = Frame { deployment: deployment.clone().unwrap_or_else(stand_in), targets, vendors, defaults };
    let (mut credentials, mut seen) = (Vec::new(), 0);
    let mut index = Index::default();
    let mut read = Vec::new();
    for (table, is_root) in std::iter::once((root, true)).chain(included.iter().map(|table| (*table, false))) {
        if !is_root {
            only_credentials(notes, table);
        }
        for table in tables(notes, table) {
            seen += 1;
            read.push(table);
            credentials.extend(credential::read(notes, &frame, &mut patterns, &mut index, table));
        }
    }
    let fed = feeding::check(notes, &credentials, &read);
    let apart = own_secret::check(notes, &frame, &credentials, &read);
    if seen == 0 {
        let mut problem = Problem::error(Code::NothingDeclared, whole(0), "no credential is declared").help(
            "add a `[[credential]]` table, here or in a file that `include` names; until then nothing is rotated",
        );
        problem.severity = Severity::Warning;
        notes.push(problem);
    }
    credentials.sort_by(|one: &Arc<Credential>, other| one.name.cmp(&other.name));
    let vendors = std::mem::take(&mut frame.vendors);
    Some(Declaration {
        deployment: deployment?,
        targets: frame.targets.finish()?,
        vendors: vendors
            .into_values()
            .map(|vendor| vendor.filter(|own| own.good).map(|own| (own.instance.name.clone(), own.instance)))
            .collect::<Option<_>>()?,
        credentials: (fed && apart && credentials.len() == seen).then_some(credentials)?,
        limits: limits?,
        discovery: discovery?,
    })
}

fn deployment(notes: &mut Notes<'_>, root: Table<'_>) -> Option<Deployment> {
    if !root.has("deployment") {
        notes.push(
            Problem::error(Code::MissingKey, whole(0), "the declaration has no `deployment`")
                .help("write `deployment = \"prod-west\"` in the first line: it marks the secrets that are yours"),
        );
        return None;
    }
    let text = notes.text(root, "deployment", "deployment = \"prod-west\"")?;
    match Deployment::new(text.text) {
        Ok(deployment) => Some(deployment),
        Err(rule) => {
            let message = format!("`{}` can't be the name of a deployment", shortened(text.text));
            notes.push(Problem::error(Code::BadValue, text.span, message).help(format!("write {rule}")));
            None
        }
    }
}

fn only_credentials(notes: &mut Notes<'_>, table: Table<'_>) {
    for (key, at, item) in table.iter().filter(|(key, ..)| *key != "credential") {
        if super::mask::sounds_secret(key) {
            super::mask::leaves(notes, item);
        }
        let message = format!("`{}` can't stand in an included file", shortened(key));
        let problem = Problem::error(Code::NotHere, at, message);
        notes.push(problem.help("an included file has `[[credential]]` tables only; all else stands in the main file"));
    }
}

fn tables<'t>(notes: &mut Notes<'_>, root: Table<'t>) -> Vec<Table<'t>> {
    let Some(item) = root.get("credential") else { return Vec::new() };
    let Some(items) = item.items() else {
        notes.wrong_type("credential", item, "an array of tables", "[[credential]]");
        return Vec::new();
    };
    let mut tables = Vec::new();
    for item in items {
        match item.as_table() {
            Some(table) => tables.push(table),
            None => notes.wrong_type("credential", item, "an array of tables", "[[credential]]"),
        }
    }
    tables
}

fn read_vendors(notes: &mut Notes<'_>, root: Table<'_>, targets: &Targets) -> BTreeMap<String, Option<Vendor>> {
    let mut found = BTreeMap::new();
    let Some(table) = notes.table(root, "vendors", "[vendors.keycard]") else { return found };
    for (key, at, item) in table.iter() {
        let Some(table) = item.as_table() else {
            super::mask::leaves(notes, item);
            let message = format!("`{}` stands directly in `[vendors]`", shortened(key));
            let help = "give the vendor a table of its own: `[vendors.keycard]`";
            notes.push(Problem::error(Code::WrongType, at, message).help(help));
            continue;
        };
        found.insert(key.to_owned(), vendor(notes, key, at, table, targets));
    }
    found
}

fn vendor(notes: &mut Notes<'_>, key: &str, at: Span, table: Table<'_>, targets: &Targets) -> Option<Vendor> {
    let name = match VendorName::new(key) {
        Ok(name) => Some(name),
        Err(rule) => {
            let message = format!("`{}` can't be the name of a vendor", shortened(key));
            notes.push(Problem::error(Code::BadValue, at, message).help(format!("write {rule}")));
            None
        }
    };
    let kinds = || vendors::ALL.iter().map(|spec| spec.kind);
    if !table.has("kind") {
        let help = format!("write one of {}", super::notes::listed(kinds()));
        notes.missing(table, "kind", &format!("`[vendors.{}]`", shortened(key)), help);
        return None;
    }
    let text = notes.text(table, "kind", "kind = \"keycard\"")?;
    let Some(spec) = vendors::find(text.text) else {
        // Nothing tells which of its values are secrets.
        table.iter().filter(|(key, ..)| *key != "kind").for_each(|(_, _, item)| super::mask::leaves(notes, item));
        let help = notes.did_you_mean(text.text, kinds(), "vendors that keyferry knows");
        let message = format!("keyferry knows no vendor of kind `{}`", shortened(text.text));
        notes.push(Problem::error(Code::UnknownName, text.span, message).help(help));
        return None;
    };
    let known = std::iter::once("kind").chain(spec.fields.iter().map(|field| field.name));
    let before = notes.error_count();
    notes.unknown_keys(table, known, true, Some(TOP));
    let of = format!("`[vendors.{}]`", shortened(key));
    let read = options::read(notes, table, spec.fields, None, targets, &of);
    let addresses: Vec<_> = spec.fields.iter().filter(|field| field.kind == Kind::Url).collect();
    let address_wrong = addresses.iter().any(|field| read.wrong.contains(&field.name));
    let loopback = on_loopback(spec, &read.options);
    let sandbox = read.options.references().find(|(_, from)| **from == Reference::Sandbox);
    if let Some((field, _)) = sandbox.filter(|_| !loopback && !address_wrong) {
        let other = addresses.first().and_then(|field| table.get(field.name)).map(|item| item.span);
        let message = "the sandbox's own secret is for a vendor on a loopback address only";
        notes.push(
            Problem::error(Code::LoopbackOnly, table.get(field).map_or(at, |item| item.span), message)
                .other_if(other, "not a loopback address")
                .help("write a real reference, such as { env = \"NAME\" }, or the sandbox's address"),
        );
    }
    let good = notes.error_count() == before;
    let instance = VendorInstance { name: name?, spec, options: read.options };
    Some(Vendor { instance, good, wrong: read.wrong, loopback, at })
}

/// Whether a vendor instance has an address, and each of its addresses is on this very machine.
fn on_loopback(spec: &Spec, options: &Options) -> bool {
    let addresses = || spec.fields.iter().filter(|field| field.kind == Kind::Url);
    let mut given = addresses().filter_map(|field| options.text(field.name)).peekable();
    given.peek().is_some() && given.all(|text| reqwest::Url::parse(text).is_ok_and(|url| texts::is_loopback(&url)))
}

impl<'t> Defaults<'t> {
    fn read(notes: &mut Notes<'_>, patterns: &mut Patterns, root: Table<'t>) -> Self {
        let standard = |length| Some(Length { length, span: None });
        let mut defaults = Self {
            rotate: Given::No,
            overlap: standard(OVERLAP_STANDARD),
            refresh_within: standard(REFRESH_STANDARD),
            retire_when: Some(Retirement::default()),
            secret_name: Some(NameTemplate::default()),
            verify: Some(Verify::Required),
            kms_key_id: None,
            tags: Some(Tags::default()),
        };
        let Some(table) = notes.table(root, "defaults", "[defaults]") else {
            if root.has("defaults") {
                defaults.rotate = Given::Wrong;
            }
            return defaults;
        };
        let keys = ["rotate", "overlap", "consumers", "retire_when", "verify", "secret"];
        notes.unknown_keys(table, keys.into_iter(), false, Some(TOP));
        if let Some(item) = table.get("rotate") {
            defaults.rotate = schedule::rotation(notes, patterns, item).map_or(Given::Wrong, Given::Yes);
        }
        if table.has("overlap") {
            defaults.overlap = notes.duration(table, "overlap", "overlap = \"24h\"");
        }
        defaults.verify = proof::verify(notes, table, defaults.verify);
        defaults.refresh_within = refresh_within(notes, table, defaults.refresh_within);
        if let Some(item) = table.get("retire_when") {
            defaults.retire_when = retirement::read(notes, item);
        }
        let Some(secret) = notes.table(table, "secret", "[defaults.secret]") else { return defaults };
        notes.unknown_keys(secret, ["name", "kms_key_id", "tags"].into_iter(), false, None);
        if secret.has("name") {
            let text = notes.text(secret, "name", "name = \"{deployment}/{vendor}/{name}\"");
            defaults.secret_name = text.and_then(|text| NameTemplate::read(notes, text));
        }
        defaults.kms_key_id = delivery::kms_key(notes, secret);
        defaults.tags = delivery::tags(notes, secret);
        defaults
    }
}

fn limits(notes: &mut Notes<'_>, root: Table<'_>) -> Option<Limits> {
    let mut limits = Limits { max_replacements: REPLACEMENTS_STANDARD };
    if !root.has("limits") {
        return Some(limits);
    }
    let table = notes.table(root, "limits", "[limits]")?;
    notes.unknown_keys(table, ["max_replacements"].into_iter(), false, Some(TOP));
    if let Some(item) = table.get("max_replacements") {
        let Some(number) = item.value.as_integer() else {
            notes.wrong_type("max_replacements", item, "an integer", "max_replacements = 5");
            return None;
        };
        let number = u32::from_str_radix(number.as_str(), number.radix()).ok();
        let Some(number) = number.filter(|number| (1..=REPLACEMENTS_MAX).contains(number)) else {
            let message = format!("`max_replacements` is 1 to {REPLACEMENTS_MAX}");
            let help = "an edit that would replace more credentials than this asks first";
            notes.push(Problem::error(Code::BadValue, item.span, message).help(help));
            return None;
        };
        limits.max_replacements = number;
    }
    Some(limits)
}
