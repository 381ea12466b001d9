//! The end of a run, and whether members may be told of it.

use protocol::Ending;

/// The end of a run: not reached, reached, or reached and made known to members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// The run goes on.
    #[default]
    NotYet,
    /// The run is complete, which a snapshot must hold before members are told: no restart can then make the
    /// run incomplete again.
    Unannounced,
    /// The run has ended, and members may be told how.
    Announced(Ending),
}

impl RunEnd {
    /// Ends the run. One that has already ended stays as it ended.
    pub(super) fn end(&mut self, ending: Ending) {
        if *self == RunEnd::NotYet {
            *self = match ending {
                Ending::Completed => RunEnd::Unannounced,
                ending => RunEnd::Announced(ending),
            };
        }
    }

    /// Allows members to be told that the run is complete, if it is.
    pub(super) fn announce(&mut self) {
        if *self == RunEnd::Unannounced {
            *self = RunEnd::Announced(Ending::Completed);
        }
    }

    /// Returns the end that the run has come to; none while it goes on.
    pub(super) fn ending(&self) -> Option<Ending> {
        match self {
            RunEnd::NotYet => None,
            RunEnd::Unannounced => Some(Ending::Completed),
            RunEnd::Announced(ending) => Some(ending.clone()),
        }
    }

    /// Returns the end that the run has come to, if members may be told of it.
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
