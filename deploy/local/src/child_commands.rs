//! The commands that start the servers and workers of a run on this machine as child processes.

use std::path::{Path, PathBuf};

use access::{AccessError, Folder as AccessFolder, Role, Token};
use process::logs::LogFlags;

use crate::children::ChildCommand;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::options::Options;
use crate::own_address::OwnAddress;

/// Address at which servers listen: reachable from this machine only, at a port that the system chooses.
const LISTEN: &str = "127.0.0.1:0";

/// A builder of the commands with which this program starts the servers and workers of a run as child
/// processes.
pub struct ChildCommands<'a> {
    pub program: Program,
    pub options: &'a Options,
    pub folder: &'a Folder,
    /// Command-line arguments for the coordinator, the first server process, that hold the run's settings.
    pub run: Vec<String>,
    /// Number of compute threads of each worker.
    pub threads: usize,
    /// The tokens of the run's processes.
    pub tokens: Tokens,
    /// Path of the model file whose parameters the run starts from; `None` if it starts from random ones.
    pub init_from: Option<String>,
}

/// This program as its child processes run it.
pub struct Program {
    /// Path of the executable.
    executable: PathBuf,
    /// Name of the instruction set of the kernels; `None` leaves it to the child process.
    isa: Option<String>,
    /// Form of the logs: true for JSON.
    log_json: bool,
    /// Folder of the child processes' log files.
    logs: PathBuf,
}

impl Program {
    /// Returns the program of this process, whose children write logs into the folder `logs`.
    ///
    /// # Errors
    /// If the system does not tell where the executable is.
    pub fn this(isa: Option<String>, flags: &LogFlags, logs: &Path) -> Result<Program, Failure> {
        let executable = std::env::current_exe()
            .map_err(|error| Failure::broken(format!("cannot find this executable: {error}")))?;
        Ok(Program { executable, isa, log_json: flags.log_json, logs: logs.into() })
    }

    /// Returns the command of a child process with a name in messages, the words of its part, and the token by which
    /// the run lets it in.
    pub fn command(&self, name: &str, mut words: Vec<String>, token: Option<&Token>) -> ChildCommand {
        if let Some(isa) = &self.isa {
            words.extend(["--isa".into(), isa.clone()]);
        }
        if self.log_json {
            words.push("--log-json".into());
        }
        words.push("--end-with-stdin".into());
        ChildCommand {
            name: name.into(),
            program: self.executable.clone(),
            arguments: words,
            logs: self.logs.clone(),
            token: token.cloned(),
        }
    }
}

/// Returns the command line of a worker that joins the run at `coordinator`, whose pictures were looked at before.
pub fn worker_words(
    coordinator: &str,
    data: Option<&Path>,
    data_patience: u64,
    threads: usize,
    name: &str,
) -> Vec<String> {
    let mut words: Vec<String> = vec!["role".into(), "worker".into(), "train".into()];
    words.extend(["--coordinator".into(), coordinator.into()]);
    if let Some(data) = data {
        words.extend(["--data".into(), data.display().to_string()]);
        words.extend(["--data-patience".into(), data_patience.to_string()]);
        words.push("--looked-at".into());
    }
    words.extend(["--threads".into(), threads.to_string()]);
    words.extend(["--name".into(), name.into()]);
    words
}

/// The tokens that the launcher hands on, and its own.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The token of every worker process.
    pub worker: Token,
    /// The token of every server process but the first.
    pub server: Token,
    /// The token by which the launcher itself looks at the run.
    pub reader: Token,
}

impl Tokens {
    /// Reads the tokens in the run's folder, and makes them if there are none.
    ///
    /// # Errors
    /// If they cannot be made, or not be read.
    pub fn of(folder: &Folder) -> Result<Tokens, AccessError> {
        let access = AccessFolder::open_or_make(&folder.access())?;
        let [worker, server, reader] =
            [Role::Worker, Role::Server, Role::Reader].map(|role| access.token(role));
        Ok(Tokens { worker: worker?, server: server?, reader: reader? })
    }
}

