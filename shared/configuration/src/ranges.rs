//! Which values of a configuration can be meant: every key has a range, so that what follows from it can be counted, and
//! a slip is told as one.

use crate::{ConfigurationError, NEWEST_DATA_RULES, RunConfiguration};

/// Minibatches of one lease must fit a worker's death: what it had is done again.
const MOST_LEASE_BATCHES: u64 = 1024;
/// Most epochs of a run, and of whatever is told in epochs.
const MOST_EPOCHS: f64 = 1e6;
/// Most images of a run: those of ImageNet 780,000 times over.
const MOST_IMAGES: u64 = 1_000_000_000_000;
/// Most bytes of a name or a pattern, and of a path.
const MOST_NAME: usize = 256;
const MOST_PATH: usize = 4096;
/// Most patterns of one key: as many as a network has tensors.
const MOST_PATTERNS: usize = 256;
/// Hexadecimal digits of a SHA-256.
const HASH_DIGITS: usize = 64;

const EPOCHS: &str = "over 0, at most 1000000 epochs";

/// Whether a number of epochs can be meant.
fn is_epochs(epochs: f64) -> bool {
    epochs > 0.0 && epochs <= MOST_EPOCHS
}

impl RunConfiguration {
    /// Checks the range of every key.
    ///
    /// # Errors
    /// The first key that is out of its range: its name, what was found and what is expected.
    pub fn validate(&self) -> Result<(), ConfigurationError> {
        let wrong = |key: &'static str, found: String, expected: &'static str| {
            Err(ConfigurationError::Value { key, found, expected })
        };
        let (n, s, o, r) = (&self.network, &self.sampling, &self.optimisation, &self.run);
        if self.recipe.len() > MOST_NAME {
            return wrong("recipe", format!("{} bytes", self.recipe.len()), "a name of at most 256 bytes");
        }
        if let Some(classes) = n.classes
            && !(2..=100_000).contains(&classes)
        {
            return wrong("network.classes", classes.to_string(), "2 to 100000");
        }
        if !(32..=2048).contains(&n.input_size) {
            return wrong("network.input_size", n.input_size.to_string(), "32 to 2048 pixels");
        }
        if !(0.05..=4.0).contains(&n.width) {
            return wrong("network.width", n.width.to_string(), "0.05 to 4");
        }
        let [low, high] = s.area;
        if !(low > 0.0 && low <= high && high <= 1.0) {
            return wrong("sampling.area", format!("[{low}, {high}]"), "0 < least <= largest <= 1");
        }
        let [low, high] = s.aspect;
        if !(low >= 0.1 && low <= high && high <= 10.0) {
            return wrong("sampling.aspect", format!("[{low}, {high}]"), "0.1 <= least <= largest <= 10");
        }
        let twice = |(at, by)| s.interpolation[..at].contains(by);
        if s.interpolation.is_empty() || s.interpolation.iter().enumerate().any(twice) {
            let found = format!("{:?}", s.interpolation).to_lowercase();
            return wrong("sampling.interpolation", found, "at least one, none twice");
        }
        for (key, strength) in [
            ("sampling.brightness", s.brightness),
            ("sampling.contrast", s.contrast),
            ("sampling.saturation", s.saturation),
            ("sampling.lighting", s.lighting),
        ] {
            if !(0.0..=1.0).contains(&strength) {
                return wrong(key, strength.to_string(), "0 (off) to 1");
            }
        }
        if !(o.learning_rate > 0.0 && o.learning_rate <= 10.0) {
            return wrong("optimisation.learning_rate", o.learning_rate.to_string(), "over 0, at most 10");
        }
        if !(0.0..1.0).contains(&o.momentum) {
            return wrong("optimisation.momentum", o.momentum.to_string(), "0 to below 1");
        }
        if !(0.0..1.0).contains(&o.weight_decay) {
            return wrong("optimisation.weight_decay", o.weight_decay.to_string(), "0 to below 1");
        }
        if !(o.stair_factor > 0.0 && o.stair_factor <= 1.0) {
            return wrong("optimisation.stair_factor", o.stair_factor.to_string(), "over 0, at most 1");
        }
        if !is_epochs(o.stair_epochs) {
            return wrong("optimisation.stair_epochs", o.stair_epochs.to_string(), EPOCHS);
        }
        if !(0.0..=1.0).contains(&o.ramp) {
            return wrong("optimisation.ramp", o.ramp.to_string(), "0 to 1");
        }
        if !(0.0..1.0).contains(&o.average_decay) {
            return wrong("optimisation.average_decay", o.average_decay.to_string(), "0 to below 1");
        }
        if let Some(norm) = o.clip_norm
            && !(norm > 0.0 && norm <= 1e9)
        {
            return wrong("optimisation.clip_norm", norm.to_string(), "over 0, at most 1000000000");
        }
        if let Some(most) = o.clip_tensors
            && !(most > 0.0 && most <= 1e9)
        {
            return wrong("optimisation.clip_tensors", most.to_string(), "over 0, at most 1000000000");
        }
        if let Some((_, factor)) = o.rate_multipliers.iter().find(|(_, f)| !(0.0..=1000.0).contains(*f)) {
            return wrong("optimisation.rate_multipliers", factor.to_string(), "factors from 0 to 1000");
        }
        for (key, patterns) in [
            ("optimisation.rate_multipliers", o.rate_multipliers.keys().collect::<Vec<_>>()),
            ("run.init_except", r.init_except.iter().collect()),
        ] {
            let longest = patterns.iter().map(|pattern| pattern.len()).max().unwrap_or(0);
            if patterns.len() > MOST_PATTERNS || longest > MOST_NAME {
                let found = format!("{} patterns, the longest of {longest} bytes", patterns.len());
                return wrong(key, found, "at most 256 patterns of at most 256 bytes");
            }
        }
        if !(1..=4096).contains(&r.batch) {
            return wrong("run.batch", r.batch.to_string(), "1 to 4096 images");
        }
        if !is_epochs(r.epochs) {
            return wrong("run.epochs", r.epochs.to_string(), EPOCHS);
        }
        if let Some(images) = r.images
            && !(1..=MOST_IMAGES).contains(&images)
        {
            return wrong("run.images", images.to_string(), "1 to 1000000000000");
        }
        if !is_epochs(r.evaluate_epochs) {
            return wrong("run.evaluate_epochs", r.evaluate_epochs.to_string(), EPOCHS);
        }
        if !(1..=MOST_LEASE_BATCHES).contains(&r.lease_batches) {
            return wrong("run.lease_batches", r.lease_batches.to_string(), "1 to 1024 minibatches");
        }
        if let Some(rules) = r.data_rules
            && !(1..=NEWEST_DATA_RULES).contains(&rules)
        {
            return wrong("run.data_rules", rules.to_string(), "1 or 2");
        }
        if let Some(path) = &r.init_from
            && !(1..=MOST_PATH).contains(&path.len())
        {
            return wrong("run.init_from", format!("{} bytes", path.len()), "a path of 1 to 4096 bytes");
        }
        if let Some(hash) = &r.init_sha256
            && (hash.len() != HASH_DIGITS || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            let found = format!("{:?}", hash.chars().take(HASH_DIGITS).collect::<String>());
            return wrong("run.init_sha256", found, "64 hexadecimal digits");
        }
        if r.init_from.is_none() && (r.init_sha256.is_some() || !r.init_except.is_empty()) {
            let expected =
                "a model file: name one with --init-from, or leave out init_sha256 and init_except";
            return wrong("run.init_from", "nothing".into(), expected);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a configuration of which one value is another; none if it may be used.
    fn refused(change: impl FnOnce(&mut RunConfiguration)) -> Option<String> {
        let mut configuration = crate::recipe("paper").unwrap();
        change(&mut configuration);
        configuration.validate().err().map(|error| error.to_string())
    }

    /// The largest and least values of each number are used; what lies beyond them is named with its key, also what is no
    /// number.
    #[test]
    fn every_number_has_a_range() {
        type Put = fn(&mut RunConfiguration, f64);
        let numbers: [(&str, Put, f64, f64); 22] = [
            ("network.classes", |c, v| c.network.classes = Some(v as usize), 2.0, 100_000.0),
            ("network.input_size", |c, v| c.network.input_size = v as usize, 32.0, 2048.0),
            ("network.width", |c, v| c.network.width = v as f32, 0.05, 4.0),
            ("sampling.area", |c, v| c.sampling.area[1] = v as f32, 0.08, 1.0),
            ("sampling.aspect", |c, v| c.sampling.aspect[0] = v as f32, 0.1, 1.0),
            ("sampling.aspect", |c, v| c.sampling.aspect[1] = v as f32, 1.0, 10.0),
            ("sampling.brightness", |c, v| c.sampling.brightness = v as f32, 0.0, 1.0),
            ("sampling.contrast", |c, v| c.sampling.contrast = v as f32, 0.0, 1.0),
            ("sampling.saturation", |c, v| c.sampling.saturation = v as f32, 0.0, 1.0),
            ("sampling.lighting", |c, v| c.sampling.lighting = v as f32, 0.0, 1.0),
            ("optimisation.learning_rate", |c, v| c.optimisation.learning_rate = v, 1e-9, 10.0),
            ("optimisation.stair_factor", |c, v| c.optimisation.stair_factor = v, 1e-9, 1.0),
            ("optimisation.stair_epochs", |c, v| c.optimisation.stair_epochs = v, 1e-3, 1e6),
            ("optimisation.ramp", |c, v| c.optimisation.ramp = v, 0.0, 1.0),
            ("optimisation.clip_norm", |c, v| c.optimisation.clip_norm = Some(v), 1e-9, 1e9),
            ("optimisation.clip_tensors", |c, v| c.optimisation.clip_tensors = Some(v), 1e-9, 1e9),
            (
                "optimisation.rate_multipliers",
                |c, v| c.optimisation.rate_multipliers = [("*".into(), v as f32)].into(),
                0.0,
                1000.0,
            ),
            ("run.batch", |c, v| c.run.batch = v as usize, 1.0, 4096.0),
            ("run.epochs", |c, v| c.run.epochs = v, 1e-3, 1e6),
            ("run.images", |c, v| c.run.images = Some(v as u64), 1.0, 1e12),
            ("run.evaluate_epochs", |c, v| c.run.evaluate_epochs = v, 1e-3, 1e6),
            ("run.lease_batches", |c, v| c.run.lease_batches = v as u64, 1.0, 1024.0),
        ];
        for (key, put, least, most) in numbers {
            for value in [least, most] {
                assert_eq!(refused(|c| put(c, value)), None, "{key} = {value}");
            }
            for value in [-1.0, 2.0 * most + 1.0, 1e30, f64::INFINITY, f64::NAN] {
                let text = refused(|c| put(c, value)).unwrap_or_default();
                let start = format!("configuration key {key}: found ");
                assert!(
                    text.starts_with(&start) && text.contains(", expected "),
                    "{key} = {value}: {text:?}"
                );
            }
        }
        for (key, put) in [
            ("optimisation.momentum", (|c, v| c.optimisation.momentum = v) as Put),
            ("optimisation.weight_decay", |c, v| c.optimisation.weight_decay = v),
            ("optimisation.average_decay", |c, v| c.optimisation.average_decay = v),
        ] {
            for (value, usable) in
                [(0.0, true), (0.999, true), (1.0, false), (-0.1, false), (f64::NAN, false)]
            {
                assert_eq!(refused(|c| put(c, value)).is_none(), usable, "{key} = {value}");
            }
        }
    }

    #[test]
    fn every_text_and_list_has_a_length() {
        let long = |length: usize| "x".repeat(length);
        let patterns = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        let warm = |c: &mut RunConfiguration| c.run.init_from = Some("model".into());
        assert_eq!(refused(|c| c.recipe = long(256)), None);
        assert_eq!(
            refused(|c| c.recipe = long(257)).unwrap(),
            "configuration key recipe: found 257 bytes, expected a name of at most 256 bytes"
        );
        for (path, usable) in [(0, false), (1, true), (4096, true), (4097, false)] {
            assert_eq!(refused(|c| c.run.init_from = Some(long(path))).is_none(), usable, "{path}");
        }
        let hash = |hash: &str| {
            refused(|c| {
                warm(c);
                c.run.init_sha256 = Some(hash.into());
            })
        };
        assert_eq!(hash(&"0aF9".repeat(16)), None);
        for wrong in ["", "0a", &"0g".repeat(32), &"0a".repeat(33), &"é".repeat(32)] {
            let text = hash(wrong).unwrap();
            assert!(text.ends_with("expected 64 hexadecimal digits") && text.len() < 200, "{text}");
        }
        for (count, length, usable) in [(256, 3, true), (257, 3, false), (1, 256, true), (1, 257, false)] {
            let patterns = if count > 1 { patterns(count) } else { vec![long(length)] };
            let except = refused(|c| {
                warm(c);
                c.run.init_except = patterns.clone();
            });
            let multipliers = refused(|c| {
                c.optimisation.rate_multipliers = patterns.iter().map(|p| (p.clone(), 1.0)).collect();
            });
            assert_eq!((except.is_none(), multipliers.is_none()), (usable, usable), "{count} of {length}");
        }
    }
}
