//! The part of this machine in a run of another: its processes are started, watched, and stopped.

use std::time::{Duration, Instant};

use access::Token;
use process::{Exit, logs::host};
use tokio::time::interval;

use crate::child_commands::{Program, worker_words};
use crate::commands::join::Flags;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::progress::Progress;
use crate::supervised::{Supervised, all_gone, ask_to_stop, kill};
use crate::watch::{End, unreached};

/// Interval at which the processes are checked.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longest time for the shard to write the last snapshot and leave once the workers have left a finished run, whose
/// server is gone.
const FINISH_WITHIN: Duration = Duration::from_secs(60);
/// Longest time for the workers to hand in what they hold.
const STOP_WITHIN: Duration = Duration::from_secs(9);
/// Longest time for the shard to write its part of a snapshot, which it waits for the run's first server to order.
const SERVER_STOP_WITHIN: Duration = Duration::from_secs(30);
/// Time after the workers' in which a shard usually has left: then it is said what is waited for.
const ORDER_WITHIN: Duration = Duration::from_secs(2);

/// Takes part in a run until it ends, or until a signal.
///
/// # Errors
/// If there is nothing to do, if the data or a token cannot be used, or if a process fails.
pub async fn join(flags: &Flags, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
    if flags.workers == 0 && flags.shard.is_none() {
        return Err(Failure::usage(
            "--workers 0: expected at least one worker, or --shard, or this machine has nothing to do",
        ));
    }
    let worker = flags.token.token().map_err(anyhow::Error::from)?;
    let server =
        flags.server_token_file.as_deref().map(Token::read).transpose().map_err(anyhow::Error::from)?;
    let looked = match flags.data.clone().filter(|_| flags.workers > 0) {
        Some(data) => match interrupts.unless(move || models::look::before_run(&data)).await {
            Some(found) => found?.lines,
            None => return Ok(Exit::Interrupted),
        },
        None => Vec::new(),
    };
    let logs = flags.output.join("logs");
    let program = Program::this(flags.isa.clone(), &flags.logs, &logs)?;
    let progress = Progress::start(&flags.logs);
    looked.iter().for_each(|line| progress.tell(line));
    let shard = flags.shard.as_ref().map(|address| {
        let mut words: Vec<String> =
            ["role", "parameter-server", "--coordinator", &flags.address].map(String::from).into();
        words.extend(["--listen".into(), address.listen(), "--advertise".into(), address.to_string()]);
        words.extend(["--snapshots".into(), flags.output.join("snapshots").display().to_string()]);
        if let Some(file) = &flags.init_from {
            words.extend(["--init-from".into(), file.display().to_string()]);
        }
        program.command("server", words, server.as_ref())
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads =
        flags.threads.map_or_else(|| (cores / usize::from(flags.workers).max(1)).max(1), usize::from);
    let workers = (0..flags.workers).map(|number| {
        let name = format!("worker-{number}");
        let own = own_name(&name);
        let mut words =
            worker_words(&flags.address, flags.data.as_deref(), flags.data_patience, threads, &own);
        if let Some(megabytes) = flags.picture_cache {
            words.extend(["--picture-cache".into(), megabytes.to_string()]);
        }
        program.command(&name, words, worker.as_ref())
    });
    let mut joined = Joined { shard: None, workers: Vec::new() };
    let started = shard.map(Supervised::start).transpose().and_then(|shard| {
        joined.shard = shard;
        workers.map(Supervised::start).try_for_each(|worker| worker.map(|worker| joined.workers.push(worker)))
    });
    let end = match started {
        Ok(()) => {
            progress.tell(&format!("joining {}; logs in {}", flags.address, logs.display()));
            joined.watch(&flags.address, &progress, interrupts).await.advising("choose another with --shard")
        }
        Err(failure) => End::Failed(failure),
    };
    joined.stop(interrupts, &progress).await;
    progress.end();
    match end {
        End::Finished => Ok(Exit::Done),
        End::Interrupted => Ok(Exit::Interrupted),
        End::ServerLost(text) => Err(Failure::broken(text)),
        End::Failed(failure) => Err(failure),
    }
}

/// Returns the name under which the run lists the worker process `name`: with that of this machine, as every machine
/// has a worker-0.
fn own_name(name: &str) -> String {
    host().map_or_else(|| name.into(), |host| format!("{host}/{name}"))
}

/// The processes of this machine.
struct Joined {
    shard: Option<Supervised>,
    workers: Vec<Supervised>,
}

impl Joined {
    fn all(&mut self) -> impl Iterator<Item = &mut Supervised> {
        self.shard.iter_mut().chain(&mut self.workers)
    }

    /// Watches the processes until all have left, one failed, or a signal came. Workers may be drained: a shard stays
    /// without them while the run's server, at `address`, is there.
    async fn watch(&mut self, address: &str, progress: &Progress, interrupts: &mut Interrupts) -> End {
        let mut look = interval(LOOK_EVERY);
        let mut deserted: Option<Instant> = None;
        loop {
            tokio::select! {
                () = interrupts.next() => {
                    progress.tell("leaving: workers hand in what they hold (again, after two seconds: at once)");
                    return End::Interrupted;
                }
                _ = look.tick() => {}
            }
            for process in self.all() {
                process.pass_on(true, progress);
                if let Some(end) = process.look(progress) {
                    return end;
                }
                if process.is_given_up() {
                    return End::Failed(process.given_up());
                }
            }
            if !self.all().any(|process| process.is_there()) {
                return End::Finished;
            }
            let has_workers = !self.workers.is_empty();
            if has_workers && !self.workers.iter().any(Supervised::is_there) {
                let since = *deserted.get_or_insert_with(Instant::now);
                if since.elapsed() > FINISH_WITHIN {
                    if unreached(address).await.is_some() {
                        return End::Finished;
                    }
                    deserted = None;
                }
            }
        }
    }

    /// Stops the processes that are left, at another signal at once. The shard leaves last, and may take longer.
    async fn stop(&mut self, interrupts: &mut Interrupts, progress: &Progress) {
        ask_to_stop(&mut self.all().collect::<Vec<_>>());
        let begun = Instant::now();
        let mut workers: Vec<&mut Supervised> = self.workers.iter_mut().collect();
        let mut shard: Vec<&mut Supervised> = self.shard.iter_mut().collect();
        let stopping = async {
            all_gone(&mut workers, STOP_WITHIN).await;
            kill(&mut workers);
            if !all_gone(&mut shard, ORDER_WITHIN).await {
                let left = SERVER_STOP_WITHIN.saturating_sub(begun.elapsed());
                progress.tell(&format!(
                    "waiting up to {} s for the server process: the run's first server is to order a snapshot of its part, \
                     or to let it go (again: at once)",
                    left.as_secs()
                ));
                all_gone(&mut shard, left).await;
            }
        };
        tokio::select! {
            () = stopping => {}
            () = interrupts.next() => {}
        }
        let mut group: Vec<&mut Supervised> = self.all().collect();
        group.iter_mut().for_each(|process| process.pass_on(true, progress));
        kill(&mut group);
    }
}
