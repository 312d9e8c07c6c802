//! `run`: the daemon. Keeps everything up to date until SIGTERM or SIGINT; SIGHUP reads the
//! declaration again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::cli::report::{Output, Printer, Wrong};
use crate::cli::{Source, code};
use crate::clock::HostClock;
use crate::config::{self, Report, Severity};
use crate::engine::Engine;
use crate::serve::systemd::{self, Manager};
use crate::serve::{self, Health, Pages};

use work::Work;

mod work;

/// How long something under way may be silent before the daemon counts as hung, where the service
/// manager does not say. Longer than any call may take with all its tries: a vendor that asks for
/// patience is waited for up to seven minutes.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// How often it is looked at whether the daemon lives.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long opening targets and vendors may take before the service manager loses patience.
const OPENING_USEC: u64 = 120_000_000;

/// Options of `run`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Serve the status page, `/status.json`, `/livez` and `/readyz` on this loopback address.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Let --listen be reachable from other machines: in a container, for its probes.
    #[arg(long, requires = "listen")]
    listen_anywhere: bool,
}

/// What a running daemon is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Read the declaration again.
    Reload,
    /// Begin nothing new, finish what only this process can finish, and end. The second time: end.
    Stop,
}

/// Runs until told to stop; what only this process can finish is finished.
pub async fn run(source: &Source, arguments: &Arguments, printer: &Printer) -> anyhow::Result<u8> {
    if let Some(address) = arguments.listen
        && !address.ip().is_loopback()
        && !arguments.listen_anywhere
    {
        bail!(
            "--listen {address} is no loopback address: the pages name every credential to whoever asks; nothing was \
             started. Listen on 127.0.0.1, or add --listen-anywhere (in a container, for its probes)"
        );
    }
    // Before anything else: a SIGHUP that nobody waits for would end the process.
    let mut orders = signals()?;
    let manager = Manager::of_environment();
    manager.tell(&format!("EXTEND_TIMEOUT_USEC={OPENING_USEC}\nSTATUS=opening targets and vendors"));
    let opening = super::open(source, printer);
    tokio::pin!(opening);
    let engine = loop {
        tokio::select! {
            engine = &mut opening => break engine?,
            order = orders.recv() => match order {
                Some(Order::Stop) | None => return Ok(code::FINE),
                Some(Order::Reload) => tracing::warn!("SIGHUP before the start is over is not obeyed: send it again"),
            },
        }
    };
    let reread = Reread { config: source.config.clone(), speed: source.speed, output: printer.output() };
    let silence_max = systemd::watchdog().unwrap_or(SILENCE_MAX);
    let daemon = Daemon::new(engine, Arc::new(manager), silence_max, Some(reread));
    if let Some(address) = arguments.listen {
        let listener = TcpListener::bind(address).await.map_err(|error| unheard(address, &error))?;
        tracing::info!("status page at http://{}/", listener.local_addr()?);
        tokio::spawn(serve::serve(listener, daemon.pages(), std::future::pending()));
    }
    tokio::spawn(watch_over(daemon.pages(), Arc::clone(&daemon.manager), systemd::watchdog().is_some()));
    daemon.keep(orders).await?;
    Ok(code::FINE)
}

/// Why the pages can't be served. The likeliest cause is a second daemon, started by mistake.
fn unheard(address: SocketAddr, error: &std::io::Error) -> Wrong {
    let wrong = Wrong::new(format!("the status page can't be at {address}: {error}; nothing was started"));
    match error.kind() {
        std::io::ErrorKind::AddrInUse => wrong.with_hint(
            "is a keyferry running here already? One is enough; several share the work, each with its own --listen",
        ),
        _ => wrong,
    }
}

/// Ends when the process is told to: SIGTERM or SIGINT.
pub(super) async fn told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals can't be watched: only a kill will stop this process");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// For verbs that begin rotations and end by themselves: told to stop, nothing new begins, and what is
/// under way is finished or left in a state that the next run goes on from. Told again, it ends at once.
pub(super) fn stop_when_told(engine: &Arc<Engine>) {
    let engine = Arc::clone(engine);
    tokio::spawn(async move {
        told_to_stop().await;
        engine.stop();
        tracing::warn!("told to stop: finishing what only this process can finish; once more ends it at once");
        told_to_stop().await;
        tracing::warn!("stopped at once (told to stop again): the next run goes on from there");
        std::process::exit(i32::from(code::FAILING));
    });
}

