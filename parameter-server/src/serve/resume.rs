//! A run found on disk that goes on: whether it is the one that the flags ask for, and what is to be otherwise
//! from there on.

use anyhow::{bail, ensure};
use process::RunFlags;
use settings::{Difference, RunConfiguration};

use crate::{
    coordinator::{SavedRun, leases::Progress},
    telemetry::PatienceLine,
};

/// Keys of the length of a stair, without which it stays as it was when the run began.
const STAIRS: [&str; 2] = ["optimisation.stair_epochs", "optimisation.stair_share"];

/// Returns the state `saved` in a snapshot as the run goes on from it: with the values that the flags name of keys
/// that [may change](settings::Key::may_change). A finished run that gets longer is no longer finished.
///
/// # Errors
/// If the flags name another value of a key that a run keeps, which the text gives with both values; if they
/// make the run shorter than what workers were given of it; if they change a finished run and leave nothing to train.
pub fn going_on(flags: &RunFlags, saved: SavedRun) -> anyhow::Result<SavedRun> {
    let asked = flags.resolve_for(&saved.configuration)?;
    let changes = changes(&saved.configuration, &asked)?;
    if changes.is_empty() {
        return Ok(saved);
    }
    check_length(&saved, &asked, &changes)?;
    for Difference { key, one, other } in &changes {
        tracing::info!("{key} is {other} from here on, and was {one}");
    }
    let other_stairs = changes.iter().any(|change| STAIRS.contains(&change.key.as_str()));
    Ok(SavedRun {
        ramp_samples: Some(saved.ramp_samples()),
        stair_samples: (!other_stairs).then(|| saved.stair_samples()),
        finished: false,
        configuration: asked,
        ..saved
    })
}

/// Checks that the run `saved` can go on as it is `asked` for, by these `changes`.
fn check_length(saved: &SavedRun, asked: &RunConfiguration, changes: &[Difference]) -> anyhow::Result<()> {
    let Progress { leased: had, used, skipped, .. } = saved.progress;
    let total = asked.total_samples(saved.data.images);
    let named = named(changes);
    let least = match had - used - skipped {
        0 => format!("the {had} that it has had"),
        _ => format!("the {had} that its workers were given to do ({used} are done)"),
    };
    ensure!(
        total >= had,
        "{named}: the run would have {total} samples, expected at least {least}; give a larger --epochs or --images, or \
         --fresh to start anew (it removes the snapshots)"
    );
    if !saved.finished {
        return Ok(());
    }
    ensure!(
        total > had,
        "the run is finished after {had} samples, and nothing is left to train with {named}; give a larger --epochs or \
         --images too"
    );
    if let Some(PatienceLine { samples, best_samples, epochs }) =
        saved.lost_patience(asked.run.patience_epochs)
    {
        let gained = (samples - best_samples) as f64 / saved.data.images as f64;
        bail!(
            "the run is finished after {had} samples, and would end at once with {named}: its patience of {epochs} epochs is \
             kept, and for {gained:.1} epochs no evaluation has gained; give a larger --patience-epochs than that too"
        );
    }
    Ok(())
}

/// Returns what is to change in a run with the configuration `found` for it to be the one that is `asked` for.
///
/// # Errors
/// If a key differs that a run keeps.
fn changes(found: &RunConfiguration, asked: &RunConfiguration) -> anyhow::Result<Vec<Difference>> {
    found.changes_to(asked).map_err(|Difference { key, one, other }| {
        anyhow::anyhow!(
            "the snapshot is of another run: {key} is {one} there, and {other} is asked for; give the same, or --fresh \
             to start anew (it removes the snapshots)"
        )
    })
}

