//! The files and folders of a data folder that are not part of the data set, and the reasons; each is
//! reported.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// The reason why a file or folder in a data folder is left out of the data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The name of the file or folder begins with a dot.
    Hidden,
    /// The name of the file or folder is one that an operating system, a file server or another program gives
    /// to what it keeps for its own use.
    System,
    /// The file's name tells that it is not an image, such as by the extension `.txt`.
    Other,
    /// The file or folder is neither a class folder nor in one: it lies beside the class folders, or beside
    /// `train/` and `val/` where the data folder has these.
    Beside,
    /// The folder is a symbolic link that is not followed, since the images in its target are in the data set
    /// already or its target contains a class folder. [`Rules::V1`](crate::Rules::V1) follows no links inside
    /// class folders.
    Link,
    /// The file is a pipe, a socket or a device.
    Special,
}

/// Names of folders that file servers, archives and file systems create beside those of the user.
const SYSTEM_FOLDERS: [&str; 12] = [
    "@eadir",
    "@tmp",
    "#recycle",
    "#snapshot",
    "@recycle",
    "@recently-snapshot",
    "$recycle.bin",
    "system volume information",
    "__macosx",
    "lost+found",
    "__pycache__",
    "network trash folder",
];
/// Names of files that systems leave in every folder that is viewed.
const SYSTEM_FILES: [&str; 5] = ["thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"];
/// Names of files that are not images and have no extension.
const OTHER_FILES: [&str; 4] = ["readme", "license", "licence", "makefile"];
/// Extensions of files that are not images.
const OTHER_EXTENSIONS: &str = "txt text json jsonl ndjson geojson csv tsv xml yaml yml toml ini cfg conf db sqlite \
    sqlite3 md rst html htm css js pdf doc docx odt rtf xls xlsx ods ppt pptx tex bib py ipynb pyc sh bat ps1 r m mat c \
    h cpp java npy npz pkl pickle pt pth onnx h5 hdf5 parquet arrow feather tfrecord lmdb mdb log lock zip gz tgz bz2 \
    xz zst 7z rar md5 sha1 sha256 mp4 mov avi mkv webm wmv mpg mpeg mp3 wav m4a flac lnk url exe dll part crdownload \
    download tmp bak swp xmp aae";

/// Returns the reason why a file or folder is passed over because of its name, or `None` if it is not.
pub(crate) fn by_name(name: &OsStr, is_folder: bool) -> Option<Reason> {
    if name.as_encoded_bytes().starts_with(b".") {
        return Some(Reason::Hidden);
    }
    let text = name.to_string_lossy().to_lowercase();
    if is_folder {
        return SYSTEM_FOLDERS.contains(&&*text).then_some(Reason::System);
    }
    if SYSTEM_FILES.contains(&&*text) || text.contains("@syno") {
        return Some(Reason::System);
    }
    let other = match extension(Path::new(name)) {
        Some(extension) => OTHER_EXTENSIONS.split_whitespace().any(|other| other == extension),
        None => OTHER_FILES.contains(&&*text),
    };
    other.then_some(Reason::Other)
}

/// Returns the extension of a file's name in lower case, if it has one.
pub(crate) fn extension(path: &Path) -> Option<String> {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase())
}

/// Returns a text with the number of other files and their extensions, such as "2 other files (pdf, txt)".
pub(crate) fn other_files(files: &[PathBuf]) -> String {
    let mut extensions: Vec<String> = files.iter().filter_map(|path| extension(path)).collect();
    extensions.sort();
    extensions.dedup();
    let plural = if files.len() == 1 { "" } else { "s" };
    let kinds = if extensions.is_empty() { String::new() } else { format!(" ({})", extensions.join(", ")) };
    format!("{} other file{plural}{kinds}", files.len())
}

/// The files and folders in a data folder that are left out of the data set, by reason, as paths relative to
/// the data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    files: BTreeMap<Reason, Vec<PathBuf>>,
    folders: BTreeMap<Reason, Vec<PathBuf>>,
}

impl Passed {
    pub(crate) fn file(&mut self, reason: Reason, path: PathBuf) {
        self.files.entry(reason).or_default().push(path);
    }

    pub(crate) fn folder(&mut self, reason: Reason, path: PathBuf) {
        self.folders.entry(reason).or_default().push(path);
    }

    /// Adds the files and folders of another list.
    pub(crate) fn add(&mut self, other: Passed) {
        let pairs = [(&mut self.files, other.files), (&mut self.folders, other.folders)];
        for (known, new) in pairs {
            for (reason, mut paths) in new {
                known.entry(reason).or_default().append(&mut paths);
            }
        }
    }

