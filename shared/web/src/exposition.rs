//! The text format in which Prometheus reads numbers (version 0.0.4).

use std::fmt::{self, Write};

use crate::Histogram;

/// Kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that goes up and down.
    Gauge,
    /// A number that only grows while the process lives; its name ends in `_total`.
    Counter,
    /// Numbers of observations by their size.
    Histogram,
}

/// The text of metrics, as it grows.
#[derive(Clone, Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// The content type of the text.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Begins the metric `name`, of which samples follow; `help` says what it is, with its unit.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// Writes a sample of the metric that was begun last. Labels are pairs of a name and a value.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0 += name;
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.write(format_args!("{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' }));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let value = Value(value);
        self.write(format_args!(" {value}\n"));
    }

    /// Writes a histogram as the metric that was begun last: for each of the ascending `bounds` the number of
    /// observations of at most that size, then the number of all and their sum.
    pub fn counts(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        bounds: impl IntoIterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) {
        let bucket = format!("{name}_bucket");
        for (bound, below) in bounds.into_iter().chain([(f64::INFINITY, count)]) {
            let bound = Value(bound).to_string();
            self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), below as f64);
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count as f64);
    }

    /// Writes a whole metric that is a histogram.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, Kind::Histogram, help);
        let (bounds, count, sum) = histogram.counts();
        self.counts(name, &[], bounds, count, sum);
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a string takes any text");
    }
}

impl fmt::Display for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A number as the format has it.
struct Value(f64);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value == f64::INFINITY => f.write_str("+Inf"),
            value if value == f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_numbers_are_as_prometheus_reads_them() {
        let mut text = Exposition::default();
        text.family("a", Kind::Gauge, "of two\nlines \\ and more");
        text.sample("a", &[], f64::NAN);
        text.sample("a", &[("name", "x\"\\\n"), ("n", "1")], f64::INFINITY);
        text.sample("a", &[], -0.25);
        let expected = "# HELP a of two\\nlines \\\\ and more\n# TYPE a gauge\na NaN\n\
                        a{name=\"x\\\"\\\\\\n\",n=\"1\"} +Inf\na -0.25\n";
        assert_eq!(text.to_string(), expected);
    }

    #[test]
    fn buckets_hold_all_that_is_not_larger() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        [0.25, 0.5, 0.75, 7.0].into_iter().for_each(|value| histogram.record(value));
        let mut text = Exposition::default();
        text.histogram("t_seconds", "seconds of a step", &histogram);
        let expected = "# HELP t_seconds seconds of a step\n# TYPE t_seconds histogram\n\
                        t_seconds_bucket{le=\"0.5\"} 2\nt_seconds_bucket{le=\"1\"} 3\n\
                        t_seconds_bucket{le=\"+Inf\"} 4\nt_seconds_sum 8.5\nt_seconds_count 4\n";
        assert_eq!(text.to_string(), expected);
    }
}
