//! What the allocator does with memory that is given back.

/// Has this process keep what it frees, up to 32 MiB at a time, for its next allocations.
///
/// Blocks of parameters come and go by the hundred in every exchange. Left alone, the C library returns such memory to the
/// system and asks for it again, and the system clears each page anew: that costs as much as sending the block.
///
/// Does nothing where the C library is not GNU's.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const M_TRIM_THRESHOLD: i32 = -1;
        const M_MMAP_THRESHOLD: i32 = -3;
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        // SAFETY: it takes any values, at any time, and changes only where allocations come from. A refusal changes only
        // speed.
        unsafe {
            mallopt(M_MMAP_THRESHOLD, 32 << 20);
            mallopt(M_TRIM_THRESHOLD, 1 << 30);
        }
    }
}
