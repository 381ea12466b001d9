//! Fingerprints of layouts, by which two processes find out whether they have the same network.

use std::fmt;

use files::{Digest, Digester};
use serde::{Deserialize, Serialize};

use crate::{Initialiser, Tensor};

/// The fingerprint of a layout: SHA-256 over a canonical text of its tensors, by which two processes find out
/// whether they have the same network. It is displayed as its first 16 hexadecimal digits and serialised as
/// all 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(Digest);

impl Fingerprint {
    /// Computes the fingerprint of a list of tensors: the hash of a text with one line for each, in which
    /// floats are written as their bits, so that the text is exact.
    pub(crate) fn of(tensors: &[Tensor]) -> Fingerprint {
        let mut hash = Digester::default();
        hash.update("downpour layout 1\n");
        for tensor in tensors {
            let kind = match tensor.initialiser {
                Initialiser::Constant(_) => "constant",
                Initialiser::Uniform { .. } => "uniform",
                Initialiser::Normal { .. } => "normal",
            };
            let [value, rate, decay] =
                [tensor.initialiser.parameter(), tensor.rate_multiplier, tensor.decay_multiplier]
                    .map(f32::to_bits);
            // `{:?}` quotes the name and escapes line breaks: no name can imitate a neighbouring field.
            hash.update(format!(
                "{:?} {:?} {kind} {value:08x} {rate:08x} {decay:08x}\n",
                tensor.name, tensor.shape
            ));
        }
        Fingerprint(hash.finish())
    }

    /// Returns the 32 bytes of the fingerprint.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Returns all 64 hexadecimal digits of the fingerprint.
    pub fn to_hex(&self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.start(8))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Fingerprint {
        Fingerprint(bytes.into())
    }
}

impl TryFrom<&[u8]> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(bytes: &[u8]) -> Result<Fingerprint, FingerprintError> {
        bytes
            .try_into()
            .map(|bytes: [u8; 32]| Fingerprint(bytes.into()))
            .map_err(|_| FingerprintError { expected: "32 bytes", found: format!("{} bytes", bytes.len()) })
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_hex()
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Fingerprint, FingerprintError> {
        let found = || format!("{text:?}");
        text.parse()
            .map(Fingerprint)
            .map_err(|_| FingerprintError { expected: "64 hexadecimal digits", found: found() })
    }
}

/// An error: a text is not the 64 hexadecimal digits, or a slice not the 32 bytes, of a layout's fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fingerprint: expected {expected}, found {found}")]
pub struct FingerprintError {
    expected: &'static str,
    found: String,
}
