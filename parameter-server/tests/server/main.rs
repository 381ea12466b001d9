//! Server processes and their services, called as workers call them.

mod common;
mod contract;
mod door;
mod run;
mod snapshot_trouble;
