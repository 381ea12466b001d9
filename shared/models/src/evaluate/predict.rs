//! The prediction of images: those whose predictions the output folder does not hold yet are loaded and
//! computed.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataset::{Crops, Dataset, Loader, LoaderConfig, LoaderRange, PATIENCE, Sampling, Split};
use files::Digest;
use kernels::{Isa, Pool};
use ndarray::ArrayView4;
use setup::memory::MADE_AHEAD;

use super::EvaluateOptions;
use super::chunks::{Chunks, INPUTS};
use super::members::Member;
use super::predictions::{Key, Predictions};

/// Interval between two lines of progress in the log.
const RHYTHM: Duration = Duration::from_secs(10);

/// An evaluation in progress.
pub(super) struct Evaluator<'a> {
    pub options: &'a EvaluateOptions,
    /// Whether the evaluation is to stop.
    pub stop: &'a AtomicBool,
    pub data: Arc<Dataset>,
    /// Stamp of each image, taken before any of them is read; `None` for one whose file cannot be looked at.
    pub stamps: Vec<Option<Digest>>,
    /// Whether only the images that training held out are scored.
    pub held_out: bool,
    /// Note on the choice of images.
    pub note: Option<String>,
    /// Label of each class folder; `None` for a folder that matches no label.
    pub label_of_class: Vec<Option<u32>>,
    pub labels: Vec<String>,
    pub isa: Isa,
    pub pool: Arc<Pool>,
}

impl Evaluator<'_> {
    /// Computes those predictions of a model that the folder `kept` does not hold yet: also of images that have
    /// changed since, and of those that could not be read before. Breaks with the number of images that are done
    /// if it is asked to stop before the last.
    pub fn predict(
        &self,
        member: &Member,
        crops: Crops,
        kept: &Path,
    ) -> anyhow::Result<ControlFlow<u64, Predictions>> {
        let key = Key {
            model: member.hash.clone(),
            classes: member.model.card.classes.len(),
            crops: crops.count(),
            combine: self.options.combine,
        };
        let mut predictions = Predictions::open(kept, &key)?;
        let lacks = |stamp: &Option<Digest>| !stamp.is_some_and(|stamp| predictions.has(&stamp));
        let missing: Vec<u64> =
            (0u64..).zip(&self.stamps).filter(|(_, stamp)| lacks(stamp)).map(|(image, _)| image).collect();
        if missing.is_empty() {
            return Ok(ControlFlow::Continue(predictions));
        }
        let (images, per_image) = (self.stamps.len(), crops.count());
        let batch = (INPUTS / per_image).max(1);
        let inputs = (batch * per_image).min(INPUTS);
        let mut engine = member.model.engine(inputs, self.isa, Arc::clone(&self.pool))?;
        let (size, preprocessing) = (member.model.input_size(), member.model.card.preprocessing);
        let mut chunks = Chunks::new(inputs, size, &preprocessing, key.classes, key.combine);
        let config = LoaderConfig {
            threads: self.options.loader_threads,
            size,
            sampling: Sampling::default(),
            preprocessing,
            crops: Some(crops),
            seed: 0,
            batch,
            depth: MADE_AHEAD,
            patience: PATIENCE,
        };
        let mut loader = Loader::new(Arc::clone(&self.data), config);
        for run in missing.chunk_by(|one, next| one + 1 == *next) {
            let (start, end) = (run[0], run[run.len() - 1] + 1);
            loader.request(LoaderRange { split: Split::Validation, epoch: 0, start, end });
        }
        let mut done = images - missing.len();
        tracing::info!(
            "{}: {per_image} crops of {} images{}",
            member.model.path.display(),
            missing.len(),
            if done > 0 { format!(", {done} are done") } else { String::new() }
        );
        let (start, mut told) = (Instant::now(), Instant::now());
        while let Some(minibatch) = loader.next()? {
            minibatch.skipped.iter().for_each(|skipped| tracing::warn!("cannot be read: {skipped}"));
            let forward =
                |inputs: ArrayView4<f32>| (!self.stop.load(Ordering::Relaxed)).then(|| engine.logits(inputs));
            let Some(rows) = chunks.probabilities(&minibatch.views, forward) else {
                return Ok(ControlFlow::Break(done as u64));
            };
            for (&image, row) in minibatch.samples.iter().zip(&rows) {
                // What could be read but not be looked at belongs to no file, and is tried again.
                if let Some(stamp) = self.stamps[image as usize] {
                    predictions.append(stamp, row)?;
                }
            }
            done += minibatch.positions as usize;
            if told.elapsed() >= RHYTHM {
                told = Instant::now();
                let rate = (done + missing.len() - images) as f64 / start.elapsed().as_secs_f64();
                let left = (images - done) as f64 / rate;
                tracing::info!("{done} of {images} images, {rate:.1} a second, {left:.0} s left");
            }
        }
        Ok(ControlFlow::Continue(predictions))
    }
}
