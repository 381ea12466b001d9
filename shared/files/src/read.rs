//! The reading of whole files up to a given size.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use limits::{Bytes, memory};

/// Reads the bytes of a file of at most `most` bytes.
///
/// # Errors
/// If the file cannot be read, or if it is larger than `most` or than the memory that this machine has free.
/// Of a file that is too large nothing is read, or hardly more than `most` bytes if its length is not known
/// in advance.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // What is no regular file, such as a pipe, says 0 and is counted as it is read.
    let length = file.metadata()?.len();
    if length > most {
        return Err(too_large(format!("it has {}", Bytes(length)), most));
    }
    memory::check(length).map_err(|shortage| io::Error::new(ErrorKind::OutOfMemory, shortage))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(length).map_err(io::Error::other)?)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(too_large("it has more".into(), most));
    }
    Ok(bytes)
}

/// Reads a UTF-8 text file of at most `most` bytes.
///
/// # Errors
/// If [`read`] fails, or if the bytes are not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?).map_err(|error| {
        let text =
            format!("expected text in utf-8, found another byte at {}", error.utf8_error().valid_up_to());
        io::Error::new(ErrorKind::InvalidData, text)
    })
}

fn too_large(found: String, most: u64) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("expected at most {}, {found}", Bytes(most)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn a_file_is_read_up_to_its_size_and_not_beyond() {
        let home = TempDir::new().unwrap();
        let path = home.path().join("file");
        std::fs::write(&path, "text").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"text");
        assert_eq!(read_text(&path, 1000).unwrap(), "text");
        let error = read(&path, 3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "expected at most 3 bytes, it has 4 bytes");
        std::fs::write(&path, b"te\xfft").unwrap();
        let text = read_text(&path, 4).unwrap_err().to_string();
        assert_eq!(text, "expected text in utf-8, found another byte at 2");
        assert_eq!(read(&home.path().join("none"), 4).unwrap_err().kind(), ErrorKind::NotFound);
    }

    /// A file with a hole costs its author nothing.
    #[test]
    fn a_file_of_three_tebibytes_takes_no_memory() {
        let home = TempDir::new().unwrap();
        let path = home.path().join("hole");
        if File::create(&path).unwrap().set_len(3 << 40).is_err() {
            return; // this file system has no holes
        }
        let text = read(&path, 1 << 20).unwrap_err().to_string();
        assert_eq!(text, "expected at most 1.0 MiB, it has 3,072 GiB");
        if memory::available().is_some() {
            let error = read(&path, u64::MAX).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfMemory);
            assert!(error.to_string().starts_with("3,072 GiB of memory are needed, "), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_length_and_no_end_is_read_up_to_the_size() {
        let text = read(Path::new("/dev/zero"), 1 << 20).unwrap_err().to_string();
        assert_eq!(text, "expected at most 1.0 MiB, it has more");
    }
}
