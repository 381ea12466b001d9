//! The command `downpour join`: takes part in a run of another machine, with this machine's processors and, if
//! asked, with a part of the parameters.

use std::path::PathBuf;

use clap::Args;
use process::{Exit, TokenFlags, logs::LogFlags};

use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::join;
use crate::own_address::OwnAddress;

/// Flags of `downpour join`.
#[derive(Debug, Args)]
#[command(
    after_help = "The machine that began the run says where, and where its tokens are. The run is what was asked for there. A process that
dies is started again; Ctrl-C leaves the run, which goes on without this machine, unless it has a shard.

Examples:
  downpour join first.example:7070 --token-file token
                                                       photographs come from there as they are needed
  downpour join first.example:7070 --token-file token --data photos
                                                       they are here too
  downpour join first.example:7070 --token-file token --data photos \\
                --shard second.example:7070 --server-token-file server-token"
)]
pub struct Flags {
    /// Address of the run: that of its first server process
    #[arg(value_name = "ADDRESS")]
    pub address: String,
    /// The token of workers.
    #[command(flatten)]
    pub token: TokenFlags,
    /// Folder of the same images as on the other machines [default: the first machine lends its own, as they are
    /// needed]
    #[arg(long, value_name = "D")]
    pub data: Option<PathBuf>,
    /// Megabytes of lent images that each worker keeps in memory, so that they need not come again [default: 512]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(16..=1 << 20))]
    pub picture_cache: Option<u32>,
    /// Seconds to wait for a data folder that is away, as a network disk can be; then the workers leave
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub data_patience: u64,
    /// Worker processes: each holds a replica of the network
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=256))]
    pub workers: u16,
    /// Compute threads of each worker [default: cores / workers, at least 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Hold a part of the parameters too, for all workers, at this address of this machine (host:port); the run waits
    /// for as many such machines as it was begun for
    #[arg(long, value_name = "ADDRESS", requires = "server_token_file")]
    pub shard: Option<OwnAddress>,
    /// File with the token of server processes
    #[arg(long, value_name = "FILE", requires = "shard")]
    pub server_token_file: Option<PathBuf>,
    /// Model file from which the run starts, if it does: a machine with a shard needs it
    #[arg(long, value_name = "FILE", requires = "shard")]
    pub init_from: Option<PathBuf>,
    /// Folder for logs, and for the snapshots of the shard
    #[arg(long, value_name = "O", default_value = "downpour-joined")]
    pub output: PathBuf,
    /// Instruction set of the kernels: scalar, avx2, avx512 or neon [default: DOWNPOUR_ISA, else the best here]
    #[arg(long, value_name = "I", value_parser = ["scalar", "avx2", "avx512", "neon"], hide_possible_values = true)]
    pub isa: Option<String>,
    /// Flags of the log.
    #[command(flatten)]
    pub logs: LogFlags,
}

/// Runs `downpour join`: trains in the run until it ends, or until a signal.
///
/// # Errors
/// If the data or a token cannot be used, or if a process fails.
pub async fn run(flags: &Flags) -> Result<Exit, Failure> {
    join::join(flags, &mut Interrupts::listen()?).await
}
