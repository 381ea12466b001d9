//! Flags that decide a network where no run does.

use clap::Args;
use network::{Architecture, Variant};

/// Flags that decide a network where no run does.
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
    /// Which of the paper's networks: Table 1, that of its printed operations, or modules without dimension reduction
    #[arg(long, value_name = "V", value_enum, default_value_t = NetworkVariant::Table)]
    pub variant: NetworkVariant,
}

/// The networks that `--variant` names.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum NetworkVariant {
    /// Table 1 by its filter counts
    Table,
    /// Separable stem, 204 filters of 3x3 in 4a, 48 of the 5x5 reduction in 5a
    Operations,
    /// Modules of Figure 2a
    Naive,
}

impl NetworkFlags {
    /// The network that these flags ask for.
    pub fn architecture(&self) -> Architecture {
        Architecture {
            classes: self.classes,
            input_size: self.input_size,
            width: self.width,
            auxiliary_heads: !self.no_aux,
            variant: match self.variant {
                NetworkVariant::Table => Variant::Table,
                NetworkVariant::Operations => Variant::Operations,
                NetworkVariant::Naive => Variant::Naive,
            },
            ..Architecture::paper()
        }
    }
}
