//! The log of a process: lines of text by default, JSON with a flag, always on standard error. The
//! environment variable `RUST_LOG` sets the filter.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter,
    fmt::{
        format::Writer,
        time::{ChronoLocal, FormatTime},
    },
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::Origin;
pub use crate::warnings::{Warning, Warnings};

/// Form of the time of a line: date, time and zone, without a space.
const TIME: &str = "%Y-%m-%dT%H:%M:%S%.3f%:z";

/// Flags of every long-running process.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LogFlags {
    /// Write the log as JSON, one object a line
    #[arg(long)]
    pub log_json: bool,
}

/// Writes what runs here as the first line of a log: the version of the program, the commit that it was built
/// from, the machine, and the command line.
pub fn introduce() {
    let Origin { version, commit, host, command, .. } = Origin::here();
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    tracing::info!(
        "version {version}, {commit}, on {}: {}",
        host.unwrap_or_else(|| "a machine without a name".into()),
        words.join(" ")
    );
}

/// Returns the time by the machine's clock as lines of a log have it.
pub(crate) fn date() -> String {
    let mut date = String::new();
    // Text takes what is written.
    let _ = ChronoLocal::new(TIME.into()).format_time(&mut Writer::new(&mut date));
    date
}

/// Returns the name of this machine, if it has one.
pub fn host() -> Option<String> {
    let name = std::fs::read_to_string("/etc/hostname").ok()?;
    Some(name.trim().to_string()).filter(|name| !name.is_empty())
}

/// Returns a word of a command line in such a form that the words of a line can be told apart.
fn quoted(word: &str) -> String {
    let plain = !word.is_empty()
        && !word.contains(|c: char| c.is_whitespace() || c.is_control() || "'\"".contains(c));
    if plain { word.into() } else { format!("{word:?}") }
}

/// Starts the log of this process, which goes to standard error as text or, if `flags` say so, as JSON; returns
/// its newest warnings. Later calls change nothing, and their warnings stay empty.
pub fn start(flags: &LogFlags) -> Warnings {
    let warnings = Warnings::default();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Once the terminal is closed nothing can be written, also not that nothing can be written.
    let lines = lines.log_internal_errors(false);
    // A second start (tests run several roles in one process) keeps the first subscriber.
    let _ = if flags.log_json {
        lines.json().flatten_event(true).finish().with(warnings.clone()).try_init()
    } else {
        // Colours are for eyes: a file must not hold them. On a terminal the library minds NO_COLOR.
        let lines = if std::io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
        let lines = lines.with_target(false).with_timer(ChronoLocal::new(TIME.into()));
        lines.finish().with(warnings.clone()).try_init()
    };
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_command_can_be_told_apart() {
        let words = ["worker", "--data", "my photos", "", "it's", "a\nb"].map(quoted);
        assert_eq!(words, ["worker", "--data", "\"my photos\"", "\"\"", "\"it's\"", "\"a\\nb\""]);
    }
}
