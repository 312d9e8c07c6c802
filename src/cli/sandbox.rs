//! `sandbox`: everything on this machine without any account. The real daemon against a strict
//! Secrets Manager and the vendors' simulators over real HTTP on loopback, time sped up, while a
//! sample consumer reads and logs in all the time.
//!
//! | file | |
//! |---|---|
//! | `daemon` | the daemon as a process that can be killed |
//! | `show` | what it does, told line by line, and what `k` does to it |
//! | `keys` | single keys from a terminal |

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;

use crate::cli::report::{Output, Printer, Wrong, say};
use crate::cli::{Source, code, once, status};
use crate::clock::HostClock;
use crate::config::{self, Declaration, VendorInstance};
use crate::engine::Engine;
use crate::engine::snapshot::Status;
use crate::model::credential::Credential;
use crate::model::option::Value;
use crate::model::time::Clock;
use crate::sandbox::simulator::Seed;
use crate::sandbox::stage::{Ports, Sandbox, Watched};
use crate::vendors::http::Endpoint;
use daemon::Daemon;
use show::show;

pub(super) mod daemon;
mod keys;
mod show;

/// The declaration that the sandbox runs when none is given.
const DECLARATION: &str = include_str!("../../config/sandbox.toml");
/// Speed when nothing is said: an hour passes in a minute.
const SPEED: f64 = 60.0;
/// Highest speed at which the daemon's own work is sped up: a claim is good for a minute of the
/// sandbox's time, and a quarter of a second for the calls in it is what a busy machine holds.
const DAEMON_SPEED_MAX: f64 = 240.0;
/// Longest time, in sandbox time, that `--once` waits for everything to be current.
const ONCE_MAX: Duration = Duration::from_secs(2 * 3_600);

/// The option of every vendor that says where it is.
const BASE_URL: &str = "base_url";

/// Options of `sandbox`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Bring everything up to date, print the table, and end.
    #[arg(long, conflicts_with = "serve_only")]
    once: bool,
    /// Start the services without the daemon, for other clients.
    #[arg(long)]
    serve_only: bool,
    /// Seconds that pass in one, up to 240, or 3600 with --serve-only [default: 60; 1 with --serve-only].
    #[arg(long, value_name = "N", value_parser = speed)]
    speed: Option<f64>,
    /// Port of the Secrets Manager; 0 for any.
    #[arg(long, default_value_t = 7701, value_name = "PORT")]
    aws_port: u16,
    /// Port of the Security Token Service; 0 for any.
    #[arg(long, default_value_t = 7709, value_name = "PORT")]
    sts_port: u16,
    /// Port of a vendor's simulator, such as `keycard=7712`; 0 for any. May be given several times.
    #[arg(long, value_name = "KIND=PORT", value_parser = vendor_port)]
    vendor_port: Vec<(String, u16)>,
    /// Port of the control interface (faults, journal, facts); 0 for any.
    #[arg(long, default_value_t = 7700, value_name = "PORT")]
    control_port: u16,
    /// Port of the status page; 0 for any.
    #[arg(long, default_value_t = 7710, value_name = "PORT")]
    status_port: u16,
    /// Ids, secrets and faults follow from this number.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// A fault to begin with, as JSON; may be given several times. For example
    /// {"service":"aws","operation":"PutSecretValue","times":3,"effect":"drop_after"}; effects are
    /// drop_before, drop_after, fail_after, stale, {"throttle":{"retry_after":"1"}},
    /// {"refuse":{"status":403,"code":"forbidden"}}, {"delay":{"ms":500}} and {"body":"html"}.
    #[arg(long, value_name = "JSON")]
    fault: Vec<String>,
    /// Press `k` by itself this often, in real time (`30s`): the daemon is killed and started again.
    #[arg(long, value_name = "SPAN", value_parser = once::span, conflicts_with_all = ["once", "serve_only"])]
    kill_every: Option<Duration>,
}

fn vendor_port(text: &str) -> Result<(String, u16), String> {
    let known = || crate::sandbox::ALL.iter().map(|spec| spec.kind).collect::<Vec<_>>().join(", ");
    let (kind, port) = text.split_once('=').ok_or("write KIND=PORT")?;
    if crate::sandbox::ALL.iter().all(|spec| spec.kind != kind) {
        return Err(format!("there is no simulator of that kind; there are: {}", known()));
    }
    port.parse().map(|port| (kind.into(), port)).map_err(|_| "a port is a number from 0 to 65535".into())
}

/// A speed, as typed.
pub(super) fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.1..=3_600.0).contains(&speed) => Ok(speed),
        _ => Err("a number from 0.1 to 3600".into()),
    }
}

