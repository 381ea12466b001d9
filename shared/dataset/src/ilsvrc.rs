//! The data set ILSVRC-2012 as it is distributed: a flat folder of validation images, a file of its
//! development kit with their classes as numbers, and the kit's list of synsets, which gives the WNID and the
//! words for each number.
//!
//! The kit numbers its synsets from 1 in an order of its own (ILSVRC2012_ID). Labels here are, as for all
//! data sets, the positions of the class folders' names, which are the WNIDs, in byte order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::DatasetError;
use crate::list::read_list;
use crate::mat::{self, Field};

const TRUTH: &str = "ILSVRC2012_validation_ground_truth.txt";
const SYNSETS: &str = "meta.mat";
/// Name of Caffe's list of synsets, with a WNID and its words on each line.
const WORDS: &str = "synset_words.txt";
/// Names of all files that are looked for in a data folder, beside its pictures.
pub(crate) const LISTS: [&str; 3] = [TRUTH, SYNSETS, WORDS];
/// Folders, relative to the data folder, in which the kit may lie.
const PLACES: [&str; 4] = ["", "data", "devkit/data", "ILSVRC2012_devkit_t12/data"];

/// Returns the WNID (WordNet id: "n" and eight digits) with which the name of an ImageNet class begins, or
/// `None` if it does not begin with one. For the names `n01440764`, `n01440764 tench, Tinca tinca` and
/// `n01440764_tench` it is `n01440764`.
pub fn wnid(name: &str) -> Option<&str> {
    let (first, rest) = name.split_at_checked(9)?;
    let digits = first.strip_prefix('n')?;
    let ends = rest.is_empty() || rest.starts_with([' ', '_']);
    (digits.bytes().all(|byte| byte.is_ascii_digit()) && ends).then_some(first)
}

/// Returns the path of a file of the kit in a data folder, if it is there.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    PLACES.iter().map(|place| folder.join(place).join(name)).find(|path| path.is_file())
}

fn wrong(path: &Path, reason: impl Into<String>) -> DatasetError {
    DatasetError::Devkit { path: path.to_owned(), reason: reason.into() }
}

/// Reads the WNID and words of each synset, by ILSVRC2012_ID.
fn synsets(path: &Path) -> Result<BTreeMap<u32, (String, String)>, DatasetError> {
    let bytes = mat::read(path).map_err(|reason| wrong(path, reason))?;
    let structures = mat::structures(&bytes, "synsets").map_err(|reason| wrong(path, reason))?;
    let synset =
        |fields: &BTreeMap<String, Field>| match ["ILSVRC2012_ID", "WNID", "words"].map(|f| fields.get(f)) {
            [Some(Field::Number(id)), Some(Field::Text(wnid)), Some(Field::Text(words))] => {
                Some((*id as u32, (wnid.clone(), words.clone())))
            }
            _ => None,
        };
    structures
        .iter()
        .map(|fields| {
            synset(fields).ok_or_else(|| wrong(path, "a synset has no ILSVRC2012_ID, WNID or words"))
        })
        .collect()
}

/// Reads the words of each WNID, if the data folder holds a list of them.
pub(crate) fn words(folder: &Path) -> Result<BTreeMap<String, String>, DatasetError> {
    if let Some(path) = find(folder, SYNSETS) {
        return Ok(synsets(&path)?.into_values().collect());
    }
    let Some(path) = find(folder, WORDS) else { return Ok(BTreeMap::new()) };
    let lines = read_list(&path).map_err(|error| wrong(&path, error.to_string()))?;
    let pair =
        |line: &String| line.split_once(' ').map(|(wnid, words)| (wnid.to_owned(), words.trim().to_owned()));
    Ok(lines.iter().filter_map(pair).collect())
}

