//! Retry of failed calls: which failures are retried, after which pauses, for how long, and what is logged.

use std::{
    collections::hash_map::RandomState,
    error::Error,
    fmt::Display,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use rand::Rng;
use settings::random;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};
use tracing::{info, warn};

use crate::{ClientError, tls::Untrusted};

/// Interval at which a lasting failure is logged again.
const REMINDER: Duration = Duration::from_secs(15);

/// Retry settings of a client: deadlines of calls, pauses between attempts, and the time to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Time for which a call keeps trying while its server is out of reach, or its stream of blocks makes no
    /// progress, before it fails with [`ClientError::Unreachable`]; 5 minutes by default.
    pub give_up_after: Duration,
    /// Pause after the first failed attempt, 50 ms by default; each further failure doubles it.
    pub first_pause: Duration,
    /// Longest pause between two attempts; 5 s by default.
    pub longest_pause: Duration,
    /// Deadline of one attempt to connect; 5 s by default.
    pub connecting: Duration,
    /// Deadline of one attempt of a call, other than an order to a shard process, or of opening a stream of
    /// blocks (for a push or a fetch); 10 s by default.
    pub control: Duration,
    /// Deadline of one attempt of an order to a shard process, which may write files meanwhile; 120 s by
    /// default.
    pub order: Duration,
    /// Time for which a stream of blocks (of a push or a fetch) may stand still while a reply is outstanding;
    /// after it the stream counts as broken and is opened again. 60 s by default.
    pub stall: Duration,
    /// Seed of the random numbers by which pauses are shortened, each by up to a half. By default random, so
    /// that the workers of a run do not all reconnect at once.
    pub jitter: u64,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            give_up_after: Duration::from_secs(300),
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(5),
            connecting: Duration::from_secs(5),
            control: Duration::from_secs(10),
            order: Duration::from_secs(120),
            stall: Duration::from_secs(60),
            // The standard library's only source of randomness: the keys of its hash maps.
            jitter: RandomState::new().build_hasher().finish(),
        }
    }
}

impl Patience {
    /// Returns the pause after failure number `failure`, from 0: between half and all of a doubling step.
    fn pause(&self, failure: u32) -> Duration {
        let step = self.first_pause.saturating_mul(1 << failure.min(20)).min(self.longest_pause);
        let word = random::stream(self.jitter, "pause", &[u64::from(failure)]).next_u32();
        step.mul_f64(0.5 + 0.5 * f64::from(word) / 2f64.powi(32))
    }
}

/// Kinds of failure of one attempt.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Temporary failure of the connection or the server: another attempt may succeed.
    Passing(String),
    /// Final failure: no further attempt can succeed.
    Final(ClientError),
}

impl Failure {
    /// Makes the failure of an attempt that had no answer within the deadline.
    pub(crate) fn silence(deadline: Duration) -> Failure {
        Failure::Passing(format!("no answer within {} s", deadline.as_secs_f32()))
    }

    /// Classifies the status that a call ended with.
    pub(crate) fn of(status: &Status, address: &str, call: &'static str) -> Failure {
        let retryable = matches!(
            status.code(),
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::ResourceExhausted
                | Code::Cancelled
                | Code::Aborted
        );
        if let Some(untrusted) = Untrusted::among(status) {
            let (address, reason) = (address.into(), untrusted.to_string());
            return Failure::Final(ClientError::Untrusted { address, reason });
        }
        match root(status) {
            // A status with a source was made on this side, out of a broken connection.
            Some(cause) => Failure::Passing(cause),
            None if retryable => Failure::Passing(status.message().to_string()),
            None if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) => {
                let (address, reason) = (address.into(), status.message().into());
                Failure::Final(ClientError::Denied { address, call, reason })
            }
            None => Failure::unusable(address, call, reason(status)),
        }
    }

    /// Makes the failure of an answer that breaks the protocol.
    pub(crate) fn unusable(address: &str, call: &'static str, reason: impl Display) -> Failure {
        Failure::Final(ClientError::Unusable { address: address.into(), call, reason: reason.to_string() })
    }
}

