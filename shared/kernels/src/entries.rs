//! The table of entry points for one kind of value. It makes the compiler compile the kernels in this crate.
//!
//! Entry points such as [`crate::Convolution::forward`] are generic over the value, and the compiler
//! generates the code of a generic function in the crate that calls it. [`crate::Value`] therefore provides a
//! table of functions that is made here, once for each of its two types, and the entry points call through
//! it. A caller compiles one call and no kernel.

use crate::{Isa, Pool, Value, conv, lrn, peak, pooling};

/// Table of pointers to the functions that compute each operation, such as convolution or pooling, on maps of
/// `T`. Calls go through this table, so that the code is compiled in this crate and not again in each crate
/// that uses it.
pub struct Entries<T: 'static> {
    pub(crate) convolution: conv::Entries<T>,
    pub(crate) branches: conv::BranchEntries<T>,
    pub(crate) stem: conv::StemEntries<T>,
    pub(crate) lrn: lrn::Entries<T>,
    pub(crate) max_pool: pooling::MaxEntries<T>,
    pub(crate) average_pool: pooling::AverageEntries<T>,
    pub(crate) fma_peak: fn(Isa, &Pool) -> f64,
}

impl<T: Value> Entries<T> {
    pub(crate) const fn new() -> Entries<T> {
        Entries {
            convolution: conv::Entries::new(),
            branches: conv::BranchEntries::new(),
            stem: conv::StemEntries::new(),
            lrn: lrn::Entries::new(),
            max_pool: pooling::MaxEntries::new(),
            average_pool: pooling::AverageEntries::new(),
            fma_peak: peak::measure_fma_peak::<T>,
        }
    }
}
