//! Child processes that are watched: started, started again after they have died, and stopped.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use process::Exit;
use tokio::time::{sleep, timeout};

use crate::children::{Child, ChildCommand, describe};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::progress::Progress;
use crate::watch::End;

/// Age from which the death of a process does not count as a failed start, and that of a server not as one in a
/// row.
pub const SETTLED_AFTER: Duration = Duration::from_secs(60);
/// Interval at which it is asked whether processes that were told to stop have ended.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Longest time for a server to print its address.
const START_WITHIN: Duration = Duration::from_secs(60);
/// Longest time for a process to end that has closed its standard output.
const END_WITHIN: Duration = Duration::from_secs(1);
/// Largest number of deaths in a row after which a process is started again.
const MOST_DEATHS: u32 = 5;
/// Pause before a process is started again for the first time; it doubles each time.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// Number of warnings of one child process that are shown; the rest are in its log.
const WARNINGS_SHOWN: u32 = 20;

/// A child process that is watched, and that may be started again after it has died.
pub struct Supervised {
    /// The command with which it is started.
    pub command: ChildCommand,
    /// The process; `None` after it has died or left.
    pub child: Option<Child>,
    /// Time at which to start the process again after it died.
    again: Option<Instant>,
    deaths_in_a_row: u32,
    warnings: u32,
}

impl Supervised {
    /// Starts a process.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: ChildCommand) -> Result<Supervised, Failure> {
        let mut supervised =
            Supervised { command, child: None, again: None, deaths_in_a_row: 0, warnings: 0 };
        supervised.start_again()?;
        Ok(supervised)
    }

    fn start_again(&mut self) -> Result<(), Failure> {
        let started = self.command.start();
        self.child = Some(
            started
                .map_err(|error| Failure::broken(format!("cannot start {}: {error}", self.command.name)))?,
        );
        self.again = None;
        Ok(())
    }

    /// Starts the process again if its pause after a death is over.
    ///
    /// # Errors
    /// If it cannot be started.
    fn start_again_if_due(&mut self) -> Result<(), Failure> {
        if self.again.is_some_and(|at| at <= Instant::now()) { self.start_again() } else { Ok(()) }
    }

    /// Returns whether the process runs, or will be started again.
    pub fn is_there(&self) -> bool {
        self.child.is_some() || self.again.is_some()
    }

    /// Returns whether the process has died so often that it is not started again.
    pub fn is_given_up(&self) -> bool {
        self.deaths_in_a_row > MOST_DEATHS
    }

    /// Checks on a process that may leave and is started again after a death; returns the end of the session that it
    /// brings, if it was stopped by somebody or failed.
    pub fn look(&mut self, progress: &Progress) -> Option<End> {
        if let Some(status) = self.ended() {
            match status.code().and_then(Exit::from_code) {
                Some(Exit::Done) => self.child = None,
                // Somebody else's signal.
                Some(Exit::Interrupted) => return Some(End::Interrupted),
                Some(exit) => return Some(End::Failed(self.failure(exit))),
                None => self.restart_later(status, progress),
            }
        }
        self.start_again_if_due().err().map(End::Failed)
    }

    /// Returns the failure of a process that is given up.
    pub fn given_up(&self) -> Failure {
        let log = self.command.log_file();
        Failure::broken(format!("{} died again and again; its log is {}", self.command.name, log.display()))
    }

    /// Waits for the process to print its address; returns the address.
    ///
    /// # Errors
    /// If the process ended before, took too long, or was interrupted; the error is the end of the session.
    pub async fn address(&mut self, interrupts: &mut Interrupts) -> Result<String, End> {
        let child = self.child.as_mut().expect("it was just started");
        let line = child.first_line().expect("asked once");
        let end = tokio::select! {
            line = timeout(START_WITHIN, line) => match line {
                Ok(Ok(address)) => return Ok(address),
                // Standard output ended: so does the process.
                Ok(Err(_)) => None,
                Err(_) => {
                    let text = format!("{} named no address in {} s", self.command.name, START_WITHIN.as_secs());
                    let text = self.with_log(text);
                    Some(End::Failed(Failure::broken(text)))
                }
            },
            () = interrupts.next() => Some(End::Interrupted),
        };
        all_gone(&mut [self], if end.is_some() { Duration::ZERO } else { END_WITHIN }).await;
        let ended = self.ended();
        kill(&mut [self]);
        Err(end.unwrap_or_else(|| {
            let exit =
                ended.and_then(|status| Exit::from_code(status.code()?)).filter(|exit| *exit != Exit::Done);
            End::Failed(exit.map_or_else(
                || Failure::broken(self.with_log(self.log_end("broke down"))),
                |exit| self.failure(exit),
            ))
        }))
    }

    /// Returns the status with which the process ended; `None` while it runs or if none is started.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        // A process that cannot be asked is not known to be gone.
        self.child.as_mut()?.ended().ok()?
    }

    /// Returns the failure of a process that ended with a known exit code. If what the user gave is wrong, its
    /// text is the cause alone, whichever process found it.
    pub fn failure(&self, exit: Exit) -> Failure {
        if let Exit::Usage | Exit::BadInput = exit
            && let Some(cause) = self.child.as_ref().and_then(Child::cause)
        {
            return Failure { code: exit.code(), text: cause };
        }
        let text = self.log_end(&format!("ended with exit code {}", exit.code()));
        Failure { code: exit.code(), text: if exit == Exit::Bug { self.with_log(text) } else { text } }
    }

    /// Returns a text about a process that ended without an exit code of ours.
    pub fn unexpected_end(&self, status: ExitStatus) -> String {
        self.log_end(&format!("ended unexpectedly ({})", describe(status)))
    }

    /// Returns a text about a process that ended without an exit code of ours and is not started again.
    pub fn lost(&self, status: ExitStatus) -> String {
        self.with_log(self.unexpected_end(status))
    }

    fn with_log(&self, text: String) -> String {
        format!("{text}\nits log is {}", self.command.log_file().display())
    }

    fn log_end(&self, what: &str) -> String {
        let words = self.child.as_ref().map(Child::log_end).unwrap_or_default();
        format!("{} {what}:\n{words}", self.command.name)
    }

    /// Schedules the restart of a process that died, after a pause, unless it has died too often. A server
    /// listens where it did, so that others find it.
    pub fn restart_later(&mut self, status: ExitStatus, progress: &Progress) {
        let lived = self.child.as_ref().map_or(Duration::ZERO, |child| child.started().elapsed());
        self.deaths_in_a_row = if lived >= SETTLED_AFTER { 1 } else { self.deaths_in_a_row + 1 };
        let unexpected_end = self.unexpected_end(status);
        if let Some(address) = self.child.as_mut().and_then(Child::known_address) {
            self.command.listen_at(&address);
        }
        self.child = None;
        if self.is_given_up() {
            progress.warn(&format!(
                "{unexpected_end}\nnot started again: that was {} times in a row",
                self.deaths_in_a_row
            ));
            return;
        }
        let pause = RESTART_PAUSE * 2u32.pow(self.deaths_in_a_row - 1);
        progress.warn(&format!("{unexpected_end}\nstarted again in {:.1} s", pause.as_secs_f64()));
        self.again = Some(Instant::now() + pause);
    }

    /// Shows the new lines of the process's log: all of them if `verbose`, otherwise only warnings.
    pub fn pass_on(&mut self, verbose: bool, progress: &Progress) {
        let Some(child) = &mut self.child else { return };
        for line in child.news() {
            if verbose {
                progress.pass_on(&self.command.name, &line);
            } else if is_warning(&line) && self.warnings < WARNINGS_SHOWN {
                self.warnings += 1;
                progress.pass_on(&self.command.name, &line);
                if self.warnings == WARNINGS_SHOWN {
                    progress.tell(&format!("more warnings of {0} are in logs/{0}.log", self.command.name));
                }
            }
        }
    }
}

