//! Exit codes that mean something.

use std::process::ExitCode;

/// How a process ends, as its exit code says it.
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

    /// The number that the shell sees.
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

    /// The exit behind a code, if it is one of ours.
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

    #[test]
    fn codes_round_trip() {
        for exit in Exit::ALL {
            assert_eq!(Exit::from_code(i32::from(exit.code())), Some(exit));
        }
        assert_eq!(Exit::from_code(1), None);
    }
}
