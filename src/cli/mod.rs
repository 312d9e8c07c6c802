//! THE FACE: the command line, one file a verb. Nobody names this room.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::clock::HostClock;
use crate::config::{self, Declaration};
use crate::engine::Engine;
use crate::telemetry;
use report::{Output, Printer, Wrong};

mod adopt;
mod check;
mod confirm;
mod explain;
mod held;
mod history;
mod iam;
mod init;
mod once;
mod orphans;
mod outcome;
mod pause;
mod plan;
mod preflight;
mod process;
mod report;
mod resume;
mod rollback;
mod rotate;
mod run;
mod sandbox;
mod select;
mod signals;
mod status;
mod table;
mod verify;

/// Exit codes; the worst wins.
pub mod code {
    /// Fine, or merely waiting for a date.
    pub const FINE: u8 = 0;
    /// Wrong usage, or a declaration with problems.
    pub const USAGE: u8 = 2;
    /// Some credentials are failing; the published values are still good as far as is known.
    pub const FAILING: u8 = 3;
    /// A person must decide.
    pub const PERSON: u8 = 4;
    /// Changes are pending (`plan --exit-code`).
    pub const PENDING: u8 = 5;
    /// A consumer may be reading a dead value.
    pub const DEAD: u8 = 6;
    /// A bug of keyferry.
    pub const BUG: u8 = 70;
    /// All went well, but what there was to say could not be written.
    pub const UNWRITTEN: u8 = 74;
}

const AFTER_HELP: &str = "\
Exit codes, the worst wins:
  0  fine, or merely waiting for a date
  2  wrong usage, or a declaration with problems
  3  some credentials are failing; the published values are good, as far as known
  4  a person must decide
  5  changes are pending (plan --exit-code)
  6  a consumer may be reading a dead value
 70  a bug of keyferry
 74  fine, but the output could not be written

Try it without any account:  keyferry sandbox";

/// keyferry creates and rotates vendor credentials and keeps AWS Secrets Manager holding a working value.
#[derive(Parser)]
#[command(name = "keyferry", version, after_help = AFTER_HELP)]
struct Arguments {
    /// The declaration.
    #[arg(
        long,
        global = true,
        env = "KEYFERRY_CONFIG",
        default_value = "/etc/keyferry/keyferry.toml",
        value_name = "FILE",
        hide_env_values = true
    )]
    config: PathBuf,
    /// Seconds that pass in one, as the sandbox's services have them; with loopback addresses only.
    #[arg(long, global = true, hide = true, value_name = "N", value_parser = sandbox::speed)]
    sandbox_speed: Option<f64>,
    /// How facts are printed.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Check the declaration, offline.
    Check,
    /// Say what would be done and why; change nothing.
    Plan(plan::Arguments),
    /// Try in your own account, with throw-away things, what keyferry leans on.
    Preflight(preflight::Arguments),
    /// Bring everything as far as it goes now, then end.
    Once(once::Arguments),
    /// The daemon: keep everything up to date until told to stop.
    Run(run::Arguments),
    /// Rotate these credentials now, whatever the calendar says.
    Rotate(rotate::Arguments),
    /// The fleet at a glance, from AWS alone.
    Status(status::Arguments),
    /// Why one credential is or isn't being rotated now, and when.
    Explain(explain::Arguments),
    /// The versions of one credential's secret, newest first.
    History(history::Arguments),
    /// What each credential at the vendor is: owned, orphan or foreign; end one by its id.
    Orphans(orphans::Arguments),
    /// Take an existing credential and an existing AWS secret under management, without rotating.
    Adopt(adopt::Arguments),
    /// Draft a declaration from AWS secrets that are there already; read no value.
    Init(init::Arguments),
    /// Hold still: nothing is rotated, made or revoked until a date, in any replica.
    Pause(pause::Arguments),
    /// Take a pause off; or say what is held, and accept a version to go on from.
    Resume(resume::Arguments),
    /// Go back to the version before, while its credential lives.
    Rollback(rollback::Arguments),
    /// Log in with the value that consumers read.
    Verify(verify::Arguments),
    /// Say that a consumer has the new value.
    Confirm(confirm::Arguments),
    /// The smallest IAM policy for this declaration, as JSON.
    Iam(iam::Arguments),
    /// The whole thing on this machine without any account: AWS, vendors, daemon and a consumer.
    Sandbox(sandbox::Arguments),
}

