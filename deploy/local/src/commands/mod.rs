//! The commands of `downpour`, a file each: their flags with the help text, and the call of the library that
//! does the work.

pub mod bench;
pub mod classify;
pub mod completion;
pub mod data;
pub mod describe;
pub mod draw;
pub mod ensemble;
pub mod evaluate;
pub mod export;
pub mod fetch;
pub mod join;
mod network_flags;
mod numbers;
pub mod plan;
pub mod runs;
pub mod samples;
pub mod simulate;
pub mod status;
pub mod steer;
pub mod token;
mod train;

use std::process::ExitCode;

use process::Exit;
use protocol::Steering;

use crate::cli::{Command, Role};
use crate::failure::Failure;
use crate::place::Place;

/// Runs a command and returns its exit code. An error is printed on standard error.
pub fn run(command: Command) -> ExitCode {
    process::end_on_panic(dataset::is_decoding);
    process::raise_open_files();
    let (what, ended) = match command {
        Command::Train(options) => ("train", in_runtime(train::run(&options))),
        Command::Ensemble(flags) => ("train the ensemble", in_runtime(ensemble::run(&flags))),
        Command::Join(flags) => ("join the run", in_runtime(join::run(&flags))),
        Command::Status(flags) => ("show the run", in_runtime(async { of(status::run(&flags).await) })),
        Command::Pause(place) => steered("pause the run", &place, Steering::Pause),
        Command::Resume(place) => steered("resume the run", &place, Steering::Resume),
        Command::Drain(flags) => steered("drain the worker", &flags.place, Steering::Drain(flags.worker)),
        Command::Snapshot(place) => steered("take a snapshot", &place, Steering::Snapshot),
        Command::Rate(flags) => steered("change the rate", &flags.place, Steering::RateFactor(flags.factor)),
        Command::Stop(place) => steered("stop the run", &place, Steering::Stop),
        Command::Runs(flags) => ("list the runs", of(runs::run(&flags))),
        Command::Evaluate(flags) => ("evaluate the model", in_runtime(evaluate::run(flags))),
        Command::Classify(flags) => ("classify", of(classify::run(flags))),
        Command::Export(flags) => ("export the model", of(export::run(flags))),
        Command::Fetch(flags) => ("fetch the model", in_runtime(async { of(fetch::run(flags).await) })),
        Command::Data(flags) => ("look at the data", of(data::run(&flags))),
        Command::Samples(flags) => ("draw samples", of(samples::run(flags))),
        Command::Plan(flags) => ("plan", of(plan::run(&flags))),
        Command::Simulate(flags) => ("simulate", of(simulate::run(&flags))),
        Command::Draw(flags) => ("draw", of(draw::run(&flags))),
        Command::Describe(flags) => ("describe the network", of(describe::run(&flags))),
        Command::Bench(flags) => ("bench", of(bench::run(&flags))),
        Command::Completion(flags) => ("print the completion", of(completion::run(&flags))),
        Command::Token(command) => ("make the tokens", of(token::run(&command))),
        Command::Role(Role::ParameterServer(flags)) => return crate::server_role::run(flags),
        Command::Role(Role::Worker(command)) => return worker::cli::run(command),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            process::tell(format_args!("failed to {what}: {}", failure.text));
            ExitCode::from(failure.code)
        }
    }
}

/// Gives an order to a run; returns what was wanted, and how it ended.
fn steered(what: &'static str, place: &Place, order: Steering) -> (&'static str, Result<Exit, Failure>) {
    (what, in_runtime(async { of(steer::run(place, order).await) }))
}

/// Converts the result of a library into that of a command.
fn of(ended: anyhow::Result<Exit>) -> Result<Exit, Failure> {
    ended.map_err(Failure::from)
}

/// Runs asynchronous work, which waits for other processes, on a runtime of its own.
fn in_runtime(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::broken(format!("cannot start the runtime: {error}")))?.block_on(work)
}
