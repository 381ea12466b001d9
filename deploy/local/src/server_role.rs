//! The server process of a run as this program takes its part: with the photographs, which the program
//! `parameter-server` knows nothing of.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use parameter_server::Lend;
use protocol::Pictures;
use setup::Lender;

/// Flags of a server process.
#[derive(Debug, Args)]
pub struct ServerFlags {
    #[command(flatten)]
    pub server: parameter_server::cli::Flags,
    /// Folder of the run's photographs, which the first process lends to workers that have none [default: none is
    /// lent]
    #[arg(long, value_name = "DIR", conflicts_with = "coordinator")]
    pub data: Option<PathBuf>,
}

/// Runs a server process and returns the exit code.
pub fn run(flags: ServerFlags) -> ExitCode {
    let lend = flags.data.map(|folder| {
        Lend::new(move |configuration| {
            Ok(Arc::new(Lender::start(&folder, setup::rules(configuration)?)) as Arc<dyn Pictures>)
        })
    });
    parameter_server::cli::run_lending(flags.server, lend)
}
