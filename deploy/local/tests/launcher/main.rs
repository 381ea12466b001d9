//! The launcher as its users meet it: the real binary, its files, its exit codes and its texts.
#![cfg(unix)]

mod bad_input;
mod clock;
mod data;
#[path = "../support/mod.rs"]
mod support;
mod whole_run;
