//! The behaviour that all programs share: flags, logs, output, signals, exit codes, the token that a
//! process has for a server, and the handling of panics.
//!
//! ```
//! use process::{Exit, RunFlags};
//!
//! let flags = RunFlags { batch: Some(8), ..RunFlags::default() };
//! assert_eq!(flags.resolve("quick")?.run.batch, 8);
//!
//! let wrong = RunFlags { batch: Some(0), ..RunFlags::default() }.resolve("quick").unwrap_err();
//! assert!(wrong.to_string().starts_with("configuration key run.batch: found 0, expected 1 to 4096"));
//! assert_eq!(Exit::of(&wrong, |_| false), Exit::Usage);
//! # Ok::<(), settings::ConfigurationError>(())
//! ```
//!
//! Absent by intent: what the program does.

mod bug;
mod exit;
mod file;
mod flags;
pub mod logs;
mod open_files;
mod origin;
mod output;
mod signals;
mod time;
mod token;
mod warnings;

pub use bug::end_on_panic;
pub use exit::{Exit, FlagError};
pub use file::read_toml;
pub use flags::{RunFlags, help, isa_name, recipe_help};
pub use open_files::raise_open_files;
pub use origin::Origin;
pub use output::{print_line, tell};
pub use signals::{Signals, stdin_end};
pub use time::time_of_day;
pub use token::{TOKEN_VARIABLE, TokenFlags};
