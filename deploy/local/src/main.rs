//! One command trains on one machine: shards and workers as processes.

fn main() {}
