//! Positions of a chunk's pixels in its copy.

use crate::map::{LANES, Map};
use crate::simd::amx::ROWS;
use crate::value::Value;
use std::ops::Range;

/// Consecutive positions for the rows of some images, with zeros above, below and to the left of each row;
/// the zeros to its right are the next row's. The zeros between two images belong to both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Positions {
    kernel: usize,
    images: usize,
    rows: usize,
    width: usize,
    /// Positions from one row to the next.
    line: usize,
    /// Positions from one image to the next.
    image: usize,
}

/// Adjacent pixels of one row of the output.
pub(super) struct PixelRun {
    /// Position of the first pixel.
    pub(super) position: usize,
    pub(super) image: usize,
    pub(super) y: usize,
    pub(super) x: usize,
    pub(super) len: usize,
}

/// The part of a map that is copied.
pub(super) struct Source<'a, T> {
    pub(super) map: &'a Map<'a, T>,
    pub(super) block: usize,
    /// First image.
    pub(super) image: usize,
    /// First row of the output.
    pub(super) row: usize,
}

impl Positions {
    /// Positions for output rows of images; whole images if there are several.
    pub(super) fn new(images: usize, rows: usize, width: usize, kernel: usize) -> Positions {
        let pad = kernel / 2;
        let line = width + pad;
        Positions { kernel, images, rows, width, line, image: (rows + pad) * line }
    }

    /// Number of output positions, rounded up to whole multiplies.
    pub(super) fn outputs(&self) -> usize {
        let last = (self.images - 1) * self.image + (self.rows - 1) * self.line;
        (last + self.width).next_multiple_of(ROWS)
    }

    /// Number of input positions: all that the taps of the outputs read.
    pub(super) fn inputs(&self) -> usize {
        self.outputs() + self.tap(self.kernel - 1, self.kernel - 1)
    }

    /// Distance from an output's position to the input position of a tap.
    pub(super) fn tap(&self, ky: usize, kx: usize) -> usize {
        ky * self.line + kx
    }

    /// The pixels among a range of output positions.
    #[inline(always)]
    pub(super) fn runs(&self, positions: Range<usize>) -> impl Iterator<Item = PixelRun> {
        let Positions { images, rows, width, line, image: per_image, .. } = *self;
        let mut position = positions.start;
        std::iter::from_fn(move || {
            while position < positions.end {
                let (image, rest) = (position / per_image, position % per_image);
                let (y, x) = (rest / line, rest % line);
                if image >= images {
                    return None;
                }
                if y >= rows {
                    position = (image + 1) * per_image;
                } else if x >= width {
                    position += line - x;
                } else {
                    let len = (width - x).min(positions.end - position);
                    position += len;
                    return Some(PixelRun { position: position - len, image, y, x, len });
                }
            }
            None
        })
    }

    /// Copies a part of a map, as inputs with their surroundings or as outputs. The 16 values of each of
    /// `count` positions go where `place` says; positions without a pixel get zeros.
    #[inline(always)]
    pub(super) fn fill<T: Value>(
        &self,
        role: Role,
        source: Source<'_, T>,
        count: usize,
        to: &mut [T],
        place: impl Fn(usize) -> usize,
    ) {
        let Source { map, block, image: first, row: start } = source;
        let pad = match role {
            Role::Inputs => self.kernel / 2,
            Role::Outputs => 0,
        };
        let width = self.width;
        for image in 0..self.images {
            let plane = map.plane(first + image, block);
            let mut position = image * self.image;
            for row in 0..self.rows + 2 * pad {
                let next = position + self.line;
                let y = (start + row).checked_sub(pad).filter(|y| *y < map.shape.height);
                let pixels = position + pad..position + pad + if y.is_some() { width } else { 0 };
                zeros(to, &place, position..pixels.start);
                zeros(to, &place, pixels.end..next);
                if let Some(y) = y {
                    let from = plane[y * width * LANES..][..width * LANES].chunks_exact(LANES);
                    for (position, from) in pixels.zip(from) {
                        to[place(position)..][..LANES].copy_from_slice(from);
                    }
                }
                position = next;
            }
            let end = if image + 1 < self.images { (image + 1) * self.image } else { count };
            zeros(to, &place, position..end);
        }
    }
}

