//! `init`: drafts a declaration from secrets that are there already, for standard output. Looks at
//! names, tags and dates; reads no value and changes nothing.

use serde_json::{Value, json};

use crate::cli::report::{Output, Printer, Wrong, say};
use crate::cli::{Source, clock, code};
use crate::clock::HostClock;
use crate::config::{self, Credentials, Declaration, Target};
use crate::model::name::{SecretName, TargetName};
use crate::stores::aws::{Pacing, Store};

use draft::{Draft, Heading};

mod draft;

/// Characters that a secret's name can have, besides letters and digits.
const NAME_CHARACTERS: &str = "/_+=.@-";

/// Options of `init`.
#[derive(clap::Args)]
pub struct Arguments {
    /// How the names of the secrets begin (`app/`).
    #[arg(long, value_name = "TEXT", value_parser = prefix)]
    prefix: String,
    /// The AWS Region, where no declaration says it; from the environment or profile if left out.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Where Secrets Manager is reached, if not at AWS's own address (the sandbox's).
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// Where the Security Token Service is reached, if not at AWS's own address (the sandbox's).
    #[arg(long, value_name = "URL")]
    sts_endpoint_url: Option<String>,
    /// For this target of the declaration at --config; needed when it has several.
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["region", "endpoint_url", "sts_endpoint_url"])]
    target: Option<String>,
}

fn prefix(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it is empty, and a draft of everything in an account is of no use: write how the names of the \
                    secrets begin, for example `app/`"
            .into());
    }
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !NAME_CHARACTERS.contains(*c)) {
        None => Ok(text.into()),
        Some(strange) => Err(format!(
            "no secret's name has `{}` in it: letters, digits and `{NAME_CHARACTERS}` can stand there",
            strange.escape_debug()
        )),
    }
}

/// Prints the draft.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    // Without a declaration yet, AWS is found as the SDK finds it.
    let declaration = match source.config.exists() {
        true => Some(config::load(&source.config)?.declaration),
        false => None,
    };
    let (target, clock) = match &declaration {
        Some(declaration) => (chosen(declaration, arguments)?, clock(source, declaration)?),
        None if arguments.target.is_some() => {
            let message = format!("there is no declaration at {}, so it has no targets", source.config.display());
            return Err(Wrong::new(message).with_hint("leave --target out, or name the file with --config").into());
        }
        None => (plain(arguments), std::sync::Arc::new(HostClock::real())),
    };
    let store = Store::connect(&target, clock).await?;
    let account = store.identity().await?.account;
    let existing = store.existing(&arguments.prefix).await?;
    let region = store.region().to_owned();
    if existing.is_empty() {
        let message = format!("no AWS secret of account {account} in {region} begins with `{}`", arguments.prefix);
        let hint = "names are told apart by upper and lower case; is it the right account and Region?";
        return Err(Wrong::new(format!("{message}; nothing was drafted")).with_hint(hint).into());
    }
    let declared: Vec<&SecretName> = declaration
        .iter()
        .flat_map(|declaration| &declaration.credentials)
        .filter(|one| one.destination.target == target.name)
        .map(|one| &one.destination.name)
        .collect();
    let draft = Draft::of(&existing, &arguments.prefix, &declared);
    if draft.stanzas.is_empty() {
        let left_out: Vec<String> =
            draft.left_out.iter().take(12).map(|one| format!("\n    {}: {}", one.secret, one.why)).collect();
        let count = draft.left_out.len();
        return Err(Wrong::new(format!("{count} begin with `{}`, and none can be drafted", arguments.prefix))
            .with_hint(format!("left out:{}", left_out.concat()))
            .into());
    }
    let heading = Heading {
        prefix: &arguments.prefix,
        account: &account,
        region: &region,
        endpoint: target.endpoint_url.as_deref(),
        sts_endpoint: target.sts_endpoint_url.as_deref(),
    };
    let text = draft.text(&heading);
    match printer.output() {
        Output::Text => say(text.trim_end()),
        Output::Json => printer.json(&document(&draft, &text)),
    }
    Ok(code::FINE)
}

fn document(draft: &Draft, text: &str) -> Value {
    let drafted: Vec<Value> = draft
        .stanzas
        .iter()
        .map(|one| {
            let vendor = one.guess.as_ref().map(|guess| guess.spec.kind);
            json!({ "name": one.name, "secret": one.secret.as_str(), "vendor_guess": vendor })
        })
        .collect();
    let left_out: Vec<Value> =
        draft.left_out.iter().map(|one| json!({ "secret": one.secret, "why": one.why })).collect();
    json!({ "declaration": text, "drafted": drafted, "left_out": left_out, "exit_code": code::FINE })
}

fn chosen(declaration: &Declaration, arguments: &Arguments) -> Result<Target, Wrong> {
    let names: Vec<String> = declaration.targets.keys().map(|name| format!("`{name}`")).collect();
    let all = declaration.targets.iter();
    let found = match &arguments.target {
        Some(asked) => all.clone().find(|(name, _)| name.as_str() == asked),
        None if names.len() == 1 => all.clone().next(),
        None => {
            return Err(Wrong::new("the declaration has several targets")
                .with_hint(format!("say which, with --target: {}", names.join(", "))));
        }
    };
    let (_, target) = found.ok_or_else(|| {
        Wrong::new("no such target is declared").with_hint(format!("declared targets: {}", names.join(", ")))
    })?;
    let mut target = target.clone();
    target.region = arguments.region.clone().or(target.region);
    target.endpoint_url = arguments.endpoint_url.clone().or(target.endpoint_url);
    target.sts_endpoint_url = arguments.sts_endpoint_url.clone().or(target.sts_endpoint_url);
    Ok(target)
}

/// As the SDK finds it.
fn plain(arguments: &Arguments) -> Target {
    Target {
        name: TargetName::new("default").expect("the name is valid"),
        region: arguments.region.clone(),
        account: None,
        assume_role: None,
        endpoint_url: arguments.endpoint_url.clone(),
        allow_http: false,
        sts_endpoint_url: arguments.sts_endpoint_url.clone(),
        proxy: None,
        ca_file: None,
        credentials: Credentials::Chain,
        pacing: Pacing::default(),
    }
}
