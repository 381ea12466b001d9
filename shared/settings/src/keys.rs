//! The table of all keys of a configuration with the values that each may have. Validation, `--set`, the
//! reference, its schema and the help of flags are derived from it.

use serde_json::{Map, Value};

use crate::range::Range;
use crate::{
    CLASSES, ClassWeights, ConfigurationError, INPUT_SIZES, Initialisation, Interpolation, MomentumPlace,
    NEWEST_DATA_RULES, Optimizer, Precision, Staleness, Variant, WIDTHS, Wire,
};

/// A key of a run's configuration, such as `run.batch`, with the values that it may have.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Name of the key, with the section in front: `run.batch`.
    pub name: &'static str,
    /// Values that the key may have.
    pub range: Range,
    /// Whether a run that goes on may have another value of the key from there on.
    pub may_change: bool,
}

/// The range of every length and time that is given in epochs.
const EPOCHS: Range = Range::Number { over: true, least: 0.0, most: 1e6, below: false, unit: "epochs" };
/// The range of the width multiplier.
const WIDTH: Range =
    Range::Number { over: false, least: *WIDTHS.start(), most: *WIDTHS.end(), below: false, unit: "" };
/// The range of a seed.
const SEED: Range = Range::Whole { least: 0, most: u64::MAX, unit: "" };
/// The range of fractions and factors that may be 1.
const SHARE: Range = Range::Number { over: false, least: 0.0, most: 1.0, below: false, unit: "" };
/// The range of decays, which may not be 1.
const DECAY: Range = Range::Number { over: false, least: 0.0, most: 1.0, below: true, unit: "" };
/// The range of a distortion's strength.
const STRENGTH: Range = Range::Number { over: false, least: 0.0, most: 1.0, below: false, unit: "(0: off)" };

const fn over(most: f64) -> Range {
    Range::Number { over: true, least: 0.0, most, below: false, unit: "" }
}

const fn whole(least: u64, most: u64, unit: &'static str) -> Range {
    Range::Whole { least, most, unit }
}

/// A key whose value a run keeps to its end.
const fn key(name: &'static str, range: Range) -> Key {
    Key { name, range, may_change: false }
}

/// A key of which a run that goes on may have another value.
const fn changing(name: &'static str, range: Range) -> Key {
    Key { name, range, may_change: true }
}

/// All keys, in the order of a configuration.
pub static KEYS: &[Key] = &[
    key("recipe", Range::Text { least: 0, most: 256, what: "a name" }),
    key("network.classes", whole(*CLASSES.start() as u64, *CLASSES.end() as u64, "")),
    key("network.input_size", whole(*INPUT_SIZES.start() as u64, *INPUT_SIZES.end() as u64, "pixels")),
    key("network.width", WIDTH),
    key("network.auxiliary_heads", Range::Switch),
    key("network.initialisation", Range::Choice(Initialisation::NAMES)),
    key("network.dropout", Range::Switch),
    key("network.variant", Range::Choice(Variant::NAMES)),
    key("sampling.area", Range::Interval { over: true, least: 0.0, most: 1.0 }),
    key("sampling.aspect", Range::Interval { over: false, least: 0.1, most: 10.0 }),
    key("sampling.mirror", Range::Switch),
    key("sampling.interpolation", Range::Choices(Interpolation::NAMES)),
    key("sampling.brightness", STRENGTH),
    key("sampling.contrast", STRENGTH),
    key("sampling.saturation", STRENGTH),
    key("sampling.lighting", STRENGTH),
    key("optimisation.optimizer", Range::Choice(Optimizer::NAMES)),
    changing("optimisation.learning_rate", over(10.0)),
    key("optimisation.momentum", DECAY),
    key("optimisation.weight_decay", DECAY),
    changing("optimisation.stair_factor", over(1.0)),
    changing("optimisation.stair_epochs", EPOCHS),
    changing("optimisation.stair_share", over(1.0)),
    key("optimisation.ramp", SHARE),
    key("optimisation.average_decay", DECAY),
    key("optimisation.clip_norm", over(1e9)),
    key("optimisation.clip_tensors", over(1e9)),
    key("optimisation.momentum_at", Range::Choice(MomentumPlace::NAMES)),
    key("optimisation.staleness", Range::Choice(Staleness::NAMES)),
    key("optimisation.class_weights", Range::Choice(ClassWeights::NAMES)),
    key("optimisation.rate_multipliers", Range::Factors { most: 1000.0 }),
    key("run.seed", SEED),
    key("run.sample_seed", SEED),
    key("run.batch", whole(1, 4096, "images")),
    key("run.precision", Range::Choice(Precision::NAMES)),
    changing("run.epochs", EPOCHS),
    // Those of ImageNet 780,000 times over.
    changing("run.images", whole(1, 1_000_000_000_000, "images")),
    changing("run.least_updates", whole(1, 1_000_000_000, "minibatches")),
    changing("run.evaluate_epochs", EPOCHS),
    changing("run.evaluate_last_iterate", Range::Switch),
    changing("run.patience_epochs", EPOCHS),
    // What a worker had leased is done again if it dies.
    changing("run.lease_batches", whole(1, 1024, "minibatches")),
    changing("run.wire", Range::Choice(Wire::NAMES)),
    changing("run.gradient_wire", Range::Choice(Wire::NAMES)),
    key("run.init_from", Range::Text { least: 1, most: 4096, what: "a path" }),
    key("run.init_sha256", Range::Hexadecimal { digits: 64 }),
    key("run.data_rules", whole(1, NEWEST_DATA_RULES as u64, "")),
    key("run.init_except", Range::Patterns),
];

impl Key {
    /// Returns the key with this name, section included.
    ///
    /// # Errors
    /// If no key has this name; the error lists the keys of its section.
    pub fn named(name: &str) -> Result<&'static Key, ConfigurationError> {
        KEYS.iter().find(|key| key.name == name).ok_or_else(|| {
            let section = name.split_once('.').map_or("", |(section, _)| section);
            let all = || KEYS.iter().map(|key| key.name);
            let mut known: Vec<_> = all().filter(|key| key.starts_with(&format!("{section}."))).collect();
            if known.is_empty() {
                known = all().collect();
            }
            ConfigurationError::Key { found: name.into(), known: known.join(", ") }
        })
    }

    /// Splits the key's name into its section and the name within the section, such as `run.batch` into "run"
    /// and "batch". The section of the key `recipe` is empty.
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or(("", self.name))
    }

    /// Checks that a value is one that the key may have.
    ///
    /// # Errors
    /// If the value is of another kind or out of the range.
    pub fn check(&self, value: &Value) -> Result<(), ConfigurationError> {
        self.range.check(value).map_err(|found| self.refused(found))
    }

    /// Returns the error for a value that the key may not have.
    pub(crate) fn refused(&self, found: String) -> ConfigurationError {
        ConfigurationError::Value { key: self.name, found, expected: self.range.to_string() }
    }

    /// Returns the key's value among the values of a configuration, or `None` if it has none.
    pub(crate) fn of<'a>(&self, values: &'a Map<String, Value>) -> Option<&'a Value> {
        match self.parts() {
            ("", name) => values.get(name),
            (section, name) => values.get(section)?.get(name),
        }
    }
}
