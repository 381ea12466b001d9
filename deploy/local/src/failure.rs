//! Why a command ends other than well: a text for people and the exit code for scripts.

use process::Exit;

/// An end with a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code of the process; 1 where no [`Exit`] fits.
    pub code: u8,
    /// Text for the user: what was expected, what was found, where, and what to do.
    pub text: String,
}

impl Failure {
    /// Returns the data or a file cannot be used.
    pub fn bad_input(text: impl Into<String>) -> Failure {
        Failure { code: Exit::BadInput.code(), text: text.into() }
    }

    /// Returns a failure that neither the caller's input nor the run's numbers caused: something broke.
    pub fn broken(text: impl Into<String>) -> Failure {
        Failure { code: 1, text: text.into() }
    }
}

/// An error of a library, with the exit code that it means.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { code: setup::exit_of(&error).code(), text: format!("{error:#}") }
    }
}
