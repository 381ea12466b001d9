//! The command line: flags to options, signals to a shutdown, results to exit codes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use dataset::{Crops, Dataset};
use process::logs::LogFlags;
use process::{Exit, RunFlags, isa_name, print_line};
use protocol::Patience;
use settings::Precision;

use crate::bench::{BenchOptions, MOST_STEPS};
use crate::describe::NetworkFlags;
use crate::model_file::MODEL_FILE;
use crate::{
    ClassifyOptions, Combine, Data, ExportOptions, FetchOptions, Format, JudgeOptions, Part, SamplesOptions,
    Threads, TrainOptions, bench, classify, describe, exit_of, export, fetch, judge, samples, train,
};

/// Most pictures of a drawn set that is written: each is a file.
const MOST_DRAWN: i64 = 10_000_000;
/// Longest time that is measured for.
const MOST_SECONDS: f64 = 3600.0;

/// Threads of the runtime: they only move blocks; computing has its own.
const NETWORK_THREADS: usize = 2;

/// One replica of a GoogLeNet that many train together.
#[derive(Debug, Parser)]
#[command(name = "worker", version, arg_required_else_help = true)]
#[command(after_help = "Examples:
  worker train --coordinator 10.0.0.1:7070 --data flower_photos
  worker describe --classes 10 --input-size 64 --width 0.25
  worker bench --batch 16 --threads 2
  worker fetch --coordinator 10.0.0.1:7070 --output model.safetensors
  worker evaluate --model model.safetensors --data flower_photos
  worker classify --model model.safetensors rose.jpg
  worker export --format onnx --output model.onnx
  worker samples --data flower_photos --output sheet.png
  worker draw --output shapes

Exit codes: 0 done, 2 wrong flag, 3 bad input, 4 diverged, 70 a bug of this program, 130 the run was
interrupted.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take part in a run: lease samples, push gradients, until the run ends
    Train(TrainFlags),
    /// Print the network's layers, parameters and multiply-adds
    Describe(DescribeFlags),
    /// Measure training steps (or the forward pass) on this machine, without a server
    Bench(BenchFlags),
    /// Get the averaged parameters of a run and write them as a model file
    Fetch(FetchFlags),
    /// Score model files on images, by one crop or many, alone and together, without a server
    Evaluate(EvaluateFlags),
    /// Print the five most probable labels of image files
    Classify(ClassifyFlags),
    /// Write a model in a form that other programs read
    Export(ExportFlags),
    /// Write a contact sheet of the training samples that a configuration makes
    Samples(SamplesFlags),
    /// Write pictures of the drawn set as image files, to look at or to train on
    Draw(DrawFlags),
}

/// Flags of `worker train`.
#[derive(Debug, Args)]
#[command(
    after_help = "Any number of workers may join, in any order, before or after the server, and leave at any time.
A worker takes the network and the recipe from the run; flags given here must agree with it.
Without --data the embedded drawn set is used: the server and every worker then need no files.

Examples:
  worker train                                        a server on this machine, the drawn set
  worker train --coordinator 10.0.0.1:7070 --data photos --threads 8 --loader-threads 2
  DOWNPOUR_ISA=avx2 worker train                      use no wider instructions than AVX2"
)]
pub struct TrainFlags {
    /// Address of the run's coordinator
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    pub coordinator: String,
    /// Folder with train/ and val/ class folders, with plain class folders, or with tar shards in their place [default: the
    /// drawn set]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// What the run is expected to be.
    #[command(flatten)]
    pub run: RunFlags,
    /// What computes.
    #[command(flatten)]
    pub compute: ComputeFlags,
    /// Threads that decode images
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub loader_threads: u16,
    /// Folder for model.safetensors, should this worker do the last evaluation [default: none is written]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// How to log.
    #[command(flatten)]
    pub log: LogFlags,
    /// Seconds to wait for a data folder that is away, as a network disk can be; then the worker leaves
    #[arg(long, value_name = "S", default_value_t = dataset::PATIENCE.as_secs())]
    pub data_patience: u64,
    /// The pictures were looked at already: set by a parent process, so that one look is enough
    #[arg(long, hide = true)]
    pub looked_at: bool,
    /// Leave when standard input ends: set by a parent process, so that no child outlives it
    #[arg(long, hide = true)]
    pub end_with_stdin: bool,
}

