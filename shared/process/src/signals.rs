//! The requests to stop that a program receives: signals, and the end of standard input.

use std::future::pending;
use std::io;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

/// The stop signals that a process receives, in the order of their arrival: Ctrl-C, SIGTERM, and SIGHUP,
/// which comes when the terminal is closed. Signals within two seconds are one.
pub struct Signals {
    /// The signals by name, with the time at which each came.
    received: mpsc::Receiver<(&'static str, Instant)>,
    /// Time of the newest signal that was handed out.
    counted: Option<Instant>,
}

/// Largest number of signals that wait to be handled; further ones are dropped.
const MOST_WAITING: usize = 8;
/// Time within which another signal is the same wish to stop: GNU `timeout` sends one to the process and one to
/// its group, and a supervisor and a terminal may both send theirs.
const ONE_WISH: Duration = Duration::from_secs(2);

impl Signals {
    /// Starts to receive the stop signals; from now on they do not end the process. SIGHUP stays ignored in a
    /// process that was started so, as `nohup` does, and is left alone on systems where that cannot be seen.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the system does not allow signals to be handled.
    pub fn listen() -> io::Result<Signals> {
        let (send, receive) = mpsc::channel(MOST_WAITING);
        listen(&send)?;
        Ok(Signals::of(receive))
    }

    fn of(received: mpsc::Receiver<(&'static str, Instant)>) -> Signals {
        Signals { received, counted: None }
    }

    /// Waits for the next signal and returns its name, such as "SIGTERM". One that came within two seconds of
    /// the last that was returned is passed over.
    pub async fn next(&mut self) -> &'static str {
        while let Some((name, at)) = self.received.recv().await {
            if self.counted.is_none_or(|counted| at.duration_since(counted) >= ONE_WISH) {
                self.counted = Some(at);
                return name;
            }
        }
        pending().await
    }
}

#[cfg(unix)]
fn listen(send: &mpsc::Sender<(&'static str, Instant)>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let hangup = hangup_is_heard().then_some((SignalKind::hangup(), "SIGHUP"));
    let others = [(SignalKind::interrupt(), "SIGINT"), (SignalKind::terminate(), "SIGTERM")];
    for (kind, name) in hangup.into_iter().chain(others) {
        let (mut signals, send) = (signal(kind)?, send.clone());
        tokio::spawn(async move {
            while signals.recv().await.is_some() && send.send((name, Instant::now())).await.is_ok() {}
        });
    }
    Ok(())
}

/// Returns whether SIGHUP is known not to be ignored by this process, which inherits that from the one that
/// started it.
#[cfg(unix)]
fn hangup_is_heard() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| hears_hangup(&status))
}

/// Returns whether a process whose status, as Linux has it in `/proc/self/status`, is `status` does not ignore
/// SIGHUP.
#[cfg(unix)]
fn hears_hangup(status: &str) -> bool {
    // The mask has a bit for each signal, the lowest for signal 1, which is SIGHUP.
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 0)
}

#[cfg(not(unix))]
fn listen(send: &mpsc::Sender<(&'static str, Instant)>) -> io::Result<()> {
    let send = send.clone();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() && send.send(("Ctrl-C", Instant::now())).await.is_ok() {}
    });
    Ok(())
}

/// Waits until standard input ends, as it does for a child process whose parent is gone. Unless `asked` is
/// true, the wait never ends.
pub async fn stdin_end(asked: bool) {
    if !asked {
        return pending().await;
    }
    let (ended, end) = oneshot::channel();
    // A plain thread reads, since nothing could cancel a read by the runtime.
    std::thread::spawn(move || {
        // An input that cannot be read counts as ended.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn signals_within_two_seconds_are_one_and_a_later_one_is_another() {
        let (send, receive) = mpsc::channel(MOST_WAITING);
        let mut signals = Signals::of(receive);
        let begun = Instant::now();
        for (name, milliseconds) in [
            ("SIGTERM", 0),
            ("SIGTERM", 2),
            ("SIGHUP", 1999),
            ("SIGINT", 2000),
            ("SIGINT", 3999),
            ("SIGTERM", 4000),
        ] {
            send.send((name, begun + Duration::from_millis(milliseconds))).await.unwrap();
        }
        assert_eq!(
            [signals.next().await, signals.next().await, signals.next().await],
            ["SIGTERM", "SIGINT", "SIGTERM"]
        );
    }

    #[cfg(unix)]
    #[test]
    fn an_ignored_hangup_is_seen_in_the_mask_and_none_is_heard_without_one() {
        assert!(hears_hangup("Name:\tworker\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"));
        assert!(!hears_hangup("Name:\tworker\nSigIgn:\t0000000000001001\n"));
        assert!(!hears_hangup("Name:\tworker\n") && !hears_hangup("SigIgn:\tnone\n"));
    }
}
