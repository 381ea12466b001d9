//! The files that lines of metrics go to, beside the log.

use super::{EventFile, Line, MetricsFile};

/// The files that lines of metrics go to, beside the log: each is there if it was asked for.
#[derive(Default)]
pub struct Outputs {
    /// File of JSON objects.
    pub metrics: Option<MetricsFile>,
    /// Event file of TensorBoard.
    pub events: Option<EventFile>,
}

impl Outputs {
    /// Writes a line to the log and to the files. A file that cannot be written is warned of.
    pub fn write(&mut self, line: &Line) {
        line.log();
        let metrics = self.metrics.as_mut().map(|file| ("metrics", file.write(line)));
        let events = self.events.as_mut().map(|file| ("event", file.write(line)));
        for (name, written) in metrics.into_iter().chain(events) {
            if let Err(error) = written {
                tracing::warn!("cannot append to the {name} file: {error}; the line above is not there");
            }
        }
    }
}
