//! The names of files and folders as text: names that differ only in their Unicode form have the same text,
//! and no name is lost.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Returns a name in Unicode's composed form (NFC), in which the names of macOS and of other systems are the
/// same. Bytes that are not UTF-8 are written in the form `\xE9`, so that different names stay different.
pub(crate) fn text(name: &OsStr) -> String {
    match name.to_str() {
        Some(text) => composed(text).into_owned(),
        None => {
            let chunks = name.as_encoded_bytes().utf8_chunks();
            let written = chunks.map(|chunk| {
                let invalid: String = chunk.invalid().iter().map(|byte| format!("\\x{byte:02X}")).collect();
                composed(chunk.valid()).into_owned() + &invalid
            });
            written.collect()
        }
    }
}

/// Returns a path as text: its parts, each as [`text`], separated by slashes. It is the same on every system
/// and file system.
pub(crate) fn key(path: &Path) -> String {
    path.iter().map(text).collect::<Vec<_>>().join("/")
}

/// Sorts paths by their [`key`]s, which are compared part by part.
pub(crate) fn sort(paths: &mut [PathBuf]) {
    paths.sort_by_cached_key(|path| (path.iter().map(text).collect::<PathBuf>(), path.clone()));
}

fn composed(text: &str) -> Cow<'_, str> {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        _ => Cow::Owned(text.nfc().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_unicode_forms_of_a_name_are_one_text() {
        assert_eq!(text(OsStr::new("cafe\u{301}")), "caf\u{e9}");
        assert_eq!(text(OsStr::new("caf\u{e9}")), "caf\u{e9}");
        assert_eq!(key(Path::new("the\u{301}/a b.jpg")), "th\u{e9}/a b.jpg");
        assert_eq!(text(OsStr::new("\u{1100}\u{1161}")), "\u{ac00}");
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_utf8_stay_apart() {
        use std::os::unix::ffi::OsStrExt;
        let names = [&b"caf\xe9"[..], b"caf\xe8", b"caf\xe9\xe8"].map(|name| text(OsStr::from_bytes(name)));
        assert_eq!(names, ["caf\\xE9", "caf\\xE8", "caf\\xE9\\xE8"]);
    }

    #[test]
    fn paths_are_sorted_part_by_part() {
        let mut paths = ["a/b/1", "a-b/1", "a/b-/1"].map(PathBuf::from);
        sort(&mut paths);
        assert_eq!(paths, ["a/b/1", "a/b-/1", "a-b/1"].map(PathBuf::from));
    }
}
