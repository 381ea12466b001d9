//! Lists in text files, with one item per line, as the editors of all systems write them.

use std::io;
use std::path::Path;

/// Largest size of a list in bytes, enough for the names of more classes than any network has.
const MOST_LIST: u64 = 16 << 20;

/// The reasons why a file cannot be read as a list of names.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The system could not read the file of the list, or the file is larger than 16 MiB.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    /// The file of the list is not UTF-8 text.
    #[error("expected text in UTF-8, found {found}; save it as UTF-8")]
    NotText {
        /// Description of the file, or the position at which it stops being text.
        found: String,
    },
    /// A line of the list is empty, although names follow below it.
    #[error("line {line} is empty: expected a name on each line; remove the line, or write the name")]
    EmptyLine {
        /// Number of the line, from 1.
        line: usize,
    },
}

/// Reads a list of names: returns the lines of a text file, each without surrounding spaces.
///
/// A byte order mark, either kind of line ending, and empty lines at the end are allowed. An empty line
/// between two others is an error, since it would shift every later item by one.
///
/// # Errors
/// If the file at `path` cannot be read, is larger than 16 MiB, is not UTF-8 text, or has an empty line
/// between others.
pub fn read_list(path: &Path) -> Result<Vec<String>, ListError> {
    let bytes = files::read(path, MOST_LIST)?;
    let not_text = |found: String| ListError::NotText { found };
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(not_text("UTF-16".to_owned()));
    }
    let text = str::from_utf8(&bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
        not_text(format!("other bytes in line {line}"))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    match lines.iter().position(String::is_empty) {
        Some(index) => Err(ListError::EmptyLine { line: index + 1 }),
        None => Ok(lines),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<String>, String> {
        let home = tempfile::TempDir::new().unwrap();
        let path = home.path().join("list.txt");
        std::fs::write(&path, bytes).unwrap();
        read_list(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_is_taken_as_any_editor_writes_it() {
        let expected = Ok(vec!["cat".to_owned(), "caf\u{e9} noir".to_owned()]);
        for text in [
            "cat\ncaf\u{e9} noir",
            "cat\ncaf\u{e9} noir\n",
            "cat\r\ncaf\u{e9} noir\r\n",
            "\u{feff}cat\r\n  caf\u{e9} noir \r\n\r\n\n",
        ] {
            assert_eq!(read(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(read(b""), Ok(vec![]));
    }

    #[test]
    fn an_empty_line_in_the_middle_is_named() {
        let expected = "line 2 is empty: expected a name on each line; remove the line, or write the name";
        assert_eq!(read(b"cat\n \ndog\n"), Err(expected.to_owned()));
        assert!(read(b"\ncat\n").unwrap_err().starts_with("line 1 is empty"));
    }

    #[test]
    fn other_encodings_are_told() {
        let text = read(b"\xff\xfec\0a\0t\0").unwrap_err();
        assert_eq!(text, "expected text in UTF-8, found UTF-16; save it as UTF-8");
        assert!(read(b"cat\ncaf\xe9\n").unwrap_err().contains("other bytes in line 2"));
    }
}
