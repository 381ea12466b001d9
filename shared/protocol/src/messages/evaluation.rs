//! Evaluations: their orders and their results.

use super::scores::Scores;
use crate::{
    fields::{FieldError, required, same_fields},
    proto,
};

/// An order to one worker to evaluate the parameters on the validation images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationOrder {
    /// Number of the evaluation, unique in the run.
    pub id: u64,
    /// Number of samples that the run had trained on when the evaluation was ordered.
    pub samples: u64,
    /// Whether the evaluation is the run's last one.
    pub last: bool,
}

/// The result of an evaluation of the network on the validation images, at one moment of the run.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evaluation {
    /// Number of the evaluation, unique in the run.
    pub id: u64,
    /// Number of samples that the run had trained on when the evaluation was ordered.
    pub samples: u64,
    /// Number of validation images that were scored; unreadable ones are not counted.
    pub images: u64,
    /// Number of validation images that could not be read; 0 in results of earlier releases.
    #[serde(default)]
    pub unreadable: u64,
    /// Scores of the Polyak average of the parameters.
    pub average: Scores,
    /// Scores of the newest parameters (the last iterate).
    pub last_iterate: Scores,
}

same_fields!(EvaluationOrder, proto::EvaluationOrder { id, samples, last });

impl From<Evaluation> for proto::Evaluation {
    fn from(evaluation: Evaluation) -> proto::Evaluation {
        let Evaluation { id, samples, images, unreadable, average, last_iterate } = evaluation;
        let (average, last_iterate) = (Some(average.into()), Some(last_iterate.into()));
        proto::Evaluation { id, samples, images, unreadable, average, last_iterate }
    }
}

impl TryFrom<proto::Evaluation> for Evaluation {
    type Error = FieldError;

    fn try_from(evaluation: proto::Evaluation) -> Result<Evaluation, FieldError> {
        Ok(Evaluation {
            id: evaluation.id,
            samples: evaluation.samples,
            images: evaluation.images,
            unreadable: evaluation.unreadable,
            average: required(evaluation.average, "Evaluation", "average")?.try_into()?,
            last_iterate: required(evaluation.last_iterate, "Evaluation", "last_iterate")?.try_into()?,
        })
    }
}
