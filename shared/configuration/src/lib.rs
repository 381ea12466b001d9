//! What a process is told before it starts: the run configuration with its recipes and flags, logs, output, exit codes.
//!
//! Absent by intent: any knowledge of networks, files of images or the wire; this crate only carries decisions.

mod bug;
mod exit;
mod flags;
pub mod logs;
mod output;
mod ranges;
mod recipe;
#[cfg(test)]
mod reference;
mod run;

pub use bug::end_on_panic;
pub use exit::Exit;
pub use flags::{RunFlags, isa_name};
pub use output::print_line;
pub use recipe::{recipe, recipe_names};
pub use run::*;
