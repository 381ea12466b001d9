//! A session of a run: it starts the servers and workers, watches them until the run ends, and stops them.
//!
//! A worker that dies is started again, and so is a server process that only holds shards, which go on from their
//! newest snapshot. When the server process with the coordinator dies the session is over, and the next one
//! resumes from the newest complete snapshot.

use std::time::{Duration, Instant};

use process::Exit;
use protocol::{RunState, RunStatus};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use crate::asking::{ASK_EVERY, ask};
use crate::child_commands::ChildCommands;
use crate::curve;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::options::Options;
use crate::progress::Progress;
use crate::supervised::{Supervised, all_gone, ask_to_stop, kill};

/// Interval at which the child processes are checked.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longest time for the servers to finish, last snapshot included, once all workers have left.
const FINISH_WITHIN: Duration = Duration::from_secs(60);
/// Time without a worker of this machine after which it is said that the run goes on: at its end they leave a moment
/// before it is known to be over.
const TELL_AFTER: Duration = Duration::from_secs(5);
/// Longest time for which it is tried whether this machine reaches an address.
const REACH_WITHIN: Duration = Duration::from_secs(5);
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

impl End {
    /// Replaces what a server process that cannot listen says is to be done, which names a flag of its own.
    pub fn advising(self, advice: &str) -> End {
        match self {
            End::Failed(Failure { code, text }) => {
                End::Failed(Failure { code, text: text.replace("choose another with --listen", advice) })
            }
            end => end,
        }
    }
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
            return (in_words_of(commands.options, end), None);
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
        let others_may_come = commands.options.advertise.is_some();
        match session.look_at_servers(progress).or_else(|| session.look_at_workers(others_may_come, progress))
        {
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
    (in_words_of(commands.options, end), status)
}

/// Names a flag of the launcher in a failure that names one of its server processes.
fn in_words_of(options: &Options, end: End) -> End {
    match (&options.advertise, options.shards) {
        (None, _) => end.advising("the same command goes on at another port"),
        (Some(_), 1) => end.advising("choose another with --advertise"),
        (Some(_), shards) => end.advising(&format!(
            "choose another with --advertise, from whose port on each of the {shards} server processes takes one"
        )),
    }
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

/// The time without a worker of this machine, all of which have left as they should, or for good.
#[derive(Default)]
struct Deserted {
    /// Time at which the last of them left.
    since: Option<Instant>,
    /// Time since which nobody else was there either, nor may come.
    by_all: Option<Instant>,
    /// State of the line to the user that the run goes on: true once it was said.
    told: bool,
}

impl Deserted {
    /// Returns whether the run is given up at `now`, as nobody trains, and, unless the run `goes_on`, nobody will.
    /// After the last evaluation workers leave before the servers do.
    fn is_given_up(&mut self, goes_on: bool, now: Instant) -> bool {
        self.since.get_or_insert(now);
        if goes_on {
            self.by_all = None;
            return false;
        }
        now - *self.by_all.get_or_insert(now) > FINISH_WITHIN
    }

    /// Returns, once, whether it is to be said now that the run goes on.
    fn is_to_be_told(&mut self, now: Instant) -> bool {
        let due = !self.told && self.since.is_some_and(|since| now - since > TELL_AFTER);
        self.told |= due;
        due
    }
}

struct Session {
    /// The servers, the coordinator first.
    servers: Vec<Supervised>,
    workers: Vec<Supervised>,
    deserted: Deserted,
    status: watch::Receiver<Option<RunStatus>>,
    /// Time at which the newest status came.
    heard: Instant,
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
        let mut session = Session {
            servers: vec![coordinator],
            workers: Vec::new(),
            deserted: Deserted::default(),
            status,
            heard: Instant::now(),
            asking,
        };
        if commands.options.advertise.is_some()
            && let Some(end) = cannot_begin(&address, interrupts).await
        {
            session.stop(interrupts).await;
            return Err(end);
        }
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
            self.heard = Instant::now();
            progress.show(status, self.heard);
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
                None => End::ServerLost(coordinator.lost(status)),
            });
        }
        // Those that leave were told to finish: the coordinator follows.
        others.iter_mut().find_map(|server| {
            server.look(progress).or_else(|| server.is_given_up().then(|| End::Failed(server.given_up())))
        })
    }

    /// Checks on the workers of this machine. When all of them have left, as they do when they are drained, the run goes
    /// on while others train, or may come.
    fn look_at_workers(&mut self, others_may_come: bool, progress: &Progress) -> Option<End> {
        if let Some(end) = self.workers.iter_mut().find_map(|worker| worker.look(progress)) {
            return Some(end);
        }
        if self.workers.iter().any(Supervised::is_there) {
            return None;
        }
        let members = self.members();
        if self.workers.iter().all(Supervised::is_given_up) && !(others_may_come && members > 0) {
            return Some(End::Failed(Failure::broken(format!(
                "every worker died again and again; their logs are in {}",
                self.workers[0].command.logs.display()
            ))));
        }
        let goes_on = others_may_come || members > 0;
        if self.deserted.is_given_up(goes_on, Instant::now()) {
            return Some(End::Failed(Failure::broken(
                "all workers have left before the run was over, as workers do that are drained, and without --advertise \
                 nobody else can come",
            )));
        }
        if goes_on {
            self.tell_that_it_goes_on(members, progress);
        }
        None
    }

    /// Returns the number of workers in the run, as the coordinator told it in the last minute.
    fn members(&self) -> u32 {
        let status = self.status.borrow();
        status.as_ref().filter(|_| self.heard.elapsed() < FINISH_WITHIN).map_or(0, |status| status.workers)
    }

    /// Says once that the run goes on although the workers of this machine have left; `members` of others are there.
    fn tell_that_it_goes_on(&mut self, members: u32, progress: &Progress) {
        let trains = |status: &RunStatus| {
            matches!(status.state, RunState::Waiting | RunState::Training | RunState::Paused)
        };
        if self.status.borrow().as_ref().is_some_and(trains) && self.deserted.is_to_be_told(Instant::now()) {
            progress.tell(&match members {
                0 => "all workers have left; the run waits for others (downpour join), and Ctrl-C stops it"
                    .to_string(),
                members => {
                    format!("all workers of this machine have left; the run goes on with {members} of others")
                }
            });
        }
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

/// Tries the address at which the processes of this machine call the run's servers, as those of others do; returns the
/// end of a session that cannot begin, as they would not get through.
async fn cannot_begin(address: &str, interrupts: &mut Interrupts) -> Option<End> {
    let reason = tokio::select! {
        reason = unreached(address) => reason?,
        () = interrupts.next() => return Some(End::Interrupted),
    };
    Some(End::Failed(Failure::bad_input(format!(
        "--advertise {address}: the run cannot begin, since the workers of this machine call its servers there too, and \
         from here that fails ({reason}); expected a name or an IP address that leads to this machine also from itself: \
         give another, or let a line in /etc/hosts say that the name is this machine"
    ))))
}

/// Tries an address ("host:port") for some seconds; returns why no connection can be opened, `None` if one can.
pub async fn unreached(address: &str) -> Option<String> {
    let begun = Instant::now();
    loop {
        let reason = match timeout(REACH_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return None,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", REACH_WITHIN.as_secs()),
        };
        if begun.elapsed() >= REACH_WITHIN {
            return Some(reason);
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

    #[test]
    fn a_run_without_workers_here_goes_on_with_those_of_others_and_says_so_once() {
        let mut deserted = Deserted::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        for (seconds, goes_on, given_up) in [
            (0, true, false),
            (600, true, false),
            // The last of the others left: the servers may be about to leave as well.
            (601, false, false),
            (660, false, false),
            (661, true, false),
            (662, false, false),
            (723, false, true),
        ] {
            assert_eq!(deserted.is_given_up(goes_on, at(seconds)), given_up, "{seconds}");
        }
        assert!(!Deserted::default().is_to_be_told(at(600)), "some are there");
        let told = [0, 5, 6, 7].map(|seconds| deserted.is_to_be_told(at(seconds)));
        assert_eq!(told, [false, false, true, false]);
    }

    #[test]
    fn what_to_do_about_a_port_names_a_flag_that_the_command_has() {
        let text = "cannot listen on 0.0.0.0:7070: address in use; choose another with --listen";
        let words = |words: &str| {
            let options = Options::parse(words.split(' ')).unwrap();
            match in_words_of(&options, End::Failed(Failure::bad_input(text))) {
                End::Failed(failure) => failure.text,
                _ => panic!("no failure"),
            }
        };
        assert!(words("downpour").ends_with(": address in use; the same command goes on at another port"));
        let one = words("downpour --shards 1 --advertise h:7070");
        assert!(one.ends_with("; choose another with --advertise"), "{one}");
        let two = words("downpour --advertise h:7070");
        assert!(
            two.contains("; choose another with --advertise, from") && two.contains("the 2 server"),
            "{two}"
        );
    }
}
