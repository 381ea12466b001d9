//! Long-lived memory for activations, gradients and packed weights.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Alignment of small buffers in bytes: one cache line, which is also one 512-bit register.
const LINE: usize = 64;
/// Bytes of a huge page. Buffers of at least this size are aligned to it and ask for such pages.
const HUGE_PAGE: usize = 2 << 20;

/// Zeroed `f32` memory, aligned to 64 bytes; buffers of 2 MiB or more lie on huge pages where the system
/// provides them.
///
/// All pages are touched when the buffer is made, so that no computation pays for page faults later.
pub struct Buffer {
    start: NonNull<f32>,
    len: usize,
}

// SAFETY: it owns its memory as a `Vec<f32>` does.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer of `len` zeros.
    ///
    /// # Panics
    /// If the buffer would exceed the address space; check a `len` that comes from outside the program with
    /// [`Buffer::bytes`] first.
    pub fn zeroed(len: usize) -> Buffer {
        if len == 0 {
            return Buffer { start: NonNull::dangling(), len };
        }
        let layout = Buffer::layout(len);
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        if layout.align() == HUGE_PAGE {
            advise_huge_pages(start, layout.size());
        }
        // SAFETY: these are the bytes just allocated.
        unsafe { start.write_bytes(0, layout.size()) };
        Buffer { start: start.cast(), len }
    }

    /// Number of bytes that a buffer of `len` values occupies, in whole cache lines or huge pages; `None` if
    /// it exceeds the address space.
    pub fn bytes(len: usize) -> Option<usize> {
        Buffer::checked_layout(len).map(|layout| layout.size())
    }

    fn checked_layout(len: usize) -> Option<Layout> {
        let bytes = len.checked_mul(size_of::<f32>())?;
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { LINE };
        Layout::from_size_align(bytes.checked_next_multiple_of(align)?, align).ok()
    }

    fn layout(len: usize) -> Layout {
        Buffer::checked_layout(len).expect("the bytes of a buffer are checked before it is made")
    }
}

/// Asks Linux for huge pages; a refusal costs only speed.
#[cfg(target_os = "linux")]
fn advise_huge_pages(start: NonNull<u8>, bytes: usize) {
    const MADV_HUGEPAGE: i32 = 14;
    unsafe extern "C" {
        fn madvise(start: *mut u8, bytes: usize, advice: i32) -> i32;
    }
    // SAFETY: the range is whole pages of memory that we own; the advice does not change its contents.
    unsafe { madvise(start.as_ptr(), bytes, MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_: NonNull<u8>, _: usize) {}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated by `zeroed` with this layout.
            unsafe { dealloc(self.start.as_ptr().cast(), Buffer::layout(self.len)) };
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `len` initialised values that we own; for zero, dangling and aligned.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Buffer {
        let mut copy = Buffer::zeroed(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} values)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zero_and_aligned() {
        for len in [0, 1, 17, HUGE_PAGE / 4 - 1, HUGE_PAGE / 4 + 5] {
            let mut buffer = Buffer::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().all(|value| *value == 0.0));
            assert!(len == 0 || (buffer.as_ptr() as usize).is_multiple_of(LINE));
            buffer.fill(1.0);
            assert_eq!(buffer.clone()[..], buffer[..]);
        }
    }

    #[test]
    fn bytes_are_whole_lines_or_pages_and_never_overflow() {
        for (len, bytes) in
            [(0, 0), (1, 64), (17, 128), (HUGE_PAGE / 4, HUGE_PAGE), (HUGE_PAGE / 4 + 1, 2 * HUGE_PAGE)]
        {
            assert_eq!(Buffer::bytes(len), Some(bytes), "{len} values");
        }
        for len in [usize::MAX, usize::MAX / 4, usize::MAX / 4 + 1, isize::MAX as usize / 4] {
            assert_eq!(Buffer::bytes(len), None, "{len} values");
        }
    }
}
