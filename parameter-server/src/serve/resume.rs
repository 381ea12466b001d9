//! The check that a run found on disk is the run that the flags ask for.

use anyhow::bail;
use process::RunFlags;
use settings::{Difference, RunConfiguration, first_difference};

/// Returns the configuration with which a run resumes whose snapshot has the configuration `found`: that one,
/// but for the formats in which values travel, which the flags may change as links change.
///
/// # Errors
/// If the flags name another value that differs in the snapshot; the text gives the key and both values.
pub(crate) fn configuration(flags: &RunFlags, found: &RunConfiguration) -> anyhow::Result<RunConfiguration> {
    let asked = flags.resolve_for(found)?;
    let mut resumed = found.clone();
    (resumed.run.wire, resumed.run.gradient_wire) = (asked.run.wire, asked.run.gradient_wire);
    if let Some(Difference { key, one, other }) = first_difference(&resumed, &asked) {
        bail!(
            "the snapshot is of another run: {key} is {one} there, and {other} is asked for; \
             give the same, or --fresh to start anew (it removes the snapshots)"
        );
    }
    if let Some(Difference { key, one, other }) = first_difference(found, &resumed) {
        tracing::info!("{key} is {other} from here on, and was {one}");
    }
    Ok(resumed)
}

#[cfg(test)]
mod tests {
    use settings::{Run, Wire};

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
    fn values_may_travel_in_other_formats() {
        let found = RunFlags::default().resolve("quick").unwrap();
        let set = |text: &str| {
            let set = vec![("run.gradient_wire".into(), text.into())];
            configuration(&RunFlags { set, ..RunFlags::default() }, &found).unwrap()
        };
        let with = |wire| {
            let run = Run { gradient_wire: Some(wire), ..found.run.clone() };
            RunConfiguration { run, ..found.clone() }
        };
        assert_eq!(set("4bit"), with(Wire::Bits4));
        // Not named, they stay as they were.
        assert_eq!(configuration(&RunFlags::default(), &set("1bit")).unwrap(), with(Wire::Bits1));
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
