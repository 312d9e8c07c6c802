//! Why the other side was not reached: names, certificates and proxies, as the causes in an HTTP
//! client's error tell it. Both edges say it in these words.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as Tls};

/// Too many open files: in this process, or on this machine (`errno` 24 and 23 on Linux).
const TOO_MANY_FILES: [i32; 2] = [24, 23];

const HINT_AUTHORITY: &str = "if a company proxy or an authority of your own signs the traffic, name its certificate by `ca_file` or SSL_CERT_FILE";
const HINT_CLOCK: &str = "ask whoever runs that server to renew its certificate; compare this machine's date";
const HINT_HOST: &str = "check the address in the declaration, and whether something between answers in its place";
const HINT_TLS: &str = "check the address and its port; at least TLS 1.2 is needed";
const HINT_PROXY: &str = "check the proxy's address, what it lets through, and whether it wants a user and a password";

/// Why, and what a person can do. No text of the other side is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreached {
    /// What happened, as the end of a sentence about the call.
    pub answer: &'static str,
    /// What a person can do.
    pub hint: Option<&'static str>,
}

impl Unreached {
    /// The cause that a chain of errors names; `None` where it names none that is known here.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        causes(error).find_map(|cause| {
            if let Some(tls) = cause.downcast_ref::<Tls>() {
                return Some(by_tls(tls));
            }
            by_system(cause.downcast_ref::<io::Error>()).or_else(|| by_text(&cause.to_string()))
        })
    }
}

const fn told(answer: &'static str, hint: &'static str) -> Unreached {
    Unreached { answer, hint: Some(hint) }
}

fn by_tls(error: &Tls) -> Unreached {
    use CertificateError as Bad;
    match error {
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            told("its TLS certificate has expired", HINT_CLOCK)
        }
        Tls::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            told("its TLS certificate is not valid yet", HINT_CLOCK)
        }
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            told("its TLS certificate is for another host", HINT_HOST)
        }
        Tls::InvalidCertificate(Bad::UnknownIssuer) => {
            told("its TLS certificate is signed by an authority that is unknown here", HINT_AUTHORITY)
        }
        Tls::InvalidCertificate(Bad::Revoked) => told("its TLS certificate was revoked", HINT_HOST),
        Tls::InvalidCertificate(_) => told("its TLS certificate was not accepted", HINT_AUTHORITY),
        Tls::AlertReceived(AlertDescription::ProtocolVersion) | Tls::PeerIncompatible(_) => {
            told("it speaks no version of TLS that is safe", HINT_TLS)
        }
        Tls::AlertReceived(_) => told("it refused the TLS handshake", HINT_TLS),
        Tls::InvalidMessage(_) => told("what answers there does not speak TLS", HINT_TLS),
        _ => told("no TLS connection could be made", HINT_TLS),
    }
}

fn by_system(error: Option<&io::Error>) -> Option<Unreached> {
    let error = error?;
    if error.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code)) {
        let hint = "raise the limit of open files (`LimitNOFILE=` in the unit, `ulimit -n` in a shell)";
        return Some(told("no connection could be opened: too many open files", hint));
    }
    let plain = |answer| Some(Unreached { answer, hint: None });
    match error.kind() {
        io::ErrorKind::ConnectionRefused => plain("connection refused"),
        io::ErrorKind::ConnectionReset => plain("connection reset"),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => plain("network unreachable"),
        _ => None,
    }
}

/// Causes whose types are private to the libraries that give them; a test in `tests/wire` sees each.
fn by_text(text: &str) -> Option<Unreached> {
    if text.contains("dns error") || text.contains("failed to lookup address") {
        return Some(told("its host name could not be resolved", "check the host name, and DNS from this machine"));
    }
    if text.contains("proxy authorization required") {
        return Some(told("the proxy wants a user and a password", HINT_PROXY));
    }
    if text.contains("tunnel error") {
        return Some(told("the proxy did not lead there", HINT_PROXY));
    }
    None
}

/// An error and all that caused it. What an I/O error wraps is a cause of its own, which `source`
/// would skip.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_cause_that_is_known_is_told() {
        let wrapped = |tls: Tls| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        for (error, answer) in [
            (wrapped(Tls::InvalidCertificate(CertificateError::Expired)), "its TLS certificate has expired"),
            (wrapped(Tls::AlertReceived(AlertDescription::HandshakeFailure)), "it refused the TLS handshake"),
            (io::Error::from_raw_os_error(24), "no connection could be opened: too many open files"),
            (io::ErrorKind::ConnectionRefused.into(), "connection refused"),
            (io::Error::other("tunnel error: proxy authorization required"), "the proxy wants a user and a password"),
        ] {
            assert_eq!(Unreached::of(&error).map(|cause| cause.answer), Some(answer), "{error:?}");
        }
        assert_eq!(Unreached::of(&io::Error::other("something else")), None);
    }
}
