//! A part of an evaluation during a run: scores the averaged parameters, and the last iterate where that is
//! ordered, on a range of the validation images.

use std::ops::Range;
use std::sync::Arc;

use dataset::{LoaderRange, Split};
use protocol::{EvaluationOrder, EvaluationPart, GradientNorms, Kind, MOST_MISTAKES, WorstMistakes};

use crate::actor::Actor;
use crate::compute::Compute;
use crate::halves::compare_halves;
use crate::stop::Stop;
use crate::store::Store;
use crate::workload::{Batch, Model, Samples, Tally as _};

/// The parameters that an evaluation scores, kept for its further parts.
pub struct Evaluated {
    /// Number of the evaluation.
    id: u64,
    average: Arc<Vec<f32>>,
    last_iterate: Option<Arc<Vec<f32>>>,
}

impl Evaluated {
    /// Fetches the parameters that an evaluation scores: the average, and the last iterate if it is ordered.
    ///
    /// # Errors
    /// If a shard refuses a fetch or cannot be reached.
    pub async fn fetch(order: &EvaluationOrder, store: &mut Store) -> Result<Evaluated, Stop> {
        let average = Arc::new(store.fetch(Kind::Average { evaluation: order.id }).await?);
        let last_iterate = match order.last_iterate {
            true => Some(Arc::new(store.fetch(Kind::Parameters).await?)),
            false => None,
        };
        Ok(Evaluated { id: order.id, average, last_iterate })
    }

    /// Returns whether the parameters are of the evaluation that is ordered.
    pub fn is_of(&self, order: &EvaluationOrder) -> bool {
        self.id == order.id
    }

    /// Does a part of the evaluation: scores its parameters with the model in `compute` on the validation images
    /// from `order.start` to `order.end`, without those that cannot be read. In between, compares the gradients of
    /// the halves of minibatches at the averaged parameters, for the training images `compared` of epoch 0. Returns
    /// the sums of the part and the norms of these gradients; the model holds parameters of the evaluation then.
    /// `samples` must be an empty queue.
    ///
    /// # Errors
    /// If the data stay unavailable.
    pub async fn part<M: Model, S: Samples<Batch = M::Batch>>(
        &self,
        order: &EvaluationOrder,
        compared: Range<u64>,
        compute: &Actor<Compute<M>>,
        samples: &Actor<S>,
    ) -> Result<(EvaluationPart, GradientNorms), Stop> {
        let images = order.start..order.end;
        let worst = WorstMistakes::keeping(MOST_MISTAKES);
        let (average, worst, skipped) = score(images.clone(), &self.average, worst, compute, samples).await?;
        let norms = compare(compared, compute, samples).await?;
        let last_iterate = match &self.last_iterate {
            Some(parameters) => {
                let none = WorstMistakes::keeping(0);
                Some(score(images, parameters, none, compute, samples).await?.0.sums())
            }
            None => None,
        };
        let part = EvaluationPart {
            id: order.id,
            start: order.start,
            images: average.samples(),
            unreadable: (order.end - order.start).saturating_sub(average.samples()),
            average: average.sums(),
            last_iterate,
            skipped,
            mistakes: worst.into_vec(),
        };
        Ok((part, norms))
    }
}

/// Compares the gradients of the halves of minibatches, with the parameters that the model holds, for the
/// training images `images` of epoch 0; `samples` must be an empty queue. Returns the sums of their norms.
///
/// # Errors
/// If the data stay unavailable.
async fn compare<M: Model, S: Samples<Batch = M::Batch>>(
    images: Range<u64>,
    compute: &Actor<Compute<M>>,
    samples: &Actor<S>,
) -> Result<GradientNorms, Stop> {
    let mut norms = GradientNorms::default();
    request(Split::Train, images, samples).await?;
    while let Some(batch) = samples.call(Samples::next).await?? {
        norms.add(&compute.call(move |compute| compare_halves(&mut compute.model, &batch)).await?);
    }
    Ok(norms)
}

/// Scores `parameters` on the validation images `images`; `samples` must be an empty queue. Returns beside the scores
/// `mistakes`, to which those that were made are added, and the first image that could not be read, as "path: reason".
///
/// # Errors
/// If the data stay unavailable.
async fn score<M: Model, S: Samples<Batch = M::Batch>>(
    images: Range<u64>,
    parameters: &Arc<Vec<f32>>,
    mut mistakes: WorstMistakes,
    compute: &Actor<Compute<M>>,
    samples: &Actor<S>,
) -> Result<(M::Tally, WorstMistakes, Option<String>), Stop> {
    let parameters = Arc::clone(parameters);
    compute.call(move |compute| compute.load(&parameters)).await?;
    request(Split::Validation, images, samples).await?;
    let mut tally = M::Tally::default();
    let mut unread = None;
    while let Some(batch) = samples.call(Samples::next).await?? {
        batch.skipped().iter().for_each(|skipped| tracing::warn!("skipped in validation: {skipped}"));
        unread = unread.or_else(|| batch.skipped().first().cloned());
        if !batch.samples().is_empty() {
            let mut sum = tally;
            let score = move |compute: &mut Compute<M>| {
                compute.model.score(&batch, &mut sum, &mut mistakes);
                (sum, mistakes)
            };
            (tally, mistakes) = compute.call(score).await?;
        }
    }
    Ok((tally, mistakes, unread))
}

/// Queues the images of epoch 0 with these positions, if there are any.
async fn request<S: Samples>(split: Split, images: Range<u64>, samples: &Actor<S>) -> Result<(), Stop> {
    let Range { start, end } = images;
    if start < end {
        samples.call(move |queue| queue.request(LoaderRange { split, epoch: 0, start, end })).await?;
    }
    Ok(())
}
