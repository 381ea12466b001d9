//! The configuration of a run: one type, which the server holds, stores in its snapshots and returns to every
//! worker that joins.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::keys::KEYS;
use crate::range::shown;
use crate::{ConfigurationError, MomentumPlace, Network, Optimisation, Optimizer, Run, Sampling};

/// The configuration of a run: everything that decides what it computes. TOML in files, JSON on the wire;
/// unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RunConfiguration {
    /// Name of the recipe that the run started from.
    pub recipe: String,
    /// The network.
    pub network: Network,
    /// The sampling of training crops.
    pub sampling: Sampling,
    /// The way in which gradients are applied.
    pub optimisation: Optimisation,
    /// Batch, length, seed and rhythm of the run.
    pub run: Run,
}

impl RunConfiguration {
    /// Checks the range of every key, and the rules that keys impose on each other.
    ///
    /// # Errors
    /// If a key is out of its range or conflicts with another; the error names the first such key, what was
    /// found and what is expected.
    pub fn validate(&self) -> Result<(), ConfigurationError> {
        let values = self.values();
        for key in KEYS {
            if let Some(value) = key.of(&values) {
                key.check(value)?;
            }
        }
        let Optimisation { optimizer, momentum_at, .. } = &self.optimisation;
        if *optimizer != Optimizer::Momentum && *momentum_at == MomentumPlace::Worker {
            return Err(ConfigurationError::Value {
                key: "optimisation.momentum_at",
                found: shown(&momentum_at.name().into()),
                expected: format!(
                    "{:?} where the optimizer is {optimizer}, which has no momentum that workers could keep: \
                     --set optimisation.momentum_at={0}",
                    MomentumPlace::Shard.name(),
                ),
            });
        }
        let run = &self.run;
        if run.init_from.is_none() && (run.init_sha256.is_some() || !run.init_except.is_empty()) {
            return Err(ConfigurationError::Value {
                key: "run.init_from",
                found: "nothing".into(),
                expected: "a model file: name one with --init-from".into(),
            });
        }
        Ok(())
    }

    /// Returns the number of samples in the whole run, for a training set of `images` images: `run.images`
    /// or, without it, `run.epochs` times the training set, but no fewer than those of `run.least_updates`
    /// minibatches; at least 1 and at most `u64::MAX`.
    pub fn total_samples(&self, images: u64) -> u64 {
        let by_epochs = || self.run.epochs * self.passes(images) * images as f64;
        self.run.images.unwrap_or_else(|| by_epochs().round().max(1.0) as u64)
    }

    /// Returns the number of samples from one evaluation to the next, for a training set of `images` images.
    pub fn evaluate_every(&self, images: u64) -> u64 {
        (self.run.evaluate_epochs * self.passes(images) * images as f64).round() as u64
    }

    /// Returns how often a run goes through a training set of `images` images in the time of an epoch of the
    /// configuration: 1, or more where its epochs have fewer minibatches than `run.least_updates`.
    fn passes(&self, images: u64) -> f64 {
        let Run { epochs, least_updates, batch, images: length, .. } = &self.run;
        let least = least_updates.filter(|_| length.is_none()).unwrap_or(0) as f64 * *batch as f64;
        (least / (epochs * images.max(1) as f64)).max(1.0)
    }

    /// Returns this configuration completed from `begun`, that of a run that has begun: where they have no
    /// value, the number of classes, the version of the rules for reading a data folder and the hash of the
    /// model file to start from get the values that the run's server filled in.
    #[must_use]
    pub fn completed_like(mut self, begun: &RunConfiguration) -> RunConfiguration {
        self.network.classes = self.network.classes.or(begun.network.classes);
        self.run.data_rules = self.run.data_rules.or(begun.run.data_rules);
        self.run.init_sha256 = self.run.init_sha256.or_else(|| begun.run.init_sha256.clone());
        self
    }

    /// Compares this configuration, that of a run that has begun, with the one that is `asked` for as it goes on, and
    /// returns the keys that are to change, in their order: the run goes on with their other values.
    ///
    /// # Errors
    /// If a key differs that a run keeps to its end; the difference is the first such key with both values.
    pub fn changes_to(&self, asked: &RunConfiguration) -> Result<Vec<Difference>, Difference> {
        let (own, asked) = (self.values(), asked.values());
        let differences = KEYS.iter().filter_map(|key| {
            let value = |values| key.of(values).cloned().unwrap_or_default();
            Some((key, difference_at(key.name, &value(&own), &value(&asked))?))
        });
        differences
            .map(|(key, difference)| if key.may_change { Ok(difference) } else { Err(difference) })
            .collect()
    }

    /// Returns the values of all keys that have one, as a JSON object with an object for each section.
    pub(crate) fn values(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(values)) => values,
            other => unreachable!("a configuration is an object of plain data, not {other:?}"),
        }
    }
}

/// A key at which two configurations, or other records of settings, differ, with both values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the key with its section, such as "run.batch".
    pub key: String,
    /// Value of the key in the first of the two records of settings, as text; "not set" if it has none.
    pub one: String,
    /// Value of the key in the second of the two records of settings, as text; "not set" if it has none.
    pub other: String,
}

