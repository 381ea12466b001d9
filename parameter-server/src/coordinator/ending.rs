//! The end of a run, and whether it has been announced to members.

use protocol::Ending;

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
