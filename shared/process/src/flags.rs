//! The flags that the programs share, and the order in which the sources of a run's settings override each
//! other: the file overrides the recipe, `--set` overrides the file, and a flag with a name of its own
//! overrides `--set`.

use std::path::PathBuf;

use settings::{ConfigurationError, Key, Layer, Precision, RunConfiguration, recipe};

use crate::file;

/// Flags that say what a run is to be. Settings without a flag come from the configuration file or the
/// recipe.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub struct RunFlags {
    /// Start from a named recipe: quick, paper, bvlc or fine-tune [default: the file's, else quick without
    /// --data, paper with it]
    #[arg(long, value_name = "R")]
    pub recipe: Option<String>,
    /// Read from a TOML file what the run has otherwise than its recipe
    #[arg(long, value_name = "F")]
    pub config: Option<PathBuf>,
    /// Set any key of the configuration, as run.lease_batches=2 or sampling.area=0.08,0.5; may be repeated.
    /// It goes over the file, which goes over the recipe; the flags below go over it
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Length of the run in epochs
    #[arg(long, allow_negative_numbers = true, value_name = "E", conflicts_with = "images", help = help("Length of the run", "run.epochs"))]
    pub epochs: Option<f64>,
    /// Length of the run in images
    #[arg(long, allow_negative_numbers = true, value_name = "I", help = help("Length of the run", "run.images"))]
    pub images: Option<u64>,
    /// End the run once its evaluations have not gained for so many epochs, by top-1 accuracy and then by loss
    #[arg(long, allow_negative_numbers = true, value_name = "E")]
    pub patience_epochs: Option<f64>,
    /// Images of one minibatch
    #[arg(long, allow_negative_numbers = true, value_name = "B", help = help("Minibatch", "run.batch"))]
    pub batch: Option<usize>,
    /// Number format in which workers compute
    #[arg(long, value_name = "P", help = help("Number format in which workers compute", "run.precision"))]
    pub precision: Option<Precision>,
    /// Side of the square input
    #[arg(long, allow_negative_numbers = true, value_name = "S", help = help("Side of the square input", "network.input_size"))]
    pub input_size: Option<usize>,
    /// Width multiplier of every layer
    #[arg(long, allow_negative_numbers = true, value_name = "X", help = help("Width multiplier of every layer", "network.width"))]
    pub width: Option<f32>,
    /// Leave out the two auxiliary classifiers
    #[arg(long)]
    pub no_aux: bool,
    /// Number of classes
    #[arg(long, allow_negative_numbers = true, value_name = "K", help = help("Classes [default: as many as the data has]", "network.classes"))]
    pub classes: Option<usize>,
    /// Base learning rate
    #[arg(long, allow_negative_numbers = true, value_name = "L", help = help("Base learning rate", "optimisation.learning_rate"))]
    pub learning_rate: Option<f64>,
    /// Model to start from, a caffe model or one of a run (its file, or the folder of a run or a snapshot): the
    /// tensors that fit the network are taken
    #[arg(long, value_name = "MODEL")]
    pub init_from: Option<String>,
    /// Seed of initial values, order, samples and dropout masks
    #[arg(long, allow_negative_numbers = true, value_name = "S")]
    pub seed: Option<u64>,
    /// Seed of order, samples and dropout masks alone [default: --seed]
    #[arg(long, allow_negative_numbers = true, value_name = "S")]
    pub sample_seed: Option<u64>,
}

/// Returns the help text of a flag: its `meaning`, and the range of the configuration key that it sets.
///
/// # Panics
/// If there is no configuration key `key`.
pub fn help(meaning: &str, key: &str) -> String {
    let range = Key::named(key).expect("a key of the table").range;
    format!("{meaning}: {range}")
}

/// Returns the help text of the flag `--recipe` in a command without a flag `--data`, whose recipe does not depend on
/// it: `default`, where neither the flag nor a file names one.
pub fn recipe_help(default: &str) -> String {
    let names = settings::recipe_names().collect::<Vec<_>>();
    let (last, others) = names.split_last().expect("there are recipes");
    format!(
        "Start from a named recipe: {} or {last} [default: the file's, else {default}]",
        others.join(", ")
    )
}

/// Splits the text of a flag `--set` into key and value, and checks them.
fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, as run.batch=8")?;
    Layer::default().set(key, value).map_err(|error| error.to_string())?;
    Ok((key.into(), value.into()))
}

