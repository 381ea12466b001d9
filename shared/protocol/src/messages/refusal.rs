//! Refusals of requests by a server.

use crate::{fields::FieldError, proto};

/// Reasons why a server refuses a request of a worker or a shard process; the text says what was expected and
/// what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A request that contradicts the run (other network, other data, other protocol): final.
    #[error("{0}")]
    Mismatch(String),
    /// A request of a worker that is not a member of the run any more, since it left or was silent for too
    /// long: the worker must join anew.
    #[error("{0}")]
    Fenced(String),
    /// A request that is not possible yet (server processes are missing, or the shard does not know the
    /// network's tensors): the client asks again.
    #[error("{0}")]
    NotReady(String),
    /// Unusable values (wrong length, unknown block, not finite, far too large): final for this request.
    #[error("{0}")]
    Invalid(String),
    /// A failure of the server itself, such as a snapshot that it cannot write.
    #[error("{0}")]
    Internal(String),
}

/// A server's answer: what was asked for, or a refusal.
pub(crate) type Answer<T> = Result<T, Refusal>;

/// Refuses a request that cannot be read, like any other invalid one.
impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Refusal {
        Refusal::Invalid(error.to_string())
    }
}

impl From<Refusal> for proto::Refusal {
    fn from(refusal: Refusal) -> proto::Refusal {
        use proto::refusal::Reason;
        let (reason, text) = match refusal {
            Refusal::Mismatch(text) => (Reason::Mismatch, text),
            Refusal::Fenced(text) => (Reason::Fenced, text),
            Refusal::NotReady(text) => (Reason::NotReady, text),
            Refusal::Invalid(text) => (Reason::Invalid, text),
            Refusal::Internal(text) => (Reason::Internal, text),
        };
        proto::Refusal { reason: reason.into(), text }
    }
}

impl TryFrom<proto::Refusal> for Refusal {
    type Error = FieldError;

    fn try_from(refusal: proto::Refusal) -> Result<Refusal, FieldError> {
        use proto::refusal::Reason;
        Ok(match Reason::try_from(refusal.reason) {
            Ok(Reason::Mismatch) => Refusal::Mismatch(refusal.text),
            Ok(Reason::Fenced) => Refusal::Fenced(refusal.text),
            Ok(Reason::NotReady) => Refusal::NotReady(refusal.text),
            Ok(Reason::Invalid) => Refusal::Invalid(refusal.text),
            Ok(Reason::Internal) => Refusal::Internal(refusal.text),
            Ok(Reason::Unspecified) | Err(_) => {
                return Err(FieldError::new("Refusal", "reason", "1 to 5", refusal.reason));
            }
        })
    }
}
