//! Conversion of the messages of `common.proto`.

use parameters::{Initialiser, Layout, Tensor};

use super::{FieldError, MOST_NAME, bounded, required};
use crate::{Member, Refusal, UpdateRule, Wire, proto};

/// Most dimensions of a tensor; those of a network have four.
const MOST_DIMENSIONS: usize = 8;

impl From<Refusal> for proto::Refusal {
    fn from(refusal: Refusal) -> proto::Refusal {
        use proto::refusal::Reason;
        let (reason, text) = match refusal {
            Refusal::Mismatch(text) => (Reason::Mismatch, text),
            Refusal::Fenced(text) => (Reason::Fenced, text),
            Refusal::NotReady(text) => (Reason::NotReady, text),
            Refusal::Invalid(text) => (Reason::Invalid, text),
            Refusal::Internal(text) => (Reason::Internal, text),
        };
        proto::Refusal { reason: reason.into(), text }
    }
}

impl TryFrom<proto::Refusal> for Refusal {
    type Error = FieldError;

    fn try_from(refusal: proto::Refusal) -> Result<Refusal, FieldError> {
        use proto::refusal::Reason;
        Ok(match Reason::try_from(refusal.reason) {
            Ok(Reason::Mismatch) => Refusal::Mismatch(refusal.text),
            Ok(Reason::Fenced) => Refusal::Fenced(refusal.text),
            Ok(Reason::NotReady) => Refusal::NotReady(refusal.text),
            Ok(Reason::Invalid) => Refusal::Invalid(refusal.text),
            Ok(Reason::Internal) => Refusal::Internal(refusal.text),
            Ok(Reason::Unspecified) | Err(_) => {
                return Err(FieldError::new("Refusal", "reason", "1 to 5", refusal.reason));
            }
        })
    }
}

impl From<Member> for proto::Member {
    fn from(Member { worker, incarnation }: Member) -> proto::Member {
        proto::Member { worker, incarnation }
    }
}

impl From<proto::Member> for Member {
    fn from(proto::Member { worker, incarnation }: proto::Member) -> Member {
        Member { worker, incarnation }
    }
}

impl From<Wire> for proto::Wire {
    fn from(wire: Wire) -> proto::Wire {
        match wire {
            Wire::F32 => proto::Wire::F32,
            Wire::Bf16 => proto::Wire::Bf16,
        }
    }
}

impl From<&Tensor> for proto::Tensor {
    fn from(tensor: &Tensor) -> proto::Tensor {
        use proto::tensor::Initialiser as Start;
        proto::Tensor {
            name: tensor.name.clone(),
            shape: tensor.shape.iter().map(|&extent| extent as u64).collect(),
            rate_multiplier: tensor.rate_multiplier,
            decay_multiplier: tensor.decay_multiplier,
            initialiser: Some(match tensor.initialiser {
                Initialiser::Constant(value) => Start::Constant(value),
                Initialiser::Uniform { bound } => Start::UniformBound(bound),
                Initialiser::Normal { deviation } => Start::NormalDeviation(deviation),
            }),
        }
    }
}

impl TryFrom<proto::Tensor> for Tensor {
    type Error = FieldError;

    fn try_from(tensor: proto::Tensor) -> Result<Tensor, FieldError> {
        use proto::tensor::Initialiser as Start;
        let extent = |extent: u64| {
            usize::try_from(extent)
                .map_err(|_| FieldError::new("Tensor", "shape", "an extent that fits in memory", extent))
        };
        let dimensions = tensor.shape.len();
        if dimensions > MOST_DIMENSIONS {
            let expected = format!("at most {MOST_DIMENSIONS} dimensions");
            return Err(FieldError::new("Tensor", "shape", expected, dimensions));
        }
        Ok(Tensor {
            shape: tensor.shape.into_iter().map(extent).collect::<Result<_, _>>()?,
            initialiser: match required(tensor.initialiser, "Tensor", "initialiser")? {
                Start::Constant(value) => Initialiser::Constant(value),
                Start::UniformBound(bound) => Initialiser::Uniform { bound },
                Start::NormalDeviation(deviation) => Initialiser::Normal { deviation },
            },
            name: bounded(tensor.name, MOST_NAME, "Tensor", "name")?,
            rate_multiplier: tensor.rate_multiplier,
            decay_multiplier: tensor.decay_multiplier,
        })
    }
}

impl From<Layout> for proto::Layout {
    fn from(layout: Layout) -> proto::Layout {
        proto::Layout { tensors: layout.tensors().iter().map(proto::Tensor::from).collect() }
    }
}

impl TryFrom<proto::Layout> for Layout {
    type Error = FieldError;

    fn try_from(layout: proto::Layout) -> Result<Layout, FieldError> {
        let tensors = layout.tensors.into_iter().map(Tensor::try_from).collect::<Result<_, _>>()?;
        Layout::new(tensors).map_err(|error| FieldError::new("Layout", "tensors", "a usable layout", error))
    }
}

impl From<UpdateRule> for proto::UpdateRule {
    fn from(plan: UpdateRule) -> proto::UpdateRule {
        proto::UpdateRule {
            seed: plan.seed,
            learning_rate: plan.learning_rate,
            stair_factor: plan.stair_factor,
            stair_samples: plan.stair_samples,
            ramp_samples: plan.ramp_samples,
            momentum: plan.momentum,
            weight_decay: plan.weight_decay,
            average_decay: plan.average_decay,
            total_samples: plan.total_samples,
            init_sha256: plan.init_sha256,
            init_except: plan.init_except,
        }
    }
}

impl From<proto::UpdateRule> for UpdateRule {
    fn from(plan: proto::UpdateRule) -> UpdateRule {
        UpdateRule {
            seed: plan.seed,
            learning_rate: plan.learning_rate,
            stair_factor: plan.stair_factor,
            stair_samples: plan.stair_samples,
            ramp_samples: plan.ramp_samples,
            momentum: plan.momentum,
            weight_decay: plan.weight_decay,
            average_decay: plan.average_decay,
            total_samples: plan.total_samples,
            init_sha256: plan.init_sha256,
            init_except: plan.init_except,
        }
    }
}