/// Starts the services, and the daemon unless told otherwise.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    if let Some(speed) = arguments.speed.filter(|speed| !arguments.serve_only && *speed > DAEMON_SPEED_MAX) {
        let message = format!(
            "--speed {speed} is too fast for the daemon: a claim is good for one minute, which would be {:.2} s, and \
             its calls take that long on a busy machine; nothing was started",
            60.0 / speed
        );
        let hint = format!("up to {DAEMON_SPEED_MAX}; the services alone, with --serve-only, run at up to 3600");
        return Err(Wrong::new(message).with_hint(hint).into());
    }
    let mut declaration = load(&source.config)?;
    let natural = if arguments.serve_only { 1.0 } else { SPEED };
    let clock: Arc<dyn Clock> = Arc::new(HostClock::at_speed(arguments.speed.unwrap_or(natural)));
    let usual = crate::sandbox::ALL.iter().map(|spec| (spec.kind.to_owned(), spec.port));
    let vendors = usual.chain(arguments.vendor_port.iter().cloned()).collect();
    let ports = Ports { aws: arguments.aws_port, sts: arguments.sts_port, vendors, control: arguments.control_port };
    let sandbox =
        Sandbox::start(ports, arguments.seed, Arc::clone(&clock), Arc::new(HostClock::real())).await.context(
            "starting the sandbox's services (choose other ports with --aws-port, --sts-port, --vendor-port, --control-port)",
        )?;
    for text in &arguments.fault {
        let rule = serde_json::from_str(text).with_context(|| format!("reading --fault {text}"))?;
        sandbox.add_fault(rule);
    }
    seed(&sandbox, &declaration);
    if arguments.serve_only {
        return serve_only(&sandbox, printer).await;
    }
    let declared = declaration.clone();
    point(&mut declaration, &sandbox)?;
    let engine = Arc::new(Engine::open(Arc::new(declaration), Arc::clone(&clock)).await?);
    sandbox.watch(watched(&engine));
    if arguments.once {
        finish(&engine, &sandbox, printer).await
    } else {
        keep(&declared, &engine, &sandbox, source, arguments, printer).await
    }
}

/// The declaration asked for, or the sandbox's own. The default path of real use is not looked at.
fn load(path: &Path) -> anyhow::Result<Declaration> {
    let loaded =
        if is_builtin(path) { config::load_text(&[("config/sandbox.toml", DECLARATION)]) } else { config::load(path) };
    Ok(loaded?.declaration)
}

/// Whether nobody named a declaration.
fn is_builtin(path: &Path) -> bool {
    path == Path::new("/etc/keyferry/keyferry.toml")
}

/// What the declared credentials need to be there at their vendors.
fn seed(sandbox: &Sandbox, declaration: &Declaration) {
    for credential in &declaration.credentials {
        sandbox.seed(&as_seed(declaration, credential));
    }
}

/// A declared credential, as the sandbox needs to know it.
fn as_seed(declaration: &Declaration, credential: &Credential) -> Seed {
    let kind = declaration.vendors.get(&credential.vendor).map(|vendor| vendor.spec.kind).unwrap_or_default();
    Seed { vendor: kind.into(), type_name: credential.type_name.into(), options: credential.options.clone() }
}

/// Whether every address in the declaration is one of this very machine.
pub(super) fn is_home(declaration: &Declaration) -> bool {
    declaration.targets.values().all(|target| target.is_loopback()) && declaration.vendors.values().all(at_home)
}

fn at_home(vendor: &VendorInstance) -> bool {
    let here = |url: &str| Endpoint::parse(url).is_ok_and(|endpoint| endpoint.is_loopback());
    vendor.options.text(BASE_URL).is_some_and(here)
}

/// Points every target and vendor of the declaration at the running services. Only loopback
/// endpoints are moved: a declaration for real accounts can't be run here by mistake.
fn point(declaration: &mut Declaration, sandbox: &Sandbox) -> anyhow::Result<()> {
    for (name, target) in &mut declaration.targets {
        if !target.is_loopback() {
            bail!("target `{name}` is not on this machine: the sandbox runs declarations with loopback endpoints only");
        }
        target.endpoint_url = Some(format!("http://{}", sandbox.aws_address()));
        target.sts_endpoint_url = Some(format!("http://{}", sandbox.sts_address()));
    }
    for (name, vendor) in &mut declaration.vendors {
        let field = vendor.spec.fields.iter().find(|field| field.name == BASE_URL);
        let Some(field) = field.filter(|_| at_home(vendor)) else {
            bail!("vendor `{name}` is not on this machine: the sandbox runs declarations with loopback endpoints only");
        };
        let Some(address) = sandbox.vendor_address(vendor.spec.kind) else {
            bail!("the sandbox has no simulator for vendor kind `{}`", vendor.spec.kind);
        };
        vendor.options.set(field, Value::Text(format!("http://{address}")));
    }
    Ok(())
}

