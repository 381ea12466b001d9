//! The processes of one server, and the shards that each of them holds.
//!
//! A process that comes back under another address, or on another machine with its files, takes its old place
//! once the old address has been silent for the lease time: until then both could be alive.

use std::time::Duration;

use protocol::Refusal;
use tokio::time::Instant;

/// Time without a registration after which a process may be gone: processes register every 2 s.
const LATE: Duration = Duration::from_secs(5);

/// Place of a process in the server: the shards that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Number, among all shards of the server, of the first shard that the process holds.
    pub first_shard: u32,
    /// The process that held these shards before in this life of the server.
    pub before: Before,
}

/// The process that held the shards of a place before another one registers for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// No process has registered for the place in this life of the server.
    Nobody,
    /// A process at the same address: this one, or the one that it replaces.
    SameAddress,
    /// A process at this other address, "host:port", which has been silent for the lease time.
    Address(String),
}

/// A process that asks for its place.
#[derive(Clone, Copy, Debug)]
pub struct Applicant<'a> {
    /// Address of the process, "host:port".
    pub address: &'a str,
    /// Number of shards that it hosts.
    pub shards: u32,
    /// Number of the first shard that it has in memory, if it has any.
    pub holds: Option<u32>,
    /// Whether what it has in memory is of this life of the server.
    pub of_this_life: bool,
    /// Numbers of the run's shards whose files it has on its disk.
    pub files: &'a [u32],
}

/// The slots of a server, one for each process, all with the same number of shards. The first slot is the
/// coordinator's own.
#[derive(Debug)]
pub struct Processes {
    shards_of_each: u32,
    patience: Duration,
    slots: Vec<Slot>,
}

/// The place of one process, which need not have registered yet.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// Address of the process and time of its last registration, once it has registered.
    holder: Option<(String, Instant)>,
    /// Address of the process that held these shards when the resumed snapshot was written; it may have their
    /// files.
    previous_address: Option<String>,
}

impl Slot {
    fn address(&self) -> Option<&str> {
        self.holder.as_ref().map(|(address, _)| address.as_str())
    }

    fn is_free(&self) -> bool {
        self.holder.is_none()
    }

    /// Returns the time since the holder's last registration; `None` if the slot is free.
    fn silence(&self, now: Instant) -> Option<Duration> {
        self.holder.as_ref().map(|(_, heard)| now.duration_since(*heard))
    }
}

impl Processes {
    /// Creates `processes` slots, each the place of one server process with `shards_of_each` shards. The
    /// first is taken by the coordinator's process, at its address `own` ("host:port"). Another process may
    /// take a slot over once its holder has not registered again for `patience`.
    pub fn new(processes: u32, shards_of_each: u32, own: &str, patience: Duration) -> Processes {
        let mut slots = vec![Slot::default(); processes.max(1) as usize];
        slots[0].holder = Some((own.into(), Instant::now()));
        Processes { shards_of_each, patience, slots }
    }

    /// Reserves each slot for the process that held it when the snapshot that the run resumes from was
    /// written; `addresses` ("host:port") are those of these processes, in the order of the slots.
    pub fn remember(&mut self, addresses: &[String]) {
        for (slot, address) in self.slots.iter_mut().zip(addresses) {
            slot.previous_address = Some(address.clone());
        }
    }

    /// Has every process but the coordinator's register anew, each for the slot that it has.
    pub fn begin_again(&mut self) {
        for slot in &mut self.slots[1..] {
            if let Some((address, _)) = slot.holder.take() {
                slot.previous_address = Some(address);
            }
        }
    }

    /// Registers a process, at the time `now`, in the slot that [`find`](Self::find) chooses for it.
    ///
    /// # Errors
    /// If [`find`](Self::find) fails, with its error.
    pub fn register(&mut self, applicant: Applicant<'_>, now: Instant) -> Result<Placement, Refusal> {
        let placement = self.find(applicant, now)?;
        let slot = &mut self.slots[(placement.first_shard / self.shards_of_each) as usize];
        slot.holder = Some((applicant.address.into(), now));
        Ok(placement)
    }

