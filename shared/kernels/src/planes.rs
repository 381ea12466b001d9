//! A map whose blocks the tasks of a pool write at once.

use crate::disjoint::Disjoint;
use crate::map::{LANES, MapMut, Shape};
use std::ops::Range;

/// A [`MapMut`] lent to several tasks, each of which takes pixels that no other takes.
#[derive(Clone, Copy)]
pub(crate) struct Planes<'a> {
    data: Disjoint<'a, f32>,
    shape: Shape,
    first: usize,
}

impl<'a> Planes<'a> {
    pub(crate) fn new(map: MapMut<'a>) -> Planes<'a> {
        Planes { data: Disjoint::new(map.data), shape: map.shape, first: map.first }
    }

    /// `pixels` (counted along the rows) of block `block` of image `image`.
    ///
    /// # Safety
    /// While the returned slice lives, no other that overlaps it may be made or used.
    #[inline(always)]
    pub(crate) unsafe fn pixels(&self, image: usize, block: usize, pixels: Range<usize>) -> &'a mut [f32] {
        let plane = (image * self.shape.blocks + self.first + block) * self.shape.plane();
        // SAFETY: the caller's promise.
        unsafe { self.data.part(plane + pixels.start * LANES, pixels.len() * LANES) }
    }

    /// All pixels of a block.
    ///
    /// # Safety
    /// As for [`Planes::pixels`].
    #[inline(always)]
    pub(crate) unsafe fn plane(&self, image: usize, block: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { self.pixels(image, block, 0..self.shape.pixels()) }
    }
}
