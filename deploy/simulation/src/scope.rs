//! The settings of a run that a simulation, or a plan, knows nothing of. It refuses them: its result would be that of
//! a run without them.

use settings::{ConfigurationError, Precision, RunConfiguration, recipe};

/// Checks that a simulation has every setting of a run that it is given.
///
/// # Errors
/// If a key has a value that a simulation does not have; the error names the first such key.
pub fn check_simulated(configuration: &RunConfiguration) -> Result<(), ConfigurationError> {
    let run = &configuration.run;
    if run.precision != Precision::F32 {
        return refused(
            "run.precision",
            run.precision,
            "f32, in which a simulation computes: leave --precision out",
        );
    }
    if let Some(epochs) = run.patience_epochs {
        let expected = "none, since a simulation goes on to its length, or to the accuracy of --until: leave \
                        --patience-epochs out";
        return refused("run.patience_epochs", epochs, expected);
    }
    if run.evaluate_last_iterate {
        let expected = "false, since a simulation scores the average alone: leave it out";
        return refused("run.evaluate_last_iterate", true, expected);
    }
    let usual = recipe(&configuration.recipe).map(|recipe| recipe.run.lease_batches);
    if let Some(usual) = usual.ok().filter(|usual| *usual != run.lease_batches) {
        let expected = format!("the recipe's {usual}, since simulated workers have no leases: leave it out");
        return refused("run.lease_batches", run.lease_batches, &expected);
    }
    Ok(())
}

/// Checks that a plan has every setting on which the length of a run depends.
///
/// # Errors
/// If a key has a value that a plan cannot have; the error names the key.
pub fn check_planned(configuration: &RunConfiguration) -> Result<(), ConfigurationError> {
    match configuration.run.patience_epochs {
        None => Ok(()),
        Some(epochs) => {
            let expected = "none, since no formula says when evaluations cease to gain: leave --patience-epochs out; \
                            --epochs has the length to plan";
            refused("run.patience_epochs", epochs, expected)
        }
    }
}

fn refused(
    key: &'static str,
    found: impl std::fmt::Display,
    expected: &str,
) -> Result<(), ConfigurationError> {
    Err(ConfigurationError::Value { key, found: found.to_string(), expected: expected.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use settings::Layer;

    fn with(recipe: &str, key: &str, value: &str) -> RunConfiguration {
        let mut layer = Layer::default();
        layer.set(key, value).unwrap();
        layer.over(&settings::recipe(recipe).unwrap())
    }

    #[test]
    fn what_is_not_simulated_is_refused_by_its_key() {
        for (key, value, expected) in [
            ("run.precision", "bf16", "found bf16, expected f32, in which a simulation computes: leave "),
            (
                "run.patience_epochs",
                "2.5",
                "found 2.5, expected none, since a simulation goes on to its length",
            ),
            (
                "run.evaluate_last_iterate",
                "true",
                "found true, expected false, since a simulation scores the",
            ),
            ("run.lease_batches", "3", "found 3, expected the recipe's 8, since simulated workers have no "),
        ] {
            let text = check_simulated(&with("quick", key, value)).unwrap_err().to_string();
            assert!(text.starts_with(&format!("configuration key {key}: {expected}")), "{text}");
        }
    }

    /// A file with every key names these as well, as they are without it.
    #[test]
    fn what_is_as_usual_may_be_named() {
        for (key, value) in [
            ("run.precision", "f32"),
            ("run.evaluate_last_iterate", "false"),
            ("run.lease_batches", "8"),
            ("network.dropout", "true"),
        ] {
            check_simulated(&with("quick", key, value)).unwrap();
        }
        check_simulated(&RunConfiguration {
            recipe: "of my own".into(),
            ..with("quick", "run.lease_batches", "3")
        })
        .unwrap();
        for recipe in settings::recipe_names() {
            let configuration = settings::recipe(recipe).unwrap();
            check_simulated(&configuration).unwrap();
            check_planned(&configuration).unwrap();
        }
    }

    #[test]
    fn a_length_without_a_formula_is_not_planned() {
        let text = check_planned(&with("paper", "run.patience_epochs", "5")).unwrap_err().to_string();
        let expected = "configuration key run.patience_epochs: found 5, expected none, since no formula says when \
                        evaluations cease to gain: leave --patience-epochs out; --epochs has the length to plan";
        assert_eq!(text, expected);
        check_planned(&with("paper", "run.precision", "bf16")).unwrap();
    }
}
