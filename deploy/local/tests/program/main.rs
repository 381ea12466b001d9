//! The program `downpour` as its users meet it: the real binary, its files, its exit codes and its texts.
#![cfg(unix)]

mod launcher;
mod support;
mod tools;
