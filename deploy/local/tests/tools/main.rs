//! The commands around training as their users meet them: the real binary, its files, its exit codes and its
//! texts.
#![cfg(unix)]

mod command_line;
mod ensemble;
mod evaluate;
mod fetch;
mod files;
mod images;
mod network;
#[path = "../support/mod.rs"]
mod support;
