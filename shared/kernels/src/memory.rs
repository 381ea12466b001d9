//! Allocator settings for freed memory.

/// Makes this process keep the memory of each allocation of up to 32 MiB that it frees, for later
/// allocations, instead of returning it to the system.
///
/// Each exchange between a worker and a parameter server allocates and frees hundreds of blocks (pieces of
/// tensors). By default the C library returns such memory to the system and asks for it again, and the system
/// clears each page anew, which costs as much as sending the block.
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
