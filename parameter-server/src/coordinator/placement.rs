//! The processes of one server, and the shards that each of them holds.

use protocol::Refusal;

/// Place of a process in the server: the shards that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Number, among all shards of the server, of the first shard that the process holds.
    pub first_shard: u32,
    /// Whether the process had already registered with the coordinator.
    pub registered_before: bool,
}

/// The slots of a server, one for each process, all with the same number of shards. The first slot is the
/// coordinator's own.
#[derive(Debug)]
pub struct Processes {
    shards_of_each: u32,
    slots: Vec<Slot>,
}

/// The place of one process, which need not have registered yet.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// Address of the process, once it has registered.
    address: Option<String>,
    /// Address of the process that held these shards when the resumed snapshot was written; it may have their
    /// files.
    previous_address: Option<String>,
}

impl Processes {
    /// Creates `processes` slots, each the place of one server process with `shards_of_each` shards. The
    /// first is taken by the coordinator's process, at its address `own` ("host:port").
    pub fn new(processes: u32, shards_of_each: u32, own: &str) -> Processes {
        let mut slots = vec![Slot::default(); processes.max(1) as usize];
        slots[0].address = Some(own.into());
        Processes { shards_of_each, slots }
    }

    /// Reserves each slot for the process that held it when the snapshot that the run resumes from was
    /// written; `addresses` ("host:port") are those of these processes, in the order of the slots.
    pub fn remember(&mut self, addresses: &[String]) {
        for (slot, address) in self.slots.iter_mut().zip(addresses) {
            slot.previous_address = Some(address.clone());
        }
    }

    /// Registers the process at `address` in the slot that [`find`](Self::find) chooses for the same
    /// arguments.
    ///
    /// # Errors
    /// If [`find`](Self::find) fails, with its error.
    pub fn register(
        &mut self,
        address: &str,
        shards: u32,
        first_shard: Option<u32>,
    ) -> Result<Placement, Refusal> {
        let placement = self.find(address, shards, first_shard)?;
        self.slots[(placement.first_shard / shards) as usize].address = Some(address.into());
        Ok(placement)
    }

    /// Chooses the slot (place among the server's processes) of the process at `address`, which has `shards`
    /// shards: the slot of the shards that it already holds, from number `first_shard` on, if it holds any;
    /// otherwise the one in which it has registered; otherwise one that is reserved for it; otherwise the
    /// first free one.
    ///
    /// # Errors
    /// [`Refusal::Mismatch`] if `shards` is not the number of shards of a slot, if the process holds shards
    /// that another process has or that do not exist, or if no slot is free.
    pub fn find(&self, address: &str, shards: u32, first_shard: Option<u32>) -> Result<Placement, Refusal> {
        if shards != self.shards_of_each {
            return Err(Refusal::Mismatch(format!(
                "process {address} has {shards} shards, expected {}: give all processes the same --shards",
                self.shards_of_each
            )));
        }
        let held = |slot: &Slot| slot.address.as_deref() == Some(address);
        let reserved =
            |slot: &Slot| slot.address.is_none() && slot.previous_address.as_deref() == Some(address);
        let free = |slot: &Slot| slot.address.is_none();
        if let Some(first) = first_shard {
            let slot = self.slots.get((first / shards) as usize).filter(|_| first.is_multiple_of(shards));
            let slot = slot.filter(|slot| slot.address.as_deref().is_none_or(|holder| holder == address));
            let slot = slot.ok_or_else(|| {
                Refusal::Mismatch(format!(
                    "process {address} holds shards from {first} on, which another one has by now, or this server \
                     does not have; start it anew"
                ))
            })?;
            return Ok(Placement { first_shard: first, registered_before: slot.address.is_some() });
        }
        let again = self.slots.iter().position(held);
        let at = again
            .or_else(|| self.slots.iter().position(reserved))
            .or_else(|| self.slots.iter().position(free))
            .ok_or_else(|| {
                let there = self.addresses().collect::<Vec<_>>().join(", ");
                Refusal::Mismatch(format!(
                    "process {address} is one too many: {there} are the server; raise --servers at the coordinator \
                     or stop one of them"
                ))
            })?;
        Ok(Placement { first_shard: at as u32 * self.shards_of_each, registered_before: again.is_some() })
    }

    /// Returns whether all processes have registered.
    pub fn complete(&self) -> bool {
        self.slots.iter().all(|slot| slot.address.is_some())
    }

    /// Returns a text about the processes that have not registered yet, such as "1 of 2 server processes to
    /// register".
    pub fn missing(&self) -> String {
        let missing = self.slots.iter().filter(|slot| slot.address.is_none()).count();
        format!("{missing} of {} server processes to register", self.slots.len())
    }

    /// Returns the addresses of the processes that have registered, the coordinator's first, each
    /// "host:port".
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter_map(|slot| slot.address.as_deref())
    }

    /// Returns the address of each shard, "host:port", by shard number. The list is complete once all
    /// processes have registered.
    pub fn shards(&self) -> Vec<String> {
        let each = |address: &str| vec![address.to_string(); self.shards_of_each as usize];
        self.addresses().flat_map(each).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(first_shard: u32, registered_before: bool) -> Result<Placement, Refusal> {
        Ok(Placement { first_shard, registered_before })
    }

    #[test]
    fn numbers_follow_the_order_of_registration_and_stay() {
        let mut processes = Processes::new(3, 2, "a:1");
        assert_eq!(processes.missing(), "2 of 3 server processes to register");
        assert_eq!(processes.register("b:1", 2, None), placed(2, false));
        assert_eq!(processes.register("c:1", 2, None), placed(4, false));
        assert_eq!(processes.register("b:1", 2, None), placed(2, true));
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
        assert_eq!(processes.register("c:1", 1, None), placed(2, false));
        assert_eq!(processes.register("d:1", 1, None), placed(1, false));
    }

    #[test]
    fn a_process_that_holds_shards_keeps_them_or_is_refused() {
        let mut processes = Processes::new(3, 2, "a:1");
        assert_eq!(processes.register("c:1", 2, Some(4)), placed(4, false));
        assert_eq!(processes.register("c:1", 2, Some(4)), placed(4, true));
        assert_eq!(processes.register("b:1", 2, None), placed(2, false));
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
