//! Softmax and its cross-entropy loss, row by row. The largest logit is subtracted first, so that no
//! exponential overflows.
//!
//! The exponentials are the standard library's on every instruction set: a thousand classes take
//! microseconds, and results are equal everywhere.
//!
//! A row with a NaN or infinite logit has a loss that is not finite. Nothing panics, so that the caller sees
//! divergence as a value.

use crate::Isa;

/// Computes the softmax of each row of `logits` and writes it into `probabilities`; both are
/// `[rows][classes]`.
///
/// # Panics
/// If `classes` is 0, `logits` does not consist of whole rows, or the slices differ in length.
pub fn softmax(_isa: Isa, classes: usize, logits: &[f32], probabilities: &mut [f32]) {
    check_rows(classes, logits, probabilities.len());
    for (row, out) in logits.chunks_exact(classes).zip(probabilities.chunks_exact_mut(classes)) {
        exponentials(row, out).scale(out, 1.0);
    }
}

/// Computes for each row of `logits`, with `p` its softmax, the loss `-ln p[label]` (not scaled) and the
/// gradient of the loss by the logits, times `scale`: `(p - onehot(label)) * scale`. `logits` and `gradient`
/// are `[rows][classes]`; `labels`, which are indices of classes, and `losses` have one entry per row.
///
/// # Panics
/// If `classes` is 0, a length does not fit or a label is not below `classes`.
pub fn cross_entropy(
    _isa: Isa,
    classes: usize,
    logits: &[f32],
    labels: &[u32],
    scale: f32,
    losses: &mut [f32],
    gradient: &mut [f32],
) {
    check_rows(classes, logits, gradient.len());
    let rows = logits.len() / classes;
    assert!(
        labels.len() == rows && losses.len() == rows,
        "cross entropy of {rows} rows: found {} labels and {} losses",
        labels.len(),
        losses.len()
    );
    let rows = logits.chunks_exact(classes).zip(gradient.chunks_exact_mut(classes));
    for ((row, out), (&label, loss)) in rows.zip(labels.iter().zip(losses)) {
        let label = label as usize;
        assert!(label < classes, "cross entropy: expected a label below {classes}, found {label}");
        let terms = exponentials(row, out);
        *loss = (terms.sum.ln() - f64::from(row[label] - terms.greatest)) as f32;
        terms.scale(out, scale);
        out[label] -= scale;
    }
}

/// Largest logit of a row and the sum of its exponentials.
struct Terms {
    greatest: f32,
    /// Sum of the exponentials; NaN if any logit is NaN or infinite.
    sum: f64,
}

impl Terms {
    /// Turns the exponentials in `out` into probabilities times `scale`.
    fn scale(&self, out: &mut [f32], scale: f32) {
        let factor = (f64::from(scale) / self.sum) as f32;
        for value in out {
            *value *= factor;
        }
    }
}

/// Writes `exp(logit - greatest)` into `out`.
fn exponentials(row: &[f32], out: &mut [f32]) -> Terms {
    let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for (out, &logit) in out.iter_mut().zip(row) {
        *out = (logit - greatest).exp();
        // The product is zero, or NaN where the logit is not finite.
        sum += f64::from(*out + logit * 0.0);
    }
    Terms { greatest, sum }
}

