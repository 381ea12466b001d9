//! SIMD compute on slices: convolution, pooling, normalisation, dense layers, the update.
