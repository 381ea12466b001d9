//! Named starting points, one TOML file each in `recipes/`.

use crate::{ConfigurationError, RunConfiguration};

const RECIPES: [(&str, &str); 2] =
    [("quick", include_str!("../recipes/quick.toml")), ("paper", include_str!("../recipes/paper.toml"))];

/// The names that [`recipe`] knows.
pub fn recipe_names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().map(|(name, _)| *name)
}

/// The recipe of that name.
pub fn recipe(name: &str) -> Result<RunConfiguration, ConfigurationError> {
    let (name, text) = RECIPES.iter().find(|(known, _)| *known == name).ok_or_else(|| {
        let known = recipe_names().collect::<Vec<_>>().join(", ");
        ConfigurationError::Recipe { found: name.into(), known }
    })?;
    parse(text, name)
}

/// Reads a whole configuration from TOML text; `path` is for the message.
pub(crate) fn parse(text: &str, path: &str) -> Result<RunConfiguration, ConfigurationError> {
    toml::from_str(text)
        .map_err(|e| ConfigurationError::Parse { path: path.into(), text: e.to_string().trim_end().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_is_valid_and_named_as_its_file() {
        for name in recipe_names() {
            let configuration = recipe(name).unwrap();
            configuration.validate().unwrap();
            assert_eq!(configuration.recipe, name);
        }
    }

    #[test]
    fn an_unknown_recipe_names_the_known_ones() {
        let text = recipe("papper").unwrap_err().to_string();
        assert_eq!(text, "recipe \"papper\" is not known; expected one of quick, paper");
    }
}
