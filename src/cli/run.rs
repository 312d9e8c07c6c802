//! `run`: the daemon. Keeps everything up to date until SIGTERM or SIGINT; SIGHUP reads the
//! declaration again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::cli::report::{Printer, Wrong};
use crate::cli::signals::{self, Order};
use crate::cli::{Source, code};
use crate::clock::HostClock;
use crate::config;
use crate::engine::Engine;
use crate::serve::systemd::{self, Manager};
use crate::serve::{self, Health, Pages};

use disk::{Reread, Trace, summary};
use work::Work;

mod disk;
mod start;
mod work;

/// How long something under way may give no sign of life before the daemon counts as hung, where the
/// service manager does not say. A vendor that does not answer is no reason: who waits for it gives
/// signs of life, and gives up after a while.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// How often it is looked at whether the daemon lives.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Before the pages are served again.
const SERVE_PAUSE: Duration = Duration::from_secs(1);
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
    /// When the declaration is read again: at SIGHUP, or also within a minute after it changed on disk.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ReloadWhen::OnSignal)]
    reload: ReloadWhen,
    /// The sandbox that this daemon belongs to, and ends with.
    #[arg(long, hide = true, value_name = "PID")]
    sandbox_parent: Option<i32>,
}

/// When the declaration is read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum ReloadWhen {
    /// At SIGHUP.
    OnSignal,
    /// At SIGHUP, and when its files changed: where nobody can send a signal.
    OnChange,
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
    if let Some(parent) = arguments.sandbox_parent {
        super::sandbox::daemon::tie_to_parent(parent)?;
    }
    // Before anything else: a SIGHUP that nobody waits for would end the process.
    let mut orders = signals::orders()?;
    let manager = Arc::new(Manager::of_environment());
    manager.tell(&format!("EXTEND_TIMEOUT_USEC={OPENING_USEC}\nSTATUS=opening targets and vendors"));
    let opening = open(source, printer, &manager);
    tokio::pin!(opening);
    let (engine, trace) = loop {
        tokio::select! {
            opened = &mut opening => break opened?,
            order = orders.recv() => match order {
                Some(Order::Stop) | None => return Ok(code::FINE),
                Some(Order::Reload) => tracing::warn!("SIGHUP before the start is over is not obeyed: send it again"),
            },
        }
    };
    let reread = Reread { config: source.config.clone(), speed: source.speed, output: printer.output() };
    let silence_max = systemd::watchdog().unwrap_or(SILENCE_MAX);
    let files = Files { reread, trace, on_change: arguments.reload == ReloadWhen::OnChange };
    let daemon = Daemon::new(engine, Arc::clone(&manager), silence_max, files, source.speed.unwrap_or(1.0));
    if let Some(address) = arguments.listen {
        let listener = TcpListener::bind(address).await.map_err(|error| unheard(address, &error))?;
        tracing::info!("status page at http://{}/", listener.local_addr()?);
        tokio::spawn(keep_serving(Arc::new(listener), daemon.pages()));
    }
    tokio::spawn(watch_over(daemon.pages(), Arc::clone(&daemon.manager), systemd::watchdog().is_some()));
    daemon.keep(orders).await?;
    Ok(code::FINE)
}

/// Loads the declaration and opens its engine; the service manager is told why it can't be.
async fn open(source: &Source, printer: &Printer, manager: &Manager) -> anyhow::Result<(Arc<Engine>, Trace)> {
    let loaded = config::load(&source.config).inspect_err(|report| {
        manager.status(&format!("not started: the declaration has problems: {}", summary(report)));
    })?;
    printer.warnings(&loaded.warnings);
    let trace = Trace::of(&loaded.warnings);
    let clock = super::clock(source, &loaded.declaration)?;
    let opened = Engine::open(Arc::new(loaded.declaration), clock).await;
    let engine = opened.inspect_err(|fault| manager.status(&format!("not started: {fault}")))?;
    Ok((Arc::new(engine), trace))
}

/// Serves the pages for as long as the process runs: that they end is a bug, and the credentials are
/// kept all the same.
async fn keep_serving(listener: Arc<TcpListener>, pages: Pages) {
    loop {
        let serving = serve::serve(Arc::clone(&listener), pages.clone(), std::future::pending());
        let ended = tokio::spawn(serving).await;
        tracing::error!(bug = ended.is_err(), "the status page ended, which is a bug of keyferry: it is started again");
        tokio::time::sleep(SERVE_PAUSE).await;
    }
}

/// Why the pages can't be served. The likeliest cause is a second daemon, started by mistake.
fn unheard(address: SocketAddr, error: &std::io::Error) -> Wrong {
    let message = format!("the status page can't be at {address}: {error}; nothing was started");
    let wrong = Wrong::new(message).with_code(code::FAILING);
    match error.kind() {
        std::io::ErrorKind::AddrInUse => wrong.with_hint(
            "is a keyferry running here already? One is enough; several share the work, each with its own --listen",
        ),
        _ => wrong,
    }
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

/// A daemon that is about to work.
struct Daemon {
    engine: watch::Sender<Arc<Engine>>,
    health: Arc<Health>,
    manager: Arc<Manager>,
    files: Files,
    speed: f64,
}

/// The declaration's files, as far as the daemon knows.
struct Files {
    reread: Reread,
    /// Of what was read last, in force or not.
    trace: Trace,
    /// Whether a change is read without being told.
    on_change: bool,
}

impl Daemon {
    fn new(engine: Arc<Engine>, manager: Arc<Manager>, silence_max: Duration, files: Files, speed: f64) -> Self {
        let health = Arc::new(Health::new(Arc::new(HostClock::real()), silence_max));
        Self { engine: watch::Sender::new(engine), health, manager, files, speed }
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
