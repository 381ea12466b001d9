//! The processes that form one server, and which shards each of them holds.

use protocol::Refusal;

/// Places for processes of equally many shards; the first is the coordinator's own.
#[derive(Debug)]
pub struct Processes {
    shards_of_each: u32,
    places: Vec<Place>,
}

#[derive(Clone, Debug, Default)]
struct Place {
    address: Option<String>,
    /// Who held these shards when the snapshot was written that the run goes on from: the files may lie there.
    before: Option<String>,
}

impl Processes {
    /// `processes` places of `shards_of_each` shards; the first is taken by `own` address.
    pub fn new(processes: u32, shards_of_each: u32, own: &str) -> Processes {
        let mut places = vec![Place::default(); processes.max(1) as usize];
        places[0].address = Some(own.into());
        Processes { shards_of_each, places }
    }

    /// Keeps places for those who held them before.
    pub fn remember(&mut self, addresses: &[String]) {
        for (place, address) in self.places.iter_mut().zip(addresses) {
            place.before = Some(address.clone());
        }
    }

    /// Gives a process its [`place`](Self::place).
    pub fn register(
        &mut self,
        address: &str,
        shards: u32,
        first_shard: Option<u32>,
    ) -> Result<(u32, bool), Refusal> {
        let (first, again) = self.place(address, shards, first_shard)?;
        self.places[(first / shards) as usize].address = Some(address.into());
        Ok((first, again))
    }

    /// Which place a process has: that of the shards that it holds (`first_shard`), if any; else its own again if it had
    /// one, else one that it held before, else the first free one. Its first shard, and whether it had registered before.
    pub fn place(
        &self,
        address: &str,
        shards: u32,
        first_shard: Option<u32>,
    ) -> Result<(u32, bool), Refusal> {
        if shards != self.shards_of_each {
            return Err(Refusal::Mismatch(format!(
                "process {address} has {shards} shards, expected {}: give all processes the same --shards",
                self.shards_of_each
            )));
        }
        let held = |place: &Place| place.address.as_deref() == Some(address);
        let reserved = |place: &Place| place.address.is_none() && place.before.as_deref() == Some(address);
        let free = |place: &Place| place.address.is_none();
        if let Some(first) = first_shard {
            let place = self.places.get((first / shards) as usize).filter(|_| first.is_multiple_of(shards));
            let place = place.filter(|place| place.address.as_deref().is_none_or(|holder| holder == address));
            let place = place.ok_or_else(|| {
                Refusal::Mismatch(format!(
                    "process {address} holds shards from {first} on, which another one has by now, or this server \
                     does not have; start it anew"
                ))
            })?;
            return Ok((first, place.address.is_some()));
        }
        let again = self.places.iter().position(held);
        let at = again
            .or_else(|| self.places.iter().position(reserved))
            .or_else(|| self.places.iter().position(free))
            .ok_or_else(|| {
                let there = self.addresses().collect::<Vec<_>>().join(", ");
                Refusal::Mismatch(format!(
                    "process {address} is one too many: {there} are the server; raise --servers at the coordinator \
                     or stop one of them"
                ))
            })?;
        Ok((at as u32 * self.shards_of_each, again.is_some()))
    }

    /// Whether all are there.
    pub fn complete(&self) -> bool {
        self.places.iter().all(|place| place.address.is_some())
    }

    /// What is being waited for, as "1 of 2 server processes to register".
    pub fn missing(&self) -> String {
        let missing = self.places.iter().filter(|place| place.address.is_none()).count();
        format!("{missing} of {} server processes to register", self.places.len())
    }

    /// Addresses of the processes that are there, the coordinator's first.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.places.iter().filter_map(|place| place.address.as_deref())
    }

    /// Address of each shard, by shard number; complete once all processes are there.
    pub fn shards(&self) -> Vec<String> {
        let each = |address: &str| vec![address.to_string(); self.shards_of_each as usize];
        self.addresses().flat_map(each).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_order_of_registration_and_stay() {
        let mut processes = Processes::new(3, 2, "a:1");
        assert_eq!(processes.missing(), "2 of 3 server processes to register");
        assert_eq!(processes.register("b:1", 2, None), Ok((2, false)));
        assert_eq!(processes.register("c:1", 2, None), Ok((4, false)));
        assert_eq!(processes.register("b:1", 2, None), Ok((2, true)));
        assert_eq!(processes.shards(), ["a:1", "a:1", "b:1", "b:1", "c:1", "c:1"]);
        let text = processes.register("d:1", 2, None).unwrap_err().to_string();
        let expected = "process d:1 is one too many: a:1, b:1, c:1 are the server; raise --servers at the \
                        coordinator or stop one of them";
        assert_eq!(text, expected);
        let text = processes.register("e:1", 1, None).unwrap_err().to_string();
        assert_eq!(text, "process e:1 has 1 shards, expected 2: give all processes the same --shards");
    }

    #[test]
    fn a_resumed_run_gives_processes_the_shards_whose_files_they_have() {
        let mut processes = Processes::new(3, 1, "a:1");
        processes.remember(&["a:1".into(), "b:1".into(), "c:1".into()]);
        assert_eq!(processes.register("c:1", 1, None), Ok((2, false)));
        assert_eq!(processes.register("d:1", 1, None), Ok((1, false)));
    }

    #[test]
    fn a_process_that_holds_shards_keeps_them_or_is_refused() {
        let mut processes = Processes::new(3, 2, "a:1");
        assert_eq!(processes.register("c:1", 2, Some(4)), Ok((4, false)));
        assert_eq!(processes.register("c:1", 2, Some(4)), Ok((4, true)));
        assert_eq!(processes.register("b:1", 2, None), Ok((2, false)));
        for first in [0, 1, 3, 4, 6, u32::MAX] {
            let text = processes.register("d:1", 2, Some(first)).unwrap_err().to_string();
            let expected = format!(
                "process d:1 holds shards from {first} on, which another one has by now, or this server does not \
                 have; start it anew"
            );
            assert_eq!(text, expected);
        }
    }
}
