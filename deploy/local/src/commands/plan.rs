//! The command `downpour plan`: says what a run would make of a fleet, by formula.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use models::bench::{self, BenchOptions};
use network::{Architecture, GoogLeNet};
use process::{Exit, FlagError, RunFlags, help, print_line, read_toml, recipe_help};
use serde::Serialize;
use settings::RunConfiguration;
use setup::{ComputeFlags, Data, Threads};
use simulation::fleet::{Fleet, Group};
use simulation::plan::{Plan, PlannedRun};
use simulation::scope::check_planned;

use super::numbers::{seconds, within};
use crate::plan_text;

/// Name of the recipe of a plan for which none is named.
const RECIPE: &str = "paper";
/// Help text of the flag `--classes`, but for its range.
const CLASSES: &str = "Classes [default: ILSVRC-2012's 1000; 10 for the recipe quick]";
/// Number of training images and of classes of ILSVRC-2012.
const ILSVRC: (u64, usize) = (1_281_167, 1000);
/// Number of classes of the synthetic set.
const SYNTHETIC_CLASSES: usize = 10;
/// Gradient noise scale of the synthetic set in images, by the speed-ups that the guide has.
const SYNTHETIC_NOISE: f64 = 150.0;

/// Flags of `downpour plan`.
#[derive(Debug, Args)]
#[command(
    after_help = "The fleet is a TOML file of one table [server] and a table [[machines]] for each group of machines that are alike.
  [server]    link_mbit        of each server process, either way [default: no limit]
              uplink_mbit      towards the workers [default: link_mbit]
              processes        each on a machine of its own [default: 1]
              price_per_hour   of each process's machine [default: 0]
  [[machines]] name            of the group
              count            [default: 1]
              images_per_second  of one, as downpour bench measures it [default: this machine's, by the cores]
              cores            of one [default: this machine's]
              link_mbit, uplink_mbit  of each: either way, and towards the server [default: no limit]
              round_trip_ms    to the server and back [default: 0]
              at_server        true: each has a server process too, and the link of [server] [default: false]
              price_per_hour   while it is there [default: 0]
              preemptions_per_hour  of each [default: 0]
              minutes_away     until it, or another in its place, is back [default: 5]
Without a file it is this machine alone. What a machine makes is measured here where the file has no
images_per_second: with one thread and with all, and more cores are taken to gain as those did.

Examples:
  downpour plan
  downpour plan fleet.toml --epochs 60
  downpour plan fleet.toml --training-images 50000 --classes 100 --input-size 128 --noise-scale 500 --json"
)]
#[command(mut_arg("recipe", |flag| flag.help(recipe_help(RECIPE))))]
#[command(mut_arg("classes", |flag| flag.help(help(CLASSES, "network.classes"))))]
#[command(mut_arg("patience_epochs", |flag| flag.hide(true)))]
pub struct Flags {
    /// TOML file that describes the fleet [default: this machine]
    pub fleet: Option<PathBuf>,
    /// Flags that choose the configuration of the run.
    #[command(flatten, next_help_heading = "The run")]
    pub run: RunFlags,
    /// Training images of the data set [default: ILSVRC-2012's 1281167; 20000 for the recipe quick]
    #[arg(long, value_name = "N", help_heading = "The run", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub training_images: Option<u64>,
    /// Gradient noise scale of the images, as a run's metrics have it [default: 150 for the recipe quick, measured
    /// on the synthetic set; otherwise not known]
    #[arg(long, value_name = "IMAGES", help_heading = "The run", value_parser = noise_scale)]
    pub noise_scale: Option<f64>,
    /// Flags that choose the CPU instruction set and the compute threads of the measurement.
    #[command(flatten)]
    pub compute: ComputeFlags,
    /// Seconds of each measurement of this machine
    #[arg(long, value_name = "S", default_value_t = 4.0, value_parser = seconds)]
    pub seconds: f64,
    /// Print one JSON object: images_per_second, seconds, groups, bytes, staleness, useful_workers, cost, advice
    #[arg(long)]
    pub json: bool,
}

fn noise_scale(text: &str) -> Result<f64, String> {
    within(text, 1.0, 1e9, " images")
}

/// The speed of this machine in images a second, as it was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Calibration {
    /// Number of threads of the second measurement.
    pub threads: usize,
    /// Images a second with one thread.
    pub one: f64,
    /// Images a second with all threads.
    pub all: f64,
}

