//! One training step's exchange with the shards: what is pushed, and what came of it.

use std::time::Duration;

use protocol::{BlockAnswer, Member, PushForm, PushReply, Refusal};

use crate::stop::Stop;

/// The training step that pushes belong to: one minibatch of one worker, whose gradient is pushed to the
/// shards, or what was left over of the minibatches before.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The worker that pushes, and the join by which it is a member of the run.
    pub member: Member,
    /// Number of the training step, counted from 1 since the worker joined.
    pub step: u64,
    /// Number of samples that the gradient is the mean of; 0 if it is what was left over of gradients before.
    pub samples: u32,
    /// Form of what is pushed: gradients, or Nesterov steps that the worker computed from them with its own momentum.
    pub form: PushForm,
}

/// The outcome of one training step's exchange with the shards, summed over all blocks: each block (a piece
/// of a tensor) of the gradient is pushed, and the reply has the block's updated parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Number of blocks of the gradient that the shards applied to the parameters.
    pub applied: u64,
    /// Sum over the applied blocks of their staleness: the number of updates that the block received after
    /// the version from which the gradient was computed and before this gradient.
    pub staleness_sum: u64,
    /// Largest staleness of an applied block: the number of updates that the block received after the version
    /// from which the gradient was computed and before this gradient.
    pub staleness_max: u64,
    /// Number of blocks of the gradient that the shards refused as unusable, for example as not finite.
    pub refused: u64,
    /// Text of the shard's first refusal of a block; `None` if none was refused.
    pub reason: Option<String>,
    /// Number of bytes of encoded gradients sent.
    pub bytes_out: u64,
    /// Number of bytes of encoded parameters received.
    pub bytes_in: u64,
    /// Time from the first block of the gradient to the last reply.
    pub took: Duration,
}

impl Exchange {
    /// Counts the outcome of a block's push; returns the answer if the block was updated.
    pub(crate) fn count(&mut self, reply: PushReply) -> Result<Option<BlockAnswer>, Stop> {
        match reply.outcome {
            Ok(answer) => {
                self.applied += 1;
                self.staleness_sum += reply.staleness;
                self.staleness_max = self.staleness_max.max(reply.staleness);
                Ok(Some(answer))
            }
            Err(refusal @ (Refusal::Fenced(_) | Refusal::NotReady(_))) => {
                Err(Stop::Rejoin(refusal.to_string()))
            }
            Err(refusal) => {
                self.refused += 1;
                self.reason.get_or_insert_with(|| refusal.to_string());
                Ok(None)
            }
        }
    }
}
