//! A session of a run: it starts the servers and workers, watches them until the run ends, and stops them.
//!
//! A worker that dies is started again. Servers hold the parameters: when one dies the session is over, and
//! the next one resumes from the newest snapshot.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use process::Exit;
use protocol::{Connector, CoordinatorCalls as _, CoordinatorClient, Patience, RunState, RunStatus, Token};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use crate::child_commands::ChildCommands;
use crate::children::{Child, ChildCommand, describe};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::progress::Progress;

/// Interval at which the child processes are checked.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Interval at which the coordinator is asked for the status, and the child processes' logs are read.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Longest time for a server to print its address.
const START_WITHIN: Duration = Duration::from_secs(60);
/// Longest time for the servers to finish, last snapshot included, once all workers have left.
const FINISH_WITHIN: Duration = Duration::from_secs(60);
/// Longest time for the other processes to leave once the coordinator has.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// Longest time for the workers to finish their current minibatch and then for the coordinator to take a
/// snapshot.
const STOP_WITHIN: Duration = Duration::from_secs(9);
/// Longest time for the other servers to stop once the coordinator has left.
const FOLLOW_WITHIN: Duration = Duration::from_secs(1);
/// Largest number of deaths in a row after which a worker is started again.
const MOST_DEATHS: u32 = 5;
/// Age from which the death of a worker does not count as a failed start.
const SETTLED_AFTER: Duration = Duration::from_secs(60);
/// Pause before a worker is restarted for the first time; it doubles each time.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// Number of warnings of one child process that are shown; the rest are in its log.
const WARNINGS_SHOWN: u32 = 20;

/// The outcome of a session, in which the processes of a run are started, watched and stopped; none of them
/// is left running.
pub enum End {
    /// The run is finished.
    Finished,
    /// The user stopped the run.
    Interrupted,
    /// A server process died; the text tells which one and how.
    ServerLost(String),
    /// The run failed, and its processes are not started again, unlike after the loss of a server; the value
    /// says why.
    Failed(Failure),
}

/// Runs a session to its end; returns its outcome and the last status of the run that was received.
pub async fn session(
    commands: &ChildCommands<'_>,
    progress: &mut Progress,
    interrupts: &mut Interrupts,
) -> (End, Option<RunStatus>) {
    let mut session = match Session::start(commands, interrupts).await {
        Ok(session) => session,
        Err(end) => return (end, None),
    };
    let mut look = interval(LOOK_EVERY);
    let mut asked = Instant::now();
    let end = loop {
        tokio::select! {
            () = interrupts.next() => {
                progress.tell("stopping: workers hand in what they hold, servers write a snapshot (again, after two seconds: at once)");
                break End::Interrupted;
            }
            _ = look.tick() => {}
        }
        if asked.elapsed() >= ASK_EVERY {
            asked = Instant::now();
            session.show(commands.options.verbose, progress);
        }
        match session.look_at_servers().or_else(|| session.look_at_workers(progress)) {
            Some(End::Failed(failure)) if failure.code == Exit::Diverged.code() => {
                break End::Failed(session.as_the_coordinator_tells_it(failure).await);
            }
            Some(end) => break end,
            None => {}
        }
    };
    match &end {
        End::Finished => session.leave(interrupts, progress).await,
        _ => session.stop(interrupts).await,
    }
    session.show_last(&end, commands.options.verbose, progress);
    let status = session.status.borrow().clone();
    (end, status)
}

struct Session {
    /// The servers, the coordinator first.
    servers: Vec<Supervised>,
    workers: Vec<Supervised>,
    /// Time since which no worker is left, if all of them have left as they should.
    deserted: Option<Instant>,
    status: watch::Receiver<Option<RunStatus>>,
    asking: tokio::task::JoinHandle<()>,
}

/// A child process that is watched; a worker is also started again if it dies.
struct Supervised {
    command: ChildCommand,
    child: Option<Child>,
    /// Time at which to start the process again after it died.
    again: Option<Instant>,
    deaths_in_a_row: u32,
    warnings: u32,
}

