//! Evaluations: the orders to score their parts, the sums of these, and the results.

use super::{
    lease::unreadable_image,
    mistake::{MOST_MISTAKES, Mistake},
    scores::Scores,
};
use crate::{
    fields::{FieldError, listed, required, same_fields},
    proto,
};

/// An order to one worker to score parameters on a part of the validation images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationOrder {
    /// Number of the evaluation, unique in the run.
    pub id: u64,
    /// Number of samples that the run had trained on when the evaluation was ordered.
    pub samples: u64,
    /// Whether the evaluation is the run's last one.
    pub last: bool,
    /// First image of the part, a position of the validation split; no other part begins there.
    pub start: u64,
    /// Position behind the part's last image.
    pub end: u64,
    /// Order to score the newest parameters (the last iterate) beside their average, if true.
    pub last_iterate: bool,
}

/// The sums of a part of an evaluation, over its validation images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvaluationPart {
    /// Number of the evaluation, unique in the run.
    pub id: u64,
    /// First image of the part, a position of the validation split.
    pub start: u64,
    /// Number of the part's images that were scored; unreadable ones are not counted.
    pub images: u64,
    /// Number of the part's images that could not be read.
    pub unreadable: u64,
    /// Sums over the scored images of each score of the Polyak average of the parameters.
    pub average: Scores,
    /// Sums over the scored images of each score of the newest parameters (the last iterate); `None` unless they
    /// were ordered.
    pub last_iterate: Option<Scores>,
    /// The first of the part's images that could not be read, as "path: reason".
    pub skipped: Option<String>,
    /// Images of the part that the Polyak average took for another class: those of which it was surest, at most
    /// [`MOST_MISTAKES`].
    pub mistakes: Vec<Mistake>,
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
    /// Scores of the newest parameters (the last iterate); `None` where they were not scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_iterate: Option<Scores>,
}

same_fields!(EvaluationOrder, proto::EvaluationOrder { id, samples, last, start, end, last_iterate });

impl From<EvaluationPart> for proto::EvaluationPart {
    fn from(part: EvaluationPart) -> proto::EvaluationPart {
        let EvaluationPart { id, start, images, unreadable, average, last_iterate, skipped, mistakes } = part;
        let mistakes = mistakes.into_iter().map(proto::Mistake::from).collect();
        let (average, last_iterate) = (average.into(), last_iterate.map(Vec::from).unwrap_or_default());
        proto::EvaluationPart { id, start, images, unreadable, average, last_iterate, skipped, mistakes }
    }
}

impl TryFrom<proto::EvaluationPart> for EvaluationPart {
    type Error = FieldError;

    fn try_from(part: proto::EvaluationPart) -> Result<EvaluationPart, FieldError> {
        let proto::EvaluationPart { id, start, images, unreadable, average, last_iterate, skipped, mistakes } =
            part;
        let sums = |scores, field| Scores::sums(scores, "EvaluationPart", field);
        let average = sums(average, "average")?;
        let last_iterate = match last_iterate.is_empty() {
            true => None,
            false => Some(sums(last_iterate, "last_iterate")?),
        };
        let skipped = skipped.map(|text| unreadable_image(text, "EvaluationPart")).transpose()?;
        let mistakes = listed(mistakes, MOST_MISTAKES, "mistakes", "EvaluationPart", "mistakes")?;
        let mistakes = mistakes.into_iter().map(Mistake::try_from).collect::<Result<_, _>>()?;
        Ok(EvaluationPart { id, start, images, unreadable, average, last_iterate, skipped, mistakes })
    }
}

impl From<Evaluation> for proto::Evaluation {
    fn from(evaluation: Evaluation) -> proto::Evaluation {
        let Evaluation { id, samples, images, unreadable, average, last_iterate } = evaluation;
        let (average, last_iterate) = (Some(average.into()), last_iterate.map(proto::Scores::from));
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
            last_iterate: evaluation.last_iterate.map(Scores::try_from).transpose()?,
        })
    }
}
