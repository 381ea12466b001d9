//! The time of day, for people and for logs.

/// Returns the time of day in seconds since 1970, to a thousandth; 0 if the clock is before.
#[expect(
    clippy::disallowed_types,
    reason = "lines are compared with other logs by it, and nothing is measured"
)]
pub fn time_of_day() -> f64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64 / 1000.0
}