/// Images and rows of chunks with about so many positions: up to `most` whole images, or some rows of one
/// that is too large.
pub(super) fn chunk(positions: usize, kernel: usize, [height, width]: [usize; 2], most: usize) -> [usize; 2] {
    let pad = kernel / 2;
    let [line, lines] = [width + pad, height + pad];
    let images = (positions / (line * lines)).min(most).max(1);
    // Halos are copied again for each band, so a band has a few rows however large they are.
    let rows = (positions / line).saturating_sub(2 * pad).clamp(4, height.max(4));
    [images, if images > 1 { height } else { height.div_ceil(height.div_ceil(rows)) }]
}

/// Role of a map in a multiply, which decides whether its surroundings are copied.
#[derive(Clone, Copy)]
pub(super) enum Role {
    Inputs,
    Outputs,
}

/// Writes zeros at a range of positions.
#[inline(always)]
pub(super) fn zeros<T: Value>(to: &mut [T], place: impl Fn(usize) -> usize, positions: Range<usize>) {
    for position in positions {
        to[place(position)..][..LANES].fill(T::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Shape;

    /// The copy of two images of 2 x 3 pixels, whose values count from 1.
    fn copied(role: Role, lines: Positions, rows_from: usize, count: usize) -> Vec<f32> {
        let shape = Shape { batch: 2, blocks: 1, height: 2, width: 3 };
        let data: Vec<f32> = (0..shape.len()).map(|index| (index / LANES + 1) as f32).collect();
        let mut to = vec![9.0; count * LANES];
        let map = Map::whole(&data, shape);
        let source = Source { map: &map, block: 0, image: 0, row: rows_from };
        lines.fill(role, source, count, &mut to, |position| position * LANES);
        to.chunks_exact(LANES).map(|pixel| pixel[0]).collect()
    }

    #[test]
    fn images_share_the_zeros_between_them() {
        let lines = Positions::new(2, 2, 3, 3);
        let inputs = copied(Role::Inputs, lines, 0, 30);
        #[rustfmt::skip]
        assert_eq!(inputs, [
            0.0, 0.0, 0.0, 0.0,
            0.0, 1.0, 2.0, 3.0,
            0.0, 4.0, 5.0, 6.0,
            0.0, 0.0, 0.0, 0.0,
            0.0, 7.0, 8.0, 9.0,
            0.0, 10.0, 11.0, 12.0,
            0.0, 0.0, 0.0, 0.0,
            0.0, 0.0,
        ]);
        let outputs = copied(Role::Outputs, lines, 0, lines.outputs());
        assert_eq!(outputs[..12], [1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(outputs[12..20], [7.0, 8.0, 9.0, 0.0, 10.0, 11.0, 12.0, 0.0]);
        assert!(outputs.len() == 32 && outputs[20..].iter().all(|value| *value == 0.0));
        // The middle tap of an output is its own pixel.
        for run in lines.runs(0..lines.outputs()) {
            for position in run.position..run.position + run.len {
                assert_eq!(inputs[position + lines.tap(1, 1)], outputs[position]);
            }
        }
    }

    #[test]
    fn a_band_has_the_rows_around_it() {
        let lines = Positions::new(1, 1, 3, 3);
        assert_eq!(
            copied(Role::Inputs, lines, 1, 13),
            [0.0, 1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        );
        assert_eq!(copied(Role::Outputs, lines, 1, 5), [4.0, 5.0, 6.0, 0.0, 0.0]);
    }

    #[test]
    fn runs_are_all_pixels_in_order() {
        let lines = Positions::new(3, 7, 7, 5);
        let runs = |from, to| {
            let runs = lines.runs(from..to);
            runs.flat_map(|run| (0..run.len).map(move |i| (run.position + i, (run.image, run.y, run.x + i))))
                .collect::<Vec<_>>()
        };
        let all = runs(0, lines.outputs());
        let pixels = (0..3).flat_map(|image| (0..49).map(move |pixel| (image, pixel / 7, pixel % 7)));
        assert!(all.iter().map(|(_, pixel)| *pixel).eq(pixels));
        let pieces = (0..lines.outputs()).step_by(ROWS).flat_map(|from| runs(from, from + ROWS));
        assert!(pieces.eq(all));
    }
}
