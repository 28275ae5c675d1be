//! Structured logs on standard error.

use std::io;

use thiserror::Error;
use tracing_subscriber::{
    filter::{LevelFilter, ParseError, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// A log filter that cannot be read.
#[derive(Debug, Error)]
#[error("RUST_LOG is `{got}`: {source}")]
pub struct LoggingError {
    got: String,
    source: ParseError,
}

/// Starts logging for the process; a second call changes nothing.
///
/// `RUST_LOG` decides what is logged if it is set; otherwise warnings are, and each of `verbosity`
/// adds a level.
///
/// # Errors
///
/// [`LoggingError`] if `filter`, the value of `RUST_LOG`, does not parse.
pub fn start(is_json: bool, verbosity: usize, filter: Option<&str>) -> Result<(), LoggingError> {
    let targets = targets(verbosity, filter)?;
    let registry = tracing_subscriber::registry().with(targets);
    let layer = fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let started = if is_json {
        registry.with(layer.json()).try_init()
    } else {
        let is_terminal = io::IsTerminal::is_terminal(&io::stderr());
        registry.with(layer.with_target(false).with_ansi(is_terminal)).try_init()
    };
    // Only a second call fails, as when tests run several commands in one process.
    drop(started);
    Ok(())
}

fn targets(verbosity: usize, filter: Option<&str>) -> Result<Targets, LoggingError> {
    if let Some(filter) = filter.filter(|filter| !filter.is_empty()) {
        return filter.parse().map_err(|source| LoggingError { got: filter.to_owned(), source });
    }
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // The libraries below speak up only when asked by name.
    Ok(Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("dsc", level)
        .with_target("dsc_cli", level)
        .with_target("dsc_lib", level))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn each_v_adds_a_level() {
        let of = |verbosity| targets(verbosity, None).unwrap();
        assert!(!of(0).would_enable("dsc_cli::http", &Level::INFO));
        assert!(of(1).would_enable("dsc_cli::http", &Level::INFO));
        assert!(of(2).would_enable("dsc_cli::http", &Level::DEBUG));
        assert!(of(9).would_enable("dsc_cli::http", &Level::TRACE));
        assert!(!of(9).would_enable("hyper", &Level::INFO));
    }

    #[test]
    fn the_variable_decides_and_a_bad_one_is_an_error() {
        let asked = targets(0, Some("hyper=debug")).unwrap();
        assert!(asked.would_enable("hyper", &Level::DEBUG));
        let error = targets(0, Some("hyper=loud")).unwrap_err();
        assert!(error.to_string().starts_with("RUST_LOG is `hyper=loud`: "), "{error}");
    }
}
