//! Numbers on command lines that must lie within bounds.

/// Longest measurement of this machine, in seconds.
const MOST_SECONDS: f64 = 3600.0;

/// Parses a number from `least` to `most`; `unit` stands behind these in the error.
pub fn within(text: &str, least: f64, most: f64, unit: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("expected {least} to {most}{unit}"))
}

/// Parses the duration of a measurement, in seconds.
pub fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.0, MOST_SECONDS, " seconds")
}
