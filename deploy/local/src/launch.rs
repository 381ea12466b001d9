//! From a command line to a result: settles what the run is, lets sessions run until it is done, and says how it went.

use std::path::Path;
use std::time::Instant;

use process::{Exit, print_line};
use protocol::RunStatus;
use serde_json::Value;
use settings::{ConfigurationError, RunConfiguration};

use crate::cli::Options;
use crate::curve;
use crate::failure::Failure;
use crate::folder::{Folder, Record};
use crate::interrupts::Interrupts;
use crate::metrics::Metrics;
use crate::posts::Posts;
use crate::progress::Progress;
use crate::result::RunResult;
use crate::watch::{End, session};

/// Sessions that may be lost to a dying server before we give up.
const SERVER_LOSSES: u32 = 2;

/// Trains, or prints the result of a run that is finished.
pub async fn launch(options: &Options) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let wrong = |error: ConfigurationError| Failure::usage(error.to_string());
    let configuration = options.run.resolve(options.default_recipe()).map_err(wrong)?;
    let asked = asked(options, &configuration);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads_per_worker(cores);
    // A run that goes on may be another than the flags name: then its workers look for themselves.
    if options.fresh || !Folder::is_begun(&options.output) {
        let isa = process::isa_name(options.isa.clone());
        worker::memory::check_run(&configuration, isa.as_deref(), threads, options.workers.into())
            .map_err(|error| Failure { code: worker::exit_of(&error).code(), text: format!("{error:#}") })?;
    }
    let broken = |what: &str, error: std::io::Error| Failure::broken(format!("cannot {what}: {error}"));
    let mut interrupts = Interrupts::listen().map_err(|error| broken("listen for signals", error))?;

    let folder = Folder::open(&options.output, options.fresh)?;
    let shown = folder.path().display();
    let known = folder.record()?;
    let mut record = match known {
        Some(Record { result: Some(_), .. }) => {
            return again(&known.expect("just matched"), &asked, &folder, options);
        }
        Some(record) => record,
        None => Record::new(asked.clone()),
    };
    let resuming = folder.snapshots().exists();
    folder.write_record(&record)?;
    // A run that goes on has been through this.
    let looked = match &options.data {
        Some(data) if !resuming => match look_at(data, &mut interrupts).await? {
            Some(lines) => lines,
            None => return Ok(Exit::Interrupted),
        },
        _ => Vec::new(),
    };

    let posts = Posts {
        program: std::env::current_exe().map_err(|error| broken("find this executable", error))?,
        options,
        folder: &folder,
        run: options.run.to_words().map_err(wrong)?,
        threads,
        init_from: configuration.run.init_from.as_ref(),
    };
    let mut progress = Progress::start(&options.logs);
    progress.tell(&format!(
        "recipe {}: {} workers with {} compute threads each, {} shards; output in {shown}",
        configuration.recipe, options.workers, posts.threads, options.shards
    ));
    looked.iter().for_each(|line| progress.tell(line));
    let (end, status) = sessions(&posts, resuming, &mut progress, &mut interrupts).await;
    progress.end();

    record.seconds += begun.elapsed().as_secs_f64();
    let title = format!(
        "GoogLeNet, recipe {}, {} workers, {} shards",
        configuration.recipe, options.workers, options.shards
    );
    let metrics = draw(&folder, &title, &progress);
    let done = match end {
        End::Finished => {
            let skipped = status.map_or(0, |status| status.unreadable);
            finish(&metrics, skipped, &mut record, asked, &folder).and_then(|result| print(&result, options))
        }
        End::Interrupted(cut_short) => {
            progress.tell(&stopped(status.as_ref(), cut_short, &folder));
            Ok(Exit::Interrupted)
        }
        End::ServerLost(text) => Err(Failure::broken(format!(
            "{text}\nthe run stopped; the same command goes on from its newest snapshot"
        ))),
        End::Failed(failure) => Err(failure),
    };
    folder.write_record(&record)?;
    done
}

