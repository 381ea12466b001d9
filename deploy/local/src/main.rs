//! One command trains on one machine: shards and workers as processes of their own, started by re-executing itself.
#![forbid(unsafe_code)]

mod cli;
mod curve;
mod failure;
mod folder;
mod metrics;
mod result;

fn main() {}
