//! The exit codes of the programs, and their meanings.

use std::error::Error;
use std::iter::successors;
use std::process::ExitCode;

use settings::ConfigurationError;

/// An error: the value of a flag does not fit that of another, or the data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FlagError(pub String);

/// The reason why a process ended, which its exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The work is done (exit code 0).
    Done,
    /// A flag or a configuration key is wrong (exit code 2).
    Usage,
    /// The training data, a file or a network address cannot be used, or another error occurred (exit code
    /// 3).
    BadInput,
    /// Training diverged; the last good snapshot, from which a run can be resumed, is kept (exit code 4).
    Diverged,
    /// The program panicked because of a bug (exit code 70).
    Bug,
    /// A signal stopped the program; the run can be resumed (exit code 130).
    Interrupted,
}

impl Exit {
    const ALL: [Exit; 6] =
        [Exit::Done, Exit::Usage, Exit::BadInput, Exit::Diverged, Exit::Bug, Exit::Interrupted];

    /// Returns the exit code, which the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Usage => 2,
            Exit::BadInput => 3,
            Exit::Diverged => 4,
            Exit::Bug => 70,
            Exit::Interrupted => 130,
        }
    }

    /// Returns the exit with which a program ends after `error`: [`Exit::Usage`] if the error or one of its
    /// causes is a [`ConfigurationError`] or a [`FlagError`], or `is_usage` returns true for it; otherwise
    /// [`Exit::BadInput`].
    /// `is_usage` recognises further errors that come from a wrong flag.
    pub fn of(error: &(dyn Error + 'static), is_usage: impl Fn(&(dyn Error + 'static)) -> bool) -> Exit {
        let mut causes = successors(Some(error), |&cause| cause.source());
        let usage = causes
            .any(|cause| cause.is::<ConfigurationError>() || cause.is::<FlagError>() || is_usage(cause));
        if usage { Exit::Usage } else { Exit::BadInput }
    }

    /// Returns the exit that has the exit code `code`, or `None` if no exit has it.
    pub fn from_code(code: i32) -> Option<Exit> {
        Exit::ALL.into_iter().find(|exit| i32::from(exit.code()) == code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn codes_round_trip() {
        for exit in Exit::ALL {
            assert_eq!(Exit::from_code(i32::from(exit.code())), Some(exit));
        }
        assert_eq!(Exit::from_code(1), None);
    }

    /// An error with another as its cause.
    #[derive(Debug, thiserror::Error)]
    #[error("failed to start")]
    struct Caused(#[source] ConfigurationError);

    #[test]
    fn errors_of_usage_are_told_from_bad_input() {
        let wrong = || settings::recipe("papper").unwrap_err();
        assert_eq!(Exit::of(&wrong(), |_| false), Exit::Usage);
        assert_eq!(Exit::of(&FlagError("--a is above --b".into()), |_| false), Exit::Usage);
        assert_eq!(Exit::of(&Caused(wrong()), |_| false), Exit::Usage);
        let system = io::Error::other("cannot listen");
        assert_eq!(Exit::of(&system, |_| false), Exit::BadInput);
        assert_eq!(Exit::of(&system, |cause| cause.is::<io::Error>()), Exit::Usage);
    }
}
