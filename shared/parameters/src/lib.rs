//! Named tensors in one flat vector: fingerprint, blocks, initial values, checkpoints.
