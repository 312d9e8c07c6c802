//! The log: who may say how much, and in which form. Facts without values.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

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
    let lines = fmt::layer().with_writer(std::io::stderr);
    // A second start (tests) keeps the first.
    let _ = match form {
        Form::Text => log.with(lines.with_ansi(std::io::stderr().is_terminal()).with_target(false)).try_init(),
        Form::Json => log.with(lines.json()).try_init(),
    };
}

/// Below `error`, the libraries that carry requests may print bodies and headers, and so secrets:
/// whatever `RUST_LOG` asks for, only our own lines go out there.
fn may_print(line: &Metadata<'_>) -> bool {
    allowed(line.target(), line.level())
}

fn allowed(target: &str, level: &Level) -> bool {
    let ours = target == "keyferry" || target.starts_with("keyferry::");
    ours || *level == Level::ERROR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_carries_requests_says_nothing_below_error() {
        for (target, level, goes_out) in [
            ("keyferry::engine", Level::TRACE, true),
            ("aws_smithy_runtime::client::orchestrator", Level::TRACE, false),
            ("aws_config::meta", Level::WARN, false),
            ("keyferry_like", Level::INFO, false),
            ("hyper::proto", Level::ERROR, true),
        ] {
            assert_eq!(allowed(target, &level), goes_out, "{target} {level}");
        }
    }
}
