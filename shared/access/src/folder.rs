//! The folder of a run's tokens and certificates, which the server's first process keeps.
//!
//! `server.pem` holds the certificates, `server.key` the private key, and `worker/token`, `server/token` and
//! so on the token of each role: a folder each, so that a container can be given one of them and no other.
//! Nobody but their owner can read them. `server.pem` is written last: where it is, all of it is.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use files::Digest;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::authority;
use crate::token::random_digits;
use crate::{AccessError, Credentials, Role, Token};

const CERTIFICATES: &str = "server.pem";
const KEY: &str = "server.key";
const TOKEN: &str = "token";

/// Largest number of bytes of a file of certificates or of a key; they have some thousand.
const MOST_PEM: u64 = 1 << 16;
/// Largest number of characters of a run's name, as certificates can hold it.
const MOST_NAME: usize = 64;

/// The folder that holds the tokens and certificates of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes a run's certificates and tokens, and writes them into the folder at `path`, which is created if
    /// it does not exist. `run` is the name of the run, which the server's certificate has as its subject;
    /// without one it gets a random name.
    ///
    /// # Errors
    /// [`AccessError::Exists`] if the folder holds a run's tokens already; another error if the name of the
    /// run cannot stand in a certificate, or if a file cannot be written.
    pub fn make(path: &Path, run: Option<&str>) -> Result<Folder, AccessError> {
        if path.join(CERTIFICATES).exists() {
            return Err(AccessError::Exists { path: path.into() });
        }
        let run = run.map_or_else(random_digits::<8>, |run| Ok(run.into()))?;
        let cannot = |reason: String| AccessError::Certificate { run: run.clone(), reason };
        let characters = run.chars().count();
        if !(1..=MOST_NAME).contains(&characters) || run.chars().any(char::is_control) {
            let found = format!("expected a name of 1 to {MOST_NAME} characters, found {characters}");
            return Err(cannot(found));
        }
        let made = authority::make(&run).map_err(|error| cannot(error.to_string()))?;
        let fingerprint = Digest::of(&made.authority);
        create(path)?;
        for role in Role::ALL {
            create(&path.join(role.name()))?;
            let token = Token::draw(role, fingerprint)?;
            write(&path.join(role.name()).join(TOKEN), &format!("{}\n", token.reveal()))?;
        }
        write(&path.join(KEY), &made.key)?;
        write(&path.join(CERTIFICATES), &made.certificates)?;
        Ok(Folder { path: path.into() })
    }

    /// Opens the folder at `path`, or makes it where there is none, with a random name of the run.
    ///
    /// # Errors
    /// If the folder has to be made and cannot be.
    pub fn open_or_make(path: &Path) -> Result<Folder, AccessError> {
        match Folder::make(path, None) {
            Err(AccessError::Exists { path }) => Ok(Folder { path }),
            made => made,
        }
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the file that holds the token of `role`.
    pub fn token_file(&self, role: Role) -> PathBuf {
        self.path.join(role.name()).join(TOKEN)
    }

    /// Reads the token of `role`.
    ///
    /// # Errors
    /// If its file cannot be read, or does not hold a token of that role.
    pub fn token(&self, role: Role) -> Result<Token, AccessError> {
        let path = self.token_file(role);
        let token = Token::read(&path)?;
        if token.role() != role {
            let reason = format!("expected the token of role {role}, found one of role {}", token.role());
            return Err(AccessError::Unusable { path, reason });
        }
        Ok(token)
    }

    /// Reads what a server process needs in order to let its callers in.
    ///
    /// # Errors
    /// If a file cannot be read, does not hold what its name says, or is of another run than the others.
    pub fn credentials(&self) -> Result<Credentials, AccessError> {
        let unusable =
            |name: &str, reason: String| AccessError::Unusable { path: self.path.join(name), reason };
        let certificates = self.read(CERTIFICATES)?;
        let certificates: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(&certificates)
            .map(|certificate| certificate.map(|certificate| certificate.to_vec()))
            .collect::<Result<_, pem::Error>>()
            .map_err(|error| unusable(CERTIFICATES, format!("expected certificates as PEM: {error}")))?;
        if certificates.len() != 2 {
            let found = certificates.len();
            let reason = format!("expected the server's certificate and its authority's, found {found}");
            return Err(unusable(CERTIFICATES, reason));
        }
        let key = PrivatePkcs8KeyDer::from_pem_slice(&self.read(KEY)?)
            .map_err(|error| unusable(KEY, format!("expected a private key as PEM: {error}")))?;
        let mut credentials =
            Credentials { certificates, key: key.secret_pkcs8_der().to_vec(), secrets: Vec::new() };
        for role in Role::ALL {
            let token = self.token(role)?;
            if Some(token.authority()) != credentials.authority() {
                let reason =
                    format!("expected a token of the authority in {CERTIFICATES}, found one of another");
                return Err(AccessError::Unusable { path: self.token_file(role), reason });
            }
            credentials.secrets.push((role, token.secret_digest()));
        }
        Ok(credentials)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, AccessError> {
        let path = self.path.join(name);
        files::read(&path, MOST_PEM).map_err(|error| AccessError::Read { path, error })
    }
}

/// Creates a folder that only its owner may look into; one that is there already stays as it is.
fn create(path: &Path) -> Result<(), AccessError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| AccessError::Write { path: parent.into(), error })?;
    }
    match private_folder(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created.map_err(|error| AccessError::Write { path: path.into(), error }),
    }
}

