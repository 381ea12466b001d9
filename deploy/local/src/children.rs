//! Child processes, which run this program again in a role.
//!
//! A child has a process group of its own, so that a Ctrl-C in the terminal reaches only the launcher. It
//! ends when its standard input does: the launcher holds that open and closes it to ask for a stop, and the
//! system closes it if the launcher dies. What a child writes to standard error goes straight into its log
//! file, whether or not the launcher lives.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::time::Instant;

use access::Token;
use process::TOKEN_VARIABLE;
use tokio::sync::oneshot;

/// Number of bytes at the end of a log that are searched for the message of a failure.
const LOG_END: u64 = 16 * 1024;
/// Largest number of bytes of a log that are read at once; the rest is read the next time.
const MOST_NEWS: u64 = 1 << 20;
/// Number of lines at the end of a log that are shown if it holds no message of a failure.
const LINES_SHOWN: usize = 10;

/// The command line of a child process, with which it is started, and restarted after it has died.
#[derive(Clone, Debug)]
pub struct ChildCommand {
    /// Name of the child in messages, and of its log file without the extension, such as "worker-0".
    pub name: String,
    /// Path of the executable.
    pub program: PathBuf,
    /// Arguments of the command line, without the executable.
    pub arguments: Vec<String>,
    /// Folder in which the child's log file lies.
    pub logs: PathBuf,
    /// The token by which the server lets the child in, which gets it by its environment; `None` for the
    /// server's first process, which makes none of the calls.
    pub token: Option<Token>,
}

impl ChildCommand {
    /// Starts the child process; what it writes to standard error is appended to its log file.
    ///
    /// # Errors
    /// If the log file cannot be opened or the process cannot be started.
    pub fn start(&self) -> io::Result<Child> {
        let (log, mut file) = self.log()?;
        let begins = file.seek(SeekFrom::End(0))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        match &self.token {
            Some(token) => command.env(TOKEN_VARIABLE, token.reveal()),
            None => command.env_remove(TOKEN_VARIABLE),
        };
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = command.spawn()?;
        let stdin = process.stdin.take();
        let first_line = process.stdout.take().map(first_line);
        Ok(Child { process, stdin, first_line, log, begins, read: begins, started: Instant::now() })
    }

    /// Makes a server that is started from now on listen at `address`, in place of a port that the system
    /// chooses.
    pub fn listen_at(&mut self, address: &str) {
        if let Some(flag) = self.arguments.iter().position(|word| word == "--listen") {
            self.arguments[flag + 1] = address.into();
        }
    }

    /// Returns the path of the child's log file.
    pub fn log_file(&self) -> PathBuf {
        self.logs.join(format!("{}.log", self.name))
    }

    /// Opens the child's log file for appending; returns its path and the file.
    fn log(&self) -> io::Result<(PathBuf, File)> {
        std::fs::create_dir_all(&self.logs)?;
        let path = self.log_file();
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok((path, file))
    }
}

/// Reads a child's standard output to its end, so that the child never blocks on it, and sends its first line
/// to the receiver.
fn first_line(output: impl Read + Send + 'static) -> oneshot::Receiver<String> {
    let (send, receive) = oneshot::channel();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        if output.read_line(&mut line).is_ok_and(|length| length > 0) {
            let _ = send.send(line.trim().to_string());
        }
        let _ = io::copy(&mut output, &mut io::sink());
    });
    receive
}

/// A child process that has been started.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    first_line: Option<oneshot::Receiver<String>>,
    log: PathBuf,
    /// Position in the log file, in bytes, at which this process began to write.
    begins: u64,
    /// Position in the log file, in bytes, up to which [`Child::news`] has read.
    read: u64,
    started: Instant,
}

impl Child {
    /// Returns a receiver of the first line of the child's standard output on the first call, `None`
    /// afterwards.
    pub fn first_line(&mut self) -> Option<oneshot::Receiver<String>> {
        self.first_line.take()
    }

    /// Returns the first line of the child's standard output, which of a server is its address, if it has come
    /// and nobody has asked for it before.
    pub fn known_address(&mut self) -> Option<String> {
        self.first_line.as_mut()?.try_recv().ok()
    }

    /// Asks the process to stop, by closing its standard input.
    pub fn ask_to_stop(&mut self) {
        self.stdin = None;
    }

