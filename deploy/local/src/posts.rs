//! Who takes part in a run on this machine, and with which words each is started.

use std::path::PathBuf;

use crate::children::Post;
use crate::cli::Options;
use crate::folder::Folder;

/// Where servers listen: this machine alone, at ports that the system chooses.
const LISTEN: &str = "127.0.0.1:0";

/// Makes the posts of a run.
pub struct Posts<'a> {
    /// This executable.
    pub program: PathBuf,
    pub options: &'a Options,
    pub folder: &'a Folder,
    /// Compute threads of each worker.
    pub threads: usize,
}

impl Posts<'_> {
    /// The server process that also coordinates; it decides on its address and tells it.
    pub fn coordinator(&self) -> Post {
        let mut words = self.server_words();
        words.extend(["--servers".into(), self.options.shards.to_string()]);
        words.extend(["--metrics".into(), self.folder.metrics().display().to_string()]);
        words.extend(["--default-recipe".into(), self.options.default_recipe().into()]);
        words.extend(self.options.run.to_words());
        self.post("server-0", words)
    }

    /// The other server processes.
    pub fn servers(&self, coordinator: &str) -> Vec<Post> {
        (1..self.options.shards)
            .map(|number| {
                let mut words = self.server_words();
                words.extend(["--coordinator".into(), coordinator.into()]);
                self.post(&format!("server-{number}"), words)
            })
            .collect()
    }

    /// The workers.
    pub fn workers(&self, coordinator: &str) -> Vec<Post> {
        (0..self.options.workers)
            .map(|number| {
                let mut words: Vec<String> = vec!["role".into(), "worker".into(), "train".into()];
                words.extend(["--coordinator".into(), coordinator.into()]);
                if let Some(data) = &self.options.data {
                    words.extend(["--data".into(), data.display().to_string()]);
                }
                words.extend(["--threads".into(), self.threads.to_string()]);
                words.extend(["--output".into(), self.folder.path().display().to_string()]);
                self.post(&format!("worker-{number}"), words)
            })
            .collect()
    }

    fn server_words(&self) -> Vec<String> {
        let mut words: Vec<String> =
            ["role", "parameter-server", "--listen", LISTEN, "--print-address", "--shards", "1"]
                .map(String::from)
                .into();
        words.extend(["--snapshots".into(), self.folder.snapshots().display().to_string()]);
        words
    }

    fn post(&self, name: &str, mut words: Vec<String>) -> Post {
        if let Some(isa) = &self.options.isa {
            words.extend(["--isa".into(), isa.clone()]);
        }
        if self.options.logs.log_json {
            words.push("--log-json".into());
        }
        words.push("--end-with-stdin".into());
        Post { name: name.into(), program: self.program.clone(), arguments: words, logs: self.folder.logs() }
    }
}
