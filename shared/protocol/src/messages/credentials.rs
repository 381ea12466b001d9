//! Credentials: what the leader hands to the server's other processes, so that they let callers in as it
//! does.

use access::{Credentials, NoRole, Role};
use files::Digest;

use crate::{
    fields::{FieldError, answer, listed},
    proto,
};

/// Most certificates of a chain, and most secrets.
const MOST_ITEMS: usize = 16;
/// Most bytes of a certificate or a key; they have some hundred.
const MOST_BYTES: usize = 1 << 14;

impl From<Credentials> for proto::Credentials {
    fn from(Credentials { certificates, key, secrets }: Credentials) -> proto::Credentials {
        let secret = |(role, digest): (Role, Digest)| proto::RoleSecret {
            role: role.name().into(),
            digest: digest.as_bytes().to_vec().into(),
        };
        proto::Credentials {
            certificates: certificates.into_iter().map(Into::into).collect(),
            key: key.into(),
            secrets: secrets.into_iter().map(secret).collect(),
        }
    }
}

impl TryFrom<proto::Credentials> for Credentials {
    type Error = FieldError;

    fn try_from(credentials: proto::Credentials) -> Result<Credentials, FieldError> {
        let proto::Credentials { certificates, key, secrets } = credentials;
        let small = |bytes: prost::bytes::Bytes, field| match bytes.len() {
            1..=MOST_BYTES => Ok(bytes.to_vec()),
            found => {
                let expected = format!("1 to {MOST_BYTES} bytes");
                Err(FieldError::new("Credentials", field, expected, format!("{found} bytes")))
            }
        };
        let certificates = listed(certificates, MOST_ITEMS, "certificates", "Credentials", "certificates")?;
        let secrets = listed(secrets, MOST_ITEMS, "secrets", "Credentials", "secrets")?;
        Ok(Credentials {
            certificates: certificates
                .into_iter()
                .map(|bytes| small(bytes, "certificates"))
                .collect::<Result<_, _>>()?,
            key: small(key, "key")?,
            secrets: secrets.into_iter().map(secret).collect::<Result<_, _>>()?,
        })
    }
}

fn secret(proto::RoleSecret { role, digest }: proto::RoleSecret) -> Result<(Role, Digest), FieldError> {
    let role = role
        .parse()
        .map_err(|error: NoRole| FieldError::new("RoleSecret", "role", error.to_string(), "another text"))?;
    let digest: [u8; 32] = digest[..].try_into().map_err(|_| {
        FieldError::new("RoleSecret", "digest", "32 bytes", format!("{} bytes", digest.len()))
    })?;
    Ok((role, digest.into()))
}

answer!(Credentials, proto::CredentialsReply, credentials_reply::Credentials);
