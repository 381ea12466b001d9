//! The launcher of a run, from the options to the result: it resolves the configuration, runs sessions until
//! the run is done, and records the outcome.

use std::path::PathBuf;
use std::time::Instant;

use limits::Count;
use parameter_server::{WarmStart, snapshot};
use process::FlagError;
use protocol::RunStatus;
use settings::RunConfiguration;

use crate::child_commands::{ChildCommands, Program, Tokens};
use crate::curve;
use crate::failure::Failure;
use crate::folder::{Folder, RECORD, Record};
use crate::found::{self, Found};
use crate::interrupts::Interrupts;
use crate::kept::Kept;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::own_address::OwnAddress;
use crate::progress::Progress;
use crate::result::{BestModel, RunResult};
use crate::sample_pictures;
use crate::supervised::SETTLED_AFTER;
use crate::watch::{End, session};

/// Number of sessions in a row that may end soon with the death of the coordinator before the run is given up.
const COORDINATOR_LOSSES: u32 = 2;

/// The outcome of training, if nothing failed.
pub enum Training {
    /// The run is finished, either now or since an earlier call of the program; the value is its result.
    Finished(Box<RunResult>),
    /// The user stopped the run before its end; it can be resumed.
    Interrupted,
}

/// Resolves the options into the configuration of the run and the number of compute threads of each worker.
/// For a run that is not resumed, also checks that this machine has enough memory.
///
/// # Errors
/// If the configuration is wrong, or if this machine cannot carry out the run.
pub fn settle(options: &Options) -> Result<(RunConfiguration, usize), Failure> {
    let configuration = options.run.resolve(options.default_recipe()).map_err(anyhow::Error::from)?;
    if let Some(first) = &options.advertise {
        first.process(options.shards - 1).map_err(|text| Failure::usage(format!("--advertise {text}")))?;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads_per_worker(cores);
    // A run that goes on may be another than the flags name: then its workers look for themselves.
    if options.fresh || !Folder::is_begun(&options.output) {
        let isa = process::isa_name(options.isa.clone());
        setup::memory::check_run(&configuration, isa.as_deref(), threads, options.workers.into())?;
    }
    Ok((configuration, threads))
}

/// Trains a run to its end, or returns the result of one that is finished.
///
/// # Errors
/// If the run cannot begin, fails or diverges; what it has done so far is kept in its output folder. A call that is
/// refused before it has trained anything leaves the folder as it was.
pub async fn train(options: &Options, interrupts: &mut Interrupts) -> Result<Training, Failure> {
    let kept_data = found::kept_data(options);
    let data = options.data.clone().or_else(|| kept_data.clone());
    let options = &Options { data, ..options.clone() };
    let (configuration, threads) = settle(options)?;
    let folder = Folder::open(&options.output)?;
    let found = Found::look(options, &folder)?;
    if let Some(result) = found.result() {
        folder.write_record(&found.called_again())?;
        return Ok(again(result, &folder));
    }
    let outcome = match prepare(options, (configuration, threads), &folder, &found, interrupts).await {
        Ok(Some(mut ready)) => {
            let told =
                |data: PathBuf| format!("data: {}, as {RECORD} has it and --data names none", data.display());
            ready.told.splice(0..0, kept_data.map(told));
            carry_out(ready, &found, interrupts).await
        }
        refused => Outcome { ended: refused.map(|_| Training::Interrupted), is_begun: false },
    };
    if !outcome.is_begun {
        found.put_back(folder);
    }
    outcome.ended
}

/// A call of which everything is known that can be before a process is started.
struct Ready<'a> {
    commands: ChildCommands<'a>,
    record: Record,
    configuration: RunConfiguration,
    /// Beginning of the run: true if it goes on from what is in its folder, false if it is new.
    resuming: bool,
    /// Lines of text for the user.
    told: Vec<String>,
}

/// The outcome of a call of the program.
struct Outcome {
    ended: Result<Training, Failure>,
    /// Effect of the call: true if it did anything in the run. A call that did not leaves the run as it was.
    is_begun: bool,
}

