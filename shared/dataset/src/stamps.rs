//! The stamps of images, by which what was computed from an image is known to be of what its file holds now.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use files::{Digest, Digester};

use crate::entry::{Entry, Index, look_at_all};

/// Returns the stamp of each of the images `entries`, or `None` for one whose file cannot be looked at.
///
/// A stamp is a hash of the image's path below the data folder and of the length and the times of its file.
/// Files are not read for it.
pub(crate) fn of(index: &Index, entries: &[Entry]) -> Vec<Option<Digest>> {
    let shards: Vec<Option<Digest>> =
        index.shards.iter().map(|shard| of_file(&index.folder, shard)).collect();
    look_at_all(entries, |entry| match &entry.part {
        None => of_file(&index.folder, &entry.path),
        Some(part) => {
            let mut stamp = Digester::default();
            stamp.update(shards[part.shard as usize]?.as_bytes());
            stamp.update(part.offset.to_le_bytes());
            stamp.update(part.length.to_le_bytes());
            Some(stamp.finish())
        }
    })
}

fn of_file(folder: &Path, path: &PathBuf) -> Option<Digest> {
    let file = fs::metadata(folder.join(path)).ok()?;
    let mut stamp = Digester::default();
    stamp.update(path.as_os_str().as_encoded_bytes());
    stamp.update([0]);
    stamp.update(file.len().to_le_bytes());
    times(&file).into_iter().for_each(|time| stamp.update(time.to_le_bytes()));
    Some(stamp.finish())
}

/// Returns the times at which a file's content was changed and, since unpacking and copying set that one back,
/// at which anything about the file was changed: seconds and nanoseconds of each.
#[cfg(unix)]
fn times(file: &Metadata) -> [i64; 4] {
    use std::os::unix::fs::MetadataExt;
    [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()]
}

/// Returns the time at which a file's content was changed, in nanoseconds.
#[cfg(not(unix))]
fn times(file: &Metadata) -> [i128; 1] {
    let changed = file.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    [changed.map_or(-1, |time| time.as_nanos() as i128)]
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use crate::dataset::Dataset;
    use crate::rules::Rules;
    use crate::split::Split;

    fn stamps(folder: &Path) -> Vec<Option<files::Digest>> {
        Dataset::open_validation(folder, Rules::NEWEST).unwrap().stamps(Split::Validation)
    }

    #[test]
    fn a_stamp_is_of_one_file_as_it_is_now() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("photos");
        for name in ["a/1.jpg", "a/2.jpg", "b/1.jpg"] {
            fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs::write(folder.join(name), "the same content").unwrap();
        }
        let first = stamps(&folder);
        assert!(first.iter().all(Option::is_some) && first[0] != first[1] && first[0] != first[2]);
        assert_eq!(stamps(&folder), first, "looking changes nothing");
        fs::rename(&folder, home.path().join("moved")).unwrap();
        let folder = home.path().join("moved");
        assert_eq!(stamps(&folder), first, "the place of the folder does not count");
        fs::write(folder.join("a/2.jpg"), "another length").unwrap();
        let second = stamps(&folder);
        assert_eq!((second[0], second[2]), (first[0], first[2]));
        assert!(second[1].is_some() && second[1] != first[1]);
    }

    /// Archives unpack with times of old, and pictures of the same size without compression have one length.
    #[cfg(unix)]
    #[test]
    fn another_file_of_the_same_length_and_time_has_another_stamp() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a/1.bmp");
        fs::create_dir(home.path().join("a")).unwrap();
        fs::write(&file, "one").unwrap();
        let (first, changed) = (stamps(home.path()), fs::metadata(&file).unwrap().modified().unwrap());
        fs::write(&file, "two").unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(changed).unwrap();
        assert_ne!(stamps(home.path()), first);
    }

    #[test]
    fn a_link_to_nowhere_has_no_stamp_and_drawn_pictures_have_one_each() {
        #[cfg(unix)]
        {
            let home = tempfile::tempdir().unwrap();
            fs::create_dir(home.path().join("a")).unwrap();
            std::os::unix::fs::symlink("/does/not/exist", home.path().join("a/1.jpg")).unwrap();
            assert_eq!(stamps(home.path()), [None]);
        }
        let drawn = |size| Dataset::synthetic(10, 10, size).stamps(Split::Validation);
        assert_eq!(drawn(32), drawn(32));
        assert!(drawn(32).iter().zip(drawn(48)).all(|(one, other)| one.is_some() && *one != other));
        assert_ne!(drawn(32)[0], drawn(32)[1]);
    }
}
