//! `worker describe`: what the network is made of and what one image costs.

use clap::Args;

/// The flags that decide a network where no run does.
#[derive(Clone, Debug, Args)]
pub struct NetworkFlags {
    /// Number of classes
    #[arg(long, value_name = "K", default_value_t = 1000)]
    pub classes: usize,
    /// Side of the square input in pixels
    #[arg(long, value_name = "S", default_value_t = 224)]
    pub input_size: usize,
    /// Width multiplier of every layer
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub width: f32,
    /// Leave out the two auxiliary classifiers
    #[arg(long)]
    pub no_aux: bool,
}

/// Prints the network as a table for people, or as one JSON object.
///
/// # Errors
/// Flags that no network can be built from.
pub fn run(flags: &NetworkFlags, json: bool) -> anyhow::Result<()> {
    let _ = (flags, json);
    anyhow::bail!("not written")
}
