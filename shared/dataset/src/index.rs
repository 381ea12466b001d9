//! The reading of a data folder: as class folders with image files, or as tar shards ([`shards`]) in their
//! place.
//!
//! Either `train/` and a validation split contain one folder per class (as in ImageNet), or the data folder
//! itself contains them and images are held out by a rule ([`held_out`]). Every file in a class folder, at
//! any depth, is a sample unless its name tells that it is not an image; its contents are only read when it
//! is decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::entry::{Entry, Index};
use crate::error::DatasetError;
use crate::passed::{self, Passed, Reason};
use crate::rules::Rules;
use crate::shards::Place;
use crate::splits;
use crate::walk::{ClassFolder, Listing, at, class_folders, list};
use crate::{held_out, ilsvrc, names, shards};

/// The files of each class by class name: sorted paths relative to the data folder.
type Classes = BTreeMap<String, Vec<PathBuf>>;

impl Index {
    /// Lists a data folder by the given rules; contents of files are not read.
    pub(crate) fn open(folder: &Path, rules: Rules) -> Result<Index, DatasetError> {
        let mut root = list(folder, Path::new(""), rules)?;
        if root.is_empty() {
            return Err(DatasetError::Empty { folder: folder.to_owned() });
        }
        let splits = splits::training(folder, &mut root, rules)?;
        let mut passed = Passed::default();
        let places = match splits {
            Some((train, validation)) => {
                passed.add(beside(root));
                vec![Place::of(folder, train, rules)?, Place::of(folder, validation, rules)?]
            }
            None => vec![Place { under: PathBuf::new(), listing: root }],
        };
        let mut index = if shards::are_in(folder, &places)? {
            shards::open(folder, places, rules)?
        } else {
            Index::of_files(folder, places, rules)?
        };
        index.passed.add(passed);
        index.use_lists();
        if let [class] = &index.classes[..] {
            return Err(DatasetError::OneClass { folder: folder.to_owned(), class: class.clone() });
        }
        if index.validation.is_empty() {
            return Err(DatasetError::NoValidation { folder: folder.to_owned(), images: index.train.len() });
        }
        let measured: BTreeSet<u32> = index.validation.iter().map(|entry| entry.label).collect();
        for (_, class) in (0..).zip(&index.classes).filter(|(label, _)| !measured.contains(label)) {
            tracing::warn!(class, "the class has no validation images: nothing will be measured on it");
        }
        index.tell_passed();
        Ok(index)
    }

    /// Lists a data folder for evaluation only: all images in the class folders or shards of the validation
    /// split, if there is one, otherwise in those of the folder itself. A single class suffices.
    pub(crate) fn open_validation(folder: &Path, rules: Rules) -> Result<Index, DatasetError> {
        let mut root = list(folder, Path::new(""), rules)?;
        let under = splits::measured(folder, &mut root, rules)?;
        let mut passed = Passed::default();
        let place = if under.as_os_str().is_empty() {
            Place { under, listing: root }
        } else {
            passed.add(beside(root));
            Place::of(folder, under, rules)?
        };
        let mut index = if shards::are_in(folder, std::slice::from_ref(&place))? {
            shards::open_validation(folder, place, rules)?
        } else {
            let given = !place.under.as_os_str().is_empty();
            let classes = match place.flat() {
                Some(images) if given => ilsvrc::by_class(folder, &place.under, images)?,
                _ => classes_of(folder, place, rules, &mut passed)?,
            };
            Index {
                folder: folder.to_owned(),
                rules,
                classes: names_of(folder, &classes)?,
                train: Vec::new(),
                validation: entries(&classes, &classes),
                given,
                held_out: false,
                shards: Vec::new(),
                incomplete: 0,
                passed: Passed::default(),
            }
        };
        index.passed.add(passed);
        index.use_lists();
        index.tell_passed();
        Ok(index)
    }

    /// Lists class folders: those of both splits or, if there are no splits, those of the data folder itself.
    fn of_files(folder: &Path, places: Vec<Place>, rules: Rules) -> Result<Index, DatasetError> {
        let mut passed = Passed::default();
        let mut places = places.into_iter();
        let first = places.next().expect("there is a place");
        let second = places.next();
        let (given, learnt) = (second.is_some(), classes_of(folder, first, rules, &mut passed)?);
        let (train, validation) = match second {
            Some(place) => {
                let measured = measured_classes(folder, place, &learnt, rules, &mut passed)?;
                (entries(&learnt, &learnt), entries(&learnt, &measured))
            }
            None => held_out::split(entries(&learnt, &learnt), rules),
        };
        let classes = names_of(folder, &learnt)?;
        let folder = folder.to_owned();
        let (held_out, shards, incomplete) = (!given, Vec::new(), 0);
        Ok(Index { folder, rules, classes, train, validation, given, held_out, shards, incomplete, passed })
    }

    /// Takes the lists off what was passed over that gave the classes their names or the images their classes.
    fn use_lists(&mut self) {
        match self.shards.is_empty() {
            true => ilsvrc::LISTS.iter().for_each(|list| self.passed.forget(Path::new(list))),
            false => self.passed.forget(Path::new(shards::CLASSES)),
        }
    }

    fn tell_passed(&self) {
        if self.rules >= Rules::V2 {
            self.passed.lines().iter().for_each(|line| tracing::info!("passed over: {line}"));
        }
    }
}

impl Place {
    fn of(folder: &Path, under: PathBuf, rules: Rules) -> Result<Place, DatasetError> {
        let listing = list(folder, &under, rules)?;
        Ok(Place { under, listing })
    }

