//! The service manager's ear (`sd_notify(3)`): readiness, reloads, the watchdog, one line of
//! status. A datagram to the socket that `NOTIFY_SOCKET` names; without one, nothing is said.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Where it listens, if it does.
pub struct Manager(Option<(UnixDatagram, SocketAddr)>);

impl Manager {
    /// Nobody listens.
    pub fn nobody() -> Self {
        Self(None)
    }

    /// The one that the environment names.
    pub fn of_environment() -> Self {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
            return Self(None);
        };
        Self(open(&address).inspect_err(|error| tracing::warn!(%error, "NOTIFY_SOCKET can't be used")).ok())
    }

    /// Says one or more assignments, a line each.
    pub fn tell(&self, lines: &str) {
        let Some((socket, address)) = &self.0 else { return };
        if let Err(error) = socket.send_to_addr(lines.as_bytes(), address) {
            tracing::warn!(%error, "the service manager does not listen");
        }
    }

    /// Says how things stand, in one line for `systemctl status`.
    pub fn status(&self, line: &str) {
        self.tell(&format!("STATUS={}", line.replace('\n', " ")));
    }
}

fn open(address: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match address.as_bytes() {
        // An abstract socket, as in containers.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not stop the work.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// How often at least the service manager wants a sign of life; `None` when it does not watch this
/// process.
pub fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let watched = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|span| watched && *span > 0).map(Duration::from_micros)
}