    /// Chooses the slot (place among the server's processes) of a process: that of the shards that it has in
    /// memory, if it has any; otherwise the one in which its address has registered; otherwise one that is
    /// reserved for its address; otherwise one whose files it has, free or with a holder that has been silent
    /// for too long; and without files the first free one, or else the first with a silent holder.
    ///
    /// # Errors
    /// [`Refusal::NotReady`] while the holder of the only slots that suit may still be alive;
    /// [`Refusal::Mismatch`] if the number of shards is not that of a slot, if the process holds shards that
    /// another process has or that do not exist, or if it is one too many.
    pub fn find(&self, applicant: Applicant<'_>, now: Instant) -> Result<Placement, Refusal> {
        let Applicant { address, shards, holds, of_this_life, files } = applicant;
        if shards != self.shards_of_each {
            return Err(Refusal::Mismatch(format!(
                "process {address} has {shards} shards, expected {}: give all processes the same --shards",
                self.shards_of_each
            )));
        }
        if let Some(first) = holds {
            return self.keep(address, first, of_this_life, now);
        }
        let named = |at: usize| at > 0 && files.contains(&(at as u32 * self.shards_of_each));
        let any_named = (0..self.slots.len()).any(named);
        let suits = |at: usize| named(at) || !any_named;
        let first = |suitable: &dyn Fn(usize, &Slot) -> bool| {
            self.slots.iter().enumerate().position(|(at, slot)| suitable(at, slot))
        };
        let at = first(&|_, slot| slot.address() == Some(address))
            .or_else(|| first(&|_, slot| slot.is_free() && slot.previous_address.as_deref() == Some(address)))
            .or_else(|| first(&|at, slot| suits(at) && slot.is_free()))
            .or_else(|| first(&|at, slot| suits(at) && self.is_silent(at, slot, now)));
        let at = at.ok_or_else(|| self.no_place(address, &suits, any_named, now))?;
        Ok(self.placement(at, address))
    }

    /// Returns the place of a process that has the shards from `first` on in memory.
    fn keep(
        &self,
        address: &str,
        first: u32,
        of_this_life: bool,
        now: Instant,
    ) -> Result<Placement, Refusal> {
        let at = (first / self.shards_of_each) as usize;
        let slot = self.slots.get(at).filter(|_| first.is_multiple_of(self.shards_of_each));
        let slot = slot.filter(|slot| {
            let own = slot.address().is_none_or(|holder| holder == address);
            // What was in memory in this life, and was replaced, has missed updates since.
            own || !of_this_life && self.is_silent(at, slot, now)
        });
        slot.map(|_| self.placement(at, address)).ok_or_else(|| {
            Refusal::Mismatch(format!(
                "process {address} holds shards from {first} on, which another one has by now, or this server \
                 does not have; start it anew"
            ))
        })
    }

    fn placement(&self, at: usize, address: &str) -> Placement {
        let before = match self.slots[at].address() {
            None => Before::Nobody,
            Some(holder) if holder == address => Before::SameAddress,
            Some(holder) => Before::Address(holder.into()),
        };
        Placement { first_shard: at as u32 * self.shards_of_each, before }
    }

    /// Returns whether another process may take over a slot. The coordinator's own process needs no
    /// registration.
    fn is_silent(&self, at: usize, slot: &Slot, now: Instant) -> bool {
        at > 0 && slot.silence(now).is_some_and(|silence| silence > self.patience)
    }

