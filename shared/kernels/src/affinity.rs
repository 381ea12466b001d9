//! CPU affinity of threads.

use std::io;

/// Binds the calling thread to one CPU.
#[cfg(target_os = "linux")]
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    /// Number of CPUs in the C library's own set.
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

/// Refuses: on other systems than Linux no way to bind a thread is known.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_cpu: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