/// Returns the reason why a call failed, for people.
pub(crate) fn reason(status: &Status) -> String {
    root(status).unwrap_or_else(|| format!("status {:?}, {}", status.code(), status.message()))
}

/// Returns the innermost cause of an error, which says most ("connection refused").
fn root(error: &dyn Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(cause.to_string())
}

/// The attempts of one call to one server.
pub(crate) struct Attempts<'a> {
    address: &'a str,
    patience: &'a Patience,
    /// Time of the first failure since the newest progress; a stream may have been idle for long before it.
    since: Option<Instant>,
    /// Failures since the newest progress.
    failures: u32,
    /// Time at which the failure was logged last.
    told: Option<Instant>,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(address: &'a str, patience: &'a Patience) -> Attempts<'a> {
        Attempts { address, patience, since: None, failures: 0, told: None }
    }

    /// Notes that the call moved on: patience starts anew.
    pub(crate) fn progress(&mut self) {
        if let Some(since) = self.since.take() {
            info!("{} answers again after {:.1} s", self.address, since.elapsed().as_secs_f32());
        }
        self.failures = 0;
        self.told = None;
    }

    /// Waits until the next attempt is due; returns the error with which the call ends if there is to be no
    /// further attempt.
    pub(crate) async fn after(&mut self, failure: Failure) -> Result<(), ClientError> {
        let reason = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing(reason) => reason,
        };
        let now = Instant::now();
        let waited = now - *self.since.get_or_insert(now);
        if waited >= self.patience.give_up_after {
            let (address, seconds) = (self.address.into(), waited.as_secs());
            return Err(ClientError::Unreachable { address, seconds, last: reason });
        }
        if self.told.is_none_or(|told| now - told >= REMINDER) {
            let left = (self.patience.give_up_after - waited).as_secs();
            warn!("waiting for {}, for {left} s more at most: {reason}", self.address);
            self.told = Some(now);
        }
        let pause = self.patience.pause(self.failures).min(self.patience.give_up_after - waited);
        self.failures += 1;
        sleep(pause).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ_by_seed() {
        let patience = Patience { jitter: 1, ..Patience::default() };
        for (failure, step) in [(0, 50), (1, 100), (2, 200), (6, 3200), (7, 5000), (40, 5000)] {
            let pause = patience.pause(failure).as_millis();
            assert!((step / 2..=step).contains(&pause), "{failure}: {pause} ms");
        }
        assert_ne!(patience.pause(3), Patience { jitter: 2, ..patience }.pause(3));
        assert_ne!(Patience::default().jitter, Patience::default().jitter);
    }

    #[test]
    fn a_status_of_the_server_is_final_and_a_broken_connection_is_not() {
        let of = |status: Status| Failure::of(&status, "here:1", "join");
        assert!(matches!(of(Status::unavailable("stopping")), Failure::Passing(text) if text == "stopping"));
        let broken = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset by peer");
        assert!(
            matches!(of(Status::from_error(Box::new(broken))), Failure::Passing(text) if text == "reset by peer")
        );
        let Failure::Final(error) = of(Status::unimplemented("no such call")) else {
            panic!("expected a final failure");
        };
        assert_eq!(
            error.to_string(),
            "here:1 answered join with something unusable: status Unimplemented, no such call; check that both \
             sides are the same version"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_starts_anew_with_progress() {
        let patience = Patience { give_up_after: Duration::from_secs(20), ..Patience::default() };
        let mut attempts = Attempts::new("here:1", &patience);
        let start = Instant::now();
        let mut count = 0;
        let error = loop {
            if let Err(error) = attempts.after(Failure::Passing("refused".into())).await {
                break error;
            }
            count += 1;
        };
        assert_eq!(start.elapsed().as_secs(), 20);
        assert!((9..20).contains(&count), "{count} attempts");
        assert!(
            error.to_string().starts_with("cannot reach here:1: tried for 20 s, last: refused; check"),
            "{error}"
        );
        // However long a stream has been idle before it breaks: the trouble starts then.
        attempts.progress();
        sleep(Duration::from_secs(1000)).await;
        attempts.after(Failure::Passing("refused".into())).await.unwrap();
    }
}
