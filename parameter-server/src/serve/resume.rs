//! The check that a run found on disk is the run that the flags ask for.

use anyhow::bail;
use process::RunFlags;
use settings::{Difference, RunConfiguration, first_difference};

/// Returns the configuration `found` in a snapshot, with which its run resumes.
///
/// # Errors
/// If the flags name a value that differs in the snapshot; the text gives the key and both values.
pub(crate) fn configuration(flags: &RunFlags, found: &RunConfiguration) -> anyhow::Result<RunConfiguration> {
    let asked = flags.resolve_for(found)?;
    if let Some(Difference { key, one, other }) = first_difference(found, &asked) {
        bail!(
            "the snapshot is of another run: {key} is {one} there, and {other} is asked for; \
             give the same, or --fresh to start anew (it removes the snapshots)"
        );
    }
    Ok(found.clone())
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
                assert_eq!(configuration(&flags, &found).unwrap(), found);
            }
        }
    }

    #[test]
    fn what_the_flags_name_must_be_the_same() {
        let mut found =
            RunFlags { seed: Some(5), batch: Some(32), ..RunFlags::default() }.resolve("quick").unwrap();
        found.network.classes = Some(10);
        let resumed = |flags: RunFlags| configuration(&flags, &found);
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
