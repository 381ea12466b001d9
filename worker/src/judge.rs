//! `worker evaluate`: what a model file scores on a validation split, without a server.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::ensure;
use configuration::RunFlags;
use parameters::checkpoint::Checkpoint;
use protocol::Scores;

use crate::actor::{Actor, Place};
use crate::cli::cores;
use crate::compute::Compute;
use crate::evaluate::score;
use crate::googlenet::{Data, ImageWork};
use crate::model_file;
use crate::train::isa;
use crate::workload::{Model, Workload};

/// Options of [`judge`].
#[derive(Clone, Debug)]
pub struct JudgeOptions {
    /// The model file.
    pub model: PathBuf,
    /// What to score it on; its classes must be the model's.
    pub data: Data,
    /// Threads that compute; `None`: all cores.
    pub threads: Option<usize>,
    /// Threads that decode images.
    pub loader_threads: usize,
    /// Instruction set; `None`: the best of the machine.
    pub isa: Option<String>,
}

/// Images scored, and what the model scores on them: as the run that it is from would say, had it these parameters.
///
/// # Errors
/// A file that is no model, data that cannot be used or has other classes.
pub async fn judge(options: JudgeOptions) -> anyhow::Result<(u64, Scores)> {
    let model = Checkpoint::read(&options.model)?;
    let (configuration, classes) = model_file::describe(&model, &options.model)?;
    let threads = options.threads.unwrap_or_else(cores);
    let isa = isa(options.isa.as_deref())?;
    let flags = RunFlags::default();
    let work = ImageWork::open(options.data, flags, isa, threads, options.loader_threads, None)?;
    let data = work.data();
    ensure!(
        data.classes == classes,
        "the data has the classes {:?}, expected those of model {}: {classes:?}",
        data.classes,
        options.model.display()
    );
    let engine = work.model(&configuration)?;
    let parameters = Arc::new(model.to_flat(engine.layout())?);
    let compute = Actor::start("compute", Place::Thread, Compute::new(engine, None));
    let samples = Actor::start("validation", Place::Thread, work.samples(&configuration));
    let tally = score(data.validation, parameters, &compute, &samples).await?;
    Ok((tally.images(), tally.scores()))
}
