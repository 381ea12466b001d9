//! The network that settings ask for.

use network::{Architecture, Initialisation, Precision, Variant};

/// The network of these settings, for so many classes.
pub fn architecture(network: &configuration::Network, classes: usize) -> Architecture {
    Architecture {
        classes,
        input_size: network.input_size,
        width: network.width,
        auxiliary_heads: network.auxiliary_heads,
        initialisation: match network.initialisation {
            configuration::Initialisation::Bvlc => Initialisation::Bvlc,
            configuration::Initialisation::He => Initialisation::He,
        },
        variant: match network.variant {
            configuration::Variant::Table => Variant::Table,
            configuration::Variant::Operations => Variant::Operations,
            configuration::Variant::Naive => Variant::Naive,
        },
    }
}

/// The precision of these settings.
pub fn precision(precision: configuration::Precision) -> Precision {
    match precision {
        configuration::Precision::F32 => Precision::F32,
        configuration::Precision::Bf16 => Precision::Bf16,
    }
}