impl RunFlags {
    /// Returns the configuration of a new run: the settings of the flags over those of the configuration file
    /// over those of a recipe, a built-in configuration. The recipe is `default_recipe` if neither a flag nor
    /// the file names one; a file with every key needs none.
    ///
    /// # Errors
    /// If the configuration file that `--config` names or the recipe cannot be used, or if a value is out of
    /// its range or conflicts with another.
    pub fn resolve(&self, default_recipe: &str) -> Result<RunConfiguration, ConfigurationError> {
        self.over(|| recipe(default_recipe))
    }

    /// Returns the configuration that the flags ask for when a run with the configuration `run` has already
    /// begun: settings that neither the flags nor the configuration file give are those of that run, unless a
    /// recipe is named.
    ///
    /// # Errors
    /// If the configuration file that `--config` names or the recipe cannot be used, or if a value is out of
    /// its range or conflicts with another.
    pub fn resolve_for(&self, run: &RunConfiguration) -> Result<RunConfiguration, ConfigurationError> {
        Ok(self.over(|| Ok(run.clone()))?.completed_like(run))
    }

    /// Returns the configuration of the file and the flags over the recipe that they name, or over
    /// `otherwise` if they name none. A file that has every key needs neither.
    fn over(
        &self,
        otherwise: impl FnOnce() -> Result<RunConfiguration, ConfigurationError>,
    ) -> Result<RunConfiguration, ConfigurationError> {
        let named = self.layer()?;
        let file = self.config.as_deref().map(file::read).transpose()?.unwrap_or_default();
        let base = match (named.recipe(), file.whole(), file.recipe()) {
            (Some(name), ..) | (None, None, Some(name)) => recipe(name)?,
            (None, Some(whole), _) => whole,
            (None, None, None) => otherwise()?,
        };
        let configuration = file.under(named).over(&base);
        configuration.validate()?;
        Ok(configuration)
    }

    /// Collects the settings that are given on the command line itself.
    fn layer(&self) -> Result<Layer, ConfigurationError> {
        let mut set = Layer::default();
        self.set.iter().try_for_each(|(key, value)| set.set(key, value))?;
        let mut flags = Layer::default();
        let mut flag = |key: &str, value: Option<String>| match value {
            Some(value) => flags.set(key, &value),
            None => Ok(()),
        };
        fn text<T: ToString>(value: &Option<T>) -> Option<String> {
            value.as_ref().map(T::to_string)
        }
        flag("recipe", text(&self.recipe))?;
        flag("run.epochs", text(&self.epochs))?;
        flag("run.images", text(&self.images))?;
        flag("run.patience_epochs", text(&self.patience_epochs))?;
        flag("run.batch", text(&self.batch))?;
        flag("run.precision", text(&self.precision))?;
        flag("network.input_size", text(&self.input_size))?;
        flag("network.width", text(&self.width))?;
        flag("network.auxiliary_heads", self.no_aux.then(|| "false".into()))?;
        flag("network.classes", text(&self.classes))?;
        flag("optimisation.learning_rate", text(&self.learning_rate))?;
        flag("run.init_from", text(&self.init_from))?;
        flag("run.seed", text(&self.seed))?;
        flag("run.sample_seed", text(&self.sample_seed))?;
        Ok(set.under(flags))
    }

    /// Returns the settings of these flags as arguments for the command line of a child process:
    /// `--config=FILE` and `--set=KEY=VALUE`.
    ///
    /// # Errors
    /// If a key that `--set` names does not exist, or if a value is out of its key's range. The configuration
    /// file is not read.
    pub fn to_words(&self) -> Result<Vec<String>, ConfigurationError> {
        let file = self.config.iter().map(|path| format!("--config={}", path.display()));
        Ok(file.chain(self.layer()?.texts().map(|text| format!("--set={text}"))).collect())
    }
}

