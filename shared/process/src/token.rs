//! The token by which a process is let in by a server: from a file, or from the environment.

use std::env::{self, VarError};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use access::{AccessError, NoToken, Token};

/// Name of the environment variable that holds the text of the token of a process whose flags name no file.
pub const TOKEN_VARIABLE: &str = "DOWNPOUR_TOKEN";

/// Longest time to wait for a token's file that is not there yet.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks for it.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Flags of every process that calls a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct TokenFlags {
    /// File with the token by which the server lets this process in [default: the text in DOWNPOUR_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl TokenFlags {
    /// Returns the token in the file that the flags name, or else in the environment variable
    /// [`TOKEN_VARIABLE`]; `None` if neither is given, or the variable is empty.
    ///
    /// # Errors
    /// If the file cannot be read, or if what is in it or in the variable is not a token.
    pub fn token(&self) -> Result<Option<Token>, AccessError> {
        match &self.token_file {
            Some(path) => Token::read(path).map(Some),
            None => parsed(env::var(TOKEN_VARIABLE)),
        }
    }

    /// Returns the token as [`token`](Self::token) does, and waits for half a minute for a file that does not
    /// exist: a server that starts at the same time as this process makes it.
    ///
    /// # Errors
    /// As [`token`](Self::token).
    pub async fn wait(&self) -> Result<Option<Token>, AccessError> {
        let mut waited = Duration::ZERO;
        loop {
            match self.token() {
                Err(AccessError::Read { path, error })
                    if error.kind() == ErrorKind::NotFound && waited < PATIENCE =>
                {
                    if waited.is_zero() {
                        tracing::info!(
                            "waiting for the token's file {}, which a server makes",
                            path.display()
                        );
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                    waited += LOOK_EVERY;
                }
                token => return token,
            }
        }
    }
}

fn parsed(variable: Result<String, VarError>) -> Result<Option<Token>, AccessError> {
    let unusable = |reason: String| AccessError::Variable { name: TOKEN_VARIABLE, reason };
    match variable {
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(unusable("expected text in utf-8, found other bytes".into())),
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => text.trim().parse().map(Some).map_err(|error: NoToken| unusable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use access::{Folder, Role};

    #[test]
    fn the_variable_holds_a_token_or_nothing() {
        assert_eq!(parsed(Err(VarError::NotPresent)).unwrap(), None);
        assert_eq!(parsed(Ok(" \n".into())).unwrap(), None);
        let home = tempfile::tempdir().unwrap();
        let token = Folder::make(home.path(), None).unwrap().token(Role::Reader).unwrap();
        assert_eq!(parsed(Ok(format!("{}\n", token.reveal()))).unwrap(), Some(token.clone()));
        let text = parsed(Ok(token.secret().into())).unwrap_err().to_string();
        assert!(text.starts_with("DOWNPOUR_TOKEN: expected the text of a token"), "{text}");
        assert!(!text.contains(token.secret()), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_waited_for_but_not_for_ever() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("access");
        let flags = TokenFlags { token_file: Some(folder.join("worker/token")) };
        let text = flags.wait().await.unwrap_err().to_string();
        assert!(text.starts_with("cannot read ") && text.contains("worker/token"), "{text}");
        let made = async {
            tokio::time::sleep(PATIENCE / 2).await;
            Folder::make(&folder, None).unwrap()
        };
        let (token, made) = tokio::join!(flags.wait(), made);
        assert_eq!(token.unwrap(), Some(made.token(Role::Worker).unwrap()));
    }
}
