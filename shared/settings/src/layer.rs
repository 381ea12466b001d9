//! Layers: settings by key that override a recipe, as a file or a command line gives them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::keys::Key;
use crate::{ConfigurationError, RunConfiguration, range};

/// A layer of settings: some keys of a configuration with their values, each within its range, which replace
/// those of a recipe or of a lower layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer(BTreeMap<&'static str, Value>);

impl Layer {
    /// Sets the value of a key in this layer; it replaces any that the key had.
    ///
    /// # Errors
    /// If the key does not exist, or if the value is of another kind than the key's or out of its range.
    pub fn put(&mut self, name: &str, value: Value) -> Result<(), ConfigurationError> {
        let key = Key::named(name)?;
        key.check(&value)?;
        self.0.insert(key.name, value);
        Ok(())
    }

    /// Sets the value of a key in this layer from text as it is written on a command line: "8" for
    /// `run.batch`, "0.08,1" for `sampling.area`.
    ///
    /// # Errors
    /// If the key does not exist, or if the text is not a value of the key's kind or is out of its range.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), ConfigurationError> {
        let key = Key::named(name)?;
        let value = key.range.parse(text).map_err(|found| key.refused(found))?;
        self.put(key.name, value)
    }

    /// Returns the settings of this layer as texts such as `run.batch=8`. The two parts around the first `=`
    /// are arguments for [`Layer::set`].
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, value)| format!("{name}={}", range::text(value)))
    }

    /// Returns the name of the recipe (the built-in configuration to start from) that this layer sets, if
    /// any.
    pub fn recipe(&self) -> Option<&str> {
        self.0.get("recipe").and_then(Value::as_str)
    }

    /// Returns this layer with `upper` over it: where both set a key, the value of `upper` counts. Keys of this
    /// layer that say the same as one of `upper` in another way are dropped.
    #[must_use]
    pub fn under(mut self, upper: Layer) -> Layer {
        upper.replaced().for_each(|name| drop(self.0.remove(name)));
        self.0.extend(upper.0);
        self
    }

    /// Returns `configuration` with this layer over it: the keys that the layer sets replace those of the
    /// configuration. Keys of the configuration that say the same as one of the layer in another way are
    /// dropped.
    pub fn over(&self, configuration: &RunConfiguration) -> RunConfiguration {
        let mut values = configuration.values();
        for name in self.replaced() {
            let (section, name) = name.split_once('.').expect("a key of a section");
            if let Some(section) = values.get_mut(section).and_then(Value::as_object_mut) {
                section.remove(name);
            }
        }
        self.put_into(&mut values);
        serde_json::from_value(Value::Object(values)).expect("every value is of its key's kind")
    }

    /// Returns the configuration that this layer forms on its own, without a recipe beneath it, or `None` if
    /// it lacks a key that every configuration needs.
    pub fn whole(&self) -> Option<RunConfiguration> {
        let mut values = Map::new();
        self.put_into(&mut values);
        serde_json::from_value(Value::Object(values)).ok()
    }

    /// Returns the keys that this layer replaces by others: the length of a run is one decision, and so is that of its
    /// stairs.
    fn replaced(&self) -> impl Iterator<Item = &'static str> {
        const BY: [(&str, &str); 4] = [
            ("run.epochs", "run.images"),
            ("run.epochs", "run.least_updates"),
            ("run.images", "run.least_updates"),
            ("optimisation.stair_epochs", "optimisation.stair_share"),
        ];
        let replaced = |(by, key): &(&str, &str)| self.0.contains_key(by) && !self.0.contains_key(key);
        BY.iter().filter(move |pair| replaced(pair)).map(|(_, key)| *key)
    }

    fn put_into(&self, values: &mut Map<String, Value>) {
        for (name, value) in &self.0 {
            let section = match name.split_once('.') {
                None => values.insert((*name).into(), value.clone()),
                Some((section, name)) => {
                    let section = values.entry(section).or_insert_with(|| Map::new().into());
                    section
                        .as_object_mut()
                        .expect("a section is an object")
                        .insert(name.into(), value.clone())
                }
            };
            drop(section);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe;

    fn layer(texts: &[&str]) -> Layer {
        let mut layer = Layer::default();
        for text in texts {
            let (key, value) = text.split_once('=').unwrap();
            layer.set(key, value).unwrap();
        }
        layer
    }

    #[test]
    fn every_key_can_be_set() {
        let texts = [
            "recipe=quick",
            "network.classes=7",
            "network.input_size=96",
            "network.width=0.5",
            "network.auxiliary_heads=false",
            "network.initialisation=he",
            "network.dropout=false",
            "network.variant=naive",
            "sampling.area=0.1,0.9",
            "sampling.aspect=0.5,2",
            "sampling.mirror=false",
            "sampling.interpolation=area,cubic",
            "sampling.brightness=0.1",
            "sampling.contrast=0.2",
            "sampling.saturation=0.3",
            "sampling.lighting=0.4",
            "optimisation.optimizer=momentum",
            "optimisation.learning_rate=0.5",
            "optimisation.momentum=0.6",
            "optimisation.weight_decay=0",
            "optimisation.stair_factor=0.7",
            "optimisation.stair_epochs=3",
            "optimisation.stair_share=0.3",
            "optimisation.ramp=0.8",
            "optimisation.average_decay=0.85",
            "optimisation.clip_norm=9",
            "optimisation.clip_tensors=2",
            "optimisation.momentum_at=worker",
            "optimisation.staleness=none",
            "optimisation.class_weights=balanced",
            "optimisation.rate_multipliers=*/bias=2,fc*=0.5",
            "run.seed=18446744073709551615",
            "run.sample_seed=3",
            "run.batch=8",
            "run.precision=bf16",
            "run.epochs=5",
            "run.images=1000",
            "run.least_updates=7",
            "run.evaluate_epochs=1.5",
            "run.evaluate_last_iterate=true",
            "run.patience_epochs=4.5",
            "run.lease_batches=2",
            "run.wire=bf16",
            "run.gradient_wire=4bit",
            "run.init_from=a = b.safetensors",
            "run.init_sha256=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "run.data_rules=1",
            "run.init_except=*/bias",
        ];
        let all = layer(&texts);
        assert_eq!(all.0.len(), crate::keys::KEYS.len());
        let set = all.over(&recipe("paper").unwrap());
        set.validate().unwrap();
        assert_eq!(all.whole(), Some(set.clone()));
        let again: Vec<String> = all.texts().collect();
        assert_eq!(layer(&again.iter().map(String::as_str).collect::<Vec<_>>()), all);
        assert_eq!(
            (set.run.seed, set.run.precision, set.run.images),
            (u64::MAX, crate::Precision::Bf16, Some(1000))
        );
        assert_eq!(set.optimisation.rate_multipliers, [("*/bias".into(), 2.0), ("fc*".into(), 0.5)].into());
        assert_eq!((set.sampling.area, set.network.width), ([0.1, 0.9], 0.5));
        assert_eq!(set.run.init_from.as_deref(), Some("a = b.safetensors"));
    }

    #[test]
    fn what_cannot_be_set_is_told_with_key_found_and_expected() {
        for (text, expected) in [
            (
                "run.bacth=8",
                "configuration key run.bacth is not known; expected one of run.seed, run.sample_seed, ",
            ),
            ("batch=8", "configuration key batch is not known; expected one of recipe, network.classes, "),
            ("run.batch=0", "configuration key run.batch: found 0, expected 1 to 4096 images"),
            ("run.batch=8.5", "configuration key run.batch: found 8.5, expected 1 to 4096 images"),
            ("run.wire=f16", "configuration key run.wire: found \"f16\", expected one of f32, bf16"),
            ("network.dropout=no", "configuration key network.dropout: found \"no\", expected true or false"),
            (
                "sampling.area=0.5,0.2",
                "configuration key sampling.area: found [0.5, 0.2], expected 0 < smallest <= \
                 largest <= 1",
            ),
        ] {
            let (key, value) = text.split_once('=').unwrap();
            let text = Layer::default().set(key, value).unwrap_err().to_string();
            assert!(text.starts_with(expected), "expected {expected}, found {text}");
        }
    }

    #[test]
    fn the_upper_layer_decides_and_a_length_is_one_decision() {
        let images = layer(&["run.images=100", "run.batch=4"]);
        let both = images.clone().under(layer(&["run.epochs=2", "run.batch=5"]));
        assert_eq!(both, layer(&["run.epochs=2", "run.batch=5"]));
        let short = images.over(&recipe("paper").unwrap());
        assert_eq!((short.run.images, short.run.batch), (Some(100), 4));
        assert_eq!(layer(&["run.epochs=2"]).over(&short).run.images, None);
        assert_eq!(layer(&["run.batch=2"]).over(&short).run.images, Some(100));
        assert_eq!(images.whole(), None);
        let tuned = recipe("fine-tune").unwrap();
        for text in ["run.epochs=2", "run.images=100"] {
            assert_eq!(layer(&[text]).over(&tuned).run.least_updates, None);
            assert_eq!(layer(&[text, "run.least_updates=9"]).over(&tuned).run.least_updates, Some(9));
        }
        let stairs = layer(&["optimisation.stair_epochs=2"]).over(&tuned).optimisation;
        assert_eq!((stairs.stair_epochs, stairs.stair_share), (2.0, None));
    }
}
