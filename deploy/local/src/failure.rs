//! The failure of a command: a text for the user, and an exit code for scripts.

use process::Exit;
use settings::ConfigurationError;

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

    /// Returns whether what the user gave cannot be used, and was refused.
    pub fn is_refusal(&self) -> bool {
        [Exit::Usage, Exit::BadInput].iter().any(|exit| exit.code() == self.code)
    }

    /// Adds to the failure of a run that broke off where it `stopped`, and how it goes on; others stay as they are.
    #[must_use]
    pub fn or_stopped(self, stopped: &str) -> Failure {
        match self.code {
            1 => Failure { text: format!("{}\nthe run stopped {stopped}", self.text), ..self },
            _ => self,
        }
    }
}

/// Converts an error of a library, with the exit code that it stands for.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        let code = setup::exit_of(&error).code();
        let mut text = format!("{error:#}");
        if let Some(ConfigurationError::Read { .. }) = error.downcast_ref() {
            text += "; name a TOML file of a run's settings with --config, or leave the flag out";
        }
        Failure { code, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_broke_off_tells_how_the_run_goes_on() {
        let text =
            |failure: Failure| failure.or_stopped("at 5 of 9 samples; the same command begins again").text;
        assert_eq!(
            text(Failure::broken("all died")),
            "all died\nthe run stopped at 5 of 9 samples; the same command begins again"
        );
        assert_eq!(text(Failure::bad_input("no photos")), "no photos");
    }
}
