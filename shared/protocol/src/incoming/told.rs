//! A warning that is given at most once a minute, with the count of what it stands for.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::bounds::WARNING;

/// The warnings about one kind of trouble.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<(Option<Instant>, u64)>);

impl Told {
    /// Counts one more; returns how many a warning is due for, or none while the last one stands for it.
    pub(crate) fn note(&self) -> Option<u64> {
        // They are a time and a number, which no panic leaves in between.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, untold) = &mut *told;
        *untold += 1;
        if last.is_some_and(|last| last.elapsed() < WARNING) {
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minute_is_told_in_one() {
        let told = Told::default();
        let first: Vec<_> = (0..5).map(|_| told.note()).collect();
        assert_eq!(first, [Some(1), None, None, None, None]);
        tokio::time::advance(WARNING).await;
        assert_eq!(told.note(), Some(5));
        assert_eq!(told.note(), None);
    }
}
