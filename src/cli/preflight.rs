//! `preflight`: tries, in the user's own account and with throw-away things, what keyferry was
//! built on but nobody promised.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{anyhow, bail};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::cli::report::{Output, Printer, say, say_table};
use crate::cli::signals::told_to_stop;
use crate::cli::{Source, code};
use crate::engine::Engine;
use crate::engine::preflight::{Asked, Refusal, Report, preflight, statement_count};
use crate::model::finding::{Finding, Leave, Outcome, Witness};
use crate::model::name::{SecretName, TargetName};

/// A statement does not hold, or a live credential is left: a person must decide.
const DECIDE: u8 = 4;

/// Options of `preflight`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the throw-away secret; nothing may have it yet. It is deleted in the end.
    #[arg(long, value_name = "NAME", value_parser = secret_name)]
    scratch: SecretName,
    /// The declared AWS target to try, where there are several.
    #[arg(long, value_name = "TARGET")]
    aws: Option<String>,
    /// Make, prove and revoke a throw-away credential, too, at the place of this declared one.
    #[arg(long, value_name = "NAME")]
    credential: Option<String>,
    /// Make the secret with this KMS key, to see what works without a right to it.
    #[arg(long, value_name = "KEY")]
    kms_key: Option<String>,
}

fn secret_name(text: &str) -> Result<SecretName, String> {
    let name = SecretName::new(text).map_err(|invalid| invalid.to_string())?;
    // It is made anew, so it may as well keep to what AWS advises.
    if name.looks_like_arn() || name.is_managed() {
        return Err("write a name without `!`, and not ending in a hyphen and six letters or digits".into());
    }
    Ok(name)
}

/// Runs the trials and prints one line a statement.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let engine = super::open(source, printer).await?;
    let asked = asked(&engine, arguments)?;
    let bar = printer.progress(statement_count(asked.credential.is_some()), "trying");
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    let onlooker = Arc::new(Onlooker { bar: bar.clone(), stopping: AtomicBool::new(false) });
    let listener = Arc::clone(&onlooker);
    let signals = tokio::spawn(async move {
        loop {
            told_to_stop().await;
            listener.stopping.store(true, Ordering::SeqCst);
            listener.bar.set_message("stopping: cleaning up first");
            tracing::warn!("stopping: what was made is cleaned up first");
        }
    });
    let done = preflight(&engine, &asked, onlooker).await;
    signals.abort();
    bar.finish_and_clear();
    let report = match done {
        Ok(report) => report,
        Err(Refusal::Asked { why, hint }) => return Err(anyhow!("{why}; {hint}")),
        Err(Refusal::Failed(fault)) => return Err(fault.into()),
    };
    let worst = worst(&report);
    match printer.output() {
        Output::Json => printer.json(&document(&report, worst)),
        Output::Text => tell(&report, &asked, printer),
    }
    Ok(worst)
}

fn asked(engine: &Engine, arguments: &Arguments) -> anyhow::Result<Asked> {
    let declaration = engine.declaration();
    let credential = match &arguments.credential {
        None => None,
        Some(name) => match declaration.credentials.iter().find(|one| one.name.as_str() == name) {
            Some(credential) => Some(Arc::clone(credential)),
            None => bail!("no credential `{name}` is declared; nothing was done"),
        },
    };
    let targets: Vec<&TargetName> = declaration.targets.keys().collect();
    let named = |name: &str| targets.iter().find(|target| target.as_str() == name).copied();
    let all = || targets.iter().map(|target| format!("`{target}`")).collect::<Vec<_>>().join(", ");
    let target = match (&arguments.aws, targets.as_slice()) {
        (Some(name), _) => match named(name) {
            Some(target) => target,
            None => bail!("no target `{name}` is declared, but {}; nothing was done", all()),
        },
        (None, [target]) => target,
        (None, _) => bail!("several targets are declared ({}): say which with --aws; nothing was done", all()),
    };
    Ok(Asked {
        target: target.clone(),
        name: arguments.scratch.clone(),
        credential,
        kms_key_id: arguments.kms_key.clone(),
    })
}

fn worst(report: &Report) -> u8 {
    let mut worst = code::FINE;
    if report.count(Outcome::Untold) > 0 || !report.left.is_empty() {
        worst = code::FAILING;
    }
    if report.count(Outcome::NotHeld) > 0 || report.left.iter().any(|left| left.live) {
        worst = DECIDE;
    }
    worst
}

