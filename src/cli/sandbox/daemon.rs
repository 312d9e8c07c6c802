//! The real daemon as a process of its own, so that it can be killed: the same executable, with a
//! declaration whose addresses are those of the running services.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::cli::sandbox::{BASE_URL, DECLARATION, is_builtin};
use crate::config::{self, Declaration};
use crate::sandbox::stage::Sandbox;

/// How long a daemon may take to finish what is under way, in real time.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Ends this process with the sandbox that started it, however that ends.
pub(in crate::cli) fn tie_to_parent(parent: i32) -> anyhow::Result<()> {
    // Where that can't be had, the sandbox still ends its daemon itself when it ends in order.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if getppid() != Pid::from_raw(parent) {
        bail!("the sandbox that this daemon belongs to is gone; nothing was started");
    }
    Ok(())
}

/// The daemon that is running now, and how to start the next one.
pub(super) struct Daemon {
    /// Asked for once: when it is built anew meanwhile, the path is what stays.
    program: PathBuf,
    config: Folder,
    listen: SocketAddr,
    speed: f64,
    child: Child,
    declaration: Arc<Declaration>,
}

impl Daemon {
    /// Writes its declaration and starts it.
    pub(super) async fn start(
        path: &Path,
        declaration: &Declaration,
        sandbox: &Sandbox,
        speed: f64,
        status_port: u16,
    ) -> anyhow::Result<Self> {
        let (text, copy) = pointed(path, declaration, sandbox)?;
        let config = Folder::with(&text)?;
        let listen = free(status_port).await?;
        let program = std::env::current_exe().context("finding keyferry's own executable")?;
        let child = spawn(&program, &config.file(), listen, speed)?;
        Ok(Self { program, config, listen, speed, child, declaration: Arc::new(copy) })
    }

    /// Where its status page is.
    pub(super) fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Its declaration: with these addresses in it, as the tags of its secrets are.
    pub(super) fn declaration(&self) -> Arc<Declaration> {
        Arc::clone(&self.declaration)
    }

    /// Ends when the daemon ends by itself.
    pub(super) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Kills it with SIGKILL.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("killing the daemon")
    }

    /// Starts a fresh one.
    pub(super) fn start_again(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.program, &self.config.file(), self.listen, self.speed)?;
        Ok(())
    }

    /// Asks it to finish what is under way and to end; kills it when it does not.
    pub(super) async fn stop(mut self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // It may have ended meanwhile.
            let _ = kill_process(id, Signal::TERM);
        }
        if tokio::time::timeout(STOP_MAX, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

fn spawn(program: &Path, config: &Path, listen: SocketAddr, speed: f64) -> anyhow::Result<Child> {
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(config);
    command.args(["--sandbox-speed", &speed.to_string(), "--listen", &listen.to_string()]);
    command.args(["--sandbox-parent", &std::process::id().to_string()]);
    if std::env::var_os("RUST_LOG").is_none() {
        // The sandbox tells what changes; the daemon, what is wrong.
        command.env("RUST_LOG", "error,keyferry=warn");
    }
    // Its own group: Ctrl-C is the sandbox's to hear.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command.spawn().with_context(|| format!("starting the daemon, {}", program.display()))
}

/// The port asked for, or any that is free now: every daemon after the first needs the same one.
async fn free(port: u16) -> anyhow::Result<SocketAddr> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address} (choose another port with --status-port)"))?;
    Ok(listener.local_addr()?)
}

/// The declaration's text with the addresses of the running services in it, and what it means.
fn pointed(path: &Path, declaration: &Declaration, sandbox: &Sandbox) -> anyhow::Result<(String, Declaration)> {
    let mut text = if is_builtin(path) { DECLARATION.to_owned() } else { config::load_as_one(path)? };
    let mut put = |declared: Option<&str>, address: Option<SocketAddr>| {
        if let (Some(declared), Some(address)) = (declared, address) {
            text = text.replace(&format!("\"{declared}\""), &format!("\"http://{address}\""));
        }
    };
    for target in declaration.targets.values() {
        put(target.endpoint_url.as_deref(), Some(sandbox.aws_address()));
        put(target.sts_endpoint_url.as_deref(), Some(sandbox.sts_address()));
    }
    for vendor in declaration.vendors.values() {
        put(vendor.options.text(BASE_URL), sandbox.vendor_address(vendor.spec.kind));
    }
    let copy = config::load_text(&[("sandbox.toml", &text)]).ok().map(|loaded| loaded.declaration);
    let whole = copy.filter(|copy| {
        let (copy, own) = (&copy.credentials, &declaration.credentials);
        copy.len() == own.len() && copy.iter().zip(own).all(|(copy, own)| copy.name == own.name)
    });
    match whole {
        Some(copy) => Ok((text, copy)),
        None => bail!(
            "the daemon's copy of this declaration, all of it in one text with the services' addresses, would not be \
             the same; use --once, or --serve-only and `keyferry run`"
        ),
    }
}

/// A folder of our own with the daemon's declaration in it; it goes with this value.
struct Folder(PathBuf);

impl Folder {
    fn with(text: &str) -> anyhow::Result<Self> {
        let name = format!("keyferry-sandbox-{}", uuid::Uuid::new_v4().simple());
        let folder = Self(std::env::temp_dir().join(name));
        let doing = || format!("writing the daemon's declaration to {}", folder.0.display());
        // Nobody else may write it: the daemon would refuse such a declaration.
        DirBuilder::new().mode(0o700).create(&folder.0).with_context(doing)?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.file()).with_context(doing)?;
        file.write_all(text.as_bytes()).with_context(doing)?;
        Ok(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("keyferry.toml")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed is a declaration without secrets in a folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
