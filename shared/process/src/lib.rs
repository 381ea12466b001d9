//! The manners of a program: its flags, logs, output, signals and exit codes, and what it does about a bug of its own.
//!
//! Absent by intent: what the program does.

mod bug;
mod exit;
mod file;
mod flags;
pub mod logs;
mod output;
mod signals;

pub use bug::end_on_panic;
pub use exit::Exit;
pub use flags::{RunFlags, help, isa_name};
pub use output::print_line;
pub use signals::{Signals, stdin_end};
