//! The end of a run, and whether it has been announced to members; and the patience with a run whose evaluations
//! do not gain.

use protocol::{Ending, Evaluation};

use crate::telemetry::PatienceLine;

/// Returns whether a run over `images` training images has lost patience, of so many `epochs` if it has any: the
/// samples used between its `best` evaluation and its `newest` one, as a line of metrics.
pub(super) fn lost_patience(
    epochs: Option<f64>,
    images: u64,
    best: &Evaluation,
    newest: &Evaluation,
) -> Option<PatienceLine> {
    let epochs = epochs?;
    let since = newest.samples.saturating_sub(best.samples);
    let over = since as f64 >= epochs * images as f64;
    over.then_some(PatienceLine { samples: newest.samples, best_samples: best.samples, epochs })
}

/// Progress of a run towards its end: not reached, reached, or reached and announced to members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// The end is not reached: the run goes on.
    #[default]
    NotYet,
    /// The run is complete, but its end is not announced: a snapshot must hold the completion before members
    /// (workers) are told, so that no restart can make the run incomplete again.
    Unannounced,
    /// The end is reached and announced: members (workers) may be told how the run ended.
    Announced(Ending),
}

impl RunEnd {
    /// Ends the run; has no effect on one that has already ended.
    pub(super) fn end(&mut self, ending: Ending) {
        if *self == RunEnd::NotYet {
            *self = match ending {
                Ending::Completed => RunEnd::Unannounced,
                ending => RunEnd::Announced(ending),
            };
        }
    }

    /// Announces the completion of the run to members, if the run is complete.
    pub(super) fn announce(&mut self) {
        if *self == RunEnd::Unannounced {
            *self = RunEnd::Announced(Ending::Completed);
        }
    }

    /// Returns how the run ended, announced or not; `None` while it goes on.
    pub(super) fn ending(&self) -> Option<Ending> {
        match self {
            RunEnd::NotYet => None,
            RunEnd::Unannounced => Some(Ending::Completed),
            RunEnd::Announced(ending) => Some(ending.clone()),
        }
    }

    /// Returns how the run ended, if the end has been announced.
    pub(super) fn announced(&self) -> Option<Ending> {
        match self {
            RunEnd::NotYet | RunEnd::Unannounced => None,
            RunEnd::Announced(ending) => Some(ending.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_lasts_from_the_best_evaluation_on() {
        let after = |samples| Evaluation {
            id: 1,
            samples,
            images: 10,
            unreadable: 0,
            average: Default::default(),
            last_iterate: None,
        };
        let lost = |epochs, best, newest| lost_patience(epochs, 100, &after(best), &after(newest));
        assert_eq!(lost(None, 0, u64::MAX), None);
        assert_eq!((lost(Some(1.5), 200, 349), lost(Some(1.5), 200, 200)), (None, None));
        let line = PatienceLine { samples: 350, best_samples: 200, epochs: 1.5 };
        assert_eq!(lost(Some(1.5), 200, 350), Some(line));
        // One that was slow may be of an earlier moment.
        assert_eq!(lost(Some(1.5), 400, 200), None);
    }

    #[test]
    fn the_first_end_stays_and_completion_waits_to_be_announced() {
        let mut end = RunEnd::default();
        end.announce();
        assert_eq!((end.ending(), end.announced()), (None, None));
        end.end(Ending::Completed);
        end.end(Ending::Interrupted);
        assert_eq!((end.ending(), end.announced()), (Some(Ending::Completed), None));
        end.announce();
        assert_eq!(end.announced(), Some(Ending::Completed));
        let mut end = RunEnd::default();
        end.end(Ending::Interrupted);
        end.end(Ending::Completed);
        assert_eq!(end.announced(), Some(Ending::Interrupted));
    }
}
