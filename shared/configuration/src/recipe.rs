//! Named starting points, one TOML file each in `recipes/`.

use crate::{ConfigurationError, RunConfiguration};

const RECIPES: [(&str, &str); 4] = [
    ("quick", include_str!("../recipes/quick.toml")),
    ("paper", include_str!("../recipes/paper.toml")),
    ("bvlc", include_str!("../recipes/bvlc.toml")),
    ("fine-tune", include_str!("../recipes/fine-tune.toml")),
];

/// The names that [`recipe`] knows.
pub fn recipe_names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().map(|(name, _)| *name)
}

/// The recipe of that name.
pub fn recipe(name: &str) -> Result<RunConfiguration, ConfigurationError> {
    parse(text(name)?, name)
}

/// The text of the recipe of that name.
pub(crate) fn text(name: &str) -> Result<&'static str, ConfigurationError> {
    let found = RECIPES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    found.ok_or_else(|| {
        let known = recipe_names().collect::<Vec<_>>().join(", ");
        ConfigurationError::Recipe { found: name.into(), known }
    })
}

/// Reads a whole configuration from TOML text; `path` is for the message.
pub(crate) fn parse(text: &str, path: &str) -> Result<RunConfiguration, ConfigurationError> {
    toml::from_str(text)
        .map_err(|e| ConfigurationError::Parse { path: path.into(), text: e.to_string().trim_end().into() })
}

impl RunConfiguration {
    /// The text of a configuration file that says this.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is plain data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_is_valid_and_named_as_its_file() {
        for name in recipe_names() {
            let mut configuration = recipe(name).unwrap();
            // What to start from is the user's to say.
            if !configuration.run.init_except.is_empty() {
                let text = configuration.validate().unwrap_err().to_string();
                assert!(
                    text.starts_with("configuration key run.init_from: found nothing, expected"),
                    "{text}"
                );
                configuration.run.init_from = Some("model.safetensors".into());
            }
            configuration.validate().unwrap();
            assert_eq!(configuration.recipe, name);
            assert_eq!(parse(&configuration.to_toml(), name).unwrap(), configuration);
        }
    }

    /// A recipe in which one piece of text is another.
    fn changed(from: &str, to: &str) -> String {
        let text = text("paper").unwrap();
        assert!(text.contains(from), "{from}");
        let changed = parse(&text.replace(from, to), "mine.toml").and_then(|found| found.validate());
        changed.unwrap_err().to_string()
    }

    #[test]
    fn unknown_missing_and_contradictory_keys_are_named() {
        for (from, to, expected) in [
            ("mirror = true", "miror = true", "unknown field `miror`"),
            ("mirror = true", "mirror = true\nmirror = false", "duplicate key"),
            ("momentum = 0.9\n", "", "missing field `momentum`"),
            ("seed = 1", "seed = -1", "invalid value: integer `-1`"),
            (
                "[0.08, 1.0]",
                "[0.5, 0.25]",
                "configuration key sampling.area: found [0.5, 0.25], expected 0 < least <= largest <= 1",
            ),
            (
                "\"area\", \"nearest\"",
                "\"area\", \"area\"",
                "configuration key sampling.interpolation: found [bilinear, area, area, cubic], expected at least one, \
                 none twice",
            ),
            ("\"area\", \"nearest\"", "\"lanczos\"", "unknown variant `lanczos`, expected one of `bilinear`"),
            (
                "lighting = 0.1",
                "lighting = 10.0",
                "configuration key sampling.lighting: found 10, expected 0 (off) to 1",
            ),
        ] {
            let text = changed(from, to);
            assert!(text.contains(expected), "{to:?}: expected {expected:?} in {text}");
            assert!(text.starts_with("configuration key ") || text.contains("mine.toml: "), "{text}");
        }
    }

    #[test]
    fn an_unknown_recipe_names_the_known_ones() {
        let text = recipe("papper").unwrap_err().to_string();
        assert_eq!(text, "recipe \"papper\" is not known; expected one of quick, paper, bvlc, fine-tune");
    }
}
