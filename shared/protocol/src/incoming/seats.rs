//! The places that a server has for connections: so many for all, and so many for one address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::told::Told;
use crate::bounds::{CONNECTIONS, CONNECTIONS_OF_AN_ADDRESS};

/// The places of a server.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    taken: Mutex<Taken>,
    full: Told,
    crowded: Told,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    /// By address; none is there with zero.
    by_address: HashMap<IpAddr, usize>,
}

impl Seats {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        // The counts are numbers, which no panic leaves in between.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a connection from an address; returns none if the server has none for it. This
    /// machine itself is one address of many processes, which may take all places.
    pub(crate) fn take(self: &Arc<Self>, from: IpAddr) -> Option<Seat> {
        let address = counted(from);
        let mut taken = self.taken();
        if taken.total >= CONNECTIONS {
            if let Some(count) = self.full.note() {
                tracing::warn!(
                    "closed {count} connections at once, the last from {from}: {CONNECTIONS} are open, as many as a \
                     server takes"
                );
            }
            return None;
        }
        let of_address = taken.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= CONNECTIONS_OF_AN_ADDRESS && !address.is_loopback() {
            if let Some(count) = self.crowded.note() {
                tracing::warn!(
                    "closed {count} connections at once, the last from {from}: {CONNECTIONS_OF_AN_ADDRESS} are open \
                     from there, as many as a server takes from one address"
                );
            }
            return None;
        }
        taken.total += 1;
        taken.by_address.insert(address, of_address + 1);
        Some(Seat { seats: self.clone(), address })
    }
}

/// Returns what counts as one address: of IPv6 the upper half, since whoever has one has all of them.
fn counted(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)).into()
        }
        address => address,
    }
}

/// The place of one connection; dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.total -= 1;
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(seats: &Arc<Seats>, from: &str, count: usize) -> Vec<Seat> {
        (0..count).filter_map(|_| seats.take(from.parse().unwrap())).collect()
    }

    #[tokio::test]
    async fn one_address_has_a_quarter_of_the_places_and_gets_them_back() {
        let seats = Arc::new(Seats::default());
        let mut first = take(&seats, "192.0.2.7", 600);
        assert_eq!(first.len(), CONNECTIONS_OF_AN_ADDRESS);
        // The same address in the form of the other protocol.
        assert_eq!(take(&seats, "::ffff:192.0.2.7", 1).len(), 0);
        let second = take(&seats, "192.0.2.8", 600);
        assert_eq!(second.len(), CONNECTIONS_OF_AN_ADDRESS);
        first.truncate(500);
        assert_eq!(take(&seats, "192.0.2.7", 600).len(), 12);
        drop((first, second));
        assert!(seats.taken().by_address.is_empty() && seats.taken().total == 0);
    }

    #[tokio::test]
    async fn all_addresses_of_a_network_of_ipv6_are_one() {
        let seats = Arc::new(Seats::default());
        let _many = take(&seats, "2001:db8:0:1::1", 600);
        assert_eq!(take(&seats, "2001:db8:0:1:ffff::9", 1).len(), 0);
        assert_eq!(take(&seats, "2001:db8:0:2::1", 1).len(), 1);
    }

    #[tokio::test]
    async fn this_machine_may_take_all_places_and_then_nobody_more() {
        let seats = Arc::new(Seats::default());
        let here = [take(&seats, "127.0.0.1", 2000), take(&seats, "::1", 100)];
        assert_eq!(here.each_ref().map(Vec::len), [2000, 48]);
        assert_eq!(take(&seats, "192.0.2.7", 1).len(), 0);
    }
}