fn check_rows(classes: usize, logits: &[f32], out: usize) {
    assert!(
        classes > 0 && logits.len().is_multiple_of(classes) && logits.len() == out,
        "softmax over {classes} classes: expected whole rows of one size, found {} logits and {out} outputs",
        logits.len()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Guarded, all_isas, assert_close, random};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_those_of_the_formula(
            // Around vectors, and the classes of sets that people train on.
            classes in prop_oneof![1..40usize, prop::sample::select(vec![15, 16, 17, 31, 100, 102, 257, 1000])],
            rows in prop_oneof![0..4usize, 0..=130usize],
            spread in 0f32..60.0,
            scale in 0.01..2f32,
            seed: u32,
        ) {
            let logits: Vec<f32> =
                random(rows * classes, seed.into()).iter().map(|value| value * spread).collect();
            let labels: Vec<u32> = (0..rows).map(|row| (seed.rotate_left(row as u32 * 8)) % classes as u32).collect();
            let (mut losses, mut probabilities, mut slopes) = (vec![], vec![], vec![]);
            for (row, &label) in logits.chunks(classes).zip(&labels) {
                let row: Vec<f64> = row.iter().map(|&logit| f64::from(logit)).collect();
                losses.push(formula(&row, label as usize) as f32);
                for c in 0..classes {
                    let probability = (-formula(&row, c)).exp();
                    let own = f64::from(u8::from(c == label as usize));
                    probabilities.push(probability as f32);
                    slopes.push(((probability - own) * f64::from(scale)) as f32);
                }
            }
            for isa in all_isas::<f32>() {
                let name = format!("{rows} rows of {classes} classes, {}", isa.name());
                let mut found = [rows, logits.len(), logits.len()].map(|len| Guarded::<f32>::new(len, 7.0));
                let [loss, gradient, share] = &mut found;
                cross_entropy(isa, classes, &logits, &labels, scale, loss.values(), gradient.values());
                softmax(isa, classes, &logits, share.values());
                assert_close(&name, loss.values(), &losses, 1e-5, 1.0);
                assert_close(&name, gradient.values(), &slopes, 1e-5, 1.0);
                assert_close(&name, share.values(), &probabilities, 1e-5, 1e-6);
                found.iter().for_each(|found| found.check(&name));
            }
        }
    }

    fn formula(logits: &[f64], label: usize) -> f64 {
        let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - greatest).exp()).sum();
        sum.ln() + greatest - logits[label]
    }

    fn row(classes: usize, seed: usize) -> Vec<f32> {
        (0..classes).map(|c| ((c * 7919 + seed * 31) % 97) as f32 / 8.0 - 6.0).collect()
    }

    #[test]
    fn loss_and_gradient_are_those_of_the_formula() {
        let isa = Isa::detect();
        for classes in [1, 2, 15, 16, 17, 33, 1000] {
            let rows = 3;
            let logits: Vec<f32> = (0..rows).flat_map(|seed| row(classes, seed)).collect();
            let labels: Vec<u32> = (0..rows).map(|row| (row * 5 % classes) as u32).collect();
            let (mut losses, mut gradient) = (vec![0.0; rows], vec![0.0; logits.len()]);
            cross_entropy(isa, classes, &logits, &labels, 0.5, &mut losses, &mut gradient);
            for (n, logits) in logits.chunks(classes).enumerate() {
                let logits: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
                let label = labels[n] as usize;
                let expected = formula(&logits, label);
                assert!((f64::from(losses[n]) - expected).abs() < 1e-6 * expected.max(1.0));
                for c in 0..classes {
                    let step = 1e-5;
                    let (mut above, mut below) = (logits.clone(), logits.clone());
                    above[c] += step;
                    below[c] -= step;
                    let slope = (formula(&above, label) - formula(&below, label)) / (2.0 * step);
                    let found = f64::from(gradient[n * classes + c]);
                    assert!((found - 0.5 * slope).abs() < 1e-6, "class {c} of {classes}: {found}, {slope}");
                }
            }
        }
    }

    #[test]
    fn probabilities_sum_to_one_and_do_not_move_with_the_logits() {
        for shift in [0.0, 1e4, -1e4] {
            let logits: Vec<f32> = row(10, 1).iter().map(|logit| logit + shift).collect();
            let mut probabilities = vec![0.0; 10];
            softmax(Isa::detect(), 10, &logits, &mut probabilities);
            assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            let mut unmoved = vec![0.0; 10];
            softmax(Isa::detect(), 10, &row(10, 1), &mut unmoved);
            for (moved, unmoved) in probabilities.iter().zip(&unmoved) {
                assert!((moved - unmoved).abs() < 1e-3 * unmoved, "{moved} {unmoved}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_gives_a_loss_that_is_not_finite() {
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 3, 16] {
                for label in [0, 3] {
                    let mut logits = row(17, 0);
                    logits[place] = poison;
                    let (mut loss, mut gradient) = ([0.0], [0.0; 17]);
                    cross_entropy(Isa::detect(), 17, &logits, &[label], 1.0, &mut loss, &mut gradient);
                    assert!(!loss[0].is_finite(), "{poison} at {place}: {}", loss[0]);
                }
            }
            let (mut loss, mut gradient) = ([0.0], [0.0; 4]);
            cross_entropy(Isa::detect(), 4, &[poison; 4], &[1], 1.0, &mut loss, &mut gradient);
            assert!(!loss[0].is_finite());
        }
    }

    #[test]
    #[should_panic(expected = "expected a label below 4, found 4")]
    fn a_label_outside_of_the_classes_is_refused() {
        cross_entropy(Isa::detect(), 4, &[0.0; 4], &[4], 1.0, &mut [0.0], &mut [0.0; 4]);
    }
}
