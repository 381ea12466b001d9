//! The state from which a run goes on that stopped before its end, and the samples that are lost with it.

use std::fmt;

use limits::Count;
use parameter_server::snapshot;

use crate::folder::Folder;

/// The state in which a run goes on that stopped before its end, as text: what whoever starts it again sees
/// happen, such as "goes on from there".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Samples used by the run as it stopped, as far as is known.
    pub samples: u64,
    /// Samples that the newest complete snapshot has; `None` if there is no such snapshot.
    snapshot: Option<u64>,
}

impl Kept {
    /// Looks at what the run in `folder` goes on from, which had used `samples` samples when its server was last
    /// asked; what a snapshot has beyond these was used as well.
    pub fn of(folder: &Folder, samples: u64) -> Kept {
        // Snapshots of which none can be used are told when the run goes on.
        let newest = snapshot::newest(&folder.snapshots()).ok().flatten();
        let snapshot = newest.map(|manifest| manifest.run.progress.used);
        Kept { samples: samples.max(snapshot.unwrap_or(0)), snapshot }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.snapshot, self.samples) {
            (None, 0) => write!(f, "begins again"),
            (None, lost) => {
                write!(f, "begins again: no complete snapshot, {} samples are lost", Count(lost))
            }
            (Some(kept), samples) if kept == samples => write!(f, "goes on from there"),
            (Some(kept), samples) => write!(
                f,
                "goes on from the newest complete snapshot, after {} samples: {} are lost",
                Count(kept),
                Count(samples - kept)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_said() {
        for (snapshot, samples, expected) in [
            (None, 0, "begins again"),
            (None, 16_000, "begins again: no complete snapshot, 16,000 samples are lost"),
            (Some(16_000), 16_000, "goes on from there"),
            (Some(0), 0, "goes on from there"),
            (
                Some(12_000),
                16_000,
                "goes on from the newest complete snapshot, after 12,000 samples: 4,000 are lost",
            ),
        ] {
            assert_eq!(Kept { samples, snapshot }.to_string(), expected);
        }
    }

    #[test]
    fn a_snapshot_without_a_manifest_is_none() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        assert_eq!(Kept::of(&folder, 0), Kept { samples: 0, snapshot: None });
        std::fs::create_dir_all(folder.snapshots().join("1")).unwrap();
        std::fs::write(folder.snapshots().join("1/shard-0.safetensors"), "half").unwrap();
        assert_eq!(Kept::of(&folder, 640), Kept { samples: 640, snapshot: None });
    }
}
