//! Allocator settings for freed memory.

/// Makes this process keep the memory that it frees, up to 32 MiB at a time, for its next allocations.
///
/// Parameter blocks are allocated and freed by the hundred in every exchange. By default the C library
/// returns such memory to the system and asks for it again, and the system clears each page anew, which costs
/// as much as sending the block.
///
/// Has no effect unless the C library is GNU's.
pub fn retain_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const M_TRIM_THRESHOLD: i32 = -1;
        const M_MMAP_THRESHOLD: i32 = -3;
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        // SAFETY: the call accepts any values at any time and only changes where allocations come from. A
        // refusal costs only speed.
        unsafe {
            mallopt(M_MMAP_THRESHOLD, 32 << 20);
            mallopt(M_TRIM_THRESHOLD, 1 << 30);
        }
    }
}
