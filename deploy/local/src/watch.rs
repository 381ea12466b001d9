//! A session of a run: it starts the servers and workers, watches them until the run ends, and stops them.
//!
//! A worker that dies is started again, and so is a server process that only holds shards, which go on from their
//! newest snapshot. When the server process with the coordinator dies the session is over, and the next one
//! resumes from the newest complete snapshot.

use std::time::{Duration, Instant};

use process::Exit;
use protocol::{Connector, CoordinatorCalls as _, CoordinatorClient, Patience, RunState, RunStatus, Token};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use crate::child_commands::ChildCommands;
use crate::curve;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::progress::Progress;
use crate::supervised::{Supervised, all_gone, ask_to_stop, kill};

/// Interval at which the child processes are checked.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Interval at which the coordinator is asked for the status, and the child processes' logs are read.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Longest time for the servers to finish, last snapshot included, once all workers have left.
const FINISH_WITHIN: Duration = Duration::from_secs(60);
/// Longest time for the other processes to leave once the coordinator has.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// Longest time for the workers to finish their current minibatch and then for the coordinator to take a
/// snapshot.
const STOP_WITHIN: Duration = Duration::from_secs(9);
/// Longest time for the other servers to stop once the coordinator has left.
const FOLLOW_WITHIN: Duration = Duration::from_secs(1);

/// The outcome of a session, in which the processes of a run are started, watched and stopped; none of them
/// is left running.
pub enum End {
    /// The run is finished.
    Finished,
    /// The user stopped the run.
    Interrupted,
    /// The server process with the coordinator died; the text tells how.
    ServerLost(String),
    /// The run failed, and its processes are not started again, unlike after the loss of a server; the value
    /// says why.
    Failed(Failure),
}

/// Runs a session to its end; returns its outcome and the last status of the run that was received. After each
/// evaluation the run's metrics are drawn under the title.
pub async fn session(
    commands: &ChildCommands<'_>,
    title: &str,
    progress: &mut Progress,
    interrupts: &mut Interrupts,
) -> (End, Option<RunStatus>) {
    let mut session = match Session::start(commands, interrupts).await {
        Ok(session) => session,
        Err(end) => {
            commands.folder.remove_address();
            return (end, None);
        }
    };
    let mut look = interval(LOOK_EVERY);
    let mut asked = Instant::now();
    let mut evaluations = Evaluations::default();
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
            let told = session.status.borrow().as_ref().map_or(0, |status| status.evaluations.len());
            if evaluations.are_to_be_drawn(told) {
                curve::of_run(commands.folder, title, progress);
            }
        }
        match session.look_at_servers(progress).or_else(|| session.look_at_workers(progress)) {
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
    commands.folder.remove_address();
    let status = session.status.borrow().clone();
    (end, status)
}

/// The evaluations of a run, of which each is drawn one look after it was told: by then the metrics file has it.
#[derive(Default)]
struct Evaluations {
    told: usize,
    drawn: usize,
}

impl Evaluations {
    /// Returns whether there are evaluations to be drawn now; so many are told.
    fn are_to_be_drawn(&mut self, told: usize) -> bool {
        let due = self.told != self.drawn;
        (self.drawn, self.told) = (self.told, told);
        due
    }
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

impl Session {
    async fn start(commands: &ChildCommands<'_>, interrupts: &mut Interrupts) -> Result<Session, End> {
        let mut coordinator = Supervised::start(commands.coordinator()).map_err(End::Failed)?;
        let listens = coordinator.address(interrupts).await?;
        // Where all networks are listened on, that is no address to call.
        let address = commands.options.advertise.as_ref().map_or(listens, ToString::to_string);
        commands.folder.write_address(&address).map_err(End::Failed)?;
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
    /// ended; if it dies, the session is over. Another server that dies is started again, and takes its place
    /// with the shards of its newest snapshot.
    fn look_at_servers(&mut self, progress: &Progress) -> Option<End> {
        let (coordinator, others) = self.servers.split_first_mut().expect("there is a coordinator");
        if let Some(status) = coordinator.ended() {
            return Some(match status.code().and_then(Exit::from_code) {
                Some(Exit::Done) => End::Finished,
                // Somebody else's signal.
                Some(Exit::Interrupted) => End::Interrupted,
                Some(exit) => End::Failed(coordinator.failure(exit)),
                None => End::ServerLost(coordinator.unexpected_end(status)),
            });
        }
        // Those that leave were told to finish: the coordinator follows.
        others.iter_mut().find_map(|server| {
            server.look(progress).or_else(|| server.is_given_up().then(|| End::Failed(server.given_up())))
        })
    }

    fn look_at_workers(&mut self, progress: &Progress) -> Option<End> {
        if let Some(end) = self.workers.iter_mut().find_map(|worker| worker.look(progress)) {
            return Some(end);
        }
        if self.workers.iter().any(Supervised::is_there) {
            return None;
        }
        if self.workers.iter().all(Supervised::is_given_up) {
            return Some(End::Failed(Failure::broken(format!(
                "every worker died again and again; their logs are in {}",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_evaluation_is_drawn_once_a_look_later() {
        let mut evaluations = Evaluations::default();
        let told = [0, 1, 1, 1, 3, 3, 3];
        let drawn = told.map(|told| evaluations.are_to_be_drawn(told));
        assert_eq!(drawn, [false, false, true, false, false, true, false]);
    }
}
