//! What can go wrong on the way, as callers need to tell it apart.

use crate::Refusal;

/// Why a call to a server did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered that it will not do this. Never retried here.
    #[error("{0}")]
    Refused(Refusal),
    /// No answer for as long as patience lasted.
    #[error(
        "cannot reach {address}: tried for {seconds} s, last: {last}; check that the server runs there and that \
         this machine can reach it, then start again"
    )]
    Unreachable {
        /// Where the server should be.
        address: String,
        /// How long it was tried.
        seconds: u64,
        /// What came of the last attempt.
        last: String,
    },
    /// The address is not one.
    #[error("address {address:?} is not usable: {reason}; expected host:port, as 127.0.0.1:7070")]
    Address {
        /// What was given.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The answer does not say what it should, or the other side does not know the call.
    #[error(
        "{address} answered {call} with something unusable: {reason}; check that both sides are the same version"
    )]
    Unusable {
        /// Where the server is.
        address: String,
        /// The call, as "join".
        call: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Asked for its health, the server is not there or does not serve.
    #[error(
        "{address} does not serve: expected status SERVING, found {found}; a server that is starting or being \
         stopped answers so, its log says which"
    )]
    NotServing {
        /// Where the server should be.
        address: String,
        /// Its status, or what came of asking.
        found: String,
    },
}

impl ClientError {
    /// The server's refusal, if that is what it is.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            ClientError::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// Why serving ended other than by shutdown.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve on {address}: {reason}")]
pub struct ServeError {
    /// Where it listened.
    pub(crate) address: String,
    /// What failed.
    pub(crate) reason: String,
}
