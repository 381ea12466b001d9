//! Why a replica's work stops, and the one place that waits for a server that is not ready.

use std::time::Duration;

use dataset::DataAway;
use protocol::{ClientError, Ending, Refusal};
use tokio::time::Instant;

/// Reasons why a membership ends.
#[derive(Debug)]
pub enum Stop {
    /// The worker is no longer a member, or a shard lost its state: join anew.
    Rejoin(String),
    /// The run is over.
    Ended(Ending),
    /// This worker was asked to leave.
    Leave,
    /// The data stayed away: this worker leaves in good order, and says why.
    Away(DataAway),
    /// The worker cannot go on.
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

/// Calls until the answer is other than "not ready", with growing pauses, for as long as `patience` lasts. A
/// server that cannot be reached at all is the client's own patience.
///
/// # Errors
/// Any failure of the call other than "not ready", which is an error too once `patience` has ended.
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
