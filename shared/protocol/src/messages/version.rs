//! Versions of a block's values.

use crate::{fields::same_fields, proto};

/// The version of a block's values, which never goes back: a shard restored from a file starts a new
/// generation.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Version {
    /// Number of the generation, which every restore of the block's shard from a file raises; a later
    /// generation counts as newer, whatever the counter.
    pub generation: u64,
    /// Number of updates applied to the block since the start of the run.
    pub counter: u64,
}

same_fields!(Version, proto::Version { generation, counter });
