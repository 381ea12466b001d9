//! Softmax and its cross-entropy loss, row by row, with the greatest logit subtracted first, so that no
//! exponential overflows.
//!
//! A row with a NaN or an infinite logit has a loss that is not finite; nothing panics, so the caller sees
//! divergence as a value.

use crate::Isa;

/// Writes the probabilities of each row; `logits` and `probabilities` are `[rows][classes]`.
pub fn softmax(_isa: Isa, classes: usize, logits: &[f32], probabilities: &mut [f32]) {
    check_rows(classes, logits, probabilities.len());
    for (row, out) in logits.chunks_exact(classes).zip(probabilities.chunks_exact_mut(classes)) {
        exponentials(row, out).scale(out, 1.0);
    }
}

/// For each row: its loss `-ln p[label]` into `losses` (not scaled) and `(p - onehot(label)) * scale` into
/// `gradient`. `logits` and `gradient` are `[rows][classes]`.
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

/// What a row's exponentials leave behind besides themselves.
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
