//! The command `downpour train`, which is also `downpour` without a command: trains on this machine.

use process::{Exit, print_line};

use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::launch::{Training, train};
use crate::options::Options;

/// Runs `downpour train`: trains, and prints the result of the run as text or as one JSON object.
///
/// # Errors
/// If the run fails or diverges, or if the result cannot be printed.
pub async fn run(options: &Options) -> Result<Exit, Failure> {
    match train(options, &mut Interrupts::listen()?).await? {
        Training::Interrupted => Ok(Exit::Interrupted),
        Training::Finished(result) => {
            let printed = if options.json { print_line(result.to_json()) } else { print_line(result) };
            printed.map_err(|error| Failure::broken(format!("cannot print the result: {error}")))?;
            Ok(Exit::Done)
        }
    }
}
