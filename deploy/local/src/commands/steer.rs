//! The commands by which an operator steers a run: `downpour pause`, `resume`, `drain`, `snapshot`, `rate`, `stop`.

use std::time::Duration;

use access::Role;
use clap::Args;
use process::{Exit, print_line};
use protocol::{CoordinatorCalls as _, CoordinatorClient, RATE_FACTORS, Steering};
use tokio::time::{Instant, sleep};

use super::numbers::within;
use crate::place::Place;

/// Interval at which it is asked whether an ordered snapshot is done.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Longest time to wait for an ordered snapshot: a lone worker's leases and the files take less.
const LONGEST: Duration = Duration::from_secs(600);

/// Flags of `downpour drain`.
#[derive(Debug, Args)]
pub struct DrainFlags {
    /// Number of the worker, as downpour status shows it
    #[arg(value_name = "WORKER")]
    pub worker: u32,
    /// The run, and the token of an operator.
    #[command(flatten)]
    pub place: Place,
}

/// Flags of `downpour rate`.
#[derive(Debug, Args)]
pub struct RateFlags {
    /// Factor on the learning rate of the schedule from now on: 0.5 halves it, 1 is as the run began
    #[arg(value_name = "X", value_parser = |text: &str| within(text, RATE_FACTORS[0], RATE_FACTORS[1], ""))]
    pub factor: f64,
    /// The run, and the token of an operator.
    #[command(flatten)]
    pub place: Place,
}

/// Gives an order to a run and prints what comes of it; waits for a snapshot that is ordered.
///
/// # Errors
/// If the server does not let an operator in or cannot be reached, or if it refuses the order.
pub async fn run(place: &Place, order: Steering) -> anyhow::Result<Exit> {
    let client = place.connect(Role::Operator).await?;
    let before = match order {
        Steering::Snapshot => client.overview().await?.snapshot,
        _ => 0,
    };
    let steered = client.steer(order).await?;
    match order {
        Steering::Snapshot => print_line(taken(&client, before).await?)?,
        _ => print_line(steered.text)?,
    }
    Ok(Exit::Done)
}

/// Waits for an ordered snapshot, before which the newest was number `before`; returns what came of it.
async fn taken(client: &CoordinatorClient, before: u64) -> anyhow::Result<String> {
    let begun = Instant::now();
    loop {
        let overview = client.overview().await?;
        if !overview.snapshot_ordered {
            return Ok(match overview.snapshot {
                newest if newest > before => format!("snapshot {newest} is complete"),
                0 => "no snapshot was taken: there is nothing to keep yet; the server's log says more".into(),
                newest => {
                    format!("no snapshot was taken: snapshot {newest} has all there is, or the log says why")
                }
            });
        }
        if begun.elapsed() >= LONGEST {
            anyhow::bail!(
                "the snapshot was not done within {} s; the server's log says more",
                LONGEST.as_secs()
            );
        }
        sleep(LOOK_EVERY).await;
    }
}