fn document(report: &Report, worst: u8) -> Value {
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "name": finding.statement.name,
                "statement": finding.statement.words,
                "section": finding.statement.section,
                "because": finding.statement.because,
                "outcome": finding.outcome.word().replace(' ', "_"),
                "seen": finding.seen,
                "hint": finding.hint,
                "otherwise": (finding.outcome == Outcome::NotHeld).then_some(finding.statement.otherwise),
            })
        })
        .collect();
    let left: Vec<Value> = report.left.iter().map(|left| json!({ "what": left.what, "hint": left.hint })).collect();
    json!({
        "principal": { "account": report.principal.account, "arn": report.principal.arn },
        "findings": findings,
        "held": report.count(Outcome::Held),
        "not_held": report.count(Outcome::NotHeld),
        "could_not_be_told": report.count(Outcome::Untold),
        "not_tried": report.count(Outcome::Untried),
        "cleaned": report.cleaned,
        "left": left,
        "calls": {
            "aws_reads": report.aws_calls.reads,
            "aws_writes": report.aws_calls.writes,
            "vendor": report.vendor_calls,
        },
        "exit_code": worst,
    })
}

fn tell(report: &Report, asked: &Asked, printer: &Printer) {
    let who = &report.principal;
    say(format_args!("target {}: {} in account {}", asked.target, who.arn, who.account));
    say_table(printer.style().findings(&report.findings));
    printer.say_all(report.findings.iter().filter_map(broken).collect());
    printer.say_all(untold(&report.findings));
    let vendor = match report.vendor_calls {
        0 => String::new(),
        calls => format!(", {calls} of the vendor"),
    };
    let count = |outcome| report.count(outcome);
    say(format_args!(
        "\n{} held, {} not held, {} could not be told, {} not tried; {} calls of AWS ({} writes){vendor}",
        count(Outcome::Held),
        count(Outcome::NotHeld),
        count(Outcome::Untold),
        count(Outcome::Untried),
        report.aws_calls.reads + report.aws_calls.writes,
        report.aws_calls.writes,
    ));
    for line in &report.cleaned {
        say(line);
    }
    for left in &report.left {
        say(format_args!("LEFT: {}\n  hint: {}", left.what, left.hint));
    }
    if report.count(Outcome::NotHeld) > 0 {
        say("Something that keyferry leans on does not hold here: read what it means above before you go on.");
    }
}

/// A paragraph on what does not hold.
fn broken(finding: &Finding) -> Option<String> {
    let statement = &finding.statement;
    (finding.outcome == Outcome::NotHeld).then(|| {
        format!(
            "{} does NOT hold: {}\n  seen: {}\n  needed because: {}\n  what it means: {}",
            statement.name, statement.words, finding.seen, statement.because, statement.otherwise
        )
    })
}

/// Paragraphs on what could not be told, one for each thing that is in the way.
fn untold(findings: &[Finding]) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<&Finding>)> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.outcome == Outcome::Untold) {
        let key = finding.hint.as_deref().unwrap_or(&finding.seen);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, same)) => same.push(finding),
            None => groups.push((key, vec![finding])),
        }
    }
    let paragraph = |(_, same): (&str, Vec<&Finding>)| {
        let names: Vec<&str> = same.iter().map(|finding| finding.statement.name).collect();
        let hint = same[0].hint.as_ref().map_or(String::new(), |hint| format!("\n  hint: {hint}"));
        format!("could not be told: {}\n  seen: {}{hint}", names.join(", "), same[0].seen)
    };
    groups.into_iter().map(paragraph).collect()
}

/// Shows the progress, and passes on that somebody wants to stop.
struct Onlooker {
    bar: ProgressBar,
    stopping: AtomicBool,
}

impl Witness for Onlooker {
    fn may_go_on(&self) -> Leave<'_> {
        Box::pin(std::future::ready(!self.stopping.load(Ordering::SeqCst)))
    }

    fn begins(&self, words: &str) {
        if !self.stopping.load(Ordering::SeqCst) {
            self.bar.set_message(words.to_owned());
        }
    }

    fn found(&self, _: &Finding) {
        self.bar.inc(1);
    }
}
