//! Snapshots that cannot be used or written: the server says why, loses nothing, and continues or can be
//! started again.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::common::{Process, Worker, flags, layout, options, until};
use parameter_server::{Options, shard::file as shard_file, snapshot};
use parameters::{assign, checkpoint::Checkpoint};
use process::{Exit, RunFlags};
use protocol::{
    CoordinatorCalls as _, CoordinatorClient, Ending, JoinRequest, PROTOCOL_VERSION, Patience,
    RegisterRequest,
};

/// Far more than any step here takes on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server program as a process of its own, with its log.
struct Server {
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts `program` with a run that takes a snapshot every second.
    fn start(mut program: Command, snapshots: &Path) -> Server {
        program.args([
            "--recipe",
            "quick",
            "--epochs",
            "1000000",
            "--batch",
            "10",
            "--learning-rate",
            "0.001",
        ]);
        program.args(["--listen", "127.0.0.1:0", "--shards", "2", "--snapshot-interval", "1"]);
        program.arg("--snapshots").arg(snapshots).args(["--print-address", "--end-with-stdin"]);
        // What is in the folder is what matters here.
        program.arg("--insecure");
        program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_remove("DOWNPOUR_ISA");
        let mut child = program.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (reader, lines) = (BufReader::new(child.stderr.take().unwrap()), log.clone());
        thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                let mut log = lines.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Server { child, address: address.trim().into(), log }
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until a line of the log, after its first `from` bytes, contains all the texts; returns the length of
    /// the log at that moment.
    async fn says(&self, from: usize, texts: &[&str]) -> usize {
        let begun = Instant::now();
        loop {
            let log = self.log();
            if log[from..].lines().any(|line| texts.iter().all(|text| line.contains(text))) {
                return log.len();
            }
            assert!(begun.elapsed() < PATIENCE, "{texts:?} is missing in {}", &log[from..]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks the program to stop and returns its exit code.
    fn stop(mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_parameter-server"))
}

/// A run that was interrupted after some minibatches, and so has one snapshot.
async fn interrupted(folder: &Path) {
    let mut server = Process::start(options(folder)).await;
    let mut worker = Worker::join(&server.address, "worker").await;
    worker.pause = Duration::from_millis(5);
    let address = server.address.clone();
    let working = tokio::spawn(async move { worker.work().await });
    until(&address, |status| status.samples >= 20).await;
    server.stop();
    assert_eq!(working.await.unwrap(), Ending::Interrupted);
    assert_eq!(server.end().await.unwrap(), Exit::Interrupted);
}

async fn refused(options: Options) -> String {
    format!("{:#}", Process::start(options).await.end().await.unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_usable_snapshot_nothing_is_begun_or_removed() {
    let home = tempfile::tempdir().unwrap();
    interrupted(home.path()).await;
    let file = shard_file::path(home.path(), 1, 1);
    let whole = fs::read(&file).unwrap();
    for length in [0, 7, 8, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        let text = refused(options(home.path())).await;
        let start = format!(
            "no snapshot in {} can be used, the newest that was finished is 1: {} is damaged: expected sha-256 ",
            home.path().display(),
            file.display()
        );
        assert!(text.starts_with(&start) && text.contains(", found "), "{text}");
        let end = "; put its files back as they were, or --fresh to start anew (it removes the snapshots)";
        assert!(text.ends_with(end), "{text}");
        assert_eq!(fs::read(&file).unwrap(), whole[..length], "it was left alone");
    }
    fs::write(&file, &whole).unwrap();
    let mut resumed = Process::start(options(home.path())).await;
    assert!(until(&resumed.address, |_| true).await.samples >= 20);
    resumed.stop();
    assert_eq!(resumed.end().await.unwrap(), Exit::Interrupted);
}

/// Releases that did not bound gradients could write such snapshots, whole and with the right hashes.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_with_values_that_are_not_finite_is_refused_by_tensor() {
    let home = tempfile::tempdir().unwrap();
    interrupted(home.path()).await;
    let (block, name) = (2, "a/bias");
    let shard = assign(&layout(), 2)[block];
    let (file, manifest) = (shard_file::path(home.path(), 1, shard), home.path().join("1/manifest.json"));
    let hash = |file: &Path| -> String { files::Digest::of_file(file).unwrap().to_string() };
    let before = hash(&file);
    let mut checkpoint = Checkpoint::read(&file).unwrap();
    let values = checkpoint.tensors.get_mut(&format!("parameters/{block}")).unwrap();
    values.iter_mut().skip(12).take(3).for_each(|value| *value = f32::NAN);
    checkpoint.write(&file).unwrap();
    let text = fs::read_to_string(&manifest).unwrap();
    assert!(text.contains(&before));
    fs::write(&manifest, text.replace(&before, &hash(&file))).unwrap();

    let text = refused(options(home.path())).await;
    let expected = format!(
        "go on from snapshot 1 (--fresh at the leader starts anew): restore shard {shard}: {}: tensor {name} (parameters \
         of block {block}) holds 3 values that are not finite (NaN or infinite), the first at 12: NaN; training diverged \
         before it was written: remove {} to go on from the snapshot before, or start anew with --fresh",
        file.display(),
        home.path().join("1").display()
    );
    assert_eq!(text, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_network_or_shard_count_is_refused_and_kept() {
    let home = tempfile::tempdir().unwrap();
    interrupted(home.path()).await;
    let manifest = fs::read(home.path().join("1/manifest.json")).unwrap();
    let wider = RunFlags { width: Some(0.75), ..flags() };
    let text = refused(Options { flags: wider, ..options(home.path()) }).await;
    let start = format!(
        "resume from snapshot 1 in {}: the snapshot is of another run: network.width is ",
        home.path().display()
    );
    assert!(
        text.starts_with(&start) && text.contains(" there, and 0.75 is asked for; give the same"),
        "{text}"
    );
    for (shards, processes, total) in [(1, 1, 1), (2, 2, 4)] {
        let text = refused(Options { shards, processes, ..options(home.path()) }).await;
        let expected = format!(
            "snapshot 1 in {} was written by 2 shards, this server has {total}: give --shards and --servers that make \
             2, or --fresh to start anew",
            home.path().display()
        );
        assert_eq!(text, expected);
    }
    assert_eq!(fs::read(home.path().join("1/manifest.json")).unwrap(), manifest);
}

/// The leader cannot look into the folder of a process on another machine; that one is told what it should
/// find there.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_process_with_another_file_than_the_manifest_names_refuses_it() {
    let home = tempfile::tempdir().unwrap();
    let [here, there] = ["here", "there"].map(|name| home.path().join(name));
    let leading = Options { processes: 2, ..options(&here) };
    let mut leader = Process::start(leading.clone()).await;
    let following =
        |leader: &Process| Options { coordinator: Some(leader.address.clone()), ..options(&there) };
    let mut follower = Process::start(following(&leader)).await;
    let address = leader.address.clone();
    let mut worker = Worker::join(&address, "worker").await;
    worker.pause = Duration::from_millis(5);
    let working = tokio::spawn(async move { worker.work().await });
    until(&address, |status| status.samples >= 20).await;
    leader.stop();
    working.await.unwrap();
    assert_eq!(leader.end().await.unwrap(), Exit::Interrupted);
    follower.stop();
    follower.end().await.unwrap();

    let file = shard_file::path(&there, 1, 3);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    let mut resumed = Process::start(leading).await;
    let text = refused(following(&resumed)).await;
    let start = format!(
        "go on from snapshot 1 (--fresh at the leader starts anew): {} is damaged: expected sha-256 ",
        file.display()
    );
    assert!(text.starts_with(&start), "{text}");
    assert_eq!(fs::read(&file).unwrap(), bytes, "it was left alone");
    resumed.stop();
    assert_eq!(resumed.end().await.unwrap(), Exit::Interrupted);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_version_is_refused_over_the_wire() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Process::start(options(home.path())).await;
    let client = CoordinatorClient::connect(&server.address, Patience::default()).await.unwrap();
    let protocol = PROTOCOL_VERSION + 1;
    let expected = |who: &str| {
        format!(
            "protocol version: expected {PROTOCOL_VERSION}, found {protocol}; start the {who} from the server's release"
        )
    };
    let request = JoinRequest { protocol, name: "newer".into(), data: crate::common::data() };
    let text = client.join(request).await.unwrap_err().to_string();
    assert!(text.contains(&expected("worker")), "{text}");
    let request = RegisterRequest {
        protocol,
        address: "b:1".into(),
        shards: 2,
        holds: None,
        files: None,
        stopping: false,
    };
    let text = client.register(request).await.unwrap_err().to_string();
    assert!(text.contains(&expected("shard process")), "{text}");
    server.stop();
    assert_eq!(server.end().await.unwrap(), Exit::Interrupted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_use_is_refused_and_a_killed_process_leaves_it_free() {
    let home = tempfile::tempdir().unwrap();
    let mut first = Server::start(program(), home.path());
    first.says(0, &["listening on"]).await;
    // It listens before it has the folder; whoever asks is answered by a server that has it.
    until(&first.address, |_| true).await;
    let mut second = Server::start(program(), home.path());
    assert_eq!(second.child.wait().unwrap().code(), Some(3));
    let text = format!(
        "failed to serve: snapshot folder {} is used by another process; stop that one, or give another --snapshots",
        home.path().display()
    );
    second.says(0, &[&text]).await;
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let third = Server::start(program(), home.path());
    until(&third.address, |_| true).await;
    assert_eq!(third.stop(), Some(130));
}

/// The numbers of the snapshots go on: shards refuse one that they have had.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_removed_under_a_run_gets_the_next_snapshot() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("snapshots");
    let server = Server::start(program(), &folder);
    let mut worker = Worker::join(&server.address, "worker").await;
    worker.pause = Duration::from_millis(50);
    let working = tokio::spawn(async move { worker.work().await });
    let before = server.says(0, &["snapshot 2 after ", " samples took"]).await;
    fs::remove_dir_all(&folder).unwrap();
    server.says(before, &["was removed or replaced while the server runs"]).await;
    server.says(before, &["snapshot 3 after ", " samples took"]).await;
    assert_eq!(server.stop(), Some(130));
    assert_eq!(working.await.unwrap(), Ending::Interrupted);
    assert!(snapshot::newest(&folder).unwrap().expect("the last one").id >= 3);
}

/// A limit on the size of files stands in for a full disk: a write fails in the middle, as it does there, and
/// needs neither a user's rights nor a file system of its own.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_the_snapshot_and_not_the_run() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        eprintln!("a_full_disk_costs_the_snapshot_and_not_the_run: skipped: no prlimit (util-linux) here");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    // A write beyond the limit is to fail, not to end the process by its signal.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_parameter-server")]);
    let server = Server::start(shell, home.path());
    let limit = |bytes: &str| {
        let process = server.child.id().to_string();
        let status = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={bytes}:")]).status();
        assert!(status.unwrap().success());
    };
    let mut worker = Worker::join(&server.address, "worker").await;
    worker.pause = Duration::from_millis(50);
    let working = tokio::spawn(async move { worker.work().await });
    let before = server.says(0, &["snapshot ", " after ", " samples took"]).await;

    limit("100000");
    let full = server
        .says(
            before,
            &["WARN", "could not be taken, the one before stays valid", "shard-0.safetensors", "too large"],
        )
        .await;
    let samples = until(&server.address, |_| true).await.samples;
    until(&server.address, |status| status.samples > samples + 20).await;
    let kept = snapshot::newest(home.path()).unwrap().expect("the one before");

    limit("unlimited");
    // The failed snapshots left nothing behind; otherwise this one would have a higher number.
    server.says(full, &[&format!("snapshot {} after ", kept.id + 1)]).await;
    let next = snapshot::newest(home.path()).unwrap().expect("a new one");
    assert!(next.run.progress.used > kept.run.progress.used);

    // A disk that is full at the stop as well: the last word is of what is kept, not of what was done.
    limit("100000");
    let samples = until(&server.address, |_| true).await.samples;
    until(&server.address, |status| status.samples > samples + 20).await;
    let newest = snapshot::newest(home.path()).unwrap().expect("one is there");
    let log = server.log.clone();
    assert_eq!(server.stop(), Some(130));
    assert_eq!(working.await.unwrap(), Ending::Interrupted);
    let kept = format!("of which the newest snapshot has {}: ", newest.run.progress.used);
    let begun = Instant::now();
    while !log.lock().unwrap().contains(&kept) {
        assert!(begun.elapsed() < PATIENCE, "{}", log.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
