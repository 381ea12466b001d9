//! The command `downpour bench`: measures training steps of a network on this machine.

use std::path::PathBuf;

use clap::Args;
use models::bench::{self, BenchOptions, MOST_STEPS};
use models::roofline;
use process::{Exit, print_line};
use settings::Precision;
use setup::ComputeFlags;

use super::network_flags::NetworkFlags;
use super::numbers::seconds;

/// Flags of `downpour bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "A step is forward, loss, backward and the momentum update of every tensor, all in this process.
Images and labels are made up: time does not depend on them.

Examples:
  downpour bench --batch 16 --threads 2 --roofline roofline.svg
  downpour bench --forward-only --no-aux --input-size 224 --json"
)]
pub struct Flags {
    /// Flags that describe the network: its input size, width, classes and variant.
    #[command(flatten)]
    pub network: NetworkFlags,
    /// Images of one step
    #[arg(long, value_name = "B", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: u16,
    /// Flags that choose the CPU instruction set and the compute threads.
    #[command(flatten)]
    pub compute: ComputeFlags,
    /// Measure the forward pass alone, auxiliary heads off
    #[arg(long)]
    pub forward_only: bool,
    /// Number format in which activations are kept and multiplied
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

/// Runs `downpour bench`: measures the speed of a network, prints the result as a table or as one JSON
/// object, and draws the roofline plot if a file is given for it.
///
/// # Errors
/// If no network can be built from the flags, if the machine lacks the instruction set or the memory, or if
/// the plot cannot be written.
pub fn run(flags: &Flags) -> anyhow::Result<Exit> {
    let options = BenchOptions {
        batch: flags.batch.into(),
        threads: flags.compute.threads(),
        forward_only: flags.forward_only,
        precision: flags.precision,
        isa: flags.compute.isa(),
        steps: flags.steps,
        seconds: flags.seconds,
    };
    let measurement = bench::measure(&flags.network.architecture(), &options)?;
    if let Some(path) = &flags.roofline {
        roofline::write(&measurement, path)?;
    }
    match flags.json {
        true => print_line(serde_json::to_string(&measurement)?)?,
        false => print_line(measurement.table().trim_end())?,
    }
    Ok(Exit::Done)
}