/// The secrets that the sample consumer reads and logs in with.
fn watched(engine: &Engine) -> Vec<Watched> {
    let watched = |credential: &Arc<Credential>| {
        let destination = &credential.destination;
        Watched {
            secret: destination.name.to_string(),
            seed: as_seed(engine.declaration(), credential),
            keys: destination.shape.keys(),
        }
    };
    engine.declaration().credentials.iter().map(watched).collect()
}

async fn serve_only(sandbox: &Sandbox, printer: &Printer) -> anyhow::Result<u8> {
    let aws = sandbox.aws_address();
    match printer.output() {
        Output::Json => {
            let services = sandbox.services().into_iter();
            let shown = services.map(|(title, at)| (title.to_lowercase().replace(' ', "_"), format!("http://{at}")));
            printer.json(&shown.map(|(title, at)| (title, at.into())).collect::<serde_json::Map<_, _>>().into());
        }
        Output::Text => {
            tell_services(sandbox);
            say("");
            say("For other clients, in another terminal:");
            say(format_args!("  export AWS_ENDPOINT_URL_SECRETS_MANAGER=http://{aws}"));
            say(format_args!("  export AWS_ENDPOINT_URL_STS=http://{}", sandbox.sts_address()));
            say(
                "  export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1",
            );
            say("");
            say("Ctrl-C ends it; nothing is kept.");
        }
    }
    tokio::signal::ctrl_c().await?;
    Ok(code::FINE)
}

/// `--once`: goes on, waiting where a date has to pass, until everything is current.
async fn finish(engine: &Arc<Engine>, sandbox: &Sandbox, printer: &Printer) -> anyhow::Result<u8> {
    let began = engine.clock().monotonic();
    loop {
        once::up_to_date(engine, Duration::ZERO, printer).await;
        let all = engine.board().all();
        let current = |status: &Status| status.published.is_some();
        let waits = |status: &Status| status.exit_code() == code::FINE || status.exit_code() == code::FAILING;
        let done = all.values().all(|status| current(status) && status.exit_code() == code::FINE);
        let hopeless = !all.values().all(waits);
        if done || hopeless || engine.clock().monotonic().saturating_sub(began) > ONCE_MAX {
            break;
        }
        engine.clock().sleep(Duration::from_secs(30)).await;
    }
    sandbox.consumer.round().await;
    let (logins, failures) = sandbox.consumed();
    let consumer = json!({ "consumer": { "logins": logins, "failures": failures } });
    let worst = printer.fleet(engine.board(), false, consumer);
    let missing = engine.board().all().values().filter(|status| status.published.is_none()).count();
    if printer.output() == Output::Text {
        say(format_args!("\nconsumer: {logins} logins with what it read from AWS, {failures} failures"));
        if missing > 0 {
            say(format_args!("{missing} credential(s) are not current: see the reasons above"));
        }
    }
    let unfinished = if missing > 0 { code::FAILING } else { code::FINE };
    Ok(if failures > 0 { 6 } else { worst.max(unfinished) })
}

fn tell_services(sandbox: &Sandbox) {
    for (title, address) in sandbox.services() {
        say(format_args!("{title:<16} http://{address}"));
    }
}

/// The daemon for show, as a process of its own, until Ctrl-C; then how things stand, from AWS.
async fn keep(
    declared: &Declaration,
    engine: &Arc<Engine>,
    sandbox: &Sandbox,
    source: &Source,
    arguments: &Arguments,
    printer: &Printer,
) -> anyhow::Result<u8> {
    let speed = arguments.speed.unwrap_or(SPEED);
    let daemon = Daemon::start(&source.config, declared, sandbox, speed, arguments.status_port).await?;
    tell_services(sandbox);
    say(format_args!("status page      http://{}/", daemon.address()));
    say("Times below are the sandbox's own.");
    let engine = Arc::new(Engine::open(daemon.declaration(), Arc::clone(engine.clock())).await?);
    let consumer = sandbox.start_consumer();
    let ended = show(sandbox, daemon, arguments.seed, arguments.kill_every).await?;
    consumer.abort();
    say("");
    let worst = status::fleet(&engine, printer).await;
    let (logins, failures) = sandbox.consumed();
    say(format_args!("\nconsumer: {logins} logins, {failures} failures"));
    Ok(if failures > 0 { 6 } else { ended.unwrap_or(worst) })
}
