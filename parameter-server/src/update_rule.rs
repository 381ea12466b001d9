//! The update rule that every shard follows: the configuration's epochs and fractions, converted to numbers
//! of samples.

use protocol::UpdateRule;
use settings::RunConfiguration;

/// Makes the update rule (how shards turn gradients into updates) of a run with `images` training images from
/// its configuration, whose epochs and fractions become numbers of images.
pub fn of(configuration: &RunConfiguration, images: u64) -> UpdateRule {
    let optimisation = &configuration.optimisation;
    let total_samples = configuration.total_samples(images);
    let stair = match optimisation.stair_share {
        Some(share) => share * total_samples as f64,
        None => optimisation.stair_epochs * images as f64,
    };
    UpdateRule {
        seed: configuration.run.seed,
        optimizer: optimisation.optimizer,
        learning_rate: optimisation.learning_rate,
        stair_factor: optimisation.stair_factor,
        stair_samples: (stair.round() as u64).max(1),
        ramp_samples: (optimisation.ramp * total_samples as f64).round() as u64,
        momentum: optimisation.momentum,
        weight_decay: optimisation.weight_decay,
        average_decay: optimisation.average_decay,
        staleness: optimisation.staleness,
        total_samples,
        batch: Some(configuration.run.batch as u32),
        init_sha256: configuration.run.init_sha256.clone(),
        init_except: configuration.run.init_except.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_become_samples() {
        let mut configuration = settings::recipe("paper").unwrap();
        let found = of(&configuration, 3070);
        assert_eq!((found.total_samples, found.stair_samples, found.ramp_samples), (184_200, 24_560, 9210));
        assert_eq!((found.learning_rate, found.momentum, found.weight_decay), (0.01, 0.9, 2e-4));
        configuration.run.images = Some(100);
        let found = of(&configuration, 3070);
        assert_eq!((found.total_samples, found.stair_samples, found.ramp_samples), (100, 24_560, 5));
        configuration.optimisation.stair_share = Some(0.4);
        assert_eq!(of(&configuration, 3070).stair_samples, 40);
    }
}
