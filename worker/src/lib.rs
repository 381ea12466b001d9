//! The replica: joins, leases, computes, pushes, evaluates.
