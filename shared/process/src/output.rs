//! The output of a program to standard output and standard error, in one way for all programs.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes a text and a line break to standard output. It is no error if the reader has closed the pipe, as
/// `head` does once it has seen enough.
///
/// # Errors
/// If standard output cannot be written for another reason, such as a full disk.
pub fn print_line(text: impl Display) -> io::Result<()> {
    to(&mut io::stdout().lock(), text)
}

/// Writes a text and a line break to standard error. Where that cannot be written, as once the terminal is
/// closed, the text is lost, and the program goes on with what it has to finish.
pub fn tell(text: impl Display) {
    let _ = to(&mut io::stderr().lock(), text);
}

fn to(out: &mut impl Write, text: impl Display) -> io::Result<()> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Refusing(ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is() {
        let mut written = Vec::new();
        to(&mut written, "text").unwrap();
        assert_eq!(written, b"text\n");
        to(&mut Refusing(ErrorKind::BrokenPipe), "text").unwrap();
        let error = to(&mut Refusing(ErrorKind::StorageFull), "text").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}