#[cfg(unix)]
fn private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

fn write(path: &Path, text: &str) -> Result<(), AccessError> {
    files::write_private(path, text.as_bytes())
        .map_err(|error| AccessError::Write { path: path.into(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_read_and_never_made_again() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("deep/access");
        let folder = Folder::open_or_make(&path).unwrap();
        let credentials = folder.credentials().unwrap();
        for role in Role::ALL {
            let token = folder.token(role).unwrap();
            assert_eq!(credentials.role_of(token.secret().as_bytes()), Some(role));
            assert_eq!(credentials.authority(), Some(token.authority()));
        }
        assert_eq!(Folder::open_or_make(&path).unwrap().credentials().unwrap(), credentials);
        let text = Folder::make(&path, None).unwrap_err().to_string();
        assert!(text.contains("holds the tokens of a run already"), "{text}");
        let other = Folder::make(&home.path().join("other"), Some("rosé")).unwrap().credentials().unwrap();
        assert_ne!(other.authority(), credentials.authority());
    }

    #[test]
    fn what_was_cut_off_is_made_anew_and_what_was_there_before_is_no_trouble() {
        let home = tempfile::tempdir().unwrap();
        // A mounted volume, and a token of an attempt that did not come to its end.
        fs::create_dir_all(home.path().join("worker")).unwrap();
        fs::write(home.path().join("worker/token"), "half").unwrap();
        Folder::open_or_make(home.path()).unwrap().credentials().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::make(&home.path().join("access"), None).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for role in Role::ALL {
            let file = folder.token_file(role);
            assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700), "{role}");
        }
        assert_eq!(mode(&folder.path().join(KEY)), 0o600);
        assert_eq!(mode(folder.path()), 0o700);
    }

    #[test]
    fn files_that_do_not_belong_together_are_named() {
        let home = tempfile::tempdir().unwrap();
        let make = |name: &str| Folder::make(&home.path().join(name), None).unwrap();
        let trouble = |name: &str, spoil: &dyn Fn(&Folder)| {
            let folder = make(name);
            spoil(&folder);
            folder.credentials().unwrap_err().to_string()
        };
        let other = make("other");
        let swap = |role: Role, of: Role| {
            let token = fs::read(other.token_file(of)).unwrap();
            move |folder: &Folder| fs::write(folder.token_file(role), &token).unwrap()
        };
        let text = trouble("1", &swap(Role::Reader, Role::Reader));
        assert!(text.contains("reader/token: expected a token of the authority in server.pem"), "{text}");
        let text = trouble("2", &swap(Role::Worker, Role::Operator));
        assert!(text.contains("expected the token of role worker, found one of role operator"), "{text}");
        let text = trouble("3", &|folder| fs::remove_file(folder.path().join(KEY)).unwrap());
        assert!(text.starts_with("cannot read ") && text.contains("server.key"), "{text}");
        let text = trouble("4", &|folder| fs::write(folder.path().join(KEY), "none").unwrap());
        assert!(text.contains("server.key: expected a private key as PEM"), "{text}");
        let text = trouble("5", &|folder| fs::write(folder.path().join(CERTIFICATES), "").unwrap());
        assert!(text.contains("expected the server's certificate and its authority's, found 0"), "{text}");
    }

    #[test]
    fn a_name_that_no_certificate_can_hold_is_refused() {
        let home = tempfile::tempdir().unwrap();
        for name in [String::new(), "x".repeat(65), "two\nlines".into()] {
            let text = Folder::make(home.path(), Some(&name)).unwrap_err().to_string();
            assert!(text.contains("expected a name of 1 to 64 characters"), "{text}");
        }
        Folder::make(home.path(), Some(&"é".repeat(64))).unwrap();
    }
}
