//! Server processes and their services, called as workers call them.

mod common;
mod contract;
mod run;
mod snapshot_trouble;
