//! Helpers that several unit tests share.

use parameters::{Initialiser, Layout, Tensor};
use protocol::{
    BlockPush, DataDescription, JoinRequest, Life, Member, PROTOCOL_VERSION, PushForm, UpdateRule, Version,
};

/// Makes an update rule for a run of 10 epochs of 1000 images, with the numbers of the configuration `paper`:
/// momentum 0.9, and a learning rate of 0.01 that falls by 4 % every 8 epochs.
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
        batch: None,
        init_sha256: None,
        init_except: Vec::new(),
    }
}

/// Makes a layout of three tensors, cut into four blocks (pieces of at most 1 MiB): one tensor larger than a
/// block, one with multipliers of learning rate and weight decay, one small.
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

/// Makes a push to shard 0 of `gradient`, the mean over 32 images, for block number `block` (a piece of a
/// tensor). The worker's join has the number `incarnation`, its minibatch the number `step`; the gradient is
/// computed from version `version` of the block.
pub fn push(incarnation: u64, step: u64, block: u32, version: Version, gradient: Vec<f32>) -> BlockPush {
    let member = Member { worker: incarnation as u32, incarnation, life: Life::default() };
    BlockPush {
        shard: 0,
        member,
        step,
        block,
        version,
        samples: 32,
        form: PushForm::Gradient,
        log: None,
        gradient: gradient.into(),
    }
}

/// Returns the push with `value` at one place of its gradient.
pub fn with_value(push: BlockPush, place: usize, value: f32) -> BlockPush {
    let mut gradient = push.gradient.into_vec();
    gradient[place] = value;
    BlockPush { gradient: gradient.into(), ..push }
}

/// Makes the request to join of a worker that trains on `images` images of ten classes.
pub fn join(images: u64) -> JoinRequest {
    JoinRequest { protocol: PROTOCOL_VERSION, name: "test".into(), data: data(images) }
}

/// Describes a data set of `images` training images and 100 validation images of ten classes.
pub fn data(images: u64) -> DataDescription {
    let classes = (0..10).map(|class| format!("class {class}")).collect();
    DataDescription { images, validation: 100, hash: "5eed".into(), classes }
}