impl Session {
    async fn start(commands: &ChildCommands<'_>, interrupts: &mut Interrupts) -> Result<Session, End> {
        let mut coordinator = Supervised::start(commands.coordinator()).map_err(End::Failed)?;
        let address = coordinator.address(interrupts).await?;
        let (send, status) = watch::channel(None);
        let asking = tokio::spawn(ask(address.clone(), commands.tokens.reader.clone(), send));
        let mut session =
            Session { servers: vec![coordinator], workers: Vec::new(), deserted: None, status, asking };
        let others = commands.servers(&address).into_iter().map(|command| (true, command));
        for (serves, command) in
            others.chain(commands.workers(&address).into_iter().map(|command| (false, command)))
        {
            match Supervised::start(command) {
                Ok(supervised) if serves => session.servers.push(supervised),
                Ok(supervised) => session.workers.push(supervised),
                Err(failure) => {
                    session.stop(interrupts).await;
                    return Err(End::Failed(failure));
                }
            }
        }
        Ok(session)
    }

    /// Shows the newest status and the new lines of the child processes' logs.
    fn show(&mut self, verbose: bool, progress: &mut Progress) {
        for supervised in self.servers.iter_mut().chain(&mut self.workers) {
            supervised.pass_on(verbose, progress);
        }
        self.show_status(progress);
    }

    /// Shows the last status and log lines. After a failure nothing is shown, since its text contains the
    /// last lines; after an interruption only the servers' lines are, which tell whether the snapshot was
    /// saved.
    fn show_last(&mut self, end: &End, verbose: bool, progress: &mut Progress) {
        match end {
            End::Failed(_) if !verbose => {}
            End::Interrupted if !verbose => {
                self.servers.iter_mut().for_each(|server| server.pass_on(verbose, progress));
                self.show_status(progress);
            }
            _ => self.show(verbose, progress),
        }
    }

    fn show_status(&mut self, progress: &mut Progress) {
        if self.status.has_changed().unwrap_or(false)
            && let Some(status) = &*self.status.borrow_and_update()
        {
            progress.show(status, Instant::now());
        }
    }

    /// Checks whether a server has ended. The coordinator ends last, and its exit code tells how the run
    /// ended; another server that dies before it ends the session.
    fn look_at_servers(&mut self) -> Option<End> {
        let (number, status) = self
            .servers
            .iter_mut()
            .enumerate()
            .find_map(|(number, supervised)| Some((number, supervised.ended()?)))?;
        let server = &self.servers[number];
        Some(match status.code().and_then(Exit::from_code) {
            Some(Exit::Done) if number == 0 => End::Finished,
            // Told to finish: the coordinator follows.
            Some(Exit::Done) => return None,
            // Somebody else's signal.
            Some(Exit::Interrupted) => End::Interrupted,
            Some(exit) => End::Failed(server.failure(exit)),
            None => End::ServerLost(server.unexpected_end(status)),
        })
    }

    fn look_at_workers(&mut self, progress: &Progress) -> Option<End> {
        for worker in &mut self.workers {
            if let Some(status) = worker.ended() {
                match status.code().and_then(Exit::from_code) {
                    Some(Exit::Done) => worker.child = None,
                    // The servers are being stopped by somebody else.
                    Some(Exit::Interrupted) => return Some(End::Interrupted),
                    Some(exit) => return Some(End::Failed(worker.failure(exit))),
                    None => worker.restart_later(status, progress),
                }
            }
            if worker.again.is_some_and(|at| at <= Instant::now())
                && let Err(failure) = worker.start_again()
            {
                return Some(End::Failed(failure));
            }
        }
        if self.workers.iter().any(|worker| worker.child.is_some() || worker.again.is_some()) {
            return None;
        }
        if self.workers.iter().all(|worker| worker.deaths_in_a_row > MOST_DEATHS) {
            return Some(End::Failed(Failure::broken(format!(
                "every worker died {} times in a row; their logs are in {}",
                MOST_DEATHS + 1,
                self.workers[0].command.logs.display()
            ))));
        }
        // After the last evaluation workers leave before the servers do.
        let since = *self.deserted.get_or_insert_with(Instant::now);
        (since.elapsed() > FINISH_WITHIN).then(|| {
            End::Failed(Failure::broken(
                "all workers left before the run was over; the same command goes on with it",
            ))
        })
    }

