//! The command `downpour simulate`: simulates a run of many workers in virtual time.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Args;
use network::{Architecture, GoogLeNet};
use parameter_server::{WarmStart, update_rule};
use process::{Exit, FlagError, RunFlags, print_line};
use setup::{ComputeFlags, Data, rules};
use simulation::plan::MEGABIT;
use simulation::scope::check_simulated;
use simulation::{Cluster, Link, Machine, Method, Report, Run, simulate};
use worker::link::{Formats, Rates};

use super::numbers::within;
use crate::curve;

/// Largest value of any time in the description of a cluster, in the unit of its flag.
const LONGEST: f64 = 1e6;
/// Speed of the fastest link, in Mbit/s.
const FASTEST: f64 = 1e6;

/// Flags of `downpour simulate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Parameters, gradients, samples and updates are the real ones, computed one after the other by this process; only the time
between them is made up. A run takes as long as on one worker, however many are simulated. What is not simulated is refused:
bf16, leases, patience, and scores of the last iterate.

Examples:
  downpour simulate --workers 8
  downpour simulate --workers 16 --step 0.25 --link 100 --round-trip 20 --server-link 1000
  downpour simulate --link 100 --uplink 20 --set run.gradient_wire=4bit
  downpour simulate --workers 4 --set optimisation.momentum_at=shard --until 0.95 --json"
)]
#[command(mut_arg("precision", |flag| flag.hide(true)), mut_arg("patience_epochs", |flag| flag.hide(true)))]
pub struct Flags {
    /// Folder of images as for `train` [default: the synthetic set]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Workers, one a machine
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: u16,
    /// Flags that choose the configuration of the simulated run.
    #[command(flatten, next_help_heading = "The run")]
    pub run: RunFlags,
    /// Average the gradients of all workers into one update, for which all wait
    #[arg(long, help_heading = "The run")]
    pub synchronous: bool,
    /// End once the average has this top-1 in two evaluations in a row
    #[arg(long, value_name = "SHARE", help_heading = "The run", value_parser = share)]
    pub until: Option<f64>,
    /// Images between two evaluations [default: as the run's configuration says]
    #[arg(long, value_name = "N", help_heading = "The run", value_parser = clap::value_parser!(u64).range(1..))]
    pub evaluate_images: Option<u64>,
    /// Seconds of a step on a usual machine
    #[arg(long, value_name = "S", help_heading = "The machines", default_value_t = 1.0, value_parser = time)]
    pub step: f64,
    /// Every N-th machine takes twice as long; 0: none does
    #[arg(long, value_name = "N", help_heading = "The machines", default_value_t = 8)]
    pub slow: usize,
    /// Largest deviation of a step's time, as a share of it
    #[arg(long, value_name = "SHARE", help_heading = "The machines", default_value_t = 0.1, value_parser = share)]
    pub jitter: f64,
    /// Mbit/s of each worker's link, either way [default: no limit]
    #[arg(long, value_name = "MBIT", help_heading = "The machines", value_parser = megabits)]
    pub link: Option<f64>,
    /// Mbit/s of each worker's link towards the server [default: that of --link]
    #[arg(long, value_name = "MBIT", help_heading = "The machines", value_parser = megabits)]
    pub uplink: Option<f64>,
    /// Mbit/s of the server's link, either way [default: no limit]
    #[arg(long, value_name = "MBIT", help_heading = "The machines", value_parser = megabits)]
    pub server_link: Option<f64>,
    /// Milliseconds from a worker to the server and back
    #[arg(long, value_name = "MS", help_heading = "The machines", default_value_t = 0.0, value_parser = time)]
    pub round_trip: f64,
    /// Mean seconds between two losses of a worker [default: none is lost]
    #[arg(long, value_name = "S", help_heading = "The machines", value_parser = time)]
    pub between_losses: Option<f64>,
    /// Seconds until a lost worker is back
    #[arg(long, value_name = "S", help_heading = "The machines", default_value_t = 10.0, value_parser = time)]
    pub away: f64,
    /// Flags that choose the CPU instruction set and the compute threads.
    #[command(flatten)]
    pub compute: ComputeFlags,
    /// Print one JSON object: cluster, evaluations, images, seconds, staleness, bytes, how busy workers and
    /// links were
    #[arg(long)]
    pub json: bool,
    /// Draw top-1 over virtual time into this SVG file
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1.0, "")
}

fn time(text: &str) -> Result<f64, String> {
    within(text, 0.0, LONGEST, "")
}

fn megabits(text: &str) -> Result<f64, String> {
    within(text, 0.0, FASTEST, " Mbit/s").and_then(|rate| {
        if rate > 0.0 {
            Ok(rate * MEGABIT)
        } else {
            Err(format!("expected over 0, at most {FASTEST} Mbit/s"))
        }
    })
}

impl Flags {
    /// Rates of a worker's link, of which that of the server is shared by all.
    fn rates(&self) -> Rates {
        let shared = self.server_link.map_or(f64::INFINITY, |rate| rate / f64::from(self.workers));
        let rate = |link: Option<f64>| link.unwrap_or(f64::INFINITY).min(shared);
        Rates { up: rate(self.uplink.or(self.link)), down: rate(self.link) }
    }

