//! The handling of panics. A panic is a bug of the program: it ends the process at once, with a message and
//! an exit code of its own.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::thread;

use crate::exit::Exit;
use crate::output::tell;

/// Makes every panic end this process with [`Exit::Bug`] and a message on standard error, since a process
/// with one dead thread might wait for it for ever.
///
/// A panic is left to be caught by the program if `expected`, called on the panicking thread, returns true:
/// third-party decoders may panic over a damaged image, which is not a bug of this program.
pub fn end_on_panic(expected: fn() -> bool) {
    std::panic::set_hook(Box::new(move |panic| {
        if expected() {
            return;
        }
        tell(account(panic));
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            tell(trace);
        }
        std::process::exit(Exit::Bug.code().into());
    }));
}

/// Returns the message about a panic: its thread, its location, its text, and what to do about it.
fn account(panic: &PanicHookInfo) -> String {
    let thread = thread::current();
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let payload = panic.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(|text| &**text));
    format!(
        "failed by a bug of downpour: thread '{}' panicked at {place}: {}\n\
         please report this text, the command and the lines above; RUST_BACKTRACE=1 shows where it came from",
        thread.name().unwrap_or("unnamed"),
        text.unwrap_or("no text")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::process::Command;

    thread_local!(static EXPECTED: Cell<bool> = const { Cell::new(false) });
    const ROLE: &str = "DOWNPOUR_TEST_PANICS";

    /// The child's part of the test below: it does nothing unless told to panic.
    #[test]
    fn child_that_panics() {
        let Ok(role) = std::env::var(ROLE) else { return };
        end_on_panic(|| EXPECTED.get());
        let panicking = move || {
            EXPECTED.set(role == "expected");
            let values: Vec<u8> = Vec::new();
            values[..16].len()
        };
        let caught = thread::Builder::new().name("compute".into()).spawn(panicking).unwrap().join();
        assert!(caught.is_err());
        std::process::exit(0);
    }

    #[test]
    fn a_panic_on_any_thread_ends_the_process_and_one_that_is_expected_does_not() {
        let child = |role: &str| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "bug::tests::child_that_panics", "--nocapture"]).env(ROLE, role);
            let output = command.env_remove("RUST_BACKTRACE").output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (code, text) = child("unexpected");
        assert_eq!(code, Some(70), "{text}");
        assert!(text.contains("failed by a bug of downpour: thread 'compute' panicked at"), "{text}");
        assert!(text.contains("bug.rs:") && text.contains("range end index 16 out of range"), "{text}");
        assert_eq!(child("expected").0, Some(0));
    }
}