    /// Replaces the text of a divergence by that of the coordinator, which detects it and suggests a learning
    /// rate.
    async fn as_the_coordinator_tells_it(&mut self, failure: Failure) -> Failure {
        let diverged = |status: &Option<RunStatus>| {
            status.as_ref().is_some_and(|status| status.state == RunState::Diverged)
        };
        match timeout(2 * ASK_EVERY, self.status.wait_for(diverged)).await {
            Ok(Ok(status)) => {
                Failure { text: status.as_ref().expect("it diverged").detail.clone(), ..failure }
            }
            _ => failure,
        }
    }

    /// Waits for all processes to leave after the coordinator has, and kills those that do not, or all at a
    /// signal.
    async fn leave(&mut self, interrupts: &mut Interrupts, progress: &Progress) {
        self.asking.abort();
        let mut everybody: Vec<&mut Supervised> = self.servers.iter_mut().chain(&mut self.workers).collect();
        let leaving = async {
            if !all_gone(&mut everybody, LEAVE_WITHIN).await {
                ask_to_stop(&mut everybody);
                all_gone(&mut everybody, LEAVE_WITHIN).await;
            }
        };
        tokio::select! {
            () = leaving => {}
            () = interrupts.next() => {}
        }
        for supervised in &mut everybody {
            if supervised.child.is_some() && supervised.ended().is_none() {
                progress.warn(&format!(
                    "{} did not leave after the run was over: killed",
                    supervised.command.name
                ));
            }
        }
        kill(&mut everybody);
    }

    /// Stops all processes, at another signal at once. The coordinator waits for the workers' last reports and
    /// then has the other servers write their part of the snapshot, so they are stopped after it.
    async fn stop(&mut self, interrupts: &mut Interrupts) {
        let (coordinator, others) = self.servers.split_first_mut().expect("there is a coordinator");
        let groups = [
            (self.workers.iter_mut().chain([coordinator]).collect::<Vec<_>>(), STOP_WITHIN),
            (others.iter_mut().collect(), FOLLOW_WITHIN),
        ];
        let mut cut_short = false;
        for (mut group, within) in groups {
            ask_to_stop(&mut group);
            if !cut_short {
                tokio::select! {
                    _ = all_gone(&mut group, within) => {}
                    () = interrupts.next() => cut_short = true,
                }
            }
            kill(&mut group);
        }
        self.asking.abort();
    }
}

fn ask_to_stop(group: &mut [&mut Supervised]) {
    for supervised in group {
        supervised.again = None;
        if let Some(child) = &mut supervised.child {
            child.ask_to_stop();
        }
    }
}

fn kill(group: &mut [&mut Supervised]) {
    for child in group.iter_mut().filter_map(|supervised| supervised.child.as_mut()) {
        child.kill();
    }
}

/// Waits until every process of the group has ended; returns false if that takes longer than `within`.
async fn all_gone(group: &mut [&mut Supervised], within: Duration) -> bool {
    let gone = async {
        while group.iter_mut().any(|supervised| supervised.child.is_some() && supervised.ended().is_none()) {
            sleep(LOOK_EVERY / 4).await;
        }
    };
    timeout(within, gone).await.is_ok()
}

/// Asks the coordinator for the run's status at intervals, until the receiver is dropped.
async fn ask(address: String, token: Token, send: watch::Sender<Option<RunStatus>>) {
    let patience = Patience { give_up_after: Duration::from_secs(10), ..Patience::default() };
    let connector = Connector { token: Some(token), ..patience.into() };
    loop {
        match CoordinatorClient::connect(&address, connector.clone()).await {
            Ok(client) => {
                while let Ok(status) = client.status().await {
                    if send.send(Some(status)).is_err() {
                        return;
                    }
                    sleep(ASK_EVERY).await;
                }
            }
            Err(error) => tracing::debug!("no status from {address}: {error}"),
        }
        sleep(ASK_EVERY).await;
    }
}

