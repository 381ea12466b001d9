//! A run that goes on, as a command line names it: by the address of its server, or by its folder.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use access::{Folder as AccessFolder, Role, Token};
use clap::Args;
use process::{FlagError, TokenFlags};
use protocol::{Connector, CoordinatorClient, Patience};

use crate::folder;

/// Longest time for which the server of a run is looked for.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// Flags of commands that speak to a run which goes on.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// The run: the address of its server's first process, as host:7070, or the folder of a run of downpour
    #[arg(value_name = "ADDRESS|RUN", default_value = "downpour-run")]
    pub run: String,
    /// The token of a reader or an operator; the folder of a run has them.
    #[command(flatten)]
    pub token: TokenFlags,
}

impl Place {
    /// Connects to the server of the run. Without a token in the flags, a run that is named by its folder lets in by
    /// the token of `role` there.
    ///
    /// # Errors
    /// If the run is neither an address nor a folder in which a run goes on, if the token cannot be used, or if the
    /// server cannot be reached.
    pub async fn connect(&self, role: Role) -> anyhow::Result<CoordinatorClient> {
        let (address, token) = self.find(role)?;
        let patience = Patience { give_up_after: GIVE_UP_AFTER, ..Patience::default() };
        Ok(CoordinatorClient::connect(&address, Connector { token, ..patience.into() }).await?)
    }

    /// Returns the address of the run's server, and the token by which it lets this process in.
    fn find(&self, role: Role) -> anyhow::Result<(String, Option<Token>)> {
        let given = self.token.token()?;
        let path = Path::new(&self.run);
        if !path.is_dir() {
            if !self.run.contains(':') {
                return Err(FlagError(format!(
                    "{}: expected the folder of a run, or the address of its server as {}:7070; found no such folder",
                    self.run, self.run
                ))
                .into());
            }
            return Ok((self.run.clone(), given));
        }
        let address = folder::read_address(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow::anyhow!(
                "no run goes on in {}: it has no file {}, which a run has while its server is there; downpour runs \
                 shows what there is of it",
                path.display(),
                folder::ADDRESS
            ),
            _ => anyhow::anyhow!("cannot read {}: {error}", path.join(folder::ADDRESS).display()),
        })?;
        let token = match given {
            None => AccessFolder::open_or_make(&folder::access(path))?.token(role)?,
            Some(token) => token,
        };
        Ok((address, Some(token)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_an_address_or_a_folder_in_which_it_goes_on() {
        let home = tempfile::tempdir().unwrap();
        let place = |run: &Path| Place { run: run.display().to_string(), token: TokenFlags::default() };
        let found = place(Path::new("host:7070")).find(Role::Reader).unwrap();
        assert_eq!(found, ("host:7070".into(), None));
        let text = place(Path::new("nowhere")).find(Role::Reader).unwrap_err().to_string();
        assert!(text.contains("or the address of its server as nowhere:7070"), "{text}");
        let text = place(home.path()).find(Role::Reader).unwrap_err().to_string();
        assert!(text.starts_with("no run goes on in "), "{text}");

        let access = AccessFolder::make(&folder::access(home.path()), None).unwrap();
        std::fs::write(home.path().join(folder::ADDRESS), "127.0.0.1:40000\n").unwrap();
        for role in [Role::Reader, Role::Operator] {
            let found = place(home.path()).find(role).unwrap();
            assert_eq!(found, ("127.0.0.1:40000".into(), Some(access.token(role).unwrap())));
        }
    }
}
