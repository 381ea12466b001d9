//! The command `downpour status`: shows what a run does now.

use std::io::{IsTerminal as _, stdout};
use std::time::Duration;

use access::Role;
use clap::Args;
use process::{Exit, print_line};
use protocol::{CoordinatorCalls as _, RunState};
use tokio::time::sleep;

use crate::place::Place;
use crate::status_text::text;

/// Interval between two looks of `--watch`.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Clears a terminal and begins in its upper left corner.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Flags of `downpour status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  downpour status                                        the run of downpour in downpour-run
  downpour status photos-run --watch                     every two seconds until it ends
  downpour status first.example:7070 --token-file token  of several machines, with a copy of access/reader/token
  downpour status --json | jq '.workers[].images_per_second'")]
pub struct Flags {
    /// The run, and the token of a reader.
    #[command(flatten)]
    pub place: Place,
    /// Show it anew every two seconds until the run ends
    #[arg(long)]
    pub watch: bool,
    /// Print it as one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Prints what a run does now: how far it is, its newest numbers, its workers, its shards and the newest warnings.
///
/// # Errors
/// If the server does not let a reader in or cannot be reached.
pub async fn run(flags: &Flags) -> anyhow::Result<Exit> {
    let client = flags.place.connect(Role::Reader).await?;
    loop {
        let overview = client.overview().await?;
        if flags.json {
            print_line(serde_json::to_string(&overview)?)?;
        } else {
            let clear = if flags.watch && stdout().is_terminal() { CLEAR } else { "" };
            print_line(format_args!("{clear}{}", text(&overview).trim_end()))?;
        }
        let goes_on = matches!(
            overview.state,
            RunState::Waiting | RunState::Training | RunState::Paused | RunState::Evaluating
        );
        if !flags.watch || !goes_on {
            return Ok(Exit::Done);
        }
        sleep(LOOK_EVERY).await;
    }
}
