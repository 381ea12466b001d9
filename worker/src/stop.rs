//! Why a replica's work stops, and the one place that waits for a server that is not ready.

use std::time::Duration;

use protocol::{ClientError, Ending, Refusal};
use tokio::time::Instant;

/// Why a membership ends.
#[derive(Debug)]
pub enum Stop {
    /// No longer a member, or a shard lost its state: join anew.
    Rejoin(String),
    /// The run is over.
    Ended(Ending),
    /// This worker was asked to leave.
    Leave,
    /// Nothing more can be done.
    Failed(anyhow::Error),
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

/// Calls until the answer is other than "not ready", with growing pauses, for as long as `patience` lasts. A server
/// that cannot be reached at all is the client's own patience.
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
