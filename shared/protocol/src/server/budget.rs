//! A number of bytes that the calls of all connections share.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{Mutex, Notify},
    time::timeout,
};
use tonic::Status;

use crate::bounds::WAIT;

/// The bytes that may be held for one purpose, and those that are.
#[derive(Debug)]
pub(crate) struct Budget {
    /// What the bytes are held for, for people.
    purpose: &'static str,
    most: usize,
    held: AtomicUsize,
    /// Whose turn it is to wait for room; the others stand in line behind.
    turn: Mutex<()>,
    freed: Notify,
}

impl Budget {
    pub(crate) fn new(purpose: &'static str, most: usize) -> Arc<Budget> {
        Arc::new(Budget {
            purpose,
            most,
            held: AtomicUsize::new(0),
            turn: Mutex::new(()),
            freed: Notify::new(),
        })
    }

    /// Counts bytes that are held already, whether or not there is room for them.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Held { budget: self.clone(), bytes }
    }

    /// Takes bytes if there is room for them and nobody waits before.
    pub(crate) fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let _turn = self.turn.try_lock().ok()?;
        self.fitting(bytes)
    }

    /// Waits until there is room for bytes, and takes them. More than the whole budget has room once nothing
    /// else is held.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED if there is no room for too long; the call may be repeated later.
    pub(crate) async fn take(self: Arc<Self>, bytes: usize) -> Result<Held, Status> {
        let taking = async {
            let _turn = self.turn.lock().await;
            loop {
                if let Some(held) = self.fitting(bytes) {
                    return held;
                }
                self.freed.notified().await;
            }
        };
        timeout(WAIT, taking).await.map_err(|_| {
            let (purpose, most, seconds) = (self.purpose, self.most, WAIT.as_secs());
            let text = format!(
                "no room for {bytes} bytes within {seconds} s: all calls together hold {} of {most} bytes of {purpose}; try \
                 again later",
                self.held.load(Ordering::Relaxed)
            );
            Status::resource_exhausted(text)
        })
    }

    fn fitting(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let more = |held: usize| (held == 0 || held + bytes <= self.most).then_some(held + bytes);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Held { budget: self.clone(), bytes })
    }

    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
            // Kept for the next who waits if nobody does yet, so that nothing is missed in between.
            self.freed.notify_one();
        }
    }
}

/// Bytes that are held; dropped, they are given back.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Held {
    /// Gives back what is over `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let kept = bytes.min(self.bytes);
        self.budget.give_back(mem::replace(&mut self.bytes, kept) - kept);
    }

    /// Adds what another holds of the same budget.
    pub(crate) fn merge(&mut self, mut other: Held) {
        self.bytes += mem::take(&mut other.bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_in_line_until_it_is_given_back() {
        let budget = Budget::new("tests", 100);
        let first = budget.clone().take(60).await.unwrap();
        let big = tokio::spawn(budget.clone().take(70));
        tokio::task::yield_now().await;
        // It would fit, but another was there before.
        assert!(budget.try_take(10).is_none());
        let small = tokio::spawn(budget.clone().take(10));
        tokio::task::yield_now().await;
        assert!(!big.is_finished() && !small.is_finished());
        drop(first);
        let (big, small) = (big.await.unwrap().unwrap(), small.await.unwrap().unwrap());
        assert_eq!((big.bytes, small.bytes), (70, 10));
        assert!(budget.try_take(21).is_none() && budget.try_take(20).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_so() {
        let budget = Budget::new("messages of tests", 100);
        let _all = budget.hold(150);
        let begun = Instant::now();
        let status = budget.clone().take(1).await.unwrap_err();
        assert_eq!(begun.elapsed(), WAIT);
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(
            status.message(),
            "no room for 1 bytes within 30 s: all calls together hold 150 of 100 bytes of messages of tests; try \
             again later"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_shrunk_and_merged_is_given_back_once() {
        let budget = Budget::new("tests", 100);
        let mut held = budget.try_take(50).unwrap();
        held.merge(budget.try_take(50).unwrap());
        held.shrink(200);
        assert!(budget.try_take(1).is_none());
        held.shrink(30);
        assert!(budget.try_take(71).is_none());
        drop(held);
        // More than there is may be taken when nothing is.
        assert!(budget.try_take(101).is_some());
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
