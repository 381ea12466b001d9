//! A map that the tasks of a pool write at once.

use crate::disjoint::Disjoint;
use crate::map::{LANES, MapMut, Shape};
use crate::value::Value;
use std::ops::Range;

/// A [`MapMut`] lent to several tasks, each of which takes pixels that no other task takes.
#[derive(Clone, Copy)]
pub(crate) struct Planes<'a, T> {
    data: Disjoint<'a, T>,
    shape: Shape,
    first: usize,
}

impl<'a, T: Value> Planes<'a, T> {
    pub(crate) fn new(map: MapMut<'a, T>) -> Planes<'a, T> {
        Planes { data: Disjoint::new(map.data), shape: map.shape, first: map.first }
    }

    /// A range of pixels, counted along the rows, of a block of an image.
    ///
    /// # Safety
    /// While the returned slice lives, no other slice that overlaps it may be made or used.
    #[inline(always)]
    pub(crate) unsafe fn pixels(&self, image: usize, block: usize, pixels: Range<usize>) -> &'a mut [T] {
        let plane = (image * self.shape.blocks + self.first + block) * self.shape.plane();
        // SAFETY: the caller's promise.
        unsafe { self.data.part(plane + pixels.start * LANES, pixels.len() * LANES) }
    }

    /// Writes the channels of one pixel, and zeros into the remaining lanes of `blocks` blocks.
    ///
    /// # Safety
    /// See [`Planes::pixels`].
    pub(crate) unsafe fn set_channels(&self, image: usize, blocks: usize, pixel: usize, values: &[f32]) {
        for channel in 0..blocks * LANES {
            // SAFETY: the caller's promise.
            let lanes = unsafe { self.pixels(image, channel / LANES, pixel..pixel + 1) };
            lanes[channel % LANES] = T::narrow(values.get(channel).copied().unwrap_or(0.0));
        }
    }

    /// All pixels of a block.
    ///
    /// # Safety
    /// See [`Planes::pixels`].
    #[inline(always)]
    pub(crate) unsafe fn plane(&self, image: usize, block: usize) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { self.pixels(image, block, 0..self.shape.pixels()) }
    }
}
