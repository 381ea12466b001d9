//! Identity of a run and of the lives of its server.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    fields::{FieldError, required},
    proto,
};

/// Id of a run: 128 random bits, drawn as the run begins and kept by every resume. What belongs to another
/// run is told by it, whatever folder or address it has. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunId(
    /// The bits of the id.
    pub u128,
);

impl fmt::Display for RunId {
    /// Writes the id as 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> String {
        id.to_string()
    }
}

/// An error: a text is no run id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("run id: expected 32 hexadecimal digits, found {0:?}")]
pub struct NoRunId(String);

impl FromStr for RunId {
    type Err = NoRunId;

    fn from_str(text: &str) -> Result<RunId, NoRunId> {
        let digits = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let id = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        id.map(RunId).ok_or_else(|| NoRunId(text.into()))
    }
}

impl TryFrom<String> for RunId {
    type Error = NoRunId;

    fn try_from(text: String) -> Result<RunId, NoRunId> {
        text.parse()
    }
}

/// One life of a run's server: the time from one start of its first process to the next, or to the replacement of data
/// that did no work. Workers, shards and snapshots name the life that they belong to; what belongs to another is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Life {
    /// Id of the run.
    pub run: RunId,
    /// Number of the life in the run, from 0.
    pub count: u64,
    /// Random number drawn as the life began. The count alone is not enough: it starts anew if the folder
    /// that keeps it is lost, and falls back if the folder is restored from a backup.
    pub nonce: u64,
}

impl Life {
    /// Says how `other`, the life that a caller names, differs from this one, for the text of a refusal;
    /// `None` if it is the same.
    pub fn difference(&self, other: &Life) -> Option<String> {
        if self == other {
            None
        } else if self.run != other.run {
            Some(format!("belongs to run {}, here is run {}", other.run, self.run))
        } else if self.count != other.count {
            Some(format!(
                "belongs to life {} of the server, here is life {}: the server was started anew",
                other.count, self.count
            ))
        } else {
            Some(format!("belongs to another life {} of the server: the run began again", self.count))
        }
    }
}

impl From<Life> for proto::Life {
    fn from(Life { run: RunId(run), count, nonce }: Life) -> proto::Life {
        proto::Life { run_high: (run >> 64) as u64, run_low: run as u64, count, nonce }
    }
}

impl From<proto::Life> for Life {
    fn from(proto::Life { run_high, run_low, count, nonce }: proto::Life) -> Life {
        Life { run: RunId(u128::from(run_high) << 64 | u128::from(run_low)), count, nonce }
    }
}

/// Reads a message's life, which must be there.
pub(super) fn life(life: Option<proto::Life>, message: &'static str) -> Result<Life, FieldError> {
    Ok(required(life, message, "life")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        for id in [0, 1, 0xdead_beef, u128::MAX] {
            let text = RunId(id).to_string();
            assert_eq!((text.len(), text.parse()), (32, Ok(RunId(id))));
            let life = Life { run: RunId(id), count: 3, nonce: u64::MAX };
            assert_eq!(Life::from(proto::Life::from(life)), life);
        }
        for text in ["", "12", "+0000000000000000000000000000012", "0000000000000000000000000000001g"] {
            let expected = format!("run id: expected 32 hexadecimal digits, found {text:?}");
            assert_eq!(text.parse::<RunId>().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_difference_is_named() {
        let one = Life { run: RunId(1), count: 4, nonce: 7 };
        assert_eq!(one.difference(&one), None);
        let other = one.difference(&Life { run: RunId(2), ..one }).unwrap();
        assert!(other.contains("belongs to run 00000000000000000000000000000002, here is run"), "{other}");
        let earlier = one.difference(&Life { count: 3, ..one }).unwrap();
        assert!(earlier.contains("belongs to life 3 of the server, here is life 4"), "{earlier}");
        // A folder that lost its counter gives the same count again.
        assert!(one.difference(&Life { nonce: 8, ..one }).is_some());
    }
}