/// Returns the first key found at which two records of settings differ, with both values, or `None` if the
/// records are equal. Keys that only `other` has are compared last.
///
/// # Panics
/// If a record cannot be converted to JSON, such as a map whose keys are not strings.
pub fn first_difference<T: Serialize + ?Sized>(one: &T, other: &T) -> Option<Difference> {
    let value = |record: &T| serde_json::to_value(record).expect("settings are plain data");
    difference_at("", &value(one), &value(other))
}

fn difference_at(key: &str, one: &Value, other: &Value) -> Option<Difference> {
    let (Value::Object(o), Value::Object(p)) = (one, other) else {
        let text = |value: &Value| if value.is_null() { "not set".into() } else { shown(value) };
        return (one != other).then(|| Difference { key: key.into(), one: text(one), other: text(other) });
    };
    let names = o.keys().chain(p.keys().filter(|name| !o.contains_key(*name)));
    names.into_iter().find_map(|name| {
        let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        let value = |values: &Map<String, Value>| values.get(name).cloned().unwrap_or_default();
        difference_at(&inner, &value(o), &value(p))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_of_a_run_can_always_be_counted() {
        let mut configuration = crate::recipe("paper").unwrap();
        configuration.run.epochs = 1e6;
        assert_eq!(configuration.total_samples(1000), 1_000_000_000);
        assert_eq!(configuration.total_samples(u64::MAX), u64::MAX);
        configuration.run.epochs = 1e-9;
        assert_eq!(configuration.total_samples(1000), 1);
    }

    #[test]
    fn few_images_are_gone_through_more_often() {
        let mut configuration = crate::recipe("fine-tune").unwrap();
        let lengths = |configuration: &RunConfiguration, images| {
            (configuration.total_samples(images), configuration.evaluate_every(images))
        };
        // 6 epochs of 200 images have 75 minibatches of 16.
        assert_eq!(lengths(&configuration, 200), (12_800, 2133));
        assert_eq!(lengths(&configuration, 2400), (14_400, 2400));
        configuration.run.images = Some(100);
        assert_eq!(lengths(&configuration, 200), (100, 200));
        (configuration.run.images, configuration.run.least_updates) = (None, None);
        assert_eq!(lengths(&configuration, 200), (1200, 200));
    }

    #[test]
    fn length_rate_and_stairs_may_change_and_nothing_of_what_was_computed() {
        let begun = crate::recipe("quick").unwrap();
        let mut longer = begun.clone();
        longer.run.images = Some(90_000);
        longer.optimisation.learning_rate /= 2.0;
        let changes = begun.changes_to(&longer).unwrap();
        let keys: Vec<&str> = changes.iter().map(|change| change.key.as_str()).collect();
        assert_eq!(keys, ["optimisation.learning_rate", "run.images"]);
        assert_eq!((changes[1].one.as_str(), changes[1].other.as_str()), ("not set", "90000"));
        longer.optimisation.rate_multipliers = [("*".into(), 2.0)].into();
        longer.run.seed = 2;
        let Difference { key, one, other } = begun.changes_to(&longer).unwrap_err();
        assert_eq!(
            (key.as_str(), one.as_str(), other.as_str()),
            ("optimisation.rate_multipliers", "not set", "{\"*\": 2}")
        );
        let kept = KEYS.iter().filter(|key| !key.may_change).count();
        assert_eq!(KEYS.len() - kept, 13, "what may change is said in the guide");
    }

    #[test]
    fn momentum_of_workers_goes_with_the_optimizer_that_has_one() {
        let mut configuration = crate::recipe("quick").unwrap();
        configuration.optimisation.optimizer = Optimizer::Adagrad;
        assert_eq!(
            configuration.validate().unwrap_err().to_string(),
            "configuration key optimisation.momentum_at: found \"worker\", expected \"shard\" where the optimizer is \
             adagrad, which has no momentum that workers could keep: --set optimisation.momentum_at=shard"
        );
        configuration.optimisation.momentum_at = MomentumPlace::Shard;
        configuration.validate().unwrap();
    }

    #[test]
    fn the_first_key_that_differs_is_told_with_both_values() {
        let paper = crate::recipe("paper").unwrap();
        assert_eq!(first_difference(&paper, &paper.clone()), None);
        let difference = |change: fn(&mut RunConfiguration)| {
            let mut other = paper.clone();
            change(&mut other);
            let Difference { key, one, other } = first_difference(&paper, &other).unwrap();
            format!("{key}: {one}, {other}")
        };
        assert_eq!(difference(|c| c.network.width = 0.3), "network.width: 1, 0.3");
        assert_eq!(difference(|c| c.run.images = Some(9)), "run.images: not set, 9");
        assert_eq!(difference(|c| c.run.wire = Some(crate::Wire::Bf16)), "run.wire: not set, \"bf16\"");
        let multipliers =
            |c: &mut RunConfiguration| c.optimisation.rate_multipliers = [("*".into(), 2.0)].into();
        assert_eq!(difference(multipliers), "optimisation.rate_multipliers: not set, {\"*\": 2}");
    }
}
