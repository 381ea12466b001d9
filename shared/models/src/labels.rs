//! The labels of a model: reading them from a file, and matching the names of class folders with them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// Reads a file of labels, one per line in the order of the classes; there must be `classes` of them.
///
/// # Errors
/// If the file cannot be read as a list of labels, or if it has another number of lines than `classes`.
pub fn read(path: &Path, classes: usize) -> anyhow::Result<Vec<String>> {
    let labels = dataset::read_list(path).with_context(|| format!("label file {}", path.display()))?;
    ensure!(
        labels.len() == classes,
        "label file {} has {} lines, the model has {classes} classes: expected one label a line, in the order of the \
         classes",
        path.display(),
        labels.len()
    );
    Ok(labels)
}

/// Finds the label of each class folder by the folder's name; returns for each folder the index of its label
/// in `labels`, or `None` if it matches no label. A folder whose name equals a label exactly has that label.
/// Any other folder has the label that its name equals when case is ignored and `_` counts as a space, or of
/// which it is the WNID (the WordNet identifier) or one of the words. ("n02123045 tabby, tabby cat" has the
/// WNID n02123045 and the words "tabby" and "tabby cat".)
///
/// A label that one folder equals exactly is not given to another folder whose name differs from it only in
/// case.
///
/// # Errors
/// If the name of a folder matches several labels, or if no folder matches any label.
pub fn of_folders(folders: &[String], labels: &[String]) -> anyhow::Result<Vec<Option<u32>>> {
    let mut names: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (label, number) in labels.iter().zip(0u32..) {
        let (wnid, words) = split(label);
        for name in wnid.into_iter().chain(words.split(',')).map(plain).filter(|name| !name.is_empty()) {
            let labels = names.entry(name).or_default();
            if labels.last() != Some(&number) {
                labels.push(number);
            }
        }
    }
    let exact: BTreeMap<&String, u32> = labels.iter().zip(0u32..).collect();
    let taken: BTreeSet<u32> = folders.iter().filter_map(|folder| exact.get(folder)).copied().collect();
    let mut alike: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    labels.iter().zip(0u32..).for_each(|(label, number)| alike.entry(plain(label)).or_default().push(number));
    let label_of = |folder: &String| {
        if let Some(&whole) = exact.get(folder) {
            return Ok(Some(whole));
        }
        let name = split(folder).0.unwrap_or(folder);
        let candidates = match alike.get(&plain(folder)) {
            Some(whole) => {
                let free: Vec<u32> = whole.iter().filter(|label| !taken.contains(label)).copied().collect();
                Some(free)
            }
            None => names.get(&plain(name)).cloned(),
        };
        match candidates.as_deref() {
            None | Some([]) => Ok(None),
            Some([label]) => Ok(Some(*label)),
            Some([first, second, ..]) => bail!(
                "class folder \"{folder}\" is \"{}\" as well as \"{}\": name it by the WNID, or by a word that only one of \
                 them has",
                labels[*first as usize],
                labels[*second as usize]
            ),
        }
    };
    let found: Vec<Option<u32>> = folders.iter().map(label_of).collect::<anyhow::Result<_>>()?;
    if let (true, [folder, ..], [label, ..]) = (found.iter().all(Option::is_none), folders, labels) {
        bail!(
            "none of the {} class folders is one of the model's {} labels (the first folder is \"{folder}\", the first \
             label \"{label}\"): name the folders by the labels' WNIDs or words, or give --labels a file that has them",
            folders.len(),
            labels.len()
        );
    }
    Ok(found)
}

/// Splits a label into its WNID, if it begins with one, and the rest.
fn split(label: &str) -> (Option<&str>, &str) {
    match dataset::wnid(label) {
        Some(wnid) => (Some(wnid), label[wnid.len()..].get(1..).unwrap_or("")),
        None => (None, label),
    }
}