/// Parses, runs, and gives the exit code.
pub fn main() -> ExitCode {
    process::forbid_dumps();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let form = if arguments.output == Output::Json { telemetry::Form::Json } else { telemetry::Form::Text };
    let level = if matches!(arguments.verb, Verb::Run(_)) { "info" } else { "warn" };
    telemetry::start(form, level);
    process::report_panics();
    let printer = Printer::new(arguments.output);
    let done = process::can_open_files().map_err(|error| {
        let wrong = Wrong::new(format!("starting: no more files can be opened: {error}")).with_code(code::FAILING);
        anyhow::Error::from(wrong.with_hint("let it open more: `ulimit -n 1024`, or LimitNOFILE= in its unit"))
    });
    let done = done.and_then(|()| {
        // A bug in the middle of something ends the process with a sentence. The runtime goes last, and is
        // not waited for: what it still runs may never end.
        let mut runtime = None;
        let done = catch_unwind(AssertUnwindSafe(|| start(&mut runtime)?.block_on(work(arguments, &printer))));
        process::end();
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
        }
        done.unwrap_or_else(|_| {
            let wrong = Wrong::new("keyferry failed, and ended").with_code(code::BUG);
            Err(wrong.with_hint("this is a bug of keyferry: please report it with the log").into())
        })
    });
    ExitCode::from(report::if_written(done.unwrap_or_else(|error| printer.error(&error))))
}

fn start(runtime: &mut Option<Runtime>) -> anyhow::Result<&Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let started = builder.worker_threads(2).max_blocking_threads(4).enable_all().build();
    Ok(runtime.insert(started.context("starting the runtime")?))
}

async fn work(arguments: Arguments, printer: &Printer) -> anyhow::Result<u8> {
    let source = Source { config: arguments.config, speed: arguments.sandbox_speed };
    match arguments.verb {
        Verb::Check => check::run(&source, printer),
        Verb::Plan(asked) => plan::run(&source, &asked, printer).await,
        Verb::Preflight(asked) => preflight::run(&source, &asked, printer).await,
        Verb::Once(asked) => once::run(&source, &asked, printer).await,
        Verb::Run(asked) => run::run(&source, &asked, printer).await,
        Verb::Rotate(asked) => rotate::run(&source, &asked, printer).await,
        Verb::Status(asked) => status::run(&source, &asked, printer).await,
        Verb::Explain(asked) => explain::run(&source, &asked, printer).await,
        Verb::History(asked) => history::run(&source, &asked, printer).await,
        Verb::Orphans(asked) => orphans::run(&source, &asked, printer).await,
        Verb::Adopt(asked) => adopt::run(&source, &asked, printer).await,
        Verb::Init(asked) => init::run(&source, &asked, printer).await,
        Verb::Pause(asked) => pause::run(&source, &asked, printer).await,
        Verb::Resume(asked) => resume::run(&source, &asked, printer).await,
        Verb::Rollback(asked) => rollback::run(&source, &asked, printer).await,
        Verb::Verify(asked) => verify::run(&source, &asked, printer).await,
        Verb::Confirm(asked) => confirm::run(&source, &asked, printer).await,
        Verb::Iam(asked) => iam::run(&source, &asked, printer),
        Verb::Sandbox(asked) => sandbox::run(&source, &asked, printer).await,
    }
}

/// What is wrong with the command line, or the help that was asked for. A program that asked for
/// JSON gets it here, too.
fn usage(error: &clap::Error) -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let json = words.iter().any(|word| word == "--output=json")
        || words.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json");
    if json && error.use_stderr() {
        let text = error.render().to_string();
        let text = text.trim_start_matches("error: ").trim_end();
        Printer::new(Output::Json).json(&json!({ "error": text, "hint": null, "exit_code": code::USAGE }));
    } else {
        report::note_written(error.print().and_then(|()| std::io::stdout().flush()));
    }
    ExitCode::from(report::if_written(if error.use_stderr() { code::USAGE } else { code::FINE }))
}

/// Where the declaration is, and in whose time it is carried out.
struct Source {
    config: PathBuf,
    /// The sandbox's speed; `None` for real time.
    speed: Option<f64>,
}

/// Loads the declaration and opens its engine on the host's clock.
async fn open(source: &Source, printer: &Printer) -> anyhow::Result<Arc<Engine>> {
    let loaded = config::load(&source.config)?;
    printer.warnings(&loaded.warnings);
    let clock = clock(source, &loaded.declaration)?;
    Ok(Arc::new(Engine::open(Arc::new(loaded.declaration), clock).await?))
}

/// The host's clock. A faster one is for the sandbox: real services would see signatures from
/// another time and rotations that nobody declared.
fn clock(source: &Source, declaration: &Declaration) -> anyhow::Result<Arc<HostClock>> {
    let Some(speed) = source.speed else { return Ok(Arc::new(HostClock::real())) };
    if !sandbox::is_home(declaration) {
        bail!("--sandbox-speed is for declarations with loopback addresses only");
    }
    Ok(Arc::new(HostClock::at_speed(speed)))
}
