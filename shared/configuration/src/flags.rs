//! The flags that `downpour`, `worker train` and `parameter-server` share; a flag overrides the file or recipe.

use std::path::PathBuf;

use crate::{ConfigurationError, Precision, RunConfiguration, recipe::parse, recipe::recipe};

/// Most bytes of a configuration file; one with a comment on every key has a hundredth.
const MOST_FILE: u64 = 1 << 20;

/// What a run is to be; anything left out comes from the configuration file or the recipe.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub struct RunFlags {
    /// Start from a named recipe: quick, paper, bvlc or fine-tune [default: quick without --data, paper with it]
    #[arg(long, value_name = "R", conflicts_with = "config")]
    pub recipe: Option<String>,
    /// Read the whole configuration from a TOML file
    #[arg(long, value_name = "F")]
    pub config: Option<PathBuf>,
    /// Length of the run in epochs
    #[arg(long, value_name = "E", conflicts_with = "images")]
    pub epochs: Option<f64>,
    /// Length of the run in images
    #[arg(long, value_name = "I")]
    pub images: Option<u64>,
    /// Images of one minibatch
    #[arg(long, value_name = "B")]
    pub batch: Option<usize>,
    /// What workers keep activations in, and multiply [default: f32]
    #[arg(long, value_name = "P")]
    pub precision: Option<Precision>,
    /// Side of the square input in pixels
    #[arg(long, value_name = "S")]
    pub input_size: Option<usize>,
    /// Width multiplier of every layer
    #[arg(long, value_name = "X")]
    pub width: Option<f32>,
    /// Leave out the two auxiliary classifiers
    #[arg(long)]
    pub no_aux: bool,
    /// Number of classes [default: as many as the data has]
    #[arg(long, value_name = "K")]
    pub classes: Option<usize>,
    /// Base learning rate
    #[arg(long, value_name = "L")]
    pub learning_rate: Option<f64>,
    /// Model file to start from, a caffe model or one of a run: the tensors that fit the network are taken
    #[arg(long, value_name = "FILE")]
    pub init_from: Option<String>,
    /// Seed of initial values, order, samples and dropout masks
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Seed of order, samples and dropout masks alone [default: --seed]
    #[arg(long, value_name = "S")]
    pub sample_seed: Option<u64>,
}

impl RunFlags {
    /// The configuration that these flags ask for, validated; `default_recipe` where neither file nor recipe is named.
    pub fn resolve(&self, default_recipe: &str) -> Result<RunConfiguration, ConfigurationError> {
        let mut configuration = match &self.config {
            Some(path) => {
                let shown = path.display().to_string();
                let text = limits::read_text(path, MOST_FILE)
                    .map_err(|source| ConfigurationError::Read { path: shown.clone(), source })?;
                parse(&text, &shown)?
            }
            None => recipe(self.recipe.as_deref().unwrap_or(default_recipe))?,
        };
        self.override_onto(&mut configuration);
        configuration.validate()?;
        Ok(configuration)
    }

    /// Puts each flag that was given in place of the configuration's value.
    pub fn override_onto(&self, configuration: &mut RunConfiguration) {
        fn set<T: Clone>(flag: &Option<T>, value: &mut T) {
            if let Some(flag) = flag {
                *value = flag.clone();
            }
        }
        set(&self.epochs, &mut configuration.run.epochs);
        if self.epochs.is_some() {
            configuration.run.images = None;
        }
        if self.images.is_some() {
            configuration.run.images = self.images;
        }
        set(&self.batch, &mut configuration.run.batch);
        set(&self.precision, &mut configuration.run.precision);
        set(&self.input_size, &mut configuration.network.input_size);
        set(&self.width, &mut configuration.network.width);
        if self.no_aux {
            configuration.network.auxiliary_heads = false;
        }
        if self.classes.is_some() {
            configuration.network.classes = self.classes;
        }
        set(&self.learning_rate, &mut configuration.optimisation.learning_rate);
        set(&self.seed, &mut configuration.run.seed);
        if self.sample_seed.is_some() {
            configuration.run.sample_seed = self.sample_seed;
        }
        if self.init_from.is_some() {
            configuration.run.init_from = self.init_from.clone();
        }
    }

    /// The same flags as words for a child process's command line.
    pub fn to_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut word = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                words.extend([format!("--{name}"), value]);
            }
        };
        word("recipe", self.recipe.clone());
        word("config", self.config.as_ref().map(|path| path.display().to_string()));
        word("epochs", self.epochs.map(|v| v.to_string()));
        word("images", self.images.map(|v| v.to_string()));
        word("batch", self.batch.map(|v| v.to_string()));
        word("precision", self.precision.map(|v| v.to_string()));
        word("input-size", self.input_size.map(|v| v.to_string()));
        word("width", self.width.map(|v| v.to_string()));
        word("classes", self.classes.map(|v| v.to_string()));
        word("learning-rate", self.learning_rate.map(|v| v.to_string()));
        word("init-from", self.init_from.clone());
        word("seed", self.seed.map(|v| v.to_string()));
        word("sample-seed", self.sample_seed.map(|v| v.to_string()));
        if self.no_aux {
            words.push("--no-aux".into());
        }
        words
    }
}

/// The instruction set asked for: the flag, else `DOWNPOUR_ISA`, else none (the best of the machine).
/// Called once, in main.
pub fn isa_name(flag: Option<String>) -> Option<String> {
    flag.or_else(|| std::env::var("DOWNPOUR_ISA").ok()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        flags: RunFlags,
    }

    #[test]
    fn words_parse_back_to_the_same_flags() {
        let flags = RunFlags {
            recipe: Some("paper".into()),
            epochs: Some(1.5),
            batch: Some(8),
            precision: Some(Precision::Bf16),
            input_size: Some(96),
            width: Some(0.5),
            no_aux: true,
            classes: Some(7),
            learning_rate: Some(0.003),
            init_from: Some("model.safetensors".into()),
            seed: Some(9),
            sample_seed: Some(10),
            ..RunFlags::default()
        };
        let parsed = Words::parse_from(std::iter::once("program".into()).chain(flags.to_words())).flags;
        assert_eq!(parsed, flags);
    }

    #[test]
    fn a_flag_goes_over_the_recipe_and_is_validated() {
        let flags = RunFlags { batch: Some(8), images: Some(100), no_aux: true, ..RunFlags::default() };
        let configuration = flags.resolve("paper").unwrap();
        assert_eq!(configuration.run.batch, 8);
        assert_eq!(configuration.total_samples(1000), 100);
        assert!(!configuration.network.auxiliary_heads);
        let text =
            RunFlags { batch: Some(0), ..RunFlags::default() }.resolve("paper").unwrap_err().to_string();
        assert_eq!(text, "configuration key run.batch: found 0, expected 1 to 4096 images");
    }

    #[test]
    fn a_configuration_file_without_an_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.toml");
        std::fs::write(&path, "# a comment\n".repeat(100_000)).unwrap();
        let text = RunFlags { config: Some(path.clone()), ..RunFlags::default() }.resolve("paper");
        let text = text.unwrap_err().to_string();
        let expected = format!(
            "cannot read configuration file {}: expected at most 1.0 MiB, it has 1.1 MiB",
            path.display()
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_line() {
        let text =
            crate::recipe::parse("recipe = \"x\"\nlerning_rate = 3\n", "my.toml").unwrap_err().to_string();
        assert!(text.starts_with("configuration file my.toml: "), "{text}");
        assert!(text.contains("line 2") && text.contains("lerning_rate"), "{text}");
    }
}
