//! The reasons why a membership ends.

use dataset::DataAway;
use protocol::{ClientError, Ending, Refusal};

/// The reason why a worker's membership (its time in the run from a join on) ends, or why the worker cannot
/// join.
#[derive(Debug)]
pub enum Stop {
    /// The worker is no longer a member of the run, or a shard is not ready because it lost its state, as the
    /// text tells; the worker joins again.
    Rejoin(String),
    /// The run has ended; the [`Ending`] tells how: completed, diverged, failed, or interrupted by a stop of
    /// the server.
    Ended(Ending),
    /// The worker was asked to leave the run.
    Leave,
    /// The server wants the worker to leave the run, which goes on, for the reason that the text tells.
    Drained(String),
    /// The worker's data folder has been unavailable for too long: the worker returns its leases (ranges of
    /// images to train on) and fails with this error.
    Away(DataAway),
    /// The worker failed and cannot continue.
    Failed(anyhow::Error),
}

impl Stop {
    /// Returns the reason that a worker gives the server when it leaves the run; `None` if it says nothing: a run that has
    /// ended knows, and of one that failed the leases expire.
    pub fn farewell(&self) -> Option<String> {
        match self {
            Stop::Leave => Some("it was stopped on its machine".into()),
            Stop::Drained(reason) => Some(reason.clone()),
            Stop::Rejoin(reason) => Some(format!("to join anew: {reason}")),
            Stop::Away(away) => Some(away.to_string()),
            Stop::Ended(Ending::Interrupted) => Some("the server stops".into()),
            Stop::Ended(_) | Stop::Failed(_) => None,
        }
    }
}

impl From<DataAway> for Stop {
    fn from(away: DataAway) -> Stop {
        Stop::Away(away)
    }
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Stop {
        match error.refusal() {
            Some(Refusal::Fenced(text) | Refusal::NotReady(text)) => Stop::Rejoin(text.clone()),
            _ => Stop::Failed(error.into()),
        }
    }
}

impl From<crate::actor::Gone> for Stop {
    fn from(gone: crate::actor::Gone) -> Stop {
        Stop::Failed(gone.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(refusal: Refusal) -> ClientError {
        ClientError::Refused(refusal)
    }

    #[test]
    fn whoever_leaves_says_why_and_who_failed_or_knows_of_the_end_does_not() {
        for (stop, says) in [
            (Stop::Leave, Some("it was stopped on its machine")),
            (Stop::Drained("an operator wants it to".into()), Some("an operator wants it to")),
            (Stop::Rejoin("shard 1 lost its state".into()), Some("to join anew: shard 1 lost its state")),
            (Stop::Ended(Ending::Interrupted), Some("the server stops")),
            (Stop::Ended(Ending::Completed), None),
            (Stop::Failed(anyhow::anyhow!("broken")), None),
        ] {
            assert_eq!(stop.farewell().as_deref(), says, "{stop:?}");
        }
        let away = DataAway { waited: std::time::Duration::from_secs(3), example: "a.jpg".into() };
        assert!(Stop::Away(away).farewell().unwrap().starts_with("the data folder has been away for 3 s"));
    }

    #[test]
    fn a_fence_and_a_shard_without_state_mean_joining_anew() {
        for refusal in [Refusal::Fenced("late".into()), Refusal::NotReady("empty".into())] {
            assert!(matches!(Stop::from(refused(refusal)), Stop::Rejoin(_)));
        }
        assert!(matches!(Stop::from(refused(Refusal::Mismatch("other".into()))), Stop::Failed(_)));
    }
}