/// Looks at every picture before anything is started; returns what to tell, or nothing if the user broke it off.
async fn look_at(data: &Path, interrupts: &mut Interrupts) -> Result<Option<Vec<String>>, Failure> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let data = data.to_owned();
    // A thread of its own, which nobody waits for where the user breaks it off.
    std::thread::spawn(move || drop(tell.send(worker::look::before_run(&data))));
    tokio::select! {
        told = told => match told {
            Ok(Ok(told)) => Ok(Some(told)),
            Ok(Err(error)) => Err(Failure::bad_input(format!("{error:#}"))),
            Err(_) => Err(Failure::broken("looking at the data ended by a panic")),
        },
        () = interrupts.next() => Ok(None),
    }
}

/// What this call wants the run to be: the whole configuration, and the data folder.
fn asked(options: &Options, configuration: &RunConfiguration) -> Value {
    let mut asked = serde_json::to_value(configuration).expect("a configuration is plain data");
    // Another spelling of the same folder is the same data.
    asked["data"] = options
        .data
        .as_ref()
        .map(|data| data.canonicalize().unwrap_or_else(|_| data.clone()).display().to_string())
        .into();
    asked
}

/// The result of a run that is finished, if it is the one that was asked for.
fn again(record: &Record, asked: &Value, folder: &Folder, options: &Options) -> Result<Exit, Failure> {
    let shown = folder.path().display();
    if let Some(difference) = record.first_difference(asked) {
        return Err(Failure::bad_input(format!(
            "the run in {shown} is finished and was another one ({difference}); --fresh begins anew there, --output \
             names another folder"
        )));
    }
    eprintln!("the run in {shown} is finished; --fresh trains it anew. Its result:");
    print(record.result.as_ref().expect("it is finished"), options)
}

fn print(result: &RunResult, options: &Options) -> Result<Exit, Failure> {
    let printed = if options.json { print_line(result.to_json()) } else { print_line(result) };
    printed.map_err(|error| Failure::broken(format!("cannot print the result: {error}")))?;
    Ok(Exit::Done)
}

/// Sessions until one ends otherwise than by a dying server.
async fn sessions(
    posts: &Posts<'_>,
    resuming: bool,
    progress: &mut Progress,
    interrupts: &mut Interrupts,
) -> (End, Option<RunStatus>) {
    let mut losses = 0;
    loop {
        progress.begin(resuming || losses > 0);
        match session(posts, progress, interrupts).await {
            (End::ServerLost(text), _) if losses < SERVER_LOSSES => {
                losses += 1;
                progress.warn(&format!("{text}\nall are started again, from the newest snapshot"));
            }
            ended => return ended,
        }
    }
}

/// Draws whatever the metrics hold; a run is not lost for want of a picture.
fn draw(folder: &Folder, title: &str, progress: &Progress) -> Metrics {
    let metrics = Metrics::read(&folder.metrics()).unwrap_or_else(|error| {
        progress.warn(&format!("cannot read {}: {error}", folder.metrics().display()));
        Metrics::default()
    });
    if metrics != Metrics::default()
        && let Err(text) = curve::draw(&metrics, title, &folder.curve())
    {
        progress.warn(&text);
    }
    metrics
}

fn finish(
    metrics: &Metrics,
    skipped: u64,
    record: &mut Record,
    asked: Value,
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
    let result = RunResult::new(last, skipped, record.seconds, folder);
    record.asked = asked;
    record.result = Some(result.clone());
    Ok(result)
}

fn stopped(status: Option<&RunStatus>, cut_short: bool, folder: &Folder) -> String {
    let so_far = match status {
        Some(status) if status.total_samples > 0 => {
            format!("at {} of {} samples", status.samples, status.total_samples)
        }
        _ => "before the first sample".to_string(),
    };
    let from = if cut_short { "from its newest snapshot" } else { "from there" };
    format!("stopped {so_far}; the same command goes on {from} (output in {})", folder.path().display())
}
