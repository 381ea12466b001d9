//! What goes on on one connection: which calls are open, and how their answers are taken.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use crate::bounds::{FAREWELL, IDLE, STALL};

/// The open calls of a connection.
#[derive(Debug)]
pub(crate) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Calls so far; the number of a call tells it from the others.
    calls: u64,
    /// The open calls, each with the time since which the connection has a part of its answer and does not
    /// ask for the next; none while the answer is being made.
    open: BTreeMap<u64, Option<Instant>>,
    /// Time since which no call is open, if none is.
    idle: Instant,
}

impl Activity {
    pub(crate) fn new() -> Arc<Activity> {
        let state = State { calls: 0, open: BTreeMap::new(), idle: Instant::now() };
        Arc::new(Activity(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is numbers and times, which no panic leaves in between.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a call begins, which is open until what is returned is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> OpenCall {
        let mut state = self.state();
        state.calls += 1;
        let number = state.calls;
        state.open.insert(number, None);
        OpenCall { activity: self.clone(), number }
    }

    /// Returns the time at which the connection is idle for too long, if nothing happens until then.
    pub(crate) fn idle(&self) -> Option<Instant> {
        let state = self.state();
        state.open.is_empty().then(|| state.idle + IDLE)
    }

    /// Returns the time at which the answer to a call was not taken for too long, if nothing happens until
    /// then.
    pub(crate) fn stalled(&self) -> Option<Instant> {
        self.state().open.values().flatten().min().map(|&since| since + STALL + FAREWELL)
    }
}

/// A call that is open.
#[derive(Debug)]
pub(crate) struct OpenCall {
    activity: Arc<Activity>,
    number: u64,
}

impl OpenCall {
    /// Notes that the connection was given a part of the answer.
    pub(crate) fn given(&self) {
        self.set(Some(Instant::now()));
    }

    /// Notes that the connection waits for a part of the answer.
    pub(crate) fn awaited(&self) {
        self.set(None);
    }

    /// Returns whether the last part of the answer that was given was not taken in time.
    pub(crate) fn is_stalled(&self) -> bool {
        let state = self.activity.state();
        let since = state.open.get(&self.number).copied().flatten();
        since.is_some_and(|since| since.elapsed() >= STALL)
    }

    fn set(&self, given: Option<Instant>) {
        self.activity.state().open.insert(self.number, given);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.open.remove(&self.number);
        state.idle = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Duration, advance};

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_the_end_of_its_last_call() {
        let start = Instant::now();
        let activity = Activity::new();
        assert_eq!((activity.idle(), activity.stalled()), (Some(start + IDLE), None));
        let (one, other) = (activity.begin(), activity.begin());
        advance(2 * IDLE).await;
        assert_eq!((activity.idle(), activity.stalled()), (None, None));
        drop(one);
        assert_eq!(activity.idle(), None);
        drop(other);
        assert_eq!(activity.idle(), Some(start + 3 * IDLE));
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_that_waits_longest_stalls_the_connection() {
        let start = Instant::now();
        let activity = Activity::new();
        let (one, other) = (activity.begin(), activity.begin());
        one.given();
        advance(Duration::from_secs(1)).await;
        other.given();
        assert_eq!(activity.stalled(), Some(start + STALL + FAREWELL));
        advance(STALL - Duration::from_secs(1)).await;
        assert!(one.is_stalled() && !other.is_stalled());
        one.awaited();
        assert!(!one.is_stalled());
        assert_eq!(activity.stalled(), Some(start + Duration::from_secs(1) + STALL + FAREWELL));
        drop(other);
        assert_eq!(activity.stalled(), None);
    }
}
