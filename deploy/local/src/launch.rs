//! The launcher of a run, from the options to the result: it resolves the configuration, runs sessions until
//! the run is done, and records the outcome.

use std::time::Instant;

use limits::Count;
use parameter_server::{WarmStart, going_on, snapshot};
use process::FlagError;
use protocol::RunStatus;
use serde_json::Value;
use settings::{Difference, RunConfiguration, first_difference};

use crate::child_commands::{ChildCommands, Program, Tokens};
use crate::curve;
use crate::failure::Failure;
use crate::folder::{DATA, Folder, Record};
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
/// If the run cannot begin, fails or diverges; what it has done so far is kept in its output folder.
pub async fn train(options: &Options, interrupts: &mut Interrupts) -> Result<Training, Failure> {
    let begun = Instant::now();
    let (configuration, threads) = settle(options)?;

    let folder = Folder::open(&options.output, options.fresh)?;
    let shown = folder.path().display();
    let mut record = match folder.record()? {
        Some(mut record) => {
            if let Some(result) = record.result.take() {
                match longer(&record, options, &folder)? {
                    None => return Ok(again(result, &folder)),
                    Some(configuration) => record.asked = asked(options, &configuration),
                }
            }
            record
        }
        None => Record::new(asked(options, &configuration)),
    };
    let resuming = folder.snapshots().exists();
    record.add_call();
    folder.write_record(&record)?;
    // A run that goes on has been through this.
    let looked = match resuming {
        true => Vec::new(),
        false => match look_at(options, &configuration, interrupts).await? {
            Some(lines) => lines,
            None => return Ok(Training::Interrupted),
        },
    };

    if !looked.is_empty() {
        record.data_look.clone_from(&looked);
        folder.write_record(&record)?;
    }
    let commands = ChildCommands {
        program: Program::this(options.isa.clone(), &options.logs, &folder.logs())?,
        options,
        folder: &folder,
        run: options.run.to_words().map_err(anyhow::Error::from)?,
        threads,
        tokens: Tokens::of(&folder).map_err(anyhow::Error::from)?,
        init_from: configuration.run.init_from.as_ref(),
    };
    let mut progress = Progress::start(&options.logs);
    progress.tell(&format!(
        "recipe {}: {} workers with {} compute threads each, {} shards; output in {shown}",
        configuration.recipe, options.workers, commands.threads, options.shards
    ));
    looked.iter().for_each(|line| progress.tell(line));
    if let Some(address) = &options.advertise {
        progress.tell(&how_to_join(address, options, &folder));
    }
    let title = format!(
        "GoogLeNet, recipe {}, {} workers, {} shards",
        configuration.recipe, options.workers, options.shards
    );
    if options.tensorboard && !resuming {
        let shown = sample_pictures::writing(options.data.as_deref(), &configuration, &folder);
        match interrupts.unless(shown).await {
            Some(Ok(())) => {}
            Some(Err(error)) => progress.warn(&format!("TensorBoard gets no training samples: {error:#}")),
            None => return Ok(Training::Interrupted),
        }
    }
    let (end, status) = sessions(&commands, &title, resuming, &mut progress, interrupts).await;
    progress.end();

    record.seconds += begun.elapsed().as_secs_f64();
    let metrics = curve::of_run(&folder, &title, &progress);
    let samples = status.as_ref().map_or(0, |status| status.samples);
    if let Some(status) = &status {
        record.asked = asked(options, &status.configuration);
    }
    let done = match end {
        End::Finished => {
            let skipped = status.map_or(0, |status| status.unreadable);
            finish(&metrics, skipped, &mut record, &folder).map(|result| Training::Finished(Box::new(result)))
        }
        End::Interrupted => {
            let next = Kept::of(&folder, samples);
            let so_far = so_far(status.as_ref(), next.samples);
            let model = folder.model();
            let model = match model.is_file() {
                true => format!(", the model so far is {}", model.display()),
                false => String::new(),
            };
            progress.tell(&format!("stopped {so_far}; the same command {next} (output in {shown}{model})"));
            Ok(Training::Interrupted)
        }
        End::ServerLost(text) => {
            let next = Kept::of(&folder, samples);
            Err(Failure::broken(format!("{text}\nthe run stopped; the same command {next}")))
        }
        End::Failed(failure) => Err(failure),
    };
    folder.write_record(&record)?;
    done
}

/// Returns how far a run is that was stopped after `samples` samples, as text.
fn so_far(status: Option<&RunStatus>, samples: u64) -> String {
    match status {
        Some(status) if status.total_samples > 0 => {
            format!("at {} of {} samples", Count(samples), Count(status.total_samples))
        }
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

/// Returns a run as its record has it, in JSON: the whole configuration, and the data folder of this call.
fn asked(options: &Options, configuration: &RunConfiguration) -> Value {
    let mut asked = serde_json::to_value(configuration).expect("a configuration is plain data");
    // Another spelling of the same folder is the same data.
    asked[DATA] = options
        .data
        .as_ref()
        .map(|data| data.canonicalize().unwrap_or_else(|_| data.clone()).display().to_string())
        .into();
    asked
}

/// Returns the configuration with which a finished run goes on, if this call asks for more of it; `None` if it
/// asks for the run as it is.
///
/// # Errors
/// If it asks for another run, or if the finished one cannot go on.
fn longer(record: &Record, options: &Options, folder: &Folder) -> Result<Option<RunConfiguration>, Failure> {
    let shown = folder.path().display();
    let begun = record.configuration()?;
    let wanted = options.run.resolve_for(&begun).map_err(anyhow::Error::from)?;
    let changes = begun.changes_to(&wanted).and_then(|changes| {
        // The rest of the record is the data.
        first_difference(&record.asked, &asked(options, &begun)).map_or(Ok(changes), Err)
    });
    let changes = changes.map_err(|Difference { key, one, other }| {
        Failure::bad_input(format!(
            "the run in {shown} is finished and was another one ({key}: the run has {one}, asked for {other}); --fresh \
             begins anew there, --output names another folder"
        ))
    })?;
    if changes.is_empty() {
        return Ok(None);
    }
    let newest =
        snapshot::newest(&folder.snapshots()).map_err(|error| Failure::bad_input(error.to_string()))?;
    let newest = newest.ok_or_else(|| {
        Failure::bad_input(format!(
            "the run in {shown} is finished and cannot go on: no complete snapshot is left of it; --fresh begins anew"
        ))
    })?;
    Ok(Some(going_on(&options.run, newest.run)?.configuration))
}

/// Returns the outcome of a run that was finished before.
fn again(result: RunResult, folder: &Folder) -> Training {
    let shown = folder.path().display();
    process::tell(format_args!(
        "the run in {shown} is finished; a larger --epochs goes on with it, --fresh trains it anew. Its result:"
    ));
    Training::Finished(Box::new(result))
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
        patience_epochs: metrics.patience.map(|patience| patience.epochs),
        model: folder.model(),
        best,
        curve: folder.curve(),
        metrics: folder.metrics(),
    };
    record.result = Some(result.clone());
    Ok(result)
}
