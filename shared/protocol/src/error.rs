//! Errors of calls and of serving, as callers need to tell them apart.

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
        /// Address of the server.
        address: String,
        /// Seconds for which it was tried.
        seconds: u64,
        /// Why the last attempt failed.
        last: String,
    },
    /// The text given as an address is no "host:port".
    #[error("address {address:?} is not usable: {reason}; expected host:port, as 127.0.0.1:7070")]
    Address {
        /// The text that was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer does not say what it should, or the other side does not know the call.
    #[error(
        "{address} answered {call} with something unusable: {reason}; check that both sides are the same version"
    )]
    Unusable {
        /// Address of the server.
        address: String,
        /// The call, as "join".
        call: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The server is not there, or its health service says that it does not serve.
    #[error(
        "{address} does not serve: expected status SERVING, found {found}; a server that is starting or being \
         stopped answers so, its log says which"
    )]
    NotServing {
        /// Address of the server.
        address: String,
        /// Its status, or why it did not answer.
        found: String,
    },
}

impl ClientError {
    /// Returns the server's refusal, if the error is one.
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
    /// The address that was served.
    pub(crate) address: String,
    /// What failed.
    pub(crate) reason: String,
}
