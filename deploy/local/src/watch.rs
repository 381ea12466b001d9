//! One session of a run: starts servers and workers, watches them until the run ends, and stops them.
//!
//! Workers come and go: one that dies is started again. Servers hold what was learnt: when one dies the session is
//! over, and the next goes on from the newest snapshot.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use process::Exit;
use protocol::{CoordinatorClient, Patience, RunState, RunStatus};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use crate::children::{Child, Post, describe};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::posts::Posts;
use crate::progress::Progress;

/// Between looks at the children.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between questions to the coordinator, and looks into the children's logs.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// For a server to say where it listens.
const START_WITHIN: Duration = Duration::from_secs(60);
/// For the servers to finish once all workers left: the last snapshot.
const FINISH_WITHIN: Duration = Duration::from_secs(60);
/// For the others to leave once the coordinator did.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// For workers to finish the minibatch in hand and for the coordinator to take a snapshot behind that.
const STOP_WITHIN: Duration = Duration::from_secs(9);
/// For the other servers, once the coordinator left.
const FOLLOW_WITHIN: Duration = Duration::from_secs(1);
/// How often a worker may die in a row.
const LIVES: u32 = 5;
/// A worker that lived this long did not die of its start.
const LIVED: Duration = Duration::from_secs(60);
/// Before a worker's first new start; doubled each time.
const REST: Duration = Duration::from_millis(500);
/// Warnings of one child shown here; the rest is in its log.
const WARNINGS_SHOWN: u32 = 20;

/// How a session ended; nobody is left running.
pub enum End {
    /// The run is done.
    Finished,
    /// The user stopped it; true if a second signal cut the stop short.
    Interrupted(bool),
    /// A server process died: says which and how.
    ServerLost(String),
    /// There is no going on.
    Failed(Failure),
}

/// Runs a session to its end; the status is the last that was seen.
pub async fn session(
    posts: &Posts<'_>,
    progress: &mut Progress,
    interrupts: &mut Interrupts,
) -> (End, Option<RunStatus>) {
    let mut session = match Session::start(posts, interrupts).await {
        Ok(session) => session,
        Err(end) => return (end, None),
    };
    let mut look = interval(LOOK_EVERY);
    let mut asked = Instant::now();
    let end = loop {
        tokio::select! {
            () = interrupts.next() => {
                progress.tell("stopping: workers hand in what they hold, servers write a snapshot (again: at once)");
                break End::Interrupted(false);
            }
            _ = look.tick() => {}
        }
        if asked.elapsed() >= ASK_EVERY {
            asked = Instant::now();
            session.show(posts.options.verbose, progress);
        }
        match session.look_at_servers().or_else(|| session.look_at_workers(progress)) {
            Some(End::Failed(failure)) if failure.code == Exit::Diverged.code() => {
                break End::Failed(session.as_the_coordinator_tells_it(failure).await);
            }
            Some(end) => break end,
            None => {}
        }
    };
    let cut_short = match &end {
        End::Finished => session.leave(interrupts, progress).await,
        _ => session.stop(interrupts).await,
    };
    session.show_last(&end, posts.options.verbose, progress);
    let status = session.status.borrow().clone();
    let end = match end {
        End::Interrupted(_) => End::Interrupted(cut_short),
        end => end,
    };
    (end, status)
}

struct Session {
    /// The coordinator first.
    servers: Vec<Member>,
    workers: Vec<Member>,
    /// Since when no worker is left, and all of them left in good order.
    deserted: Option<Instant>,
    status: watch::Receiver<Option<RunStatus>>,
    asking: tokio::task::JoinHandle<()>,
}

/// A post and who holds it.
struct Member {
    post: Post,
    child: Option<Child>,
    /// When to start the next child, after one died.
    again: Option<Instant>,
    deaths_in_a_row: u32,
    warnings: u32,
}

impl Session {
    async fn start(posts: &Posts<'_>, interrupts: &mut Interrupts) -> Result<Session, End> {
        let mut coordinator = Member::start(posts.coordinator()).map_err(End::Failed)?;
        let address = coordinator.address(interrupts).await?;
        let (send, status) = watch::channel(None);
        let asking = tokio::spawn(ask(address.clone(), send));
        let mut session =
            Session { servers: vec![coordinator], workers: Vec::new(), deserted: None, status, asking };
        let others = posts.servers(&address).into_iter().map(|post| (true, post));
        for (serves, post) in others.chain(posts.workers(&address).into_iter().map(|post| (false, post))) {
            match Member::start(post) {
                Ok(member) if serves => session.servers.push(member),
                Ok(member) => session.workers.push(member),
                Err(failure) => {
                    session.stop(interrupts).await;
                    return Err(End::Failed(failure));
                }
            }
        }
        Ok(session)
    }

