//! The newest warnings in the log of this process, for who watches it from elsewhere.

use std::{
    collections::VecDeque,
    fmt::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::time_of_day;

/// Number of warnings that are kept.
const KEPT: usize = 32;
/// Largest number of bytes of a warning that are kept.
const MOST_BYTES: usize = 1000;

/// The newest warnings and errors in the log of a process. Clones show the same ones.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<VecDeque<Warning>>>);

/// A warning or an error in the log of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// Time at which it was logged, in seconds since 1970.
    pub time: f64,
    /// Text of its line, with its fields.
    pub text: String,
}

impl Warnings {
    /// Returns the newest warnings, at most 32, the oldest first.
    pub fn newest(&self) -> Vec<Warning> {
        self.kept().iter().cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Warning>> {
        // Each warning is whole, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > Level::WARN {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let warning = Warning { time: time_of_day(), text: text.cut() };
        let mut kept = self.kept();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(warning);
    }
}

/// The message of an event, and its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    /// Returns the text, cut to what is kept of it.
    fn cut(self) -> String {
        let Text { mut message, fields } = self;
        message += &fields;
        let end = (0..=MOST_BYTES.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or(0));
        message
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn the_newest_warnings_are_kept_and_nothing_else() {
        let warnings = Warnings::default();
        let subscriber = tracing_subscriber::registry().with(warnings.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not of interest");
            tracing::warn!(refused = 3, "a push is refused: {}", "too large");
            tracing::error!("{}", "ä".repeat(2000));
        });
        let newest = warnings.newest();
        assert_eq!(newest.len(), 2);
        assert_eq!(newest[0].text, "a push is refused: too large refused=3");
        assert_eq!(newest[1].text, "ä".repeat(500));
        assert!(newest[0].time > 1.7e9 && newest[0].time <= newest[1].time);
        let subscriber = tracing_subscriber::registry().with(warnings.clone());
        tracing::subscriber::with_default(subscriber, || {
            (0..100).for_each(|number| tracing::warn!("number {number}"));
        });
        let newest = warnings.newest();
        assert_eq!(
            (newest.len(), newest[0].text.as_str(), newest[31].text.as_str()),
            (32, "number 68", "number 99")
        );
    }
}