/// What a command computes with.
#[derive(Debug, Args)]
pub struct ComputeFlags {
    /// Threads that compute [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Keep each of these threads on a CPU of its own, from this one on (Linux) [default: the system places them]
    #[arg(long, value_name = "CPU")]
    pub pin: Option<u16>,
    /// Instruction set: scalar, avx2, avx512 or neon [default: DOWNPOUR_ISA, else the machine's best]
    #[arg(long, value_name = "I")]
    pub isa: Option<String>,
}

impl ComputeFlags {
    fn threads(&self) -> Threads {
        Threads { count: self.threads.map(usize::from), pin: self.pin.map(usize::from) }
    }
}

/// Flags of `worker describe`.
#[derive(Debug, Args)]
pub struct DescribeFlags {
    /// Which network.
    #[command(flatten)]
    pub network: NetworkFlags,
    /// Print one JSON object: parameters, multiply_adds, layers
    #[arg(long)]
    pub json: bool,
    /// Print the modules with dimension reduction beside those without (paper, Figure 2)
    #[arg(long, conflicts_with = "json")]
    pub modules: bool,
}

/// Flags of `worker bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "A step is forward, loss, backward and the momentum update of every tensor, all in this process.
Images and labels are made up: time does not depend on them.

Examples:
  worker bench --batch 16 --threads 2 --roofline roofline.svg
  worker bench --forward-only --no-aux --input-size 224 --json"
)]
pub struct BenchFlags {
    /// Which network.
    #[command(flatten)]
    pub network: NetworkFlags,
    /// Images of one step
    #[arg(long, value_name = "B", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: u16,
    /// What computes.
    #[command(flatten)]
    pub compute: ComputeFlags,
    /// Measure the forward pass alone, auxiliary heads off
    #[arg(long)]
    pub forward_only: bool,
    /// What activations are kept in, and multiplied
    #[arg(long, value_name = "P", default_value = "f32")]
    pub precision: Precision,
    /// Steps to measure [default: as many as fit into --seconds, at least 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_STEPS)))]
    pub steps: Option<u32>,
    /// Seconds to measure for
    #[arg(long, value_name = "S", default_value_t = 5.0, conflicts_with = "steps", value_parser = seconds)]
    pub seconds: f64,
    /// Print one JSON object: images_per_second, gflops, peak_rss_bytes, layers
    #[arg(long)]
    pub json: bool,
    /// Draw the layers under the machine's roofline into this SVG file
    #[arg(long, value_name = "FILE")]
    pub roofline: Option<PathBuf>,
}

/// Flags of `worker fetch`.
#[derive(Debug, Args)]
pub struct FetchFlags {
    /// Address of the run's coordinator
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    pub coordinator: String,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "model.safetensors")]
    pub output: PathBuf,
    /// The parameters as the newest updates left them, not their average
    #[arg(long)]
    pub last_iterate: bool,
}

/// Flags of `worker evaluate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Data: a folder with val/ and class folders in it, or the class folders themselves. Of the folder that a model was trained
on, only the fifth is scored that training put aside; of another one, every image. A class folder is a label by the label's WNID or one of its words; other folders are predicted, not scored. Tar shards
may take the place of class folders; the names of their classes stand in classes.txt beside val/.

The output folder gets predictions.tsv (the five most probable labels of each image), errors.svg, confusion.svg (up to
40 classes), evaluation.json, and predictions/, from which the same command goes on after an interruption.