/// Returns the name of the requested instruction set: `flag` or, without it, the environment variable
/// `DOWNPOUR_ISA`; `None` means the best of the machine.
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

    fn parsed(words: &[&str]) -> Result<RunFlags, clap::Error> {
        Words::try_parse_from(std::iter::once(&"program").chain(words)).map(|words| words.flags)
    }

    fn resolved(words: &[&str]) -> RunConfiguration {
        parsed(words).unwrap().resolve("quick").unwrap()
    }

    #[test]
    fn words_for_a_child_ask_for_the_same_run() {
        let flags = RunFlags {
            recipe: Some("fine-tune".into()),
            set: vec![("optimisation.rate_multipliers".into(), "*/bias=2,fc*=0.5".into())],
            epochs: Some(1.5),
            patience_epochs: Some(0.5),
            batch: Some(8),
            precision: Some(Precision::Bf16),
            input_size: Some(96),
            width: Some(0.3),
            no_aux: true,
            classes: Some(7),
            learning_rate: Some(0.003),
            init_from: Some("a model, of = sorts".into()),
            seed: Some(u64::MAX),
            sample_seed: Some(10),
            ..RunFlags::default()
        };
        let words = flags.to_words().unwrap();
        let child = parsed(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let configuration = flags.resolve("quick").unwrap();
        assert_eq!(child.resolve("quick").unwrap(), configuration);
        assert_eq!((configuration.run.batch, configuration.network.width), (8, 0.3));
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
    fn flags_go_over_set_over_the_file_over_the_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let file = path.to_str().unwrap();
        std::fs::write(&path, "recipe = \"bvlc\"\n[run]\nbatch = 3\nseed = 3\nwire = \"bf16\"\n").unwrap();
        let bvlc = resolved(&["--recipe", "bvlc"]);
        let mut expected = bvlc.clone();
        (expected.run.batch, expected.run.seed, expected.run.wire) = (3, 3, Some(settings::Wire::Bf16));
        assert_eq!(resolved(&["--config", file]), expected);
        (expected.run.batch, expected.run.seed) = (4, 4);
        let set = ["--config", file, "--set", "run.batch=4", "--set", "run.seed=4"];
        assert_eq!(resolved(&set), expected);
        expected.run.seed = 5;
        assert_eq!(resolved(&[&set[..], &["--seed", "5"]].concat()), expected);
        // The recipe beneath is that of the highest that names one.
        let quick = resolved(&["--config", file, "--set", "recipe=quick"]);
        assert_eq!((quick.recipe.as_str(), quick.network.input_size, quick.run.batch), ("quick", 64, 3));
        let paper = resolved(&["--config", file, "--set", "recipe=quick", "--recipe", "paper"]);
        assert_eq!((paper.recipe.as_str(), paper.network.input_size, paper.run.batch), ("paper", 224, 3));
        // Of a run that has begun, the file asks for no more than it holds.
        std::fs::write(&path, "[run]\nbatch = 3\n").unwrap();
        let begun = RunConfiguration { run: settings::Run { batch: 3, ..bvlc.run.clone() }, ..bvlc };
        assert_eq!(parsed(&["--config", file]).unwrap().resolve_for(&begun).unwrap(), begun);
    }

    #[test]
    fn a_file_with_every_key_stands_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whole.toml");
        let mut whole = resolved(&["--recipe", "fine-tune", "--init-from", "model"]);
        (whole.recipe, whole.run.init_except) = ("of my own".into(), Vec::new());
        whole.optimisation.rate_multipliers.clear();
        std::fs::write(&path, toml::to_string(&whole).unwrap()).unwrap();
        assert_eq!(resolved(&["--config", path.to_str().unwrap()]), whole);
        std::fs::write(&path, "recipe = \"of my own\"\n").unwrap();
        let text =
            parsed(&["--config", path.to_str().unwrap()]).unwrap().resolve("quick").unwrap_err().to_string();
        assert_eq!(text, "recipe \"of my own\" is not known; expected one of quick, paper, bvlc, fine-tune");
    }

    #[test]
    fn a_number_below_zero_is_a_number_of_its_flag() {
        let text = |words: &[&str]| match parsed(words) {
            Ok(flags) => flags.resolve("quick").unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        let found = text(&["--learning-rate", "-1"]);
        assert!(
            found.starts_with("configuration key optimisation.learning_rate: found -1, expected over 0"),
            "{found}"
        );
        assert!(text(&["--batch", "-8"]).contains("invalid value '-8' for '--batch <B>'"));
        assert!(text(&["--epochs", "-2.5"]).contains("run.epochs: found -2.5"));
    }

    #[test]
    fn a_setting_that_cannot_be_is_refused_as_a_flag() {
        for (setting, expected) in [
            ("run.batch", "expected KEY=VALUE, as run.batch=8"),
            ("run.bacth=8", "configuration key run.bacth is not known; expected one of run.seed, "),
            ("run.batch=many", "configuration key run.batch: found \"many\", expected 1 to 4096 images"),
        ] {
            let text = parsed(&["--set", setting]).unwrap_err().to_string();
            assert!(text.contains("--set <KEY=VALUE>") && text.contains(expected), "{text}");
        }
    }

    #[test]
    fn help_tells_the_range() {
        use clap::CommandFactory;
        let help = Words::command().render_long_help().to_string();
        for part in
            ["Minibatch: 1 to 4096 images", "over 0, at most 10", "one of f32, bf16", "over the recipe"]
        {
            assert!(help.contains(part), "{part} is missing from {help}");
        }
    }
}