    /// Returns the refusal of a process for which there is no slot at present. It is asked to wait if it has
    /// the files of a slot, or if the holder of a slot may be gone.
    fn no_place(
        &self,
        address: &str,
        suits: &dyn Fn(usize) -> bool,
        any_named: bool,
        now: Instant,
    ) -> Refusal {
        let others = self.slots.iter().enumerate().skip(1).filter(|(at, _)| suits(*at));
        let silences = others.filter_map(|(at, slot)| Some((slot.silence(now)?, at, slot.address()?)));
        match silences.max().filter(|(silence, ..)| any_named || *silence > LATE) {
            Some((_, at, holder)) => {
                let first = at as u32 * self.shards_of_each;
                Refusal::NotReady(format!(
                    "shards {first} to {} are at {holder}, which may be alive; {address} takes them over once that \
                     process has been silent for {} s",
                    first + self.shards_of_each - 1,
                    self.patience.as_secs()
                ))
            }
            None => {
                let there = self.addresses().collect::<Vec<_>>().join(", ");
                Refusal::Mismatch(format!(
                    "process {address} is one too many: {there} are the server; raise --servers at the coordinator \
                     or stop one of them"
                ))
            }
        }
    }

    /// Returns whether all processes have registered.
    pub fn complete(&self) -> bool {
        !self.slots.iter().any(Slot::is_free)
    }

    /// Returns a text about the processes that have not registered yet, such as "1 of 2 server processes to
    /// register".
    pub fn missing(&self) -> String {
        let missing = self.slots.iter().filter(|slot| slot.is_free()).count();
        format!("{missing} of {} server processes to register", self.slots.len())
    }

    /// Names the processes that have not registered again for so long that they may be gone.
    pub fn late(&self, now: Instant) -> Vec<String> {
        let others = self.slots.iter().enumerate().skip(1);
        let late = others.filter_map(|(at, slot)| {
            let silence = slot.silence(now).filter(|silence| *silence > LATE)?;
            let first = at as u32 * self.shards_of_each;
            let (last, seconds) = (first + self.shards_of_each - 1, silence.as_secs());
            Some(format!("shards {first} to {last} at {}, not heard of for {seconds} s", slot.address()?))
        });
        late.collect()
    }

