//! Recipes: named starting points of a configuration, a file each. The paper's sets every key; the others are
//! defined by their differences from it.

mod bvlc;
mod fine_tune;
mod paper;
mod quick;

use crate::{ConfigurationError, RunConfiguration};

/// A recipe: its name, and the function that makes its configuration.
type Recipe = (&'static str, fn() -> RunConfiguration);

const RECIPES: [Recipe; 4] = [
    ("quick", quick::recipe),
    ("paper", paper::recipe),
    ("bvlc", bvlc::recipe),
    ("fine-tune", fine_tune::recipe),
];

/// Returns the names of all recipes, the built-in configurations that [`recipe`] returns.
pub fn recipe_names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().map(|(name, _)| *name)
}

/// Returns the configuration of the recipe called `name`. A recipe is a built-in configuration from which a
/// run's settings start.
///
/// # Errors
/// If no recipe has this name.
pub fn recipe(name: &str) -> Result<RunConfiguration, ConfigurationError> {
    let found = RECIPES.iter().find(|(known, _)| *known == name).map(|(_, recipe)| recipe());
    found.ok_or_else(|| {
        let known = recipe_names().collect::<Vec<_>>().join(", ");
        ConfigurationError::Recipe { found: name.into(), known }
    })
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
        }
    }

    #[test]
    fn an_unknown_recipe_names_the_known_ones() {
        let text = recipe("papper").unwrap_err().to_string();
        assert_eq!(text, "recipe \"papper\" is not known; expected one of quick, paper, bvlc, fine-tune");
    }
}
