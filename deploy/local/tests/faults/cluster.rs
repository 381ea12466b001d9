//! A run of real processes on loopback: started, killed, started again.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use parameter_server::snapshot::{self, Manifest};

/// Longest wait: a run that takes as long hangs.
const LONGEST: Duration = Duration::from_secs(120);

/// The processes of a run.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Server processes, of one shard each.
    pub servers: usize,
    pub workers: usize,
    /// Length of the run in images.
    pub images: u64,
    pub seed: u64,
}

/// The processes of a run; killed with it. The leader is the first, the other server processes follow, then
/// the workers.
pub struct Cluster {
    home: tempfile::TempDir,
    data: PathBuf,
    shape: Shape,
    ports: Vec<u16>,
    children: Vec<Option<Child>>,
    /// Length of each process's log when the process was last started.
    logged: Vec<usize>,
}

impl Cluster {
    /// Starts everybody, on the set in folder `data`.
    pub fn start(shape: Shape, data: &Path) -> Cluster {
        let home = tempfile::tempdir().unwrap();
        // Held until all are known, so that they differ.
        let listeners: Vec<TcpListener> =
            (0..shape.servers).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        let children: Vec<Option<Child>> = (0..shape.servers + shape.workers).map(|_| None).collect();
        drop(listeners);
        let logged = vec![0; children.len()];
        let mut cluster = Cluster { home, data: data.to_owned(), shape, ports, children, logged };
        (0..cluster.children.len()).for_each(|process| cluster.spawn(process));
        cluster
    }

    /// Starts one process (again).
    pub fn spawn(&mut self, process: usize) {
        let coordinator = format!("127.0.0.1:{}", self.ports[0]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_downpour"));
        command.env_remove("RUST_LOG").env_remove("DOWNPOUR_ISA").env_remove("DOWNPOUR_TOKEN").arg("role");
        match self.ports.get(process) {
            Some(port) => {
                command.args(["parameter-server", "--listen", &format!("127.0.0.1:{port}"), "--snapshots"]);
                command.arg(self.snapshots());
                if process == 0 {
                    let Shape { servers, images, seed, .. } = self.shape;
                    let words = format!(
                        "--servers {servers} --lease-time 3 --snapshot-interval 1 --recipe quick --input-size 32 \
                         --width 0.05 --batch 8 --learning-rate 0.002 --images {images} --seed {seed}"
                    );
                    command.args(words.split(' '));
                } else {
                    command.args(["--coordinator", &coordinator, "--token-file"]).arg(self.token("server"));
                }
            }
            None => {
                command.args(["worker", "train", "--coordinator", &coordinator, "--threads", "1", "--data"]);
                command.arg(&self.data).arg("--token-file").arg(self.token("worker"));
            }
        }
        self.logged[process] = self.log(process).len();
        let log = File::options().append(true).create(true).open(self.log_file(process)).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.children[process] = Some(command.spawn().unwrap());
    }

    /// Kills one process, which has no say in it.
    pub fn kill(&mut self, process: usize) {
        if let Some(mut child) = self.children[process].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Returns whether a process is there and did not end.
    pub fn runs(&mut self, process: usize) -> bool {
        self.children[process].is_some() && self.ended(process).is_none()
    }

    /// Returns how a process that is there ended, if it did.
    pub fn ended(&mut self, process: usize) -> Option<ExitStatus> {
        self.children[process].as_mut()?.try_wait().unwrap()
    }

    /// Returns whether a process surely listens to signals: it does so behind the line by which it introduces
    /// itself, and has written more than that since it was last started.
    pub fn listens(&self, process: usize) -> bool {
        self.log(process)[self.logged[process]..].lines().count() > 1
    }

    /// Sends a signal to one process, if it runs.
    pub fn signal(&mut self, process: usize, name: &str) {
        if self.runs(process) {
            let id = self.children[process].as_ref().unwrap().id().to_string();
            // It may end at this moment: until it is waited for, its number is nobody else's.
            Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        }
    }

    /// Waits for the leader's end.
    pub fn wait(&mut self) -> Result<Manifest, String> {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.ended(0) {
                break status;
            }
            self.pause(begun)?;
        };
        if !status.success() {
            return Err(format!("the leader ended with {status}\n{}", self.logs()));
        }
        self.finished()
    }

    /// Waits for a moment in a run that goes on since `begun`.
    pub fn pause(&self, begun: Instant) -> Result<(), String> {
        if begun.elapsed() > LONGEST {
            return Err(format!("the run hangs\n{}", self.logs()));
        }
        std::thread::sleep(Duration::from_millis(5));
        Ok(())
    }

    /// The last snapshot of a run that is complete.
    pub fn finished(&self) -> Result<Manifest, String> {
        match snapshot::newest(&self.snapshots()) {
            Ok(Some(manifest)) if manifest.finished() => Ok(manifest),
            _ => Err(format!("the newest snapshot is not that of the end\n{}", self.logs())),
        }
    }

    /// Folder of the server's snapshots.
    pub fn snapshots(&self) -> PathBuf {
        self.home.path().join("snapshots")
    }

    /// File of a role's token, which the leader makes.
    fn token(&self, role: &str) -> PathBuf {
        self.snapshots().join("access").join(role).join("token")
    }

    /// Returns the ends of all processes' logs.
    pub fn logs(&self) -> String {
        let end = |process| {
            let text = self.log(process);
            let lines: Vec<&str> = text.lines().collect();
            format!("-- process {process}\n{}\n", lines[lines.len().saturating_sub(25)..].join("\n"))
        };
        (0..self.children.len()).map(end).collect()
    }

    fn log(&self, process: usize) -> String {
        fs::read_to_string(self.log_file(process)).unwrap_or_default()
    }

    fn log_file(&self, process: usize) -> PathBuf {
        self.home.path().join(format!("{process}.log"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.children.len()).for_each(|process| self.kill(process));
    }
}

/// The newest snapshot that has a manifest.
pub fn newest_complete(snapshots: &Path) -> Option<u64> {
    let names = fs::read_dir(snapshots).ok()?.flatten();
    let complete = names.filter(|entry| entry.path().join("manifest.json").exists());
    complete.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).max()
}