impl Supervised {
    fn start(command: ChildCommand) -> Result<Supervised, Failure> {
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

    /// Waits for the process to print its address; returns the address.
    async fn address(&mut self, interrupts: &mut Interrupts) -> Result<String, End> {
        let child = self.child.as_mut().expect("it was just started");
        let line = child.first_line().expect("asked once");
        let end = tokio::select! {
            line = timeout(START_WITHIN, line) => match line {
                Ok(Ok(address)) => return Ok(address),
                // Standard output ended: so does the process.
                Ok(Err(_)) => None,
                Err(_) => {
                    let text = format!("{} named no address in {} s", self.command.name, START_WITHIN.as_secs());
                    Some(End::Failed(Failure::broken(text)))
                }
            },
            () = interrupts.next() => Some(End::Interrupted),
        };
        all_gone(&mut [self], if end.is_some() { Duration::ZERO } else { FOLLOW_WITHIN }).await;
        let ended = self.ended();
        kill(&mut [self]);
        Err(end.unwrap_or_else(|| {
            let exit =
                ended.and_then(|status| Exit::from_code(status.code()?)).filter(|exit| *exit != Exit::Done);
            End::Failed(
                exit.map_or_else(|| Failure::broken(self.log_end("broke down")), |exit| self.failure(exit)),
            )
        }))
    }

    /// Returns the status with which the process ended; `None` while it runs or if none is started.
    fn ended(&mut self) -> Option<ExitStatus> {
        // A process that cannot be asked is not known to be gone.
        self.child.as_mut()?.ended().ok()?
    }

    /// Returns the failure of a process that ended with a known exit code.
    fn failure(&self, exit: Exit) -> Failure {
        let mut text = self.log_end(&format!("ended with exit code {}", exit.code()));
        if exit == Exit::Bug {
            text += &format!("\nits log is {}", self.command.log_file().display());
        }
        Failure { code: exit.code(), text }
    }

    fn unexpected_end(&self, status: ExitStatus) -> String {
        self.log_end(&format!("ended unexpectedly ({})", describe(status)))
    }

    fn log_end(&self, what: &str) -> String {
        let words = self.child.as_ref().map(Child::log_end).unwrap_or_default();
        format!("{} {what}:\n{words}", self.command.name)
    }

    /// Schedules the restart of a worker that died, after a pause, unless it has died too often.
    fn restart_later(&mut self, status: ExitStatus, progress: &Progress) {
        let lived = self.child.as_ref().map_or(Duration::ZERO, |child| child.started().elapsed());
        self.deaths_in_a_row = if lived >= SETTLED_AFTER { 1 } else { self.deaths_in_a_row + 1 };
        let unexpected_end = self.unexpected_end(status);
        self.child = None;
        if self.deaths_in_a_row > MOST_DEATHS {
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
    fn pass_on(&mut self, verbose: bool, progress: &Progress) {
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
        assert!(is_warning("12:00:01.000  WARN skipped a.jpg: not an image"));
        assert!(is_warning(r#"{"timestamp":"...","level":"ERROR","message":"x"}"#));
        assert!(!is_warning("12:00:01.000  INFO no WARN here"));
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
        let mut supervised = Supervised::start(command).unwrap();
        let status = loop {
            match supervised.ended() {
                Some(status) => break status,
                None => std::thread::sleep(LOOK_EVERY / 10),
            }
        };
        let failure = supervised.failure(status.code().and_then(Exit::from_code).unwrap());
        let log = folder.path().join("logs/worker-0.log").display().to_string();
        assert_eq!(failure.code, 70);
        assert_eq!(failure.text, format!("worker-0 ended with exit code 70:\n{account}\nits log is {log}"));
    }
}
