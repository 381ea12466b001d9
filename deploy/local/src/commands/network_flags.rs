//! The flags of a network, for commands without a run.

use clap::Args;
use network::{Architecture, Variant};
use process::help;

/// Flags of commands that need a network but no run.
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
    /// Variant of the paper's network: Table 1, that of its printed operations, or modules without dimension
    /// reduction
    #[arg(long, value_name = "V", default_value_t, help = help("Which of the paper's networks", "network.variant"))]
    pub variant: Variant,
}

impl NetworkFlags {
    /// Returns the architecture that these flags describe.
    pub fn architecture(&self) -> Architecture {
        Architecture {
            classes: self.classes,
            input_size: self.input_size,
            width: self.width,
            auxiliary_heads: !self.no_aux,
            variant: self.variant,
            ..Architecture::paper()
        }
    }
}