    fn cluster(&self, formats: Formats) -> Cluster {
        let slow = |worker: usize| self.slow > 0 && worker % self.slow == self.slow - 1;
        let machine = |worker| Machine {
            link: Link { up: self.uplink.or(self.link), down: self.link },
            round_trip: self.round_trip / 1000.0,
            formats,
            between_losses: self.between_losses,
            away: self.away,
            ..Machine::of(if slow(worker) { 2.0 * self.step } else { self.step })
        };
        Cluster {
            machines: (0..self.workers.into()).map(machine).collect(),
            server: Link { up: self.server_link, down: self.server_link },
            jitter: self.jitter,
        }
    }
}

/// Runs `downpour simulate`: trains with many workers in simulated time and prints each evaluation when it is
/// done, or one JSON object at the end.
///
/// # Errors
/// If the configuration, the data or the instruction set cannot be used, or if the plot cannot be written.
pub fn run(flags: &Flags) -> anyhow::Result<Exit> {
    let recipe = if flags.data.is_some() { "paper" } else { "quick" };
    let mut configuration = flags.run.resolve(recipe)?;
    check_simulated(&configuration)?;
    let warm_start = WarmStart::named_by(&mut configuration)?;
    let data = flags.data.clone().map_or(Data::synthetic(), Data::Folder);
    let dataset = Arc::new(data.open(configuration.network.input_size, rules(&configuration)?)?);
    let found = dataset.classes().len();
    let classes = configuration.network.classes.unwrap_or(found);
    if classes < found {
        return Err(FlagError(format!("--classes {classes}: the data has {found} classes")).into());
    }
    let mut network = GoogLeNet::new(&Architecture::of(&configuration.network, classes))?;
    let multipliers = &configuration.optimisation.rate_multipliers;
    network.scale_rates(multipliers.iter().map(|(pattern, &factor)| (pattern.as_str(), factor)))?;
    let images = dataset.len(dataset::Split::Train) as u64;
    let every = configuration.evaluate_every(images);
    let values = network.layout().len();
    let formats = Formats::fitting(&configuration.run, values, flags.step, flags.rates());
    let run = Run {
        cluster: flags.cluster(formats),
        method: if flags.synchronous { Method::Synchronous } else { Method::Asynchronous },
        network: Arc::new(network),
        dropout: configuration.network.dropout.then(|| configuration.run.sample_seed()),
        dataset,
        sampling: configuration.sampling.clone(),
        seed: configuration.run.sample_seed(),
        warm_start,
        rule: update_rule::of(&configuration, images),
        optimisation: configuration.optimisation.clone(),
        batch: configuration.run.batch,
        evaluate_every: flags.evaluate_images.unwrap_or(every).max(1),
        until: flags.until,
        isa: setup::isa(flags.compute.isa().as_deref())?,
        pool: flags.compute.threads().pool()?,
    };
    if !flags.json {
        print_line(format!(
            "{:>10} {:>12} {:>7} {:>8} {:>14} {:>9} {:>11}",
            "images", "seconds", "top-1", "loss", "training loss", "staleness", "noise scale"
        ))?;
    }
    let report = simulate(&run, |point| {
        if !flags.json {
            // A reader that has gone ends the program at the last line.
            let _ = print_line(format!(
                "{:>10} {:>12.1} {:>6.1}% {:>8.3} {:>14.3} {:>9.1} {:>11}",
                point.images,
                point.seconds,
                100.0 * point.top1,
                point.loss,
                point.training_loss,
                point.staleness,
                point.noise_scale.map_or(String::new(), |scale| format!("{scale:.0}"))
            ));
        }
    })?;
    if let Some(path) = &flags.picture {
        let points: Vec<_> = report.evaluations.iter().map(|point| (point.seconds, point.top1)).collect();
        let title = format!("{} workers in virtual time", flags.workers);
        curve::draw_accuracy(&points, &title, path).map_err(|error| anyhow!(error))?;
    }
    match flags.json {
        true => print_line(serde_json::to_string(&report).context("write the report")?)?,
        false => print_line(summary(&report, flags.until))?,
    }
    Ok(Exit::Done)
}

/// Returns a summary of the run in sentences.
fn summary(report: &Report, until: Option<f64>) -> String {
    let mut text = format!(
        "{} images in {:.1} virtual seconds, {:.1} images/s; workers computed {:.0} % of the time; the server's link \
         received {:.0} % of it and sent {:.0} %; largest staleness {}",
        report.images,
        report.seconds,
        report.images as f64 / report.seconds.max(f64::MIN_POSITIVE),
        100.0 * report.computing,
        100.0 * report.receiving,
        100.0 * report.sending,
        report.staleness_max
    );
    if report.repeated > 0 {
        text += &format!("; {} images were lost with their workers and computed again", report.repeated);
    }
    if report.refused > 0 {
        text += &format!("; {} blocks of gradients were refused", report.refused);
    }
    if let Some(top1) = until {
        text += &match report.first_at(top1) {
            Some(point) => format!(
                "\n{:.1} % reached after {} images, {:.1} seconds",
                100.0 * top1,
                point.images,
                point.seconds
            ),
            None => format!("\n{:.1} % was not reached", 100.0 * top1),
        };
    }
    text
}
