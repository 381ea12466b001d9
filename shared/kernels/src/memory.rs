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

/// Returns freed memory that this process kept to the system.
///
/// A process that keeps what it frees has, after a while, as much as it ever needed at once, and more, since
/// what it needs next does not fit where it freed. A call from time to time bounds that, at the price of
/// clearing pages that are soon needed again.
///
/// Has no effect unless the C library is GNU's.
pub fn return_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> i32;
        }
        // SAFETY: the call may come at any time; it touches only memory that is not allocated.
        unsafe {
            malloc_trim(0);
        }
    }
}
