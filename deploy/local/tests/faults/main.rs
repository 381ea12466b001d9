//! The real programs as processes of this machine, killed.
#![cfg(unix)]

use std::sync::Mutex;

mod at_random;
mod cluster;
mod pictures;
mod resume;

/// Held by a test while it runs processes: they are timed, and all want the whole machine.
static ALONE: Mutex<()> = Mutex::new(());