impl ChildCommands<'_> {
    /// Returns the command of the first server process, which is also the run's coordinator: it assigns the
    /// images to the workers. It listens on a port that the system chooses, and prints its address.
    pub fn coordinator(&self) -> ChildCommand {
        let mut words = self.server_words(0);
        words.extend(["--access".into(), self.folder.access().display().to_string()]);
        words.extend(["--servers".into(), (self.options.shards + self.options.other_shards).to_string()]);
        words.extend(["--metrics".into(), self.folder.metrics().display().to_string()]);
        if self.options.tensorboard {
            let numbers = self.folder.tensorboard().join("numbers");
            words.extend(["--tensorboard".into(), numbers.display().to_string()]);
        }
        if let Some(address) = &self.options.http {
            words.extend(["--http".into(), address.clone()]);
        }
        // The workers of this machine have the pictures themselves.
        if let (Some(data), Some(_)) = (&self.options.data, &self.options.advertise) {
            words.extend(["--data".into(), data.display().to_string()]);
        }
        words.extend(["--output".into(), self.folder.path().display().to_string()]);
        words.extend(["--default-recipe".into(), self.options.default_recipe().into()]);
        words.extend(self.run.iter().cloned());
        self.program.command("server-0", words, None)
    }

    /// Returns the commands of all server processes but the first, which is the run's coordinator and has the
    /// address `coordinator` ("host:port").
    pub fn servers(&self, coordinator: &str) -> Vec<ChildCommand> {
        (1..self.options.shards)
            .map(|number| {
                let mut words = self.server_words(number);
                words.extend(["--coordinator".into(), coordinator.into()]);
                if let Some(file) = &self.init_from {
                    words.extend(["--init-from".into(), file.clone()]);
                }
                self.program.command(&format!("server-{number}"), words, Some(&self.tokens.server))
            })
            .collect()
    }

    /// Returns the commands of the worker processes. `coordinator` is the address ("host:port") of the run's
    /// coordinator, the first server process.
    pub fn workers(&self, coordinator: &str) -> Vec<ChildCommand> {
        (0..self.options.workers)
            .map(|number| {
                let name = format!("worker-{number}");
                let (data, patience) = (self.options.data.as_deref(), self.options.data_patience);
                let mut words = worker_words(coordinator, data, patience, self.threads, &name);
                if self.options.pin {
                    words.extend(["--pin".into(), (usize::from(number) * self.threads).to_string()]);
                }
                self.program.command(&name, words, Some(&self.tokens.worker))
            })
            .collect()
    }

    fn server_words(&self, number: u16) -> Vec<String> {
        let mut words: Vec<String> =
            ["role", "parameter-server", "--print-address", "--shards", "1"].map(String::from).into();
        let own = self.options.advertise.as_ref().map(|first| first.process(number).expect("checked"));
        words.extend(["--listen".into(), own.as_ref().map_or(LISTEN.into(), OwnAddress::listen)]);
        if let Some(own) = own {
            words.extend(["--advertise".into(), own.to_string()]);
        }
        words.extend(["--snapshots".into(), self.folder.snapshots().display().to_string()]);
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, CommandLine, Role};
    use crate::server_role;
    use clap::Parser;

    fn role(command: &ChildCommand) -> Role {
        let words = std::iter::once("downpour").chain(command.arguments.iter().map(String::as_str));
        match CommandLine::try_parse_from(words).unwrap().command {
            Some(Command::Role(role)) => role,
            _ => panic!("no role in {:?}", command.arguments),
        }
    }

    #[test]
    fn every_child_understands_its_words() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        let words = "downpour --data d --workers 3 --shards 2 --batch 8 --isa avx2 --pin --log-json --http 127.0.0.1:9100 \
                     --advertise h:7070";
        let options = CommandLine::parse_from(words.split(' ')).options;
        let commands = ChildCommands {
            program: Program::this(options.isa.clone(), &options.logs, &folder.logs()).unwrap(),
            options: &options,
            folder: &folder,
            run: options.run.to_words().unwrap(),
            threads: 5,
            tokens: Tokens::of(&folder).unwrap(),
            init_from: None,
        };

        let Role::ParameterServer(server_role::ServerFlags { server: flags, data }) =
            role(&commands.coordinator())
        else {
            panic!("not a server")
        };
        assert_eq!(data, Some("d".into()), "lent to other machines");
        assert_eq!((flags.shards, flags.servers), (1, 2));
        assert_eq!(flags.run.resolve("paper").unwrap().run.batch, 8);
        assert_eq!((flags.coordinator, flags.default_recipe.as_str()), (None, "paper"));
        assert_eq!(flags.http.as_deref(), Some("127.0.0.1:9100"));
        assert_eq!((flags.snapshots, flags.metrics), (folder.snapshots(), Some(folder.metrics())));
        assert_eq!(flags.output.as_deref(), Some(folder.path()));
        assert!(flags.end_with_stdin && flags.print_address && flags.log.log_json);

        let others = commands.servers("h:1");
        assert_eq!(others.len(), 1);
        let Role::ParameterServer(server_role::ServerFlags { server: flags, .. }) = role(&others[0]) else {
            panic!("not a server")
        };
        assert_eq!((flags.coordinator.as_deref(), flags.shards), (Some("h:1"), 1));

        let workers = commands.workers("h:1");
        assert_eq!(
            workers.iter().map(|command| command.name.as_str()).collect::<Vec<_>>(),
            ["worker-0", "worker-1", "worker-2"]
        );
        let Role::Worker(worker::cli::Command::Train(flags)) = role(&workers[2]) else {
            panic!("not a worker")
        };
        assert_eq!((flags.coordinator.as_str(), flags.data), ("h:1", Some("d".into())));
        assert_eq!((flags.data_patience, flags.looked_at), (60, true));
        assert_eq!((flags.compute.threads, flags.compute.isa.as_deref()), (Some(5), Some("avx2")));
        assert_eq!(flags.name.as_deref(), Some("worker-2"), "that of its log");
        assert_eq!(flags.compute.pin, Some(10), "behind the threads of two workers");
        assert!(flags.end_with_stdin && flags.log.log_json);
    }
}
