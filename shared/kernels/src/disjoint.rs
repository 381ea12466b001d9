//! A mutable slice that the tasks of a pool write in parts that do not overlap.

use std::marker::PhantomData;

/// A slice lent to several tasks at once. The borrow checker sees one exclusive borrow; the caller of each
/// [`Disjoint::part`] promises that the parts do not overlap.
#[derive(Clone, Copy)]
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: this is a `&mut [T]` whose parts go to threads; parts do not overlap (the promise of `part`), so
// `T: Send` suffices.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}
// SAFETY: as above; sharing the handle gives access only through `part`.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Disjoint<'a, T> {
        Disjoint { start: slice.as_mut_ptr(), len: slice.len(), borrow: PhantomData }
    }

    /// The values `start .. start + len`; panics if they are not inside the slice.
    ///
    /// # Safety
    /// While the returned slice lives, no other part that overlaps it may be made or used.
    #[inline(always)]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &'a mut [T] {
        let start = self.pointer(start, len);
        // SAFETY: inside the slice, which is borrowed mutably for 'a; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    /// A pointer to the values `start .. start + len`, for tasks whose values are interleaved within each
    /// other's ranges; panics if the range is not inside the slice.
    #[inline(always)]
    pub(crate) fn pointer(&self, start: usize, len: usize) -> *mut T {
        assert!(
            start <= self.len && len <= self.len - start,
            "part {start} + {len} is outside of {} values",
            self.len
        );
        // SAFETY: inside the slice (asserted).
        unsafe { self.start.add(start) }
    }
}
