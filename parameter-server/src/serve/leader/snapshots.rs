//! The snapshots that the leader takes: from time to time, when the run is stopped, and once it is complete.

use std::time::Duration;

use anyhow::Context;
use protocol::{Refusal, ShardOrder, Shards as _, run_blocking};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{Leader, POLL};
use crate::snapshot::{self, Manifest};

/// Longest time that a snapshot waits for the leases of a single worker.
const LONGEST_LEASE_WAIT: Duration = Duration::from_secs(300);
/// Time between two looks at whether a single worker has completed its leases.
const LEASE_POLL: Duration = Duration::from_millis(10);
/// Number of attempts at the last snapshot.
const LAST_SNAPSHOT_ATTEMPTS: usize = 6;

impl Leader {
    /// Takes a snapshot from time to time until `stopped`.
    pub(super) async fn take_snapshots(self, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                () = self.renewed.notified() => {}
                () = self.snapshot_due() => {}
            }
            let ordered = self.coordinator.snapshots_ordered();
            self.snapshot().await;
            self.coordinator.resume_leases(ordered);
        }
    }

    /// Waits until the next snapshot is due, or ordered by an operator, and may be taken.
    async fn snapshot_due(&self) {
        tokio::select! {
            () = sleep(self.timing.snapshots) => {}
            () = self.coordinator.snapshot_ordered() => {}
        }
        let begun = Instant::now();
        while !self.coordinator.prepare_snapshot() {
            if begun.elapsed() >= LONGEST_LEASE_WAIT {
                tracing::warn!(
                    "the only worker did not hand in its leases within {LONGEST_LEASE_WAIT:?}: the snapshot is taken while \
                     it works on them, and a run that goes on from there does them again"
                );
                return;
            }
            sleep(LEASE_POLL).await;
        }
    }

    /// Takes the snapshot of a completed run. Waits for a shard process that is briefly unreachable.
    pub(super) async fn last_snapshot(&self) {
        for _ in 0..LAST_SNAPSHOT_ATTEMPTS {
            if self.snapshot().await {
                return;
            }
            sleep(POLL).await;
        }
        tracing::warn!("the end of the run is in no snapshot; started again, it would go on from the newest");
    }

    /// Takes a snapshot and returns whether one was taken. A failure is logged and has no other effect.
    pub(super) async fn snapshot(&self) -> bool {
        let id = match snapshot::next_id(self.home.folder()) {
            // A folder that was made anew holds none, and shards take a number that they have had for a late order.
            Ok(id) => id.max(self.coordinator.newest_snapshot() + 1),
            Err(error) => {
                tracing::warn!("a snapshot could not be taken, the one before stays valid: {error}");
                return false;
            }
        };
        let begun = Instant::now();
        match self.try_snapshot(id).await {
            Ok(Some(samples)) => {
                tracing::info!(
                    "snapshot {id} after {samples} samples took {:.1} s",
                    begun.elapsed().as_secs_f64()
                );
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!("snapshot {id} could not be taken, the one before stays valid: {error:#}");
                if let Err(error) = snapshot::remove(self.home.folder(), id) {
                    tracing::warn!("what there is of snapshot {id} could not be removed: {error}");
                }
                false
            }
        }
    }

    /// Takes snapshot `id` and returns the number of samples in it, or `None` while there is nothing to keep, or
    /// nothing more than the newest one has.
    async fn try_snapshot(&self, id: u64) -> anyhow::Result<Option<u64>> {
        if !self.coordinator.complete() {
            return Ok(None);
        }
        self.try_to_keep_home().await?;
        // The progress is copied first, so that every shard's file holds the updates of all samples that it
        // counts as used.
        let Some(run) = self.coordinator.checkpoint() else { return Ok(None) };
        let Some(layout) = self.host.layout() else { return Ok(None) };
        if self.kept().as_ref().is_some_and(|kept| run.is_as_far_as(kept)) {
            return Ok(None);
        }
        let used = run.progress.used;
        let order = ShardOrder::Snapshot { id };
        let host = self.host.clone();
        let (life, _) = self.coordinator.roster();
        let own = run_blocking({
            let order = order.clone();
            move || host.order(life, order)
        });
        let others = self.coordinator.others();
        let (own, others) = tokio::join!(own, self.remotes.order(&others, life, &order));
        let mut statuses = match own.context("write the shards")? {
            // The first worker is still bringing the layout to one shard after the other.
            Err(Refusal::NotReady(_)) => return Ok(None),
            result => result?,
        };
        match others {
            Err(error) if matches!(error.refusal(), Some(Refusal::NotReady(_))) => return Ok(None),
            result => statuses.extend(result?),
        }
        let home = self.home.clone();
        let taken = run_blocking(move || {
            let folder = home.folder();
            let manifest = Manifest::new(folder, id, layout.fingerprint(), statuses, run)?;
            manifest.write(folder)?;
            snapshot::prune(folder, id);
            anyhow::Ok((manifest.snapshot(), manifest.run))
        })
        .await
        .context("write the manifest")??;
        let (taken, run) = taken;
        self.coordinator.record_snapshot(taken);
        *self.kept() = Some(run);
        Ok(Some(used))
    }
}