    /// Kills the process and waits until it has ended.
    pub fn kill(&mut self) {
        // Already gone is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Returns the status with which the process ended, or `None` while it runs.
    ///
    /// # Errors
    /// If the operating system cannot tell whether the process runs.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Returns the time at which the process was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Returns the whole lines that were added to the child's log since the previous call.
    pub fn news(&mut self) -> Vec<String> {
        let Ok(text) = read_from(&self.log, self.read) else { return Vec::new() };
        // A line that is longer than all that is taken in at once is told in pieces.
        let rest = if text.len() as u64 == MOST_NEWS { text.len() } else { 0 };
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(rest, |end| end + 1);
        self.read += whole as u64;
        String::from_utf8_lossy(&text[..whole]).lines().map(str::to_string).collect()
    }

    /// Returns the cause for which this process says that it failed; `None` if it says none.
    pub fn cause(&self) -> Option<String> {
        let end = self.log_end();
        let causes = ["failed to train: ", "failed to serve: "];
        causes.iter().find_map(|beginning| end.strip_prefix(beginning)).map(str::to_string)
    }

    /// Returns the end of what this process logged: from the message of its failure on, or, if there is none,
    /// the last lines.
    pub fn log_end(&self) -> String {
        let length = std::fs::metadata(&self.log).map_or(0, |found| found.len());
        let from = self.begins.max(length.saturating_sub(LOG_END));
        let text = read_from(&self.log, from).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let account = lines.iter().rposition(|line| {
            ["failed to ", "failed by ", "error: "].iter().any(|beginning| line.starts_with(beginning))
        });
        lines[account.unwrap_or(lines.len().saturating_sub(LINES_SHOWN))..].join("\n")
    }
}

fn read_from(path: &Path, position: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(position))?;
    let mut bytes = Vec::new();
    file.take(MOST_NEWS).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns a text that says how a process ended, such as "exit code 3" or "signal: 9 (SIGKILL)".
pub fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::time::Duration;

    fn shell(folder: &Path, script: &str) -> ChildCommand {
        ChildCommand {
            name: "worker-0".into(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            logs: folder.join("logs"),
            token: None,
        }
    }

    fn wait(child: &mut Child) -> ExitStatus {
        for _ in 0..500 {
            if let Some(status) = child.ended().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the child is still running after five seconds");
    }

    #[test]
    fn its_address_its_news_and_its_last_words_reach_us() {
        let home = tempfile::tempdir().unwrap();
        let command = shell(
            home.path(),
            "echo 127.0.0.1:7; echo one >&2; echo 'failed to x: y' >&2; echo z >&2; exit 3",
        );
        for _ in 0..2 {
            let mut child = command.start().unwrap();
            assert_eq!(child.first_line().unwrap().blocking_recv().unwrap(), "127.0.0.1:7");
            assert_eq!(wait(&mut child).code(), Some(3));
            assert_eq!(child.news(), ["one", "failed to x: y", "z"]);
            assert_eq!(child.news(), Vec::<String>::new());
            assert_eq!(child.log_end(), "failed to x: y\nz");
        }
        let log = std::fs::read_to_string(home.path().join("logs/worker-0.log")).unwrap();
        assert_eq!(log.lines().count(), 6, "the second start appends");
    }

    #[test]
    fn a_log_of_any_length_is_told_piece_by_piece() {
        let home = tempfile::tempdir().unwrap();
        let command =
            shell(home.path(), "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo end >&2");
        let mut child = command.start().unwrap();
        wait(&mut child);
        let pieces: Vec<Vec<String>> = (0..5).map(|_| child.news()).collect();
        assert!(pieces.iter().flatten().all(|line| line.len() as u64 <= MOST_NEWS));
        assert_eq!(pieces.concat().concat().len(), 3_000_000 + "end".len());
        assert_eq!((pieces[2].last().map(String::as_str), &pieces[4][..]), (Some("end"), &[][..]));
    }

    #[test]
    fn without_an_account_the_last_lines_are_its_words() {
        let home = tempfile::tempdir().unwrap();
        let mut child =
            shell(home.path(), "for i in $(seq 30); do echo line $i >&2; done; exit 1").start().unwrap();
        wait(&mut child);
        assert!(child.log_end().starts_with("line 21\n") && child.log_end().ends_with("line 30"));
    }

    #[test]
    fn it_ends_with_its_input_and_can_be_killed() {
        let home = tempfile::tempdir().unwrap();
        let mut child = shell(home.path(), "cat >/dev/null; exit 7").start().unwrap();
        assert!(child.ended().unwrap().is_none());
        child.ask_to_stop();
        assert_eq!(describe(wait(&mut child)), "exit code 7");
        let mut child = shell(home.path(), "sleep 60").start().unwrap();
        child.kill();
        assert!(describe(child.ended().unwrap().unwrap()).contains("signal"));
    }
}
