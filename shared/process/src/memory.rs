//! The allocator of all programs.

/// Allocator of memory, which every binary makes its own: on Linux jemalloc, elsewhere the system's.
///
/// A server lives for weeks, and its memory is what a thousand connections come and go with. jemalloc keeps
/// allocations of one size together, so that what is freed is used again; the C library's allocator leaves gaps
/// between what stays, and a server under it grows (`cargo bench --package downpour --bench members` prints by how
/// much). Freed pages go back to the system some seconds later, so that an exchange finds those of the exchange
/// before, without the system clearing them anew.
#[cfg(target_os = "linux")]
pub type Allocator = tikv_jemallocator::Jemalloc;
/// Allocator of memory, which every binary makes its own: on Linux jemalloc, elsewhere the system's.
#[cfg(not(target_os = "linux"))]
pub type Allocator = std::alloc::System;

/// The allocator, as the value of a binary's `#[global_allocator]`.
#[cfg(target_os = "linux")]
pub const ALLOCATOR: Allocator = tikv_jemallocator::Jemalloc;
/// The allocator, as the value of a binary's `#[global_allocator]`.
#[cfg(not(target_os = "linux"))]
pub const ALLOCATOR: Allocator = std::alloc::System;
