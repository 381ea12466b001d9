//! Tokens, by which callers prove their role and know the server.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use files::Digest;

use crate::{AccessError, Role, random_bytes};

/// First part of every token's text; another form of tokens would get another.
const FORM: &str = "downpour1";
/// Number of bytes of a secret, drawn at random.
const SECRET_BYTES: usize = 32;
/// Largest number of bytes of a file that holds a token: the token has some 150.
const MOST_FILE: u64 = 4096;

/// A token: proof of a role, and the means to know the server. Whoever has its text may do what its role may.
///
/// Its text has four parts with points in between: the form, the role, the secret and the fingerprint of the
/// run's certificate authority, as `downpour1.worker.` with twice 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    role: Role,
    /// The secret as hexadecimal digits, in lower case.
    secret: String,
    authority: Digest,
}

impl Token {
    /// Makes a token for `role` with a secret from the operating system's randomness. `authority` is the
    /// fingerprint of the certificate authority, by which the token's bearer will know the server.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn draw(role: Role, authority: Digest) -> Result<Token, AccessError> {
        Ok(Token { role, secret: random_digits::<SECRET_BYTES>()?, authority })
    }

    /// Reads a token from a file that holds its text and nothing else but white space.
    ///
    /// # Errors
    /// If the file cannot be read, or if its text is not a token.
    pub fn read(path: &Path) -> Result<Token, AccessError> {
        let text = files::read_text(path, MOST_FILE)
            .map_err(|error| AccessError::Read { path: path.into(), error })?;
        text.trim()
            .parse()
            .map_err(|error: NoToken| AccessError::Unusable { path: path.into(), reason: error.to_string() })
    }

    /// Returns the role that the token proves.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the fingerprint of the run's certificate authority: the SHA-256 of its certificate.
    pub fn authority(&self) -> Digest {
        self.authority
    }

    /// Returns the secret, 64 hexadecimal digits, which a call carries as its proof.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Returns the digest of the secret, by which a server knows it without having it.
    pub fn secret_digest(&self) -> Digest {
        Digest::of(&self.secret)
    }

    /// Returns the text of the token with its secret, for a file or for the environment of a child process.
    pub fn reveal(&self) -> String {
        let Token { role, secret, authority } = self;
        format!("{FORM}.{role}.{secret}.{authority}")
    }
}

/// Shows the role and the server, and not the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, authority {})", self.role, self.authority.start(4))
    }
}

/// An error: a text is not a token. The text itself, which may hold a secret, is not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the text of a token, downpour1.ROLE.SECRET.AUTHORITY, found {found}; copy the whole line of the \
     token's file"
)]
pub struct NoToken {
    found: String,
}

impl FromStr for Token {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Token, NoToken> {
        let no = |found: &str| NoToken { found: found.into() };
        let parts: Vec<&str> = text.split('.').take(5).collect();
        let &[form, role, secret, authority] = &parts[..] else {
            return Err(match text {
                "" => no("nothing"),
                _ => no(&format!("a text of {} bytes that does not have four parts", text.len())),
            });
        };
        if form != FORM {
            return Err(no("another beginning"));
        }
        let role = role.parse().map_err(|_| no("an unknown role"))?;
        let usual = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        if secret.len() != 2 * SECRET_BYTES || !secret.bytes().all(usual) {
            return Err(no("a secret that is not 64 hexadecimal digits in lower case"));
        }
        let authority =
            authority.parse().map_err(|_| no("a fingerprint that is not 64 hexadecimal digits"))?;
        Ok(Token { role, secret: secret.into(), authority })
    }
}

/// Returns the hexadecimal digits of `BYTES` random bytes of the operating system.
pub(crate) fn random_digits<const BYTES: usize>() -> Result<String, AccessError> {
    Ok(random_bytes::<BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::draw(Role::Worker, Digest::of("authority")).unwrap()
    }

    #[test]
    fn a_token_is_its_text_and_no_two_are_the_same() {
        let token = token();
        assert_eq!(token.reveal().parse(), Ok(token.clone()));
        assert_ne!(token, self::token());
        assert_ne!(token.secret_digest(), self::token().secret_digest());
        let shown = format!("{token:?}");
        assert!(shown.starts_with("Token(worker, ") && !shown.contains(token.secret()), "{shown}");
    }

    #[test]
    fn a_file_holds_one_token() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        let text = token().reveal();
        // As an editor, a form, or an echo leaves it.
        for written in [text.clone(), format!("{text}\n"), format!(" {text}\r\n\n")] {
            std::fs::write(&path, written).unwrap();
            assert_eq!(Token::read(&path).unwrap().reveal(), text);
        }
        for written in ["".into(), format!("{text}\n{text}\n"), "x".repeat(5000)] {
            std::fs::write(&path, written).unwrap();
            let told = Token::read(&path).unwrap_err().to_string();
            assert!(told.contains("expected") && told.contains("token"), "{told}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_text_is_told_without_the_text() {
        let text = token().reveal();
        let parts: Vec<&str> = text.split('.').collect();
        let [form, role, secret, authority] = parts[..] else { panic!("{text}") };
        for (text, found) in [
            (String::new(), "nothing"),
            (secret.into(), "a text of 64 bytes that does not have four parts"),
            (format!("{text}."), "that does not have four parts"),
            (format!("downpour2.{role}.{secret}.{authority}"), "another beginning"),
            (format!("{form}.boss.{secret}.{authority}"), "an unknown role"),
            (format!("{form}.{secret}.{role}.{authority}"), "an unknown role"),
            (format!("{form}.{role}.{}.{authority}", &secret[1..]), "a secret that is not 64"),
            (format!("{form}.{role}.{}.{authority}", secret.replace(|_| true, "é")), "a secret that is not"),
            (format!("{form}.{role}.{secret}.{}", &authority[1..]), "a fingerprint that is not 64"),
            (format!("{form}.{role}.{secret}.{authority} "), "a fingerprint that is not 64"),
        ] {
            let told = text.parse::<Token>().unwrap_err().to_string();
            assert!(told.contains(found), "{told}");
            assert!(!told.contains(secret), "{told}");
        }
    }
}