/// Assigns the validation images in the flat folder `folder`/`under`, sorted, to the WNIDs that the kit gives
/// for them.
pub(crate) fn by_class(
    folder: &Path,
    under: &Path,
    images: Vec<PathBuf>,
) -> Result<BTreeMap<String, Vec<PathBuf>>, DatasetError> {
    let flat = || DatasetError::FlatValidation {
        folder: folder.to_owned(),
        validation: folder.join(under),
        files: images.len(),
    };
    let truth = find(folder, TRUTH).ok_or_else(flat)?;
    let list = find(folder, SYNSETS).ok_or_else(flat)?;
    let synsets = synsets(&list)?;
    let lines = read_list(&truth).map_err(|error| wrong(&truth, error.to_string()))?;
    if lines.len() != images.len() {
        return Err(DatasetError::GroundTruth {
            path: truth,
            lines: lines.len(),
            images: images.len(),
            folder: folder.join(under),
        });
    }
    let mut classes = BTreeMap::<String, Vec<PathBuf>>::new();
    for (number, (line, image)) in lines.iter().zip(images).enumerate() {
        let id = line.parse().ok();
        let (wnid, _) = id.and_then(|id: u32| synsets.get(&id)).ok_or_else(|| {
            let reason = format!(
                "line {}: expected an ILSVRC2012_ID that {} lists, found \"{line}\"",
                number + 1,
                list.display()
            );
            wrong(&truth, reason)
        })?;
        classes.entry(wnid.clone()).or_default().push(image);
    }
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rules;
    use crate::dataset::Dataset;
    use crate::split::Split;
    use std::fs;
    use tempfile::TempDir;

    /// Two classes whose order by number is not that by WNID, and five flat validation images.
    fn data() -> TempDir {
        let home = TempDir::new().unwrap();
        let put = |path: &str, bytes: &[u8]| {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        put("train/n02100735/n02100735_7.JPEG", b"");
        put("train/n02119789/n02119789_1.JPEG", b"");
        for number in 1..=5 {
            put(&format!("val/ILSVRC2012_val_0000000{number}.JPEG"), b"");
        }
        let list = [
            (1, "n02119789", "kit fox, Vulpes macrotis"),
            (2, "n02100735", "English setter"),
            (3, "n00000001", "more"),
        ];
        put("ILSVRC2012_devkit_t12/data/meta.mat", &mat::tests::synsets(&list));
        put(&format!("ILSVRC2012_devkit_t12/data/{TRUTH}"), b"1\n2\n2\n1\n1\n");
        home
    }

    fn refused(home: &TempDir) -> String {
        let text = Dataset::open(home.path(), Rules::NEWEST).unwrap_err().to_string();
        text.replace(&home.path().display().to_string(), "DATA")
    }

    #[test]
    fn flat_validation_images_get_the_labels_of_sorted_wnids() {
        let home = data();
        let set = Dataset::open(home.path(), Rules::NEWEST).unwrap();
        assert_eq!(set.classes(), ["n02100735 English setter", "n02119789 kit fox, Vulpes macrotis"]);
        let found: Vec<_> = (0..5)
            .map(|index| (set.name(Split::Validation, index), set.label(Split::Validation, index)))
            .collect();
        let expected = [(2, 0), (3, 0), (1, 1), (4, 1), (5, 1)]
            .map(|(number, label)| (format!("val/ILSVRC2012_val_0000000{number}.JPEG"), label));
        assert_eq!(found, expected);
        // To measure on them needs no training images.
        fs::remove_dir_all(home.path().join("train")).unwrap();
        let alone = Dataset::open_validation(home.path(), Rules::NEWEST).unwrap();
        assert_eq!((alone.classes(), alone.len(Split::Validation)), (set.classes(), 5));
    }

    #[test]
    fn a_folder_named_by_wnid_and_word_is_its_wnid() {
        for name in ["n01440764", "n01440764 tench, Tinca tinca", "n01440764_tench"] {
            assert_eq!(wnid(name), Some("n01440764"), "{name}");
        }
        for name in
            ["n0144076", "n01440764tench", "m01440764", "n0144076x", "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", ""]
        {
            assert_eq!(wnid(name), None, "{name}");
        }
        let home = data();
        let train = home.path().join("train");
        fs::rename(train.join("n02100735"), train.join("n02100735_setter")).unwrap();
        let set = Dataset::open(home.path(), Rules::NEWEST).unwrap();
        assert_eq!(set.classes(), ["n02100735 English setter", "n02119789 kit fox, Vulpes macrotis"]);
        assert_eq!((set.len(Split::Validation), set.label(Split::Validation, 0)), (5, 0));
    }

    #[test]
    fn caffes_list_gives_words_too() {
        let home = TempDir::new().unwrap();
        for class in ["n01", "n02"] {
            fs::create_dir_all(home.path().join("train").join(class)).unwrap();
            fs::create_dir_all(home.path().join("val").join(class)).unwrap();
            fs::write(home.path().join("train").join(class).join("a.jpg"), "").unwrap();
            fs::write(home.path().join("val").join(class).join("b.jpg"), "").unwrap();
        }
        fs::write(home.path().join(WORDS), "n01 tench, Tinca tinca\n").unwrap();
        assert_eq!(
            Dataset::open(home.path(), Rules::NEWEST).unwrap().classes(),
            ["n01 tench, Tinca tinca", "n02"]
        );
    }

    #[test]
    fn a_ground_truth_that_does_not_match_is_refused() {
        let home = data();
        let truth = home.path().join("ILSVRC2012_devkit_t12/data").join(TRUTH);
        fs::write(&truth, "1\n2\n2\n1\n").unwrap();
        assert_eq!(
            refused(&home),
            "ground truth DATA/ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt has 4 lines for the 5 \
             images in DATA/val: expected one line an image, in the order of their names; check that both are whole"
        );
        fs::write(&truth, "1\n2\n9\n1\n1\n").unwrap();
        assert_eq!(
            refused(&home),
            "development kit file DATA/ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt: line 3: expected \
             an ILSVRC2012_ID that DATA/ILSVRC2012_devkit_t12/data/meta.mat lists, found \"9\""
        );
        fs::write(&truth, "1\n2\n3\n1\n1\n").unwrap();
        assert!(
            refused(&home).starts_with("class \"n00000001\" is in DATA/val but not in train/"),
            "{}",
            refused(&home)
        );
        fs::write(truth.with_file_name(SYNSETS), "nothing").unwrap();
        assert_eq!(
            refused(&home),
            "development kit file DATA/ILSVRC2012_devkit_t12/data/meta.mat: the file is shorter than its header"
        );
        let list = [(1, "n02119789", "kit fox"), (2, "n02100735", "English setter")];
        fs::write(truth.with_file_name(SYNSETS), mat::tests::synsets(&list)).unwrap();
        if fs::File::create(&truth).unwrap().set_len(3 << 40).is_ok() {
            let text = refused(&home);
            assert!(text.ends_with(&format!("{TRUTH}: expected at most 16 MiB, it has 3,072 GiB")), "{text}");
        }
        fs::remove_file(&truth).unwrap();
        assert_eq!(
            refused(&home),
            "DATA/val has no class folders, only 5 files: expected one folder per class, or ILSVRC's \
             ILSVRC2012_validation_ground_truth.txt and meta.mat in DATA or in its devkit/data or \
             ILSVRC2012_devkit_t12/data"
        );
    }
}
