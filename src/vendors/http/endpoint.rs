//! Addresses of vendors, checked once, and paths below them whose foreign parts can't escape.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use crate::model::fault::{Class, Fault};
use crate::model::name::Invalid;

/// A checked address: https, or http where the host is a loopback address.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Checks an address.
    ///
    /// # Errors
    /// Says what is allowed.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        // The parser would silently drop line breaks and tabs.
        if text.len() > 2048 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid("at most 2048 visible ASCII characters"));
        }
        let url = Url::parse(text).map_err(|_| Invalid("a URL with scheme and host"))?;
        let plain = !url.username().is_empty() || url.password().is_some();
        if plain || url.query().is_some() || url.fragment().is_some() || !url.has_host() {
            return Err(Invalid("a URL without user, password, query and fragment"));
        }
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if is_loopback(&url) => Ok(Self(url)),
            _ => Err(Invalid("https, or http where the host is a loopback address")),
        }
    }

    /// Whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// The address itself.
    pub fn url(&self) -> Url {
        self.0.clone()
    }

    /// The address below this one whose path goes on with `segments`, each escaped to be exactly
    /// one segment.
    ///
    /// # Errors
    /// For an empty segment, `.` and `..`: no escape keeps a server from reading those as another
    /// path (RFC 3986 section 6.2.2).
    pub fn at(&self, segments: &[&str]) -> Result<Url, Invalid> {
        let mut path = self.0.path().trim_end_matches('/').to_owned();
        for segment in segments {
            if matches!(*segment, "" | "." | "..") {
                return Err(Invalid("an id that is not empty, `.` or `..`"));
            }
            path.push('/');
            for byte in segment.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
                    path.push(char::from(byte));
                } else {
                    path.push_str(&format!("%{byte:02X}"));
                }
            }
        }
        let mut url = self.0.clone();
        url.set_path(&path);
        debug_assert_eq!(url.path(), path, "escaped segments are taken as they are");
        Ok(url)
    }

    /// The same as a step of what is being done.
    ///
    /// # Errors
    /// `Rejected`, as there.
    pub fn url_of(&self, doing: &str, segments: &[&str]) -> Result<Url, Fault> {
        self.at(segments).map_err(|invalid| Fault::new(Class::Rejected, doing, format!("expected {invalid}")))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_on_this_machine() {
        for good in ["https://api.keycard.ai", "http://127.0.0.1:7702/x/", "http://[::1]:1", "http://localhost:1"] {
            assert!(Endpoint::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://api.keycard.ai",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://10.0.0.1",
            "http://[::ffff:127.0.0.1]",
            "ftp://127.0.0.1",
            "https://user@api.keycard.ai",
            "https://:pass@api.keycard.ai",
            "https://api.keycard.ai/?a=b",
            "https://api.keycard.ai/#a",
            "https://api.key\ncard.ai",
            "https://api.keycärd.ai",
            "https://",
            "data:text/plain,x",
            "api.keycard.ai",
            "",
            &format!("https://{}", "x".repeat(2048)),
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_foreign_id_stays_one_segment() {
        let base = Endpoint::parse("https://api.keycard.ai/v1/").unwrap();
        let path = |segment: &str| base.at(&["zones", segment]).map(|url| url.as_str().to_owned());
        for (segment, escaped) in [
            ("a-b_c.d~e", "a-b_c.d~e"),
            ("../../x", "..%2F..%2Fx"),
            ("...", "..."),
            ("@a", "@a"),
            ("%2e%2e", "%252e%252e"),
            ("a\r\nb\tc", "a%0D%0Ab%09c"),
            ("a?b#c;d\\e", "a%3Fb%23c%3Bd%5Ce"),
            ("ü", "%C3%BC"),
            (" ", "%20"),
        ] {
            assert_eq!(path(segment).unwrap(), format!("https://api.keycard.ai/v1/zones/{escaped}"));
        }
        for bad in ["", ".", ".."] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }
}
