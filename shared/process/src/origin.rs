//! The origin of what a process leaves: the program, the machine, the command line and the time.

use serde::{Deserialize, Serialize};

use crate::logs;

/// The origin of what a process leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Version of the program.
    pub version: String,
    /// Commit that the program was built from, as text: "commit 0123456789ab", or why it is not known.
    pub commit: String,
    /// Name of the machine; `None` if it has none.
    pub host: Option<String>,
    /// Words of the command line, the program's first.
    pub command: Vec<String>,
    /// Date, time and zone as in logs, by the machine's clock: "2026-11-29T22:47:48.000+00:00".
    pub date: String,
}

impl Origin {
    /// Returns the origin of what this process leaves now.
    pub fn here() -> Origin {
        Origin {
            version: env!("CARGO_PKG_VERSION").into(),
            commit: env!("DOWNPOUR_COMMIT").into(),
            host: logs::host(),
            command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
            date: logs::date(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_command_and_date_are_known() {
        let Origin { version, commit, command, date, .. } = Origin::here();
        assert!(!version.is_empty() && !commit.is_empty() && !command.is_empty());
        let (day, time) = date.split_once('T').unwrap();
        assert_eq!((day.len(), &time[8..9]), (10, "."), "{date}");
    }
}
