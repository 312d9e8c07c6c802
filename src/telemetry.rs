//! The log: who may say how much, and in which form. Facts without values.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, format};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::model::printable::{printable, printable_in_colour, printable_json};

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts the log on standard error. `default` is the level for keyferry's own lines where
/// `RUST_LOG` says nothing.
pub fn start(form: Form, default: &str) {
    let standard = format!("error,keyferry={default}");
    let asked = std::env::var("RUST_LOG").unwrap_or_else(|_| standard.clone());
    let asked = EnvFilter::try_new(&asked).unwrap_or_else(|_| EnvFilter::new(standard));
    let log = tracing_subscriber::registry().with(asked).with(filter_fn(may_print));
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = form == Form::Text && !plain && std::io::stderr().is_terminal();
    let to_stderr = move || Clean { form, colour, to: std::io::stderr() };
    let lines = tracing_subscriber::fmt::layer().with_writer(to_stderr);
    // A second start (tests) keeps the first.
    let _ = match (form, is_journal(&std::io::stderr())) {
        (Form::Text, false) => log.with(lines.with_ansi(colour).with_target(false)).try_init(),
        (Form::Json, false) => log.with(lines.json()).try_init(),
        // The journal dates its lines itself, and knows how bad each is by what stands before it.
        (Form::Text, true) => {
            let inner = format().without_time().with_level(false).with_target(false);
            log.with(lines.with_ansi(false).event_format(Prioritised(inner))).try_init()
        }
        (Form::Json, true) => {
            let fields = format::JsonFields::new();
            log.with(lines.fmt_fields(fields).event_format(Prioritised(format().json()))).try_init()
        }
    };
}

/// Whether what is written there goes to the journal (`JOURNAL_STREAM`, `systemd.exec(5)`).
pub fn is_journal(stream: &impl AsFd) -> bool {
    let Ok(told) = std::env::var("JOURNAL_STREAM") else { return false };
    let Some((device, inode)) = told.split_once(':') else { return false };
    let about = stream.as_fd().try_clone_to_owned().and_then(|stream| File::from(stream).metadata());
    about.is_ok_and(|about| device.parse() == Ok(about.dev()) && inode.parse() == Ok(about.ino()))
}

/// A line that begins with its priority as the journal reads it (`sd-daemon(3)`).
struct Prioritised<F>(F);

impl<S, N, F> FormatEvent<S, N> for Prioritised<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(out, "<{}>", priority(event.metadata().level()))?;
        self.0.format_event(context, out, event)
    }
}

/// How bad a line is, on syslog's scale.
fn priority(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Says at each answer of 5xx, as an error, that it could not close a connection that is closed anyway.
const POISONED: &str = "aws_smithy_runtime::client::http::connection_poisoning";

/// Writes whole lines, in characters that a terminal can be given.
struct Clean<W> {
    form: Form,
    colour: bool,
    to: W,
}

impl<W: Write> Write for Clean<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        match (self.form, self.colour) {
            (Form::Json, _) => self.to.write_all(printable_json(&text).as_bytes())?,
            (Form::Text, true) => self.to.write_all(printable_in_colour(&text).as_bytes())?,
            (Form::Text, false) => self.to.write_all(printable(&text).as_bytes())?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Below `error`, the libraries that carry requests may print bodies and headers, and so secrets:
/// whatever `RUST_LOG` asks for, only our own lines go out there.
fn may_print(line: &Metadata<'_>) -> bool {
    allowed(line.target(), line.level())
}

fn allowed(target: &str, level: &Level) -> bool {
    let ours = target == "keyferry" || target.starts_with("keyferry::");
    ours || *level == Level::ERROR && !target.starts_with(POISONED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_moves_no_cursor_and_turns_no_words_round() {
        for (form, shown) in
            [(Form::Text, "app: said \\u{1b}[2J\\u{202e}\n"), (Form::Json, "app: said \\u001b[2J\\u202e\n")]
        {
            let mut line = Clean { form, colour: false, to: Vec::new() };
            line.write_all("app: said \u{1b}[2J\u{202e}\n".as_bytes()).unwrap();
            assert_eq!(String::from_utf8(line.to).unwrap(), shown);
        }
    }

    #[test]
    fn a_library_that_carries_requests_says_nothing_below_error() {
        for (target, level, goes_out) in [
            ("keyferry::engine", Level::TRACE, true),
            ("aws_smithy_runtime::client::orchestrator", Level::TRACE, false),
            ("aws_config::meta", Level::WARN, false),
            ("keyferry_like", Level::INFO, false),
            ("hyper::proto", Level::ERROR, true),
            ("aws_smithy_runtime::client::http::connection_poisoning", Level::ERROR, false),
        ] {
            assert_eq!(allowed(target, &level), goes_out, "{target} {level}");
        }
    }
}
