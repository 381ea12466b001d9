//! The failure of a command: a text for the user, and an exit code for scripts.

use process::Exit;

/// The failure of a command: its exit code, and a text for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code of the process; 1 if no [`Exit`] fits.
    pub code: u8,
    /// Text for the user: what was expected, what was found, where, and what to do.
    pub text: String,
}

impl Failure {
    /// Creates the failure of a command whose data, files or addresses cannot be used; its exit code is that
    /// of [`Exit::BadInput`].
    pub fn bad_input(text: impl Into<String>) -> Failure {
        Failure { code: Exit::BadInput.code(), text: text.into() }
    }

    /// Creates the failure of a command whose flags are wrong together; its exit code is that of [`Exit::Usage`].
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { code: Exit::Usage.code(), text: text.into() }
    }

    /// Creates the failure of a command that broke off for another reason than unusable input or a diverged
    /// run, such as a process that died; its exit code is 1.
    pub fn broken(text: impl Into<String>) -> Failure {
        Failure { code: 1, text: text.into() }
    }
}

/// Converts an error of a library, with the exit code that it stands for.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { code: setup::exit_of(&error).code(), text: format!("{error:#}") }
    }
}
