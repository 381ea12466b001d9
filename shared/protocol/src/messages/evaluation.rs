//! Evaluations: their orders and their results.

use crate::{
    fields::{FieldError, finite, required, same_fields, share},
    proto,
};

/// An evaluation given to one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationOrder {
    /// Number of the evaluation, unique in the run.
    pub id: u64,
    /// Samples that the run had used when the evaluation was ordered.
    pub samples: u64,
    /// Whether it is the run's last one, after which the worker also writes the model file.
    pub last: bool,
}

/// Accuracy and loss over the validation images.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scores {
    /// Share of images whose most probable class is right.
    pub top1: f64,
    /// Share of images whose five most probable classes contain the right one.
    pub top5: f64,
    /// Mean cross-entropy.
    pub loss: f64,
}

/// The result of an evaluation.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evaluation {
    /// Number of the evaluation.
    pub id: u64,
    /// Samples that the run had used when the evaluation was ordered.
    pub samples: u64,
    /// Images evaluated.
    pub images: u64,
    /// Scores of the averaged parameters.
    pub average: Scores,
    /// Scores of the last iterate.
    pub last_iterate: Scores,
}

same_fields!(EvaluationOrder, proto::EvaluationOrder { id, samples, last });

impl From<Scores> for proto::Scores {
    fn from(Scores { top1, top5, loss }: Scores) -> proto::Scores {
        proto::Scores { top1, top5, loss }
    }
}

/// A snapshot's manifest, which is JSON, could not hold numbers that are not finite.
impl TryFrom<proto::Scores> for Scores {
    type Error = FieldError;

    fn try_from(proto::Scores { top1, top5, loss }: proto::Scores) -> Result<Scores, FieldError> {
        Ok(Scores {
            top1: share(top1, "Scores", "top1")?,
            top5: share(top5, "Scores", "top5")?,
            loss: finite(loss, "Scores", "loss")?,
        })
    }
}

impl From<Evaluation> for proto::Evaluation {
    fn from(Evaluation { id, samples, images, average, last_iterate }: Evaluation) -> proto::Evaluation {
        let (average, last_iterate) = (Some(average.into()), Some(last_iterate.into()));
        proto::Evaluation { id, samples, images, average, last_iterate }
    }
}

impl TryFrom<proto::Evaluation> for Evaluation {
    type Error = FieldError;

    fn try_from(evaluation: proto::Evaluation) -> Result<Evaluation, FieldError> {
        Ok(Evaluation {
            id: evaluation.id,
            samples: evaluation.samples,
            images: evaluation.images,
            average: required(evaluation.average, "Evaluation", "average")?.try_into()?,
            last_iterate: required(evaluation.last_iterate, "Evaluation", "last_iterate")?.try_into()?,
        })
    }
}
