//! The pictures that a worker keeps of those that it borrowed, up to a number of bytes.
//!
//! Pictures that have been read go first, the one that was read longest ago before the others. Those that came
//! ahead of time stay until they are read, so that none of them has to come twice.

use std::collections::{BTreeMap, HashMap};

use dataset::{Encoded, Split};

/// A picture of a lent data set: its split and its index there.
pub(super) type Key = (Split, u32);

/// Bytes that a picture takes besides those of its file and its name.
const OVERHEAD: usize = 256;

/// The pictures that are kept.
#[derive(Debug)]
pub(super) struct Cache {
    most: usize,
    bytes: usize,
    /// Bytes of the pictures that are going to be read.
    awaited: usize,
    pictures: HashMap<Key, Kept>,
    /// The pictures in the order in which they go.
    order: BTreeMap<Place, Key>,
    clock: u64,
}

/// Place of a picture in the order: true if it is going to be read, and the time since which that is so or not.
type Place = (bool, u64);

#[derive(Debug)]
struct Kept {
    picture: Encoded,
    place: Place,
}

impl Cache {
    /// Creates an empty cache of at most `most` bytes.
    pub(super) fn new(most: usize) -> Cache {
        let (pictures, order) = Default::default();
        Cache { most, bytes: 0, awaited: 0, pictures, order, clock: 0 }
    }

    /// Returns the number of bytes that may come ahead of time: half of the cache without what is going to be read.
    pub(super) fn room_ahead(&self) -> usize {
        (self.most / 2).saturating_sub(self.awaited)
    }

    /// Returns whether the picture is here; if it is, it stays until it is read.
    pub(super) fn expect(&mut self, key: Key) -> bool {
        self.place(key, true)
    }

    /// Returns the picture if it is here.
    pub(super) fn read(&mut self, key: Key) -> Option<Encoded> {
        self.place(key, false);
        let picture = self.pictures.get(&key)?.picture.clone();
        // The next who asks for a file that could not be read has another try made.
        if picture.bytes.is_err() {
            self.remove(key);
        }
        Some(picture)
    }

    /// Stores a picture that is going to be read; those go for it that need not stay, and are not `needed`.
    pub(super) fn put(&mut self, key: Key, picture: Encoded, needed: impl Fn(&Key) -> bool) {
        self.remove(key);
        self.clock += 1;
        let place = (true, self.clock);
        self.bytes += size(&picture);
        self.awaited += size(&picture);
        self.order.insert(place, key);
        self.pictures.insert(key, Kept { picture, place });
        while self.bytes > self.most {
            let Some(&first) = self.order.values().find(|&other| *other != key && !needed(other)) else {
                return;
            };
            self.remove(first);
        }
    }

    /// Notes that no picture is going to be read.
    pub(super) fn expect_nothing(&mut self) {
        let awaited: Vec<Key> = self.order.range((true, 0)..).map(|(_, key)| *key).collect();
        for key in awaited {
            self.place(key, false);
        }
    }

    /// Puts a picture behind all others of its kind; returns whether it is here.
    fn place(&mut self, key: Key, awaited: bool) -> bool {
        let Some(kept) = self.pictures.get_mut(&key) else { return false };
        self.clock += 1;
        let (before, size) = (std::mem::replace(&mut kept.place, (awaited, self.clock)), size(&kept.picture));
        match (before.0, awaited) {
            (true, false) => self.awaited -= size,
            (false, true) => self.awaited += size,
            _ => {}
        }
        self.order.remove(&before);
        self.order.insert((awaited, self.clock), key);
        true
    }

    fn remove(&mut self, key: Key) {
        self.place(key, false);
        if let Some(Kept { picture, place }) = self.pictures.remove(&key) {
            self.order.remove(&place);
            self.bytes -= size(&picture);
        }
    }
}

fn size(picture: &Encoded) -> usize {
    let bytes = match &picture.bytes {
        Ok(bytes) => bytes.len(),
        Err(reason) => reason.len(),
    };
    OVERHEAD + picture.name.len() + bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u32) -> Key {
        (Split::Train, index)
    }

    fn picture(bytes: usize) -> Encoded {
        Encoded { name: String::new(), bytes: Ok(vec![7; bytes - OVERHEAD].into()) }
    }

    fn here(cache: &Cache) -> Vec<u32> {
        let mut here: Vec<u32> = cache.pictures.keys().map(|(_, index)| *index).collect();
        here.sort_unstable();
        here
    }

    #[test]
    fn what_was_read_longest_ago_goes_first_and_what_is_awaited_last() {
        let mut cache = Cache::new(4000);
        (0..4).for_each(|index| cache.put(key(index), picture(1000), |_| false));
        assert_eq!((cache.bytes, cache.awaited), (4000, 4000));
        for index in [2, 1, 2] {
            assert_eq!(cache.read(key(index)), Some(picture(1000)));
        }
        assert_eq!(cache.awaited, 2000);
        cache.put(key(9), picture(1000), |_| false);
        assert_eq!(here(&cache), [0, 2, 3, 9], "1 was read before 2");
        assert!(cache.expect(key(2)) && !cache.expect(key(1)));
        cache.put(key(10), picture(1500), |_| false);
        assert_eq!(here(&cache), [2, 9, 10], "of those that are awaited, the ones that came first");
        cache.expect_nothing();
        assert_eq!((cache.awaited, cache.bytes), (0, 3500));
    }

    #[test]
    fn what_somebody_waits_for_stays_however_large_it_is() {
        let mut cache = Cache::new(1000);
        cache.put(key(1), picture(5000), |_| false);
        cache.put(key(2), picture(5000), |other| *other == key(1));
        assert_eq!(here(&cache), [1, 2]);
        assert!(cache.read(key(1)).is_some() && cache.read(key(2)).is_some());
        cache.put(key(3), picture(500), |_| false);
        assert_eq!((here(&cache), cache.bytes), (vec![3], 500));
    }

    #[test]
    fn a_file_that_could_not_be_read_is_told_once() {
        let mut cache = Cache::new(1000);
        let failed = Encoded { name: "a/1.jpg".into(), bytes: Err("cannot be read: gone".into()) };
        cache.put(key(1), failed.clone(), |_| false);
        assert_eq!((cache.read(key(1)), cache.read(key(1))), (Some(failed), None));
        assert_eq!((cache.bytes, cache.awaited), (0, 0));
    }
}