    /// Shows the newest status and what the children have to say.
    fn show(&mut self, verbose: bool, progress: &mut Progress) {
        for member in self.servers.iter_mut().chain(&mut self.workers) {
            member.pass_on(verbose, progress);
        }
        self.show_status(progress);
    }

    /// The same when all is over: a failure tells what the last lines would tell, and of an interruption it is only
    /// news whether the servers could save what there was.
    fn show_last(&mut self, end: &End, verbose: bool, progress: &mut Progress) {
        match end {
            End::Failed(_) if !verbose => {}
            End::Interrupted(_) if !verbose => {
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

    /// The coordinator ends last and tells how the run ended; no other server may end before it.
    fn look_at_servers(&mut self) -> Option<End> {
        let (number, status) = self
            .servers
            .iter_mut()
            .enumerate()
            .find_map(|(number, member)| Some((number, member.ended()?)))?;
        let server = &self.servers[number];
        Some(match status.code().and_then(Exit::from_code) {
            Some(Exit::Done) if number == 0 => End::Finished,
            // Told to finish: the coordinator follows.
            Some(Exit::Done) => return None,
            // Somebody else's signal.
            Some(Exit::Interrupted) => End::Interrupted(false),
            Some(exit) => End::Failed(server.failure(exit)),
            None => End::ServerLost(server.obituary(status)),
        })
    }

    fn look_at_workers(&mut self, progress: &Progress) -> Option<End> {
        for worker in &mut self.workers {
            if let Some(status) = worker.ended() {
                match status.code().and_then(Exit::from_code) {
                    Some(Exit::Done) => worker.child = None,
                    // The servers are being stopped by somebody else.
                    Some(Exit::Interrupted) => return Some(End::Interrupted(false)),
                    Some(exit) => return Some(End::Failed(worker.failure(exit))),
                    None => worker.mourn(status, progress),
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
        if self.workers.iter().all(|worker| worker.deaths_in_a_row > LIVES) {
            return Some(End::Failed(Failure::broken(format!(
                "every worker died {} times in a row; their logs are in {}",
                LIVES + 1,
                self.workers[0].post.logs.display()
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

    /// Divergence is found by the server: its words say which rate to try.
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

    /// Waits for everybody to leave after the coordinator did; true if a signal cut that short.
    async fn leave(&mut self, interrupts: &mut Interrupts, progress: &Progress) -> bool {
        self.asking.abort();
        let mut everybody: Vec<&mut Member> = self.servers.iter_mut().chain(&mut self.workers).collect();
        let leaving = async {
            if !all_gone(&mut everybody, LEAVE_WITHIN).await {
                ask_to_stop(&mut everybody);
                all_gone(&mut everybody, LEAVE_WITHIN).await;
            }
        };
        let cut_short = tokio::select! {
            () = leaving => false,
            () = interrupts.next() => true,
        };
        for member in &mut everybody {
            if member.child.is_some() && member.ended().is_none() {
                progress.warn(&format!("{} did not leave after the run was over: killed", member.post.name));
            }
        }
        kill(&mut everybody);
        cut_short
    }

    /// Stops everybody. The coordinator waits for what the workers hand in, then has the other servers write their
    /// part of the snapshot: they must outlive it. True if a signal cut that short.
    async fn stop(&mut self, interrupts: &mut Interrupts) -> bool {
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
        cut_short
    }
}

fn ask_to_stop(group: &mut [&mut Member]) {
    for member in group {
        member.again = None;
        if let Some(child) = &mut member.child {
            child.ask_to_stop();
        }
    }
}

fn kill(group: &mut [&mut Member]) {
    for child in group.iter_mut().filter_map(|member| member.child.as_mut()) {
        child.kill();
    }
}

/// Waits until every member's process ended; false if that took too long.
async fn all_gone(group: &mut [&mut Member], within: Duration) -> bool {
    let gone = async {
        while group.iter_mut().any(|member| member.child.is_some() && member.ended().is_none()) {
            sleep(LOOK_EVERY / 4).await;
        }
    };
    timeout(within, gone).await.is_ok()
}

/// Asks the coordinator how the run goes, until nobody wants to know.
async fn ask(address: String, send: watch::Sender<Option<RunStatus>>) {
    let patience = Patience { give_up_after: Duration::from_secs(10), ..Patience::default() };
    loop {
        match CoordinatorClient::connect(&address, patience).await {
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

impl Member {
    fn start(post: Post) -> Result<Member, Failure> {
        let mut member = Member { post, child: None, again: None, deaths_in_a_row: 0, warnings: 0 };
        member.start_again()?;
        Ok(member)
    }

    fn start_again(&mut self) -> Result<(), Failure> {
        let started = self.post.start();
        self.child = Some(
            started.map_err(|error| Failure::broken(format!("cannot start {}: {error}", self.post.name)))?,
        );
        self.again = None;
        Ok(())
    }

    /// Where the process listens, as it says itself.
    async fn address(&mut self, interrupts: &mut Interrupts) -> Result<String, End> {
        let child = self.child.as_mut().expect("it was just started");
        let line = child.first_line().expect("asked once");
        let end = tokio::select! {
            line = timeout(START_WITHIN, line) => match line {
                Ok(Ok(address)) => return Ok(address),
                // Standard output ended: so does the process.
                Ok(Err(_)) => None,
                Err(_) => {
                    let text = format!("{} named no address in {} s", self.post.name, START_WITHIN.as_secs());
                    Some(End::Failed(Failure::broken(text)))
                }
            },
            () = interrupts.next() => Some(End::Interrupted(false)),
        };
        all_gone(&mut [self], if end.is_some() { Duration::ZERO } else { FOLLOW_WITHIN }).await;
        let ended = self.ended();
        kill(&mut [self]);
        Err(end.unwrap_or_else(|| {
            let exit =
                ended.and_then(|status| Exit::from_code(status.code()?)).filter(|exit| *exit != Exit::Done);
            End::Failed(
                exit.map_or_else(
                    || Failure::broken(self.last_words("broke down")),
                    |exit| self.failure(exit),
                ),
            )
        }))
    }

    /// How its process ended; None while it runs, or when nobody holds the post.
    fn ended(&mut self) -> Option<ExitStatus> {
        // A process that cannot be asked is not known to be gone.
        self.child.as_mut()?.ended().ok()?
    }

    /// What to tell when the process ended with a code that means something.
    fn failure(&self, exit: Exit) -> Failure {
        let mut text = self.last_words(&format!("ended with exit code {}", exit.code()));
        if exit == Exit::Bug {
            text += &format!("\nits log is {}", self.post.log_file().display());
        }
        Failure { code: exit.code(), text }
    }

    fn obituary(&self, status: ExitStatus) -> String {
        self.last_words(&format!("ended unexpectedly ({})", describe(status)))
    }

    fn last_words(&self, what: &str) -> String {
        let words = self.child.as_ref().map(Child::last_words).unwrap_or_default();
        format!("{} {what}:\n{words}", self.post.name)
    }

    /// A worker died: another is started after a rest, unless this keeps happening.
    fn mourn(&mut self, status: ExitStatus, progress: &Progress) {
        let lived = self.child.as_ref().map_or(Duration::ZERO, |child| child.started().elapsed());
        self.deaths_in_a_row = if lived >= LIVED { 1 } else { self.deaths_in_a_row + 1 };
        let obituary = self.obituary(status);
        self.child = None;
        if self.deaths_in_a_row > LIVES {
            progress.warn(&format!(
                "{obituary}\nnot started again: that was {} times in a row",
                self.deaths_in_a_row
            ));
            return;
        }
        let rest = REST * 2u32.pow(self.deaths_in_a_row - 1);
        progress.warn(&format!("{obituary}\nstarted again in {:.1} s", rest.as_secs_f64()));
        self.again = Some(Instant::now() + rest);
    }

    /// Everything that it logged, or what the user should see of it.
    fn pass_on(&mut self, verbose: bool, progress: &Progress) {
        let Some(child) = &mut self.child else { return };
        for line in child.news() {
            if verbose {
                progress.pass_on(&self.post.name, &line);
            } else if is_warning(&line) && self.warnings < WARNINGS_SHOWN {
                self.warnings += 1;
                progress.pass_on(&self.post.name, &line);
                if self.warnings == WARNINGS_SHOWN {
                    progress.tell(&format!("more warnings of {0} are in logs/{0}.log", self.post.name));
                }
            }
        }
    }
}

/// By the two forms of log line that our processes write.
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
        let post = Post {
            name: "worker-0".into(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script],
            logs: folder.path().join("logs"),
        };
        let mut member = Member::start(post).unwrap();
        let status = loop {
            match member.ended() {
                Some(status) => break status,
                None => std::thread::sleep(LOOK_EVERY / 10),
            }
        };
        let failure = member.failure(status.code().and_then(Exit::from_code).unwrap());
        let log = folder.path().join("logs/worker-0.log").display().to_string();
        assert_eq!(failure.code, 70);
        assert_eq!(failure.text, format!("worker-0 ended with exit code 70:\n{account}\nits log is {log}"));
    }
}
