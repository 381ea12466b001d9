//! Who may call this process of the server, and how it comes to know.
//!
//! The leader keeps a folder of certificates and tokens, which it makes if there is none. A follower has the
//! token of a server process and nothing else: with it the leader hands over what the follower needs in order
//! to let its own callers in.

use std::path::PathBuf;

use access::{Folder, Role};
use anyhow::{Context, bail};
use process::TokenFlags;
use protocol::{Access, ClientError, Connector, CoordinatorClient};

/// Who may call a server process.
#[derive(Clone, Debug)]
pub enum Door {
    /// Whoever reaches the port may make every call, and nothing is encrypted.
    Open,
    /// Bearers of the run's tokens may make the calls of their role.
    Tokens {
        /// Folder of the run's certificates and tokens, which is made if there is none (used by the leader,
        /// the first process of the server).
        folder: PathBuf,
        /// Flags that name the token by which the leader lets this process in (used by the other processes).
        token: TokenFlags,
    },
}

impl Door {
    /// Opens or makes the leader's folder; returns who may call the leader, and the connector with which it
    /// calls the server's other processes.
    ///
    /// # Errors
    /// If the folder cannot be made or used.
    pub(crate) fn of_leader(&self, connector: Connector) -> anyhow::Result<(Access, Connector)> {
        let Door::Tokens { folder, .. } = self else {
            warn_of_insecurity();
            return Ok((Access::Open, connector));
        };
        let folder = Folder::open_or_make(folder).context("make the run's tokens")?;
        let credentials = folder.credentials().context("use the run's tokens")?;
        let token = folder.token(Role::Coordinator)?;
        let files = [
            (Role::Worker, "workers"),
            (Role::Server, "further server processes"),
            (Role::Reader, "readers"),
            (Role::Operator, "operators"),
        ]
        .map(|(role, who)| format!("{who} by that in {}", folder.token_file(role).display()));
        tracing::info!("let in by a token: {}", files.join(", "));
        Ok((Access::Tokens(credentials), Connector { token: Some(token), ..connector }))
    }

    /// Returns the connector with which a follower calls the leader.
    ///
    /// # Errors
    /// If the follower has no token, or one that cannot be used.
    pub(crate) async fn to_leader(&self, connector: Connector) -> anyhow::Result<Connector> {
        let Door::Tokens { token, .. } = self else {
            warn_of_insecurity();
            return Ok(connector);
        };
        let Some(token) = token.wait().await? else {
            bail!(
                "this process has no token by which the server's first process would let it in: name the file of \
                 role server in that one's folder of tokens by --token-file, or put its text into DOWNPOUR_TOKEN"
            );
        };
        Ok(Connector { token: Some(token), ..connector })
    }

    /// Asks the leader who may call a follower.
    ///
    /// # Errors
    /// If the leader does not answer, or does not let this process in.
    pub(crate) async fn of_follower(&self, leader: &CoordinatorClient) -> Result<Access, ClientError> {
        match self {
            Door::Open => Ok(Access::Open),
            Door::Tokens { .. } => Ok(Access::Tokens(leader.credentials().await?)),
        }
    }
}

fn warn_of_insecurity() {
    tracing::warn!(
        "--insecure: whoever reaches the port may train, read the model and end the run, and nothing is encrypted"
    );
}
