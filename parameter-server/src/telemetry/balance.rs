//! The balance of a run's account, the last line of its log and metrics file.

use std::fmt;

use serde::Serialize;

/// Balance of a run whose workers have all left: every block of the parameters holds the samples used and its
/// surplus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Number of samples used: every shard acknowledged their updates, and their worker reported it.
    pub used: u64,
    /// Smallest surplus of a block: the samples behind its updates less those used. Negative if updates were
    /// lost, as when a shard was restored from a file.
    #[serde(rename = "surplus_least")]
    pub least: i64,
    /// Largest surplus of a block. Positive if samples were trained on and not counted, as when a worker was
    /// lost before it could report them.
    #[serde(rename = "surplus_most")]
    pub most: i64,
    /// The first block that did not hold what the updates of the workers add up to, and by how much; `None`
    /// if the account has always added up.
    pub mismatch: Option<String>,
}

impl fmt::Display for Balance {
    /// Writes the balance as one line for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Balance { used, least, most, mismatch } = self;
        match (least, most) {
            (0, 0) => write!(f, "account: {used} samples used, and each block holds as many")?,
            _ => write!(
                f,
                "account: {used} samples used; blocks hold {} to {}: {least:+} to {most:+} by workers that were lost before \
                 they could report and by shards that went back to a file",
                *used as i64 + least,
                *used as i64 + most
            )?,
        }
        mismatch.as_ref().map_or(Ok(()), |mismatch| write!(f, "; it does not add up: {mismatch}"))
    }
}
