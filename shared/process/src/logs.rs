//! The log of a process: lines of text by default, JSON with a flag, always on standard error. The
//! environment variable `RUST_LOG` sets the filter.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt::time::ChronoLocal};

/// Flags of every long-running process.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LogFlags {
    /// Write the log as JSON, one object a line
    #[arg(long)]
    pub log_json: bool,
}

/// Starts the log of this process, which goes to standard error as text or, if `flags` say so, as JSON. Later
/// calls change nothing.
pub fn start(flags: &LogFlags) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Once the terminal is closed nothing can be written, also not that nothing can be written.
    let lines = lines.log_internal_errors(false);
    // A second start (tests run several roles in one process) keeps the first subscriber.
    let _ = if flags.log_json {
        lines.json().flatten_event(true).try_init()
    } else {
        // Colours are for eyes: a file must not hold them. On a terminal the library minds NO_COLOR.
        let lines = if std::io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
        lines.with_target(false).with_timer(ChronoLocal::new("%H:%M:%S%.3f".into())).try_init()
    };
}
