//! The check that a run found on disk is the run that the flags ask for.

use anyhow::bail;
use configuration::{RunConfiguration, RunFlags};
use serde_json::Value;

/// Returns the configuration `found` in a snapshot, with which its run resumes.
///
/// # Errors
/// Anything that the flags name and that differs there; the text says the key and both values.
pub(crate) fn configuration(
    flags: &RunFlags,
    default_recipe: &str,
    found: &RunConfiguration,
) -> anyhow::Result<RunConfiguration> {
    let mut asked = found.clone();
    if flags.recipe.is_some() || flags.config.is_some() {
        asked = flags.resolve(default_recipe)?;
        asked.network.classes = asked.network.classes.or(found.network.classes);
        // The leader fills these two in as a run begins; releases before the data rules had versions left
        // that one out.
        asked.run.data_rules = asked.run.data_rules.or(found.run.data_rules);
        asked.run.init_sha256 = asked.run.init_sha256.or_else(|| found.run.init_sha256.clone());
    } else {
        flags.override_onto(&mut asked);
        asked.validate()?;
    }
    let json = |configuration| serde_json::to_value(configuration).expect("a configuration is plain data");
    if let Some((key, found, asked)) = first_difference("", &json(found), &json(&asked)) {
        bail!(
            "the snapshot is of another run: {key} is {found} there, and {asked} is asked for; \
             give the same, or --fresh to start anew (it removes the snapshots)"
        );
    }
    Ok(found.clone())
}

/// Finds the first key, dotted, at which two configurations differ, and returns it with both values.
fn first_difference(key: &str, found: &Value, asked: &Value) -> Option<(String, String, String)> {
    let (Value::Object(f), Value::Object(a)) = (found, asked) else {
        let show = |value: &Value| if value.is_null() { "not set".into() } else { value.to_string() };
        return (found != asked).then(|| (key.to_string(), show(found), show(asked)));
    };
    let names = f.keys().chain(a.keys().filter(|name| !f.contains_key(*name)));
    names.into_iter().find_map(|name| {
        let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        first_difference(&inner, f.get(name).unwrap_or(&Value::Null), a.get(name).unwrap_or(&Value::Null))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_keeps_the_rules_of_its_data_whoever_asks_again() {
        let recipe = RunFlags { recipe: Some("quick".into()), ..RunFlags::default() };
        for rules in [None, Some(1), Some(2)] {
            let mut found = recipe.resolve("quick").unwrap();
            found.run.data_rules = rules;
            for flags in [RunFlags::default(), recipe.clone()] {
                assert_eq!(configuration(&flags, "paper", &found).unwrap(), found);
            }
        }
    }

    #[test]
    fn what_the_flags_name_must_be_the_same() {
        let mut found =
            RunFlags { seed: Some(5), batch: Some(32), ..RunFlags::default() }.resolve("quick").unwrap();
        found.network.classes = Some(10);
        let resumed = |flags: RunFlags| configuration(&flags, "paper", &found);
        assert_eq!(resumed(RunFlags::default()).unwrap(), found);
        let same =
            RunFlags { seed: Some(5), batch: Some(32), recipe: Some("quick".into()), ..RunFlags::default() };
        assert_eq!(resumed(same).unwrap(), found);
        let text = resumed(RunFlags { batch: Some(8), ..RunFlags::default() }).unwrap_err().to_string();
        let expected = "the snapshot is of another run: run.batch is 32 there, and 8 is asked for; \
                        give the same, or --fresh to start anew (it removes the snapshots)";
        assert_eq!(text, expected);
        let text = resumed(RunFlags { images: Some(9), ..RunFlags::default() }).unwrap_err().to_string();
        assert!(text.contains("run.images is not set there, and 9 is asked for"), "{text}");
    }
}
