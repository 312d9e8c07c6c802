//! Texts in one line, and addresses that secrets may be sent to.

use std::net::IpAddr;

use reqwest::Url;

use super::diagnostic::{Code, Problem};
use super::notes::Notes;
use super::tree::Text;

/// Notes a text that is empty, too long, or has control characters.
pub(super) fn plain(notes: &mut Notes<'_>, key: &str, text: Text<'_>, char_count_max: usize) -> Option<()> {
    let problem = if text.text.trim().is_empty() {
        "it is empty".to_owned()
    } else if text.text.chars().any(char::is_control) {
        "it has control characters".to_owned()
    } else if text.text.chars().count() > char_count_max {
        format!("it is longer than {char_count_max} characters")
    } else {
        return Some(());
    };
    let message = format!("`{key}` can't be this: {problem}");
    let help = format!("write 1 to {char_count_max} characters in one line");
    notes.push(Problem::error(Code::BadValue, text.span, message).help(help));
    None
}

/// Reads an endpoint: https, or http with a loopback address; no user, no query.
pub(super) fn url(notes: &mut Notes<'_>, key: &str, text: Text<'_>) -> Option<Url> {
    let url = any_url(notes, key, text)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        let message = format!("`{key}` is plain http, which would show secrets to the network");
        let emulator = match key {
            "endpoint_url" => "; for an emulator elsewhere add `allow_http = true` and `credentials = \"sandbox\"`",
            _ => "",
        };
        notes.push(
            Problem::error(Code::LoopbackOnly, text.span, message).label("http is for loopback addresses only").help(
                format!(
                    "write https; on this machine write the address itself, 127.0.0.1 or [::1], not a name for \
                     it{emulator}"
                ),
            ),
        );
        return None;
    }
    Some(url)
}

/// Reads an http or https URL, as a proxy may have one; no user, no query.
pub(super) fn any_url(notes: &mut Notes<'_>, key: &str, text: Text<'_>) -> Option<Url> {
    let Some(url) = Url::parse(text.text).ok().filter(|url| url.has_host()) else {
        if text.text.contains('@') {
            // Nobody can tell where the password begins.
            notes.mask(text.span);
            let message = format!("`{key}` is not a usable URL, and something in it may be a password");
            let help = "write it in full, such as `https://api.example.com`, without user and password";
            notes.push(Problem::error(Code::BadValue, text.span, message).label("not shown").help(help));
            return None;
        }
        let message = format!("`{key}` is not a usable URL: it has no scheme or no host");
        let help = "write it in full, such as `https://api.example.com`";
        notes.push(Problem::error(Code::BadValue, text.span, message).help(help));
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        let message = format!("`{key}` has a user or a password in it");
        notes.mask(text.span);
        notes.push(
            Problem::error(Code::InlineSecret, text.span, message)
                .label("not shown")
                .help("never write a secret into the declaration; change this password, it has been in a file"),
        );
        return None;
    }
    if !matches!(url.scheme(), "https" | "http") {
        let message = format!("`{key}` is not a usable URL: only https is spoken");
        notes.push(Problem::error(Code::BadValue, text.span, message).help("write `https://…`"));
        return None;
    }
    if url.query().is_some() || url.fragment().is_some() {
        notes.mask(text.span);
        let message = format!("`{key}` is not a usable URL: it has a query or a fragment");
        notes.push(Problem::error(Code::BadValue, text.span, message).help("end it before the `?` or `#`"));
        return None;
    }
    Some(url)
}

/// Whether a URL leads to this very machine. Names don't count: what they mean is decided elsewhere.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