Examples:
  worker evaluate --model model.safetensors --data flower_photos
  worker evaluate --model a.safetensors --model b.safetensors --data photos --crops 1,10,144"
)]
pub struct EvaluateFlags {
    /// A model file; given several times, the models are scored together as well [default: model.safetensors]
    #[arg(long = "model", value_name = "FILE")]
    pub models: Vec<PathBuf>,
    /// Labels, one a line in the order of the classes [default: those of the model]
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// The images [default: the drawn set]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Of class folders or shards without train/ and val/, only the fifth of the images that training puts aside [default:
    /// so where the model was trained on this folder]
    #[arg(long, requires = "data", conflicts_with = "all")]
    pub held_out: bool,
    /// All images of class folders or shards without train/ and val/, also those that the model was trained on
    #[arg(long, requires = "data")]
    pub all: bool,
    /// Crops of each image, 1, 10 or 144; several, with commas, make a table
    #[arg(long, value_name = "N", default_value = "1", value_delimiter = ',')]
    pub crops: Vec<Crops>,
    /// How the probabilities of an image's crops become one; models are averaged
    #[arg(long, value_name = "HOW", value_enum, default_value = "mean")]
    pub combine: Combine,
    /// Folder for predictions and pictures
    #[arg(long, value_name = "DIR", default_value = "evaluation")]
    pub output: PathBuf,
    /// What computes.
    #[command(flatten)]
    pub compute: ComputeFlags,
    /// Threads that decode images
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub loader_threads: u16,
    /// Print one JSON object: images, top1, top5, loss, rows, members, unscored
    #[arg(long)]
    pub json: bool,
}

/// Flags of `worker classify`.
#[derive(Debug, Args)]
#[command(
    after_help = "The model is the model file of a run, or a caffe model of GoogLeNet such as the public one.