fn plain(name: &str) -> String {
    name.trim().replace('_', " ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_folder_is_a_label_by_wnid_or_word() {
        let labels = owned(&[
            "n02012849 crane",
            "n03126707 crane",
            "n11939491 daisy",
            "n02123045 tabby, tabby cat",
            "red fox, Vulpes vulpes",
        ]);
        let folders =
            owned(&["Daisy", "n02012849", "Tabby_cat", "roses", "vulpes vulpes", "n03126707 crane"]);
        let expected = [Some(2), Some(0), Some(3), None, Some(4), Some(1)];
        assert_eq!(of_folders(&folders, &labels).unwrap(), expected);
        let text = of_folders(&owned(&["daisy", "crane"]), &labels).unwrap_err().to_string();
        assert_eq!(
            text,
            "class folder \"crane\" is \"n02012849 crane\" as well as \"n03126707 crane\": name it by the WNID, or by a \
             word that only one of them has"
        );
        let text = of_folders(&owned(&["roses", "tulips"]), &labels).unwrap_err().to_string();
        assert_eq!(
            text,
            "none of the 2 class folders is one of the model's 5 labels (the first folder is \"roses\", the first label \
             \"n02012849 crane\"): name the folders by the labels' WNIDs or words, or give --labels a file that has them"
        );
    }

    #[test]
    fn a_label_file_of_any_size_takes_no_memory() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("labels.txt");
        if std::fs::File::create(&path).unwrap().set_len(3 << 40).is_err() {
            return; // this file system has no holes
        }
        let text = format!("{:#}", read(&path, 2).unwrap_err());
        let expected = format!("label file {}: expected at most 16 MiB, it has 3,072 GiB", path.display());
        assert_eq!(text, expected);
    }

    #[test]
    fn labels_that_differ_in_case_are_two() {
        let labels = owned(&["A", "a", "Red fox", "red_fox", "Yak"]);
        let found = of_folders(&owned(&["A", "a", "Red fox", "red_fox", "yak"]), &labels).unwrap();
        assert_eq!(found, [0, 1, 2, 3, 4].map(Some));
        // What is left over is looked up without case, and may not be several labels.
        let text = of_folders(&owned(&["A", "RED FOX"]), &labels).unwrap_err().to_string();
        assert!(text.starts_with("class folder \"RED FOX\" is \"Red fox\" as well as \"red_fox\""), "{text}");
        // A label has one folder letter by letter; another one in another case is none.
        let found = of_folders(&owned(&["Yak", "YAK", "A"]), &labels).unwrap();
        assert_eq!(found, [Some(4), None, Some(0)]);
    }

    #[test]
    fn a_folder_may_be_a_wnid_with_words_behind_it() {
        let labels = owned(&["n01440764 tench, Tinca tinca", "n11939491 daisy"]);
        let folders = owned(&["n01440764_tench", "n11939491_something_else"]);
        assert_eq!(of_folders(&folders, &labels).unwrap(), [Some(0), Some(1)]);
    }

    #[test]
    fn a_label_file_is_taken_as_any_editor_writes_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("labels.txt");
        std::fs::write(&path, "\u{feff}cat\r\ndog\r\n\r\n").unwrap();
        assert_eq!(read(&path, 2).unwrap(), ["cat", "dog"]);
        std::fs::write(&path, "cat\n\ndog\n").unwrap();
        let text = format!("{:#}", read(&path, 2).unwrap_err());
        assert!(text.contains("line 2 is empty"), "{text}");
    }

    #[test]
    fn a_label_file_has_a_line_for_each_class() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("labels.txt");
        std::fs::write(&path, "n01440764 tench, Tinca tinca\nn11939491 daisy\n").unwrap();
        assert_eq!(read(&path, 2).unwrap()[1], "n11939491 daisy");
        let text = read(&path, 3).unwrap_err().to_string();
        assert_eq!(
            text,
            format!(
                "label file {} has 2 lines, the model has 3 classes: expected one label a line, in the order of the classes",
                path.display()
            )
        );
    }
}
