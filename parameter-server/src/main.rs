//! Shards, optimizer, schedule, averaging, snapshots, coordinator.

fn main() {}
