//! The launcher as its users meet it: the real binary, its files, its exit codes and its texts.

mod bad_input;
mod clock;
mod data;
mod goes_on;
mod join;
mod steered;
mod watched;
mod whole_run;
