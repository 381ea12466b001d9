//! Credentials: the certificates and digests that a server process keeps in order to let its callers in.

use std::fmt;

use files::Digest;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::Role;

/// Who may call a server process.
#[derive(Clone, Debug)]
pub enum Access {
    /// Whoever reaches the port may make every call, and nothing is encrypted.
    Open,
    /// Bearers of the run's tokens may make the calls of their role; connections from other machines are
    /// encrypted.
    Tokens(Credentials),
}

/// Credentials of a server process, by which it lets its callers in: the certificate by which they know it,
/// and the digest of each role's secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Certificates in the form DER: the server's, then its authority's.
    pub certificates: Vec<Vec<u8>>,
    /// Private key of the server's certificate, in the form PKCS#8 DER.
    pub key: Vec<u8>,
    /// Digest of each role's secret.
    pub secrets: Vec<(Role, Digest)>,
}

impl Credentials {
    /// Returns the role of the bearer of `secret`, the text of a token's secret, or `None` if it is not one
    /// of this run's. How long it takes tells nothing about the secrets.
    pub fn role_of(&self, secret: &[u8]) -> Option<Role> {
        let found = Digest::of(secret);
        let mut place = 0;
        for (number, (_, digest)) in (1..).zip(&self.secrets) {
            let same: Choice = digest.as_bytes().ct_eq(found.as_bytes());
            place.conditional_assign(&number, same);
        }
        let place: u32 = place;
        self.secrets.get((place as usize).checked_sub(1)?).map(|(role, _)| *role)
    }

    /// Returns the fingerprint of the certificate authority, the last of the certificates: the SHA-256 that
    /// the run's tokens have. `None` without certificates.
    pub fn authority(&self) -> Option<Digest> {
        self.certificates.last().map(Digest::of)
    }
}

/// Shows the authority, and neither the key nor a digest of a secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority().map_or("none".into(), |authority| authority.start(4));
        write!(f, "Credentials(authority {authority})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Token;

    #[test]
    fn each_secret_stands_for_its_role_and_no_other_for_any() {
        let authority = Digest::of("authority");
        let tokens = Role::ALL.map(|role| Token::draw(role, authority).unwrap());
        let secrets = tokens.iter().map(|token| (token.role(), token.secret_digest())).collect();
        let credentials = Credentials { certificates: Vec::new(), key: b"key".into(), secrets };
        for token in &tokens {
            assert_eq!(credentials.role_of(token.secret().as_bytes()), Some(token.role()));
        }
        let stranger = Token::draw(Role::Worker, authority).unwrap();
        let of_a_digest = tokens[0].secret_digest().to_string();
        for secret in ["", "worker", stranger.secret(), &of_a_digest, &tokens[0].secret()[1..]] {
            assert_eq!(credentials.role_of(secret.as_bytes()), None);
        }
        let nobody = Credentials { secrets: Vec::new(), ..credentials };
        assert_eq!(nobody.role_of(tokens[0].secret().as_bytes()), None);
        assert_eq!((nobody.authority(), format!("{nobody:?}")), (None, "Credentials(authority none)".into()));
    }
}
