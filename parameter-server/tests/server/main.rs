//! Server processes and their services, called as workers call them.

mod attacks;
mod common;
mod contract;
mod door;
#[path = "../../../shared/protocol/tests/services/support/memory.rs"]
mod memory;
mod models;
mod page;
mod run;
mod snapshot_trouble;
