//! Who may call a server: the roles of callers, the tokens that prove a role, and the folder that holds a
//! run's tokens and its certificates.
//!
//! A [`Token`] names a role, holds a secret that only its bearers and the server's first process know, and
//! the fingerprint of the run's certificate authority, by which its bearer knows the server. So a process
//! that joins a run needs its token and the server's address, and nothing else. The server's processes keep
//! [`Credentials`]: certificates, their key, and of each secret only a digest.
//!
//! ```
//! use access::{Folder, Role, Token};
//!
//! let home = tempfile::tempdir()?;
//! let folder = Folder::make(&home.path().join("access"), None)?;
//! let token = Token::read(&folder.token_file(Role::Worker))?;
//! assert_eq!(token.role(), Role::Worker);
//!
//! let credentials = folder.credentials()?;
//! assert_eq!(credentials.role_of(token.secret().as_bytes()), Some(Role::Worker));
//! assert_eq!(credentials.role_of(b"guessed"), None);
//! assert_eq!(credentials.authority(), Some(token.authority()));
//! // Neither shows a secret where it is printed by mistake.
//! assert!(!format!("{token:?} {credentials:?}").contains(token.secret()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Absent by intent: which calls a role may make, and how a connection is encrypted (`protocol`).

mod authority;
mod credentials;
mod error;
mod folder;
mod random;
mod role;
mod token;

pub use authority::SERVER_NAME;
pub use credentials::{Access, Credentials};
pub use error::AccessError;
pub use folder::Folder;
pub use random::random_bytes;
pub use role::{NoRole, Role};
pub use token::{NoToken, Token};