Examples:
  worker classify --model model.safetensors rose.jpg tulip.png
  worker classify --model bvlc_googlenet.caffemodel --labels synset_words.txt --json photos/*.jpg"
)]
pub struct ClassifyFlags {
    /// The model file
    #[arg(long, value_name = "FILE", default_value = MODEL_FILE)]
    pub model: PathBuf,
    /// Labels, one a line in the order of the classes [default: those of the model]
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// JPEG or PNG files
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<PathBuf>,
    /// What computes.
    #[command(flatten)]
    pub compute: ComputeFlags,
    /// Print one JSON object for each image: image, top (each with class, label and probability)
    #[arg(long)]
    pub json: bool,
}

/// Flags of `worker export`.
#[derive(Debug, Args)]
#[command(
    after_help = "The model is the model file of a run, or a caffe model of GoogLeNet such as the public one.

Examples:
  worker export --format onnx --output model.onnx
  worker export --format safetensors --model bvlc_googlenet.caffemodel --labels synset_words.txt --output bvlc.safetensors"
)]
pub struct ExportFlags {
    /// In which form
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Format,
    /// The model file
    #[arg(long, value_name = "FILE", default_value = MODEL_FILE)]
    pub model: PathBuf,
    /// Labels, one a line in the order of the classes [default: those of the model]
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Flags of `worker samples`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  worker samples --data photos
  worker samples --data photos --config mine.toml --sample-seed 2 --output sheet.png")]
pub struct SamplesFlags {
    /// Folder of images as for `train` [default: the drawn set]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The configuration.
    #[command(flatten)]
    pub run: RunFlags,
    /// Images, a row each
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub rows: u16,
    /// Epochs, a column each
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub columns: u16,
    /// The PNG file to write
    #[arg(long, value_name = "FILE", default_value = "samples.png")]
    pub output: PathBuf,
}

/// Flags of `worker draw`.
#[derive(Debug, Args)]
pub struct DrawFlags {
    /// Folder for train/ and val/ with a folder for each of the ten classes; must not be there yet
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Training pictures
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(10..=MOST_DRAWN))]
    pub images: u32,
    /// Validation pictures
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=MOST_DRAWN))]
    pub validation: u32,
    /// Side of the network's input that they are drawn for, in pixels
    #[arg(long, value_name = "S", default_value_t = 64, value_parser = clap::value_parser!(u16).range(32..=2048))]
    pub input_size: u16,
}

/// A time that can be measured for.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=MOST_SECONDS).contains(seconds));
    seconds.ok_or_else(|| format!("expected 0 to {MOST_SECONDS} seconds"))
}

/// Carries a command out; the error, if any, is one line on standard error.
pub fn run(command: Command) -> ExitCode {
    process::end_on_panic(dataset::is_decoding);
    let (what, result) = match command {
        Command::Train(flags) => ("train", run_train(flags)),
        Command::Describe(flags) => {
            let done = if flags.modules {
                describe::modules(&flags.network)
            } else {
                describe::run(&flags.network, flags.json)
            };
            ("describe the network", done.map(|()| Exit::Done))
        }
        Command::Bench(flags) => ("bench", run_bench(flags)),
        Command::Fetch(flags) => ("fetch the model", run_fetch(flags)),
        Command::Evaluate(flags) => ("evaluate the model", run_evaluate(flags)),
        Command::Classify(flags) => ("classify", run_classify(flags)),
        Command::Export(flags) => ("export the model", run_export(flags)),
        Command::Samples(flags) => ("draw samples", run_samples(flags)),
        Command::Draw(flags) => ("draw", run_draw(&flags)),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("failed to {what}: {error:#}");
            exit_of(&error).into()
        }
    }
}

fn run_train(flags: TrainFlags) -> anyhow::Result<Exit> {
    process::logs::start(&flags.log);
    kernels::memory::retain_freed_memory();
    let options = TrainOptions {
        coordinator: flags.coordinator,
        data: flags.data.map_or(Data::embedded(), Data::Folder),
        flags: flags.run,
        threads: flags.compute.threads(),
        loader_threads: flags.loader_threads.into(),
        isa: isa_name(flags.compute.isa),
        output: flags.output,
        data_patience: Duration::from_secs(flags.data_patience),
        looked_at: flags.looked_at,
        patience: Patience::default(),
    };
    let end_with_stdin = flags.end_with_stdin;
    in_runtime(async move { train(options, stop_signal(end_with_stdin)).await })
}

fn run_bench(flags: BenchFlags) -> anyhow::Result<Exit> {
    let options = BenchOptions {
        batch: flags.batch.into(),
        threads: flags.compute.threads(),
        forward_only: flags.forward_only,
        precision: flags.precision,
        isa: isa_name(flags.compute.isa),
        steps: flags.steps,
        seconds: flags.seconds,
    };
    bench::run(&flags.network, &options, flags.json, flags.roofline.as_deref())?;
    Ok(Exit::Done)
}

fn run_fetch(flags: FetchFlags) -> anyhow::Result<Exit> {
    process::logs::start(&LogFlags::default());
    let options = FetchOptions {
        coordinator: flags.coordinator,
        output: flags.output,
        last_iterate: flags.last_iterate,
        patience: Patience::default(),
    };
    in_runtime(fetch(options))?;
    Ok(Exit::Done)
}

fn run_evaluate(flags: EvaluateFlags) -> anyhow::Result<Exit> {
    process::logs::start(&LogFlags::default());
    let models = if flags.models.is_empty() { vec![MODEL_FILE.into()] } else { flags.models };
    let options = JudgeOptions {
        models,
        labels: flags.labels,
        data: flags.data.map_or(Data::embedded(), Data::Folder),
        part: match (flags.held_out, flags.all) {
            (true, _) => Part::HeldOut,
            (_, true) => Part::All,
            _ => Part::Unseen,
        },
        crops: flags.crops,
        combine: flags.combine,
        output: flags.output,
        threads: flags.compute.threads(),
        loader_threads: flags.loader_threads.into(),
        isa: isa_name(flags.compute.isa),
    };
    let verdict = judge(&options)?;
    match flags.json {
        true => print_line(serde_json::to_string(&verdict)?)?,
        false => print_line(verdict.text())?,
    }
    Ok(Exit::Done)
}

fn run_classify(flags: ClassifyFlags) -> anyhow::Result<Exit> {
    let options = ClassifyOptions {
        model: flags.model,
        labels: flags.labels,
        images: flags.images,
        json: flags.json,
        threads: flags.compute.threads(),
        isa: isa_name(flags.compute.isa),
    };
    classify(&options)?;
    Ok(Exit::Done)
}

fn run_export(flags: ExportFlags) -> anyhow::Result<Exit> {
    let ExportFlags { format, model, labels, output } = flags;
    export(&ExportOptions { model, labels, format, output: output.clone() })?;
    print_line(format_args!("wrote {}", output.display()))?;
    Ok(Exit::Done)
}

fn run_samples(flags: SamplesFlags) -> anyhow::Result<Exit> {
    let options = SamplesOptions {
        data: flags.data.map_or(Data::embedded(), Data::Folder),
        flags: flags.run,
        images: flags.rows.into(),
        epochs: flags.columns.into(),
        output: flags.output,
    };
    print_line(samples(&options)?)?;
    Ok(Exit::Done)
}

fn run_draw(flags: &DrawFlags) -> anyhow::Result<Exit> {
    let (images, validation) = (flags.images as usize, flags.validation as usize);
    Dataset::write_drawn(images, validation, flags.input_size.into(), &flags.output)?;
    let folder = flags.output.display();
    print_line(format_args!("{images} training and {validation} validation pictures in {folder}"))?;
    Ok(Exit::Done)
}

/// Runs `work` on a runtime of its own, which does not wait for threads that still compute.
fn in_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NETWORK_THREADS)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// Resolves on SIGTERM, SIGINT or, if so asked, at the end of standard input.
async fn stop_signal(end_with_stdin: bool) {
    let stdin = stdin_end(end_with_stdin);
    let reason = tokio::select! {
        reason = signals() => reason,
        () = stdin => "the parent process is gone",
    };
    tracing::info!("{reason}: leaving after the minibatch in hand");
}

#[cfg(unix)]
async fn signals() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("a signal handler can be installed");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a signal handler can be installed");
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(not(unix))]
async fn signals() -> &'static str {
    let _ = tokio::signal::ctrl_c().await;
    "Ctrl-C"
}

/// Resolves when standard input ends; never, if that is not asked for. A plain thread reads it, since nothing could
/// cancel a read by the runtime.
async fn stdin_end(asked: bool) {
    if !asked {
        return std::future::pending().await;
    }
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn train_takes_the_run_flags_and_its_own() {
        let words = "worker train --coordinator h:1 --no-aux --batch 8 --threads 2 --loader-threads 3";
        let Command::Train(flags) = Cli::parse_from(words.split(' ')).command else { panic!("not train") };
        assert_eq!(
            (flags.coordinator.as_str(), flags.compute.threads, flags.loader_threads),
            ("h:1", Some(2), 3)
        );
        assert!(flags.run.no_aux && flags.run.batch == Some(8));
    }

    #[test]
    fn every_number_of_a_command_has_a_range() {
        let parses = |words: &str| Cli::try_parse_from(words.split(' ')).is_ok();
        for (words, most) in [
            ("worker train --threads", 1024),
            ("worker train --loader-threads", 1024),
            ("worker evaluate --loader-threads", 1024),
            ("worker bench --batch", 4096),
            ("worker bench --steps", 100_000),
            ("worker bench --seconds", 3600),
            ("worker samples --rows", 100),
            ("worker samples --columns", 100),
            ("worker draw --output x --images", 10_000_000),
            ("worker draw --output x --validation", 10_000_000),
            ("worker draw --output x --input-size", 2048),
        ] {
            assert!(parses(&format!("{words} {most}")), "{words} {most}");
            for wrong in [(most + 1).to_string(), "-1".into(), "1e300".into(), "NaN".into(), "inf".into()] {
                assert!(!parses(&format!("{words}={wrong}")), "{words}={wrong}");
            }
        }
    }
}
