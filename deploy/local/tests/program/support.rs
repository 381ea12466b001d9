//! Runs the real binary on runs small enough for a test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A configuration that trains in seconds, for tests of what is around the training.
pub const TINY: [&str; 6] = ["--input-size", "32", "--width", "0.05", "--batch", "16"];

/// An output folder that does not outlive its test.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    /// The output folder of the run.
    pub fn output(&self) -> PathBuf {
        self.0.path().join("run")
    }

    /// `downpour` on the output folder.
    pub fn downpour(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command.arg("--output").arg(self.output()).args(arguments);
        command
    }

    /// Makes the command of a tiny run of this many images.
    pub fn tiny(&self, images: u64, arguments: &[&str]) -> Command {
        let mut command = self.downpour(&TINY);
        command.args(["--learning-rate", "0.0001", "--images", &images.to_string()]).args(arguments);
        command
    }

    /// The lines of `metrics.jsonl` of this kind.
    pub fn metrics(&self, kind: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.output().join("metrics.jsonl")).unwrap_or_default();
        // The last line may be half written.
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter(|line| line["kind"] == kind).collect()
    }

    /// Returns what is in each event file of TensorBoard of this kind, as far as it is text.
    pub fn events(&self, kind: &str) -> Vec<String> {
        let files = std::fs::read_dir(self.output().join("tensorboard").join(kind)).unwrap();
        let content = |file: std::fs::DirEntry| std::fs::read(file.path()).unwrap();
        files.map(|file| String::from_utf8_lossy(&content(file.unwrap())).into_owned()).collect()
    }

    /// Returns everything that the children of this name logged.
    pub fn log(&self, child: &str) -> String {
        std::fs::read_to_string(self.output().join(format!("logs/{child}.log"))).unwrap_or_default()
    }
}

/// The program under test, with nothing of this environment that would change what it does.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downpour"));
    command
        .env_remove("RUST_LOG")
        .env_remove("DOWNPOUR_ISA")
        .env_remove("DOWNPOUR_TOKEN")
        .stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end.
pub fn run(command: &mut Command) -> Ended {
    Running::start(command).wait()
}

/// The end of a program: its exit code and what it printed.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    #[track_caller]
    pub fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Ended {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing from:\n{}", self.stderr);
        }
        self
    }

    /// The last line of stdout.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let last =
            self.stdout.lines().last().unwrap_or_else(|| panic!("no stdout; stderr:\n{}", self.stderr));
        serde_json::from_str(last).unwrap()
    }
}

/// A program that runs; killed if the test fails before its end.
pub struct Running(Option<Child>);

impl Running {
    pub fn start(command: &mut Command) -> Running {
        Running(Some(command.spawn().unwrap()))
    }

    pub fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Closes the reading ends of standard output and standard error, as a terminal that goes away does.
    pub fn close_output(&mut self) {
        let child = self.0.as_mut().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
    }

    pub fn wait(mut self) -> Ended {
        let Output { status, stdout, stderr } = self.0.take().unwrap().wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits for something to become true.
#[track_caller]
pub fn until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < within, "waited {within:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Processes whose command line, with the path of the file that they log to, holds all of these words.
#[cfg(target_os = "linux")]
pub fn processes(words: &[&str]) -> Vec<u32> {
    let commands = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let entry = entry.ok()?;
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut command = std::fs::read(entry.path().join("cmdline")).ok()?;
        let log = std::fs::read_link(entry.path().join("fd/2")).unwrap_or_default();
        command.extend(log.as_os_str().as_encoded_bytes());
        Some((pid, command))
    });
    commands
        .filter(|(_, command)| {
            let command = String::from_utf8_lossy(command).replace('\0', " ");
            words.iter().all(|word| command.contains(word))
        })
        .map(|(pid, _)| pid)
        .collect()
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
