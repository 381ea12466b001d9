//! The command `downpour describe`: prints the layers of a network and their cost.

use clap::Args;
use models::describe;
use network::GoogLeNet;
use process::{Exit, print_line};

use super::network_flags::NetworkFlags;

/// Flags of `downpour describe`.
#[derive(Debug, Args)]
pub struct Flags {
    /// Flags that describe the network: its input size, width, classes and variant.
    #[command(flatten)]
    pub network: NetworkFlags,
    /// Print one JSON object: parameters, multiply_adds, layers
    #[arg(long)]
    pub json: bool,
    /// Print the modules with dimension reduction beside those without (paper, Figure 2)
    #[arg(long, conflicts_with = "json")]
    pub modules: bool,
}

/// Runs `downpour describe`: prints the network's layers as a table or as one JSON object, or a table that
/// compares its inception modules with those without dimension reduction.
///
/// # Errors
/// If no network can be built from the flags.
pub fn run(flags: &Flags) -> anyhow::Result<Exit> {
    let architecture = flags.network.architecture();
    let text = if flags.modules {
        describe::modules(&architecture)?
    } else {
        let description = GoogLeNet::new(&architecture)?.describe();
        if flags.json { serde_json::to_string(&description)? } else { describe::table(&description) }
    };
    print_line(text.trim_end())?;
    Ok(Exit::Done)
}
