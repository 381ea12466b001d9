//! The wait for a server that is not ready yet.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{ClientError, Refusal};

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
            tracing::info!("not ready yet: {reason}");
            said = reason.clone();
        }
        sleep(pause).await;
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
}
