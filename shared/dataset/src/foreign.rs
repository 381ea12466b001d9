//! A guard around decoders from other crates: a panic over a damaged file affects only that file and not the
//! process.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `decode`; returns its result, or `None` if it panicked.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> T) -> Option<T> {
    let before = DECODING.replace(true);
    let decoded = catch_unwind(AssertUnwindSafe(decode));
    DECODING.set(before);
    decoded.ok()
}

/// Returns whether the current thread is inside an image decoder of another crate. A panic there is caught
/// and reported as a damaged image file, so it need not end the process.
pub fn is_decoding() -> bool {
    DECODING.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_inside_is_told_and_over() {
        assert!(!is_decoding());
        assert_eq!(
            guarded(|| if is_decoding() {
                panic!("on purpose")
            }),
            None
        );
        assert!(!is_decoding());
        assert_eq!(guarded(is_decoding), Some(true));
    }
}
