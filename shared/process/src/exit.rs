//! Exit codes that mean something.

use std::error::Error;
use std::iter::successors;
use std::process::ExitCode;

use settings::ConfigurationError;

/// The end of a process, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: the work is done.
    Done,
    /// 2: a flag or a configuration key is wrong.
    Usage,
    /// 3: the data, a file or an address cannot be used.
    BadInput,
    /// 4: training diverged; the last good snapshot is kept.
    Diverged,
    /// 70: a bug of this program, a panic.
    Bug,
    /// 130: stopped by a signal; the run can be resumed.
    Interrupted,
}

impl Exit {
    const ALL: [Exit; 6] =
        [Exit::Done, Exit::Usage, Exit::BadInput, Exit::Diverged, Exit::Bug, Exit::Interrupted];

    /// Returns the number that the shell sees.
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

    /// Returns the exit of a program that an error ended: [`Exit::Usage`] if the error or one of its causes
    /// is a configuration error, or another that `is_usage` knows as a wrong flag; else [`Exit::BadInput`].
    pub fn of(error: &(dyn Error + 'static), is_usage: impl Fn(&(dyn Error + 'static)) -> bool) -> Exit {
        let mut causes = successors(Some(error), |&cause| cause.source());
        let usage = causes.any(|cause| cause.is::<ConfigurationError>() || is_usage(cause));
        if usage { Exit::Usage } else { Exit::BadInput }
    }

    /// Returns the exit behind a code, if it is one of ours.
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
        assert_eq!(Exit::of(&Caused(wrong()), |_| false), Exit::Usage);
        let system = io::Error::other("cannot listen");
        assert_eq!(Exit::of(&system, |_| false), Exit::BadInput);
        assert_eq!(Exit::of(&system, |cause| cause.is::<io::Error>()), Exit::Usage);
    }
}
