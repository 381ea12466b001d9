//! On which CPU a thread runs.

use std::io;

/// Has the calling thread run on this CPU alone.
#[cfg(target_os = "linux")]
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    /// As many CPUs as the C library's own set has.
    const CPUS: usize = 1024;
    const BITS: usize = usize::BITS as usize;
    unsafe extern "C" {
        fn sched_setaffinity(thread: i32, bytes: usize, set: *const usize) -> i32;
    }
    let mut set = [0; CPUS / BITS];
    let word = set.get_mut(cpu / BITS).ok_or(io::ErrorKind::InvalidInput)?;
    *word |= 1 << (cpu % BITS);
    // SAFETY: the set is as long as said and only read; 0 is the calling thread.
    match unsafe { sched_setaffinity(0, size_of_val(&set), set.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Elsewhere than on Linux there is no way that we know of.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_cpu: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
