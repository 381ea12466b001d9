//! The real programs as processes of this machine, killed.
#![cfg(unix)]

mod cluster;
mod pictures;
mod resume;