/// Orders by signal: SIGHUP, SIGTERM, SIGINT.
fn signals() -> anyhow::Result<mpsc::Receiver<Order>> {
    let mut hangup = signal(SignalKind::hangup()).context("watching for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("watching for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watching for signals")?;
    let (tell, orders) = mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let order = tokio::select! {
                _ = hangup.recv() => Order::Reload,
                _ = terminate.recv() => Order::Stop,
                _ = interrupt.recv() => Order::Stop,
            };
            if tell.send(order).await.is_err() {
                return;
            }
        }
    });
    Ok(orders)
}

/// Tells the service manager while the daemon lives, and the log when it does not: a loop that
/// hangs can't tell.
async fn watch_over(pages: Pages, manager: Arc<Manager>, watched: bool) {
    let pause = (pages.health.silence_max() / 4).min(LOOK_PAUSE_MAX);
    let mut hung = false;
    loop {
        let engine = Arc::clone(&pages.engine.borrow());
        match pages.health.hangs(&engine) {
            None => {
                hung = false;
                if watched {
                    manager.tell("WATCHDOG=1");
                }
            }
            Some(what) if !hung => {
                hung = true;
                manager.status(&what);
                tracing::error!("{what}: the service manager is not told that this process lives");
            }
            Some(_) => {}
        }
        tokio::time::sleep(pause).await;
    }
}

/// How the declaration is read again.
#[derive(Clone)]
pub(super) struct Reread {
    config: PathBuf,
    speed: Option<f64>,
    output: Output,
}

impl Reread {
    /// Opens what is on disk now, next to `engine`; or says in one line why it can't be in force.
    async fn read(self, engine: Arc<Engine>) -> Result<Arc<Engine>, String> {
        let printer = Printer::new(self.output);
        let config = self.config.clone();
        // Many files may take a while, and the work goes on.
        let loaded = tokio::task::spawn_blocking(move || config::load(&config)).await;
        let loaded = loaded.map_err(|_| "reading it failed, which is a bug of keyferry".to_owned())?;
        let loaded = loaded.map_err(|report| {
            printer.warnings(&report);
            summary(&report)
        })?;
        printer.warnings(&loaded.warnings);
        let source = Source { config: self.config, speed: self.speed };
        super::clock(&source, &loaded.declaration).map_err(|error| error.to_string())?;
        engine.reopen(Arc::new(loaded.declaration)).await.map(Arc::new).map_err(|fault| fault.to_string())
    }
}

/// The first problem, and how many more there are.
fn summary(report: &Report) -> String {
    let errors = || report.problems.iter().filter(|problem| problem.severity == Severity::Error);
    let Some(first) = errors().next() else { return "it has problems".into() };
    let path = report.sources.get(first.at.source).map_or("", |source| source.path());
    let place =
        report.line_column(&first.at).map_or(path.to_owned(), |(line, column)| format!("{path}:{line}:{column}"));
    match errors().count() + report.left_out - 1 {
        0 => format!("{place}: {}", first.message),
        more => format!("{place}: {} (and {more} more)", first.message),
    }
}

/// A daemon that is about to work.
struct Daemon {
    engine: watch::Sender<Arc<Engine>>,
    health: Arc<Health>,
    manager: Arc<Manager>,
    reread: Option<Reread>,
}

impl Daemon {
    fn new(engine: Arc<Engine>, manager: Arc<Manager>, silence_max: Duration, reread: Option<Reread>) -> Self {
        let health = Arc::new(Health::new(Arc::new(HostClock::real()), silence_max));
        Self { engine: watch::Sender::new(engine), health, manager, reread }
    }

    /// What the status page shows of it.
    fn pages(&self) -> Pages {
        Pages { engine: self.engine.subscribe(), health: Arc::clone(&self.health) }
    }

    /// Keeps everything up to date until told to stop.
    ///
    /// In this task and not in one of its own: a bug in the loop ends the process, which somebody
    /// restarts, and the memory that reading the declaration took is used again by this thread.
    async fn keep(self, orders: mpsc::Receiver<Order>) -> anyhow::Result<()> {
        Work::new(self).await?.run(orders).await
    }
}
