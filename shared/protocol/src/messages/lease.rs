//! Leases of sample ranges to workers, and the progress of workers with them.

use super::push::{self, PushForm};
use crate::{
    fields::{FieldError, bounded, listed, shown},
    proto,
};

/// Largest size in bytes of the report on an unreadable image: its path, a place in it and the reason.
const MOST_ACCOUNT: usize = 16 << 10;
/// Size in bytes behind which the report on an unreadable image is cut.
pub(super) const KEPT_ACCOUNT: usize = 1 << 10;
/// Most unreadable images of one lease.
const MOST_SKIPPED: usize = 1 << 16;

/// A lease: a range of the training samples, in an epoch's shuffled order, that one worker is to train on.
/// What is left of it goes to another worker if the holder is not heard of for a while.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lease {
    /// Number of the lease, unique in the run.
    pub id: u64,
    /// Number of the epoch, from 0.
    pub epoch: u64,
    /// First position of the range in the epoch's shuffled order, from 0.
    pub start: u64,
    /// One past the last position of the range in the epoch's shuffled order.
    pub end: u64,
    /// Form of the pushes, gradients or steps, that the worker makes from these samples.
    pub form: PushForm,
    /// Whether the worker fetches the shards' velocity, the running sum of gradients that momentum keeps, and
    /// goes on from it as its own. This is true once in a run, for one worker, when momentum has just moved
    /// from the shards to the workers.
    #[serde(default)]
    pub takes_velocity: bool,
}

/// A worker's progress with a lease, a range of samples to train on. All counts start at the beginning of the
/// lease rather than at the last report, so that a report may arrive twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseProgress {
    /// Number of the lease.
    pub lease: u64,
    /// Number of the lease's samples whose gradients every shard has acknowledged; unreadable samples are not
    /// counted.
    pub used: u64,
    /// Unreadable images of this lease so far, each as "path: reason".
    pub skipped: Vec<String>,
    /// Number of the lease's samples that are done: trained on, or skipped because their image is unreadable.
    pub consumed: u64,
    /// Whether the worker is finished with the lease; the coordinator then gives the samples that are not
    /// done to other workers.
    pub closed: bool,
}

impl From<Lease> for proto::Lease {
    fn from(Lease { id, epoch, start, end, form, takes_velocity }: Lease) -> proto::Lease {
        let form = proto::PushForm::from(form).into();
        proto::Lease { id, epoch, start, end, form, takes_velocity }
    }
}

impl TryFrom<proto::Lease> for Lease {
    type Error = FieldError;

    fn try_from(lease: proto::Lease) -> Result<Lease, FieldError> {
        let proto::Lease { id, epoch, start, end, form, takes_velocity } = lease;
        if start > end {
            return Err(FieldError::new("Lease", "end", format!("at least start ({start})"), end));
        }
        Ok(Lease { id, epoch, start, end, form: push::form(form, "Lease")?, takes_velocity })
    }
}

/// Reads the report on an unreadable image from the field `skipped` of `message`. It is kept and shown, and no name of
/// a file is a reason to refuse what was done with the others.
pub(super) fn unreadable_image(text: String, message: &'static str) -> Result<String, FieldError> {
    readable(text, message, "skipped")
}

/// Reads a text about an image file, such as its path, in the form in which it can be shown: on one line, and cut.
pub(super) fn readable(
    text: String,
    message: &'static str,
    field: &'static str,
) -> Result<String, FieldError> {
    Ok(shown(&bounded(text, MOST_ACCOUNT, message, field)?, KEPT_ACCOUNT))
}

impl From<LeaseProgress> for proto::LeaseProgress {
    fn from(progress: LeaseProgress) -> proto::LeaseProgress {
        let LeaseProgress { lease, used, skipped, consumed, closed } = progress;
        proto::LeaseProgress { lease, used, skipped, consumed, closed }
    }
}

impl TryFrom<proto::LeaseProgress> for LeaseProgress {
    type Error = FieldError;

    fn try_from(progress: proto::LeaseProgress) -> Result<LeaseProgress, FieldError> {
        let proto::LeaseProgress { lease, used, skipped, consumed, closed } = progress;
        let account = |text| unreadable_image(text, "LeaseProgress");
        let skipped = listed(skipped, MOST_SKIPPED, "images", "LeaseProgress", "skipped")?;
        let skipped = skipped.into_iter().map(account).collect::<Result<_, _>>()?;
        Ok(LeaseProgress { lease, used, skipped, consumed, closed })
    }
}
