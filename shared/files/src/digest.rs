//! SHA-256 digests of bytes and of files.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use sha2::Digest as _;

/// A SHA-256 digest; as text it is 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Computes the digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Digest {
        Digest(sha2::Sha256::digest(bytes).into())
    }

    /// Computes the digest of a file, which is read in pieces, so that little memory is needed however large
    /// it is.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn of_file(path: &Path) -> io::Result<Digest> {
        let mut file = File::open(path)?;
        let mut digest = Digester::default();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(digest.finish()),
                read => digest.update(&buffer[..read]),
            }
        }
    }

    /// Returns the 32 bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the hexadecimal digits of the first `bytes` bytes, as a name for use where 64 digits are too
    /// many.
    ///
    /// # Panics
    /// If `bytes` is more than 32.
    pub fn start(&self, bytes: usize) -> String {
        self.0[..bytes].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.start(self.0.len()))
    }
}

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Digest, NoDigest> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NoDigest);
        }
        for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| NoDigest)?;
        }
        Ok(Digest(bytes))
    }
}

/// An error: a text is not the 64 hexadecimal digits of a SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct NoDigest;

/// A digest that is being computed over bytes that arrive in pieces.
#[derive(Clone, Default)]
pub struct Digester(sha2::Sha256);

impl Digester {
    /// Adds `bytes` behind those that were added before.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes);
    }

    /// Returns the digest of all bytes that were added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first example of FIPS 180-2.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn bytes_pieces_and_files_have_one_digest() {
        let digest = Digest::of("abc");
        assert_eq!((digest.to_string(), digest.start(4)), (ABC.to_owned(), "ba7816bf".to_owned()));
        let mut pieces = Digester::default();
        ["a", "", "bc"].into_iter().for_each(|piece| pieces.update(piece));
        assert_eq!(pieces.finish(), digest);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        assert_eq!(Digest::of_file(file.path()).unwrap(), digest);
    }

    #[test]
    fn a_text_is_read_whatever_its_case() {
        assert_eq!(ABC.parse(), Ok(Digest::of("abc")));
        assert_eq!(ABC.to_uppercase().parse(), Ok(Digest::of("abc")));
        for text in ["", "ba", &ABC[1..], &ABC.replace('b', "g"), &"é".repeat(32), &format!("+{}", &ABC[1..])]
        {
            assert_eq!(text.parse::<Digest>(), Err(NoDigest), "{text}");
        }
    }
}
