//! The count of calls that were not let in, and its log, which nobody can fill by knocking.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Shortest time between two lines of the log about one address.
const EVERY: Duration = Duration::from_secs(60);
/// Most addresses that are told apart at a time; further ones are not logged until the minute of another is
/// over.
const MOST_ADDRESSES: usize = 1024;

/// The refused calls and connections of a server, by the address that they came from.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// All refusals since the start of the process.
    total: u64,
    /// The addresses that a line was logged about in the last minute.
    addresses: BTreeMap<IpAddr, Recent>,
}

/// The refusals of one address.
#[derive(Debug)]
struct Recent {
    logged: Instant,
    /// Refusals that no line has told yet.
    untold: u64,
}

impl Refusals {
    /// Counts a refusal, and logs it unless the last minute's line about the address stands for it.
    pub(crate) fn note(&self, from: IpAddr, reason: &str) {
        if let Some(line) = self.counted(from.to_canonical()) {
            tracing::warn!("{line}: {reason}");
        }
    }

    /// Counts a refusal; returns the beginning of the line to log, if one is due.
    fn counted(&self, from: IpAddr) -> Option<String> {
        // The counts are numbers, which no panic leaves in between.
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        counts.total += 1;
        let total = counts.total;
        let mut untold = 1;
        if let Some(recent) = counts.addresses.get_mut(&from) {
            recent.untold += 1;
            if now - recent.logged < EVERY {
                return None;
            }
            untold = recent.untold;
        } else if counts.addresses.len() >= MOST_ADDRESSES {
            counts.addresses.retain(|_, recent| now - recent.logged < EVERY);
            if counts.addresses.len() >= MOST_ADDRESSES {
                return None;
            }
        }
        counts.addresses.insert(from, Recent { logged: now, untold: 0 });
        Some(format!("refused {untold} calls from {from}, {total} of all since the start"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_logged_once_a_minute_with_what_came_in_between() {
        let refusals = Refusals::default();
        let told = |number| refusals.counted(address(number));
        assert_eq!(told(1).unwrap(), "refused 1 calls from 10.0.0.1, 1 of all since the start");
        for _ in 0..10 {
            assert_eq!(told(1), None);
        }
        assert_eq!(told(2).unwrap(), "refused 1 calls from 10.0.0.2, 12 of all since the start");
        tokio::time::advance(EVERY).await;
        assert_eq!(told(1).unwrap(), "refused 11 calls from 10.0.0.1, 13 of all since the start");
        assert_eq!(told(1), None);
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_addresses_knock_the_memory_is_bounded() {
        let refusals = Refusals::default();
        let logged = |range: std::ops::Range<u32>| {
            range.filter(|&number| refusals.counted(address(number)).is_some()).count()
        };
        assert_eq!(logged(0..5000), MOST_ADDRESSES);
        assert_eq!(logged(0..5000), 0);
        tokio::time::advance(EVERY).await;
        assert_eq!(logged(4000..5000), 1000);
        assert!(refusals.counts.lock().unwrap().addresses.len() <= MOST_ADDRESSES);
    }
}
