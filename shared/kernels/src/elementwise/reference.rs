//! Value by value: what the SIMD paths are held against.

pub(super) fn relu(values: &mut [f32]) {
    for value in values {
        if *value <= 0.0 {
            *value = 0.0;
        }
    }
}

pub(super) fn relu_backward(output: &[f32], gradient: &mut [f32]) {
    for (gradient, &output) in gradient.iter_mut().zip(output) {
        if output <= 0.0 {
            *gradient = 0.0;
        }
    }
}

pub(super) fn add(from: &[f32], into: &mut [f32]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += from;
    }
}

pub(super) fn all_finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}

pub(super) fn sum_of_squares(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum()
}