impl Calibration {
    /// Measures training steps of the network, `batch` images each, with one thread and with all.
    fn measure(
        flags: &Flags,
        configuration: &RunConfiguration,
        architecture: &Architecture,
    ) -> anyhow::Result<Self> {
        let threads = flags.compute.threads();
        let measured = |threads: Threads| {
            let options = BenchOptions {
                batch: configuration.run.batch,
                threads,
                forward_only: false,
                precision: configuration.run.precision,
                isa: flags.compute.isa(),
                steps: None,
                seconds: flags.seconds,
            };
            let measurement = bench::measure(architecture, &options).context("measure this machine")?;
            anyhow::Ok(measurement.images_per_second)
        };
        let all = measured(threads)?;
        let one = match threads.count() {
            1 => all,
            _ => measured(Threads { count: Some(1), ..threads })?,
        };
        Ok(Calibration { threads: threads.count(), one, all })
    }

    /// Returns the images a second of a machine with so many `cores`; `None` means those of this one. Each
    /// doubling of the cores gains as much as those of this machine did.
    fn of(&self, cores: Option<u32>) -> f64 {
        let cores = cores.map_or(self.threads as f64, f64::from);
        let gain = match self.threads {
            1 => 1.0,
            threads => (self.all / self.one).ln() / (threads as f64).ln(),
        };
        self.one * cores.powf(gain)
    }
}

/// The object that `downpour plan --json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    calibration: Option<Calibration>,
    commands: &'a [plan_text::Command],
}

/// Runs `downpour plan`: reads the fleet, measures this machine where the fleet leaves speeds out, and prints the
/// plan as tables or as one JSON object.
///
/// # Errors
/// If the fleet or the configuration cannot be used, or if this machine cannot be measured.
pub fn run(flags: &Flags) -> anyhow::Result<Exit> {
    let configuration = flags.run.resolve(RECIPE)?;
    check_planned(&configuration)?;
    let fleet = match &flags.fleet {
        None => Fleet::of_this_machine(),
        Some(path) => {
            let fleet: Fleet = read_toml(path)?;
            fleet.check().map_err(|text| FlagError(format!("{}: {text}", path.display())))?;
            fleet
        }
    };
    let synthetic = configuration.recipe == "quick";
    let (images, classes, noise) = match Data::synthetic() {
        Data::Synthetic { images, .. } if synthetic => {
            (images as u64, SYNTHETIC_CLASSES, Some(SYNTHETIC_NOISE))
        }
        _ => (ILSVRC.0, ILSVRC.1, None),
    };
    let classes = configuration.network.classes.unwrap_or(classes);
    let architecture = Architecture::of(&configuration.network, classes);
    let network = GoogLeNet::new(&architecture)?;
    let unknown = |group: &Group| group.images_per_second.is_none();
    let calibration = match fleet.machines.iter().any(unknown) {
        true => Some(Calibration::measure(flags, &configuration, &architecture)?),
        false => None,
    };
    let speed = |group: &Group| {
        group
            .images_per_second
            .or(calibration.map(|found| found.of(group.cores)))
            .expect("measured where it is unknown")
    };
    let speeds: Vec<f64> = fleet.machines.iter().map(speed).collect();
    let plan = PlannedRun {
        fleet: &fleet,
        speeds: &speeds,
        run: &configuration.run,
        layout: network.layout(),
        images: configuration.total_samples(flags.training_images.unwrap_or(images)),
        noise_scale: flags.noise_scale.or(noise),
    }
    .plan();
    // Pictures of the synthetic set every process draws itself.
    let of_photographs = !synthetic || flags.training_images.is_some();
    let commands = plan_text::commands(&fleet, &flags.run, of_photographs)?;
    match flags.json {
        true => {
            let printed = Printed { plan: &plan, calibration, commands: &commands };
            print_line(serde_json::to_string(&printed).context("write the plan")?)?;
        }
        false => print_line(plan_text::text(&plan, calibration.as_ref(), &commands).trim_end())?,
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_cores_gain_as_those_that_were_measured() {
        let measured = Calibration { threads: 4, one: 10.0, all: 36.0 };
        for (cores, expected) in [(Some(1), 10.0), (Some(4), 36.0), (None, 36.0), (Some(16), 129.6)] {
            assert!((measured.of(cores) - expected).abs() < 1e-9, "{cores:?}: {}", measured.of(cores));
        }
        let single = Calibration { threads: 1, one: 10.0, all: 10.0 };
        assert!((single.of(Some(8)) - 80.0).abs() < 1e-9);
    }
}
