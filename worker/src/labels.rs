//! A model's labels: read from a file, and found again under the names of class folders.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// Most bytes of a label file; ImageNet's 1000 synsets with their words have 31 KiB.
const MOST_BYTES: u64 = 16 << 20;

/// The labels of a file, one a line in the order of the classes; there must be `classes` of them.
///
/// # Errors
/// A file that cannot be read or has another number of lines.
pub fn read(path: &Path, classes: usize) -> anyhow::Result<Vec<String>> {
    let text =
        limits::read_text(path, MOST_BYTES).with_context(|| format!("read label file {}", path.display()))?;
    let labels: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    ensure!(
        labels.len() == classes,
        "label file {} has {} lines, the model has {classes} classes: expected one label a line, in the order of the \
         classes",
        path.display(),
        labels.len()
    );
    Ok(labels)
}

/// For each class folder the label that it is, if any: the whole label, its WNID or one of its words, whatever their
/// case; `_` counts as a space. ("n02123045 tabby, tabby cat" has the WNID n02123045 and the words tabby and tabby cat.)
///
/// # Errors
/// A folder whose name is a word of several labels; no folder that is any label.
pub fn of_folders(folders: &[String], labels: &[String]) -> anyhow::Result<Vec<Option<u32>>> {
    let mut names: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (label, number) in labels.iter().zip(0u32..) {
        let (wnid, words) = split(label);
        for name in wnid.into_iter().chain(words.split(',')).map(plain) {
            let labels = names.entry(name).or_default();
            if labels.last() != Some(&number) {
                labels.push(number);
            }
        }
    }
    let label_of = |folder: &String| {
        if let Some(whole) = labels.iter().position(|label| plain(label) == plain(folder)) {
            return Ok(Some(whole as u32));
        }
        let name = split(folder).0.unwrap_or(folder);
        match names.get(&plain(name)).map(Vec::as_slice) {
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

/// WNID, if there is one in front, and the rest.
fn split(label: &str) -> (Option<&str>, &str) {
    match label.split_once(' ') {
        Some((first, rest)) if is_wnid(first) => (Some(first), rest),
        _ => (None, label),
    }
}

/// "n" and eight digits.
fn is_wnid(text: &str) -> bool {
    matches!(text.as_bytes(), [b'n', digits @ ..] if digits.len() == 8 && digits.iter().all(u8::is_ascii_digit))
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
        let expected =
            format!("read label file {}: expected at most 16 MiB, it has 3,072 GiB", path.display());
        assert_eq!(text, expected);
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