/// Asks every process of the group to stop; none is started again.
pub fn ask_to_stop(group: &mut [&mut Supervised]) {
    for supervised in group {
        supervised.again = None;
        if let Some(child) = &mut supervised.child {
            child.ask_to_stop();
        }
    }
}

/// Kills every process of the group.
pub fn kill(group: &mut [&mut Supervised]) {
    for child in group.iter_mut().filter_map(|supervised| supervised.child.as_mut()) {
        child.kill();
    }
}

/// Waits until every process of the group has ended; returns false if that takes longer than `within`.
pub async fn all_gone(group: &mut [&mut Supervised], within: Duration) -> bool {
    let gone = async {
        while group.iter_mut().any(|supervised| supervised.child.is_some() && supervised.ended().is_none()) {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(within, gone).await.is_ok()
}

/// Returns whether a log line is a warning or an error, in either of the two log formats.
fn is_warning(line: &str) -> bool {
    let level = line.split_whitespace().nth(1);
    matches!(level, Some("WARN" | "ERROR"))
        || [r#""level":"WARN""#, r#""level":"ERROR""#].iter().any(|l| line.contains(l))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_told_from_the_rest() {
        assert!(is_warning("2026-11-29T12:00:01.000+00:00  WARN skipped a.jpg: not an image"));
        assert!(is_warning(r#"{"timestamp":"...","level":"ERROR","message":"x"}"#));
        assert!(!is_warning("2026-11-29T12:00:01.000+00:00  INFO no WARN here"));
    }

    #[cfg(unix)]
    #[test]
    fn a_bug_of_a_child_is_passed_on_with_its_text_and_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let account =
            "failed by a bug of downpour: thread 'compute' panicked at matrix.rs:52:26: out of range";
        let script = format!("echo before >&2; echo \"{account}\" >&2; exit 70");
        let command = ChildCommand {
            name: "worker-0".into(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script],
            logs: folder.path().join("logs"),
            token: None,
        };
        let failure = failed(command);
        let log = folder.path().join("logs/worker-0.log").display().to_string();
        assert_eq!(failure.code, 70);
        assert_eq!(failure.text, format!("worker-0 ended with exit code 70:\n{account}\nits log is {log}"));
    }

    /// Returns the failure of a command that ends by itself.
    #[cfg(unix)]
    fn failed(command: ChildCommand) -> Failure {
        let mut supervised = Supervised::start(command).unwrap();
        let status = loop {
            match supervised.ended() {
                Some(status) => break status,
                None => std::thread::sleep(LOOK_EVERY),
            }
        };
        supervised.failure(status.code().and_then(Exit::from_code).unwrap())
    }

    #[cfg(unix)]
    #[test]
    fn what_is_wrong_with_the_data_is_the_text_whichever_process_found_it() {
        let folder = tempfile::tempdir().unwrap();
        let cases = [
            (3, "failed to train: photos/a.jpg is away", "photos/a.jpg is away"),
            (2, "failed to serve: run.batch: found 0", "run.batch: found 0"),
            (3, "no more words", "worker-0 ended with exit code 3:\nbefore\nno more words"),
        ];
        for (number, (code, said, text)) in cases.into_iter().enumerate() {
            let script = format!("echo before >&2; echo \"{said}\" >&2; exit {code}");
            let command = ChildCommand {
                name: "worker-0".into(),
                program: "/bin/sh".into(),
                arguments: vec!["-c".into(), script],
                logs: folder.path().join(number.to_string()),
                token: None,
            };
            assert_eq!(failed(command), Failure { code, text: text.into() });
        }
    }
}
