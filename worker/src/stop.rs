//! The reasons why a membership ends, and the wait for a server that is not ready.

use std::time::Duration;

use dataset::DataAway;
use protocol::{ClientError, Ending, Refusal};
use tokio::time::Instant;

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
    /// The worker's data folder has been unavailable for too long: the worker returns its leases (ranges of
    /// images to train on) and fails with this error.
    Away(DataAway),
    /// The worker failed and cannot continue.
    Failed(anyhow::Error),
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

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Repeats a call, with growing pauses and for as long as `patience` lasts, until the answer is other than
/// [`Refusal::NotReady`]; returns that answer. For a server that cannot be reached, the client inside `call`
/// has its own patience.
///
/// # Errors
/// If the call fails for another reason, or if the server is still not ready when `patience` ends.
pub async fn until_ready<T, F>(patience: Duration, mut call: impl FnMut() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut said = String::new();
    loop {
        let result = call().await;
        let reason = match &result {
            Err(error) => match error.refusal() {
                Some(Refusal::NotReady(reason)) => reason,
                _ => return result,
            },
            Ok(_) => return result,
        };
        if start.elapsed() + pause > patience {
            return result;
        }
        if *reason != said {
            tracing::info!("waiting: {reason}");
            said = reason.clone();
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(refusal: Refusal) -> ClientError {
        ClientError::Refused(refusal)
    }

    #[tokio::test]
    async fn a_server_that_is_not_ready_is_asked_again_until_it_is() {
        let mut calls = 0;
        let answer = until_ready(Duration::from_secs(60), || {
            calls += 1;
            let ready = calls == 3;
            async move {
                if ready { Ok(calls) } else { Err(refused(Refusal::NotReady("shard 1 is missing".into()))) }
            }
        });
        assert_eq!(answer.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn patience_ends_and_other_refusals_are_final() {
        let never = || async { Err::<(), _>(refused(Refusal::NotReady("shard 1 is missing".into()))) };
        let error = until_ready(Duration::from_millis(150), never).await.unwrap_err();
        assert!(error.to_string().contains("shard 1 is missing"), "{error}");
        let mut calls = 0;
        let other = || {
            calls += 1;
            async { Err::<(), _>(refused(Refusal::Mismatch("other data".into()))) }
        };
        assert!(until_ready(Duration::from_secs(60), other).await.is_err());
        assert_eq!(calls, 1);
    }

    #[test]
    fn a_fence_and_a_shard_without_state_mean_joining_anew() {
        for refusal in [Refusal::Fenced("late".into()), Refusal::NotReady("empty".into())] {
            assert!(matches!(Stop::from(refused(refusal)), Stop::Rejoin(_)));
        }
        assert!(matches!(Stop::from(refused(Refusal::Mismatch("other".into()))), Stop::Failed(_)));
    }
}
