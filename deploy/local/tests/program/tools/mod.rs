//! The commands around training as their users meet them: the real binary, its files, its exit codes and its
//! texts.

mod command_line;
mod ensemble;
mod evaluate;
mod fetch;
mod files;
mod images;
mod network;
mod plan;
mod simulate;
mod token;
