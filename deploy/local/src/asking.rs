//! The status of a run, for which its launcher asks the coordinator at intervals.

use std::time::{Duration, Instant};

use protocol::{Connector, CoordinatorCalls as _, CoordinatorClient, Patience, RunStatus, Token};
use tokio::sync::watch;
use tokio::time::sleep;

/// Interval at which the coordinator is asked for the status, and the child processes' logs are read.
pub const ASK_EVERY: Duration = Duration::from_millis(500);
/// Time without an answer of the coordinator after which that is told; one that is being stopped is gone before.
const TELL_SILENCE_AFTER: Duration = Duration::from_secs(20);

/// Asks the coordinator for the run's status at intervals, until the receiver is dropped. A coordinator that ends is
/// called in vain for a moment, of which nothing is said.
pub async fn ask(address: String, token: Token, send: watch::Sender<Option<RunStatus>>) {
    let patience = Patience { give_up_after: Duration::ZERO, ..Patience::default() };
    let connector = Connector { token: Some(token), ..patience.into() };
    let mut heard = Instant::now();
    loop {
        match CoordinatorClient::connect(&address, connector.clone()).await {
            Ok(client) => {
                while let Ok(status) = client.status().await {
                    if send.send(Some(status)).is_err() {
                        return;
                    }
                    heard = Instant::now();
                    sleep(ASK_EVERY).await;
                }
            }
            Err(error) => tracing::debug!("no status from {address}: {error}"),
        }
        if heard.elapsed() > TELL_SILENCE_AFTER {
            tracing::warn!("no status from {address} for {} s", heard.elapsed().as_secs());
            heard = Instant::now();
        }
        sleep(ASK_EVERY).await;
    }
}