    /// Returns the files of the folder, sorted, if it has files and no folders.
    fn flat(&self) -> Option<Vec<PathBuf>> {
        let mut files = self.listing.files.clone();
        files.sort();
        (self.listing.folders.is_empty() && !files.is_empty()).then_some(files)
    }
}

/// Returns what was passed over in a listing, to which all of its files are added, since they lie beside the
/// folders that are used.
pub(crate) fn beside(mut listing: Listing) -> Passed {
    let mut passed = Passed::default();
    listing.files.into_iter().for_each(|path| passed.file(Reason::Beside, path));
    listing.passed.take_files(Reason::Other).into_iter().for_each(|path| passed.file(Reason::Beside, path));
    passed.add(listing.passed);
    passed
}

/// Returns the classes of the validation split, all of which must be in the training split.
fn measured_classes(
    folder: &Path,
    place: Place,
    learnt: &Classes,
    rules: Rules,
    passed: &mut Passed,
) -> Result<Classes, DatasetError> {
    let (under, flat) = (place.under.clone(), place.flat());
    let measured: Classes = match flat {
        Some(images) => {
            let folder_of =
                |wnid: &String| learnt.keys().find(|class| ilsvrc::wnid(class) == Some(wnid)).cloned();
            let classes = ilsvrc::by_class(folder, &under, images)?.into_iter();
            classes.map(|(wnid, images)| (folder_of(&wnid).unwrap_or(wnid), images)).collect()
        }
        None => {
            let found = class_folders(folder, &place.listing.folders, rules, passed)?;
            passed.add(beside(place.listing));
            named(folder, found, rules)?.into_iter().map(|(class, found)| (class, found.files)).collect()
        }
    };
    let only = |(class, files): &(&String, &Vec<PathBuf>)| !learnt.contains_key(*class) && !files.is_empty();
    if let Some((class, _)) = measured.iter().find(only) {
        let (flat, own) = (folder.join(&under), folder.join(&under).join(class));
        let folder = if own.is_dir() { own } else { flat };
        return Err(DatasetError::ValidationOnly { folder, class: class.clone() });
    }
    Ok(measured)
}

/// Returns the names of the classes: those of their folders, followed by the synset's words if the data
/// folder has a list of them.
fn names_of(folder: &Path, classes: &Classes) -> Result<Vec<String>, DatasetError> {
    let words = ilsvrc::words(folder)?;
    let name = |class: &String| {
        let key = ilsvrc::wnid(class).unwrap_or(class);
        words.get(key).map_or_else(|| class.clone(), |words| format!("{key} {words}"))
    };
    Ok(classes.keys().map(name).collect())
}

fn entries(numbered: &Classes, classes: &Classes) -> Vec<Entry> {
    let labels = numbered.keys().zip(0u32..);
    labels
        .flat_map(|(class, label)| {
            let files = classes.get(class).map(Vec::as_slice).unwrap_or_default();
            files.iter().map(move |path| Entry { path: path.clone(), label, part: None })
        })
        .collect()
}

/// Lists the class folders of a place, each of which must have at least one file.
fn classes_of(
    folder: &Path,
    place: Place,
    rules: Rules,
    passed: &mut Passed,
) -> Result<Classes, DatasetError> {
    let Place { under, listing } = place;
    if listing.folders.is_empty() {
        if let Some(path) = listing.others.iter().find(|path| shards::is_packed(path)) {
            return Err(DatasetError::PackedShard { path: folder.join(path) });
        }
        let files = listing.files.len() + listing.others.len();
        return Err(DatasetError::NoClasses { folder: at(folder, &under), files });
    }
    let found = named(folder, class_folders(folder, &listing.folders, rules, passed)?, rules)?;
    passed.add(beside(listing));
    let others: Vec<PathBuf> = found.values().flat_map(|class| class.others.clone()).collect();
    if found.values().all(|class| class.files.is_empty()) && !others.is_empty() {
        let (folder, others) = (at(folder, &under), passed::other_files(&others));
        return Err(DatasetError::NoPictures { folder, classes: found.len(), others });
    }
    if let Some((class, empty)) = found.iter().find(|(_, class)| class.files.is_empty()) {
        let others = (!empty.others.is_empty()).then(|| passed::other_files(&empty.others));
        return Err(DatasetError::EmptyClass {
            folder: folder.join(&empty.path),
            class: class.clone(),
            others,
        });
    }
    Ok(found.into_iter().map(|(class, found)| (class, found.files)).collect())
}

/// Returns the class folders by the names of their classes. Folders whose names differ only in their Unicode
/// form are the same class.
fn named(
    folder: &Path,
    found: Vec<ClassFolder>,
    rules: Rules,
) -> Result<BTreeMap<String, ClassFolder>, DatasetError> {
    let mut classes = BTreeMap::<String, ClassFolder>::new();
    for mut class in found {
        let name = class.path.file_name().unwrap_or_default();
        let text = match rules {
            Rules::V1 => name.to_string_lossy().into_owned(),
            Rules::V2 => names::text(name),
        };
        let Some(known) = classes.get_mut(&text) else {
            classes.insert(text, class);
            continue;
        };
        if rules >= Rules::V2 && (name.to_str().is_none() || known.path.to_str().is_none()) {
            let (first, second) = (folder.join(&known.path), folder.join(&class.path));
            return Err(DatasetError::SameName { first, second, class: text });
        }
        if rules >= Rules::V2 {
            tracing::info!(
                class = text,
                "two folders whose names differ in Unicode form alone are one class"
            );
            known.files.append(&mut class.files);
            known.others.append(&mut class.others);
            names::sort(&mut known.files);
        } else {
            *known = class;
        }
    }
    Ok(classes)
}
