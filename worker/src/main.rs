//! The replica: joins, leases, computes, pushes, evaluates.

fn main() {}