    /// Returns the addresses of the processes that have registered, the coordinator's first, each
    /// "host:port".
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter_map(Slot::address)
    }

    /// Returns the number of each shard whose process has registered, ascending, with the address of that
    /// process, "host:port", and the time from its last registration to `now`; none for the coordinator's own.
    pub fn places(&self, now: Instant) -> impl Iterator<Item = (u32, &str, Duration)> {
        let each = self.shards_of_each;
        (0..).zip(&self.slots).flat_map(move |(at, slot)| {
            let heard = if at == 0 { now } else { slot.holder.as_ref().map_or(now, |(_, heard)| *heard) };
            let silence = now.duration_since(heard);
            let shards = if slot.is_free() { 0..0 } else { at * each..(at + 1) * each };
            shards.map(move |shard| (shard, slot.address().unwrap_or_default(), silence))
        })
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

    const PATIENCE: Duration = Duration::from_secs(30);

    fn at(address: &str) -> Applicant<'_> {
        Applicant { address, shards: 2, holds: None, of_this_life: true, files: &[] }
    }

    fn placed(first_shard: u32, before: Before) -> Result<Placement, Refusal> {
        Ok(Placement { first_shard, before })
    }

    #[test]
    fn numbers_follow_the_order_of_registration_and_stay() {
        let mut processes = Processes::new(3, 2, "a:1", PATIENCE);
        let now = Instant::now();
        assert_eq!(processes.missing(), "2 of 3 server processes to register");
        assert_eq!(processes.register(at("b:1"), now), placed(2, Before::Nobody));
        assert_eq!(processes.register(at("c:1"), now), placed(4, Before::Nobody));
        assert_eq!(processes.register(at("b:1"), now), placed(2, Before::SameAddress));
        assert_eq!(processes.shards(), ["a:1", "a:1", "b:1", "b:1", "c:1", "c:1"]);
        let text = processes.register(at("d:1"), now).unwrap_err().to_string();
        let expected = "process d:1 is one too many: a:1, b:1, c:1 are the server; raise --servers at the \
                        coordinator or stop one of them";
        assert_eq!(text, expected);
        let text = processes.register(Applicant { shards: 1, ..at("e:1") }, now).unwrap_err().to_string();
        assert_eq!(text, "process e:1 has 1 shards, expected 2: give all processes the same --shards");
    }

    #[test]
    fn a_resumed_run_gives_processes_the_shards_whose_files_they_have() {
        let mut processes = Processes::new(4, 2, "a:1", PATIENCE);
        processes.remember(&["a:1".into(), "b:1".into(), "c:1".into(), "d:1".into()]);
        let now = Instant::now();
        assert_eq!(processes.register(at("c:1"), now), placed(4, Before::Nobody));
        // The files tell more than the address: this machine's has changed.
        let moved = Applicant { files: &[6, 7], ..at("e:1") };
        assert_eq!(processes.register(moved, now), placed(6, Before::Nobody));
        assert_eq!(processes.register(at("f:1"), now), placed(2, Before::Nobody));
    }

    #[test]
    fn a_process_that_holds_shards_keeps_them_or_is_refused() {
        let mut processes = Processes::new(3, 2, "a:1", PATIENCE);
        let now = Instant::now();
        let holding = |address, first| Applicant { holds: Some(first), ..at(address) };
        assert_eq!(processes.register(holding("c:1", 4), now), placed(4, Before::Nobody));
        assert_eq!(processes.register(holding("c:1", 4), now), placed(4, Before::SameAddress));
        assert_eq!(processes.register(at("b:1"), now), placed(2, Before::Nobody));
        for first in [0, 1, 3, 4, 6, u32::MAX] {
            let text = processes.register(holding("d:1", first), now).unwrap_err().to_string();
            let expected = format!(
                "process d:1 holds shards from {first} on, which another one has by now, or this server does not \
                 have; start it anew"
            );
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_process_under_another_address_takes_its_place_once_the_old_address_is_silent() {
        let mut processes = Processes::new(3, 2, "a:1", PATIENCE);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        processes.register(at("b:1"), start).unwrap();
        processes.register(at("c:1"), start).unwrap();
        let moved = Applicant { files: &[4, 5], ..at("d:1") };
        let refusal = processes.register(moved, after(1)).unwrap_err();
        let text = "shards 4 to 5 are at c:1, which may be alive; d:1 takes them over once that process has been \
                    silent for 30 s";
        assert_eq!(refusal, Refusal::NotReady(text.into()));
        // Whoever has no files waits as well once somebody is late.
        assert!(matches!(processes.find(at("e:1"), after(1)), Err(Refusal::Mismatch(_))));
        assert!(matches!(processes.find(at("e:1"), after(6)), Err(Refusal::NotReady(_))));
        processes.register(at("b:1"), after(29)).unwrap();
        assert_eq!(processes.register(moved, after(31)), placed(4, Before::Address("c:1".into())));
        assert_eq!(processes.shards()[4..], ["d:1", "d:1"]);
        // What was only cut off, and has missed updates since, does not come back beside it.
        for later in [32, 90] {
            let cut_off = Applicant { holds: Some(4), ..at("c:1") };
            assert!(matches!(processes.register(cut_off, after(later)), Err(Refusal::Mismatch(_))));
        }
        let late = "shards 2 to 3 at b:1, not heard of for 61 s";
        assert_eq!(processes.late(after(90)), [late, "shards 4 to 5 at d:1, not heard of for 59 s"]);
        assert!(processes.late(after(34)).is_empty());
        // The coordinator's own place is never free.
        let wrong = Applicant { files: &[0, 1], ..at("e:1") };
        assert_eq!(processes.find(wrong, after(90)), placed(2, Before::Address("b:1".into())));
    }
}
