//! Shards, optimizer, schedule, averaging, snapshots, coordinator.
