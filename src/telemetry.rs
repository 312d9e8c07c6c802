//! The log: who may say how much, and in which form. Facts without values.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Crates whose debug and trace lines may hold request bodies or headers: only errors,
/// whatever `RUST_LOG` asks for.
const CAPPED: [&str; 14] = [
    "aws_config",
    "aws_runtime",
    "aws_sdk_secretsmanager",
    "aws_sdk_sts",
    "aws_sigv4",
    "aws_smithy_http_client",
    "aws_smithy_runtime",
    "aws_smithy_runtime_api",
    "h2",
    "hyper",
    "hyper_util",
    "reqwest",
    "rustls",
    "tokio_cron_scheduler",
];

/// Starts the log on standard error. `default` is the level for keyferry's own lines where
/// `RUST_LOG` says nothing.
pub fn start(form: Form, default: &str) {
    let told = std::env::var("RUST_LOG").ok();
    let asked = told.clone().unwrap_or_else(|| format!("warn,keyferry={default}"));
    let mut filter = EnvFilter::try_new(&asked).unwrap_or_else(|_| EnvFilter::new(format!("warn,keyferry={default}")));
    for name in CAPPED {
        let cap = format!("{name}=error").parse().expect("a literal directive is valid");
        filter = filter.add_directive(cap);
    }
    if told.is_none() {
        // Every provider of credentials that fails is told at length, and again in the fault.
        filter = filter.add_directive("aws_config=error".parse().expect("a literal directive is valid"));
    }
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_span_events(FmtSpan::NONE);
    // A second start (tests) keeps the first.
    let _ = match form {
        Form::Text => log.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        Form::Json => log.json().try_init(),
    };
}
