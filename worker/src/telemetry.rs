//! The numbers that a worker gives out for Prometheus, for who asked for them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

use protocol::StepMetrics;
use web::{Content, Exposition, Histogram, Kind, Page};

/// Upper bounds, in seconds, of the buckets of times: three in each power of ten.
const SECONDS: [f64; 17] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0];

/// Name, unit and meaning of each counter.
#[rustfmt::skip]
pub const COUNTERS: [[&str; 3]; 7] = [
    ["downpour_minibatches_total", "minibatches", "that this process has trained on"],
    ["downpour_images_total", "images", "that this process has trained on"],
    ["downpour_refused_minibatches_total", "minibatches", "of which a push was refused"],
    ["downpour_updates_total", "pushes", "of this process, one for each block, that were applied"],
    ["downpour_staleness_total", "updates", "sum of the staleness of those pushes"],
    ["downpour_sent_bytes_total", "bytes", "of gradients, as they travelled"],
    ["downpour_received_bytes_total", "bytes", "of parameters, as they travelled"],
];
/// Name, unit and meaning of the histogram of steps.
pub const STEP: [&str; 3] = ["downpour_step_seconds", "seconds", "of a minibatch, waiting included"];
/// Name, unit and meaning of the histogram of pushes.
pub const PUSH: [&str; 3] =
    ["downpour_push_seconds", "seconds", "from the first block of a gradient to the last reply"];

/// Numbers of one worker process since it started.
#[derive(Debug)]
pub struct Telemetry {
    /// As [`COUNTERS`] lists them.
    counters: [AtomicU64; COUNTERS.len()],
    step: Histogram,
    push: Histogram,
}

impl Default for Telemetry {
    fn default() -> Telemetry {
        let [step, push] = [(); 2].map(|()| Histogram::new(&SECONDS));
        Telemetry { counters: Default::default(), step, push }
    }
}

impl Telemetry {
    /// Counts a minibatch with these metrics, whose gradient was exchanged with the shards in the time `push`.
    pub fn step(&self, metrics: &StepMetrics, push: Duration) {
        let &StepMetrics { steps, images, refused, updates, staleness_sum, bytes_out, bytes_in, .. } =
            metrics;
        let news = [steps, images, refused, updates, staleness_sum, bytes_out, bytes_in];
        for (counter, new) in self.counters.iter().zip(news) {
            counter.fetch_add(new, Ordering::Relaxed);
        }
        self.step.record(metrics.compute_seconds + metrics.wait_seconds);
        self.push.record(push.as_secs_f64());
    }

    /// Returns the page of these numbers.
    pub fn page(self: Arc<Self>) -> Page {
        let content = Content::Made(Arc::new(move || self.text()));
        Page { path: "/metrics", content_type: Exposition::CONTENT_TYPE, content }
    }

    fn text(&self) -> String {
        let mut text = Exposition::default();
        for ([name, unit, help], counter) in COUNTERS.iter().zip(&self.counters) {
            text.family(name, Kind::Counter, &format!("{unit}: {help}"));
            text.sample(name, &[], counter.load(Ordering::Relaxed) as f64);
        }
        for ([name, unit, help], histogram) in [(STEP, &self.step), (PUSH, &self.push)] {
            text.histogram(name, &format!("{unit}: {help}"), histogram);
        }
        text.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use parameter_server::{NUMBERS, series};

    use super::*;

    #[test]
    fn minibatches_add_up() {
        let telemetry = Telemetry::default();
        let metrics = StepMetrics {
            steps: 1,
            images: 32,
            updates: 3,
            bytes_out: 100,
            compute_seconds: 0.75,
            wait_seconds: 0.25,
            ..StepMetrics::default()
        };
        (0..2).for_each(|_| telemetry.step(&metrics, Duration::from_millis(3)));
        let text = telemetry.text();
        for line in [
            "# TYPE downpour_images_total counter",
            "downpour_images_total 64",
            "downpour_sent_bytes_total 200",
            "downpour_step_seconds_bucket{le=\"0.5\"} 0",
            "downpour_step_seconds_bucket{le=\"1\"} 2",
            "downpour_push_seconds_bucket{le=\"0.005\"} 2",
            "downpour_step_seconds_sum 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing from:\n{text}");
        }
    }

    /// Names of all metrics that the programs give out.
    fn given_out() -> BTreeSet<String> {
        let histogram =
            |[name, ..]: [&str; 3]| ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}"));
        let mut names: BTreeSet<String> =
            series::of_lines().map(|number| format!("downpour_{}", number.name)).collect();
        names.extend(series::RUN.iter().map(|series| series.name.to_string()));
        names.extend(series::WORKER.iter().map(|series| series.name.to_string()));
        names.extend(series::SHARD.iter().map(|series| series.name.to_string()));
        names.extend([series::STATE, series::SILENCE].map(|[name, ..]| name.to_string()));
        names.extend(COUNTERS.map(|[name, ..]| name.to_string()));
        names.extend([series::STALENESS, STEP, PUSH].into_iter().flat_map(histogram));
        assert!(names.len() > NUMBERS.len() + 30, "{names:?}");
        names
    }

    #[test]
    fn dashboard_and_alerts_ask_for_metrics_that_are_given_out() {
        let given_out = given_out();
        let dashboard = include_str!("../../deploy/watch/dashboard.json");
        let parsed: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        assert!(parsed["panels"].as_array().is_some_and(|panels| panels.len() >= 8), "{parsed}");
        let alerts = include_str!("../../deploy/watch/alerts.yml");
        for (file, text, least) in [("dashboard.json", dashboard, 15), ("alerts.yml", alerts, 8)] {
            let words =
                text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
            let asked: BTreeSet<&str> = words.filter(|word| word.starts_with("downpour_")).collect();
            assert!(asked.len() >= least, "{file}: {asked:?}");
            for name in asked {
                assert!(given_out.contains(name), "{file} asks for {name}, which no program gives out");
            }
        }
    }

    #[test]
    fn the_page_on_watching_lists_every_number() {
        let page = include_str!("../../deploy/guide/watch.md");
        for [name, unit, help] in COUNTERS.into_iter().chain([STEP, PUSH]) {
            let row = format!("| `{name}` | {unit} | {help} |");
            assert!(page.lines().any(|line| line == row), "watch.md lacks the row\n{row}");
        }
    }
}
