//! An evaluation during a run: scores the averaged parameters and the last iterate on the validation split.

use std::sync::Arc;

use anyhow::anyhow;

use dataset::{LoaderRange, Split};
use protocol::{Evaluation, EvaluationOrder, GradientNorms, Kind};

use crate::actor::Actor;
use crate::compute::Compute;
use crate::halves::compare_halves;
use crate::stop::Stop;
use crate::store::Store;
use crate::workload::{Batch, Model, Samples, Tally as _};

/// Does the evaluation that the coordinator ordered: fetches the averaged parameters and the last iterate
/// through `store` and scores both with the model in `compute` on the first `images` images of the validation
/// split, without those that cannot be read. In between, compares the gradients of the halves of minibatches
/// at the averaged parameters, for the first `compared` training images. Returns the evaluation and the
/// norms of these gradients.
///
/// Afterwards the model holds the last iterate as fetched here, or, in a run whose workers follow a log, what
/// they know of it, so that training can continue.
/// `samples` must be an empty queue.
///
/// # Errors
/// If a shard refuses a fetch or cannot be reached, if the data stay unavailable, or if none of the images
/// can be read.
pub async fn evaluate<M: Model, S: Samples<Batch = M::Batch>>(
    order: &EvaluationOrder,
    images: u64,
    compared: u64,
    store: &mut Store,
    compute: &Actor<Compute<M>>,
    samples: &Actor<S>,
) -> Result<(Evaluation, GradientNorms), Stop> {
    let average = Arc::new(store.fetch(Kind::Average { evaluation: order.id }).await?);
    let averaged = score(images, average, compute, samples).await?;
    let norms = compare(compared, compute, samples).await?;
    let parameters = Arc::new(store.fetch(Kind::Parameters).await?);
    let last = score(images, parameters, compute, samples).await?;
    if store.follows() {
        let known = store.start().await?;
        compute.call(move |compute| compute.load(&known)).await?;
    }
    let evaluation = Evaluation {
        id: order.id,
        samples: order.samples,
        images: averaged.samples(),
        unreadable: images.saturating_sub(averaged.samples()),
        average: averaged.scores(),
        last_iterate: last.scores(),
    };
    Ok((evaluation, norms))
}

/// Compares the gradients of the halves of minibatches, with the parameters that the model holds, for the
/// first `images` training images of epoch 0; `samples` must be an empty queue. Returns the sums of their
/// norms.
///
/// # Errors
/// If the data stay unavailable.
async fn compare<M: Model, S: Samples<Batch = M::Batch>>(
    images: u64,
    compute: &Actor<Compute<M>>,
    samples: &Actor<S>,
) -> Result<GradientNorms, Stop> {
    let mut norms = GradientNorms::default();
    if images > 0 {
        let range = LoaderRange { split: Split::Train, epoch: 0, start: 0, end: images };
        samples.call(move |queue| queue.request(range)).await?;
    }
    while let Some(batch) = samples.call(Samples::next).await?? {
        norms.add(&compute.call(move |compute| compare_halves(&mut compute.model, &batch)).await?);
    }
    Ok(norms)
}

/// Scores `parameters` on the first `images` images of the validation split; `samples` must be an empty
/// queue.
///
/// # Errors
/// If there are images and none of them can be read, or if the data stay unavailable.
pub async fn score<M: Model, S: Samples<Batch = M::Batch>>(
    images: u64,
    parameters: Arc<Vec<f32>>,
    compute: &Actor<Compute<M>>,
    samples: &Actor<S>,
) -> Result<M::Tally, Stop> {
    compute.call(move |compute| compute.load(&parameters)).await?;
    if images > 0 {
        let whole = LoaderRange { split: Split::Validation, epoch: 0, start: 0, end: images };
        samples.call(move |queue| queue.request(whole)).await?;
    }
    let mut tally = M::Tally::default();
    let mut unread = None;
    while let Some(batch) = samples.call(Samples::next).await?? {
        batch.skipped().iter().for_each(|skipped| tracing::warn!("skipped in validation: {skipped}"));
        unread = unread.or_else(|| batch.skipped().first().cloned());
        if !batch.samples().is_empty() {
            let mut sum = tally;
            let score = move |compute: &mut Compute<M>| {
                compute.model.score(&batch, &mut sum);
                sum
            };
            tally = compute.call(score).await?;
        }
    }
    if let (0, Some(example)) = (tally.samples(), unread) {
        return Err(Stop::Failed(anyhow!(
            "none of the {images} validation images can be read; one of them: {example}; repair or replace them, then give \
             the same command again"
        )));
    }
    Ok(tally)
}
