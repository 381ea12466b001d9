//! Helpers that several unit tests share.

use parameters::{Initialiser, Layout, Tensor};
use protocol::{
    BlockPush, DataDescription, JoinRequest, Member, PROTOCOL_VERSION, PushForm, UpdateRule, Version,
};

/// An update rule with the paper's numbers for a run of 10 epochs of 1000 images.
pub fn rule() -> UpdateRule {
    UpdateRule {
        seed: 7,
        optimizer: settings::Optimizer::Momentum,
        learning_rate: 0.01,
        stair_factor: 0.96,
        stair_samples: 8000,
        ramp_samples: 0,
        momentum: 0.9,
        weight_decay: 2e-4,
        average_decay: 0.9999,
        staleness: None,
        total_samples: 10_000,
        init_sha256: None,
        init_except: Vec::new(),
    }
}

/// A layout of three tensors in four blocks: one tensor larger than a block, one with multipliers, one small.
pub fn layout() -> Layout {
    let tensor = |name: &str, shape: &[usize], rate_multiplier, decay_multiplier| Tensor {
        name: name.into(),
        shape: shape.into(),
        initialiser: Initialiser::Uniform { bound: 0.5 },
        rate_multiplier,
        decay_multiplier,
    };
    Layout::new(vec![
        tensor("fc/weights", &[300, 1000], 1.0, 1.0),
        tensor("fc/bias", &[300], 2.0, 0.0),
        tensor("classifier/weights", &[10, 30], 1.0, 1.0),
    ])
    .expect("a valid layout")
}

/// A push of `gradient` to block `block` of shard 0.
pub fn push(incarnation: u64, step: u64, block: u32, version: Version, gradient: Vec<f32>) -> BlockPush {
    let member = Member { worker: incarnation as u32, incarnation };
    BlockPush { shard: 0, member, step, block, version, samples: 32, form: PushForm::Gradient, gradient }
}

/// A join of a worker that trains on `images` images of ten classes.
pub fn join(images: u64) -> JoinRequest {
    JoinRequest { protocol: PROTOCOL_VERSION, name: "test".into(), data: data(images) }
}

/// A data set of ten classes.
pub fn data(images: u64) -> DataDescription {
    let classes = (0..10).map(|class| format!("class {class}")).collect();
    DataDescription { images, validation: 100, hash: "5eed".into(), classes }
}
