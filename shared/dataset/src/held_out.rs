//! The choice of the images that are held out for validation if the data folder has no validation split.

use std::collections::BTreeSet;
use std::path::Path;

use files::Digest;

use crate::entry::Entry;
use crate::names;
use crate::rules::Rules;

/// Number of images among which one is held out.
const SHARE: usize = 5;

/// Splits images into those for training and those held out for validation; returns the two lists, each in
/// the order of `entries`.
///
/// Their paths are relative to the data folder, so the first part is the class folder or the shard.
pub(crate) fn split(entries: Vec<Entry>, rules: Rules) -> (Vec<Entry>, Vec<Entry>) {
    let aside = match rules {
        Rules::V1 => by_name(&entries),
        Rules::V2 => by_class(&entries),
    };
    let mut aside_of = aside.into_iter();
    let (validation, train): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|_| aside_of.next().expect("there is an answer for each entry"));
    tracing::info!(
        training = train.len(),
        validation = validation.len(),
        "no train/ in the data folder: a fifth of the images is held out for validation, by a hash of their paths"
    );
    (train, validation)
}

/// Chooses every fifth image on average, by the hash of its bare file name; at least one image of each class
/// is kept for training. Returns for each image whether it is held out.
fn by_name(entries: &[Entry]) -> Vec<bool> {
    let is_aside = |path: &Path| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        start(name).is_multiple_of(SHARE as u64)
    };
    let learnt = entries.iter().filter(|entry| !is_aside(&entry.path));
    let mut learnt: BTreeSet<u32> = learnt.map(|entry| entry.label).collect();
    entries.iter().map(|entry| is_aside(&entry.path) && !learnt.insert(entry.label)).collect()
}

/// Chooses a fifth of every class, and at least one image if it has two: those whose paths have the smallest
/// hashes. Adding or removing an image moves at most one other. Returns for each image whether it is held
/// out.
fn by_class(entries: &[Entry]) -> Vec<bool> {
    let mut order: Vec<(u32, u64, String, usize)> = entries
        .iter()
        .enumerate()
        .map(|(place, entry)| {
            let own = names::key(entry.path.iter().skip(1).collect::<std::path::PathBuf>().as_path());
            (entry.label, start(own.as_bytes()), own, place)
        })
        .collect();
    order.sort();
    let mut aside = vec![false; entries.len()];
    for class in order.chunk_by(|a, b| a.0 == b.0) {
        let count = if class.len() < 2 { 0 } else { ((class.len() + SHARE / 2) / SHARE).max(1) };
        class[..count].iter().for_each(|(.., place)| aside[*place] = true);
    }
    aside
}

/// Returns the first eight bytes of the SHA-256 of `bytes`, as a little-endian number.
fn start(bytes: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *Digest::of(bytes).as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: String, label: u32) -> Entry {
        Entry { path: path.into(), label, part: None }
    }

    fn count(entries: &[Entry], label: u32) -> usize {
        entries.iter().filter(|entry| entry.label == label).count()
    }

    #[test]
    fn an_image_stays_on_its_side_when_others_go_by_the_first_rules() {
        let entries = |kept: &dyn Fn(&u32) -> bool| {
            let entry = |number| entry(format!("a/{number}.jpg"), number % 2);
            (0..200).filter(kept).map(entry).collect::<Vec<_>>()
        };
        let (train, validation) = split(entries(&|_| true), Rules::V1);
        let (fewer_train, fewer_validation) = split(entries(&|number| number % 10 != 7), Rules::V1);
        assert!(fewer_train.iter().all(|entry| train.contains(entry)));
        assert!(fewer_validation.iter().all(|entry| validation.contains(entry)));
        assert_eq!(train.len() + validation.len(), 200);
        assert!(!fewer_validation.is_empty() && fewer_validation.len() < validation.len());
    }

    /// People's folders: objects with a folder each, whose pictures all have one name; few pictures in each
    /// of many classes.
    #[test]
    fn a_fifth_of_every_class_is_held_out_whatever_the_names() {
        for (name, images) in [("objects", 30), ("numbered", 5), ("two", 2), ("one", 1), ("many", 1003)] {
            let of = |class: u32| (0..images).map(move |item| (class, item));
            let path = |(class, item): (u32, u32)| match name {
                "objects" => entry(format!("c{class}/item{item}/photo.jpg"), class),
                _ => entry(format!("c{class}/{item}.jpg"), class),
            };
            let entries: Vec<Entry> = (0..20).flat_map(of).map(path).collect();
            let (train, validation) = split(entries, Rules::V2);
            let expected = match images {
                1 => 0,
                2 => 1,
                images => (images as f64 / 5.0).round() as usize,
            };
            for class in 0..20 {
                assert_eq!(count(&validation, class), expected, "{name}");
                assert_eq!(count(&train, class), images as usize - expected, "{name}");
            }
        }
    }

    #[test]
    fn an_image_that_comes_moves_at_most_one_other() {
        let all: Vec<Entry> = (0..101).map(|item| entry(format!("a/{item}.jpg"), 0)).collect();
        let aside = |entries: &[Entry]| {
            split(entries.to_vec(), Rules::V2).1.into_iter().map(|entry| entry.path).collect::<BTreeSet<_>>()
        };
        for gone in 0..101 {
            let mut fewer = all.clone();
            fewer.remove(gone);
            assert!(aside(&all).symmetric_difference(&aside(&fewer)).count() <= 2);
        }
    }

    /// A trained model's accuracy is that on its held-out images: which they are may not change between
    /// releases.
    #[test]
    fn the_fifth_is_pinned() {
        let entries =
            |prefix: &str| (0..10).map(|i| entry(format!("{prefix}/caf\u{e9}{i}.jpg"), 0)).collect();
        let names = |entries: Vec<Entry>| {
            let names = entries.iter().map(|entry| names::text(entry.path.file_name().unwrap()));
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(split(entries("a"), Rules::V2).1), "caf\u{e9}1.jpg caf\u{e9}8.jpg");
        assert_eq!(
            names(split(entries("b"), Rules::V2).1),
            "caf\u{e9}1.jpg caf\u{e9}8.jpg",
            "the class's own name does not matter"
        );
    }
}