/// Makes ready to train a run, of which the first part of `settled` is the configuration if it begins now; returns
/// `None` if the user interrupted it.
///
/// # Errors
/// If the run cannot begin, or not go on as the options ask for.
async fn prepare<'a>(
    options: &'a Options,
    (new, threads): (RunConfiguration, usize),
    folder: &'a Folder,
    found: &Found,
    interrupts: &mut Interrupts,
) -> Result<Option<Ready<'a>>, Failure> {
    let init_from = new.run.init_from.clone();
    let configuration = found.configuration(options, new)?;
    let resuming = !options.fresh && folder.snapshots().exists();
    // A run that goes on has been through this.
    let looked = match resuming {
        true => Vec::new(),
        false => match look_at(options, &configuration, interrupts).await? {
            Some(lines) => lines,
            None => return Ok(None),
        },
    };
    if options.fresh {
        folder.clear()?;
    }
    let mut record = found.record(options, &configuration);
    if !looked.is_empty() {
        record.data_look.clone_from(&looked);
    }
    folder.write_record(&record)?;
    let commands = ChildCommands {
        program: Program::this(options.isa.clone(), &options.logs, &folder.logs())?,
        options,
        folder,
        run: options.run.to_words().map_err(anyhow::Error::from)?,
        threads,
        tokens: Tokens::of(folder).map_err(anyhow::Error::from)?,
        init_from,
    };
    Ok(Some(Ready { commands, record, configuration, resuming, told: looked }))
}

/// Trains the run of a call that is ready, until it is finished, interrupted or broken off.
async fn carry_out(ready: Ready<'_>, found: &Found, interrupts: &mut Interrupts) -> Outcome {
    let begun = Instant::now();
    let Ready { commands, mut record, configuration, resuming, told } = ready;
    let (options, folder) = (commands.options, commands.folder);
    let mut progress = Progress::start(&options.logs);
    say_what_begins(&commands, &configuration, &told, found, &progress);
    let Options { workers, shards, .. } = options;
    let title = format!("GoogLeNet, recipe {}, {workers} workers, {shards} shards", configuration.recipe);
    if options.tensorboard && !resuming {
        let shown = sample_pictures::writing(options.data.as_deref(), &configuration, folder);
        match interrupts.unless(shown).await {
            Some(Ok(())) => {}
            Some(Err(error)) => progress.warn(&format!("TensorBoard gets no training samples: {error:#}")),
            None => return Outcome { ended: Ok(Training::Interrupted), is_begun: false },
        }
    }
    let (end, status) = sessions(&commands, &title, resuming, &mut progress, interrupts).await;
    progress.end();

    let status = status.as_ref();
    let kept = Kept::of(folder, status.map_or(0, |status| status.samples));
    if let End::Failed(failure) = &end
        && failure.is_refusal()
        && found.is_newest(folder, kept.samples)
    {
        return Outcome { ended: Err(failure.clone()), is_begun: false };
    }
    record.seconds += begun.elapsed().as_secs_f64();
    found.note_end(&mut record, options, folder, status);
    let metrics = curve::of_run(folder, &title, &progress);
    let stopped = format!("{}; the same command {kept}", so_far(status, kept.samples));
    let ended = match end {
        End::Finished => {
            let skipped = status.map_or(0, |status| status.unreadable);
            finish(&metrics, skipped, &mut record, folder).map(|result| Training::Finished(Box::new(result)))
        }
        End::Interrupted => {
            tell_where_it_stopped(&stopped, folder, &progress);
            Ok(Training::Interrupted)
        }
        End::ServerLost(text) => Err(Failure::broken(text).or_stopped(&stopped)),
        End::Failed(failure) => Err(failure.or_stopped(&stopped)),
    };
    let written = folder.write_record(&record);
    Outcome { ended: written.and(ended), is_begun: true }
}

/// Shows the user what begins or goes on, with what was found before.
fn say_what_begins(
    commands: &ChildCommands<'_>,
    configuration: &RunConfiguration,
    told: &[String],
    found: &Found,
    progress: &Progress,
) {
    let ChildCommands { options, folder, threads, .. } = commands;
    progress.tell(&format!(
        "recipe {}: {} workers with {threads} compute threads each, {} shards; output in {}",
        configuration.recipe,
        options.workers,
        options.shards,
        folder.path().display()
    ));
    told.iter().for_each(|line| progress.tell(line));
    if let Some(text) = found.begun_otherwise(configuration) {
        progress.warn(&text);
    }
    if let Some(address) = &options.advertise {
        progress.tell(&how_to_join(address, options, folder));
    }
}

/// Shows the user where a run `stopped` that was interrupted, and what there is of it.
fn tell_where_it_stopped(stopped: &str, folder: &Folder, progress: &Progress) {
    let model = match folder.model() {
        model if model.is_file() => format!(", the model so far is {}", model.display()),
        _ => String::new(),
    };
    progress.tell(&format!("stopped {stopped} (output in {}{model})", folder.path().display()));
}

/// Returns how far a run is that was stopped after `samples` samples, as text.
fn so_far(status: Option<&RunStatus>, samples: u64) -> String {
    match status {
        Some(status) if status.total_samples > 0 => {
            format!("at {} of {} samples", Count(samples), Count(status.total_samples))
        }
        _ if samples > 0 => format!("after {} samples", Count(samples)),
        _ => "before the first sample".to_string(),
    }
}

