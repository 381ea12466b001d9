//! libFuzzer over one reader of the table: that which `FUZZ_TARGET` names, or else the program's own name.
#![no_main]

use std::ffi::OsStr;
use std::path::Path;
use std::sync::LazyLock;

use fuzzing::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let program = std::env::args_os().next().unwrap_or_default();
    let program = Path::new(&program).file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let name = std::env::var("FUZZ_TARGET").unwrap_or(program);
    Target::find(&name).unwrap_or_else(|| {
        let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("FUZZ_TARGET: expected one of {}, found {name:?}", known.join(", "));
        std::process::exit(2)
    })
});

/// libFuzzer's own hook makes a crash of every panic. Those of the image decoders are caught by the reader
/// and are none.
fn spare_decoders() {
    let crash = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !dataset::is_decoding() {
            crash(panic);
        }
    }));
}

fuzz_target!(init: spare_decoders(), |bytes: &[u8]| (TARGET.run)(bytes));