    /// Takes a file off the list that is no image and is used all the same, such as a list of the classes' names.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.files.retain(|_, files| {
            files.retain(|file| file != path);
            !files.is_empty()
        });
    }

    /// Removes and returns the files that were passed over for a reason.
    pub(crate) fn take_files(&mut self, reason: Reason) -> Vec<PathBuf> {
        self.files.remove(&reason).unwrap_or_default()
    }

    /// Returns the files that are left out of the data set for this reason, as paths relative to the data
    /// folder. Files inside folders that are left out as a whole are not among them.
    pub fn files(&self, reason: Reason) -> &[PathBuf] {
        self.files.get(&reason).map_or(&[], Vec::as_slice)
    }

    /// Returns the folders that are left out of the data set, with everything in them, for this reason, as
    /// paths relative to the data folder.
    pub fn folders(&self, reason: Reason) -> &[PathBuf] {
        self.folders.get(&reason).map_or(&[], Vec::as_slice)
    }

    /// Returns all folders that are left out of the data set, whatever the reason, as paths relative to the
    /// data folder.
    pub fn all_folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.values().flatten().map(PathBuf::as_path)
    }

    /// Returns all files that are left out of the data set, whatever the reason, as paths relative to the
    /// data folder; files inside folders that are left out are not among them.
    pub fn all_files(&self) -> impl Iterator<Item = &Path> {
        self.files.values().flatten().map(PathBuf::as_path)
    }

    /// Returns a line of text for each reason for which something is left out of the data set, with the
    /// number of its files and folders and the names of some.
    pub fn lines(&self) -> Vec<String> {
        use Reason::*;
        let line = |reason| {
            let (files, folders) = (self.files(reason), self.folders(reason));
            let first = files.first().or(folders.first())?;
            let count = match (files.len(), folders.len()) {
                (files, 0) => format!("{files} file{}", plural(files)),
                (0, folders) => format!("{folders} folder{}", plural(folders)),
                (files, folders) => {
                    format!("{files} file{} and {folders} folder{}", plural(files), plural(folders))
                }
            };
            let first = first.display();
            Some(match reason {
                Hidden => format!("hidden: {count} (such as {first})"),
                System => format!("kept there by a system or program: {count} (such as {first})"),
                Other => format!("no pictures: {}, such as {first}", other_files(files)),
                Beside => {
                    let folders_shown = folders.iter().map(|path| format!("{}/", path.display()));
                    let files_shown = files.iter().map(|path| path.display().to_string());
                    let shown: Vec<String> = folders_shown.chain(files_shown).take(5).collect();
                    let more = if files.len() + folders.len() > shown.len() { ", ..." } else { "" };
                    format!("left alone beside the classes: {}{more}", shown.join(", "))
                }
                Link => format!(
                    "linked folders that are in the set already: {folders}, such as {first}",
                    folders = folders.len()
                ),
                Special => format!("pipes, sockets or devices: {count} (such as {first})"),
            })
        };
        [Hidden, System, Other, Beside, Link, Special].into_iter().filter_map(line).collect()
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_is_no_picture() {
        let file = |name: &str| by_name(OsStr::new(name), false);
        for name in ["1.jpg", "IMG_0001.HEIC", "n01440764_18.JPEG", "no extension", "photo.txt.png", "a.tar"]
        {
            assert_eq!(file(name), None, "{name}");
        }
        for name in ["1.txt", "boxes.JSON", "a.jpg.crdownload", "Notes.Docx", "README"] {
            assert_eq!(file(name), Some(Reason::Other), "{name}");
        }
        for name in ["Thumbs.db", "desktop.ini", "cat@SynoEAStream", "Icon\r"] {
            assert_eq!(file(name), Some(Reason::System), "{name}");
        }
        assert_eq!(file("._001.jpg"), Some(Reason::Hidden));
        let folder = |name: &str| by_name(OsStr::new(name), true);
        for name in ["@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN"] {
            assert_eq!(folder(name), Some(Reason::System), "{name}");
        }
        assert_eq!(
            (folder(".ipynb_checkpoints"), folder("readme"), folder("a.txt")),
            (Some(Reason::Hidden), None, None)
        );
    }

    #[test]
    fn each_reason_has_a_line_with_an_example() {
        let mut passed = Passed::default();
        passed.file(Reason::Other, "a/1.txt".into());
        passed.file(Reason::Other, "a/2.PDF".into());
        passed.folder(Reason::Beside, "test".into());
        passed.file(Reason::Beside, "LICENSE".into());
        passed.folder(Reason::System, "@eaDir".into());
        assert_eq!(
            passed.lines(),
            [
                "kept there by a system or program: 1 folder (such as @eaDir)",
                "no pictures: 2 other files (pdf, txt), such as a/1.txt",
                "left alone beside the classes: test/, LICENSE",
            ]
        );
    }
}
