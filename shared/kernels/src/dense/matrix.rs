//! Row-major matrices: one that tasks write at once, and one packed for vectors.

use crate::disjoint::Disjoint;
use crate::map::LANES;
use std::ops::Range;

/// A matrix with rows of `width` values, lent to several tasks, each of which takes values that no other task
/// takes.
#[derive(Clone, Copy)]
pub(super) struct SharedMatrix<'a> {
    data: Disjoint<'a, f32>,
    width: usize,
}

impl<'a> SharedMatrix<'a> {
    pub(super) fn new(data: &'a mut [f32], width: usize) -> SharedMatrix<'a> {
        SharedMatrix { data: Disjoint::new(data), width }
    }

    /// Returns a range of columns of a row.
    ///
    /// # Safety
    /// While the returned slice lives, no other slice that overlaps it may be made or used.
    #[inline(always)]
    pub(super) unsafe fn row(&self, row: usize, columns: Range<usize>) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { self.data.part(row * self.width + columns.start, columns.len()) }
    }
}

/// A packed part of a matrix, `[vector][row][16]`, with zeros behind the last column. A multiply reads it in
/// order and without the cache conflicts of rows a power of two apart.
pub(super) struct Panel<'a> {
    values: &'a mut [f32],
    rows: usize,
}

impl<'a> Panel<'a> {
    /// An empty panel in memory that has room for all rows of as many columns, rounded up to whole vectors.
    pub(super) fn new(values: &'a mut [f32]) -> Panel<'a> {
        Panel { values, rows: 0 }
    }

    /// Packs a part of a matrix of `width` columns.
    #[inline(always)]
    pub(super) fn pack(&mut self, matrix: &[f32], width: usize, rows: Range<usize>, columns: Range<usize>) {
        self.rows = rows.len();
        for (k, row) in rows.enumerate() {
            let row = &matrix[row * width..][columns.clone()];
            for (vector, from) in row.chunks(LANES).enumerate() {
                let to = &mut self.values[(vector * self.rows + k) * LANES..][..LANES];
                if let Ok(from) = <&[f32; LANES]>::try_from(from) {
                    to.copy_from_slice(from);
                } else {
                    to[..from.len()].copy_from_slice(from);
                    to[from.len()..].fill(0.0);
                }
            }
        }
    }

    /// The rows of one vector of columns, `[row][16]`.
    #[inline(always)]
    pub(super) fn vector(&self, vector: usize) -> &[f32] {
        &self.values[vector * self.rows * LANES..][..self.rows * LANES]
    }
}