/// Lists the keys that change with their new values.
fn named(changes: &[Difference]) -> String {
    changes.iter().map(|change| format!("{} {}", change.key, change.other)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use protocol::{Evaluation, Life, Scores};
    use settings::Wire;

    use super::*;
    use crate::{coordinator::leases::EpochLedger, testing::data};

    /// A run of 4.5 epochs of 100 images, after 250 of them.
    fn saved(configuration: RunConfiguration) -> SavedRun {
        let ledger =
            |(epoch, distinct)| EpochLedger { epoch, images: 100, distinct, ..EpochLedger::default() };
        let ledgers = [(0, 100), (1, 100), (2, 50)].map(ledger).into();
        SavedRun {
            rate_factor: 1.0,
            configuration,
            data: data(100),
            progress: Progress { leased: 250, to_do: Vec::new(), ledgers, used: 250, skipped: 0 },
            steps: 10,
            unreadable: BTreeSet::new(),
            evaluations: Vec::new(),
            finished: false,
            ramp_samples: None,
            stair_samples: None,
            addresses: Vec::new(),
            momentum_moved: false,
            life: Life::default(),
            surplus: BTreeMap::new(),
        }
    }

    fn quick() -> SavedRun {
        saved(RunFlags::default().resolve("quick").unwrap())
    }

    fn finished() -> SavedRun {
        let mut run = quick();
        run.configuration.run.epochs = 2.5;
        SavedRun { finished: true, ..run }
    }

    fn evaluation((id, samples, top1): (u64, u64, f64)) -> Evaluation {
        let average = Scores::new([("top1", top1)]);
        Evaluation { id, samples, images: 10, unreadable: 0, average, last_iterate: None }
    }

    fn set(texts: &[(&str, &str)]) -> RunFlags {
        let set = texts.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        RunFlags { set, ..RunFlags::default() }
    }

    fn refused(flags: &RunFlags, saved: SavedRun) -> String {
        going_on(flags, saved).unwrap_err().to_string()
    }

    #[test]
    fn a_run_keeps_the_rules_of_its_data_whoever_asks_again() {
        let recipe = RunFlags { recipe: Some("quick".into()), ..RunFlags::default() };
        for rules in [None, Some(1), Some(2)] {
            let mut found = quick();
            found.configuration.run.data_rules = rules;
            for flags in [RunFlags::default(), recipe.clone()] {
                assert_eq!(going_on(&flags, found.clone()).unwrap(), found);
            }
        }
    }

    #[test]
    fn values_may_travel_in_other_formats() {
        let bits = going_on(&set(&[("run.gradient_wire", "4bit")]), quick()).unwrap();
        assert_eq!(bits.configuration.run.gradient_wire, Some(Wire::Bits4));
        // Not named, they stay as they were.
        assert_eq!(going_on(&RunFlags::default(), bits.clone()).unwrap(), bits);
    }

    #[test]
    fn a_finished_run_goes_on_if_it_gets_longer_and_its_ramp_stays() {
        let had = finished();
        let ramp = had.ramp_samples();
        let longer = going_on(&RunFlags { epochs: Some(9.0), ..RunFlags::default() }, had.clone()).unwrap();
        assert_eq!((longer.finished, longer.configuration.run.epochs), (false, 9.0));
        assert_eq!((ramp, longer.ramp_samples()), (13, 13), "5 % of 250 samples, not of 900");
        // Once more, with another rate, and in images.
        let flags = RunFlags { images: Some(950), learning_rate: Some(0.006), ..RunFlags::default() };
        let twice = going_on(&flags, longer).unwrap();
        assert_eq!(twice.ramp_samples(), 13);
        assert_eq!(twice.configuration.optimisation.learning_rate, 0.006);
        // A length in epochs takes the place of one in images.
        let epochs = going_on(&RunFlags { epochs: Some(20.0), ..RunFlags::default() }, twice).unwrap();
        assert_eq!((epochs.configuration.run.images, epochs.configuration.run.epochs), (None, 20.0));
        assert_eq!(going_on(&RunFlags::default(), had.clone()).unwrap(), had);
    }

    #[test]
    fn a_stair_that_is_a_share_of_the_run_stays_unless_it_is_named() {
        let mut had = finished();
        had.configuration.optimisation.stair_share = Some(0.4);
        assert_eq!(had.stair_samples(), 100);
        let longer = going_on(&RunFlags { epochs: Some(9.0), ..RunFlags::default() }, had.clone()).unwrap();
        assert_eq!(longer.stair_samples(), 100);
        let other = RunFlags { epochs: Some(9.0), ..set(&[("optimisation.stair_share", "0.5")]) };
        assert_eq!(going_on(&other, had).unwrap().stair_samples(), 450);
    }

    #[test]
    fn a_run_that_would_be_over_already_is_refused() {
        let rate = RunFlags { learning_rate: Some(0.006), ..RunFlags::default() };
        let text = refused(&rate, finished());
        let expected = "the run is finished after 250 samples, and nothing is left to train with \
                        optimisation.learning_rate 0.006; give a larger --epochs or --images too";
        assert_eq!(text, expected);
        let short = RunFlags { epochs: Some(2.0), ..RunFlags::default() };
        for saved in [quick(), finished()] {
            let text = refused(&short, saved);
            let expected =
                "run.epochs 2: the run would have 200 samples, expected at least the 250 that it has had; ";
            assert!(text.starts_with(expected), "{text}");
        }
        let mut held = quick();
        held.progress.used = 210;
        let text = refused(&short, held);
        let expected =
            "expected at least the 250 that its workers were given to do (210 are done); give a larger ";
        assert!(text.contains(expected), "{text}");
        let shorter = going_on(&RunFlags { epochs: Some(3.0), ..RunFlags::default() }, quick()).unwrap();
        assert_eq!(shorter.configuration.total_samples(100), 300);
    }

    #[test]
    fn a_run_that_lost_patience_goes_on_with_a_larger_one() {
        let mut early = finished();
        (early.configuration.run.epochs, early.configuration.run.patience_epochs) = (4.5, Some(1.0));
        early.evaluations = [(1, 150, 0.9), (2, 250, 0.5)].map(evaluation).into();
        assert_eq!((early.ended_early(), finished().ended_early()), (Some(1.0), None));
        let patience = |epochs| RunFlags { patience_epochs: Some(epochs), ..RunFlags::default() };
        let longer = going_on(&patience(9.0), early.clone()).unwrap();
        assert_eq!((longer.finished, longer.configuration.total_samples(100)), (false, 450));
        assert_eq!(longer.ended_early(), None);
        let epochs = RunFlags { epochs: Some(9.0), ..RunFlags::default() };
        let text = refused(&epochs, early.clone());
        let expected = "the run is finished after 250 samples, and would end at once with run.epochs 9: its patience of 1 \
                        epochs is kept, and for 1.0 epochs no evaluation has gained; give a larger --patience-epochs than \
                        that too";
        assert_eq!(text, expected);
        let both = RunFlags { epochs: Some(9.0), ..patience(2.0) };
        assert_eq!(going_on(&both, early.clone()).unwrap().configuration.total_samples(100), 900);
        // At its whole length there is nothing left for any patience.
        early.configuration.run.epochs = 2.5;
        assert_eq!(early.ended_early(), None);
        assert!(
            refused(&patience(9.0), early).contains("nothing is left to train with run.patience_epochs 9")
        );
    }

    #[test]
    fn what_a_run_keeps_must_be_the_same() {
        let mut found = quick();
        (found.configuration.run.seed, found.configuration.run.batch) = (5, 32);
        found.configuration.network.classes = Some(10);
        let same =
            RunFlags { seed: Some(5), batch: Some(32), recipe: Some("quick".into()), ..RunFlags::default() };
        for flags in [RunFlags::default(), same] {
            assert_eq!(going_on(&flags, found.clone()).unwrap(), found);
        }
        let other = RunFlags { batch: Some(8), epochs: Some(9.0), ..RunFlags::default() };
        let expected = "the snapshot is of another run: run.batch is 32 there, and 8 is asked for; give the same, or \
                        --fresh to start anew (it removes the snapshots)";
        assert_eq!(refused(&other, found.clone()), expected);
        let text = refused(&set(&[("optimisation.ramp", "0.1")]), found);
        assert!(text.contains("optimisation.ramp is 0.05 there, and 0.1 is asked for"), "{text}");
    }
}