/// Inspects every image, and the model file to start from, before any process is started; returns the findings
/// as lines of text, or `None` if the user interrupted it.
async fn look_at(
    options: &Options,
    configuration: &RunConfiguration,
    interrupts: &mut Interrupts,
) -> Result<Option<Vec<String>>, Failure> {
    let (data, mut configuration) = (options.data.clone(), configuration.clone());
    let look = move || {
        WarmStart::named_by(&mut configuration)?;
        let Some(data) = data else { return Ok(Vec::new()) };
        let found = models::look::before_run(&data)?;
        match configuration.network.classes {
            Some(classes) if classes != found.classes => Err(FlagError(format!(
                "--classes {classes}: {} has {} classes; leave the flag out, or give other data",
                data.display(),
                found.classes
            ))
            .into()),
            _ => Ok(found.lines),
        }
    };
    match interrupts.unless(look).await {
        Some(told) => told.map(Some).map_err(|error: anyhow::Error| Failure::from(error)),
        None => Ok(None),
    }
}

/// Returns the commands by which other machines take part.
fn how_to_join(address: &OwnAddress, options: &Options, folder: &Folder) -> String {
    let token = |role| folder.access().join(role).join("token").display().to_string();
    let mut text = format!(
        "other machines take part by: downpour join {address} --token-file TOKEN, with a copy of {}",
        token("worker")
    );
    if options.data.is_some() {
        text += "; they get the photographs from here, unless they have them: then also with --data PHOTOS";
    }
    let shards = options.other_shards;
    if shards > 0 {
        text += &format!(
            "; {shards} of them also with --shard OWN-NAME:7070 --server-token-file TOKEN, with a copy of {}",
            token("server")
        );
    }
    text
}

/// Returns the outcome of a run that was finished before.
fn again(result: &RunResult, folder: &Folder) -> Training {
    let how = match result.patience_epochs {
        Some(epochs) => format!(
            "it ended early, and its patience of {epochs} epochs is kept: a larger --patience-epochs goes on with it"
        ),
        None => "a larger --epochs goes on with it".to_string(),
    };
    let shown = folder.path().display();
    process::tell(format_args!("the run in {shown} is finished; {how}, --fresh trains it anew. Its result:"));
    Training::Finished(Box::new(result.clone()))
}

/// Runs sessions until one ends for a reason other than the death of the coordinator, or too many end so soon
/// after they began.
async fn sessions(
    commands: &ChildCommands<'_>,
    title: &str,
    resuming: bool,
    progress: &mut Progress,
    interrupts: &mut Interrupts,
) -> (End, Option<RunStatus>) {
    let mut losses = 0;
    let mut again = false;
    loop {
        progress.begin(resuming || again);
        let begun = Instant::now();
        let (end, status) = session(commands, title, progress, interrupts).await;
        if begun.elapsed() >= SETTLED_AFTER {
            losses = 0;
        }
        match (end, status) {
            (End::ServerLost(text), status) if losses < COORDINATOR_LOSSES => {
                losses += 1;
                again = true;
                let next = Kept::of(commands.folder, status.map_or(0, |status| status.samples));
                progress.warn(&format!("{text}\nall are started again; the run {next}"));
            }
            ended => return ended,
        }
    }
}

fn finish(
    metrics: &Metrics,
    skipped: u64,
    record: &mut Record,
    folder: &Folder,
) -> Result<RunResult, Failure> {
    let missing = |what: &str, path: std::path::PathBuf| {
        Failure::broken(format!(
            "the run ended, but {} {what}; see the logs in {}",
            path.display(),
            folder.logs().display()
        ))
    };
    let last = metrics.evaluations.last().ok_or_else(|| missing("holds no evaluation", folder.metrics()))?;
    if !folder.model().is_file() {
        return Err(missing("is not there", folder.model()));
    }
    let last_iterate =
        last.last_iterate.ok_or_else(|| missing("has no scores of the last iterate", folder.metrics()))?;
    // Earlier parts of the run may have ended early too, and then have gone on.
    let newest = snapshot::newest(&folder.snapshots()).ok().flatten();
    let best = metrics.best().filter(|_| folder.best().is_file());
    let best =
        best.map(|best| BestModel { model: folder.best(), samples: best.samples, scores: best.average });
    let result = RunResult {
        top1: last.average.top1,
        top5: last.average.top5,
        loss: last.average.loss,
        validation_images: last.images,
        skipped,
        validation_skipped: last.unreadable,
        last_iterate,
        samples: last.samples,
        account: metrics.account.clone(),
        seconds: record.seconds,
        patience_epochs: newest.and_then(|newest| newest.run.ended_early()),
        model: folder.model(),
        best,
        curve: folder.curve(),
        metrics: folder.metrics(),
    };
    record.result = Some(result.clone());
    Ok(result)
}
