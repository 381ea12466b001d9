//! The command `downpour status`: shows what a run does now.

use std::future::pending;
use std::io::{IsTerminal as _, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

use access::Role;
use clap::Args;
use process::{Exit, print_line, tell};
use protocol::{ClientError, CoordinatorCalls as _, CoordinatorClient, Overview, RunState};
use tokio::time::sleep;

use super::runs::is_running;
use crate::folder::Record;
use crate::place::Place;
use crate::status_text::{how_far, text};

/// Interval between two looks of `--watch`: a server leaves about a second after the end of its run.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Interval between two texts of `--watch`.
const SHOW_EVERY: Duration = Duration::from_secs(2);
/// Longest time for which the launcher of a run in a folder is waited for while its server does not answer: it starts
/// another one, or writes down how the run ended.
const LAUNCHER_WITHIN: Duration = Duration::from_secs(60);
/// Time left of a run, in seconds, from which on a server that is gone has ended with it.
const NEAR_END: f64 = 15.0;
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
    let seen = client.overview().await?;
    show(flags, &seen)?;
    if flags.watch {
        let mut watched = Watched { flags, client, seen, shown: Instant::now(), lost: None };
        while watched.look().await? {}
    }
    Ok(Exit::Done)
}

/// Prints a run as it is now.
fn show(flags: &Flags, overview: &Overview) -> anyhow::Result<()> {
    if flags.json {
        print_line(serde_json::to_string(overview)?)?;
    } else {
        let clear = if flags.watch && stdout().is_terminal() { CLEAR } else { "" };
        print_line(format_args!("{clear}{}", text(overview).trim_end()))?;
    }
    Ok(())
}

/// A run that is watched until it ends.
struct Watched<'a> {
    flags: &'a Flags,
    client: CoordinatorClient,
    /// The run as it was seen last.
    seen: Overview,
    /// Time at which it was shown last.
    shown: Instant,
    /// Time since which its server does not answer.
    lost: Option<Instant>,
}

impl<'a> Watched<'a> {
    /// Looks at the run again, and shows it if it is time; returns whether it goes on.
    ///
    /// # Errors
    /// If its server does not answer, and is not known to have ended with the run.
    async fn look(&mut self) -> anyhow::Result<bool> {
        if !goes_on(&self.seen) {
            return Ok(false);
        }
        sleep(LOOK_EVERY).await;
        let error = match self.unless_over(self.client.overview()).await {
            Some(Ok(overview)) if overview.life.run == self.seen.life.run => {
                (self.seen, self.lost) = (overview, None);
                if self.shown.elapsed() >= SHOW_EVERY || !goes_on(&self.seen) {
                    self.shown = Instant::now();
                    show(self.flags, &self.seen)?;
                }
                return Ok(true);
            }
            Some(Err(error)) => Some(error),
            _ => None,
        };
        match self.folder() {
            Some(folder) => self.look_in(folder, error).await,
            None => self.end_at_address(error),
        }
    }

    /// Says that the server at an address has ended, after it did not answer, or not as the run's.
    fn end_at_address(&self, error: Option<ClientError>) -> anyhow::Result<bool> {
        let (address, seen) = (&self.flags.place.run, how_far(&self.seen));
        let left = self.seen.latest.as_ref().and_then(|line| line.seconds_left);
        match error {
            Some(error) if !has_ended(self.seen.state, left, &error) => {
                Err(anyhow::Error::from(error).context(format!("the run was last seen at: {seen}")))
            }
            _ => {
                self.say(&format!("the run's server at {address} has ended; it was last seen at: {seen}"))?;
                Ok(false)
            }
        }
    }

    /// Looks for the run in its folder after its server did not answer, or not as the run's: it has ended if its launcher
    /// is gone, and may have another server if not. Returns whether it goes on.
    async fn look_in(&mut self, folder: &Path, error: Option<ClientError>) -> anyhow::Result<bool> {
        let since = *self.lost.get_or_insert_with(Instant::now);
        if !is_running(folder) {
            self.say(&how_it_ended(folder, &self.seen))?;
            return Ok(false);
        }
        if since.elapsed() > LAUNCHER_WITHIN {
            let lost = anyhow::anyhow!(
                "the launcher of the run in {} is there, and no server of it",
                folder.display()
            );
            return Err(error.map_or(lost, anyhow::Error::from));
        }
        if let Some(Ok(client)) = self.unless_over(self.flags.place.connect(Role::Reader)).await {
            self.client = client;
        }
        Ok(true)
    }

    /// Returns the folder of the run, if it is named by that.
    fn folder(&self) -> Option<&'a Path> {
        let flags: &'a Flags = self.flags;
        Some(Path::new(&flags.place.run)).filter(|path| path.is_dir())
    }

    /// Waits for `work` and returns its result, or `None` once the launcher of the run in a folder is gone.
    async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let over = async {
            let Some(folder) = self.folder() else { return pending().await };
            loop {
                sleep(LOOK_EVERY).await;
                if !is_running(folder) {
                    return;
                }
            }
        };
        tokio::select! {
            done = work => Some(done),
            () = over => None,
        }
    }

    /// Says how the run ended, beside the objects of `--json`, which are all of one kind.
    fn say(&self, text: &str) -> anyhow::Result<()> {
        if self.flags.json {
            tell(text);
        } else {
            print_line(text)?;
        }
        Ok(())
    }
}

fn goes_on(overview: &Overview) -> bool {
    matches!(overview.state, RunState::Waiting | RunState::Training | RunState::Paused | RunState::Evaluating)
}

/// Returns whether the server of a run has ended that was seen in a `state`, `seconds_left` before its end, and answers
/// no more but by an error. One that is out of reach can only be believed to have ended with its run.
fn has_ended(state: RunState, seconds_left: Option<f64>, error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => {
            state == RunState::Evaluating || seconds_left.is_some_and(|seconds| seconds <= NEAR_END)
        }
        // Somebody else has its port.
        _ => true,
    }
}

/// Returns how the run in a folder ended, whose launcher is gone, and which was `seen` so before.
fn how_it_ended(folder: &Path, seen: &Overview) -> String {
    match Record::of(folder).and_then(|record| record.result) {
        Some(result) => format!("the run has ended. Its result:\n{result}"),
        None => format!(
            "the run in {} has ended without a result: it was stopped, or it failed, as its launcher and the logs there \
             say; it was last seen at: {}; the command that began it goes on with it",
            folder.display(),
            how_far(seen)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_out_of_reach_has_ended_if_its_run_was_at_its_end() {
        let away = ClientError::Unreachable { address: "h:1".into(), seconds: 10, last: "refused".into() };
        for (state, seconds_left, at_end) in [
            (RunState::Training, Some(9.0), true),
            (RunState::Evaluating, None, true),
            (RunState::Training, Some(100.0), false),
            (RunState::Waiting, None, false),
        ] {
            assert_eq!(has_ended(state, seconds_left, &away), at_end, "{state} {seconds_left:?}");
        }
        let other = ClientError::Untrusted { address: "h:1".into(), reason: "of another run".into() };
        assert!(has_ended(RunState::Training, Some(100.0), &other));
    }
}
